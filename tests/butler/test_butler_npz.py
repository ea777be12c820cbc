"""Archives of arrays: what was written comes back, and damage is noticed."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
import pytest

from skyloom.butler.formats_npz import read_npz, write_npz

ARRAYS = {
    "empty": np.zeros((0, 3)),
    "one": np.array(3.5),
    "text": np.array(["m475", "r"]),
    "flags": np.array([True, False]),
    "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    "swapped": np.arange(4, dtype=">i4"),
    "record": np.zeros(2, dtype=[("x", "f4"), ("name", "U3")]),
    "large": np.arange(40_000, dtype=np.float32).reshape(200, 200),
}


@pytest.mark.parametrize("write", [write_npz, lambda arrays, path: np.savez(path, **arrays)])
@pytest.mark.parametrize("level", [0, 6])
def test_arrays_come_back(tmp_path: Path, write, level: int) -> None:
    path = tmp_path / "x.npz"
    write(ARRAYS, path, level=level) if write is write_npz else write(ARRAYS, path)
    found = read_npz(path)
    assert list(found) == list(ARRAYS)
    for name, array in ARRAYS.items():
        assert found[name].dtype == array.dtype
        assert found[name].shape == array.shape
        assert found[name].flags.writeable
        np.testing.assert_array_equal(found[name], array)


def test_a_higher_level_takes_fewer_bytes(tmp_path: Path) -> None:
    arrays = {"x": np.arange(40_000) % 977 * 7919}
    sizes = []
    for level in (0, 1, 9):
        write_npz(arrays, tmp_path / "x.npz", level=level)
        sizes.append((tmp_path / "x.npz").stat().st_size)
    assert sizes[0] > sizes[1] > sizes[2]


def test_pickled_objects_are_not_read(tmp_path: Path) -> None:
    path = tmp_path / "x.npz"
    np.savez(path, x=np.array([{}], dtype=object))
    with pytest.raises(ValueError, match="objects"):
        read_npz(path)


@pytest.mark.parametrize("size", [10, 100_000])
def test_changed_bytes_are_noticed(tmp_path: Path, size: int) -> None:
    path = tmp_path / "x.npz"
    write_npz({"x": np.full(size, 7.0)}, path)
    data = bytearray(path.read_bytes())
    place = data.rindex(np.float64(7.0).tobytes())
    data[place] ^= 1
    path.write_bytes(data)
    with pytest.raises(zipfile.BadZipFile, match="CRC"):
        read_npz(path)


@pytest.mark.parametrize("content", [b"", b"\x93NUMPY", b"no array at all, but some text"])
def test_members_that_are_no_arrays_are_refused(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(ValueError, match=r"magic|EOF"):
        read_npz(path)


def test_arrays_that_end_early_are_refused(tmp_path: Path) -> None:
    whole = tmp_path / "x.npy"
    np.save(whole, np.arange(5.0))
    path = tmp_path / "x.npz"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("x.npy", whole.read_bytes()[:-8])
    with pytest.raises(ValueError, match="32 bytes are not an array"):
        read_npz(path)
