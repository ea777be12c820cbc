"""Footprints: the pixels that belong to a source, its peaks, and the values of deblended pixels."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools
from skyloom.catalogs.fields import Field
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.spans import SpanSet
from skyloom.errors import BadTable, Mismatch
from skyloom.geometry import Box

if TYPE_CHECKING:
    from skyloom.catalogs.source_catalog import SourceCatalog

__all__ = ["PEAK_SCHEMA", "Footprint", "HeavyFootprint", "peak_catalog"]

PEAK_SCHEMA = Schema([
    Field("id", "L", "unique ID"),
    Field("f_x", "F", "subpixel column position", "pixel"),
    Field("f_y", "F", "subpixel row position", "pixel"),
    Field("i_x", "I", "column position of highest pixel", "pixel"),
    Field("i_y", "I", "row position of highest pixel", "pixel"),
    Field("peakValue", "F", "value of [smoothed] image at peak position", "count"),
])  # fmt: skip
"""Fields of a peak; those of a file may have more."""


def peak_catalog(
    x: npt.ArrayLike = (), y: npt.ArrayLike = (), value: npt.ArrayLike = ()
) -> SourceCatalog:
    """Return peaks, brightest first.

    Parameters
    ----------
    x, y : array-like, shape (n,)
        Positions [pix], parent coordinates.
    value : array-like, shape (n,)
        Heights [count].
    """
    from skyloom.catalogs.source_catalog import SourceCatalog  # noqa: PLC0415 - it holds footprints

    x, y, value = (np.atleast_1d(np.asarray(v, dtype=float)) for v in (x, y, value))
    order = np.argsort(-value, kind="stable")
    x, y, value = x[order], y[order], value[order]
    columns = {
        "id": np.arange(1, len(x) + 1),
        "f_x": x,
        "f_y": y,
        "i_x": np.floor(x + 0.5),
        "i_y": np.floor(y + 0.5),
        "peakValue": value,
    }
    return SourceCatalog(PEAK_SCHEMA, columns, kind="BASE")


class Footprint:
    """Pixels and peaks of a source.

    Parameters
    ----------
    spans : SpanSet or array-like of (y, x0, x1)
        The pixels, parent coordinates.
    peaks : SourceCatalog, optional
        With the fields of `PEAK_SCHEMA`, brightest first.
    region : Box, optional
        The image in which the source was found.
    """

    __slots__ = ("peaks", "region", "spans")

    def __init__(
        self,
        spans: SpanSet | npt.ArrayLike = (),
        peaks: SourceCatalog | None = None,
        region: Box | None = None,
    ) -> None:
        self.spans = spans if isinstance(spans, SpanSet) else SpanSet(spans)
        self.peaks = peak_catalog() if peaks is None else peaks
        self.region = region

    @property
    def area(self) -> int:
        """Number of pixels."""
        return self.spans.area

    @property
    def box(self) -> Box:
        """The smallest box around the pixels."""
        return self.spans.box

    @property
    def is_heavy(self) -> bool:
        """Whether it holds the values of its pixels."""
        return False

    def contains(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Tell which positions [pix] fall on its pixels."""
        return self.spans.contains(x, y)

    def mask(self, box: Box | None = None) -> Bools:
        """Return an array that is True on its pixels, of its box or another one."""
        return self.spans.mask(box)

    def dilated(self, radius: float) -> Footprint:
        """Return the footprint grown by a radius [pix], clipped to its region; peaks as before."""
        spans = self.spans.dilated(radius)
        return Footprint(
            spans if self.region is None else spans.clipped(self.region), self.peaks, self.region
        )

    def eroded(self, radius: float) -> Footprint:
        """Return the footprint shrunk by a radius [pix], with the peaks that it still holds."""
        spans = self.spans.eroded(radius)
        kept = spans.contains(self.peaks["i_x"], self.peaks["i_y"])
        return Footprint(spans, self.peaks[np.asarray(kept, dtype=bool)], self.region)

    def set_mask_plane(self, mask: Any, name: str) -> None:
        """Set a plane of a `Mask` on the pixels that are inside it."""
        bit = mask.add_mask_plane(name)
        rows, columns = _indices(self.spans.clipped(mask.box), mask.xy0)
        mask.bits[rows, columns] |= np.array(1 << bit, dtype=mask.bits.dtype)

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of {self.area} pixels, {len(self.peaks)} peaks, {self.box}>"


class HeavyFootprint(Footprint):
    """A footprint with the values of its pixels, span after span, as the deblender leaves them.

    Parameters
    ----------
    spans, peaks, region
        See `Footprint`.
    image, mask, variance : array-like, shape (area,)
        Values of the pixels; mask and variance are zero by default.

    Raises
    ------
    Mismatch
        If there is not one value for each pixel.
    """

    __slots__ = ("image_values", "mask_values", "variance_values")

    def __init__(
        self,
        spans: SpanSet | npt.ArrayLike,
        peaks: SourceCatalog | None = None,
        region: Box | None = None,
        *,
        image: npt.ArrayLike,
        mask: npt.ArrayLike | None = None,
        variance: npt.ArrayLike | None = None,
    ) -> None:
        super().__init__(spans, peaks, region)
        n = self.area
        self.image_values = np.atleast_1d(np.asarray(image))
        mask = np.zeros(n, np.int32) if mask is None else mask
        variance = np.zeros(n, np.float32) if variance is None else variance
        self.mask_values, self.variance_values = np.atleast_1d(mask), np.atleast_1d(variance)
        for name in ("image", "mask", "variance"):
            found = getattr(self, f"{name}_values").shape
            if found != (n,):
                raise Mismatch(
                    f"a footprint of {n} pixels has {name} values of shape {found}; give one for "
                    "each pixel, span after span",
                    pixels=n,
                )

    @classmethod
    def from_image(cls, footprint: Footprint, image: Any) -> HeavyFootprint:
        """Return a footprint with its pixels of an `Image` or `MaskedImage`.

        Raises
        ------
        BadTable
            If pixels of the footprint are outside the image.
        """
        plane = getattr(image, "image", image)
        if footprint.spans.clipped(plane.box).area != footprint.area:
            raise BadTable(
                f"the footprint in {footprint.box} reaches beyond the image in {plane.box}; clip it"
            )
        index = _indices(footprint.spans, plane.xy0)
        planes = {"image": plane.array[index]}
        if plane is not image:
            planes |= {"mask": image.mask.array[index], "variance": image.variance.array[index]}
        return cls(footprint.spans, footprint.peaks, footprint.region, **planes)

    @property
    def is_heavy(self) -> bool:
        """Whether it holds the values of its pixels."""
        return True

    @property
    def flux(self) -> float:
        """Sum of the pixels."""
        return float(np.sum(self.image_values, dtype=np.float64))

    def insert(self, image: Any) -> None:
        """Add the pixels into an image; those outside it are left out.

        Parameters
        ----------
        image : Image or MaskedImage
            Changed in place: values and variances are added, mask bits are set.
        """
        plane = getattr(image, "image", image)
        x, y = self.spans.pixels()
        inside = np.flatnonzero(plane.box.contains(x, y))
        index = y[inside] - plane.y0, x[inside] - plane.x0
        plane.array[index] += self.image_values[inside].astype(plane.array.dtype)
        if plane is image:
            return
        image.variance.array[index] += self.variance_values[inside].astype(np.float32)
        image.mask.array[index] |= self.mask_values[inside].astype(image.mask.array.dtype)

    def image(self) -> Any:
        """Return an `Image` of its box, zero outside the footprint."""
        from skyloom.images import Image  # noqa: PLC0415

        box = self.box
        array = np.zeros(box.shape, dtype=self.image_values.dtype)
        array[_indices(self.spans, (box.x0, box.y0))] = self.image_values
        return Image(array, xy0=(box.x0, box.y0))


def _indices(spans: SpanSet, xy0: tuple[int, int]) -> tuple[Any, Any]:
    """Return rows and columns of the pixels in an array."""
    x, y = spans.pixels()
    return y - xy0[1], x - xy0[0]
