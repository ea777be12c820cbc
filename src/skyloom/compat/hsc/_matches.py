"""Old matches of catalogues: ``afwTable.matchRaDec``, ``afwTable.matchXy``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from skyloom.catalogs import SourceCatalog as NewCatalog
from skyloom.compat.hsc.afw_geom import Angle, arcseconds
from skyloom.geometry import Positions

if TYPE_CHECKING:
    from skyloom.compat.hsc.afw_table import SourceCatalog, SourceRecord

__all__ = ["SourceMatch", "matchRaDec", "matchXy"]


class SourceMatch(NamedTuple):
    """Two sources that are near each other."""

    first: SourceRecord
    second: SourceRecord
    distance: float  # rad on the sky, pix on a CCD


def matchRaDec(
    one: SourceCatalog, other: SourceCatalog, radius: Angle, closest: bool = True
) -> list[SourceMatch]:
    """Use ``mutual_nearest(Positions(...), ...)`` of ``skyloom.geometry``; distances in radians."""
    pairs = neighbours(_sky(one.new), _sky(other.new), radius.asArcseconds(), closest)
    rad = float((1.0 * arcseconds).asRadians())
    return [SourceMatch(one[i], other[j], rad * distance) for i, j, distance in pairs]


def matchXy(
    one: SourceCatalog, other: SourceCatalog, radius: float, closest: bool = True
) -> list[SourceMatch]:
    """Use ``mutual_nearest(Positions(..., unit="pix"), ...)``; distances in pixels."""
    here, there = (Positions(x=c.new.x, y=c.new.y, unit="pix") for c in (one, other))
    pairs = neighbours(here, there, radius, closest)
    return [SourceMatch(one[i], other[j], distance) for i, j, distance in pairs]


def neighbours(
    one: Positions, other: Positions, radius: float, closest: bool
) -> Iterator[tuple[int, int, float]]:
    """Yield pairs of rows within a radius: of each row of `one` the nearest, or all."""
    from scipy.spatial import KDTree  # noqa: PLC0415 - takes 0.2 s

    good = [np.flatnonzero(np.isfinite(p.x) & np.isfinite(p.y)) for p in (one, other)]
    if not good[0].size or not good[1].size:
        return
    points = [p[rows].points() for p, rows in zip((one, other), good, strict=True)]
    tree = KDTree(points[1])
    for row, point in zip(good[0].tolist(), points[0], strict=True):
        near = tree.query_ball_point(point, radius)
        distances = np.linalg.norm(points[1][near] - point, axis=1)
        order = np.argsort(distances, kind="stable")
        for k in order[:1] if closest else order:
            yield row, int(good[1][near[k]]), float(distances[k])


def _sky(catalog: NewCatalog) -> Positions:
    return Positions(x=np.asarray(catalog.ra.as_degrees()), y=np.asarray(catalog.dec.as_degrees()))
