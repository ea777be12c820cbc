"""What the topics expect of each other: small protocols, no base classes to inherit."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol, TypeVar, runtime_checkable

from ._types import Floats, Pixels

__all__ = ["PhotoCalib", "Progress", "Psf"]

T = TypeVar("T")


@runtime_checkable
class Psf(Protocol):
    """A point-spread function as a linear combination of fixed basis images.

    The PSF at a position is ``tensordot(coefficients(x, y), basis, 1)``: the *effective* PSF, that
    is, already integrated over the pixel and sampled at pixel centres, with the star at the centre
    of the central pixel.  It is normalised to the whole flux of a star; the sum of the stamp
    is therefore less than one by the light outside it.
    """

    @property
    def oversampling(self) -> int:
        """Samples per image pixel along each axis (1: native)."""
        ...

    @property
    def basis(self) -> Pixels:
        """Basis images, shape (K, S, S), S odd."""
        ...

    @property
    def fwhm(self) -> float:
        """Typical full width at half maximum [pix]."""
        ...

    def coefficients(self, x: Floats, y: Floats) -> Floats:
        """Return the basis coefficients, shape (n, K), at image positions x, y [pix], 0-based."""
        ...


class PhotoCalib(Protocol):
    """Turns instrumental fluxes into magnitudes."""

    def magnitude(self, flux: Floats) -> Floats:
        """Return AB magnitudes; NaN where ``flux <= 0``."""
        ...


class Progress(Protocol):
    """Wraps a loop so that somebody can watch it; ``iter`` satisfies it."""

    def __call__(self, items: Iterable[T], /) -> Iterator[T]:
        """Iterate over ``items`` unchanged."""
        ...
