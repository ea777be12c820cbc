"""The state machine of header processors: every state with every combination of options."""

# ruff: noqa: ARG001, ARG002 - hooks and fixtures

from __future__ import annotations

import os

import numpy as np
import pytest
from astropy.io import fits
from fits_files import odd_file, uint16_image

from skyloom.process import (
    CannotComputeHeader,
    DataSpec,
    FITSError,
    HeaderProcessor,
    ImmediateHeaderProcessor,
    get_primary_header,
    procmain,
    sort_headers,
)


class AddTarget(HeaderProcessor):
    """Fulfils its own `_is_processed`."""

    def _is_processed(self, identifier):
        return "TARGET" in self.get_primary_header(identifier)

    def _munge_header(self, identifier, header):
        header["TARGET"] = ("M 33", "name of the target")
        header["NCALC"] = header.get("NCALC", 0) + 1
        return header


class Unhelpful(AddTarget):
    """Never fulfils it."""

    def _is_processed(self, identifier):
        return False


def run(cls, path, *argv):
    return procmain(cls, DataSpec.from_list([path]), argv)


@pytest.fixture
def image(tmp_path):
    path = tmp_path / "a.fits"
    uint16_image(path, second=True)
    return path


# Options; what happens in the states P=0 C=0, P=0 C=1, P=1 C=0, P=1 C=1: c calc, w write.
TABLE = [
    ("", "c", "", "", ""),
    ("--apply", "cw", "w", "", ""),
    ("--apply --no-compute", "", "w", "", ""),
    ("--no-compute", "", "", "", ""),
    ("--reprocess", "c", "c", "c", "c"),
    ("--reprocess --apply", "cw", "cw", "c", "c"),
    ("--reheader", "c", "", "c", ""),
    ("--reheader --apply", "cw", "w", "cw", "w"),
    ("--reheader --apply --no-compute", "", "w", "", "w"),
    ("--reprocess --reheader --apply", "cw", "cw", "cw", "cw"),
    ("--reprocess --no-compute", "", "", "", ""),
    ("--reprocess --no-compute --apply", "", "w", "", ""),
    ("--reprocess --reheader", "c", "c", "c", "c"),
    ("--reprocess --reheader --no-compute --apply", "", "w", "", "w"),
]


@pytest.mark.parametrize(
    ("options", "is_processed", "has_cache", "expected"),
    [
        (row[0], bool(state & 2), bool(state & 1), row[1 + state])
        for row in TABLE
        for state in range(4)
    ],
)
def test_every_state_with_every_option(image, options, is_processed, has_cache, expected):
    cache = image.with_name("a.fits.hdr")
    if is_processed:
        fits.setval(image, "TARGET", value="there already")
    if has_cache:
        old = fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0), ("TARGET", "cached")])
        cache.write_bytes(old.tostring().encode())
        os.utime(cache, ns=(1, 1))
    os.utime(image, ns=(1, 1))
    before = image.read_bytes()
    assert run(AddTarget, image, *options.split()).counts.ignored == 0
    calculated = cache.exists() and cache.stat().st_mtime_ns != 1
    written = image.read_bytes() != before
    assert "c" * calculated + "w" * written == expected
    assert written == (image.stat().st_mtime_ns != 1)
    with fits.open(image) as hdus:
        hdus.verify("exception")
        if written:
            assert hdus[0].header["TARGET"] == ("M 33" if calculated else "cached")
            assert ("FILTER" in hdus[0].header) == calculated  # a cached header is complete
    assert image.read_bytes()[2880:] == before[2880:]
    assert {p.name for p in image.parent.iterdir()} <= {"a.fits", "a.fits.hdr"}


def test_an_unhelpful_processor_writes_on_every_apply(image):
    run(Unhelpful, image, "--apply")
    os.utime(image, ns=(1, 1))
    run(Unhelpful, image, "--apply")
    assert get_primary_header(image)["NCALC"] == 1  # from the cache
    run(Unhelpful, image, "--apply", "--reprocess")
    assert get_primary_header(image)["NCALC"] == 2  # starts from the changed header


def test_a_cache_is_a_header_of_its_own(image):
    run(AddTarget, image)
    cache = image.with_name("a.fits.hdr")
    assert cache.stat().st_size % 2880 == 0
    with fits.open(cache) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
    assert (header["BITPIX"], header["NAXIS"]) == (8, 0)
    assert not [key for key in header if key.startswith("NAXIS") and key != "NAXIS"]
    assert header["BZERO"] == 32768


def test_cubes_keep_all_axes(tmp_path):
    path = tmp_path / "cube.fits"
    data = np.arange(24, dtype=np.int16).reshape(2, 3, 4)
    hdu = fits.PrimaryHDU(data)
    hdu.header["BLANK"] = -1
    hdu.writeto(path)
    run(AddTarget, path, "--apply")
    with fits.open(path, do_not_scale_image_data=True) as hdus:
        hdus.verify("exception")
        assert np.array_equal(hdus[0].data, data)
        assert hdus[0].header["BLANK"] == -1


def test_what_describes_the_data_comes_from_the_file(image):
    class Rough(AddTarget):
        def _get_header(self, identifier):
            return fits.Header([("TARGET", "x"), ("NAXIS1", 5), ("BLANK", 7), ("OWN", 1)])

    with fits.open(image) as hdus:
        pixels = hdus[0].data
    run(Rough, image, "--apply")
    with fits.open(image) as hdus:
        hdus.verify("exception")
        header = hdus[0].header
        assert (header["NAXIS1"], header["BZERO"], header["TARGET"]) == (20, 32768, "x")
        assert "BLANK" not in header
        assert "FILTER" not in header
        assert hdus[0].data.dtype == np.uint16
        assert np.array_equal(hdus[0].data, pixels)


def test_more_keys_can_be_kept(image):
    class Keep(AddTarget):
        def _create_auxiliaries(self, data):
            self.keep_keys = self.keep_keys | {"FILTER"}

        def _get_header(self, identifier):
            header = self.get_primary_header(identifier)
            header["TARGET"] = 1
            header.set("FILTER", "wrong", "from the cache")
            return header

    run(Keep, image, "--apply")
    header = get_primary_header(image)
    assert (header["FILTER"], header.comments["FILTER"]) == ("r", "from the cache")
    assert "FILTER" not in HeaderProcessor.keep_keys


@pytest.mark.parametrize("how", ["None", "raises", "nonsense"])
def test_no_header_no_cache_and_the_old_one_stays(image, capsys, how):
    class Fails(AddTarget):
        def _get_header(self, identifier):
            if how == "None":
                return None
            if how == "raises":
                raise CannotComputeHeader("no plate number")
            return fits.Header([("TARGET", "x" * 3)] + [(f"K{n}", n) for n in range(1500)])

    cache = image.with_name("a.fits.hdr")
    assert run(Fails, image).counts.ignored == 1
    assert not cache.exists()
    run(AddTarget, image)
    before = cache.read_bytes()
    assert run(Fails, image, "--reprocess", "--apply").counts.ignored == 1
    assert cache.read_bytes() == before
    error = "FITSError" if how == "nonsense" else "CannotComputeHeader"
    assert f"Skipping source {image}: ({error}, " in capsys.readouterr().err
    assert "TARGET" not in get_primary_header(image)


def test_a_damaged_cache_is_a_failure(image):
    image.with_name("a.fits.hdr").write_bytes(b"SIMPLE  = ")
    processor = run(AddTarget, image, "--apply")
    assert processor.counts.reasons == {"TruncatedHeader": 1}
    assert "TARGET" not in get_primary_header(image)


def test_filters_and_sequence(tmp_path):
    class Sorted(AddTarget):
        card_sequence = (fits.Card("", "-------- target"), ("TARGET", True), "OBJECT")

        @staticmethod
        def comment_filter(value):
            return "keep" in value

        def _munge_header(self, identifier, header):
            header["TARGET"] = 1
            header["COMMENT"] = "drop this"
            for _ in range(2):
                header["COMMENT"] = "keep this"
                header["HISTORY"] = "done"
            return header

    path = tmp_path / "a.fits"
    uint16_image(path)
    for _ in range(2):  # sorting what has been sorted changes nothing
        run(Sorted, path, "--apply", "--reprocess", "--reheader")
        header = get_primary_header(path)
        assert list(header) == [
            "SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "EXTEND", "BZERO", "BSCALE", "",
            "TARGET", "OBJECT", "FILTER", "", "HISTORY", "", "COMMENT"]  # fmt: skip
        assert list(header["COMMENT"]) == ["keep this"]


def test_odd_cards_survive_computing_and_applying(tmp_path):
    path = tmp_path / "a.fits"
    pixels = odd_file(path)
    cards = {path.read_bytes()[i : i + 80] for i in range(0, 2880, 80)}
    run(AddTarget, path, "--apply")
    content = path.read_bytes()
    assert cards <= {content[i : i + 80] for i in range(0, 2880, 80)} | {b" " * 80}
    assert content[2880:] == pixels
    assert get_primary_header(path)["TARGET"] == "M 33"


def test_checksums_after_applying(tmp_path):
    path = tmp_path / "a.fits"
    uint16_image(path, checksum=True)
    run(AddTarget, path, "--apply")
    with fits.open(path, checksum=True) as hdus:
        assert hdus[0].verify_checksum() == hdus[0].verify_datasum() == 1
        assert hdus[0].header["TARGET"] == "M 33"


def test_missing_mandatory_cards_fail():
    header = fits.Header([("SIMPLE", True), ("NAXIS", 0)])
    with pytest.raises(FITSError, match="mandatory card BITPIX is missing"):
        sort_headers(header)
    header["BITPIX"] = 8
    with pytest.raises(FITSError, match="card PLATE is missing; the card sequence demands it"):
        sort_headers(header, card_sequence=[("PLATE", True)])
    assert list(sort_headers(header, card_sequence=["PLATE"])) == ["SIMPLE", "BITPIX", "NAXIS"]


def test_sorting():
    values = {"A": 1, "NAXIS": 5, "HISTORY": "h1", "BITPIX": 8, "NAXIS2": 2, "NAXIS10": 3,
              "B": "x" * 100, "SIMPLE": True, "NAXIS1": 1}  # fmt: skip
    header = fits.Header(list(values.items()))
    header["COMMENT"] = "one"
    header.append(("", "ruler"), end=True)
    header.append(end=True)
    header.append(("C", 1), end=True)
    found = sort_headers(header, history_filter=lambda value: value != "h1")
    assert list(found) == ["SIMPLE", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS10", "A", "B",
                           "", "C", "", "", "COMMENT"]  # fmt: skip
    assert found["B"] == "x" * 100
    found["A"] = 2
    assert header["A"] == 1


class Immediate(ImmediateHeaderProcessor):
    """Counts how often it changed a file."""

    def _change_header(self, identifier, header):
        header["NCALC"] = header.get("NCALC", 0) + 1
        return "ignored"


class Once(Immediate):
    def _is_processed(self, identifier, header):
        return "NCALC" in header


def test_immediate(image):
    before = image.read_bytes()
    for cls, options, expected in [
        (Once, (), 1), (Once, (), 1), (Once, ("--reprocess",), 2), (Immediate, (), 3)]:  # fmt: skip
        assert run(cls, image, *options).counts.processed == 1
        assert get_primary_header(image)["NCALC"] == expected
    assert image.read_bytes()[2880:] == before[2880:]
    assert [p.name for p in image.parent.iterdir()] == ["a.fits"]
    with pytest.raises(SystemExit):
        run(Once, image, "--apply")


@pytest.mark.parametrize("change", [{"BITPIX": -16}, {"NAXIS1": 30, "NAXIS2": 20}, {"NAXIS": 1}])
def test_immediate_changes_of_structure_fail(image, change, capsys):
    class Breaks(Immediate):
        def _change_header(self, identifier, header):
            header.update(change)

    before = image.read_bytes()
    assert run(Breaks, image).counts.reasons == {"FITSError": 1}
    assert image.read_bytes() == before


def test_backup_on_request(image):
    before = image.read_bytes()
    run(Immediate, image, "--backup")
    assert image.with_name("a.fits.oldhdr").read_bytes() == before[:2880]


@pytest.mark.parametrize("cls", [Immediate, AddTarget])
def test_bad_files_fail_and_the_others_go_on(tmp_path, capsys, cls):
    good, truncated, empty, text, headless, locked = (
        tmp_path / f"{n}.fits" for n in ("good", "truncated", "empty", "text", "headless", "locked")
    )
    for path in (good, truncated, locked):
        uint16_image(path)
    truncated.write_bytes(truncated.read_bytes()[:3000])
    empty.touch()
    text.write_text("no FITS\n" * 4000)
    headless.write_bytes(b"SIMPLE  =                    T".ljust(80) + b"END".ljust(2800))
    locked.chmod(0o444)
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    names = [empty, truncated, tmp_path / "vanished.fits", text, headless, locked, good]
    options = ["--apply"] if cls is AddTarget else []
    processor = procmain(cls, DataSpec.from_list(names), options)
    assert (processor.counts.processed, processor.counts.ignored) == (7, 6)
    err = capsys.readouterr().err
    for reason in ("the file is empty", "1080 bytes of its data are missing", "not a FITS file",
                   "BITPIX is missing", "read-only", "No such file"):  # fmt: skip
        assert reason in err
    for path, content in before.items():
        assert path == good or path.read_bytes() == content
    assert get_primary_header(good)["NCALC"] == 1


def test_reports_say_how_far_files_are(tmp_path, capsys):
    paths = [tmp_path / f"{n}.fits" for n in range(4)]
    for path in paths:
        uint16_image(path)
    run(AddTarget, paths[0], "--apply")
    run(AddTarget, paths[1])
    run(Once, paths[2])
    data = DataSpec.from_list(paths)
    capsys.readouterr()
    procmain(AddTarget, data, ["--report"])
    assert "1     cached\n1  processed\n2        new\n" in capsys.readouterr().out
    procmain(Once, data, ["--report"])
    assert "2  processed\n" in capsys.readouterr().out
