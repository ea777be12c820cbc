"""The examples of the documentation run as they stand."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import numpy as np

from skyloom.cli import main

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def test_tile_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    commands = [line.split("#")[0].split() for line in blocks("tile.md", "sh")[0].splitlines()]
    for words in commands:
        assert words[0] == "skyloom", shlex.join(words)
        assert main(words[1:]) == 0
    assert (tmp_path / "field" / "work" / "output_catalog.csv").is_file()


def test_engine_example():
    scope: dict[str, object] = {}
    exec(blocks("scene.md", "python")[0], scope)  # our own page
    fit = scope["fit"]
    pull = (fit.flux[:, 0] - [3000.0, 5000.0]) / fit.flux_err[:, 0]
    assert np.all(np.abs(pull) < 4.0)  # one realisation of noise, four sigma
