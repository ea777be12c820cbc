"""The examples of the page on plate solving run as they stand."""

from __future__ import annotations

import gzip
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from astropy.io import fits

from skyloom.calib.plate_solving import find_indexes
from skyloom.cli import main
from skyloom.errors import MissingFile

PAGE = (Path(__file__).parents[2] / "docs" / "plate_solving.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, shared_data, monkeypatch):
    """A folder with the field of the page."""
    pytest.importorskip("astrometry", reason="pip install 'skyloom[solve]'")
    try:
        find_indexes(["index-tycho2-09*"])
    except MissingFile:
        pytest.skip("no index-tycho2-09; run ci/debian.sh")
    with gzip.open(shared_data / "astrometry" / "synthetic-1deg-a.fits.gz") as packed:
        (tmp_path / "field.fits").write_bytes(packed.read())
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_commands(folder, capsys):
    for line in blocks("sh")[0].splitlines():
        assert main(line.split()[1:]) == 0
    assert "held out: " in capsys.readouterr().out
    assert (folder / "field.png").is_file()
    assert fits.getheader("field.fits")["CTYPE1"] == "RA---TAN"


@pytest.mark.usefixtures("folder")
def test_python():
    scope: dict[str, object] = {}
    exec(blocks("python")[0], scope)  # our own page
    # 0.1 pix; the truth of this field
    assert scope["solution"].centre == pytest.approx((278.62418, -7.02158), abs=1e-4)
    assert scope["wcs"].has_celestial


@pytest.mark.usefixtures("folder")
def test_collections(capsys):
    for line in blocks("sh")[1].splitlines():
        assert main(shlex.split(line)[1:]) == 0
    out = capsys.readouterr().out
    assert "1 files processed, 0 files with errors" in out
    assert "1  cached" in out


def test_processor(folder):
    (folder / "plates.py").write_text(blocks("python")[1])
    for line in blocks("sh")[2].splitlines():
        done = subprocess.run(
            [sys.executable, *line.split()[1:]],
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        )
        assert "1 files processed, 0 files with errors" in done.stdout, done.stderr
    assert fits.getheader("field.fits")["ORIGIN"] == "Example Observatory"
