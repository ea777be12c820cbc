"""Checks before any work: all inputs and directories, all problems in one message."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TypeVar

import numpy as np

from skyloom._types import Floats
from skyloom.calib import read_gaia_xp
from skyloom.catalogs import InputCatalog, load_input_catalog, read_image_list
from skyloom.catalogs.values import table_name
from skyloom.errors import Mismatch, Unwritable, UserMistake, WrongValue
from skyloom.geometry import Box, patch_grid, pixel_to_sky, sky_to_pixel
from skyloom.images import Frame, frame_wcs

from .config import TileConfig, require_inputs
from .frame_sections import zoom_region
from .load import read_tile_frames, white_frames
from .merge import is_merged

__all__ = ["TileInputs", "check_inputs"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# What these say about the inputs is said again by the stages that read them.
_SAID_LATER = ("skyloom.images.frame", "skyloom.catalogs.input_catalog", "skyloom.catalogs.columns")


@dataclass(frozen=True, slots=True, kw_only=True)
class TileInputs:
    """The user's files, checked."""

    catalog: Path
    images: dict[str, Path]  # by band, in the order of the image list
    maps: dict[tuple[str, str], Path]  # of the images, by band and kind
    gaia: Path | None  # None: not given, or no such file


@dataclass(slots=True)
class _Problems:
    """Collects mistakes, so that a user learns of all of them at once."""

    found: list[UserMistake] = field(default_factory=list)

    def catch(self, check: Callable[[], T]) -> T | None:
        """Return what a check returns; None where it found a mistake."""
        try:
            return check()
        except UserMistake as error:
            self.found.append(error)
            return None

    def report(self) -> None:
        """Raise all mistakes as one; of the class of the first."""
        if len(self.found) == 1:
            raise self.found[0]
        if self.found:
            messages = [error.message for error in self.found]
            raise type(self.found[0])("\n".join(messages), problems=messages)


def check_inputs(config: TileConfig, *, needs_gaia: bool) -> TileInputs:
    """Check a configuration against the files that it names.

    Parameters
    ----------
    config : TileConfig
        A loaded configuration.
    needs_gaia : bool
        The run uses the GaiaXP catalogue if there is one; without it there is a warning.

    Returns
    -------
    TileInputs

    Raises
    ------
    ConfigError
        If required inputs are not set.
    UserMistake
        With the problems of all images, catalogues and directories; it has the class of the first.
    """
    require_inputs(config)
    problems = _Problems()
    with _quiet(_SAID_LATER):
        frames = problems.catch(lambda: _frames(config))
        bands = [frame.band for frame in frames] if frames else []
        catalog = problems.catch(
            lambda: load_input_catalog(config.inputs.input_catalog, bands=bands)
        )
    if frames:
        problems.catch(lambda: _check_grid(config, frames[0]))
        problems.catch(lambda: white_frames(frames, config))
        _check_zoom(config, frames[0])
        if catalog is not None:
            problems.catch(lambda: _check_positions(catalog, frames[0]))
    gaia = _gaia(config) if needs_gaia else None
    if gaia is not None:
        problems.catch(lambda: _check_gaia(config, gaia))
    for directory in _directories(config):
        problems.catch(partial(_check_writeable, directory))
    problems.report()
    assert frames is not None
    return TileInputs(
        catalog=config.inputs.input_catalog,
        images={frame.band: frame.path for frame in frames},
        maps={
            (frame.band, kind): file.path
            for frame in frames
            for kind, file in frame.maps.files.items()
        },
        gaia=gaia,
    )


def _frames(config: TileConfig) -> tuple[Frame, ...]:
    paths = read_image_list(config.inputs.image_list_file, base=config.directory)
    return read_tile_frames(list(paths), config)


def _check_grid(config: TileConfig, frame: Frame) -> None:
    """Refuse a grid finer than the pixels; warn of cells that can have no star."""
    shape, epsf = frame.working_shape, config.epsf
    grid = patch_grid(shape, epsf_ngrid=epsf.epsf_ngrid, ngrid=epsf.ngrid, halo=0)
    pattern = config.merge.pattern
    if not any(is_merged(patch.tag, pattern) for patch in grid.patches):
        tag = grid.patches[0].tag
        raise WrongValue(
            f"merge.pattern = {pattern!r} matches no catalogue of a patch, such as "
            f"{tag}/{tag}_cat_fit.csv; '*_cat_fit.csv' matches all of them",
            key="merge.pattern",
            value=pattern,
        )
    need = epsf.cutout_size // 2 + epsf.edge_pad
    side = min(shape) // epsf.epsf_ngrid
    if side <= 2 * need + 1:
        log.warning(
            "ePSF cells have only %d pixels: no star can keep %d pixels (epsf.cutout_size // 2 + "
            "epsf.edge_pad) from their borders; lower epsf.epsf_ngrid, now %d",
            side,
            need,
            epsf.epsf_ngrid,
        )


def _check_positions(catalog: InputCatalog, frame: Frame) -> None:
    """Refuse a catalogue of which no row lies in the working frame."""
    box, wcs = Box.of_shape(frame.working_shape), frame_wcs(frame)
    if box.contains(*sky_to_pixel(wcs, catalog.ra, catalog.dec)).any():
        return
    where = table_name(catalog.table)
    if not catalog.has_position.any():
        raise Mismatch(f"{where}: no row has a finite RA, DEC; give positions [deg]", file=where)
    x = np.linspace(box.x0, box.x1 - 1.0, 9)
    y = np.linspace(box.y0, box.y1 - 1.0, 9)
    sky = pixel_to_sky(wcs, *(axis.ravel() for axis in np.meshgrid(x, y)))
    raise Mismatch(
        f"{where}: none of its {len(catalog)} sources, at {_extent(catalog.ra, catalog.dec)}, lies "
        f"in the working frame at {_extent(*sky)}; give RA, DEC in degrees and in the frame of "
        "the images' WCS, or another catalogue, or lower crop.margin",
        file=where,
    )


def _extent(ra: Floats, dec: Floats) -> str:
    """Return the range of positions as text."""
    ends = [f(v) for v in (ra, dec) for f in (np.nanmin, np.nanmax)]
    return "RA {:.4f} to {:.4f}, DEC {:.4f} to {:.4f}".format(*ends)


def _check_zoom(config: TileConfig, frame: Frame) -> None:
    """Warn of a zoom that would show nothing."""
    overlay, shape = config.overlay, frame.working_shape
    if config.skyloom.plots != "all" or not overlay.has_zoom:
        return
    region = zoom_region(overlay.zoom_box, shape)
    if region != overlay.zoom_box:
        log.warning(
            "overlay.zoom_box = %s lies outside the working frame of %d x %d pixels: "
            "white_overlay_zoom.png shows %s instead; set a box inside",
            list(overlay.zoom_box),
            *shape[::-1],
            list(region),
        )


def _gaia(config: TileConfig) -> Path | None:
    path = config.inputs.gaiaxp_synphot_csv
    if path is not None and path.is_file():
        return path
    where = "inputs.gaiaxp_synphot_csv is null" if path is None else str(path)
    remedy = "" if path is None else "; correct inputs.gaiaxp_synphot_csv, or set it to null"
    log.warning(
        "GaiaXP catalogue not found: %s; the run goes on without Gaia stars and zero points%s",
        where,
        remedy,
    )
    return None


def _check_gaia(config: TileConfig, path: Path) -> None:
    gaia = read_gaia_xp(path)
    if config.zp.enabled:
        gaia.require("source_id", "phot_g_mean_mag")


def _directories(config: TileConfig) -> list[Path]:
    out = config.outputs
    if out.work_dir.exists() and not out.work_dir.is_dir():
        return [out.work_dir]  # the others are mostly below it
    others = (out.epsf_dir, out.patches_dir, out.patch_inputs_dir, out.tractor_out_dir)
    return list(dict.fromkeys([out.work_dir, *others, out.final_catalog.parent]))


def _check_writeable(directory: Path) -> None:
    """Check that a directory can be made and written to, without making it."""
    place = directory
    while not place.exists() and place != place.parent:
        place = place.parent
    if not place.is_dir():
        raise Unwritable(
            f"{directory}: cannot be created, {place} is a file; correct outputs in the "
            "configuration",
            path=directory,
        )
    if not os.access(place, os.W_OK | os.X_OK):
        raise Unwritable(
            f"{directory}: cannot be written, {place} is not writeable; correct outputs in the "
            "configuration, or the permissions",
            path=directory,
        )


@contextmanager
def _quiet(names: tuple[str, ...]) -> Iterator[None]:
    """Keep warnings of some loggers to themselves meanwhile."""
    loggers = [logging.getLogger(name) for name in names]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)
