"""The far wings of a PSF, from what a fitted scene leaves around its bright stars.

A builder that fits a pedestal to each cutout cannot tell wings from sky: whatever level the wings
have near the edge of the cutout is taken off everywhere inside, and light beyond the cutout is not
seen at all.  A per cent or two of a star's flux is lost so.  Here residuals of the whole scene are
looked at in cutouts twice as wide:

    residual(x) = F_s D(|x - x_s|) + c_s

with the flux F_s of each star, a common correction D of the profile, linear between a few radii
and flat inside the first, and a level c_s of each star's sky.  The c_s may take a constant of D;
what is expected of wings settles it: D is a Gaussian process in ln r about zero whose width falls
like r^-2.5 (aureoles fall like r^-2 to r^-2.5: King 1971, PASP 83, 199) and holds some amount of
light.  Single stars differ from it by what is around them (1 per cent of their light, rms), so that
none of them rules; stars that disagree do not count, and with fewer than about four there are no
wings.  Amounts are averaged by their evidence (MacKay 1992, Neural Computation 4, 415), none at all
among them: what the stars do not support shrinks away.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats, Pixels

from ._wings_nb import ring_weights, wing_sums
from .cutouts import StarCutouts
from .field import FieldPsf
from .models import stamp_radius

__all__ = ["WingFit", "flux_ratio", "measure_wings", "with_wings"]

_NODES = 7  # radii of the correction
_INNER = 3.0  # FWHM: the first of them; inside, the residual is that of the core
_SLOPE, _SOFT = 2.5, 1.5  # of the surface brightness expected of wings, and FWHM where it bends
_MEMORY = 1.0  # in ln r, over which a correction keeps its ratio to what is expected
_AMOUNTS = (0.003, 0.01, 0.03, 0.1)  # light of the wings that is expected: the data weigh them
_OWN = 0.01  # of the light: rms of what is around single stars and looks like wings
_MIN_STARS = 4.0  # as if all had the same information: a few may all stand in something's halo
_ODD = 4.0  # mean square deviations of a star that does not belong
_LEAST = 1e-4  # of the light: smaller wings are not worth an image of the PSF
_CLIP = 4.0  # sigma, of pixels
_TAPER = 3  # pix at the edge of a stamp over which wings fade out
_ROUNDS = 4  # of normalising: wings of a few per cent settle to 1e-6


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WingFit:
    """Wings of a PSF.

    ``profile`` is the PSF per pixel at ``radius`` [pix] for unit flux, ``error`` its standard
    error; ``evidence`` the natural logarithm of the odds for them against the PSF without.
    """

    radius: Floats
    profile: Floats
    error: Floats
    evidence: float
    n_stars: int


def measure_wings(
    residuals: StarCutouts,
    flux: Floats,
    *,
    psf: FieldPsf,
    built: FieldPsf | None = None,
    source_variance: float = 0.0,
) -> WingFit | None:
    """Measure the wings of a PSF.

    Parameters
    ----------
    residuals : StarCutouts
        Data minus models of all sources, of the stars too, around bright stars; wider is better.
    flux : ndarray, shape (n,)
        Fluxes of the stars in those models.
    psf : FieldPsf
        The PSF of the models.
    built : FieldPsf, optional
        That PSF without the wings that were found before, default: it has none.
    source_variance : float
        Variance of a pixel per unit of star light in it.

    Returns
    -------
    WingFit or None
        None where too few stars know of wings.
    """
    last = residuals.side // 2 - _TAPER
    radius = np.geomspace(_INNER * psf.fwhm, last, _NODES)
    known = _azimuthal(psf, radius)
    if built is not None:  # with the wings the rest of the light became less
        known = _azimuthal(built, radius) / flux_ratio(built, psf)
    before = _azimuthal(psf, radius) - known
    models = _models(psf, residuals, flux)
    pairs = [
        _equations(
            residuals.data[s],
            residuals.weight[s],
            (residuals.x[s] - residuals.x0[s], residuals.y[s] - residuals.y0[s]),
            radius,
            flux=float(flux[s]),
            light=source_variance * np.maximum(models[s], 0.0),
        )
        for s in range(len(flux))
    ]
    if not pairs:
        return None
    normal, right = (np.stack(parts) for parts in zip(*pairs, strict=True))
    right = right + normal @ before  # as if the models had no wings yet
    expected, place = _expected(radius, psf.fwhm), np.log(radius)
    normal, right = _limited(normal, right, _OWN**2 * _prior(expected, place))
    kept, scatter = _agreeing(normal, right, expected, place)
    if _number(normal[kept], expected) < _MIN_STARS:
        return None
    total, b = normal[kept].sum(axis=0) / scatter, right[kept].sum(axis=0) / scatter
    found = [_posterior(total, b, expected, place, amount=a) for a in _AMOUNTS]
    # Each amount counts by its odds, and so does none at all.
    evidence = np.array([0.0, *(e for _, _, e in found)])
    odds = np.exp(evidence - evidence.max())
    odds /= odds.sum()
    changes = np.stack([np.zeros(_NODES), *(c for c, _, _ in found)])
    errors = np.stack([np.zeros(_NODES), *(e for _, e, _ in found)])
    mean = odds @ changes
    return WingFit(
        radius=radius,
        profile=np.maximum(known + mean, 0.0),
        error=np.sqrt(odds @ (errors**2 + (changes - mean) ** 2)),
        evidence=float(evidence[1:].max()),
        n_stars=int(kept.sum()),
    )


def with_wings(psf: FieldPsf, wings: WingFit) -> FieldPsf:
    """Return the PSF with other wings, the same everywhere; its total flux stays one.

    The core, inside the first radius, gets the level that it has there: what pedestals took.
    """
    side = psf.basis.shape[-1]
    distance = stamp_radius(side) / psf.oversampling
    edge = (side // 2) / psf.oversampling
    taper = np.clip((edge + 1.0 - distance) / (_TAPER + 1.0), 0.0, 1.0)
    native = slice((side // 2) % psf.oversampling, None, psf.oversampling)
    now, light = _azimuthal(psf, wings.radius), 1.0
    added = np.zeros_like(distance)
    for _ in range(_ROUNDS):
        step = wings.profile * light - now
        added = np.interp(distance, wings.radius, step) * taper
        light = 1.0 + float(added[native, native].sum())
    norm = float(np.sqrt((added**2).sum()))
    if norm == 0.0 or abs(light - 1.0) < _LEAST:
        return psf
    term = np.zeros((1, psf.polynomial.shape[1]))
    term[0, 0] = norm / light  # the images have unit norm
    cells = psf.cells
    if cells is not None:
        cells = _second(cells / light, np.zeros((1, *cells.shape[1:])))
    return replace(
        psf,
        basis=_second(psf.basis, (added / norm)[None].astype(np.float32)),
        polynomial=_second(psf.polynomial / light, term),
        cells=cells,
    )


def _second(images: npt.NDArray[Any], new: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return images with a new one after the first, of which all the others are corrections."""
    return np.concatenate([images[:1], new, images[1:]])


def flux_ratio(built: FieldPsf, winged: FieldPsf) -> float:
    """Return the flux of a star with wings over that without, the core being the same."""
    return _peak(built) / _peak(winged)


def _peak(psf: FieldPsf) -> float:
    """Return the central value of the PSF in the middle of the field."""
    ny, nx = psf.shape
    stamp = psf.stamp_at(0.5 * (nx - 1), 0.5 * (ny - 1))
    return float(stamp[stamp.shape[0] // 2, stamp.shape[0] // 2])


def _expected(radius: Floats, fwhm: float) -> Floats:
    """Return wings as they are expected, per pixel, of unit light within the last radius."""
    law = (1.0 + (radius / (_SOFT * fwhm)) ** 2) ** (-0.5 * _SLOPE)
    r = np.linspace(0.0, radius[-1], 512)
    inside = 2.0 * np.pi * r * (1.0 + (r / (_SOFT * fwhm)) ** 2) ** (-0.5 * _SLOPE)
    return np.asarray(law / np.trapezoid(inside, r))


def _prior(expected: Floats, place: Floats) -> Floats:
    """Return the covariance of wings of unit light."""
    correlation = np.exp(-np.abs(place[:, None] - place) / _MEMORY)
    return np.asarray(expected[:, None] * correlation * expected)


def _posterior(
    normal: Floats, right: Floats, expected: Floats, place: Floats, *, amount: float
) -> tuple[Floats, Floats, float]:
    """Return correction, errors and log evidence if wings hold about so much light."""
    # In units of what is expected the prior is a correlation matrix.
    unit = amount * expected
    a, b = normal * unit[:, None] * unit, right * unit
    prior = _prior(np.ones(place.size), place)
    inner = np.linalg.inv(np.linalg.inv(prior) + a)
    _, log_det = np.linalg.slogdet(np.eye(unit.size) + prior @ a)
    solution = inner @ b
    evidence = 0.5 * float(b @ solution - log_det)
    return unit * solution, unit * np.sqrt(np.diag(inner)), evidence


def _azimuthal(psf: FieldPsf, radius: Floats) -> Floats:
    """Return the mean profile of the PSF in the middle of the field; 0 beyond its stamp."""
    ny, nx = psf.shape
    stamp = psf.stamp_at(0.5 * (nx - 1), 0.5 * (ny - 1))
    distance = stamp_radius(stamp.shape[0])
    rings = [stamp[np.abs(distance - r) < 1.0] for r in radius]
    return np.array([float(ring.mean()) if ring.size else 0.0 for ring in rings])


def _models(psf: FieldPsf, cutouts: StarCutouts, flux: Floats) -> Floats:
    """Return centred models of the stars on the stamps of the cutouts; 0 beyond the PSF's own."""
    middle, step = psf.basis.shape[-1] // 2, psf.oversampling
    half = min(cutouts.side // 2, middle // step)
    native = slice(middle - half * step, middle + half * step + 1, step)
    basis = psf.basis[:, native, native].astype(np.float64)
    amounts = flux[:, None] * psf.coefficients(cutouts.x, cutouts.y)
    out = np.zeros(cutouts.data.shape)
    inner = slice(cutouts.side // 2 - half, cutouts.side // 2 + half + 1)
    out[:, inner, inner] = np.tensordot(amounts, basis, 1)
    return out


def _equations(
    data: Pixels,
    weight: Pixels,
    centre: tuple[float, float],
    radius: Floats,
    *,
    flux: float,
    light: Floats,
) -> tuple[Floats, Floats]:
    """Return the normal equations of one star for the correction, its own level eliminated."""
    size = radius.size
    own, cross, sums = np.zeros((size, size)), np.zeros(size), np.zeros(size)
    w, values = np.empty(data.shape), np.empty(data.size, np.float32)
    x, y = (float(c) for c in centre)
    n = ring_weights(data, weight, light, x, y, float(radius[0]), float(radius[-1]), w, values)
    if n == 0:
        return own, sums
    level = float(np.median(values[:n]))
    room = np.empty(data.shape, np.uint8)
    total, amount = wing_sums(data, w, level, _CLIP, x, y, radius, room, own, cross, sums)
    total = max(total, 1e-30)
    normal = flux**2 * (own - np.outer(cross, cross) / total)
    return normal, flux * (sums - cross * (amount / total))


def _limited(normal: Floats, right: Floats, own: Floats) -> tuple[Floats, Floats]:
    """Return the equations of stars whose own wings differ from the common ones, covariance own.

    What is around a star, a reflection or a galaxy, looks like wings of its own: with that, bright
    stars count about equally, and none rules alone.
    """
    mixed = np.linalg.inv(np.eye(len(own)) + own @ normal)
    return normal @ mixed, (mixed.transpose(0, 2, 1) @ right[:, :, None])[:, :, 0]


def _number(normal: Floats, expected: Floats) -> float:
    """Return how many stars share the information, as if all had the same."""
    each = np.einsum("nii,i->n", normal, expected**2)
    power = float((each**2).sum())
    return float(each.sum()) ** 2 / power if power > 0.0 else 0.0


def _agreeing(
    normal: Floats, right: Floats, expected: Floats, place: Floats
) -> tuple[Bools, float]:
    """Tell which stars agree with the others, and their mean square deviation; by noise alone 1."""
    kept = np.ones(len(normal), np.bool_)
    scatter = 1.0
    freedom = expected.size - 1  # a constant is the star's own
    for _ in range(_ROUNDS):
        if not kept.any():
            break
        total, b = normal[kept].sum(axis=0), right[kept].sum(axis=0)
        change, _, _ = _posterior(
            total / scatter, b / scatter, expected, place, amount=_AMOUNTS[-1]
        )
        misfit = np.array([_misfit(a, v - a @ change) for a, v in zip(normal, right, strict=True)])
        misfit /= freedom
        scatter = max(1.0, float(np.median(misfit[kept])))
        kept = misfit < _ODD * scatter
    return kept, scatter


def _misfit(normal: Floats, right: Floats) -> float:
    """Return chi-square of what is left of a star's right side."""
    power, axes = np.linalg.eigh(normal)
    keep = power > 1e-6 * max(power[-1], 1e-300)
    along = axes[:, keep].T @ right
    return float((along**2 / power[keep]).sum())
