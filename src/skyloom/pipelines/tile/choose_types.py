"""Stages ``choose-types-k`` and ``types-k``: sources whose catalogue type is clearly wrong.

With ``skyloom.model_choice: auto`` all models are fitted to every source after the first full pass,
each source alone on what its neighbours leave.  Later passes fit what is clear as the better model;
close neighbours of changed galaxies are looked at once more, after the second pass.  The choice is
made from what one pass left everywhere, so that patches, workers and interruptions cannot change
it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table, vstack
from typing_extensions import override

from skyloom._types import Bools, Ints
from skyloom.butler import DataId
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.scene import (
    CANDIDATES,
    PARAMETERS,
    ChoiceRules,
    ModelChoice,
    SceneState,
    SourceType,
    blend_quality,
    choose_models_of_state,
    clear_types,
    diagnose,
)

from .config import TileConfig
from .passes import locate_state, locate_types
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .recent import shared_table
from .report_columns import TRY_SHARE
from .report_flags import near_bright_star

__all__ = ["ChooseTypes", "JoinTypes"]

EDGE = 2.0  # FWHM from the frame edge: the core has to be whole
MOVED = 0.5  # FWHM: a model that goes this far explains something else
REACH = 40.0  # pix, of the light that a wrong model of a galaxy leaves
BRIGHT = 200.0  # S/N: brighter sources are no pieces of a halo
MASKED = 0.1  # of the profile, at most, on masked pixels of a band that sees the source
RULES = ChoiceRules(sersic_after_round=True, try_share=TRY_SHARE)
_COLUMNS = {
    **{n: np.zeros(0, np.int64) for n in ("row", "kind", "kind_before", "kind_suggested")},
    **{n: np.zeros(0) for n in ("gain", *PARAMETERS)},
    "is_oversized": np.zeros(0, np.bool_),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseInputs:
    """A patch, and all sources after a pass."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Handle[Table], Dataset("sources", lazy=True)]
    groups: Annotated[Handle[Table], Dataset("groups", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    scene: Annotated[Handle[Table], Dataset("scene", lazy=True)]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]
    types: Annotated[Handle[Table] | None, Dataset("types", optional=True, lazy=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChooseOutputs:
    """The choice for the sources that the patch fits; see `ChooseTypes`."""

    types: Annotated[Table, Dataset("types_pass")]


class ChooseTypes(Stage[TileConfig, ChooseInputs, ChooseOutputs]):
    """Choose the types of the sources that a patch fits.

    Columns of the product: ``row``; ``kind`` (`SourceType`) that is wanted and ``kind_before``;
    ``kind_suggested``, -1 where no source is significant; ``gain`` of chi-square by a galaxy over
    the present model; ``dchisq_*``; ``x`` to ``n`` and ``flux_{band}`` of the suggested model,
    fitted alone; ``is_oversized`` where the present model is too large for others to be tried.
    """

    version = 3
    dimensions = ("pass", "patch")
    config_keys = FIT_KEYS

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return locate_state(field, unit)

    @override
    def run(self, inputs: ChooseInputs) -> ChooseOutputs:
        types = None if inputs.types is None else shared_table(inputs.types)
        rows = np.asarray(inputs.payload["owned"], dtype=np.int64)
        if types is not None:
            rows = np.intersect1d(rows, types["row"][np.asarray(types["held"])])
        if len(rows) == 0:
            return ChooseOutputs(types=Table(_COLUMNS))
        ((_, patch),) = patch_scenes(self.config, inputs, inputs.sky, scene=inputs.scene)
        state = patch.state()
        state.side = patch.scene.stamp_sides(state)
        prepared = patch.residual(state)
        own = patch.local(rows)
        choice = choose_models_of_state(patch.scene, state, own, prepared, rules=RULES)
        before = patch.sources.kind[own]
        kind = clear_types(choice.dchisq, before, RULES)
        wanted = np.flatnonzero(kind != before)
        trusted = _is_trusted(patch, state, own[wanted], prepared)
        moved = np.hypot(*(choice.params[wanted, :2] - state.theta[own[wanted], :2]).T)
        kept = wanted[~trusted | (moved > MOVED * patch.scene.psf_fwhm)]
        kind[kept] = before[kept]
        return ChooseOutputs(types=_table(patch, rows, choice, kind=kind, before=before))


def _is_trusted(patch: PatchScene, state: SceneState, rows: Ints, prepared: Any) -> Bools:
    """Tell where pixels and surroundings allow to judge a type."""
    known = np.asarray(patch.groups["open_type"])[patch.rows[rows]]
    x, y = state.theta[rows, 0], state.theta[rows, 1]
    ny, nx = patch.shape
    margin = EDGE * patch.scene.psf_fwhm
    inside = (x > margin) & (y > margin) & (x < nx - 1 - margin) & (y < ny - 1 - margin)
    found = diagnose(patch.scene, state, rows, *prepared)
    blind = found.masked_fraction >= 1.0
    whole = (blind | (found.masked_fraction < MASKED)).all(axis=1)
    group = np.asarray(patch.groups["group"])[patch.rows]
    close = blend_quality(state, group, fwhm=patch.scene.psf_fwhm).is_close[rows]
    lit = near_bright_star(patch, state, x, y) & (state.snr[rows] < BRIGHT)
    return np.asarray(known & inside & whole & ~close & ~lit)


def _table(
    patch: PatchScene, rows: Ints, choice: ModelChoice, *, kind: Ints, before: Ints
) -> Table:
    """Return the product of `ChooseTypes`."""
    table = Table({"row": rows, "kind": kind, "kind_before": before})
    found = choice.table()
    table["kind_suggested"] = found["type_suggested"]
    star = choice.dchisq[:, CANDIDATES.index(SourceType.STAR)]
    best = np.max(np.nan_to_num(choice.dchisq), axis=1, initial=0.0)
    table["gain"] = np.where((kind != before) & (kind != SourceType.STAR), best - star, 0.0)
    for name in found.colnames:
        if name.startswith("dchisq_"):
            table[name] = found[name]
    for c, name in enumerate(PARAMETERS):
        table[name] = choice.params[:, c]
    for b, band in enumerate(patch.bands):
        table[f"flux_{band}"] = choice.flux[:, b]
    table["is_oversized"] = choice.is_oversized
    return table


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinInputs:
    """The choices of all patches, and those after the pass before."""

    found: Annotated[dict[str, Table], Dataset("types_pass", gather="patch")]
    before: Annotated[Table | None, Dataset("types", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOutputs:
    """The choice for all fitted sources, by row; see `JoinTypes`."""

    types: Annotated[Table, Dataset("types")]


class JoinTypes(Stage[TileConfig, JoinInputs, JoinOutputs]):
    """Join the choices of all patches; sources of a patch that failed keep their type.

    Light that the wrong model of a bright galaxy leaves makes its neighbours look like galaxies:
    where of two changes close by one gains more, the other is ``held`` until the next pass.
    Columns of the product: those of `ChooseTypes`, ``changed_after`` (pass, -1: not changed) and
    ``held``.
    """

    version = 2
    dimensions = ("pass",)
    tolerant = True
    light = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return locate_types("types" if field == "before" else field, unit)

    @override
    def run(self, inputs: JoinInputs) -> JoinOutputs:
        tables = [t for _, t in sorted(inputs.found.items()) if len(t)]
        found = vstack(tables, metadata_conflicts="silent") if tables else Table(_COLUMNS)
        wanted = np.asarray(found["kind"]) != np.asarray(found["kind_before"])
        held = wanted & _is_outshone(found)
        found["kind"] = np.where(held, found["kind_before"], found["kind"])
        found["changed_after"] = np.where(wanted & ~held, int(self.fixed["pass"]), -1)
        found["held"] = held
        if inputs.before is not None:
            old = inputs.before[~np.isin(inputs.before["row"], found["row"])]
            old["held"] = False
            found = vstack([old, found], metadata_conflicts="silent") if len(found) else old
        found.sort("row")
        return JoinOutputs(types=found)


def _is_outshone(found: Table) -> Bools:
    """Tell which sources have a neighbour whose new model gains more than their own."""
    gain = np.asarray(found["gain"])
    x, y = np.asarray(found["x"]), np.asarray(found["y"])
    galaxies = np.flatnonzero(gain > 0.0)
    far = np.hypot(x[:, None] - x[galaxies], y[:, None] - y[galaxies]) > REACH
    return np.asarray((~far & (gain[galaxies] > gain[:, None])).any(axis=1))
