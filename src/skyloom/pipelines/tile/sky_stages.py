"""Stages ``sky-sums-k`` and ``sky-k``: what a pass of the fit left of the sky.

The residual of every patch is that of *all* sources after the pass, its own and those of other
patches: a patch that knew its own alone would take light of its neighbours' for sky, and the level
would depend on where patch borders run.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Floats
from skyloom.butler import DataId
from skyloom.flow import Dataset, Dim, Handle, Stage

from .config import TileConfig
from .law_scatter import measured_scatter, measures_scatter, patch_departures
from .noise_sums import MAX_LAG, field_correlations
from .passes import is_unstaged, last_pass, locate_state
from .patch_scene import FIT_KEYS, patch_scenes
from .registration import band_offsets, no_offsets
from .sky import SkyField

__all__ = ["JoinSky", "SkySums", "first_sky"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsInputs:
    """A patch, and all sources after a pass; the sky and the halos that the pass knew."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Handle[Table], Dataset("sources", lazy=True)]
    groups: Annotated[Handle[Table], Dataset("groups", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    scene: Annotated[Handle[Table], Dataset("scene", lazy=True)]
    start: Annotated[dict[str, dict[str, Any]], Dataset("sky_start", gather="band")]
    sky: Annotated[dict[str, Any] | None, Dataset("sky_field", optional=True)]
    types: Annotated[Handle[Table] | None, Dataset("types", optional=True, lazy=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SumsOutputs:
    """Sums over the base box of the patch: ``sums`` for the sky, ``noise`` before the last pass."""

    sky: Annotated[dict[str, Any], Dataset("sky_statistics")]


class SkySums(Stage[TileConfig, SumsInputs, SumsOutputs]):
    """Sum up what all sources together left in a patch."""

    version = 6
    dimensions = ("pass", "patch")
    config_keys = (*FIT_KEYS, "patch_run.enable_staged_fit")
    tolerant = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        if field == "sky":
            return unit.replace({"pass": int(unit["pass"]) - 1})
        return locate_state(field, unit)

    @override
    def run(self, inputs: SumsInputs) -> SumsOutputs:
        known = inputs.sky if inputs.sky is not None else first_sky(inputs.start, inputs.frames)
        # The sources were fitted at the offsets that this sky knows.
        level = {**known, "shift_before": known["shift"]}
        measures_noise = (
            self.config.skyloom.correlated_noise
            and int(inputs.unit["pass"]) == last_pass(self.config) - 1
        )
        sums, noise = [], [np.zeros(0)]
        departures: list[Floats] = []
        still = is_unstaged(self.config, int(inputs.unit["pass"]))
        scenes = patch_scenes(self.config, inputs, level, scene=inputs.scene, still=still)
        for _, patch in scenes:
            state = patch.state()
            residual, weight = patch.residual(state)
            sums.append(patch.sky_statistics(residual, weight, state))
            if measures_noise:
                noise.append(patch.noise_statistics(residual, weight))
            if measures_scatter(self.config, int(inputs.unit["pass"])):
                departures.append(patch_departures(patch, state, (residual, weight)))
        if measures_noise:
            noise = noise[1:]
        found = {"sums": np.concatenate(sums), "noise": np.concatenate(noise)}
        if departures:
            found["departures"] = np.concatenate(departures)
        return SumsOutputs(sky=found)


def first_sky(start: dict[str, dict[str, Any]], frames: dict[str, Any]) -> dict[str, Any]:
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
    """All sources after a pass, and what they left in every patch."""

    scene: Annotated[Table, Dataset("scene")]
    sums: Annotated[
        dict[str, dict[str, Any]], Dataset("sky_statistics", gather="patch", optional=True)
    ]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    start: Annotated[dict[str, dict[str, Any]], Dataset("sky_start", gather="band")]
    sky: Annotated[dict[str, Any] | None, Dataset("sky_field", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class JoinOutputs:
    """The sky for the next pass."""

    sky: Annotated[dict[str, Any], Dataset("sky_field")]


class JoinSky(Stage[TileConfig, JoinInputs, JoinOutputs]):
    """Move the sky, and the bands against each other, by what a pass left."""

    version = 5
    dimensions = ("pass",)
    config_keys = ("skyloom.fit_passes",)
    tolerant = True
    light = True

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return unit.replace({"pass": int(unit["pass"]) - 1}) if field == "sky" else unit

    @override
    def run(self, inputs: JoinInputs) -> JoinOutputs:
        before = inputs.sky if inputs.sky is not None else first_sky(inputs.start, inputs.frames)
        if int(self.fixed["pass"]) == last_pass(self.config):
            # Nobody would follow a change.
            return JoinOutputs(sky={**before, "shift_before": before["shift"]})
        shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
        bands = [str(band) for band in inputs.frames["bands"]]
        parts = [inputs.sums[key] for key in sorted(inputs.sums)]
        noise = _correlations([part["noise"] for part in parts])
        factor = [float(rho.sum()) for rho in noise.get("rho", [])] or None
        sky = SkyField.from_arrays(before).updated([part["sums"] for part in parts], factor)
        shift = {
            "shift": band_offsets(inputs.scene, bands, shape, before["shift"]),
            "shift_before": before["shift"],
        }
        departures = [part["departures"] for part in parts if "departures" in part]
        scatter = measured_scatter(departures, noise)
        return JoinOutputs(sky={**sky.to_arrays(), **shift, **noise, **scatter})


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
