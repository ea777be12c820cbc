"""Speed and memory of previews: from FITS files in the disk cache to pictures on the disk.

Run it on an idle machine::

    OPENBLAS_NUM_THREADS=1 python bench/bench_previews.py [--count 40] [--side 4096] [--huge 20000]
                                                          [--out FILE.json]

Counted: CPU and wall time per preview of 4096 x 4096 pixels, 500 pixels wide, by kind of file and
by stretch; previews per second, and per CPU second, of ``PreviewMaker`` with one and two workers
over COUNT files; the peak memory of a process that draws one image of 20 000 x 20 000 float32
(1.6 GB, written row by row).  Floors, measured in the same run: reading the bytes of the file into
one small buffer; numpy's mean over blocks of the image in memory.
Limits: 8 previews per CPU second, so that neighbours do not count; 300 MB.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.io import fits

from skyloom.process import DataSpec, procmain
from skyloom.process.previews import (
    STRETCHES,
    PictureStyle,
    PreviewMaker,
    draw_image,
    plate_area,
    read_scaled,
)

RATE_LIMIT = 8.0  # previews / s / core
MEMORY_LIMIT = 300.0  # MB
SIZE = 500  # pix
ONE = """
import sys
from pathlib import Path
from skyloom.process.previews import draw_image, read_scaled
Path(sys.argv[2]).write_bytes(draw_image(read_scaled(sys.argv[1], dest_size=500)))
status = Path("/proc/self/status").read_text().split()
print(status[status.index("VmHWM:") + 1])
"""


def measured(action: Callable[[], object], repeat: int = 5) -> tuple[float, float]:
    """Return CPU and wall time of a call, medians [ms]."""
    action()
    times = []
    for _ in range(repeat):
        cpu, wall = time.process_time(), time.perf_counter()
        action()
        times.append((time.process_time() - cpu, time.perf_counter() - wall))
    return tuple(1e3 * float(np.median(column)) for column in zip(*times, strict=True))


def write_images(folder: Path, side: int) -> dict[str, Path]:
    """Write one sky of noise and stars as files of several kinds."""
    rng = np.random.default_rng(1)
    sky = rng.normal(1000, 30, (side, side)).astype(np.float32)
    sky.ravel()[rng.integers(0, side * side, side)] += 1e5 * rng.random(side).astype(np.float32)
    unsigned = np.clip(sky, 0, 65535).astype(np.uint16)
    files = {name: folder / f"{name}.fits" for name in ("float32", "uint16", "float64")}
    fits.writeto(files["float32"], sky)
    fits.writeto(files["uint16"], unsigned)
    fits.writeto(files["float64"], sky.astype(np.float64))
    files |= {"rice": folder / "rice.fits.fz", "gzip": folder / "gzip.fits.gz"}
    packed = fits.CompImageHDU(unsigned.astype(np.int16))
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(files["rice"])
    files["gzip"].write_bytes(gzip.compress(files["uint16"].read_bytes(), 1))
    return files


def read_bytes(path: Path) -> None:
    """Read a file into one buffer: the floor of any reader."""
    buffer = bytearray(1 << 18)
    with path.open("rb", buffering=0) as file:
        while file.readinto(buffer):
            pass


def numpy_means(image: np.ndarray, factor: int) -> np.ndarray:
    """Reduce an image that is in memory."""
    n = image.shape[0] // factor
    cut = image[: n * factor, : n * factor]
    return cut.reshape(n, factor, n, factor).mean(axis=(1, 3), dtype=np.float64)


def cpu_seconds() -> float:
    """Return what this process and its ended workers have used [s]."""
    used = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(u.ru_utime + u.ru_stime for u in used)


def rate(folder: Path, source: Path, count: int, workers: int) -> tuple[float, float]:
    """Return previews per CPU second and per second of a run over copies of a file."""
    raw = folder / f"raw{workers}"
    raw.mkdir()
    for k in range(count):
        (raw / f"{k:03d}.fits").hardlink_to(source)
    data = DataSpec.from_glob("*.fits", resdir=raw, properties={"preview_dir": "previews"})
    cpu, start = cpu_seconds(), time.perf_counter()
    with contextlib.redirect_stdout(io.StringIO()):
        done = procmain(PreviewMaker, data, ["-j", str(workers), "--bail"])
    assert done.counts.processed == count
    return count / (cpu_seconds() - cpu), count / (time.perf_counter() - start)


def write_huge(path: Path, side: int) -> None:
    """Write an image row by row."""
    row = np.random.default_rng(2).normal(100, 5, side).astype(">f4")
    with path.open("wb") as file:
        header = fits.PrimaryHDU(np.zeros((1, 1), np.float32)).header
        header["NAXIS1"] = header["NAXIS2"] = side
        file.write(header.tostring().encode())
        for k in range(side):
            file.write(np.roll(row, 7 * k).tobytes())
        file.write(bytes(-file.tell() % 2880))


def main() -> int:
    """Measure and print; returns 1 beyond a limit."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--count", type=int, default=40)
    parser.add_argument("--side", type=int, default=4096)
    parser.add_argument("--huge", type=int, default=20_000)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    numbers: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        files = write_images(folder, options.side)
        print(f"{options.side} x {options.side}; ms per image: CPU, wall")
        actions: dict[str, Callable[[], object]] = {
            "floor: read float32": lambda: read_bytes(files["float32"]),
        }
        sky = fits.getdata(files["float32"]).astype(np.float32)
        factor = options.side // SIZE + 1
        actions["numpy means, in memory"] = lambda: numpy_means(sky, factor)
        for name, path in files.items():
            actions[f"rows {name}"] = lambda path=path: read_scaled(path, dest_size=SIZE)
        small = read_scaled(files["float32"], dest_size=SIZE)
        for name in STRETCHES:
            style = PictureStyle(stretch=name)
            actions[f"picture {name}"] = lambda style=style: draw_image(small, style)
        for kind in ("png", "webp"):
            style = PictureStyle(picture_format=kind)
            actions[f"picture asinh {kind}"] = lambda style=style: draw_image(small, style)
        actions["plate area"] = lambda: plate_area(small)
        for name, action in actions.items():
            cpu, wall = measured(action)
            numbers[f"{name} [ms]"] = cpu
            print(f"{name:24s} {cpu:8.1f} {wall:8.1f}")
        for workers in (1, 2):
            per_core, found = rate(folder, files["float32"], options.count, workers)
            numbers[f"previews/s, {workers} workers"] = found
            numbers[f"previews/s/core, {workers} workers"] = per_core
            print(
                f"PreviewMaker -j {workers}: {per_core:.1f} previews per CPU second, "
                f"{found:.1f} per second"
            )
        huge = folder / "huge.fits"
        write_huge(huge, options.huge)
        start = time.perf_counter()
        run = [sys.executable, "-c", ONE, str(huge), str(folder / "huge.jpeg")]
        done = subprocess.run(run, check=True, capture_output=True, text=True)
        numbers["huge [MB]"] = int(done.stdout) / 1e3
        numbers["huge [s]"] = time.perf_counter() - start
        print(f"{options.huge} x {options.huge}: peak {numbers['huge [MB]']:.0f} MB, "
              f"{numbers['huge [s]']:.1f} s with start")  # fmt: skip
    if options.out is not None:
        options.out.write_text(json.dumps(numbers, indent=2) + "\n", encoding="utf-8")
    is_slow = numbers["previews/s/core, 2 workers"] < RATE_LIMIT
    return int(is_slow or numbers["huge [MB]"] > MEMORY_LIMIT)


if __name__ == "__main__":
    sys.exit(main())
