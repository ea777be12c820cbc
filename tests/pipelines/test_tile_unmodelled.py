"""Light that no model has: a neighbour that the catalogue lacks is told by the source beside it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits
from key_effects import Bench

from skyloom.catalogs import column_as_float, read_csv
from skyloom.flags import FitFlag

MARGIN = 4  # pix, of the crop
AWAY = 5.0  # pix
FWHM = 3.8  # pix, about that of both bands


def add_star(path: Path, x: float, y: float, snr: float) -> None:
    """Add a star of Gaussian form to an image; x, y in the working frame."""
    with fits.open(path, mode="update") as hdus:
        header, data = hdus[0].header, hdus[0].data
        sigma = FWHM / 2.3548
        flux = snr * float(header["SKYSIG"]) * np.sqrt(4 * np.pi) * sigma
        v, u = np.mgrid[: data.shape[0], : data.shape[1]]
        r2 = (u - x - MARGIN) ** 2 + (v - y - MARGIN) ** 2
        star = flux / (2 * np.pi * sigma**2) * np.exp(-0.5 * r2 / sigma**2)
        hdus[0].data = (data + star).astype(np.float32)


def test_a_star_beside_a_neighbour_that_the_catalogue_lacks_is_flagged(
    finished_tile: Path, tmp_path: Path
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path / "tile")
    table = read_csv(bench.work / "output_catalog.csv")
    x, y = (column_as_float(table, f"{axis}_pix_white_fit") for axis in "xy")
    snr, flags = (np.nan_to_num(column_as_float(table, n)) for n in ("fit_snr", "fit_flags"))
    distance = np.hypot(x[:, None] - x, y[:, None] - y)
    np.fill_diagonal(distance, np.inf)
    alone = (np.nan_to_num(distance, nan=np.inf).min(axis=1) > 14.0) & (flags == 0)
    own = int(np.argmax(np.where(alone & (snr < 300.0), snr, 0.0)))
    assert snr[own] > 40.0
    assert column_as_float(table, "unmodelled_snr")[own] == 0.0
    for path in sorted((bench.folder / "images").glob("*.fits")):
        add_star(path, x[own] + AWAY, y[own], snr=15.0)
    bench.run("run", {})
    after = read_csv(bench.work / "output_catalog.csv")
    now = np.nan_to_num(column_as_float(after, "fit_flags")).astype(int)
    told = (now & FitFlag.UNMODELLED_LIGHT) > 0
    light = column_as_float(after, "unmodelled_snr")
    assert told[own]
    assert 5.0 < light[own] < 1.1 * 15.0 * np.sqrt(2)  # two bands, less what the star took up
    assert "unmodelled_light" in str(after["fit_quality_issues"][own])
    # nobody else is near it, and everywhere it is 0 or above the threshold
    new = told & ~((flags.astype(int) & FitFlag.UNMODELLED_LIGHT) > 0)
    assert new.sum() == 1
    assert ((light > 5.0) | (light == 0.0) | np.isnan(light)).all()
