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
``calibDate``       the collection ``RUN/calibDate``, and a validity range
==================  ==========================================================

Keys that a visit implies (pointing, field, dateObs) are left out.  Calibrations are certified in
``RUN/calib`` for the times at which our rule takes them; ``RUN/all`` has everything.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skyloom.errors import InputError

from .bridge_calibs import spans
from .bridge_ids import Translator
from .bridge_storage import CONFIG, lsst_butler, storage_class, storage_classes
from .registry import DatasetRow

if TYPE_CHECKING:
    from .butler import Butler

__all__ = ["Bridged", "bridge", "export"]

_FORMATTER: Final = "skyloom.butler.lsst_formatter.SkyloomFormatter"
_BATCH: Final = 1000  # files of one ingest


@dataclass(frozen=True, slots=True, kw_only=True)
class Bridged:
    """What a repository has learned."""

    datasets: int
    known: int  # it had these already
    collections: tuple[str, ...] = ()  # where they are
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
    translator = Translator(butler, instrument, skymap, patches_per_row)
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
    collections = [run]
    for name, rows in chosen.items():
        if translator.is_calibration(name):
            new, old = _ingest_calibrations(target, translator, name, rows, run)
            collections = [run, f"{run}/calib"]
        else:
            new, old = _ingest(target, translator, name, rows, run)
        done, known = done + new, known + old
    if len(collections) > 1:
        _chain(target, f"{run}/all", collections)
        collections.append(f"{run}/all")
    return Bridged(datasets=done, known=known, collections=tuple(collections), left_out=left_out)


def _opened(repository: Path, run: str) -> Any:
    """Return their butler; the repository is made if there is none."""
    package = lsst_butler()
    classes = storage_classes()
    if not (repository / "butler.yaml").is_file():
        package.Butler.makeRepo(str(repository), config=package.Config({"storageClasses": classes}))
    known = package.ButlerConfig(str(repository)).get("storageClasses", {})
    if any(name not in known for name in classes):
        raise InputError(
            f"{repository / 'butler.yaml'}: does not know how we store; add to it the line "
            f"'includeConfigs: {CONFIG}'",
            path=repository / "butler.yaml",
        )
    return package.Butler.from_config(str(repository), writeable=True, run=run)


def _chain(target: Any, name: str, children: Sequence[str]) -> None:
    """Make a collection of collections, or add to it what it lacks."""
    target.registry.registerCollection(name, lsst_butler().CollectionType.CHAINED)
    there = list(target.registry.getCollectionChain(name))
    lacking = [child for child in children if child not in there]
    if lacking:
        target.registry.setCollectionChain(name, [*there, *lacking])


def _ingest_calibrations(
    target: Any, translator: Translator, name: str, rows: list[DatasetRow], run: str
) -> tuple[int, int]:
    """Ingest calibrations, each date in a run of its own, and say anew when they hold."""
    from astropy.time import Time  # noqa: PLC0415 - slow

    package = lsst_butler()
    new = old = 0
    refs: dict[int, Any] = {}
    for date in sorted({str(row.data_id["calibDate"]) for row in rows}):
        where = f"{run}/{date}"
        target.registry.registerRun(where)
        some = [row for row in rows if row.data_id["calibDate"] == date]
        added, known = _ingest(target, translator, name, some, where)
        new, old = new + added, old + known
        found = {ref.dataId.required_values: ref for ref in _existing(target, name, where)}
        for number, row in enumerate(rows):
            if row.data_id["calibDate"] == date:
                data_id = target.registry.expandDataId(translator.data_id(row))
                refs[number] = found[data_id.required_values]
    collection = f"{run}/calib"
    target.registry.registerCollection(collection, package.CollectionType.CALIBRATION)
    groups: dict[Any, list[int]] = {}
    for number, ref in refs.items():
        groups.setdefault(ref.dataId.required_values, []).append(number)
    associations = target.registry.queryDatasetAssociations(name, collections=[collection])
    there = {one.ref.dataId.required_values for one in associations}
    for key, numbers in groups.items():
        times = [translator.validity(rows[number]) for number in numbers]
        data_id = refs[numbers[0]].dataId
        always = package.Timespan(None, None)
        with target.transaction():
            if key in there:
                target.registry.decertify(collection, name, always, dataIds=[data_id])
            for held in spans(times):
                span = package.Timespan(Time(held.start, scale="tai"), Time(held.stop, scale="tai"))
                target.registry.certify(collection, [refs[numbers[held.number]]], span)
    return new, old


def _ingest(
    target: Any, translator: Translator, name: str, rows: list[DatasetRow], run: str
) -> tuple[int, int]:
    """Ingest the datasets of one type; return how many were new, and how many known."""
    package = lsst_butler()
    format_ = translator.butler.layout[name].format
    kind = package.DatasetType(
        name,
        dimensions=translator.dimensions(name),
        storageClass=storage_class(format_),
        universe=target.dimensions,
        isCalibration=translator.is_calibration(name),
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
        ref = package.DatasetRef(kind, full, run=run)
        files.append(package.FileDataset(str(row.path), [ref], formatter=_FORMATTER))
    for first in range(0, len(files), _BATCH):
        target.ingest(*files[first : first + _BATCH], transfer="direct")
    return len(files), len(rows) - len(files)


def _existing(target: Any, name: str, run: str) -> Any:
    return target.registry.queryDatasets(name, collections=[run])
