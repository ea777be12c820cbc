"""Damaged files: whatever is wrong with them, one documented error says so, and soon."""

from __future__ import annotations

import time
import warnings

import numpy as np
import pytest
from afw_tools import coadd_objects, kernel_psf, real, sample
from astropy.io import fits

from skyloom.errors import MissingComponent, NotCalibrated, OutsideImage, UnreadableFile
from skyloom.images import COMPONENTS, Exposure, Mask, MaskedImage, read_component, read_metadata
from skyloom.images.afw.archive import Archive
from skyloom.images.afw.decode import Decoder

DOCUMENTED = (UnreadableFile, MissingComponent, NotCalibrated, OutsideImage)
LONGEST = 5.0  # s per file; a healthy one takes 0.05 s
PARTS = ("image", "variance", *COMPONENTS)
CARD, BLOCK = 80, 2880
VALUES = (b"-1", b"0", b"3", b"99999", b"1E400", b"'text'", b"T", b"", b"NaN", b"2147483648", b"&")


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """Bytes of healthy files of several kinds."""
    folder = tmp_path_factory.mktemp("fuzz")
    exposure = sample(30, 20)
    exposure.psf = kernel_psf(side=5)
    exposure.write(folder / "plain.fits")
    exposure.write(folder / "packed.fits", is_compressed=True)
    old = [
        fits.PrimaryHDU(exposure.image.array),
        fits.ImageHDU(exposure.mask.array.astype(np.uint16)),
        fits.ImageHDU(exposure.variance.array),
    ]
    for hdu, kind in zip(old, ("IMAGE", "MASK", "VARIANCE"), strict=True):
        hdu.header["EXTTYPE"] = kind
    old[1].header["MP_BAD"] = 0
    fits.HDUList(old).writeto(folder / "old.fits")
    rice = [
        fits.CompImageHDU(plane, name=kind, compression_type="RICE_1", tile_shape=(10, 30))
        for plane, kind in (
            (exposure.image.array[5:], "IMAGE"),
            (exposure.mask.array[5:], "MASK"),
            (exposure.variance.array[5:], "VARIANCE"),
        )
    ]
    rice[1].header["MP_BAD"] = 0
    fits.HDUList([fits.PrimaryHDU(), *rice]).writeto(folder / "rice.fits")
    archive = Archive.empty().extended(
        [(i, name, "", parts) for i, name, parts in coadd_objects(kernel_psf(side=5))]
    )
    primary = fits.PrimaryHDU()
    primary.header["AR_HDU"], primary.header["PSF_ID"], primary.header["WCS_ID"] = 3, 100, 90
    fits.HDUList([primary, fits.ImageHDU(exposure.image.array)]).writeto(folder / "coadd.fits")
    with (folder / "coadd.fits").open("ab") as file:
        file.write(archive.to_bytes())
    return [path.read_bytes() for path in sorted(folder.iterdir())]


def header_cards(data: bytes) -> list[int]:
    """Return where cards with a value start; text in pixels does not matter."""
    starts = range(0, len(data), CARD)
    return [i for i in starts if data[i + 8 : i + 10] == b"= " or data[i : i + 9] == b"HIERARCH "]


def mutated(data: bytes, rng: np.random.Generator) -> bytes:
    """Return a file with some damage."""
    damaged = bytearray(data)
    kind = rng.integers(6)
    where = header_cards(data)
    if kind == 0:  # bytes anywhere
        for _ in range(rng.integers(1, 20)):
            damaged[rng.integers(len(damaged))] = rng.integers(256)
    elif kind == 1:  # cut off
        del damaged[rng.integers(len(damaged)) :]
    elif kind == 2:  # another value
        for _ in range(rng.integers(1, 4)):
            at = where[rng.integers(len(where))]
            equals = data.index(b"=", at)
            value = VALUES[rng.integers(len(VALUES))]
            room = at + CARD - equals - 2
            damaged[equals + 2 : at + CARD] = value.rjust(20).ljust(room)[:room]
    elif kind == 3:  # another digit
        for _ in range(rng.integers(1, 4)):
            at = where[rng.integers(len(where))]
            digits = [i for i in range(at, at + CARD) if chr(data[i]).isdigit()]
            if digits:
                damaged[digits[rng.integers(len(digits))]] = ord("0") + rng.integers(10)
    elif kind == 4:  # a card is lost, another is there twice
        first, second = (where[i] for i in rng.integers(len(where), size=2))
        damaged[first : first + CARD] = data[second : second + CARD]
    else:  # a piece is lost
        at = int(rng.integers(len(damaged)))
        del damaged[at : at + int(rng.integers(1, 2 * BLOCK))]
    return bytes(damaged)


def use_everything(path, names=PARTS) -> int:
    """Read a file in all ways; return how many of them said that it is damaged."""
    refused = 0

    def attempt(read):
        nonlocal refused
        says_where = False
        try:
            return read()
        except UnreadableFile as error:
            refused += 1
            says_where = str(path) in error.message and error.file == str(path)
        except DOCUMENTED:
            says_where = True
        assert says_where

    exposure = attempt(lambda: Exposure.read(path))
    attempt(lambda: read_metadata(path))
    attempt(lambda: MaskedImage.read(path))
    attempt(lambda: Mask.read(path))
    for name in names:
        attempt(lambda name=name: read_component(path, name))
    if exposure is not None:
        archive = exposure.stored.archive
        for id_ in attempt(lambda: list(archive.entries) if archive else []) or []:
            attempt(lambda id_=id_: Decoder(archive).get(id_))
        attempt(lambda: [getattr(exposure, name) for name in COMPONENTS])
    return refused


def fuzz(originals, path, count, seed):
    rng = np.random.default_rng(seed)
    n_refused, slowest = 0, 0.0
    for i in range(count):
        path.write_bytes(mutated(originals[i % len(originals)], rng))
        start = time.perf_counter()
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            n_refused += use_everything(path, [PARTS[i % len(PARTS)]]) > 0
        slowest = max(slowest, time.perf_counter() - start)
    assert slowest < LONGEST
    return n_refused


def test_healthy_files_are_not_refused(originals, tmp_path):
    for data in originals:
        (tmp_path / "f.fits").write_bytes(data)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert use_everything(tmp_path / "f.fits") == 0


def test_damaged_files_are_refused_with_one_error(originals, tmp_path):
    n_refused = fuzz(originals, tmp_path / "f.fits", 200, seed=1)
    assert n_refused > 40  # damage of pixels cannot be seen; that of structure is


@pytest.mark.soak
def test_two_thousand_damaged_files(originals, shared_data, tmp_path):
    names = ("exposure-version-2.fits", "HSC-0908120-056-small.fits", "parent.fits")
    files = [*originals, *(real(shared_data, name).read_bytes() for name in names)]
    assert fuzz(files, tmp_path / "f.fits", 2000, seed=2) > 400
