"""PSF models and their transforms, kept by each worker from unit to unit."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from skyloom.flow import Handle
from skyloom.psf import FieldPsf, mixture_field
from skyloom.scene import PsfBank, PsfTransforms

__all__ = ["bank_of", "psf_and_transforms", "with_transforms"]

_HANDLES: dict[str, Handle[Any]] = {}
_UNSTORED: dict[str, tuple[FieldPsf, PsfTransforms]] = {}  # fallbacks: at most one per band


def psf_and_transforms(
    handle: Handle[Any], *, gaussians: int | None = None
) -> tuple[FieldPsf, PsfTransforms]:
    """Return the PSF of a stored model and its Fourier transforms.

    With ``gaussians`` a PSF made from stars is replaced by a sum of so many Gaussians.
    """
    _HANDLES[handle.digest] = handle
    try:
        return _load(handle.digest, gaussians)
    finally:
        del _HANDLES[handle.digest]


@lru_cache(maxsize=64)
def _load(digest: str, gaussians: int | None) -> tuple[FieldPsf, PsfTransforms]:
    arrays = _HANDLES[digest].read()
    psf = FieldPsf.from_arrays(arrays)
    if gaussians is not None and not arrays.get("is_fallback", False):
        psf = mixture_field(psf, gaussians)
    return psf, PsfTransforms(psf)


def with_transforms(psf: FieldPsf) -> tuple[FieldPsf, PsfTransforms]:
    """Return a PSF that no file holds, and its transforms: always the same for equal PSFs."""
    key = hashlib.sha256(psf.basis.tobytes()).hexdigest() + f"{psf.shape}"
    return _UNSTORED.setdefault(key, (psf, PsfTransforms(psf)))


@lru_cache(maxsize=64)
def bank_of(*transforms: PsfTransforms) -> PsfBank:
    """Return the one bank of these transforms, one per band."""
    return PsfBank(transforms)
