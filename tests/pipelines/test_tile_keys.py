"""Every setting has a reader: a stage, the run itself, or the list of those without effect."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import pytest

from skyloom.pipelines.tile import VERBS, TileConfig
from skyloom.pipelines.tile.compat import KEYS_WITHOUT_MEANING
from skyloom.pipelines.tile.pipeline import build_pipeline, is_picture, verb_targets

READ_BY_THE_RUN = (
    *("inputs", "outputs", "logging", "moffat_psf.fwhm_default_pix"),
    # how the work is done
    *("patch_run.max_workers", "patch_run.python_exe", "patch_run.resume"),
    *("performance.frame_prep_workers", "epsf.max_workers", "epsf.parallel_bands"),
    *("patch_inputs.max_workers", "patch_inputs.save_patch_inputs"),
    "patch_inputs.keep_payloads_in_memory",
    *("skyloom.executor", "skyloom.workers", "skyloom.fit_passes", "skyloom.plots"),
    # which pictures there are
    *("crop.plot_pre_crop", "crop.plot_post_crop", "overlay.enabled", "overlay.zoom_enabled"),
    *("patch_run.no_patch_overview", "patch_run.no_cutouts", "zp.enabled", "bright_mask.enabled"),
)
EVERYTHING = TileConfig.model_validate({"skyloom": {"plots": "all"}})


def leaves(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    for name, value in values.items():
        if isinstance(value, Mapping):
            yield from leaves(value, f"{prefix}{name}.")
        else:
            yield prefix + name


def declared() -> set[str]:
    stages = build_pipeline(EVERYTHING).stages
    return {key.removeprefix("-") for stage in stages for key in stage.config_keys}


@pytest.mark.parametrize("key", list(leaves(EVERYTHING.model_dump(mode="json"))))
def test_every_setting_is_read_or_named_as_without_effect(key: str) -> None:
    readers = (*declared(), *READ_BY_THE_RUN, *KEYS_WITHOUT_MEANING)
    assert any(key == reader or key.startswith(reader + ".") for reader in readers)


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_has_a_pipeline_that_fits_together(verb: Any) -> None:
    pipeline = build_pipeline(EVERYTHING, verb)
    targets = verb_targets(pipeline, verb)
    names = {stage.name for stage in pipeline.select(targets)}
    assert "load" in names
    assert ("zero-point" in names) == (verb in ("run", "compute-zp"))
    assert ("merge" in names) == (verb in ("run", "merge", "compute-zp"))
    assert any(is_picture(pipeline, stage) for stage in pipeline.stages)


def test_a_step_draws_the_pictures_of_what_it_makes() -> None:
    pipeline = build_pipeline(EVERYTHING, "run-epsf")
    names = {stage.name for stage in pipeline.select(verb_targets(pipeline, "run-epsf"))}
    assert "plot-epsf" in names
    assert "plot-patch" not in names


def test_without_pictures_there_is_no_stage_for_them() -> None:
    pipeline = build_pipeline(TileConfig.model_validate({"skyloom": {"plots": "none"}}))
    assert not any(is_picture(pipeline, stage) for stage in pipeline.stages)
