"""Polynomial mappings from their text: of powers, and of Chebyshev polynomials."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np

from skyloom._types import Bools, Floats
from skyloom.images.afw.ast_text import AstObject
from skyloom.images.afw.coordinate_map import MOST_AXES, CoordinateMap, UnsupportedMapping

__all__ = ["axes_of", "chebyshev_map", "polynomial_map"]

_ITERATIONS = 50  # of Newton's method; it converges quadratically
_TOLERANCE = 1e-13  # relative change of a point at which it has converged
_MOST_TERMS = 5000
_HIGHEST = 100  # power

Powers: TypeAlias = np.ndarray[tuple[int, int], np.dtype[np.int64]]
Tables: TypeAlias = Callable[[Floats, int], tuple[Floats, Floats]]


def axes_of(part: AstObject, name: str = "Nin", default: int | None = None) -> int:
    """Return the number of axes of a mapping."""
    n = part.integer(name, default)
    if not 1 <= n <= MOST_AXES:
        raise UnsupportedMapping(f"{name} = {n} is an impossible number of axes")
    return n


def polynomial_map(part: AstObject) -> CoordinateMap:
    """Make a PolyMap."""
    forward, backward = _read(part, "F", _powers), _read(part, "I", _powers)
    return _mapping(part, forward, backward)


def chebyshev_map(part: AstObject) -> CoordinateMap:
    """Make a ChebyMap: each axis is scaled to -1 to 1; without scales it is a PolyMap."""
    forward = _scaled(part, "F", axes_of(part))
    backward = _scaled(part, "I", axes_of(part, "Nout", axes_of(part)))
    return _mapping(part, forward, backward)


def _mapping(
    part: AstObject, forward: _Polynomial | None, backward: _Polynomial | None
) -> CoordinateMap:
    n_in = axes_of(part)
    n_out = axes_of(part, "Nout", n_in)
    if forward is None or (backward is None and n_in != n_out):
        raise UnsupportedMapping("a polynomial has no forward coefficients")
    use_iteration = backward is None or bool(part.integer("IterInv", 0))
    inverse = forward.solved if use_iteration or backward is None else backward.inside
    return CoordinateMap(n_in, n_out, forward.inside, inverse)


def _scaled(part: AstObject, letter: str, n: int) -> _Polynomial | None:
    names = [f"{letter}{kind}{i}" for kind in ("SCL", "OFF") for i in range(1, n + 1)]
    if not any(name in part.values for name in names):
        return _read(part, letter, _powers)
    numbers = [part.number(name) for name in names]
    scale, offset = np.array(numbers[:n]), np.array(numbers[n:])
    if not scale.all():
        raise UnsupportedMapping("a scale of a Chebyshev polynomial is zero")
    return _read(part, letter, _chebyshev, scale=scale, offset=offset)


def _powers(x: Floats, highest: int) -> tuple[Floats, Floats]:
    """Return 1, x, x**2, ... and their derivatives, shape (highest + 1, n)."""
    table = np.ones((highest + 1, *x.shape))
    slope = np.zeros_like(table)
    for k in range(1, highest + 1):
        table[k] = table[k - 1] * x
        slope[k] = k * table[k - 1]
    return table, slope


def _chebyshev(x: Floats, highest: int) -> tuple[Floats, Floats]:
    """Return the polynomials T_0, T_1, ... and their derivatives ``k U_(k-1)``."""
    table, second = np.ones((highest + 1, *x.shape)), np.ones((highest + 1, *x.shape))
    slope = np.zeros_like(table)
    for k in range(1, highest + 1):
        table[k] = x if k == 1 else 2.0 * x * table[k - 1] - table[k - 2]
        second[k] = 2.0 * x if k == 1 else 2.0 * x * second[k - 1] - second[k - 2]
        slope[k] = k * second[k - 1]
    return table, slope


@dataclass(frozen=True, slots=True, eq=False)
class _Polynomial:
    """Polynomials of several variables, one per output axis."""

    coefficients: list[Floats]  # of each output
    powers: list[Powers]  # (terms, n_in) of each output
    tables: Tables  # values and slopes of the functions that are multiplied
    scale: Floats  # (n_in,), from input to their variable
    offset: Floats

    def inside(self, p: Floats) -> Floats:
        """Return the values; NaN beyond the box of Chebyshev polynomials."""
        return np.asarray(np.where(self._is_inside(p), self(p), np.nan))

    def __call__(self, p: Floats) -> Floats:
        pairs = zip(self.coefficients, self.powers, strict=True)
        return np.stack([c @ self._terms(p, k) for c, k in pairs])

    def derivative(self, p: Floats) -> Floats:
        """Return the Jacobian, shape (n_out, n_in, n)."""
        rows = []
        for c, k in zip(self.coefficients, self.powers, strict=True):
            axes = range(k.shape[1])
            rows.append(np.stack([self.scale[i] * (c @ self._terms(p, k, slope=i)) for i in axes]))
        return np.stack(rows)

    def solved(self, target: Floats) -> Floats:
        """Find the points that are mapped to `target`, by Newton's method from the middle."""
        p = np.broadcast_to((-self.offset / self.scale)[:, None], target.shape)
        for _ in range(_ITERATIONS):
            step = _newton_step(self.derivative(p), self(p) - target)
            p = p - step
            is_moving = np.abs(step).max(axis=0) > _TOLERANCE * (1.0 + np.abs(p).max(axis=0))
            if not is_moving.any():
                break
        else:
            p = np.where(is_moving, np.nan, p)
        return np.asarray(np.where(self._is_inside(p), p, np.nan), np.float64)

    def _is_inside(self, p: Floats) -> Bools:
        if self.tables is _powers:
            return np.ones(p.shape[1], bool)
        u = p * self.scale[:, None] + self.offset[:, None]
        edge = 1.0 + 1e-9  # rounding of positions on the edge
        return np.asarray((np.abs(u) <= edge).all(axis=0))

    def _terms(self, p: Floats, powers: Powers, slope: int = -1) -> Floats:
        """Return the products of functions, shape (terms, n); of one axis, its slopes."""
        u = p * self.scale[:, None] + self.offset[:, None]
        result = np.ones((len(powers), p.shape[1]))
        for axis in range(powers.shape[1]):
            values, slopes = self.tables(u[axis], int(powers[:, axis].max(initial=0)))
            result *= (slopes if axis == slope else values)[powers[:, axis]]
        return result


def _newton_step(jacobian: Floats, off: Floats) -> Floats:
    """Solve for steps, (n, points); NaN where the Jacobian, (n, n, points), is singular."""
    matrices, right = np.moveaxis(jacobian, -1, 0), np.moveaxis(off, -1, 0)
    is_finite = np.isfinite(matrices).all(axis=(1, 2)) & np.isfinite(right).all(axis=1)
    usable: Bools = np.asarray(is_finite)
    unit = np.eye(matrices.shape[1])
    matrices = np.where(usable[:, None, None], matrices, unit)
    usable &= np.linalg.det(matrices) != 0.0
    matrices = np.where(usable[:, None, None], matrices, unit)
    step = np.linalg.solve(matrices, right[..., None])[..., 0]
    return np.asarray(np.where(usable[:, None], step, np.nan).T)


def _read(
    part: AstObject,
    letter: str,
    tables: Tables,
    scale: Floats | None = None,
    offset: Floats | None = None,
) -> _Polynomial | None:
    """Read the forward (F) or inverse (I) coefficients; None where there are none."""
    n_in = axes_of(part)
    n_out = axes_of(part, "Nout", n_in)
    n_from, n_to = (n_in, n_out) if letter == "F" else (n_out, n_in)
    counts = [part.integer(f"NC{letter}{i}", 0) for i in range(1, n_to + 1)]
    if not any(counts):
        return None
    if min(counts) < 0 or sum(counts) > _MOST_TERMS:
        raise UnsupportedMapping("a polynomial has too many terms")
    coefficients, powers, number = [], [], 0
    for count in counts:
        terms = range(number + 1, number + count + 1)
        coefficients.append(np.array([part.number(f"C{letter}{t}", 0.0) for t in terms]))
        rows = [
            [part.integer(f"P{letter}{(t - 1) * n_from + i}", 0) for i in range(1, n_from + 1)]
            for t in terms
        ]
        powers.append(np.array(rows, np.int64).reshape(count, n_from))
        number += count
    if any((k < 0).any() or (k > _HIGHEST).any() for k in powers):
        raise UnsupportedMapping("a polynomial has impossible powers")
    return _Polynomial(
        coefficients,
        powers,
        tables,
        np.ones(n_from) if scale is None else scale,
        np.zeros(n_from) if offset is None else offset,
    )
