"""Gaia stars where they stood when the images were taken."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from skyloom.calib import julian_year, read_gaia_xp
from skyloom.catalogs import column_as_float, column_as_text, read_csv, write_csv
from skyloom.images import Frame
from skyloom.pipelines.tile import load_config, run_tile
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.check_report import Status
from skyloom.pipelines.tile.config import TileConfig
from skyloom.pipelines.tile.epochs import gaia_of_band, tile_epoch

MJD = {"m475": 59215.0, "m625": 59225.0, "m825": 59260.0}  # January, February 2021
YEAR = julian_year(59225.0)
PM = (120.0, -240.0)  # mas / yr


def write_dates(folder: Path, dates: dict[str, float]) -> None:
    for band, mjd in dates.items():
        path = folder / "images" / f"sim_{band}.fits"
        data, header = fits.getdata(path), fits.getheader(path)
        header["MJD-OBS"] = mjd
        fits.PrimaryHDU(data, header).writeto(path, overwrite=True)


def write_motions(folder: Path) -> Table:
    """Give all stars but the first a proper motion; return the table as it was."""
    path = folder / "gaiaxp.csv"
    table = read_csv(path)
    for name, value in zip(("pmra", "pmdec"), PM, strict=True):
        table[name] = ["", *[repr(value)] * (len(table) - 1)]
    write_csv(table, path)
    return table


def shift(table: Table, gaia: Table, rows: np.ndarray) -> np.ndarray:
    """Return how far rows lie from the file's positions, east and north [mas]."""
    place = {s: i for i, s in enumerate(column_as_text(gaia, "source_id").tolist())}
    at = [place[s] for s in column_as_text(table, "gaia_source_id")[rows].tolist()]
    here, there = (
        SkyCoord(column_as_float(t, ra)[k], column_as_float(t, dec)[k], unit="deg")
        for t, ra, dec, k in ((gaia, "ra", "dec", at), (table, "RA", "DEC", rows))
    )
    return np.array([offset.mas for offset in here.spherical_offsets_to(there)])


def sources(folder: Path) -> Table:
    result = run_tile(folder / "config.yaml", "build-patches", executor="serial", progress="quiet")
    assert result.exit_status == 0
    (path,) = (folder / "work" / "ZP").glob("*_with_Gaia.csv")
    return read_csv(path)


def injected(table: Table) -> np.ndarray:
    return np.flatnonzero(np.char.startswith(column_as_text(table, "ID"), "gaia_"))


@pytest.fixture
def moving(small_tile: Path) -> Path:
    """A tile whose catalogue lacks its stars, so that all of them are injected."""
    path = small_tile / "input_catalog.csv"
    table = read_csv(path)
    write_csv(table[column_as_text(table, "TYPE") != "STAR"], path)
    return small_tile


def test_added_stars_stand_where_they_were_when_the_images_were_taken(moving):
    gaia = write_motions(moving)
    write_dates(moving, MJD)
    table = sources(moving)
    rows = injected(table)
    assert len(rows) > 2
    epoch = column_as_float(table, "gaia_epoch")
    moved = epoch[rows] != 2016.0
    assert epoch[rows][moved] == pytest.approx(YEAR, abs=1e-9)
    assert (~moved).sum() <= 1  # the star without a proper motion
    expected = np.outer(PM, np.where(moved, YEAR - 2016.0, 0.0))
    # 0.01 mas: rounding of the offsets
    assert shift(table, gaia, rows) == pytest.approx(expected, abs=0.01)
    assert np.isnan(epoch[: rows[0]]).all()  # galaxies match no star


def test_the_key_overrules_the_headers_and_needs_none(moving, edit):
    gaia = write_motions(moving)
    edit(moving, skyloom={"gaia_epoch": 2012.0})
    table = sources(moving)
    rows = injected(table)
    assert np.median(shift(table, gaia, rows)[1]) == pytest.approx(PM[1] * -4.0, abs=0.01)


def test_without_a_date_stars_stay_and_a_line_says_so(moving, caplog):
    gaia = write_motions(moving)
    table = sources(moving)
    assert np.abs(shift(table, gaia, injected(table))).max() < 1e-3
    assert "gaia_epoch" not in table.colnames
    (line,) = [r.message for r in caplog.records if "proper motions" in r.message]
    assert "MJD-OBS" in line
    assert "skyloom.gaia_epoch" in line
    (found,) = check_tile(load_config(moving / "config.yaml")).of("Gaia epoch")
    assert found.status == Status.WARNING
    assert "MJD-OBS" in found.message


def test_dates_change_nothing_without_proper_motions(moving):
    before = sources(moving)
    write_dates(moving, MJD)
    after = sources(moving)
    assert before.colnames == after.colnames
    assert all((before[name] == after[name]).all() for name in before.colnames)


def test_bands_far_apart_in_time_are_warned_about(moving, caplog):
    write_motions(moving)
    write_dates(moving, {**MJD, "m825": MJD["m825"] + 800.0})
    (found,) = check_tile(load_config(moving / "config.yaml")).of("Gaia epoch")
    assert found.status == Status.WARNING
    assert found.numbers["spread"] == pytest.approx(845.0 / 365.25)
    assert found.numbers["jyear"] == pytest.approx(YEAR)
    sources(moving)
    assert "the bands were taken up to 2.3 years apart" in caplog.text


def frame(band: str, mjd: float | None) -> Frame:
    values = {"band": band, "path": f"{band}.fits", "hdu": 0, "shape": [9, 9], "box": [0, 9, 0, 9]}
    numbers = dict.fromkeys(("zp_auto", "scale", "sky_sigma_adu", "gain", "pixel_scale"), 1.0)
    rest = {"saturation_adu": None, "fwhm_pix": 3.0, "mjd_utc": mjd}
    return Frame.from_dict({**values, **numbers, **rest})


def test_psf_stars_of_a_band_are_of_its_own_date(tmp_path):
    path = tmp_path / "gaia.csv"
    path.write_text("ra,dec,pmra,pmdec\n10,0,1000,0\n")
    frames = [frame("g", 57388.5), frame("r", 57388.5 + 3652.5), frame("z", None)]
    dataset = {"frames": {f.band: f.as_dict() for f in frames}}
    moved = [
        (gaia_of_band(path, band, dataset, TileConfig()).ra[0] - 10.0) * 3600.0 for band in "grz"
    ]
    assert moved == pytest.approx([0.0, 10.0, 5.0], abs=1e-6)  # z has no date: the median
    epoch = tile_epoch(frames, TileConfig())
    assert (epoch.year, epoch.spread) == pytest.approx((2021.0, 10.0))


def test_the_catalogue_says_what_its_positions_refer_to(tmp_path):
    from key_effects import Bench, write_small_tile  # noqa: PLC0415

    folder = write_small_tile(tmp_path / "tile")
    write_dates(folder, {"m475": MJD["m475"]})
    Bench(folder).run("run", {})
    units = json.loads((folder / "work" / "output_catalog.csv.units.json").read_text())
    facts = units["positions"]
    assert facts["frame"] == "ICRS"
    assert facts["epoch_jyear"] == pytest.approx(julian_year(MJD["m475"]), abs=1e-4)
    assert facts["bands"]["m475"]["mjd_utc"] == MJD["m475"]
    assert facts["bands"]["m625"]["mjd_utc"] is None
    assert read_gaia_xp(folder / "gaiaxp.csv").pmra is None
