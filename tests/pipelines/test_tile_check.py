"""``tile check``: each thing that can be wrong with inputs is found, with its remedy."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from scipy.ndimage import gaussian_filter

from skyloom.catalogs import read_csv, write_csv
from skyloom.cli import main
from skyloom.pipelines.tile import load_config
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.check_bands import match_offset
from skyloom.pipelines.tile.check_cost import cost_findings, tile_cost
from skyloom.pipelines.tile.check_report import CheckReport, Status
from skyloom.sim import demo_config, simulate_tile, write_tile

BANDS = ("m475", "m625", "m825")
BAND = "m625"


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A simulated tile of 500 pixels with 45 % stars."""
    tile = simulate_tile(demo_config(size=500, n_sources=110), np.random.default_rng(5))
    folder = tmp_path_factory.mktemp("check") / "tile"
    write_tile(tile, folder, settings={"epsf": {"epsf_ngrid": 1, "ngrid": 2}})
    return folder


@pytest.fixture
def tile(original: Path, tmp_path: Path) -> Path:
    """Return a folder whose files are those of the original until they are replaced."""
    folder = tmp_path / "tile"
    (folder / "images").mkdir(parents=True)
    for path in original.rglob("*.*"):
        place = folder / path.relative_to(original)
        place.write_bytes(path.read_bytes())
    return folder


def change(folder: Path, what: Callable[[np.ndarray, fits.Header], np.ndarray], band=BAND) -> None:
    """Replace the image of a band."""
    path = folder / "images" / f"sim_{band}.fits"
    data, header = fits.getdata(path), fits.getheader(path)
    fits.PrimaryHDU(what(data, header).astype(np.float32), header).writeto(path, overwrite=True)


def header_change(folder: Path, band: str = BAND, **cards: object) -> None:
    def edit(data: np.ndarray, header: fits.Header) -> np.ndarray:
        for name, value in cards.items():
            if value is None:
                del header[name]
            else:
                header[name] = value
        return data

    change(folder, edit, band)


def checked(folder: Path) -> CheckReport:
    return check_tile(load_config(folder / "config.yaml"))


@pytest.fixture(scope="module")
def sound(original: Path) -> CheckReport:
    return checked(original)


def test_a_sound_tile_has_no_problem(sound):
    bad = [f for f in sound.findings if f.status >= Status.WARNING]
    assert [f"{f.topic} {f.band}: {f.message}" for f in bad] == []
    assert sound.exit_status == 0


@pytest.mark.parametrize(("band", "fwhm", "rms"), [("m475", 4.3, 5.0), ("m625", 3.6, 4.5)])
def test_seeing_and_noise_are_measured(sound, band, fwhm, rms):
    (found,) = sound.of("FWHM", band)
    # the width at half the peak of the pixels: some per cent above that of the Moffat
    assert found.numbers["measured"] == pytest.approx(fwhm, rel=0.12)
    (found,) = sound.of("sky rms", band)
    assert found.numbers["measured"] == pytest.approx(rms, rel=0.05)  # faint wings of sources
    (found,) = sound.of("noise correlation", band)
    assert found.status == Status.OK
    assert abs(found.numbers["neighbour"]) < 0.02


def test_tables_are_counted(sound):
    (rows,) = sound.of("catalogue")
    assert rows.numbers["inside"] == rows.numbers["rows"] > 100
    assert len(sound.of("Gaia magnitudes")) == len(BANDS)
    (offset,) = sound.of("catalogue position")
    assert abs(offset.numbers["dx"]) < 0.3  # pix; 0.3 rms per row
    assert {f.topic for f in sound.findings} >= {"time", "memory", "disk", "cells", "frame"}


def status(folder: Path, topic: str, band: str = "") -> tuple[Status, str]:
    found = checked(folder).of(topic, band)[0]
    return found.status, f"{found.message} {found.remedy}"


def test_edges_without_data(tile):
    def cut(data: np.ndarray, _header: fits.Header) -> np.ndarray:
        data[:, :60] = 0.0
        return data

    change(tile, cut)
    (found,) = [f for f in checked(tile).findings if f.topic == "no data" and f.band == BAND]
    assert found.status == Status.WARNING
    assert "are exactly 0: no data there?" in found.message
    assert f"set skyloom.images.{BAND}.no_data: 0" in found.remedy


def test_shapes_that_cannot_be(tile):
    path = tile / "input_catalog.csv"
    table = read_csv(path)
    table["ELL"] = ["1.5", *table["ELL"][1:]]
    table["Re"] = ["-3", *table["Re"][1:]]
    write_csv(table, path)
    (found,) = [f for f in checked(tile).findings if f.topic == "shapes"]
    assert found.status == Status.WARNING
    assert "column ELL: 1 of" in found.message
    assert "column Re: 1 of" in found.message
    assert "ELL is 1 - b/a" in found.remedy


def test_wrong_skysig(tile):
    header_change(tile, SKYSIG=1.5)
    level, text = status(tile, "sky rms", BAND)
    assert level == Status.PROBLEM
    assert "SKYSIG" in text


def test_noise_that_varies_over_the_field(tile):
    def noisier(data: np.ndarray, header: fits.Header) -> np.ndarray:
        extra = np.random.default_rng(3).normal(0, header["SKYSIG"], data.shape)
        return data + np.where(np.arange(data.shape[1]) > 250, extra, 0)

    assert status(tile, "noise over the field", BAND)[0] == Status.OK
    change(tile, noisier)
    assert status(tile, "noise over the field", BAND)[0] == Status.OK  # it will be measured
    path = tile / "config.yaml"
    path.write_text(path.read_text() + "skyloom: {noise: stated}\n")
    level, text = status(tile, "noise over the field", BAND)
    assert level == Status.WARNING
    assert "skyloom.noise: measured" in text


def test_measured_noise_needs_no_right_skysig(tile):
    header_change(tile, SKYSIG=1.5)
    path = tile / "config.yaml"
    path.write_text(path.read_text() + "skyloom: {noise: measured}\n")
    level, text = status(tile, "sky rms", BAND)
    assert level == Status.OK
    assert "the measured noise is used" in text


def test_wrong_seeing(tile):
    header_change(tile, SEEING=4.0)
    level, text = status(tile, "FWHM", BAND)
    assert level == Status.WARNING
    assert "PEEING" in text


def test_resampled_noise(tile):
    change(tile, lambda data, _: gaussian_filter(data, 0.6))
    level, text = status(tile, "noise correlation", BAND)
    assert level == Status.NOTE
    assert "skyloom.correlated_noise" in text


def test_sky_left_over(tile):
    change(tile, lambda data, _: data + 40.0)
    level, text = status(tile, "sky level", BAND)
    assert level == Status.PROBLEM
    assert "subtract the background" in text


def test_a_shifted_band(tile):
    change(tile, lambda data, _: np.roll(data, 2, axis=1))
    report = checked(tile)
    shifts = [report.of("position", band) for band in BANDS]
    worst = max((f[0] for f in shifts if f), key=lambda f: f.status)
    assert worst.status == Status.PROBLEM
    assert abs(worst.numbers["dx"]) == pytest.approx(2.0, abs=0.15)  # pix
    assert "register" in worst.remedy


def test_a_flipped_band(tile):
    change(tile, lambda data, _: data[:, ::-1])
    report = checked(tile)
    worst = [f for f in report.of("position") if f.status == Status.PROBLEM]
    assert worst
    assert "stars have a counterpart in" in worst[0].message
    assert "flipped" in worst[0].remedy


def test_a_zero_point_that_is_none(tile):
    header_change(tile, ZP_AUTO=0.0)
    level, text = status(tile, "ZP_AUTO", BAND)
    assert level == Status.WARNING
    assert "0 mag" in text
    assert "zp_auto" in text


def test_impossible_gains(tile):
    change(tile, lambda data, _: data + 5000.0)
    header_change(tile, EGAIN=0.5)
    level, text = status(tile, "gain", BAND)
    assert level == Status.PROBLEM  # a sky of 5000 ADU has 100 ADU of noise, not 4.5
    assert "EGAIN" in text
    header_change(tile, "m475", EGAIN=0.01)
    assert status(tile, "gain", "m475")[0] == Status.WARNING


def test_saturation_keyword_absent_and_too_high(tile):
    header_change(tile, SATURATE=None)
    level, text = status(tile, "saturation", BAND)
    assert level == Status.NOTE
    assert "SATURATE" in text
    change(tile, lambda data, _: np.minimum(data, 4000.0))
    header_change(tile, SATURATE=60000.0)
    level, text = status(tile, "saturation", BAND)
    assert level == Status.WARNING
    assert "4000" in text.replace("e+03", "000").replace("4.00", "4").replace("3999", "4000")


def test_a_band_without_data(tile):
    change(tile, lambda data, _: np.full_like(data, np.nan))
    level, text = status(tile, "pixels", BAND)
    assert level == Status.PROBLEM
    assert "0 %" in text


def test_few_stars_and_small_cells(tile, edit):
    edit(tile, epsf={"epsf_ngrid": 8}, patch_run={"min_epsf_nstars_for_use": 5})
    report = checked(tile)
    assert report.of("PSF stars", BAND)[0].status >= Status.NOTE
    assert "epsf.epsf_ngrid" in report.of("PSF stars", BAND)[0].remedy
    assert report.of("cells")[0].status == Status.WARNING
    blank = np.random.default_rng(1).normal(0, 4.5, (500, 500))
    change(tile, lambda _data, _: blank)
    report = checked(tile)
    assert report.of("PSF stars", BAND)[0].status == Status.WARNING
    assert "too few stars" in report.of("FWHM", BAND)[0].message


def test_catalogues_that_do_not_fit(tile):
    path = tile / "input_catalog.csv"
    table = read_csv(path)

    def write(new: Table) -> None:
        write_csv(new, path)

    twice = table.copy()
    twice["ID"] = [f"x{name}" for name in twice["ID"]]
    both = Table({n: np.concatenate([table[n], twice[n]]) for n in table.colnames})
    write(both)
    assert status(tile, "duplicates")[0] == Status.WARNING
    shifted = table.copy()
    shifted["DEC"] = [f"{float(v) + 4 * 0.4 / 3600:.8f}" for v in table["DEC"]]  # four pixels
    write(shifted)
    assert status(tile, "catalogue position")[0] == Status.PROBLEM
    away = table.copy()
    away["RA"] = [f"{float(v) + 10:.8f}" for v in table["RA"]]
    write(away)
    level, text = status(tile, "catalogue")
    assert level == Status.PROBLEM
    assert "crop.margin" in text
    plain = table["ID", "RA", "DEC"]
    write(plain)
    level, text = status(tile, "TYPE")
    assert level == Status.NOTE
    assert "patch_run.gal_model" in text
    path.write_text("a,b\n1,2\n")
    assert status(tile, "catalogue")[0] == Status.PROBLEM
    path.unlink()
    level, text = status(tile, "catalogue")
    assert level == Status.PROBLEM
    assert "skyloom tile detect" in text


def test_gaia_tables_that_do_not_help(tile, edit):
    path = tile / "gaiaxp.csv"
    table = read_csv(path)
    table.remove_column(f"mag_{BAND}")
    write_csv(table, path)
    level, text = status(tile, "Gaia magnitudes", BAND)
    assert level == Status.WARNING
    assert f"mag_{BAND}" in text
    edit(tile, zp={"gaia_mag_min": 3.0, "gaia_mag_max": 4.0})
    assert status(tile, "Gaia")[0] == Status.WARNING
    path.write_text("ra,name\n1,2\n")
    assert status(tile, "Gaia")[0] == Status.PROBLEM
    path.unlink()
    level, text = status(tile, "Gaia")
    assert level == Status.WARNING
    assert "inputs.gaiaxp_synphot_csv" in text
    edit(tile, zp={"enabled": False}, epsf={"use_gaiaxp": False})
    assert checked(tile).of("Gaia") == ()


def test_offsets_of_matched_positions():
    rng = np.random.default_rng(2)
    x, y = rng.uniform(0, 1000, (2, 50))
    found = match_offset(x + 0.5, y - 0.25, x, y, 2.0)
    assert found is not None
    assert found[:2] == pytest.approx((0.5, -0.25))
    assert found[3] == 50
    assert match_offset(x[:2], y[:2], x, y, 2.0) is None
    assert match_offset(x + 5000, y, x, y, 2.0) is None


def test_cost_grows_with_the_work_and_is_compared_with_the_disk(original):
    config = load_config(original / "config.yaml")
    small, large = (
        tile_cost(config, shape=(side, side), n_bands=9, n_sources=n, workers=4)
        for side, n in ((1000, 500), (8000, 20000))
    )
    assert small.cpu < large.cpu
    assert small.disk < large.disk
    assert small.wall < small.cpu
    huge = tile_cost(config, shape=(10**7, 10**7), n_bands=9, n_sources=1, workers=1)
    found = {f.topic: f.status for f in cost_findings(huge, config.outputs.work_dir)}
    assert found["disk"] == Status.PROBLEM
    assert found["memory"] == Status.WARNING


@pytest.mark.parametrize(
    ("side", "bands", "workers", "measured"),
    [
        (7168, 2, 2, 3.5e9),  # whole bands count: bench/volume.py --tiles 7 --bands 2
        (1024, 40, 1, 3.4e9),  # transforms of PSFs count: --tiles 1 --bands 40, one of two workers
        (1520, 9, 1, 1.7e9),  # the real tile
    ],
)
def test_memory_is_estimated_as_it_was_measured(original, side, bands, workers, measured):
    config = load_config(original / "config.yaml")
    config = config.model_copy(
        update={"epsf": config.epsf.model_copy(update={"epsf_ngrid": 2, "ngrid": 6})}
    )
    cost = tile_cost(config, shape=(side, side), n_bands=bands, n_sources=700, workers=workers)
    assert cost.ram == pytest.approx(measured, rel=0.35)  # a factor of two is promised


def test_pictures_of_every_source_cost_what_they_cost_on_the_real_tile(original):
    config = load_config(original / "config.yaml")
    epsf = config.epsf.model_copy(update={"epsf_ngrid": 2, "ngrid": 3})

    def cost(plots, **run):
        changed = {
            "epsf": epsf,
            "skyloom": config.skyloom.model_copy(update={"plots": plots}),
            "patch_run": config.patch_run.model_copy(update=run),
        }
        return tile_cost(
            config.model_copy(update=changed),
            shape=(1520, 1520), n_bands=9, n_sources=693, workers=1,
        )  # fmt: skip

    every, summary = cost("all"), cost("summary")
    # measured there: 0.47 GB and 27 CPU s more; the estimate is to be within a factor of two
    assert every.disk - summary.disk == pytest.approx(0.47e9, rel=0.5)
    assert every.cpu - summary.cpu == pytest.approx(27.0, rel=0.5)
    without = cost("all", no_cutouts=True)
    assert every.disk - without.disk == pytest.approx(0.35e9, rel=0.5)  # those of sources
    assert cost("all", no_cutouts=True, no_patch_overview=True).disk < without.disk


def test_numbers_are_shown_in_full_whatever_the_terminal(tile, capsys, monkeypatch):
    monkeypatch.setenv("COLUMNS", "40")
    assert main(["tile", "check", "--config", str(tile / "config.yaml")]) == 0
    shown = capsys.readouterr().out
    table = shown[: shown.index("topic")]
    assert "\N{HORIZONTAL ELLIPSIS}" not in shown
    rows = {line.split()[0]: line.split() for line in table.splitlines() if line[:2] == " m"}
    assert set(rows) == set(BANDS)
    # the band and twelve numbers in one line; the band that positions are compared with lacks two
    assert sorted(len(row) for row in rows.values()) == [11, 13, 13]


def test_the_command(tile, capsys, tmp_path):
    out = tmp_path / "found.json"
    command = ["tile", "check", "--config", str(tile / "config.yaml"), "--json", str(out)]
    assert main(command) == 0
    shown = capsys.readouterr().out
    assert all(band in shown for band in BANDS)
    found = json.loads(out.read_text())
    assert found["counts"]["problem"] == 0
    assert {"topic", "band", "status", "message", "remedy", "numbers"} == set(found["findings"][0])
    assert not (tile / "work").exists()  # nothing else is written
    header_change(tile, SKYSIG=1.0)
    assert main(command) == 1
    assert json.loads(out.read_text())["counts"]["problem"] == 1
    header_change(tile, SKYSIG=None)
    assert main(command) == 2
    assert "SKYSIG" in capsys.readouterr().err


def test_the_real_tile(shared_data):
    report = checked(shared_data / "kids_viking_tile")
    assert report.exit_status == 0
    for band in ("Z", "Y", "J", "H", "Ks"):  # resampled upstream
        assert 0.15 < report.of("noise correlation", band)[0].numbers["neighbour"] < 0.45
    for finding in report.of("sky rms"):
        assert finding.numbers["ratio"] == pytest.approx(1.0, abs=0.06)
    for finding in report.of("position"):
        size = np.hypot(finding.numbers["dx"], finding.numbers["dy"])
        assert size < 0.25 + 3 * finding.numbers["error"]  # pix; 0.2 for u in the data's README
