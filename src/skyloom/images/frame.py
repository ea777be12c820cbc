"""A frame: one band of a tile, with everything its header says, and its pixels on request.

Scaled counts are ``ADU * 10**(-0.4 (ZP_AUTO - zp_ref))``.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, NoReturn

import numpy as np
import numpy.typing as npt
from astropy.wcs import WCS
from scipy.ndimage import binary_dilation, binary_erosion

from skyloom._types import Pixels
from skyloom.errors import BadHeader, InputError, Mismatch
from skyloom.geometry import Box, WcsTolerance, compare_wcs, crop_box, cropped_wcs, pixel_scale
from skyloom.images.dates import header_mjd
from skyloom.images.fits import FitsImage, opened_fits
from skyloom.images.maps import PixelMaps
from skyloom.images.mask import UNUSABLE, MaskBit
from skyloom.images.padding import common_shape, read_padded

__all__ = [
    "Frame",
    "HeaderOverride",
    "frame_wcs",
    "nonfinite_and_saturated",
    "pixels_and_mask",
    "read_frame",
    "read_frames",
    "read_pixels",
    "read_scaled_pixels",
    "scaled_pixels",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class HeaderOverride:
    """What the user says about an image, instead of its header."""

    hdu: int | str | None = None  # of the pixels; None: the first that holds an image
    needs_sky_sigma: bool = True  # False: SKYSIG may be missing or wrong, it becomes NaN
    no_data: float | None = None  # ADU: regions of this value are as good as NaN
    keywords: Mapping[str, float | str] = field(default_factory=dict)


_AS_IT_IS = HeaderOverride()
_NO_MAPS = PixelMaps()
_SQUARE = np.ones((3, 3), dtype=bool)
_OR_SET = "or give it under skyloom.images as"


@dataclass(frozen=True, slots=True, kw_only=True)
class Frame:
    """One band of a tile: its file, calibration and working region."""

    band: str
    path: Path
    hdu: int
    shape: tuple[int, int]  # of the whole image (ny, nx)
    box: Box  # working region in the whole image
    zp_auto: float  # AB mag of one ADU
    scale: float  # scaled counts per ADU
    sky_sigma_adu: float  # ADU; NaN where a map tells the noise or nobody knows it
    gain: float  # electron / ADU
    saturation_adu: float  # ADU, inf where unknown; the threshold of the mask
    pixel_scale: float  # arcsec / pix
    fwhm_pix: float | None  # pix, of the header; None where it says nothing
    mjd_utc: float | None = None  # d, when it was taken; None where the header does not say
    maps: PixelMaps = _NO_MAPS
    no_data: float | None = None  # ADU: regions of this value hold no data
    data_shape: tuple[int, int] | None = None  # of the file, where smaller: no data beyond it

    @property
    def sky_sigma(self) -> float:
        """Sky noise of a pixel [scaled counts]."""
        return self.sky_sigma_adu * self.scale

    @property
    def source_variance_per_count(self) -> float:
        """Variance that one scaled count of source adds to its pixel [scaled counts].

        ``var_scaled = sky_sigma**2 + source_variance_per_count * model_scaled``.
        """
        return self.scale / self.gain

    @property
    def working_shape(self) -> tuple[int, int]:
        """Shape ``(ny, nx)`` of the working region."""
        return self.box.shape

    def as_dict(self) -> dict[str, Any]:
        """Return plain values for JSON; an infinite saturation level and NaN become None."""
        box = self.box
        return {
            "band": self.band,
            "path": str(self.path),
            "hdu": self.hdu,
            "shape": list(self.shape),
            "box": [box.x0, box.x1, box.y0, box.y1],
            "zp_auto": self.zp_auto,
            "scale": self.scale,
            "sky_sigma_adu": None if math.isnan(self.sky_sigma_adu) else self.sky_sigma_adu,
            "gain": self.gain,
            "saturation_adu": self.saturation_adu if math.isfinite(self.saturation_adu) else None,
            "pixel_scale": self.pixel_scale,
            "fwhm_pix": self.fwhm_pix,
            "mjd_utc": self.mjd_utc,
            **({"maps": self.maps.as_dict()} if self.maps.files else {}),
            **({} if self.no_data is None else {"no_data": self.no_data}),
            **({} if self.data_shape is None else {"data_shape": list(self.data_shape)}),
        }

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Frame:
        """Rebuild a frame from `as_dict`."""
        saturation, sigma = values["saturation_adu"], values["sky_sigma_adu"]
        maps, data_shape = values.get("maps"), values.get("data_shape")
        return cls(
            **{
                **values,
                "data_shape": None if data_shape is None else (data_shape[0], data_shape[1]),
                "path": Path(values["path"]),
                "shape": (values["shape"][0], values["shape"][1]),
                "box": Box(*values["box"]),
                "sky_sigma_adu": math.nan if sigma is None else sigma,
                "saturation_adu": math.inf if saturation is None else saturation,
                "maps": _NO_MAPS if maps is None else PixelMaps.from_dict(maps),
            }
        )


def scaled_pixels(raw: Pixels, frame: Frame) -> Pixels:
    """Return raw pixels [ADU] in scaled counts; what is not finite stays so."""
    return raw * np.float32(frame.scale)


def nonfinite_and_saturated(raw: Pixels, frame: Frame) -> npt.NDArray[np.uint8]:
    """Return the mask bits NONFINITE and SATURATED of raw pixels [ADU]."""
    finite = np.isfinite(raw)
    mask = np.where(finite, 0, MaskBit.NONFINITE).astype(np.uint8)
    if math.isfinite(frame.saturation_adu):
        with np.errstate(invalid="ignore"):
            mask[finite & (raw >= frame.saturation_adu)] |= np.uint8(MaskBit.SATURATED)
    return mask


def read_pixels(frame: Frame, box: Box | None = None) -> Pixels:
    """Read raw pixels [ADU] of a frame, NaN where its maps say that they are of no use.

    Parameters
    ----------
    frame : Frame
        The band.
    box : Box, optional
        Region in working coordinates (that is, relative to the crop); default: all of it.
    """
    raw, bits = _raw_and_bits(frame, box)
    if bits is not None:
        raw[bits > 0] = np.nan
    return raw


def read_scaled_pixels(frame: Frame, box: Box | None = None) -> Pixels:
    """Read pixels of a frame in scaled counts; as `scaled_pixels` of `read_pixels`, in one array.

    Parameters
    ----------
    frame, box
        As for `read_pixels`.
    """
    pixels = read_pixels(frame, box)
    pixels *= np.float32(frame.scale)
    return pixels


def pixels_and_mask(frame: Frame) -> tuple[Pixels, npt.NDArray[np.uint8]]:
    """Read raw pixels [ADU] of a frame as `read_pixels` does, and the bits of its mask.

    A pixel that the maps mark and that reaches the saturation level has the bits of both.
    """
    raw, bits = _raw_and_bits(frame, None)
    mask = nonfinite_and_saturated(raw, frame)
    if bits is not None:
        mask |= bits
        raw[mask & np.uint8(UNUSABLE) > 0] = np.nan
    return raw, mask


def _raw_and_bits(frame: Frame, box: Box | None) -> tuple[Pixels, npt.NDArray[np.uint8] | None]:
    working = Box.of_shape(frame.working_shape) if box is None else box
    place = working.shifted(frame.box.x0, frame.box.y0)
    raw = _read(frame, place) if frame.no_data is None else _with_gaps(frame, place)
    return raw, frame.maps.bits(place)


def _with_gaps(frame: Frame, place: Box) -> Pixels:
    """Read pixels, NaN in regions of the value that stands for "no data".

    Of such a region every pixel belongs to 3 x 3 pixels of the value: single pixels of coarse
    data have it by chance.  Two pixels more are read on each side, so that the answer is the same
    whatever box is asked for.
    """
    wide = place.grown(2).clipped(Box.of_shape(frame.shape))
    raw = _read(frame, wide)
    core = binary_erosion(raw == np.float32(frame.no_data), _SQUARE, border_value=1)
    raw[binary_dilation(core, _SQUARE)] = np.nan
    inner = place.shifted(-wide.x0, -wide.y0)
    return np.ascontiguousarray(raw[inner.slices])


def frame_wcs(frame: Frame) -> WCS:
    """Read the WCS of a frame's working region."""
    return cropped_wcs(_opened(frame).wcs(), frame.box)


def _read(frame: Frame, place: Box) -> Pixels:
    image = _opened(frame)
    return image.read(place) if frame.data_shape is None else read_padded(image, place)


def _opened(frame: Frame) -> FitsImage:
    return FitsImage.open(frame.path, frame.hdu)


def read_frame(
    path: Path | str,
    *,
    zp_ref: float,
    saturation_divisor: float = 1.3,
    margin: int = 0,
    override: HeaderOverride = _AS_IT_IS,
) -> Frame:
    """Read what the pipeline needs from the header of one band.

    Parameters
    ----------
    path : path
        FITS image with FILTER, ZP_AUTO, SKYSIG, EGAIN and a WCS; SATURATE, PEEING (FWHM in
        pixels) and SEEING (FWHM in arcsec) are optional.
    zp_ref : float
        Zero point of the scaled counts [AB mag].
    saturation_divisor : float
        A pixel counts as saturated from ``SATURATE / saturation_divisor`` on.
    margin : int
        Pixels cut from each side for the working region.
    override : HeaderOverride
        HDU and keywords that the user gives; a keyword that stands there need not be in the header.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file cannot be used.
    BadHeader
        If keywords are missing or have no usable value; one message names all of them.
    """
    frame, _ = _frame_and_wcs(Path(path), zp_ref, saturation_divisor, margin, override)
    return frame


def _frame_and_wcs(
    path: Path, zp_ref: float, saturation_divisor: float, margin: int, override: HeaderOverride
) -> tuple[Frame, WCS]:
    image = FitsImage.open(path, override.hdu).with_keywords(override.keywords)
    problems: list[str] = []
    band = _band(image, problems)
    zp_auto = _zero_point(image, problems)
    found = problems if override.needs_sky_sigma else []
    sky_sigma = _positive(image, "SKYSIG", "sky rms in ADU", found)
    gain = _positive(image, "EGAIN", "gain in e-/ADU", problems)
    wcs = None
    try:
        wcs = image.wcs()
    except BadHeader as error:
        problems.append(error.message)
    if problems or wcs is None:
        problems += _other_images(image) if override.hdu is None else []
        raise BadHeader("\n".join(problems), file=str(path), hdu=image.hdu, problems=problems)
    scale_arcsec = pixel_scale(wcs)
    frame = Frame(
        band=band,
        path=path,
        hdu=image.hdu,
        shape=image.shape,
        box=crop_box(image.shape, margin) if margin else Box.of_shape(image.shape),
        zp_auto=zp_auto,
        scale=10.0 ** (-0.4 * (zp_auto - zp_ref)),
        sky_sigma_adu=sky_sigma,
        gain=gain,
        saturation_adu=_saturation(image, saturation_divisor),
        pixel_scale=scale_arcsec,
        fwhm_pix=_fwhm(image, scale_arcsec),
        mjd_utc=header_mjd(image.keyword),
        no_data=override.no_data,
    )
    return frame, wcs


def _other_images(image: FitsImage) -> list[str]:
    """Say which other HDUs may be meant where the first image lacks what is needed."""
    with opened_fits(image.path) as hdus:
        others = [
            f"[{number}] {hdu.name}".strip()
            for number, hdu in enumerate(hdus)
            if number != image.hdu and hdu.is_image and len(hdu.shape) == 2
        ]
    if not others:
        return []
    return [
        f"{image.where} is the first image of its file, others are {', '.join(others)}; if another "
        "one holds the pixels, name it under skyloom.images as hdu"
    ]


def _band(image: FitsImage, problems: list[str]) -> str:
    value = image.keyword("FILTER")
    remedy = f"write the name of the band into the keyword FILTER, {_OR_SET} filter"
    if value is None:
        problems.append(f"Missing FILTER in {image.where}; {remedy}")
        return ""
    band = str(value).strip()
    if not band:
        problems.append(f"Empty FILTER in {image.where}; {remedy}")
    elif band in {".", ".."} or any(c in "/\\" or not c.isprintable() for c in band):
        problems.append(
            f"Bad FILTER in {image.where}: {band!r} cannot be part of a path; write a band name "
            "without / and \\"
        )
    return band


def _zero_point(image: FitsImage, problems: list[str]) -> float:
    value = image.number("ZP_AUTO")
    remedy = f"write the AB magnitude of one ADU into the keyword ZP_AUTO, {_OR_SET} zp_auto"
    if value is None:
        problems.append(f"Missing ZP_AUTO in {image.where}; {remedy}")
    elif not math.isfinite(value):
        problems.append(f"Bad ZP_AUTO in {image.where}: {image.keyword('ZP_AUTO')!r}; {remedy}")
    else:
        return value
    return math.nan


def _positive(image: FitsImage, name: str, meaning: str, problems: list[str]) -> float:
    value = image.number(name)
    label = f"{name} (e-/ADU)" if name == "EGAIN" else name
    setting = {"SKYSIG": "sky_sigma", "EGAIN": "gain"}[name]
    remedy = f"write the {meaning} into the keyword {name}, {_OR_SET} {setting}"
    if value is None:
        kind = "Missing" if name == "SKYSIG" else "Bad/Missing"
        problems.append(f"{kind} {label} in {image.where}; {remedy}")
    elif not (math.isfinite(value) and value > 0):
        problems.append(
            f"Bad/Missing {label} in {image.where}: {image.keyword(name)!r} must be > 0; {remedy}"
        )
    else:
        return value
    return math.nan


def _saturation(image: FitsImage, divisor: float) -> float:
    value = image.number("SATURATE")
    if value is None or not math.isfinite(value) or value <= 0:  # 0 is written for "unknown"
        log.warning(
            "SATURATE missing in %s; using inf: no pixel of it counts as saturated", image.where
        )
        return math.inf
    return value / max(divisor, 1e-6)


def _fwhm(image: FitsImage, scale_arcsec: float) -> float | None:
    peeing, seeing = image.number("PEEING"), image.number("SEEING")
    if peeing is not None and math.isfinite(peeing) and peeing > 0:
        return peeing
    if seeing is not None and math.isfinite(seeing) and seeing > 0:
        return seeing / scale_arcsec
    return None


def read_frames(
    paths: Iterable[Path | str],
    *,
    zp_ref: float,
    saturation_divisor: float = 1.3,
    margin: int = 0,
    tolerance: WcsTolerance | None = None,
    same_shape: bool = True,
    overrides: Mapping[Path, HeaderOverride] | None = None,
) -> tuple[Frame, ...]:
    """Read the frames of a tile, in the order of the image list, and check that they match.

    Parameters
    ----------
    paths, zp_ref, saturation_divisor, margin
        As for `read_frame`.
    tolerance : WcsTolerance, optional
        Compare each WCS with the first; None compares shapes and band names only.
    same_shape : bool
        Refuse images of different shapes; False: the frame is as large as the largest of them
        along each axis, the lower left corners of all are one, and there is no data beyond the
        smaller ones.
    overrides : mapping of Path to HeaderOverride, optional
        What the user says instead of the headers, by path.

    Raises
    ------
    InputError
        One error with the problems of all files: it has the class of the first problem, and the
        single messages in ``problems``.
    """
    frames: list[Frame] = []
    errors: list[InputError] = []
    reference: WCS | None = None
    overrides = overrides or {}
    for path in map(Path, paths):
        override = overrides.get(path, _AS_IT_IS)
        try:
            own_margin = margin if same_shape else 0
            frame, wcs = _frame_and_wcs(path, zp_ref, saturation_divisor, own_margin, override)
        except InputError as error:
            errors.append(error)
            continue
        errors.extend(_clashes(frame, frames, same_shape=same_shape))
        if reference is None:
            reference = wcs
        elif tolerance is not None and (frame.shape == frames[0].shape or not same_shape):
            try:
                compare_wcs(
                    wcs,
                    reference,
                    name=str(frame.path),
                    reference_name=str(frames[0].path),
                    tolerance=tolerance,
                )
            except Mismatch as error:
                errors.append(error)
        frames.append(frame)
    if errors:
        _raise_all(errors)
    return tuple(frames) if same_shape else _on_one_grid(frames, margin)


def _on_one_grid(frames: list[Frame], margin: int) -> tuple[Frame, ...]:
    """Return the frames as parts of one that holds all of them, then cropped."""
    shape = common_shape([frame.shape for frame in frames])
    box = crop_box(shape, margin) if margin else Box.of_shape(shape)
    return tuple(
        replace(f, shape=shape, box=box, data_shape=None if f.shape == shape else f.shape)
        for f in frames
    )


def _clashes(frame: Frame, earlier: list[Frame], *, same_shape: bool) -> list[Mismatch]:
    found = (_check_band(frame, earlier), _check_shape(frame, earlier) if same_shape else None)
    return [problem for problem in found if problem is not None]


def _check_band(frame: Frame, earlier: list[Frame]) -> Mismatch | None:
    twin = next((f for f in earlier if f.band == frame.band), None)
    if twin is None:
        return None
    return Mismatch(
        f"FILTER '{frame.band}' stands in both {twin.path} and {frame.path}; one image per band: "
        "remove one from the image list or rename its band",
        band=frame.band,
        files=(str(twin.path), str(frame.path)),
    )


def _check_shape(frame: Frame, earlier: list[Frame]) -> Mismatch | None:
    if not earlier or frame.shape == earlier[0].shape:
        return None
    first = earlier[0]
    return Mismatch(
        f"Image shape mismatch: {frame.path} has {frame.shape[1]} x {frame.shape[0]} pixels, "
        f"{first.path} has {first.shape[1]} x {first.shape[0]}; re-register the images onto one "
        "grid, or set checks.require_same_shape: false if their lower left pixels are the same",
        file=str(frame.path),
        shape=frame.shape,
        reference_shape=first.shape,
    )


def _raise_all(errors: list[InputError]) -> NoReturn:
    if len(errors) == 1:
        raise errors[0]
    messages = [error.message for error in errors]
    raise type(errors[0])("\n".join(messages), problems=messages)
