"""``skyloom previews``: make, missing, sheet."""

from __future__ import annotations

import json
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from skyloom.cli import main
from skyloom.process.previews import flat_name


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """Two images in ``night/a``; in ``night/b`` one that is no FITS, a table, and a text file."""
    rng = np.random.default_rng(11)
    for k, name in enumerate(("night/a/one.fits", "night/a/two.fits.gz")):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        header = fits.Header({"OBJECT": f"M {k}", "SERIES": "ADH"})
        fits.writeto(path, rng.normal(100, 5, (80, 60)).astype(np.float32), header)
    (tmp_path / "night/b").mkdir()
    (tmp_path / "night/b/bad.fits").write_bytes(b"no")
    (tmp_path / "night/b/notes.txt").write_text("no image")
    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5.0))])
    table.writeto(tmp_path / "night/b/catalogue.fits")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def picture(path: Path) -> Image.Image:
    return Image.open(BytesIO(path.read_bytes()))


def test_make_missing_and_sheet(folder, capsys):
    assert main(["previews", "missing", "night"]) == 0
    said = capsys.readouterr()
    assert said.out.split() == ["night/a/one.fits", "night/a/two.fits.gz", "night/b/bad.fits"]
    assert said.err == "3 of 3 images have no preview\n"

    assert main(["previews", "make", "night"]) == 1  # one has failed
    said = capsys.readouterr()
    assert said.out == "3 files processed, 1 files with errors\n"
    assert "night/b/bad.fits: is not FITS" in said.err
    assert picture(folder / "previews/night/a/one.fits.jpeg").size == (60, 80)

    assert main(["previews", "missing", "night"]) == 0
    assert capsys.readouterr().out.split() == ["night/b/bad.fits"]
    assert (
        main(["previews", "sheet", "night", "--keys", "OBJECT,SERIES", "--title", "A night"]) == 0
    )
    assert "previews/index.html: 2 of 3 images have a preview" in capsys.readouterr().out
    page = (folder / "previews/index.html").read_text("utf-8")
    assert "<h1>A night</h1>" in page
    assert '"keys": ["OBJECT", "SERIES"]' in page
    assert 'href="night/a/one.fits.jpeg"' in page


def test_a_sheet_says_why_a_preview_could_not_be_made(folder):
    whole = (folder / "night/a/one.fits").read_bytes()
    (folder / "night/a/one.fits").write_bytes(whole[:9000])
    assert main(["previews", "make", "night"]) == 1
    assert main(["previews", "make", "night", "--filter", "two", "--force"]) == 0
    assert main(["previews", "sheet", "night"]) == 0
    page = (folder / "previews/index.html").read_text("utf-8")
    assert "one.fits[0]: the file is truncated or damaged in row" in page


@pytest.mark.usefixtures("folder")
def test_the_first_failure_ends_a_run_and_a_list_keeps_what_failed(capsys):
    assert main(["previews", "make", "night/b/bad.fits", "--bail"]) == 1
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.startswith("*** night/b/bad.fits\nTraceback")
    for failed in (1, 0):  # the second time it is left out
        words = ["--quarantine", "bad.txt", "--retries", "1", "--time-limit", "60"]
        assert main(["previews", "make", "night", *words]) == failed
    assert Path("bad.txt").read_text().startswith("night/b/bad.fits\t")
    report = json.loads(Path("previews/.report.json").read_text())
    assert report["counts"]["quarantined"] == 1


@pytest.mark.parametrize("name", ["night/*/*.fits*", "@list.txt", "night/a/../"])
def test_data_are_named_by_globs_lists_and_directories(folder, name):
    Path("list.txt").write_text("night/a/one.fits\nnight/a/two.fits.gz\nnight/b/bad.fits\n")
    assert main(["previews", "make", name]) == 1
    assert (folder / "previews/night/a/one.fits.jpeg").is_file()
    assert (folder / "previews/night/a/two.fits.gz.jpeg").is_file()


def test_the_look_is_chosen(folder):
    options = ["--format", "png", "--size", "30", "--stretch", "zscale", "--white-sky"]
    assert main(["previews", "make", "night/a", "--out", "there/p", *options]) == 0
    shown = picture(folder / "there/p/night/a/one.fits.png")
    assert (shown.format, shown.size) == ("PNG", (20, 26))  # blocks of 3 x 3
    assert main(["previews", "make", "night/a/one.fits", "--out", "p", "--flat"]) == 0
    assert [p.name for p in Path("p").iterdir() if p.name[0] != "."] == [
        flat_name("night/a/one.fits")
    ]


def test_colour(folder, capsys):
    rng = np.random.default_rng(12)
    hdus = [fits.ImageHDU(rng.normal(size=(30, 40)), name=name) for name in "gri"]
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto("mef.fits")
    assert main(["previews", "make", "mef.fits", "--color", "I,R,1"]) == 0
    assert picture(folder / "previews/mef.fits.jpeg").mode == "RGB"
    assert main(["previews", "make", "mef.fits", "--color", "I,R"]) == 2
    assert "--color I,R must name three HDUs" in capsys.readouterr().err


def test_a_description_in_toml(folder):
    Path("adh.toml").write_text(
        'id = "ADH"\nresdir = "night"\ninputs_dir = "."\n[sources]\npatterns = ["a/*.fits"]\n'
        '[properties]\npreview_dir = "pre"\n'
    )
    assert main(["previews", "make", "adh.toml", "--flat"]) == 0
    assert (folder / "night/pre" / flat_name("night/a/one.fits")).is_file()
    assert main(["previews", "sheet", "adh.toml", "--flat"]) == 0
    assert "<h1>ADH</h1>" in (folder / "night/pre/index.html").read_text("utf-8")
    assert main(["previews", "make", "adh.toml", "--out", "other"]) == 0
    assert (folder / "other/night/a/one.fits.jpeg").is_file()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["none.fits"], "none.fits: no such file or directory"),
        (["none*.fits"], "none*.fits: no such file or directory"),
        (["empty"], "no FITS file below this directory"),
        (["adh.toml", "night"], "is named alone"),
        (["night", "--stretch", "log"], "'log' is not one of"),
    ],
)
def test_mistakes_stop_before_any_work(folder, capsys, words, message):
    (folder / "empty").mkdir()
    assert main(["previews", "make", *words]) == 2
    assert message in capsys.readouterr().err
    assert not (folder / "previews").exists()
