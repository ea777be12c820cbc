"""What to write instead of each old call, read from the docstrings of the old methods."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

from skyloom.compat.hsc import (
    afw_coord,
    afw_geom,
    afw_image,
    afw_table,
    daf_persistence,
    ds9,
    ellipses,
    meas_mosaic,
    metadata,
)
from skyloom.compat.hsc._planes import Planes, _OnePlane
from skyloom.compat.hsc.afw_table import _Slots

__all__ = ["Replacement", "migration_table", "replacements"]

_OBJECTS: Final[tuple[tuple[str, str, type], ...]] = (
    ("Butler", "butler", daf_persistence.Butler),
    ("Butler", "dataRef", daf_persistence.DataRef),
    ("Exposures and images", "exposure", afw_image.Exposure),
    ("Exposures and images", "maskedImage", afw_image.MaskedImage),
    ("Exposures and images", "image", Planes),
    ("Exposures and images", "image", _OnePlane),
    ("Exposures and images", "mask", afw_image.Mask),
    ("Exposures and images", "metadata", metadata.Metadata),
    ("Exposures and images", "wcs", afw_image.Wcs),
    ("Exposures and images", "calib", afw_image.Calib),
    ("Exposures and images", "psf", afw_image.Psf),
    ("Exposures and images", "filter", afw_image.Filter),
    ("Exposures and images", "detector", afw_image.Detector),
    ("Exposures and images", "ffp", meas_mosaic.FluxFitParams),
    ("Catalogues", "sources", afw_table.SourceCatalog),
    ("Catalogues", "sources", _Slots),
    ("Catalogues", "source", afw_table.SourceRecord),
    ("Catalogues", "schema", afw_table.Schema),
    ("Catalogues", "field", afw_table.Field),
    ("Catalogues", "footprint", afw_table.Footprint),
    ("Geometry", "angle", afw_geom.Angle),
    ("Geometry", "coord", afw_coord.Coord),
    ("Geometry", "box", afw_geom.Box2I),
    ("Geometry", "quadrupole", ellipses.Quadrupole),
    ("Geometry", "axes", ellipses.Axes),
)
_FUNCTIONS: Final[tuple[tuple[str, str, Any], ...]] = (
    ("Butler", "hscButler", daf_persistence.getDataRef),
    ("Display", "ds9", ds9.initDS9),
    ("Display", "ds9", ds9.mtv),
    ("Display", "ds9", ds9.dot),
    ("Display", "ds9", ds9.line),
    ("Display", "ds9", ds9.Buffering),
    ("Display", "ds9", ds9.erase),
    ("Display", "ds9", ds9.pan),
    ("Display", "ds9", ds9.zoom),
    ("Display", "ds9", ds9.setMaskTransparency),
    ("Display", "ds9", ds9.setMaskPlaneColor),
    ("Display", "ds9", ds9.setMaskPlaneVisibility),
)
_USE: Final = re.compile(r"Use (.+?)\.?\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """An old call, and what to write instead."""

    topic: str
    old: str
    new: str  # with its code in double backticks


def replacements() -> Iterator[Replacement]:
    """Yield each old call with what to write instead, in the order of the page."""
    for topic, name, kind in _OBJECTS:
        for method, found in vars(kind).items():
            function = found.fget if isinstance(found, property) else found
            text = _instead(getattr(function, "__func__", function))
            if not method.startswith("_") and text:
                call = f"{name}.{method}" + ("" if isinstance(found, property) else "()")
                yield Replacement(topic=topic, old=call, new=text)
    for topic, module, function in _FUNCTIONS:
        if text := _instead(function):
            yield Replacement(topic=topic, old=f"{module}.{function.__name__}()", new=text)


def migration_table() -> str:
    """Return the tables of ``docs/hsc_migration.md``."""
    rows = list(replacements())
    lines = []
    for topic in dict.fromkeys(row.topic for row in rows):
        lines += [f"### {topic}", "", "| old | new |", "|---|---|"]
        for row in rows:
            if row.topic == topic:
                new = row.new.replace("``", "`").replace("|", "\\|")
                lines.append(f"| `{row.old}` | {new} |")
        lines.append("")
    return "\n".join(lines)


def _instead(function: Any) -> str:
    doc = inspect.getdoc(function) if callable(function) else None
    found = _USE.match(doc.split("\n\n")[0]) if doc else None
    return " ".join(found[1].split()) if found else ""
