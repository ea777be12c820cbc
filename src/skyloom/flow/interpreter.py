"""Which Python the workers are: the one that is running, or another that has the same code."""

from __future__ import annotations

import json
import logging
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Final

import skyloom
from skyloom.errors import WrongValue

from .sources import libraries, package_digest

__all__ = ["find_python"]

log = logging.getLogger(__name__)

_PATIENCE: Final = 60.0  # s, for an interpreter to import the package from a slow disk
_SHOWN: Final = 120  # characters of what an interpreter says is wrong
_PROBE: Final = (
    "import json, skyloom; from skyloom.flow.sources import libraries, package_digest; "
    "print(json.dumps([skyloom.__version__, package_digest(), libraries()]))"
)
_OLD_PROBE: Final = "import skyloom; print(skyloom.__version__)"


def find_python(name: str, *, base: Path, key: str) -> Path | None:
    """Return the interpreter that a user names; None for the one that is running.

    Parameters
    ----------
    name : str
        ``python`` means the one that is running; else a command on the PATH, or a path.
    base : Path
        Where relative paths start.
    key : str
        Of the configuration, for messages.

    Raises
    ------
    WrongValue
        If there is no such file, it cannot be executed, or its skyloom is not this one.
    """
    if name.strip() == "python":
        return None
    where = f"{key} = {name!r}"
    found = _located(name.strip(), base)
    if found is None:
        raise WrongValue(
            f"{where} does not exist or is not executable; give the path of an interpreter, or "
            "'python' for the one that is running",
            key=key,
            value=name,
        )
    if found == Path(sys.executable).absolute():
        return None
    _check(found, where, key=key)
    return found


def _located(name: str, base: Path) -> Path | None:
    """Return the file that a command or path means.

    Links are not followed: a virtual environment is the link, not what it leads to.
    """
    if os.sep in name or (os.altsep is not None and os.altsep in name):
        path = Path(os.path.normpath(base / Path(name).expanduser()))
        return path if path.is_file() and os.access(path, os.X_OK) else None
    command = shutil.which(name)
    return None if command is None else Path(command).absolute()


def _check(python: Path, where: str, *, key: str) -> None:
    """Compare the code and the libraries of an interpreter with ours."""
    ours, mine = skyloom.__version__, libraries()
    answer, error = _asked(python, _PROBE)
    if answer is None:
        version, _ = _asked(python, _OLD_PROBE)
        what = f"cannot import skyloom ({error})"
        if version is not None:
            what = f"has skyloom {version}, and {ours} is running"
        if version == ours:
            what = f"has skyloom {version}, which does not work there ({error})"
        raise _unusable(where, what, python, key=key)
    version, digest, theirs = json.loads(answer)
    if version != ours:
        raise _unusable(where, f"has skyloom {version}, and {ours} is running", python, key=key)
    if digest != package_digest():
        what = f"has skyloom {version} with other files than the one that is running"
        raise _unusable(where, what, python, key=key)
    if lacking := [name for name in mine if name not in theirs]:
        raise _unusable(where, f"lacks {', '.join(lacking)}", python, key=key)
    if other := [f"{name} {v}, here {mine[name]}" for name, v in theirs.items() if v != mine[name]]:
        log.warning("%s has %s: last digits of results may differ", where, "; ".join(other))


def _unusable(where: str, what: str, python: Path, *, key: str) -> WrongValue:
    remedy = f"install skyloom {skyloom.__version__} there, or write 'python'"
    return WrongValue(f"{where} {what}; {remedy}", key=key, value=str(python))


def _asked(python: Path, code: str) -> tuple[str | None, str]:
    """Run a line of code; return its output, or None and the last line of what went wrong."""
    try:
        done = subprocess.run(
            [python, "-c", code],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_PATIENCE,
            check=False,
        )
    except OSError as error:
        return None, error.strerror or str(error)
    except subprocess.TimeoutExpired:
        return None, f"no answer within {_PATIENCE:.0f} s"
    lines = done.stdout.splitlines()
    if done.returncode != 0 or not lines:
        wrong = done.stderr.strip().splitlines() or [f"exit status {done.returncode}"]
        return None, wrong[-1][:_SHOWN]
    return lines[-1], ""
