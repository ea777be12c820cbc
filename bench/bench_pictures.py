"""Time of one source's cut-outs and of one patch overview, from arrays to PNG.

Run it on an idle machine::

    OPENBLAS_NUM_THREADS=1 python bench/bench_pictures.py [--repeat 20] [--out FILE.json]

Counted: CPU time per picture, pixels in memory, warm fonts; 101-pixel windows with seven marked
neighbours, a patch of 250 pixels with thirty sources, both at 300 dpi.  Limit for a cut-out of five
bands: 50 ms (the pipeline that it replaces needs 1 to 2 s).
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from skyloom.plots import (
    CutoutPicture,
    FittedPoints,
    PatchPicture,
    Points,
    draw_cutouts,
    draw_patch,
)

LIMIT = 50.0  # ms
DPI = 300


def cpu_ms(action: Callable[[], object], repeat: int) -> float:
    """Return the CPU time of a call, median of some [ms]."""
    action()
    times = []
    for _ in range(repeat):
        start = time.process_time()
        action()
        times.append(time.process_time() - start)
    return 1e3 * float(np.median(times))


def pairs(rng: np.random.Generator, n: int, side: float) -> FittedPoints:
    """Return start and fitted positions of ``n`` sources."""
    x, y = rng.uniform(0, side, (2, n))
    return FittedPoints(start=Points(x=x, y=y), fitted=Points(x=x + 0.4, y=y - 0.3))


def cutout(rng: np.random.Generator, bands: int) -> CutoutPicture:
    """Return noise with a source in the middle."""
    data = rng.normal(0, 1, (bands, 101, 101)).astype(np.float32)
    model = np.zeros_like(data)
    model[:, 45:56, 45:56] = 5
    return CutoutPicture(
        title="00042",
        bands=tuple(f"m{400 + 25 * b}" for b in range(bands)),
        data=data + model,
        model=model,
        bad=rng.uniform(0, 1, data.shape) < 0.001,
        start=(50.0, 50.0),
        fitted=(50.4, 49.7),
        base=pairs(rng, 5, 100),
        halo=pairs(rng, 2, 100),
        notes=("S/N 20",) * bands,
    )


def main() -> int:
    """Measure and print; returns 1 beyond the limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeat", type=int, default=20)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    rng = np.random.default_rng(1)
    times = {}
    for bands in (5, 9, 40):
        shown = cutout(rng, bands)
        times[f"cutout_{bands}_bands_ms"] = cpu_ms(
            lambda shown=shown: draw_cutouts(shown, dpi=DPI).png(dpi=DPI), options.repeat
        )
    white = rng.normal(0, 1, (250, 250)).astype(np.float32)
    patch = PatchPicture(
        tag="r00_c00_pr00_pc00",
        data=white,
        model=np.zeros_like(white),
        sigma=np.ones_like(white),
        bad=np.zeros(white.shape, bool),
        base=pairs(rng, 20, 250),
        halo=pairs(rng, 10, 250),
    )
    times["patch_overview_ms"] = cpu_ms(
        lambda: draw_patch(patch, dpi=DPI).png(dpi=DPI), options.repeat
    )
    for name, value in times.items():
        print(f"{name:24s} {value:7.1f}")
    if options.out is not None:
        options.out.write_text(json.dumps(times, indent=2) + "\n", encoding="utf-8")
    return int(times["cutout_5_bands_ms"] > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
