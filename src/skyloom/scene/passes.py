"""One pass over a scene: each blend group is solved on the residual of everybody else.

A pass reads the present state of *all* sources and changes only the groups that it is given; groups
do not see each other's changes before the next pass.  The result is therefore the same
whatever the order, the process, the thread or the patch in which groups are solved.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._driver_nb import solve_groups
from ._records import SINGLE_SIDE, Problem, Results, empty_results, unit_counts, white_noise
from ._store_nb import Found, Moved, store_covariances, store_solution
from .addresses import kernel_addresses
from .division import Division
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
        division = Division.of(groups)
        results = self._solve(after, free, division, residual, weight, tolerance=tolerance)
        solved = division.rows
        store_solution(solved, results, self.reference, _moved(after), _found(after))
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
        tasks = {int(both[0][0]): [np.concatenate(both)] for both in blocks}
        own = np.zeros(len(self.sources), np.int64)  # by the first row of each block
        own[list(tasks)] = [len(rows) for rows, _ in blocks]
        results = self._solve(after, free, Division.of(tasks), *prepared, own=own)
        rows = np.concatenate([rows for rows, _ in blocks])
        store_covariances(rows, results, _found(after))
        for name in ("shift", "departure"):
            found = getattr(results, name)[rows]
            getattr(after, name)[rows] = np.where(results.healthy[rows, None], found, 0.0)
        return after

    def _solve(
        self,
        state: SceneState,
        free: Bools,
        groups: Division,
        residual: Pixels,
        weight: Pixels,
        *,
        tolerance: float | None = None,
        own: Ints | None = None,
    ) -> Results:
        """Run the kernels over groups.

        With ``own`` (n,) only the covariances of so many rows of the block with this first row.
        """
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

        def solve(portion: Division) -> None:
            solve_groups(
                portion.rows,
                portion.block,
                portion.group,
                members,
                self.tables,
                images,
                problem,
                limit,
                int(self.options.max_iterations if own is None else 0),
                correlation,
                results,
                portion.block_sizes if own is None else own[portion.rows[portion.block[:-1]]],
                own is None,
                kernel_addresses(),
            )

        ordered = groups.brightest_first(state.snr)
        self.in_threads(solve, deal_out(ordered, state.side, self.options.threads))
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
            band_mu=self.band_mean,
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


def _found(state: SceneState) -> Found:
    """Return the arrays of a state that covariances go into."""
    return Found(*(getattr(state, name) for name in Found._fields))


def _moved(state: SceneState) -> Moved:
    """Return the arrays of a state that a pass fills besides."""
    return Moved(*(getattr(state, name) for name in Moved._fields))
