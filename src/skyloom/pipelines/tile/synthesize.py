"""The table of Gaia XP magnitudes that the pipeline reads, made from spectra."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom.butler import write_dataset
from skyloom.calib import (
    FilterCurve,
    SyntheticPhotometry,
    XpInstrument,
    read_filters,
    read_instrument,
    read_xp_spectra,
    read_xp_table,
    synthesize,
)
from skyloom.catalogs import column_as_float, column_as_text
from skyloom.errors import BadTable, Unwritable

__all__ = ["synthesize_csv"]

log = logging.getLogger(__name__)

_NEEDED: Final = ("ra", "dec", "phot_g_mean_mag")
_CARRIED: Final = (
    *("bp_rp", "phot_bp_mean_mag", "phot_rp_mean_mag"),
    *("pmra", "pmdec", "ref_epoch"),
)


def synthesize_csv(
    spectra: Sequence[Path | str],
    *,
    filters: Path | str,
    out: Path | str,
    sources: Path | str | None = None,
    model: Path | str | None = None,
) -> Table:
    """Write the AB magnitudes of Gaia stars in the filters of a folder.

    Parameters
    ----------
    spectra : sequence of path
        ``XP_CONTINUOUS_RAW`` tables of the Gaia archive.
    filters : path
        Folder of filter curves; a file's name without its ending is the band.
    out : path
        CSV for ``inputs.gaiaxp_synphot_csv``: ``source_id, ra, dec, phot_g_mean_mag``; a colour,
        proper motions and ``ref_epoch`` where the table has them; ``mag_{band}``,
        ``magerr_{band}``.
    sources : path, optional
        Table with the positions and G magnitudes; not needed where the spectra's tables have them.
    model : path, optional
        Folder with an instrument model; default that of Gaia DR3.

    Returns
    -------
    Table
        What was written.

    Raises
    ------
    MissingFile, UnreadableFile, BadTable
        If an input cannot be used.
    Unwritable
        If the file cannot be written.
    """
    curves = read_filters(filters)
    instrument = read_instrument(model)
    stars = None if sources is None else read_xp_table(sources)
    parts = [_part(path, curves, instrument, stars) for path in spectra]
    table = Table({n: np.concatenate([p[n] for p in parts]) for n in parts[0].colnames})
    _, first = np.unique(np.asarray(table["source_id"]), return_index=True)
    table = table[np.sort(first)]
    out = Path(out)
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        write_dataset(table, out, "csv")
    except OSError as error:
        raise Unwritable(f"{out}: cannot be written ({error.strerror or error})") from error
    return table


def _part(
    path: Path | str,
    curves: Sequence[FilterCurve],
    instrument: XpInstrument,
    stars: Table | None,
) -> Table:
    """Return the rows of one table of spectra."""
    found = synthesize(read_xp_spectra(path), curves, instrument)
    if not found.mag:
        names = ", ".join(curve.name for curve in curves)
        raise BadTable(f"{names}: no filter lies within 330-1050 nm, the range of Gaia XP spectra")
    own = read_xp_table(path) if stars is None else stars
    lacking = [name for name in _NEEDED if name not in own.colnames]
    if lacking:
        remedy = "give --sources with them" if stars is None else "add them"
        where = path if stars is None else "the table of sources"
        raise BadTable(f"{where}: no column {', '.join(lacking)}; {remedy}", file=str(path))
    table = _with_magnitudes(found, own)
    lost = len(found.source_id) - len(table)
    if lost:
        log.warning("%s: %d stars are not in the table of sources; left out", path, lost)
    return table


def _with_magnitudes(found: SyntheticPhotometry, stars: Table) -> Table:
    place = {s: i for i, s in enumerate(_identifiers(stars).tolist())}
    rows = [i for i, s in enumerate(found.source_id.tolist()) if s in place]
    at = [place[s] for s in found.source_id[rows].tolist()]
    table = Table({"source_id": found.source_id[rows]})
    for name in (*_NEEDED, *(n for n in _CARRIED if n in stars.colnames)):
        table[name] = column_as_float(stars, name)[at]
    for band, mag in found.mag.items():
        table[f"mag_{band}"] = np.round(mag[rows], 6)
        table[f"magerr_{band}"] = np.round(found.mag_err[band][rows], 6)
    return table


def _identifiers(table: Table) -> npt.NDArray[np.str_]:
    return np.char.strip(np.asarray(column_as_text(table, "source_id"), dtype=np.str_))
