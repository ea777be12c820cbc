"""How the back end in this process spends its time; with a stub of the engine and of the clock."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from skyloom.calib.plate_solving import (
    Hint,
    IndexFile,
    SolveRequest,
    SolverParameters,
    StarList,
    in_process,
)

FINE = IndexFile(path=Path("fine"), index_id=1, quad_low=0.1, quad_high=0.2, n_stars=200_000,
                 is_all_sky=True)  # fmt: skip
COARSE = IndexFile(path=Path("coarse"), index_id=2, quad_low=4.0, quad_high=8.0, n_stars=2_000,
                   is_all_sky=True)  # fmt: skip


def request(seconds, **hint):
    rng = np.random.default_rng(3)
    stars = StarList.of(*rng.uniform(0, 900, (2, 120)), rng.pareto(1, 120), shape=(900, 900))
    return SolveRequest(stars=stars, indexes=(FINE, COARSE), parameters=SolverParameters(),
                        hint=Hint(**hint), seconds=seconds, depth=100)  # fmt: skip


@pytest.fixture
def spend(monkeypatch):
    """Return what was asked, when each question takes the time that a function says."""
    now = [0.0]
    monkeypatch.setattr(in_process, "_package", lambda: None)
    monkeypatch.setattr(in_process.time, "monotonic", lambda: now[0])

    def run(question, cost, load=0.0):
        asked, loaded = [], set()

        def ask(_package, index, _places, part, _request):
            now[0] += cost(index, part)
            asked.append((index.path.name, part))

        def fetch(index):
            now[0] += load * (index.path not in loaded)
            loaded.add(index.path)

        monkeypatch.setattr(in_process, "_ask", ask)
        monkeypatch.setattr(in_process, "_load", fetch)
        start = now[0]
        assert in_process.InProcess().solve(question) is None
        return asked, now[0] - start

    return run


def n_quads(part):
    return math.comb(part[1], 4) - math.comb(part[0], 4)


def test_quick_questions_are_all_asked_however_long_an_index_takes_to_load(spend):
    asked, _ = spend(request(60.0), lambda *_: 0.01, load=2.0)
    assert len(asked) == 2 * len(in_process._STEPS)
    for name in ("fine", "coarse"):
        parts = [part for found, part in asked if found == name]
        assert [part[0] for part in parts] == [0, *(part[1] for part in parts[:-1])]  # no gap
        assert parts[-1][1] == 100


def test_time_goes_to_coarse_indexes_where_the_scale_is_unknown(spend):
    asked, total = spend(request(10.0), lambda index, part: 5e-9 * index.n_stars * n_quads(part))
    assert total < 10.0
    last = dict(asked)
    # A hundred times fewer quads of the index, 3.2 times as many stars: 100 = 3.2**4.
    assert last["coarse"][1] >= 2 * last["fine"][1]
    assert total > 5.0  # and most of the time was used


def test_a_known_scale_asks_the_best_index_first(spend):
    asked, _ = spend(request(10.0, scale_low=3.0, scale_high=3.6), lambda *_: 0.01)
    assert asked[0] == ("fine", (0, 8))
    assert {name for name, _ in asked} == {"fine"}  # quads of 4 deg do not fit into 0.8


def test_a_question_that_would_not_end_in_time_is_not_asked(spend):
    def cost(index, part):
        return 1e-7 * index.n_stars * n_quads(part)

    _, total = spend(request(5.0, scale_low=3.0, scale_high=3.6), cost)
    assert total <= 5.0 + cost(FINE, (0, 8))
