"""From a first WCS to the final one: pairs of stars, the fit, and the proof on held-out stars."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

import numpy as np
from scipy.spatial import KDTree
from scipy.special import bdtrc

from skyloom._types import Bools, Floats, Ints
from skyloom.calib.plate_solving.fitting import MAX_ORDER, OrderScore, choose_order, fit_tan_sip
from skyloom.calib.plate_solving.projection import TanSip
from skyloom.calib.plate_solving.stars import ReferenceStars, StarList

__all__ = ["HeldOut", "Pairs", "Refinement", "held_out_test", "match_stars", "refine"]

_ROUNDS: Final = 8
_FOLDS: Final = 5
_RADIUS: Final = 1.5, 12.0  # pix, least and largest search radius
_N_SIGMA: Final = 4.0  # search radius in sigmas of the fit
_FEWEST: Final = 5  # pairs that a fit needs
_QUAD: Final = 4  # stars that the solver picked because they agree: they prove nothing
_CHANCE: Final = 1e-6  # probability of chance coincidences up to which a solution is accepted
_FRACTION: Final = 0.25  # least part of the predicted stars to be found
_PER_REFERENCE: Final = 6  # detections per reference star that pairs are sought among


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Rows of stars and reference stars that belong together."""

    star: Ints
    reference: Ints
    distance: Floats  # pix

    def __len__(self) -> int:
        return len(self.star)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class HeldOut:
    """What a WCS predicts about stars that had no part in its fit."""

    predicted: int  # reference stars predicted inside the image
    found: int  # of them, with a detection within the search radius
    by_chance: float  # expected number of detections there by chance
    probability: float  # of as many by chance, the four of the quad not counted
    radius: float  # pix
    distance: Floats = field(repr=False)  # arcsec, prediction to detection, of those found

    @property
    def median(self) -> float:
        """Median distance [arcsec]."""
        return float(np.median(self.distance)) if self.distance.size else float("nan")

    @property
    def rms(self) -> float:
        """Root mean square distance [arcsec]."""
        return float(np.sqrt(np.mean(self.distance**2))) if self.distance.size else float("nan")

    @property
    def is_convincing(self) -> bool:
        """Whether more stars stand where they were predicted than chance explains."""
        enough = self.found >= max(_FEWEST, _FRACTION * self.predicted)
        return enough and self.probability < _CHANCE


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Refinement:
    """A fitted WCS with its evidence."""

    wcs: TanSip
    order: int
    scores: tuple[OrderScore, ...]
    pairs: Pairs
    held_out: HeldOut
    dx: Floats = field(repr=False)  # pix, detection - prediction of the pairs
    dy: Floats = field(repr=False)

    @property
    def residual(self) -> Floats:
        """Distances of the pairs used [arcsec]."""
        return np.asarray(np.hypot(self.dx, self.dy) * self.wcs.scale)

    @property
    def rms(self) -> float:
        """Root mean square of the residuals [arcsec]."""
        return float(np.sqrt(np.mean(self.residual**2)))


def _inside(x: Floats, y: Floats, shape: tuple[int, int], margin: float = 0.0) -> Bools:
    ny, nx = shape
    with np.errstate(invalid="ignore"):
        return np.asarray(
            (x > -0.5 - margin)
            & (x < nx - 0.5 + margin)
            & (y > -0.5 - margin)
            & (y < ny - 0.5 + margin)
        )


def match_stars(wcs: TanSip, stars: StarList, reference: ReferenceStars, *, radius: float) -> Pairs:
    """Pair detections and reference stars: each is the other's nearest, within a radius [pix]."""
    x, y = wcs.sky_to_pixel(reference.ra, reference.dec)
    rows = np.flatnonzero(_inside(x, y, stars.shape, radius))
    empty = np.zeros(0, np.int64)
    if not rows.size or not len(stars):
        return Pairs(star=empty, reference=empty, distance=np.zeros(0))
    predicted = np.column_stack([x[rows], y[rows]])
    distance, star = KDTree(stars.points).query(predicted, distance_upper_bound=radius)
    back = KDTree(predicted).query(stars.points)[1]
    found = np.flatnonzero(np.isfinite(distance))
    found = found[back[star[found]] == found]
    return Pairs(star=star[found], reference=rows[found], distance=distance[found])


def refine(
    first: TanSip,
    stars: StarList,
    reference: ReferenceStars,
    *,
    pixel_error: float = 1.0,
    max_order: int = MAX_ORDER,
) -> Refinement | None:
    """Fit the WCS to all stars that it brings together, and prove it on held-out ones.

    Parameters
    ----------
    first : TanSip
        Of a back end, good to some pixels.
    stars : StarList
        Detections, brightest first.
    reference : ReferenceStars
        Catalogue stars of the region, brightest first.
    pixel_error : float
        How far stars may be from the first WCS [pix].
    max_order : int
        Highest order of the distortion; 1: none.

    Returns
    -------
    Refinement or None
        None if too few stars come together.

    Notes
    -----
    Pairs and fit are repeated, with the search radius following the scatter, until the pairs stay
    the same. Among many faint detections most neighbours are chance, so that only the brightest
    six per reference star are looked at.
    """
    x, y = first.sky_to_pixel(reference.ra, reference.dec)
    n_inside = int(_inside(x, y, stars.shape).sum())
    if n_inside < _FEWEST:
        return None
    bright = stars[: max(60, _PER_REFERENCE * n_inside)]
    wcs, order = first, 1
    scores: tuple[OrderScore, ...] = ()
    radius = float(np.clip(_N_SIGMA * pixel_error, *_RADIUS))
    before: tuple[bytes, int] | None = None
    pairs = match_stars(wcs, bright, reference, radius=radius)
    for _ in range(_ROUNDS):
        if len(pairs) < _FEWEST:
            return None
        columns = _columns(pairs, bright, reference)
        order, scores = choose_order(*columns, shape=stars.shape, start=wcs, max_order=max_order)
        wcs = fit_tan_sip(*columns, order=order, shape=stars.shape, start=wcs)
        dx, dy = _offsets(wcs, *columns)
        sigma = float(np.median(np.hypot(dx, dy))) / 1.1774
        radius = float(np.clip(_N_SIGMA * sigma, *_RADIUS))
        pairs = match_stars(wcs, bright, reference, radius=radius)
        state = (pairs.star.tobytes() + pairs.reference.tobytes(), order)
        if state == before:
            break
        before = state
    if len(pairs) < _FEWEST:
        return None
    columns = _columns(pairs, bright, reference)
    wcs = fit_tan_sip(*columns, order=order, shape=stars.shape, start=wcs)
    dx, dy = _offsets(wcs, *columns)
    return Refinement(
        wcs=wcs,
        order=order,
        scores=scores,
        pairs=pairs,
        held_out=held_out_test(wcs, bright, reference, pairs, order=order, radius=radius),
        dx=dx,
        dy=dy,
    )


def _columns(
    pairs: Pairs, stars: StarList, reference: ReferenceStars
) -> tuple[Floats, Floats, Floats, Floats]:
    return (
        stars.x[pairs.star],
        stars.y[pairs.star],
        reference.ra[pairs.reference],
        reference.dec[pairs.reference],
    )


def _offsets(wcs: TanSip, x: Floats, y: Floats, ra: Floats, dec: Floats) -> tuple[Floats, Floats]:
    there = wcs.sky_to_pixel(ra, dec)
    return x - there[0], y - there[1]


def held_out_test(
    wcs: TanSip,
    stars: StarList,
    reference: ReferenceStars,
    pairs: Pairs,
    *,
    order: int,
    radius: float,
) -> HeldOut:
    """Predict each reference star from a fit to the pairs of the other four fifths.

    Parameters
    ----------
    wcs : TanSip
        The fit to all pairs: tells which reference stars are in the image.
    stars, reference, pairs
        What was fitted.
    order : int
        Of the fit.
    radius : float
        How far a detection may be from its prediction to count as found [pix].

    Returns
    -------
    HeldOut
        Counts over all folds. The four stars of the quad agree because they were sought for it:
        in the probability four found stars are left out.
    """
    x, y = wcs.sky_to_pixel(reference.ra, reference.dec)
    inside = np.flatnonzero(_inside(x, y, stars.shape))
    # Neighbours in brightness go to different folds, whatever their number.
    fold_of = np.full(len(reference), -1)
    fold_of[inside] = np.arange(inside.size) % _FOLDS
    tree = KDTree(stars.points)
    distances = []
    for fold in range(_FOLDS):
        kept = fold_of[pairs.reference] != fold
        rows = inside[fold_of[inside] == fold]
        if not rows.size or kept.sum() < _FEWEST:
            continue
        part = Pairs(
            star=pairs.star[kept], reference=pairs.reference[kept], distance=pairs.distance[kept]
        )
        columns = _columns(part, stars, reference)
        supported = min(order, _determined_order(int(kept.sum())))
        fit = fit_tan_sip(*columns, order=supported, shape=stars.shape, start=wcs)
        there = np.column_stack(fit.sky_to_pixel(reference.ra[rows], reference.dec[rows]))
        there = there[np.isfinite(there).all(axis=1)]
        if there.size:
            distances.append(tree.query(there)[0])
    distance = np.concatenate(distances) if distances else np.zeros(0)
    found = distance[distance <= radius]
    area = float(stars.shape[0] * stars.shape[1])
    chance = min(1.0, len(stars) * np.pi * radius**2 / area)
    n, k = len(distance) - _QUAD, len(found) - _QUAD
    probability = float(bdtrc(k - 1, n, chance)) if n > 0 and k > 0 else 1.0
    return HeldOut(
        predicted=len(distance),
        found=len(found),
        by_chance=chance * len(distance),
        probability=probability,
        radius=radius,
        distance=found * wcs.scale,
    )


def _determined_order(n: int) -> int:
    """Return the highest order that n stars determine."""
    order = 1
    while (order + 2) * (order + 3) // 2 < n and order < MAX_ORDER:
        order += 1
    return order
