"""What the builder of PSFs is told and what it answers."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.errors import WrongValue
from skyloom.flags import QualityFlag

from .field import FieldPsf
from .growth import GrowthCurve

__all__ = ["BuilderOptions", "FieldPsfResult", "StarFits", "StarFlag", "residual_qa"]


class StarFlag(QualityFlag):
    """Why a star did not enter the PSF."""

    NO_DATA = 1, "no usable pixel, or too few in the core"
    FAINT = 2, "below the minimum signal-to-noise ratio"
    FIT_FAILED = 4, "no profile could be fitted"
    SHAPE = 8, "size or ellipticity differ from the stars around it"
    POOR_FIT = 16, "the PSF does not fit it: saturated, blended, a galaxy or a defect"
    MOVED = 64, "farther from its start than the builder may move it"
    NOT_NEEDED = 32, "enough brighter stars: neither used nor measured"


UNMEASURED = StarFlag.NO_DATA | StarFlag.FIT_FAILED
"""Flags of stars without numbers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BuilderOptions:
    """How a PSF is built.

    Parameters
    ----------
    side : int
        Side of the stamps of the result [pix], odd, at most that of the cutouts.
    oversampling : int, optional
        Samples per pixel of the result; by default 2 for a FWHM below 3.5 pixels, else 1.  A
        stamp sampled once per pixel is aliased there, and sub-pixel shifts of it ring along rows
        and columns.
    max_order : int
        Highest order of the polynomials over the field, 0 to 3; those of third order, of size and
        ellipticity only, are shrunk as far as the stars do not know them.
    stars_per_term : float
        Stars needed for each polynomial term of size and ellipticity.
    local : bool
        Allow a local correction of size and ellipticity where left-out stars ask for it.
    varying_correction : bool
        Allow what no Moffat describes to vary over the field where left-out stars ask for it.
    iterations : int
        Rounds of fitting stars and correction, at most.
    min_snr : float
        Stars below this signal-to-noise ratio are not used.
    clip_sigma : float
        Stars whose shape differs by more than this are not used.
    source_variance : float
        Variance of a pixel per unit of star light in it: 1 / gain in units of the image.
    model_error : float
        Relative error of the PSF per pixel; keeps the brightest stars from ruling alone.
    total_radius : float
        Radius [pix] within which the light of a star counts as its whole flux; never less than
        the stamp.
    max_shift : float
        Stars that are found farther from their start [pix], in x or in y, are not used.  The stamp
        is searched within 3 pixels of its centre, so that 3.5 and more are no limit.
    max_stars : int
        Stars used at most, the brightest of each part of the field.
    residuals : bool
        Return the residual images of the stars.

    Raises
    ------
    WrongValue
        If a value is outside its range.
    """

    side: int = 55
    oversampling: int | None = None
    max_order: int = 3
    stars_per_term: float = 3.0
    local: bool = True
    varying_correction: bool = True
    iterations: int = 6
    min_snr: float = 15.0
    clip_sigma: float = 4.5
    source_variance: float = 0.0
    model_error: float = 0.005
    total_radius: float = 100.0
    max_shift: float = math.inf
    max_stars: int = 200
    residuals: bool = True

    def __post_init__(self) -> None:
        limits = {
            "side": (self.side >= 11 and self.side % 2 == 1, "odd and at least 11"),
            "oversampling": (self.oversampling in {None, 1, 2}, "1 or 2"),
            "max_order": (0 <= self.max_order <= 3, "0 to 3"),
            "iterations": (self.iterations >= 1, "at least 1"),
            "source_variance": (self.source_variance >= 0, "at least 0"),
            "model_error": (0 < self.model_error < 1, "between 0 and 1"),
            "total_radius": (self.total_radius > 0, "> 0"),
            "max_shift": (self.max_shift > 0, "> 0"),
            "max_stars": (self.max_stars >= 1, "at least 1"),
        }
        for name, (good, rule) in limits.items():
            if not good:
                raise WrongValue(
                    f"BuilderOptions: {name} = {getattr(self, name)} must be {rule}", name=name
                )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarFits:
    """The stars as fitted with the final PSF; arrays in input order, NaN where not measured."""

    x: Floats  # pix, in the image
    y: Floats
    flux: Floats  # total flux
    flux_err: Floats
    pedestal: Floats  # local sky level, per pixel
    chi2: Floats  # per pixel, within 7 pixels of the star, variance from sky and model
    shape_deviation: Floats  # sigma; of size and ellipticity from their prediction by the others
    used: Bools
    flags: Ints  # StarFlag

    @property
    def snr(self) -> Floats:
        """Signal-to-noise ratio of the flux."""
        return np.asarray(self.flux / self.flux_err)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldPsfResult:
    """A PSF and how it came about."""

    psf: FieldPsf | None  # None: no usable star; take a Moffat from the header FWHM
    growth: GrowthCurve | None
    stars: StarFits
    order: int  # of size and ellipticity over the field
    local_length: float  # of their local correction, in half-widths of the field; 0 for none
    correction_order: int  # of the correction of the profile; -1 for none
    beta: float  # Moffat exponent; NaN without a PSF
    fwhm: float  # pix; NaN without a PSF
    scores: dict[str, float]  # candidate -> left-out chi-square per star
    masked: Bools  # (n, S, S) pixels of the cutouts that were left out
    residuals: Pixels | None  # (n, S, S) data minus model; None unless asked for
    sigma: Pixels | None  # (n, S, S) noise of sky and star in them

    @property
    def n_used(self) -> int:
        """Number of stars that made the PSF."""
        return int(self.stars.used.sum())


def residual_qa(result: FieldPsfResult, rows: Ints | None = None) -> dict[str, float | None]:
    """Return the residual numbers of some stars for a ``meta.json``.

    ``resid_bias`` and ``resid_rms`` are mean and rms of data minus model per pixel, relative to
    the flux of the star; ``resid_norm_bias`` and ``resid_norm_rms`` the same in units of the noise.
    Masked pixels do not count.  None where there is nothing to count.

    Parameters
    ----------
    result : FieldPsfResult
        Made with ``residuals`` on.
    rows : ndarray of int, optional
        Stars; by default those that made the PSF.
    """
    rows = np.flatnonzero(result.stars.used) if rows is None else np.asarray(rows, np.int64)
    out: dict[str, float | None] = {"resid_nstars": int(rows.size)}
    names = ("resid_bias", "resid_rms", "resid_norm_bias", "resid_norm_rms")
    if result.residuals is None or result.sigma is None:
        return {**out, **dict.fromkeys(names)}
    good = ~result.masked[rows]
    residual = result.residuals[rows].astype(np.float64)
    relative = (residual / result.stars.flux[rows, None, None])[good]
    in_sigma = (residual / result.sigma[rows])[good]
    values = (
        relative.mean() if relative.size else math.nan,
        np.sqrt((relative**2).mean()) if relative.size else math.nan,
        in_sigma.mean() if relative.size else math.nan,
        np.sqrt((in_sigma**2).mean()) if relative.size else math.nan,
    )
    found = {n: float(v) if np.isfinite(v) else None for n, v in zip(names, values, strict=True)}
    return {**out, **found}
