"""Pictures of a tile: what they draw, where, and how many of each."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection, PathCollection

from skyloom.geometry.box import Box
from skyloom.plots import (
    EpsfCell,
    FittedPoints,
    PatchPicture,
    Points,
    ZeroPointStars,
    growth_curve,
    plot_bright_mask_overlay,
    plot_crop,
    plot_epsf_stamps,
    plot_gaia_overlay,
    plot_growth_curve,
    plot_patch_overview,
    plot_psf_star_positions,
    plot_psf_stars,
    plot_white_overlay,
    plot_zero_point,
    save_figure,
)
from skyloom.plots.overlays import label_sky
from skyloom.plots.style import new_axes
from skyloom.sim import Moffat, render_star

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


def picture(**changes: object) -> PatchPicture:
    bad = np.zeros((60, 80), bool)
    bad[:5, :5] = True
    base = FittedPoints(start=points(6), fitted=points(6))
    halo = FittedPoints(start=points(2), fitted=points(2))
    values = {
        "tag": "r00_c00_pr00_pc00",
        "data": RNG.normal(1.0, 1, (60, 80)),
        "model": np.ones((60, 80)),
        "sigma": np.full((60, 80), 0.5),
        "bad": bad,
        "base": base,
        "halo": halo,
    }
    return PatchPicture(**(values | changes))


def test_patch_overview_shows_data_model_and_both_residuals():
    shown = picture()
    axes = plot_patch_overview(shown)
    images = [ax.images[0].get_array() for ax in axes]
    assert [int(np.ma.getmaskarray(i).sum()) for i in images] == [25] * 4
    assert np.ma.allclose(images[2], shown.data - shown.model)
    assert np.ma.allclose(images[3], (shown.data - shown.model) / 0.5)
    assert axes[0].images[0].norm is axes[1].images[0].norm  # one stretch for data and model


def test_patch_overview_marks_start_and_fit():
    axes = plot_patch_overview(picture())
    data_marks = [
        len(c.get_offsets()) for c in axes[0].collections if isinstance(c, PathCollection)
    ]
    assert sorted(data_marks) == [2, 2, 6, 6]
    lines = [c for c in axes[0].collections if isinstance(c, LineCollection)]
    assert sorted(len(c.get_segments()) for c in lines) == [2, 6]
    assert len(axes[1].collections) == 2
    assert len(axes[2].collections) == len(axes[3].collections) == 0


@pytest.mark.parametrize(
    "changes",
    [
        {"bad": np.ones((60, 80), bool)},
        {"base": FittedPoints(), "halo": FittedPoints()},
        {"sigma": np.zeros((60, 80))},
        {"data": np.full((60, 80), np.nan)},
    ],
    ids=["all masked", "no sources", "no sigma", "no data"],
)
def test_patch_overview_survives(changes, tmp_path):
    axes = plot_patch_overview(picture(**changes))
    assert save_figure(axes[0].figure, tmp_path / "p.png", dpi=40).exists()


def moffat_stamp() -> np.ndarray:
    return render_star(Moffat(fwhm=4.0, beta=3.0), x=27, y=27, box=Box(0, 55, 0, 55))


def test_epsf_mosaic_holds_every_cell():
    cells = [
        EpsfCell(row=r, col=c, stamp=moffat_stamp(), n_stars=5) for r in (0, 1) for c in range(3)
    ]
    cells[4] = EpsfCell(row=1, col=1, stamp=None, note="fallback")
    stamps, growth = plot_epsf_stamps(cells, band="m625")
    mosaic = np.ma.getdata(stamps.images[0].get_array())
    assert mosaic.shape == (111, 167)
    assert mosaic[27, 27] == 1.0  # cell r00_c00 is at the lower left
    assert np.isnan(mosaic[56:, 56:111]).all()
    assert [t.get_text() for t in stamps.texts][4] == "r01_c01\n0 stars  fallback"
    assert sum(len(line.get_xdata()) > 3 for line in growth.lines) == 5


def test_an_epsf_picture_without_any_psf_is_drawn(tmp_path):
    axes = plot_epsf_stamps([EpsfCell(row=0, col=0, stamp=None)], band="u")
    assert save_figure(axes[0].figure, tmp_path / "e.png", dpi=40).exists()


@pytest.mark.parametrize("oversampling", [1, 2])
def test_growth_curve_is_that_of_the_moffat(oversampling):
    psf = Moffat(fwhm=4.0 * oversampling, beta=3.0)
    stamp = render_star(psf, x=40, y=40, box=Box(0, 81, 0, 81))
    radius, light = growth_curve(stamp, oversampling=oversampling)
    expected = [psf.enclosed(r * oversampling) for r in radius]
    # 0.02: the stamp is integrated over pixels, and light inside a pixel is taken as even
    assert np.abs(light - expected).max() < 0.02
    assert light[-1] == pytest.approx(expected[-1], abs=1e-4)
    assert (np.diff(light) >= 0).all()


def test_growth_curve_names_its_radii():
    ax = plot_growth_curve([moffat_stamp()] * 3)
    psf = Moffat(fwhm=4.0, beta=3.0)
    texts = [text.get_text() for text in ax.get_legend().get_texts()]
    for text, level in zip(texts, (0.5, 0.8), strict=True):
        radius = float(text.split("=")[1].split()[0])
        assert psf.enclosed(radius) == pytest.approx(level, abs=0.015)  # pixel integration


def test_star_montage_frames_every_star():
    stamps = [RNG.normal(0, 1, (21, 21)) + 50 * (i == 3) for i in range(9)]
    stamps[2][:, 4] = np.nan
    origins = ["sep", "gaia", "both"] * 3
    ax = plot_psf_stars(stamps, labels=[str(i) for i in range(9)], origins=origins, title="m625")
    assert len(ax.collections[0].get_paths()) == 9
    assert len(ax.texts) == 9
    shown = np.ma.masked_invalid(ax.images[0].get_array())
    assert np.ma.getmaskarray(shown).sum() == 21  # the bad column of one star; gaps are paper
    assert "sep 3, gaia 3, both 3" in ax.get_title()
    assert len(plot_psf_stars(stamps, max_stars=4).collections[0].get_paths()) == 4
    assert "0 of 0" in plot_psf_stars([]).get_title()


def test_star_positions_by_origin():
    origins = np.array(["sep", "gaia", "both", "sep"])
    ax = plot_psf_star_positions(WHITE, stars=points(4), origins=origins, title="m625")
    assert scatters(ax) == {"sep": 2, "gaia": 1, "both": 1}


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
    ax = new_axes()
    assert plot_growth_curve([moffat_stamp()], ax=ax) is ax
