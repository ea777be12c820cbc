"""The fast check finds what is wrong, and nothing else."""

from __future__ import annotations

import gzip

import numpy as np
import pytest
from astropy.io import fits
from fits_files import card_block, odd_file, uint16_image

from skyloom.process import DataSpec, Validator, check_fits, procmain


def messages(path, **more):
    return [str(finding) for finding in check_fits(path, **more)]


@pytest.fixture
def good(tmp_path):
    """Image, image extension, binary table with a heap, compressed image, ASCII table."""
    path = tmp_path / "good.fits"
    rng = np.random.default_rng(1)
    image = fits.PrimaryHDU(rng.normal(size=(20, 31)))
    image.header["LONG"] = "x" * 150
    image.header["HIERARCH ESO DET"] = 5
    image.header["ZEROED"] = None
    image.header["CPLX"] = 1 + 2j
    table = fits.BinTableHDU.from_columns([
        fits.Column("a", "13X", array=np.ones((4, 13), bool)),
        fits.Column("b", "3E", array=np.ones((4, 3))),
        fits.Column("c", "PD()", array=np.array([np.ones(n) for n in range(4)], dtype=object)),
        fits.Column("d", "5A", array=["x"] * 4),
    ])  # fmt: skip
    ascii_table = fits.TableHDU.from_columns([fits.Column("a", "F8.3", array=[1.0, 2.0])])
    packed = fits.CompImageHDU(rng.integers(0, 9, (64, 64)).astype(np.int16))
    hdus = [image, fits.ImageHDU(rng.normal(size=(3, 4, 5))), table, ascii_table, packed]
    fits.HDUList(hdus).writeto(path, checksum=True)
    return path


def test_a_good_file_is_good(good, tmp_path):
    assert messages(good) == []
    packed = tmp_path / "good.fits.gz"
    packed.write_bytes(gzip.compress(good.read_bytes()))
    assert messages(packed) == []


def damage(path, old, new):
    content = path.read_bytes()
    assert len(old) == len(new)
    assert old in content
    path.write_bytes(content.replace(old, new, 1))


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        (b"BITPIX  =                  -64", b"BITPIX  =                  -63",
         "[0]: BITPIX = -63 must be one of"),
        (b"BITPIX  =                  -64", b"BITPIX  =                  'a'",
         "[0]: BITPIX = 'a' must be one of"),
        (b"SIMPLE  =", b"SAMPLE  =", "[0]: starts with 'SAMPLE  ', not with SIMPLE"),
        (b"NAXIS1  =                   31", b"NAXIS1  =                  -31",
         "[0]: NAXIS1 = -31 must be an integer >= 0"),
        (b"NAXIS2  ", b"NAXIS3  ", "[0]: NAXIS2 is missing"),
        (b"LONG    =", b"Long    =", "is no keyword"),
        (b"LONG    = 'xxx", b"LONG    = 'x\xe9x", "has the byte 0xe9"),
        (b"HIERARCH ESO", b"HIERARCH\tESO", "has the byte 0x09"),
        (b"EXTEND  =                    T", b"EXTEND  =                  T T",
         "the value of 'EXTEND = T T"),
        (b"TFORM2  = '3E", b"TFORM2  = '4E", "[2]: the columns have 31 bytes, a row NAXIS1 = 27"),
        (b"TFORM2  = '3E", b"TFORM2  = '3Z", "[2]: TFORM2 = '3Z"),
        (b"GCOUNT  =                    1", b"GCOUNT  =                   -1",
         "[1]: GCOUNT = -1 must be an integer >= 0"),
    ],
)  # fmt: skip
def test_damaged_headers(good, old, new, expected):
    damage(good, old, new)
    assert any(expected in message for message in messages(good)), messages(good)


def test_damaged_data_are_found_by_their_sums(good):
    content = bytearray(good.read_bytes())
    content[2880 + 40] ^= 4  # of the first HDU
    good.write_bytes(content)
    found = messages(good)
    assert len(found) == 2
    assert "[0]: the data have the sum" in found[0]
    assert found[1] == "[0]: CHECKSUM is wrong: header or data are damaged"
    assert messages(good, checksums=False) == []


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", "[0]: the file is empty"),
        (b"hello", "[0]: not a FITS file, it starts with b'hello'"),
        (b"hello" * 2000, "[0]: not a FITS file"),
        (card_block("SIMPLE  = T")[:-1], "[0]: the file ends after 2879 bytes, inside its header"),
        (card_block(), "[0]: starts with 'nothing', not with SIMPLE"),
        (card_block("SIMPLE  =                    T"), "[0]: BITPIX is missing"),
    ],
)
def test_what_is_no_fits(tmp_path, content, expected):
    path = tmp_path / "x.fits"
    path.write_bytes(content)
    assert messages(path)[0].startswith(expected)


def test_truncation_padding_and_what_follows(tmp_path):
    path = tmp_path / "x.fits"
    uint16_image(path)
    content = path.read_bytes()
    path.write_bytes(content[:3000])
    assert messages(path) == ["[0]: truncated, 1080 bytes of the data are missing"]
    path.write_bytes(content[:-1000])
    assert messages(path) == ["[0]: the last block is not filled, 1000 bytes are missing"]
    path.write_bytes(content + b"x" * 5)
    assert [(f.severity, f.message) for f in check_fits(path)] == [
        ("warning", "5 bytes follow the last HDU")
    ]
    path.write_bytes(content.replace(b"END".ljust(2000), b"END".ljust(1000) + b"x" * 1000, 1))
    assert messages(path) == ["[0]: END is followed by text"]


def test_odd_cards_are_found(tmp_path):
    path = tmp_path / "odd.fits"
    odd_file(path)
    found = [finding.message for finding in check_fits(path)]
    assert len(found) == 3
    assert found[0] == "card 11: 'lowcase' is no keyword"
    assert "QUOTE" in found[1]
    assert found[2] == "EXPTIME is given twice"


def test_every_byte_of_a_header_can_be_damaged(tmp_path):
    """Whatever stands in the header, the check ends with findings or without."""
    path = tmp_path / "x.fits"
    uint16_image(path, checksum=True)
    content = path.read_bytes()
    rng = np.random.default_rng(3)
    silent = 0
    for position in rng.integers(0, 1200, 400):
        changed = bytearray(content)
        changed[position] = (changed[position] + rng.integers(1, 256)) % 256
        path.write_bytes(changed)
        silent += not check_fits(path)
    assert silent == 0  # the checksum covers every byte


def test_the_command_counts(tmp_path, capsys):
    for name in ("a.fits", "b.fits", "short.fits"):
        uint16_image(tmp_path / name)
    short = tmp_path / "short.fits"
    short.write_bytes(short.read_bytes()[:-2000])
    data = DataSpec.from_glob("*.fits", resdir=tmp_path)
    assert procmain(Validator, data, ["-j", "2"]).counts.ignored == 1
    err = capsys.readouterr().err
    assert f"Skipping source {short}: (InvalidFITS, InvalidFITS('{short}[0]: truncated, " in err
    procmain(Validator, data, ["--report"])
    assert "1  truncated\n2      valid\n" in capsys.readouterr().out
    with (tmp_path / "a.fits").open("ab") as file:
        file.write(b"\0" * 2880)
    assert procmain(Validator, data, []).counts.ignored == 1
    assert procmain(Validator, data, ["--pedantic"]).counts.ignored == 2
