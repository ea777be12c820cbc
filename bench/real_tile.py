"""Run the real nine-band tile and print counts, seconds and chi-squares.

    python bench/real_tile.py [--data DIR] [--dir DIR]

``--data`` holds the tile (default: ``kids_viking_tile`` in the test data), ``--dir`` is where its
copy is run (default: a temporary directory). Chi-square of a source and band is the mean over the
pixels where its model exceeds one sigma of the sky, at least five; saturated stars and their
surroundings are left out.
"""

from __future__ import annotations

import argparse
import os
import shutil
import tempfile
import time
from pathlib import Path

import numpy as np

from skyloom.catalogs import column_as_bool, column_as_float, column_as_text, read_csv
from skyloom.flags import FitFlag
from skyloom.pipelines.tile import run_tile

TESTS = Path(os.environ.get("SKYLOOM_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=TESTS / "kids_viking_tile")
    parser.add_argument("--dir", type=Path, default=None)
    options = parser.parse_args()
    folder = options.dir or Path(tempfile.mkdtemp()) / "tile"
    shutil.copytree(options.data, folder, dirs_exist_ok=True)
    begin = time.perf_counter()
    result = run_tile(folder / "config.yaml", progress="quiet")
    seconds = time.perf_counter() - begin
    cpu = sum(stage.cpu for stage in result.seconds.values())
    print(f"exit status {result.exit_status}, {seconds:.0f} s wall, {cpu:.0f} s CPU in stages")
    table = read_csv(folder / "work" / "output_catalog.csv")
    active = ~column_as_bool(table, "excluded_any")
    fitted = np.isfinite(column_as_float(table, "x_pix_white_fit"))
    print(f"{len(table)} rows, {active.sum()} active, {(active & fitted).sum()} fitted")
    flags = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)
    clean = fitted & ((flags & (FitFlag.SATURATED | FitFlag.NEAR_SATURATED)) == 0)
    star = np.array([kind == "star" for kind in column_as_text(table, "stype_fit")])
    bands = [name[5:-4] for name in table.colnames if name.startswith("FLUX_")]
    print("band  median (n)   footprint >= 100 px   stars S/N > 300: mean, median (n)")
    for band in bands:
        chi2 = column_as_float(table, f"chi2_{band}")
        above = np.nan_to_num(column_as_float(table, f"n_above_{band}"))
        flux = column_as_float(table, f"FLUX_{band}_fit")
        snr = np.nan_to_num(flux / column_as_float(table, f"FLUXERR_{band}_fit"))
        use = clean & (above >= 5) & np.isfinite(chi2)  # not those that ended off the frame
        large, bright = use & (above >= 100), use & star & (snr > 300)
        print(
            f"{band:4s} {np.median(chi2[use]):6.2f} ({use.sum()}) {np.median(chi2[large]):12.2f} "
            f"{np.mean(chi2[bright]):20.1f} {np.median(chi2[bright]):8.1f} ({bright.sum()})"
        )


if __name__ == "__main__":
    main()
