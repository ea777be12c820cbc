"""Backgrounds as afw keeps them: levels of cells, and how they become an image.

A cell is a part of the image; its level is that of its middle.  Levels are joined by curves along y
in each column of cells, then along x in each row of pixels; or a Chebyshev polynomial is fitted to
them.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Final, Literal, Self

import numpy as np
from numpy.polynomial import chebyshev

from skyloom._types import Floats
from skyloom.geometry import Box
from skyloom.images.curves import CURVES, Curve, simpler_curve
from skyloom.images.image import Image
from skyloom.images.masked_image import MaskedImage
from skyloom.images.planes import Mask
from skyloom.images.statistics import PixelStatistics, statistics_of

if TYPE_CHECKING:
    from skyloom.images.exposure import Exposure

__all__ = ["Background", "BackgroundList", "measure_background"]

Level = Literal["mean", "mean_clipped", "median"]
_CLIPPED: Final = {"mean_clipped": ("mean_clipped", "stdev_clipped", "n_clipped")}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Background:
    """One background.

    Raises
    ------
    ValueError
        If there are more cells than pixels, or no such curve.
    """

    cells: MaskedImage  # levels, with the squares of their errors as variance
    box: Box  # pix, parent coordinates: what the image covers
    curve: str = "akima"  # one of `CURVES`; simpler ones where there are too few cells
    order: int | None = None  # of a Chebyshev polynomial instead
    is_weighted: bool = True  # the polynomial: by the variances of the cells

    def __post_init__(self) -> None:
        ny, nx = self.cells.shape
        if not (1 <= nx <= self.box.width and 1 <= ny <= self.box.height):
            raise ValueError(
                f"a background of {nx} x {ny} cells does not fit {self.box.width} x "
                f"{self.box.height} pixels; each cell needs one"
            )
        if self.curve not in CURVES:
            raise ValueError(f"there is no curve {self.curve!r}; use one of {', '.join(CURVES)}")

    def image(self) -> Image:
        """Return the levels of all pixels of `box`, float32; NaN where no cell has a level."""
        values = self._curves() if self.order is None else self._polynomial(self.order)
        return Image(values.astype(np.float32), xy0=(self.box.x0, self.box.y0))

    def _curves(self) -> Floats:
        levels = self.cells.image.array.astype(np.float64)
        x, y = _middles(levels.shape[1], self.box.width), _middles(levels.shape[0], self.box.height)
        kind = simpler_curve(self.curve, min(levels.shape))  # one kind along both axes, as in afw
        columns = np.full((self.box.height, x.size), np.nan)
        is_known = np.isfinite(levels)
        for pattern in np.unique(is_known, axis=1).T:  # columns that lack the same cells together
            if pattern.any():
                these = (is_known == pattern[:, None]).all(axis=0)
                curve = Curve(kind, y[pattern], levels[np.ix_(pattern, these)])
                columns[:, these] = curve(np.arange(float(self.box.height)))
        good = is_known.any(axis=0)
        if not good.any():
            return np.full(self.box.shape, np.nan)
        return Curve(kind, x[good], columns[:, good].T)(np.arange(float(self.box.width))).T

    def _polynomial(self, order: int) -> Floats:
        width, height = self.box.width, self.box.height
        levels = self.cells.image.array.astype(np.float64)
        x, y = _middles(levels.shape[1], width), _middles(levels.shape[0], height)
        variance = self.cells.variance.array.astype(np.float64)
        if not (self.is_weighted and (variance > 0).any()):
            variance = np.ones_like(levels)
        good = np.isfinite(levels) & np.isfinite(variance) & (variance > 0)
        if not good.any():
            return np.full(self.box.shape, np.nan)
        u, v = (2.0 * x + 1.0) / width - 1.0, (2.0 * y + 1.0) / height - 1.0
        along_x, along_y = chebyshev.chebvander(u, order), chebyshev.chebvander(v, order)
        powers = [(i, j) for i in range(order + 1) for j in range(order + 1 - i)]
        terms = np.stack([np.outer(along_y[:, j], along_x[:, i])[good] for i, j in powers], axis=1)
        weights = 1.0 / np.sqrt(variance[good])
        found = np.linalg.lstsq(terms * weights[:, None], levels[good] * weights)[0]
        table = np.zeros((order + 1, order + 1))
        for (i, j), value in zip(powers, found, strict=True):
            table[i, j] = value
        across, up = ((2.0 * np.arange(n) + 1.0) / n - 1.0 for n in (width, height))
        return np.asarray(chebyshev.chebgrid2d(across, up, table).T, np.float64)


class BackgroundList(Sequence[Background]):
    """Backgrounds that were taken off one after the other; the background is their sum."""

    def __init__(self, backgrounds: Sequence[Background]) -> None:
        if not backgrounds:
            raise ValueError("a list of backgrounds needs one at least")
        self._backgrounds = tuple(backgrounds)

    def __getitem__(self, index: int) -> Background:  # type: ignore[override]
        return self._backgrounds[index]

    def __len__(self) -> int:
        return len(self._backgrounds)

    def __iter__(self) -> Iterator[Background]:
        return iter(self._backgrounds)

    def image(self) -> Image:
        """Return the sum of all, float32; add it to the exposure to have the sky back."""
        total = self[0].image()
        for more in self._backgrounds[1:]:
            total.array += more.image().array
        return total

    @classmethod
    def read(cls, path: Path | str) -> Self:
        """Read the file of a list of backgrounds, as afw writes it.

        Raises
        ------
        MissingFile, UnreadableFile
            If it is absent, damaged, or holds no backgrounds.
        """
        from skyloom.images.afw.backgrounds import read_backgrounds  # noqa: PLC0415

        return cls(read_backgrounds(Path(path)))

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write them as afw does.

        Raises
        ------
        OutputExists
            If there is a file, unless ``overwrite=True``.
        """
        from skyloom.images.afw.backgrounds import write_backgrounds  # noqa: PLC0415

        write_backgrounds(self, Path(path), overwrite=overwrite)

    def __repr__(self) -> str:
        return f"<BackgroundList of {len(self)}, {self[0].box}>"


def measure_background(
    image: Image | MaskedImage | Exposure,
    cells: tuple[int, int],
    *,
    bad: str | tuple[str, ...] = (),
    level: Level = "mean_clipped",
    clip_sigma: float = 3.0,
    max_iterations: int = 3,
    curve: str = "akima",
) -> Background:
    """Measure the level of the cells of an image.

    Parameters
    ----------
    image : Image, MaskedImage or Exposure
        The pixels; those that are not finite are left out.
    cells : (int, int)
        How many along x and y.
    bad : str or tuple of str
        Mask planes whose pixels are left out.
    level : str
        ``mean``, ``mean_clipped`` or ``median`` of the pixels of a cell.
    clip_sigma, max_iterations : float, int
        See `pixel_statistics`.
    curve : str
        One of `CURVES`.

    Raises
    ------
    UnknownMaskPlane
        If the mask has no such plane.
    ValueError
        If there are more cells than pixels, or planes without a mask.

    Examples
    --------
    >>> image = Image(np.full((40, 60), 7.0, np.float32))
    >>> float(measure_background(image, (3, 2)).image().array.max())
    7.0
    """
    planes = (bad,) if isinstance(bad, str) else tuple(bad)
    if isinstance(image, Image):
        if planes:
            raise ValueError(f"an image has no mask with {', '.join(planes)}; give a MaskedImage")
        pixels = image.array
    else:
        pixels = image.image.array
        pixels = np.where(image.mask.is_set(planes), np.nan, pixels) if planes else pixels
    nx, ny = cells
    edges_x, edges_y = _edges(nx, image.width), _edges(ny, image.height)
    levels, errors = np.full((ny, nx), np.nan), np.full((ny, nx), np.nan)
    for j, (y0, y1) in enumerate(pairwise(edges_y)):
        for i, (x0, x1) in enumerate(pairwise(edges_x)):
            found = statistics_of(
                pixels[y0:y1, x0:x1], clip_sigma=clip_sigma, max_iterations=max_iterations
            )
            levels[j, i], errors[j, i] = _level(found, level)
    grid = MaskedImage(
        Image(levels.astype(np.float32)),
        Mask(np.zeros((ny, nx), np.int32)),
        Image(np.square(errors).astype(np.float32)),
    )
    return Background(cells=grid, box=image.box, curve=curve)


def _level(found: PixelStatistics, level: Level) -> tuple[float, float]:
    """Return the level and its error."""
    value, sigma, number = _CLIPPED.get(level, (level, "stdev", "n"))
    n = getattr(found, number)
    return getattr(found, value), getattr(found, sigma) / np.sqrt(n) if n else np.nan


def _edges(n: int, length: int) -> list[int]:
    """Return where cells begin and end [pix], the last one included."""
    return [0, *(min(((i + 1) * length + n // 2) // n, length) for i in range(n))]


def _middles(n: int, length: int) -> Floats:
    """Return the middles of cells [pix], from the first pixel of the box."""
    edges = np.array(_edges(n, length), np.float64)
    middles: Floats = (edges[1:] + edges[:-1]) / 2 - 0.5
    return middles
