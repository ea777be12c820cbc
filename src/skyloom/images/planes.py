"""Masks with named planes: each mask knows which of its bits means what.

A bit number has no meaning outside its own mask: the same name has other bits in other files.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal, Self

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools
from skyloom.errors import Mismatch, TooManyMaskPlanes, UnknownMaskPlane, WrongType
from skyloom.geometry import Box
from skyloom.images.image import Plane, new_plane

if TYPE_CHECKING:
    from astropy.io.fits import Header

__all__ = ["DEFAULT_PLANES", "MASK_ALIASES", "Mask"]

DEFAULT_PLANES: Final[Mapping[str, int]] = {
    "BAD": 0,
    "SAT": 1,
    "INTRP": 2,
    "CR": 3,
    "EDGE": 4,
    "DETECTED": 5,
    "DETECTED_NEGATIVE": 6,
    "SUSPECT": 7,
    "NO_DATA": 8,
}
"""Planes of a new mask: name -> bit."""

MASK_ALIASES: Final[Mapping[str, str]] = {
    "SAT": "SATURATED",
    "SATURATED": "SAT",
    "INTRP": "INTERPOLATED",
    "INTERPOLATED": "INTRP",
}
"""Names that mean the same plane; a mask keeps the one that it has."""

_OPERATIONS: Final[Mapping[str, Callable[..., Any]]] = {
    "or": operator.ior,
    "and": operator.iand,
    "xor": operator.ixor,
}


class Mask(Plane):
    """Bits of pixels, with the names of the planes.

    Parameters
    ----------
    array : array_like of int, shape (ny, nx)
        The bits, int32 as a rule; uint16 is what old files hold.  An ndarray is shared.
    planes : mapping of str to int, optional
        Name of a plane -> its bit; default `DEFAULT_PLANES`.
    xy0 : (int, int)
        Parent coordinates (x, y) of the first pixel.
    metadata : astropy.io.fits.Header, optional
        Cards of its own.

    Notes
    -----
    Bit 31 of an int32 is its sign.  `bits` is the same memory as unsigned numbers; compute there.

    Examples
    --------
    >>> mask = Mask.zeros(4, 3)
    >>> mask.array[1, 2] |= mask.get_plane_bit_mask("SAT")
    >>> int(mask.is_set("SATURATED").sum())
    1
    """

    __slots__ = ("planes",)

    planes: dict[str, int]

    def __init__(
        self,
        array: npt.ArrayLike,
        *,
        planes: Mapping[str, int] | None = None,
        xy0: tuple[int, int] = (0, 0),
        metadata: Header | None = None,
    ) -> None:
        super().__init__(array, xy0=xy0, metadata=metadata)
        if not np.issubdtype(self.array.dtype, np.integer):
            raise WrongType(
                f"a mask holds integers, not {self.array.dtype.name}; convert it (astype)"
            )
        if isinstance(array, (list, tuple)):
            self.array = self.array.astype(np.int32)
        self.planes = dict(DEFAULT_PLANES if planes is None else planes)
        for name, bit in self.planes.items():
            if not 0 <= bit < self.n_bits:
                raise TooManyMaskPlanes(
                    f"plane {name} has bit {bit}, a mask of {self.array.dtype.name} has "
                    f"{self.n_bits} bits; convert it to int32 (Mask.widened)",
                    plane=name,
                    bit=bit,
                )

    @classmethod
    def zeros(
        cls,
        width: int | Box,
        height: int | None = None,
        *,
        planes: Mapping[str, int] | None = None,
        xy0: tuple[int, int] = (0, 0),
    ) -> Self:
        """Return a mask without a set bit, of a width and a height, or of a box."""
        made: Self = new_plane(partial(cls, planes=planes), np.int32, width, height, xy0)
        return made

    @property
    def n_bits(self) -> int:
        """Number of bits of a pixel, 32 or 16."""
        return 8 * self.array.dtype.itemsize

    @property
    def bits(self) -> npt.NDArray[Any]:
        """The array as unsigned numbers; the same memory."""
        return self.array.view(np.dtype(f"u{self.array.dtype.itemsize}"))

    def __getitem__(self, box: Box) -> Self:
        """Return the part in a box of parent coordinates; it shares memory with the mask."""
        return self._like(self.array[self.slices(box)], (box.x0, box.y0))

    def copy(self) -> Self:
        """Return a mask with pixels and planes of its own."""
        return self._like(self.array.copy(), self.xy0)

    def widened(self) -> Self:
        """Return a copy in int32."""
        return self._like(self.bits.astype(np.uint32).view(np.int32), self.xy0)

    def has_plane(self, name: str) -> bool:
        """Tell whether there is such a plane, or one that means the same."""
        return name in self.planes or MASK_ALIASES.get(name) in self.planes

    def get_mask_plane(self, name: str) -> int:
        """Return the bit of a plane.

        Raises
        ------
        UnknownMaskPlane
            If the mask has no such plane.
        """
        for known in (name, MASK_ALIASES.get(name)):
            if known in self.planes:
                return self.planes[known]
        raise UnknownMaskPlane(
            f"the mask has no plane {name!r}; it has {', '.join(self.planes)}",
            plane=name,
            known=tuple(self.planes),
        )

    def get_plane_bit_mask(self, names: str | Iterable[str]) -> int:
        """Return ``1 << bit`` of a plane, or that of several planes or'ed."""
        if isinstance(names, str):
            names = [names]
        value = 0
        for name in names:
            value |= 1 << self.get_mask_plane(name)
        return value

    def is_set(self, names: str | Iterable[str]) -> Bools:
        """Tell which pixels have any of some planes set."""
        return np.asarray((self.bits & self._scalar(self.get_plane_bit_mask(names))) != 0)

    def add_mask_plane(self, name: str) -> int:
        """Return the bit of a plane; a new one gets the lowest bit that no plane uses.

        Raises
        ------
        TooManyMaskPlanes
            If all bits are used.
        """
        if self.has_plane(name):
            return self.get_mask_plane(name)
        free = sorted(set(range(self.n_bits)) - set(self.planes.values()))
        if not free:
            raise TooManyMaskPlanes(
                f"no bit is left for plane {name}: a mask of {self.array.dtype.name} has "
                f"{self.n_bits}; remove a plane (remove_and_clear_mask_plane)"
                + ("" if self.n_bits >= 32 else " or convert it to int32 (widened)"),
                plane=name,
                limit=self.n_bits,
            )
        self.planes[name] = free[0]
        return free[0]

    def clear_mask_plane(self, bit: int) -> None:
        """Clear one bit of all pixels."""
        bits = self.bits
        bits &= self._scalar(~(1 << bit))

    def remove_and_clear_mask_plane(self, name: str) -> None:
        """Clear the bit of a plane in all pixels and forget the plane."""
        bit = self.get_mask_plane(name)
        self.clear_mask_plane(bit)
        del self.planes[name if name in self.planes else MASK_ALIASES[name]]

    def conform_mask_planes(self, planes: Mapping[str, int]) -> None:
        """Move bits so that planes have the bits of another dictionary, in place.

        Planes that the other lacks keep their bit where it is free, else get the lowest free one;
        planes that only the other has are added, empty.
        """
        wanted = {self._own_name(name): bit for name, bit in planes.items()}
        for name, bit in wanted.items():
            if not 0 <= bit < self.n_bits:
                raise TooManyMaskPlanes(
                    f"plane {name} should get bit {bit}, a mask of {self.array.dtype.name} has "
                    f"{self.n_bits} bits; convert it to int32 (widened)",
                    plane=name,
                    bit=bit,
                )
        taken = set(wanted.values())
        for name, bit in self.planes.items():
            if name in wanted:
                continue
            if bit in taken:
                free = sorted(set(range(self.n_bits)) - taken - set(self.planes.values()))
                free = free or sorted(set(range(self.n_bits)) - taken)
                if not free:
                    raise TooManyMaskPlanes(f"no bit is left for plane {name}", plane=name)
                bit = free[0]  # noqa: PLW2901
            wanted[name] = bit
            taken.add(bit)
        moves = {old: wanted[name] for name, old in self.planes.items() if wanted[name] != old}
        if moves:
            bits = self.bits
            before = bits.copy()
            for old in moves:
                bits &= self._scalar(~(1 << old))
            for old, new in moves.items():
                bits |= ((before >> self._scalar(old)) & self._scalar(1)) << self._scalar(new)
        self.planes = wanted

    def combine(
        self, other: Mask | int, how: Literal["or", "and", "xor"] = "or", *, conform: bool = False
    ) -> Self:
        """Combine with another mask of the same shape, or with a number, in place.

        Parameters
        ----------
        other : Mask or int
            What to combine with.
        how : {"or", "and", "xor"}
            The operation.
        conform : bool
            Where the two masks give their planes different bits: True moves those of `other` (a
            copy of it) to the bits of this mask; planes that only `other` has are added here.

        Raises
        ------
        Mismatch
            If the shapes differ, or the planes do and `conform` is False.
        """
        bits = self.bits
        if isinstance(other, Mask):
            if other.shape != self.shape:
                raise Mismatch(
                    f"masks of {self.width} x {self.height} and {other.width} x {other.height} "
                    "pixels cannot be combined; cut them to the same box"
                )
            if not self._agrees(other):
                if not conform:
                    raise Mismatch(
                        "the masks give their planes different bits "
                        f"({_differences(self.planes, other.planes)}); use "
                        "combine(..., conform=True) to go by name"
                    )
                for name in other.planes:
                    self.add_mask_plane(name)
                other = other.widened() if other.n_bits < self.n_bits else other.copy()
                other.conform_mask_planes(self.planes)
            _OPERATIONS[how](bits, other.bits.astype(bits.dtype))
        else:
            _OPERATIONS[how](bits, self._scalar(int(other)))
        return self

    def __ior__(self, other: Mask | int) -> Self:
        return self.combine(other, "or")

    def __iand__(self, other: Mask | int) -> Self:
        return self.combine(other, "and")

    def __ixor__(self, other: Mask | int) -> Self:
        return self.combine(other, "xor")

    @classmethod
    def read(cls, path: Path | str, bbox: Box | None = None) -> Mask:
        """Read a mask, with its planes, from a FITS file that holds one."""
        from skyloom.images.afw.read import read_mask  # noqa: PLC0415

        return read_mask(path, bbox)

    def write(self, path: Path | str, *, overwrite: bool = False) -> None:
        """Write it as a FITS file of one HDU, under a temporary name that is then renamed.

        Raises
        ------
        OutputExists
            If there is a file, and `overwrite` does not allow to replace it.
        Unwritable
            If the file cannot be written.
        """
        from skyloom.images.afw.write import write_mask  # noqa: PLC0415

        write_mask(self, path, overwrite=overwrite)

    def _like(self, array: npt.NDArray[Any], xy0: tuple[int, int]) -> Self:
        metadata = None if self._metadata is None else self._metadata.copy()
        return type(self)(array, planes=self.planes, xy0=xy0, metadata=metadata)

    def _own_name(self, name: str) -> str:
        alias = MASK_ALIASES.get(name)
        return alias if name not in self.planes and alias in self.planes else name

    def _agrees(self, other: Mask) -> bool:
        return {self._own_name(name): bit for name, bit in other.planes.items()} == self.planes

    def _scalar(self, value: int) -> Any:
        return self.bits.dtype.type(value & ((1 << self.n_bits) - 1))


def _differences(a: Mapping[str, int], b: Mapping[str, int]) -> str:
    names = [n for n in dict.fromkeys([*a, *b]) if a.get(n) != b.get(n)]
    return ", ".join(f"{n}: {a.get(n, 'none')} and {b.get(n, 'none')}" for n in names[:5])
