"""A tangential projection with SIP distortion: one small record, arithmetic in numpy.

astropy and wcslib read what `cards` writes; here are the parts that a fit needs many times.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from astropy.io import fits

from skyloom._types import Floats

__all__ = ["SipTerms", "TanSip", "gnomonic", "inverse_gnomonic", "sip_exponents"]

_NEWTON: Final = 30  # steps; distortions that invert at all do so in about five
_GRID: Final = 25  # points per axis on which the inverse polynomial is fitted
_INVERSE_EXTRA: Final = 2  # orders by which the inverse polynomial exceeds the forward one


def gnomonic(ra: Floats, dec: Floats, *, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Project onto the plane that touches the sky at (ra0, dec0).

    Parameters
    ----------
    ra, dec : ndarray
        Positions [deg].
    ra0, dec0 : float
        Tangent point [deg].

    Returns
    -------
    xi, eta : ndarray
        Standard coordinates [deg], east and north; NaN beyond 90 deg from the tangent point.
    """
    lon, lat, lat0 = np.radians(ra - ra0), np.radians(dec), np.radians(dec0)
    away = np.sin(lat0) * np.sin(lat) + np.cos(lat0) * np.cos(lat) * np.cos(lon)
    away = np.where(away > 1e-6, away, np.nan)
    xi = np.cos(lat) * np.sin(lon) / away
    eta = (np.cos(lat0) * np.sin(lat) - np.sin(lat0) * np.cos(lat) * np.cos(lon)) / away
    return np.degrees(xi), np.degrees(eta)


def inverse_gnomonic(xi: Floats, eta: Floats, *, ra0: float, dec0: float) -> tuple[Floats, Floats]:
    """Return ra, dec [deg] of standard coordinates [deg]; the inverse of `gnomonic`."""
    east, north, lat0 = np.radians(xi), np.radians(eta), np.radians(dec0)
    x = np.cos(lat0) - north * np.sin(lat0)
    ra = ra0 + np.degrees(np.arctan2(east, x))
    dec = np.degrees(np.arctan2(np.sin(lat0) + north * np.cos(lat0), np.hypot(east, x)))
    return np.mod(ra, 360.0), dec


def sip_exponents(order: int, *, lowest: int = 0) -> list[tuple[int, int]]:
    """Return the exponents (p, q) of u^p v^q with lowest <= p + q <= order, in rising order."""
    return [(n - q, q) for n in range(lowest, order + 1) for q in range(n + 1)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SipTerms:
    """The two polynomials of a SIP distortion; coefficients by exponents of u and v [pix]."""

    order: int
    a: Mapping[tuple[int, int], float]
    b: Mapping[tuple[int, int], float]

    def shift(self, u: Floats, v: Floats) -> tuple[Floats, Floats]:
        """Return f(u, v), g(u, v) [pix]."""
        f, g = np.zeros_like(u), np.zeros_like(v)
        for (p, q), value in self.a.items():
            f = f + value * u**p * v**q
        for (p, q), value in self.b.items():
            g = g + value * u**p * v**q
        return f, g

    def jacobian(self, u: Floats, v: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        """Return f_u, f_v, g_u, g_v."""
        out = []
        for terms in (self.a, self.b):
            du, dv = np.zeros_like(u), np.zeros_like(v)
            for (p, q), value in terms.items():
                if p:
                    du = du + value * p * u ** (p - 1) * v**q
                if q:
                    dv = dv + value * q * u**p * v ** (q - 1)
            out += [du, dv]
        return out[0], out[1], out[2], out[3]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TanSip:
    """A celestial WCS: TAN, with or without SIP distortion."""

    crval: tuple[float, float]  # deg
    crpix: tuple[float, float]  # pix, 0-based
    cd: Floats  # (2, 2) [deg / pix]
    sip: SipTerms | None = None

    @classmethod
    def from_cards(cls, cards: Mapping[str, Any]) -> TanSip:
        """Read the cards of a FITS header; distortions other than SIP are not looked at.

        Raises
        ------
        KeyError
            If CRVAL, CRPIX or the CD matrix is missing.
        """
        names = ("CD1_1", "CD1_2", "CD2_1", "CD2_2")
        sip = None
        if "A_ORDER" in cards:
            order = max(int(cards["A_ORDER"]), int(cards["B_ORDER"]))
            terms = [
                {
                    (p, q): float(cards[f"{letter}_{p}_{q}"])
                    for p, q in sip_exponents(order)
                    if cards.get(f"{letter}_{p}_{q}")
                }
                for letter in "AB"
            ]
            sip = SipTerms(order=order, a=terms[0], b=terms[1])
        return cls(
            crval=(float(cards["CRVAL1"]), float(cards["CRVAL2"])),
            crpix=(float(cards["CRPIX1"]) - 1.0, float(cards["CRPIX2"]) - 1.0),
            cd=np.array([float(cards[name]) for name in names]).reshape(2, 2),
            sip=sip,
        )

    @property
    def scale(self) -> float:
        """Pixel scale at the reference pixel [arcsec / pix]."""
        return 3600.0 * float(np.sqrt(abs(np.linalg.det(self.cd))))

    @property
    def is_mirrored(self) -> bool:
        """Whether north to east runs clockwise with x to the right and y up."""
        return bool(np.linalg.det(self.cd) > 0)

    @property
    def rotation(self) -> float:
        """Position angle of the y axis [deg], north through east, in (-180, 180]."""
        return float(np.degrees(np.arctan2(self.cd[0, 1], self.cd[1, 1])))

    def pixel_to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return ra, dec [deg] of pixels (0-based)."""
        u = np.asarray(x, dtype=np.float64) - self.crpix[0]
        v = np.asarray(y, dtype=np.float64) - self.crpix[1]
        if self.sip is not None:
            f, g = self.sip.shift(u, v)
            u, v = u + f, v + g
        xi, eta = self.cd[0, 0] * u + self.cd[0, 1] * v, self.cd[1, 0] * u + self.cd[1, 1] * v
        return inverse_gnomonic(xi, eta, ra0=self.crval[0], dec0=self.crval[1])

    def sky_to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Return pixels (0-based) of sky positions [deg].

        NaN where a position is on the far side of the sky, or where the distortion has no inverse.
        """
        xi, eta = gnomonic(
            np.asarray(ra, dtype=np.float64),
            np.asarray(dec, dtype=np.float64),
            ra0=self.crval[0],
            dec0=self.crval[1],
        )
        back = np.linalg.inv(self.cd)
        u, v = back[0, 0] * xi + back[0, 1] * eta, back[1, 0] * xi + back[1, 1] * eta
        if self.sip is not None:
            u, v = _undistorted(self.sip, u, v)
        return u + self.crpix[0], v + self.crpix[1]

    def cards(self, shape: tuple[int, int]) -> fits.Header:
        """Return the WCS as FITS cards, with inverse polynomials for an image of this shape."""
        header = fits.Header()
        kind = ("RA---TAN", "DEC--TAN") if self.sip is None else ("RA---TAN-SIP", "DEC--TAN-SIP")
        header["WCSAXES"] = (2, "number of celestial axes")
        header["CTYPE1"] = (kind[0], "gnomonic projection" + (", SIP" if self.sip else ""))
        header["CTYPE2"] = (kind[1], "gnomonic projection" + (", SIP" if self.sip else ""))
        header["RADESYS"] = ("ICRS", "frame of the reference stars")
        header["EQUINOX"] = (2000.0, "[yr] equinox of the frame")
        header["LONPOLE"] = (180.0, "[deg]")
        header["CRVAL1"] = (self.crval[0], "[deg] right ascension of the reference pixel")
        header["CRVAL2"] = (self.crval[1], "[deg] declination of the reference pixel")
        header["CRPIX1"] = (self.crpix[0] + 1.0, "[pix] reference pixel, from 1")
        header["CRPIX2"] = (self.crpix[1] + 1.0, "[pix] reference pixel, from 1")
        header["CUNIT1"] = "deg"
        header["CUNIT2"] = "deg"
        for i in range(2):
            for j in range(2):
                header[f"CD{i + 1}_{j + 1}"] = (float(self.cd[i, j]), "[deg/pix]")
        if self.sip is not None:
            _add_sip(header, self.sip, letters="AB")
            _add_sip(header, self._inverse_terms(shape), letters=("AP", "BP"))
        return header

    def _inverse_terms(self, shape: tuple[int, int]) -> SipTerms:
        """Fit the polynomials that lead back from undistorted to measured pixels."""
        assert self.sip is not None
        ny, nx = shape
        grid = np.meshgrid(np.linspace(0, nx - 1, _GRID), np.linspace(0, ny - 1, _GRID))
        u, v = grid[0].ravel() - self.crpix[0], grid[1].ravel() - self.crpix[1]
        f, g = self.sip.shift(u, v)
        order = self.sip.order + _INVERSE_EXTRA
        scale = float(max(nx, ny))
        exponents = sip_exponents(order)
        s, t = (u + f) / scale, (v + g) / scale
        design = np.column_stack([s**p * t**q for p, q in exponents])
        found = np.linalg.lstsq(design, np.column_stack([-f, -g]), rcond=None)[0]
        a, b = (
            {pq: float(c / scale ** (pq[0] + pq[1])) for pq, c in zip(exponents, col, strict=True)}
            for col in found.T
        )
        return SipTerms(order=order, a=a, b=b)


def _undistorted(sip: SipTerms, u0: Floats, v0: Floats) -> tuple[Floats, Floats]:
    """Solve u + f(u, v) = u0, v + g(u, v) = v0 by Newton's method; NaN where it fails."""
    u, v = u0.copy(), v0.copy()
    with np.errstate(all="ignore"):
        for _ in range(_NEWTON):
            f, g = sip.shift(u, v)
            fu, fv, gu, gv = sip.jacobian(u, v)
            ru, rv = u + f - u0, v + g - v0
            determinant = (1.0 + fu) * (1.0 + gv) - fv * gu
            du = ((1.0 + gv) * ru - fv * rv) / determinant
            dv = ((1.0 + fu) * rv - gu * ru) / determinant
            u, v = u - du, v - dv
            if not np.any(np.hypot(du, dv) > 1e-7):
                break
        f, g = sip.shift(u, v)
        fu, fv, gu, gv = sip.jacobian(u, v)
        # Beyond the fold of a strong distortion Newton finds another root, or none.
        sound = (np.hypot(u + f - u0, v + g - v0) < 1e-4) & (
            (1.0 + fu) * (1.0 + gv) - fv * gu > 0.1
        )
    return np.where(sound, u, np.nan), np.where(sound, v, np.nan)


def _add_sip(header: fits.Header, terms: SipTerms, *, letters: str | tuple[str, str]) -> None:
    for letter, values in zip(letters, (terms.a, terms.b), strict=True):
        header[f"{letter}_ORDER"] = (terms.order, "order of the SIP polynomial")
        for (p, q), value in values.items():
            header[f"{letter}_{p}_{q}"] = value
