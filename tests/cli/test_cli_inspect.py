"""``skyloom status`` and ``skyloom verify``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import pytest
from typing_extensions import override

from skyloom.butler import Butler, Layout
from skyloom.cli import main
from skyloom.errors import MissingFile, Unprocessable, UnreadableFile
from skyloom.flow import Dataset, Dim, Pipeline, Stage, run_pipeline
from skyloom.flow.history import Damage, check_outputs, read_history


@dataclass(frozen=True, slots=True, kw_only=True)
class In:
    band: Annotated[str, Dim("band")]


@dataclass(frozen=True, slots=True, kw_only=True)
class Out:
    noise: Annotated[dict[str, Any], Dataset("noise")]


class Toy(Stage[dict[str, Any], In, Out]):
    name = "toy"
    dimensions = ("band",)

    @override
    def run(self, inputs: In) -> Out:
        if inputs.band == "bad":
            raise Unprocessable("toy(band=bad): no star survives; loosen toy.sigma")
        return Out(noise={"band": inputs.band})


@pytest.fixture
def work(tmp_path: Path) -> Path:
    layout = Layout.load("tile")
    butler = Butler(tmp_path / "work", layout, writeable=True)
    pipeline = Pipeline([Toy({})], layout=layout)
    run_pipeline(pipeline, butler, dimensions={"band": ("g", "bad", "r")}, executor="serial")
    return butler.root


def test_status_tells_counts_and_failures(work: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = read_history(work)
    (stage,) = history.stages
    assert (stage.stage, stage.done, stage.failed, stage.unfinished) == ("toy", 2, 1, 0)
    assert history.run is not None
    assert history.run.exit_status == 1
    assert main(["status", str(work)]) == 1
    text = capsys.readouterr().out
    assert "exit status 1" in text
    assert "toy(band=bad): toy(band=bad): no star survives; loosen toy.sigma" in text


def test_verify_finds_what_is_missing_or_changed(
    work: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(work)]) == 0
    assert capsys.readouterr().out == "2 products, 0 damaged\n"
    g, r = (work / "skyloom" / "noise" / f"{band}.json" for band in "gr")
    g.unlink()
    data = r.read_bytes()
    r.write_bytes(data.replace(b"r", b"s"))  # the same length
    found = [d for d in check_outputs(work) if isinstance(d, Damage)]
    assert [(d.path, d.what) for d in found] == [(g, "missing"), (r, "changed")]
    assert main(["verify", str(work)]) == 1
    assert "2 products, 2 damaged" in capsys.readouterr().out


def test_a_directory_without_a_ledger(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(MissingFile, match="nothing ran here"):
        read_history(tmp_path)
    for command in ("status", "verify"):
        assert main([command, str(tmp_path)]) == 2
        assert "MissingFile" in capsys.readouterr().err


def test_a_damaged_ledger_is_told(work: Path) -> None:
    (work / "skyloom" / "ledger.sqlite").write_bytes(b"SQLite format 3\0" + b"rubbish" * 1000)
    for suffix in ("-wal", "-shm"):
        (work / "skyloom" / f"ledger.sqlite{suffix}").unlink(missing_ok=True)
    with pytest.raises(UnreadableFile, match="makes it anew"):
        read_history(work)
    with pytest.raises(UnreadableFile):
        list(check_outputs(work))
