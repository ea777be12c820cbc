"""Halos in rings and spikes: closed forms, and what must not be taken for them."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.detect.halo import halo_light, halo_profile
from skyloom.detect.spikes import radial_streaks

SIDE, X, Y = 201, 98.3, 101.8
FWHM = 4.0


@pytest.fixture
def offsets():
    y, x = np.mgrid[:SIDE, :SIDE].astype(float)
    return x - X, y - Y


def ring(r, amplitude=2.0):
    return amplitude * np.exp(-0.5 * ((r - 40.0) / 6.0) ** 2)


def noise(seed=1):
    return np.random.default_rng(seed).normal(size=(SIDE, SIDE))


def profile(image, offsets, use=None):
    dx, dy = offsets
    good = np.ones(image.shape, bool) if use is None else use
    return halo_profile(image, np.ones(image.shape), good, dx=dx, dy=dy, inner=10.0, outer=80.0)


def test_a_ring_of_light_is_recovered(offsets):
    found = profile(ring(np.hypot(*offsets)) + noise(), offsets)
    assert found.is_significant
    # five errors, and what a ring of 2.5 pix cannot resolve of a ring of 6: 2 %
    assert np.all(np.abs(found.terms[:, 0] - ring(found.radius)) < 5 * found.error + 0.04)
    light = halo_light(*offsets, found.radius, found.terms)
    assert light.sum() == pytest.approx(ring(np.hypot(*offsets)).sum(), rel=0.03)
    assert (light[np.hypot(*offsets) > 90.0] == 0.0).all()


def test_errors_are_those_of_the_pixels(offsets):
    pulls = np.concatenate(
        [(f.terms[:, 0] / f.error) for f in (profile(noise(s), offsets) for s in range(20))]
    )
    # clipping at 2.5 sigma keeps 1.2 % from the tails: widths within 5 %, 560 values: 3 %
    assert np.std(pulls) == pytest.approx(1.0, abs=0.12)


def test_noise_is_no_halo(offsets):
    assert not any(profile(noise(s), offsets).is_significant for s in range(30))


def test_a_lopsided_halo_keeps_its_side(offsets):
    dx, dy = offsets
    r = np.maximum(np.hypot(dx, dy), 1e-9)
    truth = ring(r) * (1.0 + 0.5 * dx / r + 0.3 * 2.0 * dx * dy / r**2)
    found = profile(truth + noise(), offsets)
    k = int(np.argmax(found.terms[:, 0]))
    # sqrt(2) errors of the mean: 0.1
    assert found.terms[k] == pytest.approx([2.0, 1.0, 0.0, 0.0, 0.6], abs=0.25)


def test_spikes_and_unlisted_sources_are_no_halo(offsets):
    dx, dy = offsets
    image = noise()
    image[np.abs(dy) < 1.5] += 30.0
    image[np.hypot(dx - 40.0, dy - 20.0) < 5.0] += 50.0
    found = profile(image, offsets)
    assert np.abs(found.terms[found.radius > 20.0, 0]).max() < 0.35  # a spike's share of a ring


def test_what_a_wrong_model_leaves_of_a_neighbour_is_no_halo(offsets):
    dx, dy = offsets
    near = np.hypot(dx - 18.0, dy - 12.0)
    left = 4.0 * np.exp(-near / 5.0)  # an exponential galaxy, below the clipping for the most part
    for seed in range(5):
        found = profile(noise(seed) + left, offsets, use=near > 6.0)
        assert not found.is_significant
        # beside a halo it does not count for one either
        both = profile(noise(seed) + left + ring(np.hypot(*offsets)), offsets, use=near > 6.0)
        assert both.is_significant


def test_a_ring_without_pixels_is_unknown(offsets):
    far = np.hypot(*offsets) > 30.0
    found = profile(ring(np.hypot(*offsets)), offsets, use=far)
    assert np.isinf(found.error[found.radius < 27.0]).all()
    assert (found.terms[found.radius < 27.0] == 0.0).all()


def spike(offsets, angle, *, level=40.0, scale=25.0, width=1.2):
    dx, dy = offsets
    c, s = np.cos(np.radians(angle)), np.sin(np.radians(angle))
    along, across = dx * c + dy * s, dy * c - dx * s
    return level * np.exp(-along / scale) * (along > 0) * np.exp(-0.5 * (across / width) ** 2)


def streaks(image, **planes):
    zero = np.zeros(image.shape)
    return radial_streaks(
        image,
        planes.get("weight", np.ones(image.shape)),
        planes.get("star", zero),
        planes.get("others", zero),
        x=X,
        y=Y,
        inner=10.0,
        outer=95.0,
        fwhm=FWHM,
    )


@pytest.mark.parametrize("angle", [0.0, 30.0, 90.0, 179.0, 301.0])
def test_a_spike_is_masked_where_it_shows(offsets, angle):
    light = spike(offsets, angle)
    mask = streaks(light + noise())
    shows = (light > 4.0) & (np.hypot(*offsets) > 14.0)
    assert mask[shows].mean() > 0.9
    far = light < 0.05
    assert mask[far].mean() < 0.01


def test_four_spikes_cross_a_halo_and_only_they_are_masked(offsets):
    light = sum(spike(offsets, angle) for angle in (20.0, 110.0, 200.0, 290.0))
    mask = streaks(light + ring(np.hypot(*offsets), 5.0) + noise())
    shows = (light > 6.0) & (np.hypot(*offsets) > 14.0)
    assert mask[shows].mean() > 0.9
    assert mask.mean() < 0.1


@pytest.mark.parametrize("seed", range(5))
def test_noise_and_halos_have_no_spikes(offsets, seed):
    assert streaks(noise(seed)).sum() == 0
    assert streaks(noise(seed) + ring(np.hypot(*offsets), 10.0)).sum() == 0


def test_a_round_source_is_no_spike(offsets):
    dx, dy = offsets
    source = 40.0 * np.exp(-0.5 * ((dx - 40.0) ** 2 + (dy - 10.0) ** 2) / 3.0**2)
    assert streaks(source + noise()).sum() == 0


def test_what_models_explain_is_left_alone(offsets):
    light = spike(offsets, 45.0)
    assert streaks(light + noise(), others=3.0 * light).sum() == 0  # a catalogued edge-on galaxy
    assert (
        streaks(light + noise(), star=np.full((SIDE, SIDE), 400.0)).sum() == 0
    )  # an error of the PSF


def test_a_spike_goes_on_behind_a_source_and_never_onto_bad_pixels(offsets):
    light = spike(offsets, 0.0, scale=60.0)
    dx, dy = offsets
    near = np.hypot(dx - 45.0, dy) < 5.0
    weight = np.where((dx > 60.0) & (dx < 63.0), 0.0, 1.0)
    mask = streaks(light + noise(), others=np.where(near, 1e4, 0.0), weight=weight)
    assert mask[near & (np.abs(dy) < 1.0)].mean() > 0.8
    assert not mask[weight == 0.0].any()


def test_too_small_a_region_holds_no_spike():
    zero = np.zeros((20, 20))
    found = radial_streaks(
        zero + 9.0, zero + 1.0, zero, zero, x=10.0, y=10.0, inner=5.0, outer=9.0, fwhm=FWHM
    )
    assert not found.any()
