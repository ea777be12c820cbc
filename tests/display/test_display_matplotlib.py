"""The same calls as pictures: what is where, in which colour."""

from __future__ import annotations

import io
import logging
import subprocess
import sys

import numpy as np
import pytest
from astropy.io import fits
from matplotlib.backends.backend_agg import FigureCanvasAgg
from PIL import Image as PilImage

from skyloom import display as module
from skyloom.display import Display
from skyloom.display.colors import PlaneColors
from skyloom.display.picture import as_picture
from skyloom.display.stretch import Stretch
from skyloom.errors import Unwritable, WrongValue
from skyloom.geometry import Box
from skyloom.images import Frame, Image, Mask, MaskedImage


def pixels_of(content: bytes) -> np.ndarray:
    return np.asarray(PilImage.open(io.BytesIO(content)).convert("RGB")).astype(int)


class Screen:
    """A frame drawn, and the colour at parent coordinates."""

    def __init__(self, display: Display, frame: int = 1) -> None:
        self.figure = display.backend.figure(frame)
        canvas = FigureCanvasAgg(self.figure)
        canvas.draw()
        self.array = np.asarray(canvas.buffer_rgba())[..., :3].astype(int)
        self.ax = self.figure.axes[0]

    def at(self, x: float, y: float) -> tuple[int, ...]:
        column, row = self.ax.transData.transform((x, y))
        return tuple(self.array[round(self.array.shape[0] - row - 0.5), round(column - 0.5)])


def blank(xy0: tuple[int, int] = (0, 0), **planes: tuple[slice, slice]) -> MaskedImage:
    """A dark image of 60 x 40 with planes set in boxes, and one bright pixel."""
    values = np.zeros((40, 60), np.float32)
    values[-1, -1] = 1.0
    mask = Mask.zeros(60, 40, xy0=xy0)
    for name, box in planes.items():
        mask.array[box] |= mask.get_plane_bit_mask(name)
    return MaskedImage(Image(values, xy0=xy0), mask)


def test_planes_are_overlays_with_alpha():
    display = Display("matplotlib")
    display.set_mask_transparency(60)
    boxes = {"BAD": (slice(0, 20), slice(0, 30)), "DETECTED": (slice(10, 30), slice(20, 50))}
    display.mtv(blank((100, 200), **boxes), settings={"scale": "minmax"})
    screen = Screen(display)
    assert screen.at(105, 205) == pytest.approx((102, 0, 0), abs=1)  # 40 % red on black
    assert screen.at(145, 225) == pytest.approx((0, 0, 102), abs=1)
    # blue over red: 0.6 of the red below; each layer is rounded
    assert screen.at(125, 215) == pytest.approx((0.6 * 102, 0, 102), abs=2)
    assert screen.at(155, 235) == (0, 0, 0)
    assert screen.at(159, 239) == (255, 255, 255)  # the bright pixel, top right


def test_an_ignored_plane_is_not_seen():
    display = Display("matplotlib")
    display.set_mask_plane_color("BAD", "ignore")
    display.mtv(blank(BAD=(slice(0, 20), slice(0, 30))), settings={"scale": "minmax"})
    assert Screen(display).at(5, 5) == (0, 0, 0)


def test_marks_lie_where_they_belong():
    display = Display("matplotlib")
    display.mtv(blank((100, 200)), settings={"scale": "minmax"})
    with display.buffering():
        display.dot("o", 110, 210, size=5, ctype="red")
        display.dot("+", 130, 210, size=5, ctype="cyan")
        display.dot("@:36,0,9", 140, 230, ctype="yellow")
        display.line([(100, 235), (120, 235)], ctype="blue")
    screen = Screen(display)
    assert screen.at(115, 210)[0] > 100 > screen.at(110, 210)[0]  # rim and centre of the circle
    assert screen.at(130, 213)[2] > 100
    assert screen.at(146, 230)[0] > 100 > screen.at(140, 236)[0]  # a = 6 along x, b = 3
    assert screen.at(140, 233)[0] > 100
    assert screen.at(110, 235)[2] > 40  # a thin line that lies between two screen pixels
    display.erase()
    assert Screen(display).array.tolist() == Screen(_only_image()).array.tolist()


def _only_image() -> Display:
    display = Display("matplotlib")
    display.mtv(blank((100, 200)), settings={"scale": "minmax"})
    return display


def test_text_is_no_formula():
    display = Display("matplotlib")
    display.mtv(blank())
    display.dot("$x_{", 30, 20)
    assert "$x_{" in [text.get_text().replace("\\$", "$") for text in Screen(display).ax.texts]


def test_zoom_and_pan():
    display = Display("matplotlib")
    display.mtv(blank((100, 200)))
    before = Screen(display).ax.get_xlim()
    assert before == (99.5, 159.5)
    display.zoom(40)  # 800 screen pixels show 20
    display.pan(120, 210)
    ax = Screen(display).ax
    assert ax.get_xlim() == pytest.approx((110, 130))
    assert sum(ax.get_ylim()) / 2 == pytest.approx(210)
    display.zoom("to fit")
    assert np.ptp(Screen(display).ax.get_xlim()) == 60


def test_a_single_pixel_of_a_large_image_is_seen():
    """Five pixels share a screen pixel; a plane is drawn where any of them is set."""
    values = np.zeros((2003, 4001), np.float32)
    values[:, 2000:] = 1.0
    values[1000:1100, 3000:3100] = np.nan
    mask = Mask.zeros(4001, 2003)
    mask.array[1501, 501] = mask.get_plane_bit_mask("CR")
    display = Display("matplotlib")
    display.set_mask_transparency(0)
    display.mtv(MaskedImage(Image(values), mask), settings={"scale": "minmax"})
    screen = Screen(display)
    assert screen.at(502, 1502)[0] > 150 > screen.at(502, 1502)[1]  # magenta
    assert screen.at(1000, 1000) == (0, 0, 0)
    assert screen.at(3900, 1990) == (255, 255, 255)
    assert screen.ax.get_xlim() == (-0.5, 4000.5)
    display.zoom(16)
    display.pan(501, 1501)
    assert Screen(display).at(501, 1501) == (255, 0, 255)
    display.pan(-500, -500)  # nothing is there
    assert Screen(display).at(-500, -500) == (255, 255, 255)


def test_a_new_image_removes_the_symbols_and_keeps_the_stretch():
    display = Display("matplotlib")
    display.mtv(blank(), settings={"scale": "log minmax", "cmap": "heat"})
    display.dot("o", 10, 10)
    display.mtv(blank())
    shown = display.backend.frames[1]
    assert not shown.marks
    assert (shown.stretch.curve, shown.stretch.mode, shown.color_map) == ("log", "minmax", "afmhot")


def test_masks_and_nan_pixels_are_drawn():
    display = Display("matplotlib")
    values = np.full((5, 5), np.nan)
    display.mtv(values)
    assert Screen(display).at(2, 2) == (255, 255, 255)  # nothing is drawn
    display.mtv(blank(CR=(slice(0, 20), slice(0, 30))).mask)
    assert Screen(display).at(50, 5) == (0, 0, 0)


def test_settings_that_mean_nothing_here_are_said(caplog):
    display = Display("matplotlib")
    with caplog.at_level(logging.WARNING):
        display.mtv(blank(), settings={"crosshair": "10 10"})
    assert "crosshair 10 10 means nothing to matplotlib" in caplog.text
    with pytest.raises(WrongValue, match="colour map 'nosuch'"):
        display.mtv(blank(), settings={"cmap": "nosuch"})


@pytest.mark.parametrize(
    ("scale", "message"), [("cubic", "scale 'cubic' is not known"), ("mode 0", "percentage")]
)
def test_stretches_that_cannot_be(scale, message):
    with pytest.raises(WrongValue, match=message):
        Stretch().changed(scale)


@pytest.mark.parametrize("curve", ["linear", "log", "pow", "sqrt", "squared", "asinh", "sinh"])
def test_curves_keep_order_and_ends(curve):
    values = np.linspace(-1, 2, 61).reshape(1, -1)
    levels = Stretch().changed(f"{curve} minmax").levels(values)[0]
    assert levels[0] == 0
    assert levels[-1] == pytest.approx(1, abs=1e-6)  # float32
    assert np.all(np.diff(levels) > 0)


def test_histequ_gives_each_grey_the_same_area():
    values = np.random.default_rng(3).lognormal(size=(200, 200))
    levels = Stretch().changed("histequ minmax").levels(values)
    counts = np.histogram(levels, bins=10, range=(0, 1))[0]
    assert np.all(np.abs(counts - 4000) < 200)  # the histogram has 10 000 steps


def test_limits_and_percentages():
    values = np.arange(1001.0).reshape(1, -1)
    levels = Stretch().changed("limits 0 500").levels(values)[0]
    assert levels[250] == pytest.approx(0.5)
    assert levels[900] == 1
    inner = Stretch().changed(90).levels(values)[0]
    assert inner[50] == pytest.approx(0, abs=1e-6)
    assert inner[500] == pytest.approx(0.5, abs=1e-6)


def test_the_file_is_written_when_the_display_closes(tmp_path):
    path = tmp_path / "picture.png"
    with Display("matplotlib", out=path) as display:
        display.mtv(blank())
        display.dot("o", 10, 10)
        assert not path.exists()
    image = pixels_of(path.read_bytes())
    assert image.shape[1] == 880
    assert list(tmp_path.iterdir()) == [path]


def test_a_script_that_does_not_close_gets_its_file_too(tmp_path):
    path = tmp_path / "p.png"
    script = (
        "import sys, numpy\nfrom skyloom import display\n"
        "display.use('matplotlib', out=sys.argv[1])\ndisplay.mtv(numpy.eye(5))\n"
    )
    subprocess.run([sys.executable, "-c", script, str(path)], check=True, timeout=120)
    assert path.read_bytes().startswith(b"\x89PNG")


def test_several_frames_are_several_files(tmp_path):
    with Display("matplotlib", out=tmp_path / "p.png") as display:
        display.mtv(blank(), frame=1)
        display.mtv(blank(), frame=4)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["p-1.png", "p-4.png"]


def test_the_same_calls_give_the_same_bytes():
    displays = [Display("matplotlib") for _ in range(2)]
    for display in displays:
        display.mtv(blank(), title="same")
        display.dot("+", 10, 10)
    first, second = (d.backend.png(1) for d in displays)
    assert first == second


def test_a_place_that_cannot_be_written(tmp_path):
    display = Display("matplotlib")
    with pytest.raises(WrongValue, match="frame 1 shows no image; frames with one: none"):
        display.save(tmp_path / "x.png")
    display.mtv(blank())
    with pytest.raises(Unwritable, match="name another place"):
        display.save(tmp_path / "none" / "x.png")


def test_a_frame_of_a_tile(tmp_path):
    """Its working region, with what is wrong with the pixels."""
    values = np.zeros((30, 40), np.float32)
    values[12, 14] = np.nan
    values[20, 21] = 60_000.0
    fits.PrimaryHDU(values).writeto(tmp_path / "r.fits")
    frame = Frame(
        band="r", path=tmp_path / "r.fits", hdu=0, shape=(30, 40), box=Box(10, 40, 10, 30),
        zp_auto=27.0, scale=1.0, sky_sigma_adu=1.0, gain=1.0, saturation_adu=50_000.0,
        pixel_scale=0.5, fwhm_pix=None,
    )  # fmt: skip
    picture = as_picture(frame)
    assert (picture.pixels.shape, picture.xy0, picture.title) == ((20, 30), (0, 0), "r")
    found = {name: np.argwhere(plane).tolist() for name, plane in picture.planes.items()}
    assert found == {"NONFINITE": [[2, 4]], "SATURATED": [[10, 11]]}
    assert PlaneColors()["SATURATED"] == "green"


def test_notebooks_show_the_frame():
    display = Display("matplotlib")
    assert display._repr_png_() is None
    display.mtv(blank())
    assert display._repr_png_().startswith(b"\x89PNG")
    assert Display("virtual")._repr_png_() is None


def test_module_functions_speak_to_the_display_in_use(tmp_path):
    shown = module.use("virtual", frame=2)
    try:
        module.mtv(np.zeros((3, 3)))
        with module.buffering():
            module.dot("o", 1, 1)
        module.line([(0, 0), (1, 1)])
        module.erase()
        module.pan(1, 1)
        module.zoom(2)
        module.scale("log")
        module.set_mask_transparency(10)
        module.set_mask_plane_color("CR", "red")
        assert module.current_display() is shown
        assert [c for c in shown.recorder.commands if c != "frame 2"] == [
            "mask clear", "fits", "regions", "regions", "regions delete all", "pan to 2 2 image",
            "zoom to 2", "scale log", "mask transparency 10",
        ]  # fmt: skip
        other = module.use(Display("matplotlib"))
        module.mtv(np.zeros((3, 3)))
        module.save(tmp_path / "a.png")
        assert module.current_display() is other
    finally:
        module.close()
    assert (tmp_path / "a.png").exists()
