"""What cut-outs and header say about each band, and how the bands fit together."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Final

import numpy as np
from scipy.spatial import cKDTree

from skyloom._types import Floats
from skyloom.detect.spot_check import SpotCheck, check_spots, spot_boxes
from skyloom.images import Frame, read_pixels

from .check_report import Finding, Status
from .config import TileConfig
from .noise import NOISE_RATIO, SkyNoise

__all__ = ["band_findings", "match_offset", "measure_band"]

_FWHM_RATIO: Final = 1.25  # the header's FWHM serves for apertures and the fallback PSF only
_NOISE: Final = (NOISE_RATIO, 2.0)  # rms over stated: warning, problem; errors scale with it
_NOISE_SPREAD: Final = 1.15  # ninth over first decile of pieces whose errors are below 1 %
_USABLE: Final = 0.5  # fewer pixels than that in the cut-outs are a mistake somewhere
_CORRELATED: Final = 0.02  # as in the fit
_LEVEL: Final = (0.3, 3.0)  # of the sky rms; the fit has a smooth sky of its own
_OFFSET: Final = (0.25, 1.0)  # pix
_MATCH: Final = 4.0  # pix
_SHARED: Final = 0.3  # of a band's stars; chance finds far fewer within 4 pix
_FEW_STARS: Final = 6  # over the field: fewer cannot tell how the PSF changes


def measure_band(noise: SkyNoise, config: TileConfig) -> SpotCheck:
    """Read the cut-outs of a band, within the working frame, and measure them."""
    frame = noise.frame
    shape = frame.working_shape
    cuts = [(box, read_pixels(frame, box)) for box in spot_boxes(shape)]
    sigma = [noise.of(box) / frame.scale for box, _ in cuts]
    fwhm = frame.fwhm_pix or config.patch_run.fallback_default_fwhm_pix
    return check_spots(cuts, sigma=sigma, fwhm=float(np.clip(fwhm, 1.5, 20.0)), shape=shape)


def band_findings(
    frame: Frame, spots: SpotCheck, reference: tuple[str, SpotCheck], config: TileConfig
) -> Iterator[Finding]:
    """Judge one band; ``reference`` is the band that positions are compared with."""
    if not math.isfinite(spots.sky_rms):
        share = f"{100 * spots.finite:.0f} % of the pixels of the cut-outs are finite"
        remedy = "correct the image, or remove it from the image list"
        yield _of(frame, "pixels", Status.PROBLEM, f"no sky to measure: {share}", remedy)
        return
    yield _usable(frame, spots)
    yield _constant(frame, spots)
    measured = config.skyloom.noise == "measured"
    yield _noise(frame, spots, measured=measured)
    is_found = measured or (config.skyloom.noise == "auto" and frame.maps.noise is None)
    yield _noise_spread(frame, spots, measured=is_found)
    yield _correlation(frame, spots)
    yield _level(frame, spots)
    yield _fwhm(frame, spots, config)
    yield _stars(frame, spots, config)
    yield _saturation(frame, spots)
    yield _gain(frame, spots)
    if reference[0] != frame.band:
        yield _offset(frame, spots, *reference)


def _of(
    frame: Frame,
    topic: str,
    status: Status,
    message: str,
    remedy: str = "",
    **numbers: float | None,
) -> Finding:
    return Finding(
        topic=topic,
        band=frame.band,
        status=status,
        message=message,
        remedy=remedy if status > Status.OK else "",
        numbers=numbers,
    )


def _beyond(value: float, limits: tuple[float, float]) -> Status:
    if value > limits[1]:
        return Status.PROBLEM
    return Status.WARNING if value > limits[0] else Status.OK


def _usable(frame: Frame, spots: SpotCheck) -> Finding:
    remedy = "look at the image"
    if frame.maps.mask is not None:
        remedy += ", and at its mask_map: is it 1 where pixels are good?"
    return _of(
        frame,
        "usable pixels",
        Status.OK if spots.finite > _USABLE else Status.WARNING,
        f"{100 * spots.finite:.4g} % of the pixels of the cut-outs",
        remedy,
        usable=spots.finite,
    )


def _constant(frame: Frame, spots: SpotCheck) -> Finding:
    found = spots.constant
    if found is None:
        return _of(frame, "no data", Status.OK, "no region of one value", constant=0.0)
    return _of(
        frame,
        "no data",
        Status.WARNING,
        f"{100 * found.share:.2g} % of the cut-outs are exactly {found.value:g}: no data there?",
        f"set skyloom.images.{frame.band}.no_data: {found.value:g}, or give a weight_map: they "
        "count as sky without light, and fluxes on them are wrong",
        constant=found.share,
        value=found.value,
    )


def _noise(frame: Frame, spots: SpotCheck, *, measured: bool) -> Finding:
    """Compare the noise with what is stated; where it is measured anyway, that is no fault."""
    text = f"{spots.sky_rms:.4g} ADU measured"
    used = ", the measured noise is used" if measured else ""
    if math.isnan(frame.sky_sigma_adu) and not frame.maps.is_absolute:
        text += f", no SKYSIG{used}"
        return _of(frame, "sky rms", Status.OK, text, measured=spots.sky_rms, header=None)
    ratio = spots.noise_ratio
    if frame.maps.noise is None:
        stated = f"SKYSIG {frame.sky_sigma_adu:.4g}"
        remedy = "write the measured rms into the keyword SKYSIG"
    else:
        stated = f"{frame.maps.noise.path.name} compared pixel by pixel"
        remedy = "correct the map or its unit (weight_type)"
    return _of(
        frame,
        "sky rms",
        Status.OK if measured else _beyond(max(ratio, 1.0 / ratio), _NOISE),
        f"{text}, {stated}: ratio {ratio:.2f}{used}",
        f"set skyloom.noise: measured, or {remedy}: all errors scale with it",
        measured=spots.sky_rms,
        header=None if math.isnan(frame.sky_sigma_adu) else frame.sky_sigma_adu,
        ratio=ratio,
    )


def _noise_spread(frame: Frame, spots: SpotCheck, *, measured: bool) -> Finding:
    varies = spots.noise_spread > _NOISE_SPREAD and not measured
    return _of(
        frame,
        "noise over the field",
        Status.WARNING if varies else Status.OK,
        f"measured over stated noise differs by a factor {spots.noise_spread:.2f} over the field",
        "give a weight_map or rms_map under skyloom.images, or set skyloom.noise: measured",
        spread=spots.noise_spread,
    )


def _correlation(frame: Frame, spots: SpotCheck) -> Finding:
    rho = spots.neighbour
    is_white = abs(rho) <= _CORRELATED
    return _of(
        frame,
        "noise correlation",
        Status.OK if is_white else Status.NOTE,
        f"neighbouring pixels {rho:+.2f}" + ("" if is_white else ": resampled or compressed"),
        "keep skyloom.correlated_noise: true, so that errors take it into account",
        neighbour=rho,
    )


def _level(frame: Frame, spots: SpotCheck) -> Finding:
    level = spots.level / spots.sky_rms
    spread = spots.level_spread / spots.sky_rms
    return _of(
        frame,
        "sky level",
        _beyond(max(abs(level), spread), _LEVEL),
        f"{spots.level:+.3g} ADU = {level:+.2f} rms; cut-outs differ by {spread:.2f} rms",
        "subtract the background; the fit takes care of what is smooth, the white stack does not",
        level=spots.level,
        level_in_rms=level,
        spread_in_rms=spread,
    )


def _fwhm(frame: Frame, spots: SpotCheck, config: TileConfig) -> Finding:
    default = config.patch_run.fallback_default_fwhm_pix
    header = frame.fwhm_pix
    remedy = "write the measured FWHM [pix] into the keyword PEEING; it counts where stars lack"
    numbers = {"measured": spots.fwhm, "header": header}
    if not math.isfinite(spots.fwhm):
        said = "nothing" if header is None else f"{header:.2f} pix"
        text = f"too few stars in the cut-outs; the header says {said}"
        remedy = "write the FWHM in pixels into the keyword PEEING"
        status = Status.NOTE if header is not None else Status.WARNING
        return _of(frame, "FWHM", status, text, "" if header else remedy, **numbers)
    if header is None:
        text = f"{spots.fwhm:.2f} pix measured; no PEEING or SEEING, {default:g} pix is assumed"
        far = max(spots.fwhm / default, default / spots.fwhm) > _FWHM_RATIO
        return _of(frame, "FWHM", Status.WARNING if far else Status.NOTE, text, remedy, **numbers)
    far = max(spots.fwhm / header, header / spots.fwhm) > _FWHM_RATIO
    text = f"{spots.fwhm:.2f} pix measured, header {header:.2f} pix"
    return _of(frame, "FWHM", Status.WARNING if far else Status.OK, text, remedy, **numbers)


def _stars(frame: Frame, spots: SpotCheck, config: TileConfig) -> Finding:
    ny, nx = frame.working_shape
    total = spots.n_stars * nx * ny / max(1, spots.n_pixels)
    cells = config.epsf.epsf_ngrid**2
    per_cell = total / cells
    need = config.patch_run.min_epsf_nstars_for_use
    status, remedy = Status.OK, ""
    if total < _FEW_STARS:
        status = Status.WARNING
        remedy = (
            "lower epsf.thresh_sigma or epsf.minarea, or enlarge the frame (crop.margin); without "
            "stars the Moffat profile of the header takes over"
        )
    elif per_cell < max(need, 1):
        status = Status.NOTE
        remedy = (
            "lower epsf.epsf_ngrid; cells without stars of their own use the PSF of the whole field"
        )
    text = f"about {total:.0f} in the frame, {per_cell:.1f} in each of {cells} cells"
    return _of(frame, "PSF stars", status, text, remedy, expected=total, per_cell=per_cell)


def _saturation(frame: Frame, spots: SpotCheck) -> Finding:
    level = frame.saturation_adu  # SATURATE / divisor
    has_plateau = math.isfinite(spots.plateau)
    numbers = {"threshold": level, "plateau": spots.plateau, "peak": spots.peak}
    if not math.isfinite(level):
        text = "no SATURATE; " + (
            f"flat tops at {spots.plateau:.4g} ADU"
            if has_plateau
            else "no flat top in the cut-outs"
        )
        remedy = "write SATURATE [ADU]; without it only flat tops are recognised"
        return _of(frame, "saturation", Status.NOTE, text, remedy, **numbers)
    if has_plateau and spots.plateau < 0.9 * level:
        text = f"flat tops at {spots.plateau:.4g} ADU, below the threshold of {level:.4g}"
        remedy = (
            f"write SATURATE = {spots.plateau:.4g}, or raise "
            "source_saturation_cut.saturation_divisor"
        )
        return _of(frame, "saturation", Status.WARNING, text, remedy, **numbers)
    text = f"masked from {level:.4g} ADU on; highest pixel {spots.peak:.4g}"
    return _of(frame, "saturation", Status.OK, text, "", **numbers)


def _gain(frame: Frame, spots: SpotCheck) -> Finding:
    """Compare the noise with what counts of electrons allow.

    A sky-subtracted image does not show its gain. Two things are impossible: a sky whose Poisson
    noise exceeds the noise seen, and a noise below one electron.
    """
    electrons = spots.sky_rms * frame.gain
    numbers = {"gain": frame.gain, "sky_noise_electrons": electrons}
    remedy = (
        "write the effective gain into EGAIN: electrons of all exposures per ADU of the stack "
        "(for an average of N frames N times that of the camera)"
    )
    level = spots.level
    poisson = math.sqrt(level / frame.gain) if level > 5.0 * spots.sky_rms else 0.0
    if poisson > 1.2 * spots.sky_rms:
        text = (
            f"{frame.gain:g} e-/ADU and a sky of {level:.4g} ADU give a noise of {poisson:.3g} "
            f"ADU, but it is {spots.sky_rms:.3g}"
        )
        return _of(frame, "gain", Status.PROBLEM, text, remedy, **numbers)
    if electrons < 1.0:
        text = f"{frame.gain:g} e-/ADU makes the sky noise {electrons:.2g} electrons: too few"
        return _of(frame, "gain", Status.WARNING, text, remedy, **numbers)
    text = f"{frame.gain:g} e-/ADU: sky noise {electrons:.3g} electrons, possible"
    return _of(frame, "gain", Status.OK, text, "", **numbers)


def _offset(frame: Frame, spots: SpotCheck, name: str, reference: SpotCheck) -> Finding:
    found = match_offset(spots.x, spots.y, reference.bright_x, reference.bright_y, _MATCH)
    shared = 0 if found is None else found[3]
    if min(spots.x.size, reference.x.size) >= _FEW_STARS and shared < _SHARED * spots.x.size:
        said = "fewer than 3" if found is None else f"{shared}"
        return _of(
            frame,
            "position",
            Status.PROBLEM,
            f"{said} of {spots.x.size} stars have a counterpart in {name} within {_MATCH:g} pix",
            "the image is flipped, far off or of another place: register it to the others' grid",
            stars=shared,
        )
    if found is None:
        text = f"too few stars in common with {name} to compare positions"
        remedy = "check the registration by eye"
        return _of(frame, "position", Status.NOTE, text, remedy)
    dx, dy, error, count = found
    far = math.hypot(dx, dy) - 2.0 * error
    return _of(
        frame,
        "position",
        _beyond(far, _OFFSET),
        f"{dx:+.2f}, {dy:+.2f} pix from {name}, +-{error:.2f} ({count} stars)",
        "register the image to the grid of the first; bright sources are shifted by band in the "
        "fit, faint ones are not",
        dx=dx,
        dy=dy,
        error=error,
        stars=count,
    )


def match_offset(
    x: Floats, y: Floats, to_x: Floats, to_y: Floats, radius: float
) -> tuple[float, float, float, int] | None:
    """Return the median offset [pix] of matched positions, its error and their number.

    None for fewer than three. The error is that of the median of the longer axis.
    """
    if x.size < 3 or to_x.size < 3:
        return None
    tree = cKDTree(np.stack([to_x, to_y], axis=1))
    distance, row = tree.query(np.stack([x, y], axis=1), distance_upper_bound=radius)
    near = np.isfinite(distance)
    if near.sum() < 3:
        return None
    rows = np.asarray(row)[near]
    dx, dy = x[near] - to_x[rows], y[near] - to_y[rows]
    mx, my = float(np.median(dx)), float(np.median(dy))
    scatter = max(float(np.median(np.abs(dx - mx))), float(np.median(np.abs(dy - my))))
    # 1.4826 MAD is a standard deviation; that of a median is 1.25 sigma / sqrt(n)
    return mx, my, 1.4826 * 1.25 * scatter / math.sqrt(near.sum()), int(near.sum())
