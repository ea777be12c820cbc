"""Backgrounds: levels of cells become an image, and go to files as afw writes them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from numpy.polynomial import chebyshev
from scipy.interpolate import Akima1DInterpolator, CubicSpline

from skyloom.errors import MissingFile, OutputExists, UnknownMaskPlane, UnreadableFile
from skyloom.geometry import Box
from skyloom.images import (
    Background,
    BackgroundList,
    Exposure,
    Image,
    Mask,
    MaskedImage,
    measure_background,
)
from skyloom.images.curves import CURVES, Curve

X, Y = np.meshgrid(np.arange(305.0), np.arange(210.0))
PLANE = 3 + 0.01 * X - 0.02 * Y  # counts
ROUNDING = 4e-6  # of float32 levels up to 6


def grid_of(levels: np.ndarray, variance: float = 1.0) -> MaskedImage:
    return MaskedImage(
        Image(levels.astype(np.float32)),
        Mask(np.zeros(levels.shape, np.int32)),
        Image(np.full(levels.shape, variance, np.float32)),
    )


@pytest.fixture
def slope() -> Background:
    return measure_background(MaskedImage(Image(PLANE, xy0=(50, 60))), (6, 7))


@pytest.mark.parametrize("curve", [name for name in CURVES if name != "constant"])
def test_a_plane_is_a_plane_whatever_joins_the_cells(curve: str) -> None:
    """Also beyond the middles of the outermost cells, where curves are continued."""
    found = measure_background(Image(PLANE, xy0=(50, 60)), (6, 7), curve=curve).image()
    assert found.xy0 == (50, 60)
    assert found.array.dtype == np.float32
    np.testing.assert_allclose(found.array, PLANE, atol=ROUNDING)


def test_curves_are_those_of_an_independent_package() -> None:
    rng = np.random.default_rng(1)
    x = np.array([0.0, 1.0, 2.5, 4.0, 5.0, 7.0])
    y = rng.normal(size=(6, 3))
    at = np.linspace(0.0, 7.0, 101)
    np.testing.assert_allclose(Curve("akima", x, y)(at), Akima1DInterpolator(x, y)(at), atol=1e-14)
    spline = CubicSpline(x, y, bc_type="natural")
    np.testing.assert_allclose(Curve("cubic_spline", x, y)(at), spline(at), atol=1e-14)
    for kind, oracle in (("akima", Akima1DInterpolator(x, y)), ("natural_spline", spline)):
        for end, outside in ((0.0, -0.5), (7.0, 8.0)):  # value, slope and curvature go on
            t = outside - end
            expected = oracle(end) + t * oracle(end, 1) + 0.5 * t**2 * oracle(end, 2)
            found = Curve(kind, x, y)(np.array([outside]))[0]
            np.testing.assert_allclose(found, expected, atol=1e-13)


def test_straight_parts_of_an_akima_curve_stay_straight() -> None:
    x = np.arange(8.0)
    y = np.where(x < 4, 0.0, x - 4)[:, None]  # a corner in x = 4
    found = Curve("akima", x, y)(np.array([0.3, 2.7, 3.5, 4.5, 6.2]))[:, 0]
    np.testing.assert_allclose(found, [0.0, 0.0, 0.0, 0.5, 2.2], atol=1e-15)


def test_few_cells_get_simpler_curves() -> None:
    for n, simple in ((1, "constant"), (2, "linear"), (3, "cubic_spline"), (4, "cubic_spline")):
        assert Curve("akima", np.arange(float(n)), np.zeros((n, 1))).kind == simple
    single = Background(cells=grid_of(np.array([[5.0]])), box=Box(0, 4, 0, 3), curve="constant")
    assert (single.image().array == 5.0).all()
    steps = Background(cells=grid_of(np.array([[1.0, 2.0]])), box=Box(0, 6, 0, 1), curve="constant")
    assert steps.image().array.tolist() == [[1, 1, 1, 2, 2, 2]]


def test_the_axis_with_fewer_cells_chooses_the_curve_of_both() -> None:
    squares = np.arange(8.0) ** 2
    box = Box(0, 80, 0, 20)
    middles = 10.0 * np.arange(8) + 4.5
    two_rows = Background(cells=grid_of(np.array([squares, squares])), box=box)
    expected = np.interp(np.arange(5, 75), middles, squares)  # akima is off the lines by 0.1
    np.testing.assert_allclose(two_rows.image().array[7, 5:75], expected, rtol=1e-6)
    many_rows = Background(cells=grid_of(np.tile(squares, (5, 1))), box=box)
    assert np.abs(many_rows.image().array[7, 5:75] - expected).max() > 0.1


def test_cells_without_a_level_are_bridged(slope: Background) -> None:
    levels = slope.cells.image.array
    levels[2, 3] = np.nan
    levels[:, 0] = np.nan
    np.testing.assert_allclose(slope.image().array, PLANE, atol=ROUNDING)
    levels[:] = np.nan
    assert np.isnan(slope.image().array).all()


@pytest.mark.parametrize("is_weighted", [True, False])
def test_a_polynomial_of_its_order_comes_back(is_weighted: bool) -> None:
    rng = np.random.default_rng(2)
    box = Box(10, 130, 20, 110)
    table = np.array([[5.0, 0.5, -0.2], [0.3, 0.1, 0.0], [-0.4, 0.0, 0.0]])  # i + j <= 2

    def surface(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        return chebyshev.chebgrid2d((2 * x + 1) / 120 - 1, (2 * y + 1) / 90 - 1, table).T

    cells = grid_of(surface(np.arange(9.5, 120, 20), np.arange(7.0, 90, 15)))
    cells.variance.array[:] = rng.uniform(0.5, 2.0, cells.shape)
    cells.image.array[1, 2] = np.nan
    one = Background(cells=cells, box=box, order=2, is_weighted=is_weighted)
    expected = surface(np.arange(120.0), np.arange(90.0))
    np.testing.assert_allclose(one.image().array, expected, atol=ROUNDING)


def test_sources_and_masked_pixels_do_not_pull_the_level() -> None:
    rng = np.random.default_rng(3)
    image = MaskedImage(Image((100 + rng.normal(0, 5, (128, 128))).astype(np.float32)))
    image.image.array[40:44, 40:44] += 3000  # clipped
    image.image.array[64:96, :64] += 500  # too much to be clipped: a plane says so
    image.mask.array[64:96, :64] |= image.mask.get_plane_bit_mask("SAT")
    found = measure_background(image, (4, 4), bad="SAT")
    levels = found.cells.image.array
    assert np.isnan(levels[2, :2]).all()
    error = np.sqrt(found.cells.variance.array)
    assert np.nanmax(np.abs((levels - 100) / error)) < 4  # 14 cells
    assert np.nanmedian(error) == pytest.approx(5 / 32, rel=0.05)  # 1024 pixels, clipped at 3
    assert np.abs(found.image().array - 100).max() < 1.5  # two missing cells are bridged
    median = measure_background(image, (4, 4), bad=("SAT",), level="median").cells.image.array
    assert np.nanmax(np.abs(median - 100)) < 0.8  # 4 * 1.25 * 5 / 32
    with pytest.raises(UnknownMaskPlane):
        measure_background(image, (4, 4), bad="SATT")
    with pytest.raises(ValueError, match="an image has no mask with SAT"):
        measure_background(image.image, (4, 4), bad="SAT")
    with pytest.raises(ValueError, match="200 x 4 cells does not fit 128 x 128"):
        measure_background(Exposure(image), (200, 4))
    with pytest.raises(ValueError, match="no curve 'spline'; use one of constant, linear"):
        measure_background(image, (4, 4), curve="spline")


@pytest.fixture
def two(slope: Background) -> BackgroundList:
    level = Background(cells=grid_of(np.array([[5.0]])), box=slope.box, curve="constant")
    return BackgroundList([slope, level])


def test_a_list_is_the_sum_of_its_backgrounds(two: BackgroundList) -> None:
    np.testing.assert_allclose(two.image().array, PLANE + 5.0, atol=2 * ROUNDING)
    assert [one.curve for one in two] == ["akima", "constant"]
    with pytest.raises(ValueError, match="needs one at least"):
        BackgroundList([])


def test_lists_come_back_from_files(two: BackgroundList, tmp_path: Path) -> None:
    path = tmp_path / "BKGD.fits"
    fitted = Background(cells=two[0].cells, box=two[0].box, order=2, is_weighted=False)
    BackgroundList([*two, fitted]).write(path)
    back = BackgroundList.read(path)
    assert [(b.curve, b.order, b.is_weighted, b.box) for b in back] == [
        ("akima", None, True, two[0].box),
        ("constant", None, True, two[0].box),
        ("akima", 2, False, two[0].box),
    ]
    np.testing.assert_array_equal(back[0].cells.variance.array, two[0].cells.variance.array)
    assert back[0].cells.mask.planes == two[0].cells.mask.planes
    with pytest.raises(OutputExists):
        two.write(path)


def test_a_file_of_afw_has_its_first_levels_in_the_first_hdu(tmp_path: Path) -> None:
    """Of 2013, without the cards of polynomials."""
    cards = fits.Header({"BKGD_X0": 0, "BKGD_Y0": 0})
    for key, value in (("INTERPSTYLE", 3), ("BKGD_WIDTH", 305), ("BKGD_HEIGHT", 210)):
        cards[f"HIERARCH {key}"] = value
    levels = measure_background(Image(PLANE), (6, 7)).cells.image.array
    fits.HDUList(
        [
            fits.PrimaryHDU(levels, cards),
            fits.ImageHDU(np.zeros(levels.shape, np.uint16), cards),
            fits.ImageHDU(np.ones(levels.shape, np.float32), cards),
        ]
    ).writeto(tmp_path / "old.fits")
    (one,) = BackgroundList.read(tmp_path / "old.fits")
    assert (one.curve, one.order, one.box) == ("cubic_spline", None, Box(0, 305, 0, 210))
    np.testing.assert_allclose(one.image().array, PLANE, atol=ROUNDING)


def test_what_is_wrong_with_a_file_is_said(two: BackgroundList, tmp_path: Path) -> None:
    path = tmp_path / "BKGD.fits"
    with pytest.raises(MissingFile, match=r"BKGD\.fits: no such file"):
        BackgroundList.read(path)
    Exposure(PLANE.astype(np.float32)).write(path)
    with pytest.raises(UnreadableFile, match=r"BKGD\.fits\[1\]: keyword BKGD_X0 is missing"):
        BackgroundList.read(path)
    for key, value, message in (
        ("INTERPSTYLE", 9, "INTERPSTYLE = 9 is none of 0, 1, 2"),
        ("BKGD_WIDTH", 3, "6 x 7 cells does not fit 3 x 210 pixels"),
        ("BKGD_HEIGHT", "tall", "BKGD_HEIGHT is missing or is not an integer"),
        ("APPROXSTYLE", 0, None),
    ):
        two.write(path, overwrite=True)
        with fits.open(path, mode="update") as hdus:
            hdus[1].header[key] = value
            hdus[1].header["APPROXORDERX"] = 3
        with pytest.raises(UnreadableFile, match=message or "different orders in x and y"):
            BackgroundList.read(path)
    two.write(path, overwrite=True)
    with fits.open(path) as hdus:
        fits.HDUList(hdus[:3]).writeto(tmp_path / "cut.fits")
    with pytest.raises(UnreadableFile, match="2 images are no list of backgrounds"):
        BackgroundList.read(tmp_path / "cut.fits")


def test_damaged_files_raise_nothing_else(two: BackgroundList, tmp_path: Path) -> None:
    path = tmp_path / "BKGD.fits"
    two.write(path)
    whole = path.read_bytes()
    rng = np.random.default_rng(4)
    outcomes = set()
    for _ in range(150):
        bad = bytearray(whole)
        for at in rng.integers(0, len(bad), rng.integers(1, 30)):
            bad[at] = rng.integers(256)
        path.write_bytes(bad[: rng.integers(1, len(bad) + 1)] if rng.random() < 0.3 else bad)
        try:
            BackgroundList.read(path)
        except UnreadableFile as error:
            outcomes.add("refused" if str(path) in str(error) else str(error))
        else:
            outcomes.add("read")
    assert outcomes == {"read", "refused"}
