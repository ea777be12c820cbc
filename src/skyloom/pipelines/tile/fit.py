"""Stages ``fit-k`` and ``scene-k``: the passes of the fit.

A pass fits the groups of each patch on the residual of everybody else as the pass before left them;
``scene-k`` then joins all sources into one table; what they leave of the sky is found by the stages
of `skyloom.pipelines.tile.sky_stages`.  What a source gets does not depend on patches, workers or
order.
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Pixels
from skyloom.butler import DataId
from skyloom.catalogs import plain_table
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.scene import (
    SceneState,
    loose_sources,
    noise_record,
    refine_loosely,
)

from .config import TileConfig
from .passes import (
    FIRST_FREE,
    TYPES_PASSES,
    is_unstaged,
    last_halos,
    last_pass,
    locate_state,
)
from .patch_log import group_records
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .payloads import Payloads
from .registration import Registration
from .scene_table import state_to_table, with_still
from .single_band import FitPart, join_states
from .sky_stages import JoinSky, SkySums, first_sky
from .strays import STRAYED, fitted_again

__all__ = ["FitPass", "JoinScene", "fit_stages"]


EARLY_TOLERANCE = {1: 300.0, 2: 30.0}  # while neighbours move; the next pass looks again
_OF_ERRORS = (
    *("theta_cov", "flux_cov", "partner", "pair_cov", "sky_response", "singular", "shift"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInputs:
    """A patch, and all sources as the pass before left them."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Handle[Table], Dataset("sources", lazy=True)]
    groups: Annotated[Handle[Table], Dataset("groups", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    before: Annotated[Handle[Table] | None, Dataset("scene", optional=True, lazy=True)]
    start: Annotated[dict[str, dict[str, Any]], Dataset("sky_start", gather="band")]
    sky: Annotated[dict[str, Any] | None, Dataset("sky_field", optional=True)]
    types: Annotated[Handle[Table] | None, Dataset("types", optional=True, lazy=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutputs:
    """The patch's own sources after this pass, and what it did to them."""

    fitted: Annotated[Table, Dataset("scene_pass")]
    log: Annotated[dict[str, Any], Dataset("pass_log")]


class FitPass(Stage[TileConfig, FitInputs, FitOutputs]):
    """Fit the groups of a patch; pass 0 solves the fluxes only, if the fit is staged."""

    version = 10
    dimensions = ("pass", "patch")
    config_keys = (*FIT_KEYS, "patch_run.enable_staged_fit")
    tolerant = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        if field in {"before", "sky"}:
            return unit.replace({"pass": int(unit["pass"]) - 1})
        return locate_state(field, unit)

    @override
    def run(self, inputs: FitInputs) -> FitOutputs:
        tables = {}
        groups: dict[str, Any] = {}
        level = inputs.sky if inputs.sky is not None else first_sky(inputs.start, inputs.frames)
        number = int(inputs.unit["pass"])
        scenes = patch_scenes(
            self.config,
            inputs,
            level,
            scene=inputs.before,
            newly=number - 1,
            again=is_unstaged(self.config, number - 1),
        )
        for part, patch in scenes:
            state = patch.scene.resized(patch.state())
            after, lost = self._fit(number, part, patch, state)
            local = patch.local(patch.owned)
            table = state_to_table(after, local, patch.rows, patch.bands)
            if is_unstaged(self.config, number):
                after = _moved_at_once(patch, after)
                moved = state_to_table(after, local, patch.rows, patch.bands)
                table = with_still(moved, table)
            table[STRAYED] = lost[local]
            own = patch.own_groups()
            groups[part.band or ""] = group_records(patch.sources, patch.rows, own, state, after)
            tables[part.band] = table
        return FitOutputs(fitted=join_states(tables), log={"groups": groups})

    def _fit(
        self, number: int, part: FitPart, patch: PatchScene, state: SceneState
    ) -> tuple[SceneState, Bools]:
        """Return the state after a pass, and whose models strayed; last errors know the noise."""
        last = last_pass(self.config)
        first = number == 0
        residual, weight = patch.residual(state)
        loose = EARLY_TOLERANCE.get(number, 1.0) if number < last else 1.0
        tolerance = loose * patch.scene.options.tolerance
        lost = np.zeros(len(patch.rows), np.bool_)
        after = patch.scene.run(
            state,
            patch.own_groups(),
            linear=first,
            prepared=(residual, weight),
            tolerance=tolerance,
        )
        if not first:
            after, lost = fitted_again(patch, state, after, (residual, weight), tolerance=tolerance)
        if number == last:
            after = _final_errors(
                part, patch, state, after, (residual, weight), number=number, lost=lost
            )
        return after, lost


def _moved_at_once(patch: PatchScene, state: SceneState) -> SceneState:
    """Return the state after positions and shapes were fitted too, others at their start fluxes.

    Nobody gets offsets of bands: they would count as a star's own before the field is known.
    """
    scene = copy(patch.scene)
    scene.options = replace(scene.options, offset_snr=np.inf)
    state = patch.with_first_light(state)
    return scene.run(
        state,
        patch.own_groups(),
        prepared=scene.residual(state),
        tolerance=EARLY_TOLERANCE[1] * scene.options.tolerance,
    )


def _final_errors(
    part: FitPart,
    patch: PatchScene,
    before: SceneState,
    after: SceneState,
    prepared: tuple[Pixels, Pixels],
    *,
    number: int,
    lost: Bools,
) -> SceneState:
    """Return the state after the last pass with errors for correlated noise and loose profiles.

    ``prepared`` is the residual of all sources as they were before the pass: the same for every
    patch.  What loose profiles do is therefore linearised about that state, which has to be a fit;
    of the sources in ``lost``, whose models strayed, it is not.
    """
    scene, nobody = patch.scene, np.zeros(0, np.int64)
    is_correlated = "rho" in part.sky and part.sky["correlated"].any()
    if is_correlated:
        pairs = zip(part.sky["rho"], part.sky["correlated"], strict=True)
        scene.correlation = noise_record([rho if used else None for rho, used in pairs])
    loose = loose_sources(scene, after) & (number >= FIRST_FREE) & ~lost
    blocks = [(b, nobody) for g in patch.own_groups().values() for b in g]
    if is_correlated and (others := [b for b in blocks if not loose[b[0]].any()]):
        after = scene.refine_errors(after, others, prepared)
    if freed := [b for b in blocks if loose[b[0]].any()]:
        start = replace(before, frozen=after.frozen, faint=after.faint, side=after.side)
        found = refine_loosely(scene, start, freed, prepared)
        rows = np.concatenate([own for own, _ in freed])
        for name in _OF_ERRORS:
            getattr(after, name)[rows] = getattr(found, name)[rows]
    return after


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinInputs:
    """All patches of one pass."""

    fitted: Annotated[dict[str, Table], Dataset("scene_pass", gather="patch")]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOutputs:
    """All fitted sources by row."""

    scene: Annotated[Table, Dataset("scene")]


class JoinScene(Stage[TileConfig, JoinInputs, JoinOutputs]):
    """Join the patches of a pass."""

    version = 4
    dimensions = ("pass",)
    tolerant = True
    light = True

    @override
    def run(self, inputs: JoinInputs) -> JoinOutputs:
        tables = [inputs.fitted[key] for key in sorted(inputs.fitted)]
        if not tables:
            return JoinOutputs(scene=Table({"row": []}))
        order = np.argsort(np.concatenate([table["row"] for table in tables]), kind="stable")
        columns = {
            name: np.concatenate([np.asarray(table[name]) for table in tables])[order]
            for name in tables[0].colnames
        }
        return JoinOutputs(scene=plain_table(columns))


def fit_stages(config: TileConfig) -> Sequence[Stage[Any, Any, Any]]:
    """Return the stages from start values to patch catalogues, in order."""
    from .choose_types import ChooseTypes, JoinTypes  # noqa: PLC0415
    from .groups import Groups  # noqa: PLC0415
    from .halos import Halos  # noqa: PLC0415
    from .report import ReportPatch  # noqa: PLC0415

    last = last_pass(config)
    stages: list[Stage[Any, Any, Any]] = [Groups(config), Payloads(config)]
    for number in range(last + 1):
        fixed = DataId({"pass": number})
        stages.append(FitPass(config, name=f"fit-{number}", fixed=fixed))
        stages.append(JoinScene(config, name=f"scene-{number}", fixed=fixed))
        if number < last:
            stages.append(SkySums(config, name=f"sky-sums-{number}", fixed=fixed))
        stages.append(JoinSky(config, name=f"sky-{number}", fixed=fixed))
        is_early = number in TYPES_PASSES and number < last
        if is_early and config.skyloom.model_choice == "auto":
            stages.append(ChooseTypes(config, name=f"choose-types-{number}", fixed=fixed))
            stages.append(JoinTypes(config, name=f"types-{number}", fixed=fixed))
        if config.skyloom.bright_stars and number <= last_halos(config):
            stages.append(Halos(config, name=f"halos-{number}", fixed=fixed))
    end = DataId({"pass": last})
    stages += [ReportPatch(config, fixed=end), Registration(config, fixed=end)]
    return stages
