"""Blend groups: which sources have to be solved together.

Groups are defined once for a whole field, from catalogue positions and sizes, so that a source's
answer does not depend on where patch borders run.  Light that crosses from one group to another is
subtracted as a model, pass by pass.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from skyloom._types import Floats, Ints

from ._neighbours_nb import join_pairs, near_pairs
from .division import Division

__all__ = ["BlendGroups", "blend_groups"]

COUPLING = 0.005  # pairs whose light overlaps by less converge by themselves in a few passes
TOUCH = 1e-6  # as long as there is room in a block, pairs are solved together down to this overlap
BLOCK_SIZE = 48  # larger groups are swept in blocks
HALO = 1e-4  # errors of a block count everybody outside who overlaps by more


@dataclass(frozen=True, slots=True, kw_only=True)
class BlendGroups:
    """Partition of sources.

    ``group`` (n,) numbers the blend group of each source by its lowest row; ``block`` (n,) numbers
    the block, a part of a group of at most `BLOCK_SIZE` members that is solved jointly, likewise.
    ``pairs`` (m, 2) lists the rows of a group that overlap by more than `HALO` across blocks.
    ``other`` (n,), by default ``block``, is a second division of the groups into blocks, which
    joins what the first cuts: passes that take them in turn converge where one alone creeps.
    """

    group: Ints
    block: Ints
    pairs: Ints = field(default_factory=lambda: np.zeros((0, 2), np.int64))
    other: Ints | None = None

    @property
    def is_divided(self) -> bool:
        """True if any group has more than one block."""
        return bool((self.block != self.group).any())

    def halos(self) -> dict[int, Ints]:
        """Return, by block, the rows outside it whose light its errors have to take into account.

        Only the blocks of groups that have more than one, and all of these.
        """
        count: dict[int, set[int]] = {}
        for group, block in zip(self.group.tolist(), self.block.tolist(), strict=True):
            count.setdefault(group, set()).add(block)
        near: dict[int, set[int]] = {
            block: set() for blocks in count.values() if len(blocks) > 1 for block in blocks
        }
        for i, j in self.pairs.tolist():
            near[int(self.block[i])].add(j)
            near[int(self.block[j])].add(i)
        return {block: np.array(sorted(rows), dtype=np.int64) for block, rows in near.items()}

    def members(self, *, other: bool = False) -> Division:
        """Return the rows of each block, by group; all in ascending order.

        ``other``: of the second division.
        """
        block = self.other if other and self.other is not None else self.block
        return Division.by_labels(self.group, block)


def blend_groups(
    x: Floats,
    y: Floats,
    radius: Floats,
    *,
    psf_sigma: float,
    anchor: Ints | None = None,
    coupling: float = COUPLING,
    touch: float = TOUCH,
    block_size: int = BLOCK_SIZE,
) -> BlendGroups:
    """Group sources whose images overlap.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions [pix]; rows with NaN stand alone.
    radius : ndarray, shape (n,)
        Half-light radii before the PSF [pix]; 0 for stars.
    psf_sigma : float
        Gaussian width of the broadest PSF [pix].
    anchor : ndarray of int, shape (n,), optional
        Row whose position a source shares; such rows always stand in one block.
    coupling : float
        Smallest normalised overlap of two images, taken as Gaussians, that links them in any case.
    touch : float
        Smallest overlap that links them as long as the block stays small.
    block_size : int
        Largest number of sources that are solved jointly.

    Returns
    -------
    BlendGroups
    """
    n = len(x)
    finite = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    # 0.85 r_e: Gaussian width of an exponential disc of half-light radius r_e
    sigma2 = psf_sigma**2 + (0.85 * np.nan_to_num(radius)) ** 2
    i, j, strength = _overlaps(x, y, sigma2, finite, min(touch, coupling))
    if anchor is not None:
        tied = np.flatnonzero(anchor != np.arange(n))
        i, j = np.concatenate([i, anchor[tied]]), np.concatenate([j, tied])
        strength = np.concatenate([strength, np.full(len(tied), np.inf)])
    block = _blocks(n, i, j, strength, block_size)
    link = strength > coupling
    is_cut = link & (block[i] != block[j])
    other = block
    if is_cut.any():
        # Only pairs inside a group; those that the first division cut come first.
        inside = link | (block[i] == block[j])
        turned = np.where(is_cut & np.isfinite(strength), strength + 2.0, strength)
        other = _blocks(n, i[inside], j[inside], turned[inside], block_size)
    rows = np.arange(n)
    group = _joined(n, np.concatenate([i[link], rows]), np.concatenate([j[link], block]), n)
    near = (strength > HALO) & (block[i] != block[j]) & (group[i] == group[j])
    return BlendGroups(
        group=group,
        block=block,
        pairs=np.column_stack([i[near], j[near]]).astype(np.int64),
        other=other,
    )


def _overlaps(
    x: Floats, y: Floats, sigma2: Floats, finite: Ints, coupling: float
) -> tuple[Ints, Ints, Floats]:
    """List the pairs i < j whose normalised overlap exceeds ``coupling``, with the overlap."""
    if len(finite) < 2:
        empty = np.zeros(0, np.int64)
        return empty, empty, np.zeros(0)
    # The overlap of two Gaussians falls below the threshold beyond this distance.
    reach2 = 2.0 * np.log(1.0 / coupling)
    order = finite[np.argsort(x[finite])]
    room, count = 4 * len(order), -1
    while count < 0 or count > room:
        room = max(room, count)
        first, second = np.empty(room, np.int64), np.empty(room, np.int64)
        count = near_pairs(order, x, y, sigma2, reach2, first, second)
    sequence = np.lexsort((second[:count], first[:count]))
    i, j = first[sequence], second[sequence]
    total = sigma2[i] + sigma2[j]
    distance2 = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
    value = 2.0 * np.sqrt(sigma2[i] * sigma2[j]) / total * np.exp(-0.5 * distance2 / total)
    keep = value > coupling
    return i[keep], j[keep], value[keep]


def _blocks(n: int, i: Ints, j: Ints, strength: Floats, block_size: int) -> Ints:
    """Join pairs, strongest first, as long as no block exceeds ``block_size``."""
    order = np.lexsort((j, i, -strength))
    return _joined(n, i[order], j[order], block_size)


def _joined(n: int, i: Ints, j: Ints, largest: int) -> Ints:
    """Join pairs in their order to sets of at most so many rows; return the lowest row of each."""
    lowest = np.arange(n)
    join_pairs(i, j, largest, lowest, np.ones(n, np.int64))
    return lowest
