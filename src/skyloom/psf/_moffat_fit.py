"""Elliptical Moffat profiles fitted to many stars at once, with one exponent for all.

Each star has flux, pedestal, x, y, ln(alpha), e1, e2 (e is of the (a^2-b^2)/(a^2+b^2) kind; the
area within a contour does not depend on it).  Levenberg-Marquardt, all stars side by side; the
common exponent is solved for by a Schur complement.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats

from ._moffat_nb import moffat_fill, moffat_normal, moffat_values
from .models import moffat_alpha

__all__ = ["MoffatFits", "fit_moffats", "moffat_stamps"]

_MAX_E2 = 0.81  # |e| <= 0.9
_BETA = (1.3, 12.0)  # at 12 a Moffat is a Gaussian for our purpose


@dataclass(frozen=True, slots=True, kw_only=True)
class MoffatFits:
    """Result of `fit_moffats`; arrays over stars."""

    flux: Floats
    pedestal: Floats
    x: Floats  # pix from the centre of the cutout
    y: Floats
    shape: Floats  # (n, 3): ln alpha [ln pix], e1, e2
    shape_cov: Floats  # (n, 3, 3)
    ok: Bools
    beta: float


def moffat_stamps(
    shape: Floats, *, beta: float, x: Floats, y: Floats, centre: Floats, width: Floats | None = None
) -> tuple[Floats, Floats, Floats]:
    """Return profiles of total flux one (over the infinite plane), averaged over blocks.

    Parameters
    ----------
    shape : ndarray of float, shape (n, 3)
        ln alpha, e1, e2.
    x, y : ndarray of float, shape (n,)
        Position of each star [pix].
    centre, width : ndarray of float, shape (m,)
        Centres and widths [pix] of the blocks along rows and columns; width 1 when absent.

    Returns
    -------
    value, by_x, by_y : ndarray of float, shape (n, m, m)
        Profile per pixel and its derivatives by x and y.
    """
    value, by_x, by_y = (np.empty((shape.shape[0], centre.size, centre.size)) for _ in range(3))
    width = np.ones(centre.size) if width is None else width
    moffat_fill(x, y, np.ascontiguousarray(shape), beta, centre, width, value, by_x, by_y)
    return value, by_x, by_y


def centred_moffats(shape: Floats, *, beta: float, centre: Floats, width: Floats) -> Floats:
    """Return the values of `moffat_stamps` about (0, 0), for blocks that are symmetric about it."""
    value = np.empty((shape.shape[0], centre.size, centre.size))
    moffat_values(np.ascontiguousarray(shape), beta, centre, width, value)
    return value


def fit_moffats(
    data: Floats,
    weight: Floats,
    *,
    fwhm: float,
    beta: float,
    source_variance: float,
    model_error: float,
    iterations: int = 15,
    vote: Bools | None = None,
    previous: MoffatFits | None = None,
) -> MoffatFits:
    """Fit every star of a stack of small cutouts, and the exponent they share.

    Parameters
    ----------
    data, weight : ndarray of float, shape (n, m, m)
        Pixels and inverse sky variance, m odd; the star is within two pixels of the centre.
    fwhm, beta : float
        Start values; FWHM [pix].
    source_variance : float
        Variance of a pixel per unit of star light in it (1 / gain); 0 for none.
    model_error : float
        Relative error of the model, added to the variance in quadrature.
    """
    n = data.shape[0]
    data, weight = np.ascontiguousarray(data), np.ascontiguousarray(weight)

    def equations(par: Floats, beta: float) -> tuple[Floats, Floats, Floats]:
        normal, right, loss = np.empty((n, 8, 8)), np.empty((n, 8)), np.empty(n)
        moffat_normal(data, weight, par, beta, source_variance, model_error, normal, right, loss)
        return normal, right, loss

    if previous is None:
        par = _start(data, weight, fwhm=fwhm, beta=beta)
    else:
        own = (previous.flux, previous.pedestal, previous.x, previous.y)
        par = np.concatenate([np.stack(own, axis=1), previous.shape], axis=1)
    free = np.ones(n, dtype=bool) if vote is None else vote
    damping = np.full(n, 1e-2 if previous is None else 1e-4)
    normal, right, loss = equations(par, beta)
    for iteration in range(iterations):
        step, beta_step = _solve(
            normal, right, damping, free if iteration >= 2 or previous is not None else None
        )
        trial = _bounded(par, step)
        beta_now = float(np.clip(beta + beta_step, *_BETA))
        normal_t, right_t, loss_t = equations(trial, beta_now)
        better = loss_t <= loss + 1e-6 * np.abs(loss) + 1e-9
        # While the exponent moves, single stars may get worse without being astray.
        better |= (beta_step != 0.0) & (loss_t <= loss + 0.02 * np.abs(loss) + 2.0)
        damping = np.where(better, damping * 0.1, np.minimum(damping * 10.0, 1e6))
        par = np.where(better[:, None], trial, par)
        beta = beta_now
        if better.all():
            normal, right, loss = normal_t, right_t, loss_t
        else:
            normal, right, loss = equations(par, beta)
        small = np.abs(step[:, 2:]) < 1e-3 + 0.02 * _sigma(normal)[:, 2:]
        if (
            iteration >= (3 if previous is None else 1)
            and (small.all(axis=1) | ~better).all()
            and abs(beta_step) < 3e-3
        ):
            break
    cov = np.linalg.inv(_regular(normal[:, :7, :7].copy()))
    ok = (par[:, 0] > 0) & np.isfinite(cov).all(axis=(1, 2)) & (damping < 1e3)
    return MoffatFits(
        flux=par[:, 0],
        pedestal=par[:, 1],
        x=par[:, 2],
        y=par[:, 3],
        shape=par[:, 4:7],
        shape_cov=np.asarray(cov[:, 4:7, 4:7], dtype=np.float64),
        ok=ok & ((weight > 0).sum(axis=(1, 2)) > 20),
        beta=beta,
    )


def _start(data: Floats, weight: Floats, *, fwhm: float, beta: float) -> Floats:
    """Centroid in a window of one FWHM; flux by a matched filter there."""
    n, m = data.shape[0], data.shape[-1]
    offset = np.arange(m, dtype=np.float64) - m // 2
    par = np.zeros((n, 7))
    par[:, 4] = np.log(moffat_alpha(fwhm=fwhm, beta=beta))
    pixels = np.where(weight > 0, data, 0.0)
    width = (0.6 * fwhm) ** 2
    for _ in range(3):
        wx = np.exp(-0.5 * (offset - par[:, 2:3]) ** 2 / width)
        wy = np.exp(-0.5 * (offset - par[:, 3:4]) ** 2 / width)
        window = pixels * wy[:, :, None] * wx[:, None, :]
        light = np.maximum(window.sum(axis=(1, 2)), 1e-30)
        along_x = (window.sum(axis=1) * (offset - par[:, 2:3])).sum(axis=1) / light
        along_y = (window.sum(axis=2) * (offset - par[:, 3:4])).sum(axis=1) / light
        par[:, 2] = np.clip(par[:, 2] + np.clip(2.0 * along_x, -1.0, 1.0), -2.0, 2.0)
        par[:, 3] = np.clip(par[:, 3] + np.clip(2.0 * along_y, -1.0, 1.0), -2.0, 2.0)
    unit, _, _ = moffat_stamps(par[:, 4:7], beta=beta, x=par[:, 2], y=par[:, 3], centre=offset)
    unit *= weight > 0
    par[:, 0] = (unit * pixels).sum(axis=(1, 2)) / np.maximum((unit**2).sum(axis=(1, 2)), 1e-30)
    return par


def _regular(a: Floats) -> Floats:
    diagonal = np.einsum("nii->ni", a)
    diagonal += 1e-9 * diagonal + 1e-30
    return a


def _sigma(normal: Floats) -> Floats:
    return np.asarray(1.0 / np.sqrt(np.maximum(np.einsum("nii->ni", normal)[:, :7], 1e-30)))


def _solve(
    normal: Floats, right: Floats, damping: Floats, vote: Bools | None
) -> tuple[Floats, float]:
    """Return the steps of all stars and of the common exponent."""
    own = _regular(normal[:, :7, :7].copy())
    diagonal = np.einsum("nii->ni", own)
    diagonal *= 1.0 + damping[:, None]
    cross = normal[:, :7, 7]
    solved = np.linalg.solve(own, np.stack([right[:, :7], cross], axis=2))
    beta_step = 0.0
    if vote is not None:
        settled = vote & (damping < 1.0)  # stars far from their minimum do not vote on the exponent
        bend = (normal[:, 7, 7] - (cross * solved[:, :, 1]).sum(axis=1))[settled].sum()
        pull = (right[:, 7] - (cross * solved[:, :, 0]).sum(axis=1))[settled].sum()
        beta_step = float(np.clip(pull / bend, -0.5, 0.5)) if bend > 0 else 0.0
    return solved[:, :, 0] - beta_step * solved[:, :, 1], beta_step


def _bounded(par: Floats, step: Floats) -> Floats:
    out = par + np.concatenate([step[:, :2], np.clip(step[:, 2:], -0.4, 0.4)], axis=1)
    out[:, 2:4] = np.clip(out[:, 2:4], -3.0, 3.0)
    out[:, 4] = np.clip(out[:, 4], -1.5, 3.5)
    e2 = out[:, 5] ** 2 + out[:, 6] ** 2
    out[:, 5:7] *= np.sqrt(np.minimum(1.0, _MAX_E2 / np.maximum(e2, 1e-30)))[:, None]
    return np.asarray(out)
