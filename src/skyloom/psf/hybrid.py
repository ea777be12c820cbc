"""A PSF that is one model for point sources and another for extended ones."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from skyloom._types import Floats, Pixels
from skyloom.errors import WrongValue

from .field import FieldPsf

__all__ = ["HybridPsf"]


@dataclass(frozen=True, kw_only=True, eq=False)
class HybridPsf:
    """Two PSFs side by side: a basis of the images of both, each source with its own of them.

    Parameters
    ----------
    point : FieldPsf
        For point sources; also what is answered where the kind of a source does not matter.
    extended : FieldPsf
        For extended ones, with the same sampling and stamps of the same side.

    Raises
    ------
    WrongValue
        If sampling or stamps differ.
    """

    point: FieldPsf
    extended: FieldPsf

    def __post_init__(self) -> None:
        two = (self.point, self.extended)
        if len({(psf.oversampling, psf.basis.shape[1:]) for psf in two}) > 1:
            raise WrongValue(
                f"HybridPsf: stamps of {two[0].basis.shape[1:]} and {two[1].basis.shape[1:]} "
                f"samples, {two[0].oversampling} and {two[1].oversampling} per pixel, must be "
                "alike; make both from one model"
            )

    @property
    def oversampling(self) -> int:
        """Samples per pixel along each axis."""
        return self.point.oversampling

    @property
    def fwhm(self) -> float:
        """Typical full width at half maximum [pix], of the point sources."""
        return self.point.fwhm

    @cached_property
    def basis(self) -> Pixels:
        """Basis images of both, shape (K, S, S)."""
        basis = np.concatenate([self.point.basis, self.extended.basis])
        basis.flags.writeable = False
        return basis

    def coefficients(self, x: Floats, y: Floats) -> Floats:
        """Return the basis coefficients of point sources, shape (n, K)."""
        own = self.point.coefficients(x, y)
        return np.hstack([own, np.zeros((len(own), len(self.extended.basis)))])

    def extended_coefficients(self, x: Floats, y: Floats) -> Floats:
        """Return the basis coefficients of extended sources, shape (n, K)."""
        own = self.extended.coefficients(x, y)
        return np.hstack([np.zeros((len(own), len(self.point.basis))), own])
