"""Datasets on the terminal: as text, and as what JSON can hold."""

from __future__ import annotations

import json
from typing import Any, Final

import numpy as np
from astropy.io.fits import Header
from astropy.table import Table

from skyloom.butler import FitsImages, plain

__all__ = ["as_plain", "as_text"]

_ROWS: Final = 20  # of a table


def as_text(obj: Any, *, width: int = -1) -> str:
    """Return what a reader wants to see of a dataset, ending with a line feed.

    ``width`` [characters] limits the columns of a table; -1 shows all.
    """
    if isinstance(obj, str):
        text = obj
    elif isinstance(obj, Header):
        text = obj.tostring(sep="\n", padding=False)
    elif isinstance(obj, Table) and len(obj):
        text = "\n".join(obj.pformat(max_lines=_ROWS, max_width=width))
    elif isinstance(obj, Table):
        text = "\n".join(f"{c.name}  {c.dtype}  {c.unit or ''}".rstrip() for c in obj.itercols())
    elif isinstance(obj, (dict, list)) and not _has_arrays(obj):
        text = json.dumps(plain(obj), indent=2, ensure_ascii=False)
    else:
        text = _summary(obj)
    return text if text.endswith("\n") else f"{text}\n"


def as_plain(obj: Any) -> Any:
    """Return a dataset in terms of JSON; of large arrays, what they are."""
    if isinstance(obj, Header):
        cards = [c for c in obj.cards if c.keyword not in {"COMMENT", "HISTORY", ""}]
        return {card.keyword: plain(card.value) for card in cards if _is_simple(card.value)}
    if isinstance(obj, Table):
        return {name: plain(np.asarray(obj[name])) for name in obj.colnames}
    if obj is None or (isinstance(obj, (str, int, float, dict, list)) and not _has_arrays(obj)):
        return plain(obj)
    return _summary(obj)


def _is_simple(value: Any) -> bool:
    return isinstance(value, (str, bool, int, float, np.generic))


def _has_arrays(obj: Any) -> bool:
    values = obj.values() if isinstance(obj, dict) else obj if isinstance(obj, list) else []
    return any(isinstance(value, np.ndarray) for value in values)


def _summary(obj: Any) -> str:
    if isinstance(obj, np.ndarray):
        return f"array of {obj.dtype}, shape {obj.shape}"
    if isinstance(obj, dict):
        return "\n".join(f"{key}: {_summary(value)}" for key, value in obj.items())
    if isinstance(obj, FitsImages):
        return _summary(dict(obj.images)) or "header only"
    if isinstance(obj, (bytes, bytearray)):
        return f"{len(obj)} bytes"
    return str(obj)
