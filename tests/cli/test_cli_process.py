"""The commands for many files."""

# ruff: noqa: ARG001 - fixtures

from __future__ import annotations

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits

from skyloom.butler import Butler
from skyloom.cli import main


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Four images, one of them truncated, two in a folder below."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night").mkdir()
    for name in ("a.fits", "short.fits", "night/b.fits", "night/c.fits"):
        hdu = fits.PrimaryHDU(np.ones((20, 30), np.float32))
        hdu.header["EXPOSURE"] = (1500, "in milliseconds")
        hdu.writeto(tmp_path / name, checksum=True)
    os.truncate(tmp_path / "short.fits", 4000)
    return tmp_path


def test_validate(folder, capsys):
    assert main(["validate", "a.fits", "-j", "2", "night"]) == 0
    assert capsys.readouterr().out == "3 files processed, 0 files with errors\n"
    assert main(["validate", ".", "--report-file", "report.json"]) == 1
    out, err = capsys.readouterr()
    assert out == "4 files processed, 1 files with errors\n"
    assert "short.fits[0]: truncated, 1280 bytes of the data are missing" in err
    report = json.loads((folder / "report.json").read_text())
    assert [f["state"] for f in report["files"]].count("failed") == 1
    assert main(["validate", "*.fits", "--report"]) == 0
    assert "1  truncated" in capsys.readouterr().out
    (folder / "list.txt").write_text("# those\na.fits\n\nnight/b.fits\n")
    assert main(["validate", "@list.txt"]) == 0
    (folder / "list.csv").write_text("file\na.fits\n")
    assert main(["validate", "--table", "list.csv", "--column", "file"]) == 0
    (folder / "data.toml").write_text('[sources]\npatterns = ["night/*.fits"]\n')
    assert main(["validate", "--data", "data.toml"]) == 0
    assert "2 files processed" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["validate"], 2, "name the files: SOURCE..., --data, --table or --butler, one of them"),
        (["validate", "a.fits", "--data", "x.toml"], 2, "name the files"),
        (["validate", "a.fits", "-j", "0"], 2, "0 must be > 0"),
        (["validate", "--data", "no.toml"], 2, "no.toml: there is no such file"),
        (["validate", "@no.txt"], 2, "the list of files cannot be read"),
        (["validate", "no.fits"], 1, "FileNotFoundError"),
        (["headers", "apply-rules", "a.fits"], 2, "--rules"),
        (["headers", "apply-rules", "--rules", "no.yaml", "a.fits"], 2, "Config not found"),
        (["headers", "set", "--set", "NAXIS1=3", "a.fits"], 2, "does not describe the data layout"),
        (["process", "no.py"], 2, "no.py: there is no such script"),
    ],
)
def test_mistakes(folder, capsys, argv, status, message):
    assert main(argv) == status
    assert message in capsys.readouterr().err


def test_help(capsys):
    assert main(["validate", "--help"]) == 0
    assert "--no-checksums" in capsys.readouterr().out
    assert main(["headers", "apply-rules", "--help"]) == 0
    assert "--rules FILE" in capsys.readouterr().out


def test_rules_change_files_only_when_asked(folder, capsys):
    (folder / "rules.yaml").write_text(
        "rename: {EXPOSURE: EXPTIME}\nunits: {EXPTIME: {from: ms, to: s}}\nhistory: in seconds\n"
    )
    command = ["headers", "apply-rules", "--rules", "rules.yaml", "night"]
    before = (folder / "night/b.fits").read_bytes()
    assert main([*command, "--dry-run", "-j", "2"]) == 0
    out = capsys.readouterr().out
    assert out.count("-EXPOSURE=                 1500 / in milliseconds") == 2
    assert out.count("+EXPTIME =                  1.5 / [s] in milliseconds") == 2
    assert (folder / "night/b.fits").read_bytes() == before
    assert main([*command, "--backup"]) == 0
    with fits.open(folder / "night/b.fits", checksum=True) as hdus:
        assert hdus[0].header["EXPTIME"] == 1.5
    changed = (folder / "night/b.fits").read_bytes()
    assert main(command) == 0
    assert (folder / "night/b.fits").read_bytes() == changed
    assert main(["headers", "restore", "night"]) == 0
    assert (folder / "night/b.fits").read_bytes() == before


def test_set_show_and_sort(folder, capsys):
    edit = ["--set", "OBSERVER=N. N.", "--set", "GAIN=1.5", "--default", "EXPOSURE=1"]
    more = ["--comment", "GAIN=electron / ADU", "--rename", "EXPOSURE=EXPTIME"]
    assert main(["headers", "set", "a.fits", *edit, *more, "--history", "edited"]) == 0
    capsys.readouterr()
    assert main(["headers", "show", "a.fits", "--key", "GAIN", "--key", "obs*"]) == 0
    assert capsys.readouterr().out == (
        "OBSERVER= 'N. N.   '\nGAIN    =                  1.5 / electron / ADU\n"
    )
    assert main(["headers", "set", "a.fits", "--delete", "G*"]) == 0
    assert main(["headers", "sort", "a.fits"]) == 0
    assert "GAIN" not in fits.getheader(folder / "a.fits")
    assert main(["headers", "show", "a.fits", "no.fits"]) == 1


SCRIPT = """
from skyloom.process import DataSpec, FileProcessor, procmain

class Size(FileProcessor):
    def process(self, identifier):
        if "short" in identifier:
            raise ValueError("short")
        return self.get_primary_header(identifier)["NAXIS1"]
    def handle_result(self, identifier, result):
        print(result)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_script_of_its_own(folder, capsys, jobs):
    (folder / "own.py").write_text(
        SCRIPT + "if __name__ == '__main__':\n    procmain(Size, DataSpec.from_glob('*.fits'))\n"
    )
    assert main(["process", "own.py", "-j", jobs, "--filter", "fits"]) == 0  # as DaCHS has it
    assert capsys.readouterr().out == "30\n2 files processed, 1 files with errors\n"
    assert main(["process", "own.py", "-j", jobs, "--strict"]) == 1
    assert main(["process", "own.py", "--bail"]) == 1
    assert main(["process", "own.py", "--nonsense"]) == 2


def test_a_script_that_only_defines_a_processor(folder, capsys):
    (folder / "one.py").write_text(SCRIPT)
    assert main(["process", "one.py", "night", "-j", "2"]) == 0
    assert capsys.readouterr().out == "30\n30\n2 files processed, 0 files with errors\n"
    assert main(["process", "one.py", "."]) == 1
    (folder / "two.py").write_text(SCRIPT + "class Other(Size):\n    pass\n")
    assert main(["process", "two.py:Other", "a.fits"]) == 0
    assert main(["process", "two.py", "a.fits"]) == 2
    assert "which processor? It has Size, Other; write two.py:CLASS" in capsys.readouterr().err


def test_as_a_program(folder):
    (folder / "one.py").write_text(SCRIPT)
    done = subprocess.run(
        [sys.executable, "-m", "skyloom", "process", "one.py", "night", "-j", "2"],
        capture_output=True, text=True, check=False, timeout=60,
    )  # fmt: skip
    assert (done.returncode, done.stdout[:6], done.stderr) == (0, "30\n30\n", "")


def test_the_files_of_a_butler(tmp_path, capsys):
    layout = "datasets:\n  notes: {format: json, template: 'notes/%(visit)03d.json', doc: notes}\n"
    (tmp_path / "butler.yaml").write_text(layout)
    with Butler(tmp_path, writeable=True) as butler:
        for visit in (1, 2, 30):
            butler.put({"seeing": 0.5}, "notes", visit=visit)
    script = tmp_path / "sizes.py"
    script.write_text(
        "from skyloom.process import FileProcessor\n"
        "class Names(FileProcessor):\n"
        "    def process(self, identifier):\n"
        "        print(identifier[-8:])\n"
    )
    words = ["process", str(script), "--butler", str(tmp_path), "--dataset", "notes"]
    assert main(words) == 0
    assert capsys.readouterr().out.split()[:3] == ["001.json", "002.json", "030.json"]
    assert main([*words, "--where", "visit=30"]) == 0
    assert capsys.readouterr().out == "030.json\n1 files processed, 0 files with errors\n"
    for wrong, message in (
        (words[:4], "--butler needs --dataset"),
        ([*words, "--where", "visit"], "--where visit must be KEY=VALUE"),
        ([*words[:2], "a.fits", "--dataset", "notes"], "belong to --butler"),
        ([*words[:5], "note"], "note"),
    ):
        assert main(wrong) == 2
        assert message in capsys.readouterr().err
