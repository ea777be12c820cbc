"""Statistics of the pixels of an image, bad ones left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from skyloom._types import Floats
from skyloom.images.image import Image

if TYPE_CHECKING:
    from skyloom.images.exposure import Exposure
    from skyloom.images.masked_image import MaskedImage

__all__ = ["PixelStatistics", "pixel_statistics", "statistics_of"]

_SIGMA_PER_IQR = 0.741301  # of a normal distribution


@dataclass(frozen=True, slots=True, kw_only=True)
class PixelStatistics:
    """What the values of some pixels are like; in their unit, NaN where there is none.

    Variances are those of a sample (n - 1). The clipped ones leave out values far from the middle.
    """

    n: int
    sum: float
    mean: float
    stdev: float
    minimum: float
    maximum: float
    median: float
    quartiles: tuple[float, float]
    mean_square: float
    n_clipped: int  # number of values that clipping kept
    mean_clipped: float
    stdev_clipped: float

    @property
    def iqr(self) -> float:
        """Distance of the quartiles; 1.349 standard deviations of a normal distribution."""
        return self.quartiles[1] - self.quartiles[0]

    @property
    def mean_err(self) -> float:
        """Error of the mean, if the values are independent."""
        return float(self.stdev / np.sqrt(self.n)) if self.n else np.nan


def pixel_statistics(
    image: Image | MaskedImage | Exposure,
    *,
    bad: str | tuple[str, ...] = (),
    clip_sigma: float = 3.0,
    max_iterations: int = 3,
) -> PixelStatistics:
    """Return the statistics of the pixels of an image that are finite and not bad.

    Parameters
    ----------
    image : Image, MaskedImage or Exposure
        The pixels.
    bad : str or tuple of str
        Mask planes whose pixels are left out.
    clip_sigma : float
        Values further from the middle than so many standard deviations are clipped.
    max_iterations : int
        How often. The first time, the middle is the median and the quartiles tell the standard
        deviation; then those of the values that were kept do.

    Raises
    ------
    UnknownMaskPlane
        If the mask has no such plane.
    ValueError
        If the image has no mask, and planes are named.

    Examples
    --------
    >>> image = Image([[1.0, 2.0], [3.0, 600.0]])
    >>> pixel_statistics(image).median
    2.5
    """
    planes = (bad,) if isinstance(bad, str) else tuple(bad)
    if isinstance(image, Image):
        if planes:
            raise ValueError(f"an image has no mask with {', '.join(planes)}; give a MaskedImage")
        return statistics_of(image.array, clip_sigma=clip_sigma, max_iterations=max_iterations)
    values = image.image.array
    if planes:
        values = values[~image.mask.is_set(planes)]
    return statistics_of(values, clip_sigma=clip_sigma, max_iterations=max_iterations)


def statistics_of(
    values: npt.ArrayLike, *, clip_sigma: float = 3.0, max_iterations: int = 3
) -> PixelStatistics:
    """Return the statistics of the finite ones of some values; see `pixel_statistics`."""
    found = np.asarray(values, np.float64).ravel()
    found = found[np.isfinite(found)]
    kept = _clipped(found, clip_sigma, max_iterations)
    is_empty = found.size == 0
    low, median, high = (np.nan,) * 3 if is_empty else np.percentile(found, (25, 50, 75))
    return PixelStatistics(
        n=found.size,
        sum=float(found.sum()),
        mean=_mean(found),
        stdev=_stdev(found),
        minimum=np.nan if is_empty else float(found.min()),
        maximum=np.nan if is_empty else float(found.max()),
        median=float(median),
        quartiles=(float(low), float(high)),
        mean_square=_mean(np.square(found)),
        n_clipped=kept.size,
        mean_clipped=_mean(kept),
        stdev_clipped=_stdev(kept),
    )


def _clipped(values: Floats, clip_sigma: float, max_iterations: int) -> Floats:
    """Return the values that are not far from the middle."""
    kept = values
    for i in range(max_iterations if values.size else 0):
        if i == 0:
            low, middle, high = np.percentile(values, (25, 50, 75))
            sigma = _SIGMA_PER_IQR * (high - low)
        else:
            middle, sigma = _mean(kept), _stdev(kept)
        near = values[np.abs(values - middle) <= clip_sigma * sigma]
        if near.size in {0, kept.size}:
            break
        kept = near
    return kept


def _mean(values: Floats) -> float:
    return float(values.mean()) if values.size else np.nan


def _stdev(values: Floats) -> float:
    return float(values.std(ddof=1)) if values.size > 1 else np.nan
