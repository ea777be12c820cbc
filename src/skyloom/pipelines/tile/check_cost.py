"""What a run will cost: processor time, memory, disk.

A simple model with constants measured on the real nine-band tile of the tests (1520 x 1520 pixels,
678 active sources, 54 stars) by ``bench/tile_cost.py``, on one core of an AMD EPYC server. It is
right within a factor of two where images and catalogue resemble that tile.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from .check_report import Finding, Status
from .config import TileConfig

__all__ = ["TileCost", "cost_findings", "tile_cost"]

_S_PER_MPIX: Final = 0.28  # CPU s per million pixels of a band: load, masks, stack, payloads
_S_PER_MPIX_NOISE: Final = 0.11  # likewise, where the noise is measured; with "auto" perhaps not
_S_PER_PSF: Final = 1.0  # CPU s per band
_S_PER_SOURCE: Final = 0.0068  # CPU s per source and band: all passes, halos, report
_S_PER_BAND_PLOT: Final = 0.3  # CPU s
_BYTES_PER_PIXEL: Final = 25.0  # of disk, per pixel of a band: payloads and masks; 16 to 33 seen
_PACKED: Final = 0.75  # of that, with any compression of payloads
_S_PER_MPIX_PACKED: Final = 1.0  # CPU s per million pixels of a band: packing once, reading often
# Pictures of --plots all: CPU s and bytes, at 300 dpi; those of sources include halo sources.
_SOURCE_PLOT: Final = (0.003, 57e3)  # per source and band
_PATCH_PLOT: Final = (0.04, 0.7e6)  # per patch
_CELL_PLOT: Final = (0.16, 2.5e6)  # per PSF cell and band
# Memory, in bytes: each worker either looks at a whole band (PSF stars) or fits a patch.
_RAM_RUN: Final = 0.4e9  # the process that hands out the work
_RAM_WORKER: Final = 0.6e9  # Python, compiled kernels, pixels of a patch
_RAM_PER_PIXEL: Final = 30.0  # of a band: pixels, background, noise, masks, detection
_RAM_PER_BAND: Final = 0.06e9  # of a fit: transforms of the PSF for all sizes of stamps


@dataclass(frozen=True, slots=True, kw_only=True)
class TileCost:
    """Estimates; within a factor of two."""

    cpu: float  # s
    wall: float  # s, with that many workers
    workers: int
    ram: float  # bytes, all workers
    disk: float  # bytes


def tile_cost(
    config: TileConfig, *, shape: tuple[int, int], n_bands: int, n_sources: int, workers: int
) -> TileCost:
    """Estimate the cost of a run from nothing.

    Parameters
    ----------
    config : TileConfig
        Pictures and numbers of patches count.
    shape : tuple of int
        Working frame (ny, nx).
    n_bands, n_sources : int
        Bands and catalogue rows inside.
    workers : int
        Processes.
    """
    pixels = float(shape[0] * shape[1])
    patches = min((config.epsf.epsf_ngrid * config.epsf.ngrid) ** 2, max(1, n_sources))
    inputs = config.patch_inputs
    is_packed = inputs.gzip_compresslevel > 0
    of_pixel = _S_PER_MPIX + (_S_PER_MPIX_NOISE if config.skyloom.noise != "stated" else 0.0)
    of_pixel += _S_PER_MPIX_PACKED if is_packed else 0.0
    cpu = n_bands * (_S_PER_PSF + 1e-6 * of_pixel * pixels + _S_PER_SOURCE * n_sources)
    files = n_bands * _BYTES_PER_PIXEL * pixels
    disk = files * (_PACKED if is_packed else 1.0)
    if config.skyloom.plots != "none":
        cpu += _S_PER_BAND_PLOT * n_bands
    if config.skyloom.plots == "all":
        cells = min(config.epsf.epsf_ngrid**2, max(1, n_sources))
        run = config.patch_run
        for number, (seconds, size) in (
            (0 if run.no_cutouts else n_sources * n_bands, _SOURCE_PLOT),
            (0 if run.no_patch_overview else patches, _PATCH_PLOT),
            (cells * n_bands, _CELL_PLOT),
        ):
            cpu += seconds * number
            disk += size * number
    workers = max(1, min(workers, patches))
    # In the worst case each worker sees every patch.
    kept = files if inputs.keep_payloads_in_memory else 0.0
    return TileCost(
        cpu=cpu,
        # One unit at a time for the stack, the catalogue and the slowest patch: a tenth.
        wall=cpu * (0.1 + 0.9 / workers),
        workers=workers,
        ram=_RAM_RUN
        + workers * (_RAM_WORKER + kept + max(_RAM_PER_PIXEL * pixels, _RAM_PER_BAND * n_bands)),
        disk=disk,
    )


def cost_findings(cost: TileCost, work_dir: Path) -> Iterator[Finding]:
    """Compare the cost with what this machine has."""
    minutes = cost.wall / 60
    yield Finding(
        topic="time",
        message=f"about {minutes:.1f} min with {cost.workers} workers ({cost.cpu / 60:.1f} min of "
        "CPU); within a factor of two",
        numbers={"cpu_s": cost.cpu, "wall_s": cost.wall, "workers": cost.workers},
    )
    ram = _memory()
    tight = ram is not None and cost.ram > ram
    yield Finding(
        topic="memory",
        status=Status.WARNING if tight else Status.OK,
        message=f"about {_giga(cost.ram)} with {cost.workers} workers"
        + ("" if ram is None else f"; this machine has {_giga(ram)}"),
        remedy="lower skyloom.workers: each has its own transforms of all PSFs, and payloads if "
        "patch_inputs.keep_payloads_in_memory is true"
        if tight
        else "",
        numbers={"bytes": cost.ram, "machine": ram},
    )
    place = work_dir
    while not place.exists() and place != place.parent:
        place = place.parent
    free = float(shutil.disk_usage(place).free)
    full = cost.disk > free
    yield Finding(
        topic="disk",
        status=Status.PROBLEM if full else Status.OK,
        message=f"about {_giga(cost.disk)} in outputs.work_dir; {_giga(free)} free",
        remedy="free space, move outputs.work_dir, or set skyloom.plots: none" if full else "",
        numbers={"bytes": cost.disk, "free": free},
    )


def _giga(size: float) -> str:
    return f"{size / 1e9:.1f} GB"


def _memory() -> float | None:
    """Return the memory of the machine [bytes]; None where the system does not say."""
    try:
        return float(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"))
    except (AttributeError, OSError, ValueError):
        return None
