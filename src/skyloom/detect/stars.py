"""Choosing the stars that make the PSF.

The rules follow the tile pipeline's two modes (seeds from a Gaia catalogue, SEP detections), with
three differences, all because the PSF is fitted to the stars of the whole field together:

* margins are measured from the edge of the *image*, so that stars near borders of cells count;
* seeds are taken in order of brightness when magnitudes are given, else in the order of the table;
* SEP detections must lie on the locus of point sources in half-light radius, and must not be
  blended with something comparably bright.
"""

from __future__ import annotations

import itertools
import logging
import math
from dataclasses import dataclass

import numpy as np
import sep
from astropy.table import Table
from scipy.ndimage import binary_dilation
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.detect.extract import extract_candidates, zero_where
from skyloom.errors import WrongValue

__all__ = ["StarOptions", "StarSelection", "forced_radius", "select_psf_stars"]

log = logging.getLogger(__name__)

_MODES = ("sep", "gaia", "sep+gaia")
_BLEND = 0.02  # light of a neighbour at the star, relative to it, above which it is a blend
_SEEN = 0.02  # flux of a neighbour in the cutout, relative to the star, worth a flag
_LOCUS_START = 0.15  # half-width of the locus in ln r50 before its shape over the field is known
_LOCUS_MIN, _LOCUS_MAX = 0.06, 0.12  # and after


@dataclass(frozen=True, slots=True, kw_only=True)
class StarOptions:
    """Rules of selection; names and defaults as in the ``epsf`` section of the configuration.

    Parameters
    ----------
    mode : {"sep", "gaia", "sep+gaia"}
        Where stars come from.
    thresh_sigma, minarea : float, int
        SEP threshold [sigma] and smallest number of pixels.
    cutout_size, edge_pad : int
        Stars keep ``cutout_size // 2 + edge_pad`` pixels from the edge of the image.
    min_sep : float
        Smallest distance between two chosen stars [pix].
    max_stars : int
        Most stars in a cell.
    q_range : tuple of float
        Allowed ratio a / b of SEP's axes.
    gaia_snap_to_sep : bool
        Move seeds to the nearest detection within ``gaia_match_r_pix`` [pix].
    gaia_snr_min : float
        Smallest signal-to-noise ratio of a seed in the forced aperture.
    gaia_forced_k_fwhm, gaia_forced_rmin_pix, gaia_forced_rmax_pix : float
        Radius of that aperture: k * FWHM [pix] between limits [pix].
    star_sat_check_r : int, optional
        Half-size [pix] of the box that must not hold a saturated pixel; 0 switches the check off;
        default ``cutout_size // 2``.
    """

    mode: str = "sep+gaia"
    thresh_sigma: float = 10.0
    minarea: int = 25
    cutout_size: int = 61
    edge_pad: int = 10
    min_sep: float = 30.0
    max_stars: int = 30
    q_range: tuple[float, float] = (0.7, 1.3)
    gaia_snap_to_sep: bool = True
    gaia_match_r_pix: float = 5.0
    gaia_snr_min: float = 20.0
    gaia_forced_k_fwhm: float = 1.5
    gaia_forced_rmin_pix: float = 3.0
    gaia_forced_rmax_pix: float = 15.0
    star_sat_check_r: int | None = None

    def __post_init__(self) -> None:
        if self.mode not in _MODES:
            raise WrongValue(
                f"StarOptions: mode = {self.mode!r} is not one of {', '.join(_MODES)}; "
                "correct epsf.psfstar_mode",
                mode=self.mode,
            )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StarSelection:
    """The chosen stars, cell by cell in the order of choice; arrays over stars."""

    x: Floats  # pix
    y: Floats
    flux: Floats  # in the forced aperture
    snr: Floats
    r50: Floats  # half-light radius [pix]; NaN for seeds without a detection
    origin: tuple[str, ...]  # "sep", "gaia" or "both"
    cell: Ints  # row * n + column
    seed: Ints  # row of the seed table; -1 for none
    has_neighbour: Bools  # something at least 2 % as bright is in the cutout
    seeds_in_cell: Ints  # (n * n,)
    locus_r50: float  # typical half-light radius of stars [pix]; NaN when unknown
    locus_width: float  # half-width of the locus in ln r50; NaN when unknown
    rejected: dict[str, int]  # reason -> number of detections

    def __len__(self) -> int:
        return int(self.x.size)


def forced_radius(fwhm: float | None, options: StarOptions) -> float:
    """Return the radius of the forced aperture [pix]; 3 without a FWHM."""
    if fwhm is None or not np.isfinite(fwhm) or fwhm <= 0:
        return 3.0
    radius = float(
        np.clip(
            options.gaia_forced_k_fwhm * fwhm,
            options.gaia_forced_rmin_pix,
            options.gaia_forced_rmax_pix,
        )
    )
    return min(radius, options.cutout_size // 2 - 2.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Field:
    """The image and what is known of its pixels."""

    image: Pixels
    sigma: Pixels
    bad: Bools
    near_saturated: Bools
    fwhm: float  # pix; a guess where the header has none
    radius: float  # pix, of the forced aperture
    options: StarOptions

    def allowed(self, x: Floats, y: Floats) -> Bools:
        """Tell which positions keep the margin and lie on good, unsaturated ground."""
        ny, nx = self.image.shape
        need = self.options.cutout_size // 2 + self.options.edge_pad
        inside = (x > need) & (x < nx - need - 1) & (y > need) & (y < ny - need - 1)
        ix = np.clip(np.floor(np.where(inside, x, 0) + 0.5).astype(np.int64), 0, nx - 1)
        iy = np.clip(np.floor(np.where(inside, y, 0) + 0.5).astype(np.int64), 0, ny - 1)
        return np.asarray(inside & ~self.bad[iy, ix] & ~self.near_saturated[iy, ix])

    def aperture(self, x: Floats, y: Floats) -> tuple[Floats, Floats, Ints]:
        """Return flux, signal-to-noise ratio and SEP flag in the forced aperture."""
        if x.size == 0:
            return np.zeros(0), np.zeros(0), np.zeros(0, np.int64)
        flux, error, flag = sep.sum_circle(
            self.image, x, y, self.radius, err=self.sigma, mask=self.bad, subpix=5
        )
        return flux, flux / np.maximum(error, 1e-30), flag.astype(np.int64)


def select_psf_stars(
    image: Pixels,
    sigma: float | Pixels,
    *,
    bad: Bools,
    saturated: Bools,
    cells: int = 1,
    fwhm: float | None = None,
    options: StarOptions | None = None,
    candidates: Table | None = None,
    seeds_x: Floats | None = None,
    seeds_y: Floats | None = None,
    seeds_mag: Floats | None = None,
    hints_x: Floats | None = None,
    hints_y: Floats | None = None,
) -> StarSelection:
    """Choose PSF stars over a whole image.

    Parameters
    ----------
    image : ndarray, shape (ny, nx)
        Background-subtracted image.
    sigma : float or ndarray, shape (ny, nx)
        Sky noise of a pixel [unit of the image].
    bad, saturated : ndarray of bool, shape (ny, nx)
        Pixels that must not be used, and those that are saturated.
    cells : int
        Cells per axis; ``max_stars`` holds in each.
    fwhm : float, optional
        FWHM of the PSF [pix], from the header.
    options : StarOptions, optional
        Rules.
    candidates : Table, optional
        Detections with ``x, y, a, b, flux``; made here when absent.
    seeds_x, seeds_y, seeds_mag : ndarray of float, optional
        Known stars [pix; mag]; positions that are not finite are ignored.
    hints_x, hints_y : ndarray of float, optional
        Sources that a catalogue calls stars: they tell where the locus of stars lies.

    Returns
    -------
    StarSelection
        May be empty.
    """
    options = options if options is not None else StarOptions()
    noise = np.broadcast_to(np.asarray(sigma, np.float32), image.shape)
    bad = np.ascontiguousarray(bad | ~np.isfinite(image) | ~(noise > 0))
    half = (
        options.cutout_size // 2 if options.star_sat_check_r is None else options.star_sat_check_r
    )
    field = _Field(
        image=zero_where(bad, image),
        sigma=np.where(bad, np.float32(1.0), noise),
        bad=bad,
        near_saturated=_box_dilated(saturated, half),
        fwhm=fwhm if fwhm is not None and np.isfinite(fwhm) and fwhm > 0 else 4.0,
        radius=forced_radius(fwhm, options),
        options=options,
    )
    if candidates is None:
        candidates = extract_candidates(
            field.image, field.sigma, bad, thresh=options.thresh_sigma, minarea=options.minarea
        )
    seeds = _seeds(seeds_x, seeds_y, seeds_mag, options)
    stars = _detections(field, candidates, seeds, hints_x, hints_y)
    return _chosen(field, stars, seeds, cells)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Detections:
    """SEP detections, brightest first."""

    x: Floats
    y: Floats
    flux: Floats  # SEP's
    r50: Floats
    accepted: Bools  # may be chosen as a star of its own
    usable: Bools  # may lend its position to a seed
    seen: Bools  # has a neighbour in the cutout
    locus_r50: float
    locus_width: float
    rejected: dict[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Seeds:
    """Known stars in the order in which they are tried."""

    x: Floats
    y: Floats
    row: Ints


def _seeds(x: Floats | None, y: Floats | None, mag: Floats | None, options: StarOptions) -> _Seeds:
    if x is None or y is None or "gaia" not in options.mode:
        return _Seeds(x=np.zeros(0), y=np.zeros(0), row=np.zeros(0, np.int64))
    x, y = np.asarray(x, np.float64), np.asarray(y, np.float64)
    row = np.flatnonzero(np.isfinite(x) & np.isfinite(y))
    if mag is not None:
        row = row[np.argsort(np.asarray(mag, np.float64)[row], kind="stable")]
    return _Seeds(x=x[row], y=y[row], row=row)


def _box_dilated(mask: Bools, half: int) -> Bools:
    """Tell where a box of half-size ``half`` about the pixel holds a True; never for half = 0."""
    if half <= 0 or not mask.any():
        return np.zeros(mask.shape, dtype=bool)
    rows = binary_dilation(mask, np.ones((2 * half + 1, 1), dtype=bool))
    return np.asarray(binary_dilation(rows, np.ones((1, 2 * half + 1), dtype=bool)))


def _detections(
    field: _Field,
    table: Table,
    seeds: _Seeds,
    hints_x: Floats | None,
    hints_y: Floats | None,
) -> _Detections:
    order = np.argsort(-np.asarray(table["flux"], np.float64), kind="stable")
    x, y, a, b, flux = (
        np.asarray(table[name], np.float64)[order] for name in ("x", "y", "a", "b", "flux")
    )
    low, high = field.options.q_range
    ratio = a / np.where(b > 0, b, np.nan)
    allowed = field.allowed(x, y)
    round_enough = (b > 0) & (ratio >= low) & (ratio <= high)
    blended, seen = _neighbours(field, x, y, flux)
    clean = allowed & round_enough & ~blended
    r50 = _half_light_radius(field, x, y)
    hinted = _near(x, y, seeds.x, seeds.y, field.options.gaia_match_r_pix)
    if hints_x is not None and hints_y is not None:
        hinted |= _near(x, y, hints_x, hints_y, field.options.gaia_match_r_pix)
    _, snr, _ = field.aperture(x, y)
    on_locus, centre, width = _locus(field, x, y, r50=r50, snr=snr, clean=clean, hinted=hinted)
    rejected = {
        "edge, bad or saturated": int((~allowed).sum()),
        "elongated": int((allowed & ~round_enough).sum()),
        "blended": int((allowed & round_enough & blended).sum()),
        "off the locus of stars": int((clean & ~on_locus).sum()),
    }
    log.debug("PSF star candidates: %d, rejected %s", x.size, rejected)
    return _Detections(
        x=x,
        y=y,
        flux=flux,
        r50=r50,
        accepted=clean & on_locus,
        usable=allowed & round_enough,
        seen=seen,
        locus_r50=centre,
        locus_width=width,
        rejected=rejected,
    )


def _near(x: Floats, y: Floats, to_x: Floats, to_y: Floats, radius: float) -> Bools:
    """Tell which positions have one of the others within ``radius``; those may hold NaN."""
    good = np.isfinite(to_x) & np.isfinite(to_y)
    if x.size == 0 or not good.any():
        return np.zeros(x.size, dtype=bool)
    tree = cKDTree(np.stack([np.asarray(to_x)[good], np.asarray(to_y)[good]], axis=1))
    distance, _ = tree.query(np.stack([x, y], axis=1), distance_upper_bound=radius)
    return np.asarray(np.isfinite(distance))


def _neighbours(field: _Field, x: Floats, y: Floats, flux: Floats) -> tuple[Bools, Bools]:
    """Tell which detections are blended, and which have company in their cutout."""
    blended, seen = np.zeros(x.size, bool), np.zeros(x.size, bool)
    if x.size < 2:
        return blended, seen
    reach = field.options.cutout_size / 2.0
    tree = cKDTree(np.stack([x, y], axis=1))
    pairs = tree.query_pairs(reach, output_type="ndarray")
    first = np.concatenate([pairs[:, 0], pairs[:, 1]])
    other = np.concatenate([pairs[:, 1], pairs[:, 0]])
    distance = np.hypot(x[first] - x[other], y[first] - y[other])
    share = np.maximum(flux[other], 0) / np.maximum(flux[first], 1e-30)
    # Wings of a Moffat of beta 2.5: an equal neighbour blends within two FWHM
    spilled = share * (1.0 + (distance / field.fwhm) ** 2) ** -2.5
    blended[first[spilled > _BLEND]] = True
    seen[first[share > _SEEN]] = True
    return blended, seen


def _half_light_radius(field: _Field, x: Floats, y: Floats) -> Floats:
    if x.size == 0:
        return np.zeros(0)
    reach = np.full(x.size, 3.0 * field.fwhm)
    r50, flag = sep.flux_radius(field.image, x, y, reach, 0.5, mask=field.bad, subpix=5)
    r50 = np.asarray(r50, dtype=np.float64)
    return np.where((r50 > 0.3) & ((flag & ~sep.APER_HASMASKED) == 0), r50, np.nan)


def _locus(
    field: _Field,
    x: Floats,
    y: Floats,
    *,
    r50: Floats,
    snr: Floats,
    clean: Bools,
    hinted: Bools,
) -> tuple[Bools, float, float]:
    """Tell which detections have the size of a star; return also its centre and half-width.

    The densest size of the clean detections (of those hinted at, where there are three) starts
    the locus; a quadratic surface over the field then follows the PSF.
    """
    size = np.log(r50, out=np.full(r50.size, np.nan), where=r50 > 0)
    good = clean & np.isfinite(size) & (snr > field.options.gaia_snr_min)
    known = good & hinted
    if not good.any():
        return np.zeros(x.size, dtype=bool), float("nan"), float("nan")
    centre = float(np.median(size[known])) if known.sum() >= 3 else _densest(size[good])
    ny, nx = field.image.shape
    u, v = 2.0 * x / nx - 1.0, 2.0 * y / ny - 1.0
    terms = np.stack([np.ones_like(u), u, v, u * u, u * v, v * v], axis=1)
    surface = np.full(x.size, centre)
    width = _LOCUS_START
    for _ in range(4):
        near = good & (np.abs(size - surface) < width)
        n_terms = 6 if near.sum() >= 30 else 3 if near.sum() >= 12 else 1
        if near.sum() >= 3:
            solution = np.linalg.lstsq(terms[near, :n_terms], size[near], rcond=None)[0]
            surface = terms[:, :n_terms] @ solution
            scatter = 1.4826 * float(np.median(np.abs(size[near] - surface[near])))
            width = float(np.clip(3.0 * scatter, _LOCUS_MIN, _LOCUS_MAX))
    # noise of a half-light radius: about that of the flux
    tolerance = width + 1.5 / np.maximum(snr, 1.0)
    on = np.isfinite(size) & (np.abs(size - surface) < tolerance)
    return np.asarray(on), float(np.exp(np.median(surface))), width


def _densest(size: Floats) -> float:
    """Centre of the window of 0.1 in ln r50 that holds most detections; the smallest of equals."""
    size = np.sort(size)
    count = np.searchsorted(size, size + 0.1, side="right") - np.arange(size.size)
    start = int(np.argmax(count))
    return float(np.median(size[start : start + count[start]]))


def _chosen(field: _Field, stars: _Detections, seeds: _Seeds, cells: int) -> StarSelection:
    o = field.options
    ny, nx = field.image.shape
    cell_of_seed = _cell(seeds.x, seeds.y, nx, ny, cells)
    cell_of_star = _cell(stars.x, stars.y, nx, ny, cells)
    picks = _Picks(o.min_sep)
    for cell in range(cells * cells):
        n_here = 0
        if "gaia" in o.mode:
            rows = np.flatnonzero(cell_of_seed == cell)
            n_here = _take_seeds(field, stars, seeds, rows=rows, cell=cell, picks=picks)
        if "sep" in o.mode:
            for row in np.flatnonzero((cell_of_star == cell) & stars.accepted):
                if n_here >= o.max_stars:
                    break
                pick = _Pick(float(stars.x[row]), float(stars.y[row]), "sep", cell, -1, int(row))
                n_here += picks.add(pick)
    x, y = np.array([p.x for p in picks.all]), np.array([p.y for p in picks.all])
    flux, snr, _ = field.aperture(x, y)
    rows = np.array([p.detection for p in picks.all], dtype=np.int64)
    r50, seen = np.full(x.size, np.nan), np.zeros(x.size, bool)
    r50[rows >= 0] = stars.r50[rows[rows >= 0]]
    seen[rows >= 0] = stars.seen[rows[rows >= 0]]
    inside = (seeds.x >= -0.5) & (seeds.x < nx - 0.5) & (seeds.y >= -0.5) & (seeds.y < ny - 0.5)
    return StarSelection(
        x=x,
        y=y,
        flux=flux,
        snr=snr,
        r50=r50,
        origin=tuple(p.origin for p in picks.all),
        cell=np.array([p.cell for p in picks.all], dtype=np.int64),
        seed=np.array([p.seed for p in picks.all], dtype=np.int64),
        has_neighbour=seen,
        seeds_in_cell=np.bincount(cell_of_seed[inside], minlength=cells * cells),
        locus_r50=stars.locus_r50,
        locus_width=stars.locus_width,
        rejected=stars.rejected,
    )


@dataclass(frozen=True, slots=True)
class _Pick:
    x: float
    y: float
    origin: str
    cell: int
    seed: int
    detection: int  # row of the detections; -1 for none


def _cell(x: Floats, y: Floats, nx: int, ny: int, cells: int) -> Ints:
    column = np.clip(np.floor(x / max(1, nx // cells)), 0, cells - 1)
    row = np.clip(np.floor(y / max(1, ny // cells)), 0, cells - 1)
    return np.asarray(row * cells + column, dtype=np.int64)


class _Picks:
    """The stars chosen so far, which keep their distance from each other."""

    def __init__(self, min_sep: float) -> None:
        self.all: list[_Pick] = []
        self._reach = max(min_sep, 1.0)
        self._min_sep2 = min_sep**2
        self._buckets: dict[tuple[int, int], list[_Pick]] = {}

    def add(self, pick: _Pick) -> bool:
        """Take a star unless it is too close to one taken before; tell whether it was."""
        i, j = math.floor(pick.x / self._reach), math.floor(pick.y / self._reach)
        for key in itertools.product((i - 1, i, i + 1), (j - 1, j, j + 1)):
            for p in self._buckets.get(key, ()):
                if (pick.x - p.x) ** 2 + (pick.y - p.y) ** 2 < self._min_sep2:
                    return False
        self._buckets.setdefault((i, j), []).append(pick)
        self.all.append(pick)
        return True


def _take_seeds(
    field: _Field, stars: _Detections, seeds: _Seeds, *, rows: Ints, cell: int, picks: _Picks
) -> int:
    """Take the seeds of a cell that pass; return their number."""
    o, taken = field.options, 0
    allowed = field.allowed(seeds.x[rows], seeds.y[rows])
    used: set[int] = set()
    for row in rows[allowed]:
        if taken >= o.max_stars:
            break
        x, y, origin, found = float(seeds.x[row]), float(seeds.y[row]), "gaia", -1
        distance = np.hypot(stars.x - x, stars.y - y)
        near = np.flatnonzero(stars.usable & (distance <= o.gaia_match_r_pix))
        free = [int(i) for i in near[np.argsort(distance[near], kind="stable")] if i not in used]
        if free:
            origin, found = "both", free[0]
            if o.gaia_snap_to_sep:
                x, y = float(stars.x[found]), float(stars.y[found])
        _, snr, flag = field.aperture(np.array([x]), np.array([y]))
        pick = _Pick(x, y, origin, cell, int(seeds.row[row]), found)
        if flag[0] == 0 and snr[0] >= o.gaia_snr_min and picks.add(pick):
            taken += 1
            used.add(found)
    return taken
