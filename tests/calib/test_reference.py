from __future__ import annotations

import numpy as np
import pytest

from skyloom.calib import read_gaia_xp
from skyloom.errors import BadTable, MissingFile

CONTENT = """source_id,ra,dec,phot_g_mean_mag,mag_g,mag_r
4000000000000000001,150.1,2.2,15.5,15.6,
4000000000000000002,150.2,2.3,,16.1,15.9
"""


def test_identifiers_stay_text_and_magnitudes_are_by_band(tmp_path):
    (tmp_path / "xp.csv").write_text(CONTENT)
    gaia = read_gaia_xp(tmp_path / "xp.csv")
    assert gaia.source_id.tolist() == ["4000000000000000001", "4000000000000000002"]
    assert gaia.mag("g").tolist() == [15.6, 16.1]
    assert np.isnan(gaia.mag("r")[0])
    assert gaia.mag("i") is None
    assert np.isnan(gaia.g_mag[1])
    second = gaia.rows(np.array([False, True]))
    assert (len(second), second.mag("g").tolist()) == (1, [16.1])


def test_seeds_need_positions_and_magnitudes_only(tmp_path):
    (tmp_path / "xp.csv").write_text("ra,dec,mag_g\n1,2,3\n")
    gaia = read_gaia_xp(tmp_path / "xp.csv")
    assert gaia.source_id is None
    for name in ("source_id", "phot_g_mean_mag"):
        with pytest.raises(ValueError, match=f"GaiaXP CSV missing required column: {name}"):
            gaia.require(name)


def test_a_star_may_stand_in_the_file_twice_and_identifiers_may_be_empty(tmp_path):
    rows = "0,2,7\n359.9995,2.0005,7\n1,2,\n5,2,\n,,7\n"  # 2.5 arcsec apart: another epoch
    (tmp_path / "xp.csv").write_text("ra,dec,source_id\n" + rows)
    assert len(read_gaia_xp(tmp_path / "xp.csv")) == 5


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ra,source_id\n1,2\n", "GaiaXP CSV missing required column: dec"),
        ("RA,dec,source_id\n1,2,3\n", "missing required column: ra .*; rename 'RA'"),
        (
            "ra,dec,source_id\n1,2,1.2346e+18\n1,2,7\n1,2.01,1.2346e+18\n1,2.02,1.2346e+18\n",
            r"rows 1 and 3, column source_id: both are '1.2346e\+18'.*1 more rows.*all their",
        ),
        ("ra,dec,mag_g\n1,2,bright\n", "row 1, column mag_g: 'bright'"),
    ],
)
def test_faults(tmp_path, content, words):
    (tmp_path / "xp.csv").write_text(content)
    with pytest.raises(BadTable, match=words):
        read_gaia_xp(tmp_path / "xp.csv")
    with pytest.raises(MissingFile, match=r"inputs\.gaiaxp_synphot_csv"):
        read_gaia_xp(tmp_path / "none.csv")
