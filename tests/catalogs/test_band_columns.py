from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.catalogs import band_column, fitted_bands, quality_issues


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("x_pix_white_fit", "x_pix_white_m475_fit"),
        ("RA_fit", "RA_m475_fit"),
        ("re_pix_err", "re_pix_m475_err"),
        ("opt_niters", "opt_niters_m475"),
        ("flag_bound_stalled_which_parameter", "flag_bound_stalled_which_parameter_m475"),
        ("FLUX_m475_fit", "FLUX_m475_fit"),
        ("pair_flux_err_m475", "pair_flux_err_m475"),
    ],
)
def test_where_the_band_stands(name, expected):
    assert band_column(name, "m475") == expected


def test_bands_are_those_with_positions_of_their_own():
    table = Table({n: [1.0] for n in ("x_pix_white_z_fit", "x_pix_white_g_fit", "FLUX_r_fit")})
    assert fitted_bands(table) == ("g", "z")
    assert fitted_bands(Table({"x_pix_white_fit": [1.0]})) == ()


NAMES = ("x_pix_white_fit", "opt_converged", "opt_hit_max_iters", "flag_bound_stalled")


@pytest.mark.parametrize(
    ("g", "z", "reliable", "issues"),
    [
        ((1.0, True, False, False), (1.0, True, False, False), True, ""),
        ((1.0, True, False, False), (np.nan, True, False, False), True, ""),
        ((np.nan, True, False, False), (np.nan, True, False, False), False, "no_fit_result"),
        ((1.0, True, False, False), (1.0, False, True, False), False, "hit_max_iters"),
        ((1.0, True, False, True), (1.0, True, False, False), False, "bound_stalled"),
        ((1.0, False, False, False), (1.0, True, False, False), True, "not_converged"),
    ],
)
def test_a_band_can_spoil_a_row(g, z, reliable, issues):
    row = {band_column(n, "g"): [v] for n, v in zip(NAMES, g, strict=True)}
    row |= {band_column(n, "z"): [v] for n, v in zip(NAMES, z, strict=True)}
    found = quality_issues(Table(row))
    assert (found[0].tolist(), found[1].tolist()) == ([reliable], [issues])
