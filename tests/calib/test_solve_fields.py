"""Plate solving with real solvers and index files: the stored fields, and generated ones."""

from __future__ import annotations

import importlib.util
import json
import shutil
import time
from pathlib import Path

import numpy as np
import pytest
from star_fields import FIELDS, make_field, random_fields

from skyloom.calib.plate_solving import (
    Hint,
    SolveRequest,
    SolverParameters,
    SolveTask,
    StarList,
    choose_backend,
    find_indexes,
    hint_from_header,
    read_solve_input,
    solve,
)
from skyloom.errors import MissingFile, NotSolved

BACKENDS = [
    pytest.param(
        "astrometry",
        marks=pytest.mark.skipif(
            importlib.util.find_spec("astrometry") is None,
            reason="the package astrometry is absent; pip install 'skyloom[solve]'",
        ),
    ),
    pytest.param(
        "solve-field",
        marks=pytest.mark.skipif(
            shutil.which("solve-field") is None,
            reason="the program solve-field is absent; run ci/debian.sh",
        ),
    ),
]

SLOW_PROGRAM = [
    BACKENDS[0],
    pytest.param("solve-field", marks=[*BACKENDS[1].marks, pytest.mark.soak]),
]
"""Both back ends; the program, which takes 20 s of CPU, in the long tests."""


@pytest.fixture(scope="session")
def tycho():
    try:
        return find_indexes(["index-tycho2-09*"])
    except MissingFile:
        pytest.skip("no index-tycho2-09; run ci/debian.sh")


@pytest.fixture(scope="session")
def all_tycho(tycho):  # noqa: ARG001 - skips first
    found = find_indexes(["index-tycho2-*"])
    if len(found) < 11:
        pytest.skip("no index-tycho2-10 to 19; run ci/debian.sh")
    return found


@pytest.fixture(scope="session")
def fields(shared_data) -> Path:
    return shared_data / "astrometry"


def solve_file(path, backend, indexes, *, seconds=60.0, **hint):
    found = read_solve_input(path)
    return solve(
        SolveTask(
            backend=choose_backend(backend),
            indexes=indexes,
            image=found.image,
            stars=found.stars,
            hint=Hint(**hint),
            header_hint=hint_from_header(found.header),
            parameters=SolverParameters(total_timelimit=seconds),
        )
    )


def separation(solution, ra, dec):
    """Distance of the centre from a place [deg]."""
    d_ra = (solution.centre[0] - ra + 180.0) % 360.0 - 180.0
    return float(np.hypot(d_ra * np.cos(np.radians(dec)), solution.centre[1] - dec))


@pytest.mark.parametrize("backend", BACKENDS)
@pytest.mark.parametrize("name", ["synthetic-1deg-a", "synthetic-1p5deg-b"])
def test_the_synthetic_fields(fields, tycho, backend, name):
    truth = json.loads((fields / f"{name}.json").read_text())
    found = solve_file(fields / f"{name}.fits.gz", backend, tycho)
    # The truth: 12 or more stars with a jitter of 0.15 pix each determine the centre to 0.05.
    assert separation(found, truth["ra"], truth["dec"]) * 3600 / truth["scale"] < 0.3  # pix
    assert found.wcs.scale == pytest.approx(truth["scale"], rel=5e-4)
    assert found.wcs.is_mirrored == truth["flip"]
    assert found.refinement.held_out.found >= 0.75 * found.refinement.held_out.predicted


@pytest.mark.parametrize("backend", BACKENDS)
def test_apod5_with_the_smallest_index(fields, backend):
    index = find_indexes(["index-4119"], fields)
    found = solve_file(fields / "apod5.xyls", backend, index, scale_low=120.0, scale_high=720.0)
    # The stored centre is that of an order 2 fit of solve-field; a pixel has 0.08 deg.
    assert separation(found, 90.27, 4.69) < 0.08
    # It is (64.0, 50.2) with that fit, whose edges are off by pixels.
    assert found.size == pytest.approx((64.0, 50.2), abs=0.5)
    assert found.refinement.order == 1  # the picture was made by a program, in this projection
    assert found.refinement.held_out.median < 0.2 * found.wcs.scale


@pytest.mark.parametrize("backend", BACKENDS)
def test_a_picture_with_nebulae(fields, backend):
    index = find_indexes(["index-4119"], fields)
    found = solve_file(fields / "apod5.jpg", backend, index, scale_low=120.0, scale_high=720.0)
    assert separation(found, 90.26, 4.71) < 0.08  # a pixel
    # Fluxes are those of the nebulae: the stars are those of all parts of the image.
    assert found.attempts[-1].startswith("spread over the image")


@pytest.mark.parametrize("backend", SLOW_PROGRAM)
def test_a_picture_with_nebulae_and_all_indexes(fields, all_tycho, backend):
    """As the page of the data says: only known to be wider than half a degree."""
    found = solve_file(fields / "apod5.jpg", backend, all_tycho, scale_low=2.0, seconds=120.0)
    assert separation(found, 90.26, 4.71) < 0.08  # a pixel
    assert found.size == pytest.approx((64.0, 50.2), abs=0.1)
    assert found.wcs.is_mirrored


@pytest.mark.parametrize("backend", SLOW_PROGRAM)
def test_apod4(fields, all_tycho, backend):
    found = solve_file(fields / "apod4.xyls", backend, all_tycho, scale_low=2.0)
    assert separation(found, 187.18, 56.72) < 0.05  # a pixel
    assert found.size == pytest.approx((33.14, 23.73), abs=0.1)


@pytest.mark.parametrize("backend", BACKENDS[:1])
@pytest.mark.parametrize("name", ["sdss.jpg", "sdss.xyls"])
def test_no_solution_is_explained(fields, tycho, backend, name):
    with pytest.raises(NotSolved, match="no solution: no index suits the scale limits") as error:
        solve_file(fields / name, backend, tycho, scale_low=0.5, scale_high=2.0, seconds=5.0)
    assert len(error.value.attempts) > 2
    with pytest.raises(NotSolved, match="no solution"):
        solve_file(fields / name, backend, tycho, seconds=3.0)


# The program takes 3 s for each: half of them are for the long tests.
GENERATED = [
    pytest.param(backend.values[0], n, marks=[*backend.marks, *([pytest.mark.soak] * is_long)])
    for backend in BACKENDS
    for n in range(len(FIELDS))
    for is_long in [backend.values[0] == "solve-field" and n >= 4]
]


@pytest.mark.parametrize(("backend", "number"), GENERATED)
def test_a_generated_field(tycho, backend, number):
    field = make_field(tycho[0], 900 + number, *FIELDS[number])
    scale = field.wcs.scale
    found = solve(
        SolveTask(
            backend=choose_backend(backend),
            indexes=tycho,
            image=field.image,
            header_hint=Hint(scale_low=0.9 * scale, scale_high=1.1 * scale),
        )
    )
    grid, centre = field.errors(found.wcs)
    assert centre < 1.0
    assert np.median(grid) < 0.3
    assert grid.max() < 1.5
    assert found.wcs.is_mirrored == FIELDS[number][4]
    # The error that the solution claims is that of its grid, within 4: a dozen stars.
    assert grid.mean() * scale < 4.0 * found.expected_error
    # What astropy reads from the cards is the same WCS, and its inverse polynomials invert it.
    x, y = np.array([3.0, 900.0]), np.array([940.0, 20.0])
    ra, dec = found.wcs.pixel_to_sky(x, y)
    theirs = found.astropy_wcs().all_pix2world(x, y, 0)
    assert np.allclose(theirs, (ra, dec), rtol=0, atol=1e-9)  # rounding
    if found.wcs.sip is not None:
        sip = found.astropy_wcs().sip
        u, v = np.array(found.astropy_wcs().wcs_world2pix(ra, dec, 1)) - sip.crpix[:, None]
        powers = [(p, q) for p in range(sip.ap.shape[0]) for q in range(sip.ap.shape[0])]
        du, dv = (sum(c[p, q] * u**p * v**q for p, q in powers) for c in (sip.ap, sip.bp))
        back = np.array([u + du, v + dv]) + sip.crpix[:, None] - 1.0
        assert np.allclose(back, (x, y), rtol=0, atol=0.02)  # pix, a polynomial of order + 2


UNSEEN = random_fields(10)


@pytest.mark.parametrize(("backend", "number"), GENERATED)
def test_a_field_that_nobody_chose(tycho, backend, number):
    field = make_field(tycho[0], number, *UNSEEN[number])
    scale = field.wcs.scale
    found = solve(
        SolveTask(
            backend=choose_backend(backend),
            indexes=tycho,
            image=field.image,
            header_hint=Hint(scale_low=0.9 * scale, scale_high=1.1 * scale),
        )
    )
    grid, centre = field.errors(found.wcs)
    assert centre < 1.0
    assert found.wcs.is_mirrored == UNSEEN[number][4]
    if UNSEEN[number][5] == 0.0:  # else a corner without stars may be off by more
        assert np.median(grid) < 0.3
        assert grid.max() < 1.5


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_positions_count_from_one(tycho, backend):
    """Without the offset the first WCS is a pixel off in x and y, and this test would see it."""
    field = make_field(tycho[0], 901, *FIELDS[5])
    stars = StarList.of(field.stars.x, field.stars.y, field.stars.flux, shape=field.stars.shape)

    def first_error(moved):
        request = SolveRequest(
            stars=moved,
            indexes=tycho,
            parameters=SolverParameters(),
            hint=Hint(),
            seconds=20.0,
        )
        match = choose_backend(backend).solve(request)
        assert match is not None
        return field.errors(match.wcs)[1]

    assert first_error(stars) < 0.5
    off = StarList.of(stars.x - 1, stars.y - 1, stars.flux, shape=stars.shape)
    assert first_error(off) > 1.0


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_wrong_hints_of_a_header_are_dropped(tycho, backend):
    field = make_field(tycho[0], 902, *FIELDS[0])
    wrong = Hint(ra=20.0, dec=-60.0, radius=3.0, scale_low=0.2, scale_high=0.3)
    found = solve(
        SolveTask(
            backend=choose_backend(backend), indexes=tycho, image=field.image, header_hint=wrong
        )
    )
    assert field.errors(found.wcs)[1] < 1.0
    assert "without what the header says" in found.attempts[-1]


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_a_negative_is_solved(tycho, backend):
    field = make_field(tycho[0], 903, *FIELDS[3])
    found = solve(
        SolveTask(backend=choose_backend(backend), indexes=tycho, image=40000.0 - field.image)
    )
    assert field.errors(found.wcs)[1] < 1.0
    assert found.attempts[-1].startswith("dark stars")


@pytest.mark.parametrize("backend", BACKENDS[:1])
def test_the_package_keeps_to_its_time(tycho, backend):
    rng = np.random.default_rng(5)
    stars = StarList.of(*rng.uniform(0, 1000, (2, 400)), rng.pareto(1.0, 400), shape=(1000, 1000))
    started = time.monotonic()
    with pytest.raises(NotSolved):
        solve(
            SolveTask(
                backend=choose_backend(backend),
                indexes=tycho,
                stars=stars,
                parameters=SolverParameters(total_timelimit=2.0),
            )
        )
    assert time.monotonic() - started < 20.0  # one call more, on a busy machine
