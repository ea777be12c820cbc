"""What a back end is, and the settings that all of them understand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from skyloom.display.marks import Mark
from skyloom.display.picture import Picture
from skyloom.errors import WrongValue

__all__ = ["Backend", "scale_words", "zoom_value"]

_SCALE_MODES = frozenset({"zscale", "minmax", "zmax"})
_SCALE_SECTIONS = frozenset({"limits", "mode", "scope", "datasec"})  # words with arguments


class Backend(Protocol):
    """Where pictures are shown.

    Positions are parent coordinates [pix], 0-based; the back end takes off the origin of the image
    that the frame shows.
    """

    @property
    def name(self) -> str:
        """What it is, and where: ``xpa ds9``."""
        ...

    def show(
        self,
        frame: int,
        picture: Picture,
        *,
        colors: Mapping[str, str],
        transparency: float,
    ) -> None:
        """Show a picture in place of what the frame held; planes without a colour are left out."""
        ...

    def draw(self, frame: int, marks: Sequence[Mark]) -> None:
        """Draw marks on the image of a frame."""
        ...

    def erase(self, frame: int) -> None:
        """Remove the marks of a frame."""
        ...

    def pan(self, frame: int, x: float, y: float) -> None:
        """Centre a frame on a position."""
        ...

    def setting(self, frame: int, key: str, value: Any) -> None:
        """Change a setting: ``scale``, ``zoom``, ``mask``, or one that the back end knows."""
        ...

    def save(self, path: Path, frame: int) -> None:
        """Write the picture of a frame as a PNG file."""
        ...

    def close(self) -> None:
        """Let go of what the back end holds."""
        ...


def scale_words(value: Any) -> list[str]:
    """Return the commands after ``scale`` that a value stands for.

    Parameters
    ----------
    value : str or sequence
        One word or several: ``"zscale"``, ``"asinh zscale"``, ``("log", 99.5)``; words that name a
        mode (``zscale``, ``minmax``, ``zmax``, a percentage) get ``mode`` in front. A value that
        starts with ``limits``, ``mode``, ``log exp``... is passed on as it is.
    """
    words = str(value).split() if isinstance(value, (str, int, float)) else [str(v) for v in value]
    if not words:
        raise WrongValue("setting scale is empty; give a word as 'zscale' or 'asinh zscale'")
    if words[0] in _SCALE_SECTIONS or words[:2] == ["log", "exp"]:
        return [" ".join(words)]
    return [f"mode {w}" if w in _SCALE_MODES or _is_number(w) else w for w in words]


def zoom_value(value: Any) -> str:
    """Return a zoom as ds9 takes it after ``zoom to``: a number, or ``fit``.

    Raises
    ------
    WrongValue
        If it is neither a positive number nor ``to fit``.
    """
    text = str(value).strip().removeprefix("to ").strip()
    if text == "fit":
        return text
    if not _is_number(text) or not float(text) > 0:
        raise WrongValue(
            f"zoom {value!r} must be a positive number [screen pixels per pixel] or 'to fit'",
            value=value,
        )
    return f"{float(text):g}"


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
