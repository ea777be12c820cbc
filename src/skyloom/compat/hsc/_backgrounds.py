"""Old backgrounds: ``afwMath.makeBackground``, and what ``calexpBackground`` holds."""

from __future__ import annotations

from collections.abc import Iterator
from enum import IntEnum
from typing import Any, Final, final

import numpy as np

from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.compat.hsc._planes import Image, MaskedImage
from skyloom.compat.hsc.afw_geom import Box2I
from skyloom.errors import InputError
from skyloom.images import Background as NewBackground
from skyloom.images import BackgroundList as NewList
from skyloom.images import Exposure, measure_background
from skyloom.images import MaskedImage as NewMaskedImage

__all__ = ["Background", "BackgroundControl", "BackgroundList", "Interpolate", "background_of"]


@final
class Interpolate(IntEnum):
    """How levels are joined: numbers, as files have them."""

    CONSTANT = 0
    LINEAR = 1
    NATURAL_SPLINE = 2
    CUBIC_SPLINE = 3
    AKIMA_SPLINE = 5


_CURVES: Final = {
    style: style.name.lower().replace("akima_spline", "akima") for style in Interpolate
}
_REDUCE: Final = 1  # UNDERSAMPLESTYLE: simpler curves where there are too few cells


@final
class Background(Adapter):
    """The levels of the cells of an image."""

    new: NewBackground

    def getStatsImage(self) -> MaskedImage:
        """Use ``background.cells``."""
        made: MaskedImage = MaskedImage.of(self.new.cells)
        return made

    def getImageF(self, style: Any = None, _undersample: Any = None) -> Image:
        """Use ``background.image()``; its curve is given to ``measure_background``."""
        new = self.new
        if style is not None:
            new = NewBackground(cells=new.cells, box=new.box, curve=_curve(style))
        made: Image = Image.of(new.image())
        return made

    def getImageBBox(self) -> Box2I:
        """Use ``background.box``."""
        made: Box2I = Box2I.of(self.new.box)
        return made


@final
class BackgroundList(Adapter):
    """Backgrounds that were taken off; each item is a tuple that begins with one."""

    new: NewList

    def getImage(self) -> Image:
        """Use ``backgrounds.image()``."""
        made: Image = Image.of(self.new.image())
        return made

    @classmethod
    def readFits(cls, path: str) -> BackgroundList:
        """Use ``BackgroundList.read(path)``."""
        made: BackgroundList = cls.of(NewList.read(path))
        return made

    def writeFits(self, path: str) -> None:
        """Use ``backgrounds.write(path, overwrite=True)``."""
        self.new.write(path, overwrite=True)

    def __len__(self) -> int:
        return len(self.new)

    def __getitem__(self, index: int) -> tuple[Any, ...]:
        one = self.new[index]
        style = next(key for key, curve in _CURVES.items() if curve == one.curve)
        made: Background = Background.of(one)
        order = one.order or 0
        approximation = -1 if one.order is None else 0
        return (made, style, _REDUCE, approximation, order, order, one.is_weighted)

    def __iter__(self) -> Iterator[tuple[Any, ...]]:
        return (self[index] for index in range(len(self)))


@final
class BackgroundControl:
    """How a background is measured: cells along x and y, or a style before them."""

    def __init__(self, first: Any, *rest: Any) -> None:
        self.style: Any = Interpolate.AKIMA_SPLINE
        numbers = [first, *rest]
        if isinstance(first, (str, Interpolate)):
            self.style, numbers = first, list(rest)
        if len(numbers) < 2 or not all(isinstance(n, (int, np.integer)) for n in numbers[:2]):
            raise InputError("BackgroundControl needs the number of cells along x and along y")
        self.cells = int(numbers[0]), int(numbers[1])
        controls = [c for c in numbers[2:] if hasattr(c, "getNumSigmaClip")]
        self.control = controls[0] if controls else None
        self.statistic = next((n for n in numbers[2:] if isinstance(n, int) and n > _REDUCE), None)

    def setInterpStyle(self, style: Any) -> None:
        """Use ``measure_background(image, cells, curve=name)``."""
        self.style = style

    def getStatisticsControl(self) -> Any:
        """Use ``measure_background(image, cells, clip_sigma=..., max_iterations=..., bad=...)``."""
        if self.control is None:
            from skyloom.compat.hsc.afw_math import StatisticsControl  # noqa: PLC0415

            self.control = StatisticsControl()
        return self.control


def background_of(image: Any, control: BackgroundControl, level: Any) -> Background:
    """Return the background of an image; bits that the control names are left out."""
    found = new_of(image)
    found = found.masked_image if isinstance(found, Exposure) else found
    statistics = control.getStatisticsControl()
    bits = statistics.getAndMask()
    if isinstance(found, NewMaskedImage) and bits:
        is_bad = (found.mask.bits & np.uint32(bits)) != 0
        pixels = np.where(is_bad, np.nan, found.image.array)
        found = Image.of(found.image.copy()).new
        found.array[:] = pixels
    made: Background = Background.of(
        measure_background(
            found,
            control.cells,
            level=level,
            clip_sigma=statistics.getNumSigmaClip(),
            max_iterations=statistics.getNumIter(),
            curve=_curve(control.style),
        )
    )
    return made


def _curve(style: Any) -> str:
    """Return our name of a style, which is a number or its name."""
    names = {key.name: curve for key, curve in _CURVES.items()}
    found = names.get(style) if isinstance(style, str) else _CURVES.get(style)
    if found is None:
        raise InputError(f"there is no style {style!r}; use one of {', '.join(names)}")
    return found
