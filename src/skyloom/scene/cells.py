"""Sources one at a time: boxes that hold the light of one source and nobody else's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from threading import Lock

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._driver_nb import solve_groups
from ._products_nb import SPARE
from ._records import Images, Members, Problem, Results, empty_results, unit_counts, white_noise
from ._values_nb import subtract_models
from .addresses import kernel_addresses
from .passes import ScenePass
from .prepared import COMPACT_RADIUS, FOLD_SNR
from .sources import SourceType
from .state import SceneState

__all__ = ["Cells", "cut_cells"]

_BANK = Lock()  # transforms of PSFs are made, and stored, when a stamp side is first needed


@dataclass(frozen=True, slots=True, kw_only=True)
class Cells:
    """Boxes of m sources in B images, all of the same side, each source alone in its own.

    ``rows`` (m,) of the sources in the scene, ``side`` [pix], ``data`` and ``weight``
    (B, m, side, side).  Boxes are centred on the sources as they were when they were cut.
    """

    scene: ScenePass
    state: SceneState
    rows: Ints
    side: int
    data: Pixels
    weight: Pixels

    def __len__(self) -> int:
        return len(self.rows)

    def take(self, which: Ints) -> Cells:
        """Return some of the boxes."""
        return replace(
            self, rows=self.rows[which], data=self.data[:, which], weight=self.weight[:, which]
        )

    @property
    def chi2(self) -> Floats:
        """Sum of the weighted squares of what is in each box, shape (m, B)."""
        square = self.data * self.data * self.weight
        return np.asarray(square.sum(axis=(2, 3), dtype=np.float64).T)

    def plus(self, kind: Ints, theta: Floats, flux: Floats, side: Ints) -> Cells:
        """Return the boxes with a model of each source added.

        Parameters
        ----------
        kind : ndarray of int, shape (m,)
        theta, flux : ndarray, shapes (m, 6) and (m, F)
        side : ndarray of int, shape (m,)
            Stamp sides, at most that of the boxes [pix].
        """
        images = self._images()
        members = self._members(kind, theta, side, np.zeros((len(self), 6), np.bool_))
        subtract_models(
            images, members, self._relative(theta), np.nan_to_num(flux), self.scene.tables, -1.0
        )
        return replace(self, data=images.data[:-SPARE].reshape(self.data.shape))

    def solve(
        self, kind: Ints, theta: Floats, side: Ints, problem: Problem, tolerance: float
    ) -> Results:
        """Fit a model to each source alone, from zero flux.

        ``theta`` (m, 6) to start from, ``side`` (m,) of the stamps, ``problem`` with bounds in the
        frame of ``theta``.  Positions of the results are in that frame, too.
        """
        scene, m = self.scene, len(self)
        reference = np.zeros((m, 6))
        reference[:, :2] = scene.reference[self.rows]
        relative = problem._replace(
            lower=problem.lower - reference,
            upper=problem.upper - reference,
            mu=np.where(problem.w > 0.0, problem.mu - reference, 0.0),
        )
        results = empty_results(self._relative(theta), np.zeros((m, scene.n_flux)), 0)
        each = np.arange(m + 1)
        solve_groups(
            each[:-1],
            each,
            each,
            self._members(kind, theta, side, problem.free),
            scene.tables,
            self._images(),
            relative,
            tolerance,
            int(scene.options.max_iterations),
            white_noise(scene.geometry.n_images),
            results,
            np.ones(m, np.int64),
            True,
            kernel_addresses(),
        )
        return results._replace(theta=results.theta + reference)

    def _images(self) -> Images:
        """Return the boxes, one above the other, as the images that kernels read."""
        geometry, (n_images, m, side, _) = self.scene.geometry, self.data.shape
        spare = np.zeros(SPARE, np.float32)
        return Images(
            np.concatenate([self.data.ravel(), spare]),
            np.concatenate([self.weight.ravel(), spare]),
            np.arange(n_images) * (m * side * side),
            np.tile(np.array([m * side, side]), (n_images, 1)),
            geometry.key,
            np.full(n_images, -1),
        )

    def _members(self, kind: Ints, theta: Floats, side: Ints, free: Bools) -> Members:
        """Return the kernel record of the sources, each with its stamp in the middle of its box."""
        geometry, state, rows, m = self.scene.geometry, self.state, self.rows, len(self)
        compact = (kind == SourceType.STAR) | (theta[:, 2] < np.log(COMPACT_RADIUS))
        shift = self._relative(state.theta[rows])[:, :2]
        with _BANK:
            members = geometry.members(
                rows,
                kind,
                side,
                count=unit_counts(free, np.arange(m)),
                anchor=np.arange(m),
                corner=geometry.corners(rows, shift, side),
                frame=np.zeros((geometry.n_images, 2), np.int64),
                is_compact=compact & (state.snr[rows] > FOLD_SNR),
            )
        inset = (self.side - side) // 2
        origin = np.stack([inset, inset + np.arange(m) * self.side], axis=1)
        return members._replace(
            origin=np.repeat(origin[:, None, :], geometry.n_images, axis=1),
            pos=members.pos + state.offset[rows][:, geometry.key],
        )

    def _relative(self, theta: Floats) -> Floats:
        """Return parameters that count from the reference positions."""
        relative = np.array(theta, dtype=np.float64)
        relative[:, :2] -= self.scene.reference[self.rows]
        return relative


def cut_cells(
    scene: ScenePass, state: SceneState, rows: Ints, side: int, prepared: tuple[Pixels, Pixels]
) -> Cells:
    """Cut the boxes of some sources out of a scene, with the light of everybody else taken away.

    Parameters
    ----------
    scene, state : ScenePass, SceneState
    rows : ndarray of int, shape (m,)
    side : int
        Of the boxes [pix]; none of these sources may have a larger stamp in ``state``.
    prepared : tuple of ndarray
        What `ScenePass.residual` returned for this state.
    """
    geometry = scene.geometry
    shift = state.theta[rows, :2] - scene.reference[rows]
    corner = geometry.corners(rows, shift, np.full(len(rows), side))
    planes = np.zeros((2, geometry.n_images, len(rows), side, side), np.float32)
    for b, ((start, area), shape) in enumerate(zip(scene.spans(), geometry.shapes, strict=True)):
        for boxes, plane in zip(planes[:, b], prepared, strict=True):
            image = plane[start : start + area].reshape(shape)
            for box, (x, y) in zip(boxes, corner[:, b].tolist(), strict=True):
                inner = image[max(y, 0) : max(y + side, 0), max(x, 0) : max(x + side, 0)]
                height, width = inner.shape
                top, left = max(-y, 0), max(-x, 0)
                box[top : top + height, left : left + width] = inner
    cells = Cells(scene=scene, state=state, rows=rows, side=side, data=planes[0], weight=planes[1])
    kind = scene.sources.kind[rows]
    return cells.plus(kind, state.theta[rows], state.flux[rows], state.side[rows])
