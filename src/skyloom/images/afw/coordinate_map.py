"""Mappings between coordinates: a function, its inverse, and how many axes they have.

Points are arrays of shape (axes, n).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from skyloom._types import Floats

__all__ = ["MOST_AXES", "CoordinateMap", "Transform", "UnsupportedMapping"]

MOST_AXES = 8

Transform = Callable[[Floats], Floats]


class UnsupportedMapping(ValueError):  # noqa: N818 - as in errors.py
    """A kind of mapping that is not known here."""


@dataclass(frozen=True, slots=True, eq=False)
class CoordinateMap:
    """A mapping and its inverse."""

    n_in: int
    n_out: int
    forward: Transform
    inverse: Transform

    def inverted(self) -> CoordinateMap:
        """Return the mapping the other way round."""
        return CoordinateMap(self.n_out, self.n_in, self.inverse, self.forward)
