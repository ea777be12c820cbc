"""Old mosaics of small images: ``lsst.afw.display.utils``."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, final

import numpy as np

from skyloom.compat.hsc import ds9
from skyloom.compat.hsc._adapter import new_of, old_of
from skyloom.compat.hsc.afw_geom import Box2I
from skyloom.errors import InputError
from skyloom.geometry import Box
from skyloom.images import Exposure, Image, Mask, MaskedImage

__all__ = ["Mosaic"]


@final
class Mosaic:
    """Images side by side, with gaps between them.

    Parameters
    ----------
    gutter : int
        Width of the gaps [pix].
    background : float
        Value of the gaps.
    mode : str or int
        ``square``, ``x`` (a row), ``y`` (a column), or how many in a row.
    """

    def __init__(self, gutter: int = 3, background: float = 0, mode: Any = "square") -> None:
        self._gutter, self._background, self._mode = gutter, background, mode
        self._images: list[Any] = []
        self._labels: list[tuple[str, str | None]] = []
        self._cell, self._nx = (0, 0), 1

    def setGutter(self, gutter: int) -> None:
        """Use ``np.pad`` around each array."""
        self._gutter = gutter

    def setBackground(self, background: float) -> None:
        """Use the value that ``np.pad`` fills in."""
        self._background = background

    def setMode(self, mode: Any) -> None:
        """Use the shape into which arrays are put."""
        self._mode = mode

    def append(self, image: Any, label: str | None = None, ctype: str | None = None) -> int:
        """Use a list of images."""
        self._images.append(image)
        self._labels.append((label or "", ctype))
        return len(self._images)

    def makeMosaic(
        self,
        images: Sequence[Any] | None = None,
        frame: int | None = None,
        mode: Any = None,
        background: float | None = None,
        title: str = "",
    ) -> Any:
        """Use ``np.block`` of the arrays, and ``display.mtv``."""
        found = [new_of(image) for image in (self._images if images is None else images)]
        found = [f.masked_image if isinstance(f, Exposure) else f for f in found]
        if not found:
            raise InputError("a mosaic needs images; append them, or give them to makeMosaic")
        self._mode = self._mode if mode is None else mode
        self._background = self._background if background is None else background
        self._cell = max(f.width for f in found), max(f.height for f in found)
        self._nx = self._columns(len(found))
        mosaic = self._joined(found)
        if frame is not None:
            ds9.mtv(mosaic, frame=frame, title=title)
            self.drawLabels(frame=frame)
        return mosaic

    def getBBox(self, ix: int, iy: int | None = None) -> Box2I:
        """Use the box of an array in the mosaic; by column and row, or by number."""
        column, row = (ix % self._nx, ix // self._nx) if iy is None else (ix, iy)
        width, height = self._cell
        x0, y0 = column * (width + self._gutter), row * (height + self._gutter)
        made: Box2I = Box2I.of(Box(x0, x0 + width, y0, y0 + height))
        return made

    def drawLabels(self, labels: Sequence[Any] | None = None, frame: int | None = None) -> None:
        """Use ``display.dot(text, x, y)`` for each label."""
        pairs = self._labels if labels is None else [(str(text), None) for text in labels]
        with ds9.Buffering():
            for number, (text, color) in enumerate(pairs):
                box = self.getBBox(number).new
                if text:
                    x, y = (box.x0 + box.x1 - 1) / 2, box.y0 + 0.05 * box.height
                    ds9.dot(text, x, y, frame=frame, ctype=color)

    def _columns(self, n: int) -> int:
        """Return how many images are in a row; square: what is nearest to a square."""
        if self._mode == "square":
            width, height = self._cell
            return next(
                nx for nx in range(1, n + 1) if nx * width >= -(-n // nx) * height or nx == n
            )
        if self._mode in {"x", "y"}:
            return n if self._mode == "x" else 1
        if isinstance(self._mode, int) and self._mode > 0:
            return self._mode
        raise InputError(
            f"mosaics have no mode {self._mode!r}; use 'square', 'x', 'y' or a number of columns"
        )

    def _joined(self, images: Sequence[Any]) -> Any:
        if isinstance(images[0], MaskedImage):
            planes = [[getattr(f, name) for f in images] for name in ("image", "mask", "variance")]
            image, mask, variance = (self._arrays([p.array for p in plane]) for plane in planes)
            names = images[0].mask.planes
            return old_of(MaskedImage(Image(image), Mask(mask, planes=names), Image(variance)))
        array = self._arrays([f.array for f in images])
        if isinstance(images[0], Mask):
            return old_of(Mask(array, planes=images[0].planes))
        return old_of(Image(array))

    def _arrays(self, arrays: Sequence[Any]) -> Any:
        ny = -(-len(arrays) // self._nx)
        last = self.getBBox(self._nx - 1, ny - 1).new
        whole = np.full((last.y1, last.x1), self._background, arrays[0].dtype)
        for number, array in enumerate(arrays):
            box = self.getBBox(number).new
            whole[box.y0 : box.y0 + array.shape[0], box.x0 : box.x0 + array.shape[1]] = array
        return whole
