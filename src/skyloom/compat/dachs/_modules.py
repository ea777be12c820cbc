"""Lets scripts import what they imported: ``from gavo import api``."""

from __future__ import annotations

import re
import sys
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from astropy.io import fits

from skyloom.process import SkipThis

__all__ = ["imports_gavo", "provide_gavo"]

_IMPORT: Final = re.compile(r"^\s*(from|import) +gavo\b", re.MULTILINE)


def imports_gavo(script: str | Path) -> bool:
    """Tell whether a script imports gavo and there is none."""
    if "gavo" in sys.modules or find_spec("gavo") is not None:
        return False
    try:
        return bool(_IMPORT.search(Path(script).read_text(encoding="utf-8", errors="replace")))
    except OSError:
        return False


def provide_gavo() -> None:
    """Make ``gavo`` importable in this process: api, base, utils, helpers."""
    from skyloom.compat import dachs  # noqa: PLC0415 - it imports this module
    from skyloom.compat.dachs import anet, fitstools, fitstricks, imgtools  # noqa: PLC0415

    about: dict[str, dict[str, Any]] = {
        "gavo": {},
        "gavo.base": {"SkipThis": SkipThis},
        "gavo.utils": {"pyfits": fits, "fitstools": fitstools, "imgtools": imgtools},
        "gavo.helpers": {"anet": anet, "fitstricks": fitstricks, "processing": dachs},
    }
    for name, content in about.items():
        module = ModuleType(name)
        module.__path__ = []
        module.__dict__.update(content)
        sys.modules[name] = module
    for name, found in {
        "gavo.api": dachs,
        "gavo.processing": dachs,
        "gavo.helpers.anet": anet,
        "gavo.helpers.processing": dachs,
        "gavo.helpers.fitstricks": fitstricks,
        "gavo.utils.fitstools": fitstools,
        "gavo.utils.imgtools": imgtools,
        "gavo.utils.pyfits": fits,
    }.items():
        sys.modules[name] = found
    for name in ("api", "base", "utils", "helpers", "processing"):
        setattr(sys.modules["gavo"], name, sys.modules[f"gavo.{name}"])
