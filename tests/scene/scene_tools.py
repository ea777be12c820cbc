"""What the tests of the engine share: PSFs, GalSim truth, scenes with known answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import galsim
import numpy as np

from skyloom.protocols import Psf
from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, SceneImage, ScenePass, Sources, SourceType, render_scene
from skyloom.scene._driver_nb import cut_boxes
from skyloom.scene._gram_nb import evaluate, make_scratch
from skyloom.scene._render_nb import render_member
from skyloom.scene._solver_nb import make_normal

STAR, EXP, DEV, SERSIC = SourceType.STAR, SourceType.EXP, SourceType.DEV, SourceType.SERSIC
INDEX = {EXP: 1.0, DEV: 4.0}
GSPARAMS = galsim.GSParams(folding_threshold=1e-5, maxk_threshold=1e-6, maximum_fft_size=16384)


def light(name: str, fwhm: float) -> galsim.GSObject:
    """Return a GalSim PSF: 'moffat' (beta 3, infinite wings) or 'gaussian'."""
    if name == "moffat":
        return galsim.Moffat(beta=3.0, fwhm=fwhm, gsparams=GSPARAMS)
    return galsim.Gaussian(fwhm=fwhm, gsparams=GSPARAMS)


def draw(profile: galsim.GSObject, shape: tuple[int, int], x: float, y: float) -> np.ndarray:
    """Draw a profile, integrated over pixels, centred at pixel (x, y)."""
    ny, nx = shape
    offset = (x - (nx - 1) / 2, y - (ny - 1) / 2)
    image = profile.drawImage(nx=nx, ny=ny, scale=1.0, offset=offset, dtype=np.float64)
    return np.asarray(image.array)


def psf_stamp(name: str, fwhm: float, side: int) -> PixelPsf:
    """Return the effective PSF of `light`, cut to ``side`` pixels."""
    half = side // 2
    return PixelPsf(stamp=draw(light(name, fwhm), (side, side), half, half), fwhm_pix=fwhm)


def profile_of(kind: int, r: float, g1: float, g2: float, n: float) -> galsim.GSObject:
    """Return the GalSim twin of a source with unit flux, before the PSF."""
    index = INDEX.get(SourceType(kind), n)
    if index == 1.0:
        law = galsim.Exponential(half_light_radius=r, gsparams=GSPARAMS)
    else:
        law = galsim.Sersic(n=index, half_light_radius=r, gsparams=GSPARAMS)
    return law.shear(g1=g1, g2=g2)


def draw_source(
    kind: int, theta: Sequence[float], psf: galsim.GSObject, shape: tuple[int, int]
) -> np.ndarray:
    """Draw one source of unit flux with GalSim; ``theta`` as in `skyloom.scene.PARAMETERS`."""
    x, y, log_r, g1, g2, n = (float(v) for v in theta)
    if kind == STAR:
        return draw(psf, shape, x, y)
    galaxy = profile_of(kind, np.exp(log_r), g1, g2, n)
    return draw(galsim.Convolve(psf, galaxy, gsparams=GSPARAMS), shape, x, y)


@dataclass(frozen=True, kw_only=True)
class Scene:
    """A scene with its truth: noise-free images, sources at the truth, fluxes (n, F)."""

    images: list[SceneImage]
    sources: Sources
    flux: np.ndarray

    def noisy(self, rng: np.random.Generator) -> list[SceneImage]:
        """Return the images with Gaussian noise of their inverse variance."""
        result = []
        for im in self.images:
            with np.errstate(divide="ignore"):
                sigma = np.where(im.ivar > 0, 1 / np.sqrt(im.ivar), 0.0)
            noise = rng.normal(0.0, 1.0, im.data.shape) * sigma
            result.append(replace(im, data=(im.data + noise).astype(np.float32)))
        return result

    def __len__(self) -> int:
        return len(self.sources)


def blank(
    shape: tuple[int, int], psf: PixelPsf, *, sigma: float = 1.0, **more: object
) -> SceneImage:
    """Return an empty image of constant noise."""
    return SceneImage(
        data=np.zeros(shape, np.float32),
        ivar=np.full(shape, sigma**-2, np.float32),
        psf=psf,
        **more,  # type: ignore[arg-type]
    )


def make_scene(images: Sequence[SceneImage], sources: Sources, flux: np.ndarray) -> Scene:
    """Fill images with the engine's own models of sources: tests of the solver, not of models."""
    models = render_scene(images, sources, flux)
    filled = [replace(im, data=im.data + m) for im, m in zip(images, models, strict=True)]
    return Scene(images=filled, sources=sources, flux=np.asarray(flux, dtype=np.float64))


def nudged(sources: Sources, rng: np.random.Generator, *, shift: float = 0.3) -> Sources:
    """Return catalogue-like starts: positions off by ``shift``, sizes by 20 %, round shapes."""
    theta = sources.theta.copy()
    n = len(sources)
    theta[:, :2] += rng.normal(0.0, shift, (n, 2))
    return Sources.create(
        sources.kind,
        theta[:, 0],
        theta[:, 1],
        r=np.exp(theta[:, 2] + rng.normal(0.0, 0.2, n)),
        n=theta[:, 5],
    )


def unit_images(
    kind: int,
    theta: np.ndarray,
    psf: Psf,
    side: int,
    *,
    jac: np.ndarray | None = None,
    profile: str = "exact",
) -> np.ndarray:
    """Return value and derivatives of one source in its stamp, shape (n_par, side, side).

    ``theta[:2]`` counts from pixel (side / 2, side / 2).
    """
    middle = np.array([side / 2])
    start = Sources.create(np.array([kind]), middle, middle, r=float(np.exp(theta[2])))
    image = blank((side, side), psf, jacobian=None if jac is None else jac[None])
    scene = ScenePass([image], start, FitOptions(profile=profile))
    nowhere = np.zeros((1, 2), np.int64)
    members, relative = scene.members(np.arange(1), start.theta, np.array([side]), nowhere)
    assert not members.origin.any()
    scratch = make_scratch(members, scene.geometry.images(scene.data, scene.ivar))
    unit = np.empty((SourceType(kind).n_parameters + 1, side**2), np.float32)
    relative[0] = theta
    render_member(
        members, 0, 0, relative[0], scene.tables, scratch.work, scratch.planes, True, unit
    )  # fmt: skip
    return unit.astype(np.float64).reshape(-1, side, side)


def evaluated(
    images: Sequence[SceneImage], sources: Sources, flux: np.ndarray, *, side: int = 64
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return Gram matrix, gradient and chi-square of all sources taken as one group."""
    scene = ScenePass(images, sources, FitOptions())
    rows = np.arange(len(sources))
    sides = np.full(len(sources), side)
    shift = np.zeros((len(sources), 2))
    corner = scene.geometry.corners(rows, shift, sides)
    frame = corner.min(axis=0)
    shapes = ((corner + side).max(axis=0) - frame)[:, ::-1].copy()
    boxes = cut_boxes(scene.geometry.images(scene.data, scene.ivar), frame, shapes)
    members, theta = scene.members(rows, sources.theta, sides, frame)
    scratch = make_scratch(members, boxes)
    normal = make_normal(len(sources), scene.n_flux, int(scratch.first[-1]), len(images), 0)
    evaluate(members, theta, flux, scene.tables, boxes, scratch, normal, False)
    return normal.gram, normal.grad, normal.chi2


def full_frame_units(images: Sequence[SceneImage], sources: Sources) -> list[np.ndarray]:
    """Return per image the unit images of all sources in whole frames, shape (T, ny, nx)."""
    result = []
    for image in images:
        ny, nx = image.data.shape
        x = sources.theta[:, 0] if image.x is None else image.x
        y = sources.theta[:, 1] if image.y is None else image.y
        rows = []
        for s in range(len(sources)):
            jac = None if image.jacobian is None else image.jacobian[s]
            corner = np.floor([x[s] + 0.5, y[s] + 0.5]).astype(int) - 32
            theta = sources.theta[s].copy()
            to_reference = np.linalg.inv(np.eye(2) if jac is None else jac)
            theta[:2] = to_reference @ [x[s] - corner[0] - 32, y[s] - corner[1] - 32]
            for unit in unit_images(int(sources.kind[s]), theta, image.psf, 64, jac=jac):
                frame = np.zeros((ny + 128, nx + 128))
                frame[corner[1] + 64 : corner[1] + 128, corner[0] + 64 : corner[0] + 128] = unit
                rows.append(frame[64:-64, 64:-64])
        result.append(np.array(rows))
    return result
