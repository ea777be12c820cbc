"""Archived PSFs: kernels, PSFEx models, and those of coadds."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from skyloom._types import Floats
from skyloom.images.about import ArchivedObject
from skyloom.images.afw.archive import Rows
from skyloom.images.afw.coordinate_map import UnsupportedMapping
from skyloom.images.afw.decode import DECODERS, Decoder, box_of, one
from skyloom.images.coadd_psf import CoaddInput, CoaddPsf
from skyloom.images.kernel_psf import (
    ChebyshevFunction,
    KernelPsf,
    PolynomialFunction,
    PsfexPsf,
    centred,
)
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["Kernel"]

_LARGEST = 4096  # pix, side of a kernel
_DEFAULT_KERNEL = "lanczos3"  # of coadd PSFs that do not name theirs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Kernel:
    """A kernel on its way to a PSF: images, their factors, and the pixel of the star."""

    images: Floats  # (K, height, width)
    functions: tuple[Any, ...]
    centre: tuple[int, int]  # x, y in the images


class UnsupportedPart(UnsupportedMapping):
    """A PSF with a part of a class that is not known; it stays opaque as a whole."""


def _part(decoder: Decoder, id_: int, kind: Any) -> Any:
    made = decoder.get(int(id_))
    if isinstance(made, ArchivedObject):
        raise UnsupportedPart(f"the class {made.name} is not known")
    if not isinstance(made, kind):
        raise TypeError(f"a {type(made).__name__} is not what belongs there")
    return made


def _dimensions(row: Rows) -> tuple[int, int]:
    width, height = row.point("dimensions")
    if not (0 < width <= _LARGEST and 0 < height <= _LARGEST):
        raise ValueError(f"a kernel of {width} x {height} pixels is impossible")
    return int(width), int(height)


def _fixed_kernel(_: Decoder, parts: list[Rows]) -> Kernel:
    row = one(parts)
    width, height = _dimensions(row)
    image = np.asarray(row.get("image"), np.float64).reshape(height, width)
    return Kernel(images=image[None], functions=(1.0,), centre=_centre(row, width, height))


def _centre(row: Rows, width: int, height: int) -> tuple[int, int]:
    x, y = row.point("center")
    if not (0 <= x < width and 0 <= y < height):
        raise ValueError(f"the centre ({x}, {y}) is outside the kernel")
    return int(x), int(y)


def _linear_combination(decoder: Decoder, parts: list[Rows]) -> Kernel:
    row = one(parts)
    kernels = [_part(decoder, i, Kernel) for i in np.atleast_1d(row.get("components"))]
    if "spatialfunctions" in row:
        known = (PolynomialFunction, ChebyshevFunction)
        ids = np.atleast_1d(row.get("spatialfunctions"))
        functions = tuple(_part(decoder, i, known) for i in ids)
    else:
        functions = tuple(float(a) for a in np.atleast_1d(row.get("amplitudes")))
    images = np.concatenate([kernel.images for kernel in kernels])
    centre = _centre(row, images.shape[2], images.shape[1])
    return Kernel(images=images, functions=functions, centre=centre)


def _kernel_psf(decoder: Decoder, parts: list[Rows]) -> KernelPsf:
    row = one(parts)
    kernel = _part(decoder, row.get("kernel"), Kernel)
    position = (0.0, 0.0)
    if any(name.startswith("averagePosition") for name in row.table.columns):
        x, y = row.point("averagePosition")
        position = (float(x), float(y))
    images = np.stack([centred(image, *kernel.centre) for image in kernel.images])
    return KernelPsf(images, kernel.functions, average_position=position)


def _gaussians(*names: str) -> Callable[[Decoder, list[Rows]], KernelPsf]:
    """Return what makes a PSF of one or two circular Gaussians, sampled at pixel centres."""

    def make(_: Decoder, parts: list[Rows]) -> KernelPsf:
        row = one(parts)
        width, height = _dimensions(row)
        sigmas = [float(row.get(name)) for name in names]
        ratio = float(row.get("b")) if len(names) > 1 else 0.0
        if min(sigmas) <= 0.0:
            raise ValueError("a width is not positive")
        y, x = np.indices((height, width), np.float64)
        r2 = (x - (width - 1) // 2) ** 2 + (y - (height - 1) // 2) ** 2
        image = np.exp(-0.5 * r2 / sigmas[0] ** 2)
        if len(names) > 1:
            image += ratio * np.exp(-0.5 * r2 / sigmas[1] ** 2)
        return KernelPsf(centred(image / image.sum(), (width - 1) // 2, (height - 1) // 2)[None])

    return make


def _polynomial(_: Decoder, parts: list[Rows]) -> PolynomialFunction:
    values = np.atleast_1d(np.asarray(one(parts).get("coefficients"), np.float64))
    return PolynomialFunction(coefficients=values)


def _chebyshev(_: Decoder, parts: list[Rows]) -> ChebyshevFunction:
    row = one(parts)
    low, high = row.point("min"), row.point("max")
    if not (low[0] < high[0] and low[1] < high[1]):
        raise ValueError("the range of the Chebyshev function is empty")
    values = np.atleast_1d(np.asarray(row.get("coefficients"), np.float64))
    return ChebyshevFunction(coefficients=values, lowest=low, highest=high)


def _psfex(_: Decoder, parts: list[Rows]) -> PsfexPsf:
    first, second = one(parts, 0), one(parts, 1)
    sizes = [int(n) for n in np.atleast_1d(second.get("_size"))]
    if len(sizes) < 2 or not all(0 < n <= _LARGEST for n in sizes):
        raise ValueError(f"dimensions {sizes} are impossible")
    width, height, count = sizes[0], sizes[1], sizes[2] if len(sizes) > 2 else 1
    pixels = np.asarray(second.get("_comp"), np.float32)
    if pixels.size < width * height * count:
        raise ValueError(f"{pixels.size} pixels do not fill {sizes}")
    x, y = first.point("averagePosition")
    return PsfexPsf(
        pixels[: width * height * count].reshape(count, height, width),
        step=first.get("_pixstep"),
        group=[int(g) for g in np.atleast_1d(second.get("group"))],
        degree=[int(d) for d in np.atleast_1d(second.get("degree"))],
        offset=[float(v) for v in np.atleast_1d(second.get("_context_first"))],
        scale=[float(v) for v in np.atleast_1d(second.get("_context_second"))],
        average_position=(float(x), float(y)),
    )


def _polygon(_: Decoder, parts: list[Rows]) -> Floats:
    rows = parts[0]
    return np.array([rows.point("vertices", i) for i in range(len(rows))], np.float64)


def _coadd(decoder: Decoder, parts: list[Rows]) -> CoaddPsf:
    kernel, position = _DEFAULT_KERNEL, None
    if len(parts) > 1:
        head, rows, count = one(parts, 0), parts[1], len(parts[1])
        wcs = _part(decoder, head.get("coaddwcs"), SkyWcs)
        x, y = head.point("avgpos")
        kernel, position = head.get("warpingkernelname"), (float(x), float(y))
    else:  # before 2013: the WCS of the coadd is in an extra last row
        rows, count = parts[0], len(parts[0]) - 1
        wcs = _part(decoder, rows.get("wcs", count), SkyWcs)
    inputs = [_coadd_input(decoder, rows, i) for i in range(count)]
    if not inputs:
        raise ValueError("the coadd has no inputs")
    if position is None:
        box = inputs[0].box
        middle = ((box.x0 + box.x1 - 1) / 2, (box.y0 + box.y1 - 1) / 2)
        position = wcs.sky_to_pixel(*inputs[0].wcs.pixel_to_sky(*middle))
    return CoaddPsf(inputs, wcs, average_position=position, warping_kernel=kernel)


def _coadd_input(decoder: Decoder, rows: Rows, at: int) -> CoaddInput:
    polygon = None
    if "validPolygon" in rows and rows.get("validPolygon", at):
        polygon = _part(decoder, rows.get("validPolygon", at), np.ndarray)
    psf = decoder.get(int(rows.get("psf", at)))
    if isinstance(psf, ArchivedObject) or not hasattr(psf, "at"):
        raise UnsupportedPart("the PSF of an input is not known")
    return CoaddInput(
        psf=psf,
        wcs=_part(decoder, rows.get("wcs", at), SkyWcs),
        box=box_of(rows, "bbox", at),
        weight=float(rows.get("weight", at)),
        polygon=polygon,
        number=int(rows.get("id", at)),
    )


DECODERS.update(
    {
        "Chebyshev1Function2D": _chebyshev,
        "Chebyshev1Function2F": _chebyshev,
        "CoaddPsf": _coadd,
        "DoubleGaussianPsf": _gaussians("sigma1", "sigma2"),
        "FixedKernel": _fixed_kernel,
        "KernelPsf": _kernel_psf,
        "LinearCombinationKernel": _linear_combination,
        "PcaPsf": _kernel_psf,
        "Polygon": _polygon,
        "PolynomialFunction2D": _polynomial,
        "PolynomialFunction2F": _polynomial,
        "PsfexPsf": _psfex,
        "SingleGaussianPsf": _gaussians("sigma"),
    }
)
