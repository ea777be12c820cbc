"""Stages ``fit-k`` and ``scene-k``: the passes of the fit.

A pass fits the groups of each patch on the residual of everybody else as the pass before left them;
``scene-k`` then joins all sources into one table and updates the sky.  What a source gets does not
depend on patches, workers or order.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack
from typing_extensions import override

from skyloom._types import Floats, Pixels
from skyloom.butler import DataId
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.scene import (
    SceneState,
    loose_sources,
    noise_record,
    refine_loosely,
)

from .config import TileConfig
from .noise_sums import MAX_LAG, field_correlations
from .patch_log import group_records
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .payloads import Payloads
from .registration import Registration, band_offsets, no_offsets
from .retype import newly_retyped
from .scene_table import state_to_table
from .single_band import FitPart, join_states, state_of_part
from .sky import SkyField

__all__ = [
    "FitPass",
    "JoinScene",
    "fit_stages",
    "last_halos",
    "last_pass",
    "locate_state",
    "locate_types",
]


EARLY_TOLERANCE = {1: 300.0, 2: 30.0}  # while neighbours move; the next pass looks again
TYPES_PASSES = (1, 2)  # types are chosen after them: positions and shapes have been free
FIRST_FREE = 2  # pass whose start has been fitted with free shapes
_OF_ERRORS = (
    *("theta_cov", "flux_cov", "partner", "pair_cov", "sky_response", "singular", "shift"),
)
LAST_HALOS = 1  # pass after which halos of bright stars are measured for the last time


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInputs:
    """A patch, and all sources as the pass before left them."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Table, Dataset("sources")]
    groups: Annotated[Table, Dataset("groups")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    before: Annotated[Table | None, Dataset("scene", optional=True)]
    start: Annotated[dict[str, dict[str, Any]], Dataset("sky_start", gather="band")]
    sky: Annotated[dict[str, Any] | None, Dataset("sky_field", optional=True)]
    types: Annotated[Table | None, Dataset("types", optional=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutputs:
    """The patch's own sources after this pass, and what is left of the sky in its base box."""

    fitted: Annotated[Table, Dataset("scene_pass")]
    sky: Annotated[dict[str, Any], Dataset("sky_statistics")]
    log: Annotated[dict[str, Any], Dataset("pass_log")]


class FitPass(Stage[TileConfig, FitInputs, FitOutputs]):
    """Fit the groups of a patch; pass 0 solves the fluxes only."""

    version = 4
    dimensions = ("pass", "patch")
    config_keys = FIT_KEYS
    tolerant = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        if field in {"before", "sky"}:
            return unit.replace({"pass": int(unit["pass"]) - 1})
        return locate_state(field, unit)

    @override
    def run(self, inputs: FitInputs) -> FitOutputs:
        tables, sky, noise = {}, [], []
        groups: dict[str, Any] = {}
        level = inputs.sky if inputs.sky is not None else _first_sky(inputs.start, inputs.frames)
        for part, patch in patch_scenes(self.config, inputs, level):
            before = state_of_part(inputs.before, part.band)
            state = patch.state(before, newly_retyped(inputs.types, int(inputs.unit["pass"]) - 1))
            after, tables[part.band], sums, found = self._fit(inputs, part, patch, state)
            own = patch.own_groups()
            groups[part.band or ""] = group_records(patch.sources, patch.rows, own, state, after)
            sky.append(sums)
            noise.append(found)
        return FitOutputs(
            fitted=join_states(tables),
            sky={"sums": np.concatenate(sky), "noise": np.concatenate(noise)},
            log={"groups": groups},
        )

    def _fit(
        self, inputs: FitInputs, part: FitPart, patch: PatchScene, state: SceneState
    ) -> tuple[SceneState, Table, Floats, Floats]:
        """Fit one scene; return its state, its own sources and the sums for sky and noise."""
        number, last = int(inputs.unit["pass"]), last_pass(self.config)
        first = number == 0
        residual, weight = patch.scene.residual(state)
        loose = EARLY_TOLERANCE.get(number, 1.0) if number < last else 1.0
        after = patch.scene.run(
            state,
            patch.own_groups(),
            linear=first,
            prepared=(residual, weight),
            tolerance=loose * patch.scene.options.tolerance,
        )
        noise, sums = np.zeros(0), np.zeros(0)
        if number == last:
            after = _final_errors(part, patch, state, after, (residual, weight), number=number)
        table = state_to_table(after, patch.local(patch.owned), patch.rows, patch.bands)
        if number < last:
            # After the fit: the sources have absorbed what they can of the present error.
            own = patch.local(patch.owned)
            residual, weight = patch.scene.residual_after(residual, state, after, own)
            sums = patch.sky_statistics(residual, weight, after)
            if self.config.skyloom.correlated_noise and number == last - 1:
                noise = patch.noise_statistics(residual, weight)
        return after, table, sums, noise


def _final_errors(
    part: FitPart,
    patch: PatchScene,
    before: SceneState,
    after: SceneState,
    prepared: tuple[Pixels, Pixels],
    *,
    number: int,
) -> SceneState:
    """Return the state after the last pass with errors for correlated noise and loose profiles.

    ``prepared`` is the residual of all sources as they were before the pass: the same for every
    patch.  What loose profiles do is therefore linearised about that state, which has to be a fit.
    """
    scene, nobody = patch.scene, np.zeros(0, np.int64)
    is_correlated = "rho" in part.sky and part.sky["correlated"].any()
    if is_correlated:
        pairs = zip(part.sky["rho"], part.sky["correlated"], strict=True)
        scene.correlation = noise_record([rho if used else None for rho, used in pairs])
    loose = loose_sources(scene, after) & (number >= FIRST_FREE)
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


def _first_sky(start: dict[str, dict[str, Any]], frames: dict[str, Any]) -> dict[str, Any]:
    """Return the sky before any pass."""
    bands = [str(band) for band in frames["bands"]]
    shape = (int(frames["shape"][0]), int(frames["shape"][1]))
    zero = SkyField.zero(len(bands), shape)
    known = [start[b]["level"] if b in start else zero.level[0] for b in bands]
    field = SkyField(level=np.stack(known), error=zero.error, shape=shape)
    shift = no_offsets(len(bands), shape)
    return {**field.to_arrays(), "shift": shift, "shift_before": shift}


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinInputs:
    """All patches of one pass."""

    fitted: Annotated[dict[str, Table], Dataset("scene_pass", gather="patch")]
    sums: Annotated[dict[str, dict[str, Any]], Dataset("sky_statistics", gather="patch")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    start: Annotated[dict[str, dict[str, Any]], Dataset("sky_start", gather="band")]
    sky: Annotated[dict[str, Any] | None, Dataset("sky_field", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOutputs:
    """All fitted sources by row, and the sky for the next pass."""

    scene: Annotated[Table, Dataset("scene")]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]


class JoinScene(Stage[TileConfig, JoinInputs, JoinOutputs]):
    """Join the patches of a pass."""

    version = 3
    dimensions = ("pass",)
    config_keys = ("skyloom.fit_passes",)
    tolerant = True
    light = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return unit.replace({"pass": int(unit["pass"]) - 1}) if field == "sky" else unit

    @override
    def run(self, inputs: JoinInputs) -> JoinOutputs:
        tables = [inputs.fitted[key] for key in sorted(inputs.fitted)]
        scene = vstack(tables, metadata_conflicts="silent") if tables else Table({"row": []})
        scene.sort("row")
        before = inputs.sky if inputs.sky is not None else _first_sky(inputs.start, inputs.frames)
        if int(self.fixed["pass"]) == last_pass(self.config):
            # Nobody would follow a change.
            return JoinOutputs(scene=scene, sky={**before, "shift_before": before["shift"]})
        shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
        bands = [str(band) for band in inputs.frames["bands"]]
        parts = [inputs.sums[key] for key in sorted(inputs.sums)]
        noise = _correlations([part["noise"] for part in parts])
        factor = [float(rho.sum()) for rho in noise.get("rho", [])] or None
        sky = SkyField.from_arrays(before).updated([part["sums"] for part in parts], factor)
        shift = {
            "shift": band_offsets(scene, bands, shape, before["shift"]),
            "shift_before": before["shift"],
        }
        return JoinOutputs(scene=scene, sky={**sky.to_arrays(), **shift, **noise})


def _correlations(parts: Sequence[npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return what the last pass needs of the noise: ``rho`` (B, lags, lags), where to use it."""
    measured = [part for part in parts if part.size]
    if not measured:
        return {}
    found = field_correlations(measured)
    white = np.zeros((2 * MAX_LAG + 1, 2 * MAX_LAG + 1))
    return {
        "rho": np.stack([white if f is None else f.rho for f in found]),
        "correlated": np.array([f is not None for f in found]),
    }


def locate_types(field: str, unit: DataId) -> DataId:
    """Return the pass after which the types of a pass were last chosen; -1 for none."""
    if field != "types":
        return unit
    done = [p for p in TYPES_PASSES if p < int(unit["pass"])]
    return unit.replace({"pass": max(done, default=-1)})


def last_pass(config: TileConfig) -> int:
    """Return the number of the last pass."""
    return int(config.skyloom.fit_passes)


def last_halos(config: TileConfig) -> int:
    """Return the number of the pass after which halos are measured for the last time."""
    return min(LAST_HALOS, last_pass(config) - 1)


def locate_state(field: str, unit: DataId) -> DataId:
    """Return where a pass finds what was chosen and measured before it.

    Types by `locate_types`; halos of bright stars are those of the pass before, or earlier.
    """
    if field == "halos":
        return unit.replace({"pass": min(int(unit["pass"]) - 1, LAST_HALOS)})
    return locate_types(field, unit)


def fit_stages(config: TileConfig) -> Sequence[Stage[Any, Any, Any]]:
    """Return the stages from start values to patch catalogues, in order."""
    from .choose_types import ChooseTypes, JoinTypes  # noqa: PLC0415
    from .groups import Groups  # noqa: PLC0415
    from .halos import Halos  # noqa: PLC0415
    from .report import ReportPatch  # noqa: PLC0415

    stages: list[Stage[Any, Any, Any]] = [Groups(config), Payloads(config)]
    for number in range(last_pass(config) + 1):
        fixed = DataId({"pass": number})
        stages.append(FitPass(config, name=f"fit-{number}", fixed=fixed))
        stages.append(JoinScene(config, name=f"scene-{number}", fixed=fixed))
        is_early = number in TYPES_PASSES and number < last_pass(config)
        if is_early and config.skyloom.model_choice == "auto":
            stages.append(ChooseTypes(config, name=f"choose-types-{number}", fixed=fixed))
            stages.append(JoinTypes(config, name=f"types-{number}", fixed=fixed))
        if config.skyloom.bright_stars and number <= last_halos(config):
            stages.append(Halos(config, name=f"halos-{number}", fixed=fixed))
    last = DataId({"pass": last_pass(config)})
    stages += [ReportPatch(config, fixed=last), Registration(config, fixed=last)]
    return stages
