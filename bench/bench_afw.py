"""Time of reading an afw exposure: whole, a cut-out, headers; against astropy in the same run.

``python bench/bench_afw.py [SIDE]`` makes an exposure of SIDE x SIDE pixels (4096) in a temporary
folder and prints the best of several runs in milliseconds; all files are in the page cache.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.geometry import Box
from skyloom.images import (
    Exposure,
    FilterLabel,
    Image,
    KernelPsf,
    Mask,
    MaskedImage,
    PhotoCalib,
    read_component,
    read_metadata,
)

RUNS = 7


def best(action: Callable[[], object], runs: int = RUNS) -> float:
    """Return the shortest time [ms] of several runs."""
    times = []
    for _ in range(runs):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return 1000 * min(times)


def make(side: int) -> Exposure:
    rng = np.random.default_rng(1)
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [side / 2, side / 2]
    wcs.wcs.cd = [[-4.6e-5, 0.0], [0.0, 4.6e-5]]
    planes = MaskedImage(
        Image(rng.normal(size=(side, side)).astype(np.float32)),
        Mask(rng.integers(0, 256, (side, side)).astype(np.int32)),
        Image(rng.uniform(1, 2, (side, side)).astype(np.float32)),
    )
    exposure = Exposure(planes, wcs=wcs, photo_calib=PhotoCalib.from_zeropoint(27.0))
    exposure.filter = FilterLabel(band="i", physical="HSC-I2")
    exposure.psf = KernelPsf(rng.uniform(size=(6, 41, 41)), [1.0] * 6)
    for i in range(200):
        exposure.metadata[f"KEY{i}"] = (i, "a card like any other")
    return exposure


def astropy_planes(path: Path) -> None:
    with fits.open(path, memmap=False) as hdus:
        for hdu in hdus[1:4]:
            _ = hdu.data


def main() -> None:
    side = int(sys.argv[1]) if len(sys.argv) > 1 else 4096
    box = Box(side // 2, side // 2 + 100, side // 3, side // 3 + 100)
    with tempfile.TemporaryDirectory() as folder:
        path, packed = Path(folder) / "plain.fits", Path(folder) / "packed.fits"
        exposure = make(side)
        print(f"{side} x {side}, best of {RUNS} [ms]")
        seconds = best(lambda: exposure.write(path, overwrite=True), 3)
        print(f"  write                            {seconds:8.1f}")
        start = time.perf_counter()
        exposure.write(packed, is_compressed=True)
        print(f"  write packed                     {1000 * (time.perf_counter() - start):8.1f}")
        # in turn, and medians: a busy machine slows both
        pairs = [
            (best(lambda: astropy_planes(path), 1), best(lambda: Exposure.read(path), 1))
            for _ in range(2 * RUNS)
        ]
        plain, own = np.median(pairs, axis=0)
        print(f"  astropy, three planes, median    {plain:8.1f}")
        print(f"  Exposure.read, median            {own:8.1f}   {own / plain:.2f} x astropy")
        rows = {
            "cut-out 100 x 100": lambda: Exposure.read(path, box),
            "cut-out 100 x 100, packed": lambda: Exposure.read(packed, box),
            "read_metadata": lambda: read_metadata(path),
            "read_component wcs": lambda: read_component(path, "wcs"),
            "read_component psf": lambda: read_component(path, "psf"),
            "read_component photo_calib": lambda: read_component(path, "photo_calib"),
        }
        for name, action in rows.items():
            print(f"  {name:32s} {best(action):8.1f}")


if __name__ == "__main__":
    main()
