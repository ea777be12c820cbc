"""Processors that make previews: where, when, with which rights, and what goes wrong."""

from __future__ import annotations

import stat
from io import BytesIO
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from PIL import Image

from skyloom.compat import dachs
from skyloom.errors import UnknownKey, WrongValue
from skyloom.process import DataSpec, procmain
from skyloom.process.previews import (
    ColorPreviewMaker,
    PictureStyle,
    PreviewMaker,
    SpectralPreviewMaker,
    split_preview_path,
    standard_preview_path,
)


@pytest.fixture
def data(tmp_path):
    """Three images, one of them broken, in the resource directory ``lmu`` below the inputs."""
    raw = tmp_path / "lmu" / "raw"
    raw.mkdir(parents=True)
    rng = np.random.default_rng(3)
    for name in ("a", "b"):
        fits.writeto(raw / f"{name}.fits", rng.normal(100, 5, (300, 200)).astype(np.float32))
    (raw / "c.fits").write_bytes(b"SIMPLE  =                    T" + b" " * 50)
    return DataSpec.from_glob(
        "raw/*.fits",
        resdir=tmp_path / "lmu",
        inputs_dir=tmp_path,
        properties={"preview_dir": "previews"},
    )


class Counting(PreviewMaker):
    """Counts its pictures in a file, which workers share."""

    def get_preview_data(self, accref):
        with (self.data.resdir / "made.log").open("a") as file:
            file.write(f"{accref}\n")
        return super().get_preview_data(accref)

    @property
    def made(self):
        log = self.data.resdir / "made.log"
        return log.read_text().split() if log.exists() else []


class Tree(PreviewMaker):
    preview_path = split_preview_path(".jpeg")


def previews(data):
    folder = data.resdir / "previews"
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*") if p.is_file())


def test_previews_are_made_once_and_failures_are_counted(data, capsys):
    maker = procmain(Counting, data, [])
    captured = capsys.readouterr()
    assert captured.out == "3 files processed, 1 files with errors\n"
    assert "Skipping source lmu/raw/c.fits: (UnreadableFile" in captured.err
    assert maker.made == ["lmu/raw/a.fits", "lmu/raw/b.fits", "lmu/raw/c.fits"]
    paths = [standard_preview_path(f"lmu/raw/{n}.fits", data) for n in "ab"]
    assert previews(data) == sorted(Path(p).name for p in paths)
    picture = Image.open(BytesIO((data.inputs_dir / paths[0]).read_bytes()))
    assert (picture.format, picture.size) == ("JPEG", (200, 300))

    assert procmain(Counting, data, []).counts.processed == 3  # what exists counts too
    assert maker.made[3:] == ["lmu/raw/c.fits"]
    procmain(Counting, data, ["--force", "--filter", "a.fits"])
    assert maker.made[4:] == ["lmu/raw/a.fits"]


def test_workers_make_the_same_previews(data, monkeypatch):
    procmain(Tree, data, [])
    serial = {name: (data.resdir / "previews" / name).read_bytes() for name in previews(data)}
    assert list(serial) == ["lmu/raw/a.fits.jpeg", "lmu/raw/b.fits.jpeg"]
    for method in ("fork", "spawn"):
        monkeypatch.setattr(Tree, "start_method", method)
        counts = procmain(Tree, data, ["--force", "-j", "2"]).counts
        assert (counts.processed, counts.ignored) == (3, 1)
    assert {n: (data.resdir / "previews" / n).read_bytes() for n in previews(data)} == serial


def test_rights_let_the_group_work_and_nothing_temporary_stays(data):
    procmain(Tree, data, [])
    folder = data.resdir / "previews"
    for path in (folder, *folder.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode == (0o775 if path.is_dir() else 0o664), path
    assert all(name.endswith(".jpeg") for name in previews(data))


def test_a_failed_picture_leaves_the_old_one(data):
    procmain(Tree, data, [])
    before = (data.resdir / "previews/lmu/raw/a.fits.jpeg").read_bytes()
    (data.resdir / "raw/a.fits").write_bytes(b"no FITS")
    assert procmain(Tree, data, ["--force"]).counts.ignored == 2
    assert (data.resdir / "previews/lmu/raw/a.fits.jpeg").read_bytes() == before
    assert previews(data) == ["lmu/raw/a.fits.jpeg", "lmu/raw/b.fits.jpeg"]


@pytest.mark.parametrize("extra", [[], ["-j", "2"]])
def test_a_report_counts_missing_previews_and_makes_none(data, capsys, extra):
    procmain(Counting, data, ["--filter", "a.fits"])
    made = previews(data)
    capsys.readouterr()
    maker = procmain(Counting, data, ["--report", *extra])
    assert "1     with\n2  without" in capsys.readouterr().out
    procmain(Counting, data, ["--report", "--force", *extra])
    assert "3  without" in capsys.readouterr().out
    assert maker.made == ["lmu/raw/a.fits"]
    assert previews(data) == made


def test_a_product_table_names_products_and_paths(data, capsys):
    class FromTable(PreviewMaker):
        products = {  # noqa: RUF012 - a mapping that nobody changes
            "lmu/raw/a.fits": "lmu/elsewhere/a.jpg",
            "lmu/raw/b.fits": "AUTO",
        }

    procmain(FromTable, data, [])
    captured = capsys.readouterr()
    assert "2 files processed, 1 files with errors" in captured.out
    assert "lmu/raw/b.fits: the product table says AUTO" in captured.err
    assert (data.resdir / "elsewhere/a.jpg").is_file()
    with pytest.raises(OSError, match=r"lmu/raw/c.fits: .* import the data first"):
        FromTable(data=data).get_preview_path("lmu/raw/c.fits")
    procmain(FromTable, data, ["--report"])
    assert "Warning: There were 1 errors during classification" in capsys.readouterr().out


def test_tables_fail_or_are_left_out(data, capsys):
    class Images(PreviewMaker):
        skips_tables = True

    table = fits.BinTableHDU.from_columns([fits.Column("a", "D", array=np.arange(5.0))])
    table.writeto(data.resdir / "raw/d.fits")
    counts = procmain(PreviewMaker, data, []).counts
    assert (counts.processed, counts.ignored, counts.skipped) == (4, 2, 0)
    assert "d.fits: none of its HDUs holds an image; leave it out" in capsys.readouterr().err
    counts = procmain(Images, data, []).counts
    assert (counts.processed, counts.ignored, counts.skipped) == (3, 1, 1)
    procmain(Images, data, ["--report"])
    assert "1  without\n2     with" in capsys.readouterr().out


def test_the_directory_of_previews_is_required_and_made(data, tmp_path):
    with pytest.raises(UnknownKey, match="data data: property preview_dir is not set"):
        PreviewMaker(data=DataSpec(resdir=tmp_path))
    PreviewMaker(data=data)
    assert (data.resdir / "previews").is_dir()


def test_the_style_of_a_processor_is_used(data):
    class Small(PreviewMaker):
        style = PictureStyle(size=60, picture_format="webp")

    picture = Image.open(BytesIO(Small(data=data).get_preview_data("lmu/raw/a.fits")))
    assert (picture.format, picture.size) == ("WEBP", (33, 50))  # blocks of 6 x 6


def test_colour_previews_of_three_extensions(data):
    rng = np.random.default_rng(4)
    channels = rng.normal(0, 1, (3, 90, 120)).astype(np.float32)
    channels[:, 30:40, 50:60] += np.array([400.0, 200.0, 100.0])[:, None, None]
    hdus = [
        fits.PrimaryHDU(),
        *(fits.ImageHDU(c, name=n) for c, n in zip(channels, "irg", strict=True)),
    ]
    fits.HDUList(hdus).writeto(data.resdir / "raw/c.fits", overwrite=True)

    class Color(ColorPreviewMaker):
        style = PictureStyle(picture_format="png")

    shown = np.asarray(Image.open(BytesIO(Color(data=data).get_preview_data("lmu/raw/c.fits"))))
    assert shown.shape == (90, 120, 3)
    source = shown[90 - 35, 55].astype(int)
    assert source.min() > 180
    assert np.ptp(source) < 8  # a lone source is white, within its noise and that of the sky
    assert np.median(shown) < 64
    maker = Color(data=data)
    maker.extensions = ("G", "R", "I")  # reversed
    other = np.asarray(Image.open(BytesIO(maker.get_preview_data("lmu/raw/c.fits"))))
    assert np.abs(other[..., ::-1].astype(int) - shown).max() <= 1


@pytest.fixture
def spectra(tmp_path):
    wave = np.linspace(4000, 7000, 500)
    flux = 10 + np.sin(wave / 100)
    table = Table({"wave": wave[::-1], "counts": flux[::-1]})
    (tmp_path / "s").mkdir()
    table.write(tmp_path / "s/a.csv")
    table.write(tmp_path / "s/a.fits")
    Table({"wave": [wave], "counts": [flux]}).write(tmp_path / "s/row.fits")
    hdu = fits.PrimaryHDU(flux.astype(np.float64))
    hdu.header.update({"CRVAL1": wave[0], "CDELT1": wave[1] - wave[0], "CRPIX1": 1.0})
    hdu.writeto(tmp_path / "s/image.fits")
    return DataSpec.from_glob("s/*", resdir=tmp_path, properties={"preview_dir": "p"})


def test_spectra_of_all_kinds_give_the_same_picture(spectra):
    class Tables(SpectralPreviewMaker):
        sdm_id, spectral_column, flux_column = "table", "wave", "counts"

    class Images(SpectralPreviewMaker):
        sdm_id = "image"

    class Mine(SpectralPreviewMaker):
        sdm_id = "mine"
        readers = {"mine": lambda path: {"spectral": np.arange(3), "flux": [1, 2, path.stat().st_size]}}  # noqa: E501, RUF012  # fmt: skip

    pictures = {Tables(data=spectra).get_preview_data(f"s/{n}") for n in ("a.csv", "a.fits", "row.fits")}  # noqa: E501  # fmt: skip
    pictures.add(Images(data=spectra).get_preview_data("s/image.fits"))
    assert len(pictures) == 1
    assert Image.open(BytesIO(pictures.pop())).size == (200, 100)
    assert Image.open(BytesIO(Mine(data=spectra).get_preview_data("s/a.csv"))).size == (200, 100)


def test_spectra_need_a_reader_and_columns(spectra, capsys):
    class NoReader(SpectralPreviewMaker):
        pass

    class NoColumn(SpectralPreviewMaker):
        sdm_id = "table"

    with pytest.raises(WrongValue, match=r"NoReader.sdm_id = '' names no reader .* table, image"):
        NoReader(data=spectra)
    procmain(NoColumn, spectra, ["--filter", "a.csv"])
    message = "s/a.csv: the spectrum has no column 'spectral'; it has wave, counts"
    assert message in capsys.readouterr().err


def test_scripts_with_the_old_names(data, spectra, capsys):
    class Old(dachs.PreviewMaker):
        def getPreviewPath(self, accref):  # noqa: N802
            return super().getPreviewPath(accref) + ".jpg"

        def getPreviewData(self, accref):  # noqa: N802
            return f"picture of {accref}".encode()

    class OldSpectra(dachs.SpectralPreviewMaker):
        sdmId, spectralColumn, fluxColumn = "table", "wave", "counts"  # noqa: N815
        linearFluxes, connectPoints = True, False  # noqa: N815

    maker = dachs.procmain(Old, data, argv=["--force"])
    assert (maker.counts.processed, maker.counts.ignored) == (3, 0)
    name = standard_preview_path("lmu/raw/a.fits", data) + ".jpg"
    assert (data.inputs_dir / name).read_bytes() == b"picture of lmu/raw/a.fits"
    dachs.procmain(Old, data, argv=["--report"])
    assert "3  with" in capsys.readouterr().out
    dots = OldSpectra(data=spectra).get_preview_data("s/a.csv")
    assert Image.open(BytesIO(dots)).size == (200, 100)
    with pytest.raises(WrongValue, match="names no reader"):
        dachs.SpectralPreviewMaker(data=spectra)
