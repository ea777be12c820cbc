"""Which fits of a merged catalogue can be trusted, and why not the others."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.catalogs.band_columns import band_column, fitted_bands
from skyloom.catalogs.values import column_as_bool, column_as_float, text_array
from skyloom.flags import FitFlag

__all__ = ["HARD_ISSUES", "SOFT_ISSUES", "quality_issues"]

HARD_ISSUES = {
    "excluded": "outside the crop or near saturated pixels: not fitted",
    "no_fit_result": "active, but without a fitted position",
    "hit_max_iters": "the optimiser stopped at its iteration limit",
    "bound_stalled": "a parameter ended at its bound",
    "bright_mask": "inside the mask of a bright detection that the catalogue does not list",
    "swollen": "a model that grew far beyond its start and hardly shows: of a halo, not a source",
    "strayed": "the model left the source for something else, and was held near the catalogue's",
}
"""Issues that make a fit unreliable, in the order of ``fit_quality_issues``."""

SOFT_ISSUES = {
    "not_converged": "the optimiser did not report convergence",
    "all_psf_fallback": "no band had an ePSF of its own",
    "structured": "a galaxy with structure that its smooth model cannot follow",
    "unmodelled_light": "light nearby that no model has: a neighbour that the catalogue lacks",
}
"""Issues that are only listed."""


def quality_issues(table: Table) -> tuple[Bools, npt.NDArray[np.str_]]:
    """Judge each row of a merged catalogue.

    Parameters
    ----------
    table : Table
        Reads ``excluded_any, x_pix_white_fit, opt_converged, opt_hit_max_iters,
        flag_bound_stalled, affected_by_bright_mask, psf_fallback_band_count,
        psf_used_epsf_band_count, fit_flags``.  Missing columns and cells count as false
        (converged: true).  Where each band was fitted by itself, the columns of all bands: a limit
        or a bound counts in any band, a missing fit or position in all of them.

    Returns
    -------
    reliable : ndarray of bool, shape (n,)
        Column ``fit_is_reliable``: no hard issue.
    issues : ndarray of str, shape (n,)
        Column ``fit_quality_issues``: hard, then soft issues, separated by commas.
    """

    def truth(name: str, *, missing: bool = False) -> Bools:
        if name not in table.colnames:
            return np.full(len(table), missing)
        return column_as_bool(table, name, missing=missing)

    def number(name: str) -> npt.NDArray[np.float64]:
        if name not in table.colnames:
            return np.full(len(table), np.nan)
        return column_as_float(table, name)

    def in_bands(name: str, *, missing: bool = False) -> Bools:
        columns = [band_column(name, band) for band in bands] or [name]
        return np.stack([truth(column, missing=missing) for column in columns])

    bands = fitted_bands(table)
    excluded = truth("excluded_any")
    places = [band_column("x_pix_white_fit", band) for band in bands] or ["x_pix_white_fit"]
    fitted = np.isfinite([number(column) for column in places]).any(axis=0)
    max_iters = in_bands("opt_hit_max_iters").any(axis=0)
    converged = in_bands("opt_converged", missing=True).all(axis=0)
    found = {
        "excluded": excluded,
        "no_fit_result": ~excluded & ~fitted,
        "hit_max_iters": max_iters,
        "bound_stalled": in_bands("flag_bound_stalled").any(axis=0),
        "bright_mask": truth("affected_by_bright_mask"),
        "swollen": _has_flag(number("fit_flags"), FitFlag.SWOLLEN),
        "strayed": _has_flag(number("fit_flags"), FitFlag.STRAYED),
        "not_converged": ~converged & fitted & ~max_iters & ~excluded,
        "all_psf_fallback": (
            (number("psf_fallback_band_count") > 0)
            & (np.nan_to_num(number("psf_used_epsf_band_count")) == 0)
        ),
        "structured": _has_flag(number("fit_flags"), FitFlag.STRUCTURED),
        "unmodelled_light": _has_flag(number("fit_flags"), FitFlag.UNMODELLED_LIGHT),
    }
    names = [*HARD_ISSUES, *SOFT_ISSUES]
    flags = np.column_stack([found[name] for name in names])
    issues = [",".join(n for n, f in zip(names, row, strict=True) if f) for row in flags]
    reliable = ~flags[:, : len(HARD_ISSUES)].any(axis=1)
    return np.asarray(reliable), text_array(issues)


def _has_flag(flags: Floats, bit: FitFlag) -> Bools:
    return (np.nan_to_num(flags).astype(np.int64) & int(bit)) > 0
