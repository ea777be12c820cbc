"""Pictures of a comparison show what was measured, and exist for thin catalogues too."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.compare import Comparison, compare_catalogs
from skyloom.plots import (
    comparison_figures,
    plot_delta_mag,
    plot_lost_gained,
    plot_position_offsets,
    plot_pull_histogram,
    plot_type_changes,
    png_bytes,
)


def catalogs(n: int, *, errors: bool = True, seed: int = 1) -> Comparison:
    rng = np.random.default_rng(seed)
    ra, dec = rng.uniform(10.0, 10.1, n), rng.uniform(-5.0, -4.9, n)
    flux = 10 ** rng.uniform(1, 3, n)
    tables = []
    for step in (0.0, 0.2 / 3600):
        noise = rng.normal(size=n)
        table = Table({"objid": np.arange(n), "ra": ra + step, "dec": dec, "type": ["EXP"] * n,
                       "shape_r": rng.uniform(1, 2, n), "shape_e1": np.full(n, 0.3),
                       "shape_e2": np.zeros(n), "flux_r": flux + noise})  # fmt: skip
        if errors:
            table["flux_ivar_r"] = 1.0
        tables.append(table)
    lost = np.arange(n) >= n // 10
    return compare_catalogs(tables[0], tables[1][lost] if n > 20 else tables[1])


def words(ax: object) -> str:
    return "\n".join(t.get_text() for t in ax.texts)  # type: ignore[attr-defined]


def test_panels_say_the_numbers() -> None:
    found = catalogs(500)
    (band,) = found.bands
    assert f"median {band.summary.median:+.4f}" in words(plot_delta_mag(band))
    pulls = words(plot_pull_histogram(band))
    assert f"width {band.pulls.width:.2f}" in pulls
    assert "errors of" not in pulls
    assert f"n = {len(found)}" in words(plot_position_offsets(found.positions))
    labels = [t.get_text() for t in plot_lost_gained(found).get_legend().get_texts()]
    assert labels[0] == "matched (450)"
    assert any(t.startswith("lost") for t in labels)


def test_east_is_left_and_types_are_counted() -> None:
    found = catalogs(60)
    left, right = plot_position_offsets(found.positions).get_xlim()
    assert left > right
    ax = plot_type_changes({("star", "star"): 5, ("exp", ""): 2})
    assert sorted(words(ax).split()) == ["2", "5"]
    assert [t.get_text() for t in ax.get_xticklabels()] == ["unknown", "star"]


@pytest.mark.parametrize("n", [1, 2, 60])
@pytest.mark.parametrize("errors", [True, False], ids=["errors", "no errors"])
def test_every_picture_is_drawn(n: int, errors: bool) -> None:
    figures = comparison_figures(catalogs(n, errors=errors))
    assert set(figures) == {"delta_mag", "pulls", "positions_shapes", "lost_gained"}
    for figure in figures.values():
        assert png_bytes(figure, dpi=40)[:4] == b"\x89PNG"
