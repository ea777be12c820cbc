"""The optional bridge to ``lsst-daf-butler``: an ingest list, and ingest in place.

Install it with ``pip install 'skyloom[lsst]'``.  Files stay where they are; the repository learns
their paths and reads them through `skyloom.butler.lsst_formatter`.

==================  ==========================================================
key here            dimension there
==================  ==========================================================
``visit``           ``visit``, with its ``day_obs`` and ``physical_filter``
``ccd``             ``detector``
``filter``          ``physical_filter``; of coadds ``band``
``band``            ``band``
``tract``           ``tract``
``patch`` ``x,y``   ``patch``, the number ``y * nx + x``
==================  ==========================================================

Keys that a visit implies (pointing, field, dateObs) are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skyloom.errors import InputError

from .data_id import DataId, Value
from .formats import FORMATS
from .registry import DatasetRow

if TYPE_CHECKING:
    from .butler import Butler

__all__ = ["Bridged", "bridge", "export", "storage_class"]

_FORMATTER: Final = "skyloom.butler.lsst_formatter.SkyloomFormatter"
_IMPLIED: Final = ("pointing", "field", "dateObs", "taiObs", "expTime")  # by the visit
_BATCH: Final = 1000  # files of one ingest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridged:
    """What a repository has learned."""

    datasets: int
    known: int  # it had these already
    left_out: Mapping[str, str] = field(default_factory=dict)  # dataset type: why


def export(butler: Butler, types: Iterable[str] = ()) -> Iterator[dict[str, Any]]:
    """Yield an ingest list: ``dataset_type``, ``data_id`` and ``path`` of each dataset.

    Parameters
    ----------
    butler : Butler
        Its own root is listed, not its parents.
    types : iterable of str, optional
        Dataset types; all by default.
    """
    names: Iterable[str | None] = tuple(types) or (None,)
    for name in names:
        for row in butler.rows(name):
            yield {"dataset_type": row.type, "data_id": dict(row.data_id), "path": str(row.path)}


def storage_class(format_: str) -> str:
    """Return the name of the storage class for one of our formats."""
    return "Skyloom" + "".join(part.capitalize() for part in format_.split("_"))


def bridge(
    butler: Butler,
    repository: Path | str,
    types: Iterable[str] = (),
    *,
    instrument: str = "HSC",
    skymap: str = "skymap",
    run: str = "skyloom",
    patches_per_row: int = 9,
) -> Bridged:
    """Ingest datasets in place into a repository of ``lsst-daf-butler``.

    Parameters
    ----------
    butler : Butler
        Its own root is bridged, not its parents.
    repository : path
        An LSST repository; it is made if there is none.
    types : iterable of str, optional
        Dataset types; all that the repository has dimensions for by default.
    instrument, skymap, run : str
        Names there: of the camera, of the tracts, of the collection.
    patches_per_row : int
        How many patches a tract has in x.

    Returns
    -------
    Bridged

    Raises
    ------
    InputError
        If ``lsst-daf-butler`` is not installed, a type that was asked for has a key without
        counterpart, or the repository does not know our storage classes.
    """
    translator = _Translator(butler, instrument, skymap, patches_per_row)
    chosen: dict[str, list[DatasetRow]] = {}
    left_out: dict[str, str] = {}
    wanted = tuple(types)
    for name in wanted:
        butler.layout[name]
    for name, kind in butler.layout.types.items():
        if (wanted and name not in wanted) or kind.template is None:
            continue
        why = translator.obstacle(name)
        if why and wanted:
            raise InputError(f"dataset {name}: cannot be bridged, {why}")
        rows = [] if why else list(butler.rows(name))
        if rows:
            chosen[name] = rows
        if why:
            left_out[name] = why
    target = _opened(Path(repository), run)
    done = known = 0
    for name, rows in chosen.items():
        new, old = _ingest(target, translator, name, rows, run)
        done, known = done + new, known + old
    return Bridged(datasets=done, known=known, left_out=left_out)


class _Translator:
    """Turns our data IDs into theirs, with the records that they need."""

    def __init__(self, butler: Butler, instrument: str, skymap: str, per_row: int) -> None:
        self.butler = butler
        self.instrument = instrument
        self.skymap = skymap
        self.per_row = per_row
        self._visits: dict[Value, DataId] = {}

    def obstacle(self, name: str) -> str:
        """Return why a dataset type has no counterpart; empty if it has."""
        keys = self.butler.layout[name].dimensions
        known = {"visit", "ccd", "filter", "band", "tract", "patch"}
        if "visit" in keys:
            known.update(_IMPLIED)
        lacking = [key for key in keys if key not in known]
        if lacking:
            return f"LSST repositories have no dimension for {', '.join(lacking)}"
        return "" if keys else "it has no data ID"

    def dimensions(self, name: str) -> tuple[str, ...]:
        """Return the dimensions of a dataset type."""
        keys = self.butler.layout[name].dimensions
        found = []
        if "visit" in keys or "ccd" in keys:
            found.append("instrument")
        names = {"visit": "visit", "ccd": "detector"}
        found += [there for here, there in names.items() if here in keys]
        if "tract" in keys:
            found += ["skymap", "tract"]
        if "patch" in keys:
            found.append("patch")
        if "visit" not in keys and ("filter" in keys or "band" in keys):
            found.append("band")
        return tuple(found)

    def data_id(self, row: DatasetRow) -> dict[str, Value]:
        """Return the data ID of a dataset there."""
        values = row.data_id
        whole: dict[str, Value] = {"instrument": self.instrument, "skymap": self.skymap}
        whole.update({"visit": values.get("visit", 0), "detector": values.get("ccd", 0)})
        whole.update({"tract": values.get("tract", 0), "band": self.band(values)})
        if "patch" in values:
            x, y = self.cell(values)
            whole["patch"] = y * self.per_row + x
        return {key: whole[key] for key in self.dimensions(row.type)}

    def cell(self, values: DataId) -> tuple[int, int]:
        """Return the place (x, y) of a patch in its tract."""
        x, _, y = str(values["patch"]).partition(",")
        return int(x), int(y)

    def band(self, values: DataId) -> str:
        """Return the band of a filter: the end of its name, ``i`` of ``HSC-I``."""
        name = str(values.get("band") or values.get("filter") or "")
        return name.rpartition("-")[2].lower() if "band" not in values else name

    def records(self, row: DatasetRow) -> dict[str, dict[str, Any]]:
        """Return the records of the dimensions of a dataset, in the order in which they go in."""
        values, found = row.data_id, dict[str, dict[str, Any]]()
        camera = {"instrument": self.instrument}
        found["instrument"] = {"name": self.instrument, "class_name": "", "visit_max": 2**31}
        found["instrument"].update(exposure_max=2**31, detector_max=10**4)
        if "visit" not in values and ("filter" in values or "band" in values):
            band = self.band(values)  # bands are known from the filters that have them
            name = values.get("filter", band)
            found["physical_filter"] = {**camera, "name": name, "band": band}
        if "visit" in values:
            visit = self.visit(values)
            filter_ = visit["filter"]
            found["physical_filter"] = {**camera, "name": filter_, "band": self.band(visit)}
            found["day_obs"] = {**camera, "id": visit["day"]}
            found["visit"] = {
                **camera,
                "id": values["visit"],
                "name": str(values["visit"]),
                "physical_filter": filter_,
                "day_obs": visit["day"],
            }
        if "ccd" in values:
            found["detector"] = {**camera, "id": values["ccd"], "full_name": str(values["ccd"])}
        if "tract" in values:
            digest = hashlib.sha1(self.skymap.encode(), usedforsecurity=False).digest()
            found["skymap"] = {"name": self.skymap, "hash": digest, "tract_max": 10**6}
            found["skymap"].update(patch_nx_max=self.per_row, patch_ny_max=self.per_row)
            found["tract"] = {"skymap": self.skymap, "id": values["tract"]}
        if "patch" in values:
            x, y = self.cell(values)
            patch = {**found["tract"], "tract": values["tract"], "cell_x": x, "cell_y": y}
            found["patch"] = {**patch, "id": y * self.per_row + x}
        return found

    def visit(self, values: DataId) -> DataId:
        """Return filter and day of a visit, from the data ID or the lookup tables."""
        visit = values["visit"]
        if visit not in self._visits:
            known = values
            for name, table in self.butler.layout.tables.items():
                if "visit" in table.keys:
                    for row in self.butler.finder.rows(name, {"visit": visit})[:1]:
                        known = DataId({**row, **known})
            date = str(known.get("dateObs") or known.get("taiObs") or "")[:10]
            day = int(date.replace("-", "")) if date else 0
            if not day or "filter" not in known:
                raise InputError(
                    f"visit {visit}: nothing tells its date and filter; ingest its raw data first"
                )
            self._visits[visit] = DataId(filter=known["filter"], day=day)
        return self._visits[visit]


def _opened(repository: Path, run: str) -> Any:
    """Return their butler; the repository is made if there is none."""
    try:
        from lsst.daf.butler import Butler as LsstButler  # noqa: PLC0415 - optional
        from lsst.daf.butler import ButlerConfig, Config  # noqa: PLC0415
    except ImportError as error:
        raise InputError(
            "lsst-daf-butler is not installed; pip install 'skyloom[lsst]' does it"
        ) from error
    classes = {storage_class(name): {"pytype": "object"} for name in FORMATS}
    if not (repository / "butler.yaml").is_file():
        LsstButler.makeRepo(str(repository), config=Config({"storageClasses": classes}))
    known = ButlerConfig(str(repository)).get("storageClasses", {})
    lacking = [name for name in classes if name not in known]
    if lacking:
        lines = ", ".join(f"{name}: {{pytype: object}}" for name in lacking)
        raise InputError(
            f"{repository / 'butler.yaml'}: does not know how we store; add to it "
            f"'storageClasses: {{{lines}}}'",
            path=repository / "butler.yaml",
        )
    return LsstButler.from_config(str(repository), writeable=True, run=run)


def _ingest(
    target: Any, translator: _Translator, name: str, rows: list[DatasetRow], run: str
) -> tuple[int, int]:
    """Ingest the datasets of one type; return how many were new, and how many known."""
    from lsst.daf.butler import DatasetRef, DatasetType, FileDataset  # noqa: PLC0415

    format_ = translator.butler.layout[name].format
    kind = DatasetType(
        name,
        dimensions=translator.dimensions(name),
        storageClass=storage_class(format_),
        universe=target.dimensions,
    )
    target.registry.registerDatasetType(kind)
    old = {tuple(sorted(ref.dataId.required.items())) for ref in _existing(target, name, run)}
    files = []
    seen: dict[tuple[str, str], None] = {}
    for row in rows:
        data_id = translator.data_id(row)
        if tuple(sorted(data_id.items())) in old:
            continue
        for element, record in translator.records(row).items():
            if (element, repr(record)) not in seen:
                seen[element, repr(record)] = None
                target.registry.insertDimensionData(element, record, skip_existing=True)
        full = target.registry.expandDataId(data_id)
        ref = DatasetRef(kind, full, run=run)
        files.append(FileDataset(str(row.path), [ref], formatter=_FORMATTER))
    for first in range(0, len(files), _BATCH):
        target.ingest(*files[first : first + _BATCH], transfer="direct")
    return len(files), len(rows) - len(files)


def _existing(target: Any, name: str, run: str) -> Any:
    return target.registry.queryDatasets(name, collections=[run])
