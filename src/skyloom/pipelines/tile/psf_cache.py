"""PSF models and their transforms, kept by each worker from unit to unit."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from typing import Any

from skyloom.flow import Handle
from skyloom.psf import FieldPsf, HybridPsf, mixture_field
from skyloom.scene import PsfBank, PsfTransforms

__all__ = ["bank_of", "psf_and_transforms", "with_transforms"]

_HANDLES: dict[str, Handle[Any]] = {}
_UNSTORED: dict[str, tuple[FieldPsf, PsfTransforms]] = {}  # fallbacks: at most one per band


def psf_and_transforms(
    handle: Handle[Any], *, gaussians: int | None = None, only_extended: bool = False
) -> tuple[FieldPsf | HybridPsf, PsfTransforms]:
    """Return the PSF of a stored model and its Fourier transforms.

    With ``gaussians`` a PSF made from stars is replaced by a sum of so many Gaussians, for all
    sources or only for those that are extended.
    """
    _HANDLES[handle.digest] = handle
    try:
        return _load(handle.digest, gaussians, only_extended)
    finally:
        del _HANDLES[handle.digest]


@lru_cache(maxsize=64)
def _load(
    digest: str, gaussians: int | None, only_extended: bool
) -> tuple[FieldPsf | HybridPsf, PsfTransforms]:
    arrays = _HANDLES[digest].read()
    exact = FieldPsf.from_arrays(arrays)
    if gaussians is None or arrays.get("is_fallback", False):
        return exact, PsfTransforms(exact)
    mixture = mixture_field(exact, gaussians)
    psf = HybridPsf(point=exact, extended=mixture) if only_extended else mixture
    return psf, PsfTransforms(psf)


def with_transforms(psf: FieldPsf) -> tuple[FieldPsf, PsfTransforms]:
    """Return a PSF that no file holds, and its transforms: always the same for equal PSFs."""
    key = hashlib.sha256(psf.basis.tobytes()).hexdigest() + f"{psf.shape}"
    return _UNSTORED.setdefault(key, (psf, PsfTransforms(psf)))


@lru_cache(maxsize=64)
def bank_of(*transforms: PsfTransforms) -> PsfBank:
    """Return the one bank of these transforms, one per band."""
    return PsfBank(transforms)
