"""A small function, run over many files."""

from __future__ import annotations

import argparse
import os
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from skyloom.errors import UserMistake

from .data import DataSpec
from .options import add_run_options, default_options
from .outcome import RunCounts

if TYPE_CHECKING:
    from astropy.io import fits
__all__ = ["FileProcessor", "OutsideInputs"]


class OutsideInputs(UserMistake, ValueError):  # noqa: N818 - named as those in errors.py
    """A path that is not below the inputs directory has no product key."""


class FileProcessor:
    """Runs `process` over the sources of a `DataSpec`; made to be subclassed.

    Parameters
    ----------
    opts : argparse.Namespace, optional
        Options, as `procmain` parses them; what is missing has its default.
    data : DataSpec, optional
        What to process; default: nothing.

    Attributes
    ----------
    opts : argparse.Namespace
        The options.
    data : DataSpec
        What is processed.
    counts : RunCounts
        The counts of the last `process_all`.
    """

    version: ClassVar[str] = "1"
    """Raise it when `process` gives other results: files in a journal are then done again."""
    start_method: ClassVar[str | None] = None
    """How workers start: ``fork``, ``spawn``, or None: forked on Linux, spawned elsewhere."""

    def __init__(
        self, opts: argparse.Namespace | None = None, data: DataSpec | None = None
    ) -> None:
        self.opts = default_options(self.add_options, opts)
        self.data = DataSpec() if data is None else data
        self.counts = RunCounts()
        self._create_auxiliaries(self.data)

    @staticmethod
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add the options of this processor; an override calls its parent's first.

        Only long names are free for use.
        """
        add_run_options(parser)

    def _create_auxiliaries(self, data: DataSpec) -> None:
        """Make what all files need; called once, before anything is processed."""

    def _init_worker(self) -> None:
        """Open what processes must not share (files, connections); called once in each worker."""

    def process(self, identifier: str) -> Any:
        """Do the work for one identifier.

        Raises
        ------
        SkipThis
            If there is nothing to do; the identifier is not counted.
        Exception
            Anything else: the file has failed, the others go on.
        """
        raise NotImplementedError(f"{type(self).__name__} has no process(identifier)")

    def classify(self, identifier: str) -> str:  # noqa: ARG002 - for overrides
        """Return the class of an identifier, for ``--report``."""
        return "unknown"

    def handle_result(self, identifier: str, result: Any) -> None:
        """Take what `process` returned; called in the parent process, in no defined order.

        This is how data are gathered with ``-j``: what `process` changes in a worker is lost.
        """

    def iter_identifiers(self) -> Iterable[Any]:
        """Yield what is to be processed; strings, unless an override says otherwise."""
        return self.data.sources.identifiers(self.data.resdir)

    def process_all(self) -> tuple[int, int]:
        """Process every identifier.

        Returns
        -------
        processed, ignored : int
            How many were processed, and how many of these failed.

        Raises
        ------
        Bailed
            At the first failure, with ``--bail``.
        """
        from .run import run_processor  # noqa: PLC0415 - it knows processors

        self.counts = run_processor(self)
        return self.counts.processed, self.counts.ignored

    @staticmethod
    def get_primary_header(path: str | Path) -> fits.Header:
        """Read the primary header of a FITS file, without its data.

        Raises
        ------
        FITSError, EOFError, OSError
            If the file is not FITS, truncated, or cannot be opened.
        """
        from .cards import get_primary_header  # noqa: PLC0415 - astropy is slow

        return get_primary_header(path)

    def get_product_key(self, path: str | Path) -> str:
        """Return a path relative to the inputs directory.

        Raises
        ------
        OutsideInputs
            If the path is not below it; also a ValueError.
        """
        full = Path(os.path.normpath(self.data.resdir / path))
        try:
            return full.relative_to(self.data.inputs_dir).as_posix()
        except ValueError:
            raise OutsideInputs(
                f"{path} is not below the inputs directory {self.data.inputs_dir}, so it has no "
                "product key; correct inputs_dir",
                path=str(path),
            ) from None
