from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Column, MaskedColumn, Table

from skyloom.catalogs import read_fits_table, read_parquet, write_fits_table, write_parquet
from skyloom.errors import BadTable, MissingFile, UnreadableFile, Unwritable

FORMATS = {
    "parquet": (write_parquet, read_parquet),
    "fits": (write_fits_table, read_fits_table),
}


@pytest.fixture
def table():
    return Table(
        {
            "id": Column(["00012", "", "ñ, NA"], description="identifier"),
            "flux": Column([1.5, np.nan, -np.inf], unit="ct", description="scaled counts"),
            "f4": np.array([0.1, 2, 3], np.float32),
            "n": np.array([2**62, -5, 0]),
            "ok": [True, False, True],
            "cov": np.arange(6.0).reshape(3, 2),
        },
        meta={"zp_ref": 25.0, "bands": ["g", "r"]},
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_values_types_units_and_sentences_survive(tmp_path, table, kind):
    write, read = FORMATS[kind]
    write(table, tmp_path / "t")
    again = read(tmp_path / "t")
    assert again.colnames == table.colnames
    for name in table.colnames:
        assert np.array_equal(again[name], table[name], equal_nan=name not in {"id", "ok"})
        assert again[name].dtype.kind == table[name].dtype.kind
        assert (again[name].unit, again[name].description or None) == (
            table[name].unit,
            table[name].description,
        )
        assert again[name].dtype.isnative
    assert again["f4"].dtype == np.float32


def test_parquet_keeps_plain_metadata(tmp_path, table):
    table.meta["odd"] = object()
    write_parquet(table, tmp_path / "t")
    assert read_parquet(tmp_path / "t").meta == {"zp_ref": 25.0, "bands": ["g", "r"]}


@pytest.mark.parametrize("kind", FORMATS)
def test_the_same_table_gives_the_same_bytes(tmp_path, table, kind):
    write, read = FORMATS[kind]
    write(table, tmp_path / "a")
    write(table.copy(), tmp_path / "b")
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    if kind == "parquet":  # what was read writes the same again
        write(read(tmp_path / "a"), tmp_path / "c")
        assert (tmp_path / "a").read_bytes() == (tmp_path / "c").read_bytes()


@pytest.mark.parametrize("kind", FORMATS)
def test_masks_survive_where_the_format_has_them(tmp_path, kind):
    write, read = FORMATS[kind]
    mask = [False, True, False]
    table = Table({"i": MaskedColumn([1, 2, 3], mask=mask), "s": ["a", "b", "c"]})
    write(table, tmp_path / "t")
    again = read(tmp_path / "t")
    assert again["i"].mask.tolist() == mask
    assert (again["i"][0], again["i"][2]) == (1, 3)


def test_parquet_tells_nan_from_missing(tmp_path):
    column = MaskedColumn([1.0, np.nan, 3.0], mask=[False, False, True])
    flags = MaskedColumn([True, True, False], mask=[True, False, False])
    words = MaskedColumn(["a", "b", "c"], mask=[False, True, False])
    write_parquet(Table({"f": column, "b": flags, "w": words}), tmp_path / "t")
    again = read_parquet(tmp_path / "t")
    assert again["f"].mask.tolist() == [False, False, True]
    assert np.isnan(again["f"].data.data[1])
    assert again["b"].mask.tolist() == [True, False, False]
    assert again["b"].dtype == bool
    assert again["w"].mask.tolist() == [False, True, False]


@pytest.mark.parametrize("kind", FORMATS)
def test_a_table_without_rows(tmp_path, table, kind):
    write, read = FORMATS[kind]
    write(table[:0], tmp_path / "t")
    again = read(tmp_path / "t")
    assert (len(again), again.colnames) == (0, table.colnames)


def test_fits_tables_are_plain_fits(tmp_path, table):
    write_fits_table(table[:2], tmp_path / "t.fits")
    with fits.open(tmp_path / "t.fits") as hdus:
        hdus.verify("exception")
        assert hdus[1].header["TUNIT2"] == "ct"
        assert hdus[1].data["id"][0] == "00012"


@pytest.mark.parametrize("kind", FORMATS)
def test_faults(tmp_path, table, kind):
    write, read = FORMATS[kind]
    with pytest.raises(MissingFile, match="no such file"):
        read(tmp_path / "none")
    write(table, tmp_path / "t")
    (tmp_path / "cut").write_bytes((tmp_path / "t").read_bytes()[:900])
    with pytest.raises(UnreadableFile, match="cut"):
        read(tmp_path / "cut")
    with pytest.raises(Unwritable, match="cannot be written"):
        write(table, tmp_path / "no" / "t")
    with pytest.raises(BadTable, match="column z"):
        write(Table({"z": np.array([1j])}), tmp_path / "z")


@pytest.mark.parametrize("rows", [3, 5000])  # stored as it is, and compressed
def test_parquet_of_any_length_may_be_changed_after_reading(tmp_path, rows):
    table = Table({"x": np.arange(rows) / 7.0, "v": np.ones((rows, 2)), "b": np.ones(rows, bool)})
    write_parquet(table, tmp_path / "a.parquet")
    again = read_parquet(tmp_path / "a.parquet")
    for name in table.colnames:
        np.testing.assert_array_equal(again[name], table[name])
        again[name][0] = 0
        assert not np.any(again[name][0])
