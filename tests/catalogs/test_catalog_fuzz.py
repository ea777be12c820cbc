"""Damaged catalogues: one documented error, whatever is wrong, and at once."""

from __future__ import annotations

import faulthandler
import warnings
from pathlib import Path

import numpy as np
import pytest
from catalog_tools import write_version
from test_catalog_files import ldac, made

from skyloom.catalogs import HeavyFootprint, SourceCatalog, SpanSet, read_length, read_schema
from skyloom.errors import UnreadableFile

KEYWORDS = [
    b"NAXIS1", b"NAXIS2", b"PCOUNT", b"TFIELDS", b"AR_HDU", b"AR_NCAT", b"FLAGCOL", b"THEAP",
    b"TZERO", b"TFORM",
]  # fmt: skip
LIMIT = 20.0  # s for one file of some kB; a hang ends the run


def originals(folder: Path) -> dict[str, bytes]:
    """Return whole files of every format."""
    sources = made(6)
    for row in range(3):
        spans = SpanSet.circle(3, x=20 * row, y=5)
        sources[row].footprint = HeavyFootprint(spans, image=np.arange(spans.area, dtype="f4"))
    sources.write(folder / "heavy.fits")
    plain = sources.without(*[f.name for f in sources.schema if f.info.dtype.startswith("c")])
    plain.write(folder / "plain.parquet")
    plain.without("variable", "numbers").write(folder / "plain.csv")
    ldac(folder / "sex.ldac")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy on long keywords
        for version in (0, 1):
            write_version(folder / f"v{version}.fits", version)
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def damaged(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with one thing wrong, or several."""
    array = bytearray(data)
    kind = rng.integers(6)
    if kind == 0:  # cut off
        return bytes(array[: rng.integers(len(array))])
    if kind == 1:  # single bytes
        for at in rng.integers(len(array), size=rng.integers(1, 40)):
            array[at] = rng.integers(256)
    elif kind == 2:  # single bytes of the headers, which are text
        for _ in range(rng.integers(1, 12)):
            at = int(rng.integers(min(len(array), 30_000)))
            array[at] = rng.choice(np.frombuffer(b"0123456789 '/=PQXADEJKI-+.,():&TF", np.uint8))
    elif kind == 3:  # numbers of the headers
        for _ in range(rng.integers(1, 4)):
            keyword = rng.choice(KEYWORDS)
            places = [i for i in range(0, len(array), 80) if array[i : i + 80].startswith(keyword)]
            if places:
                at = int(rng.choice(places))
                value = int(rng.integers(-5, 10) * 10 ** int(rng.integers(19)))
                array[at + 8 : at + 30] = f"= {value:>20}".encode()
    elif kind == 4:  # a piece is missing
        start = int(rng.integers(len(array)))
        del array[start : start + int(rng.integers(1, 5000))]
    else:  # a piece is written twice
        start = int(rng.integers(len(array)))
        piece = array[start : start + int(rng.integers(1, 5000))]
        at = int(rng.integers(len(array)))
        array[at : at + len(piece)] = piece
    return bytes(array)


def read_all(path: Path) -> None:
    """Use everything that a catalogue has."""
    sources = SourceCatalog.read(path)
    assert len(sources) == read_length(path)
    assert read_schema(path).names == sources.schema.names
    str(sources.schema)
    for src in sources[:8]:
        for field in sources.schema:
            src.get(field.name)
        try:
            if src.footprint is not None:
                _ = src.footprint.area, src.footprint.box
        except UnreadableFile as error:
            if str(path) not in str(error):
                raise


def fuzz(folder: Path, n: int, seed: int) -> tuple[int, int]:
    files = originals(folder)
    rng = np.random.default_rng(seed)
    refused = 0
    for number in range(n):
        name = str(rng.choice(list(files)))
        path = folder / f"damaged_{name}"
        path.write_bytes(damaged(files[name], rng))
        faulthandler.dump_traceback_later(LIMIT, exit=True)
        try:
            read_all(path)
        except UnreadableFile as error:
            if str(path) not in str(error):
                pytest.fail(f"file {number} of seed {seed}: {error} does not name {path}")
            refused += 1
        except Exception as error:
            keep = Path(folder) / f"kept_{number}_{name}"
            keep.write_bytes(path.read_bytes())
            pytest.fail(f"file {number} of seed {seed} ({keep}): {type(error).__name__}: {error}")
        finally:
            faulthandler.cancel_dump_traceback_later()
    return refused, n


def test_damaged_files_raise_one_error(tmp_path):
    refused, n = fuzz(tmp_path, 200, seed=1)
    assert 0.3 * n < refused < n  # some damage cannot be seen: it changes a value


@pytest.mark.soak
def test_many_damaged_files_raise_one_error(tmp_path):
    refused, n = fuzz(tmp_path, 2000, seed=2)
    assert 0.3 * n < refused < n


@pytest.mark.parametrize("name", ["a.fits", "a.parquet", "a.ldac"])
@pytest.mark.parametrize("content", [b"", b"\0" * 5000, b"SIMPLE  =", b"PAR1", b"\x1f\x8b\x08"])
def test_what_is_no_catalogue_at_all(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    for reader in (SourceCatalog.read, read_length, read_schema):
        with pytest.raises(UnreadableFile, match=name):
            reader(tmp_path / name)
