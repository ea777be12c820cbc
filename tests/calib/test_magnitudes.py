from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis.strategies import floats

from skyloom.calib import ZeroPointSurface, apply_zero_points, asinh_magnitude, softening

POGSON = 2.5 / np.log(10)


def table(flux, error, **columns):
    return Table({"FLUX_r_fit": np.asarray(flux, float), "FLUXERR_r_fit": error, **columns})


def test_errors_come_apart_into_flux_and_zero_point():
    out = apply_zero_points(table([100.0], [3.0]), {"r": (25.0, 0.04)}, bands=("r",))
    assert out["MAGERR_STAT_r_fit"][0] == pytest.approx(POGSON * 0.03, rel=1e-12)
    assert out["MAGERR_r_fit"][0] == pytest.approx(np.hypot(POGSON * 0.03, 0.04), rel=1e-12)
    assert out["MAG_r_fit"].unit == out["MAGERR_STAT_r_fit"].unit == "mag"


def test_fluxes_in_nanojansky_keep_their_sign():
    flux, zp = [1.0, -2.0, 0.0, np.nan], 31.4
    out = apply_zero_points(table(flux, np.full(4, 0.5)), {"r": (zp, 0.0)}, bands=("r",))
    # AB magnitude 31.4 is 1 nJy (48.6 mag for 1 erg/s/cm2/Hz)
    assert out["NJY_r"][:3] == pytest.approx([1.0, -2.0, 0.0], rel=1e-12)
    assert np.isnan(out["NJY_r"][3])
    assert out["NJYERR_r"][0] == pytest.approx(0.5, rel=1e-12)
    assert out["NJY_r"].unit == "nJy"


@given(mag=floats(14, 24), zp=floats(20, 30))
def test_magnitude_and_flux_agree(mag, zp):
    flux = 10 ** ((zp - mag) / 2.5)
    out = apply_zero_points(table([flux], [flux / 10]), {"r": (zp, 0.01)}, bands=("r",))
    assert 31.4 - 2.5 * np.log10(out["NJY_r"][0]) == pytest.approx(out["MAG_r_fit"][0])


def test_asinh_magnitudes_are_usual_when_bright_and_finite_when_not():
    flux = np.array([1e6, 1.0, 0.0, -5.0])
    mag, error = asinh_magnitude(flux, np.full(4, 2.0), np.full(4, 25.0), b=2.084)
    assert mag[0] == pytest.approx(25 - 15, abs=1e-9)  # (b / flux)**2 = 4e-12
    assert error[0] == pytest.approx(POGSON * 2e-6, rel=1e-9)
    assert mag[2] == pytest.approx(25 - 2.5 * np.log10(2.084), abs=1e-12)
    assert np.all(np.diff(mag) > 0)  # fainter and fainter
    step = 1e-4  # the error is the slope times the flux error
    up = asinh_magnitude(flux + step, flux, np.full(4, 25.0), b=2.084)[0]
    assert (mag - up)[1:] / step * 2.0 == pytest.approx(error[1:], rel=1e-4)


def test_the_softening_is_that_of_faint_sources():
    flux = np.r_[np.zeros(20), np.full(30, 1e5)]
    error = np.r_[np.full(20, 3.0), np.full(30, 300.0)]
    assert softening(flux, error) == pytest.approx(1.042 * 3.0)
    assert softening(flux[20:], error[20:]) == pytest.approx(1.042 * 300.0)
    assert np.isnan(softening(flux, np.full(50, np.nan)))


def test_limits_are_for_faint_rows_only():
    data = table([100.0, 2.0, -4.0, 1.0], [3.0, 1.0, 1.0, np.nan])
    out = apply_zero_points(data, {"r": (25.0, 0.0)}, bands=("r",), faint="limits")
    assert np.isnan(out["LIM_r_fit"][[0, 3]]).all()
    assert out["LIM_r_fit"][1] == pytest.approx(25 - 2.5 * np.log10(5.0))
    assert out["LIM_r_fit"][2] == pytest.approx(25 - 2.5 * np.log10(3.0))
    # a limit is never brighter than ... the magnitude lies below it
    assert out["LIM_r_fit"][1] < out["MAG_r_fit"][1]


@pytest.mark.parametrize(
    ("faint", "extra"),
    [("none", []), ("asinh", ["ASINH_r_fit", "ASINHERR_r_fit"]), ("limits", ["LIM_r_fit"])],
)
def test_columns_and_repetition(faint, extra):
    data = table([100.0, -1.0], [3.0, 1.0])
    once = apply_zero_points(data, {"r": (25.0, 0.1)}, bands=("r",), faint=faint)
    expected = ["MAG_r_fit", "MAGERR_r_fit", "MAGERR_STAT_r_fit", "NJY_r", "NJYERR_r"]
    assert once.colnames[2:] == expected + extra
    twice = apply_zero_points(once, {"r": (25.0, 0.1)}, bands=("r",), faint=faint)
    assert twice.colnames == once.colnames
    for name in once.colnames:
        assert np.array_equal(once[name], twice[name], equal_nan=True)
    other = apply_zero_points(once, {"r": (25.0, 0.1)}, bands=("r",))
    assert not any(name in other.colnames for name in extra)


def surface():
    return ZeroPointSurface(
        kind="plane",
        centre=(50.0, 50.0),
        scale=(50.0, 50.0),
        means=np.zeros(2),
        coefficients=np.array([0.02, 0.0]),
        covariance=np.diag([0.003**2, 0.0]),
        gain=5.0,
    )


def test_a_surface_moves_magnitudes_with_the_place():
    data = table(
        [100.0, 100.0, 100.0],
        np.full(3, 1.0),
        x_pix_white=[0.0, 0.0, 50.0],
        y_pix_white=np.full(3, 50.0),
        x_pix_white_fit=[0.0, 100.0, np.nan],  # no fit: the start counts
        y_pix_white_fit=[50.0, 50.0, np.nan],
    )
    plain = apply_zero_points(data, {"r": (25.0, 0.01)}, bands=("r",))
    bent = apply_zero_points(data, {"r": (25.0, 0.01)}, bands=("r",), surfaces={"r": surface()})
    assert (bent["MAG_r_fit"] - plain["MAG_r_fit"]).tolist() == pytest.approx([-0.02, 0.02, 0.0])
    expected = np.sqrt((POGSON * 0.01) ** 2 + 0.01**2 + 0.003**2)
    assert bent["MAGERR_r_fit"][0] == pytest.approx(expected)
    assert bent["MAGERR_STAT_r_fit"][0] == plain["MAGERR_STAT_r_fit"][0]
