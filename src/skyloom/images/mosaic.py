"""Corrections of the zero point over the focal plane, as a mosaic fit gives them.

``zeropoint = 2.5 log10(FLUXMAG0) + ffp(x, y)``, with FLUXMAG0 and the polynomial ffp of the
correction (``fcr``), not those of the exposure; minus ``2.5 log10(J)``, J the relative area of the
pixels, where the Jacobian correction is asked for.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
import numpy.typing as npt
from numpy.polynomial import chebyshev, polynomial

from skyloom._types import Floats
from skyloom.errors import NotCalibrated, UnsupportedFcr
from skyloom.geometry import Box
from skyloom.images.fields import ChebyshevField
from skyloom.images.photo_calib import PhotoCalib
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["FFP_FORMAT", "FluxFitParams", "MosaicCalib"]

FFP_FORMAT = "skyloom-1"
"""Value of FFPFORM: the format of the keywords below."""

_HIGHEST_ORDER = 12
_MORE_ORDERS = 6  # beyond twice that of the correction: an exponential of it converges fast


_MEAS_MOSAIC = ("ORDER", "CHEBYSHEV", "NCOEFF", "U_MAX", "V_MAX", "X0", "Y0")
_COEFFICIENT = re.compile(r"C_\d+_\d+")


class _Cards:
    """Values of keywords, checked.

    Raises
    ------
    UnsupportedFcr
        If a value is missing or cannot be used.
    """

    def __init__(self, metadata: Mapping[str, Any]) -> None:
        self.metadata = metadata

    def number(self, key: str) -> float:
        value = self.metadata.get(key)
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise UnsupportedFcr(f"keyword {key} is {value!r}, a number is needed", key=key)
        return float(value)

    def order(self, key: str) -> int:
        order = self.number(key)
        if order != int(order) or not 0 <= order <= _HIGHEST_ORDER:
            raise UnsupportedFcr(f"{key} = {order} is not 0 to {_HIGHEST_ORDER}", key=key)
        return int(order)

    def truth(self, key: str) -> bool:
        value = self.metadata.get(key)
        if not isinstance(value, (bool, np.bool_)):
            raise UnsupportedFcr(f"{key} = {value!r} is not T or F", key=key)
        return bool(value)


def _terms(order: int) -> list[tuple[int, int]]:
    """Return the powers of u and v: 1, u, v, u2, uv, v2, ..."""
    return [(d - j, j) for d in range(order + 1) for j in range(d + 1)]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FluxFitParams:
    """A polynomial of rotated, normalised positions [mag].

    With ``u = (dx cos a + dy sin a) / scale_x`` and ``v = (dy cos a - dx sin a) / scale_y``, dx and
    dy counted from the centre, it is the sum of ``c[i, j] u**i v**j`` (or of Chebyshev
    polynomials of the first kind) over ``i + j <= order``.

    Notes
    -----
    As keywords: FFPFORM = 'skyloom-1', FFPORDER, FFPCHEB (T or F), FFPX0, FFPY0 (centre, parent
    coordinates [pix]), FFPSX, FFPSY (scale [pix]), FFPROT (rotation a [deg]), and FFPC0, FFPC1,
    ... (coefficients [mag] in the order 1, u, v, u2, uv, v2, ...).  The keywords of meas_mosaic
    are read too: ORDER, CHEBYSHEV, NCOEFF, U_MAX, V_MAX, X0, Y0 and C_0_0, C_1_0, C_0_1, ...
    """

    order: int
    is_chebyshev: bool
    centre: tuple[float, float]  # pix
    scale: tuple[float, float]  # pix
    rotation: float  # deg
    coefficients: tuple[float, ...]  # mag

    def __post_init__(self) -> None:
        needed = (self.order + 1) * (self.order + 2) // 2
        if len(self.coefficients) != needed:
            raise UnsupportedFcr(
                f"order {self.order} needs {needed} coefficients, {len(self.coefficients)} are "
                "given"
            )
        numbers = (*self.coefficients, *self.centre, *self.scale, self.rotation)
        if not np.isfinite(numbers).all() or 0.0 in self.scale:
            raise UnsupportedFcr("a number of the correction is not finite, or a scale is zero")

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any]) -> Self:
        """Read the keywords of the documented format, or those of meas_mosaic.

        Raises
        ------
        UnsupportedFcr
            If the format is another one, or a keyword is missing or has no usable value.
        """
        form = metadata.get("FFPFORM")
        cards = _Cards(metadata)
        if form is None and all(key in metadata for key in _MEAS_MOSAIC):
            return cls._of_meas_mosaic(cards)
        if form != FFP_FORMAT:
            raise UnsupportedFcr(
                f"FFPFORM is {form!r}, only {FFP_FORMAT!r} is known, nor are "
                f"{', '.join(_MEAS_MOSAIC)} there, as meas_mosaic writes them: the correction is "
                "in a format that is not documented; write it with FluxFitParams.to_metadata",
                form=form,
            )
        order = cards.order("FFPORDER")
        n = (order + 1) * (order + 2) // 2
        return cls(
            order=order,
            is_chebyshev=cards.truth("FFPCHEB"),
            centre=(cards.number("FFPX0"), cards.number("FFPY0")),
            scale=(cards.number("FFPSX"), cards.number("FFPSY")),
            rotation=cards.number("FFPROT"),
            coefficients=tuple(cards.number(f"FFPC{i}") for i in range(n)),
        )

    @staticmethod
    def is_in(metadata: Mapping[str, Any]) -> bool:
        """Tell whether some metadata hold a correction, in one format or the other."""
        return "FFPFORM" in metadata or all(key in metadata for key in _MEAS_MOSAIC)

    @classmethod
    def _of_meas_mosaic(cls, cards: _Cards) -> Self:
        """Read the keywords of meas_mosaic: ``C_i_j`` of ``(x + X0) / U_MAX``; absent ones 0."""
        order, wanted = cards.order("ORDER"), cards.number("NCOEFF")
        terms = _terms(order)
        there = [key for key in cards.metadata if _COEFFICIENT.fullmatch(str(key))]
        lost = sorted(set(there) - {f"C_{i}_{j}" for i, j in terms})
        if lost or len(there) != wanted:
            what = f"{', '.join(lost)} beyond ORDER" if lost else f"NCOEFF = {wanted:g}"
            raise UnsupportedFcr(
                f"the correction has {len(there)} coefficients C_i_j and {what}; copy the file "
                "again",
                key="NCOEFF",
            )
        return cls(
            order=order,
            is_chebyshev=cards.truth("CHEBYSHEV"),
            centre=(-cards.number("X0"), -cards.number("Y0")),
            scale=(cards.number("U_MAX"), cards.number("V_MAX")),
            rotation=0.0,
            coefficients=tuple(
                cards.number(f"C_{i}_{j}") if f"C_{i}_{j}" in there else 0.0 for i, j in terms
            ),
        )

    def to_metadata(self) -> dict[str, Any]:
        """Return the keywords of the documented format."""
        return {
            "FFPFORM": FFP_FORMAT,
            "FFPORDER": self.order,
            "FFPCHEB": self.is_chebyshev,
            "FFPX0": self.centre[0],
            "FFPY0": self.centre[1],
            "FFPSX": self.scale[0],
            "FFPSY": self.scale[1],
            "FFPROT": self.rotation,
            **{f"FFPC{i}": c for i, c in enumerate(self.coefficients)},
        }

    def __call__(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the correction [mag] at parent positions [pix]; arrays or single numbers."""
        dx = np.asarray(x, np.float64) - self.centre[0]
        dy = np.asarray(y, np.float64) - self.centre[1]
        cos, sin = np.cos(np.radians(self.rotation)), np.sin(np.radians(self.rotation))
        u = (dx * cos + dy * sin) / self.scale[0]
        v = (dy * cos - dx * sin) / self.scale[1]
        evaluate = chebyshev.chebval2d if self.is_chebyshev else polynomial.polyval2d
        return evaluate(u, v, self._table())

    def _table(self) -> Floats:
        table = np.zeros((self.order + 1, self.order + 1))
        for (i, j), c in zip(_terms(self.order), self.coefficients, strict=True):
            table[i, j] = c
        return table


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class MosaicCalib:
    """The photometric calibration of a mosaic: a zero point and its correction over the field.

    With a `wcs`, fluxes are also multiplied by `SkyWcs.relative_area` (the Jacobian correction),
    which a solution whose correction does not contain the distortion needs.
    """

    flux_mag0: float  # count, of the correction
    ffp: FluxFitParams
    wcs: SkyWcs | None = None

    @classmethod
    def from_metadata(cls, metadata: Mapping[str, Any], *, wcs: SkyWcs | None = None) -> Self:
        """Read FLUXMAG0 and the correction from the metadata of ``fcr``.

        Parameters
        ----------
        metadata : mapping
            The header of ``fcr``.
        wcs : SkyWcs, optional
            That of the mosaic solution, for the Jacobian correction; by default there is none.

        Raises
        ------
        NotCalibrated
            If FLUXMAG0 is missing, zero or not a number.
        UnsupportedFcr
            If the correction is not in the documented format.
        """
        calibration = PhotoCalib.from_metadata(metadata)
        if calibration is None:
            raise NotCalibrated("the correction has no FLUXMAG0; run the mosaic fit again")
        ffp = FluxFitParams.from_metadata(metadata)
        return cls(flux_mag0=calibration.flux_mag0, ffp=ffp, wcs=wcs)

    def zeropoint(self, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return the AB magnitude of a source of one count at parent positions [pix]."""
        zeropoint = 2.5 * np.log10(self.flux_mag0) + self.ffp(x, y)
        if self.wcs is None:
            return zeropoint
        return zeropoint - 2.5 * np.log10(self.wcs.relative_area(x, y))

    def magnitude(self, flux: npt.ArrayLike, x: npt.ArrayLike, y: npt.ArrayLike) -> Any:
        """Return AB magnitudes of instrumental fluxes [count]; NaN where ``flux <= 0``."""
        flux = np.asarray(flux, np.float64)
        return self.zeropoint(x, y) - 2.5 * np.log10(np.where(flux > 0.0, flux, np.nan))

    def photo_calib(self, box: Box) -> PhotoCalib:
        """Return it as a `PhotoCalib` over a box of parent coordinates, which can be written.

        Its field is a Chebyshev polynomial that agrees with the correction at nodes; between them
        to 1e-9 for corrections of some tenths of a magnitude.
        """

        def scale(x: npt.ArrayLike, y: npt.ArrayLike) -> Floats:
            return np.asarray(10.0 ** (0.4 * (31.4 - self.zeropoint(x, y))))

        more = _MORE_ORDERS if self.wcs is None else 2 * _MORE_ORDERS  # the distortion is smooth
        field = ChebyshevField.approximating(scale, box, 2 * self.ffp.order + more)
        return PhotoCalib(mean=field.mean(), field=field)
