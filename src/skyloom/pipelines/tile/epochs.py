"""When the tile was observed, and Gaia stars where they stood then."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from skyloom.calib import (
    GAIA_EPOCH,
    GaiaReference,
    at_epoch,
    has_motion,
    julian_year,
    read_gaia_xp,
)
from skyloom.images import DATE_KEYWORDS, Frame

from .config import TileConfig

__all__ = ["EPOCH_KEY", "TileEpoch", "gaia_of_band", "gaia_of_tile", "position_facts", "tile_epoch"]

log = logging.getLogger(__name__)

EPOCH_KEY: Final = "skyloom.gaia_epoch"
SPREAD: Final = 1.0  # yr between bands: then no single epoch describes the positions of fast stars


@dataclass(frozen=True, slots=True, kw_only=True)
class TileEpoch:
    """Julian years of the bands that have a date, and of the tile: their median, or as set."""

    bands: dict[str, float]
    year: float | None  # None: nobody knows
    is_set: bool  # by the configuration

    @property
    def spread(self) -> float:
        """Years between the first and the last band."""
        years = list(self.bands.values())
        return max(years) - min(years) if years else 0.0

    @property
    def is_spread(self) -> bool:
        """True where the bands are too far apart in time for one position."""
        return not self.is_set and self.spread > SPREAD

    def of_band(self, band: str) -> float | None:
        """Return the year of a band; that of the tile where it is set or the band has no date."""
        return self.year if self.is_set else self.bands.get(band, self.year)

    @property
    def text(self) -> str:
        """Say what the epoch is and where it is from."""
        if self.year is None:
            return f"no image says when it was taken ({', '.join(DATE_KEYWORDS)})"
        if self.is_set:
            return f"epoch {self.year:.2f} as {EPOCH_KEY} says"
        return f"epoch {self.year:.2f}, the median of {len(self.bands)} bands"


def tile_epoch(frames: Iterable[Frame], config: TileConfig) -> TileEpoch:
    """Return when a tile was observed, from its headers or the configuration."""
    bands = {f.band: julian_year(f.mjd_utc) for f in frames if f.mjd_utc is not None}
    chosen = config.skyloom.gaia_epoch
    measured = float(np.median(list(bands.values()))) if bands else None
    return TileEpoch(
        bands=bands, year=measured if chosen is None else chosen, is_set=chosen is not None
    )


def gaia_of_tile(path: Path, frames: dict[str, Any], config: TileConfig) -> GaiaReference:
    """Read the Gaia stars and move them to the epoch of the tile; tell what was done."""
    gaia = read_gaia_xp(path)
    epoch = _epoch(frames, config)
    if gaia.pmra is None:
        return gaia
    if epoch.year is None:
        log.warning(
            "%s has proper motions, but %s: Gaia stars stay at %.1f; write one of the keywords, or "
            "set %s",
            path,
            epoch.text,
            GAIA_EPOCH,
            EPOCH_KEY,
        )
        return gaia
    if epoch.is_spread:
        log.warning(
            "the bands were taken up to %.1f years apart: stars that move are fitted at one "
            "position for all; leave bands out, or accept it for fast stars",
            epoch.spread,
        )
    moved = at_epoch(gaia, epoch.year)
    still = int((~has_motion(gaia)).sum())
    log.info(
        "Gaia stars moved to %s%s", epoch.text, f"; {still} without proper motion" if still else ""
    )
    return moved


def gaia_of_band(
    path: Path, band: str, frames: dict[str, Any], config: TileConfig
) -> GaiaReference:
    """Read the Gaia stars and move them to when a band was taken."""
    return at_epoch(read_gaia_xp(path), _epoch(frames, config).of_band(band))


def position_facts(frames: dict[str, Any], config: TileConfig, frame: str) -> dict[str, Any]:
    """Return what the positions of the catalogue refer to.

    Parameters
    ----------
    frames : dict
        The dataset ``frames``.
    config : TileConfig
    frame : str
        Celestial reference frame of the WCS.

    Returns
    -------
    dict
        ``frame``; ``epoch_jyear`` of the images, or null; ``bands`` with ``mjd_utc`` and ``jyear``.
    """
    epoch = _epoch(frames, config)
    dates = {band: f.get("mjd_utc") for band, f in frames["frames"].items()}
    return {
        "frame": frame,
        "epoch_jyear": None if epoch.year is None else round(epoch.year, 4),
        "epoch_from": EPOCH_KEY if epoch.is_set else "median of the bands",
        "bands": {
            band: {"mjd_utc": mjd, "jyear": None if mjd is None else round(julian_year(mjd), 4)}
            for band, mjd in dates.items()
        },
    }


def _epoch(frames: dict[str, Any], config: TileConfig) -> TileEpoch:
    return tile_epoch((Frame.from_dict(f) for f in frames["frames"].values()), config)
