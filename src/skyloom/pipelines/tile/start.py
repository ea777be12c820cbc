"""From catalogue rows to start values, bounds and priors of the fit."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.catalogs import (
    CatalogColumns,
    column_as_bool,
    column_as_float,
    resolve_columns,
    source_types,
)
from skyloom.scene import Sources, SourceType, parameters_from_ellipse

from .fit_sections import PatchRunConfig

__all__ = ["StartValues", "scene_sources", "start_values"]

_TYPES = {t.name: int(t) for t in SourceType}
RADIUS_LIMITS = (0.1, 1000.0)  # pix; the documented bounds of the radius
START_RADIUS = (0.3, 100.0)  # pix; start values are clipped to this
SERSIC_LIMITS = (0.29, 6.3)
NEAR_LOG_R = 0.4  # how far ln r may grow where shapes stay near the catalogue: two errors of one
NEAR_SHEAR = 0.15  # how far ellipticities may move there


@dataclass(frozen=True, slots=True, kw_only=True)
class StartValues:
    """What the catalogue says about each row, in the units of the fit.

    ``kind`` is -1 for rows that are not fitted (excluded, or without a position in the frame),
    ``catalogue_kind`` is not.
    """

    kind: Ints
    catalogue_kind: Ints
    x: Floats  # pix, working frame
    y: Floats
    log_r: Floats  # ln of the circularised half-light radius [pix]
    g1: Floats
    g2: Floats
    n: Floats
    has_size: Bools  # the catalogue states one
    prior_ivar: Floats  # (n, 6), 0: none; about the start values
    flux_prior_mean: Floats  # (n, B)
    flux_prior_ivar: Floats
    flux: Floats  # (n, B) of the catalogue [scaled counts]; NaN where it has none

    @property
    def active(self) -> Bools:
        """Rows that are fitted."""
        return np.asarray(self.kind >= 0)


def start_values(
    table: Table, bands: list[str], shape: tuple[int, int], config: PatchRunConfig
) -> StartValues:
    """Read start values out of the base table.

    Parameters
    ----------
    table : Table
        The stage ``sources``'s product.
    bands : list of str
    shape : tuple of int
        Working frame (ny, nx).
    config : PatchRunConfig
        Fallbacks ``gal_model``, ``re_fallback_pix``, ``sersic_n_init``.
    """
    columns = resolve_columns(table, bands)
    rows = len(table)
    x, y = column_as_float(table, "x_pix_white"), column_as_float(table, "y_pix_white")
    inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    active = inside & ~column_as_bool(table, "excluded_any")
    kind = _kinds(source_types(table, columns), config.gal_model)
    a, ab, theta = _ellipses(table, columns, config)
    r, g1, g2 = parameters_from_ellipse(a, ab, theta)
    n = np.full(rows, config.sersic_n_init)
    if columns.sersic_n is not None:
        given = column_as_float(table, columns.sersic_n)
        n = np.where(np.isfinite(given) & (given > 0), given, n)
    has_size = np.zeros(rows, np.bool_)
    if columns.re is not None:
        has_size = np.isfinite(column_as_float(table, columns.re))
    mean, ivar = _flux_priors(table, columns, bands)
    return StartValues(
        kind=np.where(active, kind, -1),
        catalogue_kind=kind,
        x=x,
        y=y,
        log_r=np.log(r),
        g1=g1,
        g2=g2,
        n=np.clip(n, *SERSIC_LIMITS),
        has_size=has_size,
        prior_ivar=_priors(table, columns, kind=kind, a=a, ab=ab, theta=theta),
        flux_prior_mean=mean,
        flux_prior_ivar=ivar,
        flux=_fluxes(table, columns, bands),
    )


def scene_sources(
    start: StartValues,
    rows: Ints,
    *,
    kind: Ints,
    max_shift: float | None,
    near_catalogue: Bools | None = None,
) -> Sources:
    """Return the engine's description of some rows; ``kind`` overrules the catalogue's.

    Shapes of ``near_catalogue`` stay near the catalogue's, but may shrink as far as they want:
    those of sources in the halo of a saturated star, or where a scene lacks bright stars.  Free,
    they grow into needles that follow the halo; fixed, they keep what the halo did to the
    catalogue.
    """
    sources = Sources.create(
        kind,
        start.x[rows],
        start.y[rows],
        r=np.exp(start.log_r[rows]),
        g1=start.g1[rows],
        g2=start.g2[rows],
        n=start.n[rows],
        max_shift=max_shift,
        r_limits=RADIUS_LIMITS,
        n_limits=SERSIC_LIMITS,
    )
    extra = np.where(sources.free, start.prior_ivar[rows], 0.0)
    total = sources.prior_ivar + extra
    safe = np.where(total > 0.0, total, 1.0)
    mean = (sources.prior_ivar * sources.prior_mean + extra * sources.theta) / safe
    out = replace(
        sources,
        prior_mean=np.where(total > 0.0, mean, 0.0),
        prior_ivar=total,
        flux_prior_mean=start.flux_prior_mean[rows],
        flux_prior_ivar=start.flux_prior_ivar[rows],
    )
    return out if near_catalogue is None else held_near_catalogue(out, near_catalogue)


def held_near_catalogue(sources: Sources, held: Bools | Ints) -> Sources:
    """Return sources some of which may shrink, but neither grow nor turn by much."""
    free, lower, upper = sources.free.copy(), sources.lower.copy(), sources.upper.copy()
    free[held, 5] = False
    theta = sources.theta[held]
    upper[held, 2] = theta[:, 2] + NEAR_LOG_R
    lower[held, 3:5] = np.maximum(theta[:, 3:5] - NEAR_SHEAR, -1.0)
    upper[held, 3:5] = np.minimum(theta[:, 3:5] + NEAR_SHEAR, 1.0)
    return replace(sources, free=free, lower=lower, upper=upper)


def _kinds(types: npt.NDArray[np.str_], fallback: str) -> Ints:
    default = _TYPES[fallback.upper()]
    return np.array([_TYPES.get(str(t), default) for t in types], dtype=np.int64)


def _ellipses(
    table: Table, columns: CatalogColumns, config: PatchRunConfig
) -> tuple[Floats, Floats, Floats]:
    """Return semi-major half-light radius [pix], axis ratio, angle [deg from +x]."""
    rows = len(table)
    a = np.full(rows, config.re_fallback_pix)
    if columns.re is not None:
        given = column_as_float(table, columns.re)
        a = np.clip(np.where(np.isfinite(given), given, config.re_fallback_pix), *START_RADIUS)
    ab = np.full(rows, 0.8)
    if columns.ell is not None:
        ell = np.nan_to_num(column_as_float(table, columns.ell), nan=0.0)
        ab = np.clip(1.0 - ell, 0.1, 1.0)
    # Without THETA the original starts along +y; with it, NaN counts as 0.
    theta = np.full(rows, 90.0)
    if columns.theta is not None:
        theta = np.nan_to_num(column_as_float(table, columns.theta), nan=0.0)
    return a, ab, theta


def _positive(table: Table, name: str | None) -> Floats:
    """Return a column of standard errors; NaN where absent or not positive."""
    if name is None:
        return np.full(len(table), np.nan)
    values = column_as_float(table, name)
    return np.where(np.isfinite(values) & (values > 0), values, np.nan)


def _priors(
    table: Table, columns: CatalogColumns, *, kind: Ints, a: Floats, ab: Floats, theta: Floats
) -> Floats:
    """Return inverse variances of the priors about the start values, shape (n, 6)."""
    ivar = np.zeros((len(table), 6))
    position = _positive(table, columns.pos_err)
    ivar[:, 0] = ivar[:, 1] = np.nan_to_num(position**-2.0)
    galaxy = kind != SourceType.STAR
    if columns.re is not None:
        known = np.isfinite(column_as_float(table, columns.re))
        relative = _positive(table, columns.re_err) / a
        ivar[:, 2] = np.where(galaxy & known, np.nan_to_num(relative**-2.0), 0.0)
    if columns.ell is not None and columns.theta is not None:
        ell_err = _positive(table, columns.ell_err)
        theta_err = np.radians(_positive(table, columns.theta_err))
        known = np.isfinite(column_as_float(table, columns.ell))
        known &= np.isfinite(column_as_float(table, columns.theta))
        # g = (1-ab)/(1+ab): dg/dab = -2/(1+ab)^2; the angle turns g by twice itself.  A round
        # source has no angle: across, its g is as uncertain as along.
        g = (1.0 - ab) / (1.0 + ab)
        along = 2.0 * ell_err / (1.0 + ab) ** 2
        across = 2.0 * np.hypot(g, along) * theta_err
        twice = np.radians(2.0 * theta)
        widths = (
            np.hypot(along * np.cos(twice), across * np.sin(twice)),
            np.hypot(along * np.sin(twice), across * np.cos(twice)),
        )
        for column, width in zip((3, 4), widths, strict=True):
            ivar[:, column] = np.where(galaxy & known, np.nan_to_num(width**-2.0), 0.0)
    return ivar


def _fluxes(table: Table, columns: CatalogColumns, bands: list[str]) -> Floats:
    none = np.full(len(table), np.nan)
    found = [
        column_as_float(table, columns.flux[band]) if band in columns.flux else none
        for band in bands
    ]
    return np.stack(found, axis=1)


def _flux_priors(table: Table, columns: CatalogColumns, bands: list[str]) -> tuple[Floats, Floats]:
    mean = np.zeros((len(table), len(bands)))
    ivar = np.zeros((len(table), len(bands)))
    for b, band in enumerate(bands):
        if band in columns.flux and band in columns.flux_err:
            flux = column_as_float(table, columns.flux[band])
            error = _positive(table, columns.flux_err[band])
            use = np.isfinite(flux) & (flux > 0) & np.isfinite(error)
            mean[:, b] = np.where(use, flux, 0.0)
            ivar[:, b] = np.where(use, np.where(use, error, 1.0) ** -2.0, 0.0)
    return mean, ivar
