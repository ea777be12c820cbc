from __future__ import annotations

import json
import logging

import numpy as np
import pytest
from astropy.table import Table

from skyloom.calib import (
    GaiaReference,
    StarPlaces,
    ZeroPointSurface,
    choose_surface,
    measure_trend,
    measure_zero_points,
    zero_point,
)


def test_slopes_are_recovered_with_honest_errors():
    rng = np.random.default_rng(1)
    pulls = []
    for _ in range(300):
        t = rng.uniform(0, 1000, 60)
        errors = rng.uniform(0.001, 0.01, 60)
        values = 25 + 1e-5 * t + np.hypot(errors, 0.004) * rng.normal(size=60)
        trend = measure_trend("x", t, values, errors, intrinsic=0.004)
        pulls.append((trend.slope - 1e-5) / trend.slope_err)
    assert abs(np.mean(pulls)) < 0.18  # 3 / sqrt(300)
    assert np.std(pulls) == pytest.approx(1.0, abs=0.13)  # 3 / sqrt(600)


def test_one_wild_star_does_not_make_a_trend():
    rng = np.random.default_rng(2)
    t = np.linspace(0, 1000, 40)
    values = 25 + 0.005 * rng.normal(size=40)
    values[-1] += 1.0
    trend = measure_trend("x", t, values, np.full(40, 0.005), intrinsic=0.0)
    assert not trend.is_significant
    assert abs(trend.amplitude) < 0.01  # least squares: 0.14


def test_few_stars_and_equal_abscissae_say_nothing():
    errors = np.full(7, 0.01)
    assert measure_trend("x", np.arange(7.0), np.ones(7), errors, intrinsic=0) is None
    assert measure_trend("x", np.ones(20), np.ones(20), np.ones(20), intrinsic=0) is None


def field(shape, rng, *, n=100, amplitude=0.02, scatter=0.006):
    x, y = rng.uniform(0, 1000, (2, n))
    u, v = x / 500 - 1, y / 500 - 1
    form = {"flat": 0 * u, "plane": u, "bowl": u * u + v * v - 2 / 3}[shape]
    return x, y, 25 + amplitude * form + scatter * rng.normal(size=n), amplitude * form


@pytest.mark.parametrize(("shape", "kind"), [("plane", "plane"), ("bowl", "quadratic")])
def test_a_surface_is_found_and_lowers_the_error(shape, kind):
    rng = np.random.default_rng(3)
    x, y, values, truth = field(shape, rng)
    found = choose_surface(x, y, values, np.full(100, 0.003), intrinsic=0.006, most="quadratic")
    assert found.kind == kind
    left = found(x, y) - (truth - truth.mean())
    assert np.std(left) < 0.25 * np.std(truth)  # 6 mmag / sqrt(100 / 6 terms) = 1.5 of 8-11 mmag
    pull = left / found.error(x, y)
    assert np.sqrt(np.mean(pull**2)) < 2.0  # pulls of one fit are correlated
    assert np.average(found(x, y)) == pytest.approx(0.0, abs=1e-12)


def test_a_flat_field_stays_flat():
    rng = np.random.default_rng(4)
    found = [
        choose_surface(*field("flat", rng)[:3], np.full(100, 0.003), intrinsic=0.006,
                       most="quadratic")
        for _ in range(60)
    ]  # fmt: skip
    assert sum(f is not None for f in found) <= 5  # 2 % of 60, and 3 standard errors


def test_the_richest_surface_is_a_limit():
    rng = np.random.default_rng(5)
    x, y, values, _ = field("bowl", rng)
    errors = np.full(100, 0.003)
    assert choose_surface(x, y, values, errors, intrinsic=0.006, most="none") is None
    plane = choose_surface(x, y, values, errors, intrinsic=0.006, most="plane")
    assert plane is None or plane.kind == "plane"
    few = choose_surface(x[:11], y[:11], values[:11], errors[:11], intrinsic=0.0, most="plane")
    assert few is None


def test_a_surface_ends_at_the_stars_and_survives_json():
    rng = np.random.default_rng(6)
    x, y, values, _ = field("bowl", rng)
    surface = choose_surface(x, y, values, np.full(100, 3e-3), intrinsic=6e-3, most="quadratic")
    far, edge = np.array([1e5]), np.array([x.max()])
    middle = np.array([500.0])
    assert surface(far, middle) == pytest.approx(surface(edge, middle), abs=1e-12)
    assert surface(np.array([np.nan]), middle)[0] == 0.0
    again = ZeroPointSurface.from_dict(json.loads(json.dumps(surface.as_dict())))
    assert np.array_equal(again(x, y), surface(x, y))
    assert np.array_equal(again.error(x, y), surface.error(x, y))


def simulated(rng, *, n=80, colour_term=0.0, plane=0.0, magnitude_term=0.0):
    mag = rng.uniform(14, 17, n)
    colour = rng.uniform(0, 2, n)
    x, y = rng.uniform(0, 2000, (2, n))
    zp = 25 + colour_term * colour + plane * (x - 1000) / 1000 + magnitude_term * (mag - 15.5)
    flux = 10 ** ((zp - mag) / 2.5)
    error = 0.004 * flux
    flux = flux + error * rng.normal(size=n)
    return {
        "mag": mag,
        "flux": flux,
        "flux_err": error,
        "is_reliable": np.ones(n, bool),
        "source_id": np.arange(n).astype(str),
        "places": StarPlaces(x=x, y=y, colour=colour, colour_name="g - i"),
    }


@pytest.mark.parametrize(
    ("truth", "against", "slope"),
    [
        ({"colour_term": 0.02}, "g - i", 0.02),
        ({"plane": 0.01}, "x", 1e-5),
        ({"magnitude_term": 0.01}, "mag", 0.01),
    ],
)
def test_a_trend_is_measured_and_announced(truth, against, slope, caplog):
    with caplog.at_level(logging.WARNING):
        found = zero_point("r", **simulated(np.random.default_rng(7), **truth))
    trend = {t.against: t for t in found.trends}[against]
    assert trend.slope == pytest.approx(slope, abs=4 * trend.slope_err)
    assert trend.is_significant
    assert f"r: zero point changes with {against}" in caplog.text


def test_without_a_trend_nothing_is_announced(caplog):
    with caplog.at_level(logging.WARNING):
        found = zero_point("r", **simulated(np.random.default_rng(8)))
    assert not any(t.is_significant for t in found.trends)
    assert "changes with" not in caplog.text
    assert [t.against for t in found.trends] == ["x", "y", "mag", "g - i"]


def test_a_surface_takes_the_trend_out_of_all_numbers():
    stars = simulated(np.random.default_rng(9), plane=0.02)
    before = zero_point("r", **stars)
    after = zero_point("r", **stars, surface="plane")
    assert after.surface.kind == "plane"
    assert after.zp_err < 0.5 * before.zp_err
    assert not any(t.is_significant for t in after.trends if t.against == "x")
    assert before.surface is None
    assert not before.stars.correction.any()


def catalogue(n=20):
    mag = np.linspace(14, 17, n)
    table = Table(
        {
            "gaia_source_id": [str(i) for i in range(n)],
            "fit_is_reliable": [True] * n,
            "FLUX_r_fit": 10 ** ((25 - mag) / 2.5),
            "FLUXERR_r_fit": 0.01 * 10 ** ((25 - mag) / 2.5),
            "x_pix_white_fit": np.arange(float(n)),
            "y_pix_white_fit": np.arange(float(n))[::-1],
        }
    )
    names = {"name": "xp.csv", "ra": np.zeros(n), "dec": np.zeros(n)}
    return table, names | {"source_id": np.arange(n).astype(str), "mags": {"r": mag}}


def test_of_two_rows_with_one_star_the_first_counts(caplog):
    table, reference = catalogue()
    table["gaia_source_id"][5] = "4"
    with caplog.at_level(logging.WARNING):
        found = measure_zero_points(table, GaiaReference(**reference))
    assert found.of("r").n_raw == 19
    assert "have the gaia_source_id of an earlier row (4" in caplog.text


def test_the_colour_is_that_of_the_file_or_of_other_bands():
    table, reference = catalogue()
    mag = reference["mags"]["r"]
    more = {"mags": {"r": mag, "g": mag + 1, "z": mag - 1, "i": mag}}
    assert GaiaReference(**reference).colour("r") is None
    assert GaiaReference(**reference, g_mag=mag).colour("r")[0] == "r - G"
    assert GaiaReference(**(reference | more)).colour("r")[0] == "g - z"
    assert GaiaReference(**(reference | more)).colour("g")[0] == "i - z"
    name, values = GaiaReference(**reference, bp_rp=mag).colour("r")
    assert name == "BP - RP"
    assert values is mag
    found = measure_zero_points(table, GaiaReference(**(reference | more))).of("r")
    assert found.stars.places.x.tolist() == table["x_pix_white_fit"].tolist()
    assert np.allclose(found.stars.places.colour, 2.0, rtol=0, atol=1e-12)  # rounding


def test_the_table_of_trends_has_a_row_for_each():
    table, reference = catalogue()
    trends = measure_zero_points(table, GaiaReference(**reference)).trend_table()
    assert trends["against"].tolist() == ["x", "y", "mag"]
    assert set(trends["band"]) == {"r"}
