"""Reading and writing headers without touching what nobody changed."""

from __future__ import annotations

import gzip

import pytest
from astropy.io import fits
from fits_files import ODD_CARDS, card_block, odd_file
from hypothesis import given
from hypothesis import strategies as st

from skyloom.process import (
    FileProcessor,
    FITSError,
    get_primary_header,
    parse_header,
    serialize_header,
)


def test_odd_cards_come_back_byte_for_byte(tmp_path):
    path = tmp_path / "a.fits"
    odd_file(path)
    header = get_primary_header(path)
    old = path.read_bytes()[:2880]
    assert serialize_header(header) == old
    assert header["EXPTIME"] == 120.0
    assert header["ESO DET CHIP NAME"] == "CCD 44"
    copy = header.copy()
    copy["GAIN"] = 2
    new = serialize_header(copy)
    different = [i for i in range(36) if new[80 * i : 80 * i + 80] != old[80 * i : 80 * i + 80]]
    assert len(different) == 1
    assert new[80 * different[0] :].startswith(b"GAIN    =                    2 / no blank")


CARD = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=80).filter(
    lambda text: not text.startswith(("END", "CONTINUE"))
)


@given(st.lists(CARD, max_size=50))
def test_any_cards_come_back_byte_for_byte(cards):
    block = card_block("SIMPLE  =                    T", *cards)
    found = serialize_header(parse_header(block))
    assert found.rstrip() == block.rstrip()


def test_continued_strings_stay_together(tmp_path):
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU()
    hdu.header["LONGTEXT"] = ("x" * 200, "a comment")
    hdu.header["AFTER"] = 1
    hdu.writeto(path)
    header = get_primary_header(path)
    assert header["LONGTEXT"] == "x" * 200
    assert serialize_header(header) == path.read_bytes()
    header["LONGTEXT"] = "y" * 150
    assert fits.Header.fromstring(serialize_header(header))["LONGTEXT"] == "y" * 150


def test_end_is_looked_for_on_card_borders():
    block = card_block("SIMPLE  =                    T", "COMMENT " + "END     " * 9, "LAST    = 1")
    assert list(parse_header(block)) == ["SIMPLE", "COMMENT", "LAST"]


def test_bytes_that_are_not_ascii_are_dropped_but_kept_on_disk(tmp_path):
    path = tmp_path / "a.fits"
    block = card_block("SIMPLE  =                    T", "OBSERVER= 'Müller'", "N       = 1")
    path.write_bytes(block)
    header = FileProcessor.get_primary_header(path)
    assert header["OBSERVER"] == "Mller"
    header["N"] = 2
    new = serialize_header(header)
    assert new[:160] == block[:160]
    assert b"M\xfcller" in new
    header.comments["OBSERVER"] = "who"
    assert serialize_header(header).isascii()


def test_gz_is_unpacked(tmp_path):
    path = tmp_path / "a.fits.gz"
    path.write_bytes(gzip.compress(card_block("SIMPLE  =                    T", "A       = 5")))
    assert get_primary_header(path)["A"] == 5


@pytest.mark.parametrize(
    ("content", "error", "message"),
    [
        (b"", EOFError, "the file is empty; fetch it again"),
        (b"GIF89a", EOFError, "not a FITS file, it starts with b'GIF89a'"),
        (b"SIMPLE  = T".ljust(2880), EOFError, "ends after 2880 bytes, inside its header"),
        (b"x" * 2880 * 81, FITSError, "no END card within 80 blocks of 2880 bytes"),
    ],
    ids=["empty", "GIF", "truncated", "endless"],
)
def test_what_is_no_header(tmp_path, content, error, message):
    path = tmp_path / "a.fits"
    path.write_bytes(content)
    with pytest.raises(error, match=message):
        get_primary_header(path)


def test_what_cannot_be_written_names_its_keyword():
    header = parse_header(card_block("SIMPLE  =                    T", *ODD_CARDS))
    with pytest.raises(ValueError, match="printable ASCII"):
        header["OBSERVER"] = "Müller"
    header.append(fits.Card.fromstring("BAD     = 'é'"))
    with pytest.raises(FITSError, match="card BAD cannot be written"):
        serialize_header(header)
