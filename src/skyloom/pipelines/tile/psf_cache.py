"""PSF models and their transforms, kept by each worker from unit to unit."""

from __future__ import annotations

from functools import lru_cache
from typing import Any

from skyloom.flow import Handle
from skyloom.psf import FieldPsf
from skyloom.scene import PsfBank, PsfTransforms

__all__ = ["bank_of", "psf_and_transforms"]

_HANDLES: dict[str, Handle[Any]] = {}


def psf_and_transforms(handle: Handle[Any]) -> tuple[FieldPsf, PsfTransforms]:
    """Return the PSF of a stored model and its Fourier transforms."""
    _HANDLES[handle.digest] = handle
    try:
        return _load(handle.digest)
    finally:
        del _HANDLES[handle.digest]


@lru_cache(maxsize=64)
def _load(digest: str) -> tuple[FieldPsf, PsfTransforms]:
    psf = FieldPsf.from_arrays(_HANDLES[digest].read())
    return psf, PsfTransforms(psf)


@lru_cache(maxsize=4)
def bank_of(*transforms: PsfTransforms) -> PsfBank:
    """Return the one bank of these transforms, one per band."""
    return PsfBank(transforms)
