"""PSFs that do not change over the field."""

import galsim
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import WrongValue
from skyloom.protocols import Psf
from skyloom.psf import GaussianMixturePsf, MoffatPsf, PixelPsf, moffat_alpha, stamp_fwhm

MODELS = [
    MoffatPsf(fwhm_pix=4.0),
    GaussianMixturePsf.ncircular(fwhm_pix=4.0, n=3),
    PixelPsf(stamp=MoffatPsf(fwhm_pix=4.0, beta=2.5).basis[0]),
]


@pytest.mark.parametrize("psf", MODELS, ids=lambda p: type(p).__name__)
def test_models_satisfy_the_protocol(psf):
    assert isinstance(psf, Psf)
    k, side, again = psf.basis.shape
    assert k == 1
    assert side == again
    assert side % 2 == 1
    assert psf.basis.dtype == np.float32
    assert psf.oversampling == 1
    assert psf.coefficients(np.arange(3.0), np.arange(3.0)).shape == (3, 1)
    assert 0.9 < psf.basis.sum() < 1.0


@pytest.mark.parametrize("psf", MODELS[:2], ids=lambda p: type(p).__name__)
def test_fwhm_is_that_of_the_stamp(psf):
    # rings of half a pixel, linear between: 2 % of a FWHM of 4 pixels
    assert stamp_fwhm(psf.basis[0]) == pytest.approx(psf.fwhm, rel=0.02)


def test_moffat_alpha_of_the_specification():
    assert moffat_alpha(fwhm=4.0, beta=3.5) == pytest.approx(4.273605, abs=1e-6)


def test_gaussian_sigma_of_the_specification():
    assert GaussianMixturePsf.ncircular(fwhm_pix=4.0).sigmas[0] == pytest.approx(1.698644, abs=1e-6)


@given(fwhm=st.floats(2.5, 8.0), beta=st.floats(1.8, 5.0), radius=st.floats(10, 40))
@settings(max_examples=30, deadline=None)
def test_moffat_sums_to_the_light_inside_its_square(fwhm, beta, radius):
    psf = MoffatPsf(fwhm_pix=fwhm, beta=beta, radius=radius)
    assert psf.basis.shape[1] == 2 * int(np.ceil(radius)) + 1
    wide = MoffatPsf(fwhm_pix=fwhm, beta=beta, radius=150)
    cut = wide.basis.shape[1] // 2
    half = psf.basis.shape[1] // 2
    inner = slice(cut - half, cut + half + 1)
    # Both are normalised to the infinite plane; midpoint rule at FWHM 2.5: 1e-3
    assert psf.basis.sum() == pytest.approx(wide.basis[0, inner, inner].sum(), rel=1e-3)


def test_moffat_is_that_of_galsim():
    psf = MoffatPsf(fwhm_pix=4.0, beta=3.0, radius=20)
    truth = galsim.Moffat(beta=3.0, fwhm=4.0)
    image = truth.drawImage(nx=41, ny=41, scale=1, method="no_pixel", dtype=float).array
    # GalSim draws through a transform that wraps 1e-4 of the light
    np.testing.assert_allclose(psf.basis[0], image, atol=2e-4 * image.max())


@pytest.mark.parametrize("n", [1, 2, 3])
def test_mixtures_have_unit_flux(n):
    psf = GaussianMixturePsf.ncircular(fwhm_pix=3.0, n=n, radius=40)
    assert psf.basis.sum() == pytest.approx(1.0, abs=1e-6)  # single precision


@pytest.mark.parametrize(
    "make",
    [
        lambda: MoffatPsf(fwhm_pix=0.0),
        lambda: MoffatPsf(fwhm_pix=float("nan")),
        lambda: MoffatPsf(fwhm_pix=3.0, beta=1.0),
        lambda: GaussianMixturePsf(sigmas=(1.0,), weights=(0.5, 0.5)),
        lambda: GaussianMixturePsf(sigmas=(1.0, -2.0), weights=(0.5, 0.5)),
        lambda: GaussianMixturePsf.ncircular(fwhm_pix=3.0, n=4),
        lambda: PixelPsf(stamp=np.zeros((4, 4), np.float32)),
        lambda: PixelPsf(stamp=np.full((5, 5), np.nan, np.float32)),
    ],
)
def test_impossible_parameters_are_refused(make):
    with pytest.raises(WrongValue, match=r"must|choose|give"):
        make()
