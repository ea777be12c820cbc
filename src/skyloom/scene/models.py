"""Unit-flux stamps of sources, and models made of them."""

from __future__ import annotations

import numpy as np

from skyloom._types import Bools, Floats, Pixels

from ._records import Images, Members, Tables
from ._values_nb import add_stamps, unit_values

__all__ = ["add_models", "add_stamps", "unit_stamps"]


def unit_stamps(members: Members, theta: Floats, wanted: Bools, tables: Tables) -> Pixels:
    """Return the unit-flux stamps of some sources, flat: all images of each source in turn.

    ``wanted`` (n, B) tells which are rendered; the others hold rubbish.
    """
    values = np.empty(int((members.size**2).sum()) * wanted.shape[1], np.float32)
    unit_values(members, theta, np.ascontiguousarray(wanted), tables, values)
    return values


def add_models(
    images: Images, members: Members, theta: Floats, flux: Floats, tables: Tables, *, sign: float
) -> None:
    """Add ``sign * model`` of all sources to ``images.data``, clipping stamps at the box edges."""
    values = unit_stamps(members, theta, flux[:, images.key] != 0.0, tables)
    add_stamps(images, members, values, flux, sign)
