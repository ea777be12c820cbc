"""Pipelines are checked before they run; stages see what they declare and no more."""

from __future__ import annotations

import ctypes
import io
import logging
import subprocess
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from flow_toys import CONFIG, Collect, Fit, Measure, Scene, Strict, run_toys, stages, toy_layout
from flow_toys import write_inputs as write_toy_inputs
from pydantic import BaseModel
from rich.console import Console

from skyloom.butler import Array, DataId
from skyloom.errors import WrongValue
from skyloom.flow import (
    Bars,
    Dataset,
    Dim,
    Heartbeat,
    Pipeline,
    PipelineError,
    Silence,
    Stage,
    UndeclaredKeyError,
    Upstream,
    make_watcher,
    single_threaded,
)
from skyloom.flow import sources as flow_sources
from skyloom.flow.settings import ConfigView, key_values
from skyloom.flow.threads import _blas

LAYOUT = toy_layout()


def test_graph_has_a_line_per_stage() -> None:
    assert Pipeline(stages(), layout=LAYOUT).graph().splitlines() == [
        "measure (band): raw* -> level, cut[cell]",
        "fit (band x cell): cut, hint*? -> fit",
        "collect (whole): level[band], fit[band, cell] -> total, note?",
        "strict (whole): fit[band, cell] -> strict",
    ]


def test_selection_takes_what_is_needed_in_order() -> None:
    pipeline = Pipeline(stages(), layout=LAYOUT)
    assert [s.name for s in pipeline.select({"strict"})] == ["measure", "fit", "strict"]
    assert len(pipeline.select(None)) == 4
    with pytest.raises(WrongValue, match="did you mean 'strict'"):
        pipeline.select({"strit"})


def test_passes_need_the_pass_before_only() -> None:
    passes = [Scene(None, name=f"pass {n}", fixed=DataId({"pass": n})) for n in (1, 2, 3)]
    pipeline = Pipeline([Measure(CONFIG), *passes], layout=LAYOUT)
    assert pipeline.producers(passes[2]) == ("pass 2", "measure")
    assert pipeline.producers(passes[0]) == ("measure",)


@dataclass(frozen=True, slots=True, kw_only=True)
class NoInputs:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class NoteOutputs:
    note: Annotated[str, Dataset("note")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutInput:
    cut: Annotated[Array, Dataset("cut")]


@dataclass(frozen=True, slots=True, kw_only=True)
class CutsInput:
    cut: Annotated[dict[str, Array], Dataset("cut", gather=("band", "pass"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class CellInput:
    cell: Annotated[str, Dim("cell")]


@dataclass(frozen=True, slots=True, kw_only=True)
class TypoInput:
    cut: Annotated[Array, Dataset("cutt")]


@dataclass(frozen=True, slots=True, kw_only=True)
class BareInput:
    cut: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RawOutput:
    raw: Annotated[dict[str, str], Dataset("raw", scatter="band")]


def toy(inputs: type, outputs: type = NoteOutputs, **facts: Any) -> Stage[Any, Any, Any]:
    """Make a stage from its two dataclasses."""

    class Toy(Stage[Any, inputs, outputs]):  # type: ignore[valid-type]
        name = "toy"

        def run(self, inputs: Any) -> Any:
            raise NotImplementedError

    config = facts.pop("config", None)
    for key, value in facts.items():
        setattr(Toy, key, value)
    return Toy(config)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([Fit(CONFIG)], "fit reads cut, which no earlier one makes"),
        ([Measure(CONFIG), Measure(CONFIG)], "two stages are called 'measure'"),
        ([Measure(CONFIG), Measure(CONFIG, name="more")], "both make"),
        ([Measure(CONFIG), toy(CutInput)], "which band of cut is meant; gather or scatter"),
        ([Measure(CONFIG), toy(CutsInput)], "cut has no dimension 'pass'"),
        ([toy(CellInput)], "its unit has no 'cell'"),
        ([toy(NoInputs, dimensions=("tile",))], "'tile' is no dimension"),
        ([toy(NoInputs, RawOutput)], "raw is the user's file"),
    ],
)
def test_stages_that_do_not_fit_are_refused(more: list[Stage[Any, Any, Any]], message: str) -> None:
    with pytest.raises(PipelineError, match=message):
        Pipeline(more, layout=LAYOUT)


def test_mistakes_in_annotations_are_named() -> None:
    with pytest.raises(KeyError, match="did you mean 'cut'"):
        Pipeline([toy(TypoInput)], layout=LAYOUT)
    with pytest.raises(TypeError, match=r"BareInput\.cut: write Annotated"):
        Pipeline([toy(BareInput)], layout=LAYOUT)
    with pytest.raises(TypeError, match="has to be a dataclass"):
        Pipeline([toy(int)], layout=LAYOUT)


def test_misspelt_config_keys_are_found_when_the_pipeline_is_built() -> None:
    with pytest.raises(UndeclaredKeyError, match="did you mean 'power'"):
        Pipeline([toy(NoInputs, config_keys=("fit.powr",), config=CONFIG)], layout=LAYOUT)


class Detect(BaseModel):
    threshold: float = 4.5
    workers: int = 2


class Settings(BaseModel):
    detect: Detect = Detect()
    plots: bool = True


def test_stage_sees_its_declared_keys_only() -> None:
    view: Any = ConfigView(Settings(), ("detect.threshold", "-detect.workers"), owner="x")
    assert view.detect.threshold == 4.5
    assert view.detect.workers == 2
    assert view["detect"]["threshold"] == 4.5
    with pytest.raises(UndeclaredKeyError, match="x reads the configuration key 'plots'"):
        _ = view.plots
    section: Any = ConfigView(Settings(), ("detect",), owner="x")
    assert section.detect == Detect()


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (("detect.threshold",), {"detect.threshold": 4.5}),
        (("detect", "-detect.workers"), {"detect": {"threshold": 4.5}}),
        (("-detect", "plots"), {"plots": True}),
        ((), {}),
    ],
)
def test_key_holds_the_values_that_count(keys: tuple[str, ...], values: dict[str, Any]) -> None:
    assert key_values(Settings(), keys, owner="x") == values


def test_null_and_infinite_settings_differ() -> None:
    values = [key_values({"a": v}, ("a",), owner="x")["a"] for v in (None, float("inf"))]
    assert values[0] != values[1]


def test_code_digest_follows_imports(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    package = tmp_path / "skyloom"
    for name, text in {
        "__init__.py": "__version__ = '1'",
        "psf/__init__.py": "from .builder import build",
        "psf/builder.py": "def build():\n    from skyloom import flags",
        "flags.py": "",
        "plots.py": "import skyloom.psf.builder",
        "stages.py": "from skyloom.psf import (\n    build,  # of stars\n)",
    }.items():
        (package / name).parent.mkdir(parents=True, exist_ok=True)
        (package / name).write_text(text)
    monkeypatch.setattr(flow_sources, "_PACKAGE", package)

    def digest() -> str:
        for cached in ("code_digest", "_imports", "_file_digest"):
            getattr(flow_sources, cached).cache_clear()
        return flow_sources.code_digest("skyloom.stages")

    first = digest()
    (package / "plots.py").write_text("changed = 1")
    assert digest() == first
    (package / "flags.py").write_text("changed = 1")
    second = digest()
    assert second != first
    monkeypatch.setattr(flow_sources, "_PACKAGE", tmp_path / "site-packages" / "skyloom")
    assert digest() not in {first, second}


@pytest.fixture(autouse=True)
def _forget_digests() -> Iterable[None]:
    yield
    for cached in ("code_digest", "_imports", "_file_digest"):
        getattr(flow_sources, cached).cache_clear()


def test_units_may_come_from_what_is_declared_only(tmp_path: Path) -> None:
    class Nosy(Scene):
        name = "nosy"
        units_from = ()

    write_toy_inputs(tmp_path / "inputs")
    nosy = Nosy(None, fixed=DataId({"pass": 1}))
    with pytest.raises(LookupError, match="declare it as an input or in units_from"):
        run_toys(tmp_path / "work", stages=[Measure(CONFIG), nosy])


def test_units_that_nothing_tells_are_an_error(tmp_path: Path) -> None:
    class Lost(Scene):
        name = "lost"
        units_from = ()
        units = Stage.units

    write_toy_inputs(tmp_path / "inputs")
    lost = Lost(None, fixed=DataId({"pass": 1}))
    first = Scene(None, fixed=DataId({"pass": 0}))

    def units(upstream: Upstream) -> list[DataId]:
        assert upstream.values("band") == ("u", "g", "r")
        return []

    first.units = units  # type: ignore[method-assign]
    # the cells of no scene: there is an input that carries them, but it has none
    result = run_toys(tmp_path / "work", stages=[Measure(CONFIG), first, lost])
    assert result.counts["lost"].total == 0
    with pytest.raises(TypeError, match="nothing tells the values of cell"):
        run_toys(tmp_path / "work", stages=[toy(NoInputs, dimensions=("cell",))])


def test_heartbeat_speaks_now_and_then(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    watcher = Heartbeat(interval=0.0)
    watcher.planned("fit", total=3, todo=2)
    watcher.planned("idle", total=3, todo=0)
    watcher.finished("fit", failed=True)
    assert "fit: 1 of 2 units, 1 failed, about" in caplog.text
    watcher.finished("fit", failed=False)
    assert len(caplog.records) == 1
    patient = Heartbeat(interval=60.0)
    patient.planned("fit", total=1, todo=1)
    patient.tick()
    assert len(caplog.records) == 1


def test_bars_are_drawn_on_a_terminal() -> None:
    text = io.StringIO()
    watcher = Bars(Console(file=text, force_terminal=True, width=100))
    watcher.planned("fit", total=3, todo=2)
    watcher.finished("fit", failed=True)
    watcher.close()
    assert "fit" in text.getvalue()
    assert "1/2" in text.getvalue()
    assert "1 failed" in text.getvalue()


def test_watchers_have_names() -> None:
    assert isinstance(make_watcher("quiet"), Silence)
    assert isinstance(make_watcher(None), Silence)
    assert isinstance(make_watcher("auto"), Heartbeat)  # tests have no terminal
    with pytest.raises(WrongValue, match="choose auto, bars"):
        make_watcher("loud")  # type: ignore[arg-type]


def test_serial_runs_use_one_blas_thread() -> None:
    controls = _blas()
    if not controls:
        pytest.skip("numpy and scipy bring no OpenBLAS of their own here")
    before = [control.get() for control in controls]
    for control in controls:
        control.set(2)
    with single_threaded():
        assert [control.get() for control in controls] == [1] * len(controls)
    assert [control.get() for control in controls] == [2] * len(controls)
    for control, count in zip(controls, before, strict=True):
        control.set(count)
    assert isinstance(controls[0].get, ctypes._CFuncPtr)  # type: ignore[attr-defined]


def test_flow_does_not_load_plots_or_compilers() -> None:
    code = (
        "import sys, skyloom.flow; print([m for m in ('matplotlib', 'numba') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_toy_stages_are_named_after_their_class() -> None:
    assert [s.name for s in (Collect(CONFIG), Strict(CONFIG), Scene(None))] == [
        "collect",
        "strict",
        "scene",
    ]
