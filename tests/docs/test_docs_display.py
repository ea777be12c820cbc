"""The examples of the display page run, and the picture is the one that the page shows."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skyloom import display
from skyloom.cli.display import display as command

DOCS = Path(__file__).parents[2] / "docs"


def blocks(language: str) -> list[str]:
    text = (DOCS / "display.md").read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_the_display_page(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))  # no ds9, whatever this machine has
    scope: dict[str, object] = {}
    try:
        for block in blocks("python"):
            exec(block, scope)  # our own page
    finally:
        display.close()
    assert capsys.readouterr().out == "['mask color cyan']\n"
    made, kept = (_grey(path) for path in (tmp_path / "star.png", DOCS / "images/display_star.png"))
    assert made.shape == kept.shape
    assert np.abs(made - kept).mean() < 3  # grey levels: fonts differ between machines


def _grey(path: Path) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(path.read_bytes())).convert("L")).astype(float)


@pytest.mark.parametrize("line", "".join(blocks("text")).splitlines())
def test_command_lines_have_options_that_exist(line):
    words = line.split()
    assert words[:2] == ["skyloom", "display"]
    known = {name for option in command.params for name in option.opts}
    assert {word for word in words if word.startswith("--")} <= known
