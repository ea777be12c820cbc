"""Where previews lie: all in one directory, or in a tree like that of the data."""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from skyloom.process.data import DataSpec
from skyloom.process.processor import OutsideInputs

__all__ = ["PathScheme", "flat_name", "split_preview_path", "standard_preview_path"]

PathScheme: TypeAlias = Callable[[str, DataSpec], str]
"""Gives the path of a preview, relative to ``inputs_dir``, from an access reference."""

_LONGEST: Final = 189  # bytes; 252 in base64, and file names end at 255


def flat_name(accref: str, data: DataSpec | None = None) -> str:
    """Return an access reference as the name of one file; no two have the same.

    Parameters
    ----------
    accref : str
        Path relative to ``inputs_dir``; an absolute one needs `data`.
    data : DataSpec, optional
        Knows ``inputs_dir``.

    Returns
    -------
    str
        Base64 of the UTF-8 bytes, with ``$`` and ``!`` for ``+`` and ``/``; no extension.

    Raises
    ------
    ValueError
        If the reference has over 189 bytes, or lies outside ``inputs_dir``.
    """
    raw = _relative(accref, data).encode("utf-8")
    if len(raw) > _LONGEST:
        raise ValueError(
            f"{accref}: has {len(raw)} bytes, too many for the name of a preview ({_LONGEST}); use "
            "split_preview_path"
        )
    return base64.b64encode(raw, b"$!").decode("ascii")


def standard_preview_path(accref: str, data: DataSpec) -> str:
    """Return a path with all previews in one directory: for up to some thousand data sets.

    Parameters
    ----------
    accref : str
        Access reference.
    data : DataSpec
        Knows ``resdir``, ``inputs_dir`` and the property ``preview_dir``.

    Returns
    -------
    str
        Relative to ``inputs_dir``; without extension.

    Raises
    ------
    UnknownKey
        If ``preview_dir`` is not set.
    """
    return posixpath.join(_prefix(data), flat_name(accref, data))


def split_preview_path(ext: str) -> PathScheme:
    """Return a scheme that keeps the directories of the data: for many data sets.

    Parameters
    ----------
    ext : str
        Extension of the previews, appended to the full reference: ``.png`` for ``a.fits.png``.
    """
    return _SplitPath(ext)


@dataclass(frozen=True, slots=True)
class _SplitPath:
    """A class, and no function within one, so that it reaches workers that are spawned."""

    ext: str

    def __call__(self, accref: str, data: DataSpec) -> str:
        relative = _relative(accref, data)
        if ".." in relative.split("/"):
            raise ValueError(
                f"{accref}: leads out of the directory of previews; give it without '..'"
            )
        return posixpath.join(_prefix(data), relative + self.ext)


def _prefix(data: DataSpec) -> str:
    """Return the directory of previews relative to ``inputs_dir``."""
    assert data.inputs_dir is not None  # set when the description is made
    folder = data.resdir / data.get_property("preview_dir")
    return folder.relative_to(data.inputs_dir).as_posix()


def _relative(accref: str, data: DataSpec | None) -> str:
    if not accref.startswith("/"):
        return accref
    if data is None or data.inputs_dir is None:
        raise ValueError(f"{accref}: is absolute; give the data, which know inputs_dir")
    try:
        return Path(accref).relative_to(data.inputs_dir).as_posix()
    except ValueError:
        raise OutsideInputs(
            f"{accref}: is not below the inputs directory {data.inputs_dir}; correct inputs_dir",
            path=accref,
        ) from None
