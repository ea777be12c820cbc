"""The log of a patch, and the stages in its metadata."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table
from key_effects import Bench

from skyloom.flags import FitFlag
from skyloom.pipelines.tile.patch_log import fit_stages_meta, group_records, log_text
from skyloom.scene import SceneState, Sources, SourceType

PATCH = "r00_c00_pr00_pc00"


def group(*rows: int, **more: object) -> dict[str, object]:
    plain = {"niters": 3, "converged": True, "dlnp": 12.5, "last_dlnp": 0.25, "snr": 40.0}
    return {"rows": list(rows), **plain, "frozen": 0, "faint": 0, "bounds": {}, **more}


def psf(**more: object) -> dict[str, object]:
    plain = {"used_epsf": True, "psf_model": "pixelized", "epsf_nstars_used": 7}
    return {**plain, "min_epsf_nstars_for_use": 2, "low_stars": False, **more}


def text(passes: dict, fit: Table | None = None, **audit: dict) -> str:
    return log_text(
        "r00_c00_pr01_pc02",
        names=[f"id{i}" for i in range(20)],
        audit=audit or {"r": psf()},
        priors={"position": 2, "flux": 0},
        passes=passes,
        fit=Table({"row": [3], "fit_flags": [0]}) if fit is None else fit,
    )


def test_psfs_and_priors_come_first() -> None:
    lines = text(
        {},
        r=psf(),
        i=psf(epsf_nstars_used=1, low_stars=True),
        z=psf(used_epsf=False, psf_model="moffat", fallback_reason="missing ePSF"),
    ).splitlines()
    assert lines == [
        "patch r00_c00_pr01_pc02: 1 sources reported",
        "PSF r: ePSF of the field, pixelized, 7 stars in this cell",
        "PSF i: ePSF of the field, pixelized, 1 stars in this cell, fewer than 2",
        "PSF z: fallback moffat, missing ePSF",
        "priors of the catalogue: position 2, flux 0",
    ]


def test_each_pass_tells_its_groups() -> None:
    large = group(*range(10), niters=20, converged=False, bounds={"4": "pos.x@upper"})
    lines = text({1: {"groups": {"": [large]}}, 0: {"groups": {"": [group(12, frozen=1)]}}})
    assert lines.splitlines()[3:] == [
        "pass 0, fluxes only: 1 groups, 1 sources, 1 frozen (too faint to move), "
        "0 held by priors (faint)",
        "  group id12: S/N 40.0, 3 iterations, converged, dlnp 12.5, last 0.25",
        "pass 1, everything free: 1 groups, 10 sources, 0 frozen (too faint to move), "
        "0 held by priors (faint)",
        "  group id0 id1 id2 id3 id4 id5 id6 id7 and 2 more: S/N 40.0, 20 iterations, "
        "NOT CONVERGED, dlnp 12.5, last 0.25",
        "    id4 at its bound: pos.x@upper",
    ]


def test_flags_and_changed_types_come_last() -> None:
    fit = Table({"row": [3, 5], "fit_flags": [0, int(FitFlag.EDGE | FitFlag.POOR_FIT)]})
    fit["type_changed"], fit["type_catalog"] = [True, False], ["exp", "star"]
    fit["stype_fit"] = ["star", "star"]
    assert text({}, fit).splitlines()[-2:] == [
        "flags of id5: POOR_FIT|EDGE",
        "type of id3: star instead of exp",
    ]


def test_stages_are_the_passes() -> None:
    first, second = group(1, niters=0), group(2, converged=False, last_dlnp=None)
    passes = {0: {"groups": {"": [first]}}, 1: {"groups": {"": [first, second]}}}
    assert fit_stages_meta(passes, staged=False) == {"staged_fit_enabled": False}
    joint = fit_stages_meta(passes, staged=True)
    assert joint["staged_fit_enabled"] is True
    assert joint["staged_fit_stages"] == [
        {
            "stage": "pass 0",
            "frozen": ["pos", "shape", "sersicindex"],
            "niters": 0,
            "converged": True,
            "last_dlnp": 0.25,
        },
        {"stage": "pass 1", "frozen": [], "niters": 3, "converged": False, "last_dlnp": 0.25},
    ]
    bands = fit_stages_meta({0: {"groups": {"r": [first], "i": []}}}, staged=True)
    assert set(bands["staged_fit_stages_by_band"]) == {"r", "i"}
    assert bands["staged_fit_stages_by_band"]["i"][0]["converged"] is True


def test_records_count_what_a_pass_did() -> None:
    sources = Sources.create(np.array([SourceType.STAR, SourceType.EXP]), np.ones(2), np.ones(2))
    before, after = SceneState.start(sources, 1), SceneState.start(sources, 1)
    after.iterations[:] = [4, 6]
    before.iterations[:] = [1, 1]
    after.gained[:], after.last_decrease[:] = [8.0, 8.0], [0.5, np.nan]
    after.converged[:] = [True, False]
    after.faint[1] = True
    after.theta[1, 2] = sources.upper[1, 2]
    found = group_records(sources, np.array([30, 40]), {7: [np.array([0, 1])]}, before, after)
    assert found == [
        {
            "rows": [30, 40],
            "niters": 5,
            "converged": False,
            "dlnp": 4.0,
            "last_dlnp": None,
            "snr": 0.0,
            "frozen": 0,
            "faint": 1,
            "bounds": {"40": "shape.logre@upper"},
        }
    ]


@pytest.mark.parametrize("joint", [True, False])
def test_the_tile_has_a_log_per_patch(
    joint: bool, finished_tile: Path, tmp_path_factory: pytest.TempPathFactory
) -> None:
    work = finished_tile / "work"
    if not joint:
        bench = Bench.copy_of(finished_tile, tmp_path_factory.mktemp("log") / "tile")
        bench.run("run", {"patch_run.enable_multi_band_simultaneous_fitting": False})
        work = bench.work
    folder = work / "outputs" / PATCH
    assert (folder / f"{PATCH}.runner.log").exists()
    lines = (folder / f"{PATCH}.log").read_text(encoding="utf-8").splitlines()
    passes = [line for line in lines if line.startswith("pass ")]
    assert len(passes) == (3 if joint else 6)
    groups = [int(re.search(r": (\d+) groups", line)[1]) for line in passes]
    assert sum(groups) == sum(line.startswith("  group ") for line in lines)
    meta = json.loads((folder / "meta.json").read_text(encoding="utf-8"))
    if joint:
        stages = meta["staged_fit_stages"]
        assert [s["frozen"] == [] for s in stages] == [False, True, True]
        assert max(s["niters"] for s in stages) > 0
    else:
        assert set(meta["staged_fit_stages_by_band"]) == {"m475", "m625"}
    assert not re.search(r"\d\d:\d\d:\d\d", "\n".join(lines)), "no times: it is a product"
