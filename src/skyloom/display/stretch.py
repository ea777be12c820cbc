"""From pixel values to grey levels, as ds9 does it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.display.backends import scale_words
from skyloom.errors import WrongValue

__all__ = ["Stretch"]

_LOG_EXPONENT: Final = 1000.0  # of ds9
_SAMPLE: Final = 250_000  # pixels that limits are taken from
_LEVELS: Final = 10_000  # of the histogram that histequ evens out

_CURVES: Final[dict[str, Callable[[Floats], Floats]]] = {
    "linear": lambda v: v,
    "log": lambda v: np.log10(_LOG_EXPONENT * v + 1) / np.log10(_LOG_EXPONENT + 1),
    "pow": lambda v: (_LOG_EXPONENT**v - 1) / (_LOG_EXPONENT - 1),
    "sqrt": np.sqrt,
    "squared": np.square,
    "asinh": lambda v: np.arcsinh(10 * v) / np.arcsinh(10.0),
    "sinh": lambda v: np.sinh(3 * v) / np.sinh(3.0),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stretch:
    """Limits and curve."""

    curve: str = "linear"  # of _CURVES, or histequ
    mode: str = "zscale"  # minmax, zmax, or a percentage
    limits: tuple[float, float] | None = None  # overrule the mode

    def changed(self, setting: Any) -> Stretch:
        """Return the stretch after a setting ``scale``; see `skyloom.display.Display.mtv`.

        Raises
        ------
        WrongValue
            If no curve or mode has this name.
        """
        new = self
        for words in scale_words(setting):
            first, *rest = words.split()
            if first == "mode" and len(rest) == 1:
                new = replace(new, mode=_checked_mode(rest[0]), limits=None)
            elif first == "limits" and len(rest) == 2:
                new = replace(new, limits=(float(rest[0]), float(rest[1])))
            elif first in _CURVES or first == "histequ":
                new = replace(new, curve=first)
            else:
                known = ", ".join([*_CURVES, "histequ", "zscale", "minmax", "zmax"])
                raise WrongValue(
                    f"scale {words!r} is not known here; give one of {known}, a percentage, or "
                    "'limits LOW HIGH'",
                    value=words,
                )
        return new

    def levels(self, pixels: npt.NDArray[Any]) -> npt.NDArray[np.float32]:
        """Return grey levels 0...1; NaN where a pixel is not finite."""
        values = pixels.astype(np.float32, copy=False)
        low, high = self.limits or find_limits(values, self.mode)
        scaled = np.clip((values - low) / ((high - low) or 1.0), 0.0, 1.0)
        if self.curve == "histequ":
            counts, edges = np.histogram(scaled[np.isfinite(scaled)], bins=_LEVELS, range=(0, 1))
            rank = np.concatenate([[0.0], np.cumsum(counts) / max(1, counts.sum())])
            scaled = np.where(np.isfinite(scaled), np.interp(scaled, edges, rank), np.nan)
        else:
            scaled = _CURVES[self.curve](scaled)
        return np.asarray(scaled, np.float32)


def find_limits(values: npt.NDArray[Any], mode: str) -> tuple[float, float]:
    """Return the values that become black and white."""
    step = max(1, int(np.sqrt(values.size / _SAMPLE)))
    sample = values if mode == "minmax" else values[::step, ::step]
    finite = sample[np.isfinite(sample)].astype(np.float64)
    if not finite.size:
        return 0.0, 1.0
    if mode == "minmax":
        return float(finite.min()), float(finite.max())
    if mode in {"zscale", "zmax"}:
        from astropy.visualization import ZScaleInterval  # noqa: PLC0415 - slow

        low, high = ZScaleInterval().get_limits(finite)
        return float(low), float(finite.max() if mode == "zmax" else high)
    outside = (100.0 - float(mode)) / 2.0
    low, high = np.percentile(finite, [outside, 100.0 - outside])
    return float(low), float(high)


def _checked_mode(mode: str) -> str:
    if mode in {"zscale", "minmax", "zmax"}:
        return mode
    try:
        percent = float(mode)
    except ValueError:
        percent = -1.0
    if not 0.0 < percent <= 100.0:
        raise WrongValue(
            f"scale mode {mode!r} must be zscale, minmax, zmax, or a percentage 0...100", value=mode
        )
    return mode
