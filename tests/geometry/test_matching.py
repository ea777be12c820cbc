"""One-to-one matches, the common offset, and what lies beyond a footprint."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.geometry import Positions, beyond_footprint, common_offset, mutual_nearest

ARCSEC = 1.0 / 3600.0


def field(
    n: int = 200, *, seed: int = 1, ra: float = 150.0, dec: float = 2.0, side: float = 0.1
) -> Positions:
    rng = np.random.default_rng(seed)
    x = ra + rng.uniform(-0.5, 0.5, n) * side / np.cos(np.radians(dec))
    return Positions(x=x % 360.0, y=dec + rng.uniform(-0.5, 0.5, n) * side)


def test_a_pair_is_mutual_and_within_the_radius() -> None:
    old = Positions(x=np.array([10.0, 10.0 + 0.4 * ARCSEC, 20.0]), y=np.zeros(3))
    new = Positions(x=np.array([10.0 + 0.3 * ARCSEC, 20.0 + 2 * ARCSEC]), y=np.zeros(2))
    rows_old, rows_new = mutual_nearest(old, new, radius=1.0)
    assert rows_old.tolist() == [1]  # row 0 is near too, but row 1 is nearer
    assert rows_new.tolist() == [0]


@given(seed=st.integers(0, 10_000), dec=st.floats(-89.0, 89.0))
@settings(max_examples=25, deadline=None)
def test_matches_do_not_depend_on_the_order_of_rows(seed: int, dec: float) -> None:
    rng = np.random.default_rng(seed)
    old = field(60, seed=seed, dec=dec)
    new = old.shifted(0.2, -0.1)[rng.permutation(60)[:50]]
    shuffle = rng.permutation(50)
    first = dict(zip(*(r.tolist() for r in mutual_nearest(old, new, radius=1.0)), strict=True))
    second = mutual_nearest(old, new[shuffle], radius=1.0)
    assert first == {int(i): int(shuffle[j]) for i, j in zip(*second, strict=True)}


@pytest.mark.parametrize("dec", [0.0, 45.0, -89.95])
def test_separations_agree_with_astropy(dec: float) -> None:
    old, new = field(300, seed=1, dec=dec), field(300, seed=2, dec=dec)
    rows_old, rows_new = mutual_nearest(old, new, radius=15.0)
    a, b = (SkyCoord(p.x, p.y, unit="deg") for p in (old, new))
    nearest, separation, _ = a.match_to_catalog_sky(b)
    back = b.match_to_catalog_sky(a)[0]
    expected = np.flatnonzero((separation.arcsec < 15.0) & (back[nearest] == np.arange(300)))
    assert rows_old.tolist() == expected.tolist()
    assert rows_new.tolist() == nearest[expected].tolist()


def test_ra_wraps_and_missing_places_match_nothing() -> None:
    old = Positions(x=np.array([359.9999, np.nan, 5.0]), y=np.array([0.0, 0.0, np.inf]))
    new = Positions(x=np.array([0.0001, 5.0]), y=np.array([0.0, 0.0]))
    rows_old, rows_new = mutual_nearest(old, new, radius=1.0)
    assert (rows_old.tolist(), rows_new.tolist()) == ([0], [0])
    dx, dy = old.displacement(rows_old, new, rows_new)
    assert dx == pytest.approx([0.72])  # 0.0002 deg on the equator
    assert dy == pytest.approx([0.0])


@pytest.mark.parametrize("dec", [0.0, 60.0, -85.0])
@pytest.mark.parametrize("shift", [(0.3, -0.2), (3.1, 2.4)], ids=["small", "three radii"])
def test_the_common_offset_is_found_among_strangers(dec: float, shift: tuple[float, float]) -> None:
    rng = np.random.default_rng(3)
    truth = field(400, dec=dec)
    both = truth[np.arange(300)]
    strangers = field(150, seed=9, dec=dec)
    noise = rng.normal(0.0, 0.1, (2, 300))
    moved = both.shifted(*shift)
    new = Positions(
        x=np.r_[moved.x + noise[0] * ARCSEC / np.cos(np.radians(moved.y)), strangers.x],
        y=np.r_[moved.y + noise[1] * ARCSEC, strangers.y],
    )
    found = common_offset(truth, new, radius=1.0)
    # a median of 300: 1.25 * 0.1 / sqrt(300) = 0.007 arcsec, four of these
    assert (found.dx, found.dy) == pytest.approx(shift, abs=0.03)
    assert found.n > 250


def test_chance_coincidences_are_no_offset() -> None:
    found = common_offset(field(3000, seed=1), field(3000, seed=2), radius=1.0)
    assert not found.is_found
    assert (found.dx, found.dy) == (0.0, 0.0)


def test_distance_beyond_a_square() -> None:
    corners = np.array([[-1.0, -1.0], [1.0, -1.0], [1.0, 1.0], [-1.0, 1.0]]) * 60 * ARCSEC
    square = Positions(x=100.0 + corners[:, 0], y=corners[:, 1])
    places = Positions(
        x=100.0 + np.array([0.0, 70.0, -63.0, np.nan, 180 * 3600]) * ARCSEC,
        y=np.array([0.0, 0.0, 10.0, 0.0, 0.0]) * ARCSEC,
    )
    beyond = beyond_footprint(places, square)
    # a plane instead of the sphere: 1e-7 of a minute of arc
    assert beyond[:3] == pytest.approx([-60.0, 10.0, 3.0], abs=1e-4)
    assert np.isnan(beyond[3])
    assert beyond[4] == np.inf


def test_no_footprint_is_beyond_nothing() -> None:
    line = Positions(x=np.array([1.0, 2.0]), y=np.array([0.0, 0.0]))
    assert (beyond_footprint(line, line) == -np.inf).all()
