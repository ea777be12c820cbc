"""Take the neighbours away from PSF stars: fit the scene around them, subtract all but the star.

The brightest stars leave wide residuals besides, which tell of the wings of the PSF.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.geometry import Box, cells_of_sources
from skyloom.psf import FieldPsf, StarCutouts, cut_stars
from skyloom.scene import (
    FitOptions,
    PsfBank,
    PsfTransforms,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
    SourceType,
    blend_groups,
)

from .start import StartValues, scene_sources

__all__ = ["BandImage", "IsolatedStars", "isolated_stars"]

MATCH_RADIUS = 3.0  # pix: a catalogue source this close to a PSF star is the star
NEIGHBOUR_RADIUS = 45.0  # pix: a stamp's half diagonal; farther light is smooth over the stamp
WIDE_SIDE = 127  # pix, of the residuals that tell of the wings
HIDDEN = 2.5  # FWHM about sources that no scene holds: they are left out of the residuals
MARGIN = 64  # pix around the stars of a cell
OPEN_RADIUS = 10.0  # pix: as large as this neighbours may become whose size nobody stated
PASSES = 2
TOLERANCE = 1.0  # of chi-square: the neighbours are known to a sigma then, which is all they need


@dataclass(frozen=True, slots=True, kw_only=True)
class BandImage:
    """One band: background-subtracted pixels, inverse sky variance, noise of source light."""

    data: Pixels
    ivar: Pixels
    source_variance: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class IsolatedStars:
    """Stars without their neighbours, and what the scene leaves around the bright ones.

    ``residuals`` are data minus all models, the stars subtracted too, ``flux`` the fluxes of those
    stars.
    """

    cutouts: StarCutouts
    residuals: StarCutouts
    flux: Floats


def isolated_stars(
    band: BandImage,
    psf: FieldPsf,
    x: Floats,
    y: Floats,
    *,
    start: StartValues,
    side: int,
    n_cells: int,
    bright: Ints,
) -> IsolatedStars:
    """Return cutouts of stars without their neighbours, and residuals around some.

    Parameters
    ----------
    band : BandImage
    psf : FieldPsf
        Present PSF of the band.
    x, y : ndarray, shape (n,)
        Stars [pix].
    start : StartValues
        The catalogue; stars that it lacks are added, entries at a star are taken as the star.
    side : int
        Side of the cutouts [pix].
    n_cells : int
        The work is divided into ``n_cells**2`` cells, to bound memory.
    bright : ndarray of int
        Stars whose residuals are wanted.
    """
    catalogue = np.flatnonzero(start.active)
    cell = cells_of_sources(x, y, shape=(band.data.shape[0], band.data.shape[1]), n=n_cells)
    data = np.zeros((len(x), side, side), np.float32)
    bank = PsfBank([PsfTransforms(psf)])
    template = cut_stars(band.data, band.ivar, x, y, side=side)
    wide = cut_stars(band.data, band.ivar, x[bright], y[bright], side=WIDE_SIDE)
    left = np.zeros_like(wide.data)
    flux, centre = np.zeros(len(bright)), np.zeros((2, len(bright)))
    for number in np.unique(cell):
        stars = np.flatnonzero(cell == number)
        chunk = _Chunk(
            band,
            psf,
            x[stars],
            y[stars],
            start=start,
            catalogue=catalogue,
            bank=bank,
        )
        for i, star in enumerate(stars):
            data[star] = chunk.alone(i, int(template.x0[star]), int(template.y0[star]), side)
        for w in np.flatnonzero(np.isin(bright, stars)):
            i = int(np.searchsorted(stars, bright[w]))
            left[w] = chunk.left(int(wide.x0[w]), int(wide.y0[w]), WIDE_SIDE)
            wide.weight[w][chunk.hidden(int(wide.x0[w]), int(wide.y0[w]), WIDE_SIDE)] = 0.0
            flux[w], centre[:, w] = chunk.state.flux[i, 0], chunk.state.theta[i, :2]
    inside = template.weight > 0
    good = np.isfinite(flux) & (flux > 0)
    return IsolatedStars(
        cutouts=replace(template, data=np.where(inside, data, np.float32(0.0))),
        residuals=replace(wide, data=left, x=centre[0], y=centre[1]).rows(good),
        flux=flux[good],
    )


class _Chunk:
    """The scene around the stars of one cell, fitted in one band."""

    def __init__(
        self,
        band: BandImage,
        psf: FieldPsf,
        x: Floats,
        y: Floats,
        *,
        start: StartValues,
        catalogue: Ints,
        bank: PsfBank,
    ) -> None:
        frame = Box.of_shape((band.data.shape[0], band.data.shape[1]))
        outline = Box(
            int(x.min()) - MARGIN,
            int(x.max()) + MARGIN,
            int(y.min()) - MARGIN,
            int(y.max()) + MARGIN,
        )
        self.box = outline.clipped(frame)
        distance = np.hypot(start.x[catalogue][:, None] - x, start.y[catalogue][:, None] - y)
        is_star = distance.min(axis=1) < MATCH_RADIUS
        near = ~is_star & (distance.min(axis=1) < NEIGHBOUR_RADIUS)
        absent = catalogue[~is_star & ~near]
        self.absent = start.x[absent], start.y[absent]
        self.hidden_radius = HIDDEN * psf.fwhm
        rows = catalogue[near]
        # Light of bright stars that this scene does not hold must not make a galaxy of any size.
        known = start.has_size[rows]
        neighbours = scene_sources(
            start, rows, kind=start.kind[rows], max_shift=3.0, near_catalogue=known
        )
        neighbours.upper[~known, 2] = np.maximum(neighbours.theta[~known, 2], np.log(OPEN_RADIUS))
        stars = Sources.create(np.full(len(x), int(SourceType.STAR)), x, y, max_shift=3.0)
        sources = _joined(stars, neighbours)
        image = SceneImage(
            data=band.data[self.box.slices],
            ivar=band.ivar[self.box.slices],
            psf=psf,
            source_variance=band.source_variance,
            origin=(self.box.x0, self.box.y0),
        )
        self.scene = ScenePass([image], sources, FitOptions(), bank=bank)
        radius = np.where(sources.kind == SourceType.STAR, 0.0, np.exp(sources.theta[:, 2]))
        groups = blend_groups(
            sources.theta[:, 0], sources.theta[:, 1], radius, psf_sigma=psf.fwhm / 2.3548
        ).members()
        # From the catalogue, not from the fit with an earlier PSF: what that was wrong by,
        # neighbours of bright stars have taken up, and would keep.
        state = SceneState.start(sources, 1)
        for number in range(PASSES + 1):
            state = self.scene.run(state, groups, linear=number == 0, tolerance=TOLERANCE)
        self.state = state
        residual, _ = self.scene.residual(state)
        self.residual = residual.reshape(self.box.shape)

    def left(self, x0: int, y0: int, side: int) -> Pixels:
        """Return the residual in a box; 0 where nothing was fitted."""
        stamp = np.zeros((side, side), np.float32)
        target = Box(x0, x0 + side, y0, y0 + side)
        inner = target.clipped(self.box)
        cut = self.residual[inner.shifted(-self.box.x0, -self.box.y0).slices]
        stamp[inner.shifted(-x0, -y0).slices] = cut
        return stamp

    def hidden(self, x0: int, y0: int, side: int) -> Bools:
        """Tell which pixels of a box lie at sources that this scene does not hold."""
        out = np.zeros((side, side), np.bool_)
        x, y = self.absent[0] - x0, self.absent[1] - y0
        r = self.hidden_radius
        whole = Box(0, side, 0, side)
        for i in np.flatnonzero((x > -r) & (x < side + r) & (y > -r) & (y < side + r)):
            box = Box.around(float(x[i]), float(y[i]), int(r) + 2).clipped(whole)
            py, px = np.ogrid[box.slices]
            out[box.slices] |= np.hypot(px - x[i], py - y[i]) < r
        return out

    def alone(self, star: int, x0: int, y0: int, side: int) -> Pixels:
        """Return the residual with the star itself put back, (side, side)."""
        corner = (x0 - self.box.x0, y0 - self.box.y0)
        model = self.scene.model_of(self.state, star, 0, corner, (side, side))
        return self.left(x0, y0, side) + model


def _joined(first: Sources, second: Sources) -> Sources:
    """Return two lists of sources as one, without flux priors."""

    def both(name: str) -> Floats | Ints | Bools:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    names = ("kind", "theta", "free", "lower", "upper", "prior_mean", "prior_ivar")
    values = {name: both(name) for name in names}
    return Sources(**values, anchor=np.arange(len(values["kind"])))  # type: ignore[arg-type]
