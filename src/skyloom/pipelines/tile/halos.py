"""Stages ``halos-k``: what bright stars leave behind after the first passes.

For each very bright star the residual of all models is looked at, in a box of its own: the halo in
rings and, the last time, spikes: before that, models that are still wrong look like spikes.  Later
passes take the halos off and leave the spikes out.  Boxes belong to
stars, not to patches, so that patches change nothing.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints
from skyloom.butler import DataId, FitsImages
from skyloom.detect.halo import halo_light, halo_profile
from skyloom.detect.spikes import radial_streaks
from skyloom.flow import Dataset, Handle, Stage
from skyloom.geometry import Box
from skyloom.images import Frame
from skyloom.scene import SceneState, SourceType

from .config import TileConfig
from .halo_field import HaloField, StarHalo
from .noise import sky_noise
from .passes import is_unstaged, last_halos, locate_types
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .payloads import box_payloads, reach_of, rows_reaching
from .recent import shared_table
from .retype import retyped_kinds
from .scene_table import STILL
from .start import start_values

__all__ = ["Halos"]

log = logging.getLogger(__name__)

MIN_SNR: Final = 1500.0  # of all bands, without saturation: fainter stars are their PSF
REACH: Final = (50.0, 80.0, 200.0)  # pix: least; at an S/N of 5000, growing as its root; most
INNER: Final = 2.0  # FWHM from the centre, or from the edge of the saturated core
AT_ONCE: Final = 32  # stars whose pixels are in memory
MARGIN: Final = 4  # pix
DARK: Final = 1.0  # sigma of the sky: with more light of other sources a pixel tells no halo


@dataclass(frozen=True, slots=True, kw_only=True)
class HalosInputs:
    """The tile after a pass."""

    frames: Annotated[dict[str, Any], Dataset("frames")]
    sources: Annotated[Handle[Table], Dataset("sources", lazy=True)]
    groups: Annotated[Handle[Table], Dataset("groups", lazy=True)]
    images: Annotated[dict[str, Handle[Any]], Dataset("raw_image", gather="band", lazy=True)]
    masks: Annotated[dict[str, Handle[Any]], Dataset("band_mask", gather="band", lazy=True)]
    noise: Annotated[dict[str, dict[str, Any]], Dataset("noise", gather="band", optional=True)]
    saturation: Annotated[dict[str, dict[str, Any]], Dataset("saturation", gather="band")]
    bright: Annotated[FitsImages | None, Dataset("bright_mask", optional=True)]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    scene: Annotated[Handle[Table], Dataset("scene", lazy=True)]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]
    types: Annotated[Handle[Table] | None, Dataset("types", optional=True, lazy=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class HalosOutputs:
    """Halos and spikes; see `HaloField`."""

    halos: Annotated[dict[str, npt.NDArray[Any]], Dataset("halos")]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Box:
    """What `patch_scenes` needs of the box of a star."""

    payload: dict[str, Any]
    sources: Handle[Table]
    groups: Handle[Table]
    models: dict[str, Handle[Any]]
    frames: dict[str, Any]
    types: Handle[Table] | None
    halos: dict[str, Any]


class Halos(Stage[TileConfig, HalosInputs, HalosOutputs]):
    """Measure halos and spikes of bright stars on the residual of a pass."""

    version = 4
    dimensions = ("pass",)
    config_keys = (*FIT_KEYS, "patch_run.enable_staged_fit")

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return locate_types(field, unit, after=True)

    @override
    def run(self, inputs: HalosInputs) -> HalosOutputs:
        bands = [str(b) for b in inputs.frames["bands"]]
        shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
        groups = shared_table(inputs.groups)
        start = start_values(shared_table(inputs.sources), bands, shape, self.config.patch_run)
        half = reach_of(np.asarray(groups["kind"]), start.log_r)
        core = _saturated_radii(inputs.saturation, len(start.x))
        field = HaloField()
        still = is_unstaged(self.config, int(self.fixed["pass"]))
        snr = _snr(inputs, self.config.patch_run.fallback_default_fwhm_pix, still=still)
        kind = np.asarray(groups["kind"])
        if inputs.types is not None:
            kind = retyped_kinds(kind, shared_table(inputs.types))
        stars = _bright_stars(shared_table(inputs.scene), kind, core > 0.0, snr)
        for first in range(0, len(stars), AT_ONCE):
            some = stars[first : first + AT_ONCE]
            outers = [_reach(snr) for _, snr in some]
            boxes = [
                Box.around(float(start.x[row]), float(start.y[row]), int(outer) + MARGIN).clipped(
                    Box.of_shape(shape)
                )
                for (row, _), outer in zip(some, outers, strict=True)
            ]
            payloads = box_payloads(
                boxes,
                [rows_reaching(groups, start.x, start.y, half, box) for box in boxes],
                frames=inputs.frames,
                images=inputs.images,
                masks=inputs.masks,
                noise=inputs.noise,
                saturation=inputs.saturation,
                bright=inputs.bright,
            )
            for (row, _), outer, payload in zip(some, outers, payloads, strict=True):
                self._look(inputs, field, payload, row, core=float(core[row]), outer=outer)
        _tell(field, len(stars), bands, shape)
        return HalosOutputs(halos=field.to_arrays())

    def _look(
        self,
        inputs: HalosInputs,
        field: HaloField,
        payload: dict[str, Any],
        row: int,
        *,
        core: float,
        outer: float,
    ) -> None:
        """Add what is found about one star, in all bands; known halos are taken off before."""
        view = _Box(
            payload=payload,
            sources=inputs.sources,
            groups=inputs.groups,
            models=inputs.models,
            frames=inputs.frames,
            types=inputs.types,
            halos=field.to_arrays(),
        )
        bands = [str(b) for b in inputs.frames["bands"]]
        # Of types chosen since the pass: what a wrong model leaves of a neighbour is no halo.
        last = int(self.fixed["pass"])
        scenes = patch_scenes(
            self.config,
            view,
            inputs.sky,
            scene=inputs.scene,
            newly=last,
            still=is_unstaged(self.config, last),
        )
        for _, patch in scenes:
            state = patch.state()
            residual, weight = patch.residual(state)
            planes = (residual, weight, patch.scene.model(residual))
            for b, band in enumerate(patch.bands):
                number = bands.index(band)
                left = _add_halo(
                    field, patch, state, row, (b, number), planes=planes, core=core, outer=outer
                )
                if int(self.fixed["pass"]) == last_halos(self.config):
                    _add_spikes(field, patch, left, number)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Left:
    """What a star and its halo leave in a box: planes of one band, the star [pix of the box]."""

    excess: Floats
    weight: Floats
    star: Floats  # with its halo
    others: Floats
    x: float
    y: float
    inner: float
    outer: float


def _add_halo(
    field: HaloField,
    patch: PatchScene,
    state: SceneState,
    row: int,
    bands: tuple[int, int],
    *,
    planes: Sequence[npt.NDArray[Any]],
    core: float,
    outer: float,
) -> _Left:
    """Add the halo of one star in one band, by its number in the scene and in the tile.

    ``planes``: residual, weight and model of the scene, flat.
    """
    b, band = bands
    local = int(patch.local(np.array([row]))[0])
    x, y = (float(v) for v in state.theta[local, :2] + state.offset[local, b])
    residual, weight, model = (patch.planes(p)[b].astype(np.float64) for p in planes)
    star = patch.scene.model_of(state, local, b, (0, 0), patch.box.shape).astype(np.float64)
    others = model - star
    inner = core + INNER * patch.scene.psf_fwhm
    dy, dx = np.mgrid[patch.box.y0 : patch.box.y1, patch.box.x0 : patch.box.x1]
    dx, dy = dx - x, dy - y
    dark = np.abs(others) < DARK * np.asarray(patch.sky_sigma[b])
    found = halo_profile(residual, weight, dark, dx=dx, dy=dy, inner=inner, outer=outer)
    light = np.zeros(residual.shape)
    if found.is_significant:
        field.halos.append(
            StarHalo(row=row, band=band, x=x, y=y, radius=found.radius, terms=found.terms)
        )
        light = halo_light(dx, dy, found.radius, found.terms)
    return _Left(
        excess=residual - light,
        weight=weight,
        star=star + light,
        others=others,
        x=x - patch.box.x0,
        y=y - patch.box.y0,
        inner=inner,
        outer=outer,
    )


def _add_spikes(field: HaloField, patch: PatchScene, left: _Left, band: int) -> None:
    """Add the spikes of one star in one band, by its number in the tile."""
    streaks = radial_streaks(
        left.excess,
        left.weight,
        left.star,
        left.others,
        x=left.x,
        y=left.y,
        inner=left.inner,
        outer=left.outer,
        fwhm=patch.scene.psf_fwhm,
    )
    field.add_spikes(band, streaks, patch.box)


def _reach(snr: float) -> float:
    """Return how far from a star its halo is looked for [pix]."""
    least, typical, most = REACH
    return float(np.clip(typical * np.sqrt(snr / 5000.0), least, most))


def _bright_stars(
    scene: Table, kind: Ints, saturated: Bools, snr: Floats
) -> list[tuple[int, float]]:
    """Return rows and S/N of the stars to look at, brightest first."""
    if len(scene) == 0:
        return []
    row = np.asarray(scene["row"], dtype=np.int64)
    star = kind[row] == SourceType.STAR
    chosen = np.flatnonzero(star & ((snr > MIN_SNR) | saturated[row]))
    order = chosen[np.lexsort((row[chosen], -snr[chosen]))]
    return [(int(row[k]), float(snr[k])) for k in order]


def _snr(inputs: HalosInputs, default_fwhm: float, *, still: bool) -> Floats:
    """Return the S/N of all bands that each row would have as a star without saturation."""
    scene = shared_table(inputs.scene)
    total = np.zeros(len(scene))
    for band, values in inputs.frames["frames"].items():
        frame = Frame.from_dict(values)
        sigma = sky_noise(frame, inputs.noise.get(band)).level
        area = 4.0 * np.pi * ((frame.fwhm_pix or default_fwhm) / 2.3548) ** 2
        prefix = "" if f"flux_{band}" in scene.colnames else f"{band}/"  # each band by itself
        prefix += STILL if still else ""
        flux = np.maximum(np.nan_to_num(np.asarray(scene[f"{prefix}flux_{band}"])), 0.0)
        variance = area * sigma**2 + frame.source_variance_per_count * flux
        total += flux**2 / variance
    return np.sqrt(total)


def _saturated_radii(saturation: Mapping[str, dict[str, Any]], rows: int) -> Floats:
    """Return the radius [pix] of the saturated core of each row, 0 without one."""
    area: Floats = np.zeros(rows)
    for found in saturation.values():
        at: Ints = np.array(found["rows"], dtype=np.int64)
        np.maximum.at(area, at, np.array(found["area"], dtype=np.float64))
    return np.sqrt(area / np.pi)


def _tell(field: HaloField, n_stars: int, bands: list[str], shape: tuple[int, int]) -> None:
    """Say what was found."""
    if n_stars == 0:
        return
    pixels = len(field.to_arrays()["spikes"])
    log.info(
        "bright stars: %d looked at, %d halos, %.3f %% of the pixels in spikes",
        n_stars,
        len(field.halos),
        100.0 * pixels / (len(bands) * shape[0] * shape[1]),
    )
