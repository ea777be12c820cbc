"""An old object is a new one with the methods of the old name.

The docstring of each old method says what to write instead, after the word "Use".  The table of
`skyloom.compat.hsc.migration_table` is made from these lines.
"""

from __future__ import annotations

import importlib
from typing import Any, Final

from skyloom.errors import NotProvided

__all__ = ["Adapter", "new_of", "not_provided", "old_of"]

_HOMES: Final = {
    "skyloom.images.image.Image": "afw_image.Image",
    "skyloom.images.planes.Mask": "afw_image.Mask",
    "skyloom.images.masked_image.MaskedImage": "afw_image.MaskedImage",
    "skyloom.images.exposure.Exposure": "afw_image.Exposure",
    "skyloom.images.background.Background": "_backgrounds.Background",
    "skyloom.images.background.BackgroundList": "_backgrounds.BackgroundList",
    "skyloom.images.kernel_psf.KernelPsf": "afw_image.Psf",
    "skyloom.images.kernel_psf.PsfexPsf": "afw_image.Psf",
    "skyloom.images.coadd_psf.CoaddPsf": "afw_image.Psf",
    "skyloom.images.coadd_psf.GridPsf": "afw_image.Psf",
    "skyloom.images.sky_wcs.SkyWcs": "afw_image.Wcs",
    "skyloom.images.photo_calib.PhotoCalib": "afw_image.Calib",
    "skyloom.images.about.FilterLabel": "afw_image.Filter",
    "skyloom.images.about.Detector": "afw_image.Detector",
    "skyloom.catalogs.source_catalog.SourceCatalog": "afw_table.SourceCatalog",
    "skyloom.catalogs.source_record.SourceRecord": "afw_table.SourceRecord",
    "skyloom.catalogs.schema.Schema": "afw_table.Schema",
    "skyloom.catalogs.fields.Field": "afw_table.Field",
    "skyloom.catalogs.footprint.Footprint": "afw_table.Footprint",
    "skyloom.catalogs.footprint.HeavyFootprint": "afw_table.Footprint",
    "skyloom.catalogs.slots.Point": "afw_geom.Point2D",
    "skyloom.geometry.angle.Angle": "afw_geom.Angle",
    "skyloom.geometry.box.Box": "afw_geom.Box2I",
    "skyloom.geometry.coord.IcrsCoord": "afw_coord.IcrsCoord",
    "skyloom.geometry.coord.Fk5Coord": "afw_coord.Fk5Coord",
    "skyloom.geometry.coord.GalacticCoord": "afw_coord.GalacticCoord",
    "skyloom.geometry.coord.EclipticCoord": "afw_coord.EclipticCoord",
    "skyloom.geometry.ellipse.Quadrupole": "ellipses.Quadrupole",
    "skyloom.geometry.ellipse.Axes": "ellipses.Axes",
    "skyloom.butler.references.DataRef": "daf_persistence.DataRef",
    "astropy.io.fits.header.Header": "metadata.Metadata",
}
"""Class of a new object -> where its adapter is."""


class Adapter:
    """A new object, `new`, and old methods; what it does not have is asked of the new object."""

    new: Any

    @classmethod
    def of(cls, new: Any) -> Any:
        """Return the old form of a new object."""
        made = cls.__new__(cls)
        made.new = new
        return made

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__") or name == "new":
            raise AttributeError(name)
        try:
            return getattr(self.new, name)
        except AttributeError:
            raise not_provided(f"{type(self).__name__}.{name}") from None

    def __repr__(self) -> str:
        return repr(self.new)

    def __str__(self) -> str:
        return str(self.new)


def not_provided(what: str) -> NotProvided:
    """Return the error for an old name without counterpart."""
    return NotProvided(
        f"{what} of the HSC tools has no counterpart here; 'What differs' in docs/hsc_migration.md "
        "names what to use instead"
    )


def new_of(value: Any) -> Any:
    """Return the new form of an object that may be an old one."""
    if isinstance(value, Adapter):
        return value.new
    if isinstance(value, tuple) and not hasattr(value, "_fields"):
        return tuple(new_of(item) for item in value)
    return value


def old_of(value: Any) -> Any:
    """Return the old form of a new object; numbers, text and arrays stay what they are."""
    kind = type(value)
    home = _HOMES.get(f"{kind.__module__}.{kind.__qualname__}")
    if home is None:
        return value
    module, _, name = home.partition(".")
    found = getattr(importlib.import_module(f"skyloom.compat.hsc.{module}"), name)
    return found.of(value)
