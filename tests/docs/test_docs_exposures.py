"""The examples of docs/exposures.md run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

PAGE = Path(__file__).parents[2] / "docs" / "exposures.md"


def test_exposures(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    blocks = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.MULTILINE | re.DOTALL)
    for block in blocks:
        exec(block, scope)  # our own page
    printed = capsys.readouterr().out
    assert "<Exposure 100 x 100 float32, xy0=(1010, 2005)> 27.0 COSMOS" in printed
    assert "'SATELLITE': 9" in printed
    assert scope["bad"].sum() == 1
    assert np.allclose([scope["x"], scope["y"]], [1050.0, 2050.0], rtol=0, atol=1e-8)
    assert scope["mag"][0] == 27.0 - 2.5 * np.log10(50.0)
    assert np.isnan(scope["mag"][1])
    assert scope["ccd"].shape == (100, 100)
