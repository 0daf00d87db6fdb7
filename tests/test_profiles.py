"""A profile is checked on the way in, and says which key is wrong and why."""

from __future__ import annotations

import copy
import json

import pytest
import yaml

from snndeploy.errors import ProfileError
from snndeploy.hardware import GRADES, HardwareProfile, hardware, profile_names, read_profile

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


BAD = {
    "another unit": (changed("unit", "nJ"), r"energy\.synop\.unit: .*'pJ', 'ns' or 'mW'.*'nJ'"),
    "a unit of another group": (changed("unit", "ns"), "synop: unit ns, expected pJ"),
    "negative": (changed("low", -1.0), r"energy\.synop\.low: .*greater than or equal to 0"),
    "infinite": (changed("high", float("inf")), r"energy\.synop\.high: .*finite number"),
    "low above value": (changed("low", 2.5), r"low 2.5 <= value 2.0 <= high 3.0 fails"),
    "a number in quotes": (changed("value", "2"), r"energy\.synop\.value: .*valid number"),
    "no source": (lambda p: p["energy"]["synop"].pop("source"), r"energy\.synop\.source: Field"),
    "an empty source": (changed("source", ""), r"energy\.synop\.source: .*at least 3"),
    "an unknown grade": (changed("grade", "sure"), r"energy\.synop\.grade: .*'sure'"),
    "an unknown key": (lambda p: p.update(colour="red"), "colour: Extra inputs"),
    "an unknown event": (lambda p: p["energy"].update(magic=1), r"energy\.magic: Extra"),
    "no capability": (lambda p: p.pop("capability"), "needs a capability section"),
    "an all-in price and another": (all_in, r"prices synaptic operations only, found \['spike'\]"),
    "an all-in price and power": (all_in_with_power, r"only, found \['power.chip'\]"),
    "no cores": (lambda p: p.update(limits={"cores": 0}), r"limits\.cores: .*or equal to 1"),
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
