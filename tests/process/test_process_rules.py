"""Harmonising headers by a rule file."""

from __future__ import annotations

import pytest
from astropy.io import fits

from skyloom.config import build_config, parse_yaml
from skyloom.errors import ConfigError, MissingConfig
from skyloom.process import CannotComputeHeader, HeaderRules, apply_rules, read_rules

RULES = """
rename: {DATE_OBS: DATE-OBS, exposure: EXPTIME}
copy_from: {OBJNAME: OBJECT}
translate: {FILTER: {"r SDSS": r, "2": g}}
types: {AIRMASS: float, NCOADD: int, FLAT: bool}
units: {EXPTIME: {from: ms, to: s}, FOCLEN: {from: mm, to: m}}
defaults: {OBSERVAT: Calar Alto, GAIN: 1e-1}
values: {ORIGIN: archive}
comments: {EXPTIME: "[s] exposure time", ORIGIN: who sent it}
delete: [TEMP*, WRONG]
cases:
  - when: {INSTRUME: "MOS*"}
    values: {DETECTOR: mosaic}
  - when: {INSTRUME: "CAF*", FILTER: "*"}
    values: {DETECTOR: cafos}
require: [EXPTIME]
history: harmonised
"""


@pytest.fixture
def rules():
    return build_config(HeaderRules, parse_yaml(RULES))


def header():
    return fits.Header([
        ("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("DATE_OBS", "1954-03-01", "start"),
        ("EXPOSURE", 1500), ("OBJECT", "M 31", "target"), ("FILTER", "r SDSS"),
        ("AIRMASS", "1.25"), ("NCOADD", "3.0"), ("FLAT", "yes"), ("FOCLEN", 5.0, "[cm] focal"),
        ("TEMP1", 1), ("TEMP2", 2), ("WRONG", 3), ("INSTRUME", "MOSAIC3"),
    ])  # fmt: skip


def test_every_kind_of_rule(rules):
    found = header()
    assert apply_rules(found, rules)
    expected = {"DATE-OBS": "1954-03-01", "EXPTIME": 1.5, "OBJNAME": "M 31", "FILTER": "r",
                "AIRMASS": 1.25, "NCOADD": 3, "FLAT": True, "FOCLEN": 0.05, "GAIN": 0.1,
                "OBSERVAT": "Calar Alto", "ORIGIN": "archive", "DETECTOR": "mosaic"}  # fmt: skip
    assert {key: found[key] for key in expected} == expected
    assert type(found["NCOADD"]) is int
    assert found["FLAT"] is True
    assert found.comments["EXPTIME"] == "[s] exposure time"
    assert found.comments["FOCLEN"] == "[m] focal"
    assert found.comments["DATE-OBS"] == "start"
    assert not {"DATE_OBS", "EXPOSURE", "TEMP1", "TEMP2", "WRONG"} & {*found}
    assert list(found).index("DATE-OBS") == 3  # renamed where it stood
    assert found["HISTORY"][0].endswith("harmonised")


def test_twice_is_once(rules):
    found = header()
    apply_rules(found, rules)
    before = found.tostring()
    assert not apply_rules(found, rules)
    assert found.tostring() == before


def test_failures_name_file_keyword_and_remedy(rules):
    cases = [
        ({"EXPOSURE": None}, "a.fits: required keyword EXPTIME is missing; add a default"),
        ({"AIRMASS": "high"}, "a.fits: AIRMASS = 'high' cannot be turned into float"),
        ({"NCOADD": 2.5}, "a.fits: NCOADD = 2.5 cannot be turned into int"),
        ({"FLAT": "maybe"}, "a.fits: FLAT = 'maybe' cannot be turned into bool"),
        ({"FOCLEN": (3.0, "[kg] focal")}, r"a.fits: FOCLEN in \[kg\] cannot be turned into \[m\]"),
        ({"FOCLEN": (3.0, "[quux] focal")}, r"a.fits: FOCLEN in \[quux\]"),
    ]
    for change, message in cases:
        found = header()
        for key, value in change.items():
            if value is None:
                del found[key]
            else:
                found[key] = value
        with pytest.raises(CannotComputeHeader, match=message):
            apply_rules(found, rules, where="a.fits")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rename: {NAXIS1: WIDTH}", "a keyword that does not describe the data layout"),
        ("values: {TOOLONGNAME: 1}", "a FITS keyword: up to 8"),
        ("unitz: {}", "rules.yaml:1: Unknown config key: unitz; did you mean 'units'"),
        (
            "units: {EXPTIME: {from: parrots, to: s}}",
            "from = 'parrots' must be a unit that astropy",
        ),
        ("types: {EXPTIME: complex}", "'int', 'float', 'str'"),
        ("cases: [{when: {}}]", "when"),
    ],
)
def test_mistakes_in_the_file(tmp_path, text, message):
    path = tmp_path / "rules.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=message):
        read_rules(path)
    with pytest.raises(MissingConfig):
        read_rules(tmp_path / "none.yaml")
