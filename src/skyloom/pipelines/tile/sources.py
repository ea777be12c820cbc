"""Sources: positions in the working frame, exclusion flags, Gaia stars."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Annotated, Any, Final

import numpy as np
from astropy.table import Table
from astropy.wcs import WCS
from typing_extensions import override

from skyloom._types import Bools, Floats
from skyloom.butler import Array, FitsImages
from skyloom.calib import Augmentation, augment_catalog
from skyloom.catalogs import (
    InputCatalog,
    column_as_float,
    column_as_text,
    load_input_catalog,
    near_saturated,
    source_types,
    unique_keys,
    with_exclusions,
)
from skyloom.catalogs.values import table_name
from skyloom.flow import Dataset, Handle, Stage
from skyloom.geometry import Box, sky_to_pixel
from skyloom.images import MaskBit

from .config import TileConfig
from .epochs import EPOCH_KEY, gaia_of_tile
from .load import working_wcs

__all__ = ["BASE_COLUMNS", "Sources", "base_table", "saturated_pixels"]

log = logging.getLogger(__name__)

BASE_COLUMNS: Final = ("_is_injected_gaia", "x_pix_white", "y_pix_white", "row", "key")
"""What the base table has beyond the user's columns, the exclusion flags and the Gaia columns."""

KNOWN_TYPES: Final = ("STAR", "EXP", "DEV", "SERSIC", "REX", "GAL", "")
"""What TYPE may say; GAL and nothing mean ``patch_run.gal_model``."""

_EXAMPLES: Final = 5
_INTERNAL: Final = ("row", "key")
_ASIDE: Final = "input:"  # a user's column called row or key waits under this prefix


def saturated_pixels(masks: dict[str, Handle[dict[str, Array]]]) -> Iterator[Bools]:
    """Read the saturation mask of each band, one at a time."""
    return ((mask.read()["mask"] & np.uint8(MaskBit.SATURATED)) != 0 for mask in masks.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesInputs:
    """The user's catalogue and what the images say about it."""

    catalog: Annotated[Handle[Table], Dataset("input_catalog", lazy=True)]
    gaia: Annotated[Handle[Table] | None, Dataset("gaia_catalog", optional=True, lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    wcs: Annotated[FitsImages, Dataset("wcs")]
    masks: Annotated[
        dict[str, Handle[dict[str, Array]]], Dataset("band_mask", gather="band", lazy=True)
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class SourcesOutputs:
    """The base table of everything that follows."""

    sources: Annotated[Table, Dataset("sources")]
    augmented: Annotated[Table | None, Dataset("augmented_catalog", optional=True)]


class Sources(Stage[TileConfig, SourcesInputs, SourcesOutputs]):
    """Project the catalogue, flag what is not to be fitted, add Gaia stars."""

    name = "sources"
    config_keys = (
        "image_scaling.zp_ref",
        "crop.enabled",
        "source_saturation_cut",
        "-source_saturation_cut.saturation_divisor",
        "zp.enabled",
        "zp.inject_gaia_sources",
        "zp.gaia_mag_min",
        "zp.gaia_mag_max",
        "zp.match_radius_arcsec",
        "zp.min_box_size_pix",
        "zp.gaia_pos_err_pix",
        EPOCH_KEY,
    )

    @override
    def run(self, inputs: SourcesInputs) -> SourcesOutputs:
        """Return the base table: one row per source, in the order of the catalogue."""
        cfg = self.config
        catalog = load_input_catalog(inputs.catalog.path, bands=inputs.frames["bands"])
        wcs = working_wcs(inputs.wcs)
        catalog = self._flagged(catalog, inputs, wcs)
        injected = np.zeros(len(catalog), dtype=bool)
        augmented, meta = None, {}
        table = catalog.table
        if cfg.zp.enabled and inputs.gaia is not None:
            result, dropped = self._augment(catalog, inputs, wcs)
            table, injected = result.table, result.is_injected
            meta = _picture_facts(result, dropped)
            augmented = table if result.changed else None
        ids = catalog.columns.id
        x, y = sky_to_pixel(
            wcs,
            column_as_float(table, catalog.columns.ra),
            column_as_float(table, catalog.columns.dec),
        )
        base = _with_base_columns(
            table,
            x=x,
            y=y,
            injected=injected,
            key=unique_keys(
                column_as_text(table, ids) if ids else np.full(len(table), "", dtype=np.str_)
            ),
        )
        base.meta = meta
        _tell(base)
        _tell_types(catalog)
        return SourcesOutputs(sources=base, augmented=augmented)

    def _flagged(self, catalog: InputCatalog, inputs: SourcesInputs, wcs: WCS) -> InputCatalog:
        """Add the exclusion flags to the table of a catalogue."""
        x, y = sky_to_pixel(wcs, catalog.ra, catalog.dec)
        ny, nx = inputs.frames["shape"]
        nobody = np.zeros(len(catalog), dtype=bool)
        crop = ~Box.of_shape((ny, nx)).contains(x, y) if self.config.crop.enabled else nobody
        cut = self.config.source_saturation_cut.enabled
        saturation = self._near_saturated(inputs, x, y) if cut else nobody
        table = with_exclusions(catalog.table, crop=crop, saturation=saturation)
        return replace(catalog, table=table)

    def _near_saturated(self, inputs: SourcesInputs, x: Floats, y: Floats) -> Bools:
        cut = self.config.source_saturation_cut
        return near_saturated(
            x,
            y,
            saturated_pixels(inputs.masks),
            radius=cut.radius_pix,
            require_all_bands=cut.require_all_bands,
        )

    def _augment(
        self, catalog: InputCatalog, inputs: SourcesInputs, wcs: WCS
    ) -> tuple[Augmentation, Floats]:
        """Return the catalogue with Gaia stars, and where stars were dropped, shape (n, 2)."""
        assert inputs.gaia is not None
        cfg = self.config
        dropped = [np.zeros((0, 2))]

        def is_saturated(x: Floats, y: Floats) -> Bools:
            near = self._near_saturated(inputs, x, y)
            dropped.append(np.column_stack([x[near], y[near]]))
            return near

        ny, nx = inputs.frames["shape"]
        result = augment_catalog(
            catalog,
            gaia_of_tile(inputs.gaia.path, inputs.frames, cfg),
            wcs=wcs,
            shape=(ny, nx),
            active=~np.asarray(catalog.table["excluded_any"]),
            bands=inputs.frames["bands"],
            zp_ref=cfg.image_scaling.zp_ref,
            gaia_mag_min=cfg.zp.gaia_mag_min,
            gaia_mag_max=cfg.zp.gaia_mag_max,
            match_radius_arcsec=cfg.zp.match_radius_arcsec,
            min_box_size_pix=cfg.zp.min_box_size_pix,
            inject=cfg.zp.inject_gaia_sources,
            pos_err_pix=cfg.zp.gaia_pos_err_pix,
            is_saturated=is_saturated if cfg.source_saturation_cut.enabled else None,
        )
        return result, np.concatenate(dropped)


def _tell_types(catalog: InputCatalog) -> None:
    """Warn of types that are missing or that nobody knows."""
    where, types = table_name(catalog.table), source_types(catalog.table, catalog.columns)
    if (types == "").all():
        log.warning(
            "%s: no source has a TYPE: all are fitted as patch_run.gal_model; write STAR, EXP, DEV "
            "or SERSIC, or set skyloom.model_choice: auto",
            where,
        )
        return
    odd = [t for t in np.unique(types).tolist() if t not in KNOWN_TYPES]
    if odd:
        log.warning(
            "%s, column %s: %d rows have an unknown TYPE (%s) and are fitted as "
            "patch_run.gal_model; write STAR, EXP, DEV or SERSIC",
            where,
            catalog.columns.type,
            int(np.isin(types, odd).sum()),
            ", ".join(odd[:_EXAMPLES]),
        )


def _picture_facts(result: Augmentation, dropped: Floats) -> dict[str, Any]:
    box = result.box
    return {"gaia_box": [box.x0, box.x1, box.y0, box.y1], "gaia_dropped": dropped.tolist()}


def _with_base_columns(table: Table, *, x: Floats, y: Floats, injected: Bools, key: Array) -> Table:
    """Return the base table; the user's columns of the same names step aside or are replaced."""
    base = table.copy(copy_data=False)
    for name in _INTERNAL:
        if name in base.colnames:
            base.rename_column(name, _ASIDE + name)
    columns = (injected, x, y, np.arange(len(base), dtype=np.int64), key)
    for name, values in zip(BASE_COLUMNS, columns, strict=True):
        if name in base.colnames:
            log.warning("column %s of the input catalogue is replaced by that of this run", name)
            base.remove_column(name)
        base[name] = values
    base["x_pix_white"].unit = base["y_pix_white"].unit = "pix"
    return base


def base_table(sources: Table) -> Table:
    """Return the user's columns, flags and Gaia columns of the base table, as they were named."""
    base = sources.copy(copy_data=False)
    base.remove_columns(list(BASE_COLUMNS))
    for name in _INTERNAL:
        if _ASIDE + name in base.colnames:
            base.rename_column(_ASIDE + name, name)
    base.meta = {}
    return base


def _tell(base: Table) -> None:
    counts = {n: int(np.sum(base[f"excluded_{n}"])) for n in ("crop", "saturation", "any")}
    log.info(
        "%d of %d sources are active; excluded: %d by the crop, %d by saturation",
        len(base) - counts["any"],
        len(base),
        counts["crop"],
        counts["saturation"],
    )
