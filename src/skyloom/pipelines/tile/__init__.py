"""Multi-band tile photometry: aligned images of one field in, one calibrated catalogue out.

>>> from skyloom.pipelines.tile import run_tile
>>> result = run_tile("config.yaml", workers=4)  # doctest: +SKIP
>>> result.exit_status, result.seconds["epsf"].wall  # doctest: +SKIP
"""

from __future__ import annotations

from skyloom.pipelines.verbs import VERBS, Verb

from .config import TileConfig, load_config
from .run import RunOptions, TileRun, prepare_run, run_pipeline, run_tile

__all__ = [
    "VERBS",
    "RunOptions",
    "TileConfig",
    "TileRun",
    "Verb",
    "load_config",
    "prepare_run",
    "run_pipeline",
    "run_tile",
]
