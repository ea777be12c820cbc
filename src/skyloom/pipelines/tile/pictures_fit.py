"""Pictures of the fit: patches, the residual of the tile, every source."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints
from skyloom.butler import Array, DataId
from skyloom.catalogs import column_as_text, resolve_columns
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box, patches_from_rows
from skyloom.plots import (
    CutoutPicture,
    DisplayRange,
    FittedPoints,
    PatchPicture,
    Points,
    draw_cutouts,
    draw_patch,
)
from skyloom.scene import SceneState, SourceType

from .config import TileConfig
from .passes import locate_state
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .recent import shared_table

__all__ = ["DrawCutouts", "DrawPatch", "DrawResidual", "source_names"]

_LONGEST_NAME = 100  # characters of an ID kept in a file name; file systems end at 255 bytes

MOSAIC_SIDE = 900  # pix, of the longer side of a panel of the tile's residual
SMALLEST_HALF = 7  # pix: windows of sources at an edge do not shrink below this


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPictureInputs:
    """The fit of a patch."""

    patch: Annotated[str, Dim("patch")]
    white: Annotated[dict[str, Array], Dataset("patch_white")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PatchPictureOutputs:
    """The picture."""

    picture: Annotated[bytes, Dataset("patch_overview")]


class DrawPatch(Stage[TileConfig, PatchPictureInputs, PatchPictureOutputs]):
    """Draw data, model and residual of a patch."""

    name = "plot-patch"
    late = True
    dimensions = ("patch",)
    config_keys = ("plotting.dpi",)

    @override
    def run(self, inputs: PatchPictureInputs) -> PatchPictureOutputs:
        """Return the picture."""
        white = inputs.white
        x0, y0 = float(white["x0"]), float(white["y0"])
        is_base = white["is_base"].astype(bool)
        start = white["x_start"] - x0, white["y_start"] - y0
        fitted = white["x_fit"] - x0, white["y_fit"] - y0
        ny, nx = white["data"].shape
        inside = Box.of_shape((ny, nx)).contains(*start)
        picture = PatchPicture(
            tag=f"patch {inputs.patch}",
            data=white["data"],
            model=white["model"],
            sigma=white["sigma"],
            bad=white["mask"].astype(bool),
            notes=f"; x {x0:.0f} to {x0 + nx:.0f}, y {y0:.0f} to {y0 + ny:.0f} pix",
            base=_points(start, fitted, is_base & inside),
            halo=_points(start, fitted, ~is_base & inside),
        )
        dpi = self.config.plotting.dpi
        return PatchPictureOutputs(picture=draw_patch(picture, dpi=dpi).png(dpi=dpi))


def _points(
    start: tuple[Floats, Floats], fitted: tuple[Floats, Floats], chosen: Bools
) -> FittedPoints:
    return FittedPoints(
        start=Points(x=start[0], y=start[1]).where(chosen),
        fitted=Points(x=fitted[0], y=fitted[1]).where(chosen),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualInputs:
    """The fits of all patches."""

    frames: Annotated[dict[str, Any], Dataset("frames")]
    patches: Annotated[list[dict[str, Any]], Dataset("patches_json")]
    whites: Annotated[
        dict[str, Handle[dict[str, Array]]], Dataset("patch_white", gather="patch", lazy=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class ResidualOutputs:
    """The picture; none where no patch was fitted."""

    picture: Annotated[bytes | None, Dataset("residual_mosaic", optional=True)]


class DrawResidual(Stage[TileConfig, ResidualInputs, ResidualOutputs]):
    """Draw data, model and residual of the whole tile, averaged to the size of a screen."""

    name = "plot-residual"
    late = True
    tolerant = True
    config_keys = ("plotting.dpi",)

    @override
    def run(self, inputs: ResidualInputs) -> ResidualOutputs:
        """Return the picture."""
        if not inputs.whites:
            return ResidualOutputs(picture=None)
        ny, nx = (int(v) for v in inputs.frames["shape"])
        dpi = self.config.plotting.dpi
        binning = -(-max(ny, nx) // min(MOSAIC_SIDE, max(100, 3 * dpi)))
        shape = (-(-ny // binning), -(-nx // binning))
        sums = np.zeros((4, *shape))  # data, model, variance, number of pixels
        for patch in patches_from_rows(inputs.patches):
            if patch.tag in inputs.whites:
                white = inputs.whites[patch.tag].read()
                _add_binned(sums, white, patch.base, binning)
        count = sums[3]
        seen = count > 0
        data, model = (np.where(seen, s / np.where(seen, count, 1), np.nan) for s in sums[:2])
        sigma = np.sqrt(sums[2]) / np.where(seen, count, 1)
        picture = PatchPicture(
            tag=f"tile, {len(inputs.whites)} patches",
            data=data,
            model=model,
            sigma=np.where(seen, sigma, np.nan),
            bad=~seen,
            binning=binning,
        )
        return ResidualOutputs(picture=draw_patch(picture, dpi=dpi).png(dpi=dpi))


def _add_binned(sums: Floats, white: dict[str, Array], base: Box, binning: int) -> None:
    """Add the pixels of a patch's own box to the sums over squares of pixels."""
    y0, x0 = int(white["y0"]), int(white["x0"])
    inner = base.clipped(Box(x0, x0 + white["data"].shape[1], y0, y0 + white["data"].shape[0]))
    if inner.is_empty:
        return
    cut = inner.shifted(-x0, -y0).slices
    good = ~white["mask"][cut].astype(bool)
    planes = [np.where(good, white[n][cut], 0.0) for n in ("data", "model")]
    planes += [np.where(good, white["sigma"][cut], 0.0) ** 2, good.astype(np.float64)]
    rows, columns = np.arange(inner.y0, inner.y1), np.arange(inner.x0, inner.x1)
    iy, first_row = np.unique(rows // binning, return_index=True)
    ix, first_column = np.unique(columns // binning, return_index=True)
    for total, plane in zip(sums, planes, strict=True):
        part = np.add.reduceat(np.add.reduceat(plane, first_row, axis=0), first_column, axis=1)
        total[np.ix_(iy, ix)] += part


@dataclass(frozen=True, slots=True, kw_only=True)
class CutoutInputs:
    """A patch and the final state of all sources."""

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
class CutoutOutputs:
    """One picture per source."""

    pictures: Annotated[dict[str, bytes], Dataset("cutout", scatter="source")]


class DrawCutouts(Stage[TileConfig, CutoutInputs, CutoutOutputs]):
    """Draw data, model and residual of every source of a patch, its halo sources too."""

    name = "plot-cutouts"
    late = True
    dimensions = ("pass", "patch")
    config_keys = (
        *FIT_KEYS,
        "patch_run.cutout_size",
        "patch_run.cutout_max_sources",
        "patch_run.cutout_start",
        "patch_run.cutout_data_p_lo",
        "patch_run.cutout_data_p_hi",
        "patch_run.cutout_model_p_lo",
        "patch_run.cutout_model_p_hi",
        "patch_run.cutout_resid_p_abs",
        "plotting.dpi",
    )

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return locate_state(field, unit)

    @override
    def run(self, inputs: CutoutInputs) -> CutoutOutputs:
        """Return the pictures."""
        fits = [
            (patch, patch.state())
            for _, patch in patch_scenes(self.config, inputs, inputs.sky, scene=inputs.scene)
        ]
        patch = fits[0][0]
        run, dpi = self.config.patch_run, self.config.plotting.dpi
        x, y = patch.start.x[patch.rows], patch.start.y[patch.rows]
        is_base = np.isin(patch.rows, patch.base)
        near = patch.roi_box.contains(np.floor(x + 0.5), np.floor(y + 0.5))
        order = np.r_[np.flatnonzero(is_base), np.flatnonzero(near & ~is_base)]
        names = source_names(shared_table(inputs.sources), patch.rows, is_base)
        stop = None if run.cutout_max_sources is None else run.cutout_start + run.cutout_max_sources
        chosen = order[run.cutout_start : stop]
        if len(chosen) == 0:
            return CutoutOutputs(pictures={})
        ranges = DisplayRange(
            data=(run.cutout_data_p_lo, run.cutout_data_p_hi),
            model=(run.cutout_model_p_lo, run.cutout_model_p_hi),
            residual=run.cutout_resid_p_abs,
        )
        pictures = _pictures(
            fits, inputs, chosen, is_base=is_base, names=names, half=run.cutout_size // 2
        )
        return CutoutOutputs(
            pictures={
                name: draw_cutouts(picture, ranges=ranges, dpi=dpi).png(dpi=dpi)
                for name, picture in pictures
            }
        )


def source_names(sources: Table, rows: Ints, is_base: Bools) -> list[str]:
    """Return the part of a cut-out's file name that tells its source.

    Parameters
    ----------
    sources : Table
        The stage ``sources``'s product.
    rows : ndarray of int
        Rows of it.
    is_base : ndarray of bool
        Which of them the patch reports; the names of the others start with ``halo_``.

    Returns
    -------
    list of str
        The ID, where characters other than letters, digits and ``_ - .`` became ``_``; without an
        ID the row in six digits.  Dots that would hide the file or climb a directory become ``_``
        too, and long IDs are cut.  Names that would be equal end in the row.
    """
    column = resolve_columns(sources).id
    known = column_as_text(sources, column)[rows] if column else np.full(len(rows), "")
    names = []
    for text, row, base in zip(known, rows, is_base, strict=True):
        name = re.sub(r"[^A-Za-z0-9_.-]|^\.|(?<=\.)\.", "_", str(text)[:_LONGEST_NAME])
        name = name or f"{row:06d}"
        names.append(name if base else f"halo_{name}")
    counts = Counter(names)
    numbered = [
        name if counts[name] == 1 else f"{name}_{row}"
        for name, row in zip(names, rows, strict=True)
    ]
    if len(set(numbered)) == len(numbered):
        return numbered
    # an ID that looks like the numbered name of another: number all of them
    return [f"{name}_{row}" for name, row in zip(names, rows, strict=True)]


def _pictures(
    fits: Sequence[tuple[PatchScene, SceneState]],
    inputs: CutoutInputs,
    chosen: Ints,
    *,
    is_base: Bools,
    names: list[str],
    half: int,
) -> Iterator[tuple[str, CutoutPicture]]:
    """Yield name and picture of the chosen sources of a patch.

    ``fits`` holds the joint fit, or those of the single bands: then the mean position is marked.
    """
    patch = fits[0][0]
    model = np.concatenate([_model_and_sky(*fit) for fit in fits])
    theta = np.mean([state.theta for _, state in fits], axis=0)
    flux, flux_err = (
        np.concatenate([getattr(state, name) for _, state in fits], axis=1)
        for name in ("flux", "flux_err")
    )
    data, bad = inputs.payload["image"], inputs.payload["mask"] != 0
    x0, y0 = patch.box.x0, patch.box.y0
    start = np.stack([patch.start.x[patch.rows] - x0, patch.start.y[patch.rows] - y0])
    fitted = theta[:, :2].T - np.array([[x0], [y0]])
    ny, nx = data.shape[1:]
    for i in chosen:
        cx, cy = (round(float(v)) for v in start[:, i])
        reach = min(half, cx, cy, nx - 1 - cx, ny - 1 - cy)
        box = Box.around(cx, cy, max(reach, min(half, SMALLEST_HALF)))
        corner = np.array([[box.x0], [box.y0]])
        near = box.contains(start[0], start[1]) | box.contains(fitted[0], fitted[1])
        near[i] = False
        before, after = start - corner, fitted - corner
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = flux[i] / flux_err[i]
        yield (
            names[i],
            CutoutPicture(
                title=_title(names[i], patch, theta[i], i),
                bands=tuple(str(band) for band in inputs.payload["bands"]),
                data=_window(data, box, np.nan),
                model=_window(model, box, np.nan),
                bad=_window(bad, box, True),
                start=(float(before[0, i]), float(before[1, i])),
                fitted=(float(after[0, i]), float(after[1, i])),
                is_halo=not is_base[i],
                base=_points(tuple(before), tuple(after), near & is_base),
                halo=_points(tuple(before), tuple(after), near & ~is_base),
                notes=tuple(f"S/N {s:.3g}" if np.isfinite(s) else "no flux" for s in snr),
            ),
        )


def _model_and_sky(patch: PatchScene, state: SceneState) -> Array:
    """Return the model of every pixel of a patch with its sky, (B, ny, nx)."""
    residual, _ = patch.residual(state)
    sky = [patch.sky.surface(b, patch.box) for b in range(len(patch.bands))]
    return np.stack(patch.planes(patch.scene.model(residual))) + np.stack(sky)


def _window(planes: Array, box: Box, outside: float | bool) -> Array:
    """Cut a box out of planes (B, ny, nx), filled where it leaves them."""
    frame = Box.of_shape(planes.shape[1:])
    inner = box.clipped(frame)
    if inner == box:
        return planes[:, *box.slices]
    window = np.full((len(planes), *box.shape), outside, planes.dtype)
    window[:, *inner.shifted(-box.x0, -box.y0).slices] = planes[:, *inner.slices]
    return window


def _title(name: str, patch: PatchScene, theta: Floats, i: int) -> str:
    kind = SourceType(int(patch.sources.kind[i])).name
    text = f"{name}   {kind}   x {theta[0]:.1f}   y {theta[1]:.1f}"
    if kind != SourceType.STAR.name:
        text += f"   r {np.exp(theta[2]):.2f} pix"
    return text
