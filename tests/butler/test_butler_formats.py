"""Storage formats: what is read is what was written, and equal content is equal bytes."""

from __future__ import annotations

import errno
import json
import os
import time
from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import BaseModel

from skyloom.butler import (
    FORMATS,
    DataId,
    FitsImages,
    digest_file,
    is_disk_full,
    plain,
    read_dataset,
    remove_temporaries,
    write_atomic,
    write_dataset,
)
from skyloom.errors import InputError, Unwritable


def a_table() -> Table:
    table = Table({"ID": ["001", "NA", ""], "ra": [1.1, np.nan, 1 / 3], "n": [1, 2, 3]})
    table["ok"] = [True, False, True]
    table["ra"].unit = "deg"
    table.meta["zp"] = 25.0
    return table


def a_header() -> fits.Header:
    return fits.Header({"CTYPE1": "RA---TAN", "CRPIX1": 3.5})


EXAMPLES: dict[str, Callable[[], Any]] = {
    "table": a_table,
    "csv": a_table,
    "fits_table": a_table,
    "json": lambda: {"b": [1, None, "ü"], "a": {"x": 0.1}},
    "npy": lambda: np.arange(6, dtype=np.float32).reshape(2, 3),
    "npz": lambda: {"image": np.eye(3, dtype=np.float32), "n": np.array(3), "s": np.array(["ab"])},
    "fits_image": lambda: FitsImages(header=a_header(), images={"IMAGE": np.eye(3)}),
    "text": lambda: "line\r\nline",
    "bytes": lambda: b"\0\1",
    "png": lambda: b"\x89PNG",
}


ELSEWHERE = {
    "exposure",
    "calibration",
    "psf",
    "background",
    "source_catalog",
}  # test_butler_exposures.py


def test_every_format_has_an_example() -> None:
    of_surveys = {"psfex_model", "sky_model"}  # test_butler_legacysurvey.py
    assert set(EXAMPLES) | ELSEWHERE | of_surveys == set(FORMATS)


@pytest.mark.parametrize("name", EXAMPLES)
def test_equal_content_is_equal_bytes_at_any_time(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = write_dataset(EXAMPLES[name](), tmp_path / "a", name)
    now = time.time()
    monkeypatch.setattr(time, "time", lambda: now + 1e8)
    second = write_dataset(EXAMPLES[name](), tmp_path / "b" / "c", name)
    assert first.digest == second.digest == digest_file(tmp_path / "a")
    assert first.size == (tmp_path / "a").stat().st_size
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["a", "b", "c"]


@pytest.mark.parametrize("name", ["json", "text", "bytes", "png"])
def test_plain_content_comes_back(name: str, tmp_path: Path) -> None:
    write_dataset(EXAMPLES[name](), tmp_path / "x", name)
    assert read_dataset(tmp_path / "x", name) == EXAMPLES[name]()


def test_tables_come_back_with_units_and_metadata(tmp_path: Path) -> None:
    write_dataset(a_table(), tmp_path / "x", "table")
    table = read_dataset(tmp_path / "x", "table")
    assert table["ra"].unit == "deg"
    assert table.meta == {"zp": 25.0}
    assert table["ID"].tolist() == ["001", "NA", ""]
    np.testing.assert_array_equal(table["ra"], a_table()["ra"])


def test_csv_keeps_text_and_every_digit_and_forgets_where_it_was(tmp_path: Path) -> None:
    write_dataset(a_table(), tmp_path / "x", "csv")
    text = (tmp_path / "x").read_text()
    assert text == "ID,ra,n,ok\n001,1.1,1,True\nNA,,2,False\n,0.3333333333333333,3,True\n"
    assert read_dataset(tmp_path / "x", "csv").meta == {}


@given(
    arrays=st.dictionaries(
        st.from_regex(r"[a-z_]{1,8}", fullmatch=True),
        hnp.arrays(
            st.sampled_from([np.float32, np.float64, np.int64, np.bool_]),
            hnp.array_shapes(min_dims=0, max_dims=3, min_side=0),
        ),
        max_size=3,
    ),
    level=st.integers(0, 9),
)
def test_arrays_come_back_bit_for_bit(
    tmp_path_factory: pytest.TempPathFactory, arrays: dict[str, Any], level: int
) -> None:
    path = tmp_path_factory.getbasetemp() / "arrays.npz"
    write_dataset(arrays, path, "npz", level=level)
    back = read_dataset(path, "npz")
    assert list(back) == list(arrays)
    for name, array in arrays.items():
        assert back[name].dtype == array.dtype
        assert back[name].shape == array.shape
        assert back[name].tobytes() == array.tobytes()


def test_memory_order_leaves_no_trace(tmp_path: Path) -> None:
    array = np.arange(6.0).reshape(2, 3)
    one = write_dataset(array, tmp_path / "c", "npy")
    other = write_dataset(np.asfortranarray(array), tmp_path / "f", "npy")
    assert one.digest == other.digest


def test_fits_images_come_back_in_native_order(tmp_path: Path) -> None:
    images = {
        "PRIMARY": np.arange(6, dtype=np.float32).reshape(2, 3),
        "MASK": np.array([[True, False]]),
        "SIGMA": np.full((2, 2), np.nan),
    }
    write_dataset(FitsImages(header=a_header(), images=images), tmp_path / "x.fits", "fits_image")
    back = read_dataset(tmp_path / "x.fits", "fits_image")
    assert list(back.images) == ["PRIMARY", "MASK", "SIGMA"]
    assert back["MASK"].dtype == np.uint8  # FITS has no booleans
    for name, image in images.items():
        np.testing.assert_array_equal(back[name], image)
        assert back[name].dtype.isnative
    assert dict(back.header) == dict(a_header())
    again = write_dataset(back, tmp_path / "y.fits", "fits_image")
    assert again.digest == digest_file(tmp_path / "x.fits")


class Colour(Enum):
    RED = "red"


@dataclass
class Point:
    x: float


class Section(BaseModel):
    path: Path = Path("a/b")


def test_json_knows_our_kinds_of_data() -> None:
    obj = {
        "numpy": [np.float32(0.5), np.int64(3), np.bool_(True), np.arange(2)],
        "missing": [np.nan, -np.inf, None],
        "kinds": (Colour.RED, Point(np.nan), Section(), DataId(band="r")),
    }
    assert plain(obj) == {
        "numpy": [0.5, 3, True, [0, 1]],
        "missing": [None, None, None],
        "kinds": ["red", {"x": None}, {"path": "a/b"}, {"band": "r"}],
    }
    assert plain([np.inf], finite=False) == [np.inf]


def test_json_on_disk_is_valid_and_keeps_order(tmp_path: Path) -> None:
    write_dataset({"b": np.nan, "a": "ü"}, tmp_path / "x", "json")
    assert (tmp_path / "x").read_text(encoding="utf-8") == '{\n  "b": null,\n  "a": "ü"\n}\n'
    assert list(json.loads((tmp_path / "x").read_text())) == ["b", "a"]


@pytest.mark.parametrize(
    ("name", "obj"),
    [
        ("json", {"x": {1, 2}}),
        ("json", {1: "x"}),
        ("npy", np.array([object()])),
        ("npz", {"x": np.array([{}])}),
        ("npz", [1]),
        ("table", {"x": [1]}),
        ("text", b"x"),
        ("png", "x"),
        ("fits_image", np.eye(2)),
    ],
)
def test_what_does_not_fit_is_refused_and_leaves_the_old_file(
    name: str, obj: object, tmp_path: Path
) -> None:
    (tmp_path / "x").write_text("old")
    with pytest.raises((TypeError, ValueError)):
        write_dataset(obj, tmp_path / "x", name)
    assert [p.name for p in tmp_path.iterdir()] == ["x"]
    assert (tmp_path / "x").read_text() == "old"


def test_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there are table, csv"):
        read_dataset(tmp_path / "x", "pickle")


def test_arrays_with_code_in_them_are_not_loaded(tmp_path: Path) -> None:
    np.save(tmp_path / "x.npy", np.array([object()]), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle=False"):
        read_dataset(tmp_path / "x.npy", "npy")


def test_directory_in_the_place_of_a_file_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "x").mkdir()
    with pytest.raises(Unwritable, match="cannot be written"):
        write_dataset("text", tmp_path / "x", "text")
    assert [p.name for p in tmp_path.iterdir()] == ["x"]


def test_sync_writes_the_same(tmp_path: Path) -> None:
    written = write_atomic(tmp_path / "x", lambda p: p.write_text("y") and None, sync=True)
    assert (tmp_path / "x").read_text() == "y"
    assert written.size == 1


def test_full_disks_are_recognised_through_other_errors() -> None:
    full = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    outer = RuntimeError("cannot write")
    outer.__cause__ = full
    assert is_disk_full(full)
    assert is_disk_full(outer)
    assert is_disk_full(OSError("Not enough space on disk: requested 8, available 3."))
    assert not is_disk_full(OSError(errno.EACCES, "no"))
    assert not is_disk_full(ValueError("x"))


def test_only_temporaries_of_this_file_are_removed(tmp_path: Path) -> None:
    for name in (".a.7.part", ".a.b.7.part", "a", ".a.x.part", "a.7.part"):
        (tmp_path / name).write_text("")
    remove_temporaries(tmp_path / "a")
    remove_temporaries(tmp_path / "none" / "a")
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {".a.b.7.part", "a", ".a.x.part", "a.7.part"}
