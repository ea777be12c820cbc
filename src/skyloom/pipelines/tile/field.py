"""All sources of a tile as a stage sees them: made once by each process, shared by its patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Floats, Ints
from skyloom.flow import Handle
from skyloom.scene import SceneState, Sources

from .config import TileConfig
from .recent import Recent, shared_table
from .registration import offsets_at
from .retype import newly_retyped, retyped_kinds, retyped_start, retyped_state
from .scene_table import restarted_table, state_from_table, still_table
from .single_band import state_of_part
from .start import StartValues, scene_sources, start_values

__all__ = ["FieldSources", "FieldState", "field_sources"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldSources:
    """Start values and models of all catalogue rows, for fits of some bands."""

    start: StartValues
    kind: Ints  # `SourceType`, -1 where a row is not fitted
    groups: Table
    max_shift: float | None  # pix
    key: tuple[Any, ...]  # tells them apart

    def of(self, rows: Ints) -> Sources:
        """Return the engine's description of some rows."""
        return scene_sources(
            self.start,
            rows,
            kind=self.kind[rows],
            max_shift=self.max_shift,
            near_catalogue=np.asarray(self.groups["near_saturated"])[rows],
        )


_SOURCES: Recent[FieldSources] = Recent(8)


def field_sources(
    config: TileConfig,
    *,
    sources: Handle[Table],
    groups: Handle[Table],
    types: Handle[Table] | None,
    bands: Sequence[str],
    shape: tuple[int, int],
) -> FieldSources:
    """Return all sources; the same object while nothing that it is made of changes.

    Parameters
    ----------
    config : TileConfig
    sources, groups : Handle
        What the stages of these names made.
    types : Handle or None
        Types chosen instead of the catalogue's.
    bands : sequence of str
    shape : tuple of int
        Working frame (ny, nx).
    """
    run = config.patch_run
    rules = run.gal_model, run.re_fallback_pix, run.sersic_n_init, run.pos_max_shift_pix
    digests = sources.digest, groups.digest, None if types is None else types.digest
    key = (*digests, *bands, *shape, *rules)

    def make() -> FieldSources:
        start = start_values(shared_table(sources), list(bands), shape, run)
        known = shared_table(groups)
        kind = np.asarray(known["kind"])
        if types is not None:
            chosen = shared_table(types)
            start, kind = retyped_start(start, chosen), retyped_kinds(kind, chosen)
        return FieldSources(
            start=start, kind=kind, groups=known, max_shift=run.pos_max_shift_pix, key=key
        )

    return _SOURCES.get(key, make)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldState:
    """What a pass left of all sources, and where the bands lie when it is looked at.

    Parameters
    ----------
    scene : Handle or None
        The state of all sources; None before the first pass.
    types : Handle or None
        Types that hold now; those chosen after the pass ``newly`` are not in ``scene`` yet.
    newly : int or None
    band : str or None
        Which of the single bands; None: all of them together.
    bands : tuple of str
    shift, shift_before : ndarray
        Offsets of the bands [pix] as they are known now, and as the pass knew them.
    shape : tuple of int
        Working frame (ny, nx).
    still : bool
        Before positions and shapes were free in this pass.
    halos : tuple of tuple
        x, y, radius [pix] of what was not known yet while they were: sources in it start again.
    """

    scene: Handle[Table] | None
    types: Handle[Table] | None
    newly: int | None
    band: str | None
    bands: tuple[str, ...]
    shift: Floats
    shift_before: Floats
    shape: tuple[int, int]
    still: bool = False
    halos: tuple[tuple[float, float, float], ...] = ()

    @property
    def table(self) -> Table | None:
        """The state of all sources, columns without the name of a single band."""
        if self.scene is None:
            return None
        table = state_of_part(shared_table(self.scene), self.band)
        if table is None:
            return None
        return still_table(table) if self.still else restarted_table(table, np.array(self.halos))

    @property
    def key(self) -> tuple[Any, ...]:
        """Tells states apart."""
        digests = [None if h is None else h.digest for h in (self.scene, self.types)]
        shifts = [None if s is None else s.tobytes() for s in (self.shift, self.shift_before)]
        known = self.newly, self.band, self.bands, self.shape, self.still, self.halos
        return (*digests, *shifts, *known)

    def of(self, rows: Ints, sources: Sources) -> SceneState:
        """Return the state of some rows, whose description is ``sources``."""
        state = state_from_table(self.table, rows, sources, self.bands)
        if self.types is not None and self.newly is not None:
            new = newly_retyped(shared_table(self.types), self.newly)
            retyped_state(state, new, rows, self.bands)
        x, y = state.theta[:, 0], state.theta[:, 1]
        before = offsets_at(self.shift_before, x, y, self.shape)
        state.offset_mean = offsets_at(self.shift, x, y, self.shape)
        is_own = (state.offset != 0.0).any(axis=2, keepdims=True)
        state.offset = np.where(is_own, state.offset + before, state.offset_mean)
        return state
