"""Which entry of one list is which of another: one-to-one matches, common offset, footprint."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from skyloom._types import Bools, Floats, Ints

__all__ = ["CommonOffset", "Positions", "beyond_footprint", "common_offset", "mutual_nearest"]

_ARCSEC = 3600.0 * 180.0 / np.pi  # per radian
_NEIGHBOURS = 8  # candidates per entry while the offset is unknown
_WIDE = 5.0  # the offset is sought within this many match radii
_SIGNIFICANT = 5.0  # sigma that the peak of the offsets must stand above chance


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Positions:
    """Places on the sky, or in the pixel frame of one image; arrays of one length."""

    x: Floats  # right ascension [deg], or x [pix]
    y: Floats  # declination [deg], or y [pix]
    unit: Literal["deg", "pix"] = "deg"

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, rows: Ints | Bools) -> Positions:
        return replace(self, x=self.x[rows], y=self.y[rows])

    def points(self) -> Floats:
        """Return points whose distances are arcsec (or pixels), shape (n, 3) or (n, 2)."""
        if self.unit == "pix":
            return np.column_stack([self.x, self.y])
        ra, dec = np.radians(self.x), np.radians(self.y)
        unit = (np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec))
        return _ARCSEC * np.column_stack(unit)

    def displacement(self, rows: Ints, other: Positions, other_rows: Ints) -> tuple[Floats, Floats]:
        """Return other - self for pairs of rows: east and north [arcsec], or x and y [pix]."""
        dx = other.x[other_rows] - self.x[rows]
        dy = other.y[other_rows] - self.y[rows]
        if self.unit == "pix":
            return dx, dy
        mean_dec = np.radians(0.5 * (other.y[other_rows] + self.y[rows]))
        wrapped = (dx + 180.0) % 360.0 - 180.0
        return 3600.0 * wrapped * np.cos(mean_dec), 3600.0 * dy

    def shifted(self, dx: float, dy: float) -> Positions:
        """Return positions moved by a small step: east and north [arcsec], or x and y [pix]."""
        if self.unit == "pix":
            return replace(self, x=self.x + dx, y=self.y + dy)
        cos_dec = np.maximum(np.cos(np.radians(self.y)), 1e-9)
        return replace(self, x=self.x + dx / 3600.0 / cos_dec, y=self.y + dy / 3600.0)

    def centre(self) -> tuple[float, float]:
        """Return the mean place, in the unit of the positions."""
        if self.unit == "pix":
            return float(np.nanmean(self.x)), float(np.nanmean(self.y))
        x, y, z = self[_finite(self)].points().mean(axis=0)
        return float(np.degrees(np.arctan2(y, x)) % 360.0), float(
            np.degrees(np.arctan2(z, np.hypot(x, y)))
        )

    def plane(self, centre: tuple[float, float]) -> Floats:
        """Return gnomonic coordinates about a centre [arcsec], east and north; or pixels.

        NaN for places more than 90 degrees away.
        """
        if self.unit == "pix":
            return np.column_stack([self.x - centre[0], self.y - centre[1]])
        known = np.isfinite(self.x) & np.isfinite(self.y)
        ra = np.radians(np.where(known, self.x - centre[0], np.nan))
        dec = np.radians(np.where(known, self.y, np.nan))
        dec0 = np.radians(centre[1])
        away = np.sin(dec0) * np.sin(dec) + np.cos(dec0) * np.cos(dec) * np.cos(ra)
        away = np.where(away > 0, away, np.nan)
        east = np.cos(dec) * np.sin(ra) / away
        north = (np.cos(dec0) * np.sin(dec) - np.sin(dec0) * np.cos(dec) * np.cos(ra)) / away
        return _ARCSEC * np.column_stack([east, north])


@dataclass(frozen=True, slots=True, kw_only=True)
class CommonOffset:
    """What most pairs agree on; arcsec east and north (or pixels x and y)."""

    dx: float = 0.0
    dy: float = 0.0
    n: int = 0  # pairs that agree; 0: nothing stands out

    @property
    def is_found(self) -> bool:
        """Whether the offset stands above chance coincidences."""
        return self.n > 0


def mutual_nearest(old: Positions, new: Positions, *, radius: float) -> tuple[Ints, Ints]:
    """Match two lists one to one: each is the other's nearest, within a radius.

    Parameters
    ----------
    old, new : Positions
        Entries without a finite place are never matched.
    radius : float
        Largest separation [arcsec, or pixels].

    Returns
    -------
    rows_old, rows_new : ndarray of int, shape (n_pairs,)
        Row numbers from 0, in the order of the old list.
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - takes 0.2 s

    good_old, good_new = _finite(old), _finite(new)
    if not good_old.size or not good_new.size:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    points_old, points_new = old[good_old].points(), new[good_new].points()
    found = KDTree(points_new).query(points_old, distance_upper_bound=radius)
    distance, there = np.asarray(found[0]), np.asarray(found[1])
    back = np.asarray(KDTree(points_old).query(points_new)[1])
    rows = np.flatnonzero(np.isfinite(distance))
    rows = rows[back[there[rows]] == rows]
    return good_old[rows], good_new[there[rows]]


def common_offset(old: Positions, new: Positions, *, radius: float) -> CommonOffset:
    """Find the offset new - old that most sources share, up to five match radii.

    The displacements of the eight nearest candidates of each source are binned; the highest peak
    is taken if it stands five sigma above chance, and refined by the median of the pairs within
    a match radius of it.

    Parameters
    ----------
    old, new : Positions
        The two lists.
    radius : float
        Match radius [arcsec, or pixels].
    """
    from scipy.spatial import KDTree  # noqa: PLC0415 - takes 0.2 s

    good_old, good_new = _finite(old), _finite(new)
    wide = _WIDE * radius
    if not good_old.size or not good_new.size:
        return CommonOffset()
    near = min(_NEIGHBOURS, good_new.size)
    tree = KDTree(new[good_new].points())
    found = tree.query(old[good_old].points(), k=np.arange(1, near + 1), distance_upper_bound=wide)
    distance, there = np.asarray(found[0]), np.asarray(found[1])
    row, column = np.nonzero(np.isfinite(distance))
    dx, dy = old.displacement(good_old[row], new, good_new[there[row, column]])
    if not dx.size:
        return CommonOffset()
    edges = np.linspace(-wide, wide, 2 * round(2 * _WIDE) + 1)
    counts = np.histogram2d(dx, dy, bins=(edges, edges))[0]
    summed = counts[:-1, :-1] + counts[1:, :-1] + counts[:-1, 1:] + counts[1:, 1:]
    i, j = np.unravel_index(int(np.argmax(summed)), summed.shape)
    x, y = float(edges[i + 1]), float(edges[j + 1])
    for _ in range(5):
        close = np.hypot(dx - x, dy - y) < radius
        if not close.any():
            return CommonOffset()
        x, y = float(np.median(dx[close])), float(np.median(dy[close]))
    chance = (len(dx) - close.sum()) / (_WIDE**2 - 1.0)
    n = int(close.sum())
    if n < max(5.0, chance + _SIGNIFICANT * np.sqrt(chance)):
        return CommonOffset()
    return CommonOffset(dx=x, dy=y, n=n)


def beyond_footprint(places: Positions, of: Positions) -> Floats:
    """Tell how far places lie beyond the convex hull of other ones.

    Parameters
    ----------
    places : Positions
        Whose distance is asked.
    of : Positions
        Their hull is the footprint; fewer than three of them, or all on a line, have none.

    Returns
    -------
    ndarray of float64, shape (n,)
        Distance beyond the nearest edge line [arcsec, or pixels], negative inside; -inf without
        a footprint, inf on the other side of the sky, NaN without a place.
    """
    from scipy.spatial import ConvexHull, QhullError  # noqa: PLC0415 - takes 0.2 s

    beyond = np.full(len(places), -np.inf)
    beyond[~(np.isfinite(places.x) & np.isfinite(places.y))] = np.nan
    centre = of.centre() if _finite(of).size else (0.0, 0.0)
    corners = of.plane(centre)
    corners = corners[np.isfinite(corners).all(axis=1)]
    try:
        sides = ConvexHull(corners).equations
    except (QhullError, ValueError):  # too few, or on a line
        return beyond
    plane = places.plane(centre)
    seen = np.isfinite(plane).all(axis=1)
    beyond[seen] = (plane[seen] @ sides[:, :2].T + sides[:, 2]).max(axis=1)
    beyond[np.isfinite(places.x) & np.isfinite(places.y) & ~seen] = np.inf
    return beyond


def _finite(positions: Positions) -> Ints:
    return np.flatnonzero(np.isfinite(positions.x) & np.isfinite(positions.y))
