"""Errors of positions and shapes: none where a bound, and not the pixels, decided."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.table import Table

from skyloom.pipelines.tile.report_columns import add_positions, add_shapes
from skyloom.scene import SourceType

NAMES = ("x", "y", "re", "ab", "THETA", "sersic_n")
AT_BOUND = 1e-60  # variance that the engine gives to what it held


def errors(held: tuple[int, ...]) -> dict[str, float]:
    """Return the errors of a Sersic galaxy some of whose parameters ended at a bound."""
    variance = np.full(6, 0.01)
    variance[list(held)] = AT_BOUND
    state: Any = SimpleNamespace(
        theta=np.array([[5.0, 6.0, 1.0, 0.1, 0.2, 2.0]]),
        theta_cov=np.diag(variance)[None],
        frozen=np.zeros(1, np.bool_),
    )
    patch: Any = SimpleNamespace(
        roi_box=SimpleNamespace(x0=0, y0=0),
        sources=SimpleNamespace(kind=np.array([SourceType.SERSIC])),
    )
    fit = Table()
    add_positions(fit, patch, state, np.array([0]))
    add_shapes(fit, state, np.array([0]), patch)
    columns = ("x_pix_err", "y_pix_err", "re_pix_err", "ab_err", "THETA_err", "sersic_n_err")
    return {name: float(fit[c][0]) for name, c in zip(NAMES, columns, strict=True)}


def test_what_the_pixels_measured_has_an_error() -> None:
    found = errors(())
    assert all(value > 0 for value in found.values())
    assert found["x"] == pytest.approx(0.1)


@pytest.mark.parametrize(
    ("held", "without"),
    [
        ((0,), {"x"}),
        ((1,), {"y"}),
        ((2,), {"re"}),
        ((3,), {"ab", "THETA"}),  # both come from both parts of the shear
        ((4,), {"ab", "THETA"}),
        ((5,), {"sersic_n"}),
        ((0, 1, 2, 3, 4, 5), set(NAMES)),
    ],
)
def test_a_parameter_at_its_bound_has_none(held: tuple[int, ...], without: set[str]) -> None:
    assert {name for name, value in errors(held).items() if np.isnan(value)} == without
