"""Classes that call hooks by their old names.

For each hook the new name calls the old one, and the old one, unless it is overridden, does what
the new class does.  Old class attributes are read through properties of the new names.
"""

from __future__ import annotations

import argparse
import inspect
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import numpy as np
from typing_extensions import override

from skyloom.process import DataSpec, FileProcessor

from ._rd import OldData

__all__ = ["HOOKS", "OPTIONS", "OldOptions", "OldParser", "adapt"]

HOOKS: Final[Mapping[str, str]] = {
    "iter_identifiers": "iterIdentifiers",
    "process_all": "processAll",
    "get_product_key": "getProductKey",
    "get_primary_header": "getPrimaryHeader",
    "_is_processed": "_isProcessed",
    "_change_header": "_changeHeader",
    "_get_header": "_getHeader",
    "_munge_header": "_mungeHeader",
    "comment_filter": "commentFilter",
    "history_filter": "historyFilter",
    "_run_anet": "_runAnet",
    "_solve_anet": "_solveAnet",
    "_should_run_anet": "_shouldRunAnet",
    "get_preview_data": "getPreviewData",
    "get_preview_path": "getPreviewPath",
}
"""Methods by new name."""

ATTRIBUTES: Final[Mapping[str, str]] = {
    "header_ext": "headerExt",
    "max_header_blocks": "maxHeaderBlocks",
    "card_sequence": "cardSequence",
    "keep_keys": "keepKeys",
    "no_copy_headers": "noCopyHeaders",
    "source_extractor_control": "sourceExtractorControl",
    "object_filter": "objectFilter",
    "index_dir": "indexPath",
    "sdm_id": "sdmId",
    "linear_fluxes": "linearFluxes",
    "connect_points": "connectPoints",
    "spectral_column": "spectralColumn",
    "flux_column": "fluxColumn",
}
"""Class attributes by new name."""

OPTIONS: Final[Mapping[str, str]] = {
    "requireFrag": "filter",
    "bailOnError": "bail",
    "doReport": "report",
    "beVerbose": "verbose",
    "nParallel": "n_procs",
    "reProcess": "reprocess",
    "applyHeaders": "apply",
    "reHeader": "reheader",
    "runAnet": "run_anet",
    "copyTo": "copy_to",
}
"""Options by old name."""


class OldOptions(argparse.Namespace):
    """Options under their old and new names."""

    def __getattr__(self, name: str) -> Any:
        if name in OPTIONS:
            return getattr(self, OPTIONS[name])
        raise AttributeError(name)

    def __setattr__(self, name: str, value: Any) -> None:
        super().__setattr__(OPTIONS.get(name, name), value)


class OldParser:
    """A parser that understands ``add_option`` too."""

    _TYPES: Final = {"int": int, "long": int, "float": float, "string": str, "str": str,
                     "complex": complex}  # fmt: skip

    def __init__(self, parser: argparse.ArgumentParser) -> None:
        self.parser = parser

    def __getattr__(self, name: str) -> Any:
        return getattr(self.parser, name)

    def add_option(self, *flags: str, **facts: Any) -> None:
        """Add an option as optparse does."""
        if facts.get("action") == "callback":
            facts["action"] = _Callback
        if isinstance(facts.get("type"), str):
            kind = facts.pop("type")
            if kind != "choice":
                facts["type"] = self._TYPES[kind]
        if "help" in facts:
            facts["help"] = facts["help"].replace("%default", "%(default)s")
        self.parser.add_argument(*flags, **facts)


class _Callback(argparse.Action):
    """Calls a function as optparse does: with option, its text, value and parser."""

    def __init__(self, option_strings: Sequence[str], dest: str, **facts: Any) -> None:
        self._call = facts.pop("callback")
        self._args = facts.pop("callback_args", ())
        self._keywords = facts.pop("callback_kwargs", {})
        facts.setdefault("nargs", None if "type" in facts else 0)
        super().__init__(option_strings, dest, **facts)

    @override
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: Any, values: Any, option: Any = None
    ) -> None:
        value = None if self.nargs == 0 else values
        self._call(self, option, value, parser, *self._args, **self._keywords)


def _plain(parser: Any) -> argparse.ArgumentParser:
    found: argparse.ArgumentParser = parser.parser if isinstance(parser, OldParser) else parser
    return found


def adapt(new: type[FileProcessor], *bases: type, about: str) -> type[Any]:
    """Return a class with the hooks of ``new`` under their old names.

    Parameters
    ----------
    new : type
        A processor.
    *bases : type
        Adapted classes that it shall be a kind of.
    about : str
        Its docstring.
    """
    names: dict[str, Any] = {"__doc__": about, "__module__": "skyloom.compat.dachs"}

    for name, old in HOOKS.items():
        if hasattr(new, name):
            names[name] = _forward(old)
            names[old] = _backward(new, name)
    names["getPrimaryHeader"] = inspect.getattr_static(new, "get_primary_header")  # is static
    for name, old in ATTRIBUTES.items():
        if hasattr(new, name):
            names[name] = _attribute(old)
            names[old] = getattr(new, name)
    if "keepKeys" in names:
        names["keepKeys"] = set(names["keepKeys"])
    if hasattr(new, "source_extractor_control"):
        names["source_extractor_control"] = property(_extractor_control)
        names["object_filter"] = property(_object_filter)
        names["solverParameters"] = property(_solver_parameters)

    def add_options(cls: type[Any], parser: argparse.ArgumentParser) -> None:
        cls.addOptions(OldParser(parser))

    def add_old_options(optParser: Any) -> None:
        new.add_options(_plain(optParser))

    def create_auxiliaries(self: Any, data: DataSpec) -> None:
        self.dd = OldData(data)
        if hasattr(self, "keepKeys"):
            self.keepKeys = set(self.keepKeys)  # what an object adds stays its own
        self._createAuxiliaries(self.dd)

    def create_old_auxiliaries(self: Any, dd: OldData) -> None:
        self._createAuxillaries(dd)  # as the manual spells it

    def create_misspelt_auxiliaries(self: Any, dd: OldData) -> None:
        new._create_auxiliaries(self, dd.spec)

    names |= {
        "add_options": classmethod(add_options),
        "addOptions": staticmethod(add_old_options),
        "_create_auxiliaries": create_auxiliaries,
        "_createAuxiliaries": create_old_auxiliaries,
        "_createAuxillaries": create_misspelt_auxiliaries,
    }
    return type(new.__name__, (new, *bases), names)


def _forward(old: str) -> Callable[..., Any]:
    def hook(self: Any, *args: Any) -> Any:
        return getattr(self, old)(*args)

    return hook


def _backward(new: type, name: str) -> Callable[..., Any]:
    # Not by super(): an adapted base would send it back here.
    function = inspect.getattr_static(new, name)

    def hook(self: Any, *args: Any) -> Any:
        return function.__get__(self, type(self))(*args)

    return hook


def _attribute(old: str) -> property:
    def read(self: Any) -> Any:
        return getattr(self, old)

    def write(self: Any, value: Any) -> None:
        setattr(self, old, value)

    return property(read, write)


def _extractor_control(self: Any) -> Any:
    """Return the control text under either old name: sexControl, sourceExtractorControl."""
    found = getattr(self, "sexControl", None)
    return self.sourceExtractorControl if found is None else found


def _object_filter(self: Any) -> Any:
    """Return `objectFilter`; the manual defines it without self."""
    found = inspect.getattr_static(type(self), "objectFilter", None)
    if inspect.isfunction(found) and len(inspect.signature(found).parameters) == 1:
        return found
    return self.objectFilter


def _solver_parameters(self: Any) -> dict[str, Any]:
    """Return the class attributes ``sp_<name>`` by name; indices are those in `indexPath`."""
    found = {name[3:]: getattr(self, name) for name in dir(self) if name.startswith("sp_")}
    if self.index_dir is not None:
        wanted = found.get("indices") or ["*.fits"]
        flat = [wanted] if isinstance(wanted, str) else np.ravel(np.array(wanted, dtype=str))
        found["indices"] = [os.path.join(self.index_dir, str(name)) for name in flat]  # noqa: PTH118
    return found
