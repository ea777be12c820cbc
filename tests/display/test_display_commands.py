"""What ds9 would be told: command lists of the virtual back end."""

from __future__ import annotations

import io
import logging
import math

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skyloom.display import Display
from skyloom.display.ds9 import region
from skyloom.display.marks import Ellipse, Text
from skyloom.display.picture import as_picture
from skyloom.errors import WrongType, WrongValue
from skyloom.images import (
    BackgroundList,
    Exposure,
    Image,
    Mask,
    MaskedImage,
    measure_background,
)

FINITE = st.floats(-1e4, 1e4)


@pytest.fixture
def display() -> Display:
    return Display("virtual")


def masked_image(xy0: tuple[int, int] = (0, 0)) -> MaskedImage:
    """Ten by eight pixels with a bad one, two detected ones and a crosstalk one."""
    mask = Mask.zeros(10, 8, xy0=xy0)
    mask.add_mask_plane("CROSSTALK")
    for name, pixels in {
        "BAD": [(1, 2)],
        "DETECTED": [(3, 4), (3, 5)],
        "CROSSTALK": [(7, 9)],
    }.items():
        for y, x in pixels:
            mask.array[y, x] |= mask.get_plane_bit_mask(name)
    values = np.arange(80, dtype=np.float32).reshape(8, 10)
    return MaskedImage(Image(values, xy0=xy0), mask)


def hdu(content: bytes) -> fits.PrimaryHDU:
    with fits.open(io.BytesIO(content)) as hdus:
        return hdus[0].copy()


def test_an_array_is_one_image(display):
    pixels = np.array([[1.5, np.nan], [3, 4]])
    display.mtv(pixels)
    assert display.recorder.commands == ["frame 1", "mask clear", "fits"]
    np.testing.assert_array_equal(hdu(display.recorder.images[0]).data, pixels)


def test_a_masked_image_is_an_image_and_its_planes(display):
    """Only planes with a pixel set, lowest bit first, each as 0 and 1."""
    display.mtv(masked_image(), frame=3)
    assert display.recorder.commands == [
        "frame 3",
        "mask clear",
        "fits",
        "mask color red",
        "fits mask",
        "mask color blue",
        "fits mask",
        "mask color red",  # CROSSTALK: the first free colour
        "fits mask",
        "mask transparency 60",
        "mask close",
    ]
    planes = [hdu(content).data for content in display.recorder.images[1:]]
    assert {plane.dtype.name for plane in planes} == {"uint8"}
    assert [int(plane.sum()) for plane in planes] == [1, 2, 1]
    assert planes[1][3, 4] == planes[1][3, 5] == 1


def test_an_exposure_brings_title_wcs_and_origin(display):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (10, 20), (5.0, 6.0), (-1e-4, 1e-4)
    display.mtv(masked_image((100, 200)).image, title="calexp ä", wcs=wcs)
    header = hdu(display.recorder.images[0]).header
    assert header["OBJECT"] == "calexp ?"  # FITS is ASCII
    assert (header["CRPIX1"], header["CRPIX2"]) == (5.0, 6.0)
    assert (header["LTV1"], header["LTV2"]) == (-100, -200)  # viewers: physical = image - LTV


def test_a_mask_is_an_image_of_its_values_with_planes(display):
    mask = masked_image().mask
    display.mtv(mask)
    np.testing.assert_array_equal(hdu(display.recorder.images[0]).data, mask.array)
    assert display.recorder.commands.count("fits mask") == 3


def test_bit_31_is_a_plane_like_others(display):
    mask = Mask(np.full((2, 2), -(2**31), np.int32), planes={"LAST": 31, "FIRST": 0})
    display.mtv(mask)
    assert len(display.recorder.images) == 2
    assert hdu(display.recorder.images[1]).data.sum() == 4


@pytest.mark.parametrize("dtype", ["?", "i1", "u1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4"])
def test_every_kind_of_number_arrives(display, dtype):
    display.mtv(np.array([[0, 1], [1, 0]], dtype))
    sent = hdu(display.recorder.images[0])
    np.testing.assert_array_equal(sent.data, [[0, 1], [1, 0]])
    # ds9 shows zeros for 64-bit unsigned pixels
    assert not (sent.header["BITPIX"] == 64 and sent.header.get("BZERO"))


def test_settings_follow_the_image_in_their_order(display):
    settings = {"zoom": 4, "scale": "asinh zscale", "mask": "transparency 20", "cmap": "heat"}
    display.mtv(np.zeros((2, 2)), settings=settings)
    sent = [c for c in display.recorder.commands[3:] if c != "frame 1"]
    assert sent == [
        "zoom to 4",
        "scale asinh",
        "scale mode zscale",
        "mask transparency 20",
        "cmap heat",
    ]


@pytest.mark.parametrize(
    ("value", "commands"),
    [
        ("zscale", ["scale mode zscale"]),
        ("mode minmax", ["scale mode minmax"]),
        ("minmax", ["scale mode minmax"]),
        (99.5, ["scale mode 99.5"]),
        ("linear", ["scale linear"]),
        (("log", 99), ["scale log", "scale mode 99"]),
        ("limits 0 100", ["scale limits 0 100"]),
        ("log exp 500", ["scale log exp 500"]),
    ],
)
def test_scale_words(display, value, commands):
    display.scale(value)
    assert display.recorder.commands == ["frame 1", *commands]


@pytest.mark.parametrize("zoom", ["to fit", "fit"])
def test_zoom_to_fit(display, zoom):
    display.zoom(zoom)
    assert display.recorder.commands == ["frame 1", "zoom to fit"]


@pytest.mark.parametrize("zoom", [0, -1, "large", float("nan")])
def test_a_zoom_that_cannot_be(display, zoom):
    with pytest.raises(WrongValue, match=r"positive number .* or 'to fit'"):
        display.zoom(zoom)


def test_symbols(display):
    """Strokes of half-length `size` about the position; ds9 counts from 1."""
    for symbol in "+x*o":
        display.dot(symbol, 10, 20, size=2, ctype="red")
    display.dot("NGC 1", 10, 20)
    r2, r3 = math.sqrt(2), math.sqrt(3)
    expected = [
        (9, 21, 13, 21), (11, 19, 11, 23),
        (11 - r2, 21 - r2, 11 + r2, 21 + r2), (11 - r2, 21 + r2, 11 + r2, 21 - r2),
        (9, 21, 13, 21), (10, 21 - r3, 12, 21 + r3), (10, 21 + r3, 12, 21 - r3),
    ]  # fmt: skip
    *lines, circle, text = display.recorder.regions
    found = [[float(v) for v in line[5 : line.index(")")].split(",")] for line in lines]
    np.testing.assert_allclose(found, expected, rtol=1e-9)  # ten digits are sent
    assert {line.partition("# ")[2] for line in lines} == {"color=red"}
    assert circle == "circle(11,21,2) # color=red"
    assert text == "text(11,21) # color=green text={NGC 1}"


def test_ellipses_take_ixx_ixy_iyy(display):
    display.dot("@:2.5,1.5,2.5", 0, 0, size=99)
    (ellipse,) = display.recorder.regions
    assert ellipse == "ellipse(1,1,2,1,45) # color=green"


@given(
    x=FINITE, y=FINITE, a=st.floats(0.1, 50), ratio=st.floats(0.05, 1), theta=st.floats(-1.5, 1.5)
)
def test_an_ellipse_has_the_moments_it_was_given(x, y, a, ratio, theta):
    b, cos, sin = a * ratio, math.cos(theta), math.sin(theta)
    ixx, iyy = (a * cos) ** 2 + (b * sin) ** 2, (a * sin) ** 2 + (b * cos) ** 2
    display = Display("virtual")
    display.dot(f"@:{ixx!r},{(a * a - b * b) * sin * cos!r},{iyy!r}", x, y)
    numbers = display.recorder.regions[0].partition("(")[2].partition(")")[0].split(",")
    found = [float(v) for v in numbers]
    np.testing.assert_allclose(found[:4], [x + 1, y + 1, a, b], rtol=1e-6, atol=1e-6)
    if ratio < 0.99:  # a circle has no angle
        off = (found[4] - math.degrees(theta) + 90) % 180 - 90
        assert abs(off) < 1e-3  # deg, ten digits of nearly equal axes


def test_coordinates_are_those_of_the_parent_of_what_the_frame_shows(display):
    display.mtv(masked_image((100, 200)), frame=1)
    display.mtv(masked_image(), frame=2)
    display.recorder.clear()
    for frame in (1, 2, 3):  # nothing was shown in 3
        display.dot("o", 104, 205, size=1, frame=frame)
        display.pan(104, 205, frame=frame)
    assert display.recorder.regions == [
        "circle(5,6,1) # color=green",
        "circle(105,206,1) # color=green",
        "circle(105,206,1) # color=green",
    ]
    assert [c for c in display.recorder.commands if c.startswith("pan")] == [
        "pan to 5 6 image",
        "pan to 105 206 image",
        "pan to 105 206 image",
    ]


def test_dots_of_a_catalogue_at_once(display):
    display.dot("o", np.array([1, 2, 3]), np.array([4.0, 5.0, 6.0]), size=[1, 2, 3])
    assert display.recorder.commands == ["frame 1", "regions"]
    assert display.recorder.regions[2] == "circle(4,7,3) # color=green"


def test_lines(display):
    display.line([(0, 0), (2, 1), (np.nan, 0), (3, 3), (4, 4)], ctype="cyan")
    assert display.recorder.regions == [
        "line(1,1,3,2) # color=cyan",
        "line(4,4,5,5) # color=cyan",
    ]
    with pytest.raises(WrongValue, match=r"zip\(x, y\)"):
        display.line([1.0, 2.0])


def test_erase_forgets_symbols_on_their_way(display):
    with display.buffering():
        display.dot("o", 1, 1)
        display.erase()
        display.dot("+", 1, 1)
    assert display.recorder.commands == ["frame 1", "regions delete all", "frame 1", "regions"]
    assert len(display.recorder.regions) == 2  # the strokes of the plus


def test_buffers_nest_and_the_outermost_sends(display):
    with display.buffering():
        with display.buffering():
            display.dot("o", 1, 1)
        assert not display.recorder.commands
        display.dot("o", 2, 2, frame=2)
    assert display.recorder.commands == ["frame 1", "regions", "frame 2", "regions"]


def test_an_exception_does_not_lose_the_buffer(display):
    def draw_and_fail() -> None:
        with display.buffering(), display.buffering():
            display.dot("o", 1, 1)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        draw_and_fail()
    assert display.recorder.regions == ["circle(2,2,2) # color=green"]
    display.dot("o", 2, 2)  # and nothing is held back afterwards
    assert len(display.recorder.regions) == 2


def test_a_new_image_does_not_overtake_symbols(display):
    with display.buffering():
        display.dot("o", 1, 1)
        display.mtv(np.zeros((2, 2)))
    assert display.recorder.commands[:3] == ["frame 1", "regions", "frame 1"]


def test_messages_have_room_in_xpa(display):
    with display.buffering():
        for i in range(500):
            display.dot("o", i, i)
    messages = [d for d in display.recorder.data if d]
    assert len(messages) > 3
    assert max(map(len, messages)) <= 4096
    assert all(message.startswith(b"image\ncircle(") for message in messages)
    assert len(display.recorder.regions) == 500


def test_nothing_buffered_nothing_sent(display):
    with display.buffering():
        pass
    assert display.recorder.commands == []


@pytest.mark.parametrize(
    ("text", "quoted"),
    [
        ("a { b", "{a { b}"),
        ("a } b", '"a } b"'),
        ('a } " b', "'a } \" b'"),
        ("} \" '", "{) \" '}"),  # ds9 has no way to write this one
        ("two\nlines", "{two lines}"),  # a line of the region file
    ],
)
def test_text_is_quoted(text, quoted):
    assert region(Text(x=0, y=0, text=text, color="red"), (0, 0)).endswith(f"text={quoted}")


@pytest.mark.parametrize("symbol", ["@:1,2", "@:a,b,c", "@:", "@:1,2,3,4"])
def test_ellipses_that_cannot_be_read(display, symbol):
    with pytest.raises(WrongValue, match="Ixx,Ixy,Iyy"):
        display.dot(symbol, 1, 1)


def test_moments_of_no_ellipse_become_a_cross(display, caplog):
    with caplog.at_level(logging.WARNING):
        display.dot("@:1,2,1", 5, 5)
        display.dot("@:nan,nan,nan", 5, 5)
        display.dot("o", math.nan, 5)
    assert len(display.recorder.regions) == 4  # two crosses of two strokes
    assert [r.getMessage().count("no ellipse") for r in caplog.records] == [1, 1, 0]
    for arguments in (("@:1,2,1", 5, 5), ("o", math.nan, 5)):
        with pytest.raises(WrongValue):
            display.dot(*arguments, silent=False)


def test_exposure_and_wcs_contradict(display):
    with pytest.raises(WrongValue, match="brings its own WCS"):
        display.mtv(Exposure(masked_image()), wcs=WCS(naxis=2))
    assert display.recorder.commands == []


@pytest.mark.parametrize("data", ["calexp", None, np.array(["a"]), np.zeros((2, 2), complex)])
def test_what_is_no_picture(display, data):
    with pytest.raises(WrongType, match="cannot be shown"):
        display.mtv(data)


@pytest.mark.parametrize("shape", [(3,), (2, 3, 4), (0, 5)])
def test_pictures_have_two_axes(display, shape):
    with pytest.raises(WrongValue, match="two axes"):
        display.mtv(np.zeros(shape))


@pytest.mark.parametrize("frame", [-1, 1.5, True])
def test_frames_are_numbers(display, frame):
    with pytest.raises(WrongValue, match="frame"):
        display.dot("o", 1, 1, frame=frame)


def test_mark_of_an_ellipse_shifts_with_the_origin():
    mark = Ellipse(x=10, y=20, a=3, b=1, theta=0, color="red")
    assert region(mark, (10, 20)) == "ellipse(1,1,3,1,0) # color=red"


def test_a_background_is_shown_as_its_image():
    background = measure_background(Image(np.full((30, 40), 5.0), xy0=(7, 8)), (2, 2))
    display = Display("virtual")
    display.mtv(BackgroundList([background, background]))
    display.dot("o", 7, 8)
    assert display.recorder.regions[0].startswith("circle(1,1,")
    picture = as_picture(background)
    assert picture.pixels.shape == (30, 40)
