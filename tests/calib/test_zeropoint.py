from __future__ import annotations

import logging
from itertools import pairwise

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given
from hypothesis.strategies import floats, integers

from skyloom.calib import (
    GaiaReference,
    apply_zero_points,
    mad_clip,
    measure_zero_points,
    weighted_median,
    zero_point,
)
from skyloom.catalogs import column_as_float, read_csv, write_csv

VALUES = np.array([25.00, 25.01, 24.99, 25.02, 24.98, 25.03, 24.0, 26.0])
ERRORS = np.array([0.01, 0.02, 0.01, 0.02, 0.01, 0.05, 0.01, 0.01])
POGSON = 2.5 / np.log(10)


def measure(zp, zp_err=None, *, reliable=None, mag=15.0, **options):
    zp = np.asarray(zp, float)
    flux = 10 ** ((zp - mag) / 2.5)
    err = np.full(len(zp), 0.01) if zp_err is None else np.asarray(zp_err)
    return zero_point(
        "g",
        mag=np.full(len(zp), mag),
        flux=flux,
        flux_err=err / POGSON * flux,
        is_reliable=np.ones(len(zp), bool) if reliable is None else np.asarray(reliable),
        source_id=np.array([str(i) for i in range(len(zp))]),
        **options,
    )


def test_clipping_of_the_specification():
    keep = mad_clip(VALUES, clip_sigma=3.0, max_iters=10)
    assert keep.tolist() == [True] * 6 + [False] * 2


def test_weighted_median_and_mad_of_the_specification():
    result = measure(VALUES, ERRORS)
    assert result.zp_median == pytest.approx(24.99, abs=1e-12)  # rounding of magnitudes
    assert result.zp_err_mad == pytest.approx(0.015, abs=1e-12)
    assert (result.n_raw, result.n_kept, result.n_clipped) == (8, 6, 2)


def test_clipping_stops_at_three_and_at_zero_spread():
    assert mad_clip(np.array([1.0, 99.0]), clip_sigma=1, max_iters=5).all()
    same = np.array([1.0, 1, 1, 1, 9])
    assert mad_clip(same, clip_sigma=3, max_iters=5).all()
    assert mad_clip(VALUES, clip_sigma=3, max_iters=0).all()
    with_nan = mad_clip(np.append(VALUES, np.nan), clip_sigma=3, max_iters=10)
    assert with_nan.tolist() == [True] * 6 + [False] * 3


@given(shift=floats(-5, 5), seed=integers(0, 200))
def test_clipping_follows_a_shift(shift, seed):
    rng = np.random.default_rng(seed)
    zp = 25 + np.round(rng.standard_t(2, 40), 3)
    moved = mad_clip(zp + 2.0 ** np.round(shift), clip_sigma=3, max_iters=10)
    assert np.mean(moved == mad_clip(zp, clip_sigma=3, max_iters=10)) > 0.95  # ties may round


@given(seed=integers(0, 200), n=integers(1, 9))
def test_weighted_median_equals_repetition(seed, n):
    rng = np.random.default_rng(seed)
    values, weights = rng.normal(size=n), rng.integers(1, 6, n)
    repeated = np.sort(np.repeat(values, weights))
    assert weighted_median(values, weights.astype(float)) == repeated[(len(repeated) - 1) // 2]


def test_without_errors_the_plain_median_counts():
    result = measure([25.0, 25.1, 25.3, 25.2], [np.nan, -1, 0, np.nan], clip_sigma=50)
    assert result.zp_median == pytest.approx(25.15)
    assert np.isnan(result.stars.zp_err).all()
    assert np.isnan(result.zp_err_snr_used)


def test_unreliable_and_unusable_stars_do_not_count():
    zp = np.array([25.0, 25.01, 24.99, 30.0, np.nan])
    result = measure(zp, reliable=[True, True, True, False, True])
    assert (result.n_raw, result.n_unreliable, result.n_kept) == (3, 1, 3)
    assert result.zp_median == pytest.approx(25.0)
    assert len(result.stars.zp) == 4
    assert measure(zp, reliable=np.zeros(5, bool)) is None


@pytest.mark.parametrize(
    ("snr", "n", "cut"),
    [(120, 10, 100.0), (60, 10, 50.0), (30, 12, 25.0), (20, 30, None), (500, 9, None)],
)
def test_scatter_of_the_bright_stars(snr, n, cut, caplog):
    rng = np.random.default_rng(4)
    zp = rng.normal(25, 0.01, n)
    with caplog.at_level(logging.WARNING):
        result = measure(zp, np.full(n, POGSON / snr), clip_sigma=50, zp_err_method="bright_std")
    if cut is None:
        assert result.zp_err_std == result.zp_err_mad
        assert np.isnan(result.zp_err_snr_used)
        assert "MAD stands for" in caplog.text
    else:
        assert result.zp_err_snr_used == cut
        assert result.zp_err_std == pytest.approx(np.std(zp), rel=1e-9)
    assert result.n_zp_err_src == n
    assert result.zp_err == result.zp_err_std
    assert measure(zp).zp_err == measure(zp).zp_err_mad


def test_the_zero_point_is_recovered_within_its_error():
    rng = np.random.default_rng(6)
    zp = rng.normal(25.1, 0.01, 400)
    # 3 standard errors of a median of 400: 3 * 1.25 * 0.01 / 20
    assert measure(zp).zp_median == pytest.approx(25.1, abs=1.9e-3)


def test_the_numbers_of_the_original(shared_data):
    folder = shared_data / "tract7dt_reference"
    stars = read_csv(folder / "zp_all_bands__per_object_head.csv")
    stars = stars[stars["band"] == "m400"]
    row = read_csv(folder / "zp_summary_head.csv")[0]
    result = zero_point(
        "m400",
        mag=column_as_float(stars, "gaiaxp_mag"),
        flux=column_as_float(stars, "flux"),
        flux_err=column_as_float(stars, "fluxerr"),
        is_reliable=np.ones(len(stars), bool),
        source_id=np.asarray(stars["gaia_source_id"]),
    )
    # 1e-12: the same arithmetic in double precision
    for name in ("zp_median", "zp_err_mad", "zp_err_std", "zp_err_snr_used"):
        assert getattr(result, name) == pytest.approx(float(row[name]), rel=1e-12)
    for name in ("n_raw", "n_kept", "n_clipped", "n_zp_err_src"):
        assert getattr(result, name) == int(row[name])
    assert result.stars.zp == pytest.approx(column_as_float(stars, "zp"), rel=1e-12)
    assert result.stars.zp_err == pytest.approx(column_as_float(stars, "zp_err"), rel=1e-12)


def merged(n=12, bands=("r", "g"), zp=25.2):
    rng = np.random.default_rng(8)
    mag = rng.uniform(14, 17, n)
    table = Table(
        {
            "ID": [f"{i:05d}" for i in range(n)],
            "gaia_source_id": [f"{i}" if i else "" for i in range(n)],
            "fit_is_reliable": [True] * (n - 1) + [False],
        }
    )
    for band in bands:
        flux = 10 ** ((zp - mag) / 2.5)
        table[f"FLUX_{band}_fit"], table[f"FLUXERR_{band}_fit"] = flux, 0.01 * flux
    table["FLUX_g_fit"][2], table["FLUXERR_g_fit"][3] = -1.0, np.nan
    reference = GaiaReference(
        name="xp.csv",
        ra=np.zeros(n + 1),
        dec=np.zeros(n + 1),
        source_id=np.array([*(str(i) for i in range(n)), "5"]),  # 5 twice: the first counts
        mags={b: np.append(mag, 99.0) for b in bands},
    )
    return table, reference, mag


def test_bands_are_sorted_and_stars_looked_up():
    table, reference, _ = merged()
    found = measure_zero_points(table, reference)
    assert found.bands == ("g", "r")
    assert [r.band for r in found.results] == ["g", "r"]
    assert found.of("r").zp_median == pytest.approx(25.2, abs=1e-9)
    assert (found.of("r").n_raw, found.of("r").n_unreliable) == (10, 1)
    assert found.of("g").n_raw == 9  # one has no positive flux


def test_tables_have_the_columns_of_the_original(shared_data):
    folder = shared_data / "tract7dt_reference"
    found = measure_zero_points(*merged()[:2])
    summary, stars = found.summary_table(), found.star_table()
    theirs = read_csv(folder / "zp_summary_head.csv").colnames
    assert summary.colnames[: len(theirs)] == theirs  # ours stand behind
    assert stars.colnames == read_csv(folder / "zp_all_bands__per_object_head.csv").colnames
    assert len(stars) == 19
    assert not (stars["is_kept"] & stars["is_clipped"]).any()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda t, _: t.remove_column("gaia_source_id"), "no column gaia_source_id"),
        (lambda t, _: t.remove_column("fit_is_reliable"), "no column fit_is_reliable"),
        (lambda t, _: t.replace_column("fit_is_reliable", [False] * 12), "no reliable source"),
        (lambda t, _: t.replace_column("gaia_source_id", ["x"] * 12), "no reliable source"),
        (lambda _, g: g.mags.clear(), "no band"),
    ],
)
def test_nothing_to_measure_is_said_and_leaves_the_catalogue(change, reason, caplog):
    table, reference, _ = merged()
    change(table, reference)
    with caplog.at_level(logging.WARNING):
        found = measure_zero_points(table, reference)
    assert found.results == ()
    assert reason in found.reason
    assert reason in caplog.text
    assert len(found.summary_table()) == len(found.star_table()) == 0
    assert apply_zero_points(table, {}, bands=found.bands).colnames == table.colnames


def test_magnitudes_of_all_rows_with_positive_flux():
    table, _, mag = merged()
    out = apply_zero_points(table, {"g": (25.2, 0.03)}, bands=("r", "g"))
    start = len(table.colnames)
    magnitudes = ["MAG_g_fit", "MAGERR_g_fit", "MAG_r_fit", "MAGERR_r_fit"]
    assert out.colnames[start : start + 4] == magnitudes
    good = np.arange(12) != 2
    assert out["MAG_g_fit"][good] == pytest.approx(mag[good], abs=1e-9)
    assert np.isnan(out["MAG_g_fit"][2])
    assert np.isnan(out["MAGERR_g_fit"][[2, 3]]).all()
    expected = np.hypot(POGSON * 0.01, 0.03)
    assert out["MAGERR_g_fit"][0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(out["MAG_r_fit"]).all()
    assert "MAG_g_fit" not in table.colnames


def test_applying_twice_gives_the_same_bytes_and_keeps_ids(tmp_path):
    table, reference, _ = merged()
    paths = [tmp_path / f"{i}.csv" for i in range(3)]
    write_csv(table, paths[0])
    for before, after in pairwise(paths):
        catalog = read_csv(before)
        found = measure_zero_points(catalog, reference)
        zero = {r.band: (r.zp_median, r.zp_err) for r in found.results}
        write_csv(apply_zero_points(catalog, zero, bands=found.bands), after)
    assert paths[1].read_bytes() == paths[2].read_bytes()
    assert read_csv(paths[2])["ID"][0] == "00000"


def test_the_error_method_changes_the_errors_only():
    table, reference, _ = merged()
    out = []
    for method in ("all_mad", "bright_std"):
        table["FLUX_r_fit"] *= 1 + 0.001 * np.arange(12)
        found = measure_zero_points(table, reference, zp_err_method=method)
        table["FLUX_r_fit"] /= 1 + 0.001 * np.arange(12)
        out.append(
            apply_zero_points(
                table, {r.band: (r.zp_median, r.zp_err) for r in found.results}, bands=("r",)
            )
        )
    assert np.array_equal(out[0]["MAG_r_fit"], out[1]["MAG_r_fit"])
    assert not np.array_equal(out[0]["MAGERR_r_fit"], out[1]["MAGERR_r_fit"])
