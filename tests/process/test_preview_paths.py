"""Where previews lie."""

from __future__ import annotations

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.errors import UnknownKey
from skyloom.process import DataSpec
from skyloom.process.previews import flat_name, split_preview_path, standard_preview_path

DATA = DataSpec(resdir="/in/lmu", inputs_dir="/in", properties={"preview_dir": "previews"})


@pytest.mark.parametrize(
    ("accref", "name"),
    [
        ("lmu/data/a.fits", "bG11L2RhdGEvYS5maXRz"),
        ("q/raw/~~?>x.fits", "cS9yYXcvfn4!PnguZml0cw=="),
        ("x/ÿþ.fits", "eC!Dv8O$LmZpdHM="),
    ],
)
def test_flat_names_of_the_specification(accref, name):
    assert flat_name(accref) == name
    assert standard_preview_path(accref, DATA) == f"lmu/previews/{name}"


@given(st.text(st.characters(exclude_categories=["Cs"]), max_size=60))
def test_a_flat_name_is_one_file_and_can_be_read_back(accref):
    if accref.startswith("/") or len(accref.encode()) > 189:
        return
    name = flat_name(accref)
    assert "/" not in name
    assert base64.b64decode(name, b"$!").decode() == accref


def test_absolute_references_become_relative():
    assert flat_name("/in/lmu/data/a.fits", DATA) == "bG11L2RhdGEvYS5maXRz"
    assert split_preview_path(".png")("/in/lmu/data/a.fits", DATA).endswith("lmu/data/a.fits.png")
    with pytest.raises(ValueError, match=r"/in2/a.fits: is not below the inputs directory /in;"):
        flat_name("/in2/a.fits", DATA)
    with pytest.raises(ValueError, match="give the data"):
        flat_name("/in/a.fits")


def test_the_longest_reference():
    assert len(flat_name(188 * "a" + "b")) == 252
    with pytest.raises(ValueError, match=r"190 bytes.*split_preview_path"):
        flat_name(94 * "ä" + "ab")


def test_split_paths_keep_directories_and_extension():
    path = split_preview_path(".png")
    assert path("lmu/data/a.fits", DATA) == "lmu/previews/lmu/data/a.fits.png"
    with pytest.raises(ValueError, match="leads out"):
        path("lmu/../../../etc/a.fits", DATA)


def test_an_unset_directory_is_named():
    with pytest.raises(UnknownKey, match="property preview_dir is not set"):
        standard_preview_path("a.fits", DataSpec(resdir="/in"))
