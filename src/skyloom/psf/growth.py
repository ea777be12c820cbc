"""Light enclosed by radius, and the light outside the stamp."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats, Pixels

from .models import stamp_radius

__all__ = ["GrowthCurve", "enclosed_light", "stamp_qa"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GrowthCurve:
    """Growth curve of a PSF at the centre of the field, relative to the whole flux of a star.

    The whole flux is that within ``total_radius``: the stamp, plus the profile continued beyond
    it by the Moffat law, scaled to the light found near the edge of the cutouts.
    """

    radius: Floats  # pix
    enclosed: Floats  # fraction of the whole flux within radius; rises to 1 - outside
    outside: float  # fraction outside the (square) stamp
    outside_err: float  # from the scale of the wings; the law itself is assumed
    wing_scale: float  # wings near the edge of the cutouts over the Moffat law of the core
    beta: float  # exponent of the law
    total_radius: float  # pix
    source: str  # "measured": the scale is known to 30 %; "model": the law of the core was kept


def enclosed_light(stamp: Pixels | Floats, radius: Floats) -> Floats:
    """Return the sum of the pixels whose centres lie within each radius [pix]."""
    r = stamp_radius(stamp.shape[0]).ravel()
    order = np.argsort(r, kind="stable")
    total = np.concatenate([[0.0], np.cumsum(np.asarray(stamp, np.float64).ravel()[order])])
    return np.asarray(total[np.searchsorted(r[order], radius + 1e-9, side="right")])


def stamp_qa(stamp: Pixels | Floats) -> dict[str, float]:
    """Return the growth and edge numbers of a stamp for its ``meta.json``.

    ``ee_rNN_pix`` is the first whole radius [pix] whose enclosed light reaches NN per cent of
    that within the corners; ``ee_edge`` the same ratio at the largest circle inside the stamp.
    The edge statistics are those of the outermost rows and columns.
    """
    stamp = np.asarray(stamp, dtype=np.float64)
    half = stamp.shape[0] // 2
    last = int(np.ceil(half * np.sqrt(2.0)))
    radius = np.arange(last + 1, dtype=np.float64)
    curve = enclosed_light(stamp, radius)
    if curve[-1] <= 0:
        fraction, reach = np.zeros_like(curve), dict.fromkeys((50, 80, 90), float("nan"))
    else:
        fraction = curve / curve[-1]
        reach = {p: float(radius[np.argmax(fraction >= p / 100.0)]) for p in (50, 80, 90)}
    edge = np.concatenate([stamp[0], stamp[-1], stamp[1:-1, 0], stamp[1:-1, -1]])
    return {
        "ee_r50_pix": reach[50],
        "ee_r80_pix": reach[80],
        "ee_r90_pix": reach[90],
        "ee_edge": float(fraction[half]),
        "epsf_edge_median": float(np.median(edge)),
        "epsf_edge_mean": float(edge.mean()),
        "epsf_min": float(stamp.min()),
        "epsf_max": float(stamp.max()),
    }
