"""Each band fitted by itself."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from key_effects import Bench

from skyloom.catalogs import band_column
from skyloom.pipelines.tile.single_band import (
    fit_parts,
    join_band_fits,
    join_states,
    state_of_part,
)

MODE = "patch_run.enable_multi_band_simultaneous_fitting"
BANDS = ("m475", "m625")
Rows = list[dict[str, str]]


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


@pytest.fixture(scope="module")
def single(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Work directory of the small tile, each band by itself."""
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("single") / "tile")
    bench.run("run", {MODE: False})
    return bench.work


@pytest.fixture(scope="module")
def one_band(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Rows, Rows]:
    """Catalogues of a tile of one image: joint mode, single-band mode."""
    bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("one") / "tile")
    (bench.folder / "image_list.txt").write_text("images/sim_m625.fits\n", encoding="utf-8")
    found = []
    for joint in (True, False):
        bench.run("run", {MODE: joint})
        found.append(read(bench.work / "output_catalog.csv"))
    return found[0], found[1]


def test_of_one_band_both_modes_give_the_same_numbers(one_band: tuple[Rows, Rows]) -> None:
    joint, single = one_band
    names = {n: n if n in single[0] else band_column(n, "m625") for n in joint[0]}
    assert set(names.values()) == set(single[0]) - {"fit_flags_m625"}
    for before, after in zip(joint, single, strict=True):
        assert {names[n]: value for n, value in before.items()} == {
            n: after[n] for n in names.values()
        }
        assert after["fit_flags_m625"] == after["fit_flags"]
    assert sum(row["FLUX_m625_fit"] != "" for row in joint) > 20


def test_columns_stand_in_the_documented_order(single: Path) -> None:
    names = list(read(single / "output_catalog.csv")[0])
    expected = ["stype_fit"]
    for b in BANDS:
        expected += [
            *(f"x_pix_patch_{b}_fit", f"y_pix_patch_{b}_fit"),
            *(f"x_pix_white_{b}_fit", f"y_pix_white_{b}_fit", f"RA_{b}_fit", f"DEC_{b}_fit"),
            *(f"sersic_n_{b}_fit", f"re_pix_{b}_fit", f"ab_{b}_fit", f"phi_deg_{b}_fit"),
            *(f"Re_{b}_fit", f"ELL_{b}_fit", f"THETA_{b}_fit"),
            *(f"FLUX_{b}_fit", f"FLUXERR_{b}_fit", f"opt_niters_{b}", f"opt_converged_{b}"),
            *(f"opt_hit_max_iters_{b}", f"opt_last_dlnp_{b}", f"flag_bound_stalled_{b}"),
            f"flag_bound_stalled_which_parameter_{b}",
        ]
    assert [name for name in names if name in set(expected)] == expected
    joint = {"x_pix_white_fit", "RA_fit", "re_pix_fit", "opt_niters", "flag_bound_stalled"}
    assert not joint & set(names)
    magnitudes = [f"{m}_{b}_fit" for b in BANDS for m in ("MAG", "MAGERR")]
    first = names.index(magnitudes[0])
    assert names[first : first + len(magnitudes)] == magnitudes


def test_bands_find_their_own_positions_fluxes_and_zero_points(
    single: Path, finished_tile: Path
) -> None:
    rows = read(single / "output_catalog.csv")
    joint = {row["ID"]: row for row in read(finished_tile / "work" / "output_catalog.csv")}
    fitted = [row for row in rows if row["x_pix_white_m475_fit"] and row["FLUX_m625_fit"]]
    assert len(fitted) > 20
    x = {b: np.array([float(r[f"x_pix_white_{b}_fit"]) for r in fitted]) for b in BANDS}
    moved = np.abs(x["m475"] - x["m625"])
    assert moved.max() > 1e-4  # own noise
    assert np.median(moved) < 0.2  # pix; of the same sources
    for band in BANDS:
        pull = [
            (float(r[f"FLUX_{band}_fit"]) - float(joint[r["ID"]][f"FLUX_{band}_fit"]))
            / float(r[f"FLUXERR_{band}_fit"])
            for r in fitted
        ]
        assert np.median(np.abs(pull)) < 1.0  # the same pixels, with freer shapes
    summary = {row["band"]: float(row["zp_median"]) for row in read(single / "ZP/zp_summary.csv")}
    truth = read(finished_tile / "truth_bands.csv")
    for row in truth:
        assert summary[row["band"]] == pytest.approx(float(row["zp_expected"]), abs=0.03)


def test_patches_and_reliability_know_the_bands(single: Path) -> None:
    (path,) = (single / "outputs").glob("*/*_cat_fit.csv")
    assert {f"x_pix_white_{b}_fit" for b in BANDS} <= set(read(path)[0])
    meta = json.loads((path.parent / "meta.json").read_text(encoding="utf-8"))
    assert meta["enable_multi_band_simultaneous_fitting"] is False
    assert "opt_niters" not in meta
    for row in read(single / "output_catalog.csv"):
        bound = [row[f"flag_bound_stalled_{b}"] == "True" for b in BANDS]
        assert ("bound_stalled" in row["fit_quality_issues"]) == any(bound)


def test_parts_of_a_patch_hold_one_band_each() -> None:
    payload = {
        "bands": np.array(["g", "z"]),
        **{n: np.arange(2.0) for n in ("sky_sigma", "source_variance", "scale")},
        **{n: np.arange(2.0)[:, None, None] + np.zeros((2, 3, 4)) for n in ("image", "mask")},
        "rows": np.array([3, 5]),
    }
    sky = {"level": np.arange(2.0)[:, None, None], "error": np.zeros((2, 1, 1)), "shape": [3, 4]}
    (whole,) = fit_parts(payload, sky, joint=True)
    assert whole.band is None
    assert whole.payload == payload
    parts = fit_parts(payload, sky, joint=False)
    assert [part.band for part in parts] == ["g", "z"]
    for b, part in enumerate(parts):
        assert part.payload["image"].shape == (1, 3, 4)
        assert np.all(part.payload["image"] == b)
        assert part.sky["level"].ravel().tolist() == [b]
        assert part.payload["rows"].tolist() == [3, 5]
        assert part.sky["shape"] == [3, 4]


def test_states_come_back_as_they_were() -> None:
    tables = {
        b: Table({"row": [4, 7], "x": [i, 2.0], f"flux_{b}": [1, i]}) for i, b in enumerate("gz")
    }
    joined = join_states(dict(tables))
    assert joined.colnames == ["row", "g/x", "g/flux_g", "z/x", "z/flux_z"]
    for band, table in tables.items():
        back = state_of_part(joined, band)
        assert back is not None
        assert back.colnames == table.colnames
        assert all((back[n] == table[n]).all() for n in table.colnames)
    assert join_states({None: tables["g"]}) is tables["g"]
    assert state_of_part(None, "g") is None


def test_flags_of_all_bands_are_joined() -> None:
    fits = {
        b: Table({"stype_fit": ["exp"], "x_pix_white_fit": [1.0], "fit_flags": [flag]})
        for b, flag in (("z", 4), ("g", 1))
    }
    joined = join_band_fits(fits)
    assert joined["fit_flags"].tolist() == [5]
    assert joined.colnames == [
        *("stype_fit", "x_pix_white_g_fit", "fit_flags_g"),
        *("x_pix_white_z_fit", "fit_flags_z", "fit_flags"),
    ]
