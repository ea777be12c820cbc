"""Running the tile pipeline: check everything, then work, then say what came out.

Imports of arrays and FITS wait until they are needed: a mistake in the configuration is answered
at once.
"""

from __future__ import annotations

import logging
import time
import warnings
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from skyloom.errors import Unwritable, WrongValue
from skyloom.pipelines.verbs import VERBS, Verb

from .config import TileConfig, load_config
from .frame_sections import tile_label
from .work import is_refitted, work_plan, workers_python

if TYPE_CHECKING:
    from skyloom.butler import Butler
    from skyloom.flow import Pipeline, RunResult

__all__ = ["RunOptions", "TileRun", "prepare_run", "run_pipeline", "run_tile"]

log = logging.getLogger(__name__)

PLOT_LEVELS: Final = ("none", "summary", "all")
_SHOWN: Final = 10  # failures that are listed


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How to run; what is None here comes from the configuration."""

    executor: str | None = None  # serial, processes
    workers: int | None = None
    force: bool | Collection[str] = ()  # True: the stages of the verb itself
    progress: str | None = None  # auto, bars, heartbeat, quiet
    plots: str | None = None  # none, summary, all


@dataclass(frozen=True, slots=True, kw_only=True)
class TileRun:
    """A run whose inputs are checked and that has not written anything yet."""

    config: TileConfig
    verb: Verb
    options: RunOptions
    pipeline: Pipeline
    butler: Butler
    bands: tuple[str, ...]
    source: Path | None = None  # the configuration file
    python: Path | None = None  # of the workers; None: the one that is running

    def execute(self) -> RunResult:
        """Do the work.

        Returns
        -------
        RunResult
            Its ``exit_status`` is 1 if a unit failed.

        Raises
        ------
        UserMistake
            Found while working: two runs in one directory, a file that changed meanwhile.
        """
        from skyloom import flow  # noqa: PLC0415 - see above

        from .pipeline import verb_targets  # noqa: PLC0415

        self._prepare_directory()
        plan = work_plan(
            self.config,
            self.pipeline,
            workers=self.options.workers,
            executor=self.options.executor,  # type: ignore[arg-type]
            python=self.python,
        )
        log.info("%s: %s", self.verb, VERBS[self.verb])
        if name := tile_label(self.config.inputs.tile_name):
            log.info("tile %s", name)
        if self.config.skyloom.plots == "summary":
            log.info("pictures of the whole tile; --plots all adds patches, PSF cells and sources")
        with _ignoring_warnings(self.config.logging.ignore_warnings):
            result = flow.run_pipeline(
                self.pipeline,
                self.butler,
                dimensions={"band": self.bands},
                targets=verb_targets(self.pipeline, self.verb),
                force=self._forced(),
                progress=self.options.progress,  # type: ignore[arg-type]
                warm_up=warm_up,
                executor=plan.executor,
                workers=plan.workers,
                work=plan.work,
            )
        self._summarise(result)
        return result

    def _forced(self) -> bool | Collection[str]:
        """Return the stages that run whatever was done before."""
        from .pipeline import forced_stages  # noqa: PLC0415 - see above

        forced = forced_stages(self.pipeline, self.verb, self.options.force)
        if forced is True or not is_refitted(self.config, self.verb):
            return forced
        log.info("patch_run.resume is false: all patches are fitted again")
        fits = forced_stages(self.pipeline, "run-patches", force=True)
        assert not isinstance(fits, bool)
        return {*fits, *(forced or ())}

    def _prepare_directory(self) -> None:
        """Make the work directory and put a copy of the configuration there, byte for byte."""
        from skyloom.butler import remember_layout  # noqa: PLC0415 - see above

        home = self.config.outputs.work_dir
        try:
            home.mkdir(parents=True, exist_ok=True)
            remember_layout(home, self.butler.layout)  # Butler(home) finds the products by name
            if self.source is not None:
                stamp = time.strftime("%Y%m%d_%H%M%S")
                copy = home / f"config_used_{stamp}.yaml"
                copy.write_bytes(self.source.read_bytes())
                log.info("configuration %s, copied to %s", self.source, copy)
        except OSError as error:
            raise Unwritable(
                f"{home}: cannot be written ({error.strerror or error}); correct outputs.work_dir",
                path=home,
            ) from error

    def _summarise(self, result: RunResult) -> None:
        """Write ``run_summary.csv``, and say what failed and where the catalogue is."""
        from .summary import write_run_summary  # noqa: PLC0415

        write_run_summary(result, self.pipeline, self.butler)
        _tell_load_times(result)
        for failure in result.failures[:_SHOWN]:
            log.warning("failed: %s", failure)
        if len(result.failures) > _SHOWN:
            log.warning("and %d more failures", len(result.failures) - _SHOWN)
        if result.is_disk_full:
            log.warning("the disk is full; free space and run the same command again")
        if result.datasets("final_catalog"):
            log.info("catalogue: %s", self.butler.path("final_catalog"))


def prepare_run(
    config: TileConfig,
    verb: Verb = "run",
    *,
    options: RunOptions | None = None,
    source: Path | None = None,
) -> TileRun:
    """Check all inputs of a run; nothing is written.

    Parameters
    ----------
    config : TileConfig
        A loaded configuration.
    verb : str
        One of `VERBS`.
    options : RunOptions, optional
        How to run.
    source : Path, optional
        The configuration file, for the copy in the work directory.

    Raises
    ------
    UserMistake
        With all problems of configuration, images, catalogues and directories.
    """
    if verb not in VERBS:
        raise WrongValue(f"verb {verb!r} does not exist; there are {', '.join(VERBS)}", verb=verb)
    from .pipeline import (  # noqa: PLC0415 - see above
        build_pipeline,
        check_prerequisites,
        forced_stages,
        tile_butler,
        uses_gaia,
    )
    from .preflight import check_inputs  # noqa: PLC0415

    options = options or RunOptions()
    config = with_plots(config, options.plots)
    python = workers_python(config)
    inputs = check_inputs(config, needs_gaia=uses_gaia(config, verb))
    butler = tile_butler(config, inputs)
    check_prerequisites(butler, verb, config)
    pipeline = build_pipeline(config, verb)
    forced_stages(pipeline, verb, options.force)  # refuses unknown names
    return TileRun(
        config=config,
        verb=verb,
        options=options,
        pipeline=pipeline,
        butler=butler,
        bands=tuple(inputs.images),
        source=source,
        python=python,
    )


def run_pipeline(config: TileConfig, verb: Verb = "run", **overrides: Any) -> RunResult:
    """Run a verb on a loaded configuration; see `run_tile`."""
    return prepare_run(config, verb, options=RunOptions(**overrides)).execute()


def run_tile(config_path: str | Path, verb: Verb = "run", **overrides: Any) -> RunResult:
    """Bring the products of a verb up to date; what is, is not done again.

    Parameters
    ----------
    config_path : path
        YAML file.
    verb : str
        ``run``, ``run-epsf``, ``build-patches``, ``build-patch-inputs``, ``run-patches``,
        ``merge`` or ``compute-zp``.
    **overrides
        ``executor`` ("serial", "processes"), ``workers`` (int), ``force`` (True, or names of
        stages), ``progress`` ("auto", "bars", "heartbeat", "quiet"), ``plots`` ("none",
        "summary", "all"; by default ``skyloom.plots`` of the configuration).

    Returns
    -------
    RunResult
        Its ``exit_status`` is 1 if a unit failed.

    Raises
    ------
    UserMistake
        Before any work: the configuration or an input has to be corrected.
    """
    path = Path(config_path)
    options = RunOptions(**overrides)
    return prepare_run(load_config(path), verb, options=options, source=path).execute()


def with_plots(config: TileConfig, plots: str | None) -> TileConfig:
    """Return a configuration with another ``skyloom.plots``; None leaves it as it is.

    Raises
    ------
    WrongValue
        If there is no such level of pictures.
    """
    if plots is None:
        return config
    if plots not in PLOT_LEVELS:
        raise WrongValue(f"plots = {plots!r} is none of {', '.join(PLOT_LEVELS)}", value=plots)
    section = config.skyloom.model_copy(update={"plots": plots})
    return config.model_copy(update={"skyloom": section})


def warm_up() -> None:
    """Compile the kernels of the fit, once in each worker."""
    from skyloom.scene import warm_up as compile_kernels  # noqa: PLC0415 - see above

    compile_kernels()


@contextmanager
def _ignoring_warnings(ignore: bool) -> Iterator[None]:
    if not ignore:
        yield
        return
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def _tell_load_times(result: RunResult) -> None:
    """Log the seconds of the load stages in one line, as users of the original know it."""
    parts = {
        "prep": ("load", "masks"),
        "white": ("white",),
        "crop": ("plot-before-crop", "plot-after-crop"),
        "sat": ("sources",),
        "overlay": ("plot-sources", "plot-zoom"),
    }
    counts = result.counts
    if not any(c.done for name, c in counts.items() if name in {"load", "masks", "white"}):
        return
    seconds = {
        label: sum(result.seconds[n].wall for n in names if n in counts and counts[n].done)
        for label, names in parts.items()
    }
    text = " ".join(f"{label}={value:.2f}" for label, value in seconds.items())
    log.info("load timing [s]: %s total=%.2f", text, sum(seconds.values()))
