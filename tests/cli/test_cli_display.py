"""``skyloom display``: files and datasets become pictures; mistakes are answered."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS
from PIL import Image as PilImage

from skyloom.catalogs import Field, Schema, SourceCatalog
from skyloom.cli import main
from skyloom.images import Exposure, Image, Mask, MaskedImage

DIM_MAGENTA = (99, 0, 99)  # 40 % on black, 101 or 102


def tan_wcs() -> WCS:
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = "RA---TAN", "DEC--TAN"
    wcs.wcs.crval, wcs.wcs.crpix, wcs.wcs.cdelt = (150.0, 2.0), (20.5, 15.5), (-1e-4, 1e-4)
    return wcs


@pytest.fixture
def no_ds9(tmp_path, monkeypatch):
    """No XPA program is found, whatever this machine has."""
    monkeypatch.setenv("PATH", str(tmp_path))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """A plain image, an exposure with a cosmic ray, and two catalogues of one source."""
    values = np.zeros((30, 40), np.float32)
    values[0, 0] = 1.0
    fits.PrimaryHDU(values, tan_wcs().to_header()).writeto(tmp_path / "image.fits")
    mask = Mask.zeros(40, 30, xy0=(100, 200))
    mask.array[10:20, 10:20] = mask.get_plane_bit_mask("CR")
    pixels = MaskedImage(Image(values, xy0=(100, 200)), mask)
    Exposure(pixels, wcs=tan_wcs()).write(tmp_path / "exposure.fits")
    (tmp_path / "pixels.csv").write_text("x,y\n125,225\n")
    ra, dec = tan_wcs().pixel_to_world_values(25, 25)
    (tmp_path / "sky.csv").write_text(f"ra,dec\n{ra:.9f},{dec:.9f}\n")
    monkeypatch.chdir(tmp_path)
    return tmp_path


def colors(path) -> set[tuple[int, ...]]:
    """The saturated colours of a picture that cover some pixels, in steps of 3."""
    image = np.asarray(PilImage.open(path).convert("RGB")).astype(int)
    wide = image[np.ptp(image, axis=2) > 90] // 3 * 3  # layers are rounded
    found, counts = np.unique(wide, axis=0, return_counts=True)
    return {tuple(int(v) for v in c) for c, n in zip(found, counts, strict=True) if n > 50}


@pytest.mark.usefixtures("no_ds9")
def test_an_exposure_becomes_a_picture(folder, capsys):
    common = ["--scale", "minmax", "--out"]
    assert main(["display", "exposure.fits", *common, "a.png"]) == 0
    assert capsys.readouterr().out == "shown in matplotlib\nwritten a.png\n"
    assert colors("a.png") == {DIM_MAGENTA}
    more = ["--mask-transparency", "0", "--mask-color", "CR=cyan", "--frame", "2", "--zoom", "10"]
    assert main(["display", "exposure.fits", *common, "b.png", *more]) == 0
    assert colors("b.png") == {(0, 255, 255)}
    assert main(["display", "exposure.fits", *common, "c.png", "--mask-color", "CR=ignore"]) == 0
    assert colors("c.png") == set()
    assert not list(folder.glob(".*"))


@pytest.mark.usefixtures("no_ds9")
@pytest.mark.parametrize("catalog", ["pixels.csv", "sky.csv"])
def test_sources_are_marked(folder, catalog):
    words = ["--catalog", catalog, "--size", "4", "--color", "red", "--scale", "minmax"]
    assert main(["display", "exposure.fits", *words, "--out", str(folder / "a.png")]) == 0
    image = np.asarray(PilImage.open("a.png").convert("RGB")).astype(int)
    red = (image[..., 0] > 200) & (image[..., 1] < 100) & (image[..., 2] < 100)
    rows, columns = np.nonzero(red)
    # a circle of four pixels radius about (125, 225); 800 screen pixels are 40
    assert np.ptp(columns) == pytest.approx(160, abs=8)
    assert np.ptp(rows) == pytest.approx(160, abs=8)


@pytest.mark.usefixtures("no_ds9")
def test_sources_of_afw_are_marked_by_their_slot(folder):
    schema = Schema(
        [Field("base_NaiveCentroid_x", "D"), Field("base_NaiveCentroid_y", "D")],
        aliases={"slot_Centroid": "base_NaiveCentroid"},
    )
    columns = {"base_NaiveCentroid_x": [125.0], "base_NaiveCentroid_y": [225.0]}
    SourceCatalog(schema, columns).write("src.fits")
    words = ["exposure.fits", "--catalog", "src.fits", "--color", "red", "--scale", "minmax"]
    assert main(["display", *words, "--out", str(folder / "a.png")]) == 0
    image = np.asarray(PilImage.open("a.png").convert("RGB")).astype(int)
    assert np.count_nonzero((image[..., 0] > 200) & (image[..., 1] < 100)) > 100


@pytest.mark.usefixtures("no_ds9")
def test_an_hdu_of_a_plain_image(folder):
    assert main(["display", "image.fits[0]", "--catalog", "sky.csv", "--out", "a.png"]) == 0
    assert (folder / "a.png").exists()


@pytest.mark.usefixtures("no_ds9", "folder")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["image.fits"], "--launch, or --out picture.png"),
        (["image.fits", "--backend", "matplotlib"], "name it with --out FILE.png"),
        (["none.fits", "--out", "a.png"], "none.fits: no such file"),
        (["image.fits[SCI]", "--out", "a.png"], "there is no HDU 'SCI'"),
        (["pixels.csv", "--out", "a.png"], "cannot be read as FITS"),
        (["calexp", "visit", "--out", "a.png"], "must read NAME=VALUE, as in visit=1234"),
        (["calexp", "visit=1", "--out", "a.png"], "no dataset type 'calexp'"),
        (["calexp", "visit=1", "--root", "none", "--out", "a.png"], "no such directory"),
        (["image.fits", "--scale", "cubic", "--out", "a.png"], "scale 'cubic' is not known"),
        (["image.fits", "--zoom", "0", "--out", "a.png"], "zoom '0' must be a positive number"),
        (["image.fits", "--mask-color", "CR", "--out", "a.png"], "as in CR=red"),
        (["exposure.fits", "--mask-color", "CR=rad", "--out", "a.png"], "did you mean 'red'"),
        (["image.fits", "--catalog", "none.csv", "--out", "a.png"], "none.csv: no such file"),
    ],
)
def test_mistakes(words, message, capsys):
    assert main(["display", *words]) == 2
    assert message in capsys.readouterr().err.replace("\n", " ")


@pytest.mark.usefixtures("no_ds9")
def test_tables_without_positions(folder, capsys):
    (folder / "t.csv").write_text("a,b\n1,2\n")
    assert main(["display", "image.fits", "--catalog", "t.csv", "--out", "a.png"]) == 2
    assert "t.csv: no positions; name two columns x, y" in capsys.readouterr().err


@pytest.mark.usefixtures("no_ds9")
def test_a_dataset_is_shown(folder):
    corr = folder / "rerun" / "00705" / "HSC-I" / "corr"
    corr.mkdir(parents=True)
    (folder / "exposure.fits").rename(corr / "CORR-0001234-056.fits")
    words = ["calexp", "visit=1234", "ccd=56", "--root", "rerun", "--scale", "minmax"]
    assert main(["display", *words, "--out", "a.png"]) == 0
    assert colors("a.png") == {DIM_MAGENTA}
