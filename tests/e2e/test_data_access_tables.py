"""Every promise of the data access names a test, and every test that is named exists."""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

import pytest
from data_access_tests import (
    ERRORS,
    LISTINGS_OF_THE_MANUAL,
    MUST_PASS,
    PROMISES,
    SCRIPTS_OF_THE_MANUAL,
)

TESTS = Path(__file__).parents[1]
PAGE = TESTS.parent / "docs" / "hsc_migration.md"


def named() -> Iterator[str]:
    for table in (MUST_PASS, SCRIPTS_OF_THE_MANUAL, LISTINGS_OF_THE_MANUAL, ERRORS, PROMISES):
        for tests in table.values():
            yield from tests


@functools.cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("address", sorted(set(named())))
def test_the_test_exists(address: str) -> None:
    file, _, name = address.partition("::")
    assert name in functions(file)


def test_none_of_the_ten_is_missing() -> None:
    assert list(MUST_PASS) == list(range(1, 11))
    assert all(MUST_PASS.values())


def test_the_page_lists_the_scripts_that_are_tried() -> None:
    text = PAGE.read_text(encoding="utf-8")
    part = text[text.index("## The scripts of the manual") : text.index("## Old call, new call")]
    for script in SCRIPTS_OF_THE_MANUAL:
        assert f"`{script.removesuffix('.py')}`" in part


def test_calls_of_scripts_are_in_the_table() -> None:
    """A test of calls that nobody lists would be forgotten here."""
    calls = {name for name in functions("compat/test_hsc_listings.py") if "calls_of" in name}
    listed = {test.partition("::")[2] for tests in SCRIPTS_OF_THE_MANUAL.values() for test in tests}
    assert calls <= listed
