"""Truth: the hard GalSim tile, each nuisance alone and all together, in one table.

    python bench/hard_tile.py [--only none psf noise ... all] [--seed N ...] [--bands 5] [--dir DIR]
                              [--scatter N R] [--noise stated] [--choice auto] [--complete]

1024 x 1024 pixels, 600 sources, a third of them a grid of bright stars.  What the nuisances are:
`tests/sims/hard_tile.py`.  ``--fresh`` runs again what lies in DIR already; ``--scatter`` sets
``skyloom.galaxy_index_scatter`` and ``galaxy_size_scatter``, which are measured otherwise, and
``--noise`` and ``--choice`` set ``skyloom.noise`` and ``skyloom.model_choice``.  Of several seeds
the pulls of all tiles together are printed as well.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np

TESTS = Path(__file__).resolve().parents[1] / "tests"
sys.path.insert(0, str(TESTS / "scene"))
sys.path.insert(0, str(TESTS / "sims"))

from hard_numbers import BINS, HardNumbers, Quiet, hard_numbers, largest  # noqa: E402
from hard_tile import NUISANCES, HardTile, hard_config, make_hard_tile, named  # noqa: E402

from skyloom.sim import pool_assessments  # noqa: E402


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--only", nargs="+", default=["none", *NUISANCES, "all"], metavar="NAME",
                        help=f"none, all, all-sky, psf+noise, {', '.join(NUISANCES)}")  # fmt: skip
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--size", type=int, default=1024, help="side of the frame [pix]")
    parser.add_argument("--bands", type=int, default=5)
    parser.add_argument("--dir", type=Path, help="keep the tiles here (default: temporary)")
    parser.add_argument("--fresh", action="store_true", help="simulate and run again")
    parser.add_argument("--executor", default="serial")
    parser.add_argument(
        "--scatter",
        type=float,
        nargs=2,
        metavar=("N", "R"),
        help="of the Sersic index, and of the size per band, of galaxies",
    )
    parser.add_argument("--noise", default="auto", help="skyloom.noise (default: auto)")
    parser.add_argument("--choice", default="check", help="skyloom.model_choice (default: check)")
    parser.add_argument("--complete", action="store_true", help="add rows for what is detected")
    options = parser.parse_args()

    from skyloom.pipelines.tile import run_tile  # noqa: PLC0415 - slow to import, not for --help

    names = ("galaxy_index_scatter", "galaxy_size_scatter")
    scatter = dict(zip(names, options.scatter, strict=True)) if options.scatter else {}
    given = {"noise": options.noise, "model_choice": options.choice}
    settings = {"skyloom": {"plots": "none", **given, **scatter}}
    config = hard_config(size=options.size, bands=options.bands)
    found: dict[str, HardNumbers] = {}
    of_seeds: dict[str, list[HardNumbers]] = {name: [] for name in options.only}
    with tempfile.TemporaryDirectory() as scratch:
        for seed, name in product(options.seed, options.only):
            if name == options.only[0]:
                clean: dict[frozenset[str], list[np.ndarray]] = {}
            tile = name if len(options.seed) == 1 else f"{name}-{seed}"
            folder = (options.dir or Path(scratch)) / tile
            begin = time.perf_counter()
            if options.fresh or not (folder / "work" / "output_catalog.csv").exists():
                hard = HardTile(on=named(name), config=config)
                path = make_hard_tile(folder, hard, seed=seed, clean=clean, settings=settings)
                if options.complete:
                    complete(path)
                cpu = time.process_time()
                run_tile(path, executor=options.executor, progress="quiet")
                print(f"{tile}: {time.perf_counter() - begin:.0f} s, of them "
                      f"{time.process_time() - cpu:.0f} CPU s in the run", flush=True)  # fmt: skip
            found[tile] = hard_numbers(folder)
            of_seeds[name].append(found[tile])
    print(tables(found))
    if len(options.seed) > 1:
        together = {name: pooled(each) for name, each in of_seeds.items()}
        print("\nall seeds:", pull_table(together))
        free = {name: replace(n, assessment=n.unflagged) for name, n in together.items()}
        print("\nall seeds, without UNMODELLED_LIGHT:", pull_table(free))


def complete(config: Path) -> None:
    """Give the tile of a configuration a catalogue with what its own lacks."""
    from skyloom.pipelines.tile import load_config  # noqa: PLC0415 - as above
    from skyloom.pipelines.tile.completion import complete_to_file  # noqa: PLC0415

    found = complete_to_file(load_config(config), config.with_name("completed.csv"), force=True)
    print(found.summary())
    config.with_name("completed.csv").replace(config.with_name("input_catalog.csv"))


def pooled(each: list[HardNumbers]) -> HardNumbers:
    """Return the numbers of one tile with the pulls of several."""
    return replace(
        each[0],
        assessment=pool_assessments([n.assessment for n in each]),
        unflagged=pool_assessments([n.unflagged for n in each]),
    )


def tables(found: dict[str, HardNumbers]) -> str:
    """Return what was found as text: photometry, flatness, pulls."""
    return "\n\n".join([flatness_table(found), pull_table(found), doubt_table(found)])


def flatness_table(found: dict[str, HardNumbers]) -> str:
    """Return zero points, offsets, flatness and steps [mmag]."""
    lines = [
        "mmag        zero point   star S/N > 30   trend rms      largest mean of 4 x 4 cells    "
        "largest step at border of",
        "            worst band   median          bands  mean    worst band         mean of     "
        "cells         patches",
    ]
    rows = list(found.items())
    rows += [(f"{name} quiet", replace(n, **quiet_parts(n.quiet))) for name, n in rows if n.quiet]
    for name, n in rows:
        zp = max(n.zero_points.values(), key=abs)
        offset, error = n.star_offset()
        band, cell, cell_error = n.worst_band()
        trends = max(f.trend for f in n.flat.values())
        mean, mean_error = n.flat_all.largest
        steps = [largest(s) for s in (n.cell_steps, n.patch_steps)]
        lines.append(
            f"{name:12}{zp:+8.1f}   {offset:+7.1f} +- {error:3.1f}  {trends:7.1f}"
            f"{n.flat_all.trend:6.1f}"
            f"  {band:>6} {cell:+6.1f} +- {cell_error:3.1f}  {mean:+6.1f} +- {mean_error:3.1f}  "
            + "  ".join(f"{s.step:+5.1f} +- {s.error:3.1f}" for s in steps)
        )
    for name, n in found.items():
        if n.quiet:
            lines.append(
                "{}: scatter of single fluxes {:.1f}, without the known noise {:.1f} mmag".format(
                    name, *n.quiet.scatter
                )
            )
    return "\n".join(lines)


def quiet_parts(quiet: Quiet) -> dict[str, object]:
    """Return the fields of `HardNumbers` that are known without noise."""
    return {
        name: getattr(quiet, name) for name in ("flat", "flat_all", "cell_steps", "patch_steps")
    }


def pull_table(found: dict[str, HardNumbers]) -> str:
    """Return width and median of pulls by S/N, and offsets of galaxies."""
    lines = []
    for group in ("star", "galaxy"):
        head = "".join(f"{b!s:>22}" for b in BINS)
        lines.append(f"{group:8}{'S/N':>4}{head}    offset 30-100 [mmag]")
        for name, n in found.items():
            value = n.assessment.value
            cells = []
            for b in BINS:
                width, error, pull = (
                    value(q, group=group, snr=b) for q in ("width", "width_err", "pull")
                )
                cells.append(f"{width:8.2f}+-{error:4.2f} {pull:+6.2f} ")
            offset, error = (value(q, group=group, snr=BINS[2]) for q in ("offset", "offset_err"))
            lines.append(f"{name:12}{''.join(cells)}    {offset:+7.1f} +- {error:4.1f}")
        lines.append("")
    return "width and median of pulls\n" + "\n".join(lines).rstrip()


def doubt_table(found: dict[str, HardNumbers]) -> str:
    """Return outliers, flags, and what happened to rows with a wrong type."""
    lines = [
        "per cent    |pull| > 5, S/N 10-100     flagged     width where exposure is   wrong types",
        "              star   galaxy    star  galaxy        deep    thin       n outliers    named",
    ]
    for name, n in found.items():
        wrong = ""
        if n.n_wrong:
            wrong = f"{n.n_wrong:8d}{100 * n.wrong_outliers:9.1f}{100 * n.wrong_named:9.1f}"
        shares = [*n.outliers.values(), *n.flagged.values()]
        lines.append(f"{name:12}" + "".join(f"{100 * s:8.1f}" for s in shares)
                     + "    " + "".join(f"{w:8.2f}" for w in n.depth_widths) + wrong)  # fmt: skip
    return "\n".join(lines)


if __name__ == "__main__":
    main()
