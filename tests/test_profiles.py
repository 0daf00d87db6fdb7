"""A profile is checked on the way in, and says which key is wrong and why."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from snndeploy.errors import ProfileError
from snndeploy.hardware import (
    GRADES,
    HardwareProfile,
    differences,
    hardware,
    profile_names,
    read_profile,
)

GOOD = {
    "name": "toy",
    "title": "Toy",
    "vendor": "nobody",
    "process": "1 um",
    "kind": "spiking",
    "boundary": "chip",
    "scope": "per_op",
    "energy": {
        "synop": {
            "value": 2.0,
            "low": 1.0,
            "high": 3.0,
            "unit": "pJ",
            "grade": "assumed",
            "source": "a guess",
        }
    },
    "capability": {
        "signed_spikes": True,
        "graded_spikes": False,
        "soft_reset": True,
        "count_cap": True,
    },
}


def written(tmp_path, profile):
    path = tmp_path / "toy.yaml"
    path.write_text(profile if isinstance(profile, str) else yaml.safe_dump(profile))
    return path


@pytest.mark.parametrize("name", profile_names())
def test_every_shipped_constant_has_a_source_and_a_grade(name):
    profile = hardware(name)
    assert profile.name == name
    groups = (profile.energy, profile.time, profile.power)
    constants = [constant for group in groups for _, constant in group.constants()]
    assert constants
    for constant in constants:
        assert constant.grade in GRADES
        assert len(constant.source) > 20


def test_a_profile_of_your_own(tmp_path):
    path = written(tmp_path, GOOD)
    assert hardware(str(path)) == read_profile(path)
    assert hardware(str(path)).energy.synop.value == 2.0


def changed(key, value):
    def change(profile):
        profile["energy"]["synop"][key] = value

    return change


def all_in(profile):
    profile["scope"] = "all_in"
    profile["energy"]["spike"] = profile["energy"]["synop"]


def all_in_with_power(profile):
    profile["scope"] = "all_in"
    profile["power"] = {"chip": profile["energy"]["synop"] | {"unit": "mW"}}


def unpriced_holder(profile):
    profile["inside"] = {"spike": {"holder": "packet", "grade": "assumed", "source": "a guess"}}


def priced_twice(profile):
    profile["inside"] = {"synop": {"holder": "synop", "grade": "assumed", "source": "a guess"}}


def memory_twice(profile):
    profile["memory"] = [{"access": profile["energy"]["synop"]}]
    profile["energy"]["weight_read"] = profile["energy"]["synop"]


def shrinking_memory(profile):
    level = {"bytes": 8, "access": profile["energy"]["synop"]}
    profile["memory"] = [level, level]


def two_units_of_time(profile):
    time = profile["energy"]["synop"]
    profile["time"] = {"synop": time | {"unit": "ns"}, "spike": time | {"unit": "cycle"}}


BAD = {
    "another unit": (changed("unit", "nJ"), r"line 13, energy\.synop\.unit: .*'pJ', 'ns'.*'nJ'"),
    "a unit of another group": (changed("unit", "ns"), r"energy\.synop: .*unit ns, expected pJ"),
    "negative": (
        changed("low", -1.0),
        r"line \d+, energy\.synop\.low: .*greater than or equal to 0",
    ),
    "infinite": (changed("high", float("inf")), r"energy\.synop\.high: .*finite number"),
    "low above value": (changed("low", 2.5), r"synop: .*low 2.5 <= value 2.0 <= high 3.0 fails"),
    "a number in quotes": (changed("value", "2"), r"energy\.synop\.value: .*valid number"),
    "no source": (
        lambda p: p["energy"]["synop"].pop("source"),
        r"line 8, energy\.synop\.source: Field required",
    ),
    "an empty source": (changed("source", ""), r"energy\.synop\.source: .*at least 3"),
    "an unknown grade": (changed("grade", "sure"), r"energy\.synop\.grade: .*'sure'"),
    "an unknown key": (lambda p: p.update(colour="red"), r"line \d+, colour: Extra inputs"),
    "an unknown event": (lambda p: p["energy"].update(magic=1), r"energy\.magic: Extra"),
    "no capability": (lambda p: p.pop("capability"), "needs a capability section"),
    "an all-in price and another": (all_in, r"prices synaptic operations only, found \['spike'\]"),
    "an all-in price and power": (all_in_with_power, r"only, found \['power.chip'\]"),
    "no cores": (lambda p: p.update(limits={"cores": 0}), r"limits\.cores: .*or equal to 1"),
    "inside what has no price": (unpriced_holder, "its holder 'packet' has no price"),
    "inside and priced": (priced_twice, r"inside\.synop: has a price of its own"),
    "memory priced twice": (memory_twice, r"memory and energy both price \['weight_read'\]"),
    "memories that do not grow": (shrinking_memory, "levels must grow"),
    "times in two units": (two_units_of_time, "line .*, time: .*cycle and ns; use one unit"),
    "unlike cores, one missing": (
        lambda p: p.update(limits={"cores": 3, "core_neurons": [8, 8]}),
        "core_neurons: 2 figures for 3 cores",
    ),
}


@pytest.mark.parametrize(("change", "message"), BAD.values(), ids=BAD)
def test_a_bad_profile_is_refused(tmp_path, change, message):
    profile = copy.deepcopy(GOOD)
    change(profile)
    profile = json.loads(json.dumps(profile))  # no object twice, so no YAML aliases
    with pytest.raises(ProfileError, match=message):
        read_profile(written(tmp_path, profile))


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [1", "is not valid YAML"), ("- 1\n- 2\n", "is not a mapping"), ("", "is not a mapping")],
)
def test_a_file_that_is_no_profile(tmp_path, text, message):
    with pytest.raises(ProfileError, match=message):
        read_profile(written(tmp_path, text))


def test_unknown_and_missing(tmp_path):
    twice = written(tmp_path, "name: a\ntitle: b\nname: c\n")
    with pytest.raises(ProfileError, match="line 3: the key 'name' occurs twice"):
        read_profile(twice)
    with pytest.raises(ProfileError, match=r"no hardware profile is called 'loihi9'.*loihi1"):
        hardware("loihi9")
    with pytest.raises(ProfileError, match="cannot be read: No such file"):
        hardware(str(tmp_path / "absent.yaml"))
    large = written(tmp_path, "#" * (1 << 21))
    with pytest.raises(ProfileError, match="larger than"):
        read_profile(large)


def test_what_a_chip_lacks_costs_compartments_and_axons():
    loihi, able = hardware("loihi1"), HardwareProfile.model_validate(GOOD)
    assert (loihi.compartments("exact"), loihi.axons("exact")) == (3, 2)
    assert (loihi.compartments("rate"), loihi.axons("rate")) == (2, 1)
    assert len(loihi.workarounds("exact")) == 2
    assert (able.compartments("exact"), able.axons("exact"), able.workarounds("exact")) == (
        1,
        1,
        (),
    )


@pytest.mark.parametrize(
    "text",
    [
        "a: &a [x, x]\nb: &b [*a, *a, *a]\nname: [*b, *b]\n",
        "[" * 5000,
        "a: 2020-99-99\n",
        "a: " + "9" * 5000 + "\n",
    ],
    ids=["aliases", "depth", "date", "digits"],
)
def test_yaml_that_would_hang_or_crash_is_refused(text, tmp_path):
    path = tmp_path / "bomb.yaml"
    path.write_text(text)
    with pytest.raises(ProfileError) as caught:
        read_profile(path)
    assert len(str(caught.value)) < 20_000


def test_all_that_is_needed_is_there():
    needed = {
        "loihi1", "loihi2", "truenorth", "spinnaker1", "spinnaker2", "speck", "xylo_a2", "odin",
        "digital_snn_45nm", "digital_int8_45nm", "cpu_measured", "gpu_measured",
        "jetson_tx1_measured",
    }  # fmt: skip
    assert needed <= set(profile_names())
    for name in needed:
        profile = hardware(name)
        assert profile.scope == "per_op" or set(profile.charged) <= {
            "synop",
            "synop_conv",
            "mac",
            "spike",
        }
        assert HardwareProfile.model_validate_json(profile.model_dump_json()) == profile


def test_digital_profiles_share_their_memories():
    memories = {hardware(f"digital_{kind}_45nm").memory for kind in ("int8", "fp32", "snn")}
    assert len(memories) == 1


def test_differences_are_listed_key_by_key():
    int8, fp32 = hardware("digital_int8_45nm"), hardware("digital_fp32_45nm")
    found = {item.key: (item.left, item.right) for item in differences(int8, fp32)}
    assert found["energy.mac.value"] == (0.3, 4.6)
    assert found["limits.weight_bits"] == (8, 32)
    assert not any(key.startswith(("memory", "name")) for key in found)
    assert differences(int8, int8) == ()


def test_the_barrier_grows_with_the_tiles():
    time = hardware("loihi1").time
    assert [time.barrier_for(n).value for n in (1, 2, 3, 29, 40)] == [600, 1000, 1400, 1800, 1800]
