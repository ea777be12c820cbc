"""Catalogues in the three vocabularies, written by astropy: an oracle that is not our writer."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

RADII = (3.0, 4.5, 6.0)
N = 6


def values(seed: int = 3) -> dict[str, np.ndarray]:
    """Return the same sources for all vocabularies."""
    rng = np.random.default_rng(seed)
    covariance = rng.uniform(0.1, 1.0, (N, 3)).astype(np.float32)
    return {
        "id": np.arange(10, 10 + N),
        "coord": rng.uniform(0, 1, (N, 2)),
        "centroid": rng.uniform(0, 100, (N, 2)),
        "covariance": covariance,
        "moments": np.stack([rng.uniform(4, 9, N), rng.uniform(1, 3, N), rng.uniform(-1, 1, N)], 1),
        "psf": rng.uniform(-10, 1000, N),
        "psf_err": rng.uniform(1, 10, N),
        "apertures": rng.uniform(1, 1000, (N, 3)).astype(np.float32),
        "flags": rng.random((N, 11)) < 0.4,
    }


FLAG_NAMES = {
    0: [
        "flux.psf.flags", "centroid.sdss.flags", "flags.pixel.edge", "flags.pixel.saturated.any",
        "flags.pixel.saturated.center", "flags.pixel.interpolated.any", "flags.pixel.cr.any",
        "flags.pixel.bad", "flags.pixel.suspect.any", "calib.psf.used", "flags.negative",
    ],
    3: [
        "base_PsfFlux_flag", "base_SdssCentroid_flag", "base_PixelFlags_flag_edge",
        "base_PixelFlags_flag_saturated", "base_PixelFlags_flag_saturatedCenter",
        "base_PixelFlags_flag_interpolated", "base_PixelFlags_flag_cr", "base_PixelFlags_flag_bad",
        "base_PixelFlags_flag_suspect", "calib_psf_used", "flags_negative",
    ],
}  # fmt: skip


def write_version(path: Path, version: int, *, underscores: bool = False) -> dict[str, np.ndarray]:
    """Write a catalogue of table version 0 (dotted), 1, 2 or 3 with astropy."""
    v = values()
    names = FLAG_NAMES[0 if version == 0 else 3]
    columns = [
        fits.Column("flags", f"{len(names)}X", array=v["flags"]),
        fits.Column("id", "1K", array=v["id"]),
    ]
    classes = ["", "Scalar"]
    if version == 0:
        columns += [
            fits.Column("coord", "2D", array=v["coord"], unit="radians"),
            fits.Column("centroid.sdss", "2D", array=v["centroid"], unit="pixels"),
            fits.Column("centroid.sdss.err", "3E", array=v["covariance"], unit="pixels^2"),
            fits.Column("shape.sdss", "3D", array=v["moments"], unit="pixels^2"),
            fits.Column("flux.psf", "1D", array=v["psf"], unit="dn"),
            fits.Column("flux.psf.err", "1D", array=v["psf_err"], unit="dn"),
            fits.Column("flux.aperture", "3E", array=v["apertures"], unit="dn"),
        ]
        classes += [
            "Coord", "Point", "Covariance(Point)", "Moments", "Scalar", "Scalar", "Array",
        ]  # fmt: skip
    else:
        flux, err = ("instFlux", "instFluxErr") if version == 3 else ("flux", "fluxErr")
        sigma = "Sigma" if version == 1 else "Err"
        err = "fluxSigma" if version == 1 else err
        columns += [
            fits.Column("coord_ra", "1D", array=v["coord"][:, 0], unit="rad"),
            fits.Column("coord_dec", "1D", array=v["coord"][:, 1], unit="rad"),
            fits.Column("base_SdssCentroid_x", "1D", array=v["centroid"][:, 0], unit="pixel"),
            fits.Column("base_SdssCentroid_y", "1D", array=v["centroid"][:, 1], unit="pixel"),
            fits.Column(f"base_SdssCentroid_x{sigma}", "1E", array=np.sqrt(v["covariance"][:, 0])),
            fits.Column(f"base_SdssCentroid_y{sigma}", "1E", array=np.sqrt(v["covariance"][:, 2])),
            fits.Column("base_SdssShape_xx", "1D", array=v["moments"][:, 0], unit="pixel^2"),
            fits.Column("base_SdssShape_yy", "1D", array=v["moments"][:, 1], unit="pixel^2"),
            fits.Column("base_SdssShape_xy", "1D", array=v["moments"][:, 2], unit="pixel^2"),
            fits.Column(f"base_PsfFlux_{flux}", "1D", array=v["psf"], unit="count"),
            fits.Column(f"base_PsfFlux_{err}", "1D", array=v["psf_err"], unit="count"),
        ]
        columns += [
            fits.Column(
                f"base_CircularApertureFlux_{radius:.1f}_{flux}".replace(".", "_"),
                "1E",
                array=v["apertures"][:, i],
                unit="count",
            )
            for i, radius in enumerate(RADII)
        ]
        classes += ["Angle", "Angle"] + ["Scalar"] * 12
    hdu = fits.BinTableHDU.from_columns(columns)
    header = hdu.header
    header["FLAGCOL"] = 1
    for bit, name in enumerate(names, start=1):
        header[f"TFLAG{bit}"] = (name.replace(".", "_") if underscores else name, f"doc of {bit}")
    for number, kind in enumerate(classes, start=1):
        if kind:
            header[f"TCCLS{number}"] = kind
        if underscores:
            header[f"TTYPE{number}"] = header[f"TTYPE{number}"].replace(".", "_")
    if version == 0:
        header["PSF_FLUX_SLOT"] = "flux.psf"
        header["CENTROID_SLOT"] = "centroid.sdss"
        header["SHAPE_SLOT"] = "shape.sdss"
        for radius in RADII:
            header.append(("HIERARCH flux.aperture.radii", radius), end=True)
    else:
        header["AFW_TABLE_VERSION"] = version
        for slot, target in (("PsfFlux", "PsfFlux"), ("Centroid", "SdssCentroid"),
                             ("Shape", "SdssShape")):  # fmt: skip
            header.append(("ALIAS", f"slot_{slot}:base_{target}"), end=True)
    header["AFW_TYPE"] = "SOURCE"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path, overwrite=True)
    return v
