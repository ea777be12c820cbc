"""Compiled powers of a row of numbers, as vector code: what Moffat profiles spend their time on."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from skyloom._jit import kernel, lean_kernel
from skyloom._types import Floats

__all__ = ["PowerRoom", "log1p_row", "make_power_room", "powers"]

_MANTISSA = np.int64((1 << 52) - 1)
_ONE = np.int64(1023 << 52)  # the bits of 1.0
_LN2, _LOG2E, _SQRT2 = math.log(2.0), 1.0 / math.log(2.0), math.sqrt(2.0)


class PowerRoom(NamedTuple):
    """Scratch of `powers` for rows of so many numbers: floats, and the same memory as integers."""

    base: Floats
    base_bits: npt.NDArray[np.int64]
    scale: Floats
    scale_bits: npt.NDArray[np.int64]
    log: Floats  # ln(1 + rho) of the last call


@kernel
def make_power_room(length: int) -> PowerRoom:
    """Allocate scratch for rows up to ``length``."""
    base, scale = np.empty(length), np.empty(length)
    return PowerRoom(base, base.view(np.int64), scale, scale.view(np.int64), np.empty(length))


@lean_kernel
def log1p_row(rho: Floats, room: PowerRoom) -> None:
    """Fill ``room.log`` with ``ln(1 + rho)``, rho >= 0, to an error of some 1e-16.

    That of the mantissa, between sqrt(1/2) and sqrt(2), is a series in (m - 1) / (m + 1) that
    ends below rounding.
    """
    base, base_bits, scale, log = room.base, room.base_bits, room.scale, room.log
    n = rho.shape[0]
    for i in range(n):
        base[i] = 1.0 + rho[i]
    for i in range(n):
        bits = base_bits[i]
        scale[i] = float((bits >> 52) - 1023)
        base_bits[i] = (bits & _MANTISSA) | _ONE
    for i in range(n):
        m, e = base[i], scale[i]
        is_large = m > _SQRT2
        m = 0.5 * m if is_large else m
        e = e + 1.0 if is_large else e
        t = (m - 1.0) / (m + 1.0)
        u = t * t
        series = 1.0 / 19.0
        series = series * u + 1.0 / 17.0
        series = series * u + 1.0 / 15.0
        series = series * u + 1.0 / 13.0
        series = series * u + 1.0 / 11.0
        series = series * u + 1.0 / 9.0
        series = series * u + 1.0 / 7.0
        series = series * u + 1.0 / 5.0
        series = series * u + 1.0 / 3.0
        log[i] = e * _LN2 + 2.0 * t * (1.0 + u * series)


@lean_kernel
def powers(rho: Floats, exponent: float, room: PowerRoom, out: Floats) -> None:
    """Fill ``out`` with ``(1 + rho) ** exponent``, rho >= 0, to a relative error of some 1e-14.

    ``room.log`` is left with ``ln(1 + rho)``.  The exponential function is a series in what is
    left beside a power of two.  Results that would lie below 2**-1000 are that.
    """
    log1p_row(rho, room)
    base, log, scale, scale_bits = room.base, room.log, room.scale, room.scale_bits
    n = rho.shape[0]
    for i in range(n):
        x = exponent * log[i]
        k = max(math.floor(x * _LOG2E + 0.5), -1000.0)
        r = max(x - k * _LN2, -1.0)
        power = 1.0 / 6227020800.0
        power = power * r + 1.0 / 479001600.0
        power = power * r + 1.0 / 39916800.0
        power = power * r + 1.0 / 3628800.0
        power = power * r + 1.0 / 362880.0
        power = power * r + 1.0 / 40320.0
        power = power * r + 1.0 / 5040.0
        power = power * r + 1.0 / 720.0
        power = power * r + 1.0 / 120.0
        power = power * r + 1.0 / 24.0
        power = power * r + 1.0 / 6.0
        power = power * r + 0.5
        power = power * r + 1.0
        out[i] = power * r + 1.0
        base[i] = k
    for i in range(n):
        scale_bits[i] = (np.int64(base[i]) + 1023) << 52
    for i in range(n):
        out[i] *= scale[i]
