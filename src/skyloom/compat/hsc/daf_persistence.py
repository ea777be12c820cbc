"""Old names of `skyloom.butler`: ``lsst.daf.persistence`` and ``hsc.pipe.base.butler``."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, final

from skyloom.butler import Butler as NewButler
from skyloom.compat.hsc._adapter import Adapter, new_of, old_of
from skyloom.compat.hsc.camera_geom import Camera
from skyloom.errors import DataNotFound, InputError, NotProvided
from skyloom.geometry import Box

__all__ = ["Butler", "ButlerSubset", "DataRef", "NoResults", "getDataRef"]

NoResults = DataNotFound

_NO_SKYMAP: Final = (
    "deepCoadd_skyMap is not read: it is a pickle, which can run code; give tract and patch (those "
    "that there are: butler.queryMetadata('deepCoadd_calexp', ['tract', 'patch'])), and take "
    "positions from the WCS of a coadd"
)


@final
class Butler(Adapter):
    """Finds and reads the datasets of a rerun.

    Parameters
    ----------
    root : str
        The rerun.
    writeable : bool
        The old butler wrote always; here ``put`` needs ``writeable=True``.
    **old : object
            ``calibRoot`` and others: found by themselves.
    """

    new: NewButler

    def __init__(
        self,
        root: str | None = None,
        mapper: Any = None,  # noqa: ARG002 - there is one
        *,
        inputs: str | None = None,
        writeable: bool = False,
        **old: Any,
    ) -> None:
        root = inputs if root is None else root
        if old.get("outputs") is not None or not isinstance(root, (str, Path)):
            raise InputError(
                "a butler has one root; for outputs open Butler(outputs, 'hsc', writeable=True, "
                "parent=inputs) of skyloom.butler"
            )
        self.new = NewButler(Path(root).expanduser(), "hsc", writeable=writeable)

    @property
    def mapper(self) -> Mapper:
        """Use ``butler.layout``."""
        return Mapper(self)

    def get(
        self,
        datasetType: str,
        dataId: Mapping[str, Any] | None = None,
        immediate: bool = True,  # noqa: ARG002 - it always is
        flags: int = 0,  # noqa: ARG002 - footprints are read when they are asked for
        imageOrigin: str = "PARENT",
        **rest: Any,
    ) -> Any:
        """Use ``butler.get(name, data_id)``; ``_filename`` is a str there, a list here."""
        if datasetType == "camera":
            return Camera()
        if datasetType in {"skyMap", "deepCoadd_skyMap"}:
            raise NotProvided(_NO_SKYMAP)
        rest = {key: new_of(value) for key, value in rest.items()}
        if imageOrigin == "LOCAL" and isinstance(rest.get("bbox"), Box):
            keys = {key: value for key, value in rest.items() if key != "bbox"}
            cards = self.new.get(f"{datasetType.removesuffix('_sub')}_md", dataId, **keys)
            x0, y0 = (-int(cards.get(f"LTV{axis}", 0)) for axis in (1, 2))
            rest["bbox"] = rest["bbox"].shifted(x0, y0)
        found = self.new.get(datasetType, dataId, **rest)
        is_path = datasetType.endswith("_filename") and datasetType not in self.new.layout
        return [found] if is_path else old_of(found)

    def put(
        self, obj: Any, datasetType: str, dataId: Mapping[str, Any] | None = None, **rest: Any
    ) -> None:
        """Use ``butler.put(obj, name, data_id)``."""
        self.new.put(new_of(obj), datasetType, dataId, **rest)

    def datasetExists(
        self, datasetType: str, dataId: Mapping[str, Any] | None = None, **rest: Any
    ) -> bool:
        """Use ``butler.exists(name, data_id)``."""
        return self.new.exists(datasetType, dataId, **rest)

    def queryMetadata(
        self,
        datasetType: str,
        key: Any = None,
        format: Any = None,  # noqa: A002 - its old name
        dataId: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> list[Any]:
        """Use ``butler.query(name, keys, **data_id)``."""
        keys = self.new.layout[datasetType].dimensions if key is None else key
        keys = keys if format is None else format
        if isinstance(format, Mapping):  # the data ID in third place
            keys, dataId = key, format
        constraints = {**(dataId or {}), **rest}
        if isinstance(keys, str):
            return list(self.new.query(datasetType, keys, **constraints))
        keys = list(keys)
        if len(keys) == 1:
            return list(self.new.query(datasetType, keys[0], **constraints))
        return list(self.new.query(datasetType, keys, **constraints))

    def getDatasetTypes(self) -> list[str]:
        """Use ``butler.dataset_types()``, which has a sentence on each."""
        return list(self.new.dataset_types())

    def getKeys(self, datasetType: str) -> dict[str, type]:
        """Use ``butler.layout[name].dimensions``."""
        layout = self.new.layout
        types = {"int": int, "float": float}
        keys = layout[datasetType].dimensions
        return {key: types.get(layout.dimensions[key].kind, str) for key in keys}

    def subset(
        self,
        datasetType: str,
        level: str | None = None,  # noqa: ARG002 - that of the dataset type
        dataId: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> ButlerSubset:
        """Use ``butler.subset(name, **data_id)``."""
        return ButlerSubset(self, datasetType, {**(dataId or {}), **rest})

    def dataRef(
        self,
        datasetType: str,  # noqa: ARG002 - the data ID tells
        level: str | None = None,  # noqa: ARG002
        dataId: Mapping[str, Any] | None = None,
        **rest: Any,
    ) -> DataRef:
        """Use ``butler.data_ref(data_id)``."""
        return getDataRef(self, {**(dataId or {}), **rest})


@final
class Mapper:
    """What the mapper knows: the camera, and the types of datasets."""

    def __init__(self, butler: Butler) -> None:
        self._butler = butler

    @property
    def camera(self) -> Camera:
        """Use the numbers of the CCDs."""
        return Camera()

    def getDatasetTypes(self) -> list[str]:
        """Use ``butler.dataset_types()``."""
        return self._butler.getDatasetTypes()


@final
class DataRef(Adapter):
    """A data ID with its butler."""

    @property
    def dataId(self) -> dict[str, Any]:
        """Use ``data_ref.data_id``."""
        return dict(self.new.data_id)

    def getButler(self) -> Butler:
        """Use ``data_ref.butler``."""
        made: Butler = Butler.of(self.new.butler)
        return made

    def get(self, datasetType: str, **rest: Any) -> Any:
        """Use ``data_ref.get(name)``."""
        return self.getButler().get(datasetType, self.dataId, **rest)

    def put(self, obj: Any, datasetType: str, **rest: Any) -> None:
        """Use ``data_ref.put(obj, name)``."""
        self.getButler().put(obj, datasetType, self.dataId, **rest)

    def datasetExists(self, datasetType: str, **rest: Any) -> bool:
        """Use ``data_ref.exists(name)``."""
        return self.getButler().datasetExists(datasetType, self.dataId, **rest)

    def subItems(self, level: str | None = None) -> list[DataRef]:
        """Use ``data_ref.sub_items(level)``."""
        return [DataRef.of(part) for part in self.new.sub_items(level)]


@final
class ButlerSubset:
    """The data references of a type; iterated, counted, listed in ``cache``."""

    def __init__(self, butler: Butler, datasetType: str, constraints: Mapping[str, Any]) -> None:
        self.butler = butler
        self.datasetType = datasetType
        self._found = butler.new.subset(datasetType, **constraints)

    @property
    def cache(self) -> list[dict[str, Any]]:
        """The data IDs."""
        return [dict(ref.data_id) for ref in self._found]

    def __len__(self) -> int:
        return len(self._found)

    def __repr__(self) -> str:
        return f"<ButlerSubset of {len(self)} {self.datasetType}>"

    def __iter__(self) -> Iterator[DataRef]:
        return (DataRef.of(ref) for ref in self._found)


def getDataRef(
    butler: Butler,
    dataId: Mapping[str, Any],
    datasetType: str = "raw",  # noqa: ARG001 - the data ID tells
) -> DataRef:
    """Use ``butler.data_ref(data_id)``."""
    made: DataRef = DataRef.of(butler.new.data_ref(dataId))
    return made
