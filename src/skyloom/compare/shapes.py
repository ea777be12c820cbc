"""Sizes, axis ratios and angles of catalogues, brought to one convention on the sky.

The convention: half-light radius along the major axis [arcsec], axis ratio b/a, position angle
from north through east [deg].  Ellipses measured in pixels are carried to the sky with the linear
map that the catalogue itself shows: its pixel and its sky positions.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.catalogs.values import column_as_float
from skyloom.geometry import Positions

from .dialects import Dialect, find_columns

__all__ = ["PixelFrame", "Shapes", "angle_difference", "pixel_frame", "read_shapes", "to_sky"]

_HALF_LIGHT = "half-light radius, PSF included"
_FEWEST = 4  # sources for a linear map: one more than it needs


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Shapes:
    """Shapes of sources; arrays of one length, NaN where there is none."""

    size: Floats  # arcsec, or pix
    axis_ratio: Floats  # b/a
    angle: Floats  # deg; from north through east, or in pixels from +x towards +y
    size_is: str = ""  # definition of the size; empty: no sizes
    unit: str = "arcsec"  # of size; "pix": still in the pixel frame
    notes: tuple[str, ...] = field(default=())

    @property
    def ellipticity(self) -> Floats:
        """(a - b) / (a + b)."""
        return (1.0 - self.axis_ratio) / (1.0 + self.axis_ratio)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PixelFrame:
    """The linear map from pixel steps (x, y) to steps on the sky (east, north)."""

    matrix: Floats  # arcsec / pix, shape (2, 2)

    @property
    def scale(self) -> float:
        """Side of a pixel [arcsec]."""
        return float(np.sqrt(abs(np.linalg.det(self.matrix))))


def pixel_frame(sky: Positions, x: Floats, y: Floats) -> PixelFrame | None:
    """Fit the linear map from pixels to the sky; outliers beyond five sigma do not count.

    Parameters
    ----------
    sky : Positions
        Sky positions of the sources [deg].
    x, y : ndarray of float, shape (n,)
        Their pixel positions.

    Returns
    -------
    PixelFrame or None
        None if fewer than four sources, or sources on a line, have both.
    """
    if not np.isfinite(sky.x).any():
        return None
    plane = sky.plane(sky.centre())
    good = np.isfinite(plane).all(axis=1) & np.isfinite(x) & np.isfinite(y)
    for _ in range(4):
        if good.sum() < _FEWEST:
            return None
        design = np.column_stack([x - x[good].mean(), y - y[good].mean(), np.ones(len(x))])
        if np.linalg.matrix_rank(design[good]) < 3:
            return None
        solution = np.linalg.lstsq(design[good], plane[good], rcond=None)[0]
        off = np.hypot(*(plane - design @ solution).T)
        limit = max(5.0 * 1.4826 * float(np.median(off[good])), 1e-9)
        good &= off <= limit
    return PixelFrame(matrix=np.asarray(solution[:2].T))


def to_sky(shapes: Shapes, frame: PixelFrame) -> Shapes:
    """Carry ellipses from the pixel frame to the sky."""
    q, angle = shapes.axis_ratio, np.radians(shapes.angle)
    round_ = ~(np.isfinite(q) & np.isfinite(angle))  # without an ellipse: a circle
    q1, angle1 = np.where(round_, 1.0, q), np.where(round_, 0.0, angle)
    major = frame.matrix @ np.stack([np.cos(angle1), np.sin(angle1)])
    minor = frame.matrix @ np.stack([-np.sin(angle1), np.cos(angle1)])
    ee = major[0] ** 2 + (q1 * minor[0]) ** 2
    nn = major[1] ** 2 + (q1 * minor[1]) ** 2
    en = major[0] * major[1] + q1**2 * minor[0] * minor[1]
    middle, half = 0.5 * (ee + nn), np.hypot(0.5 * (nn - ee), en)
    long, short = np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0.0))
    scale = np.where(round_, frame.scale, long)
    position_angle = np.degrees(0.5 * np.arctan2(2 * en, nn - ee)) % 180.0
    return Shapes(
        size=shapes.size * scale,
        axis_ratio=np.where(round_, q, short / long),
        angle=np.where(round_, np.nan, position_angle),
        size_is=shapes.size_is,
        notes=shapes.notes,
    )


def angle_difference(new: Floats, old: Floats) -> Floats:
    """Return new - old of axes (180 degrees are the same), in [-90, 90) [deg]."""
    return np.asarray((new - old + 90.0) % 180.0 - 90.0)


def read_shapes(table: Table, dialect: Dialect) -> Shapes:
    """Read the shapes of a catalogue, in the frame that its dialect uses."""
    readers = {"tractor": _tractor, "shapepipe": _shapepipe, "sextractor": _sextractor}
    return readers.get(dialect.name, _tile)(table)


def _values(table: Table, *templates: str) -> Floats | None:
    """Return the values of the columns found, the next ones filling the gaps of the first."""
    found: Floats | None = None
    for column in find_columns(table, templates):
        if np.asarray(table[column]).ndim != 1:
            continue
        values = column_as_float(table, column)
        found = values if found is None else np.where(np.isfinite(found), found, values)
    return found


def _nan(table: Table) -> Floats:
    return np.full(len(table), np.nan)


def _or_nan(values: Floats | None, table: Table) -> Floats:
    return _nan(table) if values is None else values


def _tile(table: Table) -> Shapes:
    """Re [pix], ELL = 1 - b/a, THETA from +x towards +y; fitted ones where there is a fit."""
    fitted = find_columns(table, ("Re_fit", "Re_{band}_fit", "ELL_fit", "ELL_{band}_fit"))
    if fitted:  # a star has no fitted shape, whatever the input catalogue says
        names = ("Re{}_fit", "ELL{}_fit", "THETA{}_fit")
        size, ell, theta = (_values(table, n.format(""), n.format("_{band}")) for n in names)
    else:
        size, ell, theta = (_values(table, n) for n in ("Re", "ELL", "THETA"))
    is_there = size is not None
    return Shapes(
        size=_positive(_or_nan(size, table)),
        axis_ratio=_ratio(1.0 - _or_nan(ell, table)),
        angle=_or_nan(theta, table),
        size_is="half-light radius, PSF removed" if is_there else "",
        unit="pix",
    )


def _tractor(table: Table) -> Shapes:
    """shape_r [arcsec]; e of modulus (a-b)/(a+b), angle from north through east."""
    size = _values(table, "shape_r")
    e1, e2 = (_or_nan(_values(table, name), table) for name in ("shape_e1", "shape_e2"))
    size = _positive(_or_nan(size, table))  # 0 for point sources
    modulus = np.hypot(e1, e2)
    has_shape = np.isfinite(size)
    return Shapes(
        size=size,
        axis_ratio=_ratio(np.where(has_shape, (1.0 - modulus) / (1.0 + modulus), np.nan)),
        angle=np.where(has_shape & (modulus > 0), np.degrees(0.5 * np.arctan2(e2, e1)), np.nan)
        % 180.0,
        size_is="half-light radius, PSF removed" if np.isfinite(size).any() else "",
    )


def _shapepipe(table: Table) -> Shapes:
    """NGMIX_*_NOSHEAR: g with the first axis west, and T; else SExtractor's.

    T is no trace of moments there: the fit that ShapePipe runs writes the half-light radius of its
    Gaussian into it [arcsec], before a shear that keeps the area: the geometric mean of both axes.
    """
    columns = find_columns(table, ("NGMIX_ELL_NOSHEAR",))
    if not columns or np.asarray(table[columns[0]]).ndim != 2:
        return _sextractor(table)
    g1, g2 = np.asarray(table[columns[0]], dtype=np.float64).T[:2]
    flags = _values(table, "NGMIX_FLAGS_NOSHEAR")
    radius = _positive(_or_nan(_values(table, "NGMIX_T_NOSHEAR"), table))
    modulus = np.hypot(g1, g2)
    good = (modulus < 1.0) & (True if flags is None else flags == 0)
    q = np.where(good, (1.0 - modulus) / (1.0 + modulus), np.nan)
    return Shapes(
        size=radius / np.sqrt(q),
        axis_ratio=q,
        angle=np.where(good, np.degrees(0.5 * np.arctan2(-g2, -g1)), np.nan) % 180.0,
        size_is="half-light radius of a Gaussian fit, PSF removed",
        notes=("shapes: NGMIX_ELL_NOSHEAR, NGMIX_T_NOSHEAR (a half-light radius [arcsec])",),
    )


def _sextractor(table: Table) -> Shapes:
    """FLUX_RADIUS [pix], or else A_IMAGE; B/A and THETA_IMAGE; the PSF is in all of them."""
    notes: tuple[str, ...] = ()
    a, b = _values(table, "A_IMAGE"), _values(table, "B_IMAGE")
    radius = _values(table, "FLUX_RADIUS")
    is_vector = bool(find_columns(table, ("FLUX_RADIUS_1",))) or any(
        np.asarray(table[name]).ndim > 1 for name in find_columns(table, ("FLUX_RADIUS",))
    )
    if is_vector:
        radius, notes = None, ("FLUX_RADIUS holds several fractions of the flux: not used",)
    ell = _values(table, "ELLIPTICITY")
    if a is not None and b is not None:
        ratio = np.divide(b, a, out=_nan(table), where=a > 0)
    else:
        ratio = 1.0 - _or_nan(ell, table)
    size = a if radius is None else radius
    size_is = "rms along the major axis, PSF included" if radius is None else _HALF_LIGHT
    theta = _or_nan(_values(table, "THETA_IMAGE"), table)
    return Shapes(
        size=_positive(_or_nan(size, table)),
        axis_ratio=_ratio(ratio),
        angle=theta,
        size_is="" if size is None else size_is,
        unit="pix",
        notes=notes,
    )


def _positive(values: Floats) -> Floats:
    return np.where(values > 0, values, np.nan)


def _ratio(values: Floats) -> Floats:
    inside: Bools = (values > 0) & (values <= 1.0)
    return np.where(inside, values, np.nan)
