"""Tables: which test shows each rule of file processors. A test that does not exist fails."""

from __future__ import annotations

import ast
import functools
from pathlib import Path

import pytest
from coverage_tables import COUNTING, FAULTS, SOLVING, STATES
from test_header_processors import TABLE

TESTS = Path(__file__).parents[1]


@functools.cache
def functions(file: str) -> set[str]:
    tree = ast.parse((TESTS / file).read_text(encoding="utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)}


@pytest.mark.parametrize("rule", [*COUNTING, *FAULTS, *SOLVING])
def test_every_rule_and_fault_has_tests(rule: str) -> None:
    tests = {**COUNTING, **FAULTS, **SOLVING}[rule]
    assert tests
    for test in tests:
        file, _, name = test.partition("::")
        assert name in functions(file), test


def test_every_line_of_the_state_machine_is_tested() -> None:
    assert "test_every_state_with_every_option" in functions("process/test_header_processors.py")
    rows = {options: states for options, *states in TABLE}
    assert set(STATES) <= set(rows)
    assert all(len(states) == 4 for states in rows.values())
