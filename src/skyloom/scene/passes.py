"""One pass over a scene: each blend group is solved on the residual of everybody else.

A pass reads the present state of *all* sources and changes only the groups that it is given; groups
do not see each other's changes before the next pass.  The result is therefore the same
whatever the order, the process or the patch in which groups are solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._records import Images, Members, Outcome, Problem
from ._solver_nb import DEGENERATE, NO_DATA, solve_group
from .images import SceneGeometry, SceneImage
from .models import add_models, add_stamps, unit_stamps
from .sources import Sources, SourceType, has_parameter
from .transforms import ProfileVariant, PsfTransforms, kernel_tables, next_side

__all__ = ["FitOptions", "ScenePass", "SceneState"]


FOLD_SNR = 30.0
RING_MARGIN = 8  # pix: a PSF stamp that ends just beyond a ring does not need the larger stamp
COMPACT_RADIUS = 2.0  # pix: larger galaxies have no power where an undersampled PSF aliases


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """Control of a fit.

    Parameters
    ----------
    profile : {'exact', 'hl13'}
        Infinite Sersic laws, or the truncated mixtures of Hogg & Lang (2013).
    passes : int
        Passes over all groups after the first, linear one.
    max_iterations : int
        Levenberg-Marquardt steps per group and pass.
    tolerance : float
        Stop a group when chi-square is predicted to fall by less.
    max_ellipticity : float
        Largest (a-b)/(a+b).
    frozen_snr : float
        Sources fainter than this in total keep their position and shape.
    prior_snr : float
        Below this total S/N a prior about the starting values keeps size and shape near them.
    prior_log_r, prior_g, prior_log_n, prior_position : float
        Its widths: ln r, ellipticity, ln n, position [pix].
    offset_snr : float
        In bands where a source is brighter than this its image may lie off the joint position:
        registration and proper motion shift bright stars by more than their errors.
    prior_offset : float
        Width of the prior on these offsets about zero [pix].
    """

    profile: ProfileVariant = "exact"
    passes: int = 3
    max_iterations: int = 20
    tolerance: float = 0.01
    max_ellipticity: float = 0.85
    frozen_snr: float = 3.0
    prior_snr: float = 10.0
    prior_log_r: float = 0.3
    prior_g: float = 0.15
    prior_log_n: float = 0.3
    prior_position: float = 0.5
    offset_snr: float = 50.0
    prior_offset: float = 0.2


@dataclass(slots=True, kw_only=True)
class SceneState:
    """What is known of all sources of a scene after a pass; arrays that a pass updates.

    ``theta`` (n, 6), ``flux`` (n, F), ``theta_cov`` (n, 6, 6), ``flux_cov`` (n, F, F; diagonal NaN
    without data, inf where degenerate), ``evaluations``, ``iterations`` (n,) summed over passes,
    ``converged``, ``singular``, ``frozen``, ``started`` (n,), ``last_decrease`` (n,) of the
    objective, ``offset`` (n, F, 2) of the image in each band from the joint position [pix].
    """

    theta: Floats
    flux: Floats
    theta_cov: Floats
    flux_cov: Floats
    evaluations: Ints
    iterations: Ints
    converged: Bools
    singular: Bools
    frozen: Bools
    last_decrease: Floats
    started: Bools
    offset: Floats

    @classmethod
    def start(cls, sources: Sources, n_flux: int) -> SceneState:
        """Return the state before any pass: zero fluxes, infinite errors."""
        n = len(sources)
        cov = np.zeros((n, n_flux, n_flux))
        cov[:, np.arange(n_flux), np.arange(n_flux)] = np.inf
        return cls(
            theta=sources.theta.copy(),
            flux=np.zeros((n, n_flux)),
            theta_cov=np.zeros((n, 6, 6)),
            flux_cov=cov,
            evaluations=np.zeros(n, np.int64),
            iterations=np.zeros(n, np.int64),
            converged=np.zeros(n, np.bool_),
            singular=np.zeros(n, np.bool_),
            frozen=np.zeros(n, np.bool_),
            last_decrease=np.zeros(n),
            started=np.zeros(n, np.bool_),
            offset=np.zeros((n, n_flux, 2)),
        )

    def copy(self) -> SceneState:
        """Return an independent copy."""
        return SceneState(**{k: getattr(self, k).copy() for k in self.__dataclass_fields__})

    @property
    def flux_err(self) -> Floats:
        """Marginal standard errors of the fluxes, shape (n, F)."""
        return np.asarray(np.sqrt(np.einsum("nbb->nb", self.flux_cov)))

    @property
    def snr(self) -> Floats:
        """Signal-to-noise ratio of all fluxes together, shape (n,)."""
        with np.errstate(invalid="ignore"):
            ratio = np.nan_to_num(self.flux / self.flux_err, nan=0.0, posinf=0.0, neginf=0.0)
        return np.asarray(np.sqrt((np.maximum(ratio, 0.0) ** 2).sum(axis=1)))


class ScenePass:
    """A scene made ready for passes.

    Parameters
    ----------
    images : sequence of SceneImage
    sources : Sources
        Everything whose light reaches the images.
    options : FitOptions
    transforms : sequence of PsfTransforms, optional
        One per image, to be reused between scenes with the same PSFs.
    """

    def __init__(
        self,
        images: Sequence[SceneImage],
        sources: Sources,
        options: FitOptions,
        *,
        transforms: Sequence[PsfTransforms] | None = None,
    ) -> None:
        self.sources = sources
        self.options = options
        self.tables = kernel_tables(options.profile)
        self.reference = sources.theta[:, :2].copy()
        self.geometry = SceneGeometry(
            images, self.reference[:, 0], self.reference[:, 1], transforms=transforms
        )
        self.data = self.geometry.flatten([im.data for im in images])
        self.ivar = self.geometry.flatten([im.ivar for im in images])
        usable = np.isfinite(self.data) & np.isfinite(self.ivar) & (self.ivar > 0)
        self.data = np.where(usable, self.data, np.float32(0.0))
        self.ivar = np.where(usable, self.ivar, np.float32(0.0))
        self.source_variance = [im.source_variance for im in images]
        self.noise = np.array([_typical_noise(im.ivar) for im in images])
        self.psf_fwhm = max(im.psf.fwhm for im in images)
        self.psf_side = np.array([im.psf.basis.shape[-1] // im.psf.oversampling for im in images])
        self._profile = [_ring_brightness(im) for im in images]

    @property
    def n_flux(self) -> int:
        """Number of fluxes per source."""
        return len(self.geometry.flux_keys)

    def stamp_sides(self, state: SceneState) -> Ints:
        """Return the stamp side of every source [pix].

        A star has 32 px where its light at the edge of that stamp is below a tenth of the noise,
        else 64, 128 or 256 by the same rule, as far as the PSF is known; a galaxy needs 20 r_e
        (40 r_e for steep profiles), half of that below a S/N of 100, where the light that wraps
        around is far below the noise.
        """
        need = np.where(state.started, 32.0, 64.0)
        for b, (profile, side) in enumerate(zip(self._profile, self.psf_side, strict=True)):
            flux = np.abs(np.nan_to_num(state.flux[:, self.geometry.key[b]]))
            for (inner, amount), wide in zip(profile.items(), (64.0, 128.0, 256.0), strict=True):
                if side > 2 * inner + RING_MARGIN:
                    bright = flux * amount > 0.1 * self.noise[b]
                    need = np.where(bright, np.maximum(need, wide), need)
        radius = np.exp(state.theta[:, 2]) * np.sqrt(
            (1 + np.hypot(state.theta[:, 3], state.theta[:, 4]))
            / (1 - np.hypot(state.theta[:, 3], state.theta[:, 4]))
        )
        steep = (self.sources.kind == SourceType.DEV) | (
            (self.sources.kind == SourceType.SERSIC) & (state.theta[:, 5] > 2.0)
        )
        factor = np.where(steep, 40.0, 20.0) * np.where(state.snr > 100.0, 1.0, 0.5)
        galaxy = self.sources.kind != SourceType.STAR
        need = np.where(galaxy, np.maximum(need, factor * radius + 2.0 * self.psf_fwhm), need)
        return next_side(need)

    def residual(self, state: SceneState, sky: Floats | None = None) -> tuple[Pixels, Pixels]:
        """Return flat data minus models minus sky, and the weights with the models' own noise.

        ``sky`` (B,) levels of the images.
        """
        geometry = self.geometry
        residual = self.data.copy()
        if sky is not None:
            for b, (start, area) in enumerate(self.spans()):
                residual[start : start + area] -= np.float32(sky[b])
        smooth = residual.copy()
        sides = self.stamp_sides(state)
        rows = np.arange(len(self.sources))
        bright = _is_bright(state)
        flux = np.nan_to_num(state.flux)
        for chunk in np.array_split(rows, max(1, len(rows) // 64)):
            if len(chunk) == 0:
                continue
            members, theta = self.members(
                chunk,
                state.theta,
                sides,
                np.zeros((1, 2), np.int64),
                offset=state.offset,
                bright=bright,
            )
            images = Images(residual, residual, geometry.offsets, geometry.shapes, geometry.key)
            add_models(images, members, theta, flux[chunk], self.tables, sign=-1.0)
        weight = self.ivar.copy()
        for b, (start, area) in enumerate(self.spans()):
            if self.source_variance[b] > 0.0:
                part = slice(start, start + area)
                model = np.maximum(smooth[part] - residual[part], 0.0)
                weight[part] /= 1.0 + self.ivar[part] * np.float32(self.source_variance[b]) * model
        residual[self.ivar == 0.0] = 0.0
        return residual, weight

    def run(
        self,
        state: SceneState,
        groups: Mapping[int, Sequence[Ints]],
        *,
        sky: Floats | None = None,
        linear: bool = False,
        prepared: tuple[Pixels, Pixels] | None = None,
    ) -> SceneState:
        """Return the state after solving some groups.

        Parameters
        ----------
        state : SceneState
        groups : mapping
            Blocks of rows by group, see `BlendGroups.members`.
        sky : ndarray, shape (B,), optional
            Sky levels of the images.
        linear : bool
            Solve the fluxes only.
        prepared : tuple of ndarray, optional
            What `residual` returned for this state and sky, if it is known already.
        """
        residual, weight = prepared if prepared is not None else self.residual(state, sky)
        sides, snr = self.stamp_sides(state), state.snr
        after = state.copy()
        if linear:
            free = np.zeros((len(self.sources), 6), np.bool_)
        else:
            after.frozen = snr < self.options.frozen_snr
            free = self.sources.free & has_parameter(self.sources.kind) & ~after.frozen[:, None]
        mean, ivar = self._priors(state)
        upper = self.sources.upper.copy()
        # Larger sources than their stamp can hold wait for the larger stamp of the next pass.
        upper[:, 2] = np.minimum(upper[:, 2], np.log(sides / 6.0))
        lower = np.minimum(self.sources.lower, upper)
        none = np.zeros((len(self.sources), self.n_flux))
        flux_mean, flux_ivar = self.sources.flux_prior_mean, self.sources.flux_prior_ivar
        known = flux_mean is not None and flux_ivar is not None
        problem = Problem(
            free=free,
            lower=lower,
            upper=upper,
            mu=mean,
            w=ivar,
            flux_mu=np.asarray(flux_mean, dtype=np.float64) if known else none,
            flux_w=np.asarray(flux_ivar, dtype=np.float64) if known else none,
            g_max=float(self.options.max_ellipticity),
        )
        for blocks in groups.values():
            self._solve_blocks(
                blocks, after, problem, sides=sides, snr=snr, residual=residual, weight=weight
            )
        return after

    def model_of(
        self,
        state: SceneState,
        source: int,
        image: int,
        corner: tuple[int, int],
        shape: tuple[int, int],
    ) -> Pixels:
        """Return the model of one source in a box of one image.

        ``corner`` (x, y) is where the box starts in the image, ``shape`` its (ny, nx).
        """
        geometry = self.geometry
        n_images = geometry.n_images
        frame = np.tile(np.array(corner, dtype=np.int64), (n_images, 1))
        rows = np.array([source], dtype=np.int64)
        bright = _is_bright(state)
        members, theta = self.members(
            rows, state.theta, self.stamp_sides(state), frame, offset=state.offset, bright=bright
        )
        flux = np.zeros((1, self.n_flux))
        key = geometry.key[image]
        flux[0, key] = np.nan_to_num(state.flux[source, key])
        area = shape[0] * shape[1]
        out = np.zeros(n_images * area, np.float32)
        offsets = np.arange(n_images, dtype=np.int64) * area
        shapes = np.tile(np.array(shape, dtype=np.int64), (n_images, 1))
        images = Images(out, out, offsets, shapes, geometry.key)
        add_models(images, members, theta, flux, self.tables, sign=1.0)
        return out[image * area : (image + 1) * area].reshape(shape)

    def spans(self) -> list[tuple[int, int]]:
        """Return start and length of each image in the flat planes."""
        return [
            (int(o), int(h * w))
            for o, (h, w) in zip(self.geometry.offsets, self.geometry.shapes, strict=True)
        ]

    def members(
        self,
        rows: Ints,
        theta: Floats,
        sides: Ints,
        frame: Ints,
        *,
        offset: Floats | None = None,
        bright: Bools | None = None,
    ) -> tuple[Members, Floats]:
        """Return the kernel record of some sources and their parameters relative to it.

        ``offset`` as in `SceneState`; ``bright`` (n,) those whose PSF has to be exact (default:
        all), where aliases are folded if the PSF is oversampled.
        """
        relative = theta[rows].copy()
        relative[:, :2] -= self.reference[rows]
        corner = self.geometry.corners(rows, relative[:, :2], sides[rows])
        kind = self.sources.kind
        compact = (kind[rows] == SourceType.STAR) | (relative[:, 2] < np.log(COMPACT_RADIUS))
        if bright is not None:
            compact &= bright[rows]
        members = self.geometry.members(
            rows, kind, sides[rows], corner=corner, frame=frame, is_compact=compact
        )
        if offset is not None:
            shift = offset[rows][:, self.geometry.key]
            members = members._replace(pos=members.pos + shift)
        return members, relative

    def _priors(self, state: SceneState) -> tuple[Floats, Floats]:
        """Return centres and inverse variances of all priors, those of faint sources included."""
        sources, options = self.sources, self.options
        width = np.stack(
            np.broadcast_arrays(
                options.prior_position,
                options.prior_position,
                options.prior_log_r,
                options.prior_g,
                options.prior_g,
                options.prior_log_n * sources.theta[:, 5],
            ),
            axis=1,
        )
        faint = (state.snr < options.prior_snr)[:, None] & has_parameter(sources.kind)
        extra = np.where(faint, width**-2, 0.0)
        total = sources.prior_ivar + extra
        mean = sources.prior_ivar * sources.prior_mean + extra * sources.theta
        return np.where(total > 0.0, mean / np.where(total > 0.0, total, 1.0), 0.0), total

    def _solve_blocks(
        self,
        blocks: Sequence[Ints],
        state: SceneState,
        problem: Problem,
        *,
        sides: Ints,
        snr: Floats,
        residual: Pixels,
        weight: Pixels,
    ) -> None:
        """Solve the blocks of one group, brightest first, each on the others' latest models."""
        geometry = self.geometry
        everyone = np.concatenate(blocks)
        corner = geometry.corners(
            everyone, state.theta[everyone, :2] - self.reference[everyone], sides[everyone]
        )
        origin, shapes = _bounding_boxes(corner, sides[everyone])
        (shared, wgt), offset = geometry.cut([residual, weight], origin, shapes)
        group = Images(shared, wgt, offset, shapes, geometry.key)
        bright = np.zeros(len(self.sources), np.bool_)
        bright[everyone] = snr[everyone] > FOLD_SNR
        bright &= state.started
        order = np.argsort([-snr[rows].max() for rows in blocks], kind="stable")
        for index in order:
            rows = blocks[index]
            images, frame = group, origin
            if len(blocks) > 1:
                corner = geometry.corners(
                    rows, state.theta[rows, :2] - self.reference[rows], sides[rows]
                )
                frame, shapes = _bounding_boxes(corner, sides[rows])
                planes, offset = geometry.cut([shared, wgt], frame - origin, shapes, box=group)
                images = Images(planes[0], planes[1], offset, shapes, geometry.key)
            members, theta = self.members(
                rows, state.theta, sides, frame, offset=state.offset, bright=bright
            )
            flux = np.nan_to_num(state.flux[rows])
            values = unit_stamps(members, theta, flux[:, geometry.key] != 0.0, self.tables)
            add_stamps(images, members, values, flux, 1.0)
            before = flux.copy()
            self._solve(
                rows,
                members=members,
                theta=theta,
                flux=flux,
                images=images,
                state=state,
                problem=problem,
            )
            if len(blocks) > 1:
                placed = members._replace(origin=members.origin + (frame - origin))
                add_stamps(group, placed, values, before, 1.0)
                add_models(group, placed, theta, flux, self.tables, sign=-1.0)

    def _solve(
        self,
        rows: Ints,
        *,
        members: Members,
        theta: Floats,
        flux: Floats,
        images: Images,
        state: SceneState,
        problem: Problem,
    ) -> None:
        """Solve one block and store what came out; a failure leaves the state as it was."""
        m, n_flux = flux.shape
        shift = np.zeros((m, 6))
        shift[:, :2] = self.reference[rows]
        task = Problem(
            free=problem.free[rows],
            lower=problem.lower[rows] - shift,
            upper=problem.upper[rows] - shift,
            mu=problem.mu[rows] - np.where(problem.w[rows] > 0.0, shift, 0.0),
            w=problem.w[rows],
            flux_mu=problem.flux_mu[rows],
            flux_w=problem.flux_w[rows],
            g_max=problem.g_max,
        )
        outcome = Outcome(
            param_cov=np.empty((m, 6, 6)),
            flux_cov=np.empty((m, n_flux, n_flux)),
            chi2=np.empty(n_flux),
            singular=np.zeros(m, np.bool_),
            slope=np.empty((m, n_flux, 2)),
            curvature=np.empty((m, n_flux, 3)),
        )
        start = theta.copy(), flux.copy()
        evaluations, iterations, converged, last = solve_group(
            members,
            theta,
            flux,
            self.tables,
            images,
            task,
            float(self.options.tolerance),
            int(self.options.max_iterations),
            outcome,
        )
        flux_cov = outcome.flux_cov
        healthy = np.isfinite(theta).all() and np.isfinite(flux).all()
        if not healthy:
            theta[:], flux[:] = start
            converged = False
        diagonal = np.einsum("nbb->nb", flux_cov)
        variance = np.where(diagonal == NO_DATA, np.nan, diagonal)
        variance = np.where(diagonal == DEGENERATE, np.inf, variance)
        index = np.arange(n_flux)
        flux_cov[:, index, index] = variance
        state.theta[rows] = theta + shift
        state.flux[rows] = np.where(np.isnan(variance), np.nan, flux)
        state.theta_cov[rows] = outcome.param_cov if healthy else np.nan
        state.flux_cov[rows] = flux_cov if healthy else np.nan
        state.evaluations[rows] += evaluations
        state.iterations[rows] += iterations
        state.converged[rows] = converged
        state.singular[rows] = outcome.singular
        state.last_decrease[rows] = last
        state.started[rows] = True
        if healthy and problem.free[rows].any():
            self._shift_bands(rows, outcome.slope, outcome.curvature, state)

    def _shift_bands(self, rows: Ints, slope: Floats, curvature: Floats, state: SceneState) -> None:
        """Move the image of bright sources in each band by one Newton step towards its optimum."""
        with np.errstate(invalid="ignore"):
            bright = state.flux[rows] > self.options.offset_snr * state.flux_err[rows]
        bright &= self.sources.free[rows, :1] & ~state.frozen[rows, None]
        if not bright.any():
            return
        prior = self.options.prior_offset**-2.0
        before = state.offset[rows]
        gx, gy = (slope[..., i] - prior * before[..., i] for i in (0, 1))
        hxx, hxy, hyy = (curvature[..., i] for i in (0, 1, 2))
        hxx, hyy = hxx + prior, hyy + prior
        det = hxx * hyy - hxy**2
        step = np.stack([(hyy * gx - hxy * gy) / det, (hxx * gy - hxy * gx) / det], axis=-1)
        limit = 3.0 * self.options.prior_offset
        after = np.clip(before + np.clip(step, -limit, limit), -limit, limit)
        after = np.where(bright[..., None], after, 0.0)
        # Their weighted mean is zero: the joint position is the mean of the bands' positions.
        weight = np.where(bright, hxx + hyy, 0.0)[..., None]
        total = weight.sum(axis=1, keepdims=True)
        mean = (weight * after).sum(axis=1, keepdims=True) / np.where(total > 0.0, total, 1.0)
        state.offset[rows] = np.where(bright[..., None], after - mean, 0.0)


def _bounding_boxes(corner: Ints, side: Ints) -> tuple[Ints, Ints]:
    """Return corners x, y (B, 2) and shapes (B, 2) of the boxes that hold all stamps."""
    low = corner.min(axis=0)
    high = (corner + side[:, None, None]).max(axis=0)
    return low, (high - low)[:, ::-1].copy()


def _is_bright(state: SceneState) -> Bools:
    """Tell which sources need the exact PSF: below, 1e-3 of the peak is far below the noise."""
    return np.asarray((state.snr > FOLD_SNR) & state.started)


def _typical_noise(ivar: Pixels) -> float:
    """Return the median sky noise of the usable pixels (1 where there is none)."""
    good = ivar[np.isfinite(ivar) & (ivar > 0)]
    return float(1.0 / np.sqrt(np.median(good))) if good.size else 1.0


def _ring_brightness(image: SceneImage) -> dict[float, float]:
    """Return the PSF per unit flux on the rings where stamps of 32, 64, 128 px end, by radius."""
    basis = np.asarray(image.psf.basis)
    half = basis.shape[-1] // 2
    height, width = image.data.shape
    centre = image.psf.coefficients(
        np.array([image.origin[0] + 0.5 * width]), np.array([image.origin[1] + 0.5 * height])
    )
    stamp = np.tensordot(centre[0], basis, 1)
    y, x = np.mgrid[-half : half + 1, -half : half + 1] / image.psf.oversampling
    radius = np.hypot(x, y)
    rings = (14.0, 30.0, 62.0)
    cut = [np.abs(stamp[np.abs(radius - r) < 1.0]) for r in rings]
    return {r: float(np.median(v)) if v.size else 0.0 for r, v in zip(rings, cut, strict=True)}
