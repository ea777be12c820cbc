"""The tutorial of the tools runs as it stands, and its answers are true."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

PAGE = (Path(__file__).parents[2] / "docs" / "tools_tutorial.md").read_text(encoding="utf-8")


def test_the_tutorial_runs_from_top_to_bottom(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    n_answers = 0
    for block in re.findall(r"^```python\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL):
        lines = block.splitlines()
        for node in ast.parse(block).body:
            source = ast.get_source_segment(block, node) or ""
            if not isinstance(node, ast.Expr):
                exec(source, scope)  # our own page
                continue
            answer = lines[(node.end_lineno or 0) - 1].partition("  # ")[2]
            found = eval(source, scope)
            if re.match(r"[\[\d'(]|False", answer):
                assert answer == repr(found), source
                n_answers += 1
    assert n_answers == 15
    out = capsys.readouterr().out
    assert re.search(r"^SAT [1-9]", out, flags=re.MULTILINE)
    n, median, stdev = map(float, re.search(r"^(\d+) (\S+) (\S+)$", out, re.MULTILINE).groups())  # type: ignore[union-attr]
    assert n > 40_000
    assert abs(median) < 0.5  # 10 counts / sqrt(4e4) = 0.05, and faint wings
    assert stdev == pytest.approx(10.0, rel=0.03)  # less what clipping at 3 sigma takes
    pixels = np.asarray(PilImage.open(tmp_path / "calexp.png").convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert ((red > 200) & (green > 200) & (blue < 80)).sum() > 20  # circles
    assert ((red > 200) & (green < 60) & (blue < 60)).sum() > 20  # the saturated one
