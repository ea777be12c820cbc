from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.catalogs import HARD_ISSUES, SOFT_ISSUES, quality_issues, read_csv
from skyloom.flags import FitFlag

GOOD = {
    "excluded_any": False,
    "x_pix_white_fit": 12.3,
    "opt_converged": True,
    "opt_hit_max_iters": False,
    "flag_bound_stalled": False,
    "affected_by_bright_mask": False,
    "psf_fallback_band_count": 0,
    "psf_used_epsf_band_count": 3,
}


@pytest.mark.parametrize(
    ("changes", "reliable", "issues"),
    [
        ({}, True, ""),
        ({"excluded_any": True, "x_pix_white_fit": np.nan}, False, "excluded"),
        ({"x_pix_white_fit": np.nan}, False, "no_fit_result"),
        ({"opt_hit_max_iters": True, "opt_converged": False}, False, "hit_max_iters"),
        ({"flag_bound_stalled": True}, False, "bound_stalled"),
        ({"affected_by_bright_mask": True}, False, "bright_mask"),
        ({"fit_flags": int(FitFlag.SWOLLEN)}, False, "swollen"),
        ({"fit_flags": int(FitFlag.STRAYED)}, False, "strayed"),
        ({"fit_flags": int(FitFlag.STRUCTURED)}, True, "structured"),
        ({"fit_flags": int(FitFlag.UNMODELLED_LIGHT)}, True, "unmodelled_light"),
        ({"opt_converged": False}, True, "not_converged"),
        ({"opt_converged": False, "x_pix_white_fit": np.nan}, False, "no_fit_result"),
        (
            {"psf_fallback_band_count": 3, "psf_used_epsf_band_count": 0},
            True,
            "all_psf_fallback",
        ),
        ({"psf_fallback_band_count": 1}, True, ""),
        (
            {"affected_by_bright_mask": True, "flag_bound_stalled": True, "opt_converged": False},
            False,
            "bound_stalled,bright_mask,not_converged",
        ),
    ],
)
def test_each_issue(changes, reliable, issues):
    row = {**GOOD, **changes}
    found = quality_issues(Table({name: [value] for name, value in row.items()}))
    assert (found[0].tolist(), found[1].tolist()) == ([reliable], [issues])


def test_missing_columns_count_as_false_and_converged():
    reliable, issues = quality_issues(Table({"x_pix_white_fit": [1.0, np.nan]}))
    assert reliable.tolist() == [True, False]
    assert issues.tolist() == ["", "no_fit_result"]
    assert quality_issues(Table({"x_pix_white_fit": np.zeros(0)}))[0].shape == (0,)


def test_every_issue_has_a_sentence_and_the_order_is_hard_then_soft():
    assert [*HARD_ISSUES, *SOFT_ISSUES] == [
        *("excluded", "no_fit_result", "hit_max_iters", "bound_stalled", "bright_mask"),
        *("swollen", "strayed"),
        *("not_converged", "all_psf_fallback", "structured", "unmodelled_light"),
    ]


def test_the_verdict_equals_that_of_the_original(shared_data):
    table = read_csv(shared_data / "tract7dt_reference" / "output_catalog_head.csv")
    reliable, issues = quality_issues(table)
    assert [str(r) for r in reliable] == table["fit_is_reliable"].tolist()
    assert issues.tolist() == table["fit_quality_issues"].tolist()
