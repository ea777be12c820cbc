"""The page ``docs/output.md``: products, columns and flags, from the tables in the code."""

from __future__ import annotations

import itertools
import re
from collections.abc import Iterator

from skyloom.butler import Layout
from skyloom.flags import FitFlag

from .column_units import COLUMN_MEANINGS

__all__ = ["column_names", "output_reference"]

_INTRO = """# Output of the tile pipeline

```
skyloom tile run --config tile.yaml
skyloom status work
```

leaves these files below `outputs.work_dir`. `{band}` is the FILTER of an image, `{cell}` a PSF
cell (`r00_c01`), `{patch}` a patch (`r00_c01_pr02_pc03`); directories are those of the
configuration. Files below `skyloom/` are what one step hands to the next.
[conventions.md](conventions.md) says what pixels, angles, fluxes and errors mean.

This page is generated from the code: `make docs`.
"""

_COLUMNS = """## Columns of the catalogue

The final catalogue has the input columns, then these; those of patches
(`{patch}_cat_fit.csv`) are the same but for magnitudes. Units are also in
`output_catalog.csv.units.json`. With single bands
(`enable_multi_band_simultaneous_fitting: false`) positions, shapes and `opt_*` have a band in
their names. `skyloom.faint_magnitudes` adds asinh magnitudes (`ASINH_*`) or upper limits (`LIM_*`).
What is missing is empty.
"""


def output_reference() -> str:
    """Render the page."""
    parts = [_INTRO, "## Files\n", "\n".join(_files()), "", _COLUMNS, "\n".join(_columns()), ""]
    parts += ["## Bits of `fit_flags`\n", "\n".join(_flags())]
    return "\n".join(parts) + "\n"


def _files() -> Iterator[str]:
    layout = Layout.load("tile")
    yield "| file | format | holds |"
    yield "|---|---|---|"
    for kind in layout.types.values():
        if kind.template is None:
            continue
        path = kind.template
        for name, value in layout.variables.items():
            path = path.replace("{" + name + "}", value)
        yield f"| `{path}` | {kind.format} | {kind.doc} |"


def _columns() -> Iterator[str]:
    yield "| column | unit | meaning |"
    yield "|---|---|---|"
    for pattern, unit, meaning in COLUMN_MEANINGS:
        names = ", ".join(f"`{name}`" for name in column_names(pattern))
        yield f"| {names} | {unit} | {meaning} |"


def _flags() -> Iterator[str]:
    yield "| bit | name | meaning |"
    yield "|---|---|---|"
    for value, name, meaning in FitFlag.table():
        yield f"| {value} | `{name}` | {meaning} |"


def column_names(pattern: str) -> list[str]:
    """Return the names that a pattern of `COLUMN_MEANINGS` stands for, as people write them.

    Any band is ``{band}``, any text ``*``; bands that only single-band fits have are left out.
    """
    text = pattern.replace("(?P<band>.+)", "{band}").replace("(_.+)?", "").replace(".*", "*")
    names: list[str] = []
    for part in re.split(r"\|(?![^(]*\))", text):
        choices = []
        for literal, letters, group, optional in re.findall(
            r"([^\[\](]+)|\[(\w+)\]|\(([^)]*)\)(\??)", part
        ):
            options = [literal] if literal else list(letters) or group.split("|")
            choices.append(["", *options] if optional else options)
        names += ["".join(choice) for choice in itertools.product(*choices)]
    return names
