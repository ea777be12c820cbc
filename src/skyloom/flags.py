"""Quality flags: bits that carry their meaning.

A member is declared as ``NAME = value, "sentence"``; the sentence is the documentation of the bit
in the code, in FITS headers and in the docs.
"""

from __future__ import annotations

from enum import IntFlag
from typing import Self

__all__ = ["FitFlag", "QualityFlag"]


class QualityFlag(IntFlag):
    """An `enum.IntFlag` whose members carry a sentence in ``meaning``."""

    meaning: str

    def __new__(cls, value: int, meaning: str = "") -> Self:
        """Create a member from ``value, meaning``."""
        member = int.__new__(cls, value)
        member._value_ = value
        member.meaning = meaning
        return member

    @classmethod
    def table(cls) -> list[tuple[int, str, str]]:
        """List ``(bit value, name, meaning)`` of every member, lowest bit first."""
        return [(m.value, m.name or "", m.meaning) for m in cls]


class FitFlag(QualityFlag):
    """Reasons to distrust the fit of a source; column ``fit_flags``."""

    NO_DATA = 1, "no usable pixel in any band: nothing was fitted"
    NO_DATA_BAND = 2, "at least one band has no usable pixel: its flux is missing"
    NOT_CONVERGED = 4, "the optimiser stopped at its iteration limit"
    FAILED = 8, "the fit gave no finite answer: position and shape are those of the catalogue"
    SINGULAR = 16, "fluxes cannot be told apart from a neighbour's: their errors are infinite"
    BOUND_POSITION = 32, "the position ended at the edge of its box"
    BOUND_SHAPE = 64, "size, ellipticity or Sersic index ended at a limit"
    FROZEN = 128, "too faint to measure position or shape: they were kept at the catalogue's"
    SATURATED = 256, "saturated pixels in the core: fitted as a star on what is left"
    NEAR_SATURATED = 512, "within reach of a saturated star: its halo may be in the fluxes"
    HALO_FRAGMENT = 1024, "looks like a piece of a bright star's halo, not like a source"
    FORCED_STAR = 2048, "catalogue type overruled: a saturated star is fitted as a star"
    POOR_FIT = 4096, "the residual is far above the noise: structure that the model cannot follow"
    EDGE = 8192, "the footprint is cut by the frame"
    MASKED_CORE = 16384, "masked pixels inside the core"
    NO_EPSF = 32768, "at least one band used a fallback PSF from the header"
    CLOSE_PAIR = 65536, "a neighbour nearer than half a FWHM: trust the sum of both, not the parts"
    STRUCTURED = 131072, "a galaxy with arms, a bar, a ring: more than its smooth model can follow"
    SPIKE = 262144, "a spike or bleed trail of a bright star was masked on it"
    TYPE_UNCHECKED = 524288, "its model grew beyond 256 pix before its type could be judged"
    SWOLLEN = 1048576, "grown far beyond its start, below the noise: a halo, a stripe, the sky"
    UNMODELLED_LIGHT = 2097152, "light nearby that no model has: a neighbour is missing, or wrong"
    STRAYED = 4194304, "its model left the source; fitted again, held near the catalogue's"
