"""Damaged and hostile `.nir` files: one clear error each, or the same network."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import h5py
import nir
import numpy as np
import pytest
from test_nir_files import assert_same, network

from snndeploy.errors import FileFormatError, InputError, SnnDeployError, UnsupportedModelError
from snndeploy.nirfile import load, save
from snndeploy.nirfile.scan import Limits, scan


def _external(path: Path, file: h5py.File) -> None:
    secret = path.with_name("secret")
    secret.write_bytes(b"x" * 64)
    external = [(str(secret), 0, 64)]
    file["node"].create_dataset("stolen", (64,), "u1", external=external)


def _virtual(path: Path, file: h5py.File) -> None:
    layout = h5py.VirtualLayout((2,), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "data", shape=(2,))
    file["node"].create_virtual_dataset("virtual", layout)


def _cycle(_: Path, file: h5py.File) -> None:
    file["node/nodes/loop"] = file["node"]


def _again(_: Path, file: h5py.File) -> None:
    file["node/again"] = file["node/edges"]


def _soft(_: Path, file: h5py.File) -> None:
    file["node/soft"] = h5py.SoftLink("/version")


def _external_link(_: Path, file: h5py.File) -> None:
    file["node/away"] = h5py.ExternalLink("other.h5", "/data")


def _huge(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("huge", (1 << 20, 1 << 20), "f8", chunks=(64, 64))


def _chunk(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("chunk", (1,), "f8", maxshape=(None,), chunks=(1 << 28,))


def _deep(_: Path, file: h5py.File) -> None:
    file.create_group("/".join("a" * 40))


def _ragged(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("ragged", (3,), h5py.vlen_dtype(np.int32))


def _compound(_: Path, file: h5py.File) -> None:
    file["node/record"] = np.zeros(3, [("a", "f4"), ("b", "i8")])


def _named_type(_: Path, file: h5py.File) -> None:
    file["node/type_of_it"] = np.dtype("f8")


def _filter(_: Path, file: h5py.File) -> None:
    file["node"].create_dataset("packed", data=np.zeros(99), compression="lzf")


def _empty(_: Path, file: h5py.File) -> None:
    file["node/nothing"] = h5py.Empty("f4")


def _no_stride(_: Path, file: h5py.File) -> None:
    file["node/nodes/pool/nodes/window_sum/stride"][()] = [0, 0]


def _no_node(_: Path, file: h5py.File) -> None:
    del file["node"]


def _unknown_node(_: Path, file: h5py.File) -> None:
    del file["node/nodes/first/type"]
    file["node/nodes/first/type"] = "HotNeuron"


HOSTILE: dict[Callable[[Path, h5py.File], None], str] = {
    _external: "keeps its data in another file",
    _virtual: "virtual dataset",
    _cycle: "not a tree",
    _again: "not a tree",
    _soft: "SoftLink to '/version'",
    _external_link: "ExternalLink to 'other.h5'",
    _huge: "would unpack to at least",
    _chunk: "would unpack to at least",
    _deep: "nested more than",
    _ragged: "not numbers or strings",
    _compound: "not numbers or strings",
    _named_type: "not a group or a dataset",
    _filter: "only gzip",
    _empty: "holds nothing",
    _no_stride: "in place of two numbers >= 1",
    _no_node: "is damaged or not a NIR file",
    _unknown_node: "is damaged or not a NIR file",
}


@pytest.mark.parametrize("attack", HOSTILE, ids=lambda attack: attack.__name__.strip("_"))
def test_a_hostile_file_is_refused(attack, tmp_path):
    path = tmp_path / "hostile.nir"
    save(network(), path)
    with h5py.File(path, "r+") as file:
        attack(path, file)
    with pytest.raises(FileFormatError, match=HOSTILE[attack]) as caught:
        load(path)
    assert caught.value.where.startswith(str(path))


@pytest.mark.parametrize(
    ("limits", "message"),
    [
        (Limits(text=1_000), "more than 1000 bytes of strings"),
        (Limits(objects=50), "more than 50 objects"),
        (Limits(unpacked=1_000), "the limit is 1000"),
        (Limits(depth=4), "more than 4 deep"),
    ],
)
def test_limits_hold_for_the_whole_file(limits, message, tmp_path):
    path = tmp_path / "network.nir"
    save(network(), path)
    with h5py.File(path) as file:
        scan(file)
        with pytest.raises(FileFormatError, match=message):
            scan(file, limits)


def test_files_that_are_not_nir(tmp_path):
    path = tmp_path / "network.nir"
    with pytest.raises(FileFormatError, match="no such file"):
        load(path)
    with pytest.raises(FileFormatError, match="is a folder"):
        load(tmp_path)
    path.write_text("# My network\n")
    with pytest.raises(FileFormatError, match="is not an HDF5 file: it starts with b'# My net"):
        load(path)
    path.write_bytes(b"")
    with pytest.raises(FileFormatError, match="is not an HDF5 file"):
        load(path)
    with pytest.raises(FileFormatError, match="no such file"):
        load("nul\0byte")
    nir.write(path, nir.Linear(np.eye(2)))
    with pytest.raises(FileFormatError, match="a single 'Linear' node"):
        load(path)


@pytest.mark.parametrize("index", [0, 1])
def test_a_heap_on_which_hdf5_would_loop_for_ever(index, tmp_path):
    path = tmp_path / "loop.nir"
    save(network(), path)
    content = bytearray(path.read_bytes())
    first = content.index(b"GCOL") + 16
    content[first : first + 2] = index.to_bytes(2, "little")
    content[first + 8 : first + 16] = (0 if index == 0 else 2**64 - 16).to_bytes(8, "little")
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"the heap at byte \d+ holds an object of size"):
        load(path)


def test_a_foreign_file_is_listed(tmp_path):
    path = tmp_path / "foreign.nir"
    nir.write(path, nir.NIRGraph.from_list(nir.Linear(np.eye(3)), nir.LI(*np.ones((3, 3)))))
    with pytest.raises(UnsupportedModelError, match=r"linear \(Linear\)") as caught:
        load(path)
    assert str(path) in str(caught.value)


def test_a_folder_that_is_not_there(tmp_path):
    path = tmp_path / "nowhere" / "network.nir"
    with pytest.raises(InputError) as caught:
        save(network(), path)
    assert str(caught.value) == f"{path}: cannot be written: No such file or directory"


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "network.nir"
    save(network(), path)
    before = path.read_bytes()

    def full_disk(*_):
        raise OSError("no space left")

    monkeypatch.setattr(nir, "write", full_disk)
    with pytest.raises(FileFormatError, match="cannot be written: no space left; check the free"):
        save(network(), path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["network.nir"]


def test_paths_may_be_text(tmp_path):
    save(network(), str(tmp_path / "network.nir"))
    assert_same(load(str(tmp_path / "network.nir")), network())


@pytest.mark.parametrize("share", [0.1, 0.5, 0.9, 0.999])
def test_truncated_files(share, tmp_path):
    path = tmp_path / "short.nir"
    save(network(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(len(content) * share)])
    with pytest.raises(FileFormatError, match=r"short\.nir"):
        load(path)


def test_flipped_bits_are_harmless_or_refused(tmp_path):
    original = tmp_path / "network.nir"
    save(network(), original)
    content = np.frombuffer(original.read_bytes(), np.uint8)
    rng = np.random.default_rng(0)
    refused = 0
    for trial in range(100):
        damaged = content.copy()
        places = rng.integers(0, len(content), 1 + trial % 8)
        damaged[places] ^= (1 << rng.integers(0, 8, len(places))).astype(np.uint8)
        path = tmp_path / "damaged.nir"
        path.write_bytes(damaged.tobytes())
        try:
            assert load(path).hash == network().hash
        except SnnDeployError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 0
    shutil.copy(original, path)
    assert_same(load(path), network())
