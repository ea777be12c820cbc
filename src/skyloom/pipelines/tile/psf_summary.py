"""The list of all PSFs of a tile, ``epsf_summary.json``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import override

from skyloom.flow import Dataset, Stage

from .config import TileConfig

__all__ = ["EpsfSummary"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryInputs:
    """All cells of all bands."""

    frames: Annotated[dict[str, Any], Dataset("frames")]
    metas: Annotated[dict[Any, dict[str, Any]], Dataset("epsf_meta", gather=("band", "cell"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOutputs:
    """List of all ``meta.json``."""

    summary: Annotated[list[dict[str, Any]], Dataset("epsf_summary")]


class EpsfSummary(Stage[TileConfig, SummaryInputs, SummaryOutputs]):
    """Join the metadata of all ePSF cells; a band without any failed."""

    name = "epsf-summary"
    version = 2
    tolerant = True
    light = True

    @override
    def run(self, inputs: SummaryInputs) -> SummaryOutputs:
        metas = list(inputs.metas.values())
        made = {meta["band"] for meta in metas}
        lost = [
            {"band": band, "status": "band_fail", "error": "the PSF failed: see skyloom status"}
            for band in inputs.frames["bands"]
            if band not in made
        ]
        return SummaryOutputs(summary=metas + lost)
