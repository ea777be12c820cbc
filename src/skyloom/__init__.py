"""Skyloom: calibrated survey images in, science catalogues out.

>>> import skyloom
>>> config = skyloom.load_config("tile.yaml")  # doctest: +SKIP
>>> skyloom.run_pipeline(config).exit_status  # doctest: +SKIP
0
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["__version__", "load_config", "run_pipeline"]

__version__ = "0.1.0"

# By name and on demand: `import skyloom` stays quick, and no room depends on those above it.
_TILE = "skyloom.pipelines.tile"


def load_config(path: str | Path) -> Any:
    """Read a configuration of the tile pipeline; see `skyloom.pipelines.tile.load_config`."""
    return importlib.import_module(_TILE).load_config(path)


def run_pipeline(config: Any, verb: str = "run", **overrides: Any) -> Any:
    """Run the tile pipeline; see `skyloom.pipelines.tile.run_pipeline`."""
    return importlib.import_module(_TILE).run_pipeline(config, verb, **overrides)
