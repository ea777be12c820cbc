"""Print the constants of the cost model of ``skyloom tile check`` from a finished run.

    python bench/tile_cost.py CONFIG

CONFIG is a configuration whose run has ended, from nothing and with one worker; the constants in
``pipelines/tile/check_cost.py`` come from the real tile of the tests (bench/real_tile.py runs it).
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

from skyloom.catalogs import column_as_float, read_csv, read_image_list
from skyloom.flow.history import read_history
from skyloom.pipelines.tile import load_config
from skyloom.pipelines.tile.load import read_tile_frames

PIXEL_STAGES = ("load", "masks", "white", "sources", "bright-mask", "saturation", "payloads")
SOURCE_STAGES = ("fit-", "scene-", "sky-", "halos-", "choose-types-", "types-", "report", "merge")


def main() -> None:
    config = load_config(sys.argv[1])
    work = config.outputs.work_dir
    stages = {stage.stage: stage for stage in read_history(work).stages}
    paths = read_image_list(config.inputs.image_list_file, base=config.directory)
    frames = read_tile_frames(list(paths), config)
    ny, nx = frames[0].working_shape
    pixels, bands = nx * ny * len(frames), len(frames)
    table = read_csv(config.outputs.final_catalog)
    sources = int(np.isfinite(column_as_float(table, "x_pix_white_fit")).sum())
    patches = stages["fit-0"].done

    def cpu(*names: str) -> float:
        return sum(s.cpu for n, s in stages.items() if n.startswith(names))

    disk = sum(p.stat().st_size for p in work.rglob("*") if p.suffix in {".npz", ".fits"})
    pictures = {
        "cutouts": (list((work / "outputs").glob("*/cutouts/*.png")), sources * bands),
        "patch": (list((work / "outputs").glob("*/patch_overview.png")), patches),
        "psf-cells": (
            list((work / "EPSFs").glob("*/*/*.png")),
            len(list((work / "EPSFs").glob("*/*/meta.json"))),
        ),
    }
    print(f"{nx} x {ny} pixels, {bands} bands, {sources} sources, {patches} patches")
    print(f"pixels   {cpu(*PIXEL_STAGES) / pixels * 1e6:.2f} s per Mpix of a band")
    print(f"noise    {cpu('noise') / pixels * 1e6:.2f} s per Mpix of a band, where it is measured")
    print(f"PSF      {cpu('epsf') / bands:.2f} s per band")
    print(f"sources  {cpu(*SOURCE_STAGES) / sources / bands:.4f} s per source and band")
    print(f"pictures {cpu('plot-epsf', 'plot-sources') / bands:.2f} s per band")
    for name, (files, number) in pictures.items():
        size = sum(p.stat().st_size for p in files)
        seconds = cpu(f"plot-{name}") / number
        print(f"         {name}: {seconds:.4f} s, {size / number:.3g} bytes each")
    print(f"disk     {disk / pixels:.1f} bytes per pixel of a band")
    print(f"memory   {max(s.peak_bytes for s in stages.values()) / 1e9:.2f} GB, largest unit")


if __name__ == "__main__":
    sys.exit(main() if len(sys.argv) == 2 and Path(sys.argv[1]).is_file() else __doc__)
