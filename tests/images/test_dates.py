"""When an image was taken."""

from __future__ import annotations

import pytest

from skyloom.images import header_mjd


@pytest.mark.parametrize(
    ("header", "mjd"),
    [
        ({"MJD-OBS": 57388.25}, 57388.25),
        ({"MJD-OBS": "57388.25", "MJD-AVG": 1.0}, 57388.25),
        ({"MJD-AVG": 57388.5, "DATE-OBS": "2001-01-01"}, 57388.5),
        ({"MJD-OBS": 0.0, "DATE-OBS": "2016-01-01T12:00:00"}, 57388.5),  # 0: a placeholder
        ({"DATE-OBS": "2016-01-01"}, 57388.0),
        ({"DATE-OBS": "2016-01-01T12:00:00.000Z"}, 57388.5),
        ({"DATE-OBS": "31/12/99"}, 51543.0),
        ({"DATE-OBS": "last night", "DATE-AVG": "2016-01-01T06:00"}, 57388.25),
        ({"DATE-OBS": "last night"}, None),
        ({"MJD-OBS": True}, None),
        ({"MJD-OBS": float("nan")}, None),
        ({}, None),
    ],
)
def test_the_first_usable_keyword_counts(header, mjd):
    found = header_mjd(header.get)
    assert found == (None if mjd is None else pytest.approx(mjd, abs=1e-6))  # 0.1 s
