"""Reality: run the nine-band KiDS + VIKING tile and print what came out.

    python bench/real_tile.py [--data DIR] [--dir DIR]

Prints counts, wall-clock seconds, the median over sources of the mean chi-square inside the
footprint (model above 1 sigma on at least 5 pixels; saturated stars and their surroundings left
out), and the mean chi-square of unsaturated stars at S/N > 300.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table
from truth_tile import read_catalog

from skyloom.flags import FitFlag
from skyloom.sim import footprint_chi2

DEFAULT_DATA = Path(__file__).resolve().parents[2] / "shared" / "data" / "kids_viking_tile"
BANDS = ("u", "g", "r", "i", "Z", "Y", "J", "H", "Ks")
NEAR_SATURATION = FitFlag.SATURATED | FitFlag.NEAR_SATURATED | FitFlag.HALO_FRAGMENT


def copy_tile(source: Path, directory: Path) -> Path:
    """Copy the tile to a writable folder; return its configuration file."""
    directory.mkdir(parents=True, exist_ok=True)
    for path in source.iterdir():
        target = directory / path.name
        if path.is_file():
            shutil.copyfile(path, target)  # contents only: the source may be read-only
    return directory / "config.yaml"


def print_counts(catalog: Table) -> None:
    """Print how many sources were active, fitted and flagged."""
    active = np.asarray(catalog["excluded_any"].astype(str)) != "True"
    flux = np.array([np.ma.filled(catalog[f"FLUX_{b}_fit"].astype(float), np.nan) for b in BANDS])
    fitted = active & np.isfinite(flux).any(axis=0)
    print(f"{len(catalog)} rows, {active.sum()} active, {fitted.sum()} fitted "
          f"({100 * fitted.sum() / active.sum():.1f} %)")  # fmt: skip
    if "fit_flags" in catalog.colnames:
        flags = np.ma.filled(catalog["fit_flags"].astype(float), 0).astype(int)
        for bit, name, meaning in FitFlag.table():
            print(f"  {np.sum((flags & bit != 0) & active):5d}  {name:16} {meaning}")


def print_chi2(config: Path, catalog: Table) -> None:
    """Print chi-square medians by band, of all sources, of large ones and of bright stars."""
    # scene_of_band(config, band) -> ids, data, model, sigma, stamps: the fitted scene of one band
    # in scaled counts, and for each ID its PSF-convolved model alone as (Box, array).
    from skyloom.pipelines.tile import scene_of_band  # noqa: PLC0415

    rows = {str(name): row for row, name in enumerate(catalog["ID"])}
    flags = np.ma.filled(catalog["fit_flags"].astype(float), 0).astype(int)
    print(f"{'band':6}{'median':>8}{'n':>6}{'>= 100 pix':>12}{'n':>6}{'stars > 300':>13}{'n':>6}")
    for band in BANDS:
        ids, data, model, sigma, stamps = scene_of_band(config, band)
        chi2, n_pixels = footprint_chi2(data, model, sigma, stamps)
        row = np.array([rows[str(name)] for name in ids])
        clean = np.isfinite(chi2) & (flags[row] & int(NEAR_SATURATION) == 0)
        snr = (catalog[f"FLUX_{band}_fit"] / catalog[f"FLUXERR_{band}_fit"])[row]
        is_star = np.asarray(catalog["stype_fit"][row].astype(str)) == "star"
        large, bright = clean & (n_pixels >= 100), clean & is_star & (np.ma.filled(snr, 0) > 300)
        cells = [(np.median(chi2[clean]) if clean.any() else np.nan, clean.sum()),
                 (np.median(chi2[large]) if large.any() else np.nan, large.sum()),
                 (np.mean(chi2[bright]) if bright.any() else np.nan, bright.sum())]  # fmt: skip
        print(f"{band:6}{cells[0][0]:8.2f}{cells[0][1]:6d}{cells[1][0]:12.2f}{cells[1][1]:6d}"
              f"{cells[2][0]:13.2f}{cells[2][1]:6d}")  # fmt: skip


def main() -> None:
    """Run the benchmark."""
    root = os.environ.get("SKYLOOM_TEST_DATA")
    default = Path(root) / "kids_viking_tile" if root else DEFAULT_DATA
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--data", type=Path, default=default)
    parser.add_argument("--dir", type=Path, help="work here and keep it (default: temporary)")
    options = parser.parse_args()

    from skyloom.pipelines.tile import run_tile  # noqa: PLC0415 - slow to import, not for --help

    with tempfile.TemporaryDirectory() as scratch:
        config = copy_tile(options.data, options.dir or Path(scratch))
        start = time.perf_counter()
        run_tile(config)
        print(f"run: {time.perf_counter() - start:.1f} s")
        catalog = read_catalog(config.parent / "work" / "output_catalog.csv")
        print_counts(catalog)
        print_chi2(config, catalog)


if __name__ == "__main__":
    main()
