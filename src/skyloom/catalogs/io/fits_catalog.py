"""Catalogues in FITS: tables of afw with footprints, plain tables, SExtractor's FITS_LDAC."""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom.catalogs.fields import Field
from skyloom.catalogs.footprint_store import FootprintStore
from skyloom.catalogs.io.fits_layout import Layout, parse_layout
from skyloom.catalogs.io.fits_rows import columns_of, table_bytes
from skyloom.catalogs.io.fits_text import card_text
from skyloom.catalogs.schema import Schema
from skyloom.catalogs.source_catalog import SourceCatalog
from skyloom.errors import BadTable, UnreadableFile
from skyloom.images.afw.archive import archive_from
from skyloom.images.afw.hdus import Hdu, damaged, opened, scan

__all__ = ["LDAC", "fits_bytes", "fits_length", "fits_schema", "ldac_bytes", "read_fits_catalog"]

log = logging.getLogger(__name__)

LDAC: Final = "LDAC_OBJECTS"
"""Name of the HDU that holds the sources in SExtractor's FITS_LDAC."""

_LDAC_HEADER: Final = "LDAC_IMHEAD"
_FOOTPRINT: Final = "footprint"
_SLOT_CARDS: Final = {
    # table version 0: keywords that say what a slot is
    "PSF_FLUX_SLOT": "slot_PsfFlux",
    "AP_FLUX_SLOT": "slot_ApFlux",
    "INST_FLUX_SLOT": "slot_InstFlux",
    "MODEL_FLUX_SLOT": "slot_ModelFlux",
    "CALIB_FLUX_SLOT": "slot_CalibFlux",
    "CENTROID_SLOT": "slot_Centroid",
    "SHAPE_SLOT": "slot_Shape",
}
_RADII: Final = re.compile(r"(flux[._]aperture|.*CircularApertureFlux)[._]radii", re.IGNORECASE)
_PRIMARY: Final = {"SIMPLE", "BITPIX", "NAXIS", "EXTEND", "END", "CHECKSUM", "DATASUM"}


def read_fits_catalog(path: Path | str, *, hdu: int | None = None) -> SourceCatalog:
    """Read a catalogue and its archive.

    Parameters
    ----------
    path : path
        The file; may be packed with gzip.
    hdu : int, optional
        Number of the table, from 0; default: the first that is not ``LDAC_IMHEAD``.

    Raises
    ------
    MissingFile, UnreadableFile
        If the file is absent, or damaged in any way.
    """
    path = Path(path)
    with opened(path) as file:
        hdus = scan(file, path)
        table = _table(path, hdus, hdu)
        with _named(table):
            layout = parse_layout(table.header)
            _check_size(file, table, layout)
            n = table.integer("NAXIS2")
            data = table.read_data(file)
            columns = columns_of(layout, data, n, table.integer("THEAP", n * layout.width))
            kind, version, schema, ids = _afw(table.header, layout, columns)
        number = _archive_hdu(table)
        store, used = FootprintStore(), {0, table.number}
        if number is not None:
            archive = archive_from(file, path, hdus, number)
            store = FootprintStore(archive)
            used |= set(range(number, number + len(archive.sources)))
        with _named(hdus[0]):
            primary = fits.Header([c for c in hdus[0].header.cards if _is_kept(c.keyword)])
        if _is_called(table, LDAC) and _is_called(hdus[table.number - 1], _LDAC_HEADER):
            used |= {table.number - 1}
            with _named(hdus[table.number - 1]):
                primary = _image_header(file, hdus[table.number - 1])
    others = sorted(set(range(len(hdus))) - used)
    if others:
        log.warning("%s: HDUs %s are not part of the catalogue", path, ", ".join(map(str, others)))
    return SourceCatalog(
        schema,
        columns,
        n,
        metadata=layout.metadata,
        primary=primary,
        kind=kind,
        version=version,
        footprint_ids=ids,
        footprints=store,
    )


def fits_schema(path: Path | str, *, hdu: int | None = None) -> Schema:
    """Return the schema of a catalogue; no row is read."""
    path = Path(path)
    with opened(path) as file:
        table = _table(path, _until_table(file, path, hdu), hdu)
    with _named(table):
        layout = parse_layout(table.header)
        return _afw(table.header, layout, {})[2]


def fits_length(path: Path | str, *, hdu: int | None = None) -> int:
    """Return the number of rows of a catalogue; none is read."""
    path = Path(path)
    with opened(path) as file:
        return _table(path, _until_table(file, path, hdu), hdu).integer("NAXIS2")


def fits_bytes(catalog: SourceCatalog) -> bytes:
    """Return the file of a catalogue, in the layout that it was read from.

    Raises
    ------
    BadTable
        If a text does not fit into its field.
    """
    fields, columns = list(catalog.schema), catalog.columns
    cards: list[Any] = list(catalog.metadata.cards)
    store, ids = catalog.footprint_store, catalog.footprint_ids
    has_column = catalog.has_footprint_column
    archive = store.to_bytes(ids) if has_column or store.archive is not None else b""
    if has_column:
        fields.append(Field(_FOOTPRINT, "I", "archive ID for Footprint"))
        columns[_FOOTPRINT] = ids
    if archive:
        comment = "HDU (1-indexed) containing the archive index"
        cards.append(("AR_HDU", 3, comment))
    if catalog.version is not None:
        cards.append(("HIERARCH AFW_TABLE_VERSION", catalog.version, ""))
    if catalog.kind:
        cards.append(("AFW_TYPE", catalog.kind, "Tells lsst::afw how to load this table."))
    aliases = {a: t for a, t in catalog.schema.aliases.items() if not _is_carded(a, t, catalog)}
    table = table_bytes(
        fields, columns, len(catalog), aliases=aliases, cards=cards, is_plain=not catalog.kind
    )
    return primary_bytes(catalog.primary) + table + archive


def ldac_bytes(catalog: SourceCatalog) -> bytes:
    """Return the FITS_LDAC file of a catalogue; `SourceCatalog.primary` is the image header.

    Raises
    ------
    BadTable
        If a text does not fit into its field.
    """
    text = "".join(card.image for card in catalog.primary.cards)
    text = (text + f"{'END':<80}").encode("ascii", "replace").decode("ascii")
    field = Field(
        "Field Header Card", "String", size=len(text), cards=(("TDIM", f"(80, {len(text) // 80})"),)
    )
    head = table_bytes(
        [field],
        {field.name: [text]},
        1,
        cards=[("EXTNAME", _LDAC_HEADER, "a field header")],
        is_plain=True,
    )
    cards = [c for c in catalog.metadata.cards if c.keyword != "EXTNAME"]
    objects = table_bytes(
        catalog.schema,
        catalog.columns,
        len(catalog),
        aliases=catalog.schema.aliases,
        cards=[("EXTNAME", LDAC, "the sources"), *cards],
        is_plain=True,
    )
    return primary_bytes(fits.Header()) + head + objects


def primary_bytes(cards: fits.Header) -> bytes:
    """Return a primary HDU without data."""
    header = fits.Header()
    header.append(("SIMPLE", True, "file does conform to FITS standard"), end=True)
    header.append(("BITPIX", 16, "number of bits per data pixel"), end=True)
    header.append(("NAXIS", 0, "number of data axes"), end=True)
    header.append(("EXTEND", True, "FITS dataset may contain extensions"), end=True)
    for card in cards.cards:
        if _is_kept(card.keyword):
            header.append(card, end=True)
    return bytes(header.tostring().encode("ascii"))


def _afw(
    header: fits.Header, layout: Layout, columns: dict[str, Any]
) -> tuple[str, int | None, Schema, npt.NDArray[np.int32] | None]:
    """Return kind, version, schema and footprint numbers; the latter leave the columns."""
    kind = str(header.get("AFW_TYPE", "")).strip()
    version = header.get("AFW_TABLE_VERSION")
    if version is not None and not (isinstance(version, int) and 0 <= version < 100):
        raise BadTable(f"AFW_TABLE_VERSION = {version!r} is not a version")
    aliases = dict(_aliases(header))
    if not version:
        for keyword, slot in _SLOT_CARDS.items():
            target = layout.metadata.get(keyword)
            if isinstance(target, str) and target:
                aliases.setdefault(slot, target)
    fields = list(layout.fields)
    ids = None
    if kind == "SOURCE" and fields and (fields[-1].name, fields[-1].type) == (_FOOTPRINT, "I"):
        fields.pop()
        ids = columns.pop(_FOOTPRINT, None)
    return kind, version, Schema(fields, aliases, _radii(layout.metadata)), ids


def _aliases(header: fits.Header) -> Iterator[tuple[str, str]]:
    for card in header.cards:
        if card.keyword == "ALIAS":
            alias, colon, target = card_text(card).partition(":")
            if not colon or not alias or not target:
                raise BadTable(f"ALIAS = {card.value!r} is not of the form 'alias:target'")
            yield alias, target


def _is_carded(alias: str, target: str, catalog: SourceCatalog) -> bool:
    """Tell whether a card of table version 0 says what a slot is."""
    keywords = (
        [k for k, slot in _SLOT_CARDS.items() if slot == alias] if not catalog.version else []
    )
    return any(catalog.metadata.get(keyword) == target for keyword in keywords)


def _radii(metadata: fits.Header) -> tuple[float, ...] | None:
    radii = [c.value for c in metadata.cards if _RADII.fullmatch(c.keyword)]
    numbers = [float(r) for r in radii if isinstance(r, int | float)]
    return tuple(numbers) or None


def _is_kept(keyword: str) -> bool:
    return keyword not in _PRIMARY and not re.fullmatch(r"NAXIS\d+", keyword)


def _archive_hdu(table: Hdu) -> int | None:
    """Return the number of the archive index, from 0."""
    if "AR_HDU" not in table.header:
        return None
    return table.integer("AR_HDU") - 1


@contextmanager
def _named(hdu: Hdu) -> Iterator[None]:
    """Name file and HDU in whatever goes wrong."""
    try:
        with damaged(hdu.path, hdu.number):
            yield
    except BadTable as error:
        raise hdu.error(str(error)) from error


def _is_table(hdu: Hdu) -> bool:
    is_table = hdu.raw_header.startswith(b"XTENSION= 'BINTABLE'")
    return is_table and not (b"ZIMAGE" in hdu.raw_header and hdu.is_compressed)


def _until_table(file: BinaryIO, path: Path, number: int | None) -> list[Hdu]:
    """Find the first HDUs, as far as the table: a file that is cut off behind it will do."""
    for most in (2, 3) if number is None else (number + 1,):
        hdus = scan(file, path, most=most)
        if number is not None or any(
            _is_table(h) and not _is_called(h, _LDAC_HEADER) for h in hdus
        ):
            return hdus
    return scan(file, path)


def _is_called(hdu: Hdu, name: str) -> bool:
    """Compare EXTNAME; the header is understood only where it may be."""
    return name.encode() in hdu.raw_header and hdu.text("EXTNAME") == name


def _table(path: Path, hdus: list[Hdu], number: int | None) -> Hdu:
    tables = [hdu for hdu in hdus if _is_table(hdu)]
    if number is not None:
        for hdu in tables:
            if hdu.number == number:
                return hdu
        listed = ", ".join(str(hdu.number) for hdu in tables) or "none"
        raise UnreadableFile(
            f"{path}[{number}]: this HDU is no table; those that are: {listed}",
            file=str(path),
            hdu=number,
        )
    if not tables:
        raise UnreadableFile(f"{path}: no HDU is a table; give a catalogue", file=str(path))
    sources = [hdu for hdu in tables if not _is_called(hdu, _LDAC_HEADER)]
    return (sources or tables)[0]


def _check_size(file: BinaryIO, table: Hdu, layout: Layout) -> None:
    """Compare the columns with the width of a row, and the file with what the header promises."""
    width, n = table.integer("NAXIS1"), table.integer("NAXIS2")
    if layout.width != width:
        raise table.error(f"columns of {layout.width} bytes do not fill rows of {width} bytes")
    size = file.seek(0, 2)
    if table.data_start + table.data_size > size:
        there = max(0, size - table.data_start)
        raise table.error(
            f"the file is truncated: {there} of {table.data_size} bytes of the table are there, "
            f"{there // max(width, 1)} of {n} rows"
        )


def _image_header(file: BinaryIO, hdu: Hdu) -> fits.Header:
    """Return the header of the image, which SExtractor keeps as text in a table of its own."""
    layout = parse_layout(hdu.header)
    _check_size(file, hdu, layout)
    n = hdu.integer("NAXIS2")
    columns = columns_of(layout, hdu.read_data(file), n, n * layout.width)
    texts = [columns[f.name] for f in layout.fields if f.type == "String"]
    text = "".join(str(t) for column in texts for t in column[:1])
    return fits.Header.fromstring("".join(f"{card:<80}" for card in _cut(text)))


def _cut(text: str) -> Iterator[str]:
    for start in range(0, len(text), 80):
        card = text[start : start + 80]
        if card.rstrip() == "END":
            return
        yield card
