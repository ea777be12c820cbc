"""Speed and residuals of the PSF builder beside photutils, on the same GalSim stars.

Run it with one BLAS thread, on an idle machine::

    OPENBLAS_NUM_THREADS=1 python bench/bench_psf.py [--stars 30] [--repeat 7] [--out FILE.json]

Counted: one cell of one band, cutouts of 61 pixels in memory, warm kernels, without residual
images; photutils starts from its extracted stars.  Residual: noise-free stars that neither has
seen, at random sub-pixel positions, fitted with each PSF by the same code; largest
residual over the peak, mean of the stars.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.nddata import NDData
from astropy.table import Table
from photutils.psf import EPSFBuilder, extract_stars

from skyloom.psf import BuilderOptions, build_field_psf, cut_stars

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "psf"))
from psf_tools import GAIN, fit_star, stamp_of, star_field, true_psf

SIDE = 61


def best_time(action: Callable[[], object], repeat: int) -> float:
    """Return the shortest of some wall times [s]."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def residual(stamp: np.ndarray, *, reserved: int = 20) -> float:
    """Return the mean over reserved stars of max |residual| / peak inside 10 pixels."""
    rng = np.random.default_rng(11)
    near = np.hypot(*np.mgrid[-30:31, -30:31]) < 10
    worst = []
    for dx, dy in rng.uniform(-0.5, 0.5, (reserved, 2)):
        truth = stamp_of(true_psf(0, 0, variation=0.0), dx, dy, side=SIDE)
        _, left = fit_star(truth, np.ones_like(truth), stamp, flux=1.0, dx=dx, dy=dy)
        worst.append(np.abs(left[near]).max() / truth.max())
    return float(np.mean(worst))


def main() -> None:
    """Print the comparison."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--stars", type=int, default=30)
    parser.add_argument("--repeat", type=int, default=7)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    field = star_field(5, n=args.stars, side=800, variation=0.0, snr=(100, 1000))
    cutouts = cut_stars(field.image, field.ivar, field.x, field.y, side=SIDE)
    options = BuilderOptions(
        max_order=0, local=False, oversampling=1, residuals=False, source_variance=1 / GAIN
    )

    def ours() -> np.ndarray:
        result = build_field_psf(cutouts, shape=field.shape, options=options)
        return result.psf.stamp_at(400, 400)

    table = Table({"x": field.x, "y": field.y})
    stars = extract_stars(NDData(field.image), table, size=SIDE)

    def theirs() -> np.ndarray:
        builder = EPSFBuilder(
            oversampling=1, maxiters=30, recentering_boxsize=9, progress_bar=False
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return builder(stars).epsf.data

    found = {
        "stars": args.stars,
        "skyloom_residual": residual(ours()),
        "photutils_residual": residual(theirs()),
        "skyloom_s": best_time(ours, args.repeat),
        "photutils_s": best_time(theirs, max(2, args.repeat // 2)),
    }
    found["times_faster"] = found["photutils_s"] / found["skyloom_s"]
    for name, value in found.items():
        print(f"{name:20s} {value:.4g}")
    if args.out is not None:
        args.out.write_text(json.dumps(found, indent=1) + "\n")


if __name__ == "__main__":
    main()
