"""What a zero point is made of: stars, numbers, and the tables that users read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.calib.scatter import ScatterFit
from skyloom.calib.trends import Trend, ZeroPointSurface
from skyloom.catalogs import text_array

__all__ = [
    "BandZeroPoint",
    "StarPhotometry",
    "StarPlaces",
    "ZeroPointError",
    "ZeroPointEstimate",
    "ZeroPoints",
]

ZeroPointError = Literal["all_mad", "bright_std"]
ZeroPointEstimate = Literal["median", "ml"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarPlaces:
    """What the zero points of stars may depend on; arrays of shape (n,)."""

    x: Floats  # pix
    y: Floats  # pix
    colour: Floats  # mag
    colour_name: str = "colour"

    @classmethod
    def unknown(cls, n: int) -> StarPlaces:
        """Return places of ``n`` stars of which nothing is known."""
        nothing = np.full(n, np.nan)
        return cls(x=nothing, y=nothing, colour=nothing)

    def of(self, rows: Bools) -> StarPlaces:
        """Return the places of some stars."""
        return StarPlaces(
            x=self.x[rows],
            y=self.y[rows],
            colour=self.colour[rows],
            colour_name=self.colour_name,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarPhotometry:
    """The reference stars of one band."""

    gaia_source_id: npt.NDArray[np.str_]
    mag: Floats  # AB mag, reference
    flux: Floats  # scaled counts
    flux_err: Floats  # scaled counts
    zp: Floats  # mag
    zp_err: Floats  # mag, NaN where the flux error is unusable
    is_reliable: Bools  # unreliable stars are plotted and counted only
    is_kept: Bools
    places: StarPlaces
    correction: Floats  # mag, of the zero-point surface; 0 without one


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BandZeroPoint:
    """The zero point of a band and how it came about."""

    band: str
    n_raw: int
    n_kept: int
    n_unreliable: int
    clip_sigma: float
    zp_median: float  # AB mag of one scaled count
    zp_err_mad: float  # mag, median absolute deviation
    zp_err_std: float  # mag, scatter of the bright stars
    n_zp_err_src: int  # stars behind zp_err_std
    zp_err_snr_used: float  # S/N cut behind zp_err_std, NaN after the fallback to the MAD
    zp_err: float  # mag, the one of the two that was chosen
    zp_median_err: float  # mag, standard error of zp_median
    zp_scatter: float  # mag, 1.4826 times the median deviation of the kept stars
    n_effective: float  # stars of equal weight that zp_median rests on
    ml: ScatterFit  # mean with intrinsic scatter; over all stars of `stars`
    zp: float  # AB mag, the one that calibrates: zp_median or ml.mean
    estimate: ZeroPointEstimate
    surface: ZeroPointSurface | None
    trends: tuple[Trend, ...]
    stars: StarPhotometry

    @property
    def n_clipped(self) -> int:
        """Reliable stars that the clipping dropped."""
        return self.n_raw - self.n_kept


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZeroPoints:
    """The zero points of a tile; ``reason`` says why there is none."""

    bands: tuple[str, ...]  # all bands with fitted fluxes, sorted
    results: tuple[BandZeroPoint, ...]
    reason: str = ""

    def of(self, band: str) -> BandZeroPoint | None:
        """Return the result of a band, or None."""
        return next((r for r in self.results if r.band == band), None)

    def summary_table(self) -> Table:
        """Return the table of ``ZP/zp_summary.csv``: the original's columns, then ours."""
        names = (
            *("band", "n_raw", "n_kept", "n_clipped", "n_unreliable", "clip_sigma", "zp_median"),
            *("zp_err_mad", "zp_err_std", "n_zp_err_src", "zp_err_snr_used"),
        )
        ours = ("zp_median_err", "zp_scatter", "n_effective")
        kinds = (str, int, int, int, int, float, float, float, float, int, float)
        table = Table({n: [getattr(r, n) for r in self.results] for n in names}, dtype=kinds)
        for name in ours:
            table[name] = np.array([getattr(r, name) for r in self.results], dtype=float)
        table["zp_ml"] = np.array([r.ml.mean for r in self.results], dtype=float)
        table["zp_ml_err"] = np.array([r.ml.mean_err for r in self.results], dtype=float)
        table["zp_intrinsic"] = np.array([r.ml.intrinsic for r in self.results], dtype=float)
        table["n_ml"] = np.array([r.ml.is_used.sum() for r in self.results], dtype=int)
        table["zp_used"] = np.array([r.zp for r in self.results], dtype=float)
        table["zp_estimate"] = text_array([r.estimate for r in self.results])
        table["zp_surface"] = text_array(
            [r.surface.kind if r.surface else "none" for r in self.results]
        )
        return table

    def trend_table(self) -> Table:
        """Return the table of ``ZP/zp_trends.csv``: slopes of the zero points."""
        rows = [(r, t) for r in self.results for t in r.trends]
        table = Table({"band": text_array([r.band for r, _ in rows])})
        table["against"] = text_array([t.against for _, t in rows])
        table["n"] = np.array([t.n for _, t in rows], dtype=int)
        for name in ("pivot", "level", "slope", "slope_err", "span", "amplitude", "significance"):
            table[name] = np.array([getattr(t, name) for _, t in rows], dtype=float)
        table["is_significant"] = np.array([t.is_significant for _, t in rows], dtype=bool)
        return table

    def star_table(self) -> Table:
        """Return the table of ``ZP/zp_all_bands__per_object.csv``: the reliable stars."""
        parts: dict[str, list[npt.NDArray[np.generic]]] = {
            name: [np.zeros(0, dtype=kind)]
            for name, kind in (
                *(("band", "U1"), ("gaia_source_id", "U1"), ("gaiaxp_mag", float)),
                *(("flux", float), ("fluxerr", float), ("zp", float), ("zp_err", float)),
                *(("is_kept", bool), ("is_clipped", bool)),
            )
        }
        for result in self.results:
            s = result.stars
            use = s.is_reliable
            values = (
                text_array([result.band] * int(use.sum())),
                *(a[use] for a in (s.gaia_source_id, s.mag, s.flux, s.flux_err, s.zp, s.zp_err)),
                s.is_kept[use],
                ~s.is_kept[use],
            )
            for name, value in zip(parts, values, strict=True):
                parts[name].append(value)
        return Table({name: np.concatenate(chunks) for name, chunks in parts.items()})
