"""Unit-flux stamps of sources, and models made of them."""

from __future__ import annotations

import numpy as np

from skyloom._types import Bools, Floats, Pixels

from ._records import Members, Tables
from ._values_nb import unit_values
from ._vector_nb import aligned

__all__ = ["unit_stamps"]


def unit_stamps(members: Members, theta: Floats, wanted: Bools, tables: Tables) -> Pixels:
    """Return the unit-flux stamps of some sources, flat: all images of each source in turn.

    ``wanted`` (n, B) tells which are rendered; the others hold rubbish.
    """
    values = aligned(int((members.size**2).sum()) * wanted.shape[1])
    unit_values(members, theta, np.ascontiguousarray(wanted), tables, values)
    return values
