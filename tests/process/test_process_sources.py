"""Where identifiers come from."""

from __future__ import annotations

import pytest

from skyloom.butler import Butler
from skyloom.errors import (
    BadTable,
    ConfigError,
    MissingFile,
    UnknownKey,
    UnreadableFile,
    WrongType,
    WrongValue,
)
from skyloom.process import DataSpec, Sources


@pytest.fixture
def tree(tmp_path):
    for name in ("b/2.fits", "b/10.fits", "a/x.fits", "a/.hidden.fits", "a/sub/y.fits",
                 "a/.dot/z.fits", "a/note.txt", "solo.fits"):  # fmt: skip
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "a" / "folder.fits").mkdir()
    return tmp_path


def names(tree, **more):
    data = DataSpec(resdir=tree, sources=Sources(**more))
    found = list(data.sources.identifiers(data.resdir))
    return [n.removeprefix(f"{tree}/") for n in found]


def test_order_is_items_patterns_file(tree):
    found = names(tree, items=["zz", "q"], patterns=["b/*.fits", "a/*.fits"], file="solo.fits")
    assert found == ["zz", "q", "b/10.fits", "b/2.fits", "a/x.fits", "solo.fits"]


def test_directories_of_a_pattern_are_sorted(tree):
    assert names(tree, patterns=["*/*.fits"]) == ["a/x.fits", "b/10.fits", "b/2.fits"]


def test_recursion_leaves_dot_directories_out(tree):
    found = names(tree, patterns=["*.fits"], recurse=True)
    assert found == ["solo.fits", "a/x.fits", "a/sub/y.fits", "b/10.fits", "b/2.fits"]
    assert names(tree, patterns=["a/*.fits"], recurse=True) == ["a/x.fits", "a/sub/y.fits"]


def test_ignored_ones_are_left_out(tree):
    found = names(tree, items=["zz"], patterns=["*/*.fits"], ignore=["zz", "a/*", "2.fits"])
    assert found == ["b/10.fits"]
    assert names(tree, items=["a[1].fits"], ignore=["a[1].fits"]) == []


def test_paths_are_absolute(tree, monkeypatch):
    monkeypatch.chdir(tree)
    data = DataSpec.from_glob("b/*.fits")
    assert next(data.sources.identifiers(data.resdir)) == f"{tree}/b/10.fits"
    assert data.get_abs_path("b/../c") == f"{tree}/c"


def test_text_in_place_of_a_list_is_refused():
    with pytest.raises(WrongValue, match=r"sources.patterns = '\*.fits' must be a list"):
        Sources(patterns="*.fits")


def test_toml(tree):
    path = tree / "a" / "data.toml"
    path.write_text(
        'id = "lmu"\nresdir = "."\ninputs_dir = ".."\n'
        '[sources]\npatterns = ["*.fits"]\nrecurse = true\n[properties]\npreview_dir = "pre"\n'
    )
    data = DataSpec.from_toml(path)
    assert (data.id, data.resdir, data.inputs_dir) == ("lmu", tree / "a", tree)
    assert len(list(data.sources.identifiers(data.resdir))) == 2
    assert data.get_property("preview_dir") == "pre"
    with pytest.raises(UnknownKey, match="data lmu: property other is not set"):
        data.get_property("other")


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("idd = 'x'", UnknownKey, "idd is no setting; there are id,"),
        ("[sources]\npatterns = 'x'", WrongType, r"sources.patterns = 'x' must be a list"),
        ("[properties]\nn = 1", WrongType, "properties.n = 1 must be a str"),
        ("id = ", ConfigError, "mend the TOML"),
        ("inputs_dir = 'below'", WrongValue, "is not inside inputs_dir"),
    ],
)
def test_a_mistake_in_toml_says_where(tmp_path, text, error, message):
    path = tmp_path / "data.toml"
    path.write_text(text)
    with pytest.raises(error, match=message):
        DataSpec.from_toml(path)


def test_table(tmp_path):
    path = tmp_path / "list.csv"
    path.write_text("path,band\na.fits,g\nb.fits,r\n")
    assert Sources.from_table(path).items == ("a.fits", "b.fits")
    with pytest.raises(BadTable, match="no column 'file'; it has path, band"):
        Sources.from_table(path, column="file")


def test_a_table_that_cannot_be_read(tmp_path):
    with pytest.raises(MissingFile, match=r"none\.csv: no such table; correct the path"):
        Sources.from_table(tmp_path / "none.csv")
    (tmp_path / "notes.md").write_text("# no table")
    with pytest.raises(UnreadableFile, match=r"notes\.md: cannot be read .* it may be CSV"):
        Sources.from_table(tmp_path / "notes.md")


def test_butler(tmp_path):
    files = {band: tmp_path / f"{band}.fits" for band in "gr"}
    for path in files.values():
        path.touch()
    butler = Butler(tmp_path, external={"raw_image": files})
    assert Sources.from_butler(butler, "raw_image").items == tuple(map(str, files.values()))
    assert Sources.from_butler(butler, "raw_image", band="r").items == (str(files["r"]),)
