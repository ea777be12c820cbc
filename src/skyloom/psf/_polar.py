"""The part of the PSF that no Moffat describes: a correction in polar functions.

    PSF = moffat (1 + sum_tb c_tb f_b(alpha) T_t(u, v) psi_b(r, phi))

psi_b are radial splines times multipoles (`_polar_nb`), T_t polynomials that are orthonormal over
the stars, f_b what keeps scattered light the same where the Moffat gets wider
(`PolarBasis.follow_width`).  The functions are continuous: they are evaluated at the sub-pixel
position of each star, which recovers structure below the pixel scale, and nothing is ever
interpolated.  All c are solved for at once, with flux,
pedestal and position of each star eliminated, under a Gaussian prior whose width is learnt for
each group of functions (same multipole, radial zone, order over the field): what the stars do
not support shrinks away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.linalg.lapack import dtrtri

from skyloom._types import Floats, Ints

from ._moffat_fit import moffat_stamps
from ._polar_nb import polar_fill, polar_fill_centred, polar_functions, polar_normal
from ._regress import SINGULAR, orthonormal_terms
from ._stars import StarState, StarStep
from .field import monomials, n_monomials

__all__ = [
    "PolarBasis",
    "PolarEquations",
    "PolarFit",
    "accumulate",
    "fit_polar",
    "no_correction",
    "polar_basis",
]

_MAX_M = 4
_OUTER_M, _OUTER = 2, 2.2  # highest multipole beyond this many FWHM
_ZONES = (0.75, 1.5, 3.0, 6.0)  # FWHM; borders of the radial zones that share a prior width
_CORE = 0.8  # FWHM, within which a correction widens with the star
_START_WIDTH = 0.03  # relative correction expected before the data speak
_ROUNDS = 5  # of the prior widths; they change by less than 10 % after
_MORE_ROUNDS = 2  # where an earlier fit has left widths
_FOLDS = 5
_GAUGE = 1e-3  # relative flux and shift [pix] that a correction may make


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarBasis:
    """Functions of a correction."""

    spacing: float  # pix, of the radial splines in the core
    offset: Ints  # (J + 1,) first function of each spline
    group: Ints  # (B,) functions that share a prior width
    edge: Ints  # the m = 0 functions at the edge of the stamp
    peak: Floats  # (B,) about how much of the peak of the PSF each function can change
    gauge: Floats  # (3, B) relative flux and shift in x, y [pix] that each function makes
    radius: Floats  # (B,) pix, where each function sits
    wing: Floats  # (B,) 0 in the core, 1 far out: see `follow_width`
    ln_alpha: float  # of the typical Moffat; alpha in pix
    beta: float

    @property
    def size(self) -> int:
        """Number of functions."""
        return int(self.group.size)

    def follow_width(self, ln_alpha: Floats) -> Floats:
        """Return what coefficients are multiplied by for stars of other widths, shape (n, B).

        A correction is a factor to the Moffat of the star.  In the core that is right: what no
        Moffat describes gets wider with it.  Far out it is not: scattered light is the same
        whatever the seeing, and the Moffat there goes with ``alpha^(2 beta - 2)``.
        """
        ln_alpha = ln_alpha[:, None]

        def ln_moffat(ln_alpha: Floats) -> Floats:
            z2 = (self.radius / np.exp(ln_alpha)) ** 2
            return np.asarray(-2.0 * ln_alpha - self.beta * np.log1p(z2))

        change = ln_moffat(np.array([[self.ln_alpha]])) - ln_moffat(ln_alpha)
        return np.asarray(np.exp(self.wing * change))

    def apply(
        self, unit: Floats, coefficients: Floats, *, x: Floats, y: Floats, centre: Floats
    ) -> None:
        """Correct Moffat stamps (n, m, m) in place, coefficients (n, B)."""
        polar_fill(
            x, y, np.ascontiguousarray(coefficients), self.spacing, self.offset, centre, unit
        )

    def apply_centred(self, unit: Floats, coefficients: Floats, *, centre: Floats) -> None:
        """Do what `apply` does for stars at (0, 0)."""
        polar_fill_centred(
            np.ascontiguousarray(coefficients), self.spacing, self.offset, centre, unit
        )


def polar_basis(*, fwhm: float, side: int, shape: Floats, beta: float) -> PolarBasis:
    """Return the functions that cover stamps of ``side`` pixels.

    ``shape`` and ``beta`` are the typical Moffat, for which flux and shift of the functions count.
    """
    radius = 0.5 * side
    spacing = 0.25 * fwhm
    n_radial = int(np.ceil(4.0 * np.arcsinh(radius / (4.0 * spacing)))) + 1
    centre = 4.0 * spacing * np.sinh(np.arange(n_radial) / 4.0)
    zone = np.searchsorted(_ZONES, centre / fwhm)
    group: list[int] = []
    offset = [0]
    for j in range(n_radial):
        most = _MAX_M if centre[j] < _OUTER * fwhm else _OUTER_M
        for m in range((most if j else 0) + 1):  # no room for a multipole at the very centre
            group += [int(zone[j]) * (_MAX_M + 1) + m] * (2 if m else 1)
        offset.append(len(group))
    basis = PolarBasis(
        spacing=spacing,
        offset=np.array(offset, dtype=np.int64),
        group=np.unique(group, return_inverse=True)[1].astype(np.int64),
        edge=np.array(offset[-4:-1], dtype=np.int64),
        peak=np.repeat((1.0 + (centre / np.exp(shape[0])) ** 2) ** -beta, np.diff(offset)),
        gauge=np.zeros((3, len(group))),
        radius=np.repeat(centre, np.diff(offset)),
        wing=np.repeat(_wing_share(centre / fwhm), np.diff(offset)),
        ln_alpha=float(shape[0]),
        beta=beta,
    )
    return replace(basis, gauge=_gauge(basis, side, shape, beta))


def _wing_share(radius: Floats) -> Floats:
    """Return how much of a correction is scattered light, by radius [FWHM]."""
    return np.asarray(radius**2 / (radius**2 + _CORE**2))


def _gauge(basis: PolarBasis, side: int, shape: Floats, beta: float) -> Floats:
    zero = np.zeros(1)
    centre = np.arange(side, dtype=np.float64) - side // 2
    moffat, by_x, by_y = moffat_stamps(shape[None], beta=beta, x=zero, y=zero, centre=centre)
    functions = np.empty((basis.size, side, side))
    polar_functions(basis.spacing, basis.offset, centre, moffat[0], functions)
    own = functions.reshape(basis.size, -1)
    along = [np.ones(moffat.size), by_x.ravel(), by_y.ravel()]
    unit = [moffat.sum(), (by_x**2).sum(), (by_y**2).sum()]
    return np.stack([own @ a / b for a, b in zip(along, unit, strict=True)])


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarEquations:
    """Normal equations of each star for its own correction, nuisance parameters eliminated."""

    normal: Floats  # (n, B, B)
    right: Floats  # (n, B)
    current: Floats  # (n, B) the correction that the residuals were made with
    shift: Floats  # (n, 4) change of flux, pedestal, x, y if the correction stays
    gain: Floats  # (n, 4, B) and how it depends on the correction

    def scaled(self, factor: Floats) -> PolarEquations:
        """Return the equations for the correction over ``factor`` (n, B)."""
        normal = self.normal * factor[:, :, None]
        normal *= factor[:, None, :]
        return replace(self, normal=normal, right=self.right * factor)

    def follow(self, state: StarState, correction: Floats) -> StarState:
        """Return the stars as they are best with a new correction (n, B)."""
        change = self.shift - (self.gain @ (correction - self.current)[:, :, None])[:, :, 0]
        return StarState(
            flux=state.flux + change[:, 0],
            pedestal=state.pedestal + change[:, 1],
            dx=state.dx + np.clip(change[:, 2], -0.3, 0.3),
            dy=state.dy + np.clip(change[:, 3], -0.3, 0.3),
            flux_var=state.flux_var,
        )


def accumulate(
    basis: PolarBasis,
    step: StarStep,
    weight: Floats,
    *,
    before: StarState,
    centre: Floats,
    current: Floats,
) -> PolarEquations:
    """Return the equations of each star for its whole correction.

    Parameters
    ----------
    step : StarStep
        The stars after their step; ``before`` holds what the model images were made with.
    weight : ndarray of float, shape (n, A, A)
        Inverse variance.
    current : ndarray of float, shape (n, B)
        The correction that is in the model already.
    """
    n, size = before.flux.size, basis.size
    normal, cross = np.empty((n, size, size)), np.empty((n, 4, size))
    nuisance, right, nuisance_right = np.empty((n, 4, 4)), np.empty((n, size)), np.empty((n, 4))
    polar_normal(
        before.dx,
        before.dy,
        step.state.flux,
        step.residual,
        weight,
        step.moffat,
        step.unit,
        step.by_x,
        step.by_y,
        basis.spacing,
        basis.offset,
        centre,
        normal,
        cross,
        nuisance,
        right,
        nuisance_right,
    )
    diagonal = np.einsum("nii->ni", nuisance)
    diagonal += 1e-9 * diagonal + 1e-30
    gain: Floats = np.asarray(np.linalg.solve(nuisance, cross), dtype=np.float64)
    own = normal - cross.transpose(0, 2, 1) @ gain
    rhs = right - (gain.transpose(0, 2, 1) @ nuisance_right[:, :, None])[:, :, 0]
    shift: Floats = np.asarray(np.linalg.solve(nuisance, nuisance_right[:, :, None]), np.float64)
    return PolarEquations(
        normal=own,
        right=rhs + (own @ current[:, :, None])[:, :, 0],
        current=current,
        shift=shift[:, :, 0],
        gain=gain,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class PolarFit:
    """A correction over the field."""

    order: int  # -1 for none
    images: Floats  # (T, B) coefficients of the monomials u**i v**j
    variance: Floats  # (T, B) of the orthonormal terms: (0) is that of the field average
    width: Floats  # (T, B) prior variances that were learnt
    scores: dict[str, float]  # change of the left-out chi-square per star against none


def no_correction(basis: PolarBasis) -> PolarFit:
    """Return what stands for no correction at all."""
    none = np.zeros((1, basis.size))
    return PolarFit(order=-1, images=none, variance=none, width=none, scores={})


def fit_polar(
    basis: PolarBasis,
    equations: PolarEquations,
    u: Floats,
    v: Floats,
    weight: Floats,
    *,
    orders: list[int],
    previous: PolarFit | None = None,
) -> PolarFit:
    """Fit the correction of the order that predicts left-out stars best.

    Parameters
    ----------
    weight : ndarray of float, shape (n,)
        Weight of each star in the core; makes the polynomials orthonormal, ranks the folds.
    orders : list of int
        Orders to choose from, rising; one alone is taken without a test, none gives none.
    previous : PolarFit, optional
        An earlier round, whose prior widths are taken over.
    """
    best = no_correction(basis)
    scores: dict[str, float] = {}
    loss = np.zeros(u.size)
    for order in orders:
        if order and np.linalg.cond(monomials(u, v, degree=order)) > SINGULAR:
            break  # the stars do not cover the field
        values, mixing = orthonormal_terms(u, v, degree=order, weight=weight)
        pooled = _pooled(equations, values)
        known = previous.width if previous is not None and previous.order == order else None
        found, width, variance = _solve(basis, pooled, order, known)
        fit = PolarFit(
            order=order, images=mixing @ found, variance=variance, width=width, scores=scores
        )
        if len(orders) == 1:
            return fit
        now = _left_out(basis, equations, values, pooled, weight=weight, width=width)
        scores[f"correction_{order}"] = float(now.mean())
        gain = loss - now
        if gain.mean() > gain.std() / np.sqrt(max(gain.size - 1, 1)):
            best, loss = fit, now
    return replace(best, scores=scores)


def _left_out(
    basis: PolarBasis,
    equations: PolarEquations,
    values: Floats,
    pooled: tuple[Floats, Floats],
    *,
    weight: Floats,
    width: Floats,
) -> Floats:
    """Change of chi-square of each star by a correction made without it and its fold."""
    loss = np.zeros(weight.size)
    rank = np.argsort(-weight, kind="stable")
    for fold in range(min(_FOLDS, weight.size)):
        held = rank[fold::_FOLDS]
        own_normal, own_right = _pooled(equations, values, held)
        rest = pooled[0] - own_normal, pooled[1] - own_right
        root = np.sqrt(width.reshape(-1))
        factor = _factor(basis, rest[0], root)
        found = root * cho_solve(factor, root * rest[1], check_finite=False)
        own = values[held] @ found.reshape(width.shape)
        bent = (equations.normal[held] @ own[:, :, None])[:, :, 0]
        loss[held] = (own * (bent - 2.0 * equations.right[held])).sum(axis=1)
    return loss


def _pooled(
    equations: PolarEquations, terms: Floats, stars: Ints | slice = slice(None)
) -> tuple[Floats, Floats]:
    """Return the equations of some stars for all coefficients, (T B, T B) and (T B,)."""
    terms = terms[stars]
    n_stars, n_terms = terms.shape
    size = equations.right.shape[1]
    normal = np.empty((n_terms, size, n_terms, size))
    low, high = np.tril_indices(n_terms)[::-1]
    products = (terms[:, low] * terms[:, high]).T @ equations.normal[stars].reshape(n_stars, -1)
    for a, b, block in zip(low, high, products.reshape(-1, size, size), strict=True):
        normal[a, :, b] = normal[b, :, a] = block  # blocks are symmetric themselves
    right = terms.T @ equations.right[stars]
    return normal.reshape(n_terms * size, -1), right.reshape(-1)


def _factor(basis: PolarBasis, normal: Floats, root: Floats) -> tuple[Floats, bool]:
    """Return the Cholesky factor of the equations in units of the prior widths ``root``."""
    scaled = normal * root[:, None]
    scaled *= root
    size = basis.size
    # What changes only flux or position belongs to the stars; left free it would wander.
    fixed = (basis.gauge.T @ basis.gauge) / _GAUGE**2
    for start in range(0, root.size, size):
        own = slice(start, start + size)
        scaled[own, own] += fixed * np.outer(root[own], root[own])
    np.einsum("ii->i", scaled)[:] += 1.0
    # The transpose is the same matrix, in the order of memory that needs no copy.
    factor: tuple[Floats, bool] = cho_factor(
        scaled.T, lower=True, overwrite_a=True, check_finite=False
    )
    return factor


def _solve(
    basis: PolarBasis,
    pooled: tuple[Floats, Floats],
    order: int,
    width: Floats | None = None,
) -> tuple[Floats, Floats, Floats]:
    """Return coefficients, prior variances and posterior variances, each (T, B).

    The prior variances are learnt, from where ``width`` left them if that is given.
    """
    n_terms, size = n_monomials(order), basis.size
    degree = np.array([d for d in range(order + 1) for _ in range(d + 1)])
    normal, right = pooled
    group = (basis.group[None, :] + (basis.group.max() + 1) * degree[:, None]).reshape(-1)
    count = np.maximum(np.bincount(group), 1)
    prior = np.full(group.size, _START_WIDTH**2) if width is None else width.reshape(-1)
    for _ in range(_ROUNDS if width is None else _MORE_ROUNDS):
        root = np.sqrt(prior)
        factor = _factor(basis, normal, root)
        solution = root * cho_solve(factor, root * right, check_finite=False)
        # The diagonal of the inverse is the sum of squares of the columns of inv(L).
        half = np.tril(dtrtri(factor[0], lower=1, overwrite_c=1)[0])
        shrunk = np.einsum("ij,ij->j", half, half)
        used, variance = prior, prior * shrunk
        # MacKay 1992: power over the number of functions that the data determine
        power = np.bincount(group, solution**2).astype(np.float64)
        power /= np.maximum(np.bincount(group, 1.0 - shrunk), 1e-3 * count)
        prior = np.clip(power, 1e-9, 1.0)[group]
    shape = (n_terms, size)
    return solution.reshape(shape), used.reshape(shape), variance.reshape(shape)
