"""The processors under their old names, and their main function."""

from __future__ import annotations

import functools
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final, TypeVar

from skyloom import process
from skyloom.errors import SkyloomError
from skyloom.process import DataSpec
from skyloom.process.main import RUNS, main_with, make_parser

from ._adapt import OldOptions, adapt
from ._rd import read_rd

__all__ = [
    "FileProcessor",
    "HeaderProcessor",
    "ImmediateHeaderProcessor",
    "late_class",
    "procmain",
]

P = TypeVar("P", bound=process.FileProcessor)

FileProcessor: Any = adapt(process.FileProcessor, about="Runs process(srcName) over all sources.")
ImmediateHeaderProcessor: Any = adapt(
    process.ImmediateHeaderProcessor,
    FileProcessor,
    about="Edits headers: _isProcessed(srcName, hdr), _changeHeader(srcName, hdr).",
)
HeaderProcessor: Any = adapt(
    process.HeaderProcessor,
    FileProcessor,
    about="Computes headers: _isProcessed(srcName), _mungeHeader(srcName, hdr).",
)

_LATE: Final = {
    "AnetHeaderProcessor": "HeaderProcessor",
    "PreviewMaker": "FileProcessor",
    "SpectralPreviewMaker": "PreviewMaker",
}
"""Processors for plate solving and previews, and what each is a kind of."""


@functools.cache
def late_class(name: str) -> Any:
    """Adapt a processor when somebody asks for it; None if there is none of that name."""
    new = getattr(process, name, None)
    if name not in _LATE or new is None:
        return None
    base = globals().get(_LATE[name]) or late_class(_LATE[name])
    adapted = adapt(new, base, about=new.__doc__ or name)
    if hasattr(new, "readers"):
        adapted.readers = _Readers(new.readers)
    return adapted


class _Readers(dict[str, Any]):
    """Readers of spectra: an sdmId that names a data element of the RD stands for any file."""

    def __contains__(self, name: object) -> bool:
        return bool(name)

    def __missing__(self, name: str) -> Any:
        return _read_any_spectrum


def _read_any_spectrum(path: Path) -> Any:
    from skyloom.process.previews import SPECTRUM_READERS  # noqa: PLC0415 - slow

    try:
        return SPECTRUM_READERS["table"](path)
    except SkyloomError:
        return SPECTRUM_READERS["image"](path)


def procmain(
    cls: type[P], rdId: str | DataSpec, ddId: str = "import", argv: Sequence[str] | None = None
) -> P:
    """Run a processor over the sources of a resource descriptor.

    Parameters
    ----------
    cls : type
        The processor's class.
    rdId : str or DataSpec
        Id or path of the descriptor; or what is to be processed.
    ddId : str
        Id of the data element in it.
    argv : sequence of str, optional
        Arguments; default those of the process.
    """
    parser = make_parser(cls)
    opts = parser.parse_args(None if argv is None else list(argv), namespace=OldOptions())
    spec = rdId if isinstance(rdId, DataSpec) else read_rd(rdId, ddId)
    RUNS.append(cls)
    return main_with(cls, opts, spec)
