"""The light of all sources after a pass, drawn once for all patches that look at it.

Patches overlap: their boxes hold the stamps of all sources that they fit, so that each patch by
itself would draw most sources of its neighbours again.  Here the models of a whole field are drawn
in blocks that have nothing to do with patches, when the first patch asks; a process keeps the last
ones.  What a block holds does not depend on who asks, nor in which order.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from skyloom._types import Floats, Ints, Pixels
from skyloom.geometry import Box
from skyloom.protocols import Psf
from skyloom.scene import (
    FitOptions,
    ProfileVariant,
    PsfBank,
    SceneImage,
    ScenePass,
    field_stamp_sides,
)

from .field import FieldSources, FieldState
from .recent import Recent

__all__ = ["FieldLight", "field_light"]

BLOCKS = (512, 256)  # pix, sides: larger blocks draw fewer sources twice; those of many bands,
MANY = 10  # more than these, would fill the memory
STAMP_MARGIN = 4  # pix: stamps are centred on whole pixels, bands are shifted against each other
AT_ONCE = 4096  # sources whose stamps are chosen at a time
KEPT = 48 << 20  # pixels of all bands: 200 MB
SINGLE = 256  # pix: larger stamps are cut where the block ends

_BLOCKS: Recent[Pixels] = Recent(KEPT, np.size)


class FieldLight:
    """Models of all sources in all bands.

    Parameters
    ----------
    sources : FieldSources
    state : FieldState
    psfs : sequence of Psf
        One per band.
    bank : PsfBank
        Their transforms.
    noise : ndarray, shape (B,)
        Typical noise of a pixel [scaled counts]; it says where stamps end.
    profile : {'exact', 'hl13'}
    key : tuple
        Tells lights apart.

    Attributes
    ----------
    side : ndarray of int
        Stamp side of every catalogue row [pix]; 0: it has no light.
    """

    def __init__(
        self,
        sources: FieldSources,
        state: FieldState,
        *,
        psfs: Sequence[Psf],
        bank: PsfBank,
        noise: Floats,
        profile: ProfileVariant,
        key: tuple[Any, ...],
    ) -> None:
        self._sources, self._state = sources, state
        self._psfs, self._bank, self._noise = psfs, bank, noise
        self._options = FitOptions(profile=profile)
        self._key = key
        self._side = BLOCKS[len(psfs) > MANY]
        self._frame = Box.of_shape(state.shape)
        self.side: Ints = np.zeros(len(sources.kind), np.int64)
        self._place = np.full((len(sources.kind), 2), np.nan)
        table = state.table
        fitted = np.zeros(0, np.int64) if table is None else np.asarray(table["row"])
        for first in range(0, len(fitted), AT_ONCE):
            rows = fitted[first : first + AT_ONCE]
            own = sources.of(rows)
            seen = state.of(rows, own)
            lit = (np.nan_to_num(seen.flux) != 0.0).any(axis=1)
            sides = field_stamp_sides(self._images(self._frame), own, seen, noise=noise, bank=bank)
            self.side[rows] = np.where(lit, sides, 0)
            self._place[rows] = seen.theta[:, :2]

    def model(self, box: Box) -> Pixels:
        """Return the sum of all models in a box, shape (B, ny, nx) [scaled counts]."""
        out = np.empty((len(self._psfs), *box.shape), np.float32)
        side = self._side
        for row in range(box.y0 // side, (box.y1 - 1) // side + 1):
            for column in range(box.x0 // side, (box.x1 - 1) // side + 1):
                block = Box(0, side, 0, side).shifted(column * side, row * side)
                block = block.clipped(self._frame)
                common = block.clipped(box)
                planes = _BLOCKS.get((self._key, block), partial(self._drawn, block))
                out[:, *common.shifted(-box.x0, -box.y0).slices] = planes[
                    :, *common.shifted(-block.x0, -block.y0).slices
                ]
        return out

    def _drawn(self, block: Box) -> Pixels:
        """Return the models of all sources that reach a block, shape (B, ny, nx)."""
        x, y = self._place.T
        reach = 0.5 * self.side + STAMP_MARGIN
        near = (x > block.x0 - reach) & (x < block.x1 + reach)
        near &= (y > block.y0 - reach) & (y < block.y1 + reach)
        rows = np.flatnonzero(near & (self.side > 0))
        shape = (len(self._psfs), *block.shape)
        if len(rows) == 0:
            return np.zeros(shape, np.float32)
        sources = self._sources.of(rows)
        scene = ScenePass(self._images(block), sources, self._options, bank=self._bank)
        state = self._state.of(rows, sources)
        whole = self.side[rows]
        state.side = np.where(whole > SINGLE, np.minimum(whole, scene.stamp_sides(state)), whole)
        residual, _ = scene.residual(state)
        return np.asarray(scene.model(residual).reshape(shape))

    def _images(self, box: Box) -> list[SceneImage]:
        """Return images of a box without any pixels of their own."""
        nothing = np.broadcast_to(np.float32(0.0), box.shape)
        return [
            SceneImage(
                data=nothing,
                ivar=np.broadcast_to(np.float32(sigma**-2.0), box.shape),
                psf=psf,
                flux_key=band,
                sky_key=band,
                origin=(box.x0, box.y0),
            )
            for band, psf, sigma in zip(self._state.bands, self._psfs, self._noise, strict=True)
        ]


_LIGHTS: Recent[FieldLight] = Recent(48)


def field_light(
    sources: FieldSources,
    state: FieldState,
    *,
    psfs: Sequence[Psf],
    bank: PsfBank,
    noise: Floats,
    profile: ProfileVariant,
) -> FieldLight:
    """Return the light of all sources; the same object while nothing it is made of changes.

    Parameters as of `FieldLight`.
    """
    key = (sources.key, state.key, bank, noise.tobytes(), profile)
    return _LIGHTS.get(
        key,
        lambda: FieldLight(
            sources, state, psfs=psfs, bank=bank, noise=noise, profile=profile, key=key
        ),
    )
