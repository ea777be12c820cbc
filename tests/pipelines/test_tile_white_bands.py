"""``skyloom.white_bands``: which bands make the white image, and who sees the difference."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from key_effects import Bench

from skyloom.cli import main
from skyloom.errors import WrongValue
from skyloom.pipelines.tile import load_config, run_tile
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.detection import detect_catalog

Edit = Callable[..., Path]


def white_of(folder: Path) -> np.ndarray:
    with fits.open(folder / "work/skyloom/white.fits") as hdus:
        return np.array(hdus["IMAGE"].data)


def scaled(folder: Path, band: str, margin: int) -> np.ndarray:
    """The pixels of an image within the crop [scaled counts of zp_ref = 25]."""
    data, header = fits.getdata(folder / f"images/sim_{band}.fits", header=True)
    ny, nx = data.shape
    return data[margin : ny - margin, margin : nx - margin] * 10 ** (
        -0.4 * (header["ZP_AUTO"] - 25.0)
    )


@pytest.fixture(scope="module")
def bench(finished_tile: Path, tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path_factory.mktemp("white") / "tile")


def test_the_white_image_is_made_of_the_bands_that_are_named(bench: Bench) -> None:
    bands = [path.stem.removeprefix("sim_") for path in sorted(bench.folder.glob("images/*.fits"))]
    both = white_of(bench.folder)
    changed = bench.difference(
        "build-patch-inputs", "skyloom/*", {"skyloom.white_bands": [bands[1]]}
    )
    assert "skyloom/white.fits" in changed
    one = white_of(bench.folder)
    # the weighted mean of one band is the band; float32
    expected = scaled(bench.folder, bands[1], margin=4)
    np.testing.assert_allclose(one, expected, rtol=1e-6, atol=1e-6)
    assert np.abs(both - one).max() > 1.0
    bench.run("build-patch-inputs", {"skyloom.white_bands": list(reversed(bands))})
    np.testing.assert_array_equal(white_of(bench.folder), both)  # the order does not matter


def test_detection_sees_the_bands_that_are_named_only(small_tile: Path, edit: Edit) -> None:
    bands = ("m475", "m625", "m825")
    path = small_tile / f"images/sim_{bands[0]}.fits"
    data, header = fits.getdata(path, header=True)
    data[60:64, :] += 400.0  # a stripe across one band
    fits.PrimaryHDU(data, header).writeto(path, overwrite=True)

    def on_the_stripe() -> int:
        table = detect_catalog(load_config(small_tile / "config.yaml")).detections.table
        margin = load_config(small_tile / "config.yaml").crop.margin
        return int((np.abs(np.asarray(table["y"]) + margin - 61.5) < 4).sum())

    before = on_the_stripe()
    edit(small_tile, skyloom={"white_bands": list(bands[1:])})
    assert on_the_stripe() < before


def test_a_band_that_does_not_exist_stops_before_any_work(
    small_tile: Path, edit: Edit, capsys: pytest.CaptureFixture[str]
) -> None:
    path = edit(small_tile, skyloom={"white_bands": ["m625", "r"]})
    message = r"skyloom.white_bands: no image is of band r; there are m475, m625, m825"
    with pytest.raises(WrongValue, match=message):
        run_tile(path, progress="quiet")
    assert not (small_tile / "work").exists()
    config = load_config(path)
    for look in (check_tile, detect_catalog):
        with pytest.raises(WrongValue, match=message):
            look(config)
    assert main(["tile", "check", "--config", str(path)]) == 2
    assert "no image is of band r" in capsys.readouterr().err
