"""Assessment of catalogues that were made with known errors."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import BadTable
from skyloom.geometry.box import Box
from skyloom.sim import SnrBin, assess_tile, footprint_chi2, match_truth, pool_assessments

ALL = SnrBin(0, np.inf)
N = 4000


def make(
    *,
    offset: float = 0.0,
    width: float = 1.0,
    snr: float = 50.0,
    zp: float = 25.0,
    seed: int = 0,
    n: int = N,
) -> tuple[Table, Table]:
    """Catalogue of n sources, half stars; fluxes wrong by ``offset`` mag, errors by ``width``."""
    rng = np.random.default_rng(seed)
    mag = rng.uniform(15, 20, n)
    kind = np.where(np.arange(n) % 2 == 0, "STAR", "EXP")
    true = 10 ** (0.4 * (zp - mag))
    error = true / snr
    flux = true * 10 ** (-0.4 * offset) + width * error * rng.standard_normal(n)
    ids = np.array([f"{i:06d}" for i in range(n)])
    x, y = rng.uniform(0, 100, (2, n))
    truth = Table(
        {"ID": ids, "TYPE": kind, "x": x, "y": y, "mag_r": mag, "is_saturated": np.zeros(n, bool)}
    )
    catalog = Table(
        {
            "ID": ids,
            "TYPE": kind,
            "excluded_any": np.zeros(n, bool),
            "fit_flags": np.zeros(n, int),
            "x_pix_white_fit": x + 0.1 * rng.standard_normal(n) - 3.0,
            "y_pix_white_fit": y + 0.1 * rng.standard_normal(n) - 4.0,
            "x_pix_white_fit_err": np.full(n, 0.1),
            "y_pix_white_fit_err": np.full(n, 0.05),
            "FLUX_r_fit": flux,
            "FLUXERR_r_fit": error,
            "MAG_r_fit": zp - 2.5 * np.log10(np.where(flux > 0, flux, np.nan)),
        }
    )
    return catalog, truth


def test_offset_and_width_are_recovered():
    catalog, truth = make(offset=0.010, width=1.3)
    result = assess_tile(catalog, truth, bands=["r"], origin=(3.0, 4.0))
    for group in ("star", "exp", "galaxy"):
        row = {
            name: result.value(name, group=group, snr=ALL)
            for name in result.statistics().colnames[4:]
        }
        assert row["n"] == N / 2
        # four standard errors, as reported; the pull is 10 mmag at S/N 50, about -0.46
        assert row["offset"] == pytest.approx(10.0, abs=4 * row["offset_err"])
        assert row["width"] == pytest.approx(1.3, abs=4 * row["width_err"])
        assert row["pull"] == pytest.approx(-0.46, abs=4 * row["pull_err"])


@pytest.mark.parametrize("name", ["offset", "pull", "width"])
def test_standard_errors_are_the_scatter_between_samples(name):
    values, errors = [], []
    for seed in range(60):
        result = assess_tile(*make(seed=seed, n=300), bands=["r"])
        values.append(result.value(name, group="star", snr=ALL))
        errors.append(result.value(f"{name}_err", group="star", snr=ALL))
    # 4 / sqrt(2 * 60): four standard errors of a scatter from 60 samples
    assert np.std(values) == pytest.approx(np.mean(errors), rel=4 / np.sqrt(120))


def test_positions_are_compared_in_the_frame_of_the_truth():
    catalog, truth = make()
    positions = assess_tile(catalog, truth, bands=["r"], origin=(3.0, 4.0)).positions
    error = 4 / np.sqrt(N)
    assert abs(np.mean(positions["dx"])) < 0.1 * error
    assert np.std(positions["pull_x"]) == pytest.approx(1.0, abs=error)
    assert np.std(positions["pull_y"]) == pytest.approx(
        2.0, abs=2 * error
    )  # errors halved on purpose


def test_bins_use_true_flux_over_reported_error():
    catalog, truth = make(snr=20.0)
    catalog["FLUX_r_fit"][:] *= 10  # what was measured must not move a source between bins
    result = assess_tile(catalog, truth, bands=["r"], zero_points={"r": 25.0})
    assert result.value("n", group="star", snr=SnrBin(19.999, 20.001)) == N / 2
    assert result.value("n", group="star", snr=SnrBin(20.001, np.inf)) == 0


def test_the_zero_point_is_that_of_the_magnitudes():
    catalog, truth = make(zp=25.0)
    catalog["FLUX_r_fit"] *= 10**0.1  # a zero point of 25.25 was found and applied
    catalog["FLUXERR_r_fit"] *= 10**0.1
    found = assess_tile(catalog, truth, bands=["r"])
    assert abs(found.value("pull", group="star", snr=ALL)) < 0.1
    given = assess_tile(catalog, truth, bands=["r"], zero_points={"r": 25.0})
    # 0.25 mag, up to the noise of 20 mmag / sqrt(2000)
    assert given.value("offset", group="star", snr=ALL) == pytest.approx(-250.0, abs=3)


def test_negative_fluxes_count_as_faint():
    catalog, truth = make(snr=1.0, n=2001)
    result = assess_tile(catalog, truth, bands=["r"], zero_points={"r": 25.0})
    row_err = result.value("offset_err", group="star", snr=ALL)
    assert abs(result.value("offset", group="star", snr=ALL)) < 4 * row_err


def test_who_counts():
    catalog, truth = make(n=100)
    catalog["excluded_any"][0] = True
    catalog["FLUXERR_r_fit"][2] = np.inf  # active, bad and silent
    catalog["FLUX_r_fit"][4], catalog["fit_flags"][4] = np.nan, 1  # active, bad, and says so
    catalog["fit_flags"][6] = 512
    truth["is_saturated"][8] = True
    catalog["TYPE"][1] = "DEV"  # the catalogue is wrong about this galaxy
    result = assess_tile(catalog, truth, bands=["r"], exclude_flags=512)
    assert (result.n_active, result.n_fitted, result.n_silent) == (99, 97, 1)
    assert result.fraction_fitted == pytest.approx(97 / 99)
    assert result.value("n", group="star", snr=ALL) == 45
    assert result.value("n", group="galaxy", snr=ALL) == 49


def test_text_columns_of_a_plain_csv_reader_are_understood():
    catalog, truth = make(n=50)
    catalog["excluded_any"] = np.where(np.arange(50) < 5, "True", "False")
    catalog["FLUX_r_fit"] = [
        "" if i == 7 else repr(float(f)) for i, f in enumerate(catalog["FLUX_r_fit"])
    ]
    result = assess_tile(catalog, truth, bands=["r"], zero_points={"r": 25.0})
    assert (result.n_active, result.n_fitted) == (45, 44)


def test_pooling_is_the_assessment_of_all_rows():
    first, second = (assess_tile(*make(seed=s, n=200), bands=["r"]) for s in (1, 2))
    pooled = pool_assessments([first, second])
    assert pooled.n_active == 400
    ratios = np.r_[first.fluxes["ratio"], second.fluxes["ratio"]][
        np.r_[first.fluxes["kind"], second.fluxes["kind"]] == "star"
    ]
    expected = -2500 * np.log10(np.median(ratios))
    assert pooled.value("offset", group="star", snr=ALL) == pytest.approx(expected, abs=1e-9)


def test_summary_names_every_group_and_bin():
    text = assess_tile(*make(n=200), bands=["r"]).summary()
    for word in ("fitted 200 of 200", "star", "galaxy", "sersic", "> 100", "10-30", "position"):
        assert word in text


def test_matching_is_by_text():
    truth = Table({"ID": ["01", "1", "2"]})
    rows, truth_rows = match_truth(Table({"ID": ["2", "x", "1", "01"]}), truth)
    assert list(rows) == [0, 2, 3]
    assert list(truth_rows) == [2, 1, 0]
    with pytest.raises(BadTable, match="leading zeros"):
        match_truth(Table({"ID": [9, 8]}), truth)
    with pytest.raises(BadTable, match="more than once"):
        match_truth(truth, Table({"ID": ["a", "a"]}))


def test_a_missing_column_is_named():
    catalog, truth = make(n=10)
    catalog.remove_column("FLUXERR_r_fit")
    with pytest.raises(BadTable, match="FLUXERR_r_fit is missing"):
        assess_tile(catalog, truth, bands=["r"])


@given(scale=st.floats(0.5, 3.0))
@settings(max_examples=10, deadline=None)
def test_footprint_chi2_is_the_mean_over_the_footprint(scale):
    rng = np.random.default_rng(7)
    sigma = np.full((60, 60), 2.0)
    stamp = np.zeros((11, 11))
    stamp[2:9, 3:8] = 2.5  # 35 pixels above 1 sigma
    model = np.zeros((60, 60))
    model[20:31, 10:21] = stamp
    data = model + scale * sigma * rng.standard_normal(model.shape)
    chi2, n = footprint_chi2(data, model, sigma, [(Box(10, 21, 20, 31), stamp), None])
    expected = np.mean(((data - model)[22:29, 13:18] / 2.0) ** 2)
    assert n.tolist() == [35, 0]
    assert chi2[0] == pytest.approx(expected, rel=1e-12)
    assert np.isnan(chi2[1])


def test_footprint_leaves_out_bad_pixels_edges_and_small_sources():
    sigma = np.ones((20, 20))
    sigma[5, 5] = np.inf
    data = np.zeros((20, 20))
    data[6, 6] = np.nan
    stamp = np.full((5, 5), 3.0)
    stamps = [
        (Box(4, 9, 4, 9), stamp),  # one pixel without weight, one without data
        (Box(-3, 2, -3, 2), stamp),  # four pixels left: below the limit
        (Box(17, 22, 10, 15), stamp),  # 15 pixels left
        (Box(12, 17, 12, 17), 0.9 * np.ones((5, 5))),  # never above 1 sigma
    ]
    chi2, n = footprint_chi2(data, np.full((20, 20), 2.0), sigma, iter(stamps))
    assert n.tolist() == [23, 4, 15, 0]
    assert chi2[[0, 2]] == pytest.approx([4.0, 4.0])
    assert np.isnan(chi2[[1, 3]]).all()
