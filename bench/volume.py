"""Volume: a large tile measured, and what 40 bands of 61 Mpx with 20 000 sources follow from it.

    python bench/volume.py [--tiles 4] [--bands 4] [--workers 2] [--dir DIR]

The tile is a mosaic of TILES x TILES copies of one simulated field of 1024 x 1024 pixels and 340
sources: the density of 20 000 sources on 61 Mpx.  Pictures are off.  Memory is the sum of the
proportional set sizes of all processes, sampled twice a second.

Scaled openly: seconds of stages that look at pixels by pixels and bands, of those that look at
sources by sources and bands, of the PSF stage by stars and bands; disk by pixels and bands.
Memory of a worker grows with the pixels of a band, of which some stages hold whole planes, and
with the number of bands, whose PSFs every worker transforms for all sizes of stamps: run both a
mosaic of few bands (--tiles 7 --bands 2) and one tile of many (--tiles 1 --bands 40).
"""

from __future__ import annotations

import argparse
import os
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table, vstack
from astropy.wcs import WCS

from skyloom.flow.history import read_history
from skyloom.pipelines.tile import run_tile
from skyloom.sim import simulate_tile, truth_config
from skyloom.sim.io import tile_settings

SIDE, SOURCES = 1024, 340
TARGET = {"bands": 40, "pixels": 61e6, "sources": 20_000}
BY_PIXELS = ("load", "masks", "white", "sources", "bright-mask", "saturation", "payloads")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    parser.add_argument("--tiles", type=int, default=4, help="copies along each axis")
    parser.add_argument("--bands", type=int, default=4)
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--dir", type=Path)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = options.dir or Path(scratch)
        config = make_mosaic(folder, tiles=options.tiles, n_bands=options.bands)
        memory = MemorySampler()
        begin = time.perf_counter()
        with memory:
            result = run_tile(config, progress="quiet", workers=options.workers)
        wall = time.perf_counter() - begin
        report(folder / "work", options, wall=wall, peak=memory.peak, status=result.exit_status)


def make_mosaic(folder: Path, *, tiles: int, n_bands: int) -> Path:
    """Write the images, catalogues and configuration of a mosaic; return the configuration."""
    base = truth_config(nx=SIDE, ny=SIDE, n_sources=SOURCES, rotation=0.0)
    some = [base.bands[b % len(base.bands)] for b in range(n_bands)]
    bands = tuple(replace(band, name=f"b{b:02d}") for b, band in enumerate(some))
    tile = simulate_tile(replace(base, bands=bands), np.random.default_rng(1))
    (folder / "images").mkdir(parents=True, exist_ok=True)
    lines = []
    for name, image in tile.images.items():
        path = folder / "images" / f"{name}.fits"
        hdu = fits.PrimaryHDU(np.tile(image, (tiles, tiles)), tile.headers[name])
        hdu.writeto(path, overwrite=True)
        lines.append(f"images/{path.name}")
    (folder / "image_list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wcs = WCS(tile.headers[bands[0].name])
    for name, table, ra, dec, key in (
        ("input_catalog.csv", tile.catalog, "RA", "DEC", "ID"),
        ("gaiaxp.csv", tile.gaia, "ra", "dec", "source_id"),
    ):
        copies(table, wcs, tiles, ra=ra, dec=dec, key=key).write(
            folder / name, format="ascii.csv", overwrite=True
        )
    settings = tile_settings(tile)
    settings["epsf"] = {"epsf_ngrid": tiles, "ngrid": 6}
    settings["skyloom"] = {"plots": "none"}
    config = folder / "config.yaml"
    config.write_text(yaml.safe_dump(settings), encoding="utf-8")
    return config


def copies(table: Table, wcs: WCS, tiles: int, *, ra: str, dec: str, key: str) -> Table:
    """Return the rows of all copies of the field, with keys of their own."""
    x, y = wcs.all_world2pix(np.asarray(table[ra], float), np.asarray(table[dec], float), 0)
    parts = []
    for j in range(tiles):
        for i in range(tiles):
            part = table.copy()
            sky = wcs.all_pix2world(x + i * SIDE, y + j * SIDE, 0)
            part[ra], part[dec] = ([f"{v:.9f}" for v in values] for values in sky)
            number = 1000 * (j * tiles + i)
            part[key] = [f"{number + row:07d}" for row in range(len(table))]
            parts.append(part)
    return vstack(parts)


class MemorySampler:
    """Watches the sum of the proportional set sizes of this process and its children."""

    def __init__(self) -> None:
        self.peak = 0.0  # MiB
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def __enter__(self) -> MemorySampler:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._end.wait(0.5):
            total = sum(_pss(pid) for pid in [os.getpid(), *_descendants(os.getpid())])
            self.peak = max(self.peak, total)


def _descendants(pid: int) -> list[int]:
    parents: dict[int, int] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                text = (entry / "stat").read_text(encoding="ascii", errors="replace")
            except OSError:
                continue
            parents[int(entry.name)] = int(text.rsplit(")", 1)[1].split()[1])
    found, wave = [], [pid]
    while wave:
        wave = [child for child, parent in parents.items() if parent in wave]
        found += wave
    return found


def _pss(pid: int) -> float:
    """Return the proportional set size of a process [MiB]; 0 when it has ended."""
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii")
    except OSError:
        return 0.0
    return next(int(s.split()[1]) for s in text.splitlines() if s.startswith("Pss:")) / 1024.0


def report(
    work: Path, options: argparse.Namespace, *, wall: float, peak: float, status: int
) -> None:
    """Print what was measured, and what follows for the large tile."""
    stages = read_history(work).stages
    pixels, bands = (options.tiles * SIDE) ** 2, options.bands
    sources = SOURCES * options.tiles**2
    cpu = dict.fromkeys(("pixels", "psf", "sources"), 0.0)
    for stage in stages:
        kind = "psf" if stage.stage.startswith("epsf") else "sources"
        cpu["pixels" if stage.stage in BY_PIXELS else kind] += stage.cpu
    disk = sum(p.stat().st_size for p in work.rglob("*") if p.is_file())
    total = sum(cpu.values())
    print(
        f"measured: {bands} bands of {pixels / 1e6:.1f} Mpx, {sources} sources, "
        f"{options.workers} workers: exit status {status}, {wall:.0f} s wall, {total:.0f} CPU s, "
        f"{disk / 1e9:.2f} GB of products, {peak:.0f} MiB in all processes"
    )
    largest = sorted(stages, key=lambda stage: stage.peak_bytes)[-3:]
    print(
        "largest workers: "
        + ", ".join(f"{stage.stage} {stage.peak_bytes / 1e9:.2f} GB" for stage in largest[::-1])
    )
    print("CPU s: " + ", ".join(f"{name} {seconds:.1f}" for name, seconds in cpu.items()))
    more = TARGET["pixels"] / pixels, TARGET["sources"] / sources, TARGET["bands"] / bands
    large = {
        "pixels": cpu["pixels"] * more[0] * more[2],
        "psf": cpu["psf"] * more[0] * more[2],
        "sources": cpu["sources"] * more[1] * more[2],
    }
    hours = sum(large.values()) / 3600
    print(
        f"scaled to {TARGET['bands']} bands of {TARGET['pixels'] / 1e6:.0f} Mpx, "
        f"{TARGET['sources']} sources: {hours:.2f} CPU h ("
        + ", ".join(f"{name} {seconds / 3600:.2f}" for name, seconds in large.items())
        + f"), about {hours * wall / total:.2f} h with {options.workers} workers, "
        f"{disk / 1e9 * more[0] * more[2]:.0f} GB of products"
    )


if __name__ == "__main__":
    main()
