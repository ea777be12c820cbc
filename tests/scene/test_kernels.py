"""Compiled code: one signature each, cached, and the same bytes wherever and whenever it runs."""

from __future__ import annotations

import hashlib
import importlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numpy.testing import assert_array_equal
from scene_tools import DEV, EXP, SERSIC, STAR, blank, make_scene, nudged

import skyloom.scene
from skyloom._jit import kernel
from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, ScenePass, SceneState, Sources, fit_scene
from skyloom.scene._driver_nb import cut_boxes, make_outcome
from skyloom.scene._records import Images, Problem, white_noise
from skyloom.scene._solver_nb import solve_group
from skyloom.scene._values_nb import subtract_models
from skyloom.scene.addresses import kernel_addresses

KERNEL_FILES = sorted(Path(skyloom.scene.__file__).parent.glob("_*_nb.py"))


def digest(scene_seed: int = 3) -> str:
    """Return a digest of every number of a fit of a small scene."""
    y, x = np.mgrid[-12:13, -12:13]
    stamp = np.exp(-(x**2 + y**2) / 3.3)
    psf = PixelPsf(stamp=stamp / stamp.sum())
    rng = np.random.default_rng(scene_seed)
    truth = Sources.create(
        np.array([STAR, EXP, DEV, SERSIC]), np.array([30.2, 34.1, 60.0, 80.3]),
        np.array([30.0, 34.7, 31.0, 28.1]), r=1.2, g1=0.1,
    )  # fmt: skip
    images = [blank((64, 110), psf, flux_key=b, source_variance=0.01, sky_key=b) for b in range(2)]
    scene = make_scene(images, truth, rng.uniform(300, 2000, (4, 2)))
    fit = fit_scene(scene.noisy(rng), nudged(truth, rng))
    total = hashlib.sha256()
    for array in (fit.flux, fit.flux_cov, fit.params, fit.param_cov, fit.chi2, *fit.residual):
        total.update(np.ascontiguousarray(array).tobytes())
    return total.hexdigest()


def test_every_kernel_has_one_signature(small_psf: PixelPsf) -> None:
    """A second signature costs seconds of compilation and says that types are not under control."""
    truth = Sources.create(np.array([STAR]), np.array([20.0]), np.array([20.0]))
    images = [blank((40, 40), small_psf, flux_key=b) for b in range(2)]
    scene = make_scene(images, truth, np.array([[900.0, 100.0]]))
    mean = np.zeros((1, 2), np.float32)
    odd = Sources(
        kind=truth.kind, theta=truth.theta, free=truth.free, lower=truth.lower, upper=truth.upper,
        prior_mean=np.asfortranarray(truth.prior_mean), prior_ivar=truth.prior_ivar,
        anchor=truth.anchor, flux_prior_mean=mean, flux_prior_ivar=np.asfortranarray(mean),
    )  # fmt: skip
    fit_scene(scene.images, odd, FitOptions(tolerance=1, max_ellipticity=1, max_iterations=3))
    digest()
    counts = {}
    for path in KERNEL_FILES:
        module = importlib.import_module(f"skyloom.scene.{path.stem}")
        for name, value in vars(module).items():
            if hasattr(value, "signatures") and value.py_func.__module__ == module.__name__:
                counts[f"{path.stem}.{name}"] = len(value.signatures)
    once = (
        "_solver_nb.solve_group", "_gram_nb.evaluate", "_covariance_nb.covariances",
        "_correlated_nb.correlated_products", "_values_nb.subtract_models",
        "_driver_nb.solve_groups",
    )  # fmt: skip
    assert [counts[name] for name in once] == [1] * len(once)
    # Small helpers serve several types of tables; nothing else is compiled more than three times.
    helpers = {"_driver_nb._rows_of", "_driver_nb._entries_of", "_driver_nb._put_entries"}
    assert {name for name, count in counts.items() if count > 3} <= helpers


def test_repeated_fits_are_the_same_bytes() -> None:
    assert digest() == digest()
    assert digest() != digest(4)


def test_another_process_takes_cached_kernels_and_gives_the_same_bytes() -> None:
    code = (
        "import sys, time; sys.path.insert(0, sys.argv[1]); import test_kernels as t\n"
        "start = time.perf_counter(); t.skyloom.scene.warm_up()\n"
        "warm = time.perf_counter() - start; print(t.digest(), warm)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(Path(__file__).parent)],
        capture_output=True, text=True, check=True, timeout=120,
    )  # fmt: skip
    found, seconds = done.stdout.split()
    assert found == digest()
    assert float(seconds) < 6.0  # loading takes 0.5 s on an idle core, compiling more than 20


@pytest.mark.parametrize("shift", [1, 2, 3, 5, 7, 8, 13])
def test_results_do_not_depend_on_the_alignment_of_pixels(small_psf: PixelPsf, shift: int) -> None:
    """Vector code that peels loops up to an aligned address would sum in another order."""
    rng = np.random.default_rng(9)
    sources = Sources.create(
        np.array([STAR, EXP, SERSIC]),
        np.array([30.2, 34.1, 37.0]),
        np.array([30.0, 34.7, 26.0]),
        r=1.3,
    )
    images = [blank((67, 71), small_psf, flux_key=b) for b in range(2)]
    scene = make_scene(images, sources, rng.uniform(300, 2000, (3, 2)))
    ready = ScenePass(scene.noisy(rng), nudged(sources, rng), FitOptions())
    sides = np.full(3, 32)
    corner = ready.geometry.corners(np.arange(3), np.zeros((3, 2)), sides)
    frame = corner.min(axis=0)
    shapes = ((corner + 32).max(axis=0) - frame)[:, ::-1].copy()
    cut = cut_boxes(ready.geometry.images(ready.data, ready.ivar), frame, shapes)
    members, theta = ready.members(np.arange(3), ready.sources.theta, sides, frame)
    results = []
    for skip in (0, shift):
        moved = []
        for plane in (cut.data, cut.weight, members.psf):
            buffer = np.zeros(len(plane) + 32, np.float32)
            # 64-byte boundaries plus a known number of pixels
            first = (-buffer.ctypes.data // 4) % 16 + skip
            buffer[first : first + len(plane)] = plane
            moved.append(buffer[first : first + len(plane)])
        boxes = cut._replace(data=moved[0], weight=moved[1])
        results.append(solved(ready, boxes, members._replace(psf=moved[2]), theta))
    for one, two in zip(*results, strict=True):
        assert_array_equal(one, two)


def solved(ready: ScenePass, boxes: Images, members: object, theta: np.ndarray) -> list[np.ndarray]:
    """Solve one group and render it; return all outputs."""
    src = ready.sources
    shift = np.zeros((3, 6))
    shift[:, :2] = ready.reference
    zero = np.zeros((3, 2))
    problem = Problem(
        src.free,
        src.lower - shift,
        src.upper - shift,
        src.prior_mean,
        src.prior_ivar,
        zero,
        zero,
        0.85,
        np.zeros(3, np.bool_),
        np.zeros((3, 6)),
        np.zeros((2, 6)),
    )
    outcome = make_outcome(3, 2, 0)
    theta, flux = theta.copy(), np.zeros((3, 2))
    where = kernel_addresses()
    solve_group(
        members, theta, flux, ready.tables, boxes, problem, 0.01, 20, white_noise(2), outcome, where
    )
    subtract_models(boxes, members, theta, flux, ready.tables, 1.0)
    return [theta, flux, outcome.param_cov, outcome.flux_cov, outcome.chi2, boxes.data]


def test_states_are_copied_not_shared(small_psf: PixelPsf) -> None:
    sources = Sources.create(np.array([STAR]), np.array([20.0]), np.array([20.0]))
    state = SceneState.start(sources, 1)
    scene = ScenePass([blank((40, 40), small_psf)], sources, FitOptions())
    after = scene.run(state, {0: [np.array([0])]})
    assert not state.evaluations.any()
    assert after.evaluations.all()
    assert not np.shares_memory(state.theta, sources.theta)


def test_a_kernel_without_a_place_for_its_cache_is_compiled_all_the_same() -> None:
    space: dict[str, object] = {}
    exec(compile("def twice(x):\n    return 2 * x\n", "<nowhere>", "exec"), space)
    assert kernel(space["twice"])(21) == 42  # type: ignore[type-var, operator]


def test_a_change_in_a_called_kernel_is_noticed(tmp_path: Path) -> None:
    """The cache of numba by itself would go on with the old code of the other file."""
    package = tmp_path / "pack"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "_inner_nb.py").write_text(
        "from skyloom._jit import kernel\n@kernel\ndef inner(x):\n    return x + 1\n"
    )
    (package / "_outer_nb.py").write_text(
        "from skyloom._jit import kernel\nfrom ._inner_nb import inner\n"
        "@kernel\ndef outer(x):\n    return 10 * inner(x)\n"
    )
    code = "from pack._outer_nb import outer; print(outer(1), sum(outer.stats.cache_hits.values()))"

    def run() -> str:
        done = subprocess.run(
            [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=True,
            timeout=120,
        )  # fmt: skip
        return done.stdout.strip()

    assert run() == "20 0"
    assert run() == "20 1"  # from the cache
    inner = package / "_inner_nb.py"
    inner.write_text(inner.read_text().replace("x + 1", "x + 2"))
    assert run() == "30 0"
