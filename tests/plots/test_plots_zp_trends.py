"""Trends of the zero point: what is drawn, and how it is told from what is left out."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.plots import TrendLine, TrendStars, plot_trend, plot_zero_point_trends, png_bytes
from skyloom.plots.style import COLORS

RNG = np.random.default_rng(1)
X = RNG.uniform(0, 1000, 40)
STARS = TrendStars(
    offset=1e-5 * (X - 500) + 0.003 * RNG.normal(size=40),
    error=np.where(np.arange(40) == 3, np.nan, 0.002),
    is_kept=np.arange(40) > 2,
)
LINE = TrendLine(pivot=500.0, level=0.0, slope=1e-5, slope_err=2e-6, is_significant=True)


def test_the_line_and_the_slope_are_those_given():
    ax = plot_trend(X, STARS, label="x [pix]", line=LINE, per=(1000.0, "kpix"))
    assert ax.get_title() == "+10.00 ± 2.00 mmag / kpix  (5.0 sigma)"
    assert ax.title.get_color() == COLORS["red"]
    line = next(one for one in ax.lines if one.get_label() == "robust line")
    x, y = line.get_data()
    assert np.allclose(y, 1e3 * 1e-5 * (x - 500), rtol=0, atol=1e-9)  # rounding
    assert ax.get_ylabel() == "zero point - adopted [mmag]"


def test_stars_beyond_the_range_become_arrows():
    offset = STARS.offset.copy()
    offset[5] = 0.5
    stars = TrendStars(offset=offset, error=STARS.error, is_kept=STARS.is_kept)
    ax = plot_trend(X, stars, label="x [pix]", half_range=0.02)
    arrows = [one for one in ax.lines if one.get_marker() == "^"]
    assert sum(len(one.get_xdata()) for one in arrows) == 1
    assert ax.get_ylim() == pytest.approx((-20.0, 20.0))


def test_few_or_no_stars_can_be_drawn():
    for n in (0, 3):
        nothing = TrendStars(
            offset=np.zeros(n), error=np.full(n, np.nan), is_kept=np.ones(n, dtype=bool)
        )
        ax = plot_trend(np.arange(float(n)), nothing, label="x [pix]", line=LINE)
        assert len(png_bytes(ax)) > 1000


def test_a_panel_for_each_abscissa():
    abscissae = {"x": ("x [pix]", X), "y": ("y [pix]", X[::-1]), "mag": ("r [AB]", X / 100)}
    figure = plot_zero_point_trends(abscissae, STARS, lines={"x": LINE}, title="r")
    assert [ax.get_xlabel() for ax in figure.axes] == ["x [pix]", "y [pix]", "r [AB]"]
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["robust line", "left out", "kept", "running median"]
