"""A real ds9 shows what it was told: pixels, mask planes and regions are read back from it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess

import numpy as np
import pytest
from ds9_screen import NAME, WAIT, Ds9Screen

from skyloom import display as shown
from skyloom.catalogs import SourceCatalog
from skyloom.compat.hsc.__main__ import main as run_old_script
from skyloom.display import Display, xpa
from skyloom.errors import DisplayNotAvailable, DisplayRefused
from skyloom.images import Exposure, Image, Mask, MaskedImage

XY0 = (1000, 500)
RED, BLUE = (255, 0, 0), (0, 0, 255)
SCRIPT = """
import sys
import lsst.daf.persistence as dafPersist
import lsst.afw.display.ds9 as ds9
butler = dafPersist.Butler(sys.argv[1])
dataId = {'visit': int(sys.argv[2]), 'ccd': int(sys.argv[3])}
settings = {'scale': 'zscale', 'zoom': 'to fit', 'mask': 'transparency 60'}
ds9.mtv(butler.get('calexp', dataId), frame=7, title="My Data", settings=settings)
with ds9.Buffering():
    for source in butler.get('src', dataId):
        symbol = "@:{},{},{}".format(source.getIxx(), source.getIxy(), source.getIyy())
        ds9.dot(symbol, source.getX(), source.getY(), ctype=ds9.RED, size=5.0, frame=7)
"""


def scene() -> MaskedImage:
    """Noise of 150 x 100 with a plane of 30 x 20 and one of 10 x 10 pixels."""
    values = np.random.default_rng(5).normal(10, 3, (100, 150)).astype(np.float32)
    mask = Mask.zeros(150, 100, xy0=XY0)
    mask.array[10:30, 20:50] |= mask.get_plane_bit_mask("BAD")
    mask.array[60:70, 90:100] |= mask.get_plane_bit_mask("DETECTED")
    return MaskedImage(Image(values, xy0=XY0), mask)


@pytest.fixture(params=["xpa", "samp", "pyds9"])
def display(request, ds9: Ds9Screen) -> Display:
    if request.param == "pyds9":
        pytest.importorskip("pyds9", reason="pyds9 is not installed (pip install pyds9)")
    assert ds9.get("version").startswith(NAME)
    display = Display(request.param, target=NAME)
    yield display
    display.close()


def test_pixels_planes_and_symbols(display, ds9):
    image = scene()
    display.set_mask_transparency(0)
    display.mtv(image, title="scene", settings={"zoom": 2, "scale": "asinh minmax"})
    with display.buffering():
        display.dot("o", 1030, 580, size=4, ctype="cyan")
        display.dot("@:100,30,25", 1060, 540, ctype="magenta")
        display.dot("+", 1100, 510, size=3)
        display.line([(1010, 590), (1020, 595)], ctype="orange")
    np.testing.assert_allclose(
        ds9.values(31, 41, 4, 3), image.image.array[40:43, 30:34], rtol=1e-4
    )  # ds9 tells six digits
    assert ds9.get("fits size") == "150 100"
    assert ds9.get("fits header keyword OBJECT") == "scene"
    assert ds9.get("scale") == "asinh"
    assert ds9.get("mask transparency") == "0"
    regions = ds9.regions()
    assert regions[0] == "circle(31,81,4) # color=cyan"
    assert regions[1].startswith("ellipse(61,41,")
    a, b, angle = (float(v) for v in re.findall(r"[\d.]+", regions[1])[2:5])
    moments = np.array([[100, 30], [30, 25]])
    np.testing.assert_allclose([b**2, a**2], np.linalg.eigvalsh(moments), rtol=1e-5)
    assert np.tan(2 * np.radians(angle)) == pytest.approx(60 / 75, rel=1e-5)
    assert len(regions) == 5
    # what is on the screen: opaque planes, a pixel is 2 x 2 screen pixels
    assert ds9.wait_for(RED, 4 * 600) == 4 * 600
    assert ds9.wait_for(BLUE, 4 * 100) == 4 * 100
    # viewers show parent coordinates as physical ones, counted from 1
    assert "circle(1031,581,4)" in ds9.get("regions -system physical")


def test_a_real_exposure(display, ds9, shared_data):
    """An HSC exposure with its mask, origin and WCS."""
    exposure = Exposure.read(shared_data / "astrometry" / "afw" / "HSC-0908120-056-small.fits")
    detected, crosstalk = (exposure.mask.is_set(n) for n in ("DETECTED", "CROSSTALK"))
    display.set_mask_transparency(0)
    display.mtv(exposure, settings={"zoom": 2, "scale": "asinh zscale"})
    assert ds9.wait_for(RED, 4 * crosstalk.sum()) == 4 * 14
    assert ds9.wait_for(BLUE, 4 * detected.sum()) == 4 * 5390
    y, x = np.unravel_index(np.argmax(exposure.image.array), exposure.shape)
    assert ds9.values(x + 1, y + 1, 1, 1)[0, 0] == pytest.approx(exposure.image.array[y, x])
    x0, y0 = exposure.xy0
    display.dot("o", x0 + x, y0 + y, size=6, ctype="cyan")
    assert ds9.regions() == [f"circle({x + 1},{y + 1},6) # color=cyan"]
    # the header says FK5, which the HSC tools take for ICRS; ds9 knows the 20 mas between them
    sky = ds9.get("regions -system wcs -sky fk5 -skyformat degrees").splitlines()[-1]
    ra, dec = (float(v) for v in re.findall(r"[-\d.]+", sky)[:2])
    expected = exposure.wcs.pixel_to_sky(float(x0 + x), float(y0 + y))
    assert (ra, dec) == pytest.approx(expected, abs=2e-6)  # deg; seven decimals are told


def test_a_new_image_takes_planes_and_symbols_away(display, ds9):
    display.set_mask_transparency(0)
    display.mtv(scene(), settings={"zoom": 2})
    display.dot("o", 1030, 580)
    display.mtv(scene().image)
    assert ds9.regions() == []
    assert ds9.wait_for(RED, 0) == 0


def test_an_image_that_another_process_has_shown(display, ds9):
    """Its origin is asked of ds9, so that catalogue positions fit."""
    with Display("xpa", target=NAME) as other:
        other.mtv(scene(), frame=4)
        other.mtv(np.zeros((5, 5)), frame=5)
    display.dot("o", 1030, 580, frame=4)
    assert ds9.regions() == ["circle(31,81,2)"]
    display.dot("o", 1, 1, frame=5)
    assert ds9.regions() == ["circle(2,2,2)"]
    display.dot("o", 1, 1, frame=6)  # an empty frame takes no regions
    assert ds9.regions() == []


def test_erase_pan_and_frames(display, ds9):
    display.mtv(scene(), frame=1)
    display.mtv(scene().image.array[:50], frame=2)
    display.dot("o", 1030, 580, frame=1)
    display.pan(1049, 549, frame=1)
    assert ds9.get("frame") == "1"
    assert [float(v) for v in ds9.get("pan image").split()] == [50, 50]
    assert len(ds9.regions()) == 1
    display.erase(frame=1)
    assert ds9.regions() == []
    display.zoom(3, frame=2)
    assert (ds9.get("fits size"), ds9.get("zoom")) == ("150 50", "3")


@pytest.mark.parametrize(
    "text",
    ["a;b", "a { b", "a } b", 'a " b', "it's", "a # b", "$x [exit]", "é β", "circle 5 5 5",
     "} \" z", "back\\slash"],
)  # fmt: skip
def test_any_text_arrives(ds9, text):
    with Display("xpa", target=NAME) as display:
        display.mtv(np.zeros((10, 10), np.float32))
        display.dot(text, 3, 3, ctype="red")
        display.dot("o", 4, 4)
    first, second = ds9.regions()
    assert text in first
    assert "color=red" in first
    assert second == "circle(5,5,2)"  # and what comes after it too


def test_thousands_of_symbols(display, ds9):
    display.mtv(np.zeros((100, 100), np.float32))
    x = np.arange(2000.0) % 100
    display.dot("o", x, x[::-1], size=1)
    assert len(ds9.regions()) == 2000


@pytest.mark.parametrize("dtype", ["u1", "u2", "i4", "u8", "f8"])
def test_every_kind_of_number_is_seen(ds9, dtype):
    pixels = np.arange(12).reshape(3, 4).astype(dtype)
    with Display("xpa", target=NAME) as display:
        display.mtv(pixels)
    np.testing.assert_array_equal(ds9.values(1, 1, 4, 3), pixels)


def test_commands_that_ds9_does_not_know(display):
    with pytest.raises(DisplayRefused, match=r"refuses 'bogus 1': .*; correct the command"):
        display.mtv(np.zeros((3, 3)), settings={"bogus": 1})


@pytest.mark.usefixtures("ds9")
def test_other_names_do_not_answer():
    with pytest.raises(DisplayNotAvailable, match="no ds9 named 'skyloom_nobody' answers"):
        Display("xpa", target="skyloom_nobody")


@pytest.mark.usefixtures("ds9")
def test_launch(monkeypatch):
    """A ds9 that is started stays when its display closes."""
    monkeypatch.setattr(xpa, "_LAUNCH", WAIT)
    name = f"skyloom_launch_{os.getpid()}"
    try:
        with Display(launch=True, target=name) as display:
            display.mtv(np.zeros((3, 3)))
        assert xpa.find_xpa(name).ask("fits size").split() == ["3", "3"]
    finally:
        subprocess.run(["xpaset", "-p", name, "quit"], timeout=WAIT, check=False)
        process = xpa._LAUNCHED.pop()
        try:
            process.wait(5)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)


def test_the_script_of_the_manual(ds9, tmp_path, shared_data):
    """``showInDs9`` with its options, as users start it: exposure, mask, ellipses in a real ds9."""
    afw = shared_data / "astrometry" / "afw"
    for name, place in (
        ("HSC-0908120-056-small.fits", "corr/CORR-0908120-056.fits"),
        ("sourceCatalog-hsc-v2.fits", "output/SRC-0908120-056.fits"),
    ):
        path = tmp_path / "rerun" / "00705" / "HSC-I" / place
        path.parent.mkdir(parents=True)
        shutil.copyfile(afw / name, path)
    script = tmp_path / "show.py"
    script.write_text(SCRIPT)
    shown.use("xpa", target=NAME)
    try:
        assert run_old_script([str(script), str(tmp_path / "rerun"), "908120", "56"]) == 0
        sources = SourceCatalog.read(afw / "sourceCatalog-hsc-v2.fits")
        regions = ds9.regions()
        assert len(regions) == len(sources)
        x, y, a, b, _ = (float(v) for v in re.findall(r"[-\d.]+", regions[0]))
        axes = sources.shape.axes()
        assert (x, y) == pytest.approx((sources.x[0] - 99, sources.y[0] - 99), abs=1e-3)
        assert (a, b) == pytest.approx((axes.a[0], axes.b[0]), rel=1e-4)
        assert all("color=red" in region for region in regions)
        assert (ds9.get("mask transparency"), ds9.get("fits size")) == ("60", "200 200")
        assert ds9.get("fits header keyword OBJECT") == "My Data"
    finally:
        shown.close()
