"""Stages ``fit-k`` and ``scene-k``: the passes of the fit.

A pass fits the groups of each patch on the residual of everybody else as the pass before left them;
``scene-k`` then joins all sources into one table and updates the sky.  What a source gets does not
depend on patches, workers or order.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Protocol

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack
from typing_extensions import override

from skyloom._types import Floats, Ints
from skyloom.butler import DataId
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box
from skyloom.images import Frame, MaskBit
from skyloom.psf import FieldPsf
from skyloom.scene import (
    BlendGroups,
    FitOptions,
    PsfTransforms,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
    noise_record,
)

from .config import TileConfig
from .fallback import FALLBACK_KEYS, fallback_psf
from .halo_field import HaloField
from .noise_sums import MAX_LAG, field_correlations, noise_sums
from .patch_log import group_records
from .payloads import Payloads, sky_sigma_of
from .psf_cache import bank_of, psf_and_transforms, with_transforms
from .registration import OFFSET_SNR, Registration, band_offsets, no_offsets, offsets_at
from .retype import newly_retyped, retyped_kinds, retyped_start, retyped_state
from .scene_table import state_from_table, state_to_table
from .single_band import FitPart, fit_parts, join_states, state_of_part
from .sky import SkyField, absorbed_sums, sky_sums
from .start import scene_sources, start_values

__all__ = [
    "FIT_KEYS",
    "FitPass",
    "JoinScene",
    "PatchScene",
    "fit_stages",
    "last_halos",
    "last_pass",
    "locate_state",
    "locate_types",
    "patch_scenes",
]

FIT_KEYS = (
    "patch_run.enable_multi_band_simultaneous_fitting",
    "patch_run.gal_model",
    "patch_run.n_opt_iters",
    "patch_run.dlnp_stop",
    "patch_run.sersic_n_init",
    "patch_run.re_fallback_pix",
    "patch_run.pos_max_shift_pix",
    "patch_run.psf_model",
    "patch_run.gaussian_mixture_n",
    "skyloom.profile",
    "skyloom.correlated_noise",
    "skyloom.psf_error",
    "skyloom.fit_passes",
    "skyloom.bright_stars",
    *FALLBACK_KEYS,
)

EARLY_TOLERANCE = {1: 300.0, 2: 30.0}  # while neighbours move; the next pass looks again
TYPES_PASSES = (1, 2)  # types are chosen after them: positions and shapes have been free
LAST_HALOS = 1  # pass after which halos of bright stars are measured for the last time
MIN_TOLERANCE = 0.01  # of chi-square: a tenth of a standard error


class PatchScene:
    """The scene of one patch: its pixels, the sources that reach it, and its own groups."""

    def __init__(
        self,
        config: TileConfig,
        payload: dict[str, npt.NDArray[Any]],
        *,
        sources: Table,
        groups: Table,
        models: dict[str, Handle[Any]],
        frames: dict[str, Any],
        sky: dict[str, npt.NDArray[Any]],
        types: Table | None,
        halos: HaloField,
    ) -> None:
        self.bands = [str(b) for b in payload["bands"]]
        self.shape = (int(frames["shape"][0]), int(frames["shape"][1]))
        self.rows: Ints = np.asarray(payload["rows"], dtype=np.int64)
        self.owned: Ints = np.asarray(payload["owned"], dtype=np.int64)
        self.base: Ints = np.asarray(payload["base"], dtype=np.int64)
        x0, y0 = int(payload["x0"]), int(payload["y0"])
        ny, nx = payload["image"].shape[1:]
        self.box = Box(x0, x0 + nx, y0, y0 + ny)
        self.base_box = Box(*(int(v) for v in payload["base_box"]))
        self.roi_box = Box(*(int(v) for v in payload["roi_box"]))
        number = {str(band): b for b, band in enumerate(frames["bands"])}
        self.mask: npt.NDArray[np.uint8] = payload["mask"].copy()
        for b, band in enumerate(self.bands):
            spikes = halos.mask(number[band], self.box)
            self.mask[b][spikes] |= np.uint8(MaskBit.SPIKE)
        self.groups = groups
        self.sky = SkyField.from_arrays(sky)
        self.shift, self.shift_before = sky["shift"], sky["shift_before"]
        self.sky_sigma = [
            sky_sigma_of(payload, b, box=self.box, shape=self.shape) for b in range(len(self.bands))
        ]
        start = start_values(sources, self.bands, self.shape, config.patch_run)
        kind = np.asarray(groups["kind"])
        if types is not None:
            start, kind = retyped_start(start, types), retyped_kinds(kind, types)
        self.start = start
        self.sources: Sources = scene_sources(
            start,
            self.rows,
            kind=kind[self.rows],
            max_shift=config.patch_run.pos_max_shift_pix,
            near_halo=np.asarray(groups["near_saturated"])[self.rows],
        )
        pairs = [_band_psf(config, band, models, frames) for band in self.bands]
        self.fwhm = np.array([psf.fwhm for psf, _ in pairs])
        images = []
        for b, band in enumerate(self.bands):
            good = self.mask[b] == 0
            halo = halos.light(number[band], self.box)
            own = payload["source_variance"][b] * np.maximum(halo, 0.0)
            variance = np.asarray(self.sky_sigma[b], np.float64) ** 2 + own
            images.append(
                SceneImage(
                    data=np.where(good, payload["image"][b], 0)
                    - self.sky.surface(b, self.box)
                    - halo.astype(np.float32),
                    ivar=np.where(good, 1.0 / variance, 0.0).astype(np.float32),
                    psf=pairs[b][0],
                    flux_key=band,
                    sky_key=band,
                    source_variance=float(payload["source_variance"][b]),
                    origin=(x0, y0),
                )
            )
        options = FitOptions(
            offset_snr=OFFSET_SNR,
            profile=config.skyloom.profile,
            psf_error=config.skyloom.psf_error,
            max_iterations=config.patch_run.n_opt_iters,
            tolerance=max(MIN_TOLERANCE, 2.0 * config.patch_run.dlnp_stop),
        )
        self.scene = ScenePass(
            images, self.sources, options, bank=bank_of(*(transforms for _, transforms in pairs))
        )

    def local(self, rows: Ints) -> Ints:
        """Return where catalogue rows stand in this scene."""
        return np.searchsorted(self.rows, rows).astype(np.int64)

    def own_groups(self) -> dict[int, list[Ints]]:
        """Return the blocks of the groups that this patch fits, in rows of this scene."""
        local = self.local(self.owned)
        group = np.asarray(self.groups["group"])[self.owned]
        block = np.asarray(self.groups["block"])[self.owned]
        parts = BlendGroups(group=group, block=block).members()
        return {g: [local[rows] for rows in blocks] for g, blocks in parts.items()}

    def prior_counts(self) -> dict[str, int]:
        """Return how many of the sources that this patch fits have priors by the catalogue."""
        shapes = (self.start.prior_ivar[self.owned] > 0.0).T
        fluxes = (self.start.flux_prior_ivar[self.owned] > 0.0).any(axis=1)
        known = {"position": shapes[0], "radius": shapes[2], "ellipticity": shapes[3]}
        return {name: int(rows.sum()) for name, rows in {**known, "flux": fluxes}.items()}

    def state(self, table: Table | None, types: Table | None = None) -> SceneState:
        """Return the state of this scene's sources after a pass.

        ``types`` that were chosen after it, if any.
        """
        state = state_from_table(table, self.rows, self.sources, self.bands)
        if types is not None:
            retyped_state(state, types, self.rows, self.bands)
        x, y = state.theta[:, 0], state.theta[:, 1]
        before = offsets_at(self.shift_before, x, y, self.shape)
        state.offset_mean = offsets_at(self.shift, x, y, self.shape)
        is_own = (state.offset != 0.0).any(axis=2, keepdims=True)
        state.offset = np.where(is_own, state.offset + before, state.offset_mean)
        return state

    def planes(self, flat: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return flat planes as images of the box, one per band."""
        spans = self.scene.spans()
        return [flat[s : s + area].reshape(self.box.shape) for s, area in spans]

    def noise_statistics(
        self, residual: npt.NDArray[Any], weight: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Return the noise sums of the base box of every band, see `noise_sums`."""
        inner = self.base_box.shifted(-self.box.x0, -self.box.y0)
        planes = zip(
            self.planes(residual),
            self.planes(weight),
            self.planes(self.scene.model(residual)),
            strict=True,
        )
        return np.stack([noise_sums(r, w, m, inner) for r, w, m in planes])

    def sky_statistics(
        self, residual: npt.NDArray[Any], weight: npt.NDArray[Any], after: SceneState
    ) -> Floats:
        """Return the sky sums (B, 14, gy, gx) of the base box, and what own groups absorb."""
        inner = self.base_box.shifted(-self.box.x0, -self.box.y0).slices
        pairs = zip(self.planes(residual), self.planes(weight), strict=True)
        seen = [sky_sums(r[inner], w[inner], self.base_box, self.shape) for r, w in pairs]
        own = self.local(self.owned)
        x, y = after.theta[own, 0], after.theta[own, 1]
        taken = absorbed_sums(after.sky_absorbed[own], x, y, self.shape)
        return np.concatenate([np.stack(seen), taken], axis=1)


class _PatchInputs(Protocol):
    """What the stages that look at patches have in common."""

    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def sources(self) -> Table: ...
    @property
    def groups(self) -> Table: ...
    @property
    def models(self) -> dict[str, Handle[Any]]: ...
    @property
    def frames(self) -> dict[str, Any]: ...
    @property
    def types(self) -> Table | None: ...  # chosen instead of the catalogue's
    @property
    def halos(self) -> dict[str, Any] | None: ...


def patch_scenes(
    config: TileConfig, inputs: _PatchInputs, sky: dict[str, Any]
) -> Iterator[tuple[FitPart, PatchScene]]:
    """Yield the scenes of a patch: one with all bands, or one for each band."""
    known = HaloField.from_arrays(inputs.halos)
    joint = config.patch_run.enable_multi_band_simultaneous_fitting
    for part in fit_parts(inputs.payload, sky, joint=joint):
        scene = PatchScene(
            config,
            part.payload,
            sources=inputs.sources,
            groups=inputs.groups,
            models=inputs.models,
            frames=inputs.frames,
            sky=part.sky,
            types=inputs.types,
            halos=known,
        )
        yield part, scene


def _band_psf(
    config: TileConfig, band: str, models: dict[str, Handle[Any]], frames: dict[str, Any]
) -> tuple[FieldPsf, PsfTransforms]:
    """Return the PSF of a band; a band whose ePSF stage failed gets the fallback."""
    if band in models:
        run = config.patch_run
        is_mixture = run.psf_model == "gaussian_mixture_from_stamp"
        gaussians = max(1, run.gaussian_mixture_n) if is_mixture else None
        return psf_and_transforms(models[band], gaussians=gaussians)
    frame = Frame.from_dict(frames["frames"][band])
    fwhm = frame.fwhm_pix or config.patch_run.fallback_default_fwhm_pix
    return with_transforms(fallback_psf(config, fwhm, frame.working_shape))


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

    version = 3
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
        if number == last and "rho" in part.sky:
            rho, used = part.sky["rho"], part.sky["correlated"]
            patch.scene.correlation = noise_record(
                [r if u else None for r, u in zip(rho, used, strict=True)]
            )
            blocks = [(b, np.zeros(0, np.int64)) for g in patch.own_groups().values() for b in g]
            if blocks and used.any():
                after = patch.scene.refine_errors(after, blocks, (residual, weight))
        table = state_to_table(after, patch.local(patch.owned), patch.rows, patch.bands)
        if number < last:
            # After the fit: the sources have absorbed what they can of the present error.
            own = patch.local(patch.owned)
            residual, weight = patch.scene.residual_after(residual, state, after, own)
            sums = patch.sky_statistics(residual, weight, after)
            if self.config.skyloom.correlated_noise and number == last - 1:
                noise = patch.noise_statistics(residual, weight)
        return after, table, sums, noise


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
