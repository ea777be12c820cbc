r"""Which model a source deserves: star, round galaxy, exponential, de Vaucouleurs, Sersic.

Each candidate improves chi-square over having no source at all, ``dchisq``.  A richer model always
fits better; it has to earn its parameters, and, for bright sources, more than the PSF is wrong
by.  The rules are those of the Legacy Surveys, so that types mean the same there and here::

    p      parameters beyond fluxes: star 2, rex 3, exp 5, dev 5, sersic 6

    none   if max(dchisq - p) < 25
    rex    rather than star if  dchisq_rex - 3 > dchisq_star - 2
                           and  dchisq_rex - dchisq_star >= 0.01 dchisq_star
    exp    if  dchisq_exp - dchisq_kept  exceeds  max(12, 0.01 dchisq_star), and is not below dev's
    dev    likewise, and above exp's
    sersic if  dchisq_sersic - dchisq_kept >= 25
           and  dchisq_sersic - dchisq_star > 0.01 dchisq_star

The last line is ours: there, sersic is not even tried unless exp or dev passed that test.  The 0.01
of exp and dev over rex is a number of its own, `ChoiceRules.shape_fraction`.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np

from skyloom._types import Bools, Floats, Ints

from ._records import DEV, EXP, SERSIC, STAR

__all__ = [
    "CANDIDATES",
    "NO_SOURCE",
    "ChoiceReason",
    "ChoiceRules",
    "candidates_to_try",
    "decide_types",
    "signed_improvement",
]

REX = 4  # SourceType.REX
CANDIDATES = (STAR, REX, EXP, DEV, SERSIC)
"""`SourceType` of each column of ``dchisq``, in order."""

NO_SOURCE = -1
"""What `decide_types` returns instead of a `SourceType` where no model is worth keeping."""

_STAR, _REX, _EXP, _DEV, _SERSIC = range(5)  # columns


class ChoiceReason(IntEnum):
    """What decided about a type."""

    NOT_TRIED = 0
    """There is no model to choose."""
    NOT_DETECTED = 1
    """No model improves chi-square enough."""
    ONLY_CANDIDATE = 2
    """Only the star was tried."""
    STAR_AS_GOOD = 3
    """No galaxy fits better by its margin, the round one after its penalty."""
    STAR_WITHIN_FRACTION = 4
    """The round galaxy fits better, by less than errors of the PSF would do."""
    ROUND_IS_BETTER = 5
    """The round galaxy beats the star, and no elliptical one beats it by its margin."""
    EXP_IS_BETTER = 6
    """The exponential profile wins by its margin."""
    DEV_IS_BETTER = 7
    """The de Vaucouleurs profile wins by its margin."""
    SERSIC_IS_BETTER = 8
    """A free index wins by its margin."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ChoiceRules:
    """Thresholds of `decide_types`, all in units of chi-square unless said otherwise.

    Parameters
    ----------
    penalty : tuple of float
        Taken off each candidate, in the order of `CANDIDATES`, when it is compared with the
        detection threshold, and between star and rex: one per parameter that is not a flux.
    detection : float
        Least penalised improvement over no source; 25 is 5 sigma.
    galaxy_margin : float
        What exp and dev have to gain over star or rex: 3 sigma squared and three more
        parameters than a star.
    star_fraction : float
        Fraction of the star's improvement that any galaxy has to gain over it: a PSF that leaves
        residuals of 10 % of a bright star leaves 1 % of its chi-square.
    shape_fraction : float
        Fraction of the star's improvement that exp and dev have to gain over rex, once that is
        better than a star; `star_fraction` in the Legacy Surveys.  Where the PSF is known better,
        less finds compact round de Vaucouleurs galaxies, whose fluxes as rex are too small.
    sersic_margin : float
        What a free index has to gain over everything else.
    sersic_snr : float
        Least total S/N at which a free index is considered; 0: no condition, as in the Legacy
        Surveys.
    sersic_after_round : bool
        Consider a free index for bright round galaxies, too; in the Legacy Surveys only where exp
        or dev would be chosen.
    try_margin, try_always : float
        exp and dev are worth fitting where rex is better than the star by the first, or either is
        better than no source by the second.
    try_share : float
        They are not worth it where rex gains less over the star than this share of what they would
        have to gain: what is not extended has no ellipse.  0.1 halves the cost of a tile; by
        default always, as in the Legacy Surveys.
    """

    penalty: tuple[float, float, float, float, float] = (2.0, 3.0, 5.0, 5.0, 6.0)
    detection: float = 25.0
    galaxy_margin: float = 12.0
    star_fraction: float = 0.01
    shape_fraction: float = 0.01
    sersic_margin: float = 25.0
    sersic_snr: float = 0.0
    sersic_after_round: bool = False
    try_margin: float = 1.0
    try_always: float = 400.0
    try_share: float = -np.inf


def decide_types(
    dchisq: Floats, rules: ChoiceRules | None = None, *, snr: Floats | None = None
) -> tuple[Ints, Ints]:
    """Choose the model of each source from how much every candidate improves chi-square.

    Parameters
    ----------
    dchisq : ndarray, shape (n, 5)
        Chi-square without the source minus chi-square with it, one column per entry of
        `CANDIDATES`; NaN where a model was not tried or its fit failed.  See
        `signed_improvement`.
    rules : ChoiceRules, optional
    snr : ndarray, shape (n,), optional
        Total S/N of the sources, for ``rules.sersic_snr``; without it there is no such
        condition.

    Returns
    -------
    kind : ndarray of int, shape (n,)
        `SourceType`, or `NO_SOURCE`.
    reason : ndarray of int, shape (n,)
        `ChoiceReason`.

    Raises
    ------
    ValueError
        If ``dchisq`` has another shape.

    Notes
    -----
    Ties go to the model with fewer parameters, and to exp rather than dev.  A margin counts from
    the model kept so far; where neither star nor rex was tried, from no source.  Detection asks for
    the best model; the one kept may fit worse, but is dropped if it does not improve chi-square.

    References
    ----------
    Dey et al. 2019, AJ, 157, 168, and the descriptions of data releases 9 and 10 of the DESI Legacy
    Imaging Surveys; their column ``dchisq`` has the order PSF, REX, DEV, EXP, SER.
    """
    rules = rules or ChoiceRules()
    values = np.asarray(dchisq, dtype=np.float64)
    if values.ndim != 2 or values.shape[1] != len(CANDIDATES):
        msg = f"dchisq of shape {values.shape}: (n, {len(CANDIDATES)}) is needed"
        raise ValueError(msg)
    tried = ~np.isnan(values)
    gain = np.where(tried, values, -np.inf)
    if snr is not None:
        gain[np.asarray(snr) < rules.sersic_snr, _SERSIC] = -np.inf
    column, reason = _star_or_round(gain, rules)
    column, reason = _with_ellipse(gain, rules, column, reason)
    star = _star_or_nothing(gain)
    free = gain[:, _SERSIC] - _of_column(gain, column) >= rules.sersic_margin
    free &= gain[:, _SERSIC] - star > rules.star_fraction * star
    column = np.where(free, _SERSIC, column)
    reason = np.where(free, ChoiceReason.SERSIC_IS_BETTER, reason)
    only_star = tried[:, _STAR] & ~tried[:, 1:].any(axis=1)
    reason = np.where(only_star, ChoiceReason.ONLY_CANDIDATE, reason)
    detected = (gain - rules.penalty).max(axis=1) >= rules.detection
    detected &= (column >= 0) & (_of_column(gain, column) > 0.0)
    reason = np.where(detected, reason, ChoiceReason.NOT_DETECTED)
    reason = np.where(tried.any(axis=1), reason, ChoiceReason.NOT_TRIED)
    kind = np.where(detected, np.array(CANDIDATES)[column], NO_SOURCE)
    return kind.astype(np.int64), reason.astype(np.int64)


def candidates_to_try(dchisq: Floats, rules: ChoiceRules | None = None) -> Bools:
    """Tell which models are worth the next fit, given what is known so far.

    Star and rex come first, then exp and dev where a galaxy is likely or the source is bright, then
    sersic where exp or dev would be chosen.

    Parameters
    ----------
    dchisq : ndarray, shape (n, 5)
        As in `decide_types`; NaN where a model was not tried.
    rules : ChoiceRules, optional

    Returns
    -------
    ndarray of bool, shape (n, 5)
        Models not yet tried whose turn it is; all False when a source is done.
    """
    rules = rules or ChoiceRules()
    tried = ~np.isnan(dchisq)
    gain = np.where(tried, dchisq, -np.inf)
    wanted = np.zeros(tried.shape, np.bool_)
    wanted[:, [_STAR, _REX]] = True
    first = np.maximum(gain[:, _STAR], gain[:, _REX])
    extended = gain[:, _REX] > gain[:, _STAR] + rules.try_margin
    begun = tried[:, _STAR] | tried[:, _REX]
    likely = begun & (extended | (first > rules.try_always))
    star = _star_or_nothing(gain)
    cut = np.maximum(rules.galaxy_margin, rules.star_fraction * star)
    likely &= ~(tried[:, _REX] & (gain[:, _REX] - star < rules.try_share * cut))
    wanted[:, [_EXP, _DEV]] = likely[:, None]
    kind, _ = decide_types(dchisq, rules)
    wanted[:, _SERSIC] = (kind == EXP) | (kind == DEV)
    if rules.sersic_after_round:
        wanted[:, _SERSIC] |= (kind == REX) & (first > rules.try_always) & tried[:, _EXP]
    return np.asarray(wanted & ~tried)


def signed_improvement(chi2_without: Floats, chi2_with: Floats, flux: Floats) -> Floats:
    """Return the improvement of chi-square by a model, bands of negative flux counted against it.

    Parameters
    ----------
    chi2_without, chi2_with : ndarray, shape (n, F)
        Chi-square per flux key over the same pixels, without and with the source.
    flux : ndarray, shape (n, F)
        Fitted fluxes; NaN where there are no data.

    Returns
    -------
    ndarray, shape (n,)
        The sum over bands of the improvement, of minus its modulus where the flux is negative,
        and of nothing where it is zero or unknown.

    Notes
    -----
    Otherwise a hole in the data, fitted by a negative source, would be a detection.
    """
    better = chi2_without - chi2_with
    counted = np.where(flux > 0.0, better, np.where(flux < 0.0, -np.abs(better), 0.0))
    return np.asarray(counted.sum(axis=-1))


def _star_or_round(gain: Floats, rules: ChoiceRules) -> tuple[Ints, Ints]:
    """Return the column of star or rex, -1 if neither was tried, and why."""
    star, rex = gain[:, _STAR], gain[:, _REX]
    rounder = rex - rules.penalty[_REX] > star - rules.penalty[_STAR]
    known = _star_or_nothing(gain)
    enough = rex - known >= rules.star_fraction * known
    column = np.where(rounder & enough, _REX, _STAR)
    column = np.where(np.isneginf(_of_column(gain, column)), -1, column)
    reason = np.where(
        rounder & enough,
        ChoiceReason.ROUND_IS_BETTER,
        np.where(rounder, ChoiceReason.STAR_WITHIN_FRACTION, ChoiceReason.STAR_AS_GOOD),
    )
    return column, reason


def _with_ellipse(
    gain: Floats, rules: ChoiceRules, column: Ints, reason: Ints
) -> tuple[Ints, Ints]:
    """Replace star or rex by exp or dev where one of them wins by its margin."""
    fraction = np.where(column == _REX, rules.shape_fraction, rules.star_fraction)
    cut = np.maximum(rules.galaxy_margin, fraction * _star_or_nothing(gain))
    kept = _of_column(gain, column)
    exp, dev = gain[:, _EXP] - kept, gain[:, _DEV] - kept
    is_exp = (exp > cut) & (exp >= dev)
    is_dev = (dev > cut) & (dev > exp)
    column = np.where(is_exp, _EXP, np.where(is_dev, _DEV, column))
    reason = np.where(
        is_exp,
        ChoiceReason.EXP_IS_BETTER,
        np.where(is_dev, ChoiceReason.DEV_IS_BETTER, reason),
    )
    return column, reason


def _star_or_nothing(gain: Floats) -> Floats:
    """Return the improvement of the star, 0 where it was not tried or does not help."""
    return np.asarray(np.maximum(gain[:, _STAR], 0.0))


def _of_column(gain: Floats, column: Ints) -> Floats:
    """Return the improvement of the chosen model of each row; 0, that of no source, for -1."""
    rows = np.arange(len(gain))
    return np.where(column >= 0, gain[rows, np.maximum(column, 0)], 0.0)
