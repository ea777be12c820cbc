"""The contact sheet: one HTML page that shows a collection, and needs nothing else."""

from __future__ import annotations

import base64
import html
import json
import re
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import resources
from typing import Final, Literal, TypeAlias

__all__ = ["SheetEntry", "SheetState", "Thumbnail", "contact_sheet"]

SheetState: TypeAlias = Literal["made", "missing", "failed"]
Value: TypeAlias = str | float | None

_NAMES: Final[dict[SheetState, str]] = {"made": "Made", "missing": "Missing", "failed": "Failed"}
_HINT: Final = 20  # characters that the narrowest field shows
_FACTS: Final = 3  # header values below a picture; the dialog has all


@dataclass(frozen=True, slots=True, kw_only=True)
class Thumbnail:
    """A small picture; within the page, or in a file beside it."""

    width: int  # pix
    height: int  # pix
    kind: str  # image/jpeg
    data: bytes
    file: str | None = None  # URL relative to the page; None: within the page

    @property
    def url(self) -> str:
        """What the page puts into ``src``."""
        if self.file is not None:
            return self.file
        return f"data:{self.kind};base64,{base64.b64encode(self.data).decode('ascii')}"


@dataclass(frozen=True, slots=True, kw_only=True)
class SheetEntry:
    """One data set on a contact sheet."""

    name: str  # access reference
    state: SheetState
    thumbnail: Thumbnail | None = None
    link: str | None = None  # URL of the preview, relative to the page
    values: Mapping[str, Value] = field(default_factory=dict)  # of the header
    message: str = ""  # why there is no preview


def contact_sheet(entries: Sequence[SheetEntry], *, title: str) -> str:
    """Return the HTML of a page with a filter, an order, and each picture enlarged on demand.

    Parameters
    ----------
    entries : sequence of SheetEntry
        In the order in which they are shown first.
    title : str
        Heading of the page.
    """
    keys = list(dict.fromkeys(k for e in entries for k, v in e.values.items() if v is not None))
    facts = _telling(entries, keys)
    states: list[SheetState] = [s for s in _NAMES if any(e.state == s for e in entries)]
    count = _count(entries)
    n = len(entries)
    size = 280 if n <= 6 else 240 if n <= 60 else 190
    parts = {
        "title": html.escape(title),
        "count": html.escape(count),
        "all": _json(count),
        "size": str(size),
        "aspect": _aspect(entries),
        "hint": html.escape(_hint(entries, facts)),
        "states": _states(entries, states) if len(states) > 1 else "",
        "sorts": "".join(
            f'<option value="{k - 1}">{html.escape(key)}</option>'
            for k, key in enumerate(["Name", *keys])
        ),
        "cards": "\n".join(
            _card(entry, short, facts)
            for entry, short in zip(entries, _short_names(entries), strict=True)
        ),
        "data": _json({"keys": keys, "entries": [_record(e, keys) for e in entries]}),
    }
    template = resources.files(__package__).joinpath("contact_sheet.html").read_text("utf-8")
    # One pass: what is put in is not looked at again.
    return re.sub(r"\{\{(\w+)\}\}", lambda found: parts[found[1]], template)


def _json(value: object) -> str:
    """Return JSON that cannot end the script element that it stands in."""
    return json.dumps(value, ensure_ascii=False).replace("<", "\\u003c")


def _record(entry: SheetEntry, keys: Sequence[str]) -> dict[str, object]:
    return {
        "name": entry.name,
        "state": entry.state,
        "link": entry.link,
        "message": entry.message,
        "values": [entry.values.get(key) for key in keys],
    }


def _count(entries: Sequence[SheetEntry]) -> str:
    n = len(entries)
    text = f"{n} data set{'' if n == 1 else 's'}"
    for state in ("missing", "failed"):
        found = sum(e.state == state for e in entries)
        if found:
            text += f" · {found} {'without preview' if state == 'missing' else 'failed'}"
    return text


def _telling(entries: Sequence[SheetEntry], keys: Sequence[str]) -> list[str]:
    """Return the keys that differ between entries: those say something below a picture."""
    differ = [key for key in keys if len({e.values.get(key) for e in entries}) > 1]
    return (differ or list(keys))[:_FACTS]


def _aspect(entries: Sequence[SheetEntry]) -> str:
    """Return the shape of the frames, width / height: that of most pictures."""
    found = [e.thumbnail.width / e.thumbnail.height for e in entries if e.thumbnail]
    return f"{min(2.0, max(0.75, statistics.median(found))) if found else 1.0:.3f}"


def _hint(entries: Sequence[SheetEntry], facts: Sequence[str]) -> str:
    """Return an example of what the filter understands, from the values that are there."""
    examples: list[str] = []
    for key in facts:
        value = next((e.values[key] for e in entries if e.values.get(key) is not None), "")
        if isinstance(value, str) and value and " " not in value:
            examples.append(f"{key}={value}")
        elif not isinstance(value, str):
            examples.append(f"{key}>{value:.3g}")
    one = [e for e in examples if len(e) <= _HINT][:1]
    two = examples[:2] if len(" ".join(examples[:2])) <= _HINT else one
    return " ".join(["Filter:", *two]) if two else "Filter"


def _states(entries: Sequence[SheetEntry], states: Sequence[SheetState]) -> str:
    buttons = [
        '<label><input type="radio" name="state" value="all" checked><span>All</span></label>'
    ]
    for state in states:
        n = sum(e.state == state for e in entries)
        buttons.append(
            f'<label><input type="radio" name="state" value="{state}">'
            f"<span>{_NAMES[state]} {n}</span></label>"
        )
    group = '<form class="states" role="radiogroup" aria-label="Which">'
    return f"{group}{''.join(buttons)}</form>"


def _short_names(entries: Sequence[SheetEntry]) -> list[str]:
    """Return what tells names apart: without the words that all begin or end with.

    ``wfcam-0012-r.fits`` and ``wfcam-0013-i.fits`` become ``0012-r`` and ``0013-i``.
    """
    names = [entry.name for entry in entries]
    words = [re.findall(r"[^/._-]+[/._-]*|[/._-]+", name) for name in names]
    if len(set(names)) < 2:
        return [name.rpartition("/")[2] for name in names]
    head = _common(words)
    rest = [found[head:] for found in words]
    tail = _common([found[::-1] for found in rest])
    # A word is not cut off its separator: what is left ends with it, and that is dropped too.
    kept = ["".join(found[: len(found) - tail]).rstrip("/._-") for found in rest]
    are_names = all(k and not n.endswith(f".{k}") for k, n in zip(kept, names, strict=True))
    return kept if are_names and len(set(kept)) == len(set(names)) else names


def _common(words: Sequence[Sequence[str]]) -> int:
    """Return how many words all sequences begin with."""
    count = 0
    for same in zip(*words, strict=False):
        if len(set(same)) > 1:
            break
        count += 1
    return count


def _card(entry: SheetEntry, short: str, facts: Sequence[str]) -> str:
    name = html.escape(entry.name)
    folder, _, base = (html.escape(part) for part in short.rpartition("/"))
    # Cut off at its beginning where it is long: <bdi> keeps its letters in order.
    where = f'<span class="folder"><bdi>{folder}</bdi></span>' if folder else ""
    found = [_shown(k, entry.values[k]) for k in facts if entry.values.get(k) is not None]
    return (
        f'<li><a class="card is-{entry.state}" href="{html.escape(entry.link or "#")}" '
        f'title="{name}">'
        f"{_well(entry)}"
        f'<span class="caption">{where}<span class="name">{base}</span>'
        f'<span class="facts">{html.escape(" · ".join(found))}</span></span></a></li>'
    )


def _well(entry: SheetEntry) -> str:
    picture = entry.thumbnail
    if picture is None:  # the name is below; in the message it would take all the room
        what = "No preview" if entry.state == "missing" else "Failed"
        reason = html.escape(re.sub(r"^(\[\w+\])?: ", "", entry.message.removeprefix(entry.name)))
        return f'<span class="well none"><b>{what}</b><small>{reason}</small></span>'
    return (
        f'<span class="well"><img src="{html.escape(picture.url)}" width="{picture.width}" '
        f'height="{picture.height}" alt="" loading="lazy" decoding="async"></span>'
    )


def _shown(key: str, value: Value) -> str:
    """Return a value as it stands below a picture: a number needs its name, or its unit."""
    if isinstance(value, str):
        return value
    return f"{value:.6g} s" if key == "EXPTIME" else f"{key} {value:.6g}"
