"""One pass over a scene: each blend group is solved on the residual of everybody else.

A pass reads the present state of *all* sources and changes only the groups that it is given; groups
do not see each other's changes before the next pass.  The result is therefore the same
whatever the order, the process, the thread or the patch in which groups are solved.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._covariance_nb import DEGENERATE, NO_DATA
from ._driver_nb import solve_groups
from ._records import (
    SINGLE_SIDE,
    Images,
    Members,
    Problem,
    Results,
    empty_results,
    part_of,
    unit_counts,
    white_noise,
)
from ._values_nb import subtract_models
from .addresses import kernel_addresses
from .images import SceneGeometry, SceneImage, ring_brightness, typical_noise
from .offsets import shift_bands
from .options import FitOptions
from .sources import Sources, SourceType, has_parameter
from .stamps import StampRule, sersic_index
from .state import SceneState
from .threads import Threads, deal_out
from .transforms import PsfBank, kernel_tables

__all__ = ["ScenePass"]


FOLD_SNR = 30.0
COMPACT_RADIUS = 2.0  # pix: larger ones without a cusp have no power where a PSF aliases


class ScenePass:
    """A scene made ready for passes.

    Parameters
    ----------
    images : sequence of SceneImage
    sources : Sources
        Everything whose light reaches the images.
    options : FitOptions
    bank : PsfBank, optional
        Transforms of the PSFs of these images, shared by scenes.
    """

    def __init__(
        self,
        images: Sequence[SceneImage],
        sources: Sources,
        options: FitOptions,
        *,
        bank: PsfBank | None = None,
    ) -> None:
        self.sources = sources
        self.options = options
        self.tables = kernel_tables(options.profile)
        self.reference = sources.theta[:, :2].copy()
        self.geometry = SceneGeometry(images, self.reference[:, 0], self.reference[:, 1], bank=bank)
        self.data = np.zeros(self.geometry.length, np.float32)
        self.ivar = np.zeros(self.geometry.length, np.float32)

        def prepare(b: int) -> None:
            start, area = self.spans()[b]
            data, ivar = (
                np.asarray(p, np.float32).ravel() for p in (images[b].data, images[b].ivar)
            )
            usable = np.isfinite(data) & np.isfinite(ivar) & (ivar > 0)
            np.copyto(self.data[start : start + area], data, where=usable)
            np.copyto(self.ivar[start : start + area], ivar, where=usable)

        self.in_threads = Threads(options.threads)
        self.in_threads(prepare, range(len(images)))
        self._unusable = np.flatnonzero(self.ivar == 0.0)
        self.source_variance = [im.source_variance for im in images]
        self.noise = np.array([typical_noise(im.ivar) for im in images])
        self.psf_fwhm = max(im.psf.fwhm for im in images)
        self.correlation = white_noise(len(images))
        self.loose = np.zeros(len(sources), np.bool_)
        self.size_ivar = np.zeros(len(sources))
        self._stamps = StampRule(
            geometry=self.geometry,
            rings=np.stack(
                [
                    ring_brightness(im, transforms)
                    for im, transforms in zip(images, self.geometry.transforms, strict=True)
                ]
            ),
            noise=self.noise,
            psf_fwhm=self.psf_fwhm,
            fixed=options.stamp_side,
        )

    @property
    def n_flux(self) -> int:
        """Number of fluxes per source."""
        return len(self.geometry.flux_keys)

    def stamp_sides(self, state: SceneState) -> Ints:
        """Return the stamp side of every source [pix], see `StampRule`."""
        return self._stamps.sides(self.sources, state)

    def _sides(self, state: SceneState) -> Ints:
        """Return the sides that the state was fitted with, or else has to have."""
        if (state.side > 0).all():
            return state.side
        return np.where(state.side > 0, state.side, self.stamp_sides(state))

    def residual(
        self,
        state: SceneState,
        sky: Floats | None = None,
        *,
        reuse: tuple[Pixels, Pixels] | None = None,
    ) -> tuple[Pixels, Pixels]:
        """Return flat data minus models minus sky, and the weights with the models' own noise.

        ``sky`` (B,) levels of the images; ``reuse`` what an earlier call returned and nobody
        needs any more: its memory is used again, as fresh memory is slow to touch.
        """
        residual = reuse[0] if reuse is not None else np.empty(self.data.shape, np.float32)
        self._subtract(residual, state, sky)
        residual[self._unusable] = 0.0
        return residual, self._weight(residual, sky, reuse)

    def residual_after(
        self, residual: Pixels, before: SceneState, after: SceneState, rows: Ints
    ) -> tuple[Pixels, Pixels]:
        """Return what `residual` returns, where only some rows have changed since ``before``.

        ``residual`` is that of ``before``; it is not changed.
        """
        changed = residual.copy()
        self._subtract(changed, before, None, rows=rows, sign=-1.0)
        self._subtract(changed, after, None, rows=rows)
        changed[self._unusable] = 0.0
        return changed, self._weight(changed, None, None)

    def _weight(
        self, residual: Pixels, sky: Floats | None, reuse: tuple[Pixels, Pixels] | None
    ) -> Pixels:
        """Return the weights with the noise of the models that a residual has subtracted."""
        error = self.options.psf_error
        has_own_noise = error > 0.0 or any(v > 0.0 for v in self.source_variance)
        weight = self.ivar
        if has_own_noise:
            weight = reuse[1] if reuse is not None else np.empty_like(self.ivar)

        def add_noise(b: int) -> None:
            start, area = self.spans()[b]
            part = slice(start, start + area)
            level = np.float32(0.0 if sky is None else sky[b])
            model = np.maximum(self.data[part] - level - residual[part], 0.0)
            extra = np.float32(self.source_variance[b]) * model + np.float32(error**2) * model**2
            np.divide(self.ivar[part], 1.0 + self.ivar[part] * extra, out=weight[part])

        if has_own_noise:
            self.in_threads(add_noise, range(self.geometry.n_images))
        return weight

    def model(self, residual: Pixels, sky: Floats | None = None) -> Pixels:
        """Return the sum of all models that `residual` has subtracted; 0 in unusable pixels."""
        total = np.empty_like(residual)

        def add(b: int) -> None:
            start, area = self.spans()[b]
            part = slice(start, start + area)
            np.subtract(self.data[part], residual[part], out=total[part])
            if sky is not None:
                total[part] -= np.float32(sky[b])

        self.in_threads(add, range(self.geometry.n_images))
        total[self._unusable] = 0.0
        return total

    def _subtract(
        self,
        residual: Pixels,
        state: SceneState,
        sky: Floats | None,
        *,
        rows: Ints | None = None,
        sign: float = 1.0,
    ) -> None:
        """Fill with the data less sky and all models, two images at a time.

        With ``rows`` only subtract their models, times a sign, from what is there.
        """
        fill = rows is None
        shining = (np.nan_to_num(state.flux) != 0.0).any(axis=1)
        rows = np.flatnonzero(shining) if rows is None else rows[shining[rows]]
        spans = self.spans()
        geometry = self.geometry
        everywhere = np.zeros((geometry.n_images, 2), np.int64)
        members, theta = self.members(
            rows,
            state.theta,
            self._sides(state),
            everywhere,
            offset=state.offset,
            bright=_is_bright(state),
            in_threads=self.in_threads,
        )
        flux = np.nan_to_num(state.flux[rows])
        # Two images share a transform: always the same two, whatever the number of threads.
        everything = np.arange(geometry.n_images)
        pairs = [everything[i : i + 2] for i in everything[::2]]
        middle = len(rows) // 2 if self.options.threads > 1 else len(rows)
        halves = (slice(middle), slice(middle, None))[: 1 if middle == len(rows) else 2]
        is_half_done = [threading.Event() for _ in pairs]

        def share(task: tuple[int, int]) -> None:
            half, number = task
            which = pairs[number]
            images = Images(
                residual,
                residual,
                geometry.offsets[which],
                geometry.shapes[which],
                geometry.key[which],
                geometry.sky[which],
            )
            own = halves[half]
            if half == 1:
                is_half_done[number].wait()  # one after the other: rounding stays the same
            try:
                if half == 0 and fill:
                    for b in which:
                        part = slice(spans[b][0], sum(spans[b]))
                        np.subtract(
                            self.data[part],
                            np.float32(0.0 if sky is None else sky[b]),
                            out=residual[part],
                        )
                if len(rows):
                    seen = part_of(members, own, which)
                    subtract_models(images, seen, theta[own], flux[own], self.tables, sign)
            finally:
                is_half_done[number].set()

        self.in_threads(
            share, [(h, number) for h in range(len(halves)) for number in range(len(pairs))]
        )

    def run(
        self,
        state: SceneState,
        groups: Mapping[int, Sequence[Ints]],
        *,
        sky: Floats | None = None,
        linear: bool = False,
        prepared: tuple[Pixels, Pixels] | None = None,
        tolerance: float | None = None,
        hold: bool = False,
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
        tolerance : float, optional
            Instead of that of the options.
        hold : bool
            Let stamps only grow, and keep which sources are too faint to move, or held by priors;
            otherwise a source at such a limit may change its answer from pass to pass for ever.
        """
        residual, weight = prepared if prepared is not None else self.residual(state, sky)
        after = state.copy()
        side = self.stamp_sides(state)
        after.side = np.maximum(state.side, side) if hold else side
        if not hold:
            snr = state.object_snr(self.sources.anchor)
            after.frozen = (snr < self.options.frozen_snr) & state.started
            after.faint = (state.snr < self.options.prior_snr) & state.started
        free = self.sources.free & has_parameter(self.sources.kind) & ~after.frozen[:, None]
        if linear:
            free[:] = False
            after.frozen[:] = False
        results = self._solve(
            after, free, list(groups.values()), residual, weight, tolerance=tolerance
        )
        solved = np.concatenate([np.zeros(0, np.int64), *(b for g in groups.values() for b in g)])
        self._store(solved, results, after)
        if free.any():
            move = solved[results.healthy[solved]]
            shift_bands(
                self.sources,
                self.options,
                after,
                move,
                slope=results.slope[move],
                curvature=results.curvature[move],
            )
        return after

    def refine_errors(
        self,
        state: SceneState,
        blocks: Sequence[tuple[Ints, Ints]],
        prepared: tuple[Pixels, Pixels],
    ) -> SceneState:
        """Return the state with covariances, and ``shift``, anew, everything else unchanged.

        Parameters
        ----------
        state : SceneState
        blocks : sequence of tuple of ndarray
            Rows, and other rows whose freedom their errors take into account.
        prepared : tuple of ndarray
            What `residual` returned for this state.

        Notes
        -----
        Where `correlation` says so, the noise of neighbouring pixels is correlated; where `loose`
        and ``size_ivar`` say so, index and size of single bands are nuisance parameters, see
        `skyloom.scene.freedom`.
        """
        after = state.copy()
        free = self.sources.free & has_parameter(self.sources.kind) & ~after.frozen[:, None]
        tasks = [[np.concatenate(both)] for both in blocks]
        own = {int(rows[0]): len(rows) for rows, _ in blocks}
        results = self._solve(after, free, tasks, *prepared, own=own)
        rows = np.concatenate([rows for rows, _ in blocks])
        self._store_covariances(rows, results, after)
        after.shift[rows] = np.where(results.healthy[rows, None], results.shift[rows], 0.0)
        return after

    def _solve(
        self,
        state: SceneState,
        free: Bools,
        groups: Sequence[Sequence[Ints]],
        residual: Pixels,
        weight: Pixels,
        *,
        tolerance: float | None = None,
        own: Mapping[int, int] | None = None,
    ) -> Results:
        """Run the kernels over groups; with ``own`` only the covariances of so many rows each."""
        problem = self._problem(state, free)
        rows = np.arange(len(self.sources))
        members, theta = self.members(
            rows,
            state.theta,
            state.side,
            np.zeros((self.geometry.n_images, 2), np.int64),
            offset=state.offset,
            bright=_is_bright(state),
            count=unit_counts(free, self.sources.anchor),
            in_threads=self.in_threads,
        )
        results = empty_results(theta, np.nan_to_num(state.flux), len(self.geometry.sky_keys))
        images = self.geometry.images(residual, weight)
        correlation = self.correlation if own is not None else white_noise(len(images.offset))
        limit = float(self.options.tolerance if tolerance is None else tolerance)
        snr = state.snr

        def solve(portion: Sequence[Sequence[Ints]]) -> None:
            ordered = [
                sorted(blocks, key=lambda r: -snr[r].max()) if len(blocks) > 1 else blocks
                for blocks in portion
            ]
            flat = [block for blocks in ordered for block in blocks]
            sizes = np.array([len(b) for b in flat])
            solve_groups(
                np.concatenate(flat),
                np.concatenate([[0], np.cumsum(sizes)]),
                np.concatenate([[0], np.cumsum([len(blocks) for blocks in ordered])]),
                members,
                self.tables,
                images,
                problem,
                limit,
                int(self.options.max_iterations if own is None else 0),
                correlation,
                results,
                sizes if own is None else np.array([own[int(b[0])] for b in flat]),
                own is None,
                kernel_addresses(),
            )

        self.in_threads(solve, deal_out(groups, state.side, self.options.threads))
        return results

    def _problem(self, state: SceneState, free: Bools) -> Problem:
        """Return what the kernels may change, relative to the reference positions."""
        sources = self.sources
        mean, ivar = self._priors(state)
        upper = sources.upper.copy()
        # Larger sources than their stamp can hold wait for the larger stamp of the next pass.
        hold = np.where(state.side > SINGLE_SIDE, 2.0, 6.0)
        upper[:, 2] = np.minimum(upper[:, 2], np.log(state.side / hold))
        lower = np.minimum(sources.lower, upper)
        shift = np.zeros((len(sources), 6))
        shift[:, :2] = self.reference
        none = np.zeros((len(sources), self.n_flux))
        flux_mean, flux_ivar = sources.flux_prior_mean, sources.flux_prior_ivar
        known = flux_mean is not None and flux_ivar is not None
        return Problem(
            free=free,
            lower=lower - shift,
            upper=upper - shift,
            mu=mean - np.where(ivar > 0.0, shift, 0.0),
            w=ivar,
            flux_mu=np.asarray(flux_mean, dtype=np.float64) if known else none,
            flux_w=np.asarray(flux_ivar, dtype=np.float64) if known else none,
            g_max=float(self.options.max_ellipticity),
            loose=self.loose,
            size_w=self.size_ivar,
        )

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
        frame = np.tile(np.array(corner, dtype=np.int64), (geometry.n_images, 1))
        rows = np.array([source], dtype=np.int64)
        members, theta = self.members(
            rows,
            state.theta,
            self._sides(state),
            frame,
            offset=state.offset,
            bright=_is_bright(state),
        )
        which = np.array([image])
        out = np.zeros(shape, np.float32)
        images = Images(
            out.reshape(-1),
            out.reshape(-1),
            np.zeros(1, np.int64),
            np.array([shape], dtype=np.int64),
            geometry.key[which],
            geometry.sky[which],
        )
        flux = np.nan_to_num(state.flux[rows])
        subtract_models(
            images, part_of(members, slice(None), which), theta, flux, self.tables, -1.0
        )
        return out

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
        count: Ints | None = None,
        in_threads: Callable[..., None] | None = None,
    ) -> tuple[Members, Floats]:
        """Return the kernel record of some sources and their parameters relative to it.

        ``offset`` as in `SceneState`; ``bright`` (n,) those whose PSF has to be exact (default:
        all), where aliases are folded if the PSF is oversampled; ``count`` of unit images (n,),
        by default those of everything that the models have; ``in_threads``: that of this scene,
        unless the caller runs in one of its threads.
        """
        relative = theta[rows].copy()
        relative[:, :2] -= self.reference[rows]
        corner = self.geometry.corners(rows, relative[:, :2], sides[rows])
        kind = self.sources.kind[rows]
        compact = (kind == SourceType.STAR) | (relative[:, 2] < np.log(COMPACT_RADIUS))
        compact |= sersic_index(self.sources.kind[rows], relative) > 2.0
        if bright is not None:
            compact &= bright[rows]
        if count is None:
            count = unit_counts(has_parameter(self.sources.kind), self.sources.anchor)
        members = self.geometry.members(
            rows,
            kind,
            sides[rows],
            count=count[rows],
            anchor=self.sources.anchor[rows],
            corner=corner,
            frame=frame,
            is_compact=compact,
            in_threads=in_threads,
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
        faint = state.faint[:, None] & has_parameter(sources.kind)
        extra = np.where(faint, width**-2, 0.0)
        total = sources.prior_ivar + extra
        mean = sources.prior_ivar * sources.prior_mean + extra * sources.theta
        return np.where(total > 0.0, mean / np.where(total > 0.0, total, 1.0), 0.0), total

    def _store(self, rows: Ints, results: Results, state: SceneState) -> None:
        """Put what came out of the kernels into the state; a failure leaves it as it was."""
        theta = results.theta[rows].copy()
        theta[:, :2] += self.reference[rows]
        state.theta[rows] = theta
        state.flux[rows] = results.flux[rows]
        state.iterations[rows] += results.iterations[rows]
        state.converged[rows] = results.converged[rows]
        state.last_decrease[rows] = results.last[rows]
        state.gained[rows] = results.gained[rows]
        state.sky_absorbed[rows] = results.absorbed[rows]
        state.started[rows] = True
        self._store_covariances(rows, results, state)

    def _store_covariances(self, rows: Ints, results: Results, state: SceneState) -> None:
        """Put covariances into the state: NaN without data, infinite where degenerate."""
        healthy = results.healthy[rows, None]
        index = np.arange(self.n_flux)
        flux_cov = results.flux_cov[rows]
        diagonal = np.einsum("nbb->nb", flux_cov)
        variance = np.where(diagonal == NO_DATA, np.nan, diagonal)
        variance = np.where(diagonal == DEGENERATE, np.inf, variance)
        flux_cov[:, index, index] = variance
        state.flux[rows] = np.where(np.isnan(variance), np.nan, state.flux[rows])
        state.theta_cov[rows] = np.where(healthy[:, None], results.param_cov[rows], np.nan)
        state.flux_cov[rows] = np.where(healthy[:, None], flux_cov, np.nan)
        state.evaluations[rows] += results.evaluations[rows]
        state.singular[rows] = results.singular[rows]
        state.partner[rows] = results.partner[rows]
        state.pair_cov[rows] = results.pair_cov[rows]
        state.sky_response[rows] = results.response[rows]


def _is_bright(state: SceneState) -> Bools:
    """Tell which sources need the exact PSF: below, 1e-3 of the peak is far below the noise."""
    return np.asarray((state.snr > FOLD_SNR) & state.started)
