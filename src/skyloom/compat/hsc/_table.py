"""What to write instead of each old call, read from the docstrings of the old methods."""

from __future__ import annotations

import importlib
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

__all__ = ["Replacement", "migration_table", "replacements"]

_OBJECTS: Final[tuple[tuple[str, str, str], ...]] = (
    ("Butler", "butler", "daf_persistence.Butler"),
    ("Butler", "dataRef", "daf_persistence.DataRef"),
    ("Butler", "mapper", "daf_persistence.Mapper"),
    ("Exposures and images", "exposure", "afw_image.Exposure"),
    ("Exposures and images", "maskedImage", "afw_image.MaskedImage"),
    ("Exposures and images", "image", "_planes.Planes"),
    ("Exposures and images", "image", "_planes.OnePlane"),
    ("Exposures and images", "mask", "afw_image.Mask"),
    ("Exposures and images", "metadata", "metadata.Metadata"),
    ("Exposures and images", "wcs", "afw_image.Wcs"),
    ("Exposures and images", "calib", "afw_image.Calib"),
    ("Exposures and images", "psf", "afw_image.Psf"),
    ("Exposures and images", "control", "afw_math.StatisticsControl"),
    ("Exposures and images", "statistics", "afw_math.Statistics"),
    ("Exposures and images", "control", "_backgrounds.BackgroundControl"),
    ("Exposures and images", "background", "_backgrounds.Background"),
    ("Exposures and images", "backgrounds", "_backgrounds.BackgroundList"),
    ("Exposures and images", "filter", "afw_image.Filter"),
    ("Exposures and images", "detector", "afw_image.Detector"),
    ("Exposures and images", "camera", "camera_geom.Camera"),
    ("Exposures and images", "ccd", "camera_geom.Ccd"),
    ("Exposures and images", "ffp", "meas_mosaic.FluxFitParams"),
    ("Catalogues", "sources", "afw_table.SourceCatalog"),
    ("Catalogues", "sources", "afw_table.Slots"),
    ("Catalogues", "source", "afw_table.SourceRecord"),
    ("Catalogues", "SourceTable", "afw_table.SourceTable"),
    ("Catalogues", "schema", "afw_table.Schema"),
    ("Catalogues", "field", "afw_table.Field"),
    ("Catalogues", "footprint", "afw_table.Footprint"),
    ("Catalogues", "span", "afw_table.Span"),
    ("Catalogues", "peak", "afw_table.Peak"),
    ("Display", "afwDisplay", "afw_display.Display"),
    ("Display", "mosaic", "display_utils.Mosaic"),
    ("Geometry", "angle", "afw_geom.Angle"),
    ("Geometry", "coord", "afw_coord.Coord"),
    ("Geometry", "box", "afw_geom.Box2I"),
    ("Geometry", "linear", "_transforms.LinearTransform"),
    ("Geometry", "affine", "_transforms.AffineTransform"),
    ("Geometry", "shape", "ellipses._Core"),
    ("Geometry", "quadrupole", "ellipses.Quadrupole"),
    ("Geometry", "axes", "ellipses.Axes"),
    ("Geometry", "ellipticity", "ellipses._Ellipticity"),
    ("Geometry", "separable", "ellipses.Separable"),
)
"""Topic, what an object is called, its class."""

_FUNCTIONS: Final[tuple[tuple[str, str, str, str], ...]] = (
    ("Butler", "hscButler", "daf_persistence", "getDataRef"),
    ("Exposures and images", "afwImage", "afw_image", "makeWcs"),
    ("Exposures and images", "afwImage", "afw_image", "readMetadata"),
    ("Exposures and images", "dafBase", "daf_base", "PropertyList"),
    ("Exposures and images", "afwMath", "afw_math", "makeStatistics"),
    ("Exposures and images", "afwMath", "afw_math", "makeBackground"),
    ("Exposures and images", "afwMath", "afw_math", "cast_BackgroundMI"),
    ("Exposures and images", "cameraGeom", "camera_geom", "cast_Ccd"),
    ("Exposures and images", "cameraGeom", "camera_geom", "cast_Raft"),
    ("Catalogues", "afwTable", "afw_table", "matchRaDec"),
    ("Catalogues", "afwTable", "afw_table", "matchXy"),
    ("Display", "afwDisplay", "afw_display", "getDisplay"),
    *(
        ("Display", "ds9", "ds9", name)
        for name in (
            "initDS9", "mtv", "dot", "line", "Buffering", "erase", "pan", "zoom",
            "setMaskTransparency", "setMaskPlaneColor", "setMaskPlaneVisibility",
        )
    ),
)  # fmt: skip
"""Topic, what a module is called, the module, a function."""

_USE: Final = re.compile(r"Use (.+?)\.?\s*$", re.DOTALL)


@dataclass(frozen=True, slots=True, kw_only=True)
class Replacement:
    """An old call, and what to write instead."""

    topic: str
    old: str
    new: str  # with its code in double backticks


def replacements() -> Iterator[Replacement]:
    """Yield each old call with what to write instead, in the order of the page."""
    for topic, name, address in _OBJECTS:
        for method, found in vars(_found(*address.split("."))).items():
            function = found.fget if isinstance(found, property) else found
            text = _instead(getattr(function, "__func__", function))
            if not method.startswith("_") and text:
                call = f"{name}.{method}" + ("" if isinstance(found, property) else "()")
                yield Replacement(topic=topic, old=call, new=text)
    for topic, name, module, function in _FUNCTIONS:
        if text := _instead(_found(module, function)):
            yield Replacement(topic=topic, old=f"{name}.{function}()", new=text)


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


def _found(module: str, name: str) -> Any:
    return getattr(importlib.import_module(f"skyloom.compat.hsc.{module}"), name)


def _instead(function: Any) -> str:
    doc = inspect.getdoc(function) if callable(function) else None
    found = _USE.match(doc.split("\n\n")[0]) if doc else None
    return " ".join(found[1].split()) if found else ""
