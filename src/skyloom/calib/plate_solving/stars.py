"""Stars measured on an image, brightest first."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Bools, Floats, Ints

__all__ = ["ReferenceStars", "StarList"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarList:
    """Positions and fluxes of what was found on an image; arrays of one length."""

    x: Floats  # pix, 0-based
    y: Floats  # pix, 0-based
    flux: Floats  # any linear unit
    elongation: Floats  # long over short axis, 1: round
    shape: tuple[int, int]  # of the image (ny, nx)

    @classmethod
    def of(
        cls,
        x: Floats,
        y: Floats,
        flux: Floats,
        *,
        shape: tuple[int, int] | None = None,
        elongation: Floats | None = None,
        is_sorted: bool = False,
    ) -> StarList:
        """Make a list, brightest first; rows with a value that is not finite are left out.

        Parameters
        ----------
        x, y : ndarray
            Positions [pix], 0-based.
        flux : ndarray
            Any linear unit.
        shape : tuple of int, optional
            Of the image, (ny, nx); default the smallest that holds all stars.
        elongation : ndarray, optional
            Long over short axis; default 1.
        is_sorted : bool
            Whether the rows are in their order already, whatever the fluxes say.
        """
        x, y, flux = (np.asarray(v, dtype=np.float64) for v in (x, y, flux))
        long = np.ones_like(x) if elongation is None else np.asarray(elongation, dtype=np.float64)
        if shape is None:
            ends = [float(np.nanmax(v)) if v.size else 0.0 for v in (y, x)]
            shape = (int(np.ceil(ends[0])) + 1, int(np.ceil(ends[1])) + 1)
        found = cls(x=x, y=y, flux=flux, elongation=long, shape=shape)
        found = found[np.isfinite(x) & np.isfinite(y) & np.isfinite(flux)]
        return found if is_sorted else found[np.argsort(-found.flux, kind="stable")]

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Ints | Bools | slice) -> StarList:
        return replace(
            self,
            x=self.x[rows],
            y=self.y[rows],
            flux=self.flux[rows],
            elongation=self.elongation[rows],
        )

    @property
    def points(self) -> Floats:
        """Positions [pix], 0-based, shape (n, 2)."""
        return np.column_stack([self.x, self.y])

    def spread(self, boxes: int) -> StarList:
        """Return the stars in an order that covers the image: the first of each box, the second...

        Parameters
        ----------
        boxes : int
            About how many boxes, as square as they can be, the image is divided into.
        """
        ny, nx = self.shape
        columns = max(1, round((boxes * nx / ny) ** 0.5))
        rows = max(1, round(boxes / columns))
        box = np.clip(self.y * rows / ny, 0, rows - 1).astype(int) * columns
        box += np.clip(self.x * columns / nx, 0, columns - 1).astype(int)
        by_box = np.argsort(box, kind="stable")
        start = np.searchsorted(box[by_box], box[by_box])  # where the box of each star begins
        turn = np.empty(len(self), dtype=np.int64)
        turn[by_box] = np.arange(len(self)) - start
        return self[np.argsort(turn, kind="stable")]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ReferenceStars:
    """Stars of a catalogue whose places on the sky are known; arrays of one length."""

    ra: Floats  # deg
    dec: Floats  # deg
    mag: Floats  # NaN where unknown
    source: str = ""  # file they are from
    epoch: float | None = None  # Julian year of the positions, where known

    def __len__(self) -> int:
        return len(self.ra)

    def __getitem__(self, rows: Ints | Bools) -> ReferenceStars:
        return replace(self, ra=self.ra[rows], dec=self.dec[rows], mag=self.mag[rows])
