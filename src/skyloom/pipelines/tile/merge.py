"""The merge: every row of the base table once, with its fit and what to think of it."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import Annotated, Any

import numpy as np
from astropy.table import Column, MaskedColumn, Table
from astropy.wcs import WCS
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints
from skyloom.butler import Array, FitsImages
from skyloom.catalogs import (
    band_column,
    column_as_bool,
    column_as_float,
    excluded_reason,
    fitted_bands,
    quality_issues,
)
from skyloom.flow import Dataset, Stage
from skyloom.geometry import pixel_to_sky, sky_jacobian

from .config import TileConfig
from .load import working_wcs
from .sources import base_table

__all__ = ["Merge", "is_merged", "merge_fits", "with_sky_positions"]

log = logging.getLogger(__name__)

MANY = 0.1  # of the fits at their limit are no accident
_EXAMPLES = 5  # of rows with two fits, in the warning


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeInputs:
    """The base table and the fits of all patches."""

    sources: Annotated[Table, Dataset("sources")]
    bright: Annotated[Table | None, Dataset("bright_sources", optional=True)]
    wcs: Annotated[FitsImages, Dataset("wcs")]
    fits: Annotated[dict[str, Table], Dataset("patch_fit", gather="patch")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MergeOutputs:
    """The catalogue without magnitudes."""

    merged: Annotated[Table, Dataset("merged")]


class Merge(Stage[TileConfig, MergeInputs, MergeOutputs]):
    """Join the fits of all patches to the catalogue; a patch that failed leaves its rows empty."""

    name = "merge"
    light = True
    tolerant = True
    config_keys = ("merge.pattern",)

    @override
    def run(self, inputs: MergeInputs) -> MergeOutputs:
        """Return the merged catalogue: one row per source, in the order of the base table."""
        pattern = self.config.merge.pattern
        fits = {tag: fit for tag, fit in inputs.fits.items() if is_merged(tag, pattern)}
        if len(fits) < len(inputs.fits):
            log.info("merge.pattern = %s: %d of %d patches", pattern, len(fits), len(inputs.fits))
        merged = _tracked(inputs.sources, inputs.bright)
        merged = merge_fits(merged, np.asarray(inputs.sources["row"]), fits)
        merged = with_sky_positions(merged, working_wcs(inputs.wcs))
        reliable, issues = quality_issues(merged)
        merged["fit_is_reliable"] = reliable
        merged["fit_quality_issues"] = issues
        _tell(merged, len(fits))
        return MergeOutputs(merged=merged)


def is_merged(tag: str, pattern: str) -> bool:
    """Tell whether ``merge.pattern`` matches the catalogue of a patch."""
    return PurePosixPath(tag, f"{tag}_cat_fit.csv").match(pattern)


def _tracked(sources: Table, bright: Table | None) -> Table:
    """Return the user's columns and flags, then what the pipeline knows about every row."""
    table = base_table(sources)
    crop, saturation = (np.asarray(table[f"excluded_{n}"]) for n in ("crop", "saturation"))
    affected = np.zeros(len(table), dtype=bool)
    if bright is not None:
        affected[np.asarray(bright["row"])] = bright["affected_by_bright_mask"]
    tracked = {
        "excluded_reason": excluded_reason(crop, saturation),
        "_is_injected_gaia": np.asarray(sources["_is_injected_gaia"]),
        "affected_by_bright_mask": affected,
        "x_pix_white": sources["x_pix_white"],
        "y_pix_white": sources["y_pix_white"],
    }
    for name, values in tracked.items():
        table[name] = values
    return table


def merge_fits(base: Table, row: Ints, fits: Mapping[str, Table]) -> Table:
    """Join the columns of the patches' tables to the base table by row number.

    Parameters
    ----------
    base : Table
        One row per source.
    row : ndarray of int, shape (n,)
        Row number of each.
    fits : mapping of str to Table
        Fit of every patch by its tag, each with a column ``row``.

    Returns
    -------
    Table
        The base columns, then those of the patches that the base does not have, in their order.
        Rows without a fit are masked there (NaN for floats).  Of two fits of one row the first
        counts, with a warning.
    """
    merged = base.copy(copy_data=False)
    parts = [fit for fit in fits.values() if len(fit)] or list(fits.values())[:1]
    if not parts:
        return merged
    fitted = np.concatenate([np.asarray(part["row"], dtype=np.int64) for part in parts])
    _warn_of_repetitions(fitted)
    values, first = np.unique(fitted, return_index=True)
    place = np.clip(np.searchsorted(values, row), 0, max(len(values) - 1, 0))
    has_fit = np.zeros(len(row), dtype=bool) if not len(values) else values[place] == row
    source = np.where(has_fit, first[place], 0) if len(values) else np.zeros(len(row), dtype=int)
    names = dict.fromkeys(name for part in parts for name in part.colnames)
    for name in names:
        if name != "row" and name not in base.colnames:
            merged[name] = _joined(parts, name, source, has_fit)
    return merged


def _joined(parts: Sequence[Table], name: str, source: Ints, has_fit: Bools) -> Column:
    """Return a column of the patches in the order of the base table."""
    template = next(part[name] for part in parts if name in part.colnames)
    values = np.concatenate([_values(part, name, template.dtype) for part in parts])
    masked = np.concatenate([_mask(part, name) for part in parts])
    if not len(values):
        values, masked = np.zeros(1, dtype=template.dtype), np.ones(1, dtype=bool)
    values, masked = values[source], masked[source] | ~has_fit
    facts = {"unit": template.unit, "description": template.description}
    if values.dtype.kind == "f":
        return Column(np.where(masked, np.nan, values), **facts)
    if values.dtype.kind in "US":
        return Column(np.where(masked, "", values), **facts)
    return MaskedColumn(values, mask=masked, **facts)


def _values(part: Table, name: str, kind: np.dtype[Any]) -> Array:
    return np.asarray(part[name]) if name in part.colnames else np.zeros(len(part), dtype=kind)


def _mask(part: Table, name: str) -> Bools:
    if name not in part.colnames:
        return np.ones(len(part), dtype=bool)
    mask = getattr(part[name], "mask", None)
    return np.zeros(len(part), dtype=bool) if mask is None else np.asarray(mask, dtype=bool)


def _warn_of_repetitions(fitted: Ints) -> None:
    values, counts = np.unique(fitted, return_counts=True)
    twice = values[counts > 1]
    if len(twice):
        log.warning(
            "%d sources were fitted in more than one patch (rows %s); the first fit counts",
            len(twice),
            ", ".join(str(v) for v in twice[:_EXAMPLES]),
        )


def with_sky_positions(table: Table, wcs: WCS) -> Table:
    """Add ``RA_fit``, ``DEC_fit`` [deg] from the fitted positions, and their errors [arcsec].

    They stand behind ``y_pix_white_fit``; ``RA_err`` and ``DEC_err`` stand behind ``y_pix_err``
    and need it and ``x_pix_err``.  Both are lengths on the sky: ``RA_err`` includes cos Dec.
    Where each band was fitted by itself, each has its own: ``RA_{band}_fit``.
    """
    bands: tuple[str | None, ...] = fitted_bands(table)
    if "x_pix_white_fit" in table.colnames:
        bands = (None, *bands)
    out = table.copy(copy_data=False)
    for band in bands:
        _add_sky(out, wcs, band)
    return out


def _add_sky(out: Table, wcs: WCS, band: str | None) -> None:
    """Add the sky positions of a joint fit, or of the fit of a band."""

    def own(name: str) -> str:
        return name if band is None else band_column(name, band)

    x, y = (column_as_float(out, own(f"{axis}_pix_white_fit")) for axis in "xy")
    names = own("RA_fit"), own("DEC_fit")
    position = dict(zip(names, pixel_to_sky(wcs, x, y), strict=True))
    _insert(out, position, behind=own("y_pix_white_fit"), unit="deg")
    if {own("x_pix_err"), own("y_pix_err")} <= set(out.colnames):
        sx, sy = (column_as_float(out, own(f"{axis}_pix_err")) for axis in "xy")
        errors = {own(n): v for n, v in _sky_errors(wcs, x, y, sx, sy).items()}
        _insert(out, errors, behind=own("y_pix_err"), unit="arcsec")


def _insert(table: Table, columns: Mapping[str, Floats], *, behind: str, unit: str) -> None:
    """Put columns behind another one; those that the table has already keep their place."""
    for name, values in columns.items():
        if name in table.colnames:
            table.replace_column(name, values)
        else:
            table.add_column(values, name=name, index=table.colnames.index(behind) + 1)
        table[name].unit = unit
        behind = name


def _sky_errors(wcs: WCS, x: Floats, y: Floats, sx: Floats, sy: Floats) -> dict[str, Floats]:
    """Propagate position errors [pix] to the tangent plane [arcsec]; x and y uncorrelated."""
    errors = {name: np.full(len(x), np.nan) for name in ("RA_err", "DEC_err")}
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if rows.size:
        jacobian = sky_jacobian(wcs, x[rows], y[rows])
        for k, values in enumerate(errors.values()):
            values[rows] = np.hypot(jacobian[:, k, 0] * sx[rows], jacobian[:, k, 1] * sy[rows])
    return errors


def _tell(merged: Table, n_patches: int) -> None:
    excluded = np.asarray(merged["excluded_any"])
    fitted = np.zeros(len(merged), dtype=bool)
    names = [band_column("x_pix_white_fit", band) for band in fitted_bands(merged)]
    for name in {"x_pix_white_fit", *names} & set(merged.colnames):
        fitted |= np.isfinite(column_as_float(merged, name))
    reliable = np.asarray(merged["fit_is_reliable"])
    log.info(
        "merged %d patches: %d rows, %d columns; %d excluded, %d active without a fit; "
        "%d reliable, %d not",
        n_patches,
        len(merged),
        len(merged.colnames),
        int(excluded.sum()),
        int((~excluded & ~fitted).sum()),
        int(reliable.sum()),
        int((~reliable).sum()),
    )
    if "opt_converged" in merged.colnames:
        converged = column_as_bool(merged, "opt_converged")[fitted]
        max_iters = np.zeros(0, dtype=bool)
        if "opt_hit_max_iters" in merged.colnames:
            max_iters = column_as_bool(merged, "opt_hit_max_iters")[fitted]
        log.info(
            "Fit summary: converged=%d, hit_max_iters=%d, total=%d",
            int(converged.sum()),
            int(max_iters.sum()),
            int(fitted.sum()),
        )
        if max_iters.sum() > MANY * fitted.sum():
            log.warning(
                "%d of %d fits stopped at their iteration limit: raise patch_run.n_opt_iters or "
                "patch_run.dlnp_stop, or look at the PSF and at chi2_{band}",
                int(max_iters.sum()),
                int(fitted.sum()),
            )
