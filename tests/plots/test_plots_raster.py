"""Pictures made of pixels: what stands where, and files that any viewer reads."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from skyloom.geometry import Box
from skyloom.plots import (
    Canvas,
    CutoutPicture,
    DisplayRange,
    EpsfCell,
    FittedPoints,
    Panel,
    PatchPicture,
    Points,
    StarResiduals,
    draw_background,
    draw_cutouts,
    draw_epsf_cells,
    draw_growth_curve,
    draw_local_backgrounds,
    draw_patch,
    draw_star_positions,
    draw_star_residuals,
    draw_star_stamps,
    growth_curve,
)
from skyloom.plots.charts import round_ticks
from skyloom.plots.raster import asinh_scaled, text_width
from skyloom.sim import Moffat, render_star

RNG = np.random.default_rng(3)


def colour(canvas: Canvas, name: str) -> np.ndarray:
    """Screen pixels of a named colour."""
    return canvas.pixels == canvas.index(name)


def centre(mask: np.ndarray) -> tuple[float, float]:
    """Mean x and y of the pixels of a mask."""
    y, x = np.nonzero(mask)
    return float(x.mean()), float(y.mean())


# ---- canvas and panels


def test_a_png_is_read_back_pixel_by_pixel():
    canvas = Canvas(40, 30, maps=("gray", "magma"))
    panel = Panel(canvas=canvas, left=4, top=3, zoom=2, shape=(10, 15))
    panel.show(canvas.shade(RNG.uniform(0, 1, (10, 15)), cmap="magma"))
    canvas.text(20, 26, "abc", size=8)
    data = canvas.png(dpi=200)
    with Image.open(io.BytesIO(data)) as picture:
        assert picture.mode == "P"
        assert picture.info["dpi"] == pytest.approx((200, 200), abs=0.1)  # whole pixels per metre
        assert np.array_equal(np.asarray(picture), canvas.pixels)
        red = np.asarray(picture.convert("RGB"))[0, 0]
    assert red.tolist() == [255, 255, 255]
    assert canvas.png(dpi=200) == data


def test_shades_run_from_black_to_white_and_masked_pixels_are_red():
    canvas = Canvas(5, 5)
    values = np.array([[-1.0, 0.0, 0.5, 1.0, 2.0, np.nan, np.inf]])
    entries = canvas.shade(values, np.array([[False] * 6 + [True]]))
    rgb = np.frombuffer(canvas.palette, np.uint8).reshape(-1, 3)[entries[0]]
    assert rgb[0].tolist() == rgb[1].tolist() == [0, 0, 0]
    assert int(rgb[2, 0]) == pytest.approx(127, abs=1)  # one of 242 levels
    assert rgb[3].tolist() == rgb[4].tolist() == [255, 255, 255]
    assert rgb[5].tolist() == rgb[6].tolist() == [0xC1, 0x12, 0x1F]


@pytest.mark.parametrize("marker", ["x", "plus", "diamond", "circle", "square"])
def test_markers_stand_on_their_position(marker):
    canvas = Canvas(130, 110)
    panel = Panel(canvas=canvas, left=10, top=5, zoom=4, shape=(25, 30), x0=100.0, y0=200.0)
    panel.mark(np.array([112.0, np.nan]), np.array([207.0, 201.0]), marker, "lime", size=15)
    x, y = centre(colour(canvas, "lime"))
    assert x == pytest.approx(10 + 12.5 * 4 - 0.5, abs=0.51)  # half a screen pixel
    assert y == pytest.approx(5 + (25 - 7.5) * 4 - 0.5, abs=0.51)  # y runs upwards


def test_markers_and_lines_stay_on_their_panel():
    canvas = Canvas(60, 60)
    panel = Panel(canvas=canvas, left=20, top=20, zoom=2, shape=(10, 10))
    panel.mark(np.array([0.0, 9.0]), np.array([9.0, 0.0]), "circle", "lime", size=12)
    panel.join(*(np.array([v]) for v in (-20.0, 3.0, 30.0, 3.0)), "lime")
    panel.crosshair(3.0, 3.0, "lime", gap=2)
    drawn = colour(canvas, "lime")
    assert drawn[20:40, 20:40].sum() == drawn.sum() > 0


def test_a_crosshair_leaves_its_centre_free():
    canvas = Canvas(101, 101)
    panel = Panel(canvas=canvas, left=0, top=0, zoom=1, shape=(101, 101))
    panel.crosshair(50.0, 50.0, "lime", gap=10)
    drawn = colour(canvas, "lime")
    assert not drawn[41:60, 41:60].any()
    assert drawn[50, :40].all()
    assert drawn[61:, 50].all()
    dashed = Canvas(101, 101)
    Panel(canvas=dashed, left=0, top=0, zoom=1, shape=(101, 101)).crosshair(
        50.0, 50.0, "lime", gap=10, dash=4
    )
    assert 0.3 < colour(dashed, "lime").sum() / drawn.sum() < 0.7  # half of the line


def test_text_is_cut_at_the_rim_and_has_a_width():
    canvas = Canvas(20, 10)
    canvas.text(-5, 5, "long text beyond the picture", size=12)
    canvas.text(5, 30, "below", size=12)
    assert (canvas.pixels != canvas.index("paper")).any()
    assert text_width("long text", 12) > text_width("long", 12) > 0
    assert text_width("", 12) >= 1


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0, 1, [0, 0.2, 0.4, 0.6, 0.8, 1]), (-5, 5, [-4, -2, 0, 2, 4]), (0, 27, [0, 10, 20])],
)
def test_ticks_are_round(low, high, expected):
    assert round_ticks(low, high)[0] == pytest.approx(expected)


def test_an_asinh_stretch_is_black_in_the_noise_and_white_in_the_stars():
    image = RNG.normal(10, 1, (100, 100))
    image[50:53, 50:53] = 500
    shades = asinh_scaled(image)
    assert np.median(shades) < 0.3
    assert shades[51, 51] >= 1
    assert np.isnan(asinh_scaled(np.full((4, 4), np.nan))).all()


# ---- sources


def cutouts(**changes: object) -> CutoutPicture:
    data = RNG.normal(0, 1, (2, 41, 41)).astype(np.float32)
    model = np.zeros_like(data)
    bad = np.zeros(data.shape, bool)
    bad[1, 3:6, 30:40] = True
    values = {
        "title": "00042",
        "bands": ("g", "r"),
        "data": data,
        "model": model,
        "bad": bad,
        "start": (20.0, 20.0),
        "fitted": (24.0, 17.0),
    }
    return CutoutPicture(**(values | changes))


def panels(canvas: Canvas, *, n: int = 2, side: int = 41) -> list[list[np.ndarray]]:
    """Pixels of the panels, rows from the top, found from the layout at 150 dpi."""
    zoom, letter, gap = round(0.8 * 150 / side), round(0.095 * 150), round(0.03 * 150)
    left, head, step = round(1.6 * letter), round(3.6 * letter), side * zoom + gap
    return [
        [
            canvas.pixels[head + r * step :, left + b * step :][: side * zoom, : side * zoom]
            for b in range(n)
        ]
        for r in range(3)
    ]


def test_a_cutout_marks_fit_and_catalogue_in_every_panel():
    canvas = draw_cutouts(cutouts(), dpi=150)
    zoom = 3
    for row in panels(canvas):
        for panel in row:
            magenta = panel == canvas.index("fit")
            columns, rows = (
                np.flatnonzero(magenta[:10].any(0)),
                np.flatnonzero(magenta[:, :10].any(1)),
            )
            assert columns.mean() == pytest.approx(24.5 * zoom - 0.5, abs=0.6)
            assert rows.mean() == pytest.approx((41 - 17.5) * zoom - 0.5, abs=0.6)
            lime = panel == canvas.index("lime")
            assert np.flatnonzero(lime[:, 20 * zoom + 1]).size > 5
            assert lime.any(axis=0).mean() > 0.2  # dashes all along the horizontal line


def test_halo_sources_are_cyan_and_yellow():
    canvas = draw_cutouts(cutouts(is_halo=True), dpi=150)
    assert not colour(canvas, "fit").any()
    assert colour(canvas, "cyan").any()
    assert colour(canvas, "yellow").any()


def test_masked_pixels_of_a_cutout_are_red_in_their_band_only():
    rows = panels(canvas := draw_cutouts(cutouts(start=(1.0, 1.0), fitted=(1.0, 1.0)), dpi=150))
    red = canvas.index("masked")
    for first, second in rows:
        assert not (first == red).any()
        # pixels (30...39, 3...5), three screen pixels each, counted from below
        assert (second[3 * (41 - 6) : 3 * (41 - 3), 90:120] == red).mean() > 0.9
        assert (second == red).sum() <= 30 * 9


def test_percentiles_decide_what_is_black_and_white():
    ramp = np.broadcast_to(np.linspace(0, 1, 41, dtype=np.float32), (2, 41, 41)).copy()
    shown = cutouts(data=ramp, model=ramp / 2, bad=np.zeros(ramp.shape, bool))
    for ranges, black, white in (
        (DisplayRange(data=(0.0, 100.0), residual=100.0), 0, 40),
        (DisplayRange(data=(25.0, 75.0), residual=100.0), 10, 30),
    ):
        canvas = draw_cutouts(shown, ranges=ranges, dpi=150)
        top = panels(canvas)[0][0][2]  # a line without markers
        assert top[3 * black + 1] == 0
        assert top[3 * white + 1] == canvas.levels - 1
        assert 0 < top[3 * 15 + 1] < canvas.levels - 1
    # the residual is ramp / 2: positive throughout, so grey where it is zero
    bottom = panels(canvas)[2][0][2]
    assert bottom[1] == pytest.approx(canvas.levels / 2, abs=1)
    assert bottom[3 * 40 + 1] == canvas.levels - 1


def test_a_cutout_without_a_usable_pixel_is_drawn():
    canvas = draw_cutouts(cutouts(bad=np.ones((2, 41, 41), bool)), dpi=50)
    assert colour(canvas, "masked").any()
    nan = (float("nan"), float("nan"))
    assert draw_cutouts(cutouts(fitted=nan), dpi=50).png()


def test_neighbours_of_a_cutout_are_marked():
    two = Points(x=np.array([5.0, 35.0]), y=np.array([5.0, 35.0]))
    moved = Points(x=two.x + 3, y=two.y)
    pair = FittedPoints(start=two, fitted=moved)
    canvas = draw_cutouts(cutouts(base=pair, halo=FittedPoints()), dpi=150)
    assert colour(canvas, "orange").any()
    assert colour(canvas, "sky").any()
    canvas = draw_cutouts(cutouts(halo=pair), dpi=150)
    assert colour(canvas, "yellow").any()
    assert not colour(canvas, "orange").any()


# ---- patches


def points(n: int) -> Points:
    return Points(x=RNG.uniform(5, 75, n), y=RNG.uniform(5, 55, n))


def overview(**changes: object) -> PatchPicture:
    bad = np.zeros((60, 80), bool)
    bad[:5, :5] = True
    values = {
        "tag": "r00_c00_pr00_pc00",
        "data": RNG.normal(1.0, 1, (60, 80)),
        "model": np.ones((60, 80)),
        "sigma": np.full((60, 80), 0.5),
        "bad": bad,
        "base": FittedPoints(start=points(6), fitted=points(6)),
        "halo": FittedPoints(start=points(2), fitted=points(2)),
    }
    return PatchPicture(**(values | changes))


def test_a_patch_overview_has_four_panels_with_red_masks_and_free_residuals():
    canvas = draw_patch(overview(), dpi=60)
    width = canvas.pixels.shape[1] // 4
    quarters = [canvas.pixels[60:, k * width : (k + 1) * width] for k in range(4)]
    red = [int((q == canvas.index("masked")).sum()) for q in quarters]
    assert len(set(red)) == 1
    assert red[0] % 25 == 0
    assert red[0] > 0
    for k, quarter in enumerate(quarters):
        for name in ("orange", "sky", "yellow", "lime"):
            assert (quarter == canvas.index(name)).any() == (k < 2), (k, name)


@pytest.mark.parametrize(
    "changes",
    [
        {"bad": np.ones((60, 80), bool)},
        {"base": FittedPoints(), "halo": FittedPoints()},
        {"sigma": np.zeros((60, 80))},
        {"data": np.full((60, 80), np.nan)},
        {"binning": 3},
    ],
    ids=["all masked", "no sources", "no sigma", "no data", "binned"],
)
def test_a_patch_overview_survives(changes):
    assert draw_patch(overview(**changes), dpi=40).png(dpi=40)


def test_resolution_enlarges_a_picture():
    small, large = (draw_patch(overview(), dpi=dpi).pixels.shape for dpi in (50, 150))
    assert large[1] == pytest.approx(3 * small[1], rel=0.15)  # whole screen pixels per pixel
    small, large = (draw_cutouts(cutouts(), dpi=dpi).pixels.shape for dpi in (100, 300))
    assert large[0] == pytest.approx(3 * small[0], rel=0.15)


# ---- PSFs


def moffat_stamp() -> np.ndarray:
    return render_star(Moffat(fwhm=4.0, beta=3.0), x=27, y=27, box=Box(0, 55, 0, 55))


def test_every_cell_shows_its_psf_where_it_lies():
    cells = [
        EpsfCell(row=r, col=c, stamp=moffat_stamp(), n_stars=5) for r in (0, 1) for c in range(3)
    ]
    cells[4] = EpsfCell(row=1, col=1, stamp=None, note="fallback")
    canvas = draw_epsf_cells(cells, title="ePSF m625", dpi=100)
    peak = canvas.shade(np.ones(1), cmap="magma")[0]
    bright = canvas.pixels[:240, :430] == peak  # above the colour bar, left of the curves
    y, x = np.nonzero(bright)
    step = x.max() - x.min()
    assert step > 0
    middle = (x > x.min() + 0.3 * step) & (x < x.max() - 0.3 * step)
    # the middle column has a peak in the lower row only
    assert y[middle].min() > y.mean()
    assert draw_epsf_cells([EpsfCell(row=0, col=0, stamp=None)], title="u", dpi=60).png()


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


def test_an_oversampled_psf_says_so_and_has_the_same_growth_curve():
    wide = render_star(Moffat(fwhm=8.0, beta=3.0), x=54, y=54, box=Box(0, 109, 0, 109))
    curve = draw_growth_curve([wide], oversampling=2, dpi=100)
    native = draw_growth_curve([moffat_stamp()], dpi=100)
    assert curve.pixels.shape == native.pixels.shape
    # r50 and r80 lie at the same place; 2 pixels of the canvas: light inside a pixel is even
    for name in ("orange", "green"):
        ours, theirs = (np.nonzero(colour(c, name))[1].max() for c in (curve, native))
        assert abs(int(ours) - int(theirs)) <= 2
    cell = EpsfCell(row=0, col=0, stamp=wide, oversampling=2)
    plain = EpsfCell(row=0, col=0, stamp=wide)
    drawn = (draw_epsf_cells([c], title="u", growth=False, dpi=60).pixels for c in (cell, plain))
    heads = [pixels[:14] for pixels in drawn]
    assert heads[0].shape != heads[1].shape or (heads[0] != heads[1]).any()


def test_a_growth_curve_marks_r50_and_r80():
    canvas = draw_growth_curve([moffat_stamp()], dpi=100)
    assert colour(canvas, "blue").any()
    assert colour(canvas, "orange").any()
    assert colour(canvas, "green").any()
    assert draw_growth_curve([], dpi=100).png()


def test_residuals_of_perfect_stars_look_like_the_unit_normal():
    stamp = moffat_stamp()[7:48, 7:48]
    zero = np.zeros_like(stamp)
    found = StarResiduals(
        star=stamp, model=stamp, residual=zero, pulls=RNG.normal(0, 1, 20000), n_stars=9
    )
    canvas = draw_star_residuals(found, title="r", dpi=100)
    bars = colour(canvas, "sky") | colour(canvas, "ink")
    assert bars.any()
    none = StarResiduals(star=zero, model=zero, residual=zero, pulls=np.zeros(0), n_stars=0)
    assert draw_star_residuals(none, title="r", dpi=60).png()


def test_star_stamps_are_framed_by_their_origin():
    stamps = [RNG.normal(0, 1, (21, 21)) + 50 * (i == 3) for i in range(9)]
    stamps[2][:, 4] = np.nan
    origins = ["sep", "gaia", "both"] * 3
    canvas = draw_star_stamps(stamps, origins=origins, title="m625", dpi=100)
    frames = [int(colour(canvas, name).sum()) for name in ("orange", "cyan", "magenta")]
    assert len(set(frames)) == 1
    assert frames[0] > 0
    zoom = round(0.5 * 100 / 21)
    assert colour(canvas, "masked").sum() == 21 * zoom**2  # the bad column of one star
    fewer = draw_star_stamps(stamps, origins=origins, max_stars=3, dpi=100)
    assert colour(fewer, "orange").sum() == frames[0] // 3
    assert draw_star_stamps([], origins=[], dpi=100).png()


def test_star_positions_are_marked_by_origin():
    image = RNG.normal(0, 1, (60, 80))
    origins = np.array(["sep", "gaia", "both", "sep"])
    canvas = draw_star_positions(image, stars=points(4), origins=origins, title="m625", dpi=60)
    for name in ("orange", "cyan", "magenta"):
        assert colour(canvas, name)[40:].any(), name
    large = draw_star_positions(
        RNG.normal(0, 1, (900, 700)), stars=Points.none(), origins=np.array([], str), dpi=60
    )
    assert large.pixels.shape[1] < 400  # averaged to fit


def test_backgrounds_are_drawn_with_and_without_colour_bars():
    raw = RNG.normal(5, 1, (40, 50))
    level = np.full((40, 50), 5.0)
    with_bars = draw_background(raw, level, title="r", dpi=80)
    without = draw_background(raw, level, title="r", colorbar=False, dpi=80)
    assert with_bars.pixels.shape[0] > without.pixels.shape[0]
    stamps = [RNG.normal(3, 1, (21, 21)) for _ in range(12)]
    ring = np.hypot(*np.mgrid[-10:11, -10:11]) > 7
    rings, levels = [ring] * 12, np.full(12, 3.0)
    many = draw_local_backgrounds(stamps, rings, levels, title="r", dpi=80)
    plain = draw_local_backgrounds(stamps, rings, levels, title="r", colorbar=False, dpi=80)
    assert many.pixels.shape[1] > plain.pixels.shape[1]
    assert draw_local_backgrounds([], [], np.zeros(0), title="r", dpi=80).png()
