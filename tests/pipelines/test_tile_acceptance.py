"""The acceptance checks of the tile pipeline that no other test makes.

`test_tile_tables.py` lists all of them.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from key_effects import Bench

from skyloom.geometry import patches_from_rows
from skyloom.pipelines.tile import TileConfig, Verb
from skyloom.pipelines.tile.start import start_values
from skyloom.scene import ellipse_from_parameters

Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def bench(finished_tile: Path, tmp_path: Path) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path / "tile")


# --- shapes: ee = -ln(1 - e) along the same axis, e = (a - b)/(a + b) is the modulus of g


def shape(**columns: float) -> tuple[float, float, float]:
    """Return ee1, ee2 and the angle [deg from +x] of the start values of a galaxy."""
    row = {"RA": 0.0, "DEC": 0.0, "x_pix_white": 5.0, "y_pix_white": 5.0, "excluded_any": False}
    table = Table({name: [value] for name, value in {**row, "Re": 3.0, **columns}.items()})
    start = start_values(table, ["r"], (20, 20), TileConfig().patch_run)
    ellipse = ellipse_from_parameters(start.log_r, start.g1, start.g2, np.zeros((1, 3, 3)))
    modulus = float(np.hypot(start.g1, start.g2)[0])
    ee = -np.log1p(-modulus)
    phi = np.radians(float(ellipse.theta[0]) - 90.0)  # the original counts from +y
    return ee * np.cos(-2 * phi), ee * np.sin(-2 * phi), float(ellipse.theta[0]) % 180.0


def test_shape_without_columns_lies_along_y() -> None:
    """Axis ratio 0.8, phi 0."""
    ee1, ee2, angle = shape()
    assert (ee1, ee2) == pytest.approx((0.117783, 0.0), abs=1e-6)  # digits of the specification
    assert angle == pytest.approx(90.0)


def test_shape_of_half_ellipticity_at_45_degrees() -> None:
    ee1, ee2, angle = shape(ELL=0.5, THETA=45.0)
    assert (ee1, ee2) == pytest.approx((0.0, 0.405465), abs=1e-6)  # as above
    assert angle == pytest.approx(45.0)


def test_negative_angles_are_the_same_axis() -> None:
    assert shape(ELL=0.5, THETA=-30.0)[2] == pytest.approx(150.0)


# --- behaviour


def test_isolated_stars_and_positions_are_recovered(finished_tile: Path) -> None:
    truth = {row["ID"]: row for row in read(finished_tile / "truth.csv")}
    bands = {row["band"]: row for row in read(finished_tile / "truth_bands.csv")}
    stars = [
        row
        for row in read(finished_tile / "work" / "output_catalog.csv")
        if row["ID"] in truth
        and truth[row["ID"]]["TYPE"] == "STAR"
        and truth[row["ID"]]["pair"] == "-1"
        and row["fit_is_reliable"] == "True"
        and row["fit_flags"] == "0"
    ]
    assert len(stars) >= 10
    for row in stars:
        # crop of 4 pix; 0.1 pix: 10 % variation of the PSF from a dozen stars
        x = float(truth[row["ID"]]["x"]) - 4.0
        assert float(row["x_pix_white_fit"]) == pytest.approx(x, abs=0.1)
        assert float(row["RA_fit"]) == pytest.approx(float(truth[row["ID"]]["RA"]), abs=2e-5)
        assert float(row["DEC_fit"]) == pytest.approx(float(truth[row["ID"]]["DEC"]), abs=2e-5)
        for band in bands:
            flux, error = (float(row[f"FLUX{e}_{band}_fit"]) for e in ("", "ERR"))
            scale = 10 ** (-0.4 * (float(bands[band]["zp_auto"]) - 25.0))
            wanted = scale * float(truth[row["ID"]][f"flux_{band}"])
            # three errors and 2 % for a PSF that varies and comes from a dozen stars
            assert abs(flux - wanted) < 3 * error + 0.02 * wanted, (row["ID"], band)
    for row in read(finished_tile / "work" / "ZP" / "zp_summary.csv"):
        expected = float(bands[row["band"]]["zp_expected"])  # zp_ref when ZP_AUTO is exact
        assert float(row["zp_median"]) == pytest.approx(expected, abs=0.02)  # as above


def test_the_chain_of_real_steps_gives_what_run_gives(bench: Bench) -> None:
    at_once = (bench.work / "output_catalog.csv").read_bytes()
    steps: tuple[Verb, ...] = (
        *("run-epsf", "build-patch-inputs", "run-patches", "merge", "compute-zp"),
    )
    for verb in steps:
        bench.run(verb, {"outputs.work_dir": "steps"})
    assert (bench.folder / "steps" / "output_catalog.csv").read_bytes() == at_once
    payloads = sorted((bench.work / "patch_payloads").glob("*.npz"))
    assert payloads
    for path in payloads:  # masks of bright and saturated pixels included
        assert (bench.folder / "steps" / "patch_payloads" / path.name).read_bytes() == (
            path.read_bytes()
        )


def test_each_source_is_in_the_catalogue_of_its_patch_alone(bench: Bench) -> None:
    bench.run("run-patches", {"epsf.ngrid": 3})
    patches = {
        p.tag: p
        for p in patches_from_rows([
            {k: v if k.endswith("_tag") else int(v) for k, v in row.items()}
            for row in read(bench.work / "patches" / "patches.csv")
        ])
    }  # fmt: skip
    seen: list[str] = []
    for tag, patch in patches.items():
        path = bench.work / "outputs" / tag / f"{tag}_cat_fit.csv"
        for row in read(path) if path.exists() else []:
            x, y = float(row["x_pix_white"]), float(row["y_pix_white"])
            assert patch.base.contains(np.array([x]), np.array([y])).all()
            assert row["_is_halo_source"] == "False"
            seen.append(row["ID"])
    assert len(seen) == len(set(seen)) > 20
    active = [
        r for r in read(bench.work / "../work/output_catalog.csv") if r["excluded_any"] == "False"
    ]
    assert set(seen) == {row["ID"] for row in active}


def test_a_bright_unlisted_star_is_masked_and_does_not_pull_its_neighbour(bench: Bench) -> None:
    rows = read(bench.work / "output_catalog.csv")
    free = [r for r in rows if r["fit_flags"] == "0" and r["excluded_any"] == "False"]
    x, y = (np.array([float(r[f"{a}_pix_white"]) for r in rows]) for a in "xy")
    spots = [
        r
        for r in free
        if np.sort(np.hypot(x - float(r["x_pix_white"]), y - float(r["y_pix_white"])))[1] > 22
        and 30 < float(r["x_pix_white"]) < 190
        and 30 < float(r["y_pix_white"]) < 200
    ]
    target = min(spots, key=lambda r: float(r["FLUX_m475_fit"]))
    sx, sy = float(target["x_pix_white_fit"]) + 16.0, float(target["y_pix_white_fit"])
    yy, xx = np.mgrid[:240, :240]  # the uncropped frame
    light = 2e3 * (1.0 + ((xx - sx - 4) ** 2 + (yy - sy - 4) ** 2) / 3.0**2) ** -3.0
    for band in ("m475", "m625"):
        with fits.open(bench.folder / f"images/sim_{band}.fits", mode="update") as hdus:
            hdus[0].data = (hdus[0].data + light).astype(np.float32)
    bench.run("run", {"epsf.psfstar_mode": "gaia"})
    with np.load(next((bench.work / "patch_payloads").glob("*.npz"))) as payload:
        column, row = (round(v) - int(payload[n]) for v, n in ((sx, "x0"), (sy, "y0")))
        assert (payload["mask"][:, row, column] != 0).all()
    after = {r["ID"]: r for r in read(bench.work / "output_catalog.csv")}[target["ID"]]
    shift = float(after["x_pix_white_fit"]) - float(target["x_pix_white_fit"])
    error = float(target["x_pix_err"])
    assert abs(shift) < max(0.3, 5 * error)  # the star is 16 pix away; wings of slope 6 remain
