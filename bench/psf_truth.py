"""Truth: PSF models of simulated tiles against the PSFs that drew them.

    python bench/psf_truth.py --seeds 3 4 5 [--saturated 10] [--dir DIR]

1024 x 1024 pixels, 600 sources, ``--saturated`` stars beyond saturation besides; drawn by the
package's own renderer.  Per band, over 36 places of the field: the flux scale of a star measured
with the model (mean and scatter), the largest residual within 12 pix of the centre in units of the
peak (mean), and model minus true light between 15 and 30 pix as a fraction of the star (mean).
Below, the root mean squares of all bands.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np

from skyloom.geometry import Box
from skyloom.pipelines.tile import run_tile
from skyloom.psf import FieldPsf
from skyloom.sim import render_field, render_star, simulate_tile, truth_config, write_tile
from skyloom.sim.psf_field import draw_psf_field

HALF = 63  # pix
CORE = 12  # pix
RING = (15, 30)  # pix
PLACES = np.linspace(80, 940, 6)  # pix
MILLIMAG = 1085.7
ROW = "{:+13.2f} {:9.2f} {:18.2f} {:+16.2f}"


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--seeds", type=int, nargs="+", default=[3, 4, 5])
    parser.add_argument("--saturated", type=int, default=0)
    parser.add_argument("--dir", type=Path, help="keep the tiles here (default: temporary)")
    options = parser.parse_args()
    plain = truth_config(nx=1024, ny=1024, n_sources=600)
    config = replace(plain, n_saturated=options.saturated)
    print(
        "seed band   flux scale, scatter [mmag]   core residual [1e-3]   light at 15-30 pix [1e-3]"
    )
    rows = []
    with tempfile.TemporaryDirectory() as scratch:
        for seed in options.seeds:
            folder = (options.dir or Path(scratch)) / f"seed{seed:03d}"
            tile = simulate_tile(config, np.random.default_rng(seed), render=render_field)
            path = write_tile(tile, folder, settings={"skyloom": {"plots": "none"}})
            run_tile(path, "run-epsf", progress="quiet", force=True)
            rng = np.random.default_rng(seed)  # PSFs are what a simulation draws first
            for band in config.bands:
                truth = draw_psf_field(
                    band, shape=config.shape, variation=config.psf_variation,
                    shear=config.psf_shear, rng=rng,
                )  # fmt: skip
                arrays = np.load(folder / "work" / "skyloom" / "epsf" / f"{band.name}.npz")
                rows.append(compared(FieldPsf.from_arrays(dict(arrays)), truth))
                print(f"{seed:4d} {band.name:6s}" + ROW.format(*rows[-1]))
                sys.stdout.flush()
    rms = np.sqrt((np.array(rows) ** 2).mean(axis=0))
    print("rms        " + ROW.format(*rms))


def compared(model: FieldPsf, truth: object) -> tuple[float, float, float, float]:
    """Return mean and scatter of the flux scale, the core residual, the light in the ring."""
    box = Box(-HALF, HALF + 1, -HALF, HALF + 1)
    r = np.hypot(*np.mgrid[-HALF : HALF + 1, -HALF : HALF + 1])
    core, ring = r < CORE, (r >= RING[0]) & (r < RING[1])
    bias, worst, light = [], [], []
    for y in PLACES:
        for x in PLACES:
            true = render_star(truth.at(x, y), x=0.0, y=0.0, box=box)
            found = model.stamp_at(x, y)
            gy, gx = np.gradient(true)
            terms = np.stack([true, gx, gy])
            scale, *_ = np.linalg.lstsq(terms[:, core].T, found[core], rcond=None)
            left = found - np.tensordot(scale, terms, 1)
            worst.append(np.abs(left[core]).max() / true.max())
            bias.append(-MILLIMAG * (scale[0] - 1.0))
            light.append((found - true)[ring].sum())
    return (
        float(np.mean(bias)), float(np.std(bias)), 1e3 * float(np.mean(worst)),
        1e3 * float(np.mean(light)),
    )  # fmt: skip


if __name__ == "__main__":
    main()
