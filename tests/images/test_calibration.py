"""Zero points, fields over an image, and the corrections of a mosaic."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.polynomial import chebyshev, polynomial

from skyloom.errors import NotCalibrated, UnsupportedFcr
from skyloom.geometry import Box
from skyloom.images import (
    ApCorrMap,
    ChebyshevField,
    Exposure,
    ExposureF,
    FluxFitParams,
    MosaicCalib,
    PhotoCalib,
    SkyWcs,
)


def test_zero_point_27():
    calibration = PhotoCalib.from_flux_mag0(6.3095734448e10)
    assert calibration.zeropoint == pytest.approx(27.0, abs=1e-9)
    assert calibration.magnitude(1.0) == pytest.approx(27.0, abs=1e-9)
    assert calibration.mean == pytest.approx(1e9 * 3630.7805477 / 6.3095734448e10, rel=1e-9)
    assert calibration.nanojansky(calibration.flux_mag0) == pytest.approx(3.6307805477e12, rel=1e-9)


@settings(deadline=None)  # other work may hold the machine up
@given(zp=st.floats(10, 35), mag=st.floats(5, 35))
def test_magnitudes_and_fluxes_are_inverse(zp, mag):
    calibration = PhotoCalib.from_zeropoint(zp)
    assert calibration.magnitude(calibration.flux(mag)) == pytest.approx(mag, abs=1e-9)
    assert calibration.zeropoint == pytest.approx(zp, abs=1e-9)
    again = PhotoCalib.from_flux_mag0(calibration.flux_mag0)
    assert again.mean == pytest.approx(calibration.mean, rel=1e-12)


def test_fluxes_that_are_not_positive_have_no_magnitude():
    found = PhotoCalib.from_zeropoint(27.0).magnitude(np.array([-1.0, 0.0, 1.0, np.nan]))
    assert np.isnan(found).tolist() == [True, True, False, True]


def test_errors():
    calibration = PhotoCalib.from_flux_mag0(1e12, 1e10)  # one percent
    assert calibration.flux_mag0_err == pytest.approx(1e10)
    assert calibration.magnitude_err(100.0, 1.0) == pytest.approx(2.5 / np.log(10) * 0.01)
    both = calibration.magnitude_err(100.0, 1.0, with_calibration=True)
    assert both == pytest.approx(2.5 / np.log(10) * np.hypot(0.01, 0.01))
    flux = calibration.nanojansky(100.0)
    assert calibration.nanojansky_err(100.0, 1.0) == pytest.approx(0.01 * flux)
    assert calibration.nanojansky_err(100.0, 1.0, with_calibration=True) == pytest.approx(
        np.hypot(0.01, 0.01) * flux
    )


@pytest.mark.parametrize("value", [0.0, -1.0, float("nan"), float("inf"), "many", True])
def test_no_zero_point(value):
    with pytest.raises(NotCalibrated) as caught:
        PhotoCalib.from_metadata({"FLUXMAG0": value})
    assert isinstance(caught.value, ValueError)


def test_no_keyword_is_no_calibration():
    assert PhotoCalib.from_metadata({}) is None
    with pytest.raises(NotCalibrated, match="no calibration"):
        PhotoCalib(mean=0.0)


def field():
    coefficients = np.array([[100.0, 3.0], [-2.0, 1.0]])
    return ChebyshevField(box=Box(0, 200, 0, 100), coefficients=coefficients)


def test_a_field_over_an_image():
    u, v = (2 * 30.0 - 199) / 200, (2 * 70.0 - 99) / 100
    assert field()(30.0, 70.0) == pytest.approx(100 + 3 * u - 2 * v + u * v)
    assert field().mean() == pytest.approx(100.0)
    y, x = np.indices((100, 200))
    assert field()(x, y).mean() == pytest.approx(100.0, abs=1e-9)  # symmetric terms cancel
    # x2 over [-1, 1] has the mean 1/3, so T_2 has -1/3
    second = ChebyshevField(box=Box(0, 10, 0, 10), coefficients=np.array([[1.0, 0.0, 3.0]]))
    assert second.mean() == pytest.approx(0.0)


def test_a_calibration_that_varies_comes_back(tmp_path):
    calibration = PhotoCalib(mean=100.0, err=1.0, field=field())
    exposure = ExposureF(20, 10)
    exposure.photo_calib = calibration
    exposure.ap_corr_map = ApCorrMap({"base_PsfFlux_instFlux": field(), "other": field()})
    exposure.write(tmp_path / "e.fits")
    back = Exposure.read(tmp_path / "e.fits")
    x, y = np.array([3.0, 150.0]), np.array([90.0, 4.0])
    assert np.array_equal(back.photo_calib.magnitude(5.0, x, y), calibration.magnitude(5.0, x, y))
    assert back.photo_calib.err == 1.0
    assert calibration.magnitude(1.0, 199.5, 49.5) == pytest.approx(31.4 - 2.5 * np.log10(103.0))
    assert list(back.ap_corr_map) == ["base_PsfFlux_instFlux", "other"]
    assert np.array_equal(back.ap_corr_map.at("other", x, y), field()(x, y))


def params(is_chebyshev=False):
    return FluxFitParams(
        order=2,
        is_chebyshev=is_chebyshev,
        centre=(1000.0, 2000.0),
        scale=(500.0, 1000.0),
        rotation=90.0,
        coefficients=(0.1, 0.02, -0.03, 0.004, 0.005, -0.006),
    )


def test_the_polynomial_of_the_correction():
    x, y = 1300.0, 1400.0
    u, v = (y - 2000) / 500, -(x - 1000) / 1000  # turned by 90 degrees
    expected = 0.1 + 0.02 * u - 0.03 * v + 0.004 * u**2 + 0.005 * u * v - 0.006 * v**2
    assert params()(x, y) == pytest.approx(expected, abs=1e-15)
    second = 0.004 * (2 * u**2 - 1) + 0.005 * u * v - 0.006 * (2 * v**2 - 1)
    assert params(True)(x, y) == pytest.approx(0.1 + 0.02 * u - 0.03 * v + second, abs=1e-15)


def test_the_jacobian_correction_makes_up_for_the_distortion():
    """A flat field divides the counts of a star by the area of its pixels; so it is given back."""
    distortion = {"A_ORDER": 3, "B_ORDER": 3, "A_3_0": 3e-10, "A_1_2": 3e-10, "B_0_3": 3e-10,
                  "B_2_1": 3e-10}  # fmt: skip
    header = {"CTYPE1": "RA---TAN-SIP", "CTYPE2": "DEC--TAN-SIP", "CRVAL1": 150.0, "CRVAL2": 2.0}
    header.update(CRPIX1=1001.0, CRPIX2=2001.0, CD1_1=-5e-5, CD2_2=5e-5, **distortion)
    wcs = SkyWcs.from_astropy(WCS(fits.Header(header)))
    assert wcs.relative_area(1000.0, 2000.0) == pytest.approx(1.0, abs=1e-9)
    x, y = np.meshgrid([10.0, 1000.0, 2000.0], [20.0, 2000.0, 4100.0])
    # radial: r' = r + k r**3 changes areas by (1 + k r**2) (1 + 3 k r**2), the projection by cos**3
    kr2 = 3e-10 * ((x - 1000.0) ** 2 + (y - 2000.0) ** 2)
    angle = np.arctan(np.radians(5e-5) * np.hypot(x - 1000.0, y - 2000.0) * (1.0 + kr2))
    expected = (1.0 + kr2) * (1.0 + 3.0 * kr2) * np.cos(angle) ** 3
    # 1e-8: differences over one pixel of positions that are rounded to 1e-14 deg
    assert np.allclose(wcs.relative_area(x, y), expected, rtol=0, atol=1e-8)
    metadata = {"FLUXMAG0": 10**10.8, **params().to_metadata()}
    plain = MosaicCalib.from_metadata(metadata)
    corrected = MosaicCalib.from_metadata(metadata, wcs=wcs)
    assert np.allclose(
        corrected.magnitude(100.0 / expected, x, y), plain.magnitude(100.0, x, y), atol=2e-8
    )
    as_field = corrected.photo_calib(Box(0, 2048, 0, 4176))
    off = as_field.magnitude(100.0, x, y) - corrected.magnitude(100.0, x, y)
    assert np.abs(off).max() < 2e-8  # as above


@pytest.mark.parametrize("is_chebyshev", [False, True])
def test_arrays_and_numbers_agree(is_chebyshev):
    ffp = params(is_chebyshev)
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 2048, (4, 25)), rng.uniform(0, 4176, (4, 25))
    one_by_one = [
        [float(ffp(a, b)) for a, b in zip(r, s, strict=True)] for r, s in zip(x, y, strict=True)
    ]
    assert np.allclose(ffp(x, y), one_by_one, rtol=0, atol=1e-12)


def test_the_correction_comes_back_from_its_keywords(tmp_path):
    metadata = {"FLUXMAG0": 10**10.8, **params().to_metadata()}
    again = FluxFitParams.from_metadata(metadata)
    assert again.to_metadata() == params().to_metadata()
    exposure = ExposureF(4, 3)
    exposure.metadata.update(metadata)
    exposure.write(tmp_path / "fcr.fits")
    calibration = MosaicCalib.from_metadata(Exposure.read(tmp_path / "fcr.fits").metadata)
    x, y = np.array([10.0, 2000.0]), np.array([4000.0, 3.0])
    assert np.allclose(calibration.zeropoint(x, y), 27.0 + params()(x, y), rtol=0, atol=1e-9)
    assert np.allclose(calibration.magnitude(100.0, x, y), calibration.zeropoint(x, y) - 5.0)
    assert np.isnan(calibration.magnitude(-1.0, 0.0, 0.0))
    as_field = calibration.photo_calib(Box(0, 2048, 0, 4176))
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 2047, 500), rng.uniform(0, 4175, 500)
    # 0.15 mag over the field: the series has converged to 1e-9
    off = as_field.magnitude(100.0, x, y) - calibration.magnitude(100.0, x, y)
    assert np.abs(off).max() < 2e-9
    exposure.photo_calib = as_field
    exposure.write(tmp_path / "calibrated.fits")
    back = Exposure.read(tmp_path / "calibrated.fits").photo_calib
    assert np.array_equal(back.magnitude(100.0, x, y), as_field.magnitude(100.0, x, y))


@pytest.mark.parametrize(
    ("change", "match"),
    [
        ({"FFPFORM": "meas_mosaic"}, "only 'skyloom-1' is known"),
        ({"FFPFORM": None}, "FFPFORM is None"),
        ({"FFPORDER": 40}, "is not 0 to 12"),
        ({"FFPORDER": 1.5}, "is not 0 to 12"),
        ({"FFPCHEB": 1}, "is not T or F"),
        ({"FFPC3": None}, "FFPC3 is None"),
        ({"FFPSX": 0.0}, "a scale is zero"),
        ({"FFPC0": float("nan")}, "not finite"),
    ],
)
def test_other_corrections_are_refused(change, match):
    with pytest.raises(UnsupportedFcr, match=match):
        FluxFitParams.from_metadata({**params().to_metadata(), **change})


def test_an_uncalibrated_correction_is_refused():
    for metadata in ({}, {"FLUXMAG0": 0.0}):
        with pytest.raises(NotCalibrated):
            MosaicCalib.from_metadata({**metadata, **params().to_metadata()})


@pytest.mark.parametrize("is_chebyshev", [False, True])
def test_corrections_of_meas_mosaic_are_read(is_chebyshev: bool) -> None:
    """``C_i_j`` belong to powers, or polynomials, of ``(x + X0) / U_MAX``; C_0_0 may be lacking."""
    rng = np.random.default_rng(7)
    table = np.triu(rng.normal(0, 0.02, (4, 4))[:, ::-1])[:, ::-1]  # i + j <= 3
    table[0, 0] = 0.0
    cards: dict[str, Any] = {"ORDER": 3, "ABSOLUTE": False, "CHEBYSHEV": is_chebyshev}
    cards |= {"NCOEFF": 9, "U_MAX": 18000.0, "V_MAX": 17500.0, "X0": -3120.5, "Y0": 840.25}
    cards |= {f"C_{i}_{j}": table[i, j] for i in range(4) for j in range(4 - i) if i + j}
    ffp = FluxFitParams.from_metadata(cards)
    x, y = rng.uniform(0, 4000, 20), rng.uniform(0, 2000, 20)
    u, v = (x - 3120.5) / 18000.0, (y + 840.25) / 17500.0
    evaluate = chebyshev.chebval2d if is_chebyshev else polynomial.polyval2d
    np.testing.assert_allclose(ffp(x, y), evaluate(u, v, table), atol=1e-15)
    assert ffp(x[0], y[0]) == pytest.approx(ffp(x, y)[0], abs=1e-15)
    back = FluxFitParams.from_metadata(ffp.to_metadata())
    np.testing.assert_array_equal(back(x, y), ffp(x, y))
    for change, message in (
        ({"NCOEFF": 8}, "has 9 coefficients C_i_j and NCOEFF = 8"),
        ({"C_4_0": 0.1, "NCOEFF": 10}, "C_4_0 beyond ORDER"),
        ({"U_MAX": 0.0}, "a scale is zero"),
        ({"CHEBYSHEV": "yes"}, "CHEBYSHEV = 'yes' is not T or F"),
        ({"C_1_0": "x"}, "keyword C_1_0 is 'x', a number is needed"),
        ({"ORDER": 99}, "ORDER = 99.0 is not 0 to 12"),
    ):
        with pytest.raises(UnsupportedFcr, match=message):
            FluxFitParams.from_metadata({**cards, **change})
