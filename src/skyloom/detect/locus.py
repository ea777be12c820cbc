"""The locus of stars: one size for all of them, apart from a slow change over the field."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats

__all__ = ["StarLocus", "find_star_locus"]

_SNR = 30.0  # fainter sources are not asked where the locus lies
_WINDOW = 0.12  # in ln r50
_SHARE = 0.5  # of the fullest window: a window of smaller sizes that holds this wins
_WIDTH = (0.07, 0.12)  # half-width of the locus in ln r50
_START = 0.12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarLocus:
    """Where stars lie in half-light radius.

    ``r50`` [pix] is the radius of a star at each source's place, ``members`` the sources that
    told, ``width`` the half-width of the locus in ln r50.  Without members ``r50`` is NaN.
    """

    r50: Floats
    members: Bools
    width: float

    @property
    def n_stars(self) -> int:
        """Number of sources that told."""
        return int(self.members.sum())


def find_star_locus(
    r50: Floats, snr: Floats, clean: Bools, *, x: Floats, y: Floats, shape: tuple[int, int]
) -> StarLocus:
    """Find the size of stars among sources of all kinds.

    Bright sources are mostly stars, and stars are the smallest: of the windows in ln r50, each
    source counting with the logarithm of its signal-to-noise ratio, the smallest one counts that
    holds at least half of what the fullest holds.  A surface over the field follows the PSF.

    Parameters
    ----------
    r50 : ndarray, shape (n,)
        Half-light radii [pix], NaN allowed.
    snr : ndarray, shape (n,)
        Signal-to-noise ratios.
    clean : ndarray of bool, shape (n,)
        Sources that are isolated, round and not saturated.
    x, y : ndarray, shape (n,)
        Positions [pix].
    shape : tuple of int
        Of the field (ny, nx).
    """
    with np.errstate(divide="ignore", invalid="ignore"):
        size = np.log(np.where(r50 > 0, r50, np.nan))
    good = clean & np.isfinite(size) & (snr > _SNR)
    nothing = StarLocus(
        r50=np.full(size.size, np.nan), members=np.zeros(size.size, dtype=bool), width=_WIDTH[1]
    )
    if good.sum() < 3:
        return nothing
    centre = _smallest_full_window(size[good], np.log(snr[good] / _SNR) + 0.1)
    u, v = 2.0 * x / shape[1] - 1.0, 2.0 * y / shape[0] - 1.0
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    surface, width = np.full(size.size, centre), _START
    near = good & (np.abs(size - surface) < width)
    for _ in range(4):
        near = good & (np.abs(size - surface) < width)
        if near.sum() < 3:
            return nothing
        n_terms = 6 if near.sum() >= 40 else 3 if near.sum() >= 15 else 1
        solution = np.linalg.lstsq(terms[near, :n_terms], size[near], rcond=None)[0]
        surface = terms[:, :n_terms] @ solution
        scatter = 1.4826 * float(np.median(np.abs(size[near] - surface[near])))
        width = float(np.clip(3.0 * scatter, *_WIDTH))
    return StarLocus(r50=np.exp(surface), members=near, width=width)


def _smallest_full_window(size: Floats, weight: Floats) -> float:
    order = np.argsort(size, kind="stable")
    size, weight = size[order], weight[order]
    total = np.concatenate([[0.0], np.cumsum(weight)])
    end = np.searchsorted(size, size + _WINDOW, side="right")
    count = total[end] - total[:-1]
    enough = (count >= _SHARE * count.max()) & (end - np.arange(size.size) >= 3)
    start = int(np.argmax(enough)) if enough.any() else int(np.argmax(count))
    # From that window on to the fullest one that overlaps it.
    stop = int(np.searchsorted(size, size[start] + _WINDOW, side="right"))
    start += int(np.argmax(count[start:stop]))
    return float(np.average(size[start : end[start]], weights=weight[start : end[start]]))
