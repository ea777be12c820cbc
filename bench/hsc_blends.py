"""Fit the real blends of the Hyper Suprime-Cam test data from their peaks, and draw them.

    OPENBLAS_NUM_THREADS=1 python bench/hsc_blends.py [--data DIR] [--out DIR] [--sky]

``--data`` holds the blends (default: ``hsc_cosmos_blends`` in the test data), ``--out`` takes pages
of data / model / residual in units of sigma; without it nothing is drawn.  All five bands are
fitted jointly.  A blend is the footprint of a detection: pixels outside carry no weight, so hardly
a pixel is free of light.  The coadds are sky-subtracted; ``--sky`` fits a level per band all the
same, and it takes the outskirts of the galaxies.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from matplotlib.figure import Figure

from skyloom.flags import FitFlag
from skyloom.psf import PixelPsf
from skyloom.scene import FitOptions, SceneFit, SceneImage, Sources, SourceType, fit_scene, warm_up

TESTS = Path(os.environ.get("SKYLOOM_TEST_DATA") or Path(__file__).parents[2] / "shared" / "data")
BANDS = "grizy"
PER_PAGE = 6
START_RADIUS = 2.0  # pix: 0.34 arcsec, between a star's and a galaxy's
# A peak is all that is known.  Without these bounds faint peaks in the outskirts of bright galaxies
# turn into wide sheets of light, of either sign; the median chi-square does not change.
BOUNDS = {
    "max_shift": 3.0, "r_limits": (0.05, 12.0), "n_limits": (0.5, 4.0), "ellipticity_prior": 0.3
}  # fmt: skip
FOREIGN_PSF = frozenset({"43158172147388448", "43158172147389473"})
"""Blends whose stars do not fit the PSF: the files of all blends hold the same five stamps, and in
these two the stars are sharper in i, z, y and broader in r."""


@dataclass(frozen=True, kw_only=True)
class Blend:
    """One blend as delivered: five bands of the same pixels."""

    name: str
    images: np.ndarray  # (5, ny, nx)
    weights: np.ndarray  # likewise, inverse variance
    psfs: np.ndarray  # (5, 41, 41)
    x: np.ndarray  # pix, peaks
    y: np.ndarray


@dataclass(frozen=True, kw_only=True)
class BlendFit:
    """A fitted blend; ``chi2`` (5,) per usable pixel, ``bright_chi2`` where the model > 1 sigma."""

    blend: Blend
    fit: SceneFit
    seconds: float
    chi2: np.ndarray
    bright_chi2: np.ndarray

    @property
    def flags(self) -> str:
        """Names of the flags raised, and how often."""
        counts = {f.name: int((self.fit.flags & f != 0).sum()) for f in FitFlag}
        return " ".join(f"{name} {n}" for name, n in counts.items() if n)


def read_blends(folder: Path) -> list[Blend]:
    """Read all blends of a folder, in order of their names."""
    blends = []
    for path in sorted(folder.glob("*.npz")):
        with np.load(path) as held:
            x, y = held["peaks"].T
            blends.append(Blend(
                name=path.stem, images=held["images"], weights=held["weights"],
                psfs=held["psfs"], x=x, y=y,
            ))  # fmt: skip
    return blends


def scene_images(blend: Blend, *, sky: bool = False) -> list[SceneImage]:
    """Return the bands of a blend as images of a scene."""
    return [
        SceneImage(
            data=image, ivar=weight, psf=PixelPsf(stamp=psf), flux_key=band,
            sky_key=band if sky else None,
        )
        for band, image, weight, psf in zip(
            BANDS, blend.images, blend.weights, blend.psfs, strict=True
        )
    ]  # fmt: skip


def start_sources(blend: Blend, kind: SourceType = SourceType.SERSIC) -> Sources:
    """Return a source of the same type and size at each peak."""
    return Sources.create(
        np.full(len(blend.x), kind), blend.x, blend.y, r=START_RADIUS, n=1.0, **BOUNDS
    )


def core_variance(image: np.ndarray, *, x: float, y: float) -> float:
    """Return the mean variance along the axes within a Gaussian window of 2 px [pix**2].

    It tells a sharper star from a broader one, and hardly sees the neighbours.
    """
    column, row = round(x), round(y)
    v, u = np.mgrid[-4:5, -4:5]
    light = image[row - 4 : row + 5, column - 4 : column + 5] * np.exp(-(u**2 + v**2) / 8.0)
    centre = [(light * axis).sum() / light.sum() for axis in (u, v)]
    second = (light * (u**2 + v**2)).sum() / light.sum()
    return float(second - centre[0] ** 2 - centre[1] ** 2) / 2.0


def fit_blend(
    blend: Blend, options: FitOptions | None = None, *, sky: bool = False,
    kind: SourceType = SourceType.SERSIC,
) -> BlendFit:  # fmt: skip
    """Fit all bands of a blend jointly from its peaks.

    By default bright sources may lie off the joint position in each band: the brightest stars of
    these coadds do, by up to a tenth of a pixel.
    """
    options = options or FitOptions(offset_snr=50.0)
    images = scene_images(blend, sky=sky)
    start = time.perf_counter()
    fit = fit_scene(images, start_sources(blend, kind), options)
    seconds = time.perf_counter() - start
    squares = np.array(fit.residual, dtype=np.float64) ** 2 * blend.weights
    used = blend.weights > 0
    bright = used & (models(blend, fit) ** 2 * blend.weights > 1.0)
    return BlendFit(
        blend=blend, fit=fit, seconds=seconds,
        chi2=_mean(squares, used), bright_chi2=_mean(squares, bright),
    )  # fmt: skip


def models(blend: Blend, fit: SceneFit) -> np.ndarray:
    """Return data minus residual minus sky, shape (5, ny, nx); zero without weight."""
    level = np.array([fit.sky.get(band, 0.0) for band in BANDS])[:, None, None]
    model = blend.images - np.array(fit.residual, dtype=np.float64) - level
    return np.where(blend.weights > 0, model, 0.0)


def _mean(values: np.ndarray, where: np.ndarray) -> np.ndarray:
    """Return the mean of the chosen pixels of each band; NaN where there is none."""
    count = where.sum(axis=(1, 2))
    total = np.where(where, values, 0.0).sum(axis=(1, 2))
    return np.where(count > 0, total / np.maximum(count, 1), np.nan)


def draw_page(results: Sequence[BlendFit], *, band: int = 2) -> Figure:
    """Draw data, model and residual of some blends, one band."""
    figure, axes = plt.subplots(
        len(results), 4, figsize=(15, 3.3 * len(results)), layout="constrained", squeeze=False
    )
    for row, result in zip(axes, results, strict=True):
        blend, fit = result.blend, result.fit
        sigma = np.sqrt(blend.weights)
        used = blend.weights > 0
        panels = {
            "data": blend.images * sigma,
            "model": models(blend, fit) * sigma,
            "residual": np.array(fit.residual) * sigma,
        }
        limit = np.percentile(panels["data"][band][used[band]], 99.5)
        for ax, (name, planes) in zip(row, panels.items(), strict=False):
            plane = np.where(used[band], planes[band], np.nan)
            if name == "residual":
                shown = ax.imshow(plane, origin="lower", cmap="RdBu_r", vmin=-5, vmax=5)
            else:
                stretched = np.arcsinh(plane / 3.0)
                shown = ax.imshow(
                    stretched, origin="lower", cmap="viridis", vmin=-0.3, vmax=np.arcsinh(limit / 3)
                )
            ax.plot(blend.x, blend.y, "kx", ms=4, mew=0.7)
            ax.plot(fit.x, fit.y, "r.", ms=3)
            chi2 = f"{result.chi2[band]:.2f}" if name == "residual" else ""
            ax.set_title(f"{blend.name[-6:]} {BANDS[band]} {name} {chi2}", fontsize=8)
        figure.colorbar(shown, ax=row[2], label="sigma")
        row[3].imshow(_colour(np.array(fit.residual) * sigma, used), origin="lower")
        row[3].set_title("residual g r i, +-5 sigma", fontsize=8)
    return figure


def _colour(planes: np.ndarray, used: np.ndarray) -> np.ndarray:
    """Return i, r, g of residuals as red, green, blue; grey is zero."""
    colour = np.stack([planes[2], planes[1], planes[0]], axis=-1) / 10.0 + 0.5
    return np.where(used[2][..., None], np.clip(colour, 0.0, 1.0), 1.0)


def main() -> None:
    """Fit, print, draw."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, default=TESTS / "hsc_cosmos_blends")
    parser.add_argument("--out", type=Path, default=None)
    parser.add_argument("--sky", action="store_true", help="fit a sky level per band")
    parser.add_argument("--kind", choices=[k.name.lower() for k in SourceType], default="sersic")
    parser.add_argument("--only", nargs="+", default=None, help="last digits of their names")
    args = parser.parse_args()
    warm_up()
    blends = read_blends(args.data)
    if args.only:
        blends = [b for b in blends if b.name.endswith(tuple(args.only))]
    results = []
    print("blend    n    size        s  evals |  chi2/pixel " + " ".join(f"{b:>7s}" for b in BANDS)
          + "  | where model > 1 sigma | flags")  # fmt: skip
    for blend in blends:
        result = fit_blend(blend, sky=args.sky, kind=SourceType[args.kind.upper()])
        results.append(result)
        ny, nx = blend.images.shape[1:]
        print(
            f"{blend.name[-6:]} {len(blend.x):3d} {nx:4d} x {ny:3d} {result.seconds:7.2f} "
            f"{np.median(result.fit.evaluations):5.0f} |             "
            + " ".join(f"{v:7.2f}" for v in result.chi2) + "  | "
            + " ".join(f"{v:7.2f}" for v in result.bright_chi2) + f" | {result.flags}"
        )  # fmt: skip
    chi2 = np.array([r.chi2 for r in results])
    bright = np.array([r.bright_chi2 for r in results])
    middle = [" ".join(f"{v:7.2f}" for v in np.nanmedian(c, axis=0)) for c in (chi2, bright)]
    print(f"median{'':41s}{middle[0]}  | {middle[1]}")
    finite = all(np.isfinite(r.fit.flux).all() for r in results)
    print(f"{len(results)} blends, {sum(len(r.blend.x) for r in results)} sources, "
          f"{sum(r.seconds for r in results):.2f} s; all fluxes finite: {finite}")  # fmt: skip
    if args.out is not None:
        args.out.mkdir(parents=True, exist_ok=True)
        for page in range(0, len(results), PER_PAGE):
            figure = draw_page(results[page : page + PER_PAGE])
            figure.savefig(args.out / f"hsc_blends_{page // PER_PAGE + 1}.png", dpi=70)
            plt.close(figure)


if __name__ == "__main__":
    main()
