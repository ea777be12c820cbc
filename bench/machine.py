"""What the machine can do at the moment: the rates from which floors are counted.

    python bench/machine.py

Floors of a benchmark are operation and byte counts over these two rates, measured on the same core
in the same run, so that a ratio to the floor means the same on every machine.
"""

from __future__ import annotations

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numba as nb
import numpy as np

LANES = 512  # two arrays of 2 kB: they stay in the first cache, and no loop end is felt
CHAIN = 16  # dependent steps between load and store; more and the compiler no longer unrolls


# Contracting x * a + b to one instruction is all that is allowed: with reassociation the compiler
# would shorten the chain.
@nb.njit(fastmath={"contract"}, error_model="numpy")
def _multiply_add(times, first, second, a, b):
    """Advance two arrays of independent chains x -> a x + b; 4 flops per lane and step."""
    for _ in range(times):
        for i in range(first.shape[0]):
            x, y = first[i], second[i]
            for _step in range(CHAIN):
                x = x * a + b
                y = y * a + b
            first[i], second[i] = x, y


@dataclass(frozen=True, slots=True, kw_only=True)
class Machine:
    """Measured rates of one core.

    ``fma`` [flop/s] in single precision, ``copy`` [byte/s] read plus written by a large copy.
    """

    cpu: str
    cores: int
    fma: float
    copy: float

    def __str__(self) -> str:
        load = " ".join(f"{value:.1f}" for value in os.getloadavg())
        blas = os.environ.get("OPENBLAS_NUM_THREADS", "not set")
        return (
            f"{self.cpu}, {self.cores} cores, load {load}; one core: {1e-9 * self.fma:.0f} GFLOP/s "
            f"(float32 multiply-add), {1e-9 * self.copy:.1f} GB/s (copy, read + written); "
            f"OPENBLAS_NUM_THREADS {blas}"
        )


def measure_machine(*, quick: bool = False) -> Machine:
    """Measure the core on which the process runs."""
    return Machine(
        cpu=_cpu_name(),
        cores=os.cpu_count() or 1,
        fma=_fma_rate(seconds=0.1 if quick else 0.4),
        copy=_copy_rate(mebibytes=64 if quick else 256),
    )


def best_time(run: Callable[[], object], *, seconds: float = 0.3, calls: int = 1) -> float:
    """Return the shortest time of a call [s] within a budget; at least three tries.

    ``calls`` is how often ``run`` is called per clock reading, for things of microseconds.
    """
    times: list[float] = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        for _ in range(calls):
            run()
        times.append((time.perf_counter() - start) / calls)
    return min(times)


def median_time(run: Callable[[], object], *, times: int = 5) -> float:
    """Return the median time of some calls [s], after one that is not counted."""
    run()
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        run()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


@contextmanager
def pinned(cores: int = 1) -> Iterator[None]:
    """Keep this thread, and those that it starts, on the last ``cores`` of its cores."""
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, sorted(before)[-cores:])
    try:
        yield
    finally:
        os.sched_setaffinity(0, before)


def _fma_rate(*, seconds: float) -> float:
    first, second = np.ones(LANES, np.float32), np.ones(LANES, np.float32)
    a, b, times = np.float32(0.999), np.float32(1e-3), 20_000
    _multiply_add(1, first, second, a, b)
    taken = best_time(lambda: _multiply_add(times, first, second, a, b), seconds=seconds)
    return 4.0 * CHAIN * LANES * times / taken


def _copy_rate(*, mebibytes: int) -> float:
    source = np.ones(mebibytes << 18, np.float32)
    target = np.zeros_like(source)
    return 2.0 * source.nbytes / best_time(lambda: np.copyto(target, source), seconds=0.2)


def _cpu_name() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="ascii", errors="replace").splitlines()
    except OSError:
        lines = []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.processor() or "unknown CPU"


if __name__ == "__main__":
    with pinned():
        print(measure_machine())
