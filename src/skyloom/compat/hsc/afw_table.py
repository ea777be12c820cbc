"""Old names of `skyloom.catalogs`: ``lsst.afw.table``."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final, Self, final

import numpy as np

from skyloom.catalogs import Field as NewField
from skyloom.catalogs import Schema as NewSchema
from skyloom.catalogs import SourceCatalog as NewCatalog
from skyloom.compat.hsc._adapter import Adapter, new_of, old_of
from skyloom.compat.hsc._footprints import Footprint, Peak, Span
from skyloom.compat.hsc._matches import SourceMatch, matchRaDec, matchXy
from skyloom.compat.hsc.afw_coord import IcrsCoord
from skyloom.compat.hsc.afw_geom import Angle, Point2D
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
    "SourceMatch",
    "SourceRecord",
    "SourceTable",
    "Span",
    "matchRaDec",
    "matchXy",
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


_TYPES: Final = {float: "D", int: "L", bool: "Flag", str: "String", np.float32: "F", np.int32: "I"}


@final
class Schema(Adapter):
    """The fields of a catalogue."""

    new: NewSchema

    def __init__(self, fields: Any = ()) -> None:
        self.new = NewSchema(list(fields))

    def addField(
        self,
        field: Any,
        type: Any = "D",  # noqa: A002 - its old name
        doc: str = "",
        units: str = "",
        size: int | None = None,
    ) -> Key:
        """Use ``schema.with_field(Field(name, type, doc, units))``."""
        if not isinstance(field, str):
            found = new_of(field)
        else:
            found = NewField(field, _TYPES.get(type, type), doc, units, size)
        self.new = self.new.with_field(found)
        return Key(found.name)

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

    def __str__(self) -> str:
        lines = (
            f'    (Field[\'{f.type}\'](name="{f.name}", doc="{f.doc}"'
            + (f', units="{f.units}"' if f.units else "")
            + f"), Key<{f.type}>),"
            for f in self.new
        )
        return "\n".join(["Schema(", *lines, ")"])


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

    @property
    def schema(self) -> Schema:
        """Use ``sources.schema``."""
        return self.getSchema()

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

    def getShapeFlag(self) -> Any:
        """Use ``sources.shape_flag``."""
        return self.new.shape_flag

    def getCentroidFlag(self) -> Any:
        """Use ``sources.centroid_flag``."""
        return self.new.centroid_flag

    def __setitem__(self, name: str, value: Any) -> None:
        self.set(name, value)


@final
class SourceRecord(Slots):
    """One source."""

    _owner: SourceCatalog | None = None
    _row: int = 0
    _record: Any = None

    @property
    def new(self) -> Any:
        """The new record; one that was added belongs to its catalogue, however that grows."""
        return self._record if self._owner is None else self._owner.new[self._row]

    @new.setter
    def new(self, record: Any) -> None:
        self._record = record

    @classmethod
    def added(cls, owner: SourceCatalog, row: int) -> SourceRecord:
        """Return a row of a catalogue that may grow."""
        made = cls.__new__(cls)
        made._owner, made._row = owner, row
        return made

    def setId(self, value: int) -> None:
        """Use ``source.set("id", value)``."""
        self.new.set("id", int(value))

    def setParent(self, value: int) -> None:
        """Use ``source.set("parent", value)``."""
        self.new.set("parent", int(value))

    def setRa(self, angle: Angle) -> None:
        """Use ``source.set("coord_ra", radians)``."""
        self.new.set("coord_ra", angle.asRadians())

    def setDec(self, angle: Angle) -> None:
        """Use ``source.set("coord_dec", radians)``."""
        self.new.set("coord_dec", angle.asRadians())

    def setCoord(self, coord: Any) -> None:
        """Use ``source.set("coord_ra", radians)``, and ``coord_dec``."""
        self.setRa(coord.getRa())
        self.setDec(coord.getDec())

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
class SourceTable:
    """What catalogues of one schema are made of; a schema, here."""

    def __init__(self, schema: Schema) -> None:
        self.schema = schema
        self.new = schema.new

    @staticmethod
    def makeMinimalSchema() -> Schema:
        """Use ``Schema([Field("id", "L"), Field("coord_ra", "Angle"), ...])``."""
        return Schema(
            [
                NewField("id", "L", "unique ID"),
                NewField("coord_ra", "Angle", "position in ra/dec", "rad"),
                NewField("coord_dec", "Angle", "position in ra/dec", "rad"),
                NewField("parent", "L", "unique ID of parent source"),
            ]
        )

    @classmethod
    def make(cls, schema: Schema, id_factory: Any = None) -> SourceTable:  # noqa: ARG003
        """Use ``SourceCatalog.empty(schema)``."""
        return cls(schema)

    def getSchema(self) -> Schema:
        """Use the schema itself."""
        return self.schema


@final
class SourceCatalog(Slots):
    """The sources of a catalogue."""

    new: NewCatalog

    _room: NewCatalog | None = None  # what rows are added to

    def __init__(self, source: Any) -> None:
        if isinstance(source, (SourceTable, Schema)):
            self.new = NewCatalog.empty(source.new)
        else:
            self.new = NewCatalog.read(source) if isinstance(source, str) else new_of(source)

    def addNew(self) -> SourceRecord:
        """Use ``SourceCatalog.empty(schema, n)``: rows are made at once, and columns filled."""
        n = len(self.new)
        if self._room is None or n >= len(self._room):
            more = NewCatalog.empty(self.new.schema, max(n, 16))
            self._room = NewCatalog.concatenated([self.new, more])
        self.new = self._room[: n + 1]
        return SourceRecord.added(self, n)

    def append(self, record: SourceRecord) -> None:
        """Use ``SourceCatalog.concatenated([sources, others])``."""
        made = self.addNew()
        for name, value in record.new.as_dict().items():
            made.new.set(name, value)
        made.new.footprint = record.new.footprint

    def extend(self, other: Any, deep: bool = False) -> None:  # noqa: ARG002 - always
        """Use ``SourceCatalog.concatenated([sources, others])``."""
        self._room = None
        rows = other.new if isinstance(other, SourceCatalog) else None
        if rows is None:
            for record in other:
                self.append(record)
        else:
            self.new = NewCatalog.concatenated([self.new, rows])

    def asAstropy(self) -> Any:
        """Use ``sources.to_table()``."""
        return self.new.to_table()

    def getTable(self) -> SourceTable:
        """Use ``sources.schema``."""
        return SourceTable(self.getSchema())

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
