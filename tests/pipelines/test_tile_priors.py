"""Standard errors in the catalogue are priors of the fit."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.start import scene_sources, start_values
from skyloom.scene import SourceType, parameters_from_ellipse

GALAXY = {
    "RA": 0.0, "DEC": 0.0, "x_pix_white": 5.0, "y_pix_white": 5.0, "excluded_any": False,
    "TYPE": "EXP", "Re": 4.0, "ELL": 0.5, "THETA": 20.0,
}  # fmt: skip


def widths(**columns: object) -> np.ndarray:
    """Return the widths of the priors on x, y, ln r, g1, g2, n; infinite where there is none."""
    table = Table({name: [value] for name, value in {**GALAXY, **columns}.items()})
    ivar = start_values(table, ["r"], (20, 20), TileConfig().patch_run).prior_ivar[0]
    with np.errstate(divide="ignore"):
        return ivar**-0.5


def test_without_errors_there_is_no_prior() -> None:
    assert np.isinf(widths()).all()


@pytest.mark.parametrize("error", [0.0, -1.0, np.nan])
def test_errors_that_are_none_are_no_priors(error: float) -> None:
    columns = ("POS_ERR", "Re_ERR", "ELL_ERR", "THETA_ERR")
    assert np.isinf(widths(**dict.fromkeys(columns, error))).all()


def test_positions_and_sizes() -> None:
    found = widths(POS_ERR=0.25, Re_ERR=1.0)
    assert found[:3] == pytest.approx([0.25, 0.25, 0.25])  # Re_ERR / Re in ln r
    assert np.isinf(found[3:]).all()
    star = widths(TYPE="STAR", POS_ERR=0.25, Re_ERR=1.0, ELL_ERR=0.1, THETA_ERR=5.0)
    assert star[:2] == pytest.approx([0.25, 0.25])
    assert np.isinf(star[2:]).all()


@pytest.mark.parametrize("missing", ["ELL_ERR", "THETA_ERR", "ELL", "THETA"])
def test_the_ellipticity_needs_both_values_and_both_errors(missing: str) -> None:
    columns: dict[str, object] = {"ELL_ERR": 0.1, "THETA_ERR": 5.0}
    assert np.isfinite(widths(**columns)[3:5]).all()
    assert np.isinf(widths(**{**columns, missing: np.nan})[3:5]).all()


@pytest.mark.parametrize("theta", [0.0, 20.0, 45.0, 90.0, -70.0])
def test_errors_of_ellipticity_and_angle_are_those_of_the_components(theta: float) -> None:
    """Against the scatter of (g1, g2) when ELL and THETA scatter by their errors."""
    rng = np.random.default_rng(6)
    n, ell_err, theta_err = 200_000, 0.01, 2.0
    ell = 0.5 + rng.normal(0.0, ell_err, n)
    angle = theta + rng.normal(0.0, theta_err, n)
    _, g1, g2 = parameters_from_ellipse(np.full(n, 4.0), 1.0 - ell, angle)
    found = widths(THETA=theta, ELL_ERR=ell_err, THETA_ERR=theta_err)
    # second order in 2 degrees and 0.01: 0.3 % of the larger width; noise of a standard deviation
    # with this n is 0.16 %
    assert found[3:5] == pytest.approx([g1.std(), g2.std()], rel=0.02)


def test_a_round_source_has_a_prior_though_no_angle() -> None:
    found = widths(ELL=0.0, THETA=0.0, ELL_ERR=0.1, THETA_ERR=30.0)
    assert found[3] == pytest.approx(0.05)  # dg = dELL / 2 for a circle
    assert found[4] == pytest.approx(0.05 * 2 * np.radians(30.0))


def test_priors_lie_about_the_start() -> None:
    table = Table({name: [value] for name, value in {**GALAXY, "Re_ERR": 1.0}.items()})
    start = start_values(table, ["r"], (20, 20), TileConfig().patch_run)
    rows = np.zeros(1, np.int64)
    sources = scene_sources(start, rows, kind=np.array([SourceType.EXP]), max_shift=5.0)
    assert sources.prior_mean[0, 2] == start.log_r[0]
    assert sources.prior_ivar[0, 2] == pytest.approx(16.0)
