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

from skyloom.calib import read_gaia_xp
from skyloom.catalogs import load_input_catalog, read_image_list
from skyloom.errors import Unwritable, UserMistake, WrongValue
from skyloom.geometry import patch_grid
from skyloom.images import Frame

from .config import TileConfig, require_inputs
from .load import read_tile_frames
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
        problems.catch(lambda: load_input_catalog(config.inputs.input_catalog, bands=bands))
    if frames:
        problems.catch(lambda: _check_grid(config, frames[0]))
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


def _gaia(config: TileConfig) -> Path | None:
    path = config.inputs.gaiaxp_synphot_csv
    if path is not None and path.is_file():
        return path
    log.warning(
        "GaiaXP catalogue not found: %s; the run goes on without Gaia stars and zero points",
        "inputs.gaiaxp_synphot_csv is null" if path is None else path,
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
