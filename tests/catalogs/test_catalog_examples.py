"""The examples in docstrings of catalogues and geometry are right."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize(
    "module", ["catalogs.schema", "catalogs.source_catalog", "catalogs.spans", "geometry.angle"]
)
def test_examples_of_docstrings(module):
    found = doctest.testmod(importlib.import_module(f"skyloom.{module}"))
    assert found.attempted > 0
    assert found.failed == 0
