"""Does the zero point depend on place, magnitude or colour?  Robust slopes, smooth surfaces."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, Self

import numpy as np

from skyloom._types import Floats, Ints

__all__ = ["SurfaceKind", "Trend", "ZeroPointSurface", "choose_surface", "measure_trend"]

SurfaceKind = Literal["none", "plane", "quadratic"]

_HUBER: Final = 1.345  # 95 % efficient for normal residuals
_ROUNDS: Final = 20
_TREND_MIN: Final = 8  # stars; fewer say nothing about a slope and its error
_SURFACE_MIN: Final = {"plane": 12, "quadratic": 24}  # stars: four for each coefficient
_FOLDS: Final = 5
_GAIN: Final = 1.0  # standard errors; constant fields pass 1 time in 50, see tests
SIGNIFICANT: Final = 4.0
"""|slope| / error from which a trend is reported: 40 bands with 4 trends give one in 100 runs."""
NOTICEABLE: Final = 0.002
"""Change over the sample [mag] from which a trend is reported: the accuracy aimed at."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Trend:
    """A straight line through zero points."""

    against: str  # x, y, mag, colour
    n: int
    pivot: float  # where slope and level are uncorrelated
    level: float  # mag, at the pivot
    slope: float  # mag per unit of the abscissa
    slope_err: float
    span: float  # of the abscissa, from the 5th to the 95th percentile

    @property
    def significance(self) -> float:
        """Slope over its error, with sign."""
        return self.slope / self.slope_err if self.slope_err > 0 else 0.0

    @property
    def amplitude(self) -> float:
        """Change of the zero point over ``span`` [mag], with sign."""
        return self.slope * self.span

    @property
    def is_significant(self) -> bool:
        """Whether someone should look."""
        return abs(self.significance) >= SIGNIFICANT and abs(self.amplitude) >= NOTICEABLE


def measure_trend(
    against: str, abscissa: Floats, values: Floats, errors: Floats, *, intrinsic: float
) -> Trend | None:
    """Fit a line with Huber weights; its error is that of the scatter about it.

    Parameters
    ----------
    against : str
        Name of the abscissa.
    abscissa, values, errors : ndarray, shape (n,)
        Place, magnitude or colour; zero points [mag] and their errors [mag].
    intrinsic : float
        Scatter beyond the errors [mag]; added in quadrature, so that bright stars do not decide.

    Returns
    -------
    Trend or None
        None for fewer than 8 stars, or where they all have the same abscissa.
    """
    use = np.isfinite(abscissa) & np.isfinite(values)
    t, v = abscissa[use], values[use]
    if use.sum() < _TREND_MIN or np.ptp(t) == 0:
        return None
    sigma = np.hypot(_known_errors(errors[use]), max(intrinsic, 1e-6))
    pivot = float(np.average(t, weights=sigma**-2.0))
    scale = float(np.std(t))
    fit = _robust_fit(np.column_stack([np.ones(len(t)), (t - pivot) / scale]), v, sigma)
    low, high = np.percentile(t, [5.0, 95.0])
    return Trend(
        against=against,
        n=int(use.sum()),
        pivot=pivot,
        level=float(fit.coefficients[0]),
        slope=float(fit.coefficients[1]) / scale,
        slope_err=float(math.sqrt(fit.covariance[1, 1])) / scale,
        span=float(high - low),
    )


def _known_errors(errors: Floats) -> Floats:
    """Replace missing errors by the median of the others, or 0."""
    with np.errstate(invalid="ignore"):
        known = np.isfinite(errors) & (errors > 0)
    return np.where(known, errors, np.median(errors[known]) if known.any() else 0.0)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Fit:
    coefficients: Floats
    covariance: Floats


def _robust_fit(design: Floats, values: Floats, sigma: Floats) -> _Fit:
    """Least squares with Huber weights; covariance from the residuals (Huber 1964).

    Each residual is divided by one minus its leverage (HC3, MacKinnon & White 1985, J. Econometrics
    29, 305): without that few stars at the end of the abscissa look too certain.
    """
    weight = sigma**-2.0
    for _ in range(_ROUNDS):
        normal = design.T @ (weight[:, None] * design)
        coefficients = np.linalg.lstsq(normal, design.T @ (weight * values), rcond=None)[0]
        pull = np.abs(values - design @ coefficients) / sigma
        new = sigma**-2.0 * np.minimum(1.0, _HUBER / np.maximum(pull, 1e-12))
        if np.allclose(new, weight, rtol=1e-8, atol=0.0):
            break
        weight = new
    residual = values - design @ coefficients
    free = np.where(np.abs(residual) <= _HUBER * sigma, sigma**-2.0, 0.0)  # slope of the score
    inverse = np.linalg.pinv(design.T @ (free[:, None] * design))
    leverage = free * np.einsum("ij,jk,ik->i", design, inverse, design)
    score = (weight * residual / np.maximum(1.0 - leverage, 0.05))[:, None] * design
    covariance = inverse @ (score.T @ score) @ inverse
    return _Fit(coefficients=np.asarray(coefficients, np.float64), covariance=covariance)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroPointSurface:
    """A smooth correction of the zero point over the frame, zero on average over its stars."""

    kind: SurfaceKind
    centre: tuple[float, float]  # pix
    scale: tuple[float, float]  # pix; stars lie within -1 and 1
    means: Floats  # of the terms over the stars
    coefficients: Floats  # mag
    covariance: Floats  # mag**2
    gain: float  # loss of left-out stars that it saves, in standard errors

    def __call__(self, x: Floats, y: Floats) -> Floats:
        """Return the correction [mag]; beyond the stars' box the value at its edge, 0 for NaN."""
        return np.asarray(self._terms(x, y) @ self.coefficients)

    def error(self, x: Floats, y: Floats) -> Floats:
        """Return the standard error of the correction [mag]."""
        terms = self._terms(x, y)
        return np.asarray(np.sqrt(np.einsum("ij,jk,ik->i", terms, self.covariance, terms)))

    def _terms(self, x: Floats, y: Floats) -> Floats:
        u, v = (
            np.clip((np.where(np.isfinite(t), t, c) - c) / s, -1.0, 1.0)
            for t, c, s in zip((x, y), self.centre, self.scale, strict=True)
        )
        terms = _polynomial(u, v, self.kind) - self.means
        return np.where((np.isfinite(x) & np.isfinite(y))[:, None], terms, 0.0)

    def as_dict(self) -> dict[str, Any]:
        """Return what a JSON file needs to give the surface back."""
        return {
            "kind": self.kind,
            "centre": list(self.centre),
            "scale": list(self.scale),
            "means": self.means.tolist(),
            "coefficients": self.coefficients.tolist(),
            "covariance": self.covariance.tolist(),
            "gain": self.gain,
        }

    @classmethod
    def from_dict(cls, facts: Mapping[str, Any]) -> Self:
        """Return the surface of `as_dict`."""
        return cls(
            kind=facts["kind"],
            centre=(facts["centre"][0], facts["centre"][1]),
            scale=(facts["scale"][0], facts["scale"][1]),
            means=np.array(facts["means"], dtype=np.float64),
            coefficients=np.array(facts["coefficients"], dtype=np.float64),
            covariance=np.array(facts["covariance"], dtype=np.float64),
            gain=float(facts["gain"]),
        )


def _polynomial(u: Floats, v: Floats, kind: SurfaceKind) -> Floats:
    columns = {"none": [], "plane": [u, v], "quadratic": [u, v, u * u, u * v, v * v]}[kind]
    return np.column_stack(columns) if columns else np.zeros((len(u), 0))


def choose_surface(
    x: Floats, y: Floats, values: Floats, errors: Floats, *, intrinsic: float, most: SurfaceKind
) -> ZeroPointSurface | None:
    """Fit a surface to zero points if it predicts stars that were left out of the fit.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions of the stars [pix].
    values, errors : ndarray, shape (n,)
        Their zero points and errors [mag].
    intrinsic : float
        Scatter beyond the errors about a constant [mag].
    most : {"none", "plane", "quadratic"}
        The richest surface to try; the simpler ones are tried too.

    Returns
    -------
    ZeroPointSurface or None
        None where a constant does as well: each step to a richer surface must lower the loss of
        left-out stars (Huber's, five folds) by a standard error of the difference.
    """
    use = np.isfinite(x) & np.isfinite(y) & np.isfinite(values)
    x, y, values = x[use], y[use], values[use]
    if len(x) < min(_SURFACE_MIN.values()) or not (np.ptp(x) > 0 and np.ptp(y) > 0):
        return None
    sigma = np.hypot(_known_errors(errors[use]), max(intrinsic, 1e-6))
    middle = (float(x.min() + x.max()) / 2, float(y.min() + y.max()) / 2)
    half = (float(np.ptp(x)) / 2, float(np.ptp(y)) / 2)
    u, v = (x - middle[0]) / half[0], (y - middle[1]) / half[1]
    fold = np.random.default_rng(20260101).permutation(len(x)) % _FOLDS
    kinds: tuple[SurfaceKind, ...] = ("none", "plane", "quadratic")
    best: SurfaceKind = "none"
    gain, loss = 0.0, _left_out_loss(_polynomial(u, v, "none"), values, sigma, fold)
    for kind in kinds[1 : kinds.index(most) + 1]:
        if len(x) < _SURFACE_MIN[kind]:
            continue
        other = _left_out_loss(_polynomial(u, v, kind), values, sigma, fold)
        saved = loss - other
        pull = float(np.mean(saved)) / max(float(np.std(saved)) / math.sqrt(len(x)), 1e-12)
        if pull >= _GAIN:
            best, loss, gain = kind, other, pull
    if best == "none":
        return None
    terms = _polynomial(u, v, best)
    means = np.average(terms, axis=0, weights=sigma**-2.0)
    fit = _robust_fit(np.column_stack([np.ones(len(x)), terms - means]), values, sigma)
    return ZeroPointSurface(
        kind=best,
        centre=middle,
        scale=half,
        means=means,
        coefficients=fit.coefficients[1:],
        covariance=fit.covariance[1:, 1:],
        gain=gain,
    )


def _left_out_loss(terms: Floats, values: Floats, sigma: Floats, fold: Ints) -> Floats:
    """Return Huber's loss of every star under the surface fitted to the other folds."""
    design = np.column_stack([np.ones(len(values)), terms])
    pull = np.zeros(len(values))
    for k in range(_FOLDS):
        out = fold == k
        fit = _robust_fit(design[~out], values[~out], sigma[~out])
        pull[out] = np.abs(values[out] - design[out] @ fit.coefficients) / sigma[out]
    return np.where(pull <= _HUBER, 0.5 * pull**2, _HUBER * (pull - 0.5 * _HUBER))
