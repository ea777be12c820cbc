"""The spine of the tile pipeline, from the user's files to the catalogue, around a toy fit."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
import tile_stand_in
from astropy.io import fits

from skyloom.butler import Butler
from skyloom.errors import MissingFile, WrongValue
from skyloom.flow import RunResult
from skyloom.pipelines.tile import VERBS, Verb, load_config, run_pipeline, run_tile

Edit = Callable[..., Path]


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    tile_stand_in.install(monkeypatch)
    yield
    tile_stand_in.FAILING.clear()


def run(folder: Path, verb: Verb = "run", **options: object) -> RunResult:
    return run_tile(folder / "config.yaml", verb, **{"executor": "serial", **options})


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def catalog(folder: Path) -> list[dict[str, str]]:
    return rows(folder / "work" / "output_catalog.csv")


def done(result: RunResult) -> set[str]:
    return {stage for stage, counts in result.counts.items() if counts.done}


def rewrite_catalog(folder: Path, change: Callable[[list[dict[str, str]]], object]) -> None:
    """Apply a change to the rows of the input catalogue."""
    path = folder / "input_catalog.csv"
    table = rows(path)
    change(table)
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def test_a_run_gives_every_input_row_once_and_in_order(small_tile: Path) -> None:
    result = run(small_tile)
    assert result.exit_status == 0
    given, found = rows(small_tile / "input_catalog.csv"), catalog(small_tile)
    injected = [row for row in found if row["_is_injected_gaia"] == "True"]
    assert [row["ID"] for row in found[: len(given)]] == [row["ID"] for row in given]
    assert [row["ID"] for row in found[len(given) :]] == [row["ID"] for row in injected]
    for before, after in zip(given, found, strict=False):
        assert {name: after[name] for name in before} == before
    assert all(row["ID"] == f"gaia_{row['gaia_source_id']}" for row in injected)
    assert injected, "the simulated catalogue lacks some Gaia stars"


def test_every_product_is_found_by_name(small_tile: Path, edit: Edit) -> None:
    """From the work directory alone, wherever the configuration puts its folders."""
    edit(small_tile, outputs={"epsf_dir": "psfs", "final_catalog": "stars.csv"})
    result = run(small_tile)
    butler = Butler(small_tile / "work")
    assert butler.layout.name == "tile"
    assert len(butler.get("final_catalog")) == butler.get("final_catalog_len")
    assert butler.path("final_catalog").name == "stars.csv"
    assert butler.query("epsf", "band") == ["m475", "m625", "m825"]
    assert [n for n, ids in result.made.items() if not all(butler.exists(n, i) for i in ids)] == []
    assert sum(map(len, result.made.values())) > 40
    named = {row.path for row in butler.rows()}
    ours = {"ledger.sqlite", "layout.json", "lock"}  # how the work went, no products
    others = {path for path in butler.root.rglob("*") if path.is_file()} - named
    assert [p for p in others if p.name not in ours and not p.match("config_used_*.yaml")] == []


def test_the_columns_stand_in_the_documented_order(small_tile: Path) -> None:
    run(small_tile)
    names = list(catalog(small_tile)[0])
    expected = [
        *("ID", "RA", "DEC", "TYPE", "ELL", "THETA", "Re", "SERSIC_n"),
        *("excluded_crop", "excluded_saturation", "excluded_any", "gaia_source_id"),
        *("POS_ERR", "FLUX_m475", "FLUX_m625", "FLUX_m825"),
        *("excluded_reason", "_is_injected_gaia", "affected_by_bright_mask"),
        *("x_pix_white", "y_pix_white", "opt_niters", "opt_converged"),
        *("x_pix_white_fit", "y_pix_white_fit", "RA_fit", "DEC_fit"),
        *("x_pix_err", "y_pix_err", "RA_err", "DEC_err", "stype_fit"),
        *(f"FLUX{e}_{b}_fit" for b in ("m475", "m625", "m825") for e in ("", "ERR")),
        *("fit_is_reliable", "fit_quality_issues"),
        *(f"MAG{e}_{b}_fit" for b in ("m475", "m625", "m825") for e in ("", "ERR")),
        *(
            name.format(b)
            for b in ("m475", "m625", "m825")
            for name in ("MAGERR_STAT_{}_fit", "NJY_{}", "NJYERR_{}")
        ),
    ]
    assert sorted(names) == sorted(expected)
    assert [n for n in names if not n.startswith(("FLUX_m", "POS"))] == [
        n for n in expected if not n.startswith(("FLUX_m", "POS"))
    ]


def test_excluded_rows_say_why_and_have_no_fit(small_tile: Path, edit: Edit) -> None:
    edit(small_tile, crop={"margin": 40})
    run(small_tile)
    excluded = [row for row in catalog(small_tile) if row["excluded_any"] == "True"]
    assert {row["excluded_reason"] for row in excluded} >= {"crop"}
    for row in excluded:
        assert row["fit_quality_issues"].split(",")[0] == "excluded"
        assert row["fit_is_reliable"] == "False"
        assert row["x_pix_white_fit"] == row["opt_converged"] == row["FLUX_m475_fit"] == ""
    active = [row for row in catalog(small_tile) if row["excluded_any"] == "False"]
    assert all(row["x_pix_white_fit"] for row in active)


def test_a_second_run_does_nothing_and_changes_no_product(small_tile: Path, edit: Edit) -> None:
    edit(small_tile, skyloom={"plots": "all"}, epsf={"ngrid": 1})
    run(small_tile)
    kinds = {".csv", ".json", ".parquet", ".fits", ".npy", ".npz", ".png"}
    products = [p for p in sorted((small_tile / "work").rglob("*")) if p.suffix in kinds]
    products = [p for p in products if p.name != "run_summary.csv"]  # holds times
    before = {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in products}
    assert done(run(small_tile)) == set()
    assert {p: (p.read_bytes(), p.stat().st_mtime_ns) for p in products} == before


def test_a_changed_key_redoes_what_reads_it_and_what_follows(small_tile: Path, edit: Edit) -> None:
    run(small_tile)
    edit(small_tile, patch_run={"n_opt_iters": 7})
    assert done(run(small_tile)) == {"fit", "merge", "zero-point", "catalog"}
    edit(small_tile, zp={"clip_sigma": 2.5})
    assert done(run(small_tile)) <= {"zero-point", "catalog"}
    edit(small_tile, patch_run={"max_workers": 1, "resume": True})
    assert done(run(small_tile)) == set()


def test_the_chain_of_steps_gives_what_run_gives(small_tile: Path, edit: Edit) -> None:
    run(small_tile)
    at_once = (small_tile / "work" / "output_catalog.csv").read_bytes()
    edit(small_tile, outputs={"work_dir": "steps"})
    chain: tuple[Verb, ...] = (
        *("run-epsf", "build-patches", "build-patch-inputs"),
        *("run-patches", "merge", "compute-zp"),
    )
    for verb in chain:
        assert run(small_tile, verb).exit_status == 0
    assert (small_tile / "steps" / "output_catalog.csv").read_bytes() == at_once
    for name in ("patches/patches.csv", "EPSFs/epsf_summary.json", "ZP/zp_summary.csv"):
        assert (small_tile / "steps" / name).read_bytes() == (
            small_tile / "work" / name
        ).read_bytes()


def test_merge_takes_magnitudes_away_and_compute_zp_brings_them_back(small_tile: Path) -> None:
    run(small_tile)
    path = small_tile / "work" / "output_catalog.csv"
    calibrated = path.read_bytes()
    assert done(run(small_tile, "merge")) == {"catalog"}
    assert not any(name.startswith("MAG") for name in catalog(small_tile)[0])
    assert done(run(small_tile, "compute-zp")) == {"catalog"}
    assert path.read_bytes() == calibrated
    run(small_tile, "compute-zp")
    assert path.read_bytes() == calibrated


def test_zp_err_method_changes_magnitude_errors_only(small_tile: Path, edit: Edit) -> None:
    run(small_tile)
    before = catalog(small_tile)
    edit(small_tile, zp={"zp_err_method": "bright_std", "zp_err_snr_min": 1.0})
    run(small_tile, "compute-zp")
    for old, new in zip(before, catalog(small_tile), strict=True):
        changed = {name for name in old if old[name] != new[name]}
        assert all(name.startswith("MAGERR_") for name in changed)


def test_the_zero_point_of_the_toy_is_near_the_truth(small_tile: Path) -> None:
    run(small_tile)
    truth = {row["band"]: float(row["zp_expected"]) for row in rows(small_tile / "truth_bands.csv")}
    found = rows(small_tile / "work" / "ZP" / "zp_summary.csv")
    assert [row["band"] for row in found] == sorted(truth)
    for row in found:
        # the aperture of 8 pix loses a few per cent of a Moffat star and has neighbours in it
        assert float(row["zp_median"]) == pytest.approx(truth[row["band"]], abs=0.15)


def test_a_failing_patch_costs_its_sources_only(small_tile: Path) -> None:
    run(small_tile)
    whole = {row["ID"]: row for row in catalog(small_tile)}
    tag = "r00_c00_pr01_pc01"
    tile_stand_in.FAILING.add(tag)
    result = run(small_tile, force=("fit",))
    assert result.exit_status == 1
    assert [str(f) for f in result.failures] == [
        f"fit(patch={tag}): fit(patch={tag}): the toy refuses it"
    ]
    lost = rows(small_tile / "work" / "outputs" / tag / f"{tag}_cat_fit.csv")
    for row in catalog(small_tile):
        if row["excluded_any"] == "True" or row["x_pix_white_fit"]:
            assert row["FLUX_m625_fit"] == whole[row["ID"]]["FLUX_m625_fit"]
        else:
            assert row["fit_quality_issues"].startswith("no_fit_result")
    assert sum("no_fit_result" in row["fit_quality_issues"] for row in catalog(small_tile)) == len(
        lost
    )
    summary = {row["patch"]: row for row in rows(small_tile / "work/outputs/run_summary.csv")}
    assert {row["status"] for name, row in summary.items() if name != tag} == {"ok"}
    assert (summary[tag]["status"], summary[tag]["returncode"]) == ("fail", "1")
    assert "the toy refuses it" in Path(summary[tag]["runner_log"]).read_text(encoding="utf-8")
    tile_stand_in.FAILING.clear()
    again = run(small_tile)
    assert again.exit_status == 0
    assert again.counts["fit"].done == 1
    assert {row["ID"]: row for row in catalog(small_tile)} == whole


def test_stale_patches_of_another_grid_are_not_merged(small_tile: Path, edit: Edit) -> None:
    run(small_tile)
    edit(small_tile, epsf={"ngrid": 1}, outputs={"final_catalog": "second.csv"})
    run(small_tile)
    assert len(list((small_tile / "work" / "outputs").glob("r*"))) > 4
    assert len(rows(small_tile / "work" / "second.csv")) == len(catalog(small_tile))
    assert len(rows(small_tile / "work" / "patches" / "patches.csv")) == 4


def lower_case(table: list[dict[str, str]]) -> None:
    for row in table:
        row |= {"ra": row.pop("RA"), "dec": row.pop("DEC")}


def no_id(table: list[dict[str, str]]) -> None:
    for row in table:
        del row["ID"]


def no_type(table: list[dict[str, str]]) -> None:
    for row in table:
        del row["TYPE"]


def no_position(table: list[dict[str, str]]) -> None:
    table[3]["RA"] = "nan"
    table[5]["DEC"] = ""


def odd_columns(table: list[dict[str, str]]) -> None:
    for i, row in enumerate(table):
        row |= {"row": f"r{i:03d}", "key": "007", "note": 'a "b", c'}


@pytest.mark.parametrize("change", [lower_case, no_id, no_type, no_position, odd_columns])
def test_unusual_catalogues_come_through_unchanged(
    small_tile: Path, change: Callable[[list[dict[str, str]]], None]
) -> None:
    rewrite_catalog(small_tile, change)
    assert run(small_tile).exit_status == 0
    given, found = rows(small_tile / "input_catalog.csv"), catalog(small_tile)
    for before, after in zip(given, found, strict=False):
        assert {name: after[name] for name in before} == before


def test_rows_without_a_position_stay_without_a_fit(small_tile: Path) -> None:
    rewrite_catalog(small_tile, no_position)
    run(small_tile)
    for row in (catalog(small_tile)[3], catalog(small_tile)[5]):
        assert row["excluded_reason"] == "crop"
        assert row["x_pix_white"] == row["x_pix_white_fit"] == ""


@pytest.mark.parametrize(
    "settings",
    [
        {"zp": {"enabled": False}},
        {"inputs": {"gaiaxp_synphot_csv": None}},
        {"inputs": {"gaiaxp_synphot_csv": "absent.csv"}},
        {"crop": {"enabled": False}},
        {"bright_mask": {"enabled": False}},
        {"source_saturation_cut": {"enabled": False}},
        {"zp": {"inject_gaia_sources": False}},
    ],
    ids=str,
)
def test_switched_off_parts_leave_the_rest(
    small_tile: Path, edit: Edit, settings: dict[str, dict[str, object]]
) -> None:
    edit(small_tile, **settings)
    assert run(small_tile).exit_status == 0
    given, found = rows(small_tile / "input_catalog.csv"), catalog(small_tile)
    assert [row["ID"] for row in found[: len(given)]] == [row["ID"] for row in given]
    assert {"excluded_any", "excluded_reason", "affected_by_bright_mask"} <= set(found[0])


def test_a_single_image_is_a_tile(small_tile: Path) -> None:
    path = small_tile / "image_list.txt"
    path.write_text("# one\n\n  images/sim_m625.fits\n", encoding="utf-8")
    assert run(small_tile).exit_status == 0
    assert "FLUX_m625_fit" in catalog(small_tile)[0]
    assert "FLUX_m475_fit" not in catalog(small_tile)[0]


def test_pictures_are_drawn_as_switched(small_tile: Path, edit: Edit) -> None:
    edit(small_tile, skyloom={"plots": "all"}, crop={"margin": 10}, epsf={"ngrid": 1})
    run(small_tile)
    work = small_tile / "work"
    whole_tile = {
        *("cropped_images/white_before_crop.png", "cropped_images/white_after_crop.png"),
        *("overlay/white_overlay.png", "overlay/white_overlay_zoom.png"),
        *("ZP/gaia_augmentation_overlay.png", "bright_mask/white_bright_mask_overlay.png"),
    }
    whole_tile |= {"overlay/tile_residual.png"}
    bands = {
        f"ZP/zp_vs_mag__{b}{e}.png" for b in ("m475", "m625", "m825") for e in ("", "_fullrange")
    }
    bands |= {f"ZP/zp_trends__{b}.png" for b in ("m475", "m625", "m825")}
    patches = {
        f"outputs/{row['patch_tag']}/patch_overview.png"
        for row in rows(work / "patches/patches.csv")
    }
    found = {p.relative_to(work).as_posix() for p in work.rglob("*.png")}
    assert found == whole_tile | bands | patches
    edit(small_tile, outputs={"work_dir": "few"}, skyloom={"plots": "summary"})
    edit(small_tile, patch_run={"no_patch_overview": True}, overlay={"enabled": False})
    run(small_tile)
    few = small_tile / "few"
    overviews = {"overlay/tile_residual.png", "ZP/gaia_augmentation_overlay.png"}
    overviews |= {"bright_mask/white_bright_mask_overlay.png"}
    assert {p.relative_to(few).as_posix() for p in few.rglob("*.png")} == bands | overviews


def test_processes_and_serial_agree_byte_for_byte(small_tile: Path, edit: Edit) -> None:
    run(small_tile)
    edit(small_tile, outputs={"work_dir": "parallel"})
    run(small_tile, executor="processes", workers=2)
    for name in ("output_catalog.csv", "wcs.fits", "skyloom/white.fits", "skyloom/merged.parquet"):
        one, two = ((small_tile / folder / name).read_bytes() for folder in ("work", "parallel"))
        assert one == two, name


def test_a_run_keeps_a_copy_of_its_configuration(small_tile: Path) -> None:
    run(small_tile)
    (copy,) = (small_tile / "work").glob("config_used_*.yaml")
    assert copy.read_bytes() == (small_tile / "config.yaml").read_bytes()


def test_force_redoes_the_step_of_the_verb(small_tile: Path) -> None:
    run(small_tile)
    assert done(run(small_tile, "run-epsf", force=True)) == {"epsf", "epsf-summary"}
    assert done(run(small_tile, "run-patches", force=True)) == {"fit"}
    assert "load" in done(run(small_tile, "run", force=True))
    with pytest.raises(WrongValue, match="did you mean 'white'"):
        run(small_tile, force=("whit",))


@pytest.mark.parametrize(
    ("verb", "message"),
    [
        ("compute-zp", "Merged catalog not found: .*output_catalog.csv. Run 'merge' first."),
        ("merge", "outputs.*Run 'run-patches' first"),
        ("run-patches", "patch_payloads.*Run 'build-patch-inputs' first"),
    ],
)
def test_a_step_asks_for_the_one_before(small_tile: Path, verb: Verb, message: str) -> None:
    with pytest.raises(MissingFile, match=message):
        run(small_tile, verb)
    assert not (small_tile / "work").exists()


def test_a_configuration_can_be_run_without_its_file(small_tile: Path) -> None:
    config = load_config(small_tile / "config.yaml")
    result = run_pipeline(config, "build-patches", executor="serial")
    assert result.exit_status == 0
    assert set(result.counts) == {"load", "masks", "sources", "patches"}


def test_an_unknown_verb_is_refused(small_tile: Path) -> None:
    with pytest.raises(WrongValue, match="build-patches"):
        run(small_tile, "walk")  # type: ignore[arg-type]
    assert "walk" not in VERBS


def test_wcs_snapshot_is_that_of_the_crop(small_tile: Path, edit: Edit) -> None:
    edit(small_tile, crop={"margin": 15})
    run(small_tile, "build-patches")
    with (
        fits.open(small_tile / "work" / "wcs.fits") as found,
        fits.open(small_tile / "images" / "sim_m475.fits") as image,
    ):
        assert found[0].data.shape == (1, 1)
        assert found[0].data.dtype == np.uint8
        for axis in (1, 2):
            before = image[0].header[f"CRPIX{axis}"]
            assert found[0].header[f"CRPIX{axis}"] == pytest.approx(
                before - 15, abs=1e-9
            )  # rounding
    frames = json.loads((small_tile / "work" / "skyloom" / "frames.json").read_text())
    assert frames["bands"] == ["m475", "m625", "m825"]
    assert (frames["shape"], frames["crop"]) == ([170, 170], [15, 185, 15, 185])
