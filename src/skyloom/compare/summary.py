"""A comparison as tables: one row per pair, lost and gained sources, and the numbers in JSON."""

from __future__ import annotations

import math
from dataclasses import fields
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Floats, Ints

from .comparison import Comparison, Unmatched
from .measured import MeasuredCatalog
from .photometry import BandComparison
from .statistics import Differences, Pulls, differences

__all__ = ["WORST", "pair_table", "summary", "unmatched_table", "worst_pairs"]

WORST = 20
"""Pairs that the list of the worst has."""


def pair_table(comparison: Comparison) -> Table:
    """Return one row per matched pair, in the order of the old catalogue.

    Units: positions [deg] (or pixels), separations [arcsec] (or pixels), magnitudes of the old
    zero point (AB if either side is); differences are new - old.
    """
    old, new = comparison.old, comparison.new
    a, b = comparison.rows_old, comparison.rows_new
    position = comparison.positions
    table = Table({
        "old_row": a + 1,
        "new_row": b + 1,
        "old_id": old.id[a],
        "new_id": new.id[b],
        **_place(old, a),
        f"dx_{position.unit}": position.dx,
        f"dy_{position.unit}": position.dy,
        f"separation_{position.unit}": position.separation,
        "old_type": old.type[a],
        "new_type": new.type[b],
        "old_issue": old.reason[a],
        "new_issue": new.reason[b],
    })  # fmt: skip
    for band in comparison.bands:
        table[f"mag_{band.band}"] = band.mag
        table[f"delta_mag_{band.band}"] = band.delta_mag
        table[f"delta_mag_err_{band.band}"] = band.delta_mag_err
        table[f"pull_{band.band}"] = band.pull
    shapes = comparison.shapes
    if shapes is not None:
        table["size_ratio"] = 10.0**shapes.log_size_ratio
        table["delta_ellipticity"] = shapes.delta_ellipticity
        table["delta_angle"] = shapes.delta_angle
    return table


def unmatched_table(comparison: Comparison) -> Table:
    """Return the sources that only one catalogue has: lost, gained, and measured on one side."""
    parts = [
        ("lost", comparison.old, comparison.lost.rows, comparison.lost),
        ("gained", comparison.new, comparison.gained.rows, comparison.gained),
        ("no flux in new", comparison.old, comparison.only_old, None),
        ("no flux in old", comparison.new, comparison.only_new, None),
    ]
    what, where, row, ids, types, issues, beyond = ([] for _ in range(7))  # type: ignore[var-annotated]
    x: list[float] = []
    y: list[float] = []
    mag: list[float] = []
    for name, catalog, rows, unmatched in parts:
        n = len(rows)
        what += [name] * n
        row += (rows + 1).tolist()
        ids += catalog.id[rows].tolist()
        types += catalog.type[rows].tolist()
        issues += catalog.reason[rows].tolist()
        where += ["inside"] * n if unmatched is None else _where(unmatched)
        beyond += [np.nan] * n if unmatched is None else unmatched.beyond.tolist()
        place = list(_place(catalog, rows).values())
        x += place[0].tolist()
        y += place[1].tolist()
        mag += _reference_mag(catalog, rows, comparison).tolist()
    band = comparison.bands[0] if comparison.bands else None
    return Table({
        "what": np.array(what, dtype=str), "row": np.array(row, dtype=np.int64),
        "id": np.array(ids, dtype=str),
        "ra": np.array(x), "dec": np.array(y), "type": np.array(types, dtype=str),
        f"mag_{band.band}" if band is not None else "mag": np.array(mag),
        "footprint": np.array(where, dtype=str), "beyond": np.array(beyond, dtype=np.float64),
        "issue": np.array(issues, dtype=str),
    })  # fmt: skip


def worst_pairs(comparison: Comparison, n: int = WORST) -> list[dict[str, Any]]:
    """Return the pairs that differ most, worst first.

    Each pair counts with its worst band: by |pull| where errors are known, else by the
    difference of magnitudes in units of the scatter of the band.
    """
    if not comparison.bands or not len(comparison):
        return []
    strength = np.stack([_strength(band) for band in comparison.bands])
    strength[~np.isfinite(strength)] = -1.0
    best = strength.argmax(axis=0)
    most = strength.max(axis=0)
    order = np.argsort(-most, kind="stable")[:n]
    rows = []
    for pair in order.tolist():
        if most[pair] <= 0:  # nothing differs
            break
        band = comparison.bands[best[pair]]
        i, j = comparison.rows_old[pair], comparison.rows_new[pair]
        rows.append({
            "old_row": int(i) + 1, "new_row": int(j) + 1,
            "old_id": str(comparison.old.id[i]), "new_id": str(comparison.new.id[j]),
            "band": band.band, "mag": _number(band.mag[pair]),
            "delta_mag": _number(band.delta_mag[pair]), "pull": _number(band.pull[pair]),
            "separation": _number(comparison.positions.separation[pair]),
            "types": f"{comparison.old.type[i] or '?'} > {comparison.new.type[j] or '?'}",
            "issue": str(comparison.new.reason[j] or comparison.old.reason[i]),
        })  # fmt: skip
    return rows


def summary(comparison: Comparison) -> dict[str, Any]:
    """Return all numbers of a comparison, as JSON can hold them (None for "not measured")."""
    position = comparison.positions
    unit = "mas" if position.unit == "arcsec" else "pix"
    factor = 1000.0 if unit == "mas" else 1.0
    found: dict[str, Any] = {
        "old": _catalog(comparison.old),
        "new": _catalog(comparison.new),
        "signs": "all differences are new - old; pull > 0: brighter in new",
        "notes": list(comparison.notes),
        "radius": comparison.radius,
        "matched": len(comparison),
        "no_flux_in_new": len(comparison.only_old),
        "no_flux_in_old": len(comparison.only_new),
        "lost": _count(comparison.lost),
        "gained": _count(comparison.gained),
        "positions": {
            "unit": unit,
            "removed_for_matching": [position.offset.dx * factor, position.offset.dy * factor],
            "east": _differences(position.x, factor),
            "north": _differences(position.y, factor),
            "median_separation": _number(factor * differences(position.separation).median),
        },
        "bands": [_band(band) for band in comparison.bands],
        "types": [
            {"old": old, "new": new, "n": n} for (old, new), n in sorted(comparison.types.items())
        ],
        "worst": worst_pairs(comparison),
    }
    shapes = comparison.shapes
    if shapes is not None:
        found["shapes"] = {
            "frame": shapes.frame,
            "same_definition_of_size": shapes.same_size,
            "size_ratio": _number(10.0**shapes.size.median),
            "log10_size_ratio": _differences(shapes.size),
            "delta_ellipticity": _differences(shapes.ellipticity),
            "delta_angle_deg": _differences(shapes.angle),
        }
    return found


def _place(catalog: MeasuredCatalog, rows: Ints) -> dict[str, Floats]:
    if catalog.sky is not None:
        return {"ra": catalog.sky.x[rows], "dec": catalog.sky.y[rows]}
    assert catalog.pixels is not None
    return {"x": catalog.pixels.x[rows], "y": catalog.pixels.y[rows]}


def _where(unmatched: Unmatched) -> list[str]:
    return ["outside" if far else "inside" for far in unmatched.is_outside.tolist()]


def _reference_mag(catalog: MeasuredCatalog, rows: Ints, comparison: Comparison) -> Floats:
    """Return magnitudes of single sources in the first band, on the scale of the comparison."""
    if not comparison.bands:
        return np.full(len(rows), np.nan)
    band = comparison.bands[0]
    is_old = catalog is comparison.old
    fluxes = catalog.bands[band.old_band if is_old else band.band]
    flux = fluxes.flux[rows]
    mag = fluxes.zeropoint - 2.5 * np.log10(np.where(flux > 0, flux, np.nan))
    on_new = comparison.new.bands[band.band].is_ab and not fluxes.is_ab and is_old
    if on_new:
        return np.asarray(mag + band.offset_removed)
    on_old = not is_old and not (fluxes.is_ab and not comparison.old.bands[band.old_band].is_ab)
    return np.asarray(mag - band.offset_removed if on_old else mag)


def _strength(band: BandComparison) -> Floats:
    scatter = band.summary.scatter
    plain = np.abs(band.delta_mag - band.summary.median) / (scatter if scatter > 0 else np.nan)
    return np.where(np.isfinite(band.pull), np.abs(band.pull), plain)


def _catalog(catalog: MeasuredCatalog) -> dict[str, Any]:
    return {
        "file": catalog.name,
        "kind": catalog.dialect.name,
        "rows": len(catalog),
        "measured": int(catalog.is_measured.sum()),
        "flagged": int((~catalog.is_trusted & catalog.is_measured).sum()),
        "bands": list(catalog.bands),
        "recognised": list(catalog.notes),
    }


def _count(unmatched: Unmatched) -> dict[str, int]:
    outside = int(unmatched.is_outside.sum())
    return {"inside": len(unmatched.rows) - outside, "outside_other_footprint": outside}


def _band(band: BandComparison) -> dict[str, Any]:
    return {
        "band": band.band,
        "old_band": band.old_band,
        "scale": "AB" if band.is_ab else "instrumental",
        "n": band.n,
        "offset": _number(band.offset),
        "offset_err": _number(band.offset_err),
        "offset_removed": _number(band.offset_removed),
        "delta_mag": _differences(band.summary),
        "errors": band.errors,
        "pull": _pulls(band.pulls),
        "bins": [
            {
                "mag": [b.mag_low, b.mag_high],
                "delta_mag": _differences(b.delta_mag),
                "pull": _pulls(b.pull),
            }
            for b in band.bins
        ],
    }


def _differences(found: Differences, factor: float = 1.0) -> dict[str, Any]:
    numbers = {
        name: _number(factor * getattr(found, name)) for name in ("median", "stderr", "scatter")
    }
    return {"n": found.n, **numbers}


def _pulls(found: Pulls) -> dict[str, Any]:
    return {f.name: _number(getattr(found, f.name)) for f in fields(found)}


def _number(value: float | np.floating[npt.NBitBase]) -> float | int | None:
    if isinstance(value, int):
        return value
    return float(value) if math.isfinite(value) else None
