"""A tile whose noise doubles over the field: where it is known, pulls have width one everywhere."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits

from skyloom.catalogs import column_as_float, read_csv
from skyloom.pipelines.tile import run_tile
from skyloom.sim import demo_config, read_truth, simulate_tile, write_tile
from skyloom.sim.assess import assess_tile, match_truth

SIZE = 640
QUIET = 0.2  # of the final noise is in the simulation; the rest is added
SETTINGS = {
    "epsf": {"epsf_ngrid": 1, "ngrid": 2, "edge_pad": 0},
    "crop": {"margin": 4},
    "skyloom": {"plots": "none", "psf_loops": 1, "fit_passes": 2, "model_choice": False},
}


@pytest.fixture(scope="module")
def tile(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write isolated stars on a noise that grows from 2/3 to 4/3 of SKYSIG from left to right."""
    config = demo_config(size=SIZE, n_sources=400)
    bands = tuple(dataclasses.replace(b, sky_sigma=QUIET * b.sky_sigma) for b in config.bands)
    config = dataclasses.replace(
        config,
        bands=bands,
        star_fraction=1.0,
        blend_fraction=0.0,
        min_separation=17.0,
        position_error=0.02,
        psf_variation=0.0,
        psf_shear=0.0,
    )
    rng = np.random.default_rng(21)
    made = simulate_tile(config, rng)
    folder = write_tile(made, tmp_path_factory.mktemp("noise") / "tile", settings=SETTINGS).parent
    factor = np.broadcast_to(np.linspace(2 / 3, 4 / 3, SIZE), (SIZE, SIZE))
    for band in bands:
        sigma = band.sky_sigma / QUIET * factor
        with fits.open(folder / f"images/sim_{band.name}.fits", mode="update") as hdus:
            added = rng.normal(0, np.sqrt(sigma**2 - band.sky_sigma**2))
            hdus[0].data += added.astype(np.float32)
            hdus[0].header["SKYSIG"] = band.sky_sigma / QUIET
        fits.PrimaryHDU(sigma.astype(np.float32)).writeto(folder / f"rms_{band.name}.fits")
    return folder


def widths(folder: Path, **skyloom: object) -> tuple[float, float, float]:
    """Run; return the widths of the pulls of faint stars left and right, and their error."""
    config = yaml.safe_load((folder / "config.yaml").read_text(encoding="utf-8"))
    config["skyloom"].update(skyloom)
    path = folder / "changed.yaml"
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    assert run_tile(path, progress="quiet", executor="serial").exit_status == 0
    catalog, truth = read_csv(folder / "work/output_catalog.csv"), read_truth(folder)
    catalog = catalog[np.isfinite(column_as_float(catalog, "fit_flags"))]
    fluxes = assess_tile(catalog, truth, bands=bands(folder)).fluxes
    rows, true = match_truth(catalog, truth)
    x = dict(zip(np.asarray(catalog["ID"])[rows], np.asarray(truth["x"])[true], strict=True))
    place = np.array([x[name] for name in fluxes["ID"]])
    snr, pull = np.asarray(fluxes["snr"]), np.asarray(fluxes["pull"])
    faint = (snr > 3) & (snr < 50) & (np.abs(pull) < 5)
    left, right = faint & (place < SIZE / 2 - 30), faint & (place > SIZE / 2 + 30)
    fewest = min(left.sum(), right.sum())
    return float(pull[left].std()), float(pull[right].std()), 1 / np.sqrt(2 * fewest)


def bands(folder: Path) -> list[str]:
    return [path.stem.removeprefix("rms_") for path in sorted(folder.glob("rms_*.fits"))]


@pytest.mark.parametrize("how", ["rms_map", "measured", "auto"])
def test_pulls_have_width_one_where_the_noise_is_known(tile: Path, how: str) -> None:
    maps = {band: {"rms_map": f"rms_{band}.fits"} for band in bands(tile)}
    settings = {"images": maps} if how == "rms_map" else {"noise": how}
    left, right, error = widths(tile, **settings)
    assert error < 0.05
    assert left == pytest.approx(1.0, abs=3 * error)
    assert right == pytest.approx(1.0, abs=3 * error)


def test_one_number_for_the_noise_is_wrong_on_both_sides(tile: Path) -> None:
    left, right, error = widths(tile, noise="stated")
    # the means of both halves are 0.81 and 1.19 times SKYSIG
    assert left < 1.0 - 2 * error
    assert right > 1.0 + 2 * error
    assert right / left == pytest.approx(1.19 / 0.81, abs=3 * 1.5 * error)
