"""What the kernels need before the first pixel: profile tables, twiddles, transforms of PSFs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from threading import Lock
from typing import Literal

import numpy as np

from skyloom._types import Bools, Floats, Pixels
from skyloom.protocols import Psf
from skyloom.psf import HybridPsf

from ._fft_nb import twiddles
from ._records import SINGLE_SIDE, Tables
from ._vector_nb import aligned
from ._wide_nb import levels_of
from .profiles import fixed_table, sersic_table_grid
from .wide import psf_half_planes, psf_level, wide_filter, wide_renderer

__all__ = ["STAMP_SIDES", "ProfileVariant", "PsfBank", "PsfTransforms", "kernel_tables"]

ProfileVariant = Literal["exact", "hl13"]
STAMP_SIDES = (32, 64, 128, SINGLE_SIDE)
"""Stamp sides that the engine renders in one transform [pix]."""


@cache
def kernel_tables(variant: ProfileVariant = "exact") -> Tables:
    """Return the tables that all kernels share; made once per process."""
    log_n, spline = sersic_table_grid()
    grids = (*STAMP_SIDES, 2 * SINGLE_SIDE)  # the last one is folded
    k1 = np.zeros((max(grids).bit_length(), max(grids)), np.float32)
    cos, sin = np.zeros_like(k1), np.zeros_like(k1)
    for side in grids:
        e = side.bit_length() - 1
        k1[e, :side] = 2.0 * np.pi * np.fft.fftfreq(side)
        cos[e, :side], sin[e, :side] = twiddles(side)
    tables = Tables(
        fixed_table("exp", variant),
        fixed_table("dev", variant),
        log_n,
        spline,
        k1,
        cos,
        sin,
        wide_filter(),
        0,
    )
    return tables._replace(render_wide=wide_renderer(tables))


class PsfTransforms:
    """Fourier transforms of the basis of one PSF, per stamp side, made on demand.

    Parameters
    ----------
    psf : Psf
        Sampled once or twice per pixel; each sample is integrated over a whole pixel.

    Raises
    ------
    ValueError
        If the sampling is another, or the stamp is not square and odd.
    """

    def __init__(self, psf: Psf) -> None:
        basis = np.asarray(psf.basis)
        if psf.oversampling not in (1, 2):
            msg = f"PSF with oversampling {psf.oversampling}: only 1 and 2 are supported"
            raise ValueError(msg)
        if basis.ndim != 3 or basis.shape[1] != basis.shape[2] or basis.shape[1] % 2 == 0:
            msg = f"PSF basis of shape {basis.shape}: (K, S, S) with odd S is needed"
            raise ValueError(msg)
        self._psf = psf
        self._cache: dict[tuple[int, int], Pixels] = {}
        self._levels: dict[tuple[int, int, int], Pixels] = {}
        self._rings: dict[tuple[tuple[float, ...], float], list[Pixels]] = {}

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return int(self._psf.oversampling)

    def basis(self, side: int, fold: int = 1) -> Pixels:
        """Return the transforms of all basis images, flat, ``[kx, ky]``, kx from 0 to Nyquist.

        With ``m = side * fold`` each of the K rows holds the real and then the imaginary part of
        (m // 2 + 1, m) wave numbers; those left out are conjugates.  ``fold`` is 1, or the
        oversampling: then frequencies beyond Nyquist are kept, for kernels that fold their
        aliases.  Sides above 256 have `wide.psf_levels` instead.
        """
        key = self.key(side, fold)
        known = self._cache.get(key)
        if known is not None:
            return known
        levels = max(0, -key[0])
        found = np.stack(
            [
                np.concatenate([self._level(k, n, fold if n == 0 else 1) for n in range(levels)])
                if levels
                else _transform(b, side, fold, self.oversampling)
                for k, b in enumerate(self._psf.basis)
            ]
        )
        # Threads may have made the same: what was there first stays, others hold on to it.
        return self._cache.setdefault(key, found)

    @staticmethod
    def key(side: int, fold: int) -> tuple[int, int]:
        """Return what transforms are kept by: large stamps with as many levels share theirs."""
        return (-levels_of(side) if side > SINGLE_SIDE else side), fold

    def is_known(self, side: int, fold: int) -> bool:
        """Tell whether the transforms of `basis` are there already."""
        return self.key(side, fold) in self._cache

    def forget(self, side: int, fold: int) -> None:
        """Give memory back: a bank has a copy now.  Whoever asks again has them made anew."""
        self._cache.pop(self.key(side, fold), None)

    def _level(self, k: int, level: int, fold: int) -> Pixels:
        """Return one level of one basis image, which stamps of more levels share."""
        key = k, level, fold
        if key not in self._levels:
            self._levels[key] = psf_level(self._psf.basis[k], self.oversampling, level, fold)
        return self._levels[key]

    def rings(self, radii: tuple[float, ...], margin: float) -> list[Pixels]:
        """Return the samples (K, m) of all basis images about some radii [pix].

        None where the stamp ends less than ``margin`` beyond the ring.
        """
        key = radii, margin
        if key not in self._rings:
            basis = np.asarray(self._psf.basis)
            side = basis.shape[-1]
            axis = (np.arange(side) - side // 2) / self.oversampling
            radius = np.hypot(axis[:, None], axis[None, :])
            self._rings[key] = [
                basis[
                    :, (np.abs(radius - r) < 1.0) & (side // self.oversampling > 2.0 * r + margin)
                ]
                for r in radii
            ]
        return self._rings[key]

    def coefficients(self, x: Floats, y: Floats, is_extended: Bools | None = None) -> Floats:
        """Return the basis coefficients at image positions, shape (n, K).

        Where ``is_extended`` (n,) says so, those of extended sources, if the PSF has such.
        """
        found = self._psf.coefficients(x, y)
        if is_extended is not None and isinstance(self._psf, HybridPsf):
            found = np.where(is_extended[:, None], self._psf.extended_coefficients(x, y), found)
        return np.ascontiguousarray(found, dtype=np.float64)


class PsfBank:
    """All transforms that the images of a scene need, in one flat array for the kernels.

    Scenes with the same PSFs may share a bank; threads too.  Nothing in it ever changes.

    Parameters
    ----------
    transforms : sequence of PsfTransforms
        One per image.
    """

    def __init__(self, transforms: Sequence[PsfTransforms]) -> None:
        self.transforms = tuple(transforms)
        self._lock = Lock()
        self._start: dict[tuple[int, tuple[int, int]], int] = {}  # by image and `PsfTransforms.key`
        self._room = np.empty(0, np.float32)
        self._length = 0

    def prepare(
        self, wanted: Iterable[tuple[int, int, int]], in_threads: Callable[..., None]
    ) -> None:
        """Compute transforms ahead, PSFs side by side; ``wanted``: image, stamp side, folding."""
        work: dict[int, list[tuple[PsfTransforms, int, int]]] = {}
        for image, side, fold in wanted:
            psf = self.transforms[image]
            is_here = (image, psf.key(side, fold)) in self._start
            if not is_here and not psf.is_known(side, fold):
                work.setdefault(id(psf), []).append((psf, side, fold))

        def compute(tasks: Sequence[tuple[PsfTransforms, int, int]]) -> None:
            for psf, side, fold in tasks:
                psf.basis(side, fold)

        in_threads(compute, list(work.values()))

    def offset(self, image: int, side: int, fold: int) -> int:
        """Return where the basis of one image starts, for one stamp side and folding."""
        psf = self.transforms[image]
        key = image, psf.key(side, fold)
        with self._lock:
            if key not in self._start:
                basis = psf.basis(side, fold)
                self._start[key] = self._length
                self._append(basis.ravel())
                psf.forget(side, fold)
            return self._start[key]

    def _append(self, values: Pixels) -> None:
        """Put values behind what is there; room grows fourfold, so that little is copied.

        Room that nothing was written to takes no memory.
        """
        end = self._length + values.size
        if end > self._room.size:
            room = aligned(max(end, 4 * self._room.size))
            room[: self._length] = self._room[: self._length]
            self._room = room
        self._room[self._length : end] = values
        self._length = end

    @property
    def flat(self) -> Pixels:
        """Everything that was asked for so far; what comes later is put behind it."""
        with self._lock:
            return self._room[: self._length]


def _transform(stamp: Pixels, side: int, fold: int, oversampling: int) -> Pixels:
    """Transform a centred odd stamp, cut or padded to ``side`` pixels, centre at the origin.

    With ``fold < oversampling`` only frequencies below Nyquist are kept.
    """
    planes = psf_half_planes(stamp, oversampling, side, fold=fold)
    if fold == oversampling:
        planes *= np.float32(oversampling**2)
    # The Nyquist row and column have no partner: a shifted real image cannot use them.
    planes[:, side * fold // 2, :] = 0.0
    planes[:, :, side * fold // 2] = 0.0
    return planes.ravel()
