"""Types that a catalogue has wrong, on the hard tile: how many come back, and with which fluxes.

A mistake is clear where a star and a galaxy were exchanged, or where the fixed index of the
catalogue's type is wrong by a factor of two, at a total S/N above 30.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("galsim", reason="GalSim draws the truth tiles (test extra)")

from hard_numbers import read_catalog
from hard_tile import HardTile, hard_config, make_hard_tile

from skyloom.pipelines.tile import run_tile
from skyloom.sim import read_band_truth, read_truth

INDEX = {"EXP": 1.0, "DEV": 4.0}
CLIP = 10.0  # sigma: how far off a source is beyond that does not matter


@dataclass(frozen=True, kw_only=True)
class TypeNumbers:
    """What became of wrong and right types, S/N above 30."""

    n_clear: int
    mended: float  # share of the clear mistakes
    n_false: int  # right types that were changed and whose flux became worse
    wrong: float  # rms pull of clear mistakes
    right: float  # of right types


def type_numbers(folder: Path) -> TypeNumbers:
    """Measure a finished run with `auto`."""
    catalog = read_catalog(folder / "work" / "output_catalog.csv")
    truth = read_truth(folder)
    place = {str(name): row for row, name in enumerate(truth["ID"])}
    truth = truth[[place[str(name)] for name in catalog["ID"]]]
    snr = numbers(catalog, "fit_snr")
    bright = snr > 30.0
    before = np.char.upper(np.asarray(catalog["type_catalog"]).astype(str))
    after = np.char.upper(np.asarray(catalog["stype_fit"]).astype(str))
    changed = np.asarray(catalog["type_changed"]).astype(str) == "True"
    true = np.asarray(truth["TYPE"]).astype(str)
    exchanged = (before == "STAR") != (true == "STAR")
    given = np.array([INDEX.get(name, np.nan) for name in before])
    with np.errstate(invalid="ignore"):
        off = np.abs(np.log(numbers(truth, "sersic_n") / given)) > np.log(2.0)
    wrong = np.asarray(truth["wrong_type"]).astype(str) == "True"
    clear = bright & wrong & (exchanged | off)
    is_good = ((after == "STAR") == (true == "STAR")) & (after != before)
    pull = pulls(catalog, truth, [str(b) for b in read_band_truth(folder)["band"]])
    # a faint row with no positive flux has no magnitude, and is not bright
    seen = np.isfinite(pull).sum(axis=0)
    size = np.sqrt(np.nansum(np.clip(pull, -CLIP, CLIP) ** 2, axis=0) / np.maximum(seen, 1))
    size[seen == 0] = np.nan

    def rms(rows: np.ndarray) -> float:
        return float(np.sqrt(np.mean(size[rows] ** 2)))

    return TypeNumbers(
        n_clear=int(clear.sum()),
        mended=float(is_good[clear].mean()),
        n_false=int((changed & ~wrong & (size > 2.0)).sum()),
        wrong=rms(clear),
        right=rms(bright & ~wrong),
    )


def numbers(table, name: str) -> np.ndarray:
    return np.ma.filled(np.ma.asarray(table[name], dtype=float), np.nan)


def pulls(catalog, truth, bands: list[str]) -> np.ndarray:
    """Return (measured - true) / error of the calibrated fluxes, shape (bands, n)."""
    out = []
    for band in bands:
        flux, error, mag = (numbers(catalog, f"{n}_{band}_fit") for n in ("FLUX", "FLUXERR", "MAG"))
        out.append(flux * (1.0 - 10 ** (0.4 * (mag - numbers(truth, f"mag_{band}")))) / error)
    return np.array(out)


def measure(folder: Path, seed: int, *, wrong: float, **size: int) -> TypeNumbers:
    hard = HardTile(on=frozenset({"types"}), config=hard_config(**size), wrong=wrong)
    settings = {"skyloom": {"model_choice": "auto", "plots": "none"}}
    config = make_hard_tile(folder, hard, seed=seed, settings=settings)
    assert run_tile(config, executor="serial", progress="quiet").exit_status == 0
    return type_numbers(folder)


def check(found: TypeNumbers) -> None:
    assert found.mended >= 0.9, found
    # three standard errors of the rms; profiles that noise confuses cost a quarter
    assert found.wrong < 1.25 * found.right * (1 + 3 / np.sqrt(2 * found.n_clear)), found
    assert found.n_false <= 1, found


def test_clear_mistakes_of_a_small_tile_are_mended(tmp_path):
    found = measure(tmp_path, 4, wrong=0.3, size=384, bands=2)
    assert found.n_clear >= 8
    check(found)


@pytest.mark.soak
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_clear_mistakes_of_a_tile_are_mended(seed, tmp_path):
    found = measure(tmp_path, seed, wrong=0.1)
    assert found.n_clear >= 20
    check(found)
