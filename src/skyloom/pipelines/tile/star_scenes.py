"""Take the neighbours away from PSF stars: fit the scene around them, subtract all but the star.

The brightest stars leave wide residuals besides, which tell of the wings of the PSF.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.catalogs import column_as_bool
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

__all__ = ["BandImage", "IsolatedStars", "isolated_stars", "scene_start"]

MATCH_RADIUS = 3.0  # pix: a catalogue source this close to a PSF star is the star
NEIGHBOUR_RADIUS = 45.0  # pix: a stamp's half diagonal; farther light is smooth over the stamp
WIDE_SIDE = 127  # pix, of the residuals that tell of the wings
HIDDEN = 2.5  # FWHM about sources that no scene holds, or not well: they are not in the residuals
# pix per root of the saturated pixels.  The light beyond 15 pix is off by 0.7e-3 of a star, by
# 1.6e-3 with 0.6 (rms of 15 simulated bands with ten saturated stars: truth_config, seeds 11-13).
HIDDEN_ROOT = 3.0
MARGIN = 64  # pix around the stars of a scene
FLANK = 32  # pix around saturated stars: their cores are masked, what is around tells their flux
OPEN_RADIUS = 10.0  # pix: as large as this neighbours may become whose size nobody stated
SCENE_SIDE = 1536  # pix: larger frames are divided, to bound memory
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
    bright: Ints,
    saturated: Floats,
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
    bright : ndarray of int
        Stars whose residuals are wanted.
    saturated : ndarray, shape (n,)
        Saturated pixels in the core of each row of the catalogue, see `scene_start`.
    """
    catalogue = np.flatnonzero(start.active)
    ny, nx = band.data.shape
    cell = cells_of_sources(x, y, shape=(ny, nx), n=math.ceil(max(ny, nx) / SCENE_SIDE))
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
            saturated=saturated,
            bank=bank,
        )
        data[stars] = chunk.alone(template.x0[stars], template.y0[stars], side)
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


def scene_start(
    start: StartValues, sources: Table, saturation: dict[str, Any], shape: tuple[int, int]
) -> tuple[StartValues, Floats]:
    """Return start values of all that shines, and saturated pixels in the core of each row.

    What the saturation cut leaves out of the catalogue shines on PSF stars all the same; what has
    a saturated core in this band is a star, whatever the catalogue says, and so is a saturated
    core that the catalogue lacks: it is added.

    Parameters
    ----------
    start : StartValues
    sources : Table
        The rows that they were read from.
    saturation : dict
        What the stage ``saturation`` found in this band.
    shape : tuple of int
        Working frame (ny, nx).
    """
    area = np.zeros(len(start.kind))
    area[np.asarray(saturation["rows"], dtype=np.int64)] = saturation["area"]
    x, y = start.x, start.y
    inside = (x >= -0.5) & (x < shape[1] - 0.5) & (y >= -0.5) & (y < shape[0] - 0.5)
    is_cut = inside & ~start.active & column_as_bool(sources, "excluded_saturation")
    is_cut &= ~column_as_bool(sources, "excluded_crop")
    kind = np.where(is_cut, start.catalogue_kind, start.kind)
    kind = np.where((kind >= 0) & (area > 0), int(SourceType.STAR), kind)
    blobs = np.array(saturation["blobs"], dtype=np.float64).reshape(-1, 3)
    radius = np.sqrt(blobs[:, 2] / np.pi) + MATCH_RADIUS
    full = np.flatnonzero(area > 0)
    away = np.hypot(x[full] - blobs[:, :1], y[full] - blobs[:, 1:2])
    lacking = blobs[away.min(axis=1, initial=np.inf) > radius]
    return _with_stars(replace(start, kind=kind), lacking), np.append(area, lacking[:, 2])


def _with_stars(start: StartValues, blobs: Floats) -> StartValues:
    """Return start values with a star at the centre of each blob (x, y, area) after the others."""
    n, star = len(blobs), int(SourceType.STAR)
    own = {"kind": star, "catalogue_kind": star, "x": blobs[:, 0], "y": blobs[:, 1], "n": 1.0}
    values = {}
    for field in fields(start):
        known = getattr(start, field.name)
        more = np.zeros((n, *known.shape[1:]), known.dtype)
        more[:] = own.get(field.name, 0)
        values[field.name] = np.concatenate([known, more])
    return StartValues(**values)


class _Chunk:
    """The scene around the stars of one part of the frame, fitted in one band."""

    def __init__(
        self,
        band: BandImage,
        psf: FieldPsf,
        x: Floats,
        y: Floats,
        *,
        start: StartValues,
        catalogue: Ints,
        saturated: Floats,
        bank: PsfBank,
    ) -> None:
        places = np.column_stack([start.x[catalogue], start.y[catalogue]])
        distance, _ = cKDTree(np.column_stack([x, y])).query(places)
        is_star = distance < MATCH_RADIUS
        is_full = saturated[catalogue] > 0
        # What shines far out is a star's wings, as far as the PSF reaches.
        half = 0.5 * psf.basis.shape[-1] / psf.oversampling
        reach = np.where(is_full, NEIGHBOUR_RADIUS + half, NEIGHBOUR_RADIUS)
        near = ~is_star & (distance < reach)
        far = catalogue[near & is_full]
        self.box = _outline(
            np.concatenate([x, start.x[far]]),
            np.concatenate([y, start.y[far]]),
            np.concatenate([np.full(len(x), MARGIN), np.full(len(far), FLANK)]),
        ).clipped(Box.of_shape((band.data.shape[0], band.data.shape[1])))
        # Models of saturated stars miss a little of much light, which is no wing of other stars.
        absent = catalogue[~is_star & (~near | is_full)]
        self.absent = start.x[absent], start.y[absent]
        self.hidden_radius = HIDDEN * psf.fwhm + HIDDEN_ROOT * np.sqrt(saturated[absent])
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
        """Tell which pixels of a box lie at sources that this scene does not hold, or not well."""
        out = np.zeros((side, side), np.bool_)
        x, y, r = self.absent[0] - x0, self.absent[1] - y0, self.hidden_radius
        whole = Box(0, side, 0, side)
        for i in np.flatnonzero((x > -r) & (x < side + r) & (y > -r) & (y < side + r)):
            box = Box.around(float(x[i]), float(y[i]), int(r[i]) + 2).clipped(whole)
            px, py = np.arange(box.x0, box.x1) - x[i], np.arange(box.y0, box.y1) - y[i]
            out[box.slices] |= px**2 + (py**2)[:, None] < r[i] ** 2
        return out

    def alone(self, x0: Ints, y0: Ints, side: int) -> Pixels:
        """Return residuals in boxes around the stars, each with its star put back, (n, S, S)."""
        corners = np.stack([x0 - self.box.x0, y0 - self.box.y0], axis=1)
        rows = np.arange(len(x0))
        out = self.scene.models_of(self.state, rows, 0, corners, (side, side))
        for star, (left, low) in enumerate(zip(x0, y0, strict=True)):
            out[star] += self.left(int(left), int(low), side)
        return out


def _outline(x: Floats, y: Floats, margin: Ints) -> Box:
    """Return the box that holds some positions and what is around each."""
    return Box(
        int((x - margin).min()),
        int((x + margin).max()),
        int((y - margin).min()),
        int((y + margin).max()),
    )


def _joined(first: Sources, second: Sources) -> Sources:
    """Return two lists of sources as one, without flux priors."""

    def both(name: str) -> Floats | Ints | Bools:
        return np.concatenate([getattr(first, name), getattr(second, name)])

    names = ("kind", "theta", "free", "lower", "upper", "prior_mean", "prior_ivar")
    values = {name: both(name) for name in names}
    return Sources(**values, anchor=np.arange(len(values["kind"])))  # type: ignore[arg-type]
