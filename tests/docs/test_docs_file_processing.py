"""The examples of the page on file processing run as they stand."""

# ruff: noqa: ARG001 - fixtures

from __future__ import annotations

import json
import re
import shlex
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skyloom.cli import main

PAGE = (Path(__file__).parents[2] / "docs" / "file_processing.md").read_text(encoding="utf-8")
NAMES = ("night1_a.fits", "night1_b.fits", "night2_a.fits")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A folder with images of ten stars and all files of the page."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "raw").mkdir()
    rng = np.random.default_rng(4)
    y, x = np.mgrid[:100, :100]
    for name in NAMES:
        pixels = rng.normal(100, 2, (100, 100))
        for n in range(10):
            x0, y0 = 12 + 18 * (n % 5), 25 + 45 * (n // 5)
            pixels += 500 * np.exp(-((x - x0) ** 2 + (y - y0) ** 2) / 4)
        hdu = fits.PrimaryHDU(pixels.astype(np.uint16))
        hdu.header.update({"EXPOSURE": 1500, "FILTER": "r SDSS", "AIRMASS": "1.2", "TEMP1": 3})
        hdu.writeto(tmp_path / "raw" / name, checksum=True)
    (tmp_path / "plates.csv").write_text("".join(f"{name},12,IIa-O\n" for name in NAMES))
    (tmp_path / "observations.csv").write_text("file\nraw/night2_a.fits\n")
    for language in ("python", "yaml", "toml"):
        for block in blocks(language):
            name = block.split("\n")[0].removeprefix("# ")
            (tmp_path / name).write_text(block)
    return tmp_path


def run(block: str) -> str:
    """Run the commands of a block; return what programs printed."""
    printed = ""
    for line in block.splitlines():
        words = shlex.split(line, comments=True)
        if words[0] == "skyloom":
            assert main(words[1:]) == 0
        else:
            assert words[0] == "python", line
            done = subprocess.run(
                [sys.executable, *words[1:]],
                capture_output=True,
                text=True,
                timeout=120,
                check=True,
            )
            assert done.stderr == ""
            printed += done.stdout
    return printed


def test_processor(folder, capsys):
    printed = run(blocks("sh")[0])
    assert printed == "3 files processed, 0 files with errors\nstars: 30\n"
    report = json.loads((folder / "report.json").read_text())
    assert report["counts"]["processed"] == 2
    assert "stars: 20" in capsys.readouterr().out


def test_sources(folder):
    assert run("python sources.py") == "2\n"


def test_headers(folder, capsys):
    run(blocks("sh")[1])
    assert "PLATENUM= '12      '           / number of the plate" in capsys.readouterr().out
    with fits.open(folder / "raw" / "night1_b.fits", checksum=True) as hdus:
        header = hdus[0].header
        assert (header["PLATENUM"], header["OBSERVER"]) == ("12", "C. Herschel")
        assert header["PID"] == "raw/night1_b.fits"
        assert header["PRE-PROC"] == "cleaned"
        assert hdus[0].data.dtype == np.uint16


def test_template(folder):
    assert "EXPTIME =                120.0 / [s] exposure time" in run("python template.py")


def test_rules(folder, capsys):
    before = {name: (folder / "raw" / name).read_bytes() for name in NAMES}
    commands = blocks("sh")[2].splitlines()
    run("\n".join(commands[:3]))
    out = capsys.readouterr().out
    assert out.count("+EXPTIME =                  1.5 / [s]") == 3
    assert out.endswith("EXPTIME =                  1.5 / [s]\nFILTER  = 'r       '\n")
    run("\n".join(commands[3:5]))
    assert fits.getheader(folder / "raw" / NAMES[0])["OBJECT"] == "M 31"
    assert main(["validate", "raw"]) == 0
    run(commands[5])
    assert {name: (folder / "raw" / name).read_bytes() for name in NAMES} == before


def test_validation(folder, capsys):
    run(blocks("sh")[3])
    assert "3  valid" in capsys.readouterr().out


def test_the_migration_table_names_what_exists():
    from skyloom import process  # noqa: PLC0415

    table = PAGE[PAGE.index("| DaCHS |") : PAGE.index("Different on purpose")]
    functions = ["sort_headers", "replace_primary_header_in_place", "procmain", "SkipThis"]
    for name in functions:
        assert name in table
        assert hasattr(process, name)
    for hook in re.findall(r"`(_?[a-z]+_[a-z_]+)", table.replace("|", " | ")):
        owners = (
            process,
            process.previews,
            process.AnetHeaderProcessor,
            process.ImmediateHeaderProcessor,
        )
        known = {"data_spec", "add_option", "add_argument", "n_procs"}
        assert hook in known or any(hasattr(owner, hook) for owner in owners), hook
