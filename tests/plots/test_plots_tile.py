"""Pictures of a tile: what they draw, where, and how many of each."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.collections import PathCollection

from skyloom.geometry.box import Box
from skyloom.plots import (
    Points,
    ZeroPointStars,
    plot_bright_mask_overlay,
    plot_crop,
    plot_gaia_overlay,
    plot_white_overlay,
    plot_zero_point,
    save_figure,
)
from skyloom.plots.overlays import label_sky
from skyloom.plots.style import new_axes

RNG = np.random.default_rng(2)
WHITE = RNG.normal(0, 1, (120, 150))
WHITE[60, 70] = np.nan


def tan(rotation: float = 0.0, ra: float = 150.0) -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [ra, 30.0], [75.0, 60.0]
    c, s = np.cos(np.radians(rotation)), np.sin(np.radians(rotation))
    wcs.wcs.cd = np.array([[-c, s], [s, c]]) / 3600
    return wcs


def scatters(ax: Axes) -> dict[str, int]:
    """Markers drawn, by legend text without the count."""
    found = [c for c in ax.collections if isinstance(c, PathCollection)]
    return {str(c.get_label()).split(" (")[0]: len(c.get_offsets()) for c in found}


def points(n: int) -> Points:
    return Points(x=RNG.uniform(5, 140, n), y=RNG.uniform(5, 110, n))


def test_crop_box_is_drawn_at_its_pixels():
    ax = plot_crop(WHITE, box=Box(20, 130, 15, 100))
    outline = ax.patches[-1]
    assert (outline.get_x(), outline.get_y()) == (19.5, 14.5)
    assert (outline.get_width(), outline.get_height()) == (110, 85)
    assert len(ax.patches) == 5  # four dimmed strips and the outline
    assert len(plot_crop(WHITE).patches) == 0


def test_white_overlay_sorts_sources_by_type_and_fate():
    stype = np.array(
        ["STAR"] * 4 + ["exp", "DEV", "SERSIC", "GAL", ""] + ["QSO", "STAR", "EXP", "EXP"]
    )
    sources = points(13)
    sources.x[12] = np.nan
    crop, saturated = np.zeros(13, bool), np.zeros(13, bool)
    saturated[[0, 1]], crop[[1, 11]] = True, True
    ax = plot_white_overlay(
        WHITE,
        sources=sources,
        stype=stype,
        excluded_crop=crop,
        excluded_saturation=saturated,
        fallback_model="dev",
        wcs=tan(),
    )
    assert scatters(ax) == {
        "star": 3,
        "galaxy": 4,
        "no type: dev": 2,
        "excluded: saturation": 1,
        "excluded: crop": 0,
        "outside or without position": 0,
    }
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert "excluded: crop (2)" in labels
    assert "outside or without position (1)" in labels


def test_a_zoom_shows_its_box_and_its_sources():
    sources = Points(x=np.array([50.0, 90.0]), y=np.array([50.0, 90.0]))
    none = np.zeros(2, bool)
    ax = plot_white_overlay(
        WHITE,
        sources=sources,
        stype=np.array(["STAR", "STAR"]),
        excluded_crop=none,
        excluded_saturation=none,
        box=Box(40, 80, 40, 80),
    )
    assert ax.get_xlim() == (39.5, 79.5)
    assert scatters(ax) == {"star": 1}


def test_gaia_overlay_counts():
    excluded = np.zeros(8, bool)
    excluded[0] = True
    matched = np.arange(8) < 3
    ax = plot_gaia_overlay(
        WHITE,
        sources=points(8),
        is_matched=matched,
        excluded_crop=np.zeros(8, bool),
        excluded_saturation=excluded,
        injected=points(2),
        dropped=points(1),
        selection=Box(10, 140, 10, 110),
        wcs=tan(),
    )
    assert scatters(ax) == {
        "catalogue": 7,
        "with Gaia star": 2,
        "injected from Gaia": 2,
        "Gaia, dropped: saturation": 1,
        "excluded: saturation": 1,
    }
    assert len(ax.patches) == 1


def test_bright_mask_overlay_veils_the_mask():
    mask = np.zeros(WHITE.shape, bool)
    mask[10:20, 30:50] = True
    ax = plot_bright_mask_overlay(
        WHITE,
        mask=mask,
        matched=points(5),
        unmatched=points(1),
        catalog_matched=points(4),
        catalog_masked=Points.none(),
    )
    veil = np.asarray(ax.images[1].get_array())
    assert (veil[..., 3] > 0).sum() == 200
    assert list(scatters(ax).values()) == [5, 1, 4]


@pytest.mark.parametrize(
    ("rotation", "ra"), [(0.0, 150.0), (0.0, 0.0), (90.0, 150.0), (5.0, 150.0)]
)
def test_sky_labels_stand_where_the_wcs_puts_them(rotation, ra):
    wcs, ax, box = tan(rotation, ra), new_axes(), Box(0, 150, 0, 120)
    label_sky(ax, wcs, box)
    assert len(ax.get_xticks()) >= 2
    is_dec = "declination" in ax.get_xlabel()
    assert is_dec == (rotation == 90.0)
    for position, label in zip(ax.get_xticks(), ax.get_xticklabels(), strict=True):
        ra_at, dec_at = wcs.all_pix2world(position, -0.5, 0)
        value = float(dec_at if is_dec else ra_at)
        # 1 arcsec pixels: a hundredth of a pixel by interpolation
        assert (value - float(label.get_text()) + 180) % 360 - 180 == pytest.approx(0, abs=3e-6)


def zero_points() -> ZeroPointStars:
    zp = np.array([25.0, 25.01, 24.99, 25.3, 25.0, 24.0])
    kept = np.array([True, True, True, False, False, False])
    return ZeroPointStars(
        mag=np.linspace(14, 18, 6),
        zp=zp,
        zp_err=np.array([0.01, 0.01, np.nan, 0.01, 0.01, 0.01]),
        snr=np.array([300, 200, 50, 100, 100, 100]),
        is_kept=kept,
        is_clipped=np.array([False, False, False, True, False, True]),
        is_unreliable=np.array([False, False, False, False, True, False]),
    )


def legend(ax: Axes) -> list[str]:
    return [text.get_text() for text in ax.get_legend().get_texts()]


def test_zero_point_plot_shows_who_was_believed():
    ax = plot_zero_point(
        zero_points(), band="r", zp_median=25.0, zp_err=0.01, snr_min=100, expected=25.02
    )
    assert {"kept (2)", "kept, S/N < 100 (1)", "clipped (2)", "unreliable (1)"} <= set(legend(ax))
    assert "truth 25.0200" in legend(ax)
    assert ax.get_ylim() == (24.75, 25.25)
    arrows = [line for line in ax.lines if line.get_marker() in "^v" and line.get_marker()]
    assert sorted(line.get_marker() for line in arrows) == ["^", "v"]  # both clipped are off scale


def test_full_range_holds_every_star():
    ax = plot_zero_point(
        zero_points(), band="r", zp_median=25.0, zp_err=0.01, half_range=None, mag_range=(12, 17)
    )
    low, high = ax.get_ylim()
    assert low < 24.0
    assert high > 25.3
    assert ax.get_xlim() == (12, 17)
    assert not [line for line in ax.lines if line.get_marker() in ("^", "v")]


def test_a_band_without_stars_is_drawn(tmp_path):
    empty, no = np.empty(0), np.empty(0, bool)
    stars = ZeroPointStars(
        mag=empty, zp=empty, zp_err=empty, snr=empty, is_kept=no, is_clipped=no, is_unreliable=no
    )
    ax = plot_zero_point(stars, band="u", zp_median=25.0, zp_err=0.0, half_range=None)
    assert save_figure(ax.figure, tmp_path / "z.png", dpi=40).exists()


def test_functions_draw_on_the_axes_they_are_given():
    ax = new_axes()
    assert plot_crop(WHITE, ax=ax) is ax
