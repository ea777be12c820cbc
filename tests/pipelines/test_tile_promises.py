"""What the tile pipeline promises whatever the input, with real PSFs and fits."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from key_effects import Bench
from test_tile_acceptance import read

from skyloom.catalogs import read_parquet
from skyloom.flags import FitFlag
from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.first_light import first_fluxes
from skyloom.pipelines.tile.psf_summary import EpsfSummary, SummaryInputs
from skyloom.pipelines.tile.start import start_values

Rows = list[dict[str, str]]
BANDS = ("m475", "m625")
PASSES = {"skyloom.fit_passes": 3}  # the default; with less, groups have not settled


@pytest.fixture
def bench(finished_tile: Path, tmp_path: Path) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path / "tile")


def write(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def catalogue(bench: Bench) -> Rows:
    return read(bench.work / "output_catalog.csv")


def assert_same_fits(found: Rows, expected: Rows, *, sigma: float) -> None:
    """Compare positions and fluxes by ID, in units of their errors."""
    known = {row["ID"]: row for row in expected}
    assert {row["ID"] for row in found} == set(known)
    for row in found:
        before = known[row["ID"]]
        assert row["stype_fit"] == before["stype_fit"]
        for name, error in (
            *((f"{a}_pix_white_fit", f"{a}_pix_err") for a in "xy"),
            *((f"FLUX_{b}_fit", f"FLUXERR_{b}_fit") for b in BANDS),
        ):
            if before[name]:
                shift = abs(float(row[name]) - float(before[name]))
                # at the edge of its box a position has no error and is the same to rounding
                allowed = sigma * float(before[error]) if before[error] else 1e-6
                assert shift <= allowed, (row["ID"], name)


# --- odd input


def test_a_bare_catalogue_and_one_image_are_enough(bench: Bench) -> None:
    """No ID, TYPE, shape or flux, other spelling, one image, no crop, no Gaia table."""
    full = read(bench.folder / "input_catalog.csv")
    write(bench.folder / "input_catalog.csv", [{"ra": r["RA"], "dec": r["DEC"]} for r in full])
    (bench.folder / "image_list.txt").write_text("images/sim_m625.fits\n", encoding="utf-8")
    bench.run("run", {"crop.enabled": False, "inputs.gaiaxp_synphot_csv": None})
    rows = catalogue(bench)
    assert [(r["ra"], r["dec"]) for r in rows] == [(r["RA"], r["DEC"]) for r in full]
    fitted = [row for row in rows if row["excluded_any"] == "False"]
    assert len(fitted) > 30
    assert {row["stype_fit"] for row in fitted} == {"exp"}  # gal_model
    assert all(float(row["FLUXERR_m625_fit"]) > 0 for row in fitted)
    assert "FLUX_m475_fit" not in rows[0]


def test_a_band_of_nan_has_no_fluxes_and_spoils_no_other(bench: Bench) -> None:
    with fits.open(bench.folder / "images/sim_m625.fits", mode="update") as hdus:
        hdus[0].data[:] = np.nan
    before = {row["ID"]: row for row in catalogue(bench)}
    bench.run("run", {})
    for row in catalogue(bench):
        if row["excluded_any"] == "True" or row["TYPE"] != "STAR":
            continue
        assert row["FLUX_m625_fit"] == row["FLUXERR_m625_fit"] == ""
        assert int(row["fit_flags"]) & FitFlag.NO_DATA_BAND
        flux, error = (float(row[f"{n}_m475_fit"]) for n in ("FLUX", "FLUXERR"))
        # one band alone: positions, and so fluxes, move within their errors
        assert flux == pytest.approx(float(before[row["ID"]]["FLUX_m475_fit"]), abs=3 * error)


@pytest.fixture(scope="module")
def converged(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The tile with the default number of passes; not to be changed."""
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("converged") / "tile")
    bench.run("run", PASSES)
    return bench


def test_the_order_of_rows_does_not_matter(converged: Bench, tmp_path: Path) -> None:
    bench = Bench.copy_of(converged.folder, tmp_path / "tile")
    for name in ("input_catalog.csv", "gaiaxp.csv"):
        write(bench.folder / name, read(bench.folder / name)[::-1])
    bench.run("run", PASSES)
    # fits end at 0.01 of chi-square, a tenth of an error; half of it, measured 0.02
    assert_same_fits(catalogue(bench), catalogue(converged), sigma=0.05)


def test_the_division_into_patches_does_not_matter(converged: Bench, tmp_path: Path) -> None:
    """Neither in fluxes nor in the sky: a patch knows the light of its neighbours' sources."""
    bench = Bench.copy_of(converged.folder, tmp_path / "tile")
    bench.run("run", {**PASSES, "epsf.ngrid": 3})
    assert len(list(bench.work.glob("outputs/*/meta.json"))) == 9
    found, before = catalogue(bench), catalogue(converged)
    # as above; measured 0.004 in fluxes, and 0.009 in the sky
    assert_same_fits(found, before, sigma=0.05)
    for new, old in zip(found, before, strict=True):
        for band in BANDS if old["stype_fit"] else ():
            shift = abs(float(new[f"sky_{band}"]) - float(old[f"sky_{band}"]))
            assert shift < 0.05 * float(old[f"sky_err_{band}"])


def test_fluxes_of_the_catalogue_start_nothing() -> None:
    """Fluxes are solved for: a wild or missing start value cannot do harm."""
    shape = {"RA": [0.0], "DEC": [0.0], "x_pix_white": [9.0], "y_pix_white": [9.0]}
    table = Table({**shape, "excluded_any": [False]})
    plain = start_values(table, ["r"], (20, 20), TileConfig().patch_run)
    for flux in (1e30, -5.0, 0.0, np.nan):
        table["FLUX_r"] = [flux]
        start = start_values(table, ["r"], (20, 20), TileConfig().patch_run)
        for name in start.__dataclass_fields__.keys() - {"flux"}:  # only fits without stages
            assert np.array_equal(getattr(start, name), getattr(plain, name), equal_nan=True)
    image = np.ones((20, 20), np.float32)  # where start fluxes count, implausible ones do not
    light = [
        first_fluxes(np.array([[flux]]), np.array([9.0]), np.array([9.0]), [image], radius=5.0,
                     floor=1e-4)[0, 0] for flux in (1e30, -5.0, 0.0, np.nan, 90.0)
    ]  # fmt: skip
    assert light[:4] == pytest.approx([25 * np.pi] * 4, rel=0.02)
    assert light[4] == 90.0
    table["FLUX_r_ERR"] = [2.0]  # an error makes it a prior, where the flux is one
    assert not start_values(table, ["r"], (20, 20), TileConfig().patch_run).flux_prior_ivar.any()
    table["FLUX_r"] = [50.0]
    prior = start_values(table, ["r"], (20, 20), TileConfig().patch_run)
    assert (prior.flux_prior_mean[0, 0], prior.flux_prior_ivar[0, 0]) == (50.0, 0.25)


# --- PSFs


@pytest.mark.parametrize(
    ("settings", "doubt", "remedy"),
    [
        ({"epsf.thresh_sigma": 1e6}, "no usable PSF star", "loosen epsf.thresh_sigma"),
        (
            {"patch_run.min_epsf_nstars_for_use": 99},
            "low-star ePSF (nstars_used=",
            "lower patch_run.min_epsf_nstars_for_use",
        ),
    ],
)
def test_a_band_without_stars_takes_the_fallback_and_says_so(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    settings: dict[str, object],
    doubt: str,
    remedy: str,
) -> None:
    bench.run("run", {"epsf.psfstar_mode": "sep", **settings})
    warned = [m for m in caplog.messages if "a fallback PSF takes over" in m]
    assert len(warned) == len(BANDS)
    assert all(doubt in text and remedy in text for text in warned)
    (row, *_) = [row for row in catalogue(bench) if row["stype_fit"]]
    assert row["psf_fallback_bands"] == ",".join(BANDS)
    assert int(row["fit_flags"]) & FitFlag.NO_EPSF
    assert "all_psf_fallback" in row["fit_quality_issues"]
    reasons = json.loads(row["psf_fallback_reasons_json"])
    assert list(reasons) == list(BANDS)
    assert reasons["m475"] == "missing ePSF" or reasons["m475"].startswith(doubt)


def without_magnitudes(rows: Rows) -> Rows:
    return [{k: v for k, v in row.items() if k != "mag_m625"} for row in rows]


def elsewhere(rows: Rows) -> Rows:
    return [row | {"ra": "20.0"} for row in rows]


@pytest.mark.parametrize(
    ("change", "settings", "words"),
    [
        (without_magnitudes, {}, "gaiaxp.csv has no column mag_m625; add it"),
        (elsewhere, {}, "check that the table covers the field"),
        (
            list,
            {"epsf.gaia_mag_max": 10.2},
            "epsf.gaia_mag_min = 10 and gaia_mag_max = 10.2; widen",
        ),
    ],
)
def test_gaia_stars_that_cannot_be_psf_stars_are_told(
    bench: Bench,
    caplog: pytest.LogCaptureFixture,
    change: Callable[[Rows], Rows],
    settings: dict[str, object],
    words: str,
) -> None:
    write(bench.folder / "gaiaxp.csv", change(read(bench.folder / "gaiaxp.csv")))
    bench.run("run-epsf", settings)
    told = [m for m in caplog.messages if m.startswith("m625: no PSF star comes from Gaia")]
    assert len(told) == 1
    assert words in told[0]


def test_numbers_of_stars_are_those_that_made_the_psf(finished_tile: Path) -> None:
    for band in BANDS:
        stars = read_parquet(finished_tile / "work/skyloom/epsf" / f"{band}_stars.parquet")
        meta = json.loads((finished_tile / f"work/EPSFs/{band}/r00_c00/meta.json").read_text())
        assert meta["nstars_used"] == stars["used"].sum() > 3
        assert meta["nstars_extract"] == len(stars) == meta["nstars_used"] + meta["nstars_fitfail"]
        diagnosed = meta["local_bkg_diagnostics"]
        assert diagnosed == {"local_bkg_diag_nstars": len(stars), "local_bkg_diag_status": "ok"}


def test_a_band_whose_psf_failed_is_in_the_summary() -> None:
    frames: dict[str, Any] = {"bands": ["g", "r", "i"]}
    metas: dict[Any, dict[str, Any]] = {
        (band, "r00_c00"): {"band": band, "patch": "r00_c00", "status": "ok"} for band in "gi"
    }
    stage = EpsfSummary(TileConfig())
    summary = stage.run(SummaryInputs(frames=frames, metas=metas)).summary
    assert summary[:2] == list(metas.values())
    (lost,) = summary[2:]
    assert (lost["band"], lost["status"]) == ("r", "band_fail")
    assert "skyloom status" in lost["error"]


# --- products


def test_the_metadata_of_a_patch_has_what_the_original_has(finished_tile: Path) -> None:
    (path,) = (finished_tile / "work/outputs").glob("*/meta.json")
    meta = json.loads(path.read_text(encoding="utf-8"))
    assert meta["halo_pix"] == 29  # (55 - 1) / 2 + 2
    (patch,) = read(finished_tile / "work/patches/patches.csv")
    assert meta["halo_pix"] == int(patch["halo_pix"])
    assert meta["patch_tag"] == patch["patch_tag"] == path.parent.name
    roi = [int(patch[f"{name}_roi"]) for name in ("x0", "x1", "y0", "y1")]
    assert meta["roi_bbox"] == roi
