"""Pictures of the PSFs: per band, and per cell what the original wrote."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from scipy.ndimage import map_coordinates
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.butler import Array
from skyloom.catalogs import column_as_text
from skyloom.detect import CellBackground, cell_background
from skyloom.detect.saturation import saturated_pixels
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box, Cell, epsf_cells
from skyloom.images import UNUSABLE, Frame, MaskBit, read_pixels, scaled_pixels
from skyloom.plots import (
    EpsfCell,
    Points,
    StarResiduals,
    draw_background,
    draw_epsf_cells,
    draw_growth_curve,
    draw_local_backgrounds,
    draw_star_positions,
    draw_star_residuals,
    draw_star_stamps,
)
from skyloom.psf import FieldPsf, annulus_background

from .config import TileConfig
from .noise import sky_noise

__all__ = ["DrawEpsf", "DrawPsfCells", "psf_samples"]

PULL_RADIUS = 7.0  # pix: residuals farther out are sky
SKY_RADIUS = 12.0  # pix: beyond it lies the local sky of a star
RESIDUAL_SIDE = 41  # pix, of the median star
BACKGROUND_KEYS = (
    "epsf.epsf_ngrid",
    "epsf.background_subtract_patch",
    "epsf.background_boxsize",
    "epsf.background_filtersize",
    "epsf.background_source_mask_sigma",
    "epsf.background_mask_dilate",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfPictureInputs:
    """The PSFs of a band, its stars, and the image that they are on."""

    band: Annotated[str, Dim("band")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    image: Annotated[Handle[Any], Dataset("raw_image", lazy=True)]
    mask: Annotated[dict[str, Any], Dataset("band_mask")]
    saturation: Annotated[dict[str, Any], Dataset("saturation")]
    noise: Annotated[dict[str, Any] | None, Dataset("noise", optional=True)]
    model: Annotated[dict[str, Array], Dataset("epsf_model")]
    stars: Annotated[Table, Dataset("epsf_stars")]
    stamps: Annotated[dict[str, Array], Dataset("epsf", gather="cell")]
    metas: Annotated[dict[str, dict[str, Any]], Dataset("epsf_meta", gather="cell")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfPictureOutputs:
    """The pictures of a band; none without cells or stars."""

    stamps: Annotated[bytes | None, Dataset("epsf_stamps_plot", optional=True)]
    residuals: Annotated[bytes | None, Dataset("epsf_residuals_plot", optional=True)]


class DrawEpsf(Stage[TileConfig, EpsfPictureInputs, EpsfPictureOutputs]):
    """Draw the PSFs of a band with their growth curves, and how all its stars fit."""

    name = "plot-epsf"
    late = True
    dimensions = ("band",)
    config_keys = (*BACKGROUND_KEYS, "plotting.dpi")

    @override
    def run(self, inputs: EpsfPictureInputs) -> EpsfPictureOutputs:
        """Return the pictures."""
        dpi = self.config.plotting.dpi
        stamps = residuals = None
        if inputs.metas:
            cells = [_cell(tag, inputs) for tag in inputs.metas]
            title = f"ePSF {inputs.band}"
            stamps = draw_epsf_cells(cells, title=title, dpi=dpi).png(dpi=dpi)
        used = np.flatnonzero(np.asarray(inputs.stars["used"]))
        if len(used):
            found = _residuals(_Band(inputs, self.config.epsf), used)
            title = f"PSF stars {inputs.band}"
            residuals = draw_star_residuals(found, title=title, dpi=dpi).png(dpi=dpi)
        return EpsfPictureOutputs(stamps=stamps, residuals=residuals)


def _cell(tag: str, inputs: EpsfPictureInputs) -> EpsfCell:
    row, col = (int(part[1:]) for part in tag.split("_"))
    meta = inputs.metas[tag]
    stars = int(meta.get("nstars_used") or 0)
    return EpsfCell(
        row=row,
        col=col,
        stamp=inputs.stamps.get(tag),
        n_stars=stars,
        oversampling=int(meta["epsf_oversampling"]),
    )


class _Band:
    """A band as its PSF stars saw it: backgrounds taken away, masks, the model."""

    def __init__(self, inputs: EpsfPictureInputs, settings: Any) -> None:
        self.frame = Frame.from_dict(inputs.frames["frames"][inputs.band])
        self.sigma = sky_noise(self.frame, inputs.noise).of()
        self.stars = inputs.stars
        self.raw: Pixels = scaled_pixels(read_pixels(self.frame), self.frame)
        bits = inputs.mask["mask"]
        self.bad: Bools = (bits & np.uint8(UNUSABLE)) > 0
        self.full: Bools = (bits & np.uint8(MaskBit.SATURATED)) > 0
        if inputs.saturation["level"] is not None:
            self.full |= saturated_pixels(self.raw, inputs.saturation["level"])
        self.psf = FieldPsf.from_arrays(inputs.model)
        self.cells = epsf_cells(self.frame.working_shape, settings.epsf_ngrid)
        self.data = self.raw
        self.backgrounds: dict[str, CellBackground] = {}
        if settings.background_subtract_patch:
            self._subtract(settings)

    def _subtract(self, settings: Any) -> None:
        self.data = self.raw.copy()
        for cell in self.cells:
            cut = cell.box.slices
            found = cell_background(
                self.raw[cut],
                self.sigma if isinstance(self.sigma, float) else self.sigma[cut],
                self.bad[cut],
                boxsize=settings.background_boxsize,
                filtersize=settings.background_filtersize,
                source_mask_sigma=settings.background_source_mask_sigma,
                mask_dilate=settings.background_mask_dilate,
            )
            self.backgrounds[cell.tag] = found
            self.data[cut] -= found.level

    def sky_sigma(self, box: Box) -> float | Pixels:
        """Return the sky noise in a box; inf outside of the frame where it varies."""
        if isinstance(self.sigma, float):
            return self.sigma
        inner = box.clipped(Box.of_shape(self.frame.working_shape))
        out = np.full(box.shape, np.inf, np.float32)
        out[inner.shifted(-box.x0, -box.y0).slices] = self.sigma[inner.slices]
        return out

    def hidden(self, box: Box) -> Bools:
        """Tell which pixels of a box are of no use; all outside of the frame."""
        frame = Box.of_shape(self.frame.working_shape)
        inner = box.clipped(frame)
        out = np.ones(box.shape, np.bool_)
        cut = inner.slices
        out[inner.shifted(-box.x0, -box.y0).slices] = self.bad[cut] | self.full[cut]
        return out

    def stamp(self, row: int, side: int, *, fitted: bool = False) -> tuple[Box, Pixels]:
        """Return the box about a star and its pixels, NaN where they are of no use."""
        x, y = (float(self.stars[f"{c}_fit" if fitted else c][row]) for c in "xy")
        box = Box.around(x, y, side // 2)
        frame = Box.of_shape(self.frame.working_shape)
        inner = box.clipped(frame)
        out = np.full(box.shape, np.nan, np.float32)
        out[inner.shifted(-box.x0, -box.y0).slices] = self.data[inner.slices]
        out[self.hidden(box)] = np.nan
        return box, out


def psf_samples(psf: FieldPsf, x: float, y: float, box: Box) -> Floats:
    """Return the PSF of a star at (x, y) at the pixels of a box, of unit flux.

    Between its samples the PSF is interpolated by cubic splines.
    """
    samples, step = psf.samples_at(x, y), psf.oversampling
    middle = samples.shape[0] // 2
    rows = middle + step * (np.arange(box.y0, box.y1) - y)
    columns = middle + step * (np.arange(box.x0, box.x1) - x)
    grid = np.meshgrid(rows, columns, indexing="ij")
    return np.asarray(map_coordinates(samples, grid, order=3, mode="constant"))


def _residuals(band: _Band, rows: Ints) -> StarResiduals:
    """Return how stars fit their PSF."""
    side = min(RESIDUAL_SIDE, (band.psf.basis.shape[-1] - 1) // band.psf.oversampling + 1)
    stars, models, pulls = [], [], [np.zeros(0)]
    for row in rows:
        flux, x, y = (float(band.stars[c][row]) for c in ("fit_flux", "x_fit", "y_fit"))
        if not (np.isfinite([flux, x, y]).all() and flux > 0):
            continue
        box, data = band.stamp(int(row), side, fitted=True)
        model = flux * psf_samples(band.psf, x, y, box)
        own_noise = band.frame.source_variance_per_count * np.maximum(model, 0)
        variance = band.sky_sigma(box) ** 2 + own_noise
        grid = np.indices(box.shape)
        distance = np.hypot(grid[1] + box.x0 - x, grid[0] + box.y0 - y)
        near = distance < PULL_RADIUS
        # The fit of the PSF had its stars' neighbours taken away; here the median leaves them out.
        around = (data - model)[(distance > SKY_RADIUS) & np.isfinite(data)]
        data = data - (np.median(around) if around.size else 0.0)
        pull = ((data - model) / np.sqrt(variance))[near]
        stars.append(data / flux)
        models.append(model / flux)
        pulls.append(pull[np.isfinite(pull)])
    nothing = np.zeros((side, side))
    return StarResiduals(
        star=_median(np.stack(stars)) if stars else nothing,
        model=np.median(np.stack(models), axis=0) if stars else nothing,
        residual=_median(np.stack(stars) - np.stack(models)) if stars else nothing,
        pulls=np.concatenate(pulls),
        n_stars=len(stars),
    )


def _median(stack: Floats) -> Floats:
    """Return the median over stars of the finite values; NaN where there is none."""
    empty = ~np.isfinite(stack).any(axis=0)
    return np.where(empty, np.nan, np.nanmedian(np.where(empty, 0.0, stack), axis=0))


@dataclass(frozen=True, slots=True, kw_only=True)
class PsfCellOutputs:
    """Up to nine pictures per cell."""

    psfstars: Annotated[dict[str, bytes], Dataset("psfstars_plot", scatter="cell")]
    psfstars_bgsub: Annotated[dict[str, bytes], Dataset("psfstars_bgsub_plot", scatter="cell")]
    background: Annotated[dict[str, bytes], Dataset("background_plot", scatter="cell")]
    local: Annotated[dict[str, bytes], Dataset("local_background_plot", scatter="cell")]
    extracted: Annotated[dict[str, bytes], Dataset("extracted_stars_plot", scatter="cell")]
    used: Annotated[dict[str, bytes], Dataset("used_stars_plot", scatter="cell")]
    epsf: Annotated[dict[str, bytes], Dataset("epsf_plot", scatter="cell")]
    growth: Annotated[dict[str, bytes], Dataset("growth_plot", scatter="cell")]
    residual: Annotated[dict[str, bytes], Dataset("residual_plot", scatter="cell")]


class DrawPsfCells(Stage[TileConfig, EpsfPictureInputs, PsfCellOutputs]):
    """Draw the PSF of each cell, its stars, their backgrounds and residuals."""

    name = "plot-psf-cells"
    late = True
    dimensions = ("band",)
    config_keys = (
        *BACKGROUND_KEYS,
        "epsf.cutout_size",
        "epsf.save_star_montage_max",
        "epsf.save_patch_background_diagnostics",
        "epsf.save_star_local_background_diagnostics",
        "epsf.diagnostics_show_colorbar",
        "epsf.save_growth_curve",
        "epsf.save_residual_diagnostics",
        "epsf.residual_diag_max_stars",
        "epsf.star_local_bkg_subtract",
        "epsf.star_local_bkg_annulus_rin_pix",
        "epsf.star_local_bkg_annulus_rout_pix",
        "epsf.star_local_bkg_sigma",
        "epsf.star_local_bkg_minpix",
        "plotting.dpi",
    )

    @override
    def run(self, inputs: EpsfPictureInputs) -> PsfCellOutputs:
        """Return the pictures."""
        band = _Band(inputs, self.config.epsf)
        names = [field.name for field in self.outputs]
        found: dict[str, dict[str, bytes]] = {name: {} for name in names}
        for number, cell in enumerate(band.cells):
            if cell.tag not in inputs.metas:
                continue
            stars = np.flatnonzero(np.asarray(inputs.stars["cell"]) == number)
            pictures = self._on_the_image(inputs.band, band, cell, stars)
            pictures |= self._stamps(inputs.band, band, cell, stars)
            if cell.tag in inputs.stamps:
                pictures |= self._psf(inputs, band, cell, stars)
            for name, picture in pictures.items():
                found[name][cell.tag] = picture
        return PsfCellOutputs(**found)

    def _on_the_image(self, name: str, band: _Band, cell: Cell, rows: Ints) -> dict[str, bytes]:
        """Draw the stars and the background on the image of the cell."""
        settings, dpi = self.config.epsf, self.config.plotting.dpi
        cut, title = cell.box.slices, f"{name} {cell.tag}"
        raw = np.where(band.bad[cut], np.nan, band.raw[cut])
        at = Points(
            x=np.asarray(band.stars["x"])[rows] - cell.box.x0,
            y=np.asarray(band.stars["y"])[rows] - cell.box.y0,
        )
        draw = functools.partial(
            draw_star_positions, stars=at, origins=_origins(band, rows), dpi=dpi
        )
        out = {"psfstars": draw(raw, title=f"PSF stars {title}").png(dpi=dpi)}
        if cell.tag in band.backgrounds:
            data = np.where(band.bad[cut], np.nan, band.data[cut])
            out["psfstars_bgsub"] = draw(
                data, title=f"PSF stars {title}, background subtracted"
            ).png(dpi=dpi)
            if settings.save_patch_background_diagnostics:
                out["background"] = draw_background(
                    raw,
                    band.backgrounds[cell.tag].level,
                    title=f"background {title}",
                    colorbar=settings.diagnostics_show_colorbar,
                    dpi=dpi,
                ).png(dpi=dpi)
        return out

    def _stamps(self, name: str, band: _Band, cell: Cell, rows: Ints) -> dict[str, bytes]:
        """Draw the stamps of the stars and their local backgrounds."""
        settings, dpi = self.config.epsf, self.config.plotting.dpi
        used = rows[np.asarray(band.stars["used"])[rows]]
        out = {}
        for which, chosen in (("extracted", rows), ("used", used)):
            if len(chosen) and cell.tag:
                shown = chosen[: max(1, settings.save_star_montage_max)]
                out[which] = draw_star_stamps(
                    [band.stamp(int(row), settings.cutout_size)[1] for row in shown],
                    origins=_origins(band, shown).tolist(),
                    title=f"{which} {name} {cell.tag}",
                    dpi=dpi,
                    max_stars=settings.save_star_montage_max,
                ).png(dpi=dpi)
        wanted = settings.save_star_local_background_diagnostics
        if settings.star_local_bkg_subtract and wanted and len(used):
            stamps = [band.stamp(int(row), settings.cutout_size)[1] for row in used]
            rings = [
                annulus_background(
                    stamp,
                    np.isfinite(stamp),
                    rin=settings.star_local_bkg_annulus_rin_pix,
                    rout=settings.star_local_bkg_annulus_rout_pix,
                    clip_sigma=settings.star_local_bkg_sigma,
                    min_pixels=settings.star_local_bkg_minpix,
                )
                for stamp in stamps
            ]
            out["local"] = draw_local_backgrounds(
                stamps,
                [ring.used for ring in rings],
                np.array([ring.level for ring in rings]),
                title=f"local background {name} {cell.tag}",
                colorbar=settings.diagnostics_show_colorbar,
                dpi=dpi,
            ).png(dpi=dpi)
        return out

    def _psf(
        self, inputs: EpsfPictureInputs, band: _Band, cell: Cell, rows: Ints
    ) -> dict[str, bytes]:
        """Draw the PSF, its growth curve, and the residuals of its stars."""
        settings, dpi = self.config.epsf, self.config.plotting.dpi
        title = f"{inputs.band} {cell.tag}"
        only = _cell(cell.tag, inputs)
        drawn = draw_epsf_cells([only], title=f"ePSF {title}", growth=False, dpi=dpi)
        out = {"epsf": drawn.png(dpi=dpi)}
        if settings.save_growth_curve:
            curve = draw_growth_curve(
                [inputs.stamps[cell.tag]],
                title=f"growth curve {title}",
                oversampling=only.oversampling,
                dpi=dpi,
            )
            out["growth"] = curve.png(dpi=dpi)
        used = rows[np.asarray(band.stars["used"])[rows]][: settings.residual_diag_max_stars]
        if settings.save_residual_diagnostics and len(used):
            found = _residuals(band, used)
            drawn = draw_star_residuals(found, title=f"PSF stars {title}", dpi=dpi)
            out["residual"] = drawn.png(dpi=dpi)
        return out


def _origins(band: _Band, rows: Ints) -> Any:
    return column_as_text(band.stars, "origin")[rows]
