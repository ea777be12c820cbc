"""Size and ellipticity of the PSF over the field: robust polynomials, and what they leave."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skyloom._types import Bools, Floats

from .field import monomials, n_monomials

__all__ = ["SINGULAR", "ShapeField", "fit_shape_field", "mode_of", "orthonormal_terms"]

_FLOOR, _CEILING = 1.5e-3, 0.03  # rms of ln alpha, e1, e2 of stars about any smooth field
_HUBER = 3.0
_FREE_ORDER = 2  # highest order that left-out stars may choose
_WIDTHS = np.geomspace(1e-4, 0.03, 26) ** 2  # prior variances tried for further terms
_NO_WIDTH = 1e-14  # prior variance of terms that nothing asks for
_EVIDENCE = 1.0  # gain of ln probability from which these terms count
_LENGTHS = (1.5, 0.6, 0.25)  # correlation lengths tried, in half-widths of the field
SINGULAR = 50.0  # condition number of the terms at the stars; 3 to 6 for stars everywhere
_AROUND = 7  # neighbours, the star itself included, that tell the local size
_MIN_LOCAL = 12  # stars needed for a local correction


@dataclass(frozen=True, slots=True, kw_only=True)
class ShapeField:
    """ln alpha, e1, e2 over the field: polynomials plus, where it helps, a local correction.

    The local correction is a Gaussian process with covariance ``exp(-distance / length)``:
    a mean of the stars around, shrunk towards the polynomial as they get few or noisy.
    """

    order: int
    coefficients: Floats  # (T, 3)
    length: float  # of the local correction, in half-widths of the field; 0 for none
    nodes: Floats  # (m, 2) u, v of the stars behind the local correction
    pulls: Floats  # (m, 3)
    deviation: Floats  # (n,) of each star from its prediction by the others, in sigma
    kept: Bools
    scores: dict[str, float] = field(default_factory=dict)  # left-out chi-square per star

    def smooth(self, u: Floats, v: Floats) -> Floats:
        """Return the polynomial part of ln alpha, e1, e2, shape (n, 3)."""
        return np.asarray(monomials(u, v, degree=self.order) @ self.coefficients)

    def shapes(self, u: Floats, v: Floats) -> Floats:
        """Return ln alpha, e1, e2 at field positions, shape (n, 3)."""
        out = self.smooth(u, v)
        if self.length > 0:
            out = out + _kernel(np.stack([u, v], axis=1), self.nodes, self.length) @ self.pulls
        return out


def mode_of(values: Floats) -> float:
    """Return the half-sample mode: the centre of the densest part of a sample."""
    x = np.sort(values)
    while x.size > 3:
        half = (x.size + 1) // 2
        start = int(np.argmin(x[half - 1 :] - x[: x.size - half + 1]))
        x = x[start : start + half]
    return float(x.mean())


def fit_shape_field(
    u: Floats,
    v: Floats,
    shape: Floats,
    cov: Floats,
    usable: Bools,
    *,
    max_order: int,
    stars_per_term: float,
    clip_sigma: float,
    local: bool,
) -> ShapeField:
    """Fit the smooth field that predicts left-out stars best, without the outliers."""
    noise = np.einsum("nii->ni", cov)
    variance = noise + _FLOOR**2
    kept = _first_guess(u, v, shape[:, 0], variance[:, 0], usable)
    for _ in range(8):
        order, scores = _best_order(
            u,
            v,
            shape,
            variance,
            kept,
            max_order=min(max_order, _FREE_ORDER),
            stars_per_term=stars_per_term,
        )
        prior = np.full((3, n_monomials(order)), np.inf)
        if max_order > _FREE_ORDER and kept.sum() >= stars_per_term * n_monomials(max_order):
            terms = monomials(u, v, degree=max_order)
            prior = _with_more_terms(prior, terms[kept], shape[kept], variance[kept])
            order = max_order if prior.shape[1] == terms.shape[1] else order
        design = monomials(u, v, degree=order)
        fitted, leverage = _weighted_fit(design, shape, variance, kept, prior)
        residual = shape - design @ fitted
        # A star kept in the fit pulls it; its left-out residual is the fair one.
        fair = residual / np.where(kept[:, None], np.maximum(1.0 - leverage, 0.1), 1.0)
        predicted = variance
        length, pulls = 0.0, np.zeros((0, 3))
        if local and kept.sum() >= _MIN_LOCAL:
            length, pulls, fair, predicted, more = _local(
                u, v, residual, fair=fair, variance=variance, kept=kept, order=order, prior=prior
            )
            scores |= more
        deviation = np.sqrt((fair**2 / predicted).sum(axis=1))
        # sqrt(2.37): the median of chi with three degrees of freedom is that of a perfect world
        scale = max(1.0, float(np.median(deviation[kept])) / 1.54) if kept.any() else 1.0
        now = usable & (deviation < clip_sigma * scale)
        if now.sum() < min(3, usable.sum()) or (now == kept).all():
            break
        fitted_with, kept = kept, now
        variance = noise + _scatter(fair[kept], noise[kept]) ** 2
    else:
        kept = fitted_with
    return ShapeField(
        order=order,
        coefficients=fitted,
        length=length,
        nodes=np.stack([u[kept], v[kept]], axis=1) if length else np.zeros((0, 2)),
        pulls=pulls,
        deviation=deviation,
        kept=kept,
        scores=scores,
    )


def _first_guess(u: Floats, v: Floats, ln_alpha: Floats, variance: Floats, usable: Bools) -> Bools:
    """Stars whose size is near the densest size of all, or like that of most stars around.

    +- 15 % allow for the variation over the field.  Parts of a coadd may have a PSF of their own;
    galaxies are in the minority and differ from each other.
    """
    good = usable & (variance < 0.1**2)
    if good.sum() < 3:
        good = usable
    if not good.any():
        return usable.copy()
    start = mode_of(ln_alpha[good])
    tolerance = 2.0 * np.sqrt(variance)
    near_mode = np.abs(ln_alpha - start) < 0.15 + tolerance
    rows = np.flatnonzero(good)
    if rows.size <= 2 * _AROUND:
        return usable & near_mode
    distance = np.hypot(u[:, None] - u[rows], v[:, None] - v[rows])
    around = rows[np.argsort(distance, axis=1, kind="stable")[:, :_AROUND]]
    local = np.abs(ln_alpha - np.median(ln_alpha[around], axis=1)) < 0.08 + tolerance
    return np.asarray(usable & (near_mode | local))


def _scatter(fair: Floats, noise: Floats) -> Floats:
    """Return the rms of each component beyond the noise, from left-out residuals."""
    # 0.455: the median of chi-square with one degree of freedom
    excess = np.median(fair**2 / 0.455 - noise, axis=0)
    return np.asarray(np.sqrt(np.clip(excess, _FLOOR**2, _CEILING**2)))


def _with_more_terms(prior: Floats, design: Floats, shape: Floats, variance: Floats) -> Floats:
    """Return prior variances (3, T) with those of all further terms of a design, if they help.

    Stars cannot tell these terms well, and left-out stars say little of their worth: they are
    small.  They have a Gaussian prior about zero, whose width for size and each ellipticity is the
    most probable one, so that they count as far as the stars know them (empirical Bayes;
    Efron & Morris 1973, JASA 68, 117).  Arrays are those of the kept stars.
    """
    if np.linalg.cond(design) > SINGULAR:
        return prior  # the stars do not cover the field
    free = prior.shape[1]
    widths, gain = np.full(len(prior), _NO_WIDTH), 0.0
    for c in range(len(prior)):
        weight = 1.0 / np.sqrt(variance[:, c])
        terms = design * weight[:, None]
        rest = np.linalg.qr(terms[:, :free], mode="complete")[0][:, free:].T
        left, size, _ = np.linalg.svd(rest @ terms[:, free:], full_matrices=False)
        signal = left.T @ (rest @ (shape[:, c] * weight))  # of unit noise
        spread = 1.0 + _WIDTHS[:, None] * size**2
        evidence = 0.5 * (signal**2 * (1.0 - 1.0 / spread) - np.log(spread)).sum(axis=1)
        best = int(np.argmax(evidence))
        if evidence[best] > 0.0:
            widths[c] = _WIDTHS[best]
            gain += float(evidence[best])
    if gain < _EVIDENCE:
        return prior
    return np.hstack([prior, np.repeat(widths[:, None], design.shape[1] - free, axis=1)])


def _weighted_fit(
    design: Floats, shape: Floats, variance: Floats, kept: Bools, prior: Floats | None = None
) -> tuple[Floats, Floats]:
    """Coefficients (T, 3) and leverages (n, 3); ``prior`` are variances (3, T) about zero."""
    w = kept[:, None] / variance
    normal = np.einsum("nt,ns,nc->cts", design, design, w)
    trace = np.einsum("ctt->c", normal)[:, None, None]
    normal += (1e-9 * trace + 1e-30) * np.eye(design.shape[1])
    if prior is not None:
        np.einsum("ctt->ct", normal)[:] += 1.0 / prior
    inverse = np.linalg.inv(normal)
    fitted = np.einsum("cts,ns,nc->tc", inverse, design, w * shape)
    return fitted, np.einsum("nt,cts,ns,nc->nc", design, inverse, design, w)


def _best_order(
    u: Floats,
    v: Floats,
    shape: Floats,
    variance: Floats,
    kept: Bools,
    *,
    max_order: int,
    stars_per_term: float,
) -> tuple[int, dict[str, float]]:
    best, losses = 0, {}
    for order in range(max_order + 1):
        if order and kept.sum() < stars_per_term * n_monomials(order):
            break
        design = monomials(u, v, degree=order)
        if order and np.linalg.cond(design[kept]) > SINGULAR:
            break  # the stars do not cover the field
        fitted, leverage = _weighted_fit(design, shape, variance, kept)
        left_out = (shape - design @ fitted) / np.maximum(1.0 - leverage, 0.05)
        losses[f"order_{order}"] = _loss(left_out[kept], variance[kept])
        if order and _improves(losses[f"order_{best}"], losses[f"order_{order}"]):
            best = order
    return best, {k: float(x.mean()) if x.size else 0.0 for k, x in losses.items()}


def _loss(residual: Floats, variance: Floats) -> Floats:
    """Huber loss of each star."""
    chi2 = residual**2 / variance
    huber = np.where(chi2 < _HUBER**2, chi2, 2 * _HUBER * np.sqrt(chi2) - _HUBER**2)
    return np.asarray(huber.sum(axis=1))


def _improves(old: Floats, new: Floats) -> bool:
    """Tell whether the mean loss falls by more than the standard error of the fall."""
    gain = old - new
    return bool(gain.mean() > gain.std() / np.sqrt(max(gain.size - 1, 1)))


def _kernel(a: Floats, b: Floats, length: float) -> Floats:
    distance = np.hypot(a[:, None, 0] - b[None, :, 0], a[:, None, 1] - b[None, :, 1])
    return np.asarray(np.exp(-distance / length))


def _local(
    u: Floats,
    v: Floats,
    residual: Floats,
    *,
    fair: Floats,
    variance: Floats,
    kept: Bools,
    order: int,
    prior: Floats,
) -> tuple[float, Floats, Floats, Floats, dict[str, float]]:
    """Choose the length of the local correction on left-out stars.

    Returns the length (0: none), the pulls of the kept stars, left-out residuals and their
    variances of all stars, and the scores.
    """
    where = np.stack([u, v], axis=1)
    nodes, data, noise = where[kept], residual[kept], variance[kept]
    design = monomials(u, v, degree=order)
    robust = (1.4826 * np.median(np.abs(data), axis=0)) ** 2
    power = np.maximum(robust - np.median(noise, axis=0), 0.0) + 1e-12
    best, scores = (0.0, np.zeros((0, 3)), fair, variance), {}
    old = _loss(fair[kept], noise)
    for length in _LENGTHS:
        kernel = _kernel(nodes, nodes, length)
        far = _kernel(where[~kept], nodes, length)
        pulls = np.empty_like(data)
        left_out, predicted = fair.copy(), variance.copy()
        for c in range(3):
            free = (
                1e4 * noise[:, c].max()
            )  # the polynomial stays free: a star left out leaves it too
            spread = power[c] * kernel + np.diag(noise[:, c])
            terms = design[kept] * np.sqrt(np.minimum(prior[c], free))
            inverse = np.linalg.inv(spread + terms @ terms.T)
            weight = inverse @ data[:, c]
            pulls[:, c] = power[c] * weight
            predicted[kept, c] = 1.0 / np.diag(inverse)
            left_out[kept, c] = weight * predicted[kept, c]
            left_out[~kept, c] = residual[~kept, c] - far @ pulls[:, c]
            gain = power[c] ** 2 * np.einsum("am,mk,ak->a", far, np.linalg.inv(spread), far)
            predicted[~kept, c] = variance[~kept, c] + np.maximum(power[c] - gain, 0.0)
        new = _loss(left_out[kept], noise)
        scores[f"local_{length:g}"] = float(new.mean())
        if _improves(old, new):
            best, old = (length, pulls, left_out, predicted), new
    return *best, scores


def orthonormal_terms(
    u: Floats, v: Floats, *, degree: int, weight: Floats
) -> tuple[Floats, Floats]:
    """Return polynomials that are orthonormal over the weighted stars.

    Returns
    -------
    values : ndarray of float, shape (n, T)
        ``sum_i weight_i values_ia values_ib = delta_ab sum_i weight_i``.
    mixing : ndarray of float, shape (T, T)
        ``values = monomials @ mixing``.
    """
    design = monomials(u, v, degree=degree)
    scale = np.sqrt(weight / weight.sum())
    r: Floats = np.asarray(np.linalg.qr(design * scale[:, None], mode="r"))
    r *= np.where(np.diag(r) < 0, -1.0, 1.0)[:, None]
    mixing: Floats = np.asarray(np.linalg.inv(r + 1e-12 * np.eye(r.shape[0])), np.float64)
    return design @ mixing, mixing
