"""Two catalogues of simulated truth: every number that is reported is put in and found again."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table, vstack
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.catalogs import read_table
from skyloom.compare import (
    Comparison,
    compare_catalogs,
    pair_table,
    summary,
    unmatched_table,
    worst_pairs,
    write_comparison,
)
from skyloom.errors import Mismatch, MissingFile, Unwritable, WrongValue

N = 2000
ARCSEC = 1.0 / 3600.0


def sources(seed: int = 1, n: int = N) -> Table:
    """A catalogue without noise: AB magnitudes, S/N from 1000 down to 5."""
    rng = np.random.default_rng(seed)
    ra, dec = 150.0 + rng.uniform(-0.1, 0.1, n), 2.0 + rng.uniform(-0.1, 0.1, n)
    flux = 10 ** rng.uniform(0.7, 3.0, n)
    modulus, angle = rng.uniform(0.2, 0.6, n), rng.uniform(0, np.pi, n)
    return Table({
        "ra": ra, "dec": dec, "objid": np.arange(n),
        "type": np.where(np.arange(n) % 3, "EXP", "PSF"),
        "flux_r": flux, "flux_ivar_r": np.ones(n), "flux_z": 2 * flux, "flux_ivar_z": np.ones(n),
        "shape_r": np.where(np.arange(n) % 3, 1.5, 0.0), "shape_e1": modulus * np.cos(2 * angle),
        "shape_e2": modulus * np.sin(2 * angle),
    })  # fmt: skip


def observed(seed: int = 2, *, gain: float = 1.0, sigma: float = 1.0, n: int = N) -> Table:
    """The same catalogue with noise, moved by 0.3 and -0.2 arcsec."""
    rng = np.random.default_rng(seed)
    table = sources(n=n)
    table["ra"] += (0.3 + rng.normal(0, 0.05, n)) * ARCSEC / np.cos(np.radians(2.0))
    table["dec"] += (-0.2 + rng.normal(0, 0.05, n)) * ARCSEC
    table["flux_r"] = gain * (table["flux_r"] + sigma * rng.normal(size=n))
    table["flux_ivar_r"] /= (gain * sigma) ** 2
    return table


def test_a_catalogue_does_not_differ_from_itself() -> None:
    same = compare_catalogs(sources(), sources())
    assert len(same) == N
    assert same.lost.rows.size == same.gained.rows.size == 0
    for band in same.bands:
        assert not np.any(band.delta_mag)
        assert not np.any(band.pull)
    assert same.types == {("star", "star"): 667, ("exp", "exp"): 1333}
    assert worst_pairs(same) == []
    assert same.shapes is not None
    assert same.shapes.size.scatter == same.shapes.angle.scatter == 0.0


def test_pulls_are_unit_gaussian_and_positions_are_found() -> None:
    old = sources()
    old["flux_ivar_r"] = 1e12  # the truth
    found = compare_catalogs(old, observed())
    band = found.bands[0]
    # 2000 pulls: mean within 0.022, MAD width within 0.026; three of these
    assert band.pulls.mean == pytest.approx(0.0, abs=0.07)
    assert band.pulls.width == pytest.approx(1.0, abs=0.08)
    assert band.pulls.beyond_3 == pytest.approx(0.0027, abs=0.0035)  # 0.0012 each
    position = found.positions
    assert position.x.median == pytest.approx(0.3, abs=4 * position.x.stderr)
    assert position.y.median == pytest.approx(-0.2, abs=4 * position.y.stderr)
    assert position.x.scatter == pytest.approx(0.05, rel=0.08)  # 2.6 % each
    assert position.x.stderr == pytest.approx(1.2533 * 0.05 / np.sqrt(N), rel=0.08)


def test_noise_of_both_sides_counts() -> None:
    found = compare_catalogs(observed(seed=5), observed(seed=6))
    assert found.bands[0].errors == "both"
    assert found.bands[0].pulls.width == pytest.approx(1.0, abs=0.08)
    only = observed(seed=6)
    only["flux_ivar_r"] = np.where(np.arange(N) < 0, 1.0, only["flux_ivar_r"])
    no_error = Table({"ra": only["ra"], "dec": only["dec"], "flux_r": only["flux_r"]})
    one = compare_catalogs(observed(seed=5), no_error)
    assert one.bands[0].errors == "old"
    assert one.bands[0].pulls.width == pytest.approx(np.sqrt(2), rel=0.08)


@given(gain=st.floats(0.01, 100.0))
@settings(max_examples=10, deadline=None)
def test_a_zero_point_is_fitted_where_a_scale_is_unknown(gain: float) -> None:
    ours = observed(gain=gain, n=400)
    new = Table({"RA": ours["ra"], "DEC": ours["dec"], "FLUX_r_fit": ours["flux_r"],
                 "FLUXERR_r_fit": np.full(400, gain), "stype_fit": ["exp"] * 400})  # fmt: skip
    (band,) = compare_catalogs(sources(n=400), new).bands
    expected = -2.5 * np.log10(gain) - 22.5
    assert band.offset_removed == pytest.approx(expected, abs=0.01)  # 0.1 mag / sqrt(300)
    assert band.offset_err < 0.01
    assert band.summary.median == pytest.approx(0.0, abs=0.02)
    assert np.nanmedian(band.mag) == pytest.approx(22.5 - 2.5 * 1.85, abs=0.3)  # AB, uniform law
    reverse = compare_catalogs(new, sources(n=400)).bands[0]
    assert reverse.offset_removed == pytest.approx(-expected, abs=0.01)
    assert np.nanmedian(reverse.mag) == pytest.approx(np.nanmedian(band.mag), abs=0.01)
    assert reverse.pulls.width == pytest.approx(band.pulls.width, rel=0.05)


def test_a_real_difference_of_calibrated_magnitudes_stays() -> None:
    (band, _) = compare_catalogs(sources(), observed(gain=1.1)).bands
    assert band.offset_removed == 0.0
    expected = -2.5 * np.log10(1.1)
    bright = band.bins[0]
    assert bright.delta_mag.median == pytest.approx(expected, abs=4 * bright.delta_mag.stderr)
    fitted = compare_catalogs(sources(), observed(gain=1.1), offsets="fit").bands[0]
    assert fitted.offset_removed == pytest.approx(expected, abs=0.005)
    kept = compare_catalogs(sources(), observed(gain=10.0), offsets="keep").bands[0]
    assert kept.offset_removed == 0.0


def test_negative_fluxes_have_pulls_but_no_magnitudes() -> None:
    new = observed()
    new["flux_r"][:5] = -1.0
    band = compare_catalogs(sources(), new).bands[0]
    assert np.isnan(band.delta_mag[:5]).all()
    assert (band.pull[:5] < 0).all()
    assert band.summary.n <= band.pulls.n - 5


def test_lost_and_gained_sources_and_those_outside() -> None:
    old, new = sources(), observed()
    inside = np.hypot(old["ra"] - 150.0, old["dec"] - 2.0) < 0.08
    edge = old["ra"] < 149.92
    gone = np.flatnonzero(inside)[:7]
    keep = ~edge
    keep[gone] = False
    found = compare_catalogs(old, new[keep])
    lost = found.lost
    assert set(gone) <= set(lost.rows[~lost.is_outside].tolist())
    assert set(lost.rows.tolist()) == set(np.flatnonzero(~keep).tolist())
    # the hull of the others ends up to one spacing (16 arcsec) before their real border
    assert np.count_nonzero(lost.is_outside) > 0.9 * np.count_nonzero(edge)
    assert found.gained.rows.size == 0
    table = unmatched_table(found)
    assert (table["what"] == "lost").all()
    assert np.count_nonzero(table["footprint"] == "outside") == np.count_nonzero(lost.is_outside)


def test_sources_without_a_flux_are_told_apart() -> None:
    old, new = sources(), observed()
    for band in "rz":
        new[f"flux_ivar_{band}"][:4] = 0.0
    found = compare_catalogs(old, new)
    assert found.only_old.tolist() == [0, 1, 2, 3]
    assert len(found) == N - 4
    assert found.lost.rows.size == 0
    assert unmatched_table(found)["what"].tolist() == ["no flux in new"] * 4


def test_a_row_without_a_flux_takes_nobodys_partner() -> None:
    old = sources()
    ghost = old[:1].copy()  # nearer to the observed source than the measured row is
    new = observed()
    ghost["ra"], ghost["dec"] = new["ra"][0] - 0.3 * ARCSEC, new["dec"][0] + 0.2 * ARCSEC
    for band in "rz":
        ghost[f"flux_ivar_{band}"] = 0.0
    found = compare_catalogs(vstack([ghost, old]), new)
    assert len(found) == N
    assert found.rows_old[0] == 1
    assert found.lost.rows.size == found.gained.rows.size == 0


def test_shapes_and_types_that_changed_are_counted() -> None:
    old, new = sources(), observed()
    new["shape_r"] *= 1.2
    turn = np.radians(2 * 10.0)  # ten degrees on the sky
    e1, e2 = np.array(old["shape_e1"]), np.array(old["shape_e2"])
    new["shape_e1"] = 1.1 * (e1 * np.cos(turn) - e2 * np.sin(turn))
    new["shape_e2"] = 1.1 * (e1 * np.sin(turn) + e2 * np.cos(turn))
    new["type"][1] = "DEV"
    found = compare_catalogs(old, new)
    assert found.types["exp", "dev"] == 1
    shapes = found.shapes
    assert shapes is not None
    assert 10**shapes.size.median == pytest.approx(1.2)
    assert shapes.angle.median == pytest.approx(10.0)
    assert shapes.angle.scatter == pytest.approx(0.0, abs=1e-9)
    modulus = np.hypot(e1, e2)[np.arange(N) % 3 > 0]
    assert shapes.ellipticity.median == pytest.approx(0.1 * np.median(modulus))


def test_the_worst_pair_comes_first() -> None:
    new = observed()
    new["flux_z"][77] *= 30.0
    worst = worst_pairs(compare_catalogs(sources(), new))
    assert (worst[0]["old_row"], worst[0]["band"]) == (78, "z")
    assert len(worst) == 20
    assert worst[0]["delta_mag"] == pytest.approx(-2.5 * np.log10(30.0))


def test_flagged_pairs_can_be_left_out() -> None:
    new = observed()
    new["brick_primary"] = np.arange(N) >= 10
    found = compare_catalogs(sources(), new, trusted_only=True)
    assert len(found) == N - 10
    assert "10 flagged pairs left out" in found.notes


def test_pixel_positions_match_in_pixels() -> None:
    rng = np.random.default_rng(3)
    x, y = rng.uniform(0, 500, (2, 100))
    old = Table({"X_IMAGE": x + 1, "Y_IMAGE": y + 1, "FLUX_AUTO": np.full(100, 5.0)})
    new = Table({"X_IMAGE": x + 1.25, "Y_IMAGE": y + 1, "FLUX_AUTO": np.full(100, 5.0)})
    found = compare_catalogs(old, new)
    assert found.positions.unit == "pix"
    assert found.positions.x.median == pytest.approx(0.25)
    assert summary(found)["positions"]["unit"] == "pix"
    assert "dx_pix" in pair_table(found).colnames
    with pytest.raises(Mismatch, match="pixel positions only, the other catalogue sky positions"):
        compare_catalogs(old, Table({"ra": [1.0], "dec": [1.0]}))


def test_bands_are_mapped_and_chosen() -> None:
    new = observed()
    new.rename_columns(["flux_z", "flux_ivar_z"], ["flux_Z", "flux_ivar_Z"])
    assert [b.band for b in compare_catalogs(sources(), new).bands] == ["r"]
    mapped = compare_catalogs(sources(), new, band_map={"z": "Z"}, bands=["Z"])
    assert [(b.old_band, b.band) for b in mapped.bands] == [("z", "Z")]
    with pytest.raises(WrongValue, match="has no band 'i' to map; it has r, z"):
        compare_catalogs(sources(), new, band_map={"i": "r"})
    with pytest.raises(Mismatch, match="band z is not in both catalogues; common to both: r"):
        compare_catalogs(sources(), new, bands=["z"])


def test_mistakes_are_told_before_any_work() -> None:
    far = sources()
    far["dec"] += 5.0
    with pytest.raises(Mismatch, match=r"\(centre 150\.00\d+ 1\.99\d+\) is within 1 arcsec of"):
        compare_catalogs(sources(), far)
    with pytest.raises(WrongValue, match=r"radius = 0 must be > 0 \[arcsec\]"):
        compare_catalogs(sources(), sources(), radius=0.0)
    other = sources()
    other.remove_columns(["flux_r", "flux_ivar_r", "flux_z", "flux_ivar_z"])
    other["flux_y"], other["flux_ivar_y"] = 1.0, 1.0
    with pytest.raises(Mismatch, match=r"no common band: table has r, z; table has y; .*--map"):
        compare_catalogs(sources(), other)
    with pytest.raises(MissingFile, match=r"nowhere\.csv: no such file"):
        compare_catalogs("nowhere.csv", sources())


def test_files_hold_what_was_found(tmp_path: Path) -> None:
    found: Comparison = compare_catalogs(sources(n=300), observed(n=300))
    files = write_comparison(found, tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == sorted(p.name for p in files)
    numbers = json.loads((tmp_path / "summary.json").read_text())
    assert numbers["matched"] == 300
    assert numbers["bands"][0]["delta_mag"]["median"] == found.bands[0].summary.median
    table = Table.read(tmp_path / "compare.csv", format="ascii.csv")
    assert len(table) == 300
    assert np.allclose(table["pull_r"], found.bands[0].pull)
    again = [p.read_bytes() for p in files]
    assert [p.read_bytes() for p in write_comparison(found, tmp_path)] == again
    with pytest.raises(Unwritable, match="name another folder with --out"):
        write_comparison(found, tmp_path / "compare.csv")


def test_a_real_tractor_catalogue_and_its_intermediate_one(shared_data: Path) -> None:
    products = shared_data / "legacysurvey" / "peer_products" / "testcase8"
    old = products / "tractor-i" / "120" / "tractor-i-1209p050.fits"
    new = products / "tractor" / "120" / "tractor-1209p050.fits"
    found = compare_catalogs(old, new)
    assert len(found) == 26
    (band,) = found.bands
    assert band.band == "r"
    assert np.abs(band.delta_mag).max() < 1e-6  # float32 columns, the same numbers


def test_a_real_ldac_catalogue_against_a_changed_copy(shared_data: Path) -> None:
    path = shared_data / "decam_psf" / "DECam_00241238_01_cat.fits"
    moved = read_table(path)
    moved["ALPHAWIN_J2000"] += 0.4 * ARCSEC / np.cos(np.radians(moved["DELTAWIN_J2000"]))
    moved["FLUX_AUTO"] *= 1.02
    moved["MAG_AUTO"] -= 2.5 * np.log10(1.02)
    found = compare_catalogs(path, moved)
    assert len(found) > 0.99 * len(moved)  # close pairs may change partners
    assert found.positions.x.median == pytest.approx(0.4, abs=1e-4)  # the mean declination counts
    (band,) = found.bands
    assert band.summary.median == pytest.approx(-2.5 * np.log10(1.02), abs=1e-6)  # float32
    assert found.shapes is not None
    assert found.shapes.angle.scatter == pytest.approx(0.0, abs=0.01)
