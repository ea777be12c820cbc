"""Built-in processors as commands: sources on the command line, status 1 if a file failed."""

from __future__ import annotations

import argparse
import glob
import os
import runpy
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

from skyloom.errors import MissingFile, WrongValue

from .data import DataSpec
from .main import RUNS, main_with, make_parser
from .processor import FileProcessor
from .sources import Sources

__all__ = ["read_sources", "run_command", "run_script"]

_MODULES: Final = frozenset({"__main__", "skyloom_script"})  # names that scripts run under


def run_command(cls: type[FileProcessor], argv: Sequence[str], *, prog: str) -> FileProcessor:
    """Run a built-in processor over the sources that the command line names.

    Raises
    ------
    SystemExit
        With 1 if a file failed, 2 for a mistake on the command line.
    """
    parser = make_parser(cls, prog)
    _add_source_options(parser)
    parser.set_defaults(strict=True)
    opts = parser.parse_intermixed_args(list(argv))
    return main_with(cls, opts, _data(parser, opts))


def _add_source_options(parser: argparse.ArgumentParser) -> None:
    group = parser.add_argument_group("sources")
    group.add_argument(
        "sources", nargs="*", metavar="SOURCE",
        help="files, globs, directories (with all below them), @LIST with one path a line",
    )  # fmt: skip
    group.add_argument("--data", metavar="FILE", help="description of the data, TOML")
    group.add_argument("--pattern", default="*.fits", help="names in directories; default *.fits")
    group.add_argument("--table", metavar="FILE", help="take the paths from a table")
    group.add_argument("--column", default="path", help="its column; default: path")
    group.add_argument("--butler", metavar="ROOT", help="take the files of a butler's dataset type")
    group.add_argument("--dataset", metavar="TYPE", help="the dataset type")
    group.add_argument("--where", metavar="KEY=VALUE", action="append", default=[],
                       help="values that data IDs must have; may be repeated")  # fmt: skip


def _data(parser: argparse.ArgumentParser, opts: argparse.Namespace) -> DataSpec:
    given = [name for name in ("sources", "data", "table", "butler") if getattr(opts, name)]
    if len(given) != 1:
        parser.error("name the files: SOURCE..., --data, --table or --butler, one of them")
    if (opts.dataset is not None or opts.where) and not opts.butler:
        parser.error("--dataset and --where belong to --butler")
    if opts.butler:
        return DataSpec(sources=_from_butler(parser, opts))
    if opts.data:
        return DataSpec.from_toml(opts.data)
    if opts.table:
        return DataSpec(sources=Sources.from_table(opts.table, opts.column))
    return DataSpec(sources=read_sources(opts.sources, pattern=opts.pattern))


def _from_butler(parser: argparse.ArgumentParser, opts: argparse.Namespace) -> Sources:
    from skyloom.butler import Butler  # noqa: PLC0415 - slow

    if opts.dataset is None:
        parser.error("--butler needs --dataset: the type of the files")
    where = dict(word.partition("=")[::2] for word in opts.where)
    if not all(key and value for key, value in where.items()):
        parser.error(f"--where {' '.join(opts.where)} must be KEY=VALUE")
    with Butler(opts.butler) as butler:
        return Sources.from_butler(butler, opts.dataset, **where)


def read_sources(arguments: Sequence[str], *, pattern: str = "*.fits") -> Sources:
    """Turn arguments into sources.

    Parameters
    ----------
    arguments : sequence of str
        Files; globs; directories, of which all files below are taken that match ``pattern``;
        ``@LIST`` for a text file with one path a line.
    pattern : str
        Shell glob for files in directories.

    Raises
    ------
    MissingFile
        If a list does not exist.
    """
    items: list[str] = []
    for argument in arguments:
        if argument.startswith("@"):
            items += _lines(argument[1:])
        elif os.path.isdir(argument):  # noqa: PTH112 - text
            folder = glob.escape(os.path.abspath(argument))  # noqa: PTH100
            found = Sources(patterns=(f"{folder}/{pattern}",), recurse=True)
            items += found.identifiers(Path())
        elif glob.has_magic(argument) and not os.path.exists(argument):  # noqa: PTH110
            items += Sources(patterns=(argument,)).identifiers(Path())
        else:
            items.append(argument)
    return Sources(items=tuple(items))


def _lines(path: str) -> list[str]:
    try:
        text = Path(path).read_text(encoding="utf-8")
    except OSError as error:
        raise MissingFile(
            f"{path}: the list of files cannot be read ({error.strerror}); correct @{path}",
            path=path,
        ) from None
    return [line for line in map(str.strip, text.splitlines()) if line and line[0] != "#"]


def run_script(script: str, argv: Sequence[str]) -> None:
    """Run a user's script; one that only defines a processor is given a main program.

    Parameters
    ----------
    script : str
        Path of a Python file; ``FILE:CLASS`` chooses among several processors.
    argv : sequence of str
        Arguments: those of the script's own `procmain`, or sources and options.

    Raises
    ------
    MissingFile, WrongValue
        If there is no such file, or no one processor in it.
    SystemExit
        As `procmain`, or `run_command`, does.
    """
    path, _, chosen = script.partition(":") if not Path(script).is_file() else (script, "", "")
    if not Path(path).is_file():
        raise MissingFile(f"{path}: there is no such script; give a Python file", path=path)
    before = sys.argv, sys.path[:]
    sys.argv = [path, *argv]
    sys.path.insert(0, str(Path(path).absolute().parent))
    n_runs = len(RUNS)
    try:
        # Scripts call procmain when they are the main program; others just define a class.
        scope = runpy.run_path(path, run_name="skyloom_script" if chosen else "__main__")
        if len(RUNS) == n_runs:
            cls = _only_processor(path, scope, chosen)
            run_command(cls, argv, prog=f"skyloom process {script}")
    finally:
        sys.argv, sys.path[:] = before


def _only_processor(path: str, scope: dict[str, Any], chosen: str) -> type[FileProcessor]:
    found = {
        name: value
        for name, value in scope.items()
        if isinstance(value, type)
        and issubclass(value, FileProcessor)
        and value.__module__ in _MODULES
        and not name.startswith("_")
    }
    if chosen and chosen in found:
        return found[chosen]
    if not chosen and len(found) == 1:
        return next(iter(found.values()))
    known = ", ".join(found) or "none"
    raise WrongValue(
        f"{path}: which processor? It has {known}; write {path}:CLASS, or call procmain in it",
        path=path,
    )
