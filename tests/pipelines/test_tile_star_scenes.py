"""Neighbours of PSF stars: taken away as what they are, whatever else shines near them."""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.table import Table
from key_effects import Bench

from skyloom.geometry import Box
from skyloom.pipelines.tile import psfs
from skyloom.pipelines.tile.star_scenes import BandImage, isolated_stars, scene_start
from skyloom.pipelines.tile.start import StartValues
from skyloom.psf import BuilderOptions, FieldPsf, StarCutouts, build_field_psf
from skyloom.scene import SourceType
from skyloom.sim import Moffat, render_star

SIDE = 61  # of cutouts
FULL = 2e4  # counts, where pixels saturate; the sky noise is 1
TRUTH = Moffat(fwhm=4.0, beta=3.0)


def rings(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any]) -> np.ndarray:
    """Return the median [sigma] of what the cutout of each PSF star has beyond 14 pixels."""
    found: list[float] = []
    isolate = psfs.isolated_stars

    def spy(*args: Any, **kwargs: Any) -> Any:
        result = isolate(*args, **kwargs)
        side = result.cutouts.data.shape[-1]
        y, x = np.indices((side, side)) - side // 2
        for data, weight in zip(result.cutouts.data, result.cutouts.weight, strict=True):
            outside = (np.hypot(x, y) > 14.0) & (weight > 0)
            found.append(float(np.median((data * np.sqrt(weight))[outside])))
        return result

    monkeypatch.setattr(psfs, "isolated_stars", spy)
    Bench(folder).run("run-epsf", settings)
    return np.array(found)


@pytest.mark.parametrize("has_shapes", [True, False])
def test_galaxies_do_not_grow_into_stars_that_the_scene_lacks(
    small_tile: Path, monkeypatch: pytest.MonkeyPatch, has_shapes: bool
) -> None:
    """Three saturated stars lie between the PSF stars of this tile, here out of every scene.

    Galaxies that were free to grow followed their light to radii of 160 pixels, and left the PSF
    stars 3 to 60 sigma too low in every pixel.
    """
    if not has_shapes:
        path = small_tile / "input_catalog.csv"
        with path.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        with path.open("w", newline="", encoding="utf-8") as file:
            table = csv.DictWriter(file, ["ID", "RA", "DEC", "TYPE"], extrasaction="ignore")
            table.writeheader()
            table.writerows(rows)
    monkeypatch.setattr(psfs, "scene_start", lambda start, *_: (start, np.zeros(len(start.kind))))
    settings = {"epsf.epsf_ngrid": 1, "epsf.cutout_size": 41, "epsf.edge_pad": 2}
    found = rings(small_tile, monkeypatch, settings)
    assert len(found) >= 6
    # where no size is stated a galaxy of 10 pixels may lie under a star
    assert np.abs(found).max() < (0.3 if has_shapes else 2.0)


@dataclass(frozen=True)
class Crowd:
    """PSF stars, and saturated stars 40 pixels from half of them."""

    band: BandImage
    x: np.ndarray
    y: np.ndarray
    flux: float
    start: StartValues  # of the saturated stars
    sources: Table
    saturation: dict[str, Any]

    def alone(self, *, holds_saturated: bool) -> StarCutouts:
        """Return the PSF stars without neighbours, in a scene with or without saturated stars."""
        shape = self.band.data.shape
        start, area = scene_start(self.start, self.sources, self.saturation, shape)
        if not holds_saturated:
            start, area = self.start, np.zeros_like(area)
        half = 63
        stamp = render_star(TRUTH, x=0.0, y=0.0, box=Box(-half, half + 1, -half, half + 1))
        psf = FieldPsf(
            basis=stamp[None].astype(np.float32),
            polynomial=np.ones((1, 1)),
            shape=shape,
            fwhm=TRUTH.fwhm,
        )
        return isolated_stars(
            self.band,
            psf,
            self.x,
            self.y,
            start=start,
            saturated=area,
            side=SIDE,
            bright=np.arange(len(self.x)),
        ).cutouts


def crowd(size: int = 560, *, flux: float = 5e4, saturated_flux: float = 5e6) -> Crowd:
    """Draw 16 PSF stars; the saturated ones are in the catalogue as cut, one as a galaxy too."""
    rng = np.random.default_rng(12)
    grid = np.arange(100, size - 60, 120) + 0.0
    x, y = (g.ravel() + rng.uniform(-5, 5, g.size) for g in np.meshgrid(grid, grid))
    angle = rng.uniform(0, 2 * np.pi, len(x))[::2]
    far_x, far_y = x[::2] + 40 * np.cos(angle), y[::2] + 40 * np.sin(angle)
    whole = Box(0, size, 0, size)
    image = np.zeros((size, size))
    for px, py, f in [
        *((px, py, flux) for px, py in zip(x, y, strict=True)),
        *((px, py, saturated_flux) for px, py in zip(far_x, far_y, strict=True)),
    ]:
        box = Box.around(px, py, 90).clipped(whole)
        image[box.slices] += f * render_star(TRUTH, x=px, y=py, box=box)
    image += rng.standard_normal(image.shape)
    full = image > FULL
    n = len(far_x)
    kind = np.full(n, int(SourceType.STAR))
    kind[0] = int(SourceType.SERSIC)
    none = np.zeros(n)
    start = StartValues(
        kind=np.full(n, -1),
        catalogue_kind=kind,
        x=far_x + rng.normal(0, 0.3, n),
        y=far_y + rng.normal(0, 0.3, n),
        log_r=none + 1.0,
        g1=none,
        g2=none,
        n=none + 1.0,
        has_size=none > 0,
        prior_ivar=np.zeros((n, 6)),
        flux_prior_mean=np.zeros((n, 1)),
        flux_prior_ivar=np.zeros((n, 1)),
        flux=np.full((n, 1), np.nan),
    )
    cut = {"excluded_crop": none > 0, "excluded_saturation": none == 0, "excluded_any": none == 0}
    area = [int(full[Box.around(a, b, 20).slices].sum()) for a, b in zip(far_x, far_y, strict=True)]
    assert min(area) > 30
    return Crowd(
        band=BandImage(
            data=image.astype(np.float32),
            ivar=np.where(full, 0.0, 1.0).astype(np.float32),
            source_variance=0.0,
        ),
        x=x,
        y=y,
        flux=flux,
        start=start,
        sources=Table(cut),
        saturation={"rows": list(range(n)), "area": area, "blobs": []},
    )


def halo_light(cutouts: StarCutouts, flux: float) -> np.ndarray:
    """Return the light between 14 and 30 pixels of each star that is not its own, over its flux."""
    r = np.hypot(*(np.indices((SIDE, SIDE)) - SIDE // 2))
    ring = (r > 14.0) & (r < 30.0)
    found = []
    for k in range(len(cutouts)):
        x0, y0 = int(cutouts.x0[k]), int(cutouts.y0[k])
        box = Box(x0, x0 + SIDE, y0, y0 + SIDE)
        own = render_star(TRUTH, x=float(cutouts.x[k]), y=float(cutouts.y[k]), box=box)
        found.append((cutouts.data[k] / flux - own)[ring].sum())
    return np.array(found)


def wing_error(cutouts: StarCutouts, shape: tuple[int, int]) -> float:
    """Return the light between 14 and 30 pixels of a PSF built from the stars, less the truth."""
    psf = build_field_psf(cutouts, shape=shape, options=BuilderOptions(side=SIDE)).psf
    assert psf is not None
    half = SIDE // 2
    truth = render_star(TRUTH, x=0.0, y=0.0, box=Box(-half, half + 1, -half, half + 1))
    r = np.hypot(*(np.indices((SIDE, SIDE)) - half))
    middle = 0.5 * (shape[0] - 1)
    return float((psf.stamp_at(middle, middle) - truth)[(r > 14.0) & (r < 30.0)].sum())


def test_saturated_stars_near_psf_stars_are_taken_away() -> None:
    """Their wings, 100 times brighter than the stars', else lie in cutouts and PSF."""
    field = crowd()
    shape = field.band.data.shape
    with_, without = (field.alone(holds_saturated=holds) for holds in (True, False))
    # 2200 pixels of noise 1 are 9.4e-4 of a star, one in four thousand lies beyond four sigma
    assert np.abs(halo_light(with_, field.flux)).max() < 4 * 9.4e-4
    assert halo_light(without, field.flux)[::2].min() > 0.2
    # the noise of 16 stars is 2.4e-4
    assert abs(wing_error(with_, shape)) < 7e-4
    assert wing_error(without, shape) > 1e-3


def test_rows_that_the_saturation_cut_leaves_out_shine_all_the_same() -> None:
    field = crowd()
    shape = field.band.data.shape
    start, area = scene_start(field.start, field.sources, field.saturation, shape)
    assert (start.kind == SourceType.STAR).all()  # the galaxy of the catalogue among them
    assert area.tolist() == field.saturation["area"]
    elsewhere = {"rows": [], "area": [], "blobs": []}  # another band, in which none is saturated
    start, area = scene_start(field.start, field.sources, elsewhere, shape)
    assert start.kind[0] == SourceType.SERSIC
    assert not area.any()
    outside, _ = scene_start(field.start, field.sources, field.saturation, (50, 50))
    assert not outside.active.any()
    field.sources["excluded_crop"] = True
    assert not scene_start(field.start, field.sources, field.saturation, shape)[0].active.any()


def test_saturated_stars_that_the_catalogue_lacks_are_added() -> None:
    field = crowd()
    shape = field.band.data.shape
    area = field.saturation["area"]
    places = zip(field.start.x, field.start.y, area, strict=True)
    blobs = [[float(x), float(y), float(a)] for x, y, a in places]
    known = {"rows": [0, 1], "area": area[:2], "blobs": blobs}
    start, found = scene_start(field.start, field.sources, known, shape)
    n = len(area)
    assert len(start.kind) == len(found) == n + n - 2
    np.testing.assert_array_equal(start.x[n:], field.start.x[2:])
    assert (start.kind[n:] == SourceType.STAR).all()
    assert found.tolist() == [*area[:2], *[0] * (n - 2), *area[2:]]
