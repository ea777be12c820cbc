"""One thread per process, so that sums do not depend on how many there are."""

from __future__ import annotations

import ctypes
import functools
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Final

__all__ = ["SINGLE_THREAD_ENV", "available_cpus", "single_threaded"]

SINGLE_THREAD_ENV: Final = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "BLIS_NUM_THREADS": "1",
    "VECLIB_MAXIMUM_THREADS": "1",
    "NUMEXPR_NUM_THREADS": "1",
    "NUMBA_NUM_THREADS": "1",
}
"""Environment of a worker; it counts only when it is set before numpy is imported."""


def available_cpus() -> int:
    """Return how many CPUs this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0)) or 1
    return os.cpu_count() or 1


@contextmanager
def single_threaded() -> Iterator[None]:
    """Let the BLAS libraries in the wheels of numpy and scipy use one thread meanwhile.

    Other builds of numpy need the environment variables.
    """
    before = [(control, control.get()) for control in _blas()]
    for control, _ in before:
        control.set(1)
    try:
        yield
    finally:
        for control, count in before:
            control.set(count)


@dataclass(frozen=True, slots=True)
class _Control:
    """The two functions of an OpenBLAS library that rule its threads."""

    get: Callable[[], int]
    set: Callable[[int], None]


@functools.cache
def _blas() -> tuple[_Control, ...]:
    """Find the OpenBLAS of numpy and scipy."""
    files: list[Path] = []
    for package in ("numpy", "scipy"):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            home = Path(spec.origin).parent
            for folder in (home.with_name(f"{package}.libs"), home / ".dylibs"):
                files += sorted(folder.glob("*openblas*"))
    return tuple(control for file in files for control in _controls(ctypes.CDLL(str(file))))


def _controls(library: ctypes.CDLL) -> Iterator[_Control]:
    for prefix in ("scipy_openblas", "openblas"):
        for suffix in ("64_", "_64", ""):
            if hasattr(library, f"{prefix}_set_num_threads{suffix}"):
                yield _Control(
                    getattr(library, f"{prefix}_get_num_threads{suffix}"),
                    getattr(library, f"{prefix}_set_num_threads{suffix}"),
                )
