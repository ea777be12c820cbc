"""The header processor that solves plates: spec tests with a stub, and once with a solver."""

# ruff: noqa: ARG002 - hooks take what they are given
from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from star_fields import FIELDS, SHAPE, true_wcs

from skyloom.calib import plate_solving as ps
from skyloom.errors import MissingFile, NotSolved, ShellCommandFailed, UnknownKey, WrongValue
from skyloom.process import AnetHeaderProcessor, CalibrateProcessor, DataSpec, procmain

COMMENTS = ["Index name: index-41", "Verify pixels: 1 pix"]


class Solved(AnetHeaderProcessor):
    """Finds the same WCS for every file, and counts."""

    calls = 0

    def _run_anet(self, identifier):
        type(self).calls += 1
        cards = true_wcs(*FIELDS[0]).cards(SHAPE)
        cards["IMAGEW"] = 1024
        for text in COMMENTS:
            cards.add_comment(text)
        cards.add_history("Created by the Astrometry.net suite.")
        return cards

    def _munge_header(self, identifier, header):
        header["OBJECT"] = "M 31"
        return header


@pytest.fixture
def plates(tmp_path):
    """Three images with an old, wrong WCS; the pixels tell of damage."""
    folder = tmp_path / "plates"
    folder.mkdir()
    for n in range(3):
        hdu = fits.PrimaryHDU(np.full((30, 40), 1000 + n, np.uint16))
        hdu.header["CDELT1"], hdu.header["CROTA2"], hdu.header["A_ORDER"] = -0.1, 12.0, 2
        hdu.header["EXPTIME"] = 60.0
        hdu.header.add_comment("scanned by hand")
        hdu.writeto(folder / f"p{n}.fits")
    return DataSpec.from_glob("plates/*.fits", resdir=tmp_path)


def run(cls, data, *argv):
    return procmain(cls, data, list(argv))


def test_a_solution_reaches_the_cache_and_then_the_file(plates, capsys):
    run(Solved, plates)
    assert capsys.readouterr().out.endswith("3 files processed, 0 files with errors\n")
    path = plates.resdir / "plates" / "p1.fits"
    assert "CD1_1" not in fits.getheader(path)
    run(Solved, plates, "--apply")
    with fits.open(path) as hdus:
        header = hdus[0].header
        assert hdus[0].data.tolist() == [[1001] * 40] * 30
    assert header["CTYPE1"].startswith("RA---TAN")
    assert (header["OBJECT"], header["EXPTIME"]) == ("M 31", 60.0)
    # What an old solution left would contradict the new one.
    assert not {"CDELT1", "CROTA2", "A_ORDER", "IMAGEW"} & set(header)
    assert list(header["COMMENT"]) == COMMENTS[:1]
    assert "suite" in str(header["HISTORY"])
    before = Solved.calls
    run(Solved, plates)  # all are processed: CD1_1 is there
    assert Solved.calls == before


def test_no_anet_keeps_the_calibration(plates, capsys):
    run(Solved, plates)
    before = Solved.calls

    class Renamed(Solved):
        def _munge_header(self, identifier, header):
            header["OBJECT"] = "M 33"
            return header

        def _run_anet(self, identifier):
            raise AssertionError("it was asked to solve")

    run(Renamed, plates, "--no-anet", "--reprocess")
    assert Solved.calls == before
    assert "0 files with errors" in capsys.readouterr().out
    header = fits.getheader(plates.resdir / "plates" / "p0.fits.hdr")
    assert header["OBJECT"] == "M 33"
    assert header["CD1_1"] == true_wcs(*FIELDS[0]).cd[0, 0]
    for path in (plates.resdir / "plates").glob("*.hdr"):
        path.unlink()
    run(Renamed, plates, "--no-anet")  # without a cache it fails
    said = capsys.readouterr()
    assert "3 files with errors" in said.out
    assert "there is no cache whose calibration --no-anet could reuse" in said.err


class WithStub(AnetHeaderProcessor):
    """Uses a stub in place of a back end."""

    answer: object = None

    def indexes(self):
        return ()

    def solve_file(self, identifier):
        with self._sandbox(identifier) as folder:
            (folder / "lastCommand.log").write_text("said nothing\n")
            if isinstance(self.answer, Exception):
                raise self.answer
            raise NotSolved("no solution: only 3 stars were found")


def test_no_solution_is_one_error_and_leaves_no_cache(plates, capsys, tmp_path):
    run(WithStub, plates, "--filter", "p1", "--copy-to", str(tmp_path / "box"))
    said = capsys.readouterr()
    assert "1 files processed, 1 files with errors" in said.out
    assert "CannotComputeHeader" in said.err
    assert "only 3 stars were found" in said.err
    assert not list((plates.resdir / "plates").glob("*.hdr"))
    assert (tmp_path / "box" / "lastCommand.log").read_text() == "said nothing\n"
    assert (tmp_path / "box" / "img.fits").is_file()
    assert not (tmp_path / "box" / "img.fits").is_symlink()


def test_copy_to_replaces_a_folder_but_not_the_sources(plates, tmp_path):
    box = tmp_path / "box"
    (box / "old").mkdir(parents=True)
    run(WithStub, plates, "--filter", "p2", "--copy-to", str(box))
    assert not (box / "old").exists()
    assert (box / "img.fits").exists()
    for target in ("/", "~", str(tmp_path), str(tmp_path.parent)):
        with pytest.raises(WrongValue):
            run(WithStub, plates, "--copy-to", target)
    assert (tmp_path / "plates" / "p0.fits").exists()
    run(WithStub, plates, "--copy-to", str(tmp_path / "plates"))  # holds the sources of each file
    assert (tmp_path / "plates" / "p0.fits").exists()


def test_mistakes_in_parameters_stop_before_any_work(plates):
    class Misspelt(Solved):
        sp_lower_pixel = 3.0

    with pytest.raises(UnknownKey, match="did you mean sp_lower_pix"):
        run(Misspelt, plates)

    class Forbidden(Solved):
        sex_control = "CATALOG_TYPE ASCII"

    with pytest.raises(WrongValue):
        run(Forbidden, plates)
    assert not list((plates.resdir / "plates").glob("*.hdr"))


def test_thresholds_of_calibrate(plates):
    seen = []

    class Watched(CalibrateProcessor):
        def solve_file(self, identifier):
            found = self._settings()
            seen.append((found.detect_minarea, found.detect_thresh))
            raise NotSolved("no solution")

    run(Watched, plates, "--filter", "p0")
    assert seen == [(n, 4.0) for n in (300, 50, 150, 800, 2000, 8000)]
    seen.clear()
    run(Watched, plates, "--filter", "p0", "--minarea", "10", "--detectthreshold", "6")
    assert seen == [(10, 6.0)]


def test_the_reason_is_that_of_the_area_with_most_stars(plates, capsys):
    class Watched(CalibrateProcessor):
        def solve_file(self, identifier):
            area = self._settings().detect_minarea
            n = {50: 40, 150: 7}.get(area, 0)
            raise NotSolved(f"no solution: {n} stars with area {area}", stars=range(n))

    run(Watched, plates, "--filter", "p0")
    assert "no solution: 40 stars with area 50" in capsys.readouterr().err


@pytest.mark.parametrize("control", [None, "DETECT_MINAREA 6\nDETECT_THRESH 6"])
def test_a_real_field_with_an_object_filter(tmp_path, shared_data, control, capsys):
    pytest.importorskip("astrometry", reason="pip install 'skyloom[solve]'")
    try:
        ps.find_indexes(["index-tycho2-09*"])
    except MissingFile:
        pytest.skip("no index-tycho2-09; run ci/debian.sh")
    packed = shared_data / "astrometry" / "synthetic-1p5deg-b.fits.gz"
    (tmp_path / "b.fits.gz").write_bytes(packed.read_bytes())

    class Field(AnetHeaderProcessor):
        sp_indices = (["index-tycho2-09*"],)
        sp_lower_pix, sp_upper_pix = 4.0, 7.0
        source_extractor_control = control
        backend = "astrometry"

        def object_filter(self, name):
            with fits.open(name, mode="update") as hdus:
                hdus[1].data = hdus[1].data[hdus[1].data["ELONGATION"] < 1.5]

    data = DataSpec.from_list([tmp_path / "b.fits.gz"])
    run(Field, data, "--copy-to", str(tmp_path / "box"))
    assert "0 files with errors" in capsys.readouterr().out
    header = fits.getheader(tmp_path / "b.fits.gz.hdr")
    assert header["ASTFOUND"] >= 20
    assert header["ASTHOMED"] < 0.5 * 5.27  # arcsec, half a pixel
    rows = fits.getdata(tmp_path / "box" / "img.xyls")
    assert rows["ELONGATION"].max() < 1.5
    assert (tmp_path / "box" / "overlay.png").stat().st_size > 10_000
    assert (tmp_path / "box" / "attempts.log").read_text().startswith("as given: ")


def test_a_program_that_breaks_off_is_an_error_of_its_file(plates, capsys):
    class Broken(WithStub):
        answer = ShellCommandFailed("solve-field broke off with status 255", retcode=255)

    run(Broken, plates)
    assert "3 files processed, 3 files with errors" in capsys.readouterr().out
