"""Effective PSF of a band from cutouts of its stars, varying smoothly over the field.

1. Elliptical Moffat profiles, integrated over pixels, with a common exponent are fitted to all
   stars.  Size and ellipticity over the field are polynomials of the order that predicts
   left-out stars best, plus a local mean where that helps.  They carry the variation of the PSF
   with few numbers.  Stars that differ from the others are dropped.
2. With that PSF every star gets flux, pedestal and position; what no Moffat describes is fitted to
   the residuals of all stars in polar functions and kept as far as the stars support it.
   Repeated until it settles; neighbours are masked, stars that the PSF does not fit are dropped.
3. The PSF is normalised to the whole flux of a star, with the light outside the stamp.

All functions are continuous and evaluated at the sub-pixel position of each star: nothing is
interpolated, no pixel is resampled.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._assemble import assemble
from ._grid import fine_grid
from ._moffat_fit import MoffatFits, fit_moffats
from ._regress import ShapeField, fit_shape_field
from ._rounds import Corrected, Work, correct
from ._starfit import mask_asymmetric, refine_stars
from .cutouts import StarCutouts
from .field import field_coordinates
from .models import stamp_fwhm, stamp_radius
from .results import UNMEASURED, BuilderOptions, FieldPsfResult, StarFits, StarFlag

__all__ = ["build_field_psf"]

_CHI2_RADIUS = 7.0  # pix
_BOX = 2.2  # FWHM; half-size of the box in which the Moffat profiles are fitted
_WIDEST = 3.0  # FWHM of a star over the typical one, beyond which it is no star
_START_BETA = 3.0
_UNDERSAMPLED = 3.5  # pix of FWHM below which one sample per pixel is not enough


def build_field_psf(
    cutouts: StarCutouts, *, shape: tuple[int, int], options: BuilderOptions | None = None
) -> FieldPsfResult:
    """Build the PSF of a band from its stars.

    Parameters
    ----------
    cutouts : StarCutouts
        Background-subtracted stars; neighbours may be left in (they are masked as far as they
        are seen), but a second call with cutouts of ``image - model of all other sources`` is
        better.
    shape : tuple of int
        ``(ny, nx)`` of the image, over which the PSF varies.
    options : BuilderOptions, optional
        How to build it.

    Returns
    -------
    FieldPsfResult
        Its ``psf`` is None when no star is usable.  The same input gives the same bytes.

    Notes
    -----
    Stamps may be wider than the cutouts: the corrections fade out where the cutouts end and the
    Moffat goes on.
    """
    options = options if options is not None else BuilderOptions()
    chosen = _chosen(cutouts, shape, options)
    work = _prepared(cutouts.rows(chosen), shape, options)
    if work is None:
        return _nothing(cutouts, chosen, np.full(chosen.size, int(StarFlag.NO_DATA)))
    fits, field, flags = _shapes(work)
    if not field.kept.any():
        return _nothing(cutouts, chosen, flags)
    found = correct(work, fits, field, flags)
    origin = np.zeros(1)
    fwhm = _model_fwhm(fits, field.smooth(origin, origin)[0])
    sampling = options.oversampling or (2 if fwhm < _UNDERSAMPLED else 1)
    psf, growth, total = assemble(
        field,
        fits.beta,
        found.model.basis,
        found.correction,
        grid=found.grid,
        u=work.u,
        v=work.v,
        side=options.side,
        oversampling=sampling,
        total_radius=options.total_radius,
        shape=shape,
        fwhm=fwhm,
    )
    centre = psf.samples_at(0.5 * (shape[1] - 1), 0.5 * (shape[0] - 1))
    psf = replace(psf, fwhm=stamp_fwhm(centre) / sampling)
    masked = np.ones(cutouts.data.shape, dtype=bool)
    masked[chosen] = found.masked
    residuals, sigma = _residuals(cutouts, chosen, work, found)
    return FieldPsfResult(
        psf=psf,
        growth=growth,
        stars=_star_fits(cutouts, chosen, found, total, field.deviation),
        order=field.order,
        local_length=field.length,
        correction_order=found.correction.order,
        beta=fits.beta,
        fwhm=psf.fwhm,
        scores={**field.scores, **found.scores},
        masked=masked,
        residuals=residuals,
        sigma=sigma,
    )


def _chosen(cutouts: StarCutouts, shape: tuple[int, int], options: BuilderOptions) -> Ints:
    """Rows of the stars to work with: in turn the brightest left in each of 4 x 4 fields."""
    if len(cutouts) <= options.max_stars:
        return np.arange(len(cutouts))
    u, v = field_coordinates(cutouts.x, cutouts.y, shape=shape)
    column = np.minimum((2.0 * u + 2.0).astype(np.int64), 3)
    part = column + 4 * np.minimum((2.0 * v + 2.0).astype(np.int64), 3)
    half = cutouts.side // 2
    core = slice(max(0, half - 3), half + 4)
    light = (cutouts.data * (cutouts.weight > 0))[:, core, core].sum(axis=(1, 2))
    turn = np.empty(len(cutouts), dtype=np.int64)
    for p in np.unique(part):
        rows = np.flatnonzero(part == p)
        turn[rows[np.argsort(-light[rows], kind="stable")]] = np.arange(rows.size)
    return np.sort(np.lexsort((-light, turn))[: options.max_stars])


def _prepared(cutouts: StarCutouts, shape: tuple[int, int], options: BuilderOptions) -> Work | None:
    data = cutouts.data.astype(np.float64)
    weight = cutouts.weight.astype(np.float64)
    if not (weight > 0).any():
        return None
    fwhm = _rough_fwhm(data, weight)
    weight = mask_asymmetric(data, weight, core=1.2 * fwhm)
    u, v = field_coordinates(cutouts.x, cutouts.y, shape=shape)
    total, count = weight.sum(axis=(1, 2)), (weight > 0).sum(axis=(1, 2))
    sky = np.divide(count, total, out=np.full(total.size, np.inf), where=total > 0)
    half = cutouts.side // 2
    return Work(
        data=data,
        weight=weight,
        u=u,
        v=v,
        seed_x=cutouts.x - cutouts.x0 - half,
        seed_y=cutouts.y - cutouts.y0 - half,
        sky=sky,
        fwhm=fwhm,
        options=options,
    )


def _rough_fwhm(data: Floats, weight: Floats) -> float:
    """FWHM [pix] from the number of pixels above half of the peak, median of the stars."""
    half = data.shape[-1] // 2
    core = slice(max(0, half - 8), half + 9)
    pixels = np.where(weight > 0, data, 0.0)[:, core, core]
    middle = pixels.shape[-1] // 2
    near = slice(max(0, middle - 3), middle + 4)
    peak = pixels[:, near, near].max(axis=(1, 2))
    area = (pixels > 0.5 * peak[:, None, None]).sum(axis=(1, 2))[peak > 0]
    return float(np.clip(2.0 * np.sqrt(np.median(area) / np.pi), 1.5, 12.0)) if area.size else 3.0


def _shapes(work: Work) -> tuple[MoffatFits, ShapeField, Ints]:
    """Moffat profiles of the stars, their field, and the flags of stars that do not belong."""
    o, side = work.options, work.data.shape[-1]
    half = int(np.clip(np.ceil(_BOX * work.fwhm), 6, side // 2))
    box = slice(side // 2 - half, side // 2 + half + 1)
    data, weight = work.data[:, box, box], work.weight[:, box, box]
    core = stamp_radius(side) < 1.2 * work.fwhm
    masked = (work.weight[:, core] > 0).mean(axis=1) < 0.7
    fits = fit_moffats(
        data,
        weight,
        fwhm=work.fwhm,
        beta=_START_BETA,
        source_variance=o.source_variance,
        model_error=o.model_error,
    )
    flags, field = _shape_field(work, fits, masked)
    if not (field.kept == (flags == 0)).all():  # galaxies must not vote on the exponent
        fits = fit_moffats(
            data,
            weight,
            fwhm=work.fwhm,
            beta=fits.beta,
            source_variance=o.source_variance,
            model_error=o.model_error,
            iterations=2,
            vote=field.kept,
            previous=fits,
        )
        flags, field = _shape_field(work, fits, masked)
    flags = flags + ((flags == 0) & ~field.kept) * int(StarFlag.SHAPE)
    return fits, field, flags


def _shape_field(work: Work, fits: MoffatFits, masked: Bools) -> tuple[Ints, ShapeField]:
    """Return the flags of stars without a usable profile, and the field of the others."""
    o = work.options
    own = 2.0 * np.exp(fits.shape[:, 0]) * np.sqrt(2.0 ** (1.0 / fits.beta) - 1.0)
    # noise-equivalent pixels of a Gaussian of the FWHM of the star, never below the typical one
    area = 4.0 * np.pi * (np.maximum(own, work.fwhm) / 2.355) ** 2
    faint = fits.flux < o.min_snr * np.sqrt(work.sky * area)
    shapeless = (own > _WIDEST * work.fwhm) | (np.abs(fits.x) > 2.9) | (np.abs(fits.y) > 2.9)
    flags = np.where(
        masked,
        int(StarFlag.NO_DATA),
        np.where(~fits.ok | shapeless, int(StarFlag.FIT_FAILED), faint * int(StarFlag.FAINT)),
    )
    flags = flags | ((flags == 0) & work.moved(fits.x, fits.y)) * int(StarFlag.MOVED)
    field = fit_shape_field(
        work.u,
        work.v,
        fits.shape,
        fits.shape_cov,
        flags == 0,
        max_order=o.max_order,
        stars_per_term=o.stars_per_term,
        clip_sigma=o.clip_sigma,
        local=o.local,
    )
    return flags.astype(np.int64), field


def _model_fwhm(fits: MoffatFits, shape: Floats) -> float:
    """FWHM [pix] of the Moffat, pixel included in quadrature."""
    core = 2.0 * float(np.exp(shape[0])) * np.sqrt(2.0 ** (1.0 / fits.beta) - 1.0)
    return float(np.hypot(core, 0.68))  # 0.68 = 2.355 / sqrt(12)


def _residuals(
    cutouts: StarCutouts, chosen: Ints, work: Work, found: Corrected
) -> tuple[Pixels | None, Pixels | None]:
    """Return data minus model of all stars pixel by pixel, and the noise."""
    if not work.options.residuals:
        return None, None
    step = refine_stars(
        work.data,
        np.where(found.masked, 0.0, work.weight),
        found.model,
        found.step.state,
        fine_grid(cutouts.side),
        source_variance=work.options.source_variance,
        model_error=0.0,
    )
    residuals = np.zeros(cutouts.data.shape, np.float32)
    sigma = np.ones(cutouts.data.shape, np.float32)
    has_data = cutouts.weight[chosen] > 0
    light = np.maximum(step.light, 0.0)
    sky = 1.0 / np.where(has_data, cutouts.weight[chosen], 1.0)
    residuals[chosen] = np.where(has_data, step.residual, 0.0)
    sigma[chosen] = np.sqrt(sky + work.options.source_variance * light)
    return residuals, sigma


def _star_fits(
    cutouts: StarCutouts, chosen: Ints, found: Corrected, total: Floats, deviation: Floats
) -> StarFits:
    step, state = found.step, found.step.state
    near = found.grid.radius < _CHI2_RADIUS
    count = (step.weight > 0)[:, near].sum(axis=1)
    chi2 = (step.weight * step.residual**2)[:, near].sum(axis=1) / np.maximum(count - 4, 1)
    half = cutouts.side // 2
    columns = {
        "x": cutouts.x0[chosen] + half + state.dx,
        "y": cutouts.y0[chosen] + half + state.dy,
        "flux": state.flux * total,
        "flux_err": np.sqrt(state.flux_var) * total,
        "pedestal": state.pedestal,
        "chi2": np.where(count > 4, chi2, np.nan),
        "shape_deviation": deviation,
    }
    return _full_fits(len(cutouts), chosen, columns, found.used, found.flags)


def _full_fits(
    n: int, chosen: Ints, columns: dict[str, Floats], used: Bools, flags: Ints
) -> StarFits:
    unmeasured = (flags & int(UNMEASURED)) > 0
    full = {name: np.full(n, np.nan) for name in columns}
    for name, values in columns.items():
        full[name][chosen] = np.where(unmeasured, np.nan, values)
    all_used, all_flags = np.zeros(n, bool), np.full(n, int(StarFlag.NOT_NEEDED), np.int64)
    all_used[chosen], all_flags[chosen] = used, flags
    return StarFits(**full, used=all_used, flags=all_flags)


def _nothing(cutouts: StarCutouts, chosen: Ints, flags: Ints) -> FieldPsfResult:
    names = ("x", "y", "flux", "flux_err", "pedestal", "chi2", "shape_deviation")
    columns = {name: np.full(chosen.size, np.nan) for name in names}
    return FieldPsfResult(
        psf=None,
        growth=None,
        stars=_full_fits(len(cutouts), chosen, columns, np.zeros(chosen.size, bool), flags),
        order=0,
        local_length=0.0,
        correction_order=-1,
        beta=float("nan"),
        fwhm=float("nan"),
        scores={},
        masked=np.ones(cutouts.data.shape, dtype=bool),
        residuals=None,
        sigma=None,
    )
