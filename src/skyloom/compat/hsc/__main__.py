"""Run a script of the HSC tools: ``python -m skyloom.compat.hsc script.py ...``."""

from __future__ import annotations

import runpy
import sys
import traceback
from pathlib import Path

from skyloom.compat.hsc import installed
from skyloom.errors import MissingFile, SkyloomError

__all__ = ["main"]

_HINT = "; 'What differs' in docs/hsc_migration.md names what to use instead"


def main(arguments: list[str]) -> int:
    """Run a script with the old modules, and return the exit status."""
    if not arguments or arguments[0] in {"-h", "--help"}:
        sys.stderr.write("usage: python -m skyloom.compat.hsc script.py [arguments]\n")
        return 0 if arguments else 2
    script = Path(arguments[0])
    before = sys.argv, list(sys.path)
    try:
        if not script.is_file():
            raise MissingFile(f"{script}: no such script; correct the path", file=str(script))
        sys.argv = [str(script), *arguments[1:]]
        sys.path.insert(0, str(script.parent))
        with installed():
            runpy.run_path(str(script), run_name="__main__")
    except (SkyloomError, ImportError) as error:
        if isinstance(error, ImportError) and not _is_old(error):
            raise
        hint = _HINT if isinstance(error, ImportError) and _HINT not in str(error) else ""
        sys.stderr.write(f"{_line(script, error)}{type(error).__name__}: {error}{hint}\n")
        return 2
    finally:
        sys.argv, sys.path[:] = before
    return 0


def _is_old(error: ImportError) -> bool:
    """Tell whether a name of the old modules was not found, by `import` or `from ... import`."""
    return str(error.name).startswith((__package__ or "", "lsst.", "hsc."))


def _line(script: Path, error: BaseException) -> str:
    """Return the line of the script that an error comes from, as messages begin."""
    frames = traceback.extract_tb(error.__traceback__)
    lines = [frame.lineno for frame in frames if frame.filename == str(script)]
    return f"{script}:{lines[-1]}: " if lines else ""


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
