"""Fixtures of the engine's tests."""

from __future__ import annotations

import pytest
from scene_tools import psf_stamp

from skyloom.psf import PixelPsf
from skyloom.scene import warm_up


@pytest.fixture(scope="session", autouse=True)
def _warm_kernels() -> None:
    """Compile or load all kernels once, so that no single test is blamed for it."""
    warm_up()


@pytest.fixture(scope="session")
def moffat() -> PixelPsf:
    """Moffat PSF of FWHM 4 px that fills a stamp of 64 px."""
    return psf_stamp("moffat", 4.0, 63)


@pytest.fixture(scope="session")
def small_psf() -> PixelPsf:
    """Gaussian PSF of FWHM 3 px that fits stamps of 32 px."""
    return psf_stamp("gaussian", 3.0, 25)
