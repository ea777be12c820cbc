"""Work of a scene in several threads, and groups dealt out to them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from typing import TypeVar, final

import numpy as np

from skyloom._types import Floats, Ints

from .division import Division

__all__ = ["Threads", "deal_out"]

SMALL_STAMP = 16  # pix: the work that does not depend on the stamp is as much as this one's
SHARE = 0.5  # of what is left per thread goes into the next portion of groups: ever smaller ones
LARGE_SHARE = 0.1  # of what a thread has to do: a group with more must not come late
LEAST_SHARE = 0.02  # of everything, per thread: a call has its cost

T = TypeVar("T")


@final
class Threads:
    """Calls functions for many tasks, so many at a time; its threads end with it."""

    def __init__(self, number: int) -> None:
        self.number = number
        self._pool: ThreadPoolExecutor | None = None

    def __call__(self, work: Callable[[T], None], tasks: Sequence[T]) -> None:
        """Call ``work`` for every task.

        Tasks begin in their order.  The calling thread takes its share: woken up after each task
        of others it would only push them off their cores.
        """
        waiting = deque(tasks)

        def take() -> None:
            while True:
                try:
                    task = waiting.popleft()
                except IndexError:
                    return
                work(task)

        helpers: list[Future[None]] = []
        if self.number > 1 and len(tasks) > 1:
            if self._pool is None:
                self._pool = ThreadPoolExecutor(self.number - 1)
            helpers = [self._pool.submit(take) for _ in range(min(len(tasks), self.number) - 1)]
        try:
            take()
        finally:
            for helper in helpers:
                helper.result()


def deal_out(groups: Division, side: Ints, threads: int) -> list[Division]:
    """Deal blend groups out to portions, large portions first, for threads that take the next.

    Parameters
    ----------
    groups : Division
    side : ndarray of int
        Stamp side of every row [pix]: the work grows with its square.
    threads : int
    """
    if len(groups) == 0:
        return []
    if threads == 1:
        return [groups]
    work = side[groups.rows].astype(np.float64) ** 2 + SMALL_STAMP**2
    cost = np.add.reduceat(work, groups.block[groups.group[:-1]])
    # Large groups first; the others as they come, for neighbours share pixels in the cache.
    large = np.where(cost > LARGE_SHARE * cost.sum() / threads, -cost, 0.0)
    order = np.argsort(large, kind="stable")
    done = np.cumsum(cost[order]) / cost.sum()
    place = np.searchsorted(_portion_edges(threads), done - 1e-9)
    cuts = [0, *(np.flatnonzero(np.diff(place)) + 1).tolist(), len(order)]
    ordered = groups.taken(order)
    return [ordered.part(*ends) for ends in pairwise(cuts)]


def _portion_edges(threads: int) -> Floats:
    """Return where portions of the work end, as fractions of it."""
    edges = [0.0]
    while edges[-1] < 1.0:
        share = max(SHARE * (1.0 - edges[-1]), LEAST_SHARE) / threads
        edges.append(edges[-1] + share)
    return np.array(edges[1:-1])
