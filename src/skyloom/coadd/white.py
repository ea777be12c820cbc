"""The white image: all bands of a tile, weighted by their sky noise.

The stack goes through the image in strips of rows and through the bands one at a time, so that
memory holds one plane of a strip and not the tile times the bands.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from skyloom._types import Floats, Pixels
from skyloom.geometry import Box

__all__ = ["SkySigma", "WhiteImage", "row_strips", "white_stack", "white_strip"]

SkySigma: TypeAlias = float | Callable[[Box], float | Pixels]
"""Noise of a band: one number, or what tells it for the pixels of a box."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class WhiteImage:
    """The weighted mean of all bands and its noise."""

    image: Pixels  # scaled counts, NaN where no band has a good pixel
    sigma: Pixels  # scaled counts, inf there


def row_strips(shape: tuple[int, int], rows: int = 256) -> Iterator[Box]:
    """Divide an image of ``(ny, nx)`` pixels into boxes of at most ``rows`` full rows."""
    for y0 in range(0, shape[0], rows):
        yield Box(0, shape[1], y0, min(y0 + rows, shape[0]))


def white_strip(planes: Iterable[Pixels], *, sky_sigma: Iterable[float | Pixels]) -> WhiteImage:
    """Stack the planes of one region.

    With weights ``w = 1 / max(sky_sigma**2, 1e-12)``, zero where a pixel is not finite,
    ``image = sum(w I) / sum(w)`` and ``sigma = sum(w)**-0.5``.  A pixel that is missing in one
    band does not spoil the others.  Saturated pixels take part.

    Parameters
    ----------
    planes : iterable of ndarray, shape (ny, nx)
        Scaled counts of each band; consumed one at a time.
    sky_sigma : iterable of float or ndarray, shape (ny, nx)
        Sky noise of each band [scaled counts]; not finite or not positive: weight zero.  Consumed
        one at a time.

    Raises
    ------
    ValueError
        If there is no plane, or their number or shapes do not agree.
    """
    total = weight = None
    for plane, sigma in zip(planes, sky_sigma, strict=True):
        if total is None or weight is None:
            total, weight = np.zeros(plane.shape), np.zeros(plane.shape)
        if plane.shape != total.shape:
            raise ValueError(f"planes of shape {total.shape} and {plane.shape} cannot be stacked")
        w = _weight(sigma)
        good = np.isfinite(plane)
        total += w * np.where(good, plane, 0.0)
        weight += w * good
    if total is None or weight is None:
        raise ValueError("no band to stack")
    seen = weight > 0
    safe = np.where(seen, weight, 1.0)
    return WhiteImage(
        image=np.where(seen, total / safe, np.nan).astype(np.float32),
        sigma=np.where(seen, 1.0 / np.sqrt(safe), np.inf).astype(np.float32),
    )


def _weight(sigma: float | Pixels) -> float | Floats:
    if isinstance(sigma, np.ndarray):
        good = np.isfinite(sigma) & (sigma > 0)
        return np.where(good, 1.0 / np.maximum(sigma, 1e-6, dtype=np.float64) ** 2, 0.0)
    return 1.0 / max(sigma**2, 1e-12) if np.isfinite(sigma) and sigma > 0 else 0.0


def white_stack(
    strips: Iterable[tuple[Box, Iterable[Pixels]]],
    *,
    sky_sigma: Sequence[SkySigma],
    shape: tuple[int, int],
    threads: int = 1,
) -> WhiteImage:
    """Stack a whole tile, strip by strip.

    Parameters
    ----------
    strips : iterable of (Box, iterable of ndarray)
        A region and the planes of all bands there, in the order of ``sky_sigma``; see
        `row_strips`.  Pixels that no strip covers are NaN.
    sky_sigma : sequence of float or callable
        Sky noise of each band [scaled counts], or a function that returns it for a box.
    shape : (ny, nx)
        Shape of the result.
    threads : int
        Strips that are stacked at the same time, which must not overlap then.  With more than one,
        all strips are asked for at once, and their planes in these threads.
    """
    image = np.full(shape, np.nan, dtype=np.float32)
    sigma = np.full(shape, np.inf, dtype=np.float32)

    def stack(part: tuple[Box, Iterable[Pixels]]) -> None:
        box, planes = part
        noise = (level(box) if callable(level) else level for level in sky_sigma)
        strip = white_strip(planes, sky_sigma=noise)
        image[box.slices] = strip.image
        sigma[box.slices] = strip.sigma

    if threads > 1:
        with ThreadPoolExecutor(threads) as pool:
            deque(pool.map(stack, strips), maxlen=0)  # raises what a strip raised
    else:
        for part in strips:
            stack(part)
    return WhiteImage(image=image, sigma=sigma)
