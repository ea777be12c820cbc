"""One way to compile a kernel.

Kernels live in ``_*_nb.py`` modules: plain functions of numbers, arrays and named tuples of arrays,
compiled at their first call and kept on disk for the processes after that.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar, cast

import numba as nb

__all__ = ["exact_kernel", "kernel", "kernel_part", "lean_exact_kernel", "lean_kernel"]

F = TypeVar("F", bound=Callable[..., Any])

_COMMON = {"nogil": True, "error_model": "numpy"}
# Terms of sums may be regrouped and fused; NaN and infinity keep their meaning.
_FAST = {"reassoc", "contract", "arcp", "nsz"}


def kernel(function: F) -> F:
    """Compile a function to machine code at its first call, without the interpreter's lock.

    Arithmetic is fast: terms of sums may be regrouped.  The code is cached beside the source, or in
    the user's cache directory, or, where neither can be written, not at all.

    Notes
    -----
    A kernel is pasted into each kernel that calls it.  Otherwise two libraries with the same
    function, rounded differently by their optimisations, would share whichever was loaded first,
    and results would depend on the order of calls in a process.
    """
    return _compile(function, fastmath=_FAST, forceinline=True)


def lean_kernel(function: F) -> F:
    """Compile like `kernel` a function that allocates nothing, and counts no references.

    Each view of an array otherwise raises and lowers the reference count of its memory: locked
    instructions on a word that all threads share, several hundred of them per rendered source.
    Its views live no longer than the call, so that nothing has to be counted.
    """
    return _compile(function, fastmath=_FAST, forceinline=True, _nrt=False)


def kernel_part(function: F) -> F:
    """Mark a function that one kernel calls in one place: it is compiled as part of that kernel.

    Code that is compiled by itself is optimised again in every caller, and in every caller of
    those; parts of a kernel are compiled once.
    """
    return _compile(function, fastmath=_FAST, inline="always")


def exact_kernel(function: F) -> F:
    """Compile like `kernel`, with the arithmetic as written: for algebra on small matrices."""
    return _compile(function)


def lean_exact_kernel(function: F) -> F:
    """Compile like `lean_kernel`, with the arithmetic as written."""
    return _compile(function, _nrt=False)


def _compile(function: F, **options: object) -> F:
    compile_ = cast("Callable[..., Callable[[F], Any]]", nb.njit)
    try:
        dispatcher = compile_(cache=True, **_COMMON, **options)(function)
    except RuntimeError:  # no place for a cache
        return cast("F", compile_(**_COMMON, **options)(function))
    # numba takes a cached kernel for good as long as its own file is unchanged, although it
    # contains the kernels of other files that it calls.  Here all kernel files count.
    index = getattr(getattr(dispatcher, "_cache", None), "_cache_file", None)
    if index is not None and hasattr(index, "_source_stamp"):
        index._source_stamp = _fingerprint(Path(function.__code__.co_filename).parent)
    return cast("F", dispatcher)


@cache
def _fingerprint(directory: Path) -> str:
    """Return a digest of all kernel files of a directory."""
    digest = hashlib.sha256()
    for path in sorted(directory.glob("_*_nb.py")):
        digest.update(path.name.encode())
        digest.update(path.read_bytes())
    return digest.hexdigest()
