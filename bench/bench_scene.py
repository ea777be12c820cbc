"""Speed of the engine beside the floor of the machine, and beside The Tractor.

    OPENBLAS_NUM_THREADS=1 python bench/bench_scene.py [--quick] [--only kernels fits ...]

Everything runs on one pinned core, warm, unless a block says otherwise.  Floors are operations
and bytes counted (see `internals`) over the rates of this core, measured in the same run.  Scenes
of the block ``fits`` are drawn by GalSim; the other blocks measure what does not depend on truth
and use the engine's own images.
"""

from __future__ import annotations

import argparse
import ctypes
import multiprocessing
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
from internals import (
    BANDS,
    BYTES,
    COUNT,
    PILED,
    KernelBench,
    evaluation_flops,
    pair_flops,
    stamp_sides,
    values_flops,
)
from machine import Machine, best_time, measure_machine, median_time, pinned
from scenes import SCENES, TRACTOR_SECONDS, BenchScene, galsim_scene, own_scene

import skyloom.scene
from skyloom.scene import FitOptions, SceneFit, SourceType, fit_scene, warm_up

KINDS = (SourceType.STAR, SourceType.EXP, SourceType.DEV, SourceType.SERSIC)
THREAD_ROUNDS = 10
TRACTOR_FORCED = 1000 / 0.7125  # source-bands per second of its forced fluxes, 200 sources, 256^2
COLD_START = """
import time
start = time.perf_counter()
import skyloom.scene
imported = time.perf_counter()
skyloom.scene.warm_up()
print(imported - start, time.perf_counter() - imported)
"""


def options_with(**wanted: object) -> FitOptions | None:
    """Return options with these settings, or None where this version does not have them."""
    try:
        return FitOptions(**wanted)  # type: ignore[arg-type]
    except TypeError:
        return None


def heading(title: str, *, stamps: str, data: str, options: FitOptions | None = None) -> None:
    """Print what every block states: stamps, profile variant, stop rule, data, load."""
    options = options or FitOptions()
    names = ("tolerance", "max_iterations", "passes")
    rule = ", ".join(f"{n} {getattr(options, n)}" for n in names if hasattr(options, n))
    load = " ".join(f"{value:.1f}" for value in os.getloadavg())
    print(f"\n== {title}\n   stamps {stamps}; profiles {options.profile}; stop rule: {rule}")
    print(f"   data {data}; load {load}")


def kernels(machine: Machine, *, quick: bool) -> None:
    """Print rendering, evaluation and pair products per source and band."""
    heading(
        f"kernels, microseconds per source and band ({COUNT} sources x {BANDS} bands per call)",
        stamps="as in column N, of all sources", data="noise",
    )  # fmt: skip
    print("            N   values  floor  ratio   evaluation  floor  ratio   pair  % of peak")
    each = 1e6 / (COUNT * BANDS)
    for side in (64,) if quick else (32, 64, 128):
        for kind in KINDS:
            apart, piled = KernelBench(kind, side), KernelBench(kind, side, PILED)
            values = each * best_time(apart.values)
            alone = each * best_time(apart.evaluation)
            pair = (each * best_time(piled.evaluation) - alone) * COUNT / piled.pairs
            floors = [
                1e6 * flops / machine.fma
                for flops in (
                    values_flops(side),
                    evaluation_flops(kind, side),
                    pair_flops(kind, kind, piled.common),
                )
            ]
            print(
                f"{kind.name.lower():8s} {side:4d} {values:8.2f} {floors[0]:6.2f} "
                f"{values / floors[0]:6.1f} {alone:12.2f} {floors[1]:6.2f} "
                f"{alone / floors[1]:6.1f} {pair:6.1f} {100.0 * floors[2] / pair:10.0f}"
            )


def fits(machine: Machine, *, quick: bool) -> None:
    """Print whole fits of the four scenes, with stamps of 64 px and by significance.

    Chi-square is that of all pixels; "above best" is its excess over the lowest of this fit, one
    from the truth, and one that goes on where this one ended: small where the minimum is reached.
    """
    for label, options in (
        ("all of 64 px", options_with(stamp_side=64)),
        ("by significance", FitOptions()),
    ):
        heading(
            "whole fits, everything free, five bands, median of 5 warm runs on one core",
            stamps=label, data="drawn by GalSim, exact laws, unit noise", options=options,
        )  # fmt: skip
        if options is None:
            print("   FitOptions(stamp_side=...) is not in this version")
            continue
        print(
            "   scene                   s  Tractor  ratio   floor  ratio  evaluations  "
            "chi-square           above  largest  stamps\n"
            "                                  s              s         median  95 %  "
            "         of pixels    best    group"
        )
        for count, side in SCENES[:2] if quick else SCENES:
            print("  ", fit_row(galsim_scene(count, side), options, machine))


def fit_row(scene: BenchScene, options: FitOptions, machine: Machine) -> str:
    """Return the line of one scene."""
    taken = median_time(lambda: fit_scene(scene.images, scene.start, options))
    fit = fit_scene(scene.images, scene.start, options)
    others = [
        fit_scene(scene.images, start, options)
        for start in (scene.truth, scene.start.at(fit.params))  # from the truth, from its own end
    ]
    sides = stamp_sides(scene.images, scene.start, fit, options)
    floor = fit_floor(fit, scene.start.kind, sides, machine)
    peer = TRACTOR_SECONDS[len(scene.start), scene.images[0].data.shape[0]]
    largest = np.unique(fit.group, return_counts=True)[1].max()
    chi2 = chi_square(fit, scene)
    best = min(chi2, *(chi_square(other, scene) for other in others))
    used = ", ".join(
        f"{n} x {s}" for s, n in zip(*np.unique(sides, return_counts=True), strict=True)
    )
    return (
        f"{scene.name:20s} {taken:7.3f} {peer:8.2f} {peer / taken:6.1f} {floor:7.4f} "
        f"{taken / floor:6.1f} {np.median(fit.evaluations):7.1f} "
        f"{np.percentile(fit.evaluations, 95):5.1f} {chi2:10.1f} of {scene.pixels:6d} "
        f"{chi2 - best:7.2f} {largest:8d}  {used}"
    )


def chi_square(fit: SceneFit, scene: BenchScene) -> float:
    """Return the chi-square of all pixels of all bands."""
    return float(
        sum(
            (im.ivar * np.asarray(left, np.float64) ** 2).sum()
            for left, im in zip(fit.residual, scene.images, strict=True)
        )
    )


def fit_floor(fit: SceneFit, kind: np.ndarray, sides: np.ndarray, machine: Machine) -> float:
    """Return the least time [s] of the evaluations of a fit: arithmetic or reading pixels.

    Its evaluations per source, and products of all pairs of a blend group whose stamps overlap.
    """
    times = fit.evaluations
    alone = [evaluation_flops(k, n) for k, n in zip(kind, sides, strict=True)]
    flops = float((times * alone).sum())
    bytes_read = float((times * sides**2 * BYTES).sum())
    half = sides / 2
    for i in range(len(kind)):
        mates = np.arange(i + 1, len(kind))
        mates = mates[fit.group[mates] == fit.group[i]]
        overlap = np.ones(len(mates))
        for at in (fit.x, fit.y):
            low = np.maximum(at[i] - half[i], at[mates] - half[mates])
            high = np.minimum(at[i] + half[i], at[mates] + half[mates])
            overlap *= np.maximum(high - low, 0.0)
        for j, common in zip(mates, overlap, strict=True):
            flops += min(times[i], times[j]) * pair_flops(kind[i], kind[j], common)
    return BANDS * max(flops / machine.fma, bytes_read / machine.copy)


def forced(machine: Machine, *, quick: bool) -> None:
    """Print the rate of fluxes at fixed positions and shapes, stamps of 32 px."""
    options = options_with(stamp_side=32)
    photometry = getattr(skyloom.scene, "forced_photometry", None)
    heading(
        "forced photometry, positions and shapes at the truth",
        stamps="all of 32 px" if options else "by significance",
        data="own", options=options,
    )  # fmt: skip
    count, side = (50, 256) if quick else (200, 256)
    scene = own_scene(count, side)
    if photometry is None:
        print("   forced_photometry is not in this version: fit_scene with everything fixed")
        photometry = fit_scene
    fixed = replace(scene.truth, free=np.zeros_like(scene.truth.free))
    taken = median_time(lambda: photometry(scene.images, fixed, options or FitOptions()))
    result = photometry(scene.images, fixed, options or FitOptions())
    pull = ((result.flux - scene.flux) / result.flux_err).ravel()
    rate, area = BANDS * count / taken, 32.0 * 32.0
    floor = 1.0 / (values_flops(32) + 6.0 * area) * machine.fma  # value, weight, square, residual
    print(
        f"   {count} sources, {side}^2: {rate:.0f} source-bands/s ({taken:.4f} s; floor "
        f"{floor:.0f}/s, ratio {floor / rate:.1f}; The Tractor {TRACTOR_FORCED:.0f}/s, "
        f"{rate / TRACTOR_FORCED:.0f} times); pulls {pull.mean():+.3f} +- {pull.std():.3f}"
    )


def in_child(work: Callable[..., object], *args: object) -> object:
    """Run a function in a fresh process: its threads, caches and memory are its own."""
    context = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(work, *args).result()


def threads(machine: Machine, *, quick: bool) -> None:  # noqa: ARG001 - as all blocks
    """Print how two threads share independent groups."""
    heading(
        "threads over independent groups, whole fit, best of 10 in turn",
        stamps="by significance",
        data="own",
    )
    if options_with(threads=2) is None:
        print("   FitOptions(threads=...) is not in this version")
        return
    if len(os.sched_getaffinity(0)) < 2:
        print("   this machine lends one core only")
        return
    per_side = 10 if quick else 20
    one, two, same = in_child(_threaded, per_side)  # type: ignore[misc]
    print(
        f"   {per_side**2} sources, 32 px apart: 1 thread {one:.3f} s, 2 threads {two:.3f} s, "
        f"efficiency {100.0 * one / (2.0 * two):.0f} %; results "
        f"{'equal to the last bit' if same else 'DIFFER'}"
    )


def _threaded(per_side: int) -> tuple[float, float, bool]:
    """Time one and two threads [s]; tell whether they agree."""
    grid = 20.0 + 32.0 * np.arange(per_side) + 0.3
    positions = np.stack(np.meshgrid(grid, grid)).reshape(2, -1)
    scene = own_scene(per_side**2, 32 * per_side + 8, positions=positions)
    taken, found = {1: np.inf, 2: np.inf}, []
    for number in (1, 2) * THREAD_ROUNDS:  # in turn: the load of the machine changes
        options = FitOptions(threads=number)  # type: ignore[call-arg]
        with pinned(number):
            start = time.perf_counter()
            found.append(fit_scene(scene.images, scene.start, options))
            taken[number] = min(taken[number], time.perf_counter() - start)
    same = all(
        np.array_equal(getattr(found[0], name), getattr(other, name), equal_nan=True)
        for other in found[1:]
        for name in ("flux", "params", "flux_err")
    )
    return taken[1], taken[2], same


def memory(machine: Machine, *, quick: bool) -> None:  # noqa: ARG001 - as all blocks
    """Print how far a fit raises the peak of the resident memory."""
    heading("memory of a fit, in a fresh warm process", stamps="by significance", data="own")
    for count, side, spacing in ((200, 256, 0.0), (2000, 0, 8.0))[: 1 if quick else 2]:
        start, rise, taken, largest, wide = in_child(_memory, count, side, spacing)  # type: ignore[misc]
        print(
            f"   {count} sources, {wide}^2, largest group {largest}: {rise:.0f} MiB above "
            f"{start:.0f} MiB with the scene in memory ({taken:.1f} s)"
        )


def _memory(count: int, side: int, spacing: float) -> tuple[float, float, float, int, int]:
    """Return memory before, rise of its peak [MiB], seconds, largest group and side."""
    positions = None
    if spacing:
        per_side = int(np.ceil(np.sqrt(count)))
        side = int(spacing * per_side + 24)
        jitter = np.random.default_rng(3).uniform(-1.0, 1.0, (2, count))
        grid = np.stack(np.divmod(np.arange(count), per_side))
        positions = 16.0 + spacing * grid + jitter
    with pinned():
        warm_up()
        scene = own_scene(count, side, positions=positions)
        ctypes.CDLL(None).malloc_trim(0)  # what is free already must not hide what a fit takes
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # restart the peak
        before, start = _status("VmRSS"), time.perf_counter()
        fit = fit_scene(scene.images, scene.start)
        taken = time.perf_counter() - start
    largest = int(np.unique(fit.group, return_counts=True)[1].max())
    return before, _status("VmHWM") - before, taken, largest, side


def _status(name: str) -> float:
    """Return a line of this process's status [MiB]."""
    for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024.0
    return float("nan")


def cold(machine: Machine, *, quick: bool) -> None:  # noqa: ARG001 - as all blocks
    """Print how long a fresh process takes to its first finished fit, kernels cached on disk."""
    heading("cold start, kernels cached on disk", stamps="by significance", data="a tiny scene")
    runs = []
    for _ in range(2 if quick else 4):
        done = subprocess.run(
            [sys.executable, "-c", COLD_START], check=True, capture_output=True, text=True
        )
        runs.append([float(word) for word in done.stdout.split()])
    imports, first = (statistics.median(column) for column in zip(*runs[1:], strict=True))
    print(f"   imports {imports:.2f} s, then {first:.2f} s to the end of the first fit")


BLOCKS = {f.__name__: f for f in (kernels, fits, forced, threads, memory, cold)}


def main() -> None:
    """Run the chosen blocks."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="the smaller half of everything")
    parser.add_argument("--only", nargs="+", choices=BLOCKS, default=list(BLOCKS))
    args = parser.parse_args()
    start = time.perf_counter()
    with pinned():
        machine = measure_machine(quick=args.quick)
        print(machine)
        warm_up()
    for name in args.only:
        if name == "threads":  # sets its own cores
            BLOCKS[name](machine, quick=args.quick)
            continue
        with pinned():
            BLOCKS[name](machine, quick=args.quick)
    print(f"\n{time.perf_counter() - start:.0f} s in all")


if __name__ == "__main__":
    main()
