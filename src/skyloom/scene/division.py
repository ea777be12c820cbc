"""Groups divided into blocks of rows, in flat arrays: what a pass is given to solve."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from typing_extensions import override

from skyloom._types import Floats, Ints

__all__ = ["Division"]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Division(Mapping[int, list[Ints]]):
    """Blocks of rows by group.  Reads as a mapping from the number of a group to its blocks.

    ``number`` (g,) of the groups; ``rows`` (m,) block after block, group after group; ``block``
    (k + 1,) where blocks start in ``rows``, ``group`` (g + 1,) where groups start in ``block``,
    both with the end.
    """

    number: Ints
    rows: Ints
    block: Ints
    group: Ints

    @classmethod
    def of(cls, groups: Mapping[int, Sequence[Ints]]) -> Division:
        """Return a mapping from groups to blocks in this form."""
        if isinstance(groups, Division):
            return groups
        blocks = [block for of_group in groups.values() for block in of_group]
        return cls(
            number=np.array(list(groups), dtype=np.int64),
            rows=np.concatenate([np.zeros(0, np.int64), *blocks]),
            block=_starts([len(block) for block in blocks]),
            group=_starts([len(of_group) for of_group in groups.values()]),
        )

    @classmethod
    def by_labels(cls, group: Ints, block: Ints) -> Self:
        """Return the rows of each label of a block within each label of a group, all ascending."""
        rows = np.lexsort((block, group)).astype(np.int64)  # stable: rows ascend in a block
        of_group, of_block = group[rows], block[rows]
        is_new_group = np.ones(len(rows), np.bool_)
        is_new_group[1:] = of_group[1:] != of_group[:-1]
        is_new_block = is_new_group.copy()
        is_new_block[1:] |= of_block[1:] != of_block[:-1]
        first = np.flatnonzero(is_new_block)
        return cls(
            number=of_group[is_new_group].astype(np.int64),
            rows=rows,
            block=np.append(first, len(rows)),
            group=np.append(np.flatnonzero(is_new_group[first]), len(first)),
        )

    @override
    def __len__(self) -> int:
        return len(self.number)

    @override
    def __iter__(self) -> Iterator[int]:
        return iter(self.number.tolist())

    @override
    def __getitem__(self, number: int) -> list[Ints]:
        found = np.flatnonzero(self.number == number)
        if len(found) == 0:
            raise KeyError(number)
        first, last = self.group[found[0]], self.group[found[0] + 1]
        return [self.rows[self.block[k] : self.block[k + 1]] for k in range(first, last)]

    @property
    def block_sizes(self) -> Ints:
        """Number of rows in each block, shape (k,)."""
        return np.diff(self.block)

    def taken(self, places: Ints) -> Division:
        """Return the groups that stand at some places, in their order."""
        blocks, group = _gathered(self.group, places)
        rows, block = _gathered(self.block, blocks)
        return Division(number=self.number[places], rows=self.rows[rows], block=block, group=group)

    def part(self, begin: int, end: int) -> Division:
        """Return the groups that stand from ``begin`` up to ``end``; rows are not copied."""
        group = self.group[begin : end + 1]
        block = self.block[group[0] : group[-1] + 1]
        return Division(
            number=self.number[begin:end],
            rows=self.rows[block[0] : block[-1]],
            block=block - block[0],
            group=group - group[0],
        )

    def brightest_first(self, snr: Floats) -> Division:
        """Return the groups, blocks of each by the brightest row; ``snr`` (n,) of all rows."""
        count = np.diff(self.group)
        if not (count > 1).any():
            return self
        brightest = np.maximum.reduceat(snr[self.rows], self.block[:-1])
        order = np.lexsort((-brightest, np.repeat(np.arange(len(count)), count)))
        rows, block = _gathered(self.block, order)
        return Division(number=self.number, rows=self.rows[rows], block=block, group=self.group)


def _starts(sizes: Sequence[int] | Ints) -> Ints:
    """Return where parts of these sizes start, one after the other, and the end."""
    return np.concatenate([[0], np.cumsum(sizes)]).astype(np.int64)


def _gathered(starts: Ints, places: Ints) -> tuple[Ints, Ints]:
    """Return where elements of some parts stand, part after part, and where these then start."""
    sizes = np.diff(starts)[places]
    begin = _starts(sizes)
    shift = np.repeat(starts[:-1][places] - begin[:-1], sizes)
    return shift + np.arange(begin[-1]), begin
