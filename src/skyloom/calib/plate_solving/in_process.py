"""The Python package ``astrometry``: the engine of astrometry.net in this process.

The package is GPL and optional; it is imported by name when this back end is first asked.
"""

from __future__ import annotations

import functools
import importlib
import itertools
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, final

import numpy as np

from skyloom.calib.plate_solving.backends import FieldMatch, SolveRequest
from skyloom.calib.plate_solving.io.index import IndexFile
from skyloom.calib.plate_solving.projection import TanSip
from skyloom.errors import SolverNotAvailable

__all__ = ["InProcess"]

_VERIFIED: Final = 200  # brightest stars given to the engine
_STEPS: Final = (8, 12, 16, 20, 25, 30, 40, 50, 70, 100)
"""Numbers of stars that quads are made of, tried one after the other."""
_QUADS: Final = 0.1, 1.0  # smallest quad as part of the short side, largest of the diagonal
_MOST: Final = 20_000, 10_000
"""Quads tried and candidates examined in one call."""
_FIRST: Final = 12  # stars that all indexes are asked about first
_DENSE: Final = 200_000  # stars of an index beyond which `_MOST` ends questions early
_TELLING: Final = 0.3  # s; what takes less says nothing about how time grows
_NARROW: Final = 4.0  # largest over smallest scale up to which the scale counts as known
_SCALES: Final = 0.01, 3600.0  # arcsec / pix, where nothing is known
_ENGINE = threading.Lock()  # the engine logs and counts globally


@functools.lru_cache(maxsize=64)
def _engine(path: Path, _changed: int) -> Any:
    """Return the engine with one index loaded; it stays loaded in this process."""
    return _package().Solver([path])


def _load(index: IndexFile) -> Any:
    return _engine(index.path, index.path.stat().st_mtime_ns)


def _package() -> Any:
    try:
        return importlib.import_module("astrometry")
    except ImportError as error:
        raise SolverNotAvailable(
            f"the package astrometry cannot be imported ({error}); pip install 'skyloom[solve]'",
            backends=("astrometry",),
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep the engine's own log, which goes to the root logger, from the user's."""
    root = logging.getLogger()
    root.addFilter(_is_ours)
    try:
        yield
    finally:
        root.removeFilter(_is_ours)


def _is_ours(record: logging.LogRecord) -> bool:
    return record.name != "root"


@final
@dataclass(frozen=True, slots=True)
class InProcess:
    """Solve with the package ``astrometry``.

    The engine has no time limit of its own.  So it is asked in small steps, from few bright stars
    to many, index by index; the clock is read in between, and a step that would not end in time,
    as those before it tell, is left out.
    """

    @property
    def name(self) -> str:
        """Its name in options and headers."""
        return "astrometry"

    def solve(self, request: SolveRequest) -> FieldMatch | None:
        """Recognise a field; None: not recognised, in the time given."""
        started = time.monotonic()
        package = _package()
        stars = request.stars[:_VERIFIED]
        if len(stars) < 4:
            return None
        # FITS pixels: with 0-based ones the WCS would be a pixel off in x and y.
        places = stars.points + 1.0
        longest, its_work = 0.0, 1.0  # s, of the question that took longest
        for step in _plan(request):
            _load(step.index)  # once in a process, and not the question's fault
            asked = time.monotonic()
            left = request.seconds - (asked - started)
            if left <= 0:
                return None
            if longest > _TELLING and longest * step.work / its_work > left:
                continue
            found = _ask(package, step.index, places, step.part, request)
            if found is not None:
                return _as_match(found, step.index, time.monotonic() - started)
            took = time.monotonic() - asked
            if took > longest:
                longest, its_work = took, step.work
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class _Step:
    """One question: quads of an index with at least one star of a part of the list."""

    index: IndexFile
    part: tuple[int, int]
    work: float  # expected, in any unit: pairs of a quad of stars and a quad of the index


def _plan(request: SolveRequest) -> list[_Step]:
    """Return the questions in their order.

    Where the scale is known, the best index first, with few stars, then the others, then with more
    stars.  Else all indexes about the first stars, which often suffices, and then the smallest
    questions first: all get about the same time, and coarse indexes with few quads are asked about
    many stars before finer ones about some.
    """
    last_of_all = min(request.depth, len(request.stars), _VERIFIED)
    ends = sorted({min(step, last_of_all) for step in (*_STEPS, last_of_all)})
    plan = []
    for first, last in itertools.pairwise([0, *ends]):
        n_quads = math.comb(last, 4) - math.comb(first, 4)
        plan += [
            _Step(
                index=index,
                part=(first, last),
                work=float(max(1, n_quads * min(index.n_stars, _DENSE))),
            )
            for index in _in_order(request)
        ]
    low, high = _limits(request)
    if high <= _NARROW * low:
        return plan
    return sorted(plan, key=lambda step: step.work if step.part[1] > _FIRST else 0.0)


def _limits(request: SolveRequest) -> tuple[float, float]:
    hint = request.hint
    low = _SCALES[0] if hint.scale_low is None else hint.scale_low
    high = _SCALES[1] if hint.scale_high is None else hint.scale_high
    return low, max(low, high)


def _in_order(request: SolveRequest) -> list[IndexFile]:
    """Return the indexes that can match, those with quads of half the field first."""
    low, high = _limits(request)
    ny, nx = request.stars.shape
    smallest = _QUADS[0] * min(nx, ny) * low / 3600.0
    largest = _QUADS[1] * float(np.hypot(nx, ny)) * high / 3600.0
    suitable = [index for index in request.indexes if index.suits(smallest, largest)]
    middle = np.log(0.4 * min(nx, ny) * np.sqrt(low * high) / 3600.0)

    def distance(index: IndexFile) -> float:
        return float(abs(np.log(np.sqrt(index.quad_low * index.quad_high)) - middle))

    return sorted(suitable, key=distance) if request.hint.has_scale else suitable


def _ask(
    package: Any,
    index: IndexFile,
    places: Any,
    part: tuple[int, int],
    request: SolveRequest,
) -> Any:
    """Ask about quads with at least one star of a part of the list."""
    hint, shape = request.hint, request.stars.shape
    low, high = _limits(request)
    parity = package.Parity.BOTH
    if hint.mirrored is not None:
        parity = package.Parity.FLIP if hint.mirrored else package.Parity.NORMAL
    tweaks = request.parameters.tweak
    parameters = package.SolutionParameters(
        sip_order=2 if tweaks else 0,
        tune_up_logodds_threshold=14.0 if tweaks else None,
        positional_noise_pixels=request.pixel_error,
        minimum_quad_size_pixels=_QUADS[0] * min(shape),
        maximum_quads=_MOST[0],
        maximum_matches=_MOST[1],
        parity=parity,
        slices_generator=lambda _n: [part],
        logodds_callback=lambda _odds: package.Action.STOP,  # the first match will do
    )
    position = None
    if hint.ra is not None and hint.dec is not None:
        position = package.PositionHint(hint.ra % 360.0, hint.dec, min(hint.radius, 180.0))
    with _ENGINE, _quiet():
        solution = _load(index).solve(
            stars=places,
            size_hint=package.SizeHint(low, high),
            position_hint=position,
            solution_parameters=parameters,
        )
    return solution.best_match() if solution.has_match() else None


def _as_match(found: Any, index: IndexFile, seconds: float) -> FieldMatch:
    cards = {name: value for name, (value, _comment) in found.wcs_fields.items()}
    return FieldMatch(
        wcs=TanSip.from_cards(cards),
        log_odds=float(found.logodds),
        index=index,
        backend="astrometry",
        seconds=seconds,
    )
