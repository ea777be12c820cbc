"""Write a configuration model for people: a commented YAML sample and a reference page."""

from __future__ import annotations

import json
import math
import textwrap
from collections.abc import Mapping
from typing import Any

from .model import Config
from .settings import Setting, item_section, list_settings, sections

__all__ = ["render_reference", "render_sample"]

_WIDTH = 96
_NO_NOTES: Mapping[str, str] = {}


def render_sample(
    model: type[Config], *, header: str = "", notes: Mapping[str, str] = _NO_NOTES
) -> str:
    """Render a YAML file with every setting at its default, each explained in a comment.

    Parameters
    ----------
    model : type of Config
        The configuration; each of its sections needs a docstring.
    header : str
        Text for the top of the file; becomes a comment.
    notes : mapping of str to str
        Remarks to single dotted keys, such as "no effect in this version".

    Returns
    -------
    str
        YAML 1.1 text, ending with a newline. Loading it gives the defaults.
    """
    lines = [f"# {line}".rstrip() for line in header.splitlines()]
    _sample_section(model, "", {s.key: s for s in list_settings(model)}, notes, lines)
    return "\n".join(lines) + "\n"


def _sample_section(
    model: type[Config],
    prefix: str,
    settings: Mapping[str, Setting],
    notes: Mapping[str, str],
    lines: list[str],
) -> None:
    indent = "  " * (prefix.count(".") + 1 if prefix else 0)
    for name, field in model.model_fields.items():
        key = f"{prefix}.{name}" if prefix else name
        annotation = field.annotation
        if isinstance(annotation, type) and issubclass(annotation, Config):
            if not prefix:
                lines.append("")
            lines += _comment(_first_line(annotation), indent)
            lines.append(f"{indent}{name}:")
            _sample_section(annotation, key, settings, notes, lines)
        else:
            setting = settings[key]
            lines += _comment(_explained(setting, notes), indent)
            lines.append(f"{indent}{name}: {_yaml(setting.default)}")
            if (item := item_section(annotation)) is not None:
                behind = (settings[f"{key}.*.{field}"] for field in item.model_fields)
                for inner in behind:
                    text = f"{inner.name}: {_yaml(inner.default)} - {_explained(inner, notes)}"
                    lines += _comment(text, indent, hanging="    ")


def _explained(setting: Setting, notes: Mapping[str, str]) -> str:
    """Return a setting's sentence, and in brackets what it takes."""
    what = ", ".join(part for part in (_values(setting), setting.unit) if part)
    note = f"; {notes[setting.key]}" if setting.key in notes else ""
    return f"{setting.sentence} [{what}{note}]"


def _values(setting: Setting) -> str:
    """Say what a setting takes: kind, then limits."""
    return f"{setting.kind} {setting.limits}".rstrip()


def _comment(text: str, indent: str, *, hanging: str = "") -> list[str]:
    start = f"{indent}# {hanging}"
    return textwrap.wrap(
        text,
        _WIDTH,
        initial_indent=start,
        subsequent_indent=start + hanging,
        break_long_words=False,
        break_on_hyphens=False,
    )


def _first_line(model: type[Config]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _yaml(value: Any) -> str:
    """Spell plain data so that YAML 1.1 and 1.2 readers agree on it."""
    if isinstance(value, float):
        text = repr(value)
        if math.isfinite(value) and "e" in text and "." not in text:
            text = text.replace("e", ".0e")  # 1e-12 is text for a YAML 1.1 reader
        return text
    if isinstance(value, list):
        return f"[{', '.join(_yaml(v) for v in value)}]"
    return json.dumps(value, ensure_ascii=False)


def render_reference(
    model: type[Config], *, title: str, intro: str = "", notes: Mapping[str, str] = _NO_NOTES
) -> str:
    """Render the settings as a markdown page: one table for each section.

    Parameters
    ----------
    model : type of Config
        The configuration.
    title, intro : str
        Heading of the page and the text under it.
    notes : mapping of str to str
        Remarks to single dotted keys.

    Returns
    -------
    str
        Markdown, ending with a newline.
    """
    by_section: dict[str, list[Setting]] = {}
    for setting in list_settings(model):
        by_section.setdefault(setting.section, []).append(setting)
    out = [f"# {title}", ""]
    if intro:
        out += [intro, ""]
    for prefix, section in sections(model):
        if prefix:
            out += [f"## `{prefix}`", "", _first_line(section), ""]
        if prefix not in by_section:
            continue
        out += ["| key | values | default | unit | meaning |", "|---|---|---|---|---|"]
        out += [_row(setting, notes) for setting in by_section[prefix]]
        out.append("")
    return "\n".join(out).rstrip() + "\n"


def _row(setting: Setting, notes: Mapping[str, str]) -> str:
    note = f" *({notes[setting.key]})*" if setting.key in notes else ""
    cells = (
        f"`{setting.name}`",
        _values(setting),
        f"`{_yaml(setting.default)}`",
        setting.unit,
        f"{setting.sentence}{note}",
    )
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"
