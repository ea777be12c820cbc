"""Halos and spikes of bright stars: what the later passes take off and leave out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats, Ints
from skyloom.detect.halo import N_TERMS, halo_light
from skyloom.geometry import Box

__all__ = ["HaloField", "StarHalo"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarHalo:
    """The halo of one star in one band."""

    row: int
    band: int
    x: float  # pix, working frame
    y: float
    radius: Floats  # pix, of the rings
    terms: Floats  # (k, 5), scaled counts / pix; see `skyloom.detect.halo.HaloProfile`


@dataclass(slots=True, kw_only=True, eq=False)
class HaloField:
    """All halos of a tile, and the pixels of its spikes by band."""

    halos: list[StarHalo] = field(default_factory=list)
    spikes: list[npt.NDArray[np.int32]] = field(default_factory=list)  # (n, 3): band, y, x

    def light(self, band: int, box: Box) -> Floats:
        """Return the light of all halos in a box [scaled counts / pix]."""
        total = np.zeros(box.shape)
        for halo in self.halos:
            reach = float(halo.radius[-1] + halo.radius[0])
            own = Box.around(halo.x, halo.y, int(reach) + 2).clipped(box)
            if halo.band != band or own.x1 <= own.x0 or own.y1 <= own.y0:
                continue
            y, x = np.ogrid[own.y0 : own.y1, own.x0 : own.x1]
            light = halo_light(x - halo.x, y - halo.y, halo.radius, halo.terms)
            total[own.shifted(-box.x0, -box.y0).slices] += light
        return total

    def circles(self) -> tuple[tuple[float, float, float], ...]:
        """Return x, y and radius [pix] of all halos."""
        return tuple((h.x, h.y, float(h.radius[-1])) for h in self.halos)

    def mask(self, band: int, box: Box) -> Bools:
        """Return the pixels of spikes in a box."""
        out = np.zeros(box.shape, np.bool_)
        if self.spikes:
            b, y, x = np.concatenate(self.spikes).T
            use = (b == band) & (x >= box.x0) & (x < box.x1) & (y >= box.y0) & (y < box.y1)
            out[y[use] - box.y0, x[use] - box.x0] = True
        return out

    def add_spikes(self, band: int, mask: Bools, box: Box) -> None:
        """Add the pixels of a mask of a box."""
        y, x = np.nonzero(mask)
        pixels = np.column_stack([np.full(len(x), band), y + box.y0, x + box.x0])
        self.spikes.append(pixels.astype(np.int32))

    def to_arrays(self) -> dict[str, npt.NDArray[Any]]:
        """Return plain arrays, rings of all halos one after the other."""
        count: Ints = np.array([len(h.radius) for h in self.halos], dtype=np.int64)
        rings = [np.column_stack([h.radius, h.terms]) for h in self.halos]
        places = [(h.x, h.y) for h in self.halos]
        stars = [(h.row, h.band) for h in self.halos]
        pixels = np.concatenate(self.spikes) if self.spikes else np.zeros((0, 3), np.int32)
        return {
            "star": np.array(stars, dtype=np.int64).reshape(-1, 2),
            "place": np.array(places, dtype=np.float64).reshape(-1, 2),
            "count": count,
            "rings": np.concatenate(rings) if rings else np.zeros((0, 1 + N_TERMS)),
            "spikes": np.unique(pixels, axis=0),
        }

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, npt.NDArray[Any]] | None) -> HaloField:
        """Rebuild a field from `to_arrays`; None: nothing known."""
        if arrays is None:
            return cls()
        parts = np.split(arrays["rings"], np.cumsum(arrays["count"])[:-1])
        facts = zip(arrays["star"], arrays["place"], parts, strict=False)
        return cls(
            halos=[
                StarHalo(
                    row=int(row),
                    band=int(band),
                    x=float(x),
                    y=float(y),
                    radius=rings[:, 0],
                    terms=rings[:, 1:],
                )
                for (row, band), (x, y), rings in facts
            ],
            spikes=[arrays["spikes"]],
        )
