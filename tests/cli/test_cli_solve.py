"""``skyloom solve``."""

from __future__ import annotations

import gzip
import json

import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.calib.plate_solving import find_indexes
from skyloom.cli import main
from skyloom.errors import MissingFile


@pytest.fixture
def field(tmp_path, shared_data, monkeypatch):
    """A folder with a field to solve."""
    pytest.importorskip("astrometry", reason="pip install 'skyloom[solve]'")
    try:
        find_indexes(["index-tycho2-09*"])
    except MissingFile:
        pytest.skip("no index-tycho2-09; run ci/debian.sh")
    folder = shared_data / "astrometry"
    with gzip.open(folder / "synthetic-1deg-a.fits.gz") as packed:
        (tmp_path / "a.fits").write_bytes(packed.read())
    (tmp_path / "sdss.jpg").write_bytes((folder / "sdss.jpg").read_bytes())
    monkeypatch.chdir(tmp_path)
    return json.loads((folder / "synthetic-1deg-a.json").read_text())


def test_a_field_is_solved_and_changed_only_on_request(field, tmp_path, capsys):
    before = (tmp_path / "a.fits").read_bytes()
    assert main(["solve", "a.fits", "--scale-low", "3", "--scale-high", "4"]) == 0
    assert "held out: " in capsys.readouterr().out
    assert (tmp_path / "a.fits").read_bytes() == before
    assert fits.getheader("a.fits.hdr")["CTYPE1"] == "RA---TAN"
    assert main(["solve", "a.fits", "--apply", "--json", "--overlay", "o.png"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["solved"]
    assert found["ra"] == pytest.approx(field["ra"], abs=1e-4)  # a tenth of a pixel
    with fits.open("a.fits") as hdus:
        ra, dec = WCS(hdus[0].header).all_pix2world(511.5, 511.5, 0)
        assert hdus[0].data.tobytes() == fits.getdata("a.fits").tobytes()
    assert (ra, dec) == pytest.approx((field["ra"], field["dec"]), abs=1e-4)
    assert (tmp_path / "o.png").stat().st_size > 50_000


def test_a_collection_is_calibrated_like_any_other(field, tmp_path, capsys):
    """Workers, caches, reports, --no-anet and quarantine are those of every processor."""
    data = (tmp_path / "a.fits").read_bytes()
    (tmp_path / "plates").mkdir()
    for name in ("p1.fits", "p2.fits"):
        (tmp_path / "plates" / name).write_bytes(data)
    (tmp_path / "plates" / "empty.fits").touch()
    solver = ["--indices", "index-tycho2-09*", "--scale-low", "3", "--scale-high", "4",
              "--minarea", "6", "--detectthreshold", "6"]  # fmt: skip
    words = ["calibrate", "plates", *solver]
    assert main([*words, "-j", "2", "--quarantine", "bad.txt", "--report-file", "r.json"]) == 1
    said = capsys.readouterr()
    assert said.out == "3 files processed, 1 files with errors\n"
    assert "empty.fits: the file is empty" in said.err
    report = json.loads((tmp_path / "r.json").read_text())
    assert [f["state"] for f in report["files"]] == ["failed", "done", "done"]
    again = [*words, "--quarantine", "bad.txt"]
    assert main([*again, "--no-anet", "--reprocess", "--backend", "solve-field"]) == 0
    assert main([*again, "--apply", "--backup"]) == 0
    header = fits.getheader("plates/p2.fits")
    assert WCS(header).all_pix2world(511.5, 511.5, 0)[0] == pytest.approx(field["ra"], abs=1e-4)
    assert (tmp_path / "plates/p2.fits.oldhdr").is_file()
    capsys.readouterr()
    assert main(["calibrate", "plates", "--report", "--quarantine", "bad.txt"]) == 1
    assert "2  processed" in capsys.readouterr().out


@pytest.mark.usefixtures("field")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scale-low", "0"], "0 must be > 0"),
        (["--scale-low", "5", "--scale-high", "4"], "exchange them"),
        (["--index-dir", "nowhere"], "no such folder of index files"),
        (["--indices", "index-99*"], "no index file matches index-99*"),
        (["--copy-to", "box", "-j", "2"], "--copy-to keeps the working folder of the last file"),
    ],
)
def test_mistakes_in_a_calibration_stop_before_any_work(words, message, capsys):
    assert main(["calibrate", "a.fits", *words]) == 2
    said = capsys.readouterr()
    assert message in said.err
    assert "processed" not in said.out


@pytest.mark.usefixtures("field")
def test_what_is_not_solved_gives_status_1(tmp_path, capsys):
    words = ["solve", "sdss.jpg", "a.fits", "--scale-low", "1", "--scale-high", "4", "--json"]
    assert main([*words, "--time-limit", "5"]) == 1
    first, second = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert (first["solved"], second["solved"]) == (False, True)
    assert "no solution" in first["reason"]
    assert not (tmp_path / "sdss.jpg.hdr").exists()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["absent.fits"], "no such file"),
        (["a.jpg", "--apply"], "--apply writes into uncompressed FITS"),
        (["a.fits", "--ra", "10"], "needs both --ra and --dec"),
        (["a.fits", "--minarea", "0"], "DETECT_MINAREA"),
        (["a.fits", "--index-dir", "nowhere"], "no such folder of index files"),
        (["a.fits", "b.fits", "--overlay", "o.png"], "--overlay draws one file"),
        (["a.fits", "--scale-low", "3", "--scale-high", "1"], "above the upper one"),
    ],
)
def test_mistakes_give_status_2(words, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for name in ("a.fits", "b.fits", "a.jpg"):
        fits.PrimaryHDU([[1.0, 2.0]]).writeto(name)
    assert main(["solve", *words]) == 2
    assert message in capsys.readouterr().err
