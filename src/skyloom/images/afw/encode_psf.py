"""PSFs in the rows that afw would write for them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from skyloom._types import Floats
from skyloom.images.afw.encode import WRITERS, Encoder, Written, array, point, scalar
from skyloom.images.kernel_psf import (
    ChebyshevFunction,
    KernelPsf,
    PolynomialFunction,
    PsfexPsf,
    constant_psf,
)
from skyloom.protocols import Psf

__all__: list[str] = []

_KERNEL_MODULE = "lsst.afw.math"


class _FixedKernel:
    def __init__(self, image: Floats) -> None:
        self.image = image


class _LinearCombination:
    def __init__(self, psf: KernelPsf) -> None:
        self.psf = psf


def _kernel_psf(encoder: Encoder, psf: KernelPsf) -> Written:
    is_fixed = len(psf.images) == 1 and not callable(psf.functions[0])
    kernel = encoder.put(_FixedKernel(psf.images[0]) if is_fixed else _LinearCombination(psf))
    doc = "average position of stars used to make the PSF"
    return [
        [
            scalar("kernel", "1J", "archive ID of nested kernel object", kernel),
            *point("averagePosition", "1D", doc, [psf.average_position], "pixel"),
        ]
    ]


def _shape_fields(image: Floats) -> list[Any]:
    height, width = image.shape
    doc = "dimensions of a Kernel's images"
    return [
        *point("dimensions", "1J", doc, [(width, height)], "pixel"),
        *point("center", "1J", "center point in a Kernel image", [(width // 2, height // 2)]),
    ]


def _fixed(_: Encoder, kernel: _FixedKernel) -> Written:
    return [[*_shape_fields(kernel.image), array("image", "D", "pixel values", kernel.image)]]


def _combination(encoder: Encoder, kernel: _LinearCombination) -> Written:
    psf = kernel.psf
    components = [encoder.put(_FixedKernel(image)) for image in psf.images]
    fields = _shape_fields(psf.images[0])
    if any(callable(f) for f in psf.functions):
        functions = [
            f if callable(f) else PolynomialFunction(coefficients=np.array([f]))
            for f in psf.functions
        ]
        ids = [encoder.put(f) for f in functions]
        fields.append(array("spatialfunctions", "J", "archive IDs of the spatial functions", ids))
    fields.append(array("components", "J", "archive IDs of component kernel", components))
    if not any(callable(f) for f in psf.functions):
        fields.append(array("amplitudes", "D", "amplitudes component kernel", psf.functions))
    return [fields]


def _polynomial(_: Encoder, function: PolynomialFunction) -> Written:
    doc = "polynomial coefficients, ordered (x,y) [0,0; 1,0; 0,1; 2,0; 1,1; 0,2; ...]"
    return [[array("coefficients", "D", doc, function.coefficients)]]


def _chebyshev(_: Encoder, function: ChebyshevFunction) -> Written:
    doc = "Chebyshev coefficients, ordered (x,y) [0,0; 1,0; 0,1; 2,0; 1,1; 0,2; ...]"
    return [
        [
            array("coefficients", "D", doc, function.coefficients),
            *point("min", "1D", "minimum point for function's bbox", [function.lowest], "pixel"),
            *point("max", "1D", "maximum point for function's bbox", [function.highest], "pixel"),
        ]
    ]


def _psfex(_: Encoder, psf: PsfexPsf) -> Written:
    count, height, width = psf.components.shape
    n_terms = len(psf.exponents)
    sizes: Sequence[int] = (width, height, count)
    doc = "average position of stars used to make the PSF"
    first = [
        scalar("ndim", "1J", "Number of elements in group", len(psf.group)),
        scalar("ngroup", "1J", "Number of elements in degree", len(psf.degree)),
        scalar("ncoeff", "1J", "Number of coefficients", n_terms),
        scalar("_size_size", "1J", "Size of _size array", len(sizes)),
        scalar("_comp_size", "1J", "Size of _comp array", psf.components.size),
        scalar("_context_size", "1J", "Size of _context array", len(psf.offset)),
        *point("averagePosition", "1D", doc, [psf.average_position], "pixel"),
        scalar("_pixstep", "1E", "oversampling", psf.step, "pixel"),
    ]
    second = [
        array("group", "J", "Groups (of coefficients?)", psf.group),
        array("degree", "J", "Degree in each group", psf.degree),
        array("basis", "D", "Values of the basis functions", np.zeros(n_terms)),
        array("coeff", "D", "Polynomial coefficients", np.zeros(n_terms)),
        array("_size", "J", "PSF dimensions", sizes),
        array("_comp", "E", "Complete pixel data", psf.components),
        array("_context_first", "D", "Offset to apply to context data", psf.offset),
        array("_context_second", "D", "Scale to apply to context data", psf.scale),
    ]
    return [first, second]


def _any_psf(encoder: Encoder, psf: Psf) -> Written:
    return _kernel_psf(encoder, constant_psf(psf))


WRITERS.update(
    {
        KernelPsf: ("KernelPsf", "lsst.meas.algorithms", _kernel_psf),
        PsfexPsf: ("PsfexPsf", "lsst.meas.extensions.psfex", _psfex),
        PolynomialFunction: ("PolynomialFunction2D", _KERNEL_MODULE, _polynomial),
        ChebyshevFunction: ("Chebyshev1Function2D", _KERNEL_MODULE, _chebyshev),
        _FixedKernel: ("FixedKernel", _KERNEL_MODULE, _fixed),
        _LinearCombination: ("LinearCombinationKernel", _KERNEL_MODULE, _combination),
        Psf: ("KernelPsf", "lsst.meas.algorithms", _any_psf),  # the last: any that is constant
    }
)
