"""The examples of the page on zero points run as they stand."""

from __future__ import annotations

import re
import shlex
import shutil
from pathlib import Path

from skyloom.catalogs import read_csv
from skyloom.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "zero_points.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_example(capsys):
    scope: dict[str, object] = {}
    exec(blocks("python")[0], scope)  # our own page
    found = scope["found"]
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert found.ml.mean_err < found.zp_median_err
    assert abs(found.ml.mean - 25.0) < 3 * found.ml.mean_err  # one field, three sigma


def test_command(tmp_path, monkeypatch, shared_data):
    monkeypatch.chdir(tmp_path)
    shutil.copyfile(shared_data / "gaia_xp_mini" / "XP_CONTINUOUS_RAW.csv", "XP_CONTINUOUS_RAW.csv")
    Path("gaia_source.csv").write_text(
        "source_id,ra,dec,phot_g_mean_mag\n5762406957886626816,1,2,13.3\n"
    )
    Path("filters").mkdir()
    Path("filters/m475.dat").write_text("4620 0\n4630 0.9\n4870 0.9\n4880 0\n")
    words = shlex.split(blocks("sh")[0])
    assert words[0] == "skyloom"
    assert main(words[1:]) == 0
    assert abs(float(read_csv("gaiaxp.csv")["mag_m475"][0]) - 12.99) < 0.01  # two digits here
