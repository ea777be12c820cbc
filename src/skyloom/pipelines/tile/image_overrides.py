"""Which settings of ``skyloom.images`` are meant for which image, and what they change."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

from skyloom.errors import InputError, WrongValue
from skyloom.images import FitsImage, Frame, HeaderOverride, MapFile, PixelMaps, check_maps

from .image_sections import ImageConfig

__all__ = ["find_images", "header_overrides", "with_maps"]

_KEYWORDS: Final = {
    "filter": "FILTER",
    "zp_auto": "ZP_AUTO",
    "sky_sigma": "SKYSIG",
    "gain": "EGAIN",
    "saturation": "SATURATE",
    "fwhm_pix": "PEEING",
}
"""Setting -> the keyword in whose place it stands."""


def find_images(paths: Sequence[Path], images: Mapping[str, ImageConfig]) -> dict[Path, str]:
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
    found: dict[Path, str] = {}
    problems: list[str] = []
    bands: dict[Path, str] = {}
    for name in images:
        meant = [path for path in dict.fromkeys(paths) if _is_path(name, path)]
        if not meant:
            bands = bands or {path: _band(path) for path in paths}
            meant = [path for path in bands if bands[path] == name]
        if len(meant) != 1:
            problems.append(_unclear(name, meant, paths, bands))
        elif meant[0] in found:
            other = found[meant[0]]
            problems.append(
                f"skyloom.images.{name}: means the same image as {other!r}, {meant[0]}; "
                "join the two"
            )
        else:
            found[meant[0]] = name
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


def header_overrides(
    paths: Sequence[Path],
    names: Mapping[Path, str],
    images: Mapping[str, ImageConfig],
    *,
    needs_sky_sigma: bool,
) -> dict[Path, HeaderOverride]:
    """Return what overrules the headers, by image.

    Parameters
    ----------
    paths : sequence of Path
        The image list.
    names : mapping of Path to str
        Names of images that have settings; see `find_images`.
    images : mapping of str to ImageConfig
        The settings.
    needs_sky_sigma : bool
        SKYSIG has to be known unless a map tells the noise.
    """
    settings = {path: images[names[path]] if path in names else ImageConfig() for path in paths}
    return {
        path: HeaderOverride(
            hdu=image.hdu,
            needs_sky_sigma=needs_sky_sigma and not image.states_noise,
            no_data=image.no_data,
            keywords={
                keyword: value
                for setting, keyword in _KEYWORDS.items()
                if (value := getattr(image, setting)) is not None
            },
        )
        for path, image in settings.items()
    }


def with_maps(
    frames: Sequence[Frame], names: Mapping[Path, str], images: Mapping[str, ImageConfig]
) -> tuple[Frame, ...]:
    """Return the frames with the maps that belong to them.

    Raises
    ------
    InputError
        With the problems of all maps; it has the class of the first.
    """
    out: list[Frame] = []
    problems: list[InputError] = []
    for frame in frames:
        name = names.get(frame.path)
        maps = PixelMaps() if name is None else _maps(images[name])
        keys = {kind: f"skyloom.images.{name}.{kind}_map" for kind in maps.files}
        shape = frame.data_shape or frame.shape
        problems += check_maps(maps, shape=shape, box=frame.box, keys=keys)
        # One noise, from one place: SKYSIG does not count where a map says more.
        sigma = math.nan if maps.is_absolute else frame.sky_sigma_adu
        out.append(replace(frame, maps=maps, sky_sigma_adu=sigma))
    if problems:
        messages = [problem.message for problem in problems]
        raise type(problems[0])("\n".join(messages), problems=messages)
    return tuple(out)


def _maps(image: ImageConfig) -> PixelMaps:
    def file(path: Path | None) -> MapFile | None:
        return None if path is None else MapFile.parse(path)

    return PixelMaps(
        weight=file(image.weight_map),
        rms=file(image.rms_map),
        mask=file(image.mask_map),
        is_relative=image.weight_type == "relative",
        mask_bits=image.mask_bits,
    )
