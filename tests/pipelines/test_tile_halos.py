"""Halos and spikes as passes see them: boxes of any place and size agree."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.table import Table

from skyloom.butler import DataId
from skyloom.geometry import Box
from skyloom.pipelines.tile.config import TileConfig
from skyloom.pipelines.tile.fit import fit_stages
from skyloom.pipelines.tile.halo_field import HaloField, StarHalo
from skyloom.pipelines.tile.passes import locate_state
from skyloom.pipelines.tile.scene_table import restarted_table, still_table, with_still

WHOLE = Box(0, 120, 0, 90)


@pytest.fixture
def field() -> HaloField:
    radius = np.arange(11.0, 31.0, 2.5)
    terms = np.random.default_rng(1).normal(size=(len(radius), 5))
    halos = [
        StarHalo(row=4, band=0, x=40.3, y=30.7, radius=radius, terms=terms),
        StarHalo(row=9, band=0, x=70.0, y=60.0, radius=radius[:3], terms=terms[:3]),
        StarHalo(row=9, band=2, x=70.0, y=60.0, radius=radius, terms=-terms),
    ]
    out = HaloField(halos=halos)
    mask = np.zeros((20, 30), bool)
    mask[3:5, 10:25] = True
    out.add_spikes(2, mask, Box(50, 80, 40, 60))
    return out


@pytest.mark.parametrize("box", [Box(20, 60, 10, 50), Box(35, 36, 0, 90), Box(100, 120, 0, 20)])
def test_a_box_sees_what_the_whole_frame_sees(field, box):
    for band in range(3):
        cut = box.slices
        np.testing.assert_array_equal(field.light(band, box), field.light(band, WHOLE)[cut])
        np.testing.assert_array_equal(field.mask(band, box), field.mask(band, WHOLE)[cut])


def test_each_band_has_its_own(field):
    assert np.abs(field.light(0, WHOLE)).max() > 0
    assert (field.light(1, WHOLE) == 0).all()
    assert field.mask(2, WHOLE).sum() == 30
    assert field.mask(2, WHOLE)[43:45, 60:75].all()
    assert not field.mask(0, WHOLE).any()


def test_it_survives_its_file(field):
    again = HaloField.from_arrays(field.to_arrays())
    for band in range(3):
        np.testing.assert_array_equal(again.light(band, WHOLE), field.light(band, WHOLE))
        np.testing.assert_array_equal(again.mask(band, WHOLE), field.mask(band, WHOLE))
    empty = HaloField.from_arrays(HaloField().to_arrays())
    assert (empty.light(0, WHOLE) == 0).all()
    assert not empty.mask(0, WHOLE).any()
    assert HaloField.from_arrays(None).halos == []


def test_sources_in_halos_start_again_from_before_they_moved():
    still = Table({"row": [3, 5, 9], "x": [10.0, 50.0, 90.0], "y": [10.0] * 3, "flux_r": [1.0] * 3})
    moved = Table({"row": [3, 5, 9], "x": [12.0, 53.0, 94.0], "y": [11.0] * 3, "flux_r": [2.0] * 3})
    both = with_still(moved, still)
    halo = np.array([[60.0, 10.0, 12.0], [10.0, 25.0, 14.0]])  # the second does not reach the first
    found = restarted_table(both, halo)
    assert found["x"].tolist() == [12.0, 50.0, 94.0]
    assert found["flux_r"].tolist() == [2.0, 1.0, 2.0]
    assert still_table(both)["x"].tolist() == still["x"].tolist()
    alone = Table({"row": [3], "x": [1.0], "y": [2.0]})  # nothing moved yet: a staged fit
    assert restarted_table(alone, halo) is alone
    assert still_table(alone) is alone


def test_circles_of_halos_reach_as_far_as_their_rings(field):
    assert field.circles()[0] == (40.3, 30.7, 28.5)
    assert len(field.circles()) == 3


def test_passes_use_the_halos_of_the_pass_before_and_later_ones_the_last():
    found = [locate_state("halos", DataId({"pass": number}))["pass"] for number in range(5)]
    assert found == [-1, 0, 1, 1, 1]


@pytest.mark.parametrize(
    ("passes", "names"),
    [(1, ["halos-0"]), (2, ["halos-0", "halos-1"]), (5, ["halos-0", "halos-1"])],
)
def test_halos_are_measured_while_a_pass_can_still_use_them(passes, names):
    config = TileConfig.model_validate({"skyloom": {"fit_passes": passes}})
    assert [s.name for s in fit_stages(config) if s.name.startswith("halos")] == names
    off = {"skyloom": {"fit_passes": passes, "bright_stars": False}}
    stages = fit_stages(TileConfig.model_validate(off))
    assert not [s.name for s in stages if s.name.startswith("halos")]
