"""Real blends of five Hyper Suprime-Cam bands, fitted from nothing but their peaks."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

from skyloom.flags import FitFlag

sys.path.insert(0, str(Path(__file__).parents[2] / "bench"))
from hsc_blends import FOREIGN_PSF, Blend, BlendFit, core_variance, fit_blend, read_blends


@pytest.fixture(scope="module")
def blends(shared_data: Path) -> list[Blend]:
    folder = shared_data / "hsc_cosmos_blends"
    if not folder.is_dir():
        pytest.skip(f"no HSC blends at {folder}")
    return read_blends(folder)


@pytest.fixture(scope="module")
def fitted(blends: list[Blend]) -> tuple[list[BlendFit], float]:
    """All fits, and the processor time that they took [s]."""
    start = time.process_time()
    results = [fit_blend(blend) for blend in blends]
    return results, time.process_time() - start


def test_every_peak_of_every_blend_is_fitted(fitted: tuple[list[BlendFit], float]) -> None:
    results, seconds = fitted
    assert len(results) == 24
    assert sum(len(r.fit.flux) for r in results) == 141
    assert not any((r.fit.flags & (FitFlag.FAILED | FitFlag.NO_DATA)).any() for r in results)
    assert seconds < 60.0  # 7 s where this was written: a fit that hangs takes minutes


def test_fluxes_are_missing_only_where_pixels_are(fitted: tuple[list[BlendFit], float]) -> None:
    for result in fitted[0]:
        blend, missing = result.blend, np.isnan(result.fit.flux)
        at_peak = blend.weights[:, np.round(blend.y).astype(int), np.round(blend.x).astype(int)].T
        assert not (missing & (at_peak > 0)).any(), blend.name
        flagged = result.fit.flags & FitFlag.NO_DATA_BAND != 0
        np.testing.assert_array_equal(flagged, missing.any(axis=1), err_msg=blend.name)


def test_residuals_are_noise_in_the_median_blend(fitted: tuple[list[BlendFit], float]) -> None:
    chi2 = np.median([r.chi2 for r in fitted[0]], axis=0)
    # 24 blends of 500 to 8000 pixels: noise alone gives 1 within 0.02.  Above it is the structure
    # of galaxies that no Sersic law follows (1.13 at most, in z); below, correlated coadd noise.
    assert (chi2 > 0.9).all()
    assert (chi2 < 1.2).all()


def test_no_blend_runs_away(fitted: tuple[list[BlendFit], float]) -> None:
    # The worst hold stars of S/N 1000 per pixel, of whose light 0.5 % at the peak is 5 sigma, and
    # a face-on spiral: 4.3 in one band.  Neighbours solved apart from each other gave 10 to 100.
    for result in fitted[0]:
        if result.blend.name not in FOREIGN_PSF:
            assert (result.chi2 < 6.0).all(), result.blend.name


def test_the_blends_left_out_have_stars_sharper_than_the_psf(blends: list[Blend]) -> None:
    stars = {"43158172147388448": (19, 15), "43158172147389473": (18, 20)}
    assert set(stars) == FOREIGN_PSF
    for blend in blends:
        if blend.name in stars:
            x, y = stars[blend.name]
            for band in (3, 4):  # z, y
                star = core_variance(blend.images[band], x=x, y=y)
                psf = core_variance(blend.psfs[band], x=20, y=20)
                # By 10 to 17 %, at S/N 70 to 200 per pixel; no source is sharper than its PSF.
                assert star < 0.95 * psf
