"""Old names of `skyloom.catalogs`: ``lsst.afw.table``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple, Self, final

import numpy as np

from skyloom.catalogs import SourceCatalog as NewCatalog
from skyloom.compat.hsc._adapter import Adapter, new_of, old_of
from skyloom.compat.hsc.afw_coord import IcrsCoord
from skyloom.compat.hsc.afw_geom import Angle, Box2I, Point2D
from skyloom.compat.hsc.ellipses import Quadrupole

__all__ = [
    "SOURCE_IO_NO_FOOTPRINTS",
    "SOURCE_IO_NO_HEAVY_FOOTPRINTS",
    "BaseCatalog",
    "Field",
    "Footprint",
    "Key",
    "Peak",
    "Schema",
    "SchemaItem",
    "Slots",
    "SourceCatalog",
    "SourceRecord",
    "Span",
]


@final
class Key(str):
    """What ``schema.find(name).key`` gave; here it is the name of the field."""

    __slots__ = ()


@final
class Field(Adapter):
    """One field of a schema."""

    def getName(self) -> Any:
        """Use ``field.name``."""
        return self.new.name

    def getDoc(self) -> Any:
        """Use ``field.doc``."""
        return self.new.doc

    def getUnits(self) -> Any:
        """Use ``field.units``."""
        return self.new.units

    def getTypeString(self) -> Any:
        """Use ``field.type_name``."""
        return self.new.type_name


@final
class SchemaItem:
    """A field and its key."""

    def __init__(self, field: Any) -> None:
        self.field: Field = Field.of(field)
        self.key = Key(field.name)

    def getKey(self) -> Key:
        """Use the name of the field."""
        return self.key

    def getField(self) -> Field:
        """Use ``schema.find(name)``."""
        return self.field


@final
class Schema(Adapter):
    """The fields of a catalogue."""

    def getNames(self) -> set[str]:
        """Use ``schema.names``."""
        return set(self.new.names)

    def getOrderedNames(self) -> list[str]:
        """Use ``schema.names``."""
        return list(self.new.names)

    def find(self, name: str) -> SchemaItem:
        """Use ``schema.find(name)``."""
        return SchemaItem(self.new.find(name))

    def asList(self) -> list[SchemaItem]:
        """Use ``list(schema)``."""
        return [SchemaItem(field) for field in self.new]

    def __contains__(self, name: object) -> bool:
        return name in self.new

    def __iter__(self) -> Iterator[SchemaItem]:
        return iter(self.asList())

    def __len__(self) -> int:
        return len(self.new)


class Span(NamedTuple):
    """A run of pixels, both ends included."""

    y: int
    x0: int
    x1: int

    def getY(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.y

    def getX0(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.x0

    def getX1(self) -> int:
        """Use ``y, x0, x1 = span``."""
        return self.x1

    def getWidth(self) -> int:
        """Use ``x1 - x0 + 1``."""
        return self.x1 - self.x0 + 1


@final
class Peak(Adapter):
    """A peak of a footprint."""

    def getFx(self) -> float:
        """Use ``peak["f_x"]``."""
        return float(self.new["f_x"])

    def getFy(self) -> float:
        """Use ``peak["f_y"]``."""
        return float(self.new["f_y"])

    def getIx(self) -> int:
        """Use ``peak["i_x"]``."""
        return int(self.new["i_x"])

    def getIy(self) -> int:
        """Use ``peak["i_y"]``."""
        return int(self.new["i_y"])

    def getPeakValue(self) -> float:
        """Use ``peak["peakValue"]``."""
        return float(self.new["peakValue"])


@final
class Footprint(Adapter):
    """The pixels of a source."""

    def getArea(self) -> int:
        """Use ``footprint.area``."""
        return int(self.new.area)

    def getNpix(self) -> int:
        """Use ``footprint.area``."""
        return int(self.new.area)

    def getBBox(self) -> Box2I:
        """Use ``footprint.box``."""
        made: Box2I = Box2I.of(self.new.box)
        return made

    def getPeaks(self) -> list[Peak]:
        """Use ``footprint.peaks``."""
        return [Peak.of(peak) for peak in self.new.peaks]

    def getSpans(self) -> list[Span]:
        """Use ``footprint.spans.spans``: rows of ``y, x0, x1``."""
        return [Span(*row) for row in self.new.spans.spans.tolist()]

    def isHeavy(self) -> bool:
        """Use ``footprint.is_heavy``."""
        return bool(self.new.is_heavy)


class Slots(Adapter):
    """Slot accessors: columns of a catalogue, values of a record."""

    def get(self, name: str) -> Any:
        """Use ``sources.get(name)``."""
        return old_of(self.new.get(name))

    def set(self, name: str, value: Any) -> None:
        """Use ``sources.set(name, value)``."""
        self.new.set(name, new_of(value))

    def getSchema(self) -> Schema:
        """Use ``sources.schema``."""
        made: Schema = Schema.of(self.new.schema)
        return made

    def getId(self) -> Any:
        """Use ``sources.id``."""
        return self.new.id

    def getParent(self) -> Any:
        """Use ``sources.parent``."""
        return self.new.parent

    def getX(self) -> Any:
        """Use ``sources.x``."""
        return self.new.x

    def getY(self) -> Any:
        """Use ``sources.y``."""
        return self.new.y

    def getIxx(self) -> Any:
        """Use ``sources.ixx``."""
        return self.new.ixx

    def getIyy(self) -> Any:
        """Use ``sources.iyy``."""
        return self.new.iyy

    def getIxy(self) -> Any:
        """Use ``sources.ixy``."""
        return self.new.ixy

    def getRa(self) -> Angle:
        """Use ``sources.ra``."""
        return Angle(self.new.ra)

    def getDec(self) -> Angle:
        """Use ``sources.dec``."""
        return Angle(self.new.dec)

    def getPsfFlux(self) -> Any:
        """Use ``sources.psf_flux``."""
        return self.new.psf_flux

    def getPsfFluxErr(self) -> Any:
        """Use ``sources.psf_flux_err``."""
        return self.new.psf_flux_err

    def getPsfFluxFlag(self) -> Any:
        """Use ``sources.psf_flux_flag``."""
        return self.new.psf_flux_flag

    def getApFlux(self) -> Any:
        """Use ``sources.ap_flux``."""
        return self.new.ap_flux

    def getApFluxErr(self) -> Any:
        """Use ``sources.ap_flux_err``."""
        return self.new.ap_flux_err

    def getModelFlux(self) -> Any:
        """Use ``sources.model_flux``."""
        return self.new.model_flux

    def getModelFluxErr(self) -> Any:
        """Use ``sources.model_flux_err``."""
        return self.new.model_flux_err

    def getInstFlux(self) -> Any:
        """Use ``sources.inst_flux``."""
        return self.new.inst_flux

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)


@final
class SourceRecord(Slots):
    """One source."""

    def getCentroid(self) -> Point2D:
        """Use ``source.centroid``."""
        return Point2D(self.new.x, self.new.y)

    def getShape(self) -> Quadrupole:
        """Use ``source.shape``."""
        made: Quadrupole = Quadrupole.of(self.new.shape)
        return made

    def getCoord(self) -> IcrsCoord:
        """Use ``source.coord``."""
        made: IcrsCoord = IcrsCoord.of(self.new.coord)
        return made

    def getFootprint(self) -> Any:
        """Use ``source.footprint``."""
        return old_of(self.new.footprint)

    def __getitem__(self, name: str) -> Any:
        return self.get(name)


@final
class SourceCatalog(Slots):
    """The sources of a catalogue."""

    new: NewCatalog

    def __init__(self, source: Any) -> None:
        self.new = NewCatalog.read(source) if isinstance(source, str) else new_of(source)

    @classmethod
    def readFits(cls, path: str) -> SourceCatalog:
        """Use ``SourceCatalog.read(path)``."""
        return cls(path)

    def writeFits(self, path: str) -> None:
        """Use ``sources.write(path, overwrite=True)``."""
        self.new.write(path, overwrite=True)

    def getColumnView(self) -> Self:
        """Use the catalogue itself: columns need no view."""
        return self

    def isContiguous(self) -> bool:
        """Use nothing: a catalogue always is."""
        return len(self.new) >= 0

    def copy(self, deep: bool = False) -> SourceCatalog:
        """Use ``sources.copy()``."""
        return SourceCatalog(self.new.copy(deep=deep))

    def subset(self, which: Any) -> SourceCatalog:
        """Use ``sources[which]``, of a boolean array."""
        return SourceCatalog(self.new[np.asarray(which, dtype=bool)])

    def sort(self) -> None:
        """Use ``sources = sources.sorted_by("id")``."""
        self.new = self.new.sorted_by("id")

    def find(self, id_: int) -> SourceRecord:
        """Use ``sources.find(id)``."""
        made: SourceRecord = SourceRecord.of(self.new.find(id_))
        return made

    def __len__(self) -> int:
        return len(self.new)

    def __iter__(self) -> Iterator[SourceRecord]:
        return (SourceRecord.of(record) for record in self.new)

    def __getitem__(self, key: Any) -> Any:
        return self.get(key) if isinstance(key, str) else old_of(self.new[key])


BaseCatalog = SourceCatalog

SOURCE_IO_NO_FOOTPRINTS = SOURCE_IO_NO_HEAVY_FOOTPRINTS = 0
"""Once flags for ``get``; footprints are read when they are asked for."""
