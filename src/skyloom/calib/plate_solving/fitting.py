"""Least squares for a TAN + SIP projection, and how high an order the stars support."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from skyloom._types import Floats
from skyloom.calib.plate_solving.projection import (
    SipTerms,
    TanSip,
    gnomonic,
    inverse_gnomonic,
    sip_exponents,
)

__all__ = ["OrderScore", "choose_order", "fit_tan_sip", "robust_sigma"]

MAX_ORDER: Final = 5
_STARS_PER_TERM: Final = 1.5  # least number of stars per coefficient of one axis
_GAIN: Final = 0.95  # a higher order has to lower the expected error to this part
_TANGENT: Final = 4  # steps in which the tangent point follows the centre of the image
_HUBER: Final = 2.0  # sigma beyond which a residual counts linearly
_TUKEY: Final = 6.0  # sigma beyond which it does not count at all, in the second half
_REWEIGHTINGS: Final = 8
_GRID: Final = 9  # points per axis at which the expected error is wanted


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderScore:
    """How good an order would be."""

    order: int
    held_out: float  # pix, rms of stars left out one at a time, per axis
    expected: float  # pix, rms distance of a star from the WCS anywhere on the image, per axis
    wcs_error: float  # pix, the same without the scatter of the star itself


def robust_sigma(residual: Floats) -> float:
    """Return the standard deviation of Gaussian residuals about 0, from their median modulus."""
    return 1.4826 * float(np.median(np.abs(residual))) if residual.size else float("nan")


def fit_tan_sip(
    x: Floats,
    y: Floats,
    ra: Floats,
    dec: Floats,
    *,
    order: int,
    shape: tuple[int, int],
    start: TanSip,
) -> TanSip:
    """Fit a projection to pairs of stars.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Measured positions [pix], 0-based.
    ra, dec : ndarray, shape (n,)
        Positions of the same stars on the sky [deg].
    order : int
        1: no distortion; 2 or more: SIP terms up to this order.
    shape : tuple of int
        Of the image (ny, nx); its centre becomes the reference pixel.
    start : TanSip
        Near the answer: its sky position of the centre is the first tangent point.

    Returns
    -------
    TanSip
        Reference pixel at the centre of the image.

    Notes
    -----
    About a tangent point the standard coordinates of the stars are known, and polynomials of the
    pixel offsets from the centre are linear in their coefficients. The constant terms say how far
    the tangent point is from the centre of the image; it moves there, and the fit is repeated.
    The linear terms are CD, the higher ones CD times the SIP terms. Residuals beyond two sigma
    count linearly (Huber), in the end those beyond six not at all (Tukey), each as it would be
    without its star: a wrong pair does little harm, a lone one in a corner neither.
    """
    ny, nx = shape
    centre = (0.5 * (nx - 1), 0.5 * (ny - 1))
    scale = 0.5 * max(nx, ny)
    design, exponents = _design(x, y, centre=centre, scale=scale, order=order)
    ra0, dec0 = (float(v[0]) for v in start.pixel_to_sky(*(np.array([c]) for c in centre)))
    coefficients: Floats = np.zeros((len(exponents), 2))
    for _ in range(_TANGENT):
        plane = np.column_stack(gnomonic(ra, dec, ra0=ra0, dec0=dec0))
        coefficients = _robust_fit(design, plane)
        moved = inverse_gnomonic(*coefficients[0], ra0=ra0, dec0=dec0)
        step = np.hypot(*coefficients[0])
        ra0, dec0 = float(moved[0]), float(moved[1])
        if step < 1e-11:  # deg
            break
    return _projection(
        coefficients, exponents, crval=(ra0, dec0), centre=centre, scale=scale, order=order
    )


def _design(
    x: Floats, y: Floats, *, centre: tuple[float, float], scale: float, order: int
) -> tuple[Floats, list[tuple[int, int]]]:
    s, t = (x - centre[0]) / scale, (y - centre[1]) / scale
    exponents = sip_exponents(order)
    return np.column_stack([s**p * t**q for p, q in exponents]), exponents


def _robust_fit(design: Floats, plane: Floats) -> Floats:
    """Return coefficients, shape (n_terms, 2), of a robust fit."""
    weight = np.ones(len(design))
    coefficients: Floats = np.zeros((design.shape[1], 2))
    for step in range(_REWEIGHTINGS):
        root = np.sqrt(weight)[:, None]
        coefficients = np.asarray(
            np.linalg.lstsq(root * design, root * plane, rcond=None)[0], dtype=np.float64
        )
        inverse = np.linalg.pinv((design * weight[:, None]).T @ design)
        leverage = weight * np.einsum("ij,jk,ik->i", design, inverse, design)
        residual = np.hypot(*(plane - design @ coefficients).T)
        # A lone star in a corner draws the fit to itself: what counts is how far off it would be
        # without it.
        residual /= np.maximum(1.0 - leverage, 0.05)
        # The median of a Rayleigh distribution is 1.1774 sigma.
        sigma = float(np.median(residual)) / 1.1774
        if not sigma > 0:
            break
        if step < _REWEIGHTINGS // 2:
            weight = np.minimum(1.0, _HUBER * sigma / np.maximum(residual, 1e-300))
        else:
            weight = np.maximum(1.0 - (residual / (_TUKEY * sigma)) ** 2, 1e-3) ** 2
    return coefficients


def _projection(
    coefficients: Floats,
    exponents: list[tuple[int, int]],
    *,
    crval: tuple[float, float],
    centre: tuple[float, float],
    scale: float,
    order: int,
) -> TanSip:
    by_exponent = dict(zip(exponents, coefficients, strict=True))
    cd = np.column_stack([by_exponent[1, 0], by_exponent[0, 1]]) / scale
    sip = None
    if order > 1:
        back = np.linalg.inv(cd)
        a, b = {}, {}
        for (p, q), value in by_exponent.items():
            if p + q > 1:
                f, g = back @ (value / scale ** (p + q))
                a[p, q], b[p, q] = float(f), float(g)
        sip = SipTerms(order=order, a=a, b=b)
    # The tangent point is the sky position of the centre to 1e-11 deg: no constant term is left.
    return TanSip(crval=crval, crpix=centre, cd=cd, sip=sip)


def choose_order(
    x: Floats,
    y: Floats,
    ra: Floats,
    dec: Floats,
    *,
    shape: tuple[int, int],
    start: TanSip,
    max_order: int = MAX_ORDER,
) -> tuple[int, tuple[OrderScore, ...]]:
    """Choose the order of the distortion that predicts stars best which were left out.

    Parameters
    ----------
    x, y, ra, dec, shape, start
        As of `fit_tan_sip`.
    max_order : int
        Highest order to try.

    Returns
    -------
    order : int
        1: no distortion.
    scores : tuple of OrderScore
        All that were tried.

    Notes
    -----
    Each star is left out in turn, which for a linear fit has a closed form: its residual is
    r / (1 - h), with h its leverage. That tells the error where stars are. The image also has
    corners where there are none; there the variance of the fit is sigma^2 h(x, y), and its mean
    over a grid replaces that over the stars. A higher order is taken only if it lowers the
    expected error by 5 per cent.
    """
    ny, nx = shape
    centre = (0.5 * (nx - 1), 0.5 * (ny - 1))
    scale = 0.5 * max(nx, ny)
    ra0, dec0 = (float(v[0]) for v in start.pixel_to_sky(*(np.array([c]) for c in centre)))
    plane = np.column_stack(gnomonic(ra, dec, ra0=ra0, dec0=dec0)) * 3600.0 / start.scale
    grid = np.meshgrid(np.linspace(0, nx - 1, _GRID), np.linspace(0, ny - 1, _GRID))
    raw: list[tuple[int, Floats, Floats, Floats]] = []
    for order in range(1, max_order + 1):
        design, exponents = _design(x, y, centre=centre, scale=scale, order=order)
        if order > 1 and len(x) < _STARS_PER_TERM * len(exponents):
            break
        coefficients = _robust_fit(design, plane)
        residual = plane - design @ coefficients
        inverse = np.linalg.pinv(design.T @ design)
        leverage = np.einsum("ij,jk,ik->i", design, inverse, design)
        left_out = residual / np.maximum(1.0 - leverage, 1e-3)[:, None]
        there = _design(grid[0].ravel(), grid[1].ravel(), centre=centre, scale=scale, order=order)
        spread = np.einsum("ij,jk,ik->i", there[0], inverse, there[0])
        raw.append((order, left_out, leverage, spread))
    sigma = min(robust_sigma(left_out) for _, left_out, _, _ in raw)
    limit = 4.0 * max(sigma, 1e-6)
    scores = []
    for order, left_out, leverage, spread in raw:
        held_out = float(np.mean(np.minimum(np.abs(left_out), limit * 4.0) ** 2))
        # left_out has variance sigma^2 (1 + h): take that of the stars off, add that of the grid.
        bias2 = max(held_out - sigma**2 * (1.0 + float(leverage.mean())), 0.0)
        error2 = bias2 + sigma**2 * float(spread.mean())
        scores.append(
            OrderScore(
                order=order,
                held_out=held_out**0.5,
                expected=(error2 + sigma**2) ** 0.5,
                wcs_error=error2**0.5,
            )
        )
    best = scores[0]
    for score in scores[1:]:
        if score.expected < _GAIN * best.expected:
            best = score
    return best.order, tuple(scores)
