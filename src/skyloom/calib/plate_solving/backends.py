"""Back ends: programs and packages that recognise a star field without knowing where it is."""

from __future__ import annotations

import importlib.util
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from skyloom.calib.plate_solving.io.index import IndexFile
from skyloom.calib.plate_solving.parameters import Hint, SolverParameters
from skyloom.calib.plate_solving.projection import TanSip
from skyloom.calib.plate_solving.stars import StarList
from skyloom.errors import SolverNotAvailable, WrongValue

__all__ = [
    "BACKENDS",
    "FieldMatch",
    "PlateSolver",
    "SolveRequest",
    "available_backends",
    "choose_backend",
]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolveRequest:
    """A question to a back end."""

    stars: StarList
    indexes: tuple[IndexFile, ...]
    parameters: SolverParameters
    hint: Hint
    seconds: float  # it has to answer in about this time
    pixel_error: float = 1.0  # pix, by which a star may be off a first, simple WCS
    depth: int = 50  # brightest stars that quads are made of


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FieldMatch:
    """What a back end found: where the image is, good to some pixels."""

    wcs: TanSip
    log_odds: float  # natural logarithm of the odds that this is no chance
    index: IndexFile
    backend: str
    seconds: float
    comments: tuple[str, ...] = ()  # what the back end says about its match


class PlateSolver(Protocol):
    """A back end."""

    @property
    def name(self) -> str:
        """Its name in options and headers."""

    def solve(self, request: SolveRequest) -> FieldMatch | None:
        """Recognise a field; None: not recognised, in the time given."""


def _package(_sandbox: Path | None) -> PlateSolver:
    from skyloom.calib.plate_solving.in_process import InProcess  # noqa: PLC0415 - on request

    return InProcess()


def _program(sandbox: Path | None) -> PlateSolver:
    from skyloom.calib.plate_solving.io.solve_field import SolveField  # noqa: PLC0415

    return SolveField(sandbox=sandbox)


BACKENDS: Final[dict[str, Callable[[Path | None], PlateSolver]]] = {
    "astrometry": _package,
    "solve-field": _program,
}
"""Back ends by name, the preferred one first."""


def available_backends() -> list[str]:
    """Return the names of the back ends that are installed."""
    found = []
    if importlib.util.find_spec("astrometry_extension") is not None:
        found.append("astrometry")
    if shutil.which("solve-field"):
        found.append("solve-field")
    return found


def choose_backend(name: str = "auto", *, sandbox: Path | None = None) -> PlateSolver:
    """Return a back end.

    Parameters
    ----------
    name : str
        ``astrometry`` (the Python package, in this process), ``solve-field`` (the program), or
        ``auto``: the first of these that is installed.
    sandbox : path, optional
        Folder for the files of a program; default a temporary one.

    Raises
    ------
    WrongValue
        If there is no such back end.
    SolverNotAvailable
        If it, or for ``auto`` each, is not installed.
    """
    if name != "auto" and name not in BACKENDS:
        raise WrongValue(
            f"backend = {name!r} must be auto, {' or '.join(BACKENDS)}", key="backend", value=name
        )
    installed = available_backends()
    wanted = list(BACKENDS) if name == "auto" else [name]
    for candidate in wanted:
        if candidate in installed:
            return BACKENDS[candidate](sandbox)
    raise SolverNotAvailable(
        f"no plate solver is installed ({', '.join(wanted)}); install the program solve-field "
        "(Debian: apt install astrometry.net) or the package (pip install 'skyloom[solve]')",
        backends=tuple(wanted),
    )
