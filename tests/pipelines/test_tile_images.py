"""``skyloom.images``: what the user says about an image instead of its header."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from key_effects import Bench

from skyloom.errors import BadHeader, UnreadableFile, UserMistake, WrongValue
from skyloom.geometry import Box
from skyloom.images import Frame, MaskBit, frame_wcs, pixels_and_mask, read_pixels
from skyloom.pipelines.tile import TileConfig, run_tile
from skyloom.pipelines.tile.config import load_config
from skyloom.pipelines.tile.image_overrides import find_images
from skyloom.pipelines.tile.image_sections import ImageConfig
from skyloom.pipelines.tile.load import read_tile_frames

Edit = Callable[..., Path]

KEYWORDS = {
    "filter": ("FILTER", "x999"),
    "zp_auto": ("ZP_AUTO", 24.25),
    "sky_sigma": ("SKYSIG", 6.5),
    "gain": ("EGAIN", 3.5),
    "saturation": ("SATURATE", 21000.0),
    "fwhm_pix": ("PEEING", 3.75),
}
"""Setting -> keyword, and a value that is not the header's."""
CARDS = {
    "CTYPE1": "RA---TAN",
    "CTYPE2": "DEC--TAN",
    "CRVAL1": 150.0,
    "CRVAL2": 2.0,
    "CRPIX1": 10.0,
    "CRPIX2": 12.0,
    "CDELT1": -1e-4,
    "CDELT2": 1e-4,
    "FILTER": "r",
    "ZP_AUTO": 25.0,
    "SKYSIG": 2.0,
    "EGAIN": 1.6,
    "SATURATE": 4000.0,
    "PEEING": 4.0,
}


def image(path: Path, *, data: np.ndarray | None = None, **cards: object) -> Path:
    """Write an image of 40 x 30 pixels; keywords that are None are left out."""
    values = {k: v for k, v in {**CARDS, **cards}.items() if v is not None}
    fits.PrimaryHDU(np.zeros((30, 40), np.float32) if data is None else data).writeto(path)
    fits.setval(path, "ORIGIN", value="test")
    with fits.open(path, mode="update") as hdus:
        hdus[0].header.update(values)
    return path


def config(**images: dict[str, object]) -> TileConfig:
    settings = {"crop": {"enabled": False}, "skyloom": {"images": images}}
    return TileConfig.model_validate(settings)


# --- values instead of those of the header


@pytest.mark.parametrize("setting", KEYWORDS)
def test_a_setting_is_the_same_as_its_keyword_which_may_be_absent(
    tmp_path: Path, setting: str
) -> None:
    keyword, value = KEYWORDS[setting]
    path = image(tmp_path / "a.fits")
    plain = read_tile_frames([path], config())[0]
    told = read_tile_frames([path], config(**{"a.fits": {setting: value}}))[0]
    fits.setval(path, keyword, value=value)
    assert told == read_tile_frames([path], config())[0] != plain
    fits.delval(path, keyword)
    assert told == read_tile_frames([path], config(**{"a.fits": {setting: value}}))[0]


def test_fwhm_pix_overrules_seeing_too(tmp_path: Path) -> None:
    path = image(tmp_path / "a.fits", PEEING=None, SEEING=2.0)
    assert read_tile_frames([path], config(r={"fwhm_pix": 3.0}))[0].fwhm_pix == 3.0


def test_a_missing_keyword_tells_of_the_setting(tmp_path: Path) -> None:
    path = image(tmp_path / "a.fits", EGAIN=None)
    with pytest.raises(BadHeader, match=r"EGAIN, or give it under skyloom.images as gain"):
        read_tile_frames([path], config())


@pytest.mark.parametrize("hdu", [1, "SCI", "sci", 3])
def test_pixels_and_wcs_come_from_the_hdu(tmp_path: Path, hdu: int | str) -> None:
    path = tmp_path / "many.fits"
    ones = np.ones((30, 40), np.float32)
    wanted = 3 if hdu == 3 else 1
    hdus = [
        fits.PrimaryHDU(),
        fits.ImageHDU(ones, name="SCI"),
        fits.ImageHDU(7 * ones[:5], name="X"),
    ]
    hdus.append(
        fits.CompImageHDU(3 * ones, name="PACKED", compression_type="RICE_1", quantize_level=0)
    )
    for number in (1, 3):
        hdus[number].header.update({**CARDS, "CRPIX1": 10.0 * number})
    fits.HDUList(hdus).writeto(path)
    frame = read_tile_frames([path], config(r={"hdu": hdu}))[0]
    assert frame.hdu == wanted
    assert (read_pixels(frame) == wanted).all()
    assert frame_wcs(frame).wcs.crpix[0] == 10.0 * wanted


def test_a_first_image_that_lacks_keywords_tells_of_the_others(tmp_path: Path) -> None:
    ones = np.ones((30, 40), np.float32)
    path = tmp_path / "many.fits"
    hdus = fits.HDUList(
        [
            fits.PrimaryHDU(),
            fits.ImageHDU(ones, name="WHT"),
            fits.ImageHDU(ones, name="SCI"),
            fits.CompImageHDU(ones, name="PACKED"),
            fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="TAB"),
        ]
    )
    hdus[2].header.update(CARDS)
    hdus.writeto(path)
    with pytest.raises(BadHeader, match=r"Missing FILTER in .*many.fits\[1\]") as caught:
        read_tile_frames([path], config())
    last = str(caught.value).splitlines()[-1]
    assert "many.fits[1] is the first image of its file, others are [2] SCI, [3] PACKED; " in last
    assert last.endswith("name it under skyloom.images as hdu")
    told = {"hdu": "WHT"}  # the user chose it
    with pytest.raises(BadHeader) as caught:
        read_tile_frames([path], config(**{"many.fits": told}))
    assert "others are" not in str(caught.value)


# --- regions without data


def test_regions_without_data_are_as_good_as_nan(tmp_path: Path) -> None:
    data = np.random.default_rng(3).normal(5.0, 1.0, (30, 40)).astype(np.float32)
    data[:12] = 0.0
    data[10:, 35:] = 0.0
    data[20, 20] = data[22:24, 10:30] = 0.0  # by chance, or too narrow to be sure
    path = image(tmp_path / "a.fits", data=data)
    gaps = np.zeros(data.shape, bool)
    gaps[:12] = gaps[10:, 35:] = True
    (frame,) = read_tile_frames([path], config(r={"no_data": 0.0}))
    assert (np.isnan(read_pixels(frame)) == gaps).all()
    assert (read_pixels(frame)[~gaps] == data[~gaps]).all()
    assert (pixels_and_mask(frame)[1] == np.where(gaps, MaskBit.NONFINITE, 0)).all()
    (plain,) = read_tile_frames([path], config())
    assert np.isfinite(read_pixels(plain)).all()
    assert Frame.from_dict(frame.as_dict()) == frame
    assert "no_data" not in plain.as_dict()


def test_no_data_is_the_same_whatever_box_is_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    data = np.where(rng.random((30, 40)) < 0.85, 0.0, 1.0).astype(np.float32)
    (frame,) = read_tile_frames([image(tmp_path / "a.fits", data=data)], config(r={"no_data": 0.0}))
    whole = read_pixels(frame)
    assert 0 < np.isnan(whole).sum() < (data == 0).sum()
    for x0 in range(0, 40, 7):
        for y0 in range(0, 30, 5):
            box = Box(x0, min(40, x0 + 7), y0, y0 + 5)
            assert np.array_equal(read_pixels(frame, box), whole[box.slices], equal_nan=True)


@pytest.mark.parametrize(("hdu", "words"), [("SCY", "'SCY'"), (5, "5"), ("TAB", "'TAB'")])
def test_an_hdu_without_an_image_is_refused(tmp_path: Path, hdu: object, words: str) -> None:
    path = image(tmp_path / "a.fits")
    with fits.open(path, mode="append") as hdus:
        columns = [fits.Column("a", "J", array=[1, 2])]
        hdus.append(fits.BinTableHDU.from_columns(columns, name="TAB"))
    with pytest.raises(UnreadableFile, match=f"a.fits: there is no HDU {words} with an image"):
        read_tile_frames([path], config(**{"a.fits": {"hdu": hdu}}))


# --- which image a name means


@pytest.mark.parametrize("name", ["g", "b.fits", "two/b.fits", "{folder}/two/b.fits"])
def test_an_image_is_named_by_band_file_or_path(tmp_path: Path, name: str) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    paths = [image(tmp_path / "one/a.fits"), image(tmp_path / "two/b.fits", FILTER="g")]
    name = name.format(folder=tmp_path)
    assert find_images(paths, {name: ImageConfig()}) == {paths[1]: name}


@pytest.mark.parametrize(
    ("names", "words"),
    [
        (["gg"], r"skyloom.images.gg: no image of the list has this band.*did you mean 'g'"),
        (["quite else"], "known are r, g, a.fits, a.fits"),
        (["a.fits"], r"skyloom.images.a.fits: fits several images .*; write more of the path"),
        (["two/a.fits", "g"], r"skyloom.images.g: means the same image as 'two/a.fits'"),
    ],
)
def test_a_name_that_means_no_image_or_two_is_refused(
    tmp_path: Path, names: list[str], words: str
) -> None:
    for folder in ("one", "two"):
        (tmp_path / folder).mkdir()
    paths = [image(tmp_path / "one/a.fits"), image(tmp_path / "two/a.fits", FILTER="g")]
    with pytest.raises(WrongValue, match=words):
        find_images(paths, dict.fromkeys(names, ImageConfig()))


def test_a_link_in_the_list_is_known_by_its_path(tmp_path: Path) -> None:
    target = image(tmp_path / "long_name.fits")
    (tmp_path / "r.fits").symlink_to(target)
    text = "skyloom: {images: {r.fits: {gain: 3}}}"
    (tmp_path / "tile.yaml").write_text(text, encoding="utf-8")
    images = load_config(tmp_path / "tile.yaml").skyloom.images
    assert images[find_images([target], images)[target]].gain == 3.0


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"no.fits": {"gain": 2}}, "skyloom.images.no.fits: no image"),
        ({"m475": {"hdu": 4}}, "there is no HDU 4 with an image"),
        ({"m475": {"filter": "m625"}}, "FILTER 'm625' stands in both"),
    ],
)
def test_a_mistake_stops_before_any_work(
    small_tile: Path, edit: Edit, settings: dict[str, object], words: str
) -> None:
    path = edit(small_tile, skyloom={"images": settings})
    with pytest.raises(UserMistake, match=words):
        run_tile(path, progress="quiet")
    assert not (small_tile / "work").exists()


# --- a whole run


def test_a_run_with_settings_is_a_run_with_other_headers(
    finished_tile: Path, tmp_path: Path
) -> None:
    bench = Bench.copy_of(finished_tile, tmp_path / "tile")
    before = bench.products()
    told = {setting: value for setting, (_, value) in KEYWORDS.items() if setting != "filter"}
    bench.run("run", {"skyloom.images": {"sim_m475.fits": told}})
    with_settings = bench.products()
    for keyword, value in (KEYWORDS[setting] for setting in told):
        fits.setval(bench.folder / "images/sim_m475.fits", keyword, value=value)
    bench.run("run", {})
    with_headers = bench.products()
    for products in (with_settings, with_headers):
        del products["outputs/run_summary.csv"]  # seconds
    assert with_headers == with_settings
    same = {name for name in with_settings if before[name] == with_settings[name]}
    assert "output_catalog.csv" not in same
