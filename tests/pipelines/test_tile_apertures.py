"""Aperture columns of the catalogue."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from key_effects import Bench

from skyloom.pipelines.tile.report_apertures import variance_factors

BANDS = ("m475", "m625")
NAMES = ("APFLUX", "APFLUXERR", "apcorr", "apmasked", "appull")


def numbers(work: Path) -> dict[str, np.ndarray]:
    with (work / "output_catalog.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    wanted = [n for n in rows[0] if n.startswith((*NAMES, "FLUX", "fit_flags", "fit_snr"))]
    return {n: np.array([float(row[n] or "nan") for row in rows]) for n in wanted}


def test_the_catalogue_has_apertures_that_agree_with_the_fit(finished_tile: Path) -> None:
    work = finished_tile / "work"
    found = numbers(work)
    pulls = []
    for band in BANDS:
        flux, error = found[f"FLUX_{band}_fit"], found[f"FLUXERR_{band}_fit"]
        correction = found[f"apcorr_{band}"]
        total = found[f"APFLUX_{band}"] * correction
        seen = np.isfinite(total) & np.isfinite(flux)
        assert seen.sum() > 20
        assert np.all(correction[seen] > 1.0)
        # the total's error is never below that of the fit, which is the best that can be done
        assert np.all((found[f"APFLUXERR_{band}"] * correction)[seen] >= error[seen])
        masked = found[f"apmasked_{band}"][seen]
        assert np.all((masked >= 0.0) & (masked <= 1.0))
        pull = found[f"appull_{band}"]
        good = (found["fit_flags"] == 0) & (found["fit_snr"] < 300.0)  # the PSF is a rough one
        pulls.append(pull[seen & good])
        same = np.sign(total - flux)[seen] == np.sign(pull[seen])
        assert same.mean() > 0.95  # rounding where both are equal
    # 36 numbers: of a Gaussian 34 would lie within 2 sigma
    assert np.mean(np.abs(np.concatenate(pulls)) < 2.0) > 0.8
    units = json.loads((work / "output_catalog.csv.units.json").read_text(encoding="utf-8"))
    table = {c["name"]: c for c in units["columns"]}
    assert table["APFLUX_m475"]["unit"] == "scaled counts"
    assert all(table[f"{n}_{b}"]["description"] for n in NAMES for b in BANDS)


def test_the_radius_is_a_setting(
    finished_tile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("radius") / "tile")
    before = numbers(bench.work)
    bench.run("run", {"skyloom.aperture_radius": 3.0})
    wide = numbers(bench.work)
    for band in BANDS:
        good = np.isfinite(wide[f"apcorr_{band}"])
        assert np.all((wide[f"apcorr_{band}"] < before[f"apcorr_{band}"])[good])
        # a circle of four times the area has twice the noise, less what the fit is better by
        ratio = (wide[f"APFLUXERR_{band}"] / before[f"APFLUXERR_{band}"])[good]
        assert 1.3 < np.nanmedian(ratio) < 2.3
    bench.run("run", {"skyloom.aperture_radius": None})
    without = numbers(bench.work)
    assert not [n for n in without if n.startswith(NAMES)]
    assert np.array_equal(without["FLUX_m475_fit"], before["FLUX_m475_fit"], equal_nan=True)


def test_correlated_noise_counts_where_it_was_measured() -> None:
    rho = np.zeros((2, 3, 3))
    rho[:, 1, 1] = 1.0
    rho[1] = [[0.05, 0.2, 0.05], [0.2, 1.0, 0.2], [0.05, 0.2, 0.05]]
    noise = {"rho": rho, "correlated": np.array([False, True])}
    radius, fwhm = np.array([6.0, 6.0]), np.array([4.0, 4.0])
    aperture, psf = variance_factors(noise, radius, fwhm)
    assert aperture[0] == psf[0] == 1.0
    # less than the sum over all lags, 2.0: pixels on the rim lack neighbours
    assert 1.6 < aperture[1] < 2.0
    assert 1.6 < psf[1] < 2.0
    assert variance_factors({}, radius, fwhm)[0].tolist() == [1.0, 1.0]


def test_apertures_of_bands_by_themselves(
    finished_tile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("single") / "tile")
    bench.run("run", {"patch_run.enable_multi_band_simultaneous_fitting": False})
    table = Table.read(bench.work / "output_catalog.csv", format="ascii.csv")
    assert {f"{n}_{b}" for n in NAMES for b in BANDS} <= set(table.colnames)
