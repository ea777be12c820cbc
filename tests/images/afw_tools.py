"""Makers of exposures and archives for the tests of afw files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.wcs import WCS, Sip

from skyloom.images import (
    ChebyshevFunction,
    Exposure,
    FilterLabel,
    Image,
    KernelPsf,
    Mask,
    MaskedImage,
    PhotoCalib,
    PolynomialFunction,
)

PLANES = {"BAD": 0, "SAT": 1, "CR": 3, "DETECTED": 5, "VERY_LONG_NAME_OF_A_PLANE": 31}


def sky(x0: int = 0, y0: int = 0) -> WCS:
    """Return a TAN-SIP WCS about pixel (40, 30) of an array with its first pixel at x0, y0."""
    wcs = WCS(naxis=2)
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = [41.0 - x0, 31.0 - y0]
    wcs.wcs.cd = [[-4.6e-5, 1e-6], [1e-6, 4.6e-5]]
    wcs.wcs.ctype = ["RA---TAN-SIP", "DEC--TAN-SIP"]
    a, b = np.zeros((3, 3)), np.zeros((3, 3))
    a[2, 0], b[0, 2] = 1e-6, -2e-6
    zero = np.zeros((3, 3))
    wcs.sip = Sip(a, b, zero, zero, wcs.wcs.crpix)
    wcs.wcs.set()
    return wcs


def sample(width: int = 50, height: int = 40, xy0: tuple[int, int] = (1000, -20)) -> Exposure:
    """Return an exposure with something in every part."""
    rng = np.random.default_rng(width)
    shape = (height, width)
    pixels = rng.normal(size=shape).astype(np.float32)
    pixels[0, 0], pixels[1, 1] = np.nan, np.inf
    bits = (rng.integers(0, 2, shape) << 31 | rng.integers(0, 64, shape)).astype(np.uint32)
    exposure = Exposure(
        MaskedImage(
            Image(pixels, xy0=xy0),
            Mask(bits.view(np.int32), planes=PLANES, xy0=xy0),
            Image(rng.uniform(1, 2, shape).astype(np.float32), xy0=xy0),
        ),
        wcs=sky(*xy0),
        photo_calib=PhotoCalib.from_zeropoint(27.0),
        filter=FilterLabel(band="i", physical="HSC-I2"),
    )
    exposure.image.metadata["BUNIT"] = "adu"
    fill_metadata(exposure)
    return exposure


def fill_metadata(exposure: Exposure) -> None:
    """Add cards of every kind, duplicates among them."""
    metadata = exposure.metadata
    metadata["OBJECT"] = ("M 31", "what it shows")
    metadata.append(("HIERARCH long keyword of theirs", 1.5), end=True)
    metadata["LONGTEXT"] = "much " * 40
    for text in ("first", "second", "first"):
        metadata.add_history(text)
        metadata.add_comment(text)
    metadata.append(("TWICE", 1), end=True)
    metadata.append(("BETWEEN", True), end=True)
    metadata.append(("TWICE", 2), end=True)
    metadata["FLUXMAG0"] = 5.0


def same_planes(a: Exposure, b: Exposure) -> bool:
    """Tell whether all planes agree byte for byte, in type and in place."""
    return all(
        getattr(a, name).array.tobytes() == getattr(b, name).array.tobytes()
        and getattr(a, name).array.dtype == getattr(b, name).array.dtype
        and getattr(a, name).box == getattr(b, name).box
        for name in ("image", "mask", "variance")
    )


def cards(header) -> list[str]:
    return [str(card) for card in header.cards]


def real(shared_data: Path, name: str) -> Path:
    """Return the path of a real afw file."""
    return shared_data / "astrometry" / "afw" / name


def gaussian(side, sigma, step=1.0, x0=0.0, y0=0.0):
    """Return a Gaussian of unit sum over the plane; sigma [pix], samples `step` apart."""
    at = (np.arange(side) - side // 2) * step
    gx, gy = np.meshgrid(at - x0, at - y0)
    return step**2 / (2 * np.pi * sigma**2) * np.exp(-(gx**2 + gy**2) / (2 * sigma**2))


def kernel_psf(side=21):
    """Return a PSF that varies with x and y."""
    images = np.stack([gaussian(side, 1.8), gaussian(side, 2.6)])
    one = ChebyshevFunction(
        coefficients=np.array([1.0, 0.1, -0.2, 0.05, 0.02, 0.01]),
        lowest=(0.0, 0.0),
        highest=(2000.0, 4000.0),
    )
    two = PolynomialFunction(coefficients=np.array([0.5, 1e-4, -5e-5]))
    return KernelPsf(images, [one, two], average_position=(1000.0, 2000.0))


def tan_wcs_fields():
    """Return the parts of an archived TanWcs with SIP terms, as files before 2018 have it."""
    from skyloom.images.afw.tables import FieldSpec as F  # noqa: PLC0415

    wcs = sky()
    first = [
        F(name="crval", form="2D", values=[wcs.wcs.crval]),
        F(name="crpix", form="2D", values=[wcs.wcs.crpix - 1.0]),
        F(name="cd", form="4D", values=[wcs.wcs.cd.ravel(order="F")]),
        F(name="ctype1", form="72A", values=["RA---TAN"]),
        F(name="ctype2", form="72A", values=["DEC--TAN"]),
        F(name="equinox", form="1D", values=[2000.0]),
        F(name="radesys", form="72A", values=["ICRS"]),
        F(name="cunit1", form="72A", values=["deg"]),
        F(name="cunit2", form="72A", values=["deg"]),
    ]
    tables = {"A": wcs.sip.a, "B": wcs.sip.b, "Ap": wcs.sip.ap, "Bp": wcs.sip.bp}
    second = [F(name=n, form="9D", values=[t.ravel(order="F")]) for n, t in tables.items()]
    return [first, second]


def coadd_objects(psf):
    """Return objects (id, class, parts) of an archive whose object 100 is the PSF of a coadd."""
    from skyloom.images.afw import encode_psf  # noqa: F401, PLC0415
    from skyloom.images.afw.encode import Encoder  # noqa: PLC0415
    from skyloom.images.afw.tables import FieldSpec as F  # noqa: PLC0415

    objects = []
    psf_id = Encoder(objects, 1).put(psf)
    corners = [(-1.0, -1.0), (300.0, -1.0), (300.0, 300.0), (-1.0, 300.0)]
    polygon = [
        F(name="vertices_x", form="1D", values=[c[0] for c in corners]),
        F(name="vertices_y", form="1D", values=[c[1] for c in corners]),
    ]
    head = [
        F(name="coaddwcs", form="1J", values=[90]),
        F(name="cachesize", form="1J", values=[10000]),
        F(name="avgpos_x", form="1D", values=[40.0]),
        F(name="avgpos_y", form="1D", values=[30.0]),
        F(name="warpingkernelname", form="32A", values=["lanczos3"]),
    ]
    rows = [
        F(name="wcs", form="1J", values=[90, 90]),
        F(name="psf", form="1J", values=[psf_id, psf_id]),
        F(name="validPolygon", form="1J", values=[91, 0]),
        F(name="id", form="1K", values=[11, 12]),
        F(name="bbox_min_x", form="1J", values=[0, 0]),
        F(name="bbox_min_y", form="1J", values=[0, 0]),
        F(name="bbox_max_x", form="1J", values=[199, 199]),
        F(name="bbox_max_y", form="1J", values=[199, 199]),
        F(name="weight", form="1D", values=[2.0, 1.0]),
    ]
    return [
        *((o[0], o[1], o[3]) for o in objects),
        (90, "TanWcs", tan_wcs_fields()),
        (91, "Polygon", [polygon]),
        (100, "CoaddPsf", [head, rows]),
    ]
