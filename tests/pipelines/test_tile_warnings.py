"""What a run goes on with, but says: each warning names the place and the remedy."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tile_stand_in
from astropy.io import fits
from astropy.table import Table
from test_tile_run import catalog, lower_case, no_type, rewrite_catalog, run

from skyloom.pipelines.tile import load_config
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.check_report import Status
from skyloom.pipelines.tile.detection import detect_catalog
from skyloom.pipelines.tile.frame_sections import zoom_region
from skyloom.pipelines.tile.merge import _tell

Edit = Callable[..., Path]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    tile_stand_in.install(monkeypatch)


def the_warning(caplog: pytest.LogCaptureFixture, words: str) -> str:
    """Return the one warning that matches."""
    found = [r.message for r in caplog.records if r.levelname == "WARNING"]
    (text,) = [m for m in found if re.search(words, m)]
    return str(text)


def drop_column(path: Path, name: str) -> None:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    for row in rows:
        del row[name]
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def test_an_absent_gaia_table(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit(small_tile, inputs={"gaiaxp_synphot_csv": "absent.csv"})
    assert run(small_tile).exit_status == 0
    text = the_warning(caplog, "GaiaXP catalogue not found")
    assert "absent.csv" in text
    assert "goes on without Gaia stars and zero points" in text
    assert "correct inputs.gaiaxp_synphot_csv, or set it to null" in text
    assert not catalog(small_tile)[0].get("MAG_m625_fit")


def test_columns_spelt_otherwise(small_tile: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite_catalog(small_tile, lower_case)
    assert run(small_tile, "build-patches").exit_status == 0
    text = the_warning(caplog, "are used as RA, DEC")
    assert "input_catalog.csv: columns 'ra', 'dec'" in text
    assert "rename them" in text


def test_no_type_at_all(small_tile: Path, caplog: pytest.LogCaptureFixture) -> None:
    rewrite_catalog(small_tile, no_type)
    assert run(small_tile, "build-patches").exit_status == 0
    text = the_warning(caplog, "no source has a TYPE")
    assert "input_catalog.csv" in text
    assert "fitted as patch_run.gal_model" in text
    assert "skyloom.model_choice: auto" in text


def test_types_that_nobody_knows(small_tile: Path, caplog: pytest.LogCaptureFixture) -> None:
    def odd(rows: list[dict[str, str]]) -> None:
        rows[0]["TYPE"] = rows[3]["TYPE"] = "psf"
        rows[1]["TYPE"] = ""  # says nothing, which is allowed
        rows[2]["TYPE"] = "GAL"

    rewrite_catalog(small_tile, odd)
    assert run(small_tile, "build-patches").exit_status == 0
    text = the_warning(caplog, "unknown TYPE")
    assert "column TYPE: 2 rows have an unknown TYPE (PSF)" in text
    assert "write STAR, EXP, DEV or SERSIC" in text


def test_known_types_are_no_warning(small_tile: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert run(small_tile, "build-patches").exit_status == 0
    assert not [m for m in caplog.messages if "TYPE" in m]


def test_edges_without_data_and_a_sky_that_is_not_subtracted(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    for name, change in (("m625", lambda d: d[:, :60].fill(0.0)), ("m825", _add_sky)):
        with fits.open(small_tile / f"images/sim_{name}.fits", mode="update") as hdus:
            change(hdus[0].data)
    assert run(small_tile, "build-patches").exit_status == 0
    text = the_warning(caplog, "no data there")
    assert re.search(r"m625: \d+ % of the pixels of .*sim_m625.fits\[0\] lie in blocks", text)
    assert "exactly 0" in text
    assert "set skyloom.images.m625.no_data: 0, or give a weight_map or mask_map" in text
    text = the_warning(caplog, "times its noise")
    assert re.search(r"m825: the sky of .*sim_m825.fits\[0\] is at \+20\d\d ADU", text)
    assert "subtract the background" in text
    caplog.clear()
    edit(small_tile, skyloom={"images": {"m625": {"no_data": 0}}})
    assert run(small_tile, "build-patches").exit_status == 0
    assert not [m for m in caplog.messages if "no data there" in m]


def test_a_crop_that_takes_most_of_a_small_image(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit(small_tile, crop={"margin": 25})  # 56 %
    assert run(small_tile, "build-patches").exit_status == 0
    assert not [m for m in caplog.messages if "the crop leaves" in m]
    config = edit(small_tile, crop={"margin": 40}, epsf={"epsf_ngrid": 1, "ngrid": 1})
    detect_catalog(load_config(config))
    text = "the crop leaves 120 x 120 of 200 x 200 pix, 36 % of the image; lower crop.margin, or"
    assert text in the_warning(caplog, "the crop")
    caplog.clear()
    assert run(small_tile, "build-patches").exit_status == 0
    assert text in the_warning(caplog, "the crop leaves")
    (found,) = check_tile(load_config(config)).of("frame")
    assert found.status == Status.WARNING
    assert "lower crop.margin" in found.remedy


def _add_sky(data: np.ndarray) -> None:
    data += 2000.0


def test_nothing_to_fit(small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture) -> None:
    """Every source lies within 400 pixels of a saturated one."""
    with fits.open(small_tile / "images/sim_m625.fits", mode="update") as hdus:
        hdus[0].data[100, 100] = 1e6
    edit(small_tile, source_saturation_cut={"radius_pix": 400.0}, zp={"enabled": False})
    assert run(small_tile).exit_status == 0
    text = the_warning(caplog, "nothing to fit")
    assert "excluded_reason in the catalogue says why" in text
    assert "source_saturation_cut.radius_pix" in text
    assert {row["excluded_reason"] for row in catalog(small_tile)} == {"saturation"}
    assert {row["fit_is_reliable"] for row in catalog(small_tile)} == {"False"}


def test_no_gaia_star_in_the_magnitude_window(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit(small_tile, zp={"gaia_mag_min": 3.0, "gaia_mag_max": 4.0})
    assert run(small_tile).exit_status == 0
    text = the_warning(caplog, "no Gaia star of")
    assert "gaiaxp.csv" in text
    assert "widen zp.gaia_mag_min and zp.gaia_mag_max" in text
    text = the_warning(caplog, "zero points skipped")
    assert "widen zp.gaia_mag_min" in text
    assert {row["gaia_source_id"] for row in catalog(small_tile)} == {""}


def test_a_band_that_the_gaia_table_lacks(
    small_tile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    drop_column(small_tile / "gaiaxp.csv", "mag_m825")
    assert run(small_tile).exit_status == 0
    text = the_warning(caplog, "no column mag_m825")
    assert "gaiaxp.csv" in text
    assert "MAG_m825_fit stays empty; add the column" in text
    assert {row["MAG_m825_fit"] for row in catalog(small_tile)} == {""}
    assert any(row["MAG_m625_fit"] for row in catalog(small_tile))


def test_a_band_without_a_usable_pixel(small_tile: Path, caplog: pytest.LogCaptureFixture) -> None:
    with fits.open(small_tile / "images/sim_m625.fits", mode="update") as hdus:
        hdus[0].data[:] = np.nan
    assert run(small_tile, "build-patches").exit_status == 0
    text = the_warning(caplog, "no usable pixel")
    assert "sim_m625.fits[0]" in text
    assert "all fluxes of this band stay empty" in text
    assert "take it off the image list" in text


def test_a_zoom_beside_the_frame_shows_its_middle(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit(small_tile, skyloom={"plots": "all"}, overlay={"zoom_box": [4000, 5000, 4000, 5000]})
    run(small_tile, "build-patches")
    text = the_warning(caplog, "overlay.zoom_box")
    assert "[4000, 5000, 4000, 5000] lies outside the working frame" in text
    assert "set a box inside" in text
    caplog.clear()
    edit(small_tile, skyloom={"plots": "summary"})
    run(small_tile, "build-patches")
    assert "zoom_box" not in caplog.text, "there is no such picture"


@pytest.mark.parametrize(
    ("box", "region"),
    [
        ((4000, 5000, 4000, 5000), (0, 200, 0, 180)),
        ((-90, -10, 20, 60), (60, 140, 70, 110)),
        ((150, 260, 20, 60), (150, 260, 20, 60)),  # a part outside stays blank
        ((0, 1, 0, 1), (0, 1, 0, 1)),
    ],
)
def test_where_a_zoom_is(box: tuple[int, ...], region: tuple[int, ...]) -> None:
    assert zoom_region(box, (180, 200)) == region


@pytest.mark.parametrize(("hit", "told"), [(2, False), (3, True)])
def test_many_fits_at_their_limit(hit: int, told: bool, caplog: pytest.LogCaptureFixture) -> None:
    limit = np.arange(20) < hit
    merged = Table({"x_pix_white_fit": np.ones(20), "opt_hit_max_iters": limit})
    merged["opt_converged"], merged["fit_is_reliable"] = ~limit, ~limit
    merged["excluded_any"] = np.zeros(20, dtype=bool)
    _tell(merged, 1)
    warned = [m for m in caplog.messages if "iteration limit" in m]
    assert bool(warned) == told
    if told:
        assert "3 of 20 fits" in warned[0]
        assert "patch_run.n_opt_iters or patch_run.dlnp_stop" in warned[0]


def test_the_time_that_loading_takes_is_in_the_log(
    small_tile: Path, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    run(small_tile)
    (line,) = [m for m in caplog.messages if m.startswith("load timing")]
    assert re.fullmatch(
        r"load timing \[s\]: prep=\S+ white=\S+ crop=\S+ sat=\S+ overlay=\S+ total=\S+", line
    )
    caplog.clear()
    run(small_tile)
    assert "load timing" not in caplog.text, "nothing was loaded"
