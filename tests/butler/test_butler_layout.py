"""Layouts: every file has one name, and every name one data ID."""

from __future__ import annotations

import pickle
import string
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from skyloom.butler import Butler, DataId, Layout
from skyloom.errors import (
    BadDataId,
    DataDamaged,
    DataNotFound,
    InputError,
    MissingFile,
    UnknownDatasetType,
    UnreadableFile,
    Unwritable,
)

TILE = Layout.load("tile")
ROOT = Path("/data/tile")

names = st.text(string.ascii_letters + string.digits + "_-+. é*?[]{}", min_size=1, max_size=20)
good_names = names.filter(
    lambda t: ".." not in t and t == t.strip() and not t.startswith(".") and not set(t) & set("*?")
)
VALUES: dict[str, st.SearchStrategy[Any]] = {
    "band": good_names,
    "cell": st.from_regex(r"r[0-9]{2}_c[0-9]{2}", fullmatch=True),
    "patch": st.from_regex(r"r[0-9]{2}_c[0-9]{2}_pr[0-9]{2}_pc[0-9]{2}", fullmatch=True),
    "pass": st.integers(0, 10**6),
    "strip": st.integers(0, 10**6),
    # an ID has become a file name before it gets here: word characters, dot and dash only
    "source": st.from_regex(r"[\w-][\w.-]{0,19}", fullmatch=True).filter(lambda t: ".." not in t),
}
OURS = sorted(name for name, kind in TILE.types.items() if not kind.is_external)


def ids_of(layout: Layout, name: str) -> st.SearchStrategy[DataId]:
    dimensions = layout[name].dimensions
    return st.fixed_dictionaries({key: VALUES[key] for key in dimensions}).map(DataId)


@given(data=st.data(), name=st.sampled_from(OURS))
def test_path_leads_back_to_its_data_id(data: st.DataObject, name: str) -> None:
    data_id = data.draw(ids_of(TILE, name))
    path = TILE.path(name, data_id, root=ROOT)
    assert TILE.parse(name, path, root=ROOT) == data_id
    assert path.is_relative_to(ROOT)


@given(data=st.data(), name=st.sampled_from([n for n in OURS if TILE[n].dimensions]))
def test_different_data_ids_have_different_paths(data: st.DataObject, name: str) -> None:
    one, other = data.draw(ids_of(TILE, name)), data.draw(ids_of(TILE, name))
    paths = {TILE.path(name, i, root=ROOT) for i in (one, other)}
    assert len(paths) == len({one, other})


def test_types_of_the_tile_have_different_paths() -> None:
    example = {
        **{"band": "r", "cell": "r00_c00", "patch": "r00_c00_pr00_pc00", "pass": 1, "strip": 2},
        "source": "00017",
    }
    paths = [
        TILE.path(name, DataId(example).subset(TILE[name].dimensions), root=ROOT) for name in OURS
    ]
    assert len(set(paths)) == len(paths)


@pytest.mark.parametrize(
    ("name", "values", "path"),
    [
        ("wcs", {}, "wcs.fits"),
        ("epsf", {"band": "m400", "cell": "r00_c01"}, "EPSFs/m400/r00_c01/epsf.npy"),
        ("epsf_meta", {"band": "m400", "cell": "r00_c01"}, "EPSFs/m400/r00_c01/meta.json"),
        ("augmented_catalog", {}, "ZP/input_catalog_with_Gaia.csv"),
        ("patches_csv", {}, "patches/patches.csv"),
        (
            "patch_catalog",
            {"patch": "r00_c00_pr01_pc00"},
            "outputs/r00_c00_pr01_pc00/r00_c00_pr01_pc00_cat_fit.csv",
        ),
        ("zp_plot", {"band": "m400"}, "ZP/zp_vs_mag__m400.png"),
        ("final_catalog", {}, "output_catalog.csv"),
    ],
)
def test_files_stand_where_users_expect_them(name: str, values: Any, path: str) -> None:
    assert TILE.path(name, values, root=ROOT) == ROOT / path


@pytest.mark.parametrize("folder", ["/scratch/psf", "../psf", "deep/er", "sp ace [1]"])
def test_directories_may_be_anywhere(folder: str, tmp_path: Path) -> None:
    root = tmp_path / "work"
    folder = folder.replace("/scratch", str(tmp_path / "scratch"))
    butler = Butler(root, TILE.bind(epsf_dir=folder), writeable=True)
    written = butler.put([1.0], "epsf", band="r", cell="r00_c00")
    assert written.path == root / folder / "r" / "r00_c00" / "epsf.npy"
    assert butler.query("epsf") == [DataId(band="r", cell="r00_c00")]


def test_the_writer_of_a_type_has_the_options_that_are_set(tmp_path: Path) -> None:
    arrays = {"image": np.zeros((50, 50))}
    sizes = []
    for level in (0, 9):
        layout = TILE.with_options("payload", level=level)
        butler = Butler(tmp_path / str(level), layout, writeable=True)
        sizes.append(butler.put(arrays, "payload", patch="r00_c00_pr00_pc00").path.stat().st_size)
    assert sizes[0] > 20_000 > 10 * sizes[1]
    assert not TILE["payload"].options
    with pytest.raises(UnknownDatasetType, match="payloads"):
        TILE.with_options("payloads", level=1)


@pytest.mark.parametrize(
    "value", ["", " r", "..", "a/b", "a\\b", ".hidden", "a..b", "x\n", "a\0b", "x" * 300, 3, True]
)
def test_values_cannot_leave_their_directory(value: Any) -> None:
    with pytest.raises(BadDataId, match="data ID"):
        TILE.path("epsf_model", {"band": value}, root=ROOT)


def test_data_ids_say_what_they_lack() -> None:
    with pytest.raises(BadDataId, match="lacks cell; it takes band, cell"):
        TILE.path("epsf", {"band": "r"}, root=ROOT)
    with pytest.raises(BadDataId, match="has no tile"):
        TILE.path("wcs", {"tile": "x"}, root=ROOT)
    with pytest.raises(BadDataId, match="does not look like"):
        TILE.path("epsf", {"band": "r", "cell": "7"}, root=ROOT)
    with pytest.raises(UnknownDatasetType, match="did you mean 'epsf'"):
        TILE.path("epfs", {}, root=ROOT)
    assert TILE.path("scene", {"pass": "7"}, root=ROOT).name == "pass7.parquet"


@given(values=st.dictionaries(st.sampled_from("abcd"), st.integers() | st.text(), max_size=4))
def test_data_ids_are_frozen_mappings(values: dict[str, Any]) -> None:
    data_id = DataId(values)
    backwards = DataId(dict(reversed(values.items())))
    assert dict(data_id) == values
    assert list(data_id) == list(values)
    assert data_id == backwards
    assert hash(data_id) == hash(backwards)
    assert pickle.loads(pickle.dumps(data_id)) == data_id
    assert data_id.agrees(backwards)
    assert data_id.replace(a=1)["a"] == 1
    assert dict(data_id) == values


def test_data_ids_sort_by_value() -> None:
    ids = [DataId(n=10), DataId(n=9), DataId(n="b"), DataId(n="a")]
    assert [i["n"] for i in sorted(ids)] == [9, 10, "a", "b"]


LAYOUT = {"dimensions": {"a": None, "b": None, "n": {"kind": "int"}}, "variables": {"dir": "d"}}


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ({"format": "npy", "template": "{a}_{b}.npy"}, "cannot be read back"),
        ({"format": "npy", "template": "{a}{n}.npy"}, "cannot be read back"),
        ({"format": "npy", "template": "{c}.npy"}, "neither a variable nor a dimension"),
        ({"format": "npy"}, "either template or external"),
        ({"format": "npy", "template": "x", "external": True}, "either template or external"),
        ({"format": "npy", "template": "{a:[:3]}.npy"}, "only a part of a"),
        ({"storage": "PickleStorage", "template": "x"}, "take FitsStorage"),
        ({"format": "npy", "template": "%(a)x.npy"}, "is not %"),
        ({"format": "npy", "template": "x", "tables": ["none"]}, "no table 'none'"),
    ],
)
def test_layouts_are_checked_when_read(row: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Layout.from_mapping({**LAYOUT, "datasets": {"x": row}})


def test_layouts_of_users_are_files(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    table = {
        **LAYOUT,
        "datasets": {"x": {"format": "npy", "template": "{dir}/{a}/{b}-{n:03d}.npy"}},
    }
    path.write_text(yaml.safe_dump(table))
    layout = Layout.load(path)
    assert layout.path("x", {"a": "p", "b": "q-1", "n": 7}, root=ROOT) == ROOT / "d/p/q-1-007.npy"
    with pytest.raises(InputError, match="no variable 'dri'; there are dir"):
        layout.bind(dri="x")
    with pytest.raises(MissingFile):
        Layout.load(tmp_path / "none.yaml")
    with pytest.raises(MissingFile, match="does not ship"):
        Layout.load("brick42")
    path.write_text("just a sentence")
    with pytest.raises(UnreadableFile, match="not a layout table"):
        Layout.load(path)


def test_butler_gets_what_it_put(tmp_path: Path) -> None:
    butler = Butler(tmp_path, "tile", writeable=True)
    for number in (2, 1):
        butler.put([float(number)], "epsf", band="r", cell=f"r00_c0{number}")
    butler.put([3.0], "epsf", {"band": "g", "cell": "r00_c01"})
    assert butler.get("epsf", band="g", cell="r00_c01") == [3.0]
    assert butler.query("epsf", band="r") == [DataId(band="r", cell=f"r00_c0{n}") for n in (1, 2)]
    assert butler.exists("epsf", band="g", cell="r00_c01")
    assert not butler.exists("epsf", band="g", cell="r00_c02")
    handle = butler.handle("epsf", band="g", cell="r00_c01")
    assert handle.read() == [3.0]
    assert len(handle.digest) == 64


def test_butler_says_what_is_wrong(tmp_path: Path) -> None:
    butler = Butler(tmp_path, "tile", writeable=True)
    with pytest.raises(DataNotFound, match=r"epsf\(band=g, cell=r00_c01\)"):
        butler.get("epsf", band="g", cell="r00_c01")
    with pytest.raises(Unwritable, match="only reads"):
        Butler(tmp_path).put({}, "frames")
    with pytest.raises(Unwritable, match="user's own"):
        butler.put("", "image_list")
    with pytest.raises(DataNotFound, match="none was given"):
        butler.path("input_catalog")
    with pytest.raises(BadDataId, match="made by the pipeline"):
        Butler(tmp_path, external={"frames": "x"})
    for name, content in (("frames", b"{"), ("white", b"SIMPLE"), ("sources", b"PAR1")):
        path = butler.path(name)
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(content)
        with pytest.raises(DataDamaged, match="delete it and run again"):
            butler.get(name)


def test_files_of_the_user_keep_their_order_and_are_never_written(tmp_path: Path) -> None:
    paths = {band: tmp_path / f"{band}.fits" for band in ("z", "g", "r")}
    for band, path in paths.items():
        if band != "g":
            path.write_bytes(b"no FITS")
    butler = Butler(tmp_path / "work", external={"raw_image": paths})
    assert butler.path("raw_image", band="g") == paths["g"]
    assert butler.query("raw_image") == [DataId(band="z"), DataId(band="r")]
    with pytest.raises(UnreadableFile, match="repair or replace"):
        butler.get("raw_image", band="z")
