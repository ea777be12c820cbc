"""Fields of many small blends drawn by GalSim, their noise, and the bound no fit can beat.

A template is a blend that GalSim draws once, with numerical derivatives; a field is a frame full
of templates, far apart, each with fluxes of its own.  One `fit_scene` call then measures hundreds
of independent realisations, and the Cramer-Rao bound of each comes from GalSim's images alone.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import galsim
import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "scene"))

from scene_tools import DEV, EXP, STAR, draw, draw_source, light, profile_of, psf_stamp

from skyloom.flags import FitFlag
from skyloom.scene import FitOptions, SceneImage, Sources, fit_scene

__all__ = [
    "DEV",
    "EXP",
    "STAR",
    "Field",
    "PullStats",
    "Pulls",
    "Template",
    "blend_template",
    "crowded_scene",
    "fit_field",
    "lone_template",
    "make_field",
    "neighbour_correlation",
    "pool",
    "pull_stats",
    "resampled_noise",
    "shifted_noise",
    "spread_fluxes",
    "starts",
]

CUT = 128  # pix, side of a drawn template; a pixel further out has 1e-7 of the light at most
STEPS = np.array([0.05, 0.05, 0.05, 0.02, 0.02])  # of x, y, ln r, g1, g2; error of order step**2
PSF_SIDE = 63  # pix, side of the PSF stamps that the engine gets
# Ten times the folding of `scene_tools`: 1e-4 of the light, spread over 1e5 pixels.
COARSE = galsim.GSParams(folding_threshold=1e-4, maxk_threshold=1e-5, maximum_fft_size=16384)


@dataclass(frozen=True, kw_only=True)
class Template:
    """A blend of unit fluxes about a common centre, as GalSim draws it.

    ``kind`` (m,), ``theta`` (m, 6) with positions about the middle of the stamp, ``unit``
    (m, B, CUT, CUT), ``gram`` (B, T, T): products of all images, first the m values, then their
    derivatives, source after source; ``owner`` (T - m,): whose derivative it is; ``fwhm`` (B,).
    """

    kind: np.ndarray
    theta: np.ndarray
    unit: np.ndarray
    gram: np.ndarray
    owner: np.ndarray
    fwhm: tuple[float, ...]

    def bound(self, flux: np.ndarray, sigma: float = 1.0) -> np.ndarray:
        """Return the Cramer-Rao errors of fluxes (n, m, B), everything free, in white noise."""
        n, m, n_bands = flux.shape
        extra = len(self.owner)
        fisher = np.zeros((n, m * n_bands + extra, m * n_bands + extra))
        shapes = slice(m * n_bands, None)
        for b, gram in enumerate(self.gram / sigma**2):
            rows = slice(b * m, (b + 1) * m)
            each = flux[:, self.owner, b]
            fisher[:, rows, rows] = gram[:m, :m]
            fisher[:, rows, shapes] = gram[:m, m:] * each[:, None, :]
            fisher[:, shapes, rows] = fisher[:, rows, shapes].transpose(0, 2, 1)
            fisher[:, shapes, shapes] += each[:, :, None] * gram[m:, m:] * each[:, None, :]
        variance = np.einsum("nii->ni", np.linalg.inv(fisher))[:, : m * n_bands]
        return np.sqrt(variance.reshape(n, n_bands, m).transpose(0, 2, 1))


def draw_coarse(
    kind: int, theta: np.ndarray, psf: galsim.GSObject, shape: tuple[int, int]
) -> np.ndarray:
    """Draw one source of unit flux like `scene_tools.draw_source`, several times faster."""
    if kind == STAR:
        return draw(psf, shape, theta[0], theta[1])
    galaxy = profile_of(kind, np.exp(theta[2]), theta[3], theta[4], theta[5])
    return draw(galsim.Convolve(psf, galaxy, gsparams=COARSE), shape, theta[0], theta[1])


def draw_template(kind: np.ndarray, theta: np.ndarray, fwhm: Sequence[float]) -> Template:
    """Draw sources and their derivatives in PSFs of Moffat's law with beta = 3."""
    psfs = [light("moffat", f) for f in fwhm]
    middle = np.array([CUT / 2, CUT / 2, 0.0, 0.0, 0.0, 0.0])
    unit = np.empty((len(kind), len(fwhm), CUT, CUT))
    slopes: list[list[np.ndarray]] = [[] for _ in fwhm]
    owner = []
    for s, (k, at) in enumerate(zip(kind, theta + middle, strict=True)):
        count = 2 if k == STAR else 5
        owner += [s] * count
        for b, psf in enumerate(psfs):
            unit[s, b] = draw_source(k, at, psf, (CUT, CUT))
            for p in range(count):
                step = np.zeros(6)
                step[p] = STEPS[p]
                ends = [draw_coarse(k, at + f * step, psf, (CUT, CUT)) for f in (-1, 1)]
                slopes[b].append((ends[1] - ends[0]) / (2.0 * STEPS[p]))
    flat = [
        np.concatenate([unit[:, b], slopes[b]]).reshape(-1, CUT * CUT) for b in range(len(fwhm))
    ]
    return Template(
        kind=np.asarray(kind), theta=np.asarray(theta), unit=unit, owner=np.array(owner),
        gram=np.array([u @ u.T for u in flat]), fwhm=tuple(fwhm),
    )  # fmt: skip


def blend_template(rng: np.random.Generator, fwhm: Sequence[float]) -> Template:
    """Draw a star, two exponentials and a de Vaucouleurs: neighbours 5 to 10 px apart."""
    while True:
        at = rng.uniform(-9.0, 9.0, (4, 2))
        apart = np.hypot(*(at[:, None] - at[None]).transpose(2, 0, 1))
        apart[np.diag_indices(4)] = np.inf
        nearest = apart.min(axis=1)
        if nearest.min() > 5.0 and nearest.max() < 10.0:
            break
    g = rng.normal(0.0, 0.15, (4, 2))
    theta = np.column_stack([at, np.log(rng.uniform(1.0, 2.0, 4)), g, np.ones(4)])
    return draw_template(np.array([STAR, EXP, EXP, DEV]), theta, fwhm)


def lone_template(rng: np.random.Generator, kind: int, r: float, fwhm: Sequence[float]) -> Template:
    """Draw one source by itself, within half a pixel of the middle."""
    theta = np.array([[*rng.uniform(-0.5, 0.5, 2), np.log(r), *rng.normal(0.0, 0.15, 2), 1.0]])
    return draw_template(np.array([kind]), theta, fwhm)


def crowded_scene(
    rng: np.random.Generator, fwhm: Sequence[float], *, count: int = 10, side: int = 128
) -> tuple[list[SceneImage], Sources, np.ndarray]:
    """Draw a scene of stars, exponentials and de Vaucouleurs of 0.5 to 6 px without noise.

    Sources lie in the central 100 pixels, at least 8 px apart.  Returns images of unit inverse
    variance, the sources at the truth, and their fluxes (count, B), S/N about 30 to 300.
    """
    at = np.empty((0, 2))
    while len(at) < count:
        new = rng.uniform(side / 2 - 50, side / 2 + 50, 2)
        if len(at) == 0 or np.hypot(*(at - new).T).min() > 8.0:
            at = np.vstack([at, new])
    kind = np.resize([STAR, EXP, DEV, EXP, STAR, DEV, EXP, STAR, DEV, EXP], count)
    log_r = np.log(0.5) + np.log(12.0) * (rng.permutation(count) + 0.5) / count
    truth = Sources.create(
        kind, *at.T, r=np.exp(log_r), g1=rng.normal(0, 0.15, count), g2=rng.normal(0, 0.15, count),
        n=4.0,
    )  # fmt: skip
    flux = 10 ** rng.uniform(2.7, 3.7, (count, len(fwhm)))
    images = []
    for b, f in enumerate(fwhm):
        psf, data = light("moffat", f), np.zeros((side, side))
        for k, theta, each in zip(kind, truth.theta, flux[:, b], strict=True):
            data += each * draw_coarse(int(k), theta, psf, data.shape)
        stamp = psf_stamp("moffat", f, PSF_SIDE)
        images.append(
            SceneImage(
                data=data.astype(np.float32), ivar=np.ones_like(data, np.float32), psf=stamp,
                flux_key=b,
            )
        )  # fmt: skip
    return images, truth, flux


def spread_fluxes(
    template: Template, count: int, snr: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return fluxes (count, m, B) whose S/N spread over a range; one flux of each blend is 0.

    S/N is flux over Cramer-Rao error, in noise of unit variance.
    """
    m, n_bands = template.unit.shape[:2]
    wanted = np.exp(rng.uniform(*np.log(snr), (count, m, n_bands)))
    if m > 1:
        dark = np.arange(count)
        wanted[dark, dark % m, (dark // m) % n_bands] = 0.0
    alone = 1.0 / np.sqrt(np.einsum("bii->ib", template.gram[:, :m, :m]))
    flux = wanted * alone
    for _ in range(8):  # the bound depends on the fluxes: a few rounds meet the S/N within 2 %
        flux = wanted * template.bound(flux)
    return flux


@dataclass(frozen=True, kw_only=True)
class Field:
    """Noise-free images of many blends, the truth, and the bound in noise of unit variance.

    ``sources`` at the truth; ``flux``, ``bound`` (n, B); ``images`` with unit inverse variance.
    """

    images: list[SceneImage]
    sources: Sources
    flux: np.ndarray
    bound: np.ndarray

    def noisy(self, rng: np.random.Generator) -> list[SceneImage]:
        """Return the images with white noise of unit variance."""
        shape = self.images[0].data.shape
        return self.with_noise([rng.standard_normal(shape, np.float32) for _ in self.images])

    def with_noise(self, noise: Sequence[np.ndarray]) -> list[SceneImage]:
        """Return the images with noise added, weighted by its measured variance."""
        return [
            replace(
                im,
                data=(im.data + n).astype(np.float32),
                ivar=np.full(im.data.shape, 1.0 / n.var(), np.float32),
            )
            for im, n in zip(self.images, noise, strict=True)
        ]


def make_field(
    templates: Sequence[Template], fluxes: Sequence[np.ndarray], *, pitch: int = 80
) -> Field:
    """Lay blends out on a grid, ``pitch`` pixels apart, in one frame per band.

    ``fluxes`` holds, per template, an array (n_i, m, B): that many copies.
    """
    cells = [(t, f) for t, all_of_it in zip(templates, fluxes, strict=True) for f in all_of_it]
    across = int(np.ceil(np.sqrt(len(cells))))
    fwhm = templates[0].fwhm
    side = pitch * (across - 1) + CUT
    frames = np.zeros((len(fwhm), side, side))
    theta = []
    for number, (template, flux) in enumerate(cells):
        x, y = pitch * (number % across), pitch * (number // across)
        frames[:, y : y + CUT, x : x + CUT] += np.einsum("mb,mbyx->byx", flux, template.unit)
        theta.append(template.theta + np.array([x + CUT / 2, y + CUT / 2, 0.0, 0.0, 0.0, 0.0]))
    table = np.concatenate(theta)
    kind = np.concatenate([t.kind for t, _ in cells])
    truth = Sources.create(
        kind, table[:, 0], table[:, 1], r=np.exp(table[:, 2]), g1=table[:, 3], g2=table[:, 4]
    )
    images = [
        SceneImage(
            data=frame.astype(np.float32),
            ivar=np.ones(frame.shape, np.float32),
            psf=psf_stamp("moffat", f, PSF_SIDE),
            flux_key=b,
        )
        for b, (frame, f) in enumerate(zip(frames, fwhm, strict=True))
    ]
    bounds = [t.bound(f) for t, f in zip(templates, fluxes, strict=True)]
    n_bands = len(fwhm)
    return Field(
        images=images,
        sources=truth,
        flux=np.concatenate([f.reshape(-1, n_bands) for f in fluxes]),
        bound=np.concatenate([b.reshape(-1, n_bands) for b in bounds]),
    )


def starts(truth: Sources, rng: np.random.Generator, *, kind: np.ndarray | None = None) -> Sources:
    """Return starts as catalogues give them: 0.3 px off per axis, sizes by 30 %, round."""
    n = len(truth)
    at = truth.theta[:, :2] + rng.normal(0.0, 0.3, (n, 2))
    r = np.exp(truth.theta[:, 2] + rng.normal(0.0, 0.3, n))
    return Sources.create(truth.kind if kind is None else kind, *at.T, r=r)


@dataclass(frozen=True, kw_only=True)
class Pulls:
    """What fits of noisy fields gave, one entry per source and band.

    ``error`` flux less truth, ``sigma`` as reported, ``bound`` Cramer-Rao, all in units of flux;
    ``snr`` true flux over bound, ``kind`` of the truth, ``flags``, ``evaluations``.
    """

    error: np.ndarray
    sigma: np.ndarray
    bound: np.ndarray
    snr: np.ndarray
    kind: np.ndarray
    flags: np.ndarray
    evaluations: np.ndarray

    def take(self, rows: np.ndarray) -> Pulls:
        """Return some entries."""
        return Pulls(**{k: getattr(self, k)[rows] for k in self.__dataclass_fields__})

    def between(self, low: float, high: float) -> Pulls:
        """Return the entries with a true S/N in a range."""
        return self.take((self.snr >= low) & (self.snr < high))

    def against(self, sigma: float) -> Pulls:
        """Return all with the bound in noise of another rms than 1, which the images have.

        Resampling moves noise beyond the frequencies of the sources only: what counts is the rms
        that white noise on pixels of this size has at the same power per area.  Pixels of 1.05
        with unit noise hold 1.05 squared times the power of unit pixels.
        """
        return replace(self, bound=self.bound * sigma, snr=self.snr / sigma)

    def of(self, kind: int) -> Pulls:
        """Return the entries of one kind of source."""
        return self.take(self.kind == kind)


def fit_field(
    field: Field,
    rng: np.random.Generator,
    *,
    images: Sequence[SceneImage] | None = None,
    options: FitOptions | None = None,
    kind: np.ndarray | None = None,
) -> Pulls:
    """Fit one noisy realisation (by default in white noise) from perturbed starts."""
    images = field.noisy(rng) if images is None else images
    fit = fit_scene(images, starts(field.sources, rng, kind=kind), options)
    per_band = np.ones((1, field.flux.shape[1]), np.int64)
    return Pulls(
        error=(fit.flux - field.flux).ravel(),
        sigma=fit.flux_err.ravel(),
        bound=field.bound.ravel(),
        snr=(field.flux / field.bound).ravel(),
        kind=(field.sources.kind[:, None] * per_band).ravel(),
        flags=(fit.flags[:, None] * per_band).ravel(),
        evaluations=(fit.evaluations[:, None] * per_band).ravel(),
    )


def pool(parts: Sequence[Pulls]) -> Pulls:
    """Join the results of several fits."""
    names = Pulls.__dataclass_fields__
    return Pulls(**{k: np.concatenate([getattr(p, k) for p in parts]) for k in names})


@dataclass(frozen=True, kw_only=True)
class PullStats:
    """Width and mean of pulls, with their standard errors.

    ``width`` standard, ``robust`` half the central 68.3 %, ``bias`` mean error over the bound,
    ``mean_pull`` over the reported error; ``scatter`` and ``reported``: standard deviation and mean
    reported error, over the bound.  ``dubious``: share without a finite error, left out.
    """

    n: int
    width: float
    robust: float
    bias: float
    mean_pull: float
    scatter: float
    reported: float
    dubious: float

    @property
    def width_err(self) -> float:
        """Standard error of ``width`` and ``scatter`` of normal pulls."""
        return float(1.0 / np.sqrt(2 * self.n))

    @property
    def robust_err(self) -> float:
        """Standard error of ``robust``: quantiles of a normal law, 1.37 times as uncertain."""
        return 1.37 * self.width_err

    @property
    def mean_err(self) -> float:
        """Standard error of ``bias`` and ``mean_pull``."""
        return float(1.0 / np.sqrt(self.n))

    HEADER = "       n   width  robust    bias  mean pull  scatter/CR  sigma/CR  no error"

    def __str__(self) -> str:
        return (
            f"{self.n:8d} {self.width:7.3f} {self.robust:7.3f} {self.bias:+7.3f}"
            f" {self.mean_pull:+10.3f} {self.scatter:11.3f} {self.reported:9.3f}"
            f" {self.dubious:9.4f}"
        )


def pull_stats(pulls: Pulls) -> PullStats:
    """Summarise the pulls that have a finite error."""
    good = np.isfinite(pulls.sigma) & ((pulls.flags & FitFlag.SINGULAR) == 0)
    kept = pulls.take(good)
    pull, error = kept.error / kept.sigma, kept.error / kept.bound
    low, high = np.quantile(pull, [0.1587, 0.8413])
    return PullStats(
        n=len(pull),
        width=float(pull.std()),
        robust=float(0.5 * (high - low)),
        bias=float(error.mean()),
        mean_pull=float(pull.mean()),
        scatter=float(error.std()),
        reported=float((kept.sigma / kept.bound).mean()),
        dubious=float(1.0 - good.mean()),
    )


def shifted_noise(
    shape: tuple[int, int], shift: tuple[float, float], rng: np.random.Generator
) -> np.ndarray:
    """Return white noise of unit variance, shifted by Lanczos-3 interpolation by (x, y) [pix]."""
    from scipy.ndimage import convolve1d  # noqa: PLC0415 - one use

    noise = rng.standard_normal(shape)
    for axis, s in ((1, shift[0]), (0, shift[1])):
        at = np.arange(-3, 4) + s
        taps = np.where(np.abs(at) < 3.0, np.sinc(at) * np.sinc(at / 3.0), 0.0)
        noise = convolve1d(noise, taps / taps.sum(), axis=axis, mode="wrap")
    return noise


def resampled_noise(
    shape: tuple[int, int], *, degrees: float, scale: float, rng: np.random.Generator
) -> np.ndarray:
    """Return white noise of another grid, rotated and ``scale`` pixels wide, Lanczos-3.

    Its correlation differs from place to place as the two grids come in and out of step.
    """
    ny, nx = shape
    reach = int(np.hypot(nx, ny) / scale) + 8
    noise = galsim.ImageD(rng.standard_normal((reach, reach)), scale=scale)
    white = galsim.InterpolatedImage(
        noise, x_interpolant=galsim.Lanczos(3, conserve_dc=True), normalization="sb",
        use_true_center=True, calculate_stepk=False, calculate_maxk=False,
    )  # fmt: skip
    turned = white.rotate(degrees * galsim.degrees)
    return turned.drawImage(nx=nx, ny=ny, scale=1.0, method="sb", dtype=np.float64).array


def neighbour_correlation(noise: np.ndarray) -> float:
    """Return the correlation of neighbours, mean of both axes."""
    noise = noise - noise.mean()
    pairs = (noise[:, 1:] * noise[:, :-1]).mean(), (noise[1:] * noise[:-1]).mean()
    return float(np.mean(pairs) / noise.var())
