"""The renderer of simulated fields: closed forms, symmetries, and GalSim."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.integrate import dblquad, quad

from skyloom.geometry.box import Box
from skyloom.sim import Moffat, Sersic, render_galaxy, render_star

BOX = Box(0, 96, 0, 96)
PSF = Moffat(fwhm=3.3, beta=3.0, g1=0.03, g2=-0.02)


def test_moffat_has_its_width_at_half_maximum():
    psf = Moffat(fwhm=4.0, beta=2.7)
    assert psf(np.array(2.0), np.array(0.0)) == pytest.approx(0.5 * psf.peak, rel=1e-12)


def test_moffat_encloses_the_closed_form_flux():
    psf = Moffat(fwhm=4.0, beta=3.0)
    inside, _ = quad(lambda r: 2 * np.pi * r * float(psf(np.array(r), np.array(0.0))), 0, 9.0)
    assert psf.enclosed(9.0) == pytest.approx(inside, rel=1e-8)  # quadrature error


@given(g1=st.floats(-0.2, 0.2), g2=st.floats(-0.2, 0.2))
@settings(max_examples=20, deadline=None)
def test_shear_keeps_the_flux_of_a_star(g1, g2):
    sheared = render_star(Moffat(fwhm=3.5, beta=3.5, g1=g1, g2=g2), x=48.2, y=47.9, box=BOX)
    round_ = render_star(Moffat(fwhm=3.5, beta=3.5), x=48.2, y=47.9, box=BOX)
    # 2e-5: the corners of the square cut sheared wings a little differently
    assert sheared.sum() == pytest.approx(round_.sum(), abs=2e-5)


def test_moffat_reach_is_where_the_major_axis_meets_the_level():
    psf = Moffat(fwhm=4.0, beta=3.0, g1=0.1)
    radius = psf.reach(1e-5)
    assert psf(np.array(radius), np.array(0.0)) == pytest.approx(1e-5, rel=1e-10)
    assert psf.reach(1.0) == 0.0


def test_a_star_pixel_is_the_integral_of_the_profile():
    x, y = 40.3, 40.7
    stamp = render_star(PSF, x=x, y=y, box=BOX)
    for i, j in ((40, 41), (42, 39), (52, 40)):
        flux, _ = dblquad(
            lambda v, u: float(PSF(np.array(u), np.array(v))),
            i - 0.5 - x, i + 0.5 - x, j - 0.5 - y, j + 0.5 - y, epsrel=1e-9,
        )  # fmt: skip
        assert stamp[j, i] == pytest.approx(flux, rel=1e-4)  # two-point rule of the wings


def test_star_flux_in_the_box_is_the_enclosed_flux():
    psf = Moffat(fwhm=4.0, beta=3.0)
    stamp = render_star(psf, x=47.5, y=47.5, box=BOX)
    assert psf.enclosed(48.0) < stamp.sum() < psf.enclosed(48.0 * np.sqrt(2))


def test_star_centroid_is_its_position():
    stamp = render_star(Moffat(fwhm=4.0, beta=5.0), x=48.27, y=46.61, box=BOX)
    y, x = np.mgrid[:96, :96]
    # 1e-3 pix: the box is not centred on the star, so it cuts the wings unevenly
    assert (stamp * x).sum() / stamp.sum() == pytest.approx(48.27, abs=1e-3)
    assert (stamp * y).sum() / stamp.sum() == pytest.approx(46.61, abs=1e-3)


@pytest.mark.parametrize("n", [0.6, 1.0, 2.5, 4.0])
def test_sersic_has_unit_flux_and_half_of_it_inside_re(n):
    galaxy = Sersic(re=3.0, n=n, ell=0.4, theta=30.0)

    def ring(r: float) -> float:
        return 2 * np.pi * r * (1 - galaxy.ell) * float(galaxy.at_radius(np.array(r)))

    inside, _ = quad(ring, 0, 3.0)
    outside, _ = quad(ring, 3.0, np.inf, limit=200)
    assert inside == pytest.approx(0.5, abs=1e-7)
    assert outside == pytest.approx(0.5, abs=1e-6)


def test_theta_turns_from_plus_x_towards_plus_y():
    galaxy = Sersic(re=3.0, n=1.0, ell=0.6, theta=40.0)
    c, s = np.cos(np.radians(40)), np.sin(np.radians(40))
    assert galaxy(np.array(3 * c), np.array(3 * s)) == pytest.approx(
        galaxy.at_radius(np.array(3.0))
    )
    (stamp,) = render_galaxy(galaxy, [Moffat(fwhm=3.0, beta=4.0)], x=48.0, y=48.0, box=BOX)
    y, x = np.mgrid[:96, :96] - 48.0
    xx, yy, xy = ((stamp * a).sum() for a in (x * x, y * y, x * y))
    assert np.degrees(0.5 * np.arctan2(2 * xy, xx - yy)) == pytest.approx(40.0, abs=0.5)  # wrap


def test_a_galaxy_does_not_depend_on_the_box():
    galaxy = Sersic(re=2.0, n=1.0, ell=0.5, theta=-20.0)
    (big,) = render_galaxy(galaxy, [PSF], x=48.3, y=47.6, box=BOX)
    box = Box(16, 80, 8, 88)
    (small,) = render_galaxy(galaxy, [PSF], x=48.3, y=47.6, box=box)
    assert np.abs(small - big[box.slices]).max() < 2e-5 * big.max()  # light folded by the FFT


galsim = pytest.importorskip("galsim", reason="GalSim is the independent renderer (test extra)")
PARAMS = galsim.GSParams(
    folding_threshold=1e-4, maxk_threshold=1e-5, kvalue_accuracy=1e-7, maximum_fft_size=16384
)


def _galsim_picture(profile: galsim.GSObject, x: float, y: float) -> np.ndarray:
    offset = galsim.PositionD(x - 47.5, y - 47.5)
    return profile.drawImage(nx=96, ny=96, scale=1.0, offset=offset, dtype=float).array


def _galsim_psf(psf: Moffat) -> galsim.GSObject:
    return galsim.Moffat(beta=psf.beta, fwhm=psf.fwhm, gsparams=PARAMS).shear(g1=psf.g1, g2=psf.g2)


def test_a_star_agrees_with_galsim():
    ours = render_star(PSF, x=47.3, y=48.15, box=BOX)
    theirs = _galsim_picture(_galsim_psf(PSF), 47.3, 48.15)
    assert np.abs(ours - theirs).max() < 1e-5 * theirs.max()  # GalSim's k-space cut


@pytest.mark.parametrize("n", [0.6, 1.0, 2.0, 4.0], ids=lambda n: f"n{n}")
@pytest.mark.parametrize(("re", "ell"), [(0.9, 0.7), (3.0, 0.4), (6.0, 0.1)])
@pytest.mark.parametrize("oversampling", [3, 4])
def test_a_galaxy_agrees_with_galsim(n, re, ell, oversampling):
    galaxy = Sersic(re=re, n=n, ell=ell, theta=35.0)
    (ours,) = render_galaxy(galaxy, [PSF], x=47.3, y=48.15, box=BOX, oversampling=oversampling)
    twin = galsim.Sersic(n, half_light_radius=re * np.sqrt(1 - ell), gsparams=PARAMS)
    twin = twin.shear(q=1 - ell, beta=35 * galsim.degrees)
    profile = galsim.Convolve(twin, _galsim_psf(PSF), gsparams=PARAMS)
    theirs = _galsim_picture(profile, 47.3, 48.15)
    # 1e-3: aliasing of the thinnest galaxy at 3 samples per pixel reaches 4e-4
    assert np.abs(ours - theirs).max() < 1e-3 * theirs.max()
