"""One pass over a scene: each blend group is solved on the residual of everybody else.

A pass reads the present state of *all* sources and changes only the groups that it is given; groups
do not see each other's changes before the next pass.  The result is therefore the same
whatever the order, the process, the thread or the patch in which groups are solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._covariance_nb import DEGENERATE, NO_DATA
from ._driver_nb import solve_groups
from ._records import SINGLE_SIDE, Problem, Results, empty_results, unit_counts, white_noise
from .addresses import kernel_addresses
from .offsets import shift_bands
from .prepared import PreparedScene, needs_exact_psf
from .sources import has_parameter
from .state import SceneState
from .threads import deal_out

__all__ = ["ScenePass"]


class ScenePass(PreparedScene):
    """A scene made ready for passes; parameters as of `PreparedScene`."""

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
            What `residual` returned for this state and sky, if it is known already; the stamps are
            then those of the state, see `resized`.
        tolerance : float, optional
            Instead of that of the options.
        hold : bool
            Let stamps only grow, and keep which sources are too faint to move, or held by priors;
            otherwise a source at such a limit may change its answer from pass to pass for ever.
        """
        if prepared is None:
            state = self.resized(state, hold=hold)
            prepared = self.residual(state, sky)
        residual, weight = prepared
        after = state.copy()
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
        and ``band_ivar`` say so, indices and what single bands have of their own are nuisance
        parameters, see `skyloom.scene.freedom`.
        """
        after = state.copy()
        free = self.sources.free & has_parameter(self.sources.kind) & ~after.frozen[:, None]
        tasks = [[np.concatenate(both)] for both in blocks]
        own = {int(rows[0]): len(rows) for rows, _ in blocks}
        results = self._solve(after, free, tasks, *prepared, own=own)
        rows = np.concatenate([rows for rows, _ in blocks])
        self._store_covariances(rows, results, after)
        for name in ("shift", "departure"):
            found = getattr(results, name)[rows]
            getattr(after, name)[rows] = np.where(results.healthy[rows, None], found, 0.0)
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
            bright=needs_exact_psf(state),
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
            band_w=self.band_ivar,
        )

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
