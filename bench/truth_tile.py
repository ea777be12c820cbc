"""Truth: simulate tiles with GalSim, run the tile pipeline on them, measure the catalogues.

    python bench/truth_tile.py --seeds 1 2 3 4 [--dir DIR] [--own] [--size 1024 --sources 600]

Prints the assessment of each tile and of all together, and wall-clock seconds.  ``--own`` draws
with the package's own renderer instead of GalSim (faster, and it needs no test extra).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sims"))

from skyloom.sim import (
    Assessment,
    assess_tile,
    pool_assessments,
    read_truth,
    render_field,
    simulate_tile,
    truth_config,
    write_tile,
)


def read_catalog(path: Path) -> Table:
    """Read a final catalogue with its IDs as text."""
    text = dict.fromkeys(("ID", "TYPE", "gaia_source_id", "excluded_any"), str)
    return Table.read(path, format="ascii.csv", converters=text, guess=False)


def make_tile(directory: Path, *, seed: int, own: bool, size: int, n_sources: int) -> Path:
    """Simulate and write one tile; return its configuration file."""
    if own:
        render = render_field
    else:
        from galsim_tile import render_with_galsim as render  # noqa: PLC0415 - test extra

    config = truth_config(nx=size, ny=size, n_sources=n_sources)
    tile = simulate_tile(config, np.random.default_rng(seed), render=render)
    return write_tile(tile, directory, settings={
        "overlay": {"enabled": False}, "crop": {"plot_pre_crop": False, "plot_post_crop": False},
        "patch_run": {"no_cutouts": True, "no_patch_overview": True},
    })  # fmt: skip


def assess_run(config: Path) -> Assessment:
    """Compare the catalogue of a finished run with the truth beside its configuration."""
    truth = read_truth(config.parent)
    bands = [name[4:] for name in truth.colnames if name.startswith("mag_") and name != "mag_ref"]
    catalog = read_catalog(config.parent / "work" / "output_catalog.csv")
    return assess_tile(
        catalog, truth, bands=bands, position_error_columns=("x_pix_err", "y_pix_err")
    )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3, 4])
    parser.add_argument("--dir", type=Path, help="keep the tiles here (default: temporary)")
    parser.add_argument("--own", action="store_true", help="draw with skyloom.sim, not GalSim")
    parser.add_argument("--size", type=int, default=1024, help="side of the frame [pix]")
    parser.add_argument("--sources", type=int, default=600)
    options = parser.parse_args()

    from skyloom.pipelines.tile import run_tile  # noqa: PLC0415 - slow to import, not for --help

    with tempfile.TemporaryDirectory() as scratch:
        results = []
        for seed in options.seeds:
            directory = (options.dir or Path(scratch)) / f"seed{seed:03d}"
            start = time.perf_counter()
            config = make_tile(
                directory, seed=seed, own=options.own, size=options.size, n_sources=options.sources
            )
            simulated = time.perf_counter()
            run_tile(config)
            finished = time.perf_counter()
            results.append(assess_run(config))
            print(f"\n=== seed {seed}: simulated in {simulated - start:.1f} s, "
                  f"run in {finished - simulated:.1f} s\n{results[-1].summary()}")  # fmt: skip
        print(f"\n=== pooled over {len(results)} tiles\n{pool_assessments(results).summary()}")


if __name__ == "__main__":
    main()
