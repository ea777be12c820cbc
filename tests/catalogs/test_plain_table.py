"""Tables made fast are those that astropy makes."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Column, MaskedColumn, Table

from skyloom.catalogs import plain_table
from skyloom.errors import BadTable


def test_a_table_is_the_one_that_astropy_makes() -> None:
    columns = {
        "row": np.arange(3),
        "name": np.array(["a", "bb", ""]),
        "shape": np.arange(6.0).reshape(3, 2),
        "flux": Column([1.0, 2.0, 3.0], unit="nJy", description="total"),
        "mag": MaskedColumn([1.0, 2.0, 3.0], mask=[True, False, False]),
    }
    expected = Table(columns, meta={"tile": "x"})
    table = plain_table(columns, {"tile": "x"})
    assert table.colnames == expected.colnames
    assert table.meta == expected.meta
    for name in table.colnames:
        assert type(table[name]) is type(expected[name])
        assert table[name].dtype == expected[name].dtype
        assert (table[name].unit, table[name].description) == (
            expected[name].unit,
            expected[name].description,
        )
        np.testing.assert_array_equal(table[name], expected[name])
    assert table["mag"].mask.tolist() == [True, False, False]
    assert len(table[1:]) == 2


def test_columns_belong_to_the_table() -> None:
    table = plain_table({"x": np.arange(2.0), "y": np.arange(2.0)})
    table["x"].name = "ra"
    assert table.colnames == ["ra", "y"]
    table["z"] = table["ra"] + 1.0
    table.sort("ra", reverse=True)
    assert table["z"].tolist() == [2.0, 1.0]
    assert plain_table({}).colnames == []


def test_columns_of_unequal_length_are_refused() -> None:
    with pytest.raises(BadTable, match="column y has 3 rows, the others have 2"):
        plain_table({"x": np.zeros(2), "y": np.zeros(3)})
