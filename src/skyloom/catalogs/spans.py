"""Sets of pixels as runs within rows."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Ints
from skyloom.errors import BadTable
from skyloom.geometry import Box

__all__ = ["SpanSet"]

_LARGEST_MASK: Final = 1 << 30  # pixels of a box; a larger one comes from damaged spans


class SpanSet:
    """Pixels of a region: rows of ``y, x0, x1``, both ends inclusive, parent coordinates.

    Parameters
    ----------
    spans : array-like of int, shape (n, 3)
        ``y, x0, x1``.  The order is kept: pixels of a heavy footprint are in it.

    Raises
    ------
    BadTable
        If a span ends before it starts.

    Examples
    --------
    >>> region = SpanSet([[5, 10, 12], [6, 11, 11]])
    >>> region.area, region.box
    (4, Box(x0=10, x1=13, y0=5, y1=7))
    """

    __slots__ = ("spans",)

    spans: npt.NDArray[np.int32]

    def __init__(self, spans: npt.ArrayLike = ()) -> None:
        rows = np.asarray(spans, dtype=np.int32).reshape(-1, 3)
        bad = np.flatnonzero(rows[:, 2] < rows[:, 1])
        if bad.size:
            y, x0, x1 = rows[bad[0]].tolist()
            raise BadTable(
                f"span {int(bad[0])} of row y = {y} starts at x0 = {x0} and ends before, at x1 = "
                f"{x1}; the footprint is damaged",
                span=int(bad[0]),
            )
        self.spans = rows
        self.spans.flags.writeable = False

    @classmethod
    def from_mask(cls, mask: Bools, *, xy0: tuple[int, int] = (0, 0)) -> SpanSet:
        """Return the pixels that are True; ``xy0`` is the place of the first one of the array."""
        mask = np.asarray(mask, dtype=bool)
        edges = np.zeros((mask.shape[0], mask.shape[1] + 1), dtype=np.int8)
        edges[:, :-1] = mask
        edges[:, 1:] -= mask
        rows, starts = np.nonzero(edges == 1)
        stops = np.nonzero(edges == -1)[1]
        return cls(np.stack([rows + xy0[1], starts + xy0[0], stops - 1 + xy0[0]], axis=1))

    @classmethod
    def from_box(cls, box: Box) -> SpanSet:
        """Return all pixels of a box."""
        y = np.arange(box.y0, box.y1) if not box.is_empty else np.empty(0, int)
        return cls(np.stack([y, np.full_like(y, box.x0), np.full_like(y, box.x1 - 1)], axis=1))

    @classmethod
    def circle(cls, radius: float, *, x: int = 0, y: int = 0) -> SpanSet:
        """Return the pixels whose centres are within a radius [pix] of that of a pixel."""
        reach = int(radius)
        dy = np.arange(-reach, reach + 1)
        dx = np.floor(np.sqrt(radius**2 - dy.astype(float) ** 2)).astype(int)
        return cls(np.stack([y + dy, x - dx, x + dx], axis=1))

    @property
    def area(self) -> int:
        """Number of pixels."""
        return int(np.sum(self.spans[:, 2].astype(np.int64) - self.spans[:, 1] + 1))

    @property
    def box(self) -> Box:
        """The smallest box around; empty for no pixels."""
        if not len(self.spans):
            return Box(0, 0, 0, 0)
        y, x0, x1 = self.spans.T
        return Box(int(x0.min()), int(x1.max()) + 1, int(y.min()), int(y.max()) + 1)

    def __len__(self) -> int:
        """Return the number of spans."""
        return len(self.spans)

    def __bool__(self) -> bool:
        return len(self.spans) > 0

    def __eq__(self, other: object) -> bool:
        """Tell whether the pixels are the same, however they are cut into spans."""
        if not isinstance(other, SpanSet):
            return NotImplemented
        return np.array_equal(self.normalized().spans, other.normalized().spans)

    __hash__ = None  # type: ignore[assignment]

    def __repr__(self) -> str:
        return f"<SpanSet of {self.area} pixels in {len(self)} spans, {self.box}>"

    def pixels(self) -> tuple[Ints, Ints]:
        """Return x and y of all pixels, span after span."""
        y, x0, x1 = self.spans.astype(np.int64).T
        lengths = x1 - x0 + 1
        starts = np.cumsum(lengths) - lengths
        return np.arange(lengths.sum()) - np.repeat(starts - x0, lengths), np.repeat(y, lengths)

    def contains(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Tell which positions fall on the pixels; NaN never does."""
        with np.errstate(invalid="ignore"):
            columns = np.floor(np.asarray(x, dtype=float) + 0.5)
            rows = np.floor(np.asarray(y, dtype=float) + 0.5)
        spans = self.normalized().spans
        if not len(spans):
            nowhere = np.zeros(np.broadcast_shapes(columns.shape, rows.shape), dtype=bool)
            return nowhere if nowhere.ndim else False
        # the last span that starts at or before the position, in reading order
        keys = spans[:, 0] * 2.0**33 + spans[:, 1]
        last = np.searchsorted(keys, rows * 2.0**33 + columns, side="right") - 1
        known = (last >= 0) & np.isfinite(columns) & np.isfinite(rows)
        hit = spans[np.where(known, last, 0)]
        inside = known & (hit[..., 0] == rows) & (columns <= hit[..., 2])
        return bool(inside) if inside.ndim == 0 else inside

    def mask(self, box: Box | None = None) -> Bools:
        """Return an array that is True on the pixels.

        Parameters
        ----------
        box : Box, optional
            What the array covers; default: the box around the pixels.

        Raises
        ------
        BadTable
            If the pixels span more than 2**30 pixels: the spans are damaged.
        """
        box = self.box if box is None else box
        if box.width * box.height > _LARGEST_MASK:
            raise BadTable(f"a footprint covers {box}, which is too large; it is damaged")
        edges = np.zeros((box.height, box.width + 1), dtype=np.int32)
        y, x0, x1 = self.spans.astype(np.int64).T
        inside = (y >= box.y0) & (y < box.y1) & (x0 < box.x1) & (x1 >= box.x0)
        y, x0, x1 = y[inside], x0[inside], x1[inside]
        np.add.at(edges, (y - box.y0, np.clip(x0 - box.x0, 0, box.width)), 1)
        np.add.at(edges, (y - box.y0, np.clip(x1 + 1 - box.x0, 0, box.width)), -1)
        return np.asarray(np.cumsum(edges[:, :-1], axis=1) > 0)

    def normalized(self) -> SpanSet:
        """Return the same pixels in reading order, each once, in the longest spans."""
        if not len(self):
            return self
        order = np.lexsort((self.spans[:, 1], self.spans[:, 0]))
        y, x0, x1 = self.spans[order].astype(np.int64).T
        # the farthest end of the spans before, within the row
        shift = (y - y[0]) << 34
        reach = np.maximum.accumulate(x1 + shift) - shift
        is_new = np.ones(len(y), dtype=bool)
        is_new[1:] = (y[1:] != y[:-1]) | (x0[1:] > reach[:-1] + 1)
        firsts = np.flatnonzero(is_new)
        lasts = np.append(firsts[1:], len(y)) - 1
        return SpanSet(np.stack([y[firsts], x0[firsts], reach[lasts]], axis=1))

    def shifted(self, dx: int, dy: int) -> SpanSet:
        """Return the pixels moved by whole pixels."""
        return SpanSet(self.spans + np.array([dy, dx, dx], dtype=np.int32))

    def clipped(self, box: Box) -> SpanSet:
        """Return the pixels inside a box, in their order."""
        y, x0, x1 = self.spans.T
        x0, x1 = np.maximum(x0, box.x0), np.minimum(x1, box.x1 - 1)
        kept = (y >= box.y0) & (y < box.y1) & (x1 >= x0)
        return SpanSet(np.stack([y, x0, x1], axis=1)[kept])

    def union(self, *others: SpanSet) -> SpanSet:
        """Return the pixels of any of the sets."""
        return SpanSet(np.concatenate([s.spans for s in (self, *others)])).normalized()

    def intersection(self, other: SpanSet) -> SpanSet:
        """Return the pixels of both sets."""
        box = self.box.clipped(other.box)
        return SpanSet.from_mask(self.mask(box) & other.mask(box), xy0=(box.x0, box.y0))

    def difference(self, other: SpanSet) -> SpanSet:
        """Return the pixels that are not in another set."""
        box = self.box
        return SpanSet.from_mask(self.mask(box) & ~other.mask(box), xy0=(box.x0, box.y0))

    def dilated(self, element: float | SpanSet) -> SpanSet:
        """Return the pixels within a radius [pix] of the set, or of a stencil of any form."""
        stencil = element if isinstance(element, SpanSet) else SpanSet.circle(element)
        # every span, grown by every span of the stencil
        spans = self.spans[:, None, :] + stencil.spans[None, :, :]
        return SpanSet(spans.reshape(-1, 3)).normalized()

    def eroded(self, element: float | SpanSet) -> SpanSet:
        """Return the pixels whose whole surroundings, within a radius [pix], are in the set."""
        stencil = element if isinstance(element, SpanSet) else SpanSet.circle(element)
        if not len(self) or not len(stencil):
            return self
        y, x0, x1 = stencil.spans.T
        mirrored = SpanSet(np.stack([-y, -x1, -x0], axis=1))
        wide = self.box.grown(int(np.abs(stencil.spans).max()))
        outside = SpanSet.from_mask(~self.mask(wide), xy0=(wide.x0, wide.y0))
        return self.difference(outside.dilated(mirrored))

    def split(self) -> list[SpanSet]:
        """Return the connected parts (corners count), from the first in reading order."""
        from scipy import ndimage  # noqa: PLC0415 - takes 0.2 s

        if not self:
            return []
        box = self.box
        labels, n = ndimage.label(self.mask(box), structure=np.ones((3, 3), int))
        slices: Iterable[Any] = ndimage.find_objects(labels, n)
        return [
            SpanSet.from_mask(
                labels[part] == number, xy0=(box.x0 + part[1].start, box.y0 + part[0].start)
            )
            for number, part in enumerate(slices, start=1)
        ]
