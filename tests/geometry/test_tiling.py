from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis.strategies import integers

from skyloom.errors import ConfigError
from skyloom.geometry import (
    PATCH_FIELDS,
    Box,
    cells_of_sources,
    crop_box,
    epsf_cells,
    halo_pixels,
    patch_grid,
    patch_table,
    patches_from_rows,
)


def test_halo_of_the_default_and_of_a_small_stamp():
    assert halo_pixels(55, 20) == 29
    assert halo_pixels(21, 20) == 20


def test_first_patch_of_a_520_pixel_tile():
    first = patch_grid((520, 520), epsf_ngrid=2, ngrid=2, halo=20).patches[0]
    assert (first.base.x0, first.base.x1) == (0, 130)
    assert (first.roi.x0, first.roi.x1) == (0, 150)
    assert first.tag == "r00_c00_pr00_pc00"


def test_cells_give_the_remainder_to_the_last():
    cells = epsf_cells((11, 23), 3)
    assert [c.tag for c in cells][:4] == ["r00_c00", "r00_c01", "r00_c02", "r01_c00"]
    assert cells[2].box == Box(14, 23, 0, 3)
    assert cells[8].box == Box(14, 23, 6, 11)


grids = integers(1, 5)


@given(nx=integers(30, 120), ny=integers(30, 120), n=grids, m=grids, seed=integers(0, 99))
def test_every_position_inside_belongs_to_exactly_one_patch(nx, ny, n, m, seed):
    grid = patch_grid((ny, nx), epsf_ngrid=n, ngrid=m, halo=4)
    assert len(grid.patches) == (n * m) ** 2
    rng = np.random.default_rng(seed)
    x = np.concatenate([rng.uniform(-5, nx + 5, 50), np.arange(nx + 1), [np.nan]])
    y = np.concatenate([rng.uniform(-5, ny + 5, 50), rng.integers(0, ny, nx + 1), [1.0]])
    owners = np.array([p.base.contains(x, y) for p in grid.patches])
    inside = Box(0, nx, 0, ny).contains(x, y)
    assert np.array_equal(owners.sum(axis=0), inside.astype(int))
    expected = np.where(inside, owners.argmax(axis=0), -1)
    assert np.array_equal(grid.assign(x, y), expected)
    assert sum(p.base.width * p.base.height for p in grid.patches) == nx * ny


def test_source_on_a_border_belongs_to_the_upper_patch():
    grid = patch_grid((20, 20), epsf_ngrid=1, ngrid=2, halo=2)
    assert grid.assign(np.array([10.0, 9.999]), np.array([3.0, 3.0])).tolist() == [1, 0]


def test_inactive_cells_have_no_patches_and_own_nobody():
    grid = patch_grid((40, 40), epsf_ngrid=2, ngrid=2, halo=2, active_cells={3})
    assert {p.cell_tag for p in grid.patches} == {"r01_c01"}
    found = grid.assign(np.array([5.0, 25.0]), np.array([5.0, 35.0]))
    assert found.tolist() == [-1, 2]


def test_cells_of_sources_agree_with_the_cell_boxes():
    rng = np.random.default_rng(3)
    x, y = rng.uniform(-2, 25, 200), rng.uniform(-2, 13, 200)
    found = cells_of_sources(x, y, shape=(11, 23), n=3)
    inside = np.array([c.box.contains(x, y) for c in epsf_cells((11, 23), 3)])
    assert np.array_equal(found, np.where(inside.any(axis=0), inside.argmax(axis=0), -1))
    assert found.min() == -1


@pytest.mark.parametrize(("n", "m", "key"), [(50, 1, "epsf.epsf_ngrid"), (2, 30, "epsf.ngrid")])
def test_a_grid_without_pixels_is_refused(n, m, key):
    with pytest.raises(ValueError, match=f"{key}.*too fine") as caught:
        patch_grid((40, 40), epsf_ngrid=n, ngrid=m, halo=2)
    assert isinstance(caught.value, ConfigError)


def test_crop_box_and_its_refusal():
    assert crop_box((100, 200), 30) == Box(30, 170, 30, 70)
    for margin in (50, 60, -1):
        with pytest.raises(ValueError, match=r"Invalid crop region.*at most 49"):
            crop_box((100, 200), margin)
    assert not crop_box((100, 200), 49).is_empty


def test_patches_survive_json_and_have_the_fields_in_order():
    grid = patch_grid((50, 60), epsf_ngrid=2, ngrid=2, halo=5)
    rows = json.loads(json.dumps([p.as_row() for p in grid.patches]))
    assert patches_from_rows(rows) == grid.patches
    assert tuple(rows[0]) == PATCH_FIELDS
    assert tuple(patch_table(grid.patches).colnames) == PATCH_FIELDS
    assert patches_from_rows(patch_table(grid.patches)) == grid.patches
    assert patch_table([]).colnames == list(PATCH_FIELDS)


def test_patches_equal_those_of_the_original(shared_data):
    reference = shared_data / "tract7dt_reference"
    grid = patch_grid((512, 512), epsf_ngrid=1, ngrid=2, halo=halo_pixels(55, 20))
    assert [p.as_row() for p in grid.patches] == json.loads(
        (reference / "patches.json").read_text()
    )
    header = (reference / "patches.csv").read_text().splitlines()[0]
    assert tuple(header.split(",")) == PATCH_FIELDS
