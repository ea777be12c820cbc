"""Which column of the user's catalogue means what; decided once, whatever the spelling.

Names are compared without case and surrounding blanks; outputs keep the user's spelling.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass

from astropy.table import Table

from skyloom.catalogs.values import table_name
from skyloom.errors import BadTable, Mismatch

__all__ = ["CatalogColumns", "check_flux_bands", "resolve_columns"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class CatalogColumns:
    """The user's names of the columns that the pipeline reads; None where absent."""

    ra: str
    dec: str
    id: str | None = None
    type: str | None = None
    ell: str | None = None
    theta: str | None = None
    re: str | None = None
    sersic_n: str | None = None
    pos_err: str | None = None
    ell_err: str | None = None
    theta_err: str | None = None
    re_err: str | None = None
    flux: dict[str, str]  # band -> column, only bands that have one
    flux_err: dict[str, str]

    @property
    def numeric(self) -> tuple[str, ...]:
        """The columns that must hold numbers."""
        single = (
            *(self.ra, self.dec, self.ell, self.theta, self.re, self.sersic_n),
            *(self.pos_err, self.ell_err, self.theta_err, self.re_err),
        )
        named = [name for name in single if name is not None]
        return (*named, *self.flux.values(), *self.flux_err.values())


def resolve_columns(table: Table, bands: Sequence[str] = ()) -> CatalogColumns:
    """Find the columns of a source catalogue.

    Parameters
    ----------
    table : Table
        The user's catalogue.
    bands : sequence of str
        Bands of the images, for ``FLUX_{band}`` and ``FLUX_{band}_ERR``.

    Raises
    ------
    BadTable
        If RA or DEC is absent, or a name stands for two columns.
    """
    where = table_name(table)
    ra, dec = _find(table, "RA"), _find(table, "DEC")
    if ra is None or dec is None:
        lacking = " and ".join(n for n, found in (("RA", ra), ("DEC", dec)) if found is None)
        raise BadTable(
            f"input_catalog must have RA/DEC columns: {where} lacks {lacking} "
            f"(it has {', '.join(table.colnames)}); {_remedy(table.colnames)}",
            file=where,
            columns=list(table.colnames),
        )
    if (ra, dec) != ("RA", "DEC"):
        log.warning("%s: columns %r, %r are used as RA, DEC; better rename them", where, ra, dec)
    singles = ("id", "type", "ell", "theta", "re", "sersic_n")
    errors = ("pos_err", "ell_err", "theta_err", "re_err")
    return CatalogColumns(
        ra=ra,
        dec=dec,
        **{field: _find(table, field) for field in (*singles, *errors)},
        flux=_band_columns(table, bands, "FLUX_{}"),
        flux_err=_band_columns(table, bands, "FLUX_{}_ERR"),
    )


def _remedy(names: list[str]) -> str:
    """Tell a table whose cells another sign separates from one without the columns."""
    for sign, name in ((";", "semicolons"), ("\t", "tabs"), ("|", "bars"), (" ", "blanks")):
        if len(names) == 1 and sign in names[0].strip():
            return f"its cells are separated by {name}: write commas"
    return "rename the columns"


def _find(table: Table, name: str) -> str | None:
    """Return the column called ``name``: exactly, or else without regard to case and blanks."""
    if name in table.colnames:
        return name
    alike = [c for c in table.colnames if c.strip().lower() == name.lower()]
    if len(alike) > 1 and name.upper() in alike:
        return name.upper()
    if len(alike) > 1:
        where = table_name(table)
        raise BadTable(
            f"{where}: the columns {', '.join(map(repr, alike))} could all be {name.upper()}; "
            "rename all but one",
            file=where,
            columns=alike,
        )
    return alike[0] if alike else None


def _band_columns(table: Table, bands: Sequence[str], template: str) -> dict[str, str]:
    found = {}
    folded = [band.lower() for band in bands]
    for band in bands:
        name = template.format(band)
        # Bands that differ by case only (z, Z) must be spelt exactly.
        exact_only = folded.count(band.lower()) > 1
        column = (name if name in table.colnames else None) if exact_only else _find(table, name)
        if column is not None:
            found[band] = column
    return found


def check_flux_bands(table: Table, bands: Sequence[str]) -> None:
    """Check that the ``FLUX_`` columns of a catalogue name the bands of the images.

    Without any such column nothing is checked.  ``FLUX_X_ERR`` is the error of ``FLUX_X``, not a
    band of its own.

    Raises
    ------
    Mismatch
        If the two sets of bands differ.
    """
    prefix = "FLUX_"
    suffixes = {name[len(prefix) :] for name in table.colnames if name.startswith(prefix)}
    if not suffixes:
        return
    known = set(bands)

    def is_error(suffix: str) -> bool:
        base = suffix.removesuffix("_ERR")
        return suffix not in known and base != suffix and (base in known or base in suffixes)

    named = {suffix for suffix in suffixes if not is_error(suffix)}
    if not named or named == known:  # errors alone say nothing about the bands
        return
    where = table_name(table)
    only_catalog, only_images = sorted(named - known), sorted(known - named)
    raise Mismatch(
        "Band mismatch between input catalog and image list. "
        f"Only in {where}: {', '.join(only_catalog) or 'none'}; "
        f"only in the images: {', '.join(only_images) or 'none'}; rename the FLUX_ columns after "
        "the FILTER keywords (case counts), or remove them",
        file=where,
        only_in_catalog=only_catalog,
        only_in_images=only_images,
    )
