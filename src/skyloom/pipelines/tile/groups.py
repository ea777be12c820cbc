"""Stage ``groups``: what each row is fitted as, with whom, and by which patch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree
from typing_extensions import override

from skyloom._types import Bools, Floats
from skyloom.catalogs import column_as_bool
from skyloom.flow import Dataset, Stage
from skyloom.geometry import patches_from_rows
from skyloom.images import Frame
from skyloom.scene import SourceType, blend_groups

from .config import TileConfig
from .start import start_values

__all__ = ["Groups", "saturation_reach"]

REACH = 25.0  # pix: within it a third of the sources next to a saturated star are outliers
REACH_PER_AREA = 5.0  # pix per sqrt(saturated pixels): larger stars have larger halos


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsInputs:
    """All sources, the patches, and what is saturated."""

    sources: Annotated[Table, Dataset("sources")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    patches: Annotated[list[dict[str, Any]], Dataset("patches_json")]
    saturation: Annotated[dict[str, dict[str, Any]], Dataset("saturation", gather="band")]


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupsOutputs:
    """One row per input row; see `Groups`."""

    groups: Annotated[Table, Dataset("groups")]


class Groups(Stage[TileConfig, GroupsInputs, GroupsOutputs]):
    """Decide model, blend group and patches of every source.

    Columns of the product: ``row``; ``kind`` (`SourceType`, -1 not fitted); ``saturated``,
    ``near_saturated``, ``forced_star``; ``hidden`` (modelled, not reported); ``open_type`` (its
    type may be changed); ``group`` and
    ``block`` (lowest row); ``patch`` (tag of the patch whose base box holds the source) and
    ``unit`` (tag of the patch that fits its group: that of the group's lowest row).
    """

    name = "groups"
    version = 2
    config_keys = (
        "patch_run.gal_model",
        "patch_run.re_fallback_pix",
        "patch_run.sersic_n_init",
        "patch_run.fallback_default_fwhm_pix",
        "skyloom.model_choice",
    )
    light = True

    @override
    def run(self, inputs: GroupsInputs) -> GroupsOutputs:
        bands = inputs.frames["bands"]
        shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
        start = start_values(inputs.sources, bands, shape, self.config.patch_run)
        rows = len(start.kind)
        place = np.full(rows, "", dtype="U32")
        for p in patches_from_rows(inputs.patches):
            place[p.base.contains(start.x, start.y)] = p.tag
        active = start.active & (place != "")
        area = np.zeros(rows)
        for found in inputs.saturation.values():
            np.maximum.at(area, np.array(found["rows"], dtype=np.int64), found["area"])
        saturated = active & (area > 0)
        forced = saturated & (start.kind != SourceType.STAR)
        # What the saturation cut excludes is not reported, but its light is modelled.
        hidden = ~active & (place != "") & column_as_bool(inputs.sources, "excluded_saturation")
        hidden &= ~column_as_bool(inputs.sources, "excluded_crop")
        star = (active | hidden) & (area > 0)
        kind = np.where(star, int(SourceType.STAR), start.catalogue_kind)
        kind = np.where(active | hidden, kind, -1)
        fwhm = self._fwhm(inputs.frames)
        members = np.flatnonzero(active | hidden)
        radius = np.where(kind == SourceType.STAR, 0.0, np.exp(start.log_r))
        partition = blend_groups(
            start.x[members], start.y[members], radius[members], psf_sigma=fwhm / 2.3548
        )
        group, block = np.full(rows, -1), np.full(rows, -1)
        group[members] = members[partition.group]
        block[members] = members[partition.block]
        unit = np.where(group >= 0, place[group], "")
        blobs = [b for found in inputs.saturation.values() for b in found["blobs"]]
        near = saturation_reach(start.x, start.y, np.array(blobs).reshape(-1, 3))
        near &= active | hidden
        near &= ~saturated
        open_type = active & ~saturated & ~near & (self.config.skyloom.model_choice == "auto")
        return GroupsOutputs(
            groups=Table(
                {
                    "row": np.arange(rows),
                    "kind": kind.astype(np.int64),
                    "saturated": saturated,
                    "near_saturated": near,
                    "forced_star": forced,
                    "group": group.astype(np.int64),
                    "block": block.astype(np.int64),
                    "hidden": hidden,
                    "open_type": open_type,
                    "patch": np.where(active, place, ""),
                    "unit": unit,
                }
            )
        )

    def _fwhm(self, frames: dict[str, Any]) -> float:
        """Return the largest FWHM of all bands [pix]."""
        default = self.config.patch_run.fallback_default_fwhm_pix
        found = [Frame.from_dict(f).fwhm_pix or default for f in frames["frames"].values()]
        return max(found)


def saturation_reach(x: Floats, y: Floats, blobs: Floats) -> Bools:
    """Tell which positions lie within reach of a saturated star's halo.

    Parameters
    ----------
    x, y : ndarray, shape (n,)
        Positions [pix]; NaN is never near.
    blobs : ndarray, shape (m, 3)
        x, y [pix] and area [pix] of saturated regions.
    """
    near = np.zeros(len(x), np.bool_)
    rows = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if len(rows) == 0 or len(blobs) == 0:
        return near
    tree = cKDTree(np.column_stack([x[rows], y[rows]]))
    for bx, by, area in blobs:
        near[rows[tree.query_ball_point([bx, by], REACH + REACH_PER_AREA * np.sqrt(area))]] = True
    return near
