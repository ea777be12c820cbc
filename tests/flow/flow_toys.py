"""Toy stages: three bands are measured, cut into cells, fitted, collected."""

from __future__ import annotations

import errno
import hashlib
import json
import logging
import os
import signal
import time
import warnings
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from typing_extensions import override

from skyloom.butler import Array, Butler, DataId, Layout
from skyloom.errors import MissingFile, Unprocessable
from skyloom.flow import Dataset, Dim, Handle, Pipeline, RunResult, Stage, Upstream, run_pipeline

log = logging.getLogger(__name__)

BANDS = ("u", "g", "r")
LAYOUT = {
    "dimensions": {
        "band": None,
        "cell": {"pattern": r"c\d+"},
        "pass": {"kind": "int"},
    },
    "variables": {"fits_dir": "fits"},
    "datasets": {
        "raw": {"format": "text", "external": True, "dimensions": ["band"]},
        "hint": {"format": "json", "external": True},
        "level": {"format": "json", "template": "levels/{band}.json"},
        "cut": {"format": "npy", "template": "cuts/{band}/{cell}.npy"},
        "fit": {"format": "json", "template": "{fits_dir}/{band}_{cell}.json"},
        "fit_log": {"format": "text", "template": "{fits_dir}/{band}_{cell}.log"},
        "total": {"format": "json", "template": "total.json"},
        "strict": {"format": "json", "template": "strict.json"},
        "scene": {"format": "json", "template": "scene/{pass}/{cell}.json"},
        "seen": {"format": "json", "template": "seen/{pass}/{band}_{cell}.json"},
        "note": {"format": "text", "template": "note.txt"},
    },
}
CONFIG: dict[str, Any] = {
    "measure": {"gain": 2.0, "workers": 4},
    "fit": {"power": 2, "deep": {"damping": 0.5}},
    "unused": 1,
    "fault": {},
}


def misbehave(faults: dict[str, Any], who: str) -> None:
    """Do what ``faults[who]`` says: a test breaks one unit with it."""
    kind, *rest = faults.get(who, [None])
    if kind == "kill":  # as often as the file says
        marker = Path(rest[0])
        left = int(marker.read_text())
        if left:
            marker.write_text(str(left - 1))
            os.kill(os.getpid(), signal.SIGKILL)
    if kind == "bug":
        raise ZeroDivisionError("one over zero")
    if kind == "data":
        raise Unprocessable(f"{who}: no stars", n_stars=0)
    if kind == "user":
        raise MissingFile(f"{who}: nothing there", path=who)
    if kind == "full":
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    if kind == "sleep":
        time.sleep(rest[0])


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureInputs:
    band: Annotated[str, Dim("band")]
    raw: Annotated[str, Dataset("raw")]


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasureOutputs:
    level: Annotated[dict[str, float], Dataset("level")]
    cuts: Annotated[dict[str, Array], Dataset("cut", scatter="cell")]


class Measure(Stage[dict[str, Any], MeasureInputs, MeasureOutputs]):
    """Turn the numbers of a band into a level and four cells."""

    name = "measure"
    dimensions = ("band",)
    config_keys = ("measure", "-measure.workers", "-fault")

    @override
    def run(self, inputs: MeasureInputs) -> MeasureOutputs:
        misbehave(self.config["fault"], f"measure {inputs.band}")
        numbers = np.array([float(n) for n in inputs.raw.split()]) * self.config["measure"]["gain"]
        # a product of matrices large enough for BLAS to share it between threads
        square = np.outer(numbers[:300], numbers[:300])
        level = float((square @ square).sum())
        cells = {f"c{3 - n}": part for n, part in enumerate(np.array_split(numbers, 4))}
        return MeasureOutputs(level={"level": level}, cuts=cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInputs:
    unit: Annotated[DataId, Dim()]
    cut: Annotated[Handle[Array], Dataset("cut", lazy=True)]
    hint: Annotated[dict[str, float] | None, Dataset("hint", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutputs:
    fit: Annotated[dict[str, Any], Dataset("fit")]


class Fit(Stage[dict[str, Any], FitInputs, FitOutputs]):
    """Fit one cell of one band."""

    name = "fit"
    dimensions = ("band", "cell")
    config_keys = ("fit.power", "-fault")
    log = "fit_log"

    @override
    def run(self, inputs: FitInputs) -> FitOutputs:
        band, cell = inputs.unit["band"], inputs.unit["cell"]
        log.info("fitting %s %s", band, cell)
        misbehave(self.config["fault"], f"fit {band} {cell}")
        value = float((inputs.cut.read() ** self.config["fit"]["power"]).sum())
        zero = inputs.hint["zero"] if inputs.hint else 0.0
        return FitOutputs(fit={"band": band, "cell": cell, "value": value + zero})


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectInputs:
    levels: Annotated[dict[str, dict[str, float]], Dataset("level", gather="band")]
    fits: Annotated[dict[DataId, dict[str, Any]], Dataset("fit", gather=("band", "cell"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class CollectOutputs:
    total: Annotated[dict[str, Any], Dataset("total")]
    note: Annotated[str | None, Dataset("note", optional=True)]


class Collect(Stage[dict[str, Any], CollectInputs, CollectOutputs]):
    """Collect what there is."""

    name = "collect"
    tolerant = True
    light = True

    @override
    def run(self, inputs: CollectInputs) -> CollectOutputs:
        rows = [f"{i['band']} {i['cell']} {f['value']!r}" for i, f in inputs.fits.items()]
        return CollectOutputs(total={"bands": list(inputs.levels), "fits": rows}, note=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictInputs:
    fits: Annotated[dict[DataId, dict[str, Any]], Dataset("fit", gather=("band", "cell"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class StrictOutputs:
    strict: Annotated[int, Dataset("strict")]


class Strict(Stage[dict[str, Any], StrictInputs, StrictOutputs]):
    """Count the fits, all of them or none."""

    name = "strict"

    @override
    def run(self, inputs: StrictInputs) -> StrictOutputs:
        return StrictOutputs(strict=len(inputs.fits))


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneInputs:
    number: Annotated[int, Dim("pass")]
    before: Annotated[dict[str, int] | None, Dataset("scene", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneOutputs:
    after: Annotated[dict[str, int], Dataset("scene")]


class Scene(Stage[None, SceneInputs, SceneOutputs]):
    """One pass over each cell, starting from the pass before."""

    dimensions = ("pass", "cell")
    units_from = ("cut",)

    @override
    def units(self, upstream: Upstream) -> Iterable[DataId]:
        return [DataId(cell=i["cell"]) for i in upstream.ids("cut")]

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return unit.replace({"pass": int(unit["pass"]) - 1}) if field == "before" else unit

    @override
    def run(self, inputs: SceneInputs) -> SceneOutputs:
        before = inputs.before["count"] if inputs.before else 0
        return SceneOutputs(after={"count": before + inputs.number})


def warn_once() -> None:
    """Serve as a warm-up: leave a trace in the log."""
    log.info("warm")
    warnings.filterwarnings("default")


def stages(config: dict[str, Any] | None = None) -> list[Stage[Any, Any, Any]]:
    """Return the four stages."""
    config = {**CONFIG, **(config or {})}
    return [Measure(config), Fit(config), Collect(config), Strict(config)]


def toy_layout(**variables: str) -> Layout:
    """Return the layout of the toys."""
    return Layout.from_mapping(LAYOUT, name="toys").bind(**variables)


def write_inputs(folder: Path) -> dict[str, Path]:
    """Write the user's files: 400 numbers per band."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for seed, band in enumerate(BANDS):
        numbers = np.random.default_rng(seed).normal(size=400)
        paths[band] = folder / f"{band}.txt"
        paths[band].write_text(" ".join(map(repr, numbers.tolist())))
    return paths


def run_toys(root: Path, config: dict[str, Any] | None = None, **options: Any) -> RunResult:
    """Run the four stages in ``root``; inputs stand in ``root/../inputs``."""
    inputs = root.parent / "inputs"
    raw = {band: inputs / f"{band}.txt" for band in options.pop("bands", BANDS)}
    external = {"raw": raw, **options.pop("external", {})}
    layout = options.pop("layout", None) or toy_layout()
    pipeline = Pipeline(options.pop("stages", None) or stages(config), layout=layout)
    butler = Butler(root, layout, external=external, writeable=True)
    options = {"executor": "serial", "dimensions": {"band": tuple(raw)}, **options}
    return run_pipeline(pipeline, butler, **options)


def tree(root: Path) -> dict[str, str]:
    """Return the digest of every product below ``root``, hidden files included."""
    return {
        str(path.relative_to(root)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in sorted(root.rglob("*"))
        if path.is_file() and path.suffix != ".log" and path.parent.name != "skyloom"
    }


def main(root: str, workers: str, config: str) -> None:
    """Run in a process of its own, which a test kills."""
    run_toys(Path(root), json.loads(config), executor="processes", workers=int(workers))
