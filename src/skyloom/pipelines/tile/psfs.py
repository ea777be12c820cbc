"""Stages ``epsf`` and ``epsf-summary``: the PSF of each band, from its stars."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.coadd import row_strips
from skyloom.detect import CellBackground, cell_background
from skyloom.detect.saturation import saturated_pixels
from skyloom.detect.stars import StarOptions, StarSelection, select_psf_stars
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Cell, epsf_cells
from skyloom.images import UNUSABLE, Frame, MaskBit, read_scaled_pixels
from skyloom.psf import (
    BuilderOptions,
    FieldPsf,
    FieldPsfResult,
    LocalBackground,
    StarCutouts,
    build_field_psf,
    cut_stars,
    flux_ratio,
    measure_wings,
    with_wings,
    without_local_background,
)
from skyloom.scene import SourceType

from .config import TileConfig
from .epochs import EPOCH_KEY, gaia_of_band
from .fallback import FALLBACK_KEYS, fallback_psf
from .fit_sections import PatchRunConfig
from .noise import sky_noise
from .psf_products import NOT_IN_KEY, cell_meta, psf_settings, star_table
from .psf_seeds import gaia_seeds
from .psf_summary import EpsfSummary
from .sky import SkyField
from .star_scenes import BandImage, isolated_stars, scene_start
from .start import StartValues, start_values

__all__ = ["Epsf", "epsf_stages"]

log = logging.getLogger(__name__)

_MORE_STARS = (
    "loosen epsf.thresh_sigma, epsf.minarea or epsf.q_range, or lower "
    "patch_run.min_epsf_nstars_for_use"
)
FEW_STARS = 5  # with fewer, a PSF much wider than the header says is a galaxy's
WIDTH_RANGE = (0.5, 1.6)  # of the header's FWHM
ROUNDS = 6  # of the builder: it has settled by then
WING_STARS = 60  # the brightest: fainter ones know nothing of the wings
NEIGHBOUR_IMAGES = 5  # of the PSF that takes neighbours away: what is left out is 1e-3 of it
FIELD_SIDE = 127  # pix, of the model that the fit uses: wings of bright stars reach this far


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfInputs:
    """A band, its saturation, and what is known of its stars."""

    band: Annotated[str, Dim("band")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    image: Annotated[Handle[Any], Dataset("raw_image", lazy=True)]
    mask: Annotated[dict[str, Any], Dataset("band_mask")]
    sky: Annotated[dict[str, Any], Dataset("sky_start")]
    sources: Annotated[Table, Dataset("sources")]
    saturation: Annotated[dict[str, Any], Dataset("saturation")]
    noise: Annotated[dict[str, Any] | None, Dataset("noise", optional=True)]
    gaia: Annotated[Handle[Any] | None, Dataset("gaia_catalog", lazy=True, optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfOutputs:
    """The model of the band; per cell a stamp of unit sum and how it came about; the stars."""

    model: Annotated[dict[str, npt.NDArray[Any]], Dataset("epsf_model")]
    stamps: Annotated[dict[str, Pixels], Dataset("epsf", scatter="cell")]
    metas: Annotated[dict[str, dict[str, Any]], Dataset("epsf_meta", scatter="cell")]
    stars: Annotated[Table, Dataset("epsf_stars")]


class Epsf(Stage[TileConfig, EpsfInputs, EpsfOutputs]):
    """Select stars, build the PSF, take their neighbours away, build again."""

    name = "epsf"
    version = 9
    dimensions = ("band",)
    config_keys = (
        "epsf",
        "patch_run.min_epsf_nstars_for_use",
        *FALLBACK_KEYS,
        "skyloom.psf_loops",
        EPOCH_KEY,
        *NOT_IN_KEY,
    )

    @override
    def run(self, inputs: EpsfInputs) -> EpsfOutputs:
        frame = Frame.from_dict(inputs.frames["frames"][inputs.band])
        fwhm = frame.fwhm_pix or self.config.patch_run.fallback_default_fwhm_pix
        cells = epsf_cells(frame.working_shape, self.config.epsf.epsf_ngrid)
        view = self._prepare(inputs, frame, cells)
        # Neighbours of stars start from the documented defaults, whatever patch_run says: a changed
        # fit must not change the PSF.
        start = start_values(
            inputs.sources, list(inputs.frames["bands"]), frame.working_shape, PatchRunConfig()
        )
        selection = self._select(inputs, frame, view, start, fwhm)
        sky = replace(
            SkyField.zero(1, frame.working_shape), level=np.asarray(inputs.sky["level"])[None]
        )
        around = scene_start(start, inputs.sources, inputs.saturation, frame.working_shape)
        result, local = self._build(view, selection, around, frame, sky=sky)
        doubt = self._doubt(result, frame.fwhm_pix, n_selected=len(selection.x))
        if result is not None and result.psf is not None and not doubt:
            model, kind = result.psf, "epsf"
        else:
            log.warning("%s: %s; a fallback PSF takes over; %s", inputs.band, doubt, _MORE_STARS)
            model = fallback_psf(self.config, fwhm, frame.working_shape)
            kind = self.config.patch_run.psf_fallback_model
        product = model.cropped(min(self.config.epsf.final_psf_size, _side(model)))
        stamps, metas = {}, {}
        for number, cell in enumerate(cells):
            x, y = 0.5 * (cell.box.x0 + cell.box.x1 - 1), 0.5 * (cell.box.y0 + cell.box.y1 - 1)
            stamp = product.stamp_at(x, y)
            if kind == "epsf":
                samples = product.resampled_at(x, y, oversampling=self.config.epsf.oversamp)
                stamps[cell.tag] = (samples / samples.sum()).astype(np.float32)
            metas[cell.tag] = cell_meta(
                inputs.band,
                cell,
                number,
                settings=self.config.epsf,
                cfg=psf_settings(self.full_config),
                kind=kind,
                error=doubt or None,
                stamp=stamp,
                backgrounds=view.backgrounds,
                selection=selection,
                result=result,
                model=model,
                local=local,
            )
        return EpsfOutputs(
            model={**model.to_arrays(), "is_fallback": np.array(kind != "epsf")},
            stamps=stamps,
            metas=metas,
            stars=star_table(selection, result),
        )

    def _doubt(
        self, result: FieldPsfResult | None, header_fwhm: float | None, *, n_selected: int
    ) -> str:
        """Say why a PSF cannot be used; empty where it can."""
        used = int(result.stars.used.sum()) if result is not None else n_selected
        needed = self.config.patch_run.min_epsf_nstars_for_use
        if used == 0:
            return "no usable PSF star"
        if used < needed or result is None:
            return f"low-star ePSF (nstars_used={used} < min_epsf_nstars_for_use={needed})"
        if result.psf is None:
            return "no usable PSF star"
        if used < FEW_STARS and header_fwhm is not None:
            ratio = result.psf.fwhm / header_fwhm
            if not WIDTH_RANGE[0] < ratio < WIDTH_RANGE[1]:
                return (
                    f"the PSF of {used} stars has a FWHM of {result.psf.fwhm:.2f} pix, the header "
                    f"says {header_fwhm:.2f} (correct PEEING or SEEING if the stars are right)"
                )
        return ""

    def _prepare(self, inputs: EpsfInputs, frame: Frame, cells: Sequence[Cell]) -> _View:
        """Read the band and take its background away, cell by cell."""
        image = read_scaled_pixels(frame)
        sigma = sky_noise(frame, inputs.noise).of()
        bad = (inputs.mask["mask"] & np.uint8(UNUSABLE)) > 0
        full = (inputs.mask["mask"] & np.uint8(MaskBit.SATURATED)) > 0
        if inputs.saturation["level"] is not None:
            full |= saturated_pixels(image, inputs.saturation["level"])
        settings = self.config.epsf
        backgrounds: dict[str, CellBackground] = {}
        if settings.background_subtract_patch:
            for cell in cells:
                cut = cell.box.slices
                found = cell_background(
                    image[cut],
                    sigma if isinstance(sigma, float) else sigma[cut],
                    bad[cut],
                    boxsize=settings.background_boxsize,
                    filtersize=settings.background_filtersize,
                    source_mask_sigma=settings.background_source_mask_sigma,
                    mask_dilate=settings.background_mask_dilate,
                )
                backgrounds[cell.tag] = found
                image[cut] -= found.level
        image[bad] = 0.0
        return _View(
            data=image,
            source_variance=frame.source_variance_per_count,
            sigma=sigma,
            bad=bad,
            saturated=full,
            backgrounds=backgrounds,
            cells=cells,
        )

    def _select(
        self,
        inputs: EpsfInputs,
        frame: Frame,
        view: _View,
        start: StartValues,
        fwhm: float,
    ) -> StarSelection:
        """Choose stars by detections, Gaia, or both."""
        settings = self.config.epsf
        mode = settings.psfstar_mode
        seeds = None
        if settings.use_gaiaxp and "gaia" in mode and inputs.gaia is not None:
            gaia = gaia_of_band(inputs.gaia.path, inputs.band, inputs.frames, self.config)
            seeds = gaia_seeds(gaia, inputs.band, frame, settings)
        elif mode == "sep+gaia":
            mode = "sep"
        hints = np.flatnonzero(start.active & (start.kind == SourceType.STAR))
        check = settings.star_sat_check_r
        return select_psf_stars(
            view.data,
            view.sigma,
            bad=view.bad,
            saturated=view.saturated,
            fwhm=fwhm,
            cells=settings.epsf_ngrid,
            options=StarOptions(
                mode=mode,
                thresh_sigma=settings.thresh_sigma,
                minarea=settings.minarea,
                cutout_size=settings.cutout_size,
                edge_pad=settings.edge_pad,
                min_sep=settings.min_sep,
                max_stars=settings.max_stars,
                q_range=settings.q_range,
                gaia_snap_to_sep=settings.gaia_snap_to_sep,
                gaia_match_r_pix=settings.gaia_match_r_pix,
                gaia_snr_min=settings.gaia_snr_min,
                gaia_forced_k_fwhm=settings.gaia_forced_k_fwhm,
                gaia_forced_rmin_pix=settings.gaia_forced_rmin_pix,
                gaia_forced_rmax_pix=settings.gaia_forced_rmax_pix,
                star_sat_check_r=None if check == "auto" else int(check),
            ),
            seeds_x=seeds[0] if seeds else None,
            seeds_y=seeds[1] if seeds else None,
            seeds_mag=seeds[2] if seeds else None,
            hints_x=start.x[hints],
            hints_y=start.y[hints],
        )

    def _build(
        self,
        view: _View,
        selection: StarSelection,
        around: tuple[StartValues, Floats],
        frame: Frame,
        *,
        sky: SkyField,
    ) -> tuple[FieldPsfResult | None, LocalBackground | None]:
        """Build the PSF; then again on stars whose neighbours are subtracted.

        What the scene leaves around bright stars tells of the wings, in which the next round's
        neighbours are seen.
        """
        settings = self.config.epsf
        if len(selection.x) < max(1, self.config.patch_run.min_epsf_nstars_for_use):
            return None, None
        side = settings.cutout_size | 1
        options = BuilderOptions(
            side=max(settings.final_psf_size, FIELD_SIDE),
            source_variance=view.source_variance,
            oversampling=2,
            iterations=min(settings.maxiters, ROUNDS),
            clip_sigma=BuilderOptions().clip_sigma if settings.do_clip else math.inf,
            max_shift=0.5 * settings.recenter_boxsize,
        )
        # All but the last only take neighbours away, and show where the light of stars ends.
        draft = replace(options, residuals=False, oversampling=None)
        first = replace(draft, varying_correction=False)
        loops = self.config.skyloom.psf_loops
        band = view.band()
        cutouts = cut_stars(band.data, band.ivar, selection.x, selection.y, side=side)
        cutouts, local = self._levelled(cutouts)
        result = build_field_psf(
            cutouts, shape=frame.working_shape, options=first if loops else options
        )
        psf = result.psf
        if psf is None:
            return result, local
        steps = view.steps(sky)
        bright = _brightest(result)
        for loop in range(1, loops + 1):
            if result.psf is None:
                return result, local
            simple = psf.leading(NEIGHBOUR_IMAGES)
            alone = isolated_stars(
                band,
                simple,
                selection.x,
                selection.y,
                start=around[0],
                saturated=around[1],
                side=side,
                bright=bright,
            )
            wings = measure_wings(
                alone.residuals.plus(steps),
                alone.flux,
                psf=simple,
                built=result.psf,
                source_variance=band.source_variance,
            )
            cutouts, local = self._levelled(alone.cutouts)
            result = build_field_psf(
                cutouts, shape=frame.working_shape, options=draft if loop < loops else options
            )
            if result.psf is not None:
                psf = with_wings(result.psf, wings) if wings is not None else result.psf
        if result.psf is None:
            return result, local
        more = flux_ratio(result.psf, psf)
        stars = result.stars
        stars = replace(stars, flux=more * stars.flux, flux_err=more * stars.flux_err)
        return replace(result, psf=psf, stars=stars), local

    def _levelled(self, cutouts: StarCutouts) -> tuple[StarCutouts, LocalBackground | None]:
        """Take the local background of each star away; the builder fits what is left of it."""
        settings = self.config.epsf
        if not settings.star_local_bkg_subtract:
            return cutouts, None
        return without_local_background(
            cutouts,
            rin=settings.star_local_bkg_annulus_rin_pix,
            rout=settings.star_local_bkg_annulus_rout_pix,
            clip_sigma=settings.star_local_bkg_sigma,
            min_pixels=settings.star_local_bkg_minpix,
        )


def _brightest(result: FieldPsfResult) -> Ints:
    """Return the stars that know most of the wings: the brightest, in order."""
    flux = np.where(result.stars.used, np.nan_to_num(result.stars.flux), 0.0)
    order = np.argsort(-flux, kind="stable")[:WING_STARS]
    return np.sort(order[flux[order] > 0.0]).astype(np.int64)


def _side(model: FieldPsf) -> int:
    """Return the side of a model's stamps [pix]."""
    return int((model.basis.shape[-1] - 1) // model.oversampling + 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class _View:
    """A band as the PSF stage sees it."""

    data: Pixels  # scaled counts less the backgrounds, 0 where bad
    source_variance: float
    sigma: float | Pixels  # sky noise [scaled counts]
    bad: Bools
    saturated: Bools
    backgrounds: dict[str, CellBackground]
    cells: Sequence[Cell]

    def band(self) -> BandImage:
        """Return the pixels with their weights.

        They are made after the selection of stars, which needs memory for copies of its own.
        """
        ivar = np.where(
            self.bad | self.saturated, np.float32(0.0), np.asarray(self.sigma**-2.0, np.float32)
        )
        return BandImage(data=self.data, ivar=ivar, source_variance=self.source_variance)

    def steps(self, sky: SkyField) -> Pixels:
        """Return what the backgrounds of the cells took away besides the smooth sky."""
        ny, nx = self.bad.shape
        out = np.empty((ny, nx), np.float32)
        for strip in row_strips((ny, nx)):
            out[strip.slices] = -sky.surface(0, strip)
        for cell in self.cells:
            if cell.tag in self.backgrounds:
                out[cell.box.slices] += self.backgrounds[cell.tag].level
        return out


def epsf_stages(config: TileConfig) -> list[Stage[Any, Any, Any]]:
    """Return the stages that make the PSFs, in order."""
    from .saturation import Saturation  # noqa: PLC0415

    return [Saturation(config), Epsf(config), EpsfSummary(config)]
