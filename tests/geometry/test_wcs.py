from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, Sip
from hypothesis import given
from hypothesis.strategies import floats, integers

from skyloom.errors import InputError
from skyloom.geometry import (
    Box,
    WcsTolerance,
    compare_wcs,
    cropped_wcs,
    pixel_scale,
    pixel_to_sky,
    sky_jacobian,
    sky_to_pixel,
    wcs_snapshot_header,
)


def tan(*, crval=(150.1, 2.2), scale=0.5, sip=False, rotation=0.0, cd=True):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"] if sip else ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = crval
    wcs.wcs.crpix = [257.0, 300.0]
    c, s = np.cos(np.deg2rad(rotation)), np.sin(np.deg2rad(rotation))
    matrix = np.array([[-c, s], [s, c]]) * scale / 3600
    if cd:
        wcs.wcs.cd = matrix
    else:
        wcs.wcs.cdelt = [scale / 3600] * 2
        wcs.wcs.pc = matrix * 3600 / scale
    if sip:
        a = np.zeros((3, 3))
        a[2, 0], a[0, 2] = 2e-6, -1e-6
        wcs.sip = Sip(a, 0.5 * a, None, None, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


@pytest.mark.parametrize("sip", [False, True])
def test_round_trip_and_nan(sip):
    wcs = tan(sip=sip, rotation=20)
    x, y = np.array([0.0, 500.0, np.nan, 3.3]), np.array([10.0, -20.0, 5.0, np.inf])
    ra, dec = pixel_to_sky(wcs, x, y)
    assert np.isnan(ra[2:]).all()
    assert np.isnan(dec[2:]).all()
    back_x, back_y = sky_to_pixel(wcs, ra, dec)
    # 1e-4 pix: the tolerance of astropy's iterative inverse
    assert back_x[:2] == pytest.approx(x[:2], abs=1e-4)
    assert back_y[:2] == pytest.approx(y[:2], abs=1e-4)
    assert np.isnan(back_x[2:]).all()


def test_the_reference_point_is_zero_based():
    x, y = sky_to_pixel(tan(), np.array([150.1]), np.array([2.2]))
    assert (x[0], y[0]) == pytest.approx((256.0, 299.0), abs=1e-9)  # rounding


@pytest.mark.parametrize("sip", [False, True])
def test_the_far_side_of_the_sky_and_nonsense_have_no_pixel(sip):
    ra, dec = np.array([330.1, 10.0, 150.1, np.inf]), np.array([-2.2, -80.0, 95.0, 0.0])
    x, y = sky_to_pixel(tan(sip=sip), ra, dec)
    assert np.isnan(x).all()
    assert np.isnan(y).all()
    empty = np.zeros(0)
    assert sky_to_pixel(tan(), empty, empty)[0].shape == (0,)


def test_declination_first_axes_are_understood():
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["DEC--TAN", "RA---TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [2.2, 150.1], [5.0, 9.0]
    wcs.wcs.cdelt = [1e-4, 1e-4]
    x, y = sky_to_pixel(wcs, np.array([150.1]), np.array([2.2]))
    assert (x[0], y[0]) == pytest.approx((4.0, 8.0), abs=1e-9)  # rounding


@given(x0=integers(0, 100), y0=integers(0, 100), x=floats(0, 400), y=floats(0, 400))
def test_a_crop_leaves_every_pixel_on_its_sky(x0, y0, x, y):
    wcs = tan(sip=True)
    shape = (50, 50)
    wcs.cpdis1 = DistortionLookupTable(
        np.linspace(-0.3, 0.3, 64, dtype=np.float32).reshape(8, 8), (1, 1), (1, 1), (70, 70)
    )
    cut = cropped_wcs(wcs, Box(x0, x0 + shape[1], y0, y0 + shape[0]))
    full = pixel_to_sky(wcs, np.array([x + x0]), np.array([y + y0]))
    part = pixel_to_sky(cut, np.array([x]), np.array([y]))
    # 1e-10 deg: rounding of degrees near 150
    assert np.allclose(full, part, rtol=0, atol=1e-10)
    assert wcs.wcs.crpix[0] == 257.0


@pytest.mark.parametrize("sip", [False, True])
def test_the_snapshot_header_carries_the_wcs(sip):
    wcs = cropped_wcs(tan(sip=sip, rotation=33), Box(10, 400, 20, 500))
    header = fits.Header.fromstring(wcs_snapshot_header(wcs).tostring())
    x, y = np.array([0.0, 389.0]), np.array([0.0, 400.0])
    # 1e-9 deg = 4 micro-arcsec: digits that a FITS card holds
    assert np.allclose(pixel_to_sky(WCS(header), x, y), pixel_to_sky(wcs, x, y), atol=1e-9)
    assert "DATE" not in header


@pytest.mark.parametrize(("scale", "cd"), [(0.2, True), (0.5, False)])
def test_pixel_scale(scale, cd):
    assert pixel_scale(tan(scale=scale, cd=cd, rotation=40)) == pytest.approx(scale, rel=1e-9)


def test_the_jacobian_is_the_cd_matrix_at_the_reference_point():
    wcs = tan(rotation=25, crval=(359.9999, -60.0))
    jacobian = sky_jacobian(wcs, np.array([256.0, np.nan]), np.array([299.0, 0.0]))
    # 1e-6: the finite difference sees the curvature of the tangent plane
    assert jacobian[0] == pytest.approx(np.asarray(wcs.wcs.cd) * 3600, abs=1e-6)
    assert np.isnan(jacobian[1]).all()


def test_equal_grids_pass():
    assert compare_wcs(tan(), tan(), name="b.fits", reference_name="a.fits") is None
    turned = tan(crval=(0.0, 1.0)), tan(crval=(360.0, 1.0))
    assert compare_wcs(*turned, name="b", reference_name="a") is None


def shifted(**changes):
    wcs = tan(cd=changes.pop("cd", True))
    for name, value in changes.items():
        array = np.array(getattr(wcs.wcs, name))
        array.flat[0] += value
        setattr(wcs.wcs, name, array)
    return wcs


@pytest.mark.parametrize(
    ("what", "wcs", "reference"),
    [
        ("CRVAL", shifted(crval=1e-5), tan()),
        ("CRPIX", shifted(crpix=1e-3), tan()),
        ("CD differs", shifted(cd=True) and tan(scale=0.5001), tan()),
        ("CDELT", tan(cd=False, scale=0.51), tan(cd=False)),
        ("PC", tan(cd=False, rotation=0.01), tan(cd=False)),
        ("only one", tan(cd=False), tan()),
        ("CTYPE", tan(sip=True), tan()),
    ],
)
def test_a_differing_grid_is_refused(what, wcs, reference, caplog):
    with (
        caplog.at_level(logging.WARNING),
        pytest.raises(RuntimeError, match=f"WCS mismatch with reference: b.fits.*{what}") as caught,
    ):
        compare_wcs(wcs, reference, name="b.fits", reference_name="a.fits")
    assert isinstance(caught.value, InputError)
    assert "[CHECK] WCS alignment FAILED" in caplog.text


def test_tolerances_are_absolute():
    loose = WcsTolerance(crpix=0.01)
    compare_wcs(shifted(crpix=0.009), tan(), name="b", reference_name="a", tolerance=loose)
    with pytest.raises(RuntimeError, match="CRPIX"):
        compare_wcs(shifted(crpix=0.011), tan(), name="b", reference_name="a", tolerance=loose)
