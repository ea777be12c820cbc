"""One PSF for stars, another for galaxies."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.errors import WrongValue
from skyloom.protocols import Psf
from skyloom.psf import FieldPsf, HybridPsf, MoffatPsf, mixture_field
from skyloom.scene import FitOptions, SceneImage, Sources, SourceType, fit_scene

SHAPE = (90, 100)


def field(radius: float = 31.0) -> FieldPsf:
    basis = MoffatPsf(fwhm_pix=4.0, radius=radius).basis.copy()
    return FieldPsf(basis=basis, polynomial=np.ones((1, 1)), shape=SHAPE, fwhm=4.0)


def scene(kind: SourceType) -> Sources:
    return Sources.create(
        np.array([int(kind)]),
        np.array([48.3]),
        np.array([44.8]),
        r=np.array([3.0]),
        g1=np.array([0.1]),
        g2=np.array([0.0]),
        n=np.array([1.0]),
    )


def test_a_hybrid_psf_is_a_psf_that_is_its_first_for_points() -> None:
    exact = field()
    hybrid = HybridPsf(point=exact, extended=mixture_field(exact, 3))
    assert isinstance(hybrid, Psf)
    at = np.array([10.0]), np.array([20.0])
    star = np.tensordot(hybrid.coefficients(*at)[0], hybrid.basis, 1)
    galaxy = np.tensordot(hybrid.extended_coefficients(*at)[0], hybrid.basis, 1)
    np.testing.assert_allclose(star, exact.samples_at(10.0, 20.0), rtol=1e-6)  # float32
    # a sum of Gaussians keeps the light of what it stands for
    assert galaxy.sum() == pytest.approx(star.sum(), rel=1e-6)
    assert np.abs(galaxy - star).max() > 1e-4 * star.max()


def test_stamps_that_differ_are_refused() -> None:
    with pytest.raises(WrongValue, match="must be alike"):
        HybridPsf(point=field(), extended=field(radius=20.0))


@pytest.mark.parametrize("kind", [SourceType.STAR, SourceType.EXP])
def test_the_scene_convolves_each_kind_with_its_own(kind: SourceType) -> None:
    exact = field()
    mixture = mixture_field(exact, 2)
    data = np.random.default_rng(5).normal(0.0, 1.0, SHAPE).astype(np.float32)
    data[40:50, 44:54] += 30.0

    def flux(psf: Psf) -> float:
        image = SceneImage(data=data, ivar=np.ones(SHAPE, np.float32), psf=psf)
        return float(fit_scene([image], scene(kind), FitOptions()).flux[0, 0])

    hybrid = flux(HybridPsf(point=exact, extended=mixture))
    own, other = (exact, mixture) if kind == SourceType.STAR else (mixture, exact)
    # the same numbers summed with zeros among them: single precision of the pixels
    assert hybrid == pytest.approx(flux(own), rel=1e-5)
    assert abs(hybrid / flux(other) - 1.0) > 1e-3
