"""How many files a second: validation, immediate and cached re-heading, an empty function.

    python bench/bench_process.py [--files N] [--jobs J]

Small files in the temporary directory: one 16-bit image of 40 x 30 pixels, 60 cards, 8640 bytes,
with checksums; 40 more cards where headers have to grow.  The rates include the listing of the
sources and the start of the workers.
"""

# ruff: noqa: ARG002 - hooks

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import tempfile
import time
from pathlib import Path

import numpy as np
from astropy.io import fits

from skyloom.process import (
    DataSpec,
    FileProcessor,
    HeaderProcessor,
    ImmediateHeaderProcessor,
    Validator,
    get_primary_header,
    procmain,
)


class Empty(FileProcessor):
    """Does nothing, to see what the loop costs."""

    def process(self, identifier):
        return None


class Edit(ImmediateHeaderProcessor):
    """Changes two cards; the header keeps its length."""

    def _change_header(self, identifier, header):
        header["OBSERVER"] = "N. N."
        header["EXPTIME"] = header["EXPTIME"] + 1.0


class Grow(ImmediateHeaderProcessor):
    """Adds so many cards that the file has to be copied."""

    def _change_header(self, identifier, header):
        for n in range(40):
            header[f"NEW{n}"] = (n, "added")


class Cached(HeaderProcessor):
    """Computes a header, caches it, and applies the cache."""

    def _is_processed(self, identifier):
        return "CALIBRAT" in get_primary_header(identifier)

    def _munge_header(self, identifier, header):
        header["CALIBRAT"] = True
        return header


def make_files(folder: Path, count: int) -> None:
    rng = np.random.default_rng(1)
    hdu = fits.PrimaryHDU(rng.integers(0, 65535, (30, 40)).astype(np.uint16))
    for n in range(45):
        hdu.header[f"KEY{n}"] = (n * 1.5, "a value")
    hdu.header["EXPTIME"] = (30.0, "[s] exposure time")
    first = folder / "00000.fits"
    hdu.writeto(first, checksum=True)
    content = first.read_bytes()
    for n in range(1, count):
        (folder / f"{n:05d}.fits").write_bytes(content)


def cpu_seconds() -> float:
    """CPU of this process and of workers that have ended: it does not depend on the neighbours."""
    both = (resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in both)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--files", type=int, default=1000)
    parser.add_argument("--jobs", type=int, default=2)
    options = parser.parse_args()
    results = {}
    for cls, argv in (
        (Empty, []),
        (Validator, []),
        (Validator, ["--no-checksums"]),
        (Edit, []),
        (Grow, []),
        (Cached, ["--apply"]),
    ):
        for jobs in (1, options.jobs):
            with tempfile.TemporaryDirectory() as name:
                make_files(Path(name), options.files)
                data = DataSpec.from_glob("*.fits", resdir=name)
                start, used = time.perf_counter(), cpu_seconds()
                done = procmain(cls, data, [*argv, "-j", str(jobs)])
                seconds = time.perf_counter() - start
                assert done.counts.processed == options.files
                assert done.counts.ignored == 0
            rate = options.files / seconds
            cost = (cpu_seconds() - used) / options.files * 1e3
            label = " ".join([cls.__name__, *argv, f"-j {jobs}"])
            results[label] = {"files_per_s": round(rate, 1), "cpu_ms_per_file": round(cost, 3)}
            print(f"{label:32} {rate:8.0f} files / s, {cost:6.2f} ms of CPU each")
    print(json.dumps({"files": options.files, "cpus": os.cpu_count(), "machine": platform.machine(),
                      "load": os.getloadavg()[0], "results": results}))  # fmt: skip


if __name__ == "__main__":
    main()
