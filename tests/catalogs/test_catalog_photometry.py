"""Magnitudes of catalogues."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from skyloom.catalogs import Field, Schema, SourceCatalog
from skyloom.errors import NotCalibrated, UnknownColumn
from skyloom.images import FluxFitParams, MosaicCalib, PhotoCalib, magnitude_errors

FLUX = np.array([1.0, 100.0, 0.0, -5.0, np.nan, 6.3095734448e10])
PARAMS = FluxFitParams(
    order=1, is_chebyshev=False, centre=(50.0, 50.0), scale=(100.0, 100.0), rotation=0.0,
    coefficients=(0.1, 0.02, -0.03),
)  # fmt: skip


@pytest.fixture
def sources():
    fields = [Field("base_SdssCentroid_x", "D"), Field("base_SdssCentroid_y", "D"),
              Field("base_PsfFlux_flux", "D"), Field("base_PsfFlux_fluxSigma", "D"),
              Field("lonely_flux", "D")]  # fmt: skip
    rng = np.random.default_rng(3)
    columns = {
        "base_SdssCentroid_x": rng.uniform(0, 100, 6),
        "base_SdssCentroid_y": rng.uniform(0, 100, 6),
        "base_PsfFlux_flux": FLUX,
        "base_PsfFlux_fluxSigma": np.full(6, 0.1),
        "lonely_flux": FLUX,
    }
    return SourceCatalog(Schema(fields), columns)


@pytest.mark.parametrize("flux", ["slot_PsfFlux", "flux.psf", "base_PsfFlux", "base_PsfFlux_flux"])
@pytest.mark.parametrize("calib", [27.0, PhotoCalib.from_zeropoint(27.0)])
def test_a_zero_point_of_27(sources, flux, calib):
    mag, mag_err = sources.magnitudes(flux, calib)  # warnings are errors here
    # 2.5 log10(6.3096e10) = 27
    assert mag == pytest.approx([27, 22, np.nan, np.nan, np.nan, 0], abs=1e-9, nan_ok=True)
    expected = 2.5 / np.log(10) * 0.1 / np.array([1, 100, np.nan, np.nan, np.nan, 6.3095734448e10])
    assert mag_err == pytest.approx(expected, rel=1e-12, nan_ok=True)


@pytest.mark.parametrize("kind", [dict, fits.Header])
def test_headers_with_fluxmag0(sources, kind):
    cards = [("FLUXMAG0", 6.3095734448e10), ("HIERARCH FLUXMAG0ERR", 6.3095734448e8)]
    header = kind(cards if kind is fits.Header else [(k.split()[-1], v) for k, v in cards])
    mag, mag_err = sources.magnitudes("flux.psf", header, with_calibration=True)
    assert mag[0] == pytest.approx(27.0, abs=1e-9)
    assert mag_err[1] == pytest.approx(2.5 / np.log(10) * np.hypot(1e-3, 1e-2), rel=1e-9)
    assert sources.magnitudes("flux.psf", header).mag_err[1] == pytest.approx(
        2.5 / np.log(10) * 1e-3
    )


def test_fluxmag0_of_zero_is_no_calibration(sources):
    with pytest.raises(NotCalibrated, match="FLUXMAG0 = 0"):
        sources.magnitudes("flux.psf", {"FLUXMAG0": 0.0})
    for nothing in (None, {}, "27"):
        with pytest.raises(NotCalibrated, match="no calibration is given; pass a zero point"):
            sources.magnitudes("flux.psf", nothing)


def test_mosaic_correction_varies_with_position(sources):
    calib = MosaicCalib(flux_mag0=1e10, ffp=PARAMS)
    mag = sources.magnitudes("flux.psf", calib).mag
    for i in (0, 1):
        correction = 0.1 + (0.02 * (sources.x[i] - 50) - 0.03 * (sources.y[i] - 50)) / 100
        assert mag[i] == pytest.approx(25.0 + correction - 2.5 * np.log10(FLUX[i]), abs=1e-12)
    header = {"FLUXMAG0": 1e10, **PARAMS.to_metadata()}
    assert np.array_equal(sources.magnitudes("flux.psf", header).mag, mag, equal_nan=True)
    cards = {"ORDER": 1, "CHEBYSHEV": False, "NCOEFF": 3, "U_MAX": 100.0, "V_MAX": 100.0,
             "X0": -50.0, "Y0": -50.0, "C_0_0": 0.1, "C_1_0": 0.02, "C_0_1": -0.03}  # fmt: skip
    theirs = sources.magnitudes("flux.psf", {"FLUXMAG0": 1e10, **cards}).mag  # of meas_mosaic
    np.testing.assert_allclose(theirs, mag, atol=1e-12)
    with pytest.raises(UnknownColumn, match="the catalogue has no centroid"):
        sources.without("base_SdssCentroid_x").magnitudes("flux.psf", calib)


def test_the_exposure_is_a_calibration(sources):
    class Exposure:
        photo_calib = PhotoCalib.from_zeropoint(25.0)

    assert sources.magnitudes(calib=Exposure()).mag[0] == pytest.approx(25.0)


def test_fluxes_without_error_or_name(sources):
    assert np.isnan(sources.magnitudes("lonely_flux", 27.0).mag_err).all()
    with pytest.raises(UnknownColumn, match=r"did you mean 'flux.psf'"):
        sources.magnitudes("flux.pfs", 27.0)
    with pytest.raises(UnknownColumn, match="does not say what 'slot_Centroid_instFlux' is"):
        sources.magnitudes("slot_Centroid", 27.0)
    with pytest.raises(UnknownColumn, match=r"'centroid.sdss' is no flux"):
        sources.magnitudes("centroid.sdss", 27.0)
    with pytest.raises(ValueError, match="float has no error"):
        sources.magnitudes("flux.psf", 27.0, with_calibration=True)


def test_errors_of_magnitudes():
    assert magnitude_errors(100.0, 1.0) == pytest.approx(0.010857, rel=1e-4)
    assert magnitude_errors(100.0, 3.0, calibration=0.04) == pytest.approx(0.05 * 1.0857, rel=1e-4)
