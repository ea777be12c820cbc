"""Scanned photographic plates: turned into positives, without margins, labels and step wedges."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools, Floats

if TYPE_CHECKING:
    from skyloom.geometry import Box


__all__ = ["plate_area"]

_CELLS: Final = 96  # along the longer side; coarse enough for grain, fine enough for labels
_SIGMA: Final = 6.0  # an emulsion cell is that close to the smooth plate
_RANGE: Final = 0.15  # or within this part of the range of values: vignetting, nebulae
_STEP: Final = 0.05  # of the range of values, from a cell to the next: an edge
_COST: Final = 15.0  # cells of plate given up to be rid of one of the margin
_LEAST: Final = 0.25  # of the scan; a smaller area was not understood


def plate_area(scan: npt.NDArray[Any]) -> Box:
    """Find the exposed emulsion in a scan: no margins, labels, clips or step wedges.

    The level of the emulsion is a smooth surface through the middle of the scan.  What is off that
    level, joined to the border and set off by an edge is no sky; the answer is the rectangle that
    holds most of the emulsion and next to none of the rest.  Stars, nebulae and scratches inside do
    not matter.

    Parameters
    ----------
    scan : ndarray, shape (ny, nx)
        Densities or transmissions [any unit], in full or scaled down to some hundred pixels.

    Returns
    -------
    Box
        The emulsion [pix]; the whole scan where nothing is to be cut, or where less than a quarter
        of it would remain.
    """
    from skyloom.geometry import Box  # noqa: PLC0415 - slow: wcslib, trees

    whole = Box.of_shape((scan.shape[0], scan.shape[1]))
    side = max(1, -(-max(scan.shape) // _CELLS))
    if min(scan.shape) < 16 * side:
        return whole
    cells = _cell_medians(scan, side)
    margin = _margin(cells)
    if not margin.any():
        return whole
    best = Box(*_heaviest_box(np.where(margin, -_COST, 1.0)))
    # The outermost cells may hold an edge of the margin.
    inner = Box(
        best.x0 + (best.x0 > 0),
        best.x1 - (best.x1 < cells.shape[1]),
        best.y0 + (best.y0 > 0),
        best.y1 - (best.y1 < cells.shape[0]),
    )
    box = Box(
        inner.x0 * side,
        whole.x1 if inner.x1 == cells.shape[1] else inner.x1 * side,
        inner.y0 * side,
        whole.y1 if inner.y1 == cells.shape[0] else inner.y1 * side,
    )
    return box if box.width * box.height >= _LEAST * scan.size else whole


def _cell_medians(scan: npt.NDArray[Any], side: int) -> Floats:
    """Return medians of square cells; half a cell or less at the far borders is dropped."""
    ny, nx = (n // side for n in scan.shape)
    cut = np.asarray(scan[: ny * side, : nx * side], np.float64)
    cells = cut.reshape(ny, side, nx, side).swapaxes(1, 2).reshape(ny, nx, -1)
    medians = np.median(cells, axis=-1)
    holes = ~np.isfinite(medians) & np.isfinite(cells).any(axis=-1)
    medians[holes] = np.nanmedian(cells[holes], axis=-1)
    return medians


def _margin(cells: Floats) -> Bools:
    """Return the cells that are off the level of the emulsion, joined to the border, and no sky."""
    from scipy import ndimage  # noqa: PLC0415 - slow

    if not np.isfinite(_central(cells)).any():
        return np.zeros(cells.shape, bool)
    level, sigma = _emulsion(cells)
    low, high = np.nanpercentile(cells, [1, 99])
    # A large nebula bends the surface; then the plain median knows the sky.
    off = np.minimum(np.abs(cells - level), np.abs(cells - np.nanmedian(_central(cells))))
    suspect = ~(off <= max(_SIGMA * sigma, _RANGE * (high - low)))
    # A single cell is a star or a scratch.
    suspect = ndimage.binary_opening(np.pad(suspect, 2, mode="edge"))[2:-2, 2:-2]
    regions, count = ndimage.label(suspect)
    border = np.unique(np.concatenate([regions[0], regions[-1], regions[:, 0], regions[:, -1]]))
    part = ndimage.mean(_gradual(cells, high - low), regions, np.arange(count + 1))
    return np.isin(regions, [k for k in border if k and part[k] < 0.5])


def _gradual(cells: Floats, span: float) -> Bools:
    """Return the cells that one reaches from the middle without a step: sky, vignetting, nebulae.

    Margins and labels begin with an edge, however much their level may resemble the plate's.
    """
    from scipy import ndimage  # noqa: PLC0415 - slow

    typical = [np.abs(np.diff(_central(cells), axis=axis)) for axis in (0, 1)]
    known = np.concatenate([t[np.isfinite(t)] for t in typical])
    scatter = 1.4826 * float(np.median(known)) if known.size else 0.0
    most = max(_SIGMA * scatter, _STEP * span)
    calm = np.isfinite(cells)
    for axis in (0, 1):
        step = ~(np.abs(np.diff(cells, axis=axis)) <= most)
        before, after = [(0, 0), (0, 0)], [(0, 0), (0, 0)]
        before[axis], after[axis] = (1, 0), (0, 1)
        calm &= ~(np.pad(step, before) | np.pad(step, after))
    regions, count = ndimage.label(ndimage.binary_opening(calm))
    inside = np.bincount(_central(regions).ravel(), minlength=count + 1)
    inside[0] = 0
    return np.asarray((regions == np.argmax(inside)) & (regions > 0))


def _emulsion(cells: Floats) -> tuple[Floats, float]:
    """Fit a parabola to the middle of a plate; return it everywhere, and the scatter about it."""
    ny, nx = cells.shape
    y, x = np.mgrid[-1 : 1 : ny * 1j, -1 : 1 : nx * 1j]
    terms = np.stack([np.ones_like(x), x, y, x * x, x * y, y * y], axis=-1)
    used = (np.abs(x) < 0.6) & (np.abs(y) < 0.6) & np.isfinite(cells)
    level, sigma = np.full_like(cells, np.nan), 0.0
    for _ in range(5):
        if used.sum() < 30:
            break
        fitted = terms[used]
        level = terms @ np.linalg.solve(fitted.T @ fitted, fitted.T @ cells[used])
        off = cells - level
        sigma = 1.4826 * float(np.median(np.abs(off[used] - np.median(off[used]))))
        used &= np.abs(off) <= 3 * sigma
    return level, sigma


def _central(cells: npt.NDArray[Any]) -> npt.NDArray[Any]:
    """Return the middle of a plate, three fifths of each side."""
    ny, nx = cells.shape
    return cells[ny // 5 : ny - ny // 5, nx // 5 : nx - nx // 5]


def _heaviest_box(weights: Floats) -> tuple[int, int, int, int]:
    """Return ``x0, x1, y0, y1`` of the rectangle with the largest sum.

    Kadane's scan of columns, for every range of rows.
    """
    ny, nx = weights.shape
    best, found = -np.inf, (0, nx, 0, ny)
    above = np.vstack([np.zeros(nx), np.cumsum(weights, axis=0)])
    for y0 in range(ny):
        sums = above[y0 + 1 :] - above[y0]  # all boxes from row y0 up
        run = np.concatenate([np.zeros((len(sums), 1)), np.cumsum(sums, axis=1)], axis=1)
        lowest = np.minimum.accumulate(run[:, :-1], axis=1)
        gain = run[:, 1:] - lowest
        row, x1 = np.unravel_index(int(np.argmax(gain)), gain.shape)
        if gain[row, x1] > best:
            best = gain[row, x1]
            x0 = int(np.argmin(run[row, : x1 + 1]))
            found = x0, int(x1) + 1, y0, y0 + int(row) + 1
    return found
