"""Every model fitted to every source, each alone in a box without its neighbours.

All candidates of a source see the same data with the same weights.  Their improvements of
chi-square over no source at all therefore differ by what the models are, and by nothing else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Floats, Ints

from ._covariance_nb import DEGENERATE, NO_DATA
from ._records import Problem
from .cells import Cells
from .choice import (
    CANDIDATES,
    NO_SOURCE,
    ChoiceRules,
    candidates_to_try,
    decide_types,
    signed_improvement,
)
from .passes import ScenePass
from .sources import SourceType, has_parameter
from .state import SceneState
from .transforms import STAMP_SIDES

__all__ = ["Candidates", "box_sides", "fit_best", "fit_in_turn", "images_by_key", "stamp_sides_as"]

TOLERANCE = 0.1  # of chi-square: far below every margin of the rules
ELLIPTICITY_PRIOR = 0.5  # width, as of `Sources.create`
START_RADIUS = 0.5  # of the FWHM: a galaxy next to a star
LEAST_RADIUS = 0.2  # of the FWHM: an ellipse that can be seen
SHRUNK = 1.5  # factor in radius by which wings count less for the choice than for fluxes
ENLARGED = 3  # times that a model may ask for a larger stamp

_STAR, _REX, _EXP, _DEV, _SERSIC = range(5)  # columns


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidates:
    """What is known of m sources as each of the `CANDIDATES`; arrays that fits fill.

    ``dchisq`` (m, 5), ``theta`` (m, 5, 6), ``flux``, ``flux_err`` (m, 5, F): NaN where not tried or
    failed; ``side`` (m, 5) of the stamps [pix], 0: not tried; ``need`` (m, 5) that they should
    have had.
    """

    dchisq: Floats
    theta: Floats
    flux: Floats
    flux_err: Floats
    side: Ints
    need: Ints

    @classmethod
    def none(cls, m: int, n_flux: int) -> Candidates:
        """Return the record before any fit."""
        n = len(CANDIDATES)
        return cls(
            dchisq=np.full((m, n), np.nan),
            theta=np.full((m, n, 6), np.nan),
            flux=np.full((m, n, n_flux), np.nan),
            flux_err=np.full((m, n, n_flux), np.nan),
            side=np.zeros((m, n), np.int64),
            need=np.zeros((m, n), np.int64),
        )

    def take(self, which: Ints) -> Candidates:
        """Return some sources."""
        names = self.__dataclass_fields__
        return Candidates(**{name: getattr(self, name)[which] for name in names})

    def put(self, which: Ints, other: Candidates) -> None:
        """Replace some sources."""
        for name in self.__dataclass_fields__:
            getattr(self, name)[which] = getattr(other, name)

    def best(self, rules: ChoiceRules) -> Ints:
        """Return the column of each chosen model, of the star where none is."""
        kind, _ = decide_types(self.dchisq, rules)
        column = np.zeros(max(CANDIDATES) + 1, np.int64)
        column[list(CANDIDATES)] = np.arange(len(CANDIDATES))
        return np.where(kind == NO_SOURCE, _STAR, column[kind])


def fit_in_turn(
    cells: Cells, known: Candidates, rules: ChoiceRules, variance_factor: Floats
) -> Candidates:
    """Fit every candidate whose turn comes; what is known, only where it needs a larger stamp.

    ``variance_factor`` (B,) by which improvements of chi-square are divided.
    """
    found = known.take(np.arange(len(cells)))  # a copy
    empty = cells.chi2
    has_data = np.asarray(empty.sum(axis=1) > 0.0)
    wanted = found.need > found.side
    while True:
        for column in np.flatnonzero(wanted.any(axis=0)):
            which = np.flatnonzero(wanted[:, column])
            fit_column(cells.take(which), found, which, int(column), is_exact=False)
            left = _remaining(cells.take(which), found, which, int(column))
            share = images_by_key(cells.scene) / variance_factor[:, None]
            flux = found.flux[which, column]
            better = signed_improvement(empty[which] @ share, left @ share, flux)
            failed = np.isnan(flux).all(axis=1)
            found.dchisq[which, column] = np.where(failed, np.nan, better)
        wanted = candidates_to_try(found.dchisq, rules) & (found.side == 0) & has_data[:, None]
        if not wanted.any():
            return found


def fit_best(cells: Cells, known: Candidates, rules: ChoiceRules) -> Candidates:
    """Fit the chosen models again with stamps as large as a joint fit takes; same ``dchisq``."""
    found = known.take(np.arange(len(cells)))  # a copy
    best = found.best(rules)
    for column in np.unique(best):
        which = np.flatnonzero(best == column)
        fit_column(cells.take(which), found, which, int(column), is_exact=True)
    return found


def fit_column(
    cells: Cells, found: Candidates, which: Ints, column: int, *, is_exact: bool
) -> None:
    """Fit one candidate to the sources of these boxes, rows ``which`` of the record."""
    kind = np.full(len(cells), CANDIDATES[column])
    theta = np.where(
        np.isnan(found.theta[which, column]),
        _start(cells, found.take(which), column),
        found.theta[which, column],
    )
    flux = np.full((len(cells), cells.scene.n_flux), np.nan)
    flux_err = flux.copy()
    side = np.zeros(len(cells), np.int64)
    need = stamp_sides_as(cells.scene, cells.state, cells.rows, kind, theta, is_exact=is_exact)
    for _ in range(ENLARGED):
        larger = np.flatnonzero(np.minimum(need, cells.side) > side)
        if len(larger) == 0:
            break
        side[larger] = np.minimum(need[larger], cells.side)
        part = cells.take(larger)
        problem = _problem(part, kind[larger], side[larger])
        results = part.solve(kind[larger], theta[larger], side[larger], problem, TOLERANCE)
        good = larger[results.healthy]
        theta[good], flux[good] = results.theta[results.healthy], results.flux[results.healthy]
        flux_err[good] = _errors(results.flux_cov[results.healthy])
        need = stamp_sides_as(cells.scene, cells.state, cells.rows, kind, theta, is_exact=is_exact)
    flux[np.isnan(flux_err)] = np.nan
    found.theta[which, column], found.flux[which, column] = theta, flux
    found.flux_err[which, column] = flux_err
    found.side[which, column], found.need[which, column] = side, need


def _remaining(cells: Cells, found: Candidates, which: Ints, column: int) -> Floats:
    """Return chi-square (m, B) with the models of these sources taken away."""
    kind = np.full(len(cells), CANDIDATES[column])
    theta, flux = found.theta[which, column], found.flux[which, column]
    return cells.plus(kind, theta, -flux, found.side[which, column]).chi2


def _start(cells: Cells, found: Candidates, column: int) -> Floats:
    """Return where the fit of a candidate starts, from simpler ones and the joint fit."""
    scene, rows = cells.scene, cells.rows
    kind = scene.sources.kind[rows]
    theta = _joint_start(scene, cells.state, rows)
    if column == _STAR:
        return theta
    least = np.log(LEAST_RADIUS * scene.psf_fwhm)
    theta[:, 2] = np.maximum(theta[:, 2], least)
    if column == _REX:
        known = np.isfinite(found.theta[:, _STAR, 0]) & (kind == SourceType.STAR)
        theta[known, :2] = found.theta[known, _STAR, :2]
        theta[:, 3:5] = 0.0
        return theta
    simpler = found.theta[:, _REX]
    if column == _SERSIC:
        pair = np.nan_to_num(found.dchisq[:, [_EXP, _DEV]], nan=-np.inf)
        is_dev = pair[:, 1] > pair[:, 0]
        simpler = np.where(is_dev[:, None], found.theta[:, _DEV], found.theta[:, _EXP])
    known = np.isfinite(simpler[:, 0])
    theta[known, :3] = simpler[known, :3]
    theta[:, 2] = np.maximum(theta[:, 2], least)
    if column == _SERSIC:
        theta[known, 3:5] = simpler[known, 3:5]
        theta[:, 5] = np.where(is_dev, 4.0, 1.0)
    return theta


def _joint_start(scene: ScenePass, state: SceneState, rows: Ints) -> Floats:
    """Return the joint fit's parameters, those of a small round galaxy where it has a star."""
    kind, theta = scene.sources.kind[rows], state.theta[rows].copy()
    theta[kind == SourceType.STAR, 2:5] = [np.log(START_RADIUS * scene.psf_fwhm), 0.0, 0.0]
    theta[kind == SourceType.REX, 3:5] = 0.0
    return theta


def _problem(cells: Cells, kind: Ints, side: Ints) -> Problem:
    """Return what candidates may change: everything but fixed positions."""
    sources, rows, m = cells.scene.sources, cells.rows, len(cells)
    has = has_parameter(kind)
    free = has.copy()
    is_own = sources.anchor[rows] == rows
    free[:, :2] &= sources.free[rows, :2] & is_own[:, None]
    upper = sources.upper[rows].copy()
    upper[:, 2] = np.minimum(upper[:, 2], np.log(side / 6.0))
    mean, ivar = np.zeros((m, 6)), np.zeros((m, 6))
    mean[:, :2], ivar[:, :2] = sources.prior_mean[rows, :2], sources.prior_ivar[rows, :2]
    ivar[:, 3:5] = np.where(has[:, 3:5], ELLIPTICITY_PRIOR**-2.0, 0.0)
    none = np.zeros((m, cells.scene.n_flux))
    return Problem(
        free=free,
        lower=np.minimum(sources.lower[rows], upper),
        upper=upper,
        mu=mean,
        w=ivar,
        flux_mu=none,
        flux_w=none,
        g_max=float(cells.scene.options.max_ellipticity),
        loose=np.zeros(m, np.bool_),
        band_w=np.zeros((m, 6)),
        band_mu=np.zeros((none.shape[1], 6)),
    )


def stamp_sides_as(
    scene: ScenePass,
    state: SceneState,
    rows: Ints,
    kind: Ints,
    theta: Floats,
    *,
    is_exact: bool,
) -> Ints:
    """Return the stamp sides of some sources, had they other models [pix].

    Parameters
    ----------
    kind : ndarray of int, shape (m,)
    theta : ndarray, shape (m, 6)
    is_exact : bool
        As a joint fit takes them; otherwise as for galaxies of low S/N, and of two thirds of
        their size if they are steep: the light that wraps around a smaller stamp changes fluxes
        more than which model fits best.
    """
    sources = replace(scene.sources.take(rows), kind=kind)
    names = [name for name in SceneState.__dataclass_fields__ if name != "theta"]
    seen = SceneState(theta=theta, **{name: getattr(state, name)[rows] for name in names})
    if not is_exact:
        steep = (kind == SourceType.DEV) | ((kind == SourceType.SERSIC) & (theta[:, 5] > 2.0))
        seen.theta = theta - np.outer(np.where(steep, np.log(SHRUNK), 0.0), np.eye(6)[2])
        seen.flux_cov = np.full_like(seen.flux_cov, np.inf)
    return np.minimum(scene.stamp_sides_of(rows, sources, seen), max(STAMP_SIDES))


def box_sides(scene: ScenePass, state: SceneState, rows: Ints) -> Ints:
    """Return the sides of boxes for the joint model, a star and an exponential galaxy [pix]."""
    theta = _joint_start(scene, state, rows)
    side = state.side[rows]
    for kind in (SourceType.STAR, SourceType.EXP):
        column = np.full(len(rows), kind)
        need = stamp_sides_as(scene, state, rows, column, theta, is_exact=False)
        side = np.maximum(side, need)
    return np.asarray(side)


def images_by_key(scene: ScenePass) -> Floats:
    """Return 1 where an image has a flux key, shape (B, F)."""
    return np.asarray(scene.geometry.key[:, None] == np.arange(scene.n_flux), dtype=np.float64)


def _errors(flux_cov: Floats) -> Floats:
    """Return standard errors: NaN without data, infinite where degenerate."""
    variance = np.einsum("nbb->nb", flux_cov)
    variance = np.where(variance == NO_DATA, np.nan, variance)
    return np.asarray(np.sqrt(np.where(variance == DEGENERATE, np.inf, variance)))
