"""Plate solving: time and accuracy of both back ends on generated fields.

    python bench/bench_solve.py [--backend astrometry|solve-field] [--seeds N | --random N]

Fields of 1024 x 960 pixels with Tycho-2 stars (index 09), a tenth left out, 600 contaminants,
jitter 0.15 pix, distortion; the scale is known to 10 per cent.  Times are those of a field from its
pixels to the refined WCS, with the index loaded: extraction, recognition, refinement.
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "sims"))
from star_fields import FIELDS, make_field, random_fields

from skyloom.calib.plate_solving import (
    Hint,
    SolveTask,
    available_backends,
    choose_backend,
    extract_stars,
    find_indexes,
    solve,
)
from skyloom.errors import NotSolved


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--backend", choices=["astrometry", "solve-field"], action="append")
    parser.add_argument("--seeds", type=int, default=1)
    parser.add_argument("--random", type=int, default=0, help="fields anywhere on the sky instead")
    options = parser.parse_args()
    indexes = find_indexes(["index-tycho2-09*"])
    fields = [
        make_field(indexes[0], 900 + 1000 * seed + n, *field)
        for seed in range(options.seeds)
        for n, field in enumerate(FIELDS)
    ]
    if options.random:
        drawn = random_fields(options.random)
        fields = [make_field(indexes[0], n, *field) for n, field in enumerate(drawn)]
    extract_stars(fields[0].image)
    started = time.perf_counter()
    for field in fields:
        extract_stars(field.image)
    print(f"extraction alone: {1e3 * (time.perf_counter() - started) / len(fields):.0f} ms")
    for name in options.backend or available_backends():
        _one(name, fields, indexes)


def _one(name, fields, indexes) -> None:
    backend = choose_backend(name)
    seconds, engine, centre, middle, largest = [], [], [], [], []
    for warm in (True, False):  # the first field once more: the index is loaded then
        for field in fields[:1] if warm else fields:
            scale = field.wcs.scale
            hint = Hint(scale_low=0.9 * scale, scale_high=1.1 * scale)
            task = SolveTask(backend=backend, indexes=indexes, image=field.image, hint=hint)
            started = time.perf_counter()
            try:
                found = solve(task)
            except NotSolved:
                continue
            if warm:
                continue
            seconds.append(time.perf_counter() - started)
            engine.append(found.match.seconds)
            grid, off = field.errors(found.wcs)
            centre.append(off)
            middle.append(np.median(grid))
            largest.append(grid.max())
    print(
        f"{name}: {len(seconds)} of {len(fields)} solved; {np.mean(seconds):.2f} s a field "
        f"(worst {max(seconds):.2f}), of it the engine {np.mean(engine):.2f}; centre off by "
        f"{np.median(centre):.3f} pix (worst {max(centre):.3f}), grid median "
        f"{np.median(middle):.3f} (worst {max(middle):.3f}), largest {max(largest):.2f}"
    )


if __name__ == "__main__":
    main()
