"""The input catalogue with what it lacks: rows for sources that only the images show."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Final

import numpy as np
from astropy.table import Table
from scipy.spatial import cKDTree

from skyloom._types import Bools, Floats
from skyloom.butler import write_atomic
from skyloom.catalogs import (
    InputCatalog,
    column_as_float,
    column_as_text,
    load_input_catalog,
    read_image_list,
    text_array,
    write_csv,
)
from skyloom.errors import OutputExists
from skyloom.geometry import sky_to_pixel
from skyloom.images import frame_wcs

from .config import TileConfig, require_inputs
from .detection import DetectedCatalog, check_output, detect_catalog, given_options
from .load import read_tile_frames

__all__ = ["CompletedCatalog", "complete_catalog", "complete_to_file"]

NEAR: Final = 1.0  # FWHM: a detection this near to a row is the row's source
INSIDE: Final = 2.0  # half-light radii: what lies within is part of a galaxy, not another source
LARGEST: Final = 10.0  # FWHM; a half-light radius beyond is a mistake of the catalogue
SHARED: Final = ("TYPE", "ELL", "THETA", "Re")
"""Columns of what was detected that a row takes along; absent and empty mean the same in them."""

PREFIX: Final = "new_"  # of the IDs of added rows


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CompletedCatalog:
    """An input catalogue, as text columns: the user's rows as they stand, then those added."""

    table: Table
    n_given: int
    n_detected: int

    def summary(self) -> str:
        """Say what was added in one line."""
        added = len(self.table) - self.n_given
        return (
            f"{self.n_given} rows as they stand, {added} added; the other "
            f"{self.n_detected - added} detected sources have a row, or are part of a galaxy"
        )


def complete_catalog(catalog: InputCatalog, detected: DetectedCatalog) -> CompletedCatalog:
    """Add to a catalogue the detected sources that it lacks.

    Parameters
    ----------
    catalog : InputCatalog
        Its rows stay as they are; TYPE, ELL, THETA, Re are added, empty, where it lacks them.
    detected : DetectedCatalog
        What the images show.

    Notes
    -----
    A detection is new if no row lies within one FWHM, nor within two half-light radii of a row's
    galaxy: catalogues list large galaxies once, detections find their arms and knots as well.
    """
    found = detected.detections.table
    x, y = sky_to_pixel(frame_wcs(detected.frame), catalog.ra, catalog.dec)
    placed = catalog.has_position & np.isfinite(x) & np.isfinite(y)
    listed = _listed(
        np.stack([found["x"], found["y"]], axis=1),
        np.stack([x, y], axis=1)[placed],
        _radii(catalog)[placed],
        detected.fwhm,
    )
    table = _joined(catalog, detected.table[~listed])
    return CompletedCatalog(table=table, n_given=len(catalog), n_detected=len(found))


def complete_to_file(
    config: TileConfig, path: Path, *, force: bool = False, **options: float | None
) -> CompletedCatalog:
    """Detect sources and write the input catalogue followed by those that it lacks.

    Parameters
    ----------
    config : TileConfig
        Needs the image list and ``inputs.input_catalog``, which is not changed.
    path : Path
        CSV file, another than the input catalogue.
    force : bool
        Overwrite it.
    **options
        Fields of `skyloom.detect.DetectOptions`; None: its default.

    Raises
    ------
    UserMistake
        If the file exists, is the input catalogue itself, or the inputs cannot be used.
    """
    given = config.inputs.input_catalog
    if path.resolve() == given.resolve():
        raise OutputExists(
            f"{path}: is the input catalogue, which is never changed; choose another --out",
            path=path,
        )
    check_output(path, force=force)
    require_inputs(config, ["inputs.input_catalog", "inputs.image_list_file"])
    paths = read_image_list(config.inputs.image_list_file, base=config.directory)
    bands = [frame.band for frame in read_tile_frames(list(paths), config)]
    catalog = load_input_catalog(given, bands=bands)
    completed = complete_catalog(catalog, detect_catalog(config, options=given_options(options)))
    write_atomic(path, lambda part: write_csv(completed.table, part))
    return completed


def _radii(catalog: InputCatalog) -> Floats:
    """Return the half-light radius of each row [pix], 0 where none is known."""
    name = catalog.columns.re
    if name is None:
        return np.zeros(len(catalog))
    return np.nan_to_num(column_as_float(catalog.table, name), posinf=0.0)


def _listed(found: Floats, rows: Floats, radii: Floats, fwhm: float) -> Bools:
    """Tell which detections are the source of a row, or a part of it."""
    listed = np.zeros(len(found), dtype=np.bool_)
    if len(found) and len(rows):
        reach = np.maximum(NEAR * fwhm, INSIDE * np.clip(radii, 0.0, LARGEST * fwhm))
        for members in cKDTree(found).query_ball_point(rows, reach):
            listed[members] = True
    return listed


def _joined(catalog: InputCatalog, new: Table) -> Table:
    """Return the rows of a catalogue followed by detections, all columns as text."""
    own, given = catalog.columns, catalog.table
    places = (own.ra, own.dec, own.id, own.type, own.ell, own.theta, own.re)
    meaning = {p: n for p, n in zip(places, ("RA", "DEC", "ID", *SHARED), strict=True) if p}
    lacking = [name for name in SHARED if name not in meaning.values()]
    meaning |= {name: name for name in lacking}
    added = {name: column_as_text(new, name).tolist() for name in ("RA", "DEC", *SHARED)}
    added["ID"] = _new_ids(len(new), set(catalog.key.tolist()))
    blank = [""] * len(new)
    columns = {name: column_as_text(given, name).tolist() for name in given.colnames}
    columns |= {name: [""] * len(given) for name in lacking}
    return Table(
        {
            name: text_array(cells + (added[meaning[name]] if name in meaning else blank))
            for name, cells in columns.items()
        }
    )


def _new_ids(number: int, taken: set[str]) -> list[str]:
    """Return IDs that no row has."""
    prefix = PREFIX
    while any(key.startswith(prefix) for key in taken):
        prefix += "_"
    width = max(5, len(str(number)))
    return [f"{prefix}{k:0{width}d}" for k in range(1, number + 1)]
