"""Stars moved by their proper motions, against astropy."""

from __future__ import annotations

import astropy.units as u
import numpy as np
import pytest
from astropy.coordinates import Distance, SkyCoord
from astropy.time import Time

from skyloom.calib import GaiaReference, at_epoch, julian_year, moved_positions, read_gaia_xp

# RA, Dec [deg], proper motions [mas / yr]: ordinary, Barnard's star, near both poles, on RA = 0
STARS = np.array(
    [
        [150.1, 2.2, 12.0, -30.0],
        [269.452, 4.693, -802.0, 10363.0],
        [37.95, 89.9999, 2500.0, -1500.0],
        [200.0, -89.99999, -900.0, -800.0],
        [0.0, 45.0, -5000.0, 10.0],
        [359.99999, 0.0, 9000.0, 0.0],
    ]
)


@pytest.mark.parametrize("years", [-28.3, -3.5, 0.0, 6.1, 50.0])
def test_positions_are_those_of_astropy(years):
    ra, dec, pmra, pmdec = STARS.T
    start = SkyCoord(
        ra * u.deg,
        dec * u.deg,
        pm_ra_cosdec=pmra * u.mas / u.yr,
        pm_dec=pmdec * u.mas / u.yr,
        distance=Distance(np.full(len(ra), 1.0) * u.pc),
        radial_velocity=np.zeros(len(ra)) * u.km / u.s,
        obstime=Time(2016.0, format="jyear", scale="tcb"),
    )
    there = start.apply_space_motion(new_obstime=Time(2016.0 + years, format="jyear", scale="tcb"))
    found = SkyCoord(*moved_positions(ra, dec, pmra, pmdec, years), unit="deg")
    # astropy follows the travel time of the light of stars that move at some km / s
    assert found.separation(there).arcsec.max() < 1e-4
    assert np.all((found.ra.deg >= 0) & (found.ra.deg < 360))


def test_a_straight_line_is_no_circle_of_declination():
    back = []
    for sign in (1.0, -1.0):
        ra, dec, pmra, _ = STARS[4]
        back.append(moved_positions(ra, dec, pmra, 0.0, sign * 20.0)[1] - dec)
    # a great circle bends away from the parallel by (pm t)^2 tan(Dec) / 2 on both sides
    bend = (5.0 * 20.0) ** 2 / 206264.806 / 2.0 / 3600.0
    assert back == pytest.approx([-bend, -bend], rel=1e-3)  # next order: (pm t)^2


def reference(**columns):
    columns = {name: np.asarray(values, float) for name, values in columns.items()}
    return GaiaReference(name="xp.csv", **columns)


def test_stars_without_a_motion_stay_and_say_so():
    gaia = reference(
        ra=[10.0, 10.0, 10.0],
        dec=[0.0, 0.0, 0.0],
        pmra=[1000.0, np.nan, 1000.0],
        pmdec=[0.0, 5.0, 0.0],
        ref_epoch=[2015.5, 2015.5, np.nan],
    )
    moved = at_epoch(gaia, 2026.0)
    assert moved.epoch.tolist() == [2026.0, 2015.5, 2026.0]
    arcsec = (moved.ra - 10.0) * 3600
    # the second counts from 2016, the epoch of DR3; 1e-6: rounding of degrees
    assert arcsec == pytest.approx([10.5, 0.0, 10.0], abs=1e-6)
    assert moved.ra[1] == 10.0


def test_nothing_moves_without_columns_or_epoch():
    plain = reference(ra=[10.0], dec=[0.0])
    assert at_epoch(plain, 2030.0) is plain
    fast = reference(ra=[10.0], dec=[0.0], pmra=[9.0], pmdec=[9.0])
    assert at_epoch(fast, None) is fast


def test_julian_year_of_an_mjd():
    assert julian_year(51544.5) == 2000.0
    assert julian_year(57388.5) == pytest.approx(Time(57388.5, format="mjd").jyear, abs=1e-9)


def test_columns_are_read_and_follow_their_rows(tmp_path, caplog):
    path = tmp_path / "xp.csv"
    path.write_text("ra,dec,pmra,pmdec,ref_epoch\n1,2,3,4,2016.0\n5,6,null,,2016.0\n")
    gaia = read_gaia_xp(path)
    assert gaia.pmra.tolist()[:1] == [3.0]
    assert np.isnan([gaia.pmra[1], gaia.pmdec[1]]).all()
    assert at_epoch(gaia, 2020.0).rows(np.array([False, True])).epoch.tolist() == [2016.0]
    path.write_text("ra,dec,pmra\n1,2,3\n")
    assert read_gaia_xp(path).pmra is None
    assert "has pmra but no pmdec: stars are not moved" in caplog.text
