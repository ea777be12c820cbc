from __future__ import annotations

import csv
import io

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table
from hypothesis import given
from hypothesis.strategies import characters, lists, text

from skyloom.catalogs import column_as_text, read_csv, read_image_list, write_csv
from skyloom.errors import BadTable, MissingFile, UnreadableFile, Unwritable

AWKWARD = '''ID,RA,Name,note
00012,150.1000,NA,"a, quoted ""comma"""
,150.20,null,
nan,1e2,  blanks kept  ,"two
lines"
1_000,+3.,TRUE,ñandú ✓
'''


def test_text_survives_byte_for_byte(tmp_path):
    (tmp_path / "a.csv").write_text(AWKWARD, encoding="utf-8")
    table = read_csv(tmp_path / "a.csv")
    assert table["ID"].tolist() == ["00012", "", "nan", "1_000"]
    assert table["RA"].tolist() == ["150.1000", "150.20", "1e2", "+3."]
    assert table["Name"].tolist() == ["NA", "null", "  blanks kept  ", "TRUE"]
    write_csv(table, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text(encoding="utf-8") == AWKWARD


cells = text(characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@given(rows=lists(lists(cells, min_size=3, max_size=3), max_size=6))
def test_any_cells_survive_a_round_trip(tmp_path_factory, rows):
    path = tmp_path_factory.mktemp("csv") / "a.csv"
    table = Table(
        [np.array([r[i] for r in rows] or [], dtype=str) for i in range(3)], names=["a", "b", "c"]
    )
    write_csv(table, path)
    again = read_csv(path)
    assert [list(map(str, row)) for row in again.iterrows()] == rows
    # and Python's own reader agrees
    assert list(csv.reader(io.StringIO(path.read_bytes().decode(), newline="")))[1:] == rows


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_line_ends_and_byte_order_marks(tmp_path, newline, mark):
    lines = [mark + "ID,RA", "007,1", "", "008,2"]
    (tmp_path / "a.csv").write_bytes(newline.join(lines).encode())
    table = read_csv(tmp_path / "a.csv")
    assert table.colnames == ["ID", "RA"]
    assert table["ID"].tolist() == ["007", "008"]


def test_values_are_written_short_and_exact(tmp_path):
    table = Table(
        {
            "f": [0.1, np.nan, 24.853462781942874],
            "f4": np.array([0.1, np.inf, 1e-10], np.float32),
            "b": [True, False, True],
            "i": MaskedColumn([1, 2, 3], mask=[False, True, False]),
            "mf": MaskedColumn([1.5, 2.5, 3.5], mask=[True, False, False]),
            "o": np.array([None, "x", "NA"], dtype=object),
        }
    )
    write_csv(table, tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_text().splitlines() == [
        "f,f4,b,i,mf,o",
        "0.1,0.1,True,1,,",
        ",inf,False,,2.5,x",
        "24.853462781942874,1e-10,True,3,3.5,NA",
    ]


def test_the_reference_catalogue_survives(tmp_path, shared_data):
    source = shared_data / "tract7dt_reference" / "output_catalog_head.csv"
    write_csv(read_csv(source), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == source.read_bytes()


def test_a_single_column_with_an_empty_cell_keeps_its_rows(tmp_path):
    write_csv(Table({"a": ["x", "", "y"]}), tmp_path / "a.csv")
    assert read_csv(tmp_path / "a.csv")["a"].tolist() == ["x", "", "y"]


def test_a_header_alone_and_an_unnamed_index(tmp_path):
    (tmp_path / "a.csv").write_text(",ID,RA\n")
    table = read_csv(tmp_path / "a.csv")
    assert (len(table), table.colnames) == (0, ["unnamed_1", "ID", "RA"])
    write_csv(table, tmp_path / "b.csv")
    assert (tmp_path / "b.csv").read_text() == "unnamed_1,ID,RA\n"


@pytest.mark.parametrize(
    ("content", "error", "words"),
    [
        (b"", BadTable, "the file is empty"),
        (b"ID,RA\n1,2\n1,2,3\n", BadTable, r"row 2 \(line 3\): 3 cells, but the header has 2"),
        (b"ID,RA\n1\n", BadTable, r"row 1 \(line 2\): 1 cells"),
        (b"ID,RA,ID\n1,2,3\n", BadTable, "names 'ID' more than once"),
        (b"# mine\nID,RA\n1,2\n", BadTable, "row 1 .line 2.: 2 cells.*remove comment lines"),
        (b"SIMPLE  =   T", UnreadableFile, "this is a FITS file.*as CSV.* the path"),
        (b"PAR1\x15\x04", UnreadableFile, "this is a Parquet file"),
        (b"\x1f\x8b\x08", UnreadableFile, "this is a gzip archive"),
        (b"ID,RA\n1,\xff\n", UnreadableFile, "line 2: byte 0xff is not UTF-8"),
        (b"ID,RA\n1,\0\n", UnreadableFile, "line 2: a NUL byte"),
        (b'ID,RA\n1,"open\n2,3\n', UnreadableFile, "not a CSV table.*check the quotes"),
        (b'ID,RA\n1,"a"b\n', UnreadableFile, "line 2: not a CSV table"),
    ],
)
def test_damaged_files_name_the_place(tmp_path, content, error, words):
    (tmp_path / "bad.csv").write_bytes(content)
    with pytest.raises(error, match=r"bad\.csv.*" + words):
        read_csv(tmp_path / "bad.csv")


def test_absent_files_and_unwritable_places(tmp_path):
    with pytest.raises(MissingFile, match=r"none\.csv: no such file; correct inputs\.x"):
        read_csv(tmp_path / "none.csv", key="inputs.x")
    with pytest.raises(UnreadableFile):
        read_csv(tmp_path)
    with pytest.raises(Unwritable, match="cannot be written"):
        write_csv(Table({"a": [1]}), tmp_path / "no" / "a.csv")
    with pytest.raises(BadTable, match="column a"):
        write_csv(Table({"a": np.zeros((2, 2))}), tmp_path / "a.csv")


def test_text_of_other_kinds():
    table = Table({"s": np.array([b"ab", b"c"]), "i": [1, -2], "f": [0.5, np.nan]})
    assert column_as_text(table, "s").tolist() == ["ab", "c"]
    assert column_as_text(table, "i").tolist() == ["1", "-2"]
    assert column_as_text(table, "f").tolist() == ["0.5", ""]


def test_image_list_order_comments_and_base(tmp_path):
    (tmp_path / "lists").mkdir()
    path = tmp_path / "lists" / "images.txt"
    path.write_text("# bands\n\n  r.fits  \n/abs/g.fits\n  # no\n~/i.fits\n")
    found = read_image_list(path, base=tmp_path)
    assert found[0] == tmp_path / "r.fits"
    assert str(found[1]) == "/abs/g.fits"
    assert "~" not in str(found[2])
    assert read_image_list(path)[0] == tmp_path / "lists" / "r.fits"


@pytest.mark.parametrize("content", [None, "", "# only a comment\n\n"])
def test_an_absent_or_empty_image_list(tmp_path, content):
    path = tmp_path / "images.txt"
    if content is not None:
        path.write_text(content)
    with pytest.raises(FileNotFoundError, match=r"images\.txt.*inputs\.image_list_file"):
        read_image_list(path)
