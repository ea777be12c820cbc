"""Old names of the camera: ``lsst.afw.cameraGeom``; the CCDs of HSC, by number and size."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, final

from skyloom.compat.hsc.afw_geom import Box2I
from skyloom.geometry import Box

__all__ = ["Camera", "Ccd", "Id", "cast_Ccd", "cast_Raft"]

_N_CCDS: Final = 112  # of HSC: 104 for science, 8 to focus and guide
_WIDTH, _HEIGHT = 2048, 4176  # pix, of a CCD without overscan


@final
class Id(int):
    """Number of a CCD; once an object with a serial number."""

    def getSerial(self) -> int:
        """Use the number of the CCD."""
        return int(self)


@final
class Ccd:
    """One CCD: its number and its box; where it is in the camera is not known here."""

    def __init__(self, number: int, camera: Camera) -> None:
        self._number, self.camera = number, camera

    def getId(self) -> Id:
        """Use the number of the CCD, ``ccd`` of a data ID."""
        return Id(self._number)

    def getSerial(self) -> str:
        """Use the number of the CCD."""
        return str(self._number)

    def getBBox(self) -> Box2I:
        """Use ``exposure.box``, or ``Box(0, 2048, 0, 4176)``."""
        made: Box2I = Box2I.of(Box(0, _WIDTH, 0, _HEIGHT))
        return made

    def getAllPixels(self, isTrimmed: bool = True) -> Box2I:  # noqa: ARG002 - of whole CCDs
        """Use ``exposure.box``, or ``Box(0, 2048, 0, 4176)``."""
        return self.getBBox()

    def __repr__(self) -> str:
        return f"<CCD {self._number} of HSC>"


@final
class Camera:
    """The CCDs of HSC, in the order of their numbers."""

    def __init__(self) -> None:
        self._ccds = [Ccd(number, self) for number in range(_N_CCDS)]

    def getName(self) -> str:
        """Use ``"HSC"``."""
        return "HSC"

    def __len__(self) -> int:
        return len(self._ccds)

    def __iter__(self) -> Iterator[Ccd]:
        return iter(self._ccds)

    def __getitem__(self, number: int) -> Ccd:
        if not 0 <= number < _N_CCDS:
            raise IndexError(f"HSC has CCDs 0 to {_N_CCDS - 1}, no {number}")
        return self._ccds[number]

    def __repr__(self) -> str:
        return f"<camera HSC, {_N_CCDS} CCDs>"


def cast_Ccd(ccd: Any) -> Ccd:
    """Use the CCD itself."""
    found: Ccd = ccd
    return found


def cast_Raft(raft: Any) -> Camera:
    """Use the camera: HSC has one raft, ``camera[0]`` of old scripts."""
    found: Camera = raft.camera if isinstance(raft, Ccd) else raft
    return found
