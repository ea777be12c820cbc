"""Sky positions of the pixels of an exposure, in parent coordinates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.errors import MissingComponent
from skyloom.geometry import Box, cropped_wcs, jacobian_of, pixel_to_sky, sky_to_pixel

if TYPE_CHECKING:
    from astropy.io.fits import Header
    from astropy.wcs import WCS

__all__ = ["Projection", "SkyWcs", "as_sky_wcs"]

_PLACES = 5  # along each side of a box, to compare two WCS
_SAME = np.radians(1e-6 / 3600.0)  # rad; headers hold 15 digits, which is a hundredth of it


class Projection(Protocol):
    """What turns parent pixel positions into sky positions and back; one-dimensional arrays."""

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        """Return right ascension and declination [deg]."""
        ...

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        """Return x and y [pix]; NaN where there is no answer."""
        ...


class _FitsProjection:
    """A WCS of astropy whose pixels are parent coordinates."""

    def __init__(self, wcs: WCS) -> None:
        self.wcs = wcs

    def to_sky(self, x: Floats, y: Floats) -> tuple[Floats, Floats]:
        return pixel_to_sky(self.wcs, x, y)

    def to_pixel(self, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
        return sky_to_pixel(self.wcs, ra, dec)


class SkyWcs:
    """World coordinates of an exposure.

    Positions are 0-based parent coordinates, so that cutting an exposure does not change its
    SkyWcs.  Make one from an astropy WCS with `from_astropy`.

    Parameters
    ----------
    projection : Projection
        What computes.
    fits : astropy.wcs.WCS, optional
        The same in FITS terms, in parent coordinates; exact or an approximation.
    cards : astropy.io.fits.Header, optional
        The cards it was read from, for an array with its first pixel at `cards_xy0`.
    cards_xy0 : (int, int)
        See `cards`.
    is_fits_exact : bool
        Whether `fits` is the WCS itself, not an approximation of it.
    """

    __slots__ = ("_cards", "_cards_xy0", "_fits", "is_fits_exact", "projection")

    def __init__(
        self,
        projection: Projection,
        *,
        fits: WCS | None = None,
        cards: Header | None = None,
        cards_xy0: tuple[int, int] = (0, 0),
        is_fits_exact: bool = False,
    ) -> None:
        self.projection = projection
        self.is_fits_exact = is_fits_exact
        self._fits = fits
        self._cards = cards
        self._cards_xy0 = cards_xy0

    @classmethod
    def from_astropy(
        cls, wcs: WCS, *, xy0: tuple[int, int] = (0, 0), cards: Header | None = None
    ) -> SkyWcs:
        """Make one from an astropy WCS that counts from the first pixel of an array at `xy0`.

        `cards`, where given, are the cards that it was made from.
        """
        celestial = wcs.celestial
        parent = cropped_wcs(celestial, Box(-xy0[0], -xy0[0] + 1, -xy0[1], -xy0[1] + 1))
        parent.pixel_shape = None
        return cls(
            _FitsProjection(parent), fits=parent, cards=cards, cards_xy0=xy0, is_fits_exact=True
        )

    def with_fits(self, other: SkyWcs, box: Box) -> SkyWcs:
        """Return it with the FITS form of another: the same in a box, or an approximation.

        One that has an exact FITS form keeps it, unless the other is the same.

        Parameters
        ----------
        other : SkyWcs
            Has the FITS form.
        box : Box
            Where the two are compared, at 25 places; a microarcsecond apart is the same.
        """
        is_same = self.agrees(other, box)
        if self.is_fits_exact and not is_same:
            return self
        return SkyWcs(
            self.projection,
            fits=other._fits,
            cards=other._cards,
            cards_xy0=other._cards_xy0,
            is_fits_exact=is_same,
        )

    def agrees(self, other: SkyWcs, box: Box) -> bool:
        """Tell whether two give the same sky positions, at 25 places of a box of pixels."""
        x, y = np.meshgrid(
            np.linspace(box.x0, box.x1 - 1, _PLACES), np.linspace(box.y0, box.y1 - 1, _PLACES)
        )
        apart = _directions(*self.pixel_to_sky(x, y)) - _directions(*other.pixel_to_sky(x, y))
        return bool(np.all(np.linalg.norm(apart, axis=0) < _SAME))

    def pixel_to_sky(self, x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Any, Any]:
        """Return right ascension and declination [deg] of parent positions [pix]."""
        return _shaped(self.projection.to_sky, x, y)

    def sky_to_pixel(self, ra: npt.ArrayLike, dec: npt.ArrayLike) -> tuple[Any, Any]:
        """Return parent positions x, y [pix] of sky positions [deg]; NaN where there is none."""
        return _shaped(self.projection.to_pixel, ra, dec)

    def jacobian(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
        """Return ``[[dE/dx, dE/dy], [dN/dx, dN/dy]]`` [arcsec/pix] at positions [pix].

        Its shape is that of the positions and (2, 2).
        """
        x, y = np.broadcast_arrays(np.asarray(x, np.float64), np.asarray(y, np.float64))
        found = jacobian_of(self.projection.to_sky, x.ravel(), y.ravel())
        return found.reshape(*x.shape, 2, 2)

    def pixel_area(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the area of a pixel at positions [pix] [arcsec**2]."""
        return np.abs(np.linalg.det(self.jacobian(x, y)))

    def relative_area(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the area of a pixel at positions [pix], in that at the reference point.

        A flat field makes the sky flat, so that a star of given light has fewer counts where
        pixels are larger: fluxes times this number do not depend on the distortion.

        Raises
        ------
        MissingComponent
            If there is no FITS form, which tells the reference point (CRPIX).
        """
        matrix = self.to_astropy().pixel_scale_matrix  # deg/pix
        return self.pixel_area(x, y) / (3600.0**2 * abs(np.linalg.det(matrix)))

    def pixel_scale(self, x: float, y: float) -> float:
        """Return the side of a square of the area of a pixel at a position [arcsec/pix]."""
        return float(np.sqrt(self.pixel_area(x, y)))

    def to_astropy(self, *, xy0: tuple[int, int] = (0, 0)) -> WCS:
        """Return an astropy WCS that counts from the first pixel of an array at `xy0`.

        It is exact where `is_fits_exact`, else the approximation that came with the file.

        Raises
        ------
        MissingComponent
            If there is no FITS form.
        """
        if self._fits is None:
            raise MissingComponent(
                "this WCS has no FITS form; use its pixel_to_sky and sky_to_pixel"
            )
        return cropped_wcs(self._fits, Box(xy0[0], xy0[0] + 1, xy0[1], xy0[1] + 1))

    def fits_cards(self, xy0: tuple[int, int]) -> Header | None:
        """Return the cards for an array with its first pixel at `xy0`; None without FITS form."""
        if self._cards is not None:
            cards = self._cards.copy()
            for axis in (0, 1):
                key = f"CRPIX{axis + 1}"
                shift = xy0[axis] - self._cards_xy0[axis]
                if shift and key in cards:
                    cards[key] = cards[key] - shift
            return cards
        if self._fits is None:
            return None
        header = self.to_astropy(xy0=xy0).to_header(relax=True)
        for key in ("DATE", "DATE-REF", "MJDREF", "WCSNAME"):
            header.remove(key, ignore_missing=True)
        return header

    def __repr__(self) -> str:
        kind = "FITS" if self.is_fits_exact else type(self.projection).__name__.strip("_")
        return f"<SkyWcs, {kind}>"


def as_sky_wcs(wcs: Any, xy0: tuple[int, int]) -> SkyWcs:
    """Return a SkyWcs; an astropy WCS counts from the first pixel of an array at `xy0`."""
    return wcs if isinstance(wcs, SkyWcs) else SkyWcs.from_astropy(wcs, xy0=xy0)


def _directions(ra: Floats, dec: Floats) -> Floats:
    """Return unit vectors, shape (3, ...), of sky positions [deg]."""
    lon, lat = np.radians(ra), np.radians(dec)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def _shaped(function: Any, a: npt.ArrayLike, b: npt.ArrayLike) -> tuple[Any, Any]:
    a, b = np.broadcast_arrays(np.asarray(a, np.float64), np.asarray(b, np.float64))
    first, second = function(a.ravel(), b.ravel())
    if a.ndim == 0:
        return float(first[0]), float(second[0])
    return first.reshape(a.shape), second.reshape(a.shape)
