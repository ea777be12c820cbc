"""Stage ``payloads``: the pixels that each patch needs, cut once."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from astropy.wcs import WCS
from typing_extensions import override

from skyloom._types import Floats, Ints, Pixels
from skyloom.butler import DataId, FitsImages
from skyloom.detect import NoiseMesh
from skyloom.detect.saturation import saturated_pixels
from skyloom.flow import Dataset, Dim, Handle, Stage, Upstream
from skyloom.geometry import Box, Patch, cropped_wcs, patches_from_rows
from skyloom.images import Frame, MaskBit, read_pixels, scaled_pixels

from .config import TileConfig
from .load import band_frame, working_wcs
from .noise import SkyNoise, sky_noise
from .start import start_values

__all__ = ["Payloads", "box_payloads", "reach_of", "rows_reaching", "sky_sigma_of"]

STAMP_HALF = 32  # pix, of a star's stamp
OPEN_HALF = 64  # pix, of a source that may turn out to be a galaxy
WIDEST_HALF = 128  # pix, of the largest stamp
TOGETHER = 8  # times the pixels that are wanted: reading more costs less than opening a file again
LIT = 64  # pix: light of bright stars beyond this is below the noise


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadInputs:
    """Everything that decides which pixels are used."""

    strip: Annotated[int, Dim("strip")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    patches: Annotated[list[dict[str, Any]], Dataset("patches_json")]
    sources: Annotated[Table, Dataset("sources")]
    groups: Annotated[Table, Dataset("groups")]
    images: Annotated[dict[str, Handle[Any]], Dataset("raw_image", gather="band", lazy=True)]
    masks: Annotated[dict[str, Handle[Any]], Dataset("band_mask", gather="band", lazy=True)]
    noise: Annotated[dict[str, dict[str, Any]], Dataset("noise", gather="band", optional=True)]
    saturation: Annotated[dict[str, dict[str, Any]], Dataset("saturation", gather="band")]
    bright: Annotated[FitsImages | None, Dataset("bright_mask", optional=True)]
    wcs: Annotated[FitsImages, Dataset("wcs")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadOutputs:
    """One archive per patch of the strip; see `Payloads`."""

    payloads: Annotated[dict[str, dict[str, npt.NDArray[Any]]], Dataset("payload", scatter="patch")]


class Payloads(Stage[TileConfig, PayloadInputs, PayloadOutputs]):
    """Cut images, masks and source lists of the patches in one row of patches.

    Each archive holds ``bands``, ``image`` (B, ny, nx) [scaled counts], ``mask`` (B, ny, nx;
    `MaskBit`), ``x0, y0`` (corner in the working frame), ``sky_sigma, source_variance, scale``
    (B,), ``rows`` (all sources whose light reaches the box), ``owned`` (those that this patch
    fits) and ``base`` (those that it reports), ``base_box, roi_box``.  The box holds the
    patch with its halo and the stamps of all sources that it fits.  Where the noise of a band
    varies, its ``sky_sigma`` is the median, and `sky_sigma_of` reads what else there is:
    ``sky_sigma_map`` (M, ny, nx) and ``sky_sigma_plane`` (B,), the plane of the band or -1; or
    ``sky_sigma_mesh`` (B, gy, gx), a `NoiseMesh`, NaN for bands without one.  On request
    ``wcs_patch`` and ``wcs_full``: FITS header cards of the box and of the working frame, as text.
    """

    name = "payloads"
    version = 1
    dimensions = ("strip",)
    units_from = ("patches_json",)
    config_keys = (
        "patch_inputs.skip_empty_patch",
        "patch_inputs.include_wcs_in_payload",
        "patch_inputs.gzip_compresslevel",  # by the layout
        "patch_run.gal_model",
        "patch_run.re_fallback_pix",
        "patch_run.sersic_n_init",
    )

    @override
    def units(self, upstream: Upstream) -> Iterable[DataId]:
        patches = patches_from_rows(upstream.get("patches_json"))
        return [DataId({"strip": i}) for i in range(len(_strips(patches)))]

    @override
    def run(self, inputs: PayloadInputs) -> PayloadOutputs:
        bands = list(inputs.frames["bands"])
        frames = [Frame.from_dict(inputs.frames["frames"][b]) for b in bands]
        frame_box = Box.of_shape(frames[0].working_shape)
        start = start_values(inputs.sources, bands, frame_box.shape, self.config.patch_run)
        half = reach_of(np.asarray(inputs.groups["kind"]), start.log_r)
        half = np.maximum(half, np.where(inputs.groups["open_type"], OPEN_HALF, 0))
        plans = {}
        for patch in _strips(patches_from_rows(inputs.patches))[inputs.strip]:
            plan = _plan(patch, inputs.groups, x=start.x, y=start.y, half=half, frame=frame_box)
            if len(plan["base"]) or len(plan["owned"]) or not self._skip_empty:
                plans[patch.tag] = plan
        if not plans:
            return PayloadOutputs(payloads={})
        strip = Box(0, frame_box.x1, frame_box.y1, 0)
        for plan in plans.values():
            strip = Box(
                0, frame_box.x1, min(strip.y0, plan["box"].y0), max(strip.y1, plan["box"].y1)
            )
        noise = [sky_noise(frame, inputs.noise.get(frame.band)) for frame in frames]
        archives = {tag: _empty_archive(plan, bands, frames, noise) for tag, plan in plans.items()}
        for b, (band, frame) in enumerate(zip(bands, frames, strict=True)):
            image = scaled_pixels(read_pixels(frame, strip), frame)
            known = inputs.masks[band].read()["mask"]
            mask = _whole_mask(known, strip, image, inputs.saturation[band], inputs.bright)
            for tag, plan in plans.items():
                cut = plan["box"].shifted(-strip.x0, -strip.y0).slices
                archives[tag]["image"][b] = image[cut]
                archives[tag]["mask"][b] = mask[cut]
            if noise[b].is_by_pixel:
                sigma = np.asarray(noise[b].of(strip))
                for tag, plan in plans.items():
                    plane = int(archives[tag]["sky_sigma_plane"][b])
                    cut = plan["box"].shifted(-strip.x0, -strip.y0).slices
                    archives[tag]["sky_sigma_map"][plane] = sigma[cut]
        if self.config.patch_inputs.include_wcs_in_payload:
            wcs = working_wcs(inputs.wcs)
            for tag, plan in plans.items():
                archives[tag]["wcs_patch"] = _cards(cropped_wcs(wcs, plan["box"]))
                archives[tag]["wcs_full"] = _cards(wcs)
        return PayloadOutputs(payloads=archives)

    @property
    def _skip_empty(self) -> bool:
        return bool(self.config.patch_inputs.skip_empty_patch)


def _whole_mask(
    mask: npt.NDArray[np.uint8],
    box: Box,
    image: Pixels,
    saturation: Mapping[str, Any],
    bright: FitsImages | None,
) -> npt.NDArray[np.uint8]:
    """Return all that is wrong with the pixels of a box, whose image is given."""
    out = mask[box.slices].copy()
    level = saturation["level"]
    if level is not None:
        out[saturated_pixels(image, level)] |= np.uint8(MaskBit.SATURATED)
    if bright is not None:
        out[bright.images["BRIGHT"][box.slices] > 0] |= np.uint8(MaskBit.BRIGHT)
    return out


def box_payloads(
    boxes: Sequence[Box],
    rows: Sequence[Ints],
    *,
    frames: dict[str, Any],
    images: Mapping[str, Handle[Any]],
    masks: Mapping[str, Handle[Any]],
    noise: Mapping[str, dict[str, Any]],
    saturation: Mapping[str, dict[str, Any]],
    bright: FitsImages | None,
) -> list[dict[str, npt.NDArray[Any]]]:
    """Return archives as those of patches for some boxes, which fit and report nothing.

    Parameters
    ----------
    boxes : sequence of Box
        In the working frame.
    rows : sequence of ndarray of int
        Sources whose light reaches each box.
    frames, images, masks, noise, saturation, bright
        As in `PayloadInputs`.
    """
    bands = [str(b) for b in frames["bands"]]
    known = [band_frame(frames, band, images[band]) for band in bands]
    sky = [sky_noise(frame, noise.get(frame.band)) for frame in known]
    nothing = np.zeros(0, np.int64)
    archives = [
        _archive(box, bands, known, sky, rows=own, owned=nothing, base=nothing, boxes=(box, box))
        for box, own in zip(boxes, rows, strict=True)
    ]
    for b, (band, frame) in enumerate(zip(bands, known, strict=True)):
        mask = masks[band].read()["mask"]
        cuts = _cuts(frame, boxes)
        for box, image, archive in zip(boxes, cuts, archives, strict=True):
            archive["image"][b] = image
            archive["mask"][b] = _whole_mask(mask, box, image, saturation[band], bright)
            if sky[b].is_by_pixel:
                plane = int(archive["sky_sigma_plane"][b])
                archive["sky_sigma_map"][plane] = sky[b].of(box)
    return archives


def _cuts(frame: Frame, boxes: Sequence[Box]) -> Iterator[Pixels]:
    """Read boxes of a frame [scaled counts], all at once where they lie close to each other."""
    whole = functools.reduce(Box.union, boxes)
    pixels = [box.shape[0] * box.shape[1] for box in (whole, *boxes)]
    if pixels[0] > TOGETHER * sum(pixels[1:]):
        yield from (scaled_pixels(read_pixels(frame, box), frame) for box in boxes)
        return
    image = scaled_pixels(read_pixels(frame, whole), frame)
    yield from (image[box.shifted(-whole.x0, -whole.y0).slices] for box in boxes)


def _cards(wcs: WCS) -> npt.NDArray[np.str_]:
    """Return the header cards of a WCS, 80 characters each."""
    text = wcs.to_header(relax=True).tostring(sep="", endcard=False, padding=False)
    return np.array([text[i : i + 80] for i in range(0, len(text), 80)])


def reach_of(kind: Ints, log_r: Floats) -> Ints:
    """Return the half side [pix] of the stamp that each source may need."""
    need = np.where(kind > 0, 20.0 * np.exp(log_r) + 8.0, STAMP_HALF)
    power = 2.0 ** np.ceil(np.log2(np.maximum(need, STAMP_HALF)))
    return np.minimum(power, WIDEST_HALF).astype(np.int64)


def _strips(patches: tuple[Patch, ...]) -> list[list[Patch]]:
    """Return the patches by row of patches, from the bottom."""
    rows: dict[tuple[int, int], list[Patch]] = {}
    for patch in patches:
        rows.setdefault((patch.cell_row, patch.row), []).append(patch)
    return [rows[key] for key in sorted(rows)]


def _plan(
    patch: Patch, groups: Table, *, x: Floats, y: Floats, half: Ints, frame: Box
) -> dict[str, Any]:
    """Decide the box and the sources of one patch."""
    owned = np.flatnonzero(np.asarray(groups["unit"]) == patch.tag)
    base = np.flatnonzero(np.asarray(groups["patch"]) == patch.tag)
    box = patch.roi
    for row in owned:
        box = box.union(Box.around(float(x[row]), float(y[row]), int(half[row])))
    box = box.clipped(frame)
    rows = rows_reaching(groups, x, y, half, box)
    return {"patch": patch, "box": box, "owned": owned, "base": base, "rows": rows}


def rows_reaching(groups: Table, x: Floats, y: Floats, half: Ints, box: Box) -> Ints:
    """Return the fitted sources whose light reaches a box; ``half`` is that of `reach_of`."""
    active = np.asarray(groups["kind"]) >= 0
    far = np.where(np.asarray(groups["saturated"]) | np.asarray(groups["hidden"]), WIDEST_HALF, LIT)
    reach = np.maximum(half, far)
    near = active & (x + reach >= box.x0) & (x - reach < box.x1)
    near &= (y + reach >= box.y0) & (y - reach < box.y1)
    return np.flatnonzero(near)


def _empty_archive(
    plan: dict[str, Any], bands: list[str], frames: list[Frame], noise: list[SkyNoise]
) -> dict[str, npt.NDArray[Any]]:
    """Return the archive of a patch with its pixels still to be filled in."""
    patch = plan["patch"]
    return _archive(
        plan["box"],
        bands,
        frames,
        noise,
        rows=plan["rows"],
        owned=plan["owned"],
        base=plan["base"],
        boxes=(patch.base, patch.roi),
    )


def _archive(
    box: Box,
    bands: list[str],
    frames: list[Frame],
    noise: list[SkyNoise],
    *,
    rows: Ints,
    owned: Ints,
    base: Ints,
    boxes: tuple[Box, Box],
) -> dict[str, npt.NDArray[Any]]:
    """Return an archive without pixels; ``boxes`` are the base box and the region of interest."""
    shape = (len(bands), *box.shape)
    corners = dict(zip(("base_box", "roi_box"), boxes, strict=True))
    return {
        "bands": np.array(bands),
        "image": np.empty(shape, np.float32),
        "mask": np.empty(shape, np.uint8),
        "x0": np.array(box.x0),
        "y0": np.array(box.y0),
        "sky_sigma": np.array([n.level for n in noise]),
        **_noise_arrays(noise, box),
        "source_variance": np.array([f.source_variance_per_count for f in frames]),
        "scale": np.array([f.scale for f in frames]),
        "rows": rows,
        "owned": owned,
        "base": base,
        **{k: np.array([b.x0, b.x1, b.y0, b.y1]) for k, b in corners.items()},
    }


def _noise_arrays(noise: list[SkyNoise], box: Box) -> dict[str, npt.NDArray[Any]]:
    """Return what a payload says about noise that varies; pixels are still to be filled in."""
    arrays: dict[str, npt.NDArray[Any]] = {}
    by_pixel = np.array([n.is_by_pixel for n in noise])
    if by_pixel.any():
        arrays["sky_sigma_map"] = np.empty((int(by_pixel.sum()), *box.shape), np.float32)
        arrays["sky_sigma_plane"] = np.where(by_pixel, np.cumsum(by_pixel) - 1, -1)
    meshes = [n.smooth for n in noise]
    shape = next((mesh.values.shape for mesh in meshes if mesh is not None), None)
    if shape is not None:
        blank = np.full(shape, np.nan)
        arrays["sky_sigma_mesh"] = np.stack([blank if m is None else m.values for m in meshes])
    return arrays


def sky_sigma_of(
    payload: Mapping[str, npt.NDArray[Any]], b: int, *, box: Box, shape: tuple[int, int]
) -> float | Pixels:
    """Return the sky noise of a band in a payload [scaled counts]: a number, or by pixel.

    Parameters
    ----------
    payload : mapping of str to ndarray
        See `Payloads`.
    b : int
        Number of the band.
    box : Box
        Of the payload, in the working frame.
    shape : tuple of int
        Of the working frame (ny, nx).
    """
    if "sky_sigma_plane" in payload and (plane := int(payload["sky_sigma_plane"][b])) >= 0:
        return np.asarray(payload["sky_sigma_map"][plane])
    if "sky_sigma_mesh" in payload and np.isfinite(mesh := payload["sky_sigma_mesh"][b]).all():
        return NoiseMesh(values=mesh, shape=shape).surface(box)
    return float(payload["sky_sigma"][b])
