"""Speed of the engine, one thread: microseconds per source and band.

    python bench/bench_scene.py

Prints models (values only), evaluations (value, derivatives, weights, self products), products of
an overlapping pair, and whole fits with their evaluations.  Best of several runs; the first line
says what else the machine was doing.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from dataclasses import replace

import numpy as np

from skyloom.psf import MoffatPsf
from skyloom.scene import (
    FitOptions,
    SceneImage,
    ScenePass,
    Sources,
    SourceType,
    fit_scene,
    render_scene,
    warm_up,
)
from skyloom.scene._gram_nb import evaluate, make_scratch
from skyloom.scene._records import Images, Members, Scratch, Tables
from skyloom.scene.models import unit_stamps

BANDS = 5
KINDS = (SourceType.STAR, SourceType.EXP, SourceType.DEV, SourceType.SERSIC)


def best(run: Callable[[], object], *, seconds: float = 0.3) -> float:
    """Return the shortest time of a call [s]."""
    times = []
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < 3:
        start = time.perf_counter()
        run()
        times.append(time.perf_counter() - start)
    return min(times)


class Bench:
    """Some members in boxes of their own, ready for the kernels."""

    def __init__(self, kind: int, side: int, count: int) -> None:
        at = 100.0 + 5.3 * np.arange(count)
        sources = Sources.create(np.full(count, kind), at, at, r=1.5)
        shape = (300, 300)
        images = [
            SceneImage(
                data=np.zeros(shape, np.float32),
                ivar=np.ones(shape, np.float32),
                psf=MoffatPsf(fwhm_pix=4.0, radius=side / 2 - 2),
                flux_key=b,
            )
            for b in range(BANDS)
        ]
        scene = ScenePass(images, sources, FitOptions())
        rows, sides = np.arange(count), np.full(count, side)
        corner = scene.geometry.corners(rows, np.zeros((count, 2)), sides)
        frame = corner.min(axis=0)
        shapes = ((corner + side).max(axis=0) - frame)[:, ::-1].copy()
        (data, weight), offset = scene.geometry.cut([scene.data, scene.ivar], frame, shapes)
        self.members: Members
        self.members, self.theta = scene.members(rows, sources.theta, sides, frame)
        self.images = Images(data, weight, offset, shapes, scene.geometry.key)
        self.tables: Tables = scene.tables
        self.scratch: Scratch = make_scratch(self.members)
        total = int(self.scratch.first[-1])
        self.gram = np.empty((BANDS, total, total))
        self.grad, self.chi2 = np.empty((BANDS, total)), np.empty(BANDS)
        self.flux = np.full((count, BANDS), 100.0)
        self.wanted = np.ones((count, BANDS), np.bool_)

    def values(self) -> object:
        """Render all stamps."""
        return unit_stamps(self.members, self.theta, self.wanted, self.tables)

    def evaluation(self) -> object:
        """Evaluate the group once."""
        return evaluate(
            self.members, self.theta, self.flux, self.tables, self.images, self.scratch,
            self.gram, self.grad, self.chi2,
        )  # fmt: skip


def kernels() -> None:
    """Print the table of kernels."""
    print("us per source and band     N   values   evaluation   products of a pair")
    for side in (32, 64, 128):
        for kind in KINDS:
            one, two = Bench(kind, side, 1), Bench(kind, side, 2)
            values = best(one.values) / BANDS
            alone, both = best(one.evaluation) / BANDS, best(two.evaluation) / BANDS
            print(
                f"{kind.name.lower():23s} {side:4d} {1e6 * values:8.1f} {1e6 * alone:12.1f}"
                f" {1e6 * (both - 2 * alone):20.1f}"
            )


def fits() -> None:
    """Print whole fits of random scenes: 40 % stars, exp, dev; S/N about 15 to 200."""
    print("whole fits, 5 bands          s   us per source-band-evaluation   evaluations")
    for count, side in ((10, 100), (50, 100), (50, 256), (200, 256)):
        rng = np.random.default_rng(count + side)
        kind = rng.choice([0, 1, 2], count, p=[0.4, 0.4, 0.2])
        x, y = rng.uniform(12, side - 12, (2, count))
        truth = Sources.create(kind, x, y, r=rng.uniform(0.8, 2.5, count))
        images = [
            SceneImage(
                data=np.zeros((side, side), np.float32),
                ivar=np.ones((side, side), np.float32),
                psf=MoffatPsf(fwhm_pix=3.0 + 0.3 * b, radius=24),
                flux_key=b,
            )
            for b in range(BANDS)
        ]
        models = render_scene(images, truth, 10 ** rng.uniform(2.0, 3.2, (count, BANDS)))
        noisy = [
            replace(im, data=m + rng.normal(0, 1, m.shape).astype(np.float32))
            for im, m in zip(images, models, strict=True)
        ]
        start = Sources.create(
            kind, *(truth.theta[:, :2] + rng.normal(0, 0.3, (count, 2))).T, r=1.5
        )
        taken = best(lambda: fit_scene(noisy, start), seconds=1.0)  # noqa: B023
        evaluations = fit_scene(noisy, start).evaluations
        each = 1e6 * taken / (BANDS * evaluations.sum())
        name = f"{count} sources, {side}^2"
        print(f"{name:22s} {taken:7.3f} {each:20.1f} {evaluations.mean():25.1f}")


if __name__ == "__main__":
    print("load", *(f"{value:.1f}" for value in os.getloadavg()))
    warm_up()
    kernels()
    fits()
