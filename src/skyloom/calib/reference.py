"""Gaia XP synthetic photometry: the stars whose magnitudes are known in every band."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.catalogs import column_as_float, column_as_text, read_csv
from skyloom.errors import BadTable

__all__ = ["GaiaReference", "read_gaia_xp"]

log = logging.getLogger(__name__)

_SAME_STAR = 10.0 / 3600.0  # deg: farther apart no proper motion makes two rows one star
_MAG, _MAG_ERR = "mag_", "magerr_"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GaiaReference:
    """Reference stars, row by row as in the file."""

    name: str  # the file
    ra: Floats  # deg ICRS
    dec: Floats  # deg
    source_id: npt.NDArray[np.str_] | None = None  # digits as text; None: no such column
    g_mag: Floats | None = None  # phot_g_mean_mag
    mags: dict[str, Floats] = field(default_factory=dict)  # band -> AB mag
    mag_errs: dict[str, Floats] = field(default_factory=dict)  # band -> mag
    bp_rp: Floats | None = None  # mag
    pmra: Floats | None = None  # mas / yr, includes cos Dec; None: no such column
    pmdec: Floats | None = None  # mas / yr
    ref_epoch: Floats | None = None  # Julian year of the file's positions
    epoch: Floats | None = None  # Julian year of ra, dec; None: they are the file's

    def __len__(self) -> int:
        return len(self.ra)

    def mag(self, band: str) -> Floats | None:
        """Return the AB magnitudes in a band, or None where the file has no ``mag_{band}``."""
        return self.mags.get(band)

    def rows(self, keep: Bools) -> GaiaReference:
        """Return a subset of the stars."""
        return GaiaReference(
            name=self.name,
            ra=self.ra[keep],
            dec=self.dec[keep],
            source_id=None if self.source_id is None else self.source_id[keep],
            g_mag=_some(self.g_mag, keep),
            mags={band: values[keep] for band, values in self.mags.items()},
            mag_errs={band: values[keep] for band, values in self.mag_errs.items()},
            bp_rp=_some(self.bp_rp, keep),
            pmra=_some(self.pmra, keep),
            pmdec=_some(self.pmdec, keep),
            ref_epoch=_some(self.ref_epoch, keep),
            epoch=_some(self.epoch, keep),
        )

    def colour(self, band: str) -> tuple[str, Floats] | None:
        """Return a colour [mag] to compare a band with, and its name; None without one.

        BP - RP where the file has it, else the first minus the last of the other bands by name,
        else one that involves the band itself.
        """
        if self.bp_rp is not None:
            return "BP - RP", self.bp_rp
        others = [name for name in sorted(self.mags) if name != band]
        if len(others) >= 2:
            first, last = others[0], others[-1]
        elif len(others) == 1:
            first, last = sorted((others[0], band))
        else:
            mag = self.mags.get(band)
            if mag is None or self.g_mag is None:
                return None
            return f"{band} - G", mag - self.g_mag
        return f"{first} - {last}", self.mags[first] - self.mags[last]

    def require(self, *names: str) -> None:
        """Check that the file has the columns ``source_id`` or ``phot_g_mean_mag``.

        Raises
        ------
        BadTable
            If one of them is absent.
        """
        found = {"source_id": self.source_id, "phot_g_mean_mag": self.g_mag}
        for name in names:
            if found[name] is None:
                raise _lacks(self.name, name)


def _some(values: Floats | None, keep: Bools) -> Floats | None:
    return None if values is None else values[keep]


def _lacks(where: str, name: str, names: Sequence[str] = ()) -> BadTable:
    alike = [other for other in names if other.strip().lower() == name]
    remedy = f"rename {alike[0]!r}" if alike else "add the column, or set zp.enabled: false"
    return BadTable(
        f"GaiaXP CSV missing required column: {name} ({where}); {remedy}",
        file=where,
        column=name,
    )


def read_gaia_xp(path: Path | str) -> GaiaReference:
    """Read a Gaia XP synthetic-photometry CSV.

    Parameters
    ----------
    path : path
        Columns ``ra``, ``dec`` [deg ICRS], ``source_id`` (kept as text: it does not fit a float),
        ``phot_g_mean_mag`` [mag], ``mag_{band}`` [AB mag]; optional ``magerr_{band}`` [mag] and
        ``bp_rp``, or ``phot_bp_mean_mag`` and ``phot_rp_mean_mag`` [mag]; ``pmra``, ``pmdec``
        [mas / yr, pmra includes cos Dec], one without the other is
        ignored; ``ref_epoch`` [Julian year].

    Raises
    ------
    MissingFile, UnreadableFile
        If the file cannot be read.
    BadTable
        If ``ra`` or ``dec`` is absent, a cell is not a number, or two places have one
        ``source_id``.
    """
    table = read_csv(path, key="inputs.gaiaxp_synphot_csv")
    names = table.colnames
    for name in ("ra", "dec"):
        if name not in names:
            raise _lacks(str(path), name, names)
    ra, dec = column_as_float(table, "ra"), column_as_float(table, "dec")
    source_id = None
    if "source_id" in names:
        source_id = np.char.strip(column_as_text(table, "source_id"))
        _check_identifiers(str(path), source_id, ra, dec)
    return GaiaReference(
        name=str(path),
        ra=ra,
        dec=dec,
        source_id=source_id,
        g_mag=_optional(table, "phot_g_mean_mag"),
        mags={n[len(_MAG) :]: column_as_float(table, n) for n in names if n.startswith(_MAG)},
        mag_errs={
            n[len(_MAG_ERR) :]: column_as_float(table, n) for n in names if n.startswith(_MAG_ERR)
        },
        bp_rp=_bp_rp(table),
        **_motions(table, str(path)),
    )


def _check_identifiers(
    where: str, source_id: npt.NDArray[np.str_], ra: Floats, dec: Floats
) -> None:
    """Refuse one identifier for two places: it was rounded when it was written as a float.

    A star that stands in the file twice is no fault.
    """
    _, first, number = np.unique(source_id, return_index=True, return_inverse=True)
    other = first[number]
    east = (ra - ra[other] + 180.0) % 360.0 - 180.0
    step = np.hypot(east * np.cos(np.radians(dec)), dec - dec[other])
    clash = np.flatnonzero((step > _SAME_STAR) & (source_id != ""))
    if clash.size:
        row = int(clash[0])
        raise BadTable(
            f"{where}, rows {other[row] + 1} and {row + 1}, column source_id: both are "
            f"{str(source_id[row])!r}, at different places (and {clash.size - 1} more rows); Gaia "
            "identifiers do not fit a float: write all their digits, as whole numbers or text",
            file=where,
            row=row + 1,
            column="source_id",
        )


def _bp_rp(table: Table) -> Floats | None:
    if "bp_rp" in table.colnames:
        return column_as_float(table, "bp_rp")
    blue, red = "phot_bp_mean_mag", "phot_rp_mean_mag"
    if {blue, red} <= set(table.colnames):
        return column_as_float(table, blue) - column_as_float(table, red)
    return None


def _optional(table: Table, name: str) -> Floats | None:
    return column_as_float(table, name) if name in table.colnames else None


def _motions(table: Table, where: str) -> dict[str, Floats | None]:
    """Return proper motions and the epoch of the positions."""
    found = {name: _optional(table, name) for name in ("pmra", "pmdec", "ref_epoch")}
    if (found["pmra"] is None) != (found["pmdec"] is None):
        there, lacking = ("pmdec", "pmra") if found["pmra"] is None else ("pmra", "pmdec")
        log.warning(
            "%s has %s but no %s: stars are not moved; add the column [mas / yr]",
            where,
            there,
            lacking,
        )
        found["pmra"] = found["pmdec"] = None
    return found
