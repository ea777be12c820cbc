"""Which sources have the wrong model beyond doubt.

`skyloom.scene.choice` finds the simplest model that would do; near its thresholds noise decides.
To *change* the model that somebody gave a source takes more::

    star    instead of a galaxy: S/N at least 30, star by the rules, and also by rules whose margins
            are halved, or doubled
    galaxy  instead of a star: S/N at least 20, galaxy by all three rules
    exp, dev, sersic instead of exp or dev: likewise, and 16 better in chi-square

A Sersic galaxy contains the other galaxies and keeps its free index.  A star that is a round
exponential galaxy becomes the better one of exp and dev.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from skyloom._types import Bools, Floats, Ints

from ._records import DEV, EXP, REX, SERSIC, STAR
from .choice import CANDIDATES, NO_SOURCE, ChoiceRules, decide_types

__all__ = ["clear_types"]

LEAST_SNR = 20.0  # all galaxies have then been tried: ChoiceRules.try_always
STAR_SNR = 30.0  # compact galaxies of less may look like stars
DOUBT = 2.0  # factor by which margins may be wrong: noise correlation, errors of the PSF
GAIN = 16.0  # of chi-square over another galaxy: 4 sigma

_REX, _EXP, _DEV, _SERSIC = (CANDIDATES.index(kind) for kind in (REX, EXP, DEV, SERSIC))


def clear_types(dchisq: Floats, kind: Ints, rules: ChoiceRules | None = None) -> Ints:
    """Return the model of each source: another one where that is clear, else what it has.

    Parameters
    ----------
    dchisq : ndarray, shape (n, 5)
        As in `decide_types`.
    kind : ndarray of int, shape (n,)
        `SourceType` that the sources have.
    rules : ChoiceRules, optional

    Returns
    -------
    ndarray of int, shape (n,)
        `SourceType`, never ``REX`` instead of another.
    """
    rules = rules or ChoiceRules()
    chosen, _ = decide_types(dchisq, rules)
    others = [decide_types(dchisq, _scaled(rules, f))[0] for f in (1.0 / DOUBT, DOUBT)]
    is_star = np.logical_and.reduce([k == STAR for k in (chosen, *others)])
    is_galaxy = np.logical_and.reduce([_is_galaxy(k) for k in (chosen, *others)])
    best = np.max(np.nan_to_num(dchisq, nan=0.0), axis=1, initial=0.0)
    galaxy = np.where(chosen == REX, EXP, chosen)
    steeper = _of_galaxy(dchisq, np.full_like(kind, DEV)) > _of_galaxy(dchisq, galaxy)
    unknown = (kind == STAR) & (galaxy == EXP)  # nobody says which galaxy: the likelier
    galaxy = np.where(unknown & steeper, DEV, galaxy)
    wrong = is_galaxy & ((kind == EXP) | (kind == DEV)) & (galaxy != kind)
    wrong &= _of_galaxy(dchisq, galaxy) - _of_galaxy(dchisq, kind) >= GAIN
    wrong |= is_galaxy & (kind == STAR)
    better = np.where(is_star & (best >= STAR_SNR**2), STAR, kind)
    return np.where(wrong & (best >= LEAST_SNR**2), galaxy, better).astype(np.int64)


def _scaled(rules: ChoiceRules, factor: float) -> ChoiceRules:
    """Return rules with larger or smaller margins."""
    return replace(
        rules,
        galaxy_margin=factor * rules.galaxy_margin,
        star_fraction=factor * rules.star_fraction,
        shape_fraction=factor * rules.shape_fraction,
        sersic_margin=factor * rules.sersic_margin,
    )


def _is_galaxy(kind: Ints) -> Bools:
    return np.asarray((kind != STAR) & (kind != NO_SOURCE))


def _of_galaxy(dchisq: Floats, kind: Ints) -> Floats:
    """Return the improvement by a galaxy; NaN for others and where it was not tried."""
    known = np.where(np.isnan(dchisq), -np.inf, dchisq)
    exp = np.maximum(known[:, _REX], known[:, _EXP])  # a round galaxy is one of them
    table = {EXP: exp, DEV: known[:, _DEV], SERSIC: known[:, _SERSIC]}
    values = np.select([kind == k for k in table], list(table.values()), np.nan)
    return np.where(np.isfinite(values), values, np.nan)
