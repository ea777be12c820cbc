"""What catalogue and Gaia table say, and whether they lie on the images."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence
from typing import Final

import numpy as np
from astropy.wcs import WCS
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats
from skyloom.calib import GAIA_EPOCH, at_epoch, has_motion, read_gaia_xp
from skyloom.catalogs import load_input_catalog, odd_shapes, source_types
from skyloom.detect.spot_check import SpotCheck
from skyloom.errors import UserMistake
from skyloom.geometry import Box, sky_to_pixel
from skyloom.images import Frame

from .check_bands import match_offset
from .check_report import Finding, Status
from .config import TileConfig
from .epochs import EPOCH_KEY, TileEpoch, tile_epoch

__all__ = ["catalog_findings", "gaia_findings"]

_TWINS: Final = 1.0  # pix
_OFFSET: Final = (0.5, 2.0)  # pix, of the catalogue from the sources: warning, problem
_MATCH: Final = 6.0  # pix
_INSIDE: Final = 0.5  # of the rows
_TYPES: Final = ("STAR", "EXP", "DEV", "SERSIC")
_FEW_GAIA: Final = 10


def catalog_findings(
    config: TileConfig, bands: list[str], frame: Frame, wcs: WCS, spots: SpotCheck
) -> Iterator[Finding]:
    """Judge the input catalogue; the first finding has the number of ``rows`` inside."""
    path = config.inputs.input_catalog
    if not path.exists():
        yield Finding(
            topic="catalogue",
            status=Status.PROBLEM,
            message=f"{path}: no such file",
            remedy="correct inputs.input_catalog, or make one: skyloom tile detect",
        )
        return
    try:
        catalog = load_input_catalog(path, bands=bands)
    except UserMistake as error:
        yield Finding(topic="catalogue", status=Status.PROBLEM, message=error.message)
        return
    x, y = sky_to_pixel(wcs, catalog.ra, catalog.dec)
    inside = Box.of_shape(frame.working_shape).contains(x, y)
    yield _rows(inside)
    if inside.any():
        yield _twins(x[inside], y[inside])
        yield from _alignment(x[inside], y[inside], spots)
    yield _shapes(odd_shapes(catalog.table, catalog.columns))
    yield _types(Counter(source_types(catalog.table, catalog.columns).tolist()), config)


def _rows(inside: Bools) -> Finding:
    share = float(inside.mean())
    status = Status.OK if share > _INSIDE else Status.WARNING if inside.any() else Status.PROBLEM
    return Finding(
        topic="catalogue",
        status=status,
        message=f"{inside.sum()} of {inside.size} rows inside the working frame",
        remedy=""
        if status == Status.OK
        else "check RA, DEC [deg] and their frame, and crop.margin, which cuts the frame",
        numbers={"rows": int(inside.size), "inside": int(inside.sum())},
    )


def _twins(x: Floats, y: Floats) -> Finding:
    pairs = cKDTree(np.stack([x, y], axis=1)).query_pairs(_TWINS, output_type="ndarray")
    count = len(pairs)
    return Finding(
        topic="duplicates",
        status=Status.WARNING if count else Status.OK,
        message=f"{count} pairs of rows closer than {_TWINS:g} pix",
        remedy="remove one of each pair: two sources at one place share their light at random"
        if count
        else "",
        numbers={"pairs": count},
    )


def _alignment(x: Floats, y: Floats, spots: SpotCheck) -> Iterator[Finding]:
    found = match_offset(spots.bright_x, spots.bright_y, x, y, _MATCH)
    if found is None:
        return
    dx, dy, error, count = found
    share = count / max(1, spots.bright_x.size)
    size = math.hypot(dx, dy)
    status = Status.OK
    if size > _OFFSET[0] + 2.0 * error:
        status = Status.PROBLEM if size > _OFFSET[1] + 2.0 * error else Status.WARNING
    elif share < 0.5:
        status = Status.WARNING
    yield Finding(
        topic="catalogue position",
        status=status,
        message=(
            f"sources lie {dx:+.2f}, {dy:+.2f} pix from their rows; {100 * share:.0f} % of the "
            "bright sources of the cut-outs have one"
        ),
        remedy=""
        if status == Status.OK
        else "correct RA, DEC or the WCS; what the catalogue lacks is masked when bright: add "
        "rows: skyloom tile detect --complete",
        numbers={"dx": dx, "dy": dy, "error": error, "matched": share},
    )


def _shapes(odd: Sequence[str]) -> Finding:
    parts = [text.partition("; ") for text in odd]
    return Finding(
        topic="shapes",
        status=Status.WARNING if odd else Status.OK,
        message="; ".join(problem for problem, _, _ in parts) or "ELL, THETA, Re can be",
        remedy="; ".join(meaning for _, _, meaning in parts),
        numbers={"columns": len(odd)},
    )


def _types(counts: Counter[str], config: TileConfig) -> Finding:
    known = {name: counts[name] for name in _TYPES if counts[name]}
    other = sum(counts.values()) - sum(known.values())
    text = ", ".join(f"{n} {name}" for name, n in known.items())
    if other:
        model = config.patch_run.gal_model.upper()
        text = f"{text}, {other} blank or other".lstrip(", ") + f": fitted as {model}"
    return Finding(
        topic="TYPE",
        status=Status.NOTE if other else Status.OK,
        message=text,
        remedy="give TYPE = STAR, EXP, DEV or SERSIC, or choose patch_run.gal_model"
        if other
        else "",
        numbers={**known, "other": other},
    )


def gaia_findings(config: TileConfig, frames: Sequence[Frame], wcs: WCS) -> Iterator[Finding]:
    """Judge the GaiaXP table against the frames; the first one's working region counts."""
    path = config.inputs.gaiaxp_synphot_csv
    if not (config.zp.enabled or config.epsf.use_gaiaxp):
        return
    if path is None or not path.exists():
        what = "zero points" if config.zp.enabled else "Gaia stars for the PSF"
        yield Finding(
            topic="Gaia",
            status=Status.WARNING if config.zp.enabled else Status.NOTE,
            message=f"{'not given' if path is None else f'{path}: no such file'}: no {what}",
            remedy="set inputs.gaiaxp_synphot_csv, or zp.enabled: false and epsf.use_gaiaxp: false",
        )
        return
    try:
        gaia = read_gaia_xp(path)
        if config.zp.enabled:
            gaia.require("source_id", "phot_g_mean_mag")
    except UserMistake as error:
        yield Finding(topic="Gaia", status=Status.PROBLEM, message=error.message)
        return
    epoch = tile_epoch(frames, config)
    gaia = at_epoch(gaia, epoch.year)
    x, y = sky_to_pixel(wcs, gaia.ra, gaia.dec)
    inside = Box.of_shape(frames[0].working_shape).contains(x, y)
    low, high = config.zp.gaia_mag_min, config.zp.gaia_mag_max
    usable = inside
    if gaia.g_mag is not None:
        usable = inside & (gaia.g_mag >= low) & (gaia.g_mag <= high)
    yield Finding(
        topic="Gaia",
        status=Status.OK if usable.sum() >= _FEW_GAIA else Status.WARNING,
        message=f"{inside.sum()} of {inside.size} stars in the frame, {usable.sum()} of G "
        f"{low:g} to {high:g}",
        remedy=""
        if usable.sum() >= _FEW_GAIA
        else "widen zp.gaia_mag_min, zp.gaia_mag_max, or check that the table covers the field",
        numbers={"inside": int(inside.sum()), "usable": int(usable.sum())},
    )
    if gaia.pmra is not None:
        yield _epoch(epoch, int((~has_motion(gaia))[inside].sum()))
    for band in (frame.band for frame in frames):
        mags = gaia.mag(band)
        count = 0 if mags is None else int(np.isfinite(mags[usable]).sum())
        few = count < _FEW_GAIA
        yield Finding(
            topic="Gaia magnitudes",
            band=band,
            status=Status.WARNING if few else Status.OK,
            message=f"no column mag_{band}" if mags is None else f"{count} stars with mag_{band}",
            remedy=f"add the column mag_{band} [AB mag]: without it the band has no zero point"
            if few
            else "",
            numbers={"stars": count},
        )


def _epoch(epoch: TileEpoch, still: int) -> Finding:
    """Judge whether Gaia stars can be moved to the date of the images."""
    status, message, remedy = Status.OK, epoch.text, ""
    if epoch.year is None:
        status, remedy = Status.WARNING, f"write one of these keywords, or set {EPOCH_KEY}"
        message += f": Gaia stars stay at {GAIA_EPOCH}"
    elif epoch.is_spread:
        status = Status.WARNING
        message += f"; bands up to {epoch.spread:.1f} yr apart: fast stars have no one position"
        remedy = "leave bands out, or accept it for fast stars"
    if still:
        message += f"; {still} stars without a proper motion"
    return Finding(
        topic="Gaia epoch",
        status=status,
        message=message,
        remedy=remedy,
        numbers={"jyear": epoch.year, "spread": epoch.spread, "still": still},
    )
