"""Replacing headers: data bit for bit, checksums right, and nothing lost on the way."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from fits_files import odd_file, uint16_image

from skyloom.process import (
    FITSError,
    get_primary_header,
    parse_header,
    recover_header,
    replace_primary_header_in_place,
    restore_header,
    rewrite,
    serialize_header,
)
from skyloom.process.rewrite import back_up_header


def changed(header: fits.Header, n_blocks: int) -> fits.Header:
    """Return the header with as many cards as fill ``n_blocks``."""
    header = header.copy()
    header["OBJECT"] = "changed"
    for key in [key for key in header if key.startswith("KEY")]:
        del header[key]
    for n in range(36 * n_blocks - len(header.cards) - 3):
        header[f"KEY{n}"] = (n, "added")
    assert len(serialize_header(header)) == 2880 * n_blocks
    return header


@pytest.fixture(params=["one HDU", "two HDUs"])
def image(tmp_path, request):
    path = tmp_path / "a.fits"
    uint16_image(path, second=request.param == "two HDUs")
    header = get_primary_header(path)
    replace_primary_header_in_place(path, changed(header, 2))
    return path


@pytest.mark.parametrize("n_blocks", [1, 2, 3], ids=["shorter", "equal", "longer"])
def test_data_stay_bit_for_bit(image, n_blocks):
    before = image.read_bytes()
    inode = image.stat().st_ino
    image.chmod(0o640)
    header = get_primary_header(image)
    for key in [key for key in header if key.startswith("KEY")]:
        del header[key]
    replace_primary_header_in_place(image, changed(header, n_blocks))
    after = image.read_bytes()
    length = 2880 * max(2, n_blocks)
    assert after[length:] == before[5760:]
    assert (image.stat().st_ino == inode) == (n_blocks < 3)
    assert stat.S_IMODE(image.stat().st_mode) == 0o640
    if n_blocks == 1:
        assert after[length - 80 : length] == b"END".ljust(80)
    with fits.open(image) as hdus:
        hdus.verify("exception")
        assert hdus[0].header["OBJECT"] == "changed"
        assert hdus[0].data.dtype == np.uint16
        assert hdus[0].header["COMMENT"][0] == "END     is part of this comment"
    assert [p.name for p in image.parent.iterdir()] == ["a.fits"]


@pytest.mark.parametrize("n_blocks", [1, 3])
@pytest.mark.parametrize("with_sum", [True, False], ids=["DATASUM", "CHECKSUM alone"])
def test_checksums_are_made_right(tmp_path, n_blocks, with_sum):
    path = tmp_path / "a.fits"
    uint16_image(path, second=True, checksum=True)
    header = get_primary_header(path)
    if not with_sum:
        del header["DATASUM"]
    replace_primary_header_in_place(path, changed(header, n_blocks))
    length = 2880 * max(1, n_blocks) + 2880
    words = np.frombuffer(path.read_bytes()[:length], ">u4")
    assert int(words.sum(dtype=np.uint64)) % 0xFFFFFFFF == 0  # the rule of the standard
    if with_sum:  # without DATASUM astropy takes data for zeros
        with fits.open(path, checksum=True) as hdus:  # warns where one is wrong: an error here
            assert [hdu.verify_checksum() for hdu in hdus] == [1, 1]
            assert [hdu.verify_datasum() for hdu in hdus] == [1, 1]


def test_a_checksum_does_not_hide_damaged_data(tmp_path):
    path = tmp_path / "a.fits"
    uint16_image(path, checksum=True)
    content = bytearray(path.read_bytes())
    content[-2000] ^= 1
    path.write_bytes(content)
    replace_primary_header_in_place(path, changed(get_primary_header(path), 1))
    with fits.open(path) as hdus:
        assert hdus[0].verify_checksum() == 0


@pytest.mark.parametrize("n_blocks", [2, 3])
def test_odd_cards_survive(tmp_path, n_blocks):
    path = tmp_path / "a.fits"
    odd_file(path, n_cards=40)
    old = path.read_bytes()[:5760].rstrip()
    header = get_primary_header(path)
    header.append(fits.Card("ADDED", 1), end=True)
    if n_blocks == 3:
        for n in range(36):
            header.append(fits.Card(f"ADDED{n}", 1), end=True)
    replace_primary_header_in_place(path, header)
    assert path.read_bytes().startswith(old[: -len(b"END")])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"BITPIX": 32}, "describes 2400 bytes of data, the file has 1200"),
        ({"NAXIS1": 21}, "describes 1260 bytes"),
        ({"BITPIX": 12}, "BITPIX = 12 must be one of"),
        ({"NAXIS": "two"}, "NAXIS = 'two' must be an integer"),
    ],
)
def test_what_does_not_fit_the_data_is_refused(image, change, message):
    before = image.read_bytes()
    header = get_primary_header(image)
    header.update(change)
    with pytest.raises(FITSError, match=message):
        replace_primary_header_in_place(image, header)
    assert image.read_bytes() == before


def test_a_wrong_order_is_refused(image):
    header = get_primary_header(image)
    header.insert(0, ("FIRST", 1))
    with pytest.raises(FITSError, match="starts with FIRST, not with SIMPLE"):
        replace_primary_header_in_place(image, header)
    header = get_primary_header(image)
    header.insert(3, ("BETWEEN", 1))
    with pytest.raises(FITSError, match="FITS demands SIMPLE, BITPIX, NAXIS, NAXIS1, NAXIS2"):
        replace_primary_header_in_place(image, header)


def test_a_truncated_file_is_left_alone(tmp_path):
    path = tmp_path / "a.fits"
    uint16_image(path)
    content = path.read_bytes()[:3000]
    path.write_bytes(content)
    with pytest.raises(FITSError, match="truncated, 1080 bytes of its data are missing"):
        replace_primary_header_in_place(path, get_primary_header(path))
    assert path.read_bytes() == content


def test_compressed_read_only_and_vanished_files(tmp_path):
    path = tmp_path / "a.fits"
    uint16_image(path)
    header = get_primary_header(path)
    with pytest.raises(NotImplementedError, match="compressed files"):
        replace_primary_header_in_place(tmp_path / "a.fits.gz", header)
    path.chmod(0o444)
    with pytest.raises(PermissionError, match="read-only"):
        replace_primary_header_in_place(path, header)
    with pytest.raises(FileNotFoundError):
        replace_primary_header_in_place(tmp_path / "gone.fits", header)


@pytest.mark.parametrize("n_blocks", [2, 3], ids=["equal", "longer"])
@pytest.mark.parametrize("how", ["vanishes", "is replaced"])
def test_a_file_that_vanishes_or_is_replaced_meanwhile(image, n_blocks, how, monkeypatch):
    """What another program does to a file in the same moment is not undone."""
    header = changed(get_primary_header(image), n_blocks)
    header["OBJECT"] = "ours"
    newer = image.read_bytes().replace(b"changed", b"by them")

    def meddle():
        image.unlink()
        if how == "is replaced":
            image.write_bytes(newer)

    real_put, real_copy = rewrite._put, rewrite._copy_attributes
    monkeypatch.setattr(rewrite, "_put", lambda *a: (real_put(*a), meddle()))
    monkeypatch.setattr(rewrite, "_copy_attributes", lambda *a: (real_copy(*a), meddle()))
    error = FileNotFoundError if how == "vanishes" else FITSError
    with pytest.raises(error, match=r"No such file|another program has changed"):
        replace_primary_header_in_place(image, header)
    assert image.exists() == (how == "is replaced")
    assert how == "vanishes" or image.read_bytes() == newer
    assert [p.name for p in image.parent.iterdir()] == [image.name] * image.exists()


def test_links_stay_links(image):
    link = image.with_name("link.fits")
    link.symlink_to(image)
    replace_primary_header_in_place(link, changed(get_primary_header(image), 4))
    assert link.is_symlink()
    assert get_primary_header(image)["OBJECT"] == "changed"


@pytest.mark.parametrize("n_blocks", [2, 3], ids=["equal", "longer"])
def test_a_full_disk_leaves_the_original(image, n_blocks, monkeypatch):
    before = image.read_bytes()
    header = changed(get_primary_header(image), n_blocks)
    header["OBJECT"] = "lost"
    real = Path.open

    class Full:
        def __init__(self, file):
            self.file = file

        def __enter__(self):
            return self

        def __exit__(self, *_):
            self.file.close()

        def write(self, data):
            self.file.write(data[:1000])
            raise OSError(28, "No space left on device")

    def full(self, mode="r", *args, **kwargs):
        file = real(self, mode, *args, **kwargs)
        return Full(file) if "w" in mode else file

    monkeypatch.setattr(Path, "open", full)
    with pytest.raises(OSError, match="No space left"):
        replace_primary_header_in_place(image, header)
    monkeypatch.undo()
    assert image.read_bytes() == before
    assert [p.name for p in image.parent.iterdir()] == ["a.fits"]


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("written", [0, 512, 1536, 5760])
def test_a_killed_overwrite_is_completed(image, written, monkeypatch):
    before = image.read_bytes()
    header = get_primary_header(image)
    header["OBJECT"] = "new"

    def put(file, data):
        file.seek(0)
        file.write(data[:written])
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "_put", put)
        with pytest.raises(Killed):
            replace_primary_header_in_place(image, header)
    assert recover_header(image)
    assert not recover_header(image)
    assert image.read_bytes() == serialize_header(header).ljust(5760) + before[5760:]
    assert [p.name for p in image.parent.iterdir()] == ["a.fits"]


def test_a_note_that_is_incomplete_or_too_old(image, monkeypatch):
    before = image.read_bytes()
    note = image.with_name(".a.fits.undo")
    note.write_bytes(b"skyloom undo 1234half")
    assert recover_header(image)
    assert image.read_bytes() == before

    def put(_file, _data):
        raise Killed

    header = get_primary_header(image)
    header["OBJECT"] = "new"
    with monkeypatch.context() as patch:
        patch.setattr(rewrite, "_put", put)
        with pytest.raises(Killed):
            replace_primary_header_in_place(image, header)
    fits.setval(image, "FILTER", value="another program")
    with pytest.raises(FITSError, match=r"changed by another program after .*\.undo was written"):
        recover_header(image)
    assert fits.getval(image, "FILTER") == "another program"


def test_backup_and_restore(tmp_path):
    path = tmp_path / "a.fits"
    odd_file(path)
    before = path.read_bytes()
    back_up_header(path)
    replace_primary_header_in_place(path, changed(get_primary_header(path), 3))
    back_up_header(path)  # the first one stays
    restore_header(path)
    assert path.read_bytes() == before
    assert [p.name for p in tmp_path.iterdir()] == ["a.fits"]


def test_two_processes_do_not_change_one_file(image):
    fcntl = pytest.importorskip("fcntl")
    with image.open("r+b") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(FITSError, match="another process is changing this file"):
            replace_primary_header_in_place(image, get_primary_header(image))


def test_the_fill_is_made_of_cards(image):
    header = parse_header(image.read_bytes()[:5760])
    del header["KEY1"]
    for key in [key for key in header if key.startswith("KEY")]:
        del header[key]
    header["COMMENT"] = "END" + " " * 60
    replace_primary_header_in_place(image, header)
    assert len(get_primary_header(image)["COMMENT"]) == 2


@pytest.mark.parametrize("n_blocks", [2, 3])
def test_what_a_killed_copy_left_is_removed(image, n_blocks):
    image.with_name(".a.fits.part").write_bytes(b"half")
    replace_primary_header_in_place(image, changed(get_primary_header(image), n_blocks))
    assert [p.name for p in image.parent.iterdir()] == ["a.fits"]


def test_extended_attributes_stay(image):
    try:
        os.setxattr(image, "user.origin", b"plate 12")
    except (OSError, AttributeError):
        pytest.skip("no extended attributes here")
    replace_primary_header_in_place(image, changed(get_primary_header(image), 3))
    assert os.getxattr(image, "user.origin") == b"plate 12"
