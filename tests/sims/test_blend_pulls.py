"""Noisy blends drawn by GalSim: fluxes without bias, errors that are those of the scatter.

A star, two exponentials and a de Vaucouleurs, neighbours 5 to 10 px apart, three bands, one flux
of each blend exactly zero; fitted from perturbed starts with default options.
"""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the blends (test extra)")

from blend_tools import (
    DEV,
    EXP,
    STAR,
    Field,
    Pulls,
    PullStats,
    Template,
    blend_template,
    fit_field,
    make_field,
    pool,
    pull_stats,
    spread_fluxes,
)

FWHM = (3.0, 3.6, 4.2)
BINS = [(6.0, 16.0), (16.0, 50.0), (50.0, 200.0)]
DARK = (-1.0, 1e-6)  # S/N of fluxes that are exactly zero


def check_stats(found: PullStats) -> None:
    """Hold pulls to the project's limits, each plus three standard errors of the sample."""
    wide, narrow = 3.0 * found.width_err, 3.0 * found.mean_err
    assert 0.95 - wide < found.width < 1.05 + wide, found
    assert 0.95 - 3 * found.robust_err < found.robust < 1.05 + 3 * found.robust_err, found
    assert 0.95 - wide < found.scatter < 1.05 + wide, found
    assert 0.95 < found.reported < 1.05, found  # a mean of errors: no noise to speak of
    assert abs(found.bias) < 0.1 + narrow, found
    assert abs(found.mean_pull) < 0.1 + narrow, found
    assert found.dubious < 0.002, found  # 5 px apart, none is degenerate


def measure(templates: list[Template], count: int, seed: int) -> Pulls:
    """Fit ``count`` blends per template: all S/N alike (one field per bin), then mixed."""
    rng = np.random.default_rng(seed)
    parts = []
    for low, high in [*BINS, (BINS[0][0], BINS[-1][1])]:
        fluxes = [spread_fluxes(t, count, (low, high), rng) for t in templates]
        parts.append(fit_field(make_field(templates, fluxes), rng))
    return pool(parts)


@pytest.fixture(scope="module")
def templates() -> list[Template]:
    # Chains as well as clumps: neighbours of neighbours are up to 20 px apart.
    return [blend_template(np.random.default_rng(seed), FWHM) for seed in (1, 6, 8, 10)]


@pytest.fixture(scope="module")
def pulls(templates: list[Template]) -> Pulls:
    return measure(templates, 32, seed=5)


@pytest.mark.parametrize(("low", "high"), BINS)
def test_errors_are_honest_in_blends(pulls: Pulls, low: float, high: float) -> None:
    found = pull_stats(pulls.between(low, high))
    assert found.n > 1500
    check_stats(found)


def test_bands_without_flux_are_unbiased_in_blends(pulls: Pulls) -> None:
    found = pull_stats(pulls.between(*DARK))
    assert found.n == 4 * 4 * 32
    assert abs(found.bias) < 3.0 * found.mean_err  # fluxes may go negative: no bias at all
    check_stats(found)


def test_the_bound_is_that_of_a_lone_star(templates: list[Template]) -> None:
    # The harness itself: without positions and neighbours the bound is 1 / sqrt(sum of squares).
    template = templates[0]
    own = template.gram[:, 0, 0]
    far = Template(
        kind=template.kind[:1], theta=template.theta[:1], unit=template.unit[:1],
        gram=template.gram[:, :1, :1], owner=np.zeros(0, np.int64), fwhm=template.fwhm,
    )  # fmt: skip
    bound = far.bound(np.full((1, 1, 3), 100.0))
    assert bound[0, 0] == pytest.approx(1.0 / np.sqrt(own), rel=1e-9)  # rounding
    # Free positions and neighbours only add to it.
    flux = spread_fluxes(template, 2, (20.0, 60.0), np.random.default_rng(1))
    assert np.all(template.bound(flux)[:, 0] > 1.0 / np.sqrt(own))


def test_fields_meet_the_wanted_significance(templates: list[Template]) -> None:
    rng = np.random.default_rng(2)
    fluxes = [spread_fluxes(t, 8, (20.0, 60.0), rng) for t in templates]
    field: Field = make_field(templates, fluxes)
    snr = field.flux / field.bound
    assert np.sum(field.flux == 0.0) == 8 * len(templates)
    lit = snr[field.flux > 0.0]
    assert lit.min() > 0.98 * 20.0  # eight rounds of the fixed point
    assert lit.max() < 1.02 * 60.0
    assert sorted(set(field.sources.kind.tolist())) == [STAR, EXP, DEV]


@pytest.mark.soak
def test_errors_are_honest_in_many_blends() -> None:
    drawn = [blend_template(np.random.default_rng(seed), FWHM) for seed in range(1, 11)]
    pulls = pool([measure(drawn, 32, seed) for seed in (11, 12)])
    for low, high in BINS:
        inside = pulls.between(low, high)
        found = pull_stats(inside)
        assert found.n >= 5000
        check_stats(found)
        for kind in (STAR, EXP, DEV):
            check_stats(pull_stats(inside.of(kind)))
    dark = pull_stats(pulls.between(*DARK))
    assert abs(dark.bias) < 3.0 * dark.mean_err
