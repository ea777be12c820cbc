"""Configuration: strict models whose fields carry their unit and their sentence.

`Config` is the base of every section. `read_yaml` reads the user's file, `build_config` turns it
into a model or says in one line what is wrong with it; `render_sample` and `render_reference`
write the commented sample file and the reference page from the same model.
"""

from __future__ import annotations

from .build import build_config
from .io import YamlDocument, parse_yaml, read_yaml
from .model import (
    DEMAND,
    AutoInt,
    AutoPath,
    Config,
    Float,
    NonNegativeFloat,
    NonNegativeInt,
    OddInt,
    Percentile,
    PlainNumber,
    PositiveFloat,
    PositiveInt,
    Unit,
    UserPath,
    config_subset,
)
from .render import render_reference, render_sample
from .settings import Setting, list_settings

__all__ = [
    "DEMAND",
    "AutoInt",
    "AutoPath",
    "Config",
    "Float",
    "NonNegativeFloat",
    "NonNegativeInt",
    "OddInt",
    "Percentile",
    "PlainNumber",
    "PositiveFloat",
    "PositiveInt",
    "Setting",
    "Unit",
    "UserPath",
    "YamlDocument",
    "build_config",
    "config_subset",
    "list_settings",
    "parse_yaml",
    "read_yaml",
    "render_reference",
    "render_sample",
]
