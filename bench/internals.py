"""What the benchmarks touch of the engine's inside, in one place, and the operations counted there.

Per source and band an evaluation needs p unit images (value and derivatives): p / 2 complex
transforms, their spectra, p (p + 1) / 2 + p products summed over N^2 pixels and p weightings; for
galaxies (p = 6) 1.24 Mflop at N = 64 and 0.28 Mflop at N = 32.  Pairs add 2 p q per common pixel.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom.psf import MoffatPsf
from skyloom.scene import (
    FitOptions,
    SceneFit,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
    SourceType,
)
from skyloom.scene._driver_nb import cut_boxes
from skyloom.scene._gram_nb import evaluate, make_scratch
from skyloom.scene._solver_nb import make_normal
from skyloom.scene.models import unit_stamps

BANDS = 5
COUNT = 8  # sources per call: the interpreter's share of a call is then below the timer's noise
APART, PILED = "apart", "piled"
SPECTRUM = 20.0  # flops per pixel and complex spectrum: profile, phases, multipliers
PILE_STEP = 4.3  # pix between piled sources, along x and y
BYTES = 8  # per pixel that has to be read: data and weight


def unit_image_count(kind: int) -> int:
    """Return the number of unit images of a source: its value and its derivatives."""
    return 1 + SourceType(kind).n_parameters


def values_flops(side: int) -> float:
    """Return the operations of one unit image: half a packed transform and its spectrum."""
    area = float(side * side)
    return 0.5 * area * (5.0 * np.log2(area) + SPECTRUM)


def evaluation_flops(kind: int, side: int) -> float:
    """Return the operations of an evaluation of one isolated source in one band."""
    p, area = unit_image_count(kind), float(side * side)
    return p * values_flops(side) + area * (2 * (p * (p + 1) // 2 + p) + p)


def pair_flops(kind: int, other: int, common: float) -> float:
    """Return the operations of the products of two sources in one band."""
    return 2.0 * unit_image_count(kind) * unit_image_count(other) * common


def stamp_sides(
    images: Sequence[SceneImage], sources: Sources, fit: SceneFit, options: FitOptions
) -> np.ndarray:
    """Return the stamp side of each source [pix] at the end of a fit."""
    forced = getattr(options, "stamp_side", None)
    if forced is not None:
        return np.full(len(sources), forced)
    scene = ScenePass(images, sources, options)
    state = SceneState.start(sources, scene.n_flux)
    state.theta[:], state.flux[:] = fit.params, fit.flux
    state.flux_cov[:] = fit.flux_cov
    state.started[:] = True
    return np.asarray(scene.stamp_sides(state))


class KernelBench:
    """Sources ready for the kernels, five bands.

    Parameters
    ----------
    kind : SourceType
    side : int
        Stamp side [pix].
    layout : {'apart', 'piled'}
        Stamps side by side, or all within a few pixels: then each overlaps all others.
    """

    def __init__(self, kind: SourceType, side: int, layout: str = APART) -> None:
        k = np.arange(COUNT)
        column, row = (
            (side * k, 0 * k) if layout == APART else PILE_STEP * np.array(np.divmod(k, 3))
        )
        x, y = column + side / 2 + 0.3, row + side / 2 + 0.2
        sources = Sources.create(np.full(COUNT, kind), x, y, r=1.5)
        rng = np.random.default_rng(side)
        shape = (side + 16, side * COUNT + 16)
        images = [
            SceneImage(
                data=rng.normal(0.0, 1.0, shape).astype(np.float32),
                ivar=np.ones(shape, np.float32),
                psf=MoffatPsf(fwhm_pix=4.0, radius=side / 2 - 2),
                flux_key=b,
            )
            for b in range(BANDS)
        ]
        scene = ScenePass(images, sources, FitOptions())
        rows, sides = np.arange(COUNT), np.full(COUNT, side)
        corner = scene.geometry.corners(rows, np.zeros((COUNT, 2)), sides)
        frame = corner.min(axis=0)
        shapes = ((corner + side).max(axis=0) - frame)[:, ::-1].copy()
        self.members, self.theta = scene.members(rows, sources.theta, sides, frame)
        whole = scene.geometry.images(scene.data, scene.ivar)
        self.images = cut_boxes(whole, frame, shapes)
        self.tables = scene.tables
        self.scratch = make_scratch(self.members, self.images)
        total = int(self.scratch.first[-1])
        self.normal = make_normal(COUNT, BANDS, total, BANDS, 0)
        self.flux = np.full((COUNT, BANDS), 100.0)
        self.wanted = np.ones((COUNT, BANDS), np.bool_)
        i, j = np.triu_indices(COUNT, 1)
        self.pairs = len(i)
        overlap = np.maximum(side - np.abs(corner[i, 0] - corner[j, 0]), 0).prod(axis=1)
        self.common = float(overlap.mean())  # pixels per pair

    def values(self) -> object:
        """Render the values of all sources."""
        return unit_stamps(self.members, self.theta, self.wanted, self.tables)

    def evaluation(self) -> object:
        """Evaluate once: values, derivatives, residual, weights, products, gradient."""
        return evaluate(
            self.members, self.theta, self.flux, self.tables, self.images, self.scratch,
            self.normal, False,
        )  # fmt: skip
