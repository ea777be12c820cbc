"""Changing the model that a source was given: only where that is clear."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scene_tools import DEV, EXP, SERSIC, STAR

from skyloom.scene import SourceType, clear_types
from skyloom.scene.choice import ChoiceRules, candidates_to_try

REX = int(SourceType.REX)
NAN = np.nan


def better(kind: int, *dchisq: float) -> int:
    return int(clear_types(np.array([dchisq]), np.array([kind]))[0])


@pytest.mark.parametrize(
    ("kind", "dchisq", "expected"),
    [
        # star, rex, exp, dev, sersic
        (EXP, (1e4, 1e4 + 1, 1e4 + 3, 1e4 + 2, NAN), STAR),
        (DEV, (1e4, 1e4 + 60, 1e4 + 60, 1e4, NAN), DEV),  # a star by less than half the margin
        (EXP, (899.0, 899.0, 899.0, 899.0, NAN), EXP),  # S/N just below 30
        (EXP, (901.0, 901.0, 901.0, 901.0, NAN), STAR),
        (STAR, (9000.0, 9900.0, 9910.0, 9800.0, NAN), EXP),  # a round one becomes an exponential
        (STAR, (9000.0, 9900.0, 9905.0, 9907.0, NAN), DEV),  # or the better one of both
        (STAR, (1e4, 1e4 + 150, 1e4 + 150, 1e4 + 100, NAN), STAR),  # below twice the margin
        (STAR, (1e4, 1e4 + 250, 1e4 + 250, 1e4 + 100, NAN), EXP),
        (STAR, (200.0, 390.0, 395.0, 380.0, NAN), STAR),  # S/N just below 20
        (STAR, (200.0, 410.0, 415.0, 380.0, NAN), EXP),
        (EXP, (5000.0, 5900.0, 6000.0, 6115.9, NAN), DEV),
        (EXP, (5000.0, 5990.0, 6100.0, 6115.9, NAN), EXP),  # better by less than 16
        (DEV, (5000.0, 6100.0, 6105.0, 6000.0, NAN), EXP),
        (EXP, (5000.0, 5900.0, 6000.0, 6010.0, 6200.0), SERSIC),
        (SERSIC, (5000.0, 5900.0, 6000.0, 6300.0, NAN), SERSIC),  # contains the other galaxies
        (SERSIC, (5000.0, 5001.0, 5002.0, 5001.0, NAN), STAR),
        (REX, (5000.0, 5900.0, 6000.0, 6300.0, NAN), REX),  # nobody asked
        (EXP, (NAN, NAN, NAN, NAN, NAN), EXP),
        (EXP, (2.0, 3.0, 4.0, 3.0, NAN), EXP),  # nothing there
    ],
)
def test_a_type_changes_where_it_is_clear(
    kind: int, dchisq: tuple[float, ...], expected: int
) -> None:
    assert better(kind, *dchisq) == expected


@given(
    base=st.floats(0.0, 1e6),
    gains=st.lists(st.floats(-1e5, 1e5), min_size=4, max_size=4),
    kind=st.sampled_from([STAR, EXP, DEV, SERSIC]),
)
def test_a_clear_type_stays_what_it_is(base: float, gains: list[float], kind: int) -> None:
    """Asked again about the new type, the same numbers change nothing."""
    dchisq = (base, *(base + g for g in gains))
    new = better(kind, *dchisq)
    assert better(new, *dchisq) == new
    assert new != REX


def test_a_free_index_is_tried_for_bright_round_galaxies_on_request() -> None:
    dchisq = np.array([[1000.0, 1200.0, 1201.0, 1150.0, NAN], [100.0, 130.0, 131.0, 120.0, NAN]])
    assert not candidates_to_try(dchisq).any()
    wanted = candidates_to_try(dchisq, ChoiceRules(sersic_after_round=True))
    assert wanted.tolist() == [[False] * 4 + [True], [False] * 5]
