"""Fitting the stars and the correction of the PSF in turn."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Bools, Floats, Ints

from ._grid import Grid, star_grid
from ._moffat_fit import MoffatFits
from ._polar import PolarFit, accumulate, fit_polar, no_correction, polar_basis
from ._regress import ShapeField
from ._starfit import StarModel, mask_deviant, refine_stars
from ._stars import StarState, StarStep
from .field import monomials, n_monomials
from .results import UNMEASURED, BuilderOptions, StarFlag

__all__ = ["Corrected", "Work", "correct"]

_MODEL_ERRORS = (0.02, 0.01)  # of the first rounds, while the model is still rough
_SETTLED = 5e-4  # of the peak; change of the correction that ends the rounds
_VARYING = 2  # highest order of the correction over the field
_HUBER = 4.0  # sigma beyond which a pixel pulls no harder
_ROUGH = 0.05  # of the light: a misfit within that is the PSF's fault, not the star's
_POOR = 4.0  # mean chi-square in the core at which a star is dropped, with that error
_SHARE = 0.995  # of the information that the correction is made from
_TERM_STARS = 10  # stars for each term of a correction that varies over the field


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """The stars in double precision."""

    data: Floats
    weight: Floats  # without neighbours
    u: Floats
    v: Floats
    seed_x: Floats  # pix, where the stars were seeded, from the centres of their stamps
    seed_y: Floats
    sky: Floats  # variance of a pixel
    fwhm: float  # pix, rough
    options: BuilderOptions

    def moved(self, x: Floats, y: Floats) -> Bools:
        """Tell which stars are farther from their seeds than they may be."""
        shift = np.maximum(np.abs(x - self.seed_x), np.abs(y - self.seed_y))
        return np.asarray(shift > self.options.max_shift)


@dataclass(frozen=True, slots=True, kw_only=True)
class Corrected:
    """Stars and correction after the last round."""

    model: StarModel
    grid: Grid
    step: StarStep
    used: Bools
    flags: Ints
    correction: PolarFit
    scores: dict[str, float]
    masked: Bools  # (n, S, S)


def correct(work: Work, fits: MoffatFits, field: ShapeField, flags: Ints) -> Corrected:
    """Fit stars and correction in turn until the correction settles."""
    o, side = work.options, work.data.shape[-1]
    grid = star_grid(side, fwhm=work.fwhm)
    data, clean = grid.averaged(work.data, work.weight)
    weight, bad = clean, np.zeros(clean.shape, dtype=bool)
    model, state = _start(work, fits, field, flags)
    used, scores = field.kept, {}
    correction = no_correction(model.basis)
    highest = min(o.max_order, _VARYING) if o.varying_correction else 0
    orders = [k for k in range(highest + 1) if k == 0 or _enough(used, k)]
    for turn in range(o.iterations):
        before = state
        rough = _MODEL_ERRORS[turn] if turn < len(_MODEL_ERRORS) else 0.0
        error = max(o.model_error, rough)
        step = _step(data, weight, model, before, grid=grid, options=o, error=error)
        if turn:
            used, flags = _without_misfits(work, step, clean, grid, used=used, flags=flags)
        bad = mask_deviant(step, clean, grid, core=1.2 * work.fwhm)
        weight = np.where(bad, 0.0, clean)
        correction, state = _correction(
            work,
            step,
            before,
            model,
            grid=grid,
            used=used,
            bad=bad,
            orders=orders,
            previous=correction,
        )
        if correction.scores:
            scores = correction.scores
            orders = [correction.order] if correction.order >= 0 else []
        bent = monomials(work.u, work.v, degree=max(correction.order, 0)) @ correction.images
        bent *= model.basis.follow_width(model.shape[:, 0])
        old = model.correction if model.correction is not None else 0.0
        change = float((np.abs(bent - old) * model.basis.peak)[used].max())
        model = replace(model, correction=bent if correction.order >= 0 else None)
        if turn and change < _SETTLED:
            break
    if not used.all():  # the others have not moved along with the last correction
        state = _step(data, weight, model, state, grid=grid, options=o, error=o.model_error).state
    return Corrected(
        model=model,
        grid=grid,
        step=_step(data, weight, model, state, grid=grid, options=o, error=0.0),
        used=used,
        flags=flags,
        correction=correction,
        scores=scores,
        masked=grid.spread(bad) | (work.weight <= 0),
    )


def _step(
    data: Floats,
    weight: Floats,
    model: StarModel,
    state: StarState,
    *,
    grid: Grid,
    options: BuilderOptions,
    error: float,
) -> StarStep:
    return refine_stars(
        data,
        weight,
        model,
        state,
        grid,
        source_variance=options.source_variance,
        model_error=error,
    )


def _start(
    work: Work, fits: MoffatFits, field: ShapeField, flags: Ints
) -> tuple[StarModel, StarState]:
    """Model and stars before the first round."""
    origin = np.zeros(1)
    basis = polar_basis(
        fwhm=work.fwhm,
        side=work.data.shape[-1],
        shape=field.smooth(origin, origin)[0],
        beta=fits.beta,
    )
    model = StarModel(
        shape=field.shapes(work.u, work.v), beta=fits.beta, basis=basis, correction=None
    )
    sane = (flags & int(UNMEASURED)) == 0
    state = StarState(
        flux=np.where(sane, fits.flux, 0.0),
        pedestal=np.where(sane, fits.pedestal, 0.0),
        dx=fits.x,
        dy=fits.y,
        flux_var=np.ones(fits.flux.size),
    )
    return model, state


def _enough(used: Bools, order: int) -> bool:
    return bool(used.sum() >= _TERM_STARS * n_monomials(order))


def _correction(
    work: Work,
    step: StarStep,
    before: StarState,
    model: StarModel,
    *,
    grid: Grid,
    used: Bools,
    bad: Bools,
    orders: list[int],
    previous: PolarFit,
) -> tuple[PolarFit, StarState]:
    """Fit the correction to the used stars, and move them along with it."""
    state = step.state
    relative = state.flux_var / np.where(used, state.flux, 1.0) ** 2
    weight = np.where(used, 1.0 / (relative + work.options.model_error**2), 0.0)
    rows = _telling(weight)
    step, before = step.rows(rows), before.rows(rows)
    w = np.where(bad[rows], 0.0, step.weight)
    pull = np.abs(step.residual) * np.sqrt(w)
    w = w * np.minimum(1.0, _HUBER / np.maximum(pull, 1e-9))
    none = np.zeros((rows.size, model.basis.size))
    equations = accumulate(
        model.basis,
        step,
        w,
        before=before,
        centre=grid.centre,
        current=model.correction[rows] if model.correction is not None else none,
    )
    u, v = work.u[rows], work.v[rows]
    factor = model.basis.follow_width(model.shape[rows, 0])
    fit = fit_polar(
        model.basis,
        equations.scaled(factor),
        u,
        v,
        weight[rows],
        orders=orders,
        previous=previous,
    )
    own = factor * (monomials(u, v, degree=max(fit.order, 0)) @ fit.images)
    return fit, state.replaced(rows, equations.follow(step.state, own))


def _telling(weight: Floats) -> Ints:
    """Rows of the stars that hold nearly all information; the many faint ones only cost time."""
    order = np.argsort(-weight, kind="stable")
    share = np.cumsum(weight[order]) / weight.sum()
    n = int(np.searchsorted(share, _SHARE)) + 1
    return np.sort(order[:n][weight[order[:n]] > 0])


def _without_misfits(
    work: Work, step: StarStep, clean: Floats, grid: Grid, *, used: Bools, flags: Ints
) -> tuple[Bools, Ints]:
    """Drop used stars that left their place, and those whose core the model misses by far."""
    moved = used & work.moved(step.state.dx, step.state.dy)
    if moved.sum() < used.sum():
        used, flags = used & ~moved, flags | (moved * int(StarFlag.MOVED))
    core = grid.radius < 2.0 * work.fwhm
    w = clean / (1.0 + clean * (_ROUGH * step.light) ** 2)
    chi2 = (w * step.residual**2)[:, core].mean(axis=1)
    limit = _POOR * max(1.0, float(np.median(chi2[used])))
    misfit = used & ((chi2 > limit) | (step.state.flux <= 0))
    if misfit.sum() >= used.sum():
        return used, flags
    return used & ~misfit, flags | (misfit * int(StarFlag.POOR_FIT))
