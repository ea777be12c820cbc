"""Which settings of ``skyloom.images`` are meant for which image."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from skyloom.errors import InputError, WrongValue
from skyloom.images import FitsImage, HeaderOverride

from .image_sections import ImageConfig

__all__ = ["header_overrides", "settings_of_images"]

_KEYWORDS: Final = {
    "filter": "FILTER",
    "zp_auto": "ZP_AUTO",
    "sky_sigma": "SKYSIG",
    "gain": "EGAIN",
    "saturation": "SATURATE",
    "fwhm_pix": "PEEING",
}
"""Setting -> the keyword in whose place it stands."""


def settings_of_images(
    paths: Sequence[Path], images: Mapping[str, ImageConfig]
) -> dict[Path, ImageConfig]:
    """Find the image that each name of ``skyloom.images`` means.

    Parameters
    ----------
    paths : sequence of Path
        The image list, absolute.
    images : mapping of str to ImageConfig
        Settings by path, by file name or end of a path, or by the band that the header names.

    Raises
    ------
    WrongValue
        If a name fits no image or several, or two names fit the same; the message names all.
    """
    found: dict[Path, ImageConfig] = {}
    names: dict[Path, str] = {}
    problems: list[str] = []
    bands: dict[Path, str] = {}
    for name, settings in images.items():
        meant = [path for path in dict.fromkeys(paths) if _is_path(name, path)]
        if not meant:
            bands = bands or {path: _band(path) for path in paths}
            meant = [path for path in bands if bands[path] == name]
        if len(meant) != 1:
            problems.append(_unclear(name, meant, paths, bands))
        elif meant[0] in found:
            other = names[meant[0]]
            problems.append(
                f"skyloom.images.{name}: means the same image as {other!r}, {meant[0]}; "
                "join the two"
            )
        else:
            found[meant[0]], names[meant[0]] = settings, name
    if problems:
        raise WrongValue("\n".join(problems), key="skyloom.images", problems=problems)
    return found


def _is_path(name: str, path: Path) -> bool:
    """Tell whether a name is a path or the end of it."""
    parts = Path(name).parts
    return bool(parts) and path.parts[-len(parts) :] == parts


def _band(path: Path) -> str:
    """Return the band in the header; empty where the file or its FILTER cannot be read."""
    try:
        value = FitsImage.open(path).keyword("FILTER")
    except InputError:
        return ""
    return "" if value is None else str(value).strip()


def _unclear(
    name: str, meant: Sequence[Path], paths: Sequence[Path], bands: Mapping[Path, str]
) -> str:
    if meant:
        listed = ", ".join(map(str, meant))
        return f"skyloom.images.{name}: fits several images ({listed}); write more of the path"
    known = [*filter(None, bands.values()), *(path.name for path in paths)]
    near = difflib.get_close_matches(name, known, n=1)
    shown = ", ".join(known[:12]) + (", ..." if len(known) > 12 else "")
    remedy = f"did you mean {near[0]!r}?" if near else f"known are {shown}"
    return f"skyloom.images.{name}: no image of the list has this band, file name or path; {remedy}"


def header_overrides(settings: Mapping[Path, ImageConfig]) -> dict[Path, HeaderOverride]:
    """Return what overrules the headers, by image."""
    return {
        path: HeaderOverride(
            hdu=image.hdu,
            keywords={
                keyword: value
                for name, keyword in _KEYWORDS.items()
                if (value := getattr(image, name)) is not None
            },
        )
        for path, image in settings.items()
    }
