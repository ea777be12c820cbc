"""What the pipeline made of a hard tile, in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.table import Table
from hard_tile import GRID, STAR_NOISE, is_thin

from skyloom.flags import FitFlag
from skyloom.geometry import epsf_cells, patch_grid
from skyloom.sim import (
    Assessment,
    Flatness,
    SnrBin,
    Step,
    assess_tile,
    border_step,
    field_flatness,
    read_band_truth,
    read_truth,
)

BINS = (SnrBin(3, 10), SnrBin(10, 30), SnrBin(30, 100), SnrBin(100, np.inf))
OUTLIER = 5.0  # sigma
ALWAYS = int(FitFlag.FROZEN)  # says that a source is faint, not that it is bad


@dataclass(frozen=True, kw_only=True)
class FlatNumbers:
    """How flat the stars of the grid are [mmag]."""

    bands: dict[str, Flatness]
    mean: Flatness  # of the mean of the bands of each star
    cell_steps: list[Step]  # of that mean
    patch_steps: list[Step]
    band_steps: dict[str, list[Step]]  # at borders of both kinds

    def worst_band(self) -> tuple[str, float, float]:
        """Return the band with the largest mean of a cell of 4 x 4, that mean and its error."""
        band = max(self.bands, key=lambda b: abs(self.bands[b].largest[0]))
        return band, *self.bands[band].largest


@dataclass(frozen=True, kw_only=True)
class HardNumbers:
    """Everything that is reported of a hard tile; magnitudes in mmag."""

    assessment: Assessment
    unflagged: Assessment  # without rows beside light that no model has
    zero_points: dict[str, float]  # measured minus expected
    flat: FlatNumbers
    free: FlatNumbers  # without what the noise of the images did: errors of the pipeline alone
    noise_slope: float  # of measured over expected shifts by noise; 1 if they are understood
    scatter: tuple[float, float]  # of a star in one band, with and without those shifts
    outliers: dict[str, float]  # share of |pull| > 5 at S/N 10-100
    depth_widths: tuple[float, float]  # of pulls at S/N 10-100 in the deep and the thin part
    flagged: dict[str, float]  # share of rows with a flag that means doubt
    n_wrong: int  # rows with a wrong type
    wrong_outliers: float  # share of their fluxes at S/N > 10 off by more than 5 sigma
    wrong_named: float  # share that type_suggested calls by their true type

    def star_offset(self) -> tuple[float, float]:
        """Return the median of calibrated minus true magnitude of stars at S/N > 30, and error."""
        cut = SnrBin(30, np.inf)
        return tuple(
            self.assessment.value(name, group="star", snr=cut) for name in ("offset", "offset_err")
        )


def hard_numbers(folder: Path) -> HardNumbers:
    """Measure a finished run of a hard tile."""
    truth = read_truth(folder)
    bands = read_band_truth(folder)
    names = [str(b) for b in bands["band"]]
    catalog = read_catalog(folder / "work" / "output_catalog.csv")
    found = assess_tile(
        catalog, truth, bands=names, position_error_columns=("x_pix_err", "y_pix_err")
    )
    beside = int(FitFlag.UNMODELLED_LIGHT)
    unflagged = assess_tile(catalog, truth, bands=names, exclude_flags=beside)
    summary = Table.read(folder / "work" / "ZP" / "zp_summary.csv", format="ascii.csv")
    measured = dict(zip(summary["band"], summary["zp_median"], strict=True))
    expected = dict(zip(bands["band"], bands["zp_expected"], strict=True))
    stars, residual = star_residuals(found, truth, names)
    x, y = (np.asarray(truth[n])[stars] for n in "xy")
    shifts = noise_shifts(folder, np.asarray(truth["ID"])[stars], names)
    shape = frame_shape(folder)
    wrong = wrong_numbers(catalog, truth, names)
    return HardNumbers(
        assessment=found,
        unflagged=unflagged,
        zero_points={n: 1000 * float(measured[n] - expected[n]) for n in names},
        flat=flat_numbers(x, y, residual, names, shape),
        free=flat_numbers(x, y, residual - shifts, names, shape),
        noise_slope=noise_slope(residual, shifts),
        scatter=(star_scatter(residual), star_scatter(residual - shifts)),
        outliers={g: outlier_share(found, g) for g in ("star", "galaxy")},
        depth_widths=depth_widths(found, truth, names, shape),
        flagged=flagged_shares(catalog, truth),
        n_wrong=wrong[0],
        wrong_outliers=wrong[1],
        wrong_named=wrong[2],
    )


def read_catalog(path: Path) -> Table:
    """Read a final catalogue with its IDs as text."""
    text = dict.fromkeys(("ID", "TYPE", "gaia_source_id", "excluded_any", "type_suggested"), str)
    return Table.read(path, format="ascii.csv", converters=text, guess=False)


def frame_shape(folder: Path) -> tuple[int, int]:
    """Return ``(ny, nx)`` of the images of a tile."""
    from astropy.io import fits  # noqa: PLC0415 - one use

    header = fits.getheader(next((folder / "images").glob("*.fits")))
    return int(header["NAXIS2"]), int(header["NAXIS1"])


def star_residuals(
    found: Assessment, truth: Table, bands: list[str]
) -> tuple[np.ndarray, np.ndarray]:
    """Return rows and measured minus true magnitude [mmag] (n, bands) of the stars on the grid."""
    place = {str(name): row for row, name in enumerate(truth["ID"])}
    table = found.fluxes[np.asarray(found.fluxes["kind"]) == "star"]
    residual = np.full((len(truth), len(bands)), np.nan)
    on_grid = set(np.asarray(truth["ID"])[np.asarray(truth["pair"]) == GRID].tolist())
    for entry in table[np.asarray(table["ratio"]) > 0]:
        if str(entry["ID"]) not in on_grid:
            continue
        row, band = place[str(entry["ID"])], bands.index(str(entry["band"]))
        residual[row, band] = -2500 * np.log10(entry["ratio"])
    any_band = np.flatnonzero(np.isfinite(residual).any(axis=1))
    return any_band, residual[any_band]


def noise_shifts(folder: Path, ids: np.ndarray, bands: list[str]) -> np.ndarray:
    """Return what noise did to magnitudes of stars by ID [mmag], shape (n, bands)."""
    table = Table.read(folder / STAR_NOISE, format="ascii.csv", converters={"ID": str}, guess=False)
    place = {str(name): row for row, name in enumerate(table["ID"])}
    rows = [place[str(name)] for name in ids]
    return np.stack([np.asarray(table[band])[rows] for band in bands], axis=1)


def noise_slope(residual: np.ndarray, shifts: np.ndarray) -> float:
    """Return the slope of measured over expected shifts, all bands, without outliers."""
    left = residual - shifts
    left = left - np.nanmedian(left, axis=0)
    ok = np.abs(left) < OUTLIER * star_scatter(residual - shifts)
    about = shifts - np.array([c[k].mean() for c, k in zip(shifts.T, ok.T, strict=True)])
    return 1.0 + float((left * about)[ok].sum() / (about**2)[ok].sum())


def star_scatter(residual: np.ndarray) -> float:
    """Return the robust scatter of stars about the median of their band."""
    left = residual - np.nanmedian(residual, axis=0)
    return mad_width(left[np.isfinite(left)])


def flat_numbers(
    x: np.ndarray, y: np.ndarray, residual: np.ndarray, bands: list[str], shape: tuple[int, int]
) -> FlatNumbers:
    """Measure trends, cells and steps of residuals, shape (n, bands)."""
    order = 3 if len(x) > 60 else 1

    def flatness(values: np.ndarray) -> tuple[Flatness, list[Step], list[Step]]:
        ok = np.isfinite(values)
        flat = field_flatness(x[ok], y[ok], values[ok], shape=shape, order=order)
        return flat, *border_steps(x[ok], y[ok], values[ok], shape)

    each = {band: flatness(values) for band, values in zip(bands, residual.T, strict=True)}
    mean, cells, patches = flatness(residual.mean(axis=1))
    return FlatNumbers(
        bands={band: flat for band, (flat, *_) in each.items()},
        mean=mean,
        cell_steps=cells,
        patch_steps=patches,
        band_steps={band: [*of_cells, *rest] for band, (_, of_cells, rest) in each.items()},
    )


def border_steps(
    x: np.ndarray, y: np.ndarray, residual: np.ndarray, shape: tuple[int, int]
) -> tuple[list[Step], list[Step]]:
    """Return the steps at cell borders and at the other patch borders (2 x 2 cells, 3 x 3 each)."""
    grid = patch_grid(shape, epsf_ngrid=2, ngrid=3, halo=20)
    cells = epsf_cells(shape, 2)
    cell_steps, patch_steps = [], []
    for values, edges, own in (
        (x, grid.x_edges, {c.box.x0 for c in cells}),
        (y, grid.y_edges, {c.box.y0 for c in cells}),
    ):
        reach = 0.5 * (edges[1] - edges[0])
        for edge in edges[1:-1]:
            step = border_step(values, residual, at=edge - 0.5, reach=reach)
            (cell_steps if edge in own else patch_steps).append(step)
    return cell_steps, patch_steps


def largest(steps: list[Step]) -> Step:
    """Return the step that is largest in absolute value."""
    return max(steps, key=lambda s: abs(s.step))


def outlier_share(found: Assessment, group: str) -> float:
    """Share of fluxes of S/N 10-100 that are more than five sigma off."""
    kind = np.asarray(found.fluxes["kind"]) == "star"
    snr = np.asarray(found.fluxes["snr"])
    chosen = (kind == (group == "star")) & (snr >= 10) & (snr < 100)
    pull = np.asarray(found.fluxes["pull"])[chosen]
    return float((np.abs(pull) > OUTLIER).mean()) if len(pull) else np.nan


def depth_widths(
    found: Assessment, truth: Table, bands: list[str], shape: tuple[int, int]
) -> tuple[float, float]:
    """Return the width of pulls at S/N 10-100 where exposures are deep, and where they are thin."""
    place = {str(name): row for row, name in enumerate(truth["ID"])}
    rows = np.array([place[str(name)] for name in found.fluxes["ID"]])
    x, y = (np.asarray(truth[n])[rows] for n in "xy")
    thin = np.zeros(len(rows), dtype=bool)
    for b, name in enumerate(bands):
        own = np.asarray(found.fluxes["band"]) == name
        thin[own] = is_thin(x[own], y[own], b, shape)
    snr, pull = np.asarray(found.fluxes["snr"]), np.asarray(found.fluxes["pull"])
    chosen = (snr >= 10) & (snr < 100)
    return tuple(mad_width(pull[chosen & part]) for part in (~thin, thin))


def mad_width(values: np.ndarray) -> float:
    """Return 1.4826 times the median absolute deviation; NaN without values."""
    if len(values) == 0:
        return np.nan
    return float(1.4826 * np.median(np.abs(values - np.median(values))))


def flagged_shares(catalog: Table, truth: Table) -> dict[str, float]:
    """Share of the rows, by true type, with a flag other than FROZEN."""
    star = dict(zip(truth["ID"], truth["TYPE"] == "STAR", strict=True))
    is_star = np.array([star.get(str(name), False) for name in catalog["ID"]])
    flags = np.ma.filled(np.ma.asarray(catalog["fit_flags"]), 0).astype(np.int64)
    bad = (flags & ~ALWAYS) != 0
    return {"star": float(bad[is_star].mean()), "galaxy": float(bad[~is_star].mean())}


def wrong_numbers(catalog: Table, truth: Table, bands: list[str]) -> tuple[int, float, float]:
    """Return number, outlier share and share of right suggestions of rows with a wrong type."""
    if "wrong_type" not in truth.colnames or not truth["wrong_type"].any():
        return 0, np.nan, np.nan
    rows = {str(name): row for row, name in enumerate(catalog["ID"])}
    pulls, named = [], []
    for entry in truth[np.asarray(truth["wrong_type"])]:
        if str(entry["ID"]) not in rows:
            continue
        found = catalog[rows[str(entry["ID"])]]
        named.append(str(found["type_suggested"]).upper() == str(entry["TYPE"]))
        for band in bands:
            error = found[f"FLUXERR_{band}_fit"]
            # Shares of the calibrated magnitude keep the zero point out of it.
            true = 10 ** (0.4 * (found[f"MAG_{band}_fit"] - entry[f"mag_{band}"]))
            true *= found[f"FLUX_{band}_fit"]
            if true > 10 * error:
                pulls.append(abs(found[f"FLUX_{band}_fit"] - true) / error)
    return len(named), float((np.array(pulls) > OUTLIER).mean()), float(np.mean(named))
