"""The demonstration: a simulated field with truth, and how well the pipeline found it again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table

from skyloom.butler import Butler
from skyloom.catalogs import column_as_bool, column_as_float, read_csv
from skyloom.errors import OutputExists
from skyloom.flow import RunResult
from skyloom.sim import demo_config, read_band_truth, simulate_tile, write_tile

__all__ = ["DemoReport", "DemoZeroPoint", "demo_report", "make_demo"]

_SEED = 7
_MARK = "truth.csv"


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoZeroPoint:
    """A zero point beside its truth."""

    band: str
    measured: float  # AB mag of one scaled count, NaN where there is none
    error: float  # mag
    truth: float  # AB mag


@dataclass(frozen=True, slots=True, kw_only=True)
class DemoReport:
    """What came out of a demonstration."""

    n_sources: int  # rows of the catalogue, stars added from Gaia included
    n_active: int
    n_fitted: int
    n_reliable: int
    zero_points: tuple[DemoZeroPoint, ...]
    catalog: Path
    pictures: tuple[Path, ...]  # a few of each kind


def make_demo(directory: Path) -> Path:
    """Write the simulated field; the same files each time.

    Returns
    -------
    Path
        Its configuration file.

    Raises
    ------
    OutputExists
        If the directory holds something else.
    Unwritable
        If it cannot be made.
    """
    if directory.exists() and not directory.is_dir():
        raise OutputExists(f"{directory}: is a file; choose another directory", path=directory)
    if directory.is_dir() and any(directory.iterdir()) and not (directory / _MARK).is_file():
        raise OutputExists(
            f"{directory}: holds something else than a demo; choose another directory",
            path=directory,
        )
    tile = simulate_tile(demo_config(), np.random.default_rng(_SEED))
    return write_tile(tile, directory)


def demo_report(directory: Path, butler: Butler, result: RunResult) -> DemoReport:
    """Compare what a run on a demo field found with the truth."""
    path = butler.path("final_catalog")
    catalog = read_csv(path)
    fitted = np.zeros(len(catalog), dtype=bool)
    if "x_pix_white_fit" in catalog.colnames:
        fitted = np.isfinite(column_as_float(catalog, "x_pix_white_fit"))
    excluded = column_as_bool(catalog, "excluded_any")
    return DemoReport(
        n_sources=len(catalog),
        n_active=int((~excluded).sum()),
        n_fitted=int(fitted.sum()),
        n_reliable=int(column_as_bool(catalog, "fit_is_reliable").sum()),
        zero_points=_zero_points(read_band_truth(directory), butler),
        catalog=path,
        pictures=_pictures(butler, result),
    )


def _zero_points(truth: Table, butler: Butler) -> tuple[DemoZeroPoint, ...]:
    facts = butler.get("zero_points")["zero_points"] if butler.exists("zero_points") else {}
    found = []
    for band, expected in zip(truth["band"], truth["zp_expected"], strict=True):
        one = facts.get(str(band), {})
        value, error = one.get("zp"), one.get("zp_err")
        found.append(
            DemoZeroPoint(
                band=str(band),
                measured=np.nan if value is None else float(value),
                error=np.nan if error is None else float(error),
                truth=float(expected),
            )
        )
    return tuple(found)


def _pictures(
    butler: Butler,
    result: RunResult,
    types: Sequence[str] = ("white_overlay", "epsf_stamps_plot", "residual_mosaic", "zp_plot"),
) -> tuple[Path, ...]:
    first = [(type_, ids[0]) for type_ in types if (ids := result.datasets(type_))]
    return tuple(butler.path(type_, data_id) for type_, data_id in first)
