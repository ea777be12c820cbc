"""Stretches, downsampling, and files of figures."""

from __future__ import annotations

import matplotlib as mpl
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import Unwritable
from skyloom.geometry.box import Box
from skyloom.plots import asinh_norm, new_axes, save_figure, show_image
from skyloom.plots.style import MASKED, robust_level, shrink


def sky(seed: int = 0, level: float = 7.0, sigma: float = 2.0) -> np.ndarray:
    return level + sigma * np.random.default_rng(seed).standard_normal((200, 210))


def test_noise_is_measured_below_the_sources():
    image = sky()
    image[50:100, 50:100] += 500.0  # 6 % of the pixels
    level, sigma = robust_level(image)
    # the sources shift the median by 6 % of the distribution: 0.08 sigma
    assert level == pytest.approx(7.0, abs=0.3)
    assert sigma == pytest.approx(2.0, rel=0.1)


@pytest.mark.parametrize(
    "image", [np.full((4, 4), np.nan), np.full((4, 4), 3.0)], ids=["nan", "flat"]
)
def test_a_stretch_exists_for_any_image(image):
    norm = asinh_norm(image)
    assert norm.vmin < norm.vmax
    assert np.isfinite(norm(np.array([0.0, 3.0]))).all()


def test_the_stretch_is_monotonic_and_clips_nothing_between_its_ends():
    image = sky()
    image[20, 20] = 1e5
    norm = asinh_norm(image)
    values = np.asarray(norm(np.linspace(norm.vmin, norm.vmax, 50)))
    assert (np.diff(values) > 0).all()
    assert values[[0, -1]] == pytest.approx([0, 1])


@given(factor=st.integers(1, 7), ny=st.integers(7, 40), nx=st.integers(7, 40))
@settings(max_examples=30, deadline=None)
def test_shrinking_keeps_the_mean(factor, ny, nx):
    image = np.random.default_rng(ny * nx).uniform(size=(ny, nx))
    small = shrink(image, factor)
    assert small.shape == (ny // factor, nx // factor)
    part = image[: small.shape[0] * factor, : small.shape[1] * factor]
    assert small.mean() == pytest.approx(part.mean(), rel=1e-12)  # rounding


def test_shrinking_skips_pixels_without_data():
    image = np.array([[1.0, np.nan, np.nan, np.nan], [3.0, np.nan, np.nan, np.nan]])
    assert shrink(image, 2).tolist()[0][0] == 2.0
    assert np.isnan(shrink(image, 2)[0, 1])


def test_pixels_stand_at_their_coordinates_also_when_shrunk():
    ax = new_axes()
    picture = show_image(ax, sky(), box=Box(40, 80, -10, 30), downsample=4)
    assert picture.get_extent() == [39.5, 79.5, -0.5, 27.5]  # 30 rows hold seven squares of 4
    assert ax.get_xlim() == (39.5, 79.5)
    assert ax.get_ylim() == (-10.5, 29.5)  # the part outside the frame stays blank


def test_masked_pixels_are_red():
    picture = show_image(new_axes(), np.where(np.eye(20) > 0, np.nan, 1.0))
    bad = picture.cmap.get_bad()
    assert mpl.colors.to_hex(bad) == MASKED.lower()
    assert np.ma.getmaskarray(picture.get_array()).sum() == 20


def test_the_same_figure_gives_the_same_bytes(tmp_path):
    for name in ("a.png", "b.png"):
        ax = new_axes()
        show_image(ax, sky())
        ax.set_title("m625")
        assert save_figure(ax.figure, tmp_path / name, dpi=60) == tmp_path / name
    data = (tmp_path / "a.png").read_bytes()
    assert data == (tmp_path / "b.png").read_bytes()
    assert data.startswith(b"\x89PNG")
    assert b"Software" not in data
    assert b"tIME" not in data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_resolution_is_the_callers(tmp_path):
    ax = new_axes(2.0, 1.5)
    save_figure(ax.figure, tmp_path / "a.png", dpi=80)
    header = (tmp_path / "a.png").read_bytes()[16:24]
    assert (int.from_bytes(header[:4]), int.from_bytes(header[4:])) == (160, 120)


def test_an_unwritable_place_is_named_and_nothing_stays(tmp_path):
    with pytest.raises(Unwritable, match=r"missing/a.png: cannot write the picture"):
        save_figure(new_axes().figure, tmp_path / "missing" / "a.png")
    assert not list(tmp_path.iterdir())


def test_plotting_leaves_the_users_settings_alone():
    before = dict(mpl.rcParams)
    show_image(new_axes(), sky())
    assert dict(mpl.rcParams) == before
