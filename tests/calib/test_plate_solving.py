"""The parts of plate solving that need no solver."""

from __future__ import annotations

import stat
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given, settings
from hypothesis import strategies as st
from star_fields import FIELDS, SHAPE, true_wcs

from skyloom.calib.plate_solving import (
    ExtractionSettings,
    FieldMatch,
    Hint,
    IndexFile,
    ReferenceStars,
    SolveRequest,
    SolverParameters,
    SolveTask,
    StarList,
    TanSip,
    choose_backend,
    explain_failure,
    extract_stars,
    find_indexes,
    hint_from_header,
    read_reference_catalog,
    read_star_table,
    refine,
    settings_from_control,
    solve,
    write_star_table,
)
from skyloom.calib.plate_solving.io.solve_field import run_logged
from skyloom.errors import (
    BadTable,
    MissingFile,
    NotSolved,
    ShellCommandFailed,
    SolverNotAvailable,
    UnknownKey,
    Unprocessable,
    UnreadableFile,
    WrongValue,
)

INDEX = IndexFile(
    path=Path("none.fits"), index_id=4109, quad_low=0.7, quad_high=1.0, n_stars=1, is_all_sky=False
)


def scene(field, *, n=80, jitter=0.1, faint=200, seed=1):
    """Return the true WCS, detections and reference stars of a made-up field."""
    rng = np.random.default_rng(seed)
    wcs = true_wcs(*field)
    ny, nx = SHAPE
    x, y = rng.uniform(0, nx, n), rng.uniform(0, ny, n)
    ra, dec = wcs.pixel_to_sky(x, y)
    reference = ReferenceStars(ra=ra, dec=dec, mag=np.sort(rng.uniform(6, 11, n)))
    kept = rng.random(n) > 0.1
    stars = StarList.of(
        np.concatenate([x[kept] + rng.normal(0, jitter, kept.sum()), rng.uniform(0, nx, faint)]),
        np.concatenate([y[kept] + rng.normal(0, jitter, kept.sum()), rng.uniform(0, ny, faint)]),
        np.concatenate([10 ** (-0.4 * reference.mag[kept]), rng.uniform(1e-6, 3e-5, faint)]),
        shape=SHAPE,
    )
    return wcs, stars, reference


@pytest.mark.parametrize("field", FIELDS)
def test_projection_agrees_with_wcslib_and_inverts(field):
    wcs = true_wcs(*field)
    x, y = np.array([0.0, 511.5, 1023.0, 30.0]), np.array([0.0, 479.5, 959.0, 900.0])
    ra, dec = wcs.pixel_to_sky(x, y)
    theirs = WCS(wcs.cards(SHAPE)).all_pix2world(x, y, 0)
    assert np.allclose(theirs, (ra, dec), rtol=0, atol=1e-10)  # deg, rounding
    assert np.allclose(wcs.sky_to_pixel(ra, dec), (x, y), rtol=0, atol=1e-6)
    again = TanSip.from_cards(wcs.cards(SHAPE))
    assert np.allclose(again.pixel_to_sky(x, y), (ra, dec), rtol=0, atol=1e-12)
    assert wcs.is_mirrored == field[4]


def test_the_far_side_of_the_sky_is_nowhere():
    x, _ = true_wcs(*FIELDS[0]).sky_to_pixel(np.array([330.1]), np.array([-2.2]))
    assert np.isnan(x).all()


@pytest.mark.parametrize("field", FIELDS)
def test_refinement_recovers_a_distorted_field(field):
    wcs, stars, reference = scene(field)
    rough = replace(wcs, sip=None, crpix=(wcs.crpix[0] + 0.7, wcs.crpix[1] - 0.5))
    found = refine(rough, stars, reference, pixel_error=1.5)
    assert found is not None
    assert found.held_out.is_convincing
    x, y = (g.ravel() for g in np.meshgrid(np.linspace(0, 1023, 9), np.linspace(0, 959, 9)))
    there = found.wcs.sky_to_pixel(*wcs.pixel_to_sky(x, y))
    error = np.hypot(there[0] - x, there[1] - y)
    # 0.1 pix of jitter on 72 stars and ten terms: 0.04; the corners are extrapolated.
    assert np.median(error) < 0.12
    assert error.max() < 1.0
    # Rayleigh: sqrt(2) x 0.1 pix; 72 stars know it to 6 per cent, five of these.
    assert found.rms == pytest.approx(np.sqrt(2) * 0.1 * wcs.scale, rel=0.35)
    if field[5] >= 1.5:
        assert found.order >= 3  # a cubic distortion
    if field[5] == 0:
        assert found.order == 1  # nothing to fit


def test_a_chance_match_is_not_convincing():
    rng = np.random.default_rng(8)
    for seed in range(20):
        _, stars, reference = scene(FIELDS[0], seed=seed, faint=300)
        wrong = replace(true_wcs(*FIELDS[0]), crval=(150.1 + rng.uniform(0.1, 0.4), 2.5))
        found = refine(wrong, stars, reference, pixel_error=3.0)
        assert found is None or not found.held_out.is_convincing


def test_tweak_off_fits_no_distortion():
    wcs, stars, reference = scene(FIELDS[3])
    found = refine(replace(wcs, sip=None), stars, reference, pixel_error=3.0, max_order=1)
    assert found is not None
    assert found.wcs.sip is None


def test_control_text():
    found = settings_from_control("DETECT_MINAREA 300  # px\nfilter N\n\nTHRESH_TYPE ABSOLUTE\n")
    assert (found.detect_minarea, found.filter, found.thresh_is_absolute) == (300, False, True)
    assert settings_from_control("BACK_TYPE MANUAL\nBACK_VALUE 12.5").back_value == 12.5
    assert settings_from_control("VERBOSE_TYPE QUIET\nPHOT_APERTURES 5,7") == ExtractionSettings()
    assert settings_from_control(None) == ExtractionSettings()
    assert settings_from_control("DETECT_MAXAREA 90").detect_maxarea == 90
    with pytest.warns(UserWarning, match="WEIGHT_IMAGE is not honoured"):
        assert settings_from_control("WEIGHT_IMAGE w.fits") == ExtractionSettings()


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("CATALOG_NAME a", WrongValue, "line 1: CATALOG_NAME is set by the solver"),
        ("\nDETECT_MINAREA many", WrongValue, "line 2: DETECT_MINAREA = 'many' must be a number"),
        ("DETEKT_THRESH 3", UnknownKey, "did you mean DETECT_THRESH"),
        ("DETECT_THRESH -3", WrongValue, "must be a positive number"),
    ],
)
def test_control_mistakes(text, error, message):
    with pytest.raises(error, match=message):
        settings_from_control(text)


def picture(n=60, seed=3, sky=100.0):
    rng = np.random.default_rng(seed)
    image = rng.normal(sky, 5.0, (300, 400))
    x, y = rng.uniform(10, 390, n), rng.uniform(10, 290, n)
    yy, xx = np.mgrid[:300, :400]
    for a, b in zip(x, y, strict=True):
        image += 500 * np.exp(-0.5 * ((xx - a) ** 2 + (yy - b) ** 2) / 1.5**2)
    return image, x, y


def test_extraction_finds_stars_where_they_are():
    image, x, y = picture()
    found = extract_stars(image.astype(">f4"))
    distance = np.hypot(found.stars.x[:, None] - x, found.stars.y[:, None] - y).min(axis=0)
    assert (distance < 0.3).sum() > 50  # of 60, some overlap
    assert np.all(np.diff(found.stars.flux) <= 0)
    assert found.noise == pytest.approx(5.0, rel=0.1)  # 120 000 pixels under stars
    assert found.background == pytest.approx(100.0, abs=2.0)
    inverse = extract_stars(200.0 - image, ExtractionSettings(invert=True))
    assert len(inverse.stars) == pytest.approx(len(found.stars), abs=2)  # rounding of float32


def test_extraction_settings_have_their_effect():
    image, _, _ = picture()
    everything = len(extract_stars(image).stars)
    assert len(extract_stars(image, settings_from_control("DETECT_MINAREA 60")).stars) < everything
    assert len(extract_stars(image, settings_from_control("DETECT_MAXAREA 60")).stars) < everything
    assert len(extract_stars(image, settings_from_control("DETECT_THRESH 90")).stars) < everything
    saturated = extract_stars(image, settings_from_control("SATUR_LEVEL 590"))
    assert 0 < saturated.n_saturated < everything
    image[100, 20:380] += 400.0  # a trail
    trailed = extract_stars(image)
    assert trailed.n_trails >= 1
    assert np.all(trailed.stars.elongation <= 4.0)


def test_extraction_survives_bad_pixels_and_says_what_is_useless():
    image, _, _ = picture()
    image[:, :40] = np.nan
    image[5, 300] = np.inf
    found = extract_stars(image)
    assert found.n_unusable == 12001
    assert found.stars.x.min() > 39
    with pytest.raises(Unprocessable, match="no pixel of the image is usable"):
        extract_stars(np.full((20, 20), np.nan))
    with pytest.raises(Unprocessable, match="all pixels of the image are alike"):
        extract_stars(np.ones((100, 100)))


def test_parameters():
    found = SolverParameters.from_names({"sp_indices": "index-41*", "sp_endob": 50})
    assert found.indices == ("index-41*",)
    for names, message in [
        ({"sp_endobs": 5}, "did you mean sp_endob"),
        ({"sp_total_timelimit": 0}, "must be > 0"),
        ({"sp_endob": 3}, "a quad has four stars"),
        ({"sp_lower_pix": 3.0, "sp_upper_pix": 1.0}, "exchange them"),
    ]:
        with pytest.raises((UnknownKey, WrongValue), match=message):
            SolverParameters.from_names(names)
    with pytest.raises(WrongValue, match="needs both"):
        Hint(ra=3.0)


@pytest.mark.parametrize(
    ("cards", "ra", "dec", "scale"),
    [
        ({"RA": "05:35:17.3", "DEC": "-05 23 28"}, 83.822083, -5.391111, None),
        ({"RA_DEG": 12.5, "DEC_DEG": 3.0, "PIXSCALE": 0.4}, 12.5, 3.0, 0.4),
        ({"RA": 0.0, "DEC": 0.0}, None, None, None),
        ({"RA": "12h", "DEC": "nonsense"}, None, None, None),
        ({"XPIXSZ": 9.0, "FOCALLEN": 2000.0}, None, None, 0.92819),
        ({"PLTSCALE": 60.0, "SCANRES1": 2540.0}, None, None, 0.6),
        ({"CTYPE1": "RA---TAN", "CD1_1": -1e-3, "CD2_2": 1e-3}, None, None, 3.6),
        # J1950 to J2000 at ra 0: 50 years of precession move ra by 0.64 deg
        ({"RA": 0.001, "DEC": 10.0, "EQUINOX": 1950.0}, 0.6417, 10.2783, None),
    ],
)
def test_what_a_header_says(cards, ra, dec, scale):
    hint = hint_from_header(cards)
    assert hint.ra == (None if ra is None else pytest.approx(ra, abs=2e-3))
    assert hint.dec == (None if dec is None else pytest.approx(dec, abs=2e-3))
    if scale is None:
        assert not hint.has_scale
    else:
        assert np.sqrt(hint.scale_low * hint.scale_high) == pytest.approx(scale, rel=1e-4)


def test_stars_are_taken_from_all_parts_of_the_image():
    rng = np.random.default_rng(4)
    x, y = rng.uniform(0, 1000, 200), rng.uniform(0, 500, 200)
    x[:50], y[:50] = rng.uniform(0, 90, (2, 50))  # a nebula in a corner has all that is bright
    stars = StarList.of(x, y, np.arange(200.0, 0.0, -1.0), shape=(500, 1000))
    spread = stars.spread(8)
    assert sorted(spread.flux) == sorted(stars.flux)
    boxes = list(zip(spread.x // 250, spread.y // 250, strict=True))
    assert len(set(boxes[:8])) == 8  # the first of each box
    assert spread.flux[0] == 200.0
    for box in set(boxes):  # and in each box the brightest first
        fluxes = [flux for flux, b in zip(spread.flux, boxes, strict=True) if b == box]
        assert fluxes == sorted(fluxes, reverse=True)
    assert len(stars[:0].spread(8)) == 0


@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(st.floats(0, 99), st.floats(0, 49), st.floats(1e-3, 1e6)), min_size=1))
def test_star_tables_round_trip(tmp_path_factory, rows):
    x, y, flux = np.array(rows).T
    stars = StarList.of(x, y, flux, shape=(50, 100))
    path = tmp_path_factory.mktemp("stars") / "img.xyls"
    write_star_table(stars, path)
    again, _ = read_star_table(path)
    assert again.shape == (50, 100)
    assert np.allclose(again.points, stars.points, rtol=0, atol=1e-9)
    write_star_table(stars[::-1], path)  # another order than that of the fluxes stays, too
    assert np.allclose(read_star_table(path)[0].points, stars.points[::-1], rtol=0, atol=1e-9)
    assert fits.getdata(path)["X_IMAGE"][-1] == stars.x[0] + 1.0


def test_a_table_without_positions_is_answered(tmp_path):
    path = tmp_path / "a.xyls"
    fits.BinTableHDU.from_columns([fits.Column("Q", "E", array=[1.0])]).writeto(path)
    with pytest.raises(BadTable, match="no column X_IMAGE or X"):
        read_star_table(path)


def test_a_catalogue_moves_to_the_epoch_of_the_plate(tmp_path):
    path = tmp_path / "stars.csv"
    Table({
        "ra": [10.0, 20.0], "dec": [0.0, 60.0], "pmra": [1000.0, np.nan], "pmdec": [-500.0, 3.0],
        "phot_g_mean_mag": [9.0, 7.0],
    }).write(path)  # fmt: skip
    found = read_reference_catalog(path, epoch=1916.0)  # 100 years before Gaia DR3
    assert found.mag.tolist() == [7.0, 9.0]
    assert found.ra[1] == pytest.approx(10.0 - 100.0 / 3600.0, abs=1e-7)
    assert found.dec[1] == pytest.approx(50.0 / 3600.0, abs=1e-7)
    assert (found.ra[0], found.dec[0]) == pytest.approx((20.0, 60.0), abs=1e-12)
    Table({"a": [1]}).write(tmp_path / "b.csv")
    with pytest.raises(BadTable, match="no columns ra and dec"):
        read_reference_catalog(tmp_path / "b.csv")


def test_index_files_are_found_by_patterns(shared_data, tmp_path):
    folder = shared_data / "astrometry"
    for patterns in (["index-4119"], [["index-41*.fits"], ("index-4119.fits",)], []):
        found = find_indexes(patterns, folder)
        assert [i.index_id for i in found] == [4119]
    with pytest.raises(MissingFile, match="no index file matches nothing"):
        find_indexes(["nothing"], folder)
    with pytest.raises(UnreadableFile, match="not an index file"):
        find_indexes(["tycho2-mag6"], folder)
    with pytest.raises(MissingFile, match="no such folder"):
        find_indexes([], tmp_path / "absent")


class Stub:
    """A back end that answers from a list."""

    name = "stub"

    def __init__(self, *answers):
        self.answers = list(answers)
        self.asked = []

    def solve(self, request):
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else None
        if isinstance(answer, Exception):
            raise answer
        return answer


def match_at(wcs):
    return FieldMatch(wcs=wcs, log_odds=100.0, index=INDEX, backend="stub", seconds=0.1)


def test_a_false_match_is_refused_and_the_next_attempt_counts():
    wcs, stars, reference = scene(FIELDS[1])
    wrong = replace(wcs, crval=(wcs.crval[0] + 0.3, wcs.crval[1]))
    backend = Stub(match_at(wrong), match_at(replace(wcs, sip=None)))
    found = solve(SolveTask(backend=backend, indexes=(INDEX,), stars=stars, catalog=reference))
    assert "was refused" in found.attempts[0]
    assert found.refinement.held_out.found > 60
    assert found.cards()["ASTHOMED"] > 0


def test_no_solution_and_broken_programs():
    _, stars, reference = scene(FIELDS[1])
    task = SolveTask(backend=Stub(), indexes=(INDEX,), stars=stars, catalog=reference)
    with pytest.raises(NotSolved, match="no solution: nothing is wrong with the stars") as error:
        solve(task)
    assert len(error.value.attempts) == len(task.backend.asked) == 4
    broken = Stub(*[ShellCommandFailed("solve-field broke off with status 255", retcode=255)] * 4)
    with pytest.raises(ShellCommandFailed, match="No anet parameter worked") as failure:
        solve(replace(task, backend=broken))
    assert failure.value.retcode == 255


def test_reasons_of_a_failure():
    rng = np.random.default_rng(2)
    few = StarList.of(*rng.uniform(0, 900, (2, 5)), np.ones(5), shape=SHAPE)
    assert "only 5 stars" in explain_failure(few, indexes=[INDEX], hint=Hint())[0]
    column = StarList.of(np.full(50, 7.0), rng.uniform(0, 900, 50), np.ones(50), shape=SHAPE)
    assert "stand in one column" in explain_failure(column, indexes=[INDEX], hint=Hint())[0]
    small = Hint(scale_low=0.2, scale_high=0.4)
    assert "no index suits" in explain_failure(column, indexes=[INDEX], hint=small)[0]
    trails = StarList.of(
        *rng.uniform(0, 900, (2, 50)), np.ones(50), shape=SHAPE, elongation=np.full(50, 3.0)
    )
    assert "are trails" in explain_failure(trails, indexes=[INDEX], hint=Hint())[0]


def test_no_solver_is_said(monkeypatch):
    monkeypatch.setattr("shutil.which", lambda _name: None)
    monkeypatch.setattr("importlib.util.find_spec", lambda _name: None)
    with pytest.raises(SolverNotAvailable, match=r"solve-field.*skyloom\[solve\]"):
        choose_backend()
    with pytest.raises(WrongValue, match="must be auto, astrometry or solve-field"):
        choose_backend("nova")


@pytest.fixture
def fake_solve_field(tmp_path, monkeypatch):
    """Put a program of that name first in PATH; return a function that writes it."""
    folder = tmp_path / "bin"
    folder.mkdir()

    def write(body):
        path = folder / "solve-field"
        path.write_text(f"#!/bin/sh\n{body}\n")
        path.chmod(path.stat().st_mode | stat.S_IXUSR)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    return write


def ask_program(tmp_path, **more):
    _, stars, _ = scene(FIELDS[0])
    request = SolveRequest(
        stars=stars, indexes=(replace(INDEX, path=tmp_path / "i.fits"),), hint=Hint(),
        parameters=SolverParameters(), seconds=1.0, **more,
    )  # fmt: skip
    return choose_backend("solve-field", sandbox=tmp_path / "box").solve(request)


def test_status_0_without_a_solved_file_is_no_solution(tmp_path, fake_solve_field):
    fake_solve_field("echo did not solve; exit 0")
    assert ask_program(tmp_path) is None
    log = (tmp_path / "box" / "lastCommand.log").read_text()
    assert log.startswith("====")
    assert "solve-field --config backend.cfg" in log
    assert log.endswith("did not solve\n")


def test_other_states_of_the_program(tmp_path, fake_solve_field):
    fake_solve_field("echo no such index; exit 255")
    with pytest.raises(ShellCommandFailed, match=r"status 255\n(?s:.*)no such index") as error:
        ask_program(tmp_path)
    assert error.value.retcode == 255
    fake_solve_field("kill -2 $$")
    with pytest.raises(KeyboardInterrupt):
        ask_program(tmp_path)
    fake_solve_field("touch img.solved; echo rubbish > img.wcs")
    with pytest.raises(UnreadableFile, match="no usable WCS"):
        ask_program(tmp_path)


def test_the_program_and_its_children_are_killed_in_time(tmp_path, fake_solve_field):
    fake_solve_field("sleep 60 & echo $! > child; sleep 60")
    with pytest.raises(ShellCommandFailed, match="still running after"):
        run_logged(["solve-field"], tmp_path, seconds=0.5)
    child = (tmp_path / "child").read_text().strip()
    status = Path(f"/proc/{child}/stat")
    for _ in range(100):  # a killed process needs a moment to go
        if not status.exists() or status.read_text().split()[2] in "ZX":
            return
        time.sleep(0.05)
    pytest.fail("the child is still running")
