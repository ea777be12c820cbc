"""The examples of the butler's page run as they stand."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from skyloom.butler import FORMATS, Butler, Layout
from skyloom.butler.layout_file import known_layouts
from skyloom.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "butler.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_the_page_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks("python"):
        lines = block.splitlines()
        for node in ast.parse(block).body:
            source = ast.get_source_segment(block, node) or ""
            if not isinstance(node, ast.Expr):
                exec(source, scope)  # our own page
                continue
            answer = lines[(node.end_lineno or 0) - 1].partition("  # ")[2]
            found = eval(source, scope)
            if re.match(r"[\[{\d]", answer):
                assert answer.startswith(str(found)), source
    assert "56 {'seeing': 0.7}" in capsys.readouterr().out
    assert scope["butler"].rebuild().datasets == 1  # type: ignore[attr-defined]
    for line in blocks("sh")[0].splitlines():
        assert main(line.split()[1:]) == 0, line
    out = capsys.readouterr().out
    assert "processCcd_metadata        1  what the processing of a CCD noted" in out


def test_the_layout_of_the_page_is_one(tmp_path: Path) -> None:
    (block,) = blocks("yaml")
    (tmp_path / "butler.yaml").write_text(block)
    layout = Butler(tmp_path).layout
    assert {"difference", "light_curves", "calexp"} <= set(layout.types)
    path = layout.path(
        "difference", {"filter": "r", "tract": 9, "patch": "1,2", "epoch": 3}, root=tmp_path
    )
    assert path == tmp_path / "diff/r/9/1,2-03.fits"


def test_layouts_formats_and_fields_are_all_named() -> None:
    for name in (*known_layouts(), *FORMATS):
        assert f"`{name}`" in PAGE
    assert set(known_layouts()) == {
        path.stem for path in (Path(Layout.load.__code__.co_filename).parent / "layouts").glob("*")
    }
