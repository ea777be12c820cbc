"""Mask planes: colours, transparency, real files with different bits."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.display import DEFAULT_PLANE_COLORS, Display
from skyloom.display.colors import PlaneColors, checked_color, rgb
from skyloom.errors import WrongValue
from skyloom.images import DEFAULT_PLANES, Mask


def shown_colors(display: Display) -> list[str]:
    return [
        c.removeprefix("mask color ")
        for c in display.recorder.commands
        if c.startswith("mask color")
    ]


def full_mask(*names: str) -> Mask:
    mask = Mask(np.zeros((4, 4), np.int32), planes={name: i for i, name in enumerate(names)})
    mask.array[:] = (1 << len(names)) - 1
    return mask


def test_every_plane_of_a_new_mask_has_a_colour():
    assert set(DEFAULT_PLANE_COLORS) == set(DEFAULT_PLANES)


def test_other_planes_go_round_the_cycle_and_keep_their_colour():
    colors = PlaneColors()
    names = [f"PLANE{i}" for i in range(8)]
    first = [colors[name] for name in names]
    assert first == ["red", "green", "blue", "cyan", "magenta", "yellow", "orange", "red"]
    assert [colors[name] for name in reversed(names)] == first[::-1]


def test_ignored_planes_are_not_sent():
    display = Display("virtual")
    display.set_mask_plane_color("DETECTED", "ignore")
    display.set_mask_plane_color("SATURATED", "#FF8800")  # the manual's name of SAT
    display.mtv(full_mask("DETECTED", "SAT", "CR"))
    assert shown_colors(display) == ["#ff8800", "magenta"]
    assert display.mask_plane_color("SAT") == "#ff8800"
    display.recorder.clear()
    display.set_mask_plane_color("DETECTED", "blue")
    display.mtv(full_mask("DETECTED"))
    assert shown_colors(display) == ["blue"]


def test_transparency_is_kept_for_images_to_come():
    display = Display("virtual")
    display.set_mask_transparency(25)
    assert display.recorder.commands == ["frame 1", "mask transparency 25"]
    display.recorder.clear()
    display.mtv(full_mask("CR"))
    assert "mask transparency 25" in display.recorder.commands
    for wrong in (-1, 100.5, float("nan")):
        with pytest.raises(WrongValue, match="within 0"):
            display.set_mask_transparency(wrong)


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("green", (0, 1, 0)),  # as X11 has it; on the web it is half as bright
        ("Red", (1, 0, 0)),
        ("gray50", (0.5, 0.5, 0.5)),
        ("red3", (0.804, 0, 0)),
        ("light blue", (173 / 255, 216 / 255, 230 / 255)),
        ("#0080ff", (0, 128 / 255, 1)),
    ],
)
def test_colours_are_those_of_ds9(name, expected):
    assert rgb(name) == pytest.approx(expected)
    assert checked_color(name) == name.lower().replace(" ", "")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("gren", "green"), ("gray101", "gray"), ("#12", "rrggbb"), ("ignore", "not known")],
)
def test_unknown_colours(name, hint):
    with pytest.raises(WrongValue, match=hint):
        Display("virtual").dot("o", 1, 1, ctype=name)


def test_names_not_bits_choose_the_colour():
    """NO_DATA has bit 9 in one real file and 8 in another, where CROSSTALK has 8."""
    display = Display("virtual")
    for planes in ({"CROSSTALK": 8, "NO_DATA": 9}, {"NO_DATA": 8}):
        mask = Mask(np.zeros((3, 3), np.int32), planes=planes)
        mask.array[0, 0] = mask.get_plane_bit_mask("NO_DATA")
        display.mtv(mask)
    assert shown_colors(display) == ["orange", "orange"]
