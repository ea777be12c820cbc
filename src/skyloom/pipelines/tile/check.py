"""``tile check``: what a run would stumble over, from headers and a few cut-outs.

Each subject has its module: `check_bands` (images), `check_tables` (catalogue, Gaia),
`check_cost`.  Here they are called, and what concerns the tile as a whole is judged.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Final

import numpy as np

from skyloom.catalogs import read_image_list
from skyloom.detect.spot_check import SpotCheck
from skyloom.geometry import patch_grid
from skyloom.images import Frame, frame_wcs

from .check_bands import band_findings, measure_band
from .check_cost import cost_findings, tile_cost
from .check_report import CheckReport, Finding, Status
from .check_tables import catalog_findings, gaia_findings
from .config import TileConfig, require_inputs
from .load import SMALL_CROP, crop_share, read_tile_frames, white_frames
from .noise import stated_noise, with_level
from .work import worker_count, workers_python

__all__ = ["check_tile"]

_ZP_SPREAD: Final = 6.0  # mag between bands of one tile: more is a placeholder or another unit
_SAID_HERE: Final = ("skyloom.images.frame", "skyloom.catalogs")


def check_tile(config: TileConfig, *, tell: Callable[[str], None] | None = None) -> CheckReport:
    """Look at the inputs of a run; nothing is written.

    Parameters
    ----------
    config : TileConfig
        A loaded configuration; the input catalogue need not exist.
    tell : callable, optional
        Called with what is looked at next.

    Returns
    -------
    CheckReport
        Findings about the frame, each band, the catalogue, Gaia and the cost.

    Raises
    ------
    UserMistake
        If headers are missing or images do not match: then there is nothing to measure; or if the
        interpreter of the workers cannot be used.
    """
    tell = tell or (lambda _what: None)
    require_inputs(config, ["inputs.image_list_file", "outputs.work_dir"])
    workers_python(config)
    with _quiet():
        tell("headers")
        paths = read_image_list(config.inputs.image_list_file, base=config.directory)
        frames = list(read_tile_frames(list(paths), config))
        white_frames(frames, config)  # refuses bands that do not exist
        findings = [_frame(frames), *_zero_points(frames), _cells(frames[0], config)]
        spots: dict[str, SpotCheck] = {}
        for frame in frames:
            tell(f"band {frame.band}")
            spots[frame.band] = measure_band(with_level(stated_noise(frame)), config)
        findings += _bands(frames, spots, config)
        tell("catalogues")
        findings += _tables(frames, spots, config)
    return CheckReport(findings=tuple(findings))


def _bands(
    frames: list[Frame], spots: dict[str, SpotCheck], config: TileConfig
) -> Iterator[Finding]:
    name = _reference(spots)
    for frame in frames:
        yield from band_findings(frame, spots[frame.band], (name, spots[name]), config)


def _reference(spots: dict[str, SpotCheck]) -> str:
    """Return the band with the most stars: positions are compared with it."""
    return max(spots, key=lambda band: (spots[band].n_stars, spots[band].bright_x.size))


def _tables(frames: list[Frame], spots: dict[str, SpotCheck], config: TileConfig) -> list[Finding]:
    bands, first = [frame.band for frame in frames], frames[0]
    wcs = frame_wcs(first)
    found = list(catalog_findings(config, bands, first, wcs, spots[_reference(spots)]))
    n_sources = int(found[0].numbers.get("inside") or 0)
    found += gaia_findings(config, frames, wcs)
    cost = tile_cost(
        config,
        shape=first.working_shape,
        n_bands=len(bands),
        n_sources=n_sources,
        workers=worker_count(config),
    )
    return [*found, *cost_findings(cost, config.outputs.work_dir)]


def _frame(frames: list[Frame]) -> Finding:
    first = frames[0]
    ny, nx = first.working_shape
    is_small = crop_share(first) < SMALL_CROP
    cut = "" if first.box.shape == first.shape else f" of {first.shape[1]} x {first.shape[0]}"
    return Finding(
        topic="frame",
        status=Status.WARNING if is_small else Status.OK,
        remedy="lower crop.margin, or set crop.enabled: false: most of the image is cut off"
        if is_small
        else "",
        message=f"{len(frames)} bands, {nx} x {ny}{cut} pix of {first.pixel_scale:.3f} arcsec, one "
        "grid",
        numbers={"bands": len(frames), "nx": nx, "ny": ny, "pixel_scale": first.pixel_scale},
    )


def _zero_points(frames: list[Frame]) -> Iterator[Finding]:
    """Point at bands whose ZP_AUTO is so far from the others' that it is no zero point."""
    middle = float(np.median([frame.zp_auto for frame in frames]))
    for frame in frames:
        if abs(frame.zp_auto - middle) > _ZP_SPREAD:
            yield Finding(
                topic="ZP_AUTO",
                band=frame.band,
                status=Status.WARNING,
                message=f"{frame.zp_auto:g} mag, that of the middle band {middle:g} mag",
                remedy="write the AB magnitude of one ADU into ZP_AUTO, or set zp_auto under "
                "skyloom.images",
                numbers={"zp_auto": frame.zp_auto, "middle": middle},
            )


def _cells(frame: Frame, config: TileConfig) -> Finding:
    """Judge the size of the cells; a grid finer than the pixels is a mistake of the user's."""
    epsf, shape = config.epsf, frame.working_shape
    patch_grid(shape, epsf_ngrid=epsf.epsf_ngrid, ngrid=epsf.ngrid, halo=0)
    side, need = min(shape) // epsf.epsf_ngrid, epsf.cutout_size // 2 + epsf.edge_pad
    fits = side > 2 * need + 1
    return Finding(
        topic="cells",
        status=Status.OK if fits else Status.WARNING,
        message=f"{epsf.epsf_ngrid} x {epsf.epsf_ngrid} ePSF cells of {side} pix; a star keeps "
        f"{need} pix from the edge of the image",
        remedy="" if fits else f"lower epsf.epsf_ngrid, now {epsf.epsf_ngrid}",
        numbers={"side": side, "margin": need},
    )


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep warnings that become findings to themselves meanwhile."""
    loggers = [logging.getLogger(name) for name in _SAID_HERE]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
