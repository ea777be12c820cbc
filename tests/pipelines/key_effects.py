"""A small tile that is run once, and again with one setting changed: what becomes different?

Only the stages that a changed setting concerns are done again, so that a setting costs a fraction
of a second.
"""

from __future__ import annotations

import csv
import dataclasses
import hashlib
import json
import shutil
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import numpy as np
import yaml

from skyloom.pipelines.tile import VERBS, Verb, run_tile
from skyloom.sim import demo_config, simulate_tile, write_tile

Settings = Mapping[str, object]

# What `meta.json` repeats of the settings is no effect.
ECHOES = ("cfg", "psfstar_mode", "gaia_snap_to_sep", "gaia_mag_min", "gaia_mag_max")
PRODUCTS = {".csv", ".json", ".parquet", ".fits", ".npy", ".npz", ".png"}
SETTINGS = {
    "epsf": {"epsf_ngrid": 1, "ngrid": 1, "edge_pad": 0},
    "crop": {"margin": 4},
    "plotting": {"dpi": 50},
    # what the tests of these settings switch on costs time in all the others
    "skyloom": {"plots": "none", "psf_loops": 0, "fit_passes": 2, "model_choice": "catalog"},
}


def write_small_tile(folder: Path) -> Path:
    """Write a tile of 240 pixels and two bands; some rows lack what others have."""
    config = demo_config(size=240, n_sources=40)
    config = dataclasses.replace(
        config,
        bands=config.bands[:2],
        n_saturated=1,
        n_uncatalogued=2,
        star_fraction=0.6,
        star_mag=(14.7, 18.5),
    )
    write_tile(simulate_tile(config, np.random.default_rng(8)), folder, settings=SETTINGS)
    path = folder / "input_catalog.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    galaxies = [row for row in rows if row["TYPE"] != "STAR"]
    galaxies[0]["TYPE"] = "GAL"  # gets gal_model
    galaxies[1]["Re"] = ""  # gets re_fallback_pix
    galaxies[2] |= {"TYPE": "SERSIC", "SERSIC_n": ""}  # gets sersic_n_init
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
    return folder


def nested(settings: Settings) -> dict[str, Any]:
    """Return ``{"a.b": 1}`` as ``{"a": {"b": 1}}``."""
    out: dict[str, Any] = {}
    for key, value in settings.items():
        *path, name = key.split(".")
        place = out
        for part in path:
            place = place.setdefault(part, {})
        place[name] = value
    return out


class Bench:
    """The folder of a tile that was run, and what its products are with some settings."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.work = folder / "work"
        self._known: dict[str, dict[str, str]] = {}

    @classmethod
    def copy_of(cls, original: Path, folder: Path) -> Bench:
        """Return a copy of a finished tile."""
        bench = cls(Path(shutil.copytree(original, folder)))
        for verb in VERBS:
            bench._known[f"{verb} {{}}"] = bench.products()
        return bench

    def run(self, verb: Verb, settings: Settings) -> None:
        """Run a verb with some settings of the tile changed."""
        path = self.write(settings)
        result = run_tile(path, verb, executor="serial", progress="quiet")
        assert result.exit_status == 0, result.failures

    def write(self, settings: Settings) -> Path:
        """Write the tile's configuration with some settings changed."""
        config = yaml.safe_load((self.folder / "config.yaml").read_text(encoding="utf-8"))
        for section, values in nested(settings).items():
            config.setdefault(section, {}).update(values)
        path = self.folder / "changed.yaml"
        path.write_text(yaml.safe_dump(config), encoding="utf-8")
        return path

    def products(self) -> dict[str, str]:
        """Return the digests of all products."""
        found = [p for p in sorted(self.work.rglob("*")) if p.suffix in PRODUCTS]
        return {path.relative_to(self.work).as_posix(): digest(path) for path in found}

    def difference(
        self, verb: Verb, pattern: str, settings: Settings, given: Settings | None = None
    ) -> set[str]:
        """Return the products that become new or different when settings are added."""
        given = given or {}
        name = f"{verb} {json.dumps(given)}"
        if name not in self._known:
            self.run(verb, given)
            self._known[name] = self.products()
        before = self._known[name]
        self.run(verb, {**given, **settings})
        after = {n: d for n, d in self.products().items() if PurePosixPath(n).match(pattern)}
        assert after, f"no product matches {pattern}"
        return {n for n, d in after.items() if before.get(n) != d}


def digest(path: Path) -> str:
    content = path.read_bytes()
    if path.suffix == ".json":
        values = json.loads(content)
        if isinstance(values, dict):
            values = {name: v for name, v in values.items() if name not in ECHOES}
        content = json.dumps(values).encode()
    return hashlib.sha256(content).hexdigest()
