"""Settings of the tile pipeline from the PSF to the magnitudes."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Final, Literal, Self

from annotated_types import Ge, Gt, Le
from pydantic import BeforeValidator, Field, model_validator

from skyloom.config import (
    AutoInt,
    Config,
    Float,
    NonNegativeFloat,
    NonNegativeInt,
    OddInt,
    Percentile,
    PositiveFloat,
    PositiveInt,
    Unit,
    UserPath,
)

from .image_sections import ImageConfig

__all__ = [
    "EpsfConfig",
    "MergeConfig",
    "MoffatPsfConfig",
    "PatchInputsConfig",
    "PatchRunConfig",
    "PatchesConfig",
    "PlottingConfig",
    "SkyloomConfig",
    "ZpConfig",
]

log = logging.getLogger(__name__)

PSFSTAR_MODES: Final = ("sep", "gaia", "sep+gaia")


def _require_less(section: Config, low: str, high: str) -> None:
    """Raise ValueError unless one field is below another."""
    a, b = getattr(section, low), getattr(section, high)
    if not a < b:
        msg = f"{low} = {a} must be below {high} = {b}"
        raise ValueError(msg)


def _psfstar_mode(value: Any) -> Any:
    """Replace an unknown mode by the default with a warning, as users of old configs expect."""
    if isinstance(value, str) and value not in PSFSTAR_MODES:
        log.warning(
            "epsf.psfstar_mode = %r is not one of %s; using 'sep+gaia'",
            value,
            ", ".join(PSFSTAR_MODES),
        )
        return "sep+gaia"
    return value


def _model_choice(value: Any) -> Any:
    """Accept the switch that this key was before."""
    return {True: "check", False: "catalog"}[value] if isinstance(value, bool) else value


class EpsfConfig(Config):
    """PSF models from stars, in a grid of cells for each band."""

    use_gaiaxp: bool = True
    """Allow stars of the GaiaXP table as seeds."""
    epsf_ngrid: PositiveInt = 7
    """Cells per axis."""
    ngrid: PositiveInt = 6
    """Patches per axis inside a cell: (epsf_ngrid * ngrid)^2 patches before empty ones go."""
    skip_empty_epsf_patches: bool = True
    """Use only cells that hold an active source; patches follow."""
    thresh_sigma: Annotated[PositiveFloat, Unit("sigma")] = 10.0
    """Detection threshold for stars."""
    minarea: Annotated[PositiveInt, Unit("pix")] = 25
    """Least connected area of a star."""
    cutout_size: Annotated[PositiveInt, Unit("pix")] = 61
    """Side of a star's stamp."""
    edge_pad: Annotated[NonNegativeInt, Unit("pix")] = 10
    """Margin beyond half a stamp that a star keeps from the border."""
    min_sep: Annotated[NonNegativeFloat, Unit("pix")] = 30.0
    """Least distance between accepted stars."""
    max_stars: PositiveInt = 30
    """Most stars of a cell."""
    q_range: Annotated[tuple[PositiveFloat, PositiveFloat], Field(strict=False)] = (0.7, 1.3)
    """Accepted elongations a/b of a star, least and largest."""
    psfstar_mode: Annotated[Literal["sep", "gaia", "sep+gaia"], BeforeValidator(_psfstar_mode)] = (
        "sep+gaia"
    )
    """Where stars come from: detections, Gaia, or Gaia filled up with detections. Any other word
    gives a warning and sep+gaia."""
    gaia_mag_min: Annotated[Float, Unit("AB mag")] = 10.0
    """Bright limit of Gaia seeds, in mag_{band}."""
    gaia_mag_max: Annotated[Float, Unit("AB mag")] = 30.0
    """Faint limit of Gaia seeds, in mag_{band}."""
    gaia_snap_to_sep: bool = True
    """Move a seed to the nearest detection within gaia_match_r_pix."""
    gaia_forced_k_fwhm: PositiveFloat = 1.5
    """Radius of the aperture that measures a seed, in units of the FWHM."""
    gaia_forced_rmin_pix: Annotated[PositiveFloat, Unit("pix")] = 3.0
    """Least radius of that aperture."""
    gaia_forced_rmax_pix: Annotated[PositiveFloat, Unit("pix")] = 15.0
    """Largest radius of that aperture."""
    gaia_snr_min: Float = 20.0
    """Least signal-to-noise of a seed in its aperture."""
    gaia_match_r_pix: Annotated[NonNegativeFloat, Unit("pix")] = 5.0
    """Reach of gaia_snap_to_sep."""
    star_sat_check_r: Annotated[AutoInt, Unit("pix")] = "auto"
    """Half side of the box about a star that must be free of saturation; auto: cutout_size // 2;
    0: no check."""
    oversamp: Annotated[PositiveInt, Unit("factor")] = 1
    """Samples per pixel and axis of the stamps that are written (`epsf.npy`); their side is
    oversamp * (final_psf_size - 1) + 1, their sum 1, and every oversamp-th sample lies at a pixel
    centre. The fits read a model of their own and do not depend on it."""
    maxiters: PositiveInt = 30
    """Most rounds of the builder; it settles within 6."""
    do_clip: bool = True
    """Leave out stars whose size or ellipticity differs from that of the stars around them."""
    recenter_boxsize: Annotated[PositiveInt, Unit("pix")] = 9
    """Box about its seed in which the builder may find a star: one that is found farther away than
    half of it, in x or in y, makes no PSF. Stars are searched within 3.5 pix, so that 7 and more
    leave none out."""
    final_psf_size: Annotated[OddInt, Unit("pix")] = 55
    """Side of the finished stamp, native pixels, odd."""
    save_star_montage_max: NonNegativeInt = 100
    """Most stars in a montage."""
    background_subtract_patch: bool = True
    """Subtract a smooth background from each cell."""
    background_boxsize: Annotated[int, Unit("pix")] = 96
    """Mesh of that background; at least 8 is used."""
    background_filtersize: int = 9
    """Median filter of that mesh; at least 1 is used."""
    background_source_mask_sigma: Annotated[PositiveFloat, Unit("sigma")] = 3.0
    """Pixels this far above the median are left out of the background."""
    background_mask_dilate: Annotated[NonNegativeInt, Unit("iterations")] = 1
    """Growth of those pixels."""
    star_local_bkg_subtract: bool = True
    """Remove a local background from each star before the builder, which always fits each star a
    level of its own, so that the PSF hardly depends on it."""
    star_local_bkg_annulus_rin_pix: Annotated[NonNegativeFloat, Unit("pix")] = 20.0
    """Inner radius of the background annulus."""
    star_local_bkg_annulus_rout_pix: Annotated[PositiveFloat, Unit("pix")] = 30.0
    """Outer radius of the background annulus."""
    star_local_bkg_sigma: PositiveFloat = 3.0
    """Clipping in the annulus."""
    star_local_bkg_minpix: Annotated[PositiveInt, Unit("pix")] = 30
    """With fewer pixels in the annulus the background is 0."""
    save_patch_background_diagnostics: bool = True
    """Draw the background of each cell."""
    save_star_local_background_diagnostics: bool = True
    """Draw the local background of each star (slow)."""
    diagnostics_show_colorbar: bool = True
    """Colour bars in those two pictures."""
    save_growth_curve: bool = True
    """Draw the growth curve of each PSF."""
    save_residual_diagnostics: bool = True
    """Draw stars minus model of each PSF."""
    residual_diag_max_stars: NonNegativeInt = 100
    """Most stars in that picture."""
    parallel_bands: bool = True
    """Work on bands at the same time, as far as there are workers; false: one after another."""
    max_workers: AutoInt = "auto"
    """Most bands at work at the same time; auto: as many as there are workers."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        low, high = self.q_range
        if not low < high:
            msg = f"q_range = [{low}, {high}] must be [least, largest]"
            raise ValueError(msg)
        _require_less(self, "gaia_mag_min", "gaia_mag_max")
        if self.gaia_forced_rmin_pix > self.gaia_forced_rmax_pix:
            msg = (
                f"gaia_forced_rmin_pix = {self.gaia_forced_rmin_pix} must not exceed "
                f"gaia_forced_rmax_pix = {self.gaia_forced_rmax_pix}"
            )
            raise ValueError(msg)
        if self.star_local_bkg_subtract:
            low_name, high_name = "annulus_rin_pix", "annulus_rout_pix"
            _require_less(self, f"star_local_bkg_{low_name}", f"star_local_bkg_{high_name}")
        return self

    @model_validator(mode="after")
    def _check_counts(self) -> Self:
        if self.star_sat_check_r != "auto" and self.star_sat_check_r < 0:
            msg = f"star_sat_check_r = {self.star_sat_check_r} must be >= 0 or auto [pix]"
            raise ValueError(msg)
        if self.max_workers != "auto" and self.max_workers < 1:
            msg = f"max_workers = {self.max_workers} must be >= 1 or auto"
            raise ValueError(msg)
        return self


class PatchesConfig(Config):
    """Patches: the rectangles that are fitted."""

    halo_pix_min: Annotated[NonNegativeInt, Unit("pix")] = 20
    """Least overlap with neighbours; the halo is max((final_psf_size - 1) / 2 + 2, this)."""


class PatchInputsConfig(Config):
    """Files with the pixels and sources of each patch."""

    save_patch_inputs: bool = True
    """Let them stay; false: they are removed as soon as the fits have read them, and made again
    when a fit needs them."""
    skip_empty_patch: bool = True
    """Leave out patches without a source."""
    include_wcs_in_payload: bool = False
    """Put the FITS header cards of the WCS into them (`wcs_patch`, `wcs_full`)."""
    max_workers: PositiveInt = 16
    """Most rows of patches that are cut and written at the same time."""
    gzip_compresslevel: Annotated[int, Ge(0), Le(9)] = 0
    """Compression: 0 none, 1 fast, 9 small. Noise hardly shrinks, and each pass reads the files."""
    keep_payloads_in_memory: bool = False
    """Let each worker keep the files that it has read in memory for the next passes."""


class PatchRunConfig(Config):
    """The scene fit of each patch."""

    enable_multi_band_simultaneous_fitting: bool = True
    """true: one position and shape for all bands; false: each band by itself, from the same start
    values, with columns of its own (`x_pix_white_{band}_fit` and so on)."""
    python_exe: Annotated[str, Field(min_length=1)] = "python"
    """Interpreter of the worker processes: python for the one that is running, a command, or a
    path, relative to the directory of the YAML file. It needs the same skyloom."""
    resume: bool = True
    """Keep patches that are finished and still right; false: each `run` and `run-patches` fits all
    of them again."""
    max_workers: PositiveInt = 32
    """Workers, capped at the number of CPUs."""
    threads_per_process: int = 1
    """Threads of each fit, at least 1 and capped at the number of CPUs; so many fewer patches are
    fitted at the same time that workers times threads do not exceed the CPUs."""
    gal_model: Literal["dev", "exp", "sersic", "star"] = "exp"
    """Model of sources whose TYPE is missing or unknown."""
    n_opt_iters: PositiveInt = 20
    """Most iterations of the optimiser."""
    dlnp_stop: NonNegativeFloat = 1e-12
    """Stop when the log-probability gains less than this."""
    r_ap: Annotated[PositiveFloat, Unit("pix")] = 5.0
    """Aperture that gives a source without `FLUX_{band}` its start flux. A patch solves for the
    fluxes of its own sources at once; with enable_staged_fit: false those of other patches start
    from here. By default no result depends on it."""
    eps_flux: Annotated[PositiveFloat, Unit("scaled counts")] = 1e-4
    """Least start flux, see r_ap."""
    sersic_n_init: PositiveFloat = 3.0
    """First guess of the Sersic index without a usable SERSIC_n."""
    re_fallback_pix: Annotated[PositiveFloat, Unit("pix")] = 3.0
    """First guess of the half-light radius without a usable Re."""
    psf_model: Literal["pixelized", "hybrid", "gaussian_mixture_from_stamp"] = "pixelized"
    """How the PSF built from stars enters the fit: pixelized: as it is, for stars and galaxies
    alike; hybrid: as it is for stars, as a sum of hybrid_psf_n Gaussians for galaxies;
    gaussian_mixture_from_stamp: as a sum of gaussian_mixture_n Gaussians for both."""
    psf_fallback_model: Literal["gaussian_mixture", "ncircular_gaussian", "moffat"] = "moffat"
    """PSF where none could be built from stars; gaussian_mixture is a single Gaussian, as that is
    the sum which best fits a Gaussian stamp."""
    min_epsf_nstars_for_use: int = 2
    """A band with fewer usable stars takes the fallback; 0 or less: only one without any. A cell
    with fewer has the model of the whole band all the same, and is listed in
    `psf_low_star_bands`."""
    ncircular_gaussian_n: Annotated[int, Ge(1), Le(3)] = 3
    """Gaussians of the ncircular_gaussian fallback."""
    hybrid_psf_n: PositiveInt = 9
    """Gaussians of the hybrid PSF, for galaxies; pixelized is exact and faster."""
    gaussian_mixture_n: int = 4
    """Gaussians of gaussian_mixture_from_stamp; at least 1 is used."""
    fallback_default_fwhm_pix: Annotated[PositiveFloat, Unit("pix")] = 4.0
    """FWHM where the header has neither PEEING nor SEEING."""
    fallback_stamp_radius_pix: Annotated[PositiveFloat, Unit("pix")] = 25.0
    """Radius of the Gaussian fallback stamp."""
    cutout_size: Annotated[PositiveInt, Unit("pix")] = 100
    """Side of a source's picture."""
    cutout_max_sources: NonNegativeInt | None = None
    """Most source pictures of a patch; null: all."""
    cutout_start: NonNegativeInt = 0
    """First source that gets a picture."""
    cutout_data_p_lo: Annotated[Percentile, Unit("percentile")] = 1.0
    """Display of the data, low end."""
    cutout_data_p_hi: Annotated[Percentile, Unit("percentile")] = 99.0
    """Display of the data, high end."""
    cutout_model_p_lo: Annotated[Percentile, Unit("percentile")] = 1.0
    """Display of the model, low end."""
    cutout_model_p_hi: Annotated[Percentile, Unit("percentile")] = 99.0
    """Display of the model, high end."""
    cutout_resid_p_abs: Annotated[Percentile, Unit("percentile")] = 99.0
    """Display of the residual, both ends, of its absolute value."""
    no_cutouts: bool = False
    """Leave out the source pictures."""
    no_patch_overview: bool = False
    """Leave out the patch overview."""
    flag_maxiter_margin: int = 0
    """Count a fit as stopped by the limit this many iterations before n_opt_iters."""
    pos_max_shift_pix: Annotated[PositiveFloat | None, Unit("pix")] = 5.0
    """Farthest that a position may move from the catalogue's, in x and in y; null: no limit."""
    enable_staged_fit: bool = True
    """Solve the fluxes alone in the first pass, while others have no light yet; false: fit
    positions and shapes from the first pass on."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _require_less(self, "cutout_data_p_lo", "cutout_data_p_hi")
        _require_less(self, "cutout_model_p_lo", "cutout_model_p_hi")
        return self


class MoffatPsfConfig(Config):
    """The Moffat fallback PSF."""

    fwhm_default_pix: Annotated[PositiveFloat, Unit("pix")] = 4.0
    """What earlier releases called patch_run.fallback_default_fwhm_pix; stands for it where that is
    not set."""
    beta: Annotated[Float, Gt(1)] = 3.5
    """Slope of the wings, 2.5 to 4.5 in practice."""
    radius_pix: Annotated[PositiveFloat, Unit("pix")] = 25.0
    """Radius of the stamp."""
    module_path: UserPath | None = None
    """Code of earlier releases."""


class MergeConfig(Config):
    """Collecting the patches."""

    pattern: Annotated[str, Field(min_length=1)] = "*_cat_fit.csv"
    """Glob below tractor_out_dir; only patches whose table matches are merged."""


class PlottingConfig(Config):
    """All pictures."""

    dpi: Annotated[PositiveInt, Unit("dots per inch")] = 300
    """Resolution."""


class ZpConfig(Config):
    """Gaia stars in the catalogue, and zero points from them."""

    enabled: bool = True
    """Match Gaia after loading, and calibrate after the merge."""
    inject_gaia_sources: bool = True
    """Add Gaia stars that the catalogue lacks; false: match only."""
    gaia_mag_min: Annotated[Float, Unit("G mag")] = 8.0
    """Bright limit in phot_g_mean_mag."""
    gaia_mag_max: Annotated[Float, Unit("G mag")] = 18.0
    """Faint limit in phot_g_mean_mag."""
    match_radius_arcsec: Annotated[PositiveFloat, Unit("arcsec")] = 3.0
    """Farthest match of a Gaia star with a catalogue row."""
    min_box_size_pix: Annotated[NonNegativeInt, Unit("pix")] = 3000
    """Least side of the box in which Gaia stars are taken."""
    clip_sigma: Annotated[PositiveFloat, Unit("sigma")] = 3.0
    """Clipping of stars, in robust standard deviations."""
    clip_max_iters: NonNegativeInt = 10
    """Most rounds of clipping."""
    gaia_pos_err_pix: Annotated[PositiveFloat | None, Unit("pix")] = 0.1
    """Position prior of added Gaia stars; null: none."""
    plot_mag_lo: Annotated[Float, Unit("AB mag")] = 10.0
    """Bright end of the zero-point plot."""
    plot_mag_hi: Annotated[Float, Unit("AB mag")] = 20.0
    """Faint end of the zero-point plot."""
    plot_zp_offset: Annotated[PositiveFloat, Unit("mag")] = 0.25
    """Half height of the zero-point plot about the median."""
    zp_err_method: Literal["all_mad", "bright_std"] = "all_mad"
    """Error of a zero point: median absolute deviation of all stars, or standard deviation of the
    bright ones. Both are always computed."""
    zp_err_snr_min: NonNegativeFloat = 100.0
    """Least signal-to-noise of the bright stars of bright_std."""

    @model_validator(mode="after")
    def _check_order(self) -> Self:
        _require_less(self, "gaia_mag_min", "gaia_mag_max")
        _require_less(self, "plot_mag_lo", "plot_mag_hi")
        return self


class SkyloomConfig(Config):
    """Settings that the original pipeline does not have; the command line overrules them."""

    executor: Literal["serial", "processes"] | None = None
    """How units of work run; null: processes when there is more than one worker."""
    workers: PositiveInt | None = None
    """Worker processes, capped at the number of CPUs; null: what the stage's max_workers says."""
    plots: Literal["none", "summary", "all"] = "summary"
    """Pictures: none; summary: those of the whole tile (sources, Gaia stars and bright mask on the
    white image, residual, zero points, per band the PSFs and how their stars fit); all: every
    picture that the other sections switch on, also those of each patch, PSF cell and source."""
    white_bands: Annotated[tuple[str, ...], Field(strict=False)] = ()
    """Bands, as FILTER names them, that make the white image, on which unlisted bright things and
    the sources of `tile detect` are found; empty: all. Leave out bands whose scattered light,
    fringes or poor seeing spoil the stack; their fluxes are measured all the same."""
    fit_passes: PositiveInt = 3
    """Passes over the blend groups; each sees the others' latest models."""
    psf_loops: NonNegativeInt = 2
    """Times that the PSF is built again on the residuals of the fitted scene."""
    model_choice: Annotated[Literal["catalog", "check", "auto"], BeforeValidator(_model_choice)] = (
        "check"
    )
    """catalog (or false): types as the catalogue says. check (or true): fit star, round
    exponential, exponential, de Vaucouleurs and Sersic models to every source and report what
    each improves (`dchisq_*`) and which would do (`type_suggested`), nothing else changes. auto:
    moreover fit a source whose type is clearly wrong as the better one (`type_changed`)."""
    aperture_radius: Annotated[PositiveFloat | None, Unit("FWHM")] = 1.5
    """Radius of the circular apertures that check the fit (`APFLUX_{band}` and so on), in units of
    the FWHM of the PSF of each band; null: no apertures."""
    correlated_noise: bool = True
    """Measure how the noise of neighbouring pixels is correlated, and let it count in the errors
    where the correlation of nearest neighbours exceeds 0.02."""
    psf_error: Annotated[float, Field(ge=0.0, lt=0.5)] = 0.0
    """Error of the PSF as a fraction of the model, added to the noise of every pixel: residuals of
    bright stars then do not drive their neighbours."""
    galaxy_index_scatter: Annotated[float, Field(ge=0.0, le=1.0)] | Literal["auto"] = "auto"
    """Scatter of ln n of exponential and de Vaucouleurs galaxies about their n = 1 and 4. Fluxes of
    those above a signal-to-noise of 10 are corrected for the index that the pixels prefer, and
    errors contain what the pixels do not tell; positions, shapes and models stay those of the
    type. auto: as the bright galaxies of the tile have it, each type by itself, about the mean
    that they have, 0 where they do not differ from their type significantly; 0: galaxies are
    exactly of their type. Takes fit_passes of at least 2, and profile: exact."""
    galaxy_size_scatter: Annotated[float, Field(ge=0.0, le=1.0)] | Literal["auto"] = "auto"
    """Scatter of ln r of galaxies in single bands about the common one, and of ln n where that is
    free, as colour gradients make it; treated likewise, with either profile. auto: as
    the bright galaxies of the tile have it, about the mean of each band, and not less than a
    quarter of how far their indices are off; 0: one shape for all bands."""
    zp_estimate: Literal["median", "ml"] = "median"
    """What calibrates magnitudes: zp_median, the median weighted by flux errors alone, or zp_ml,
    the mean with an intrinsic scatter in the weights. Both are always computed."""
    zp_surface: Literal["none", "plane", "quadratic"] = "none"
    """Richest correction of the zero point over the frame; used only where it predicts stars that
    were left out of its fit."""
    faint_magnitudes: Literal["none", "asinh", "limits"] = "none"
    """What faint sources get besides: asinh magnitudes (ASINH_*, any sign of flux), or upper limits
    at 3 sigma where the signal-to-noise is below 3 (LIM_*)."""
    bright_stars: bool = True
    """Measure halos and diffraction spikes of very bright stars after the first pass; in those that
    follow take the halos off and mask the spikes."""
    gaia_epoch: Annotated[Float | None, Ge(1900), Le(2100), Unit("Julian year")] = None
    """Year to which Gaia stars are moved by their proper motions; null: the dates in the headers
    (MJD-OBS, MJD-AVG, DATE-OBS, DATE-AVG), their median for the catalogue and each band's own for
    its PSF stars; 2016.0 leaves the stars of Gaia DR3 where they are."""
    profile: Literal["exact", "hl13"] = "exact"
    """Galaxy profiles: infinite laws, or the truncated Gaussian mixtures of Hogg & Lang 2013."""
    noise: Literal["auto", "stated", "measured"] = "auto"
    """Sky noise of a pixel. stated: the weight or rms map of the image, or else SKYSIG; measured:
    this times a smooth field, so that it is the rms of the pixels between the sources, in meshes of
    128 pixels; SKYSIG is then not needed. auto: stated; measured for an image without a map of its
    noise where that differs by more than 15 % over the field, so that no SKYSIG can be right."""
    gain_follows_noise: bool = True
    """Where the noise of the sky varies, by a map or as measured, exposures differ: the gain of a
    pixel goes as the inverse variance of its sky, that of the header being the gain at median
    noise. false: one gain for all pixels, as where only the brightness of the sky varies."""
    images: dict[str, ImageConfig] = Field(default_factory=dict)
    """What overrules the header of an image, and its maps, by file name, path as in the image list,
    or band as FILTER names it."""

    @model_validator(mode="after")
    def _check_passes(self) -> Self:
        if self.model_choice == "auto" and self.fit_passes < 2:
            msg = (
                f"fit_passes = {self.fit_passes} must be at least 2 with model_choice = auto: "
                "types are chosen after the first pass and fitted in the others"
            )
            raise ValueError(msg)
        return self
