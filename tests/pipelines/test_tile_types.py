"""Types that the catalogue has wrong: told, changed, or left alone."""

from __future__ import annotations

import csv
import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.wcs import WCS
from key_effects import SETTINGS, Bench

from skyloom.butler import DataId
from skyloom.errors import ConfigError
from skyloom.flags import FitFlag
from skyloom.geometry import pixel_to_sky
from skyloom.pipelines.tile import load_config, run_tile
from skyloom.pipelines.tile.choose_types import JoinInputs, JoinTypes
from skyloom.pipelines.tile.config import TileConfig
from skyloom.pipelines.tile.fit import FitPass
from skyloom.pipelines.tile.halos import Halos
from skyloom.pipelines.tile.passes import locate_types
from skyloom.pipelines.tile.retype import newly_retyped, retyped_kinds, retyped_state
from skyloom.scene import SceneState, Sources
from skyloom.sim import demo_config, simulate_tile, write_tile

CHOICE = "skyloom.model_choice"
PASSES = {"skyloom.fit_passes": 3}  # of the short runs of other tests one is missing
OWN = ("type_suggested", "dchisq_", "type_catalog", "type_changed")
Rows = list[dict[str, str]]
Wrong = tuple[Path, dict[str, str]]  # folder of a tile, the right types by ID


def read(path: Path) -> Rows:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def catalogue(bench: Bench) -> Rows:
    return read(bench.work / "output_catalog.csv")


def write(path: Path, rows: Rows) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)


def exchange(folder: Path) -> dict[str, str]:
    """Give two bright stars and two bright galaxies wrong types; return the right ones by ID."""
    truth = {row["ID"]: row for row in read(folder / "truth.csv")}
    rows = sorted(
        read(folder / "input_catalog.csv"), key=lambda r: float(truth[r["ID"]]["mag_ref"])
    )
    right = {}
    for row in [r for r in rows if r["TYPE"] == "STAR"][3:5]:
        right[row["ID"]] = "star"
        row |= {"TYPE": "EXP", "Re": "1.000", "ELL": "0.100", "THETA": "0.00"}
    for row in [r for r in rows if r["TYPE"] == "EXP" and r["ID"] not in right][:2]:
        right[row["ID"]] = "exp"
        row["TYPE"] = "STAR"
    write(folder / "input_catalog.csv", sorted(rows, key=lambda r: r["ID"]))
    return right


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tile of 240 pixels and two bands whose types are right, run with `catalog`."""
    folder = tmp_path_factory.mktemp("right") / "tile"
    config = demo_config(size=240, n_sources=30)
    config = dataclasses.replace(
        config,
        bands=config.bands[:2],
        n_saturated=0,
        n_uncatalogued=0,
        blend_fraction=0.0,
        min_separation=20.0,
        star_mag=(15.0, 18.5),
        galaxy_mag=(16.5, 19.5),
    )
    write_tile(simulate_tile(config, np.random.default_rng(3)), folder, settings=SETTINGS)
    Bench(folder).run("run", {CHOICE: "catalog", **PASSES})
    return folder


@pytest.fixture(scope="module")
def wrong(original: Path, tmp_path_factory: pytest.TempPathFactory) -> Wrong:
    """Folder of the tile with four wrong types, run with `catalog`; the right types by ID."""
    folder = Path(shutil.copytree(original, tmp_path_factory.mktemp("types") / "tile"))
    right = exchange(folder)
    Bench(folder).run("run", {CHOICE: "catalog", **PASSES})
    return folder, right


@pytest.fixture(scope="module")
def auto(wrong: Wrong, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """The same with `auto`."""
    bench = Bench.copy_of(wrong[0], tmp_path_factory.mktemp("auto") / "tile")
    bench.run("run", {CHOICE: "auto", **PASSES})
    return bench


def test_clear_mistakes_are_mended_and_told(auto: Bench, wrong: Wrong) -> None:
    folder, right = wrong
    before = {row["ID"]: row for row in read(folder / "work" / "output_catalog.csv")}
    given = {row["ID"]: row["TYPE"] for row in read(folder / "input_catalog.csv")}
    for row in catalogue(auto):
        if row["stype_fit"] == "":
            continue
        assert row["TYPE"] == given.get(row["ID"], "STAR"), "the input column is kept"
        assert row["type_catalog"] == before[row["ID"]]["stype_fit"]
        is_changed = row["type_changed"] == "True"
        assert is_changed == (row["stype_fit"] != row["type_catalog"])
        if row["ID"] in right:
            assert is_changed
            is_star = right[row["ID"]] == "star"
            assert (row["stype_fit"] == "star") == is_star
            assert (row["re_pix_fit"] == "") == is_star
            assert float(row["fit_snr"]) > 0
    assert sum(row["type_changed"] == "True" for row in catalogue(auto)) <= 6


def test_mended_sources_have_the_fluxes_of_right_types(
    auto: Bench, wrong: Wrong, original: Path
) -> None:
    truth = {row["ID"]: row for row in read(original / "work" / "output_catalog.csv")}
    for row in catalogue(auto):
        if wrong[1].get(row["ID"]) in {"star", "exp"}:
            for band in ("m475", "m625"):
                flux, error = (float(row[f"{n}_{band}_fit"]) for n in ("FLUX", "FLUXERR"))
                # the same noise; the sky remembers the wrong model, and fits begin elsewhere
                assert flux == pytest.approx(
                    float(truth[row["ID"]][f"FLUX_{band}_fit"]), abs=1.5 * error
                )


def test_check_changes_nothing_but_its_columns(
    wrong: Wrong, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench.copy_of(wrong[0], tmp_path_factory.mktemp("check") / "tile")
    before, rows = bench.products(), catalogue(bench)
    patches = {p: read(p) for p in bench.work.glob("outputs/*/*_cat_fit.csv")}
    bench.run("run", {CHOICE: "check", **PASSES})
    different = {n for n, d in bench.products().items() if before.get(n) != d}
    assert {n.split("/")[0] for n in different} <= {
        "outputs", "skyloom", "output_catalog.csv", "output_catalog.csv.units.json",
    }  # fmt: skip
    assert not {n for n in different if "scene" in n or "payload" in n or n.endswith("white.npz")}
    for old, new in [(rows, catalogue(bench)), *((r, read(p)) for p, r in patches.items())]:
        for one, other in zip(old, new, strict=True):
            extra = [name for name in other if name.startswith(OWN)]
            assert len(extra) == 6
            assert {n: v for n, v in other.items() if n not in extra} == one


def test_the_choice_does_not_depend_on_workers_or_patches(
    auto: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench.copy_of(auto.folder, tmp_path_factory.mktemp("patches") / "tile")
    config = bench.folder / "changed.yaml"  # auto
    text = config.read_text(encoding="utf-8")
    config.write_text(text.replace("work_dir: work", "work_dir: other"), encoding="utf-8")
    done = run_tile(config, executor="processes", workers=2, progress="quiet")
    assert done.exit_status == 0
    work = bench.folder / "other"
    assert (work / "output_catalog.csv").read_bytes() == (
        auto.work / "output_catalog.csv"
    ).read_bytes()
    config.write_text(text.replace("  ngrid: 1", "  ngrid: 2"), encoding="utf-8")
    assert run_tile(config, executor="serial", progress="quiet").exit_status == 0
    assert len(list(bench.work.glob("outputs/*/meta.json"))) == 4
    for one, other in zip(catalogue(auto), catalogue(bench), strict=True):
        assert one["type_changed"] == other["type_changed"]
        assert one["stype_fit"] == other["stype_fit"]


def add_large_galaxy(folder: Path) -> None:
    """Add a bright galaxy that needs a stamp of more than 256 pixels."""
    rows = read(folder / "input_catalog.csv")
    with fits.open(folder / "images/sim_m475.fits") as hdus:
        ra, dec = (float(v[0]) for v in pixel_to_sky(WCS(hdus[0].header), [120.0], [120.0]))
    row = dict.fromkeys(rows[0], "")
    row |= {"ID": "large", "RA": f"{ra:.7f}", "DEC": f"{dec:.7f}", "TYPE": "EXP", "Re": "45.0"}
    write(folder / "input_catalog.csv", [*rows, row | {"ELL": "0.000"}])
    y, x = np.mgrid[:240, :240]
    light = 60.0 * np.exp(-1.678 * np.hypot(x - 120.0, y - 120.0) / 40.0)
    for band in ("m475", "m625"):
        with fits.open(folder / f"images/sim_{band}.fits", mode="update") as hdus:
            hdus[0].data = (hdus[0].data + light).astype(np.float32)


def test_a_type_that_could_not_be_judged_is_flagged(original: Path, tmp_path: Path) -> None:
    bench = Bench.copy_of(original, tmp_path / "tile")
    add_large_galaxy(bench.folder)
    bench.run("run", {CHOICE: "auto", **PASSES})
    fitted = {row["ID"]: row for row in catalogue(bench) if row["stype_fit"]}
    bit = FitFlag.TYPE_UNCHECKED
    unchecked = {name for name, row in fitted.items() if int(row["fit_flags"]) & bit}
    untried = {name for name, row in fitted.items() if row["dchisq_star"] == ""}
    assert unchecked == untried
    assert "large" in unchecked
    assert len(unchecked) <= 3, "a neighbour may have taken some of its light"
    assert fitted["large"]["stype_fit"] == fitted["large"]["type_suggested"] == "exp"


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ("skyloom:\n  model_choice: auto\n  fit_passes: 1\n", "fit_passes = 1 must be at least 2"),
        (
            "skyloom:\n  model_choice: auto\n"
            "patch_run:\n  enable_multi_band_simultaneous_fitting: false\n",
            "skyloom.model_choice = auto needs all bands in one fit",
        ),
        ("skyloom:\n  model_choice: perhaps\n", "skyloom.model_choice"),
    ],
)
def test_what_cannot_be_chosen_is_refused(tmp_path: Path, settings: str, words: str) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text(settings, encoding="utf-8")
    with pytest.raises(ConfigError, match=words):
        load_config(path)


@pytest.mark.parametrize(("old", "new"), [("true", "check"), ("false", "catalog")])
def test_the_switch_of_before_still_works(tmp_path: Path, old: str, new: str) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text(f"skyloom:\n  model_choice: {old}\n", encoding="utf-8")
    assert load_config(path).skyloom.model_choice == new


def choices(**columns: object) -> Table:
    n = len(columns["row"])  # type: ignore[arg-type]
    rest = {"kind_suggested": np.zeros(n, np.int64), "y": np.zeros(n)}
    return Table({**rest, **columns})


def join(number: int, found: dict[str, Table], before: Table | None = None) -> Table:
    config = TileConfig.model_validate({"skyloom": {"model_choice": "auto"}})
    stage = JoinTypes(config, name="types", fixed=DataId({"pass": number}))
    return stage.run(JoinInputs(found=found, before=before)).types


def test_of_two_changes_close_by_the_smaller_waits() -> None:
    found = {
        "b": choices(row=[7, 8], kind=[1, 1], kind_before=[0, 0], gain=[50.0, 9e3], x=[9.0, 500.0]),
        "a": choices(
            row=[2, 9, 4], kind=[1, 0, 0], kind_before=[0, 1, 0], gain=[900.0, 0.0, 0.0],
            x=[20.0, 300.0, 15.0],
        ),
    }  # fmt: skip
    types = join(1, found)
    assert types["row"].tolist() == [2, 4, 7, 8, 9]
    assert types["kind"].tolist() == [1, 0, 0, 1, 0]
    assert types["held"].tolist() == [False, False, True, False, False]
    assert types["changed_after"].tolist() == [1, -1, -1, 1, 1]
    again = {"b": choices(row=[7], kind=[1], kind_before=[0], gain=[40.0], x=[9.0])}
    later = join(2, again, types)
    assert later["row"].tolist() == [2, 4, 7, 8, 9]
    assert later["kind"].tolist() == [1, 0, 1, 1, 0]
    assert later["changed_after"].tolist() == [1, -1, 2, 1, 1]
    assert not later["held"].any()
    assert join(2, {}, types)["kind"].tolist() == types["kind"].tolist()
    assert len(join(1, {})) == 0


def test_a_tile_without_sources_to_judge_goes_on() -> None:
    types = join(1, {})
    sources = Sources.create(np.array([0, 1]), np.ones(2), np.ones(2))
    state = SceneState.start(sources, 1)
    retyped_state(state, newly_retyped(types, 1), np.array([3, 4]), ["r"])
    assert np.array_equal(state.theta, sources.theta)
    assert retyped_kinds(np.array([0, 1]), types).tolist() == [0, 1]


def test_a_pass_reads_the_types_chosen_before_it() -> None:
    passes = [locate_types("types", DataId({"pass": p}))["pass"] for p in range(5)]
    assert passes == [-1, -1, 1, 2, 2]
    stage = FitPass(TileConfig(), name="fit", fixed=DataId({"pass": 2}))
    assert stage.locate("types", DataId({"pass": 2}))["pass"] == 1
    # halos that are measured after a pass know what was chosen after it
    halos = Halos(TileConfig(), name="halos", fixed=DataId({"pass": 1}))
    assert [halos.locate("types", DataId({"pass": p}))["pass"] for p in (0, 1)] == [-1, 1]


def test_pictures_show_the_types_that_were_fitted(
    auto: Bench, tmp_path_factory: pytest.TempPathFactory
) -> None:
    bench = Bench.copy_of(auto.folder, tmp_path_factory.mktemp("pictures") / "tile")
    cutouts = {"skyloom.plots": "all", "patch_run.cutout_max_sources": 8}
    bench.run("run", {CHOICE: "auto", **PASSES, **cutouts})
    assert len(list(bench.work.glob("outputs/*/cutouts/src_*.png"))) == 8
    assert catalogue(bench) == catalogue(auto)
