"""World coordinates: projections that survive NaN, crops, scales, and the alignment check.

Pixels are 0-based with integer centres; sky positions are degrees.
"""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS, DistortionLookupTable, NoConvergence, Sip
from astropy.wcs.utils import proj_plane_pixel_scales

from skyloom._types import Floats
from skyloom.errors import Mismatch
from skyloom.geometry.box import Box

__all__ = [
    "WcsTolerance",
    "compare_wcs",
    "cropped_wcs",
    "jacobian_of",
    "pixel_scale",
    "pixel_to_sky",
    "sky_jacobian",
    "sky_to_pixel",
    "wcs_snapshot_header",
]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class WcsTolerance:
    """Largest absolute differences at which two WCS count as the same grid."""

    crval: float = 1e-6  # deg
    crpix: float = 1e-6  # pix
    cd: float = 1e-9  # deg/pix for CD, dimensionless for PC
    cdelt: float = 1e-9  # deg/pix


def sky_to_pixel(wcs: WCS, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    """Project sky positions, distortions included.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS.
    ra, dec : ndarray, shape (n,)
        Positions [deg]; NaN is allowed.

    Returns
    -------
    x, y : ndarray, shape (n,)
        Pixel positions; NaN where the input is not finite or cannot be projected.
    """
    ra, dec = np.asarray(ra, dtype=np.float64), np.asarray(dec, dtype=np.float64)
    xy = np.full((ra.size, 2), np.nan)
    rows = np.flatnonzero(np.isfinite(ra) & np.isfinite(dec) & (np.abs(dec) <= 90))
    # The inverse of a distortion is iterative and would diverge far from the image: first keep
    # the positions on the near side of the sky.
    if rows.size:
        lon, lat = np.deg2rad(ra[rows]), np.deg2rad(dec[rows])
        lon0, lat0 = np.deg2rad(np.asarray(wcs.wcs.crval)[[wcs.wcs.lng, wcs.wcs.lat]])
        near = np.sin(lat) * np.sin(lat0) + np.cos(lat) * np.cos(lat0) * np.cos(lon - lon0) > 0
        rows = rows[near]
    if rows.size:
        world = np.column_stack([ra[rows], dec[rows]])
        try:
            with _equatorial(wcs):
                xy[rows] = wcs.all_world2pix(world, 0, ra_dec_order=True)
        except NoConvergence as failure:
            solution = np.array(failure.best_solution)
            for lost in (failure.divergent, failure.slow_conv):
                if lost is not None:
                    solution[lost] = np.nan
            xy[rows] = solution
    return xy[:, 0].copy(), xy[:, 1].copy()


def pixel_to_sky(wcs: WCS, x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """Return the sky positions [deg] of pixel positions; NaN in, NaN out."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    sky = np.full((x.size, 2), np.nan)
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if rows.size:
        with _equatorial(wcs):
            sky[rows] = wcs.all_pix2world(np.column_stack([x[rows], y[rows]]), 0, ra_dec_order=True)
    return sky[:, 0].copy(), sky[:, 1].copy()


@contextmanager
def _equatorial(wcs: WCS) -> Iterator[None]:
    """Say what is wrong with a WCS of galactic or ecliptic coordinates."""
    try:
        yield
    except ValueError as error:
        if "longitude type" not in str(error):
            raise
        axes = " and ".join(wcs.wcs.ctype)
        raise Mismatch(
            f"the WCS gives {axes}, right ascension and declination are needed; reproject the "
            "image, or give it a WCS in RA and DEC",
            ctype=tuple(wcs.wcs.ctype),
        ) from error


def sky_jacobian(wcs: WCS, x: Floats, y: Floats, *, step: float = 0.5) -> Floats:
    """Measure the local linear map from pixels to the tangent plane of the sky.

    Parameters
    ----------
    wcs : astropy.wcs.WCS
        Celestial WCS.
    x, y : ndarray, shape (n,)
        Pixel positions.
    step : float
        Half-width of the central difference [pix].

    Returns
    -------
    ndarray, shape (n, 2, 2)
        ``[[dE/dx, dE/dy], [dN/dx, dN/dy]]`` [arcsec/pix], E along increasing RA (true angle), N
        along increasing declination.
    """
    return jacobian_of(partial(pixel_to_sky, wcs), x, y, step=step)


def jacobian_of(
    to_sky: Callable[[Floats, Floats], tuple[Floats, Floats]],
    x: Floats,
    y: Floats,
    *,
    step: float = 0.5,
) -> Floats:
    """Measure the local linear map of a function from pixels to RA and Dec; see `sky_jacobian`."""
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    _, dec0 = to_sky(x, y)
    jacobian = np.empty((x.size, 2, 2))
    for axis, (dx, dy) in enumerate(((step, 0.0), (0.0, step))):
        ra_hi, dec_hi = to_sky(x + dx, y + dy)
        ra_lo, dec_lo = to_sky(x - dx, y - dy)
        d_ra = (ra_hi - ra_lo + 180.0) % 360.0 - 180.0
        jacobian[:, 0, axis] = d_ra * np.cos(np.deg2rad(dec0)) * 3600 / (2 * step)
        jacobian[:, 1, axis] = (dec_hi - dec_lo) * 3600 / (2 * step)
    return jacobian


def pixel_scale(wcs: WCS) -> float:
    """Return the median of the projected pixel scales at the reference point [arcsec/pix]."""
    return float(np.median(proj_plane_pixel_scales(wcs.celestial)) * 3600)


def cropped_wcs(wcs: WCS, box: Box) -> WCS:
    """Return the WCS of ``image[box.slices]``: the same sky, pixel origin at the box corner.

    CRPIX, the SIP origin and the distortion tables move together, so that the distortions stay
    on the sky where they were.
    """
    moved = copy.deepcopy(wcs)
    shift = np.array([box.x0, box.y0], dtype=np.float64)
    moved.wcs.crpix = np.asarray(wcs.wcs.crpix) - shift
    if wcs.sip is not None:
        sip = wcs.sip
        moved.sip = Sip(sip.a, sip.b, sip.ap, sip.bp, np.asarray(sip.crpix) - shift)
    for name in ("cpdis1", "cpdis2", "det2im1", "det2im2"):
        table = getattr(wcs, name)
        if table is not None:
            origin = tuple(np.asarray(table.crval) - shift)
            setattr(
                moved, name, DistortionLookupTable(table.data, table.crpix, origin, table.cdelt)
            )
    moved.pixel_shape = (box.width, box.height)
    moved.wcs.set()
    return moved


def wcs_snapshot_header(wcs: WCS) -> fits.Header:
    """Return the header of ``wcs.fits``: the working WCS with relaxed keywords (SIP survives)."""
    header = wcs.to_header(relax=True)
    for unwanted in ("DATE", "DATE-REF", "MJDREF"):
        header.remove(unwanted, ignore_missing=True)
    return header


def _differences(wcs: WCS, reference: WCS, tolerance: WcsTolerance) -> list[str]:
    """List in words what differs by more than the tolerance."""
    a, b = wcs.wcs, reference.wcs
    if list(a.ctype) != list(b.ctype):
        return [f"CTYPE {'/'.join(a.ctype)} is not {'/'.join(b.ctype)}"]
    if a.has_cd() != b.has_cd():
        return ["only one of the two headers has a CD matrix"]
    crval = np.asarray(a.crval) - np.asarray(b.crval)
    checks = [
        ("CRVAL", (crval + 180.0) % 360.0 - 180.0, tolerance.crval, "deg"),
        ("CRPIX", np.asarray(a.crpix) - np.asarray(b.crpix), tolerance.crpix, "pix"),
    ]
    if a.has_cd():
        checks.append(("CD", np.asarray(a.cd) - np.asarray(b.cd), tolerance.cd, "deg/pix"))
    else:
        cdelt = np.asarray(a.cdelt) - np.asarray(b.cdelt)
        checks.append(("CDELT", cdelt, tolerance.cdelt, "deg/pix"))
        pc = np.asarray(a.get_pc()) - np.asarray(b.get_pc())
        checks.append(("PC", pc, tolerance.cd, ""))
    found = []
    for name, difference, limit, unit in checks:
        worst = float(np.max(np.abs(difference)))
        if not worst <= limit:
            found.append(f"{name} differs by {worst:.3g} {unit}".rstrip() + f" (limit {limit:.3g})")
    return found


def compare_wcs(
    wcs: WCS,
    reference: WCS,
    *,
    name: str,
    reference_name: str,
    tolerance: WcsTolerance | None = None,
) -> None:
    """Check that two images lie on the same pixel grid.

    CRVAL, CRPIX and CTYPE are compared, and CD, or else CDELT and PC.  Distortion coefficients
    are not compared.

    Parameters
    ----------
    wcs, reference : astropy.wcs.WCS
        The WCS to check and the one of the first image.
    name, reference_name : str
        What to call them in the message (file names).
    tolerance : WcsTolerance, optional
        Absolute tolerances.

    Raises
    ------
    Mismatch
        If anything differs by more than its tolerance.
    """
    found = _differences(wcs, reference, tolerance or WcsTolerance())
    if not found:
        return
    what = "; ".join(found)
    log.warning("[CHECK] WCS alignment FAILED for %s: %s", name, what)
    message = (
        f"WCS mismatch with reference: {name} against {reference_name}: {what}; "
        "re-register the image, or loosen checks.wcs_tolerance knowingly"
    )
    raise Mismatch(message, file=name, reference=reference_name, differences=tuple(found))
