"""Zero points of the tile: our settings, the files beside the catalogue, pictures, Gaia XP."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import tile_stand_in
from astropy.io.fits import Header
from astropy.table import Table

from skyloom.butler import FitsImages
from skyloom.butler.formats import plain
from skyloom.catalogs import read_csv
from skyloom.cli import main
from skyloom.errors import BadTable
from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.column_units import column_units
from skyloom.pipelines.tile.pictures_zeropoint import DrawZeroPointTrends, ZeroPointPictureInputs
from skyloom.pipelines.tile.synthesize import synthesize_csv
from skyloom.pipelines.tile.zeropoint import Catalog, CatalogInputs, ZeroPoint, ZeroPointInputs

PNG = b"\x89PNG"


def config(**skyloom: Any) -> TileConfig:
    return TileConfig.model_validate({"skyloom": skyloom, "plotting": {"dpi": 50}})


def field(folder: Path, *, plane: float = 0.03, n: int = 80) -> tuple[Table, SimpleNamespace]:
    """Return a merged catalogue with a zero point that changes with x, and its reference."""
    rng = np.random.default_rng(1)
    mag, (x, y) = rng.uniform(14, 17, n), rng.uniform(0, 1000, (2, n))
    zp = 25.0 + plane * (x - 500) / 500 + 0.004 * rng.normal(size=n)
    flux = 10 ** ((zp - mag) / 2.5)
    merged = Table(
        {
            "ID": [f"{i:03d}" for i in range(n)],
            "gaia_source_id": [str(i) for i in range(n)],
            "fit_is_reliable": np.ones(n, bool),
            "x_pix_white_fit": x,
            "y_pix_white_fit": y,
            "FLUX_r_fit": flux,
            "FLUXERR_r_fit": flux / 300,
        }
    )
    rows = [f"{i},0,0,{m},{m}" for i, m in enumerate(mag)]
    path = folder / "xp.csv"
    path.write_text("\n".join(["source_id,ra,dec,phot_g_mean_mag,mag_r", *rows]) + "\n")
    return merged, SimpleNamespace(path=path)


def run(settings: TileConfig, merged: Table, gaia: Any) -> tuple[Any, Any]:
    zero = ZeroPoint(settings).run(ZeroPointInputs(merged=merged, gaia=gaia))
    facts = json.loads(json.dumps(plain(zero.zero_points)))  # as the file gives them back
    inputs = CatalogInputs(
        merged=merged,
        zero_points=facts,
        frames={"bands": [], "frames": {}},
        wcs=FitsImages(header=Header({"RADESYS": "ICRS"})),
    )
    return zero, Catalog(settings).run(inputs)


def test_a_surface_flattens_the_magnitudes(tmp_path: Path) -> None:
    merged, gaia = field(tmp_path)
    true = read_csv(gaia.path)["mag_r"].astype(float)
    plain_zero, plain_out = run(config(), merged, gaia)
    bent_zero, bent_out = run(config(zp_surface="quadratic"), merged, gaia)
    before = np.std(plain_out.catalog["MAG_r_fit"] - true)
    after = np.std(bent_out.catalog["MAG_r_fit"] - true)
    assert before > 0.015  # 30 mmag / sqrt(3)
    assert after < 0.006  # the scatter of 4 mmag and the noise of 3.6
    assert plain_zero.summary["zp_surface"][0] == "none"
    assert bent_zero.summary["zp_surface"][0] == "plane"
    assert plain_zero.trends["is_significant"][0]


def test_a_surface_that_does_not_help_changes_nothing(tmp_path: Path) -> None:
    merged, gaia = field(tmp_path, plane=0.0)
    _, flat = run(config(), merged, gaia)
    _, same = run(config(zp_surface="quadratic"), merged, gaia)
    assert np.array_equal(flat.catalog["MAG_r_fit"], same.catalog["MAG_r_fit"])


def test_the_estimate_that_calibrates_is_a_choice(tmp_path: Path) -> None:
    merged, gaia = field(tmp_path)
    for estimate, column in (("median", "zp_median"), ("ml", "zp_ml")):
        zero, out = run(config(zp_estimate=estimate), merged, gaia)
        row = zero.summary[0]
        assert row["zp_used"] == row[column]
        assert row["zp_estimate"] == estimate
        expected = row[column] - 2.5 * np.log10(merged["FLUX_r_fit"])
        assert out.catalog["MAG_r_fit"] == pytest.approx(np.asarray(expected), abs=1e-12)


@pytest.mark.parametrize(("choice", "name"), [("asinh", "ASINH_r_fit"), ("limits", "LIM_r_fit")])
def test_faint_sources_get_what_was_asked_for(tmp_path: Path, choice: str, name: str) -> None:
    merged, gaia = field(tmp_path)
    merged["FLUX_r_fit"][0] = -1.0
    _, out = run(config(faint_magnitudes=choice), merged, gaia)
    assert np.isfinite(out.catalog[name][0])
    assert name not in run(config(), merged, gaia)[1].catalog.colnames


def test_every_column_of_ours_has_a_unit_or_a_meaning(tmp_path: Path) -> None:
    merged, gaia = field(tmp_path)
    _, out = run(config(faint_magnitudes="asinh"), merged, gaia)
    columns = {c["name"]: c for c in out.units["columns"]}
    assert list(columns) == out.catalog.colnames
    assert columns["NJY_r"]["unit"] == "nJy"
    assert columns["FLUX_r_fit"]["unit"] == "scaled counts"
    assert columns["MAGERR_STAT_r_fit"]["unit"] == "mag"
    assert "softening" in columns["ASINH_r_fit"]["description"]
    assert columns["ID"] == {"name": "ID", "unit": "", "description": ""}  # the user's


def test_units_of_single_band_columns() -> None:
    names = ["x_pix_white_g_fit", "RA_g_fit", "Re_g_fit", "opt_converged_g", "THETA_g_fit"]
    units = column_units(Table({name: [1.0] for name in names}))["columns"]
    assert [c["unit"] for c in units] == ["pix", "deg", "pix", "", "deg"]
    assert all(c["description"] for c in units)


def test_trends_are_drawn_for_every_band(tmp_path: Path) -> None:
    merged, gaia = field(tmp_path)
    zero, _ = run(config(), merged, gaia)
    inputs = ZeroPointPictureInputs(zero_points=zero.zero_points, stars=zero.stars)
    pictures = DrawZeroPointTrends(config()).run(inputs).pictures
    assert list(pictures) == ["r"]
    assert pictures["r"].startswith(PNG)


def test_calibrating_twice_gives_the_same_bytes(
    small_tile: Path, edit: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    tile_stand_in.install(monkeypatch)
    path = edit(small_tile, skyloom={"plots": "none", "executor": "serial", "zp_estimate": "ml"})
    assert main(["tile", "run", "--config", str(path), "--quiet"]) == 0
    products = [p for p in (small_tile / "work").glob("[oZ]*") if p.is_file()]
    products += sorted((small_tile / "work" / "ZP").glob("*.csv"))
    before = {p: p.read_bytes() for p in products}
    assert {"output_catalog.csv", "output_catalog.csv.units.json", "zp_trends.csv"} <= {
        p.name for p in products
    }
    force = ["--force", "zero-point", "--force", "catalog", "--quiet"]
    assert main(["tile", "compute-zp", "--config", str(path), *force]) == 0
    assert {p: p.read_bytes() for p in products} == before


@pytest.fixture
def filters(tmp_path: Path) -> Path:
    folder = tmp_path / "filters"
    folder.mkdir()
    for centre in (475, 800):
        rows = [f"{centre - 13} 0", f"{centre - 12} 1", f"{centre + 12} 1", f"{centre + 13} 0"]
        (folder / f"m{centre}.dat").write_text("\n".join(rows) + "\n")
    return folder


def gaia_sources(folder: Path, ids: list[str]) -> Path:
    path = folder / "gaia.csv"
    rows = [f"{source_id},10.5,-3.25,13.2,0.4" for source_id in ids]
    path.write_text("\n".join(["source_id,ra,dec,phot_g_mean_mag,bp_rp", *rows]) + "\n")
    return path


IDS = ["5853498713190525696", "5762406957886626816"]


def test_the_command_writes_what_the_pipeline_reads(
    tmp_path: Path, filters: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    xp = shared_data / "gaia_xp_mini" / "XP_CONTINUOUS_RAW.csv"
    out = tmp_path / "new" / "gaiaxp.csv"
    arguments = ["tile", "synthesize-gaia", "--xp", str(xp), "--filters", str(filters)]
    arguments += ["--sources", str(gaia_sources(tmp_path, IDS)), "--out", str(out)]
    assert main(arguments) == 0
    assert "2 stars, bands m475, m800" in capsys.readouterr().out
    table = read_csv(out)
    names = ["source_id", "ra", "dec", "phot_g_mean_mag", "bp_rp"]
    assert table.colnames == [*names, "mag_m475", "magerr_m475", "mag_m800", "magerr_m800"]
    assert table["source_id"].tolist() == IDS
    assert main(arguments) == 2  # it exists now
    assert "Refusing to overwrite" in capsys.readouterr().err
    assert main([*arguments, "--force"]) == 0
    assert main(arguments[:6]) == 2


def test_stars_without_a_place_are_left_out_or_asked_for(
    tmp_path: Path, filters: Path, shared_data: Path, caplog: pytest.LogCaptureFixture
) -> None:
    xp = shared_data / "gaia_xp_mini" / "XP_CONTINUOUS_RAW.csv"
    out = tmp_path / "out.csv"
    with caplog.at_level(logging.WARNING):
        sources = gaia_sources(tmp_path, IDS[:1])
        table = synthesize_csv([xp, xp], filters=filters, out=out, sources=sources)
    assert len(table) == 1  # the same star twice counts once
    assert "1 stars are not in the table of sources" in caplog.text
    with pytest.raises(BadTable, match="no column ra, dec, phot_g_mean_mag; give --sources"):
        synthesize_csv([xp], filters=filters, out=out)
    (filters / "m475.dat").unlink()
    (filters / "m800.dat").write_text("1500 0\n1600 1\n1700 0\n")
    with pytest.raises(BadTable, match="m800: no filter lies within 330-1050 nm"):
        synthesize_csv([xp], filters=filters, out=out, sources=sources)
