"""The evaluation of a group: Gram matrix, gradient, chi-square; the elimination of the fluxes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from numpy.testing import assert_allclose
from scene_tools import DEV, EXP, SERSIC, STAR, blank, evaluated, full_frame_units, make_scene

from skyloom.psf import PixelPsf
from skyloom.scene import SceneImage, Sources
from skyloom.scene._linear_nb import backward, cholesky, forward, make_room, project
from skyloom.scene._records import Normal

SHAPE = (90, 96)
SHEAR = np.array([[0.95, -0.2], [0.15, 1.05]])


@pytest.fixture(scope="module")
def sources() -> Sources:
    return Sources.create(
        np.array([SERSIC, EXP]),
        np.array([40.3, 47.9]),
        np.array([41.2, 38.4]),
        r=np.array([1.8, 1.1]),
        g1=np.array([0.2, -0.1]),
        g2=np.array([0.1, 0.3]),
        n=2.2,
    )


@pytest.fixture(scope="module")
def images(small_psf: PixelPsf, sources: Sources) -> list[SceneImage]:
    """Three images, two flux keys, a mask, one image with another Jacobian; pixels of noise."""
    rng = np.random.default_rng(3)
    result = []
    for b in range(3):
        ivar = rng.uniform(0.5, 2.0, SHAPE).astype(np.float32)
        ivar[30:36, 38:60] = 0.0
        more = {}
        if b == 2:
            x, y = sources.theta[:, 0], sources.theta[:, 1]
            more = {"x": x + 3.4, "y": y - 2.1, "jacobian": np.broadcast_to(SHEAR, (2, 2, 2))}
        image = blank(SHAPE, small_psf, flux_key=min(b, 1), **more)
        data = rng.normal(0.0, 1.0, SHAPE).astype(np.float32)
        result.append(replace(image, data=data, ivar=ivar))
    return result


def test_the_group_products_are_those_of_plain_matrices(
    images: list[SceneImage], sources: Sources
) -> None:
    flux = np.array([[50.0, -20.0], [30.0, 80.0]])
    gram, grad, chi2 = evaluated(images, sources, flux)
    value = np.array([0, 7])  # first unit image of each source
    for key in range(2):
        expected_gram, expected_grad, expected_chi2 = 0.0, 0.0, 0.0
        for image, units in zip(images, full_frame_units(images, sources), strict=True):
            if image.flux_key != key:
                continue
            u = units.reshape(13, -1)
            w = image.ivar.astype(float).ravel()
            resid = image.data.astype(float).ravel() - flux[:, key] @ u[value]
            expected_gram = expected_gram + u @ (w * u).T
            expected_grad = expected_grad + u @ (w * resid)
            expected_chi2 += _stamp_chi2(image, resid.reshape(SHAPE), sources)
        scale = np.sqrt(np.outer(np.diag(expected_gram), np.diag(expected_gram)))
        # Single-precision pixels and sums of 4096 of them.
        assert np.abs((gram[key] - expected_gram) / scale).max() < 2e-6
        noise = np.sqrt(np.diag(expected_gram) * expected_chi2)
        assert np.abs((grad[key] - expected_grad) / noise).max() < 2e-6
        assert chi2[key] == pytest.approx(expected_chi2, rel=1e-6)


def _stamp_chi2(image: SceneImage, resid: np.ndarray, sources: Sources) -> float:
    """Return chi-square over the rectangle about both stamps, the box in which a group works."""
    x = sources.theta[:, 0] if image.x is None else image.x
    y = sources.theta[:, 1] if image.y is None else image.y
    low = np.maximum(np.floor([x + 0.5, y + 0.5]).astype(int).min(axis=1) - 32, 0)
    high = np.floor([x + 0.5, y + 0.5]).astype(int).max(axis=1) + 32
    box = np.s_[low[1] : high[1], low[0] : high[0]]
    return float((image.ivar[box].astype(float) * resid[box] ** 2).sum())


def test_the_gram_matrix_is_symmetric_and_positive(
    images: list[SceneImage], sources: Sources
) -> None:
    gram, _, _ = evaluated(images, sources, np.zeros((2, 2)))
    for g in gram:
        assert_allclose(g, g.T, rtol=0, atol=0)
        assert np.linalg.eigvalsh(g / np.sqrt(np.outer(np.diag(g), np.diag(g)))).min() > -1e-6


def test_distant_members_do_not_couple(small_psf: PixelPsf) -> None:
    sources = Sources.create(np.array([STAR, DEV]), np.array([40.0, 140.0]), np.array([40.0, 40.0]))
    gram, _, _ = evaluated([blank((80, 180), small_psf)], sources, np.zeros((2, 1)))
    assert not gram[0, :3, 3:].any()


def test_the_gradient_is_that_of_chi_square(small_psf: PixelPsf) -> None:
    sources = Sources.create(
        np.array([EXP, STAR]), np.array([40.2, 46.3]), np.array([41.4, 37.7]), r=1.5, g1=0.1
    )
    images = [blank(SHAPE, small_psf)]
    flux = np.array([[200.0], [100.0]])
    truth = make_scene(images, sources, flux)
    moved = sources.theta.copy()
    moved[:, :5] += 0.03
    gram, grad, _ = evaluated(truth.images, sources.at(moved), flux)
    column = {1: (0, 0), 2: (0, 1), 3: (0, 2), 4: (0, 3), 5: (0, 4), 7: (1, 0), 8: (1, 1)}
    for t, (s, c) in column.items():
        ends = []
        for f in (-1, 1):
            theta = moved.copy()
            theta[s, c] += f * 0.01
            # Stamps must not jump between the two ends: positions stay inside their pixel.
            ends.append(evaluated(truth.images, sources.at(theta), flux)[2][0])
        expected = -0.5 * (ends[1] - ends[0]) / 0.02 / flux[s, 0]
        # differences: third derivative times 0.01**2, and rounding of chi-square
        assert grad[0, t] == pytest.approx(expected, rel=2e-3, abs=2e-3 * np.sqrt(gram[0, t, t]))


def test_cholesky_agrees_with_numpy_and_marks_low_pivots() -> None:
    rng = np.random.default_rng(1)
    a = rng.normal(size=(7, 7))
    a = a @ a.T + np.eye(7)
    factor, low = a.copy(), np.zeros(7, np.bool_)
    cholesky(factor, np.full(7, 1e-3), low)
    assert_allclose(np.triu(factor), np.linalg.cholesky(a).T, rtol=1e-12)
    assert not low.any()
    rhs = rng.normal(size=7)
    solution = rhs.copy()
    forward(factor, solution)
    backward(factor, solution)
    assert_allclose(a @ solution, rhs, rtol=1e-10)
    twice = np.ones((4, 4)) + np.diag([1.0, 1.0, 0.0, 0.0])
    cholesky(twice, np.full(4, 1e-6), low[:4])
    assert low[:4].tolist() == [False, False, False, True]


def test_the_projection_is_the_joint_solution() -> None:
    """Eliminating the fluxes and stepping in theta is one Newton step in everything at once."""
    rng = np.random.default_rng(8)
    first = np.array([0, 4, 7])  # two sources with three and two parameters
    entries = np.array([[0, 0, 0, 1, 1], [0, 1, 2, 0, 1], [0, 1, 2, 3, 4], [-1] * 5])
    owner, column = entries[:2]
    normal = Normal(
        np.empty((2, 7, 7)), rng.normal(size=(2, 7)), np.zeros((1, 7)), np.zeros(2),
        np.empty((5, 5)), np.empty(5), np.empty((2, 2, 5)),
    )  # fmt: skip
    for b in range(2):
        u = rng.normal(size=(20, 7))
        normal.gram[b] = u.T @ u
    flux = rng.uniform(1.0, 3.0, (2, 2))
    start, grad = flux.copy(), normal.grad.copy()
    mu, w = rng.normal(size=(2, 2)), np.array([[0.0, 4.0], [0.0, 0.0]])
    singular = np.zeros(2, np.bool_)
    drop = project(first, entries, flux, mu, w, normal, singular, make_room(2, 5))
    expected_drop = 0.0
    a, g = np.zeros((5, 5)), np.zeros(5)
    for b in range(2):
        v, t = first[:2], first[owner] + 1 + column
        gvv = normal.gram[b][np.ix_(v, v)] + np.diag(w[:, b])
        cv = grad[b][v] + w[:, b] * (mu[:, b] - start[:, b])
        step = np.linalg.solve(gvv, cv)
        assert_allclose(flux[:, b], start[:, b] + step, rtol=1e-4)  # ridge of 1e-6 x condition
        expected_drop += cv @ step
        f = flux[owner, b]
        half = normal.gram[b][np.ix_(t, v)]
        g += f * (grad[b][t] - half @ step)
        moved = grad[b] - normal.gram[b][:, v] @ step
        assert_allclose(normal.grad[b], moved, atol=1e-4 * np.abs(grad[b]).max())
        a += np.outer(f, f) * (normal.gram[b][np.ix_(t, t)] - half @ np.linalg.solve(gvv, half.T))
        assert_allclose(normal.gain[b], f * np.linalg.solve(gvv, half.T), rtol=1e-3)
    assert drop == pytest.approx(expected_drop, rel=1e-4)
    assert_allclose(normal.a, a, rtol=0, atol=1e-4 * np.abs(a).max())
    assert_allclose(normal.g, g, rtol=0, atol=1e-4 * np.abs(g).max())
    assert not singular.any()
