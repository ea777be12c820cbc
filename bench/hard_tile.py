"""Truth: the hard GalSim tile, each nuisance alone and all together, in one table.

    python bench/hard_tile.py [--only none psf noise ... all] [--seed N ...] [--bands 5] [--dir DIR]
                              [--scatter N R] [--noise stated] [--choice auto] [--complete]

1024 x 1024 pixels, 600 sources, a third of them a grid of bright stars.  What the nuisances are:
`tests/sims/hard_tile.py`.  ``--fresh`` runs again what lies in DIR already; ``--scatter`` sets
``skyloom.galaxy_index_scatter`` and ``galaxy_size_scatter``, which are measured otherwise, and
``--noise`` and ``--choice`` set ``skyloom.noise`` and ``skyloom.model_choice``; ``--complete``
adds to the catalogue what ``skyloom tile detect --complete`` finds.  Of several seeds the pulls of
all tiles together are printed as well.  Flatness is printed twice: of magnitudes as they are, and
without what the noise of the images, which the simulation knows, did to each star.
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

from hard_numbers import BINS, FlatNumbers, HardNumbers, hard_numbers, largest  # noqa: E402
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
    """Return zero points, offsets, flatness and steps [mmag], with and without image noise."""
    lines = [
        "mmag        zero point   star S/N > 30   scatter of a star   slope of shifts",
        "            worst band   median          as is   noise off   by noise",
    ]
    for name, n in found.items():
        zp = max(n.zero_points.values(), key=abs)
        offset, error = n.star_offset()
        lines.append(
            f"{name:12}{zp:+8.1f}   {offset:+7.1f} +- {error:3.1f}  {n.scatter[0]:7.1f}"
            f"{n.scatter[1]:10.1f}  {n.noise_slope:12.2f}"
        )
    for title, attribute in (("as measured", "flat"), ("without image noise", "free")):
        lines += [
            "",
            f"{title:20}trend rms   largest mean of 4 x 4 cells   largest step: mean of bands at",
            f"{'':20}bands mean  worst band       mean of bands  cells       patches     in a band",
        ]
        lines += [f"{name:18}" + flat_row(getattr(n, attribute)) for name, n in found.items()]
    return "\n".join(lines)


def flat_row(flat: FlatNumbers) -> str:
    """Return one line of trends, cells and steps."""
    band, *worst = flat.worst_band()
    in_band = [s for steps in flat.band_steps.values() for s in steps]
    steps = [largest(s) for s in (flat.cell_steps, flat.patch_steps, in_band)]
    pairs = [flat.mean.largest, *((s.step, s.error) for s in steps)]
    trend = max(f.trend for f in flat.bands.values())
    return (
        f"{trend:6.1f}{flat.mean.trend:5.1f}  {band} {worst[0]:+4.1f} +- {worst[1]:3.1f}  "
        + "  ".join(f"{value:+4.1f} +- {error:3.1f}" for value, error in pairs)
    )


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
