"""From a collection of data sets to its contact sheet."""

from __future__ import annotations

import hashlib
import io
import math
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final
from urllib.parse import quote

from skyloom.errors import SkyloomError

from .hdus import NoImage
from .io import read_keywords
from .maker import PreviewMaker
from .sheet import SheetEntry, Thumbnail, contact_sheet

__all__ = ["SHEET_KEYWORDS", "iter_sheet_entries", "write_contact_sheet"]

SHEET_KEYWORDS: Final = (
    "OBJECT", "FILTER", "EXPTIME", "DATE-OBS", "TELESCOP", "INSTRUME", "AIRMASS", "SEEING", "RA",
    "DEC",
)  # fmt: skip
"""Header values that a contact sheet shows and sorts by, where they are."""

_INLINE: Final = 500  # data sets; their thumbnails have about 10 MB
_SIDE: Final = 300  # pix, of thumbnails
_SMALL: Final = 12_000  # bytes; such a picture is its own thumbnail


def write_contact_sheet(
    maker: PreviewMaker,
    path: str | Path,
    *,
    title: str | None = None,
    keywords: Sequence[str] = SHEET_KEYWORDS,
    failures: Mapping[str, str] | None = None,
    is_inline: bool | None = None,
) -> list[SheetEntry]:
    """Write one HTML page over all data sets of a preview maker.

    Parameters
    ----------
    maker : PreviewMaker
        Knows the data sets and where their previews are; nothing is made.
    path : path
        The page.  Thumbnails that are not within it go into a folder beside it, ``NAME.files``.
    title : str, optional
        Heading; default: the name of the data.
    keywords : sequence of str
        Header values to show and sort by.
    failures : mapping of str to str, optional
        Why a preview could not be made, by access reference.
    is_inline : bool, optional
        Whether thumbnails are within the page; default: up to 500 data sets.

    Returns
    -------
    list of SheetEntry
        What the page shows.

    Raises
    ------
    Unwritable
        If the page may not be written.
    """
    from skyloom.butler import write_atomic  # noqa: PLC0415 - slow

    path = Path(path)
    entries = list(iter_sheet_entries(maker, path.parent, keywords=keywords, failures=failures))
    entries.sort(key=lambda entry: entry.name)
    if not (len(entries) <= _INLINE if is_inline is None else is_inline):
        entries = _written_beside(entries, path.with_name(f"{path.stem}.files"))
    page = contact_sheet(entries, title=title or maker.data.id)
    write_atomic(path, lambda part: _put(part, page))
    return entries


def _put(path: Path, page: str) -> None:
    path.write_text(page, encoding="utf-8")


def iter_sheet_entries(
    maker: PreviewMaker,
    folder: Path,
    *,
    keywords: Sequence[str] = SHEET_KEYWORDS,
    failures: Mapping[str, str] | None = None,
) -> Iterator[SheetEntry]:
    """Yield an entry per data set: its thumbnail if there is a preview, or why there is none.

    Parameters
    ----------
    maker, keywords, failures
        See `write_contact_sheet`.
    folder : Path
        Where links start.
    """
    for accref in maker.iter_identifiers():
        values: Mapping[str, str | float | None] = {}
        trouble = ""
        try:
            values = _finite(read_keywords(maker.get_source(accref), keywords, maker.extension))
        except SkyloomError as error:
            if maker.skips_tables and isinstance(error, NoImage):
                continue
            trouble = str(error)
        entry = SheetEntry(name=accref, state="made", values=values)
        try:
            preview = Path(maker.get_preview_path(accref))
            if preview.exists():
                yield replace(
                    entry,
                    thumbnail=_thumbnail(preview.read_bytes()),
                    link=quote(os.path.relpath(preview, folder)),
                )
                continue
            trouble = (failures or {}).get(accref, trouble)
        except (SkyloomError, OSError, ValueError) as error:
            trouble = str(error)
        trouble = trouble.replace(str(maker.get_source(accref)), accref)
        yield replace(entry, state="failed" if trouble else "missing", message=trouble)


def _finite(values: Mapping[str, str | float | None]) -> dict[str, str | float | None]:
    """Return values that JSON knows."""
    return {
        k: str(v) if isinstance(v, float) and not math.isfinite(v) else v for k, v in values.items()
    }


def _thumbnail(data: bytes) -> Thumbnail:
    """Return a preview, made smaller if it is large."""
    from PIL import Image  # noqa: PLC0415 - a dependency that few modules need

    with Image.open(io.BytesIO(data)) as picture:
        kind = f"image/{(picture.format or '').lower()}"
        if max(picture.size) <= _SIDE or len(data) <= _SMALL:
            picture.load()
            return Thumbnail(width=picture.width, height=picture.height, kind=kind, data=data)
        picture.draft(None, (_SIDE, _SIDE))
        small = picture.convert("RGB" if picture.mode in {"RGB", "RGBA", "P"} else "L")
        small.thumbnail((_SIDE, _SIDE))
    buffer = io.BytesIO()
    small.save(buffer, "jpeg", quality=75)
    return Thumbnail(width=small.width, height=small.height, kind="image/jpeg",
                     data=buffer.getvalue())  # fmt: skip


def _written_beside(entries: Sequence[SheetEntry], folder: Path) -> list[SheetEntry]:
    """Write the thumbnails into a folder; their names do not depend on those of the data."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for entry in entries:
        picture = entry.thumbnail
        if picture is not None:
            digest = hashlib.sha256(entry.name.encode()).hexdigest()[:20]
            file = folder / f"{digest}.{picture.kind.removeprefix('image/')}"
            file.write_bytes(picture.data)
            picture = replace(picture, file=quote(f"{folder.name}/{file.name}"))
        written.append(replace(entry, thumbnail=picture))
    return written
