"""What a user may decide about a fit."""

from __future__ import annotations

import math
from dataclasses import dataclass

from .transforms import ProfileVariant

__all__ = ["FitOptions"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOptions:
    """Control of a fit.

    Parameters
    ----------
    profile : {'exact', 'hl13'}
        Infinite Sersic laws, or the truncated mixtures of Hogg & Lang (2013).
    passes : int
        At most so many passes over the groups after the first, linear one; those where nothing
        moves any more are left out.
    max_iterations : int
        Levenberg-Marquardt steps per group and pass.
    tolerance : float
        Stop a group when a step lowered chi-square by less, or is predicted to lower it by less
        than ten times this.
    max_ellipticity : float
        Largest (a-b)/(a+b).
    frozen_snr : float
        Sources fainter than this in total keep their position and shape.
    prior_snr : float
        Below this total S/N a prior about the starting values keeps size and shape near them.
    prior_log_r, prior_g, prior_log_n, prior_position : float
        Its widths: ln r, ellipticity, ln n, position [pix].
    offset_snr : float
        In bands where a source is brighter than this its image may lie off the joint position:
        registration and proper motion shift bright stars by more than their errors.  Default:
        nowhere.
    prior_offset : float
        Width of the prior on these offsets about zero [pix].
    psf_error : float
        Error of the PSF as a fraction of the model, added to the noise of every pixel: the residual
        of a bright star then does not drive its neighbours.  0: the PSF is exact.
    index_scatter : float or tuple of float
        Scatter of ln n of exponential and de Vaucouleurs galaxies, or of both in turn, about the
        n = 1 and 4 of their laws: after the fit the index is marginalised to first order, which
        corrects the fluxes and widens their errors; positions, shapes and models stay those of the
        law.  0: galaxies keep to their laws.  Without effect on ``'hl13'`` profiles.
    index_mean : float or tuple of float
        Mean of ln n of these galaxies less that of their law, where they scatter.
    size_scatter : float
        Scatter of ln r of galaxies in single bands about the common one, and of ln n where it is
        free, marginalised likewise: for colour gradients.  0: the same in all bands.
    band_mean : tuple of tuple of float
        Mean of this ln r and ln n, less the common ones, for each flux key in turn.
    correlated_noise : bool
        Measure the correlation of the noise between pixels where an image does not state it, and
        let it count in the errors.
    stamp_side : int, optional
        Take stamps of this side for all sources [pix]; default: as large as each needs.
    threads : int
        Groups solved at a time; the result does not depend on it.
    """

    profile: ProfileVariant = "exact"
    passes: int = 10
    max_iterations: int = 20
    tolerance: float = 0.01
    max_ellipticity: float = 0.85
    frozen_snr: float = 3.0
    prior_snr: float = 10.0
    prior_log_r: float = 0.3
    prior_g: float = 0.15
    prior_log_n: float = 0.3
    prior_position: float = 0.5
    offset_snr: float = math.inf
    prior_offset: float = 0.2
    psf_error: float = 0.0
    index_scatter: float | tuple[float, ...] = 0.0
    index_mean: float | tuple[float, ...] = 0.0
    band_mean: tuple[tuple[float, float], ...] = ()
    size_scatter: float = 0.0
    correlated_noise: bool = True
    stamp_side: int | None = None
    threads: int = 1
