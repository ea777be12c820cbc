"""Catalogues of any format, told by their content."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table

from skyloom.catalogs import read_table, write_csv, write_fits_table, write_parquet
from skyloom.errors import BadTable, MissingFile, UnreadableFile

TABLE = Table({"ID": ["007", "8"], "RA": [1.5, 2.5], "DEC": [-1.0, 1.0]})


def write_ldac(path: Path, *, cards: str, shape: bool = True) -> None:
    """Write a catalogue as SExtractor does: the header of the image in a table of its own."""
    array = np.array([[cards[i : i + 80] for i in range(0, len(cards), 80)]])
    if not shape:  # some programs leave TDIM out
        array = np.array([cards])
    n = len(cards) // 80
    dim = f"(80, {n})" if shape else None
    head = fits.Column("Field Header Card", format=f"{80 * n}A", dim=dim, array=array)
    objects = fits.BinTableHDU(Table({"NUMBER": [1, 2], "MAG_AUTO": [20.0, 21.0]}))
    objects.name = "LDAC_OBJECTS"
    parts = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([head], name="LDAC_IMHEAD"), objects]
    fits.HDUList(parts).writeto(path)


@pytest.mark.parametrize(
    ("name", "write", "form"),
    [
        ("a.csv", write_csv, "CSV"),
        ("a.dat", write_csv, "CSV"),
        ("a.parquet", write_parquet, "Parquet"),
        ("a.fits", write_fits_table, "FITS table, HDU 1"),
        ("a.cat", write_fits_table, "FITS table, HDU 1"),
    ],
)
def test_the_content_tells_the_format(tmp_path: Path, name, write, form) -> None:
    write(TABLE, tmp_path / name)
    table = read_table(tmp_path / name)
    assert table.meta["format"] == form
    assert [str(i) for i in table["ID"]] == ["007", "8"]
    assert np.asarray(table["RA"], dtype=float).tolist() == [1.5, 2.5]


def test_ecsv_and_packed_fits(tmp_path: Path) -> None:
    TABLE.write(tmp_path / "a.txt", format="ascii.ecsv")
    assert read_table(tmp_path / "a.txt").meta["format"] == "ECSV"
    fits.BinTableHDU(TABLE).writeto(tmp_path / "a.fits.gz")
    assert len(read_table(tmp_path / "a.fits.gz")) == 2


@pytest.mark.parametrize("shape", [True, False], ids=["TDIM", "one long string"])
def test_ldac_objects_and_the_header_of_their_image(tmp_path: Path, shape: bool) -> None:
    cards = fits.Header([("FILTER", "r.MP9602"), ("GAIN", 1.5)]).tostring(padding=False)
    write_ldac(tmp_path / "a.cat", cards=cards, shape=shape)
    table = read_table(tmp_path / "a.cat")
    assert table.meta["format"] == "FITS_LDAC, HDU 2"
    assert table.meta["header"] == {"FILTER": "r.MP9602"}
    assert table["NUMBER"].tolist() == [1, 2]


def test_another_hdu_is_named_in_brackets(tmp_path: Path) -> None:
    parts = [fits.PrimaryHDU(), fits.BinTableHDU(TABLE[:1]), fits.BinTableHDU(TABLE)]
    fits.HDUList(parts).writeto(tmp_path / "a.fits")
    assert len(read_table(tmp_path / "a.fits")) == 1
    assert len(read_table(f"{tmp_path / 'a.fits'}[2]")) == 2
    with pytest.raises(BadTable, match=r"a\.fits\[0\]: this HDU is no table; the file has 0 PRI"):
        read_table(f"{tmp_path / 'a.fits'}[0]")


def test_what_cannot_be_read_says_so(tmp_path: Path) -> None:
    with pytest.raises(MissingFile, match="no such file"):
        read_table(tmp_path / "none.fits")
    with pytest.raises(UnreadableFile, match="a directory"):
        read_table(tmp_path)
    image = tmp_path / "image.fits"
    fits.PrimaryHDU(np.zeros((4, 4))).writeto(image)
    with pytest.raises(BadTable, match=r"no HDU is a table .* give a catalogue, not an image"):
        read_table(image)
    broken = tmp_path / "broken.fits"
    fits.BinTableHDU(Table({"RA": np.zeros(5000)})).writeto(broken)
    broken.write_bytes(broken.read_bytes()[:6000])
    with pytest.raises(UnreadableFile, match=r"broken\.fits"):
        read_table(broken)
    (tmp_path / "a.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(UnreadableFile, match=r"a\.parquet"):
        read_table(tmp_path / "a.parquet")
    (tmp_path / "a.cat").write_text("#   1 NUMBER  number\n#   2 X_IMAGE  x [pixel]\n1 2\n2\n")
    with pytest.raises(BadTable, match=r"a\.cat, line 4: 1 cells, but the first row has 2"):
        read_table(tmp_path / "a.cat")


def test_real_sextractor_text(shared_data: Path) -> None:
    table = read_table(shared_data / "sep_reference" / "image.cat")
    assert table.meta["format"] == "SExtractor ASCII_HEAD"
    assert len(table) == 65
    assert table["X_IMAGE"][0] == pytest.approx(165.1449, abs=1e-9)  # as printed in the file
