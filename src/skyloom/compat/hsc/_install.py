"""Makes ``import lsst.afw.image`` find the old names."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from importlib.abc import MetaPathFinder
from types import ModuleType
from typing import Any, Final

from skyloom.compat.hsc._adapter import not_provided
from skyloom.errors import InputError

__all__ = ["MODULES", "install", "installed", "uninstall"]

_HERE: Final = "skyloom.compat.hsc"

MODULES: Final = {
    "lsst.daf.persistence": "daf_persistence",
    "lsst.daf.base": "daf_base",
    "lsst.geom": "lsst_geom",
    "lsst.pex.exceptions": "pex_exceptions",
    "lsst.afw.image": "afw_image",
    "lsst.afw.table": "afw_table",
    "lsst.afw.math": "afw_math",
    "lsst.afw.geom": "afw_geom",
    "lsst.afw.geom.ellipses": "ellipses",
    "lsst.afw.coord": "afw_coord",
    "lsst.afw.cameraGeom": "camera_geom",
    "lsst.afw.display": "afw_display",
    "lsst.afw.display.ds9": "ds9",
    "lsst.afw.display.utils": "display_utils",
    "lsst.meas.mosaic": "meas_mosaic",
    "lsst.meas.mosaic.mosaicLib": "meas_mosaic",
    "hsc.pipe.base.butler": "daf_persistence",
    "hsc.meas.mosaic": "meas_mosaic",
    "hsc.meas.mosaic.mosaicLib": "meas_mosaic",
}
"""Old module -> the module of this package that stands for it."""

_INSTALLED: Final[list[str]] = []


def install() -> None:
    """Let the old modules be imported; calling it again changes nothing.

    Parts of LSST that have other names (``lsst.daf.butler``) may be there and stay.

    Raises
    ------
    InputError
        If one of the real modules is installed: it is not hidden.
    """
    if _INSTALLED:
        return
    for old in MODULES:
        if _is_found(old):
            raise InputError(
                f"the real {old} is installed here; use it, or take an environment without it"
            )
    for old, new in MODULES.items():
        parts = old.split(".")
        for depth in range(1, len(parts)):
            _make_package(".".join(parts[:depth]))
        module = importlib.import_module(f"{_HERE}.{new}")
        vars(module).setdefault("__getattr__", partial(_absent, old))
        _put(old, module)
    sys.meta_path.append(_LAST)


def uninstall() -> None:
    """Take the old names away; what was imported stays with whoever imported it."""
    if _LAST in sys.meta_path:
        sys.meta_path.remove(_LAST)
    for name in reversed(_INSTALLED):
        del sys.modules[name]
        parent, _, last = name.rpartition(".")
        home = sys.modules.get(parent)
        if home is not None and not home.__name__.startswith(_HERE):
            vars(home).pop(last, None)
    _INSTALLED.clear()


@contextmanager
def installed() -> Iterator[None]:
    """Let the old modules be imported meanwhile."""
    install()
    try:
        yield
    finally:
        uninstall()


class _NotThere(MetaPathFinder):
    """Says what is the matter with a module of the old tree that nobody has."""

    def find_spec(self, fullname: str, path: Any = None, target: Any = None) -> None:  # noqa: ARG002
        """Refuse modules of LSST and HSC; others are none of its business."""
        if fullname.partition(".")[0] in {"lsst", "hsc"}:
            raise ModuleNotFoundError(str(not_provided(fullname)), name=fullname)


_LAST: Final = _NotThere()


def _absent(module: str, name: str) -> Any:
    """Stand for what a module does not have."""
    if name.startswith("__"):
        raise AttributeError(name)
    raise not_provided(f"{module}.{name}")


def _is_found(name: str) -> bool:
    try:
        return importlib.util.find_spec(name) is not None
    except (ModuleNotFoundError, ValueError):
        return False


def _make_package(name: str) -> None:
    """Make a package of the old tree, unless there is a real one, or one of our modules."""
    if name in sys.modules:
        return
    if _is_found(name):
        importlib.import_module(name)
        return
    package = ModuleType(name, "A package of the HSC tools; see skyloom.compat.hsc.")
    package.__path__ = []
    _put(name, package)


def _put(name: str, module: ModuleType) -> None:
    sys.modules[name] = module
    _INSTALLED.append(name)
    parent, _, last = name.rpartition(".")
    home = sys.modules.get(parent)
    if home is not None and not home.__name__.startswith(_HERE):  # ours has it already
        setattr(home, last, module)
