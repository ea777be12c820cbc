from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.table import MaskedColumn, Table

from skyloom.catalogs import (
    as_input_catalog,
    check_flux_bands,
    column_as_bool,
    column_as_float,
    load_input_catalog,
    odd_shapes,
    resolve_columns,
    source_types,
    text_array,
    unique_keys,
)
from skyloom.errors import BadTable, InputError, Mismatch


def catalog(tmp_path, content):
    path = tmp_path / "cat.csv"
    path.write_text(content)
    return path


def columns(*names):
    return Table({name: ["1"] for name in names})


def test_a_catalogue_keeps_its_text_and_gives_numbers(tmp_path):
    path = catalog(tmp_path, "ID,RA,DEC,TYPE,ELL,FLUX_g\n007,150.10,2.0, star ,,NA\n8,1,2,,0.3,5\n")
    loaded = load_input_catalog(path, bands=["g"])
    assert loaded.ra.tolist() == [150.1, 1.0]
    assert loaded.table["RA"].tolist() == ["150.10", "1"]
    assert loaded.key.tolist() == ["007", "8"]
    assert source_types(loaded.table, loaded.columns).tolist() == ["STAR", ""]
    assert np.isnan(column_as_float(loaded.table, "ELL")).tolist() == [True, False]
    assert loaded.columns.flux == {"g": "FLUX_g"}
    assert len(loaded) == 2


def test_columns_are_found_whatever_their_case(caplog):
    table = columns(" ra ", "Dec", "id", "tYpE", "ell", "THETA", "re", "Sersic_N", "flux_G")
    with caplog.at_level(logging.WARNING):
        found = resolve_columns(table, ["g"])
    assert (found.ra, found.dec, found.id, found.type) == (" ra ", "Dec", "id", "tYpE")
    assert (found.ell, found.re, found.sersic_n) == ("ell", "re", "Sersic_N")
    assert found.flux == {"g": "flux_G"}
    assert found.pos_err is None
    assert "are used as RA, DEC" in caplog.text


def test_the_exact_name_wins_and_ambiguity_is_refused():
    assert resolve_columns(columns("RA", "ra", "DEC")).ra == "RA"
    with pytest.raises(BadTable, match="'Ra', 'rA' could all be RA"):
        resolve_columns(columns("Ra", "rA", "DEC"))


def test_bands_that_differ_by_case_are_not_mixed_up():
    table = columns("RA", "DEC", "FLUX_Z")
    assert resolve_columns(table, ["z", "Z"]).flux == {"Z": "FLUX_Z"}
    assert resolve_columns(table, ["z"]).flux == {"z": "FLUX_Z"}


@pytest.mark.parametrize("names", [("ID", "DEC"), ("RA", "x"), ("alpha", "delta")])
def test_positions_are_needed(names):
    with pytest.raises(ValueError, match="input_catalog must have RA/DEC columns") as caught:
        resolve_columns(columns(*names))
    assert isinstance(caught.value, InputError)


@pytest.mark.parametrize(
    "names",
    [
        (),
        ("FLUX_g", "FLUX_r"),
        ("FLUX_g", "FLUX_r", "FLUX_g_ERR"),
        ("FLUX_g", "FLUX_r", "FLUX_r_ERR", "FLUX_g_ERR"),
        ("FLUX_g_ERR",),
        ("flux_other",),
    ],
)
def test_flux_columns_that_fit_the_bands(names):
    check_flux_bands(columns("RA", "DEC", *names), ["r", "g"])


@pytest.mark.parametrize(
    ("names", "only_catalog", "only_images"),
    [
        (("FLUX_g",), [], ["r"]),
        (("FLUX_g", "FLUX_r", "FLUX_i"), ["i"], []),
        (("FLUX_G", "FLUX_r"), ["G"], ["g"]),
        (("FLUX_g", "FLUX_r", "FLUX_i", "FLUX_i_ERR"), ["i"], []),
        (("FLUX_g", "FLUX_r", "FLUX_i_ERR"), ["i_ERR"], []),
    ],
)
def test_flux_columns_of_other_bands(names, only_catalog, only_images):
    with pytest.raises(RuntimeError, match="Band mismatch between input catalog") as caught:
        check_flux_bands(columns("RA", "DEC", *names), ["r", "g"])
    assert isinstance(caught.value, Mismatch)
    assert caught.value.only_in_catalog == only_catalog
    assert caught.value.only_in_images == only_images


@pytest.mark.parametrize(
    ("content", "words"),
    [
        ("ID,RA,DEC\n", "the catalogue has no rows"),
        ("ID,RA,DEC\n1,2,3\n2,x2,3\n3,4,y\n", "row 2, column RA: 'x2' is not a number"),
        ("ID,RA,DEC,Re\n1,2,3,big\n2,2,3,?\n", r"row 1, column Re: 'big' .*\(and 1 more rows\)"),
        ("ID,RA,DEC,FLUX_g\n1,2,3,--x\n", "row 1, column FLUX_g"),
        ("ID,RA,DEC\n1,2.2,150.1\n", "row 1, column DEC: 150.1 is not within"),
        ("ID,RA,DEC\n1,12:00:03.8,-0:4:1\n", "row 1, column RA: .*; write decimal degrees"),
        ("ID,RA,DEC\n1,12h00m03.8s,1\n", "row 1, column RA: .*; write decimal degrees"),
        ("ID,RA,DEC\n1,12 00 03.8,1\n", "row 1, column RA: .*; write decimal degrees"),
        ("ID;RA;DEC\n1;2;3\n", "lacks RA and DEC .*separated by semicolons: write commas"),
        ("ID\tRA\tDEC\n1\t2\t3\n", "lacks RA and DEC .*separated by tabs: write commas"),
        ("ID,RA,DEC\n7,1,1\n8,1,1\n7,1,1\n", "1 IDs are not unique: '7' in rows 1, 3"),
    ],
)
def test_faults_name_file_row_column_and_remedy(tmp_path, content, words):
    with pytest.raises(BadTable, match=r"cat\.csv.*" + words) as caught:
        load_input_catalog(catalog(tmp_path, content), bands=["g"])
    assert "; " in str(caught.value)


def test_shapes_that_cannot_be_are_warned_of(tmp_path, caplog):
    content = "ID,RA,DEC,ELL,THETA,Re\n1,1,1,0.1,10,2\n2,1,1,1.5,10,-1\n3,1,1,-2,400,\n4,1,1,,,0\n"
    with caplog.at_level(logging.WARNING):
        loaded = load_input_catalog(catalog(tmp_path, content), bands=[])
    assert odd_shapes(loaded.table, loaded.columns) == tuple(
        message.partition("cat.csv, ")[2] for message in caplog.messages
    )
    ell, re, theta = caplog.messages
    assert "column ELL: 2 of 4 values are beyond 0 to 1 (first: row 2, 1.5)" in ell
    assert "column Re: 1 of 4 values are negative (first: row 2, -1)" in re
    assert "column THETA: 1 of 4 values are beyond -360 to 360 (first: row 3, 400)" in theta
    assert ell.endswith("correct the column if it is not")


@pytest.mark.parametrize("bad", ["", "nan", "NaN", "inf", "NA", "null"])
def test_rows_without_position_stay_with_a_warning(tmp_path, bad, caplog):
    path = catalog(tmp_path, f"ID,RA,DEC\n1,{bad},2\n2,3,4\n3,5,{bad}\n")
    with caplog.at_level(logging.WARNING):
        loaded = load_input_catalog(path, bands=[])
    assert loaded.has_position.tolist() == [False, True, False]
    assert "2 of 3 rows have no finite RA, DEC (first: row 1)" in caplog.text


def test_leading_zeros_tell_ids_apart_and_empty_ids_do_not_clash():
    table = Table(
        {"ID": ["1", "01", "", "", "NA", "row_3"], "RA": ["1"] * 6, "DEC": ["1"] * 6},
    )
    keys = as_input_catalog(table, bands=[]).key.tolist()
    assert keys == ["1", "01", "row_3_", "row_4", "NA", "row_3"]
    assert len(set(keys)) == 6


def test_a_catalogue_without_ids_or_types_has_keys():
    loaded = as_input_catalog(Table({"ra": ["1", "2"], "dec": ["1", "2"]}), bands=["g"])
    assert loaded.key.tolist() == ["row_1", "row_2"]
    assert source_types(loaded.table, loaded.columns).tolist() == ["", ""]


def test_keys_of_repeated_ids_are_unique():
    assert unique_keys(text_array(["a", "a", "row_2"])).tolist() == ["a", "row_2_", "row_2"]


def test_numeric_columns_pass_and_masked_cells_are_missing():
    table = Table({"i": [1, 2], "m": MaskedColumn([1.5, 2.5], mask=[True, False])})
    assert column_as_float(table, "i").tolist() == [1.0, 2.0]
    assert np.isnan(column_as_float(table, "m")).tolist() == [True, False]


def test_truth_values():
    table = Table(
        {"t": ["True", "false", "", "1"], "b": [True, False, True, True], "f": [1.0, 0, np.nan, 2]}
    )
    assert column_as_bool(table, "t").tolist() == [True, False, False, True]
    assert column_as_bool(table, "t", missing=True).tolist() == [True, False, True, True]
    assert column_as_bool(table, "b").tolist() == [True, False, True, True]
    assert column_as_bool(table, "f", missing=True).tolist() == [True, False, True, True]
    with pytest.raises(BadTable, match="row 1, column t: 'maybe'"):
        column_as_bool(Table({"t": ["maybe"]}), "t")


def test_the_real_catalogue(shared_data):
    loaded = load_input_catalog(shared_data / "kids_viking_tile" / "input_catalog.csv", bands=["r"])
    assert len(loaded) == 770
    assert loaded.key[0] == "00001"
    types, counts = np.unique(source_types(loaded.table, loaded.columns), return_counts=True)
    assert dict(zip(types.tolist(), counts.tolist(), strict=True))["STAR"] == 54
