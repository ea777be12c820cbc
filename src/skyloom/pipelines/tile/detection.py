"""The input catalogue for users who have only images: detection on the white stack."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Pixels
from skyloom.butler import write_atomic
from skyloom.catalogs import read_image_list, text_array, write_csv
from skyloom.detect.catalogue import Detections, DetectOptions, detect_sources
from skyloom.detect.saturation import find_plateau, saturated_pixels
from skyloom.errors import OutputExists
from skyloom.geometry import pixel_to_sky
from skyloom.images import (
    Frame,
    MaskBit,
    frame_wcs,
    pixels_and_mask,
    scaled_pixels,
)

from .config import TileConfig, require_inputs
from .load import read_tile_frames, warn_of_crop, white_frames, white_of
from .noise import SkyNoise, noise_by_choice, stated_noise
from .saturation import MIN_SNR

__all__ = [
    "DetectedCatalog",
    "check_output",
    "detect_catalog",
    "detect_to_file",
    "given_options",
    "write_catalog",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectedCatalog:
    """An input catalogue, as text columns, and how it came about."""

    table: Table
    detections: Detections
    fwhm: float  # pix, of the matched filter
    frame: Frame  # whose working pixels are those of the stack

    def summary(self) -> str:
        """Say what was found in a few lines."""
        found = self.detections
        kinds = ", ".join(f"{n} {name}" for name, n in self.counts().items())
        spurious = f"{found.n_negative} as significant on the negative image"
        stars = f"{found.n_stars} stars tell the PSF: half-light radius {found.r50_star:.2f} pix"
        if found.n_stars == 0:
            stars = "no star recognised: sizes are compared with the FWHM of the headers"
        return f"{len(self.table)} sources ({kinds}); {spurious}\n{stars}"

    def counts(self) -> dict[str, int]:
        """Return the number of sources of each TYPE."""
        names, numbers = np.unique(np.asarray(self.table["TYPE"]), return_counts=True)
        return {str(name): int(n) for name, n in zip(names, numbers, strict=True)}


def detect_catalog(config: TileConfig, *, options: DetectOptions | None = None) -> DetectedCatalog:
    """Detect sources on the stack of the bands, within the working frame.

    Parameters
    ----------
    config : TileConfig
        Needs the image list; the input catalogue need not exist.
    options : DetectOptions, optional
        Thresholds.

    Returns
    -------
    DetectedCatalog
        Columns ID, RA, DEC [deg], TYPE, ELL, THETA [deg, counter-clockwise from +x], Re [pix],
        SNR, R50 [pix, as observed].  Fluxes are left out: the fit solves for them exactly and
        needs no start.

    Raises
    ------
    UserMistake
        If images are missing or their headers cannot be used.
    Unprocessable
        If detection fails.
    """
    require_inputs(config, ["inputs.image_list_file"])
    paths = read_image_list(config.inputs.image_list_file, base=config.directory)
    frames = list(read_tile_frames(list(paths), config))
    warn_of_crop(frames[0])
    noise = [stated_noise(frame) for frame in frames]
    noise = [noise_by_choice(band, config) for band in noise]
    white_bands = {frame.band for frame in white_frames(frames, config)}
    stacked = [band for band in noise if band.frame.band in white_bands]
    fwhm = filter_fwhm(stacked, config.patch_run.fallback_default_fwhm_pix)
    white = white_of([band.frame for band in stacked], stacked)
    bad = ~np.isfinite(white.image)
    divisor = max(1.0, config.source_saturation_cut.saturation_divisor)
    found = detect_sources(
        white.image,
        white.sigma,
        bad=bad,
        saturated=_saturated(noise, white.image, white.sigma, fwhm=fwhm, divisor=divisor),
        fwhm=fwhm,
        options=options,
    )
    return DetectedCatalog(
        table=_catalog(found.table, frames[0]), detections=found, fwhm=fwhm, frame=frames[0]
    )


def filter_fwhm(noise: list[SkyNoise], default: float) -> float:
    """Return the FWHM of the white image [pix]: that of the bands, weighted as in the stack."""
    weight = np.array([1.0 / max(n.level**2, 1e-12) for n in noise])
    fwhm = np.array([n.frame.fwhm_pix or default for n in noise])
    return float(np.clip((weight * fwhm).sum() / weight.sum(), 1.5, 20.0))


def _saturated(
    noise: list[SkyNoise], white: Pixels, sigma: Pixels, *, fwhm: float, divisor: float
) -> Bools:
    """Return the pixels that are saturated in a band, or part of a flat top of its brightest."""
    y, x = _peaks(white, sigma, radius=max(3, round(2 * fwhm)))
    full = np.zeros(white.shape, dtype=bool)
    for band in noise:
        frame = band.frame
        raw, mask = pixels_and_mask(frame)
        full |= (mask & np.uint8(MaskBit.SATURATED)) != 0
        image = scaled_pixels(raw, frame)
        plateau = find_plateau(
            image,
            x,
            y,
            fwhm=frame.fwhm_pix or fwhm,
            min_peak=MIN_SNR * band.level,
            divisor=divisor,
        )
        full |= saturated_pixels(image, plateau.level)
    return full


def _peaks(white: Pixels, sigma: Pixels, *, radius: int) -> tuple[np.ndarray, np.ndarray]:
    """Return y and x of the bright local maxima, one within each ``radius`` [pix]."""
    with np.errstate(invalid="ignore", divide="ignore"):
        bright = np.nan_to_num(white) > MIN_SNR * np.where(np.isfinite(sigma), sigma, np.inf)
    rows, columns = np.nonzero(bright)
    order = np.argsort(-white[rows, columns], kind="stable")
    taken = np.zeros(white.shape, dtype=bool)
    keep = []
    for k in order:
        r, c = rows[k], columns[k]
        if not taken[r, c]:
            keep.append((r, c))
            taken[max(0, r - radius) : r + radius + 1, max(0, c - radius) : c + radius + 1] = True
    found = np.array(keep, dtype=np.float64).reshape(-1, 2)
    return found[:, 0], found[:, 1]


def _catalog(table: Table, frame: Frame) -> Table:
    """Return the columns of an input catalogue."""
    ra, dec = pixel_to_sky(frame_wcs(frame), np.asarray(table["x"]), np.asarray(table["y"]))
    width = max(5, len(str(len(table))))
    return Table(
        {
            "ID": text_array([f"{number:0{width}d}" for number in range(1, len(table) + 1)]),
            "RA": _text(ra, 8),
            "DEC": _text(dec, 8),
            "TYPE": text_array([str(t) for t in table["type"]]),
            "ELL": _text(table["ell"], 3),
            "THETA": _text(table["theta"], 1),
            "Re": _text(table["re"], 3),
            "SNR": _text(table["snr"], 1),
            "R50": _text(table["r50"], 3),
        }
    )


def _text(values: object, digits: int) -> np.ndarray:
    numbers = np.asarray(values, dtype=np.float64)
    return text_array([f"{v:.{digits}f}" if np.isfinite(v) else "" for v in numbers])


def detect_to_file(
    config: TileConfig, path: Path, *, force: bool = False, **options: float | None
) -> DetectedCatalog:
    """Detect sources and write the catalogue; see `detect_catalog` and `write_catalog`.

    Parameters
    ----------
    config : TileConfig
        Needs the image list.
    path : Path
        CSV file.
    force : bool
        Overwrite it.
    **options
        Fields of `DetectOptions`; None: its default.
    """
    check_output(path, force=force)
    catalog = detect_catalog(config, options=given_options(options))
    write_catalog(catalog, path, force=force)
    return catalog


def given_options(options: Mapping[str, float | None]) -> DetectOptions:
    """Return the options of a command line; None: the default."""
    given: dict[str, Any] = {name: value for name, value in options.items() if value is not None}
    return DetectOptions(**given)


def check_output(path: Path, *, force: bool) -> None:
    """Refuse to overwrite a catalogue, before any work.

    Raises
    ------
    OutputExists
        If the file exists and ``force`` is not given.
    """
    if path.exists() and not force:
        raise OutputExists(
            f"{path}: exists already; add --force to overwrite it, or choose another --out",
            path=path,
        )


def write_catalog(catalog: DetectedCatalog, path: Path, *, force: bool = False) -> None:
    """Write the catalogue as CSV, under a temporary name first.

    Raises
    ------
    OutputExists
        If the file exists and ``force`` is not given.
    Unwritable
        If it cannot be written.
    """
    check_output(path, force=force)
    write_atomic(path, lambda part: write_csv(catalog.table, part))
