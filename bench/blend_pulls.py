"""Honesty of fluxes and errors on data that GalSim drew: the long version of the truth tests.

    python bench/blend_pulls.py [--sections bias white correlated types] [--copies 64]

Prints, with default options, one core, perturbed starts: flux biases of noise-free scenes; pulls,
scatter and reported errors over the Cramer-Rao bound for noisy blends, in white noise and in noise
resampled by Lanczos-3 interpolation; and what a wrong source type does to fluxes.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests" / "sims"))

from blend_tools import (
    DEV,
    EXP,
    STAR,
    Field,
    Pulls,
    PullStats,
    blend_template,
    crowded_scene,
    fit_field,
    lone_template,
    make_field,
    pool,
    pull_stats,
    resampled_noise,
    shifted_noise,
    spread_fluxes,
    starts,
)

from skyloom.scene import fit_scene, warm_up

FWHM = (3.0, 3.6, 4.2)
BINS = [(6.0, 16.0), (16.0, 50.0), (50.0, 200.0)]
KINDS = {"all": None, "star": STAR, "exp": EXP, "dev": DEV}


@contextmanager
def section(title: str) -> Iterator[None]:
    """Print a title, run, print the time it took."""
    print(f"\n=== {title}")
    begin = time.perf_counter()
    yield
    print(f"    ({time.perf_counter() - begin:.1f} s)")


def print_bins(pulls: Pulls, kinds: dict[str, int | None]) -> None:
    """Print the statistics of each bin of S/N and kind of source."""
    print("S/N      kind " + PullStats.HEADER)
    for low, high in BINS:
        for name, kind in kinds.items():
            some = pulls.between(low, high)
            some = some if kind is None else some.of(kind)
            if len(some.snr) > 1:
                print(f"{low:3.0f}-{high:<4.0f} {name:4s} {pull_stats(some)}")


def bias() -> None:
    """Noise-free crowded scenes: ten sources in five bands, r_c 0.5-6 px."""
    fwhm = (3.0, 3.35, 3.7, 4.05, 4.4)
    for weight in (1.0, 30.0):
        found: dict[int, list[np.ndarray]] = {STAR: [], EXP: [], DEV: []}
        for seed in range(1, 7):
            images, truth, flux = crowded_scene(np.random.default_rng(seed), fwhm)
            for im in images:
                im.ivar[:] *= weight**2
            fit = fit_scene(images, starts(truth, np.random.default_rng(100 + seed)))
            for kind, ratios in found.items():
                ratios.append((fit.flux / flux - 1.0)[truth.kind == kind].ravel())
        print(f"weights of S/N about {100 * weight:.0f}; 6 scenes: flux bias mean, rms, largest")
        for kind, parts in found.items():
            b = np.concatenate(parts)
            rms = np.sqrt((b**2).mean())
            print(
                f"{kind.name.lower():5s} {100 * b.mean():+9.4f} % {100 * rms:8.4f} %"
                f" {100 * np.abs(b).max():8.4f} %"
            )


def white(copies: int) -> None:
    """Four-source blends in white noise."""
    templates = [blend_template(np.random.default_rng(seed), FWHM) for seed in range(1, 11)]
    rng = np.random.default_rng(1)
    for snr in [*BINS, (BINS[0][0], BINS[-1][1])]:
        fluxes = [spread_fluxes(t, copies, snr, rng) for t in templates]
        pulls = fit_field(make_field(templates, fluxes), rng)
        print(f"\nblends of S/N {snr[0]:.0f}-{snr[1]:.0f}, {4 * copies * len(templates)} sources,")
        print(f"{pulls.evaluations.mean():.1f} evaluations per source")
        print_bins(pulls, KINDS)
        print(f"no flux       {pull_stats(pulls.between(-1.0, 1e-6))}")


def in_noise(
    make: Callable[[], Field],
    noise: Callable[[tuple[int, int]], np.ndarray],
    rng: np.random.Generator,
    repeats: int,
    *,
    sigma: float,
) -> Pulls:
    """Fit several realisations of fields in some noise; ``sigma`` as in `Pulls.against`."""
    parts = []
    for _ in range(repeats):
        field = make()
        shape = field.images[0].data.shape
        images = field.with_noise([noise(shape) for _ in field.images])
        parts.append(fit_field(field, rng, images=images))
    return pool(parts).against(sigma)


def correlated(copies: int) -> None:
    """Lone stars and galaxies of 5 px, and blends, in resampled noise; white for comparison."""
    rng = np.random.default_rng(2)
    fwhm = FWHM[::2]
    lone = [lone_template(rng, STAR, 1.0, fwhm) for _ in range(3)]
    lone += [lone_template(rng, EXP, 5.0, fwhm) for _ in range(3)]
    blends = [blend_template(rng, fwhm) for _ in range(6)]
    noises = {
        "white": (rng.standard_normal, 1.0),
        "shifted by half a pixel": (lambda shape: shifted_noise(shape, (0.5, 0.5), rng), 1.0),
        "shifted by 0.3, 0.4 pixel": (lambda shape: shifted_noise(shape, (0.3, 0.4), rng), 1.0),
        "turned by 2 degrees, pixels of 1.05": (
            lambda shape: resampled_noise(shape, degrees=2.0, scale=1.05, rng=rng),
            1.05,
        ),
    }

    def lone_field() -> Field:
        fluxes = [
            np.concatenate([spread_fluxes(t, copies, snr, rng) for snr in BINS]) for t in lone
        ]
        return make_field(lone, fluxes, pitch=64)

    def blend_field() -> Field:
        fluxes = [spread_fluxes(t, 2 * copies, (6.0, 200.0), rng) for t in blends]
        return make_field(blends, fluxes)

    for name, (noise, sigma) in noises.items():
        with section(f"lone sources, {name}; exp: r_e = 5 px"):
            print_bins(in_noise(lone_field, noise, rng, 4, sigma=sigma), {"star": STAR, "exp": EXP})
        if not name.startswith("turned"):
            with section(f"blends, {name}"):
                print_bins(in_noise(blend_field, noise, rng, 1, sigma=sigma), KINDS)


def types(copies: int) -> None:
    """Print what a fit of the wrong type gives: bias and scatter over the true model's bound."""
    rng = np.random.default_rng(3)
    cases = [("star", STAR, 1.0, EXP)]
    cases += [(f"exp r_e = {r} px", EXP, r, STAR) for r in (0.3, 0.5, 1.0, 2.0)]
    print("truth             fitted as  S/N       bias/sigma scatter/sigma  bias      evaluations")
    for name, kind, r, wrong in cases:
        templates = [lone_template(rng, kind, r, FWHM) for _ in range(4)]
        for low, high in BINS:
            fluxes = [spread_fluxes(t, copies, (low, high), rng) for t in templates]
            field = make_field(templates, fluxes, pitch=64)
            images = field.noisy(rng)
            for fitted in (kind, wrong):
                got = fit_field(
                    field, rng, images=images, kind=np.full(len(field.sources), int(fitted))
                )
                error, relative = got.error / got.bound, got.error / (got.snr * got.bound)
                print(
                    f"{name:17s} {fitted.name.lower():9s} {low:3.0f}-{high:<4.0f}"
                    f" {error.mean():+12.3f} {error.std():13.3f} {100 * relative.mean():+8.2f} %"
                    f" {got.evaluations.mean():9.1f} (most {got.evaluations.max()})"
                )


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", 1)[0])
    names = ("bias", "white", "correlated", "types")
    parser.add_argument("--sections", nargs="+", choices=names, default=names)
    parser.add_argument("--copies", type=int, default=64, help="of each template, per S/N bin")
    options = parser.parse_args()
    print("load", *(f"{value:.1f}" for value in os.getloadavg()))
    warm_up()
    if "bias" in options.sections:
        with section("noise-free scenes, everything free"):
            bias()
    if "white" in options.sections:
        with section("four-source blends in white noise, one flux of each exactly 0"):
            white(options.copies)
    if "correlated" in options.sections:
        correlated(options.copies)
    if "types" in options.sections:
        with section("wrong source types, lone sources, three bands"):
            types(options.copies)


if __name__ == "__main__":
    main()
