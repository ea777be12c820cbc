"""Pictures of a run: which file appears under which key, what it shows, and what failures cost."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from astropy.table import Table
from hypothesis import example, given
from hypothesis import strategies as st

from skyloom.butler import Layout
from skyloom.cli import main
from skyloom.errors import WrongValue
from skyloom.flow import RunResult
from skyloom.geometry import Box
from skyloom.pipelines.tile import load_config, pictures_fit, run_tile
from skyloom.pipelines.tile.pictures import picture_stages
from skyloom.pipelines.tile.pictures_fit import source_names
from skyloom.pipelines.tile.pictures_psf import psf_samples
from skyloom.plots import CutoutPicture
from skyloom.plots.cutouts import draw_cutouts
from skyloom.psf import FieldPsf
from skyloom.sim import Moffat, render_star

Edit = Callable[..., Path]
BANDS = ("m475", "m625", "m825")
CELLS = ("r00_c00",)
PATCHES = tuple(f"r00_c00_pr{r:02d}_pc{c:02d}" for r in (0, 1) for c in (0, 1))
WHOLE_TILE = {
    "overlay/white_overlay.png",
    "overlay/tile_residual.png",
    "ZP/gaia_augmentation_overlay.png",
    "bright_mask/white_bright_mask_overlay.png",
    *(f"ZP/zp_vs_mag__{band}{end}.png" for band in BANDS for end in ("", "_fullrange")),
    *(f"ZP/zp_trends__{band}.png" for band in BANDS),
    *(f"EPSFs/{band}/epsf_{what}.png" for band in BANDS for what in ("stamps", "residuals")),
}
SWITCHED_PER_CELL = {
    "save_patch_background_diagnostics": "background_diagnostics",
    "save_star_local_background_diagnostics": "star_local_background_diagnostics",
    "save_growth_curve": "epsf_growth_curve",
    "save_residual_diagnostics": "epsf_residual_diagnostics",
}
PER_CELL = {"psfstars", "psfstars_bgsub", "epsf", *SWITCHED_PER_CELL.values()}

DRAWN: dict[Path, set[str]] = {}  # pictures of the first run
BYTES: dict[str, bytes] = {}  # some of them
KEPT = ("EPSFs/*/r00_c00/*.png", "outputs/*/cutouts/*.png")


@pytest.fixture(scope="module")
def finished(tile_original: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of the small tile after a run with all pictures."""
    folder = Path(shutil.copytree(tile_original, tmp_path_factory.mktemp("pictures") / "tile"))
    path = folder / "config.yaml"
    config = yaml.safe_load(path.read_text(encoding="utf-8"))
    # one pass, 200 pixels: what the fit is like does not matter here
    config["skyloom"] = {"plots": "all", "fit_passes": 1, "model_choice": "catalog"}
    config["epsf"] |= {"epsf_ngrid": 1, "ngrid": 2, "cutout_size": 41, "edge_pad": 2}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run_tile(path, executor="serial", progress="quiet").exit_status == 0
    DRAWN[folder] = pngs(folder)
    for pattern in KEPT:
        for picture in (folder / "work").glob(pattern):
            BYTES[picture.relative_to(folder / "work").as_posix()] = picture.read_bytes()
    return folder


@pytest.fixture
def bare(finished: Path) -> Iterator[Path]:
    """Folder of the finished tile, without pictures and with its first configuration."""
    path = finished / "config.yaml"
    config = path.read_bytes()
    for picture in finished.rglob("*.png"):
        picture.unlink()
    yield finished
    path.write_bytes(config)


def draw(folder: Path, **options: Any) -> RunResult:
    return run_tile(folder / "config.yaml", executor="serial", progress="quiet", **options)


def pngs(folder: Path) -> set[str]:
    work = folder / "work"
    return {path.relative_to(work).as_posix() for path in work.rglob("*.png")}


def catalog(folder: Path) -> list[dict[str, str]]:
    with (folder / "work/output_catalog.csv").open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def test_all_draws_everything_under_the_names_of_the_original(finished: Path) -> None:
    found = DRAWN[finished]
    crop = {"white_before_crop", "white_after_crop"}
    expected = WHOLE_TILE | {f"cropped_images/{name}.png" for name in crop}
    expected |= {f"outputs/{patch}/patch_overview.png" for patch in PATCHES}
    expected |= {
        f"outputs/{row['patch_tag']}/cutouts/src_{row['ID']}.png"
        for row in catalog(finished)
        if row["patch_tag"]
    }
    assert expected <= found
    halo = {name for name in found if "/cutouts/src_halo_" in name}
    assert halo
    cells = {name for name in found if name.startswith("EPSFs/") and name.count("/") == 3}
    assert found - expected - halo - cells == {"overlay/white_overlay_zoom.png"}
    assert {Path(name).stem for name in cells} == PER_CELL | {"extracted_stars", "used_stars"}
    for band in BANDS:
        for cell in CELLS:
            assert f"EPSFs/{band}/{cell}/psfstars.png" in cells


def test_the_keys_of_the_original_switch_single_pictures(bare: Path, edit: Edit) -> None:
    edit(bare, epsf=dict.fromkeys(SWITCHED_PER_CELL, False))
    edit(bare, crop={"plot_pre_crop": False, "plot_post_crop": False})
    edit(bare, overlay={"zoom_enabled": False})
    edit(bare, patch_run={"no_cutouts": True, "no_patch_overview": True})
    result = draw(bare)
    assert result.exit_status == 0
    assert all(name.startswith("plot-") for name, c in result.counts.items() if c.done)
    found = pngs(bare)
    cells = {name for name in found if name.startswith("EPSFs/") and name.count("/") == 3}
    assert found - cells == WHOLE_TILE
    left = {Path(name).stem for name in cells}
    assert left == {"psfstars", "psfstars_bgsub", "epsf", "extracted_stars", "used_stars"}


def test_the_command_line_wins_over_the_key(bare: Path) -> None:
    assert draw(bare, plots="none").exit_status == 0
    assert pngs(bare) == set()
    assert draw(bare, plots="summary").exit_status == 0
    assert pngs(bare) == WHOLE_TILE


@pytest.mark.parametrize(
    ("psf_model", "name"),
    [
        ("hybrid", "hybrid_psf_diagnostics"),
        ("gaussian_mixture_from_stamp", "gaussian_mixture_psf_diagnostics"),
    ],
)
def test_what_a_psf_model_makes_of_the_psf_is_drawn_for_each_cell(
    finished: Path, tmp_path: Path, edit: Edit, psf_model: str, name: str
) -> None:
    folder = Path(shutil.copytree(finished, tmp_path / "tile"))
    edit(folder, patch_run={"psf_model": psf_model, "no_cutouts": True})
    assert draw(folder).exit_status == 0
    found = {path for path in pngs(folder) if path.endswith("_psf_diagnostics.png")}
    with_epsf = {path.parent for path in (folder / "work/EPSFs").rglob("epsf.npy")}
    expected = {path.relative_to(folder / "work") / f"{name}.png" for path in with_epsf}
    assert with_epsf
    assert found == {path.as_posix() for path in expected}


def test_levels_that_do_not_exist_are_refused(bare: Path, capsys: Any) -> None:
    with pytest.raises(WrongValue, match="plots = 'many' is none of none, summary, all"):
        draw(bare, plots="many")
    config = str(bare / "config.yaml")
    assert main(["tile", "run", "--config", config, "--plots", "many"]) == 2
    assert "summary" in capsys.readouterr().err


def test_cutout_keys_choose_sources_and_resolution(bare: Path, edit: Edit) -> None:
    edit(bare, patch_run={"cutout_start": 1, "cutout_max_sources": 2, "cutout_size": 20})
    edit(bare, plotting={"dpi": 40})
    result = draw(bare)
    assert {name for name, c in result.counts.items() if c.done} >= {"plot-cutouts", "plot-epsf"}
    assert all(name.startswith("plot-") for name, c in result.counts.items() if c.done)
    folders = sorted((bare / "work/outputs").glob("*/cutouts"))
    assert [len(list(folder.glob("*.png"))) for folder in folders] == [2] * len(PATCHES)


@pytest.mark.parametrize(
    ("section", "change", "name"),
    [
        ("epsf", {"save_star_montage_max": 1}, "used_stars"),
        ("epsf", {"diagnostics_show_colorbar": False}, "background_diagnostics"),
        ("epsf", {"residual_diag_max_stars": 1}, "epsf_residual_diagnostics"),
        ("patch_run", {"cutout_data_p_lo": 30.0}, "src_"),
        ("patch_run", {"cutout_data_p_hi": 70.0}, "src_"),
        ("patch_run", {"cutout_model_p_lo": 30.0}, "src_"),
        ("patch_run", {"cutout_model_p_hi": 70.0}, "src_"),
        ("patch_run", {"cutout_resid_p_abs": 70.0}, "src_"),
    ],
)
def test_what_a_picture_shows_is_a_setting(
    bare: Path, edit: Edit, section: str, change: dict[str, Any], name: str
) -> None:
    edit(bare, **{section: change})
    edit(bare, patch_run={"cutout_max_sources": 1, "no_cutouts": section == "epsf"})
    assert draw(bare).exit_status == 0
    work = bare / "work"
    same = [
        picture.read_bytes() == BYTES[picture.relative_to(work).as_posix()]
        for pattern in KEPT
        for picture in work.glob(pattern)
        if picture.name.startswith(name)
    ]
    assert same
    assert not all(same)  # a band may have no more stars than the limit


def test_cutouts_are_centred_on_their_sources(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: dict[str, CutoutPicture] = {}

    def spy(picture: CutoutPicture, **options: Any) -> Any:
        seen[picture.title.split()[0]] = picture
        return draw_cutouts(picture, **options)

    monkeypatch.setattr(pictures_fit, "draw_cutouts", spy)
    assert draw(bare).exit_status == 0
    rows = [row for row in catalog(bare) if row["patch_tag"] and row["FLUX_m625_fit"]]
    rows.sort(key=lambda row: -float(row["FLUX_m625_fit"]))
    for row in rows:
        picture = seen[row["ID"]]
        ny, nx = picture.data.shape[1:]
        assert ny == nx <= 101
        assert picture.bands == BANDS
        assert not picture.is_halo
        assert np.abs(np.array(picture.start) - nx // 2).max() <= 0.5  # the pixel that holds it
        moved = [float(row[f"{c}_pix_white_fit"]) - float(row[f"{c}_pix_white"]) for c in "xy"]
        assert np.subtract(picture.fitted, picture.start) == pytest.approx(moved, abs=1e-6)
    picture = seen[rows[0]["ID"]]  # the brightest: data and model peak at the fitted position
    x, y = (round(v) for v in picture.fitted)
    for image in (picture.data[1], picture.model[1]):
        near = image[y - 6 : y + 7, x - 6 : x + 7]
        peak = np.unravel_index(np.argmax(near), near.shape)
        assert np.abs(np.array(peak) - 6).max() <= 1
    assert any(p.is_halo for p in seen.values())


def test_a_failed_picture_fails_no_fit(bare: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = (bare / "work/output_catalog.csv").read_bytes()

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("the pen broke")

    monkeypatch.setattr(pictures_fit, "draw_cutouts", fail)
    result = draw(bare)
    assert result.exit_status == 1
    assert result.counts["plot-cutouts"].failed == len(PATCHES)
    assert {failure.stage for failure in result.failures} == {"plot-cutouts"}
    assert "outputs/r00_c00_pr00_pc00/patch_overview.png" in pngs(bare)
    assert (bare / "work/output_catalog.csv").read_bytes() == before
    monkeypatch.setattr(pictures_fit, "draw_cutouts", draw_cutouts)
    assert draw(bare).exit_status == 0  # drawn again, alone


def test_every_level_has_its_stages(finished: Path) -> None:
    config = load_config(finished / "config.yaml")
    names = [stage.name for stage in picture_stages(config, has_zero_points=True)]
    assert {"plot-cutouts", "plot-psf-cells", "plot-patch"} <= set(names)
    none = config.skyloom.model_copy(update={"plots": "none"})
    config = config.model_copy(update={"skyloom": none})
    assert picture_stages(config, has_zero_points=True) == []


def test_names_of_sources_are_file_names_and_differ() -> None:
    table = Table({"ID": ["a b", "a/b", "007", "", "x"], "RA": np.zeros(5), "DEC": np.zeros(5)})
    rows = np.arange(5)
    base = np.array([True, True, True, True, False])
    assert source_names(table, rows, base) == ["a_b_0", "a_b_1", "007", "000003", "halo_x"]
    del table["ID"]
    assert source_names(table, rows, base)[:2] == ["000000", "000001"]
    assert source_names(table, rows, base)[4] == "halo_000004"


ids = st.text("a/_. é0" + "\u0669", max_size=4) | st.just("y" * 300)


@given(texts=st.lists(ids, min_size=1, max_size=6))
@example(texts=["..", ".a", "a", "a", "a_1"])
def test_any_id_gives_a_file_name_of_its_own(texts: list[str]) -> None:
    rows = np.arange(len(texts))
    table = Table({"ID": texts, "RA": rows * 0.0, "DEC": rows * 0.0})
    names = source_names(table, rows, np.ones(len(texts), bool))
    assert len(set(names)) == len(names)
    layout = Layout.load("tile")
    for name in names:
        values = {"patch": "r00_c00_pr00_pc00", "source": name}
        assert layout.data_id("cutout", values)["source"] == name


# ---- what stands behind the pictures


@pytest.mark.parametrize("oversampling", [1, 2])
def test_a_psf_between_its_samples_is_the_shifted_psf(oversampling: int) -> None:
    side = 40 * oversampling + 1
    wide = Moffat(fwhm=4.0 * oversampling, beta=3.0)
    frame = Box(0, side, 0, side)
    samples = oversampling**2 * render_star(wide, x=side // 2, y=side // 2, box=frame)
    psf = FieldPsf(
        basis=samples[None].astype(np.float32),
        polynomial=np.ones((1, 1)),
        shape=(100, 100),
        fwhm=4.0,
        oversampling=oversampling,
    )
    box = Box(40, 61, 40, 61)
    assert psf_samples(psf, 50.0, 50.0, box) == pytest.approx(
        psf.stamp_at(50.0, 50.0)[10:31, 10:31], abs=1e-6
    )
    x, y = 50.3, 49.6
    moved = render_star(
        wide,
        x=side // 2 + oversampling * (x - 50),
        y=side // 2 + oversampling * (y - 50),
        box=frame,
    )
    middle, half = side // 2, 10 * oversampling
    cut = slice(middle - half, middle + half + 1, oversampling)
    expected = oversampling**2 * moved[cut, cut]
    # splines of samples 4 (8) per FWHM: 1 % of the peak
    assert psf_samples(psf, x, y, box) == pytest.approx(expected, abs=0.01 * expected.max())
