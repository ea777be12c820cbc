"""Exposures and calibration images as datasets."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final

from skyloom.errors import Unwritable

from .formats_fits import read_header

__all__ = [
    "BACKGROUND_PARTS",
    "EXPOSURE_PARTS",
    "read_background",
    "read_calibration",
    "read_exposure",
    "read_psf",
    "write_background",
    "write_exposure",
    "write_psf",
]

# skyloom.images is imported where it is used: it takes a while to load.


def read_exposure(path: Path) -> Any:
    """Read an exposure."""
    from skyloom.images import Exposure  # noqa: PLC0415

    return Exposure.read(path)


def read_calibration(path: Path, *, bbox: Any = None) -> Any:
    """Read an image, masked image or exposure as an exposure of float32.

    A mask or variance that the file lacks is zero; pixels of another type are converted.
    """
    from skyloom.images import Exposure, MaskedImage  # noqa: PLC0415

    found = Exposure.read(path, bbox=bbox)
    planes = found.masked_image
    if planes.image.array.dtype == "float32":
        return found
    image = planes.image.convert_f()
    return Exposure(
        MaskedImage(image, planes.mask, planes.variance), wcs=found.wcs, metadata=found.metadata
    )


def write_exposure(obj: object, path: Path) -> None:
    """Write an exposure."""
    from skyloom.images import Exposure  # noqa: PLC0415

    if not isinstance(obj, Exposure):
        raise TypeError(f"an Exposure is expected, not {type(obj).__name__}")
    obj.write(path, overwrite=True)  # the temporary name that the butler chose


def read_psf(path: Path) -> Any:
    """Read a PSF that has a file of its own."""
    from skyloom.images import read_psf as read  # noqa: PLC0415

    return read(path)


def write_psf(obj: object, path: Path) -> None:
    """Refuse: PSFs are written with their exposures."""
    raise Unwritable(
        f"{path.parent}: a {type(obj).__name__} gets no file of its own; set exposure.psf and put "
        "the exposure",
        path=path,
    )


def read_background(path: Path) -> Any:
    """Read a list of backgrounds."""
    from skyloom.images import BackgroundList  # noqa: PLC0415

    return BackgroundList.read(path)


def write_background(obj: object, path: Path) -> None:
    """Write a list of backgrounds."""
    from skyloom.images import BackgroundList  # noqa: PLC0415

    if not isinstance(obj, BackgroundList):
        raise TypeError(f"a BackgroundList is expected, not {type(obj).__name__}")
    obj.write(path, overwrite=True)  # the temporary name that the butler chose


def _background_image(path: Path) -> Any:
    return read_background(path).image()


def _cutout(path: Path, *, bbox: Any) -> Any:
    from skyloom.images import Exposure  # noqa: PLC0415

    return Exposure.read(path, bbox=bbox)


def _component(name: str) -> Callable[[Path], Any]:
    def read(path: Path) -> Any:
        from skyloom.images import read_component  # noqa: PLC0415

        return read_component(path, name)

    return read


EXPOSURE_PARTS: Final[Mapping[str, Callable[..., Any]]] = {
    "md": read_header,
    "sub": _cutout,
    **{n: _component(n) for n in ("wcs", "photo_calib", "psf", "mask", "variance", "image")},
}
"""Readers of the parts of an exposure, by suffix."""

BACKGROUND_PARTS: Final[Mapping[str, Callable[..., Any]]] = {
    "md": read_header,
    "image": _background_image,
}
"""Readers of the parts of a list of backgrounds."""
