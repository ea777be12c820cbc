"""From fitted shapes and corrections to basis images of total flux one."""

from __future__ import annotations

import math

import numpy as np

from skyloom._types import Floats

from ._grid import Grid
from ._moffat_fit import centred_moffats
from ._polar import PolarBasis, PolarFit
from ._regress import ShapeField
from .field import FieldPsf, monomials
from .growth import GrowthCurve, enclosed_light

__all__ = ["assemble"]

_CELLS = 8  # nodes per axis of a local correction
_KEEP = 1e-4  # singular values kept, relative to the first; below it lies rounding
_KNOWN = 0.3  # error of the scale of the wings below which it counts as measured
_TAPER = 3  # pix at the edge of the stamp over which it goes to zero


def assemble(
    field: ShapeField,
    beta: float,
    basis: PolarBasis,
    correction: PolarFit,
    *,
    grid: Grid,
    u: Floats,
    v: Floats,
    side: int,
    oversampling: int,
    total_radius: float,
    shape: tuple[int, int],
    fwhm: float,
) -> tuple[FieldPsf, GrowthCurve, Floats]:
    """Return the PSF, its growth curve, and the total flux of the fitting model at stars u, v."""
    stars = u, v
    wide = (side - 1) * oversampling + 1
    native = slice(None, None, oversampling)  # the samples at pixel centres along an axis
    scale, scale_err = _wing_scale(basis, correction)

    fine = (np.arange(wide) - wide // 2) / oversampling

    def family(
        u: Floats, v: Floats, shapes: Floats, blocks: Grid | None = None
    ) -> tuple[Floats, Floats, Floats]:
        """Stamps of total flux one (n, S*S), their flux before, and the Moffat beyond them."""
        centre = blocks.centre if blocks else fine
        width = blocks.width if blocks else np.ones(wide)
        stamps = centred_moffats(shapes, beta=beta, centre=centre, width=width)
        step = slice(None) if blocks else native
        pixels, width = stamps[:, step, step], width[step]
        inside = (pixels @ width) @ width
        within = 1.0 - (1.0 + (total_radius / np.exp(shapes[:, 0])) ** 2) ** (1.0 - beta)
        outside = beyond = np.maximum(within - inside, 0.0)
        if correction.order >= 0:
            own = monomials(u, v, degree=correction.order) @ correction.images
            factor = basis.follow_width(shapes[:, 0])
            own *= factor
            outside = beyond * (1.0 + (scale - 1.0) * factor[:, basis.edge].mean(axis=1))
            basis.apply_centred(stamps, own, centre=centre)
        total = (pixels @ width) @ width + outside
        stamps /= total[:, None, None]
        return stamps.reshape(u.size, -1), total, beyond

    degree = max(field.order, 2 * min(field.order, 2)) + max(correction.order, 0)
    u, v = _nodes(degree)
    stamps, _, _ = family(u, v, field.smooth(u, v))
    by_term: Floats = np.asarray(np.linalg.inv(monomials(u, v, degree=degree)), np.float64)
    edge = _taper(side, oversampling)
    stamps *= edge
    cells = None
    if field.length > 0:
        t = (np.arange(_CELLS) + 0.5) * 2.0 / _CELLS - 1.0
        v, u = (a.ravel() for a in np.meshgrid(t, t, indexing="ij"))
        cells, _, _ = family(u, v, field.shapes(u, v))
        cells *= edge
        cells -= monomials(u, v, degree=degree) @ by_term @ stamps
    psf = _compressed(
        stamps,
        by_term,
        cells,
        degree=degree,
        shape=shape,
        fwhm=fwhm,
        oversampling=oversampling,
    )
    origin = np.zeros(1)
    stamp, total, beyond = family(origin, origin, field.smooth(origin, origin))
    stamp = (stamp * edge).reshape(wide, wide)[native, native]
    radius = np.arange(1.0, side // 2 + 1)
    growth = GrowthCurve(
        radius=radius,
        enclosed=enclosed_light(stamp, radius),
        outside=1.0 - float(stamp.sum()),
        outside_err=float(beyond[0] * scale_err / total[0]),
        wing_scale=scale,
        beta=beta,
        total_radius=total_radius,
        source="measured" if scale_err < _KNOWN else "model",
    )
    if degree == 0 and cells is None:
        totals = np.full(stars[0].size, total[0])
    else:
        _, totals, _ = family(*stars, field.shapes(*stars), grid)
    return psf, growth, totals


def _nodes(degree: int) -> tuple[Floats, Floats]:
    """Padua points: as many as terms, and near to the best polynomial that there is.

    Caliari, De Marchi & Vianello 2005, Appl. Math. Comput. 165, 261.
    """
    if degree == 0:
        return np.zeros(1), np.zeros(1)
    u = np.cos(np.pi * np.arange(degree + 1) / degree)
    v = np.cos(np.pi * np.arange(degree + 2) / (degree + 1))
    i, j = np.nonzero((np.arange(degree + 1)[:, None] + np.arange(degree + 2)) % 2 == 0)
    return u[i], v[j]


def _wing_scale(basis: PolarBasis, correction: PolarFit) -> tuple[float, float]:
    """Light near the edge of the cutouts over that of the Moffat, and its error."""
    if correction.order < 0:
        return 1.0, 1.0
    change = float(correction.images[0, basis.edge].mean())
    error = float(np.sqrt(correction.variance[0, basis.edge].mean()))
    return float(np.clip(1.0 + change, 0.0, 5.0)), error


def _taper(side: int, oversampling: int) -> Floats:
    """Half cosine over the outermost pixels along each axis, flattened."""
    wide = (side - 1) * oversampling + 1
    distance = np.minimum(np.arange(wide), np.arange(wide)[::-1]) / oversampling
    edge = np.sin(0.5 * np.pi * np.clip((distance + 1.0) / (_TAPER + 1.0), 0.0, 1.0)) ** 2
    return np.asarray((edge[:, None] * edge[None, :]).ravel())


def _compressed(
    stamps: Floats,
    by_term: Floats,
    cells: Floats | None,
    *,
    degree: int,
    shape: tuple[int, int],
    fwhm: float,
    oversampling: int,
) -> FieldPsf:
    """Keep the few directions in which the PSF varies: singular vectors of the family.

    ``by_term @ stamps`` are the images of the monomials.  All that is looked at are sums of
    ``stamps`` and ``cells``, and the algebra is done with their weights.
    """
    nodes = np.linspace(-1.0, 1.0, 9)
    u, v = (a.ravel() for a in np.meshgrid(nodes, nodes))
    spread = np.asarray(np.linalg.qr(monomials(u, v, degree=degree), mode="r")) / 9.0
    weights = spread @ by_term
    products = stamps @ stamps.T
    if cells is not None:
        between, n = stamps @ cells.T, len(cells)
        products = np.block([[products, between], [between.T, cells @ cells.T]])
        none = np.zeros((len(weights), n))
        weights = np.block([[weights, none], [none.T, np.eye(n) / math.sqrt(n)]])
    gram = weights @ products @ weights.T
    # Eigenvectors of the small Gram matrix: much cheaper than a decomposition of the images.
    power, left = np.linalg.eigh(gram)
    keep = np.flatnonzero(power > (_KEEP**2) * power[-1])[::-1]
    mixing = (left[:, keep] / np.sqrt(power[keep])).T @ weights
    basis = mixing[:, : len(stamps)] @ stamps
    if cells is not None:
        basis += mixing[:, len(stamps) :] @ cells
    basis *= np.where(basis.sum(axis=1) < 0, -1.0, 1.0)[:, None]
    side = math.isqrt(stamps.shape[1])
    return FieldPsf(
        basis=basis.reshape(-1, side, side).astype(np.float32),
        polynomial=np.ascontiguousarray(basis @ stamps.T @ by_term.T),
        cells=None if cells is None else (basis @ cells.T).reshape(-1, _CELLS, _CELLS),
        shape=shape,
        fwhm=fwhm,
        oversampling=oversampling,
    )
