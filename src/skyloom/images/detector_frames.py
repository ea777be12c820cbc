"""Where the pixels of a detector are: in the focal plane, and in angles from the optical axis."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import MissingComponent

__all__ = ["DetectorFrames", "PointMap"]


class PointMap(Protocol):
    """A mapping of points of shape (2, n), and its inverse."""

    def forward(self, points: Floats, /) -> Floats:
        """Map points."""
        ...

    def inverse(self, points: Floats, /) -> Floats:
        """Map points back."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectorFrames:
    """Coordinate systems of a detector, as its camera defines them, and how they are joined.

    ``Pixels`` are parent coordinates [pix]; ``FocalPlane`` is in mm, ``FieldAngle`` in degrees;
    ``TanPixels`` are pixels without the distortion of the optics, ``ActualPixels`` those of the
    device with its irregularities [pix].
    """

    maps: Mapping[tuple[str, str], PointMap]  # (from, to) -> mapping; angles in radians

    @property
    def systems(self) -> tuple[str, ...]:
        """Names of the systems that can be reached from pixels."""
        names = {name for pair in self.maps for name in pair}
        return tuple(sorted(name for name in names if self._path("Pixels", name) is not None))

    def transform(
        self, x: npt.ArrayLike, y: npt.ArrayLike, start: str = "Pixels", end: str = "FocalPlane"
    ) -> tuple[Any, Any]:
        """Return positions in another system.

        Parameters
        ----------
        x, y : array-like
            Positions in the system `start`.
        start, end : str
            Names of systems.

        Raises
        ------
        MissingComponent
            If nothing joins the two systems.
        """
        path = self._path(start, end)
        if path is None:
            raise MissingComponent(
                f"nothing joins {start} and {end} of the detector; its systems are "
                f"{', '.join(self.systems) or 'none'}",
                component="detector",
            )
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        points = np.stack([x.ravel(), y.ravel()])
        points = np.radians(points) if start == "FieldAngle" else points
        for here, there in pairwise(path):
            if (here, there) in self.maps:
                points = self.maps[here, there].forward(points)
            else:
                points = self.maps[there, here].inverse(points)
        points = np.degrees(points) if end == "FieldAngle" else points
        if x.ndim == 0:
            return float(points[0, 0]), float(points[1, 0])
        return points[0].reshape(x.shape), points[1].reshape(x.shape)

    def _path(self, start: str, end: str) -> list[str] | None:
        """Return the shortest way between two systems."""
        came: dict[str, str] = {start: ""}
        waiting = deque([start])
        while waiting:
            here = waiting.popleft()
            if here == end:
                path = [end]
                while came[path[-1]]:
                    path.append(came[path[-1]])
                return path[::-1]
            for pair in self.maps:
                if here in pair:
                    there = pair[1] if pair[0] == here else pair[0]
                    if there not in came:
                        came[there] = here
                        waiting.append(there)
        return None
