"""Compiled loops over pairs of sources."""

from __future__ import annotations

from skyloom._jit import lean_exact_kernel
from skyloom._types import Bools, Floats, Ints


@lean_exact_kernel
def mark_touched(
    order: Ints,
    place: Floats,
    side: Ints,
    moved: Bools,
    moved_far: Bools,
    group: Ints,
    block: Ints,
    near: Bools,
) -> None:
    """Mark sources whose stamps overlap that of one which moved.

    Parameters
    ----------
    order : ndarray of int, shape (n,)
        Rows by ascending x.
    place : ndarray, shape (n, 2)
    side : ndarray of int, shape (n,)
        Of stamps, in the unit of ``place``.
    moved, moved_far : ndarray of bool, shape (n,)
        Who moved as far as others of its group notice, or those of other groups.
    group, block : ndarray of int, shape (n,)
        Rows of one group and one block do not mark each other.
    near : ndarray of bool, shape (n,)
        Changed.
    """
    largest = 0
    for i in range(side.shape[0]):
        largest = max(largest, side[i])
    begin = 0
    for position in range(order.shape[0]):
        i = order[position]
        reach = 0.5 * (side[i] + largest)
        while place[i, 0] - place[order[begin], 0] > largest:
            begin += 1
        if not moved[i]:
            continue
        k = begin
        while k < order.shape[0] and place[order[k], 0] - place[i, 0] < reach:
            j = order[k]
            k += 1
            half = 0.5 * (side[i] + side[j])
            if (
                abs(place[i, 0] - place[j, 0]) < half
                and abs(place[i, 1] - place[j, 1]) < half
                and (moved_far[i] if group[i] != group[j] else block[i] != block[j])
            ):
                near[j] = True


@lean_exact_kernel
def join_pairs(first: Ints, second: Ints, largest: int, parent: Ints, size: Ints) -> None:
    """Join the sets of the two rows of each pair in turn, unless more than ``largest`` unite.

    Parameters
    ----------
    first, second : ndarray of int, shape (m,)
    largest : int
    parent, size : ndarray of int, shape (n,)
        Every row alone at first, ``parent`` itself, ``size`` 1; at the end ``parent`` is the lowest
        row of each row's set.
    """
    for e in range(first.shape[0]):
        a, b = first[e], second[e]
        while parent[a] != a:
            parent[a] = parent[parent[a]]
            a = parent[a]
        while parent[b] != b:
            parent[b] = parent[parent[b]]
            b = parent[b]
        if a != b and size[a] + size[b] <= largest:
            low, high = min(a, b), max(a, b)
            parent[high] = low
            size[low] += size[high]
    for row in range(parent.shape[0]):  # parents are lower rows: theirs are final
        parent[row] = parent[parent[row]]


@lean_exact_kernel
def near_pairs(
    order: Ints, x: Floats, y: Floats, sigma2: Floats, reach2: float, first: Ints, second: Ints
) -> int:
    """List pairs of sources nearer than what both together reach; return how many there are.

    Parameters
    ----------
    order : ndarray of int, shape (m,)
        Rows by ascending x; only these.
    x, y, sigma2 : ndarray, shape (n,)
    reach2 : float
        Largest squared distance per sum of the two ``sigma2``.
    first, second : ndarray of int, shape (capacity,)
        Changed: rows of the pairs, the lower one first, as far as there is room.
    """
    widest = 0.0
    for position in range(order.shape[0]):
        widest = max(widest, sigma2[order[position]])
    count, begin = 0, 0
    for position in range(order.shape[0]):
        j = order[position]
        farthest = reach2 * (2.0 * widest)
        while (x[j] - x[order[begin]]) ** 2 > farthest:
            begin += 1
        for k in range(begin, position):
            i = order[k]
            distance2 = (x[i] - x[j]) ** 2 + (y[i] - y[j]) ** 2
            if distance2 <= reach2 * (sigma2[i] + sigma2[j]):
                if count < first.shape[0]:
                    first[count], second[count] = min(i, j), max(i, j)
                count += 1
    return count
