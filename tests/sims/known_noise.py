"""What the noise alone does to the flux of a star: the simulation knows every pixel of it.

A star of flux F and image P has the least-squares flux sum(w P d) / sum(w P**2) of data d; noise n
moves it by sum(w P n) / sum(w P**2), whatever model the pipeline has.  Taken out of measured
magnitudes, errors of the model are left, and can be seen where the noise would hide them.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.table import Table

__all__ = ["noise_shift", "read_known_noise", "write_known_noise"]

NAME = "known_noise.ecsv"


def noise_shift(
    star: np.ndarray, noise: np.ndarray, weight: np.ndarray, corner: tuple[int, int]
) -> float:
    """Return by how much the noise of an image moves the magnitude of a star [mmag].

    ``star`` is its stamp without noise, whose first pixel lies at ``corner`` (x, y) of the image.
    """
    x0, y0 = corner
    (ny, nx), (height, width) = noise.shape, star.shape
    ys, xs = slice(max(y0, 0), min(y0 + height, ny)), slice(max(x0, 0), min(x0 + width, nx))
    p = star[ys.start - y0 : ys.stop - y0, xs.start - x0 : xs.stop - x0]
    w, n = weight[ys, xs], noise[ys, xs]
    return float(-2500 * np.log10(1 + (w * p * n).sum() / (w * p * p).sum()))


def write_known_noise(directory: Path, shifts: Table) -> None:
    """Write ID and shift in every band [mmag] beside a tile."""
    directory.mkdir(parents=True, exist_ok=True)
    shifts.write(directory / NAME, format="ascii.ecsv", overwrite=True)


def read_known_noise(directory: Path) -> dict[str, np.ndarray] | None:
    """Return the shifts [mmag] of all bands by ID; None where nobody wrote them."""
    if not (directory / NAME).exists():
        return None
    table = Table.read(directory / NAME, format="ascii.ecsv")
    values = np.stack([np.asarray(table[band]) for band in table.colnames[1:]], axis=1)
    return dict(zip(map(str, table["ID"]), values, strict=True))
