"""``tile detect``: an input catalogue out of images, and a run on it."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from scipy.spatial import cKDTree

from skyloom.catalogs import (
    column_as_float,
    column_as_text,
    load_input_catalog,
    read_csv,
    read_image_list,
    write_csv,
)
from skyloom.cli import main
from skyloom.geometry import sky_to_pixel
from skyloom.images import frame_wcs
from skyloom.pipelines.tile import load_config
from skyloom.pipelines.tile.check_bands import match_offset
from skyloom.pipelines.tile.detection import detect_catalog, write_catalog
from skyloom.pipelines.tile.load import read_tile_frames
from skyloom.sim import read_truth, simulate_tile, truth_config, write_tile


@pytest.fixture(scope="module")
def truth_tile(tmp_path_factory):
    """A simulated tile without its catalogue, what was detected on it, and the truth."""
    folder = tmp_path_factory.mktemp("truth") / "tile"
    tile = simulate_tile(
        truth_config(nx=700, ny=700, n_sources=250, n_saturated=1), np.random.default_rng(3)
    )
    path = write_tile(tile, folder)
    (folder / "input_catalog.csv").unlink()
    return detect_catalog(load_config(path)), read_truth(folder)


def isolated(truth, reach=12.0):
    """Sources without a neighbour of a tenth of their flux within ``reach`` pixels."""
    position = np.stack([truth["x"], truth["y"]], axis=1)
    flux = 10 ** (-0.4 * np.asarray(truth["mag_ref"]))
    near = cKDTree(position).query_ball_point(position, reach)
    return np.array(
        [all(j == i or flux[j] < 0.1 * flux[i] for j in row) for i, row in enumerate(near)]
    )


def nearest(table, truth):
    tree = cKDTree(np.stack([table["x"], table["y"]], axis=1))
    return tree.query(np.stack([truth["x"], truth["y"]], axis=1))


def test_completeness_and_purity(truth_tile):
    catalog, truth = truth_tile
    table = catalog.detections.table
    distance, _ = nearest(table, truth)
    bright = np.asarray(truth["mag_ref"]) < 20.5  # S/N about 12 in the stack
    alone = isolated(truth) & bright
    assert alone.sum() > 100
    assert (distance[alone] < 2.0).mean() > 0.97  # large faint galaxies are below the threshold
    assert (distance[bright] < 2.0).mean() > 0.85  # blends within one FWHM stay one
    back, _ = cKDTree(np.stack([truth["x"], truth["y"]], axis=1)).query(
        np.stack([table["x"], table["y"]], axis=1)
    )
    assert (back < 2.0).mean() > 0.93  # measured 0.98; blends displace some


def test_types_sizes_and_angles_suit_the_truth(truth_tile):
    catalog, truth = truth_tile
    table = catalog.detections.table
    distance, row = nearest(table, truth)
    snr = np.asarray(table["snr"])[row]
    use = (distance < 1.0) & isolated(truth) & (snr > 40)
    star = np.asarray(truth["TYPE"]) == "STAR"
    taken = np.asarray(table["type"])[row] == "STAR"
    assert taken[use & star].mean() > 0.85
    large = use & ~star & (np.asarray(truth["re"]) > 2.5)
    assert taken[large].mean() < 0.1
    ratio = np.asarray(table["re"])[row][large & ~taken] / np.asarray(truth["re"])[large & ~taken]
    assert 0.8 < np.median(ratio) < 1.4  # start values: the fit goes on from there
    long = large & ~taken & (np.asarray(truth["ell"]) > 0.3)
    turn = np.asarray(table["theta"])[row][long] - np.asarray(truth["theta"])[long]
    assert np.median(np.abs((turn + 90) % 180 - 90)) < 10.0  # deg


def test_the_catalogue_is_one_that_a_run_accepts(truth_tile, tmp_path):
    catalog, _ = truth_tile
    path = tmp_path / "new" / "cat.csv"
    write_catalog(catalog, path)
    read = load_input_catalog(path, bands=[])
    assert len(read) == len(catalog.table)
    assert read.columns.re == "Re"
    assert np.isfinite(read.ra).all()
    assert {"STAR", "EXP", "SERSIC"} <= set(column_as_text(read.table, "TYPE").tolist())
    galaxy = column_as_text(read.table, "TYPE") != "STAR"
    assert (column_as_float(read.table, "Re")[galaxy] > 0).all()
    assert list(tmp_path.joinpath("new").iterdir()) == [path]  # no temporary file is left


def test_the_command_and_a_run_on_its_catalogue(small_tile, edit, capsys):
    out = small_tile / "detected.csv"
    (small_tile / "input_catalog.csv").rename(small_tile / "given.csv")
    config = edit(small_tile, inputs={"input_catalog": "detected.csv"})
    command = ["tile", "detect", "--config", str(config), "--out", str(out)]
    assert main(command) == 0
    assert "sources (" in capsys.readouterr().out
    before = out.read_bytes()
    assert main(command) == 2
    assert "OutputExists" in capsys.readouterr().err
    assert out.read_bytes() == before
    assert main([*command, "--force", "--thresh", "300"]) == 0
    assert len(read_csv(out)) < before.count(b"\n") - 1
    assert main([*command, "--force"]) == 0
    assert out.read_bytes() == before  # the same images give the same bytes
    run = ["tile", "run", "--config", str(config), "--quiet", "--executor", "serial"]
    assert main(run) == 0
    table = read_csv(small_tile / "work" / "output_catalog.csv")
    assert np.isfinite(column_as_float(table, "x_pix_white_fit")).mean() > 0.8


@pytest.fixture(scope="module")
def gaps(tmp_path_factory):
    """A simulated tile whose catalogue lacks a sixth of its rows, and the truth of all."""
    folder = tmp_path_factory.mktemp("gaps") / "tile"
    tile = simulate_tile(
        truth_config(nx=700, ny=700, n_sources=250, n_saturated=1), np.random.default_rng(5)
    )
    lost = np.arange(len(tile.catalog)) % 6 == 2
    path = write_tile(dataclasses.replace(tile, catalog=tile.catalog[~lost]), folder)
    return path, read_truth(folder), set(np.asarray(tile.catalog["ID"])[lost].tolist())


def complete(path, out):
    return main(["tile", "detect", "--complete", "--config", str(path), "--out", str(out)])


def test_a_catalogue_is_completed_by_what_it_lacks(gaps, tmp_path, capsys):
    path, truth, lost = gaps
    given = path.parent / "input_catalog.csv"
    before = given.read_text()
    out = tmp_path / "completed.csv"
    assert complete(path, out) == 0
    text = out.read_text()
    assert text.startswith(before)  # the rows of the user, as they stand, come first
    assert given.read_text() == before
    table = read_csv(out)
    added = table[before.count("\n") - 1 :]
    assert f"{len(added)} added" in capsys.readouterr().out
    assert all(name.startswith("new_") for name in added["ID"])
    # every added row is a source that was lost; most of those that shine alone come back
    where = np.stack([column_as_float(added, "RA"), column_as_float(added, "DEC")], axis=1)
    sky = np.stack([truth["RA"], truth["DEC"]], axis=1)
    scale = np.array([np.cos(np.radians(sky[0, 1])), 1.0]) * 3600
    missing = np.isin(truth["ID"], list(lost))
    distance, row = cKDTree(sky * scale).query(where * scale)
    assert (missing[row] & (distance < 2.0)).mean() > 0.95  # arcsec; measured 35 of 35
    alone = missing & isolated(truth) & (np.asarray(truth["mag_ref"]) < 20.5)
    assert np.isin(np.flatnonzero(alone), row).mean() > 0.9  # measured 18 of 18
    load_input_catalog(out, bands=[])  # a run accepts it


def test_a_complete_catalogue_gains_nothing(gaps, tmp_path):
    path, _, _ = gaps
    first, second = tmp_path / "completed.csv", tmp_path / "again.csv"
    assert complete(path, first) == 0
    text = path.read_text().replace("input_catalog.csv", str(first))
    again = path.with_name("again.yaml")
    again.write_text(text)
    assert complete(again, second) == 0
    assert second.read_bytes() == first.read_bytes()


def test_rows_without_shapes_gain_the_columns(gaps, tmp_path):
    path, _, _ = gaps
    table = read_csv(path.parent / "input_catalog.csv")
    table = table["RA", "DEC"]
    table.rename_column("RA", "ra ")
    poor = tmp_path / "poor.csv"
    write_csv(table, poor)
    config = path.with_name("poor.yaml")
    config.write_text(path.read_text().replace("input_catalog.csv", str(poor)))
    out = tmp_path / "out.csv"
    assert complete(config, out) == 0
    found = read_csv(out)
    assert found.colnames == ["ra ", "DEC", "TYPE", "ELL", "THETA", "Re"]
    assert (found["TYPE"][: len(table)] == "").all()
    assert (found["TYPE"][len(table) :] != "").all()


def test_the_input_catalogue_is_never_written(gaps, capsys):
    path, _, _ = gaps
    given = path.parent / "input_catalog.csv"
    before = given.read_bytes()
    command = ["tile", "detect", "--complete", "--config", str(path), "--out", str(given)]
    assert main([*command, "--force"]) == 2
    assert "is the input catalogue" in capsys.readouterr().err
    assert given.read_bytes() == before
    absent = path.with_name("absent.yaml")
    absent.write_text(path.read_text().replace("input_catalog.csv", "absent.csv"))
    assert complete(absent, given.with_name("new.csv")) == 2
    assert "absent.csv" in capsys.readouterr().err


def test_mistakes_stop_it_before_any_work(tmp_path, small_tile, capsys):
    (small_tile / "image_list.txt").write_text("images/absent.fits\n")
    command = ["tile", "detect", "--config", str(small_tile / "config.yaml")]
    assert main([*command, "--out", str(tmp_path / "c.csv")]) == 2
    assert "absent.fits: no such file" in capsys.readouterr().err
    assert main(command) == 2
    assert not (tmp_path / "c.csv").exists()


def test_the_real_tile(shared_data):
    config = load_config(shared_data / "kids_viking_tile" / "config.yaml")
    catalog = detect_catalog(config)
    table = catalog.detections.table
    given = read_csv(config.inputs.input_catalog)
    paths = read_image_list(config.inputs.image_list_file, base=config.directory)
    frame = read_tile_frames(list(paths), config)[0]
    ra, dec = column_as_float(given, "RA"), column_as_float(given, "DEC")
    x, y = sky_to_pixel(frame_wcs(frame), ra, dec)
    ny, nx = frame.working_shape
    inside = (x > 5) & (x < nx - 6) & (y > 5) & (y < ny - 6)
    found = np.stack([table["x"], table["y"]], axis=1)
    distance, row = cKDTree(found).query(np.stack([x, y], axis=1)[inside])
    assert (distance < 2.0).mean() > 0.95  # measured 0.98
    star = column_as_text(given, "TYPE")[inside] == "STAR"
    taken = np.asarray(table["type"])[row] == "STAR"
    assert taken[star & (distance < 2)].mean() > 0.85  # measured 41 of 45
    offset = match_offset(x[inside], y[inside], found[:, 0], found[:, 1], 3.0)
    assert offset is not None
    assert np.hypot(*offset[:2]) < 0.1  # pix
    assert catalog.detections.n_negative < 0.02 * len(table)  # measured 4 of 1400
