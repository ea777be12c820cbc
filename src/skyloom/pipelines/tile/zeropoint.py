"""Zero points from Gaia stars, and the catalogue that users read."""

from __future__ import annotations

import logging
import math
from dataclasses import asdict, dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from typing_extensions import override

from skyloom.butler import Array, FitsImages
from skyloom.calib import (
    ZeroPoints,
    ZeroPointSurface,
    apply_zero_points,
    measure_zero_points,
    read_gaia_xp,
)
from skyloom.catalogs import text_array
from skyloom.flow import Dataset, Handle, Stage

from .column_units import column_units
from .config import TileConfig
from .epochs import EPOCH_KEY, position_facts
from .load import working_wcs

__all__ = ["Catalog", "ZeroPoint"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointInputs:
    """The merged catalogue and the reference stars."""

    merged: Annotated[Table, Dataset("merged")]
    gaia: Annotated[Handle[Table] | None, Dataset("gaia_catalog", optional=True, lazy=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroPointOutputs:
    """Zero points for the catalogue, three tables for the user, one for the pictures."""

    zero_points: Annotated[dict[str, Any], Dataset("zero_points")]
    summary: Annotated[Table | None, Dataset("zp_summary", optional=True)]
    per_object: Annotated[Table | None, Dataset("zp_per_object", optional=True)]
    trends: Annotated[Table | None, Dataset("zp_trends", optional=True)]
    stars: Annotated[Table | None, Dataset("zp_stars", optional=True)]


class ZeroPoint(Stage[TileConfig, ZeroPointInputs, ZeroPointOutputs]):
    """Measure the zero point of every band."""

    name = "zero-point"
    version = 2
    light = True
    config_keys = (
        "zp.clip_sigma",
        "zp.clip_max_iters",
        "zp.zp_err_method",
        "zp.zp_err_snr_min",
        "skyloom.zp_estimate",
        "skyloom.zp_surface",
    )

    @override
    def run(self, inputs: ZeroPointInputs) -> ZeroPointOutputs:
        """Return the zero points; without stars none, and the reason."""
        if inputs.gaia is None:
            reason = "there is no GaiaXP catalogue"
            log.warning("zero points skipped: %s", reason)
            return _without(ZeroPoints(bands=(), results=(), reason=reason))
        cfg = self.config.zp
        found = measure_zero_points(
            inputs.merged,
            read_gaia_xp(inputs.gaia.path),
            clip_sigma=cfg.clip_sigma,
            clip_max_iters=cfg.clip_max_iters,
            zp_err_method=cfg.zp_err_method,
            zp_err_snr_min=cfg.zp_err_snr_min,
            estimate=self.config.skyloom.zp_estimate,
            surface=self.config.skyloom.zp_surface,
        )
        if not found.results:
            return _without(found)
        for band in found.results:
            log.info(
                "%s: zero point %.4f mag, scatter %.4f, standard error %.4f; %d stars (%d clipped, "
                "%d unreliable)%s",
                band.band,
                band.zp,
                band.zp_err,
                band.ml.mean_err if band.estimate == "ml" else band.zp_median_err,
                band.n_kept,
                band.n_clipped,
                band.n_unreliable,
                f", {band.surface.kind} over the frame" if band.surface else "",
            )
        return ZeroPointOutputs(
            zero_points=_as_dict(found),
            summary=found.summary_table(),
            per_object=found.star_table(),
            trends=found.trend_table(),
            stars=_all_stars(found),
        )


def _as_dict(found: ZeroPoints) -> dict[str, Any]:
    return {
        "bands": list(found.bands),
        "reason": found.reason,
        "zero_points": {
            r.band: {
                "zp": r.zp,
                "zp_err": r.zp_err,
                "estimate": r.estimate,
                "standard_error": r.ml.mean_err if r.estimate == "ml" else r.zp_median_err,
                "intrinsic": r.ml.intrinsic,
                "surface": None if r.surface is None else r.surface.as_dict(),
                "colour": r.stars.places.colour_name,
                "trends": [asdict(t) | {"is_significant": t.is_significant} for t in r.trends],
            }
            for r in found.results
        },
    }


def _without(found: ZeroPoints) -> ZeroPointOutputs:
    return ZeroPointOutputs(
        zero_points=_as_dict(found), summary=None, per_object=None, trends=None, stars=None
    )


def _all_stars(found: ZeroPoints) -> Table:
    """Return the stars of all bands, unreliable ones too."""
    columns: dict[str, list[Array]] = {}
    for result in found.results:
        s = result.stars
        with np.errstate(divide="ignore", invalid="ignore"):
            snr = np.where(s.flux_err > 0, s.flux / s.flux_err, 0.0)
        values = {
            "band": text_array([result.band] * len(s.mag)),
            "mag": s.mag,
            "zp": s.zp,
            "zp_err": s.zp_err,
            "snr": snr,
            "x": s.places.x,
            "y": s.places.y,
            "colour": s.places.colour,
            "correction": s.correction,
            "is_reliable": s.is_reliable,
            "is_kept": s.is_kept,
        }
        for name, value in values.items():
            columns.setdefault(name, []).append(np.asarray(value))
    return Table({name: np.concatenate(parts) for name, parts in columns.items()})


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogInputs:
    """The merged catalogue and, where there are any, the zero points."""

    merged: Annotated[Table, Dataset("merged")]
    zero_points: Annotated[dict[str, Any] | None, Dataset("zero_points", optional=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    wcs: Annotated[FitsImages, Dataset("wcs")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogOutputs:
    """The file that users read, and what its columns are."""

    catalog: Annotated[Table, Dataset("final_catalog")]
    units: Annotated[dict[str, Any], Dataset("catalog_units")]


class Catalog(Stage[TileConfig, CatalogInputs, CatalogOutputs]):
    """Write the catalogue, with magnitudes where there are zero points."""

    name = "catalog"
    version = 3
    light = True
    tolerant = True  # without zero points it is still a catalogue
    config_keys = ("skyloom.faint_magnitudes", EPOCH_KEY)

    @override
    def run(self, inputs: CatalogInputs) -> CatalogOutputs:
        """Return the merged catalogue with ``MAG_`` and ``MAGERR_`` columns."""
        facts = inputs.zero_points or {"bands": [], "zero_points": {}}
        values = {band: (z["zp"], _number(z["zp_err"])) for band, z in facts["zero_points"].items()}
        surfaces = {
            band: ZeroPointSurface.from_dict(z["surface"])
            for band, z in facts["zero_points"].items()
            if z.get("surface") is not None
        }
        catalog = apply_zero_points(
            inputs.merged,
            values,
            bands=facts["bands"],
            faint=self.config.skyloom.faint_magnitudes,
            surfaces=surfaces,
        )
        frame = working_wcs(inputs.wcs).wcs.radesys or "ICRS"
        facts = {"positions": position_facts(inputs.frames, self.config, frame)}
        return CatalogOutputs(catalog=catalog, units={**column_units(catalog), **facts})


def _number(value: float | None) -> float:
    return math.nan if value is None else value
