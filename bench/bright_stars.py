"""Neighbours of very bright stars: bias and outliers with ``skyloom.bright_stars`` on and off.

    python bench/bright_stars.py [--seeds 1 2 3] [--dir DIR] [--plain]

Tiles of 640 pixels with five saturated stars, each with four spikes (2 % of its light) and a ghost
ring of 40 pixels (1 %), drawn with GalSim; ``--plain`` leaves these out, so that nothing is there
to be found. Sources with an expected S/N above 10 count.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

from astropy.table import Table, vstack

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sims"))

RANGES = ((10.0, 25.0), (25.0, 60.0), (60.0, 100.0), (100.0, 1e9))  # pix


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--dir", type=Path, help="keep the tiles here (default: temporary)")
    parser.add_argument("--plain", action="store_true", help="stars without spikes and ghosts")
    options = parser.parse_args()

    from bright_scene import compared, make_bright_tile, summary  # noqa: PLC0415 - test extra

    from skyloom.pipelines.tile import run_tile  # noqa: PLC0415 - slow to import

    found: dict[bool, list[Table]] = {True: [], False: []}
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            for is_on, tables in found.items():
                folder = (options.dir or Path(scratch)) / f"seed{seed:03d}_{is_on}"
                path, tile = make_bright_tile(
                    folder, seed=seed, optics=not options.plain, bright_stars=is_on
                )
                run_tile(path, progress="quiet")
                tables.append(compared(tile, folder / "work"))
    for is_on, tables in found.items():
        print(f"skyloom.bright_stars: {str(is_on).lower()}")
        everything = vstack(tables)
        for near in RANGES:
            values = summary(everything, near)
            text = ", ".join(f"{n} {v:.3g}" for n, v in values.items())
            print(f"  {near[0]:.0f} to {near[1]:g} pix: {text}")


if __name__ == "__main__":
    main()
