"""Stages, pipelines, and the run that remembers what was done.

A complete example::

    @dataclass(frozen=True, slots=True, kw_only=True)
    class SkyInputs:
        band: Annotated[str, Dim("band")]
        image: Annotated[FitsImages, Dataset("raw_image")]

    @dataclass(frozen=True, slots=True, kw_only=True)
    class SkyOutputs:
        noise: Annotated[dict[str, float], Dataset("noise")]

    class Sky(Stage[TileConfig, SkyInputs, SkyOutputs]):
        \"\"\"Measure the sky level of each band.\"\"\"
        name = "sky"
        dimensions = ("band",)
        config_keys = ("sky.clip_sigma",)

        @override
        def run(self, inputs: SkyInputs) -> SkyOutputs:
            pixels = inputs.image["PRIMARY"]
            level = clipped_median(pixels, sigma=self.config.sky.clip_sigma)
            return SkyOutputs(noise={"level": level})

    @dataclass(frozen=True, slots=True, kw_only=True)
    class TableInputs:
        noise: Annotated[dict[str, dict[str, float]], Dataset("noise", gather="band")]

    @dataclass(frozen=True, slots=True, kw_only=True)
    class TableOutputs:
        frames: Annotated[dict[str, float], Dataset("frames")]

    class Collect(Stage[TileConfig, TableInputs, TableOutputs]):
        \"\"\"Put the levels of all bands into one file.\"\"\"
        tolerant = True                     # a band that failed is left out

        @override
        def run(self, inputs: TableInputs) -> TableOutputs:
            return TableOutputs(frames={b: n["level"] for b, n in inputs.noise.items()})

    layout = Layout.load("tile")
    pipeline = Pipeline([Sky(config), Collect(config)], layout=layout)
    butler = Butler("work", layout, external={"raw_image": {"g": ..., "r": ...}}, writeable=True)
    result = run_pipeline(pipeline, butler, dimensions={"band": ("g", "r")})

A second call does nothing; after a change of ``sky.clip_sigma`` both stages run again; after a
change of one image its band and the collection; the rest is skipped.
"""

from __future__ import annotations

from .calls import Answered, Call, Lost, run_calls
from .dataset import Dataset, Dim
from .executors import Executor
from .interpreter import find_python
from .keys import StageKey
from .ledger import Ledger, Output
from .limits import Limit
from .lock import WorkDirLock
from .pipeline import Pipeline, PipelineError
from .pool import ProcessPool, WorkerError
from .progress import Bars, Heartbeat, Silence, Watcher, make_watcher
from .result import Counts, Failure, RunResult, Seconds, UnitRecord
from .runner import run_pipeline
from .settings import UndeclaredKeyError
from .stage import Stage, Upstream
from .threads import available_cpus, single_threaded
from .work import Work

from skyloom.butler import Handle  # isort: skip - part of what stages are written with

__all__ = [
    "Answered",
    "Bars",
    "Call",
    "Counts",
    "Dataset",
    "Dim",
    "Executor",
    "Failure",
    "Handle",
    "Heartbeat",
    "Ledger",
    "Limit",
    "Lost",
    "Output",
    "Pipeline",
    "PipelineError",
    "ProcessPool",
    "RunResult",
    "Seconds",
    "Silence",
    "Stage",
    "StageKey",
    "UndeclaredKeyError",
    "UnitRecord",
    "Upstream",
    "Watcher",
    "Work",
    "WorkDirLock",
    "WorkerError",
    "available_cpus",
    "find_python",
    "make_watcher",
    "run_calls",
    "run_pipeline",
    "single_threaded",
]
