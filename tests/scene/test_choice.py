"""The choice of a model: thresholds, ties, models not tried, properties."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_array_equal

from skyloom.scene.choice import (
    CANDIDATES,
    NO_SOURCE,
    ChoiceReason,
    ChoiceRules,
    candidates_to_try,
    decide_types,
    signed_improvement,
)

STAR, REX, EXP, DEV, SERSIC = CANDIDATES
NAN = float("nan")
STAR_COLUMN, REX_COLUMN, EXP_COLUMN, DEV_COLUMN, SERSIC_COLUMN = range(5)

gains = st.one_of(st.floats(-1e3, 1e6), st.floats(-20, 80), st.integers(-5, 60).map(float))
tables = st.lists(
    st.lists(st.one_of(gains, st.just(NAN)), min_size=5, max_size=5), min_size=1, max_size=8
).map(np.array)


def chosen(*dchisq: float, **more: object) -> tuple[int, ChoiceReason]:
    kind, reason = decide_types(np.array([dchisq]), **more)
    return int(kind[0]), ChoiceReason(int(reason[0]))


@pytest.mark.parametrize(
    ("dchisq", "kind", "reason"),
    [
        # detection: penalised by the number of parameters, of whichever model is best
        ((26.99, 20.0, NAN, NAN, NAN), NO_SOURCE, "NOT_DETECTED"),
        ((27.0, 20.0, NAN, NAN, NAN), STAR, "STAR_AS_GOOD"),
        ((0.0, 27.99, NAN, NAN, NAN), NO_SOURCE, "NOT_DETECTED"),
        ((0.0, 28.0, NAN, NAN, NAN), REX, "ROUND_IS_BETTER"),
        ((0.0, 0.0, 29.99, NAN, NAN), NO_SOURCE, "NOT_DETECTED"),
        ((0.0, 0.0, 30.0, NAN, NAN), EXP, "EXP_IS_BETTER"),
        ((20.0, 20.0, 20.0, 20.0, 30.99), NO_SOURCE, "NOT_DETECTED"),
        ((20.0, 20.0, 20.0, 20.0, 31.0), STAR, "STAR_AS_GOOD"),  # sersic gains 11 of 25
        ((-5.0, -5.0, -5.0, -5.0, -5.0), NO_SOURCE, "NOT_DETECTED"),
        # star and rex: one parameter more
        ((50.0, 51.0, NAN, NAN, NAN), STAR, "STAR_AS_GOOD"),
        ((50.0, 51.01, NAN, NAN, NAN), REX, "ROUND_IS_BETTER"),
        # and one per cent of bright stars
        ((1000.0, 1009.99, NAN, NAN, NAN), STAR, "STAR_WITHIN_FRACTION"),
        ((1000.0, 1010.0, NAN, NAN, NAN), REX, "ROUND_IS_BETTER"),
        # exp and dev: 12, from the model kept so far
        ((50.0, 40.0, 62.0, 62.0, NAN), STAR, "STAR_AS_GOOD"),
        ((50.0, 40.0, 62.01, 60.0, NAN), EXP, "EXP_IS_BETTER"),
        ((50.0, 40.0, 60.0, 62.01, NAN), DEV, "DEV_IS_BETTER"),
        ((50.0, 60.0, 72.0, 71.0, NAN), REX, "ROUND_IS_BETTER"),
        ((50.0, 60.0, 72.01, 71.0, NAN), EXP, "EXP_IS_BETTER"),
        # or one per cent
        ((5000.0, 5000.0, 5050.0, 5050.0, NAN), STAR, "STAR_AS_GOOD"),
        ((5000.0, 5000.0, 5050.1, 5050.0, NAN), EXP, "EXP_IS_BETTER"),
        # ties
        ((50.0, 60.0, 80.0, 80.0, NAN), EXP, "EXP_IS_BETTER"),
        ((50.0, 60.0, 80.0, 80.01, NAN), DEV, "DEV_IS_BETTER"),
        # sersic: 25 over everything
        ((50.0, 60.0, 80.0, 90.0, 114.99), DEV, "DEV_IS_BETTER"),
        ((50.0, 60.0, 80.0, 90.0, 115.0), SERSIC, "SERSIC_IS_BETTER"),
        ((50.0, 60.0, 61.0, 61.0, 85.0), SERSIC, "SERSIC_IS_BETTER"),
        # and one per cent of bright stars
        ((5000.0, 5001.0, 5002.0, 5002.0, 5050.0), STAR, "STAR_AS_GOOD"),
        ((5000.0, 5001.0, 5002.0, 5002.0, 5050.1), SERSIC, "SERSIC_IS_BETTER"),
        # not tried
        ((NAN, NAN, NAN, NAN, NAN), NO_SOURCE, "NOT_TRIED"),
        ((40.0, NAN, NAN, NAN, NAN), STAR, "ONLY_CANDIDATE"),
        ((10.0, NAN, NAN, NAN, NAN), NO_SOURCE, "NOT_DETECTED"),
        ((NAN, 40.0, NAN, NAN, NAN), REX, "ROUND_IS_BETTER"),
        ((NAN, NAN, 40.0, NAN, NAN), EXP, "EXP_IS_BETTER"),
        ((NAN, NAN, 40.0, 41.0, NAN), DEV, "DEV_IS_BETTER"),
        ((NAN, NAN, NAN, NAN, 40.0), SERSIC, "SERSIC_IS_BETTER"),
        ((40.0, NAN, NAN, 60.0, NAN), DEV, "DEV_IS_BETTER"),
        # detected thanks to a model that misses its margin; the kept one must help
        ((20.0, 20.0, 31.0, 0.0, NAN), STAR, "STAR_AS_GOOD"),
        ((NAN, 0.0, NAN, NAN, NAN), NO_SOURCE, "NOT_DETECTED"),
    ],
)
def test_thresholds(dchisq: tuple[float, ...], kind: int, reason: str) -> None:
    assert chosen(*dchisq) == (kind, ChoiceReason[reason])


def test_rules_are_adjustable() -> None:
    dchisq = (50.0, 60.0, 80.0, 90.0, 200.0)
    assert chosen(*dchisq)[0] == SERSIC
    assert chosen(*dchisq, rules=ChoiceRules(sersic_margin=111.0))[0] == DEV
    assert chosen(*dchisq, rules=ChoiceRules(sersic_margin=141.0, galaxy_margin=31.0))[0] == REX
    assert chosen(*dchisq, rules=ChoiceRules(star_fraction=4.0))[0] == STAR
    assert chosen(*dchisq, rules=ChoiceRules(detection=195.0))[0] == NO_SOURCE
    bright = (10000.0, 10200.0, 10250.0, 10290.0, NAN)
    assert chosen(*bright)[0] == REX
    assert chosen(*bright, rules=ChoiceRules(shape_fraction=0.01 - 1e-3 - 1e-6))[0] == DEV
    assert (
        chosen(10000.0, 10050.0, 10090.0, 0.0, NAN, rules=ChoiceRules(shape_fraction=0))[0] == STAR
    )
    strict = ChoiceRules(sersic_snr=20.0)
    assert chosen(*dchisq, rules=strict, snr=np.array([19.9]))[0] == DEV
    assert chosen(*dchisq, rules=strict, snr=np.array([20.0]))[0] == SERSIC
    assert chosen(*dchisq, rules=strict)[0] == SERSIC


def test_the_shape_is_checked_and_nothing_is_fine() -> None:
    with pytest.raises(ValueError, match=r"\(n, 5\) is needed"):
        decide_types(np.zeros((3, 4)))
    kind, reason = decide_types(np.zeros((0, 5)))
    assert kind.shape == reason.shape == (0,)


@settings(deadline=None)
@given(dchisq=tables, more=st.floats(0.0, 1e5))
def test_the_chosen_model_stays_when_it_fits_better(dchisq: np.ndarray, more: float) -> None:
    kind, _ = decide_types(dchisq)
    for row, model in enumerate(kind):
        if model != NO_SOURCE:
            better = dchisq[row].copy()
            better[CANDIDATES.index(model)] += more
            assert chosen(*better)[0] == model


@settings(deadline=None)
@given(dchisq=tables, less=st.floats(0.0, 1e5), column=st.integers(REX_COLUMN, SERSIC_COLUMN))
def test_a_rejected_galaxy_stays_rejected_when_it_fits_worse(
    dchisq: np.ndarray, less: float, column: int
) -> None:
    kind, _ = decide_types(dchisq)
    worse = dchisq.copy()
    worse[:, column] -= less
    after, _ = decide_types(worse)
    assert not np.any((after == CANDIDATES[column]) & (kind != CANDIDATES[column]))


@settings(deadline=None)
@given(dchisq=tables, column=st.integers(REX_COLUMN, SERSIC_COLUMN))
def test_not_tried_is_the_same_as_hopeless(dchisq: np.ndarray, column: int) -> None:
    dchisq[:, STAR_COLUMN] = np.nan_to_num(dchisq[:, STAR_COLUMN])  # the star was tried
    absent, hopeless = dchisq.copy(), dchisq.copy()
    absent[:, column], hopeless[:, column] = NAN, -1e9
    assert_array_equal(decide_types(absent)[0], decide_types(hopeless)[0])


@settings(deadline=None)
@given(dchisq=tables)
def test_choices_are_consistent(dchisq: np.ndarray) -> None:
    kind, reason = decide_types(dchisq)
    assert_array_equal(decide_types(dchisq[::-1])[0][::-1], kind)
    for row, model in enumerate(kind):
        if model == NO_SOURCE:
            assert reason[row] in {ChoiceReason.NOT_TRIED, ChoiceReason.NOT_DETECTED}
        else:
            value = dchisq[row, CANDIDATES.index(model)]
            assert value > 0.0  # NaN, a model that was not tried, is not
            # Nothing richer is better by the largest of the margins.
            limit = max(25.0, 0.01 * np.nan_to_num(dchisq[row, STAR_COLUMN]) + 1.0)
            assert np.nanmax(dchisq[row]) <= value + limit


def test_models_are_tried_in_turn() -> None:
    def turn(*dchisq: float) -> list[int]:
        return np.flatnonzero(candidates_to_try(np.array([dchisq]))[0]).tolist()

    first, second = [STAR_COLUMN, REX_COLUMN], [EXP_COLUMN, DEV_COLUMN]
    assert turn(NAN, NAN, NAN, NAN, NAN) == first
    assert turn(50.0, NAN, NAN, NAN, NAN) == [REX_COLUMN]
    assert turn(50.0, 51.0, NAN, NAN, NAN) == []
    assert turn(50.0, 51.01, NAN, NAN, NAN) == second
    assert turn(400.0, 0.0, NAN, NAN, NAN) == []
    assert turn(400.1, 0.0, NAN, NAN, NAN) == second
    assert turn(50.0, 60.0, 71.0, 71.0, NAN) == []
    assert turn(50.0, 60.0, 80.0, 71.0, NAN) == [SERSIC_COLUMN]
    assert turn(50.0, 60.0, 80.0, 71.0, 85.0) == []


def test_what_is_not_extended_has_no_ellipse() -> None:
    rules = ChoiceRules(try_share=0.1)

    def turn(star: float, rex: float) -> list[int]:
        dchisq = np.array([[star, rex, NAN, NAN, NAN]])
        return np.flatnonzero(candidates_to_try(dchisq, rules)[0]).tolist()

    assert turn(1000.0, 1001.1) == []  # exp would have to gain 12
    assert turn(1000.0, 1001.3) == [EXP_COLUMN, DEV_COLUMN]
    assert turn(1e6, 1e6 + 900.0) == []  # 10 000
    assert turn(1e6, 1e6 + 1100.0) == [EXP_COLUMN, DEV_COLUMN]
    assert turn(NAN, 500.0) == [STAR_COLUMN, EXP_COLUMN, DEV_COLUMN]


@settings(deadline=None)
@given(truth=st.lists(gains, min_size=5, max_size=5).map(np.array))
def test_trials_end_and_never_lose_a_better_simple_model(truth: np.ndarray) -> None:
    known = np.full((1, 5), NAN)
    for _ in range(4):
        wanted = candidates_to_try(known)[0]
        if not wanted.any():
            break
        known[0, wanted] = truth[wanted]
    assert not candidates_to_try(known).any()
    lazy, full = decide_types(known)[0][0], chosen(*truth)[0]
    if full in {STAR, REX} and np.nanmax(known - [2.0, 3.0, 5.0, 5.0, 6.0]) >= 25.0:
        assert lazy == full


def test_bands_of_negative_flux_count_against_a_source() -> None:
    without = np.array([[100.0, 100.0, 100.0, 100.0]])
    fitted = np.array([[60.0, 90.0, 70.0, 10.0]])
    flux = np.array([[5.0, -3.0, 0.0, NAN]])
    assert signed_improvement(without, fitted, flux) == pytest.approx([40.0 - 10.0])
    worse = np.array([[110.0, 100.0, 100.0, 100.0]])
    assert signed_improvement(without, worse, np.array([[5.0, 1, 1, 1]])) == pytest.approx([-10.0])
    assert signed_improvement(without, worse, np.array([[-5.0, 1, 1, 1]])) == pytest.approx([-10.0])
