"""The emulsion in scans of photographic plates."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image
from plate_tools import scanned_plate

from skyloom.geometry import Box
from skyloom.process.previews import PictureStyle, draw_image, plate_area

CELL = 6  # pix; 520 pixels in 96 cells at most
CASES = {
    "margins and label": {},
    "dark margins": {"margin_level": 1500.0},
    "grey margins": {"margin_level": 50000.0},
    "no label": {"label": None},
    "no margins": {"margins": (0, 0, 0, 0)},
    "step wedge": {"wedge": 45},
    "nebula": {"nebula": True},
    "vignetting": {"vignetting": 0.8},
}


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("case", CASES)
def test_margins_and_labels_are_cut(case, seed):
    scan = scanned_plate(np.random.default_rng(seed), **CASES[case])
    found, true = plate_area(scan.image), scan.emulsion
    assert found == found.clipped(true), "part of the margin is left"
    # The last cell is given up, and one that the margin cuts: two on each side.
    assert true.clipped(found.grown(2 * CELL)) == true


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("vignetting", [0.0, 0.3, 1.2])
@pytest.mark.parametrize("nebula", [False, True])
def test_a_plain_image_is_not_cut(seed, vignetting, nebula):
    scan = scanned_plate(np.random.default_rng(seed), margins=(0, 0, 0, 0), label=None,
                         vignetting=vignetting, nebula=nebula)  # fmt: skip
    assert plate_area(scan.image) == Box.of_shape(scan.image.shape)


def test_a_turned_plate_is_cut_to_a_rectangle_inside():
    scan = scanned_plate(np.random.default_rng(4), angle=1.5, label=None)
    found = plate_area(scan.image)
    inside = scan.image[found.slices]
    assert (inside > 55000).mean() < 2e-3  # hardly any of the bed, which is at 62 000
    assert found.width * found.height > 0.85 * 467 * 422  # 1.5 deg cost two sides 12 pixels each


def test_turning_mirroring_and_negating_change_nothing_but_the_frame():
    scan = scanned_plate(np.random.default_rng(5), shape=(480, 480), label=None)
    nx = scan.image.shape[1]
    box = plate_area(scan.image)
    assert plate_area(65535 - scan.image) == box
    assert plate_area(7.0 + 1e-3 * scan.image) == box
    assert plate_area(scan.image[:, ::-1]) == Box(nx - box.x1, nx - box.x0, box.y0, box.y1)
    assert plate_area(scan.image.T) == Box(box.y0, box.y1, box.x0, box.x1)


def test_what_is_not_understood_is_left_whole():
    rng = np.random.default_rng(6)
    for image in (
        np.full((300, 300), np.nan),
        np.zeros((300, 300)),
        np.kron(rng.choice([0.0, 1.0], (12, 12)), np.ones((25, 25))),
        rng.normal(size=(9, 400)),
    ):
        assert plate_area(image) == Box.of_shape(image.shape)


def test_undefined_margins_are_margins():
    scan = scanned_plate(np.random.default_rng(7), label=None)
    image = np.full_like(scan.image, np.nan)
    image[scan.emulsion.slices] = scan.image[scan.emulsion.slices]
    found = plate_area(image)
    assert found == found.clipped(scan.emulsion)
    assert np.isfinite(image[found.slices]).all()


def test_the_picture_of_a_plate_shows_bright_stars_on_the_emulsion_alone():
    scan = scanned_plate(np.random.default_rng(8))
    style = PictureStyle(is_negative=True, is_cropped=True, picture_format="png")
    shown = np.asarray(Image.open(io.BytesIO(draw_image(scan.image, style))))
    box = plate_area(scan.image)
    assert shown.shape == box.shape
    brightest = np.unravel_index(scan.image[box.slices].argmin(), box.shape)
    assert shown[::-1][brightest] == 255
    assert np.median(shown) < 100
