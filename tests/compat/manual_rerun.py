"""A rerun that has what the listings of the HSC manual ask for: one CCD with eight stars."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.butler import Butler
from skyloom.catalogs import Field, Schema, SourceCatalog
from skyloom.images import (
    Background,
    BackgroundList,
    Exposure,
    ExposureF,
    ExposureI,
    Image,
    KernelPsf,
    MaskedImage,
    measure_background,
)

ID = {"visit": 1234, "ccd": 56, "pointing": 705, "filter": "HSC-I"}
RAW = {**ID, "field": "COSMOS", "dateObs": "2014-03-31", "taiObs": "2014-03-31T10:00:00"}
COADD = {"tract": 9813, "patch": "4,4", "filter": "HSC-I"}
TRACT = 9813
SHAPE = (400, 600)  # pix
ZEROPOINT = 27.0  # mag of one count
SCALE = 0.168  # arcsec/pix
TURN = 30.0  # deg, of the sky against the CCD
MOMENTS = (9.0, 4.0, 1.5)  # pix**2: ixx, iyy, ixy of all stars
SKY = (1000.0, 0.05, -0.02)  # counts; its slopes per pixel in x and y
SLOTS = {
    "Centroid": "SdssCentroid",
    "Shape": "SdssShape",
    "PsfFlux": "PsfFlux",
    "ApFlux": "CircularApertureFlux_12_0",
}
FCR = (0.05, 1e-4)  # mag; its slope per pixel in x


@dataclass(frozen=True)
class Stars:
    """What was put into the CCD."""

    x: np.ndarray  # pix
    y: np.ndarray  # pix
    flux: np.ndarray  # count
    is_psf_star: np.ndarray

    @property
    def mag(self) -> np.ndarray:
        return ZEROPOINT - 2.5 * np.log10(self.flux)


STARS = Stars(
    x=np.array([60.3, 150.1, 230.8, 310.4, 390.6, 455.2, 520.7, 560.9]),
    y=np.array([50.6, 220.4, 340.2, 90.7, 260.3, 150.8, 320.5, 60.1]),
    flux=np.array([9e3, 3e5, 2e4, 5e4, 8e4, 1.5e4, 4e4, 6e4]),
    is_psf_star=np.array([False, True, True, True, True, False, True, True]),
)


def sky_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 2.0]
    wcs.wcs.crpix = [SHAPE[1] / 2, SHAPE[0] / 2]
    cos, sin = np.cos(np.radians(TURN)), np.sin(np.radians(TURN))
    wcs.wcs.cd = SCALE / 3600 * np.array([[-cos, sin], [sin, cos]])
    return wcs


def exposure() -> Exposure:
    """Stars with elliptical Gaussian profiles, the sky taken off."""
    rng = np.random.default_rng(11)
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    ixx, iyy, ixy = MOMENTS
    determinant = ixx * iyy - ixy**2
    made = ExposureF(SHAPE[1], SHAPE[0])
    for x0, y0, flux in zip(STARS.x, STARS.y, STARS.flux, strict=True):
        dx, dy = x - x0, y - y0
        square = (iyy * dx**2 - 2 * ixy * dx * dy + ixx * dy**2) / determinant
        profile = np.exp(-square / 2) / (2 * np.pi * np.sqrt(determinant))
        made.image.array += (flux * profile).astype(np.float32)
    made.image.array += rng.normal(0.0, 10.0, SHAPE).astype(np.float32)
    made.variance.array[:] = 100.0
    for plane, bad in (
        ("DETECTED", made.image.array > 60),
        ("SAT", made.image.array > 5000),
        ("CR", (y == 200) & (x > 20) & (x < 40)),
    ):
        made.mask.array[bad] |= made.mask.get_plane_bit_mask(plane)
    v, u = np.mgrid[-12:13, -12:13]
    made.psf = KernelPsf(np.exp(-(u**2 + v**2) / 8.0)[None])
    made.wcs = sky_wcs()
    cards = {"FLUXMAG0": 10 ** (0.4 * ZEROPOINT), "EXPTIME": 30.0, "FILTER": "HSC-I", "DET-ID": 56}
    made.metadata.update(cards)
    return made


def background() -> BackgroundList:
    """What was taken off: a slope, and a level."""
    y, x = np.mgrid[: SHAPE[0], : SHAPE[1]]
    slope = MaskedImage(Image((SKY[1] * x + SKY[2] * y).astype(np.float32)))
    level = MaskedImage(Image(np.full((1, 1), SKY[0], np.float32)))
    one = measure_background(slope, (6, 5))
    return BackgroundList([one, Background(cells=level, box=one.box, curve="constant")])


def sources() -> SourceCatalog:
    """The stars, with names of table version 1."""
    names = ["flux", "fluxErr"]
    fields = [
        Field("id", "L", "unique ID"),
        Field("coord_ra", "Angle", "position in ra/dec", "rad"),
        Field("coord_dec", "Angle", "position in ra/dec", "rad"),
        Field("parent", "L", "unique ID of parent source"),
        Field("deblend_nChild", "I", "number of children"),
        *(Field(f"base_SdssCentroid_{a}", "D", "centroid", "pixel") for a in "xy"),
        *(Field(f"base_SdssShape_{a}", "D", "moment", "pixel^2") for a in ("xx", "yy", "xy")),
        *(Field(f"base_PsfFlux_{a}", "D", "flux of the PSF", "count") for a in names),
        *(Field(f"base_CircularApertureFlux_{r}_{a}", "D", "", "count")
          for r in ("3_0", "12_0") for a in names),
        Field("base_ClassificationExtendedness_value", "D", "0: star, 1: galaxy"),
        Field("calib_psf_used", "Flag", "PSF star"),
        Field("base_PixelFlags_flag_edge", "Flag", "near the edge"),
    ]  # fmt: skip
    made = SourceCatalog.empty(Schema(fields), len(STARS.x))
    made["id"] = np.arange(len(STARS.x)) + 1001
    made["base_SdssCentroid_x"], made["base_SdssCentroid_y"] = STARS.x, STARS.y
    ra, dec = sky_wcs().all_pix2world(STARS.x, STARS.y, 0)
    made["coord_ra"], made["coord_dec"] = np.radians(ra), np.radians(dec)
    for name, value in zip(("xx", "yy", "xy"), MOMENTS, strict=True):
        made[f"base_SdssShape_{name}"] = np.full(len(STARS.x), value)
    for name in ("base_PsfFlux", "base_CircularApertureFlux_3_0", "base_CircularApertureFlux_12_0"):
        made[f"{name}_flux"], made[f"{name}_fluxErr"] = STARS.flux, np.sqrt(STARS.flux) + 50
    made["calib_psf_used"] = STARS.is_psf_star
    for slot, target in SLOTS.items():
        made.define_slot(slot, f"base_{target}")
    return made


def meas_mosaic_cards() -> fits.Header:
    """Cards of a correction as the mosaic task writes them."""
    cards = fits.Header({"ORDER": 1, "ABSOLUTE": True, "NCOEFF": 3, "U_MAX": 2000.0})
    cards["HIERARCH CHEBYSHEV"] = False
    cards.update({"V_MAX": 1000.0, "X0": 100.0, "Y0": -50.0})
    cards.update({"C_0_0": FCR[0] - 100.0 * FCR[1], "C_1_0": 2000.0 * FCR[1], "C_0_1": 0.0})
    return cards


def fill(root: Path) -> Path:
    """Make the rerun in a data root, with the calibrations; return its directory."""
    rerun = root / "rerun" / "myrerun"
    one = exposure()
    with Butler(root, "hsc", writeable=True) as data:
        data.put(one, "raw", RAW)
        for kind in ("bias", "dark", "flat", "fringe"):
            filter_ = {"filter": "HSC-I"} if kind in {"flat", "fringe"} else {}
            when = {"calibDate": "2014-03-30", "validStart": "2014-03-01", "validEnd": "2014-05-01"}
            data.put(ExposureF(60, 40), kind, ccd=56, **when, **filter_)
    with Butler(rerun, "hsc", writeable=True) as butler:
        for name in ("calexp", "postISRCCD"):
            butler.put(one, name, ID)
        butler.put(background(), "calexpBackground", ID)
        for name in ("src", "icSrc"):
            butler.put(sources(), name, ID)
        empty = ExposureI(3, 2)
        empty.metadata = fits.Header({"FLUXMAG0": 10**10.8})
        empty.metadata.update(meas_mosaic_cards())
        butler.put(empty, "fcr", ID, tract=TRACT)
        butler.put(Exposure(empty.masked_image, wcs=sky_wcs()), "wcs", ID, tract=TRACT)
        butler.put(one, "deepCoadd_calexp", COADD)
        for name in ("deepCoadd_src", "deepCoadd_meas", "deepCoadd_forced_src"):
            butler.put(sources(), name, COADD)
    return rerun
