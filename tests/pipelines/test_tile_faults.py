"""Mistakes of the user's: found before any work, all at once, with file, key or row, and remedy."""

from __future__ import annotations

import csv
import os
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tile_stand_in
from astropy.io import fits

from skyloom.cli import main
from skyloom.errors import (
    BadHeader,
    BadTable,
    ConfigError,
    Mismatch,
    MissingFile,
    UnreadableFile,
    Unwritable,
    UserMistake,
    WrongValue,
)
from skyloom.pipelines.tile import run_tile

Edit = Callable[..., Path]
IMAGE = "images/sim_m625.fits"


@pytest.fixture(autouse=True)
def toys(monkeypatch: pytest.MonkeyPatch) -> None:
    tile_stand_in.install(monkeypatch)


def header(folder: Path, name: str = IMAGE, **changes: object) -> None:
    """Change keywords of an image; None removes one."""
    with fits.open(folder / name, mode="update") as hdus:
        for key, value in changes.items():
            if value is None:
                del hdus[0].header[key]
            else:
                hdus[0].header[key] = value


def cell(folder: Path, row: int, column: str, text: str) -> None:
    path = folder / "input_catalog.csv"
    with path.open(newline="", encoding="utf-8") as file:
        table = list(csv.DictReader(file))
    table[row][column] = text
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(table[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(table)


def absent_image(folder: Path) -> None:
    (folder / IMAGE).unlink()


def truncated_image(folder: Path) -> None:
    path = folder / IMAGE
    path.write_bytes(path.read_bytes()[:30_000])


def no_fits(folder: Path) -> None:
    (folder / IMAGE).write_text("SIMPLE is not this\n", encoding="utf-8")


def other_shape(folder: Path) -> None:
    with fits.open(folder / IMAGE, mode="update") as hdus:
        hdus[0].data = hdus[0].data[:-3]


def same_band(folder: Path) -> None:
    header(folder, FILTER="m475")


def empty_list(folder: Path) -> None:
    (folder / "image_list.txt").write_text("# nothing\n", encoding="utf-8")


def no_list(folder: Path) -> None:
    (folder / "image_list.txt").unlink()


def no_catalog(folder: Path) -> None:
    (folder / "input_catalog.csv").unlink()


def only_a_header(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    path.write_text(path.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")


def no_coordinates(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    text = path.read_text(encoding="utf-8").replace("RA,DEC", "alpha,delta")
    path.write_text(text, encoding="utf-8")


def other_field(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = len(list(csv.DictReader(file)))
    for row in range(rows):
        cell(folder, row, "RA", "10.5")


def no_position_at_all(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = len(list(csv.DictReader(file)))
    for row in range(rows):
        cell(folder, row, "DEC", "nan")


def binary_catalog(folder: Path) -> None:
    (folder / "input_catalog.csv").write_bytes(bytes(range(128, 256)) * 40)


def torn_catalog(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    path.write_text(path.read_text(encoding="utf-8").rstrip()[:-9], encoding="utf-8")


def gaia_with_text(folder: Path) -> None:
    path = folder / "gaiaxp.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    cells = lines[2].split(",")
    lines[2] = ",".join([cells[0], "north", *cells[2:]])
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def other_bands(folder: Path) -> None:
    path = folder / "input_catalog.csv"
    lines = path.read_text(encoding="utf-8").splitlines()
    lines = [lines[0] + ",FLUX_m999"] + [line + ",1.0" for line in lines[1:]]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def file_as_work_dir(folder: Path) -> None:
    (folder / "work").write_text("in the way", encoding="utf-8")


def gaia_without_ids(folder: Path) -> None:
    path = folder / "gaiaxp.csv"
    text = path.read_text(encoding="utf-8").replace("source_id", "name")
    path.write_text(text, encoding="utf-8")


MISTAKES: list[tuple[Callable[[Path], object], type[UserMistake], str]] = [
    (absent_image, MissingFile, r"sim_m625.fits: no such file; correct the path or the image list"),
    (truncated_image, UnreadableFile, r"sim_m625.fits.*truncated"),
    (no_fits, UnreadableFile, r"sim_m625.fits: cannot be read as FITS"),
    (lambda f: header(f, FILTER=None), BadHeader, r"Missing FILTER in .*sim_m625.fits\[0\]"),
    (lambda f: header(f, FILTER="  "), BadHeader, r"Empty FILTER in .*sim_m625.fits"),
    (lambda f: header(f, ZP_AUTO=None), BadHeader, r"Missing ZP_AUTO in .*sim_m625.fits"),
    (lambda f: header(f, SKYSIG=-1.0), BadHeader, r"Bad/Missing SKYSIG in .*sim_m625.fits"),
    (lambda f: header(f, EGAIN=None), BadHeader, r"Bad/Missing EGAIN \(e-/ADU\) in .*sim_m625"),
    (lambda f: header(f, CTYPE1=None, CTYPE2=None), BadHeader, r"Missing WCS in .*sim_m625.fits"),
    (lambda f: header(f, CRVAL1=150.2), Mismatch, r"WCS mismatch with reference: .*CRVAL differs"),
    (other_shape, Mismatch, r"Image shape mismatch: .*sim_m625.fits has 200 x 197"),
    (same_band, Mismatch, r"FILTER 'm475' stands in both .*sim_m475.fits and .*sim_m625.fits"),
    (empty_list, MissingFile, r"image_list.txt: the image list is empty"),
    (no_list, MissingFile, r"image_list.txt: no such file; correct inputs.image_list_file"),
    (no_catalog, MissingFile, r"input_catalog.csv: no such file; correct inputs.input_catalog"),
    (only_a_header, BadTable, r"input_catalog.csv: the catalogue has no rows"),
    (no_coordinates, BadTable, r"input_catalog must have RA/DEC columns"),
    (lambda f: cell(f, 4, "RA", "150,1"), BadTable, r"row 5, column RA: '150,1' is not a number"),
    (lambda f: cell(f, 4, "DEC", "91"), BadTable, r"row 5, column DEC: 91 is not within"),
    (lambda f: cell(f, 4, "ID", "00001"), BadTable, r"column ID: 1 IDs are not unique: '00001'"),
    (lambda f: cell(f, 4, "Re", "big"), BadTable, r"row 5, column Re: 'big' is not a number"),
    (
        binary_catalog,
        UnreadableFile,
        r"input_catalog.csv, line 1: .* not UTF-8 text; save the file",
    ),
    (torn_catalog, BadTable, r"row 41 \(line 42\): 3 cells, but the header has 8.*cut off"),
    (
        other_field,
        Mismatch,
        r"_catalog.csv: none of its \d+ sources, at RA 10.5.*degrees.*crop.margin",
    ),
    (no_position_at_all, Mismatch, r"input_catalog.csv: no row has a finite RA, DEC; give"),
    (gaia_with_text, BadTable, r"gaiaxp.csv.*row 2, column ra: 'north' is not a number; "),
    (other_bands, Mismatch, r"Band mismatch .* m999; only in the images: m475, m625, m825"),
    (file_as_work_dir, Unwritable, r"work: cannot be created, .*work is a file"),
    (gaia_without_ids, BadTable, r"missing required column: source_id"),
]


def title(value: object) -> str:
    return getattr(value, "__name__", str(value))[:40]


def assert_has_remedy(text: str) -> None:
    """Check that the message ends with what to do, behind a semicolon."""
    (line,) = text.splitlines()
    _, _, remedy = line.rpartition("; ")
    assert len(remedy.split()) >= 2, text
    assert remedy != line, text


@pytest.mark.parametrize(("spoil", "kind", "message"), MISTAKES, ids=title)
def test_a_mistake_stops_before_any_work(
    small_tile: Path, spoil: Callable[[Path], object], kind: type[UserMistake], message: str
) -> None:
    spoil(small_tile)
    with pytest.raises(kind, match=message) as caught:
        run_tile(small_tile / "config.yaml", executor="serial")
    assert isinstance(caught.value, UserMistake)
    assert_has_remedy(str(caught.value))
    assert not (small_tile / "work").is_dir(), "nothing may be written"


@pytest.mark.parametrize(
    ("settings", "kind", "message"),
    [
        ({"crop": {"margin": 100}}, WrongValue, "crop.margin = 100 leaves nothing"),
        ({"epsf": {"epsf_ngrid": 300}}, WrongValue, "epsf_ngrid too fine for 200 pixels"),
        ({"epsf": {"ngrid": 101}}, WrongValue, "ngrid too fine"),
        ({"inputs": {"input_catalog": "path/to/input_catalog.csv"}}, ConfigError, "is not set"),
    ],
)
def test_settings_that_do_not_fit_the_images_are_refused(
    small_tile: Path,
    edit: Edit,
    settings: dict[str, dict[str, object]],
    kind: type[UserMistake],
    message: str,
) -> None:
    edit(small_tile, **settings)
    with pytest.raises(kind, match=message) as caught:
        run_tile(small_tile / "config.yaml", executor="serial")
    assert_has_remedy(str(caught.value))
    assert not (small_tile / "work").exists()


def test_all_mistakes_are_told_at_once(small_tile: Path) -> None:
    header(small_tile, FILTER=None, EGAIN=0.0)
    header(small_tile, "images/sim_m825.fits", ZP_AUTO=None)
    cell(small_tile, 4, "ID", "00001")
    file_as_work_dir(small_tile)
    with pytest.raises(BadHeader) as caught:
        run_tile(small_tile / "config.yaml", executor="serial")
    text = str(caught.value)
    for part in ("FILTER", "EGAIN", "sim_m825.fits", "IDs are not unique", "work is a file"):
        assert part in text
    assert len(text.splitlines()) == 5  # FILTER and EGAIN of one file are two of them


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write everywhere")
def test_a_directory_without_permission_is_told(small_tile: Path, edit: Edit) -> None:
    closed = small_tile / "closed"
    closed.mkdir(mode=0o500)
    edit(small_tile, outputs={"work_dir": "closed/work"})
    with pytest.raises(Unwritable, match="closed is not writeable"):
        run_tile(small_tile / "config.yaml", executor="serial")


def test_too_small_cells_are_warned_of(
    small_tile: Path, edit: Edit, caplog: pytest.LogCaptureFixture
) -> None:
    edit(small_tile, epsf={"epsf_ngrid": 3})
    run_tile(small_tile / "config.yaml", "build-patches", executor="serial")
    (text,) = [m for m in caplog.messages if "ePSF cells" in m]
    assert "only 66 pixels" in text
    assert "keep 40 pixels" in text


def test_pixels_that_cannot_be_read_stop_the_run(
    small_tile: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The headers are fine, the tiles of the compressed image are rubbish."""
    path = small_tile / IMAGE
    with fits.open(path) as hdus:
        packed = fits.CompImageHDU(np.asarray(hdus[0].data, np.float32), hdus[0].header)
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path, overwrite=True)
    data = bytearray(path.read_bytes())
    data[-40_000:-3_000] = np.random.default_rng(1).bytes(37_000)
    path.write_bytes(bytes(data))
    config = str(small_tile / "config.yaml")
    assert main(["tile", "run", "--config", config, "-q", "--executor", "serial"]) == 2
    assert "sim_m625.fits" in capsys.readouterr().err
    assert not (small_tile / "work" / "output_catalog.csv").exists()


@pytest.mark.parametrize("value", [0.0, 3.5])
def test_an_image_that_is_the_same_everywhere_stops_the_run(
    small_tile: Path, capsys: pytest.CaptureFixture[str], value: float
) -> None:
    with fits.open(small_tile / IMAGE, mode="update") as hdus:
        hdus[0].data[:] = value
    config = str(small_tile / "config.yaml")
    assert main(["tile", "run", "--config", config, "-q", "--executor", "serial"]) == 2
    told = capsys.readouterr().err
    assert f"sim_m625.fits[0]: all pixels of the working frame are {value:g}" in told
    assert "make it again, or take it off the image list" in told
    assert not (small_tile / "work" / "output_catalog.csv").exists()
