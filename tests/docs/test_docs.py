"""The examples of the documentation run as they stand."""

from __future__ import annotations

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from skyloom import load_config
from skyloom.cli import main
from skyloom.pipelines.tile import TileConfig
from skyloom.psf import MoffatPsf
from skyloom.scene import SceneImage, Sources, render_scene

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    text = (DOCS / page).read_text()
    return re.findall(rf"^```{language}\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)


def run_commands(block: str) -> None:
    for line in block.splitlines():
        words = line.split("#")[0].split()
        assert words[0] == "skyloom", shlex.join(words)
        assert main(words[1:]) == 0


@pytest.fixture(scope="module")
def tutorial(tmp_path_factory):
    """Folder in which the tile tutorial has run."""
    folder = tmp_path_factory.mktemp("tutorial")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        for block in blocks("tile.md", "sh"):
            run_commands(block)
    return folder


def test_tile_tutorial(tutorial):
    assert (tutorial / "field" / "work" / "output_catalog.csv").is_file()
    assert (tutorial / "field" / "detected.csv").is_file()
    assert list((tutorial / "field" / "work").glob("outputs/*/cutouts/src_*.png"))


def test_compare_tutorial(tutorial, monkeypatch):
    monkeypatch.chdir(tutorial)
    run_commands(blocks("compare.md", "sh")[0])
    numbers = json.loads((tutorial / "truth" / "summary.json").read_text())
    assert numbers["matched"] > 200  # of 243 sources
    for band in numbers["bands"]:
        assert abs(band["pull"]["mean"]) < 0.3  # 230 pulls: 0.07, four of these
        assert 0.8 < band["pull"]["width"] < 1.25  # 0.08 each
    scope: dict[str, object] = {}
    exec(blocks("compare.md", "python")[0], scope)  # our own page
    assert scope["found"].shapes is not None


def test_engine_tutorial(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks("scene.md", "python"):
        exec(block, scope)  # our own page
    fit, flux, truth = scope["fit"], scope["flux"], scope["truth"]
    pull = (fit.flux - flux) / fit.flux_err
    assert np.all(np.abs(pull) < 4.0)  # one realisation of noise, four sigma
    assert 0.5 < pull.std() < 1.5  # sixteen pulls: 1 within 0.18, three of these
    assert np.all(np.hypot(fit.x - truth["x"], fit.y - truth["y"]) < 0.3)  # pix, starts are 0.6 off
    assert not fit.flags.any()
    assert (tmp_path / "scene_fit.png").stat().st_size < 150_000
    totals, forced = scope["totals"], scope["forced"]
    assert np.all(np.abs(totals.flux[-1] - [16000.0, 23000.0]) < 4.0 * totals.flux_err[-1])
    off = totals.bulge_fraction[-1] - [4 / 16, 9 / 23]
    assert np.all(np.abs(off) < 4.0 * totals.bulge_fraction_err[-1])
    assert np.all(np.abs(forced.flux - flux) < 4.0 * forced.flux_err)
    assert np.all(forced.flux_err < 1.001 * fit.flux_err)  # fewer free parameters


def test_engine_in_ten_lines():
    scope: dict[str, object] = {}
    exec(blocks("scene.md", "python")[0], scope)
    psf = MoffatPsf(fwhm_pix=3.5)
    blank = np.zeros((64, 80), np.float32)
    image = SceneImage(data=blank, ivar=np.full_like(blank, 0.04), psf=psf)
    truth = Sources.from_table({
        "x": [30.2, 38.7], "y": [31.0, 33.4], "type": ["STAR", "EXP"], "r": [0.0, 2.5],
    })  # fmt: skip
    flux = np.array([3000.0, 5000.0])
    data = render_scene([image], truth, flux[:, None])[0]
    data += np.random.default_rng(1).normal(0, 5.0, data.shape).astype(np.float32)
    table, residual = scope["measure"](data, 5.0, psf.basis[0])
    assert np.all(np.abs(table["flux_r"] - flux) < 4.0 * table["flux_err_r"])  # four sigma
    assert abs(residual.std() / 5.0 - 1.0) < 0.05  # 5120 pixels: 0.01
    lines = blocks("scene.md", "python")[0].splitlines()
    assert len([line for line in lines if line.strip()]) <= 12  # with its imports


def test_the_example_of_the_conventions_runs(capsys):
    exec(blocks("conventions.md", "python")[0], {})  # our own page
    # sqrt(4 x 2), and (4 - 2) / (4 + 2) along y
    assert capsys.readouterr().out.split() == ["[2.828]", "[-0.333]", "[0.]"]


def test_noise_of_an_image():
    scope: dict[str, object] = {}
    exec(blocks("image_settings.md", "python")[0], scope)
    values = scope["mesh"].values
    # meshes of 16 000 pixels: 0.6 %, five of these
    assert values.mean(axis=0) == pytest.approx(np.linspace(4.4, 7.6, 5), rel=0.03)


def test_settings_of_workers(tmp_path, monkeypatch, capsys):
    """The YAML of the page is a configuration, most of it the defaults; the example reads it."""
    (tmp_path / "tile.yaml").write_text(blocks("workers.md", "yaml")[0])
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("skyloom.flow.available_cpus", lambda: 16)
    exec(blocks("workers.md", "python")[0], {})
    assert capsys.readouterr().out == "CPUs: 16, processes: 4, threads of each fit: 1\n"
    config = load_config(tmp_path / "tile.yaml")
    default = TileConfig()
    assert config.performance.frame_prep_workers == 2
    assert (config.epsf, config.patch_inputs) == (default.epsf, default.patch_inputs)
    assert config.patch_run == default.patch_run


def test_settings_of_images(tmp_path):
    """The YAML of the page is a configuration."""
    (tmp_path / "tile.yaml").write_text(blocks("image_settings.md", "yaml")[0])
    images = load_config(tmp_path / "tile.yaml").skyloom.images
    assert images["r.fits"].mask_map == tmp_path / "r.flags.fits[DQ]"
    assert images["Ks"].hdu == "SCI"
