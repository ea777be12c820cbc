"""The examples of the page on previews run as they stand."""

from __future__ import annotations

import re
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from skyloom.cli import main
from skyloom.process import DataSpec

PAGE = (Path(__file__).parents[2] / "docs" / "previews.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """Folder in which the page has run, and the names that its Python blocks leave."""
    folder = tmp_path_factory.mktemp("previews")
    scope: dict[str, object] = {}
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        simulate, *later = blocks("python")
        exec(simulate, scope)  # our own page
        for block in blocks("sh"):
            for line in block.splitlines():
                words = re.findall(r'"[^"]*"|\S+', line)
                assert words[0] == "skyloom"
                assert main([word.strip('"') for word in words[1:]]) == 0
        for block in later:
            exec(block, scope)
    return folder, scope


def picture(path: Path) -> Image.Image:
    return Image.open(BytesIO(path.read_bytes()))


def test_pictures_and_page(tutorial):
    folder, _ = tutorial
    assert len(list(folder.glob("previews/night*/images/*.jpeg"))) == 6
    page = (folder / "previews/index.html").read_text("utf-8")
    assert "<h1>Two simulated nights</h1>" in page
    assert "6 data sets</p>" in page


def test_composites(tutorial):
    folder, scope = tutorial
    shown = np.asarray(picture(Path(scope["maker"].get_preview_path("night1"))))
    assert shown.shape == (320, 320, 3)
    sky = np.median(shown, axis=(0, 1))
    assert np.ptp(sky) < 10  # neutral: 1e5 noisy pixels, and the rounding of JPEG
    assert 10 < sky.mean() < 64  # dark
    assert "2 data sets</p>" in (folder / "colors.html").read_text("utf-8")


def test_own_previews(tutorial):
    folder, _ = tutorial
    small = picture(folder / "thumbnails/night1/images/sim_m475.fits.jpg")
    assert small.size == (80, 40)  # blocks of 4 x 4, half of the rows


def test_plate(tutorial):
    _, scope = tutorial
    box = scope["plate_area"](scope["scan"])
    assert box.y0 >= 30
    assert box.x1 <= 460
    assert box.y1 <= 340
    assert box.width * box.height > 0.9 * 310 * 460  # a cell of 6 pixels at three sides


def test_description(tmp_path):
    (tmp_path / "adh.toml").write_text(blocks("toml")[0])
    data = DataSpec.from_toml(tmp_path / "adh.toml")
    assert data.get_property("preview_dir") == "previews"
    assert data.sources.recurse
