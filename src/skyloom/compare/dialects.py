"""What columns mean in the catalogues that people have: one table of aliases per dialect.

Names are compared without case; ``{band}`` stands for any band name.  Where several names are
given, the first one that the file has counts; where a row lacks a value, the next one fills it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from astropy.table import Table

from skyloom.catalogs.values import table_name
from skyloom.errors import BadTable, WrongValue

__all__ = ["DIALECTS", "Dialect", "FluxNames", "band_columns", "find_columns", "recognised"]


@dataclass(frozen=True, slots=True, kw_only=True)
class FluxNames:
    """How the columns of one kind of flux are called; empty where there is none."""

    flux: str = ""
    err: str = ""
    ivar: str = ""
    mag: str = ""
    mag_err: str = ""
    zeropoint: float | None = None  # AB mag of flux 1; None: instrumental, or told by the mags
    is_ab: bool = False  # its magnitudes are AB


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One kind of catalogue: its columns and conventions."""

    name: str
    about: str
    ra: tuple[str, ...]
    dec: tuple[str, ...]
    x: tuple[str, ...] = ()
    y: tuple[str, ...] = ()
    first_pixel: float = 0.0  # coordinate of the centre of the first pixel
    id: tuple[str, ...] = ("id",)
    type: tuple[str, ...] = ("type",)
    fluxes: tuple[FluxNames, ...] = ()
    signature: tuple[str, ...] = ()  # a file with one of these columns is of this kind
    signature_all: tuple[str, ...] = ()  # a file with all of these too


_TILE = Dialect(
    name="tract7dt",
    about="tract7dt catalogue",
    signature=("RA_fit", "RA_{band}_fit", "stype_fit", "FLUX_{band}_fit"),
    ra=("RA_fit", "RA_{band}_fit", "RA"),
    dec=("DEC_fit", "DEC_{band}_fit", "DEC"),
    x=("x_pix_white_fit", "x_pix_white_{band}_fit", "x_pix_white", "x"),
    y=("y_pix_white_fit", "y_pix_white_{band}_fit", "y_pix_white", "y"),
    type=("stype_fit", "TYPE"),
    fluxes=(
        FluxNames(
            flux="FLUX_{band}_fit",
            err="FLUXERR_{band}_fit",
            mag="MAG_{band}_fit",
            mag_err="MAGERR_{band}_fit",
            is_ab=True,
        ),
        FluxNames(flux="FLUX_{band}", err="FLUX_{band}_ERR", mag="MAG_{band}", is_ab=True),
    ),
)
_SEXTRACTOR_FLUXES = tuple(
    FluxNames(
        flux=f"FLUX_{kind}", err=f"FLUXERR_{kind}", mag=f"MAG_{kind}", mag_err=f"MAGERR_{kind}"
    )
    for base in ("AUTO", "PSF", "MODEL", "BEST", "WIN", "ISO")
    for kind in (base, base + "_{band}")
)
_SEXTRACTOR = Dialect(
    name="sextractor",
    about="SExtractor",
    signature=("ALPHA_J2000", "ALPHAWIN_J2000", "XWIN_WORLD", "X_WORLD", "XWIN_IMAGE", "X_IMAGE",
               "MAG_AUTO", "FLUX_AUTO"),
    ra=("ALPHAWIN_J2000", "XWIN_WORLD", "ALPHA_J2000", "ALPHAWIN_SKY", "ALPHA_SKY", "X_WORLD",
           "RA"),
    dec=("DELTAWIN_J2000", "YWIN_WORLD", "DELTA_J2000", "DELTAWIN_SKY", "DELTA_SKY", "Y_WORLD",
            "DEC"),
    x=("XWIN_IMAGE", "X_IMAGE"),
    y=("YWIN_IMAGE", "Y_IMAGE"),
    first_pixel=1.0,
    id=("NUMBER", "ID"),
    type=(),
    fluxes=_SEXTRACTOR_FLUXES,
)  # fmt: skip

DIALECTS: Final = {
    dialect.name: dialect
    for dialect in (
        replace(
            _SEXTRACTOR,
            name="shapepipe",
            about="ShapePipe",
            signature=("NGMIX_ELL_NOSHEAR", "NGMIX_FLAGS_NOSHEAR", "NGMIX_T_NOSHEAR",
                       "SPREAD_CLASS"),
            fluxes=(
                FluxNames(flux="FLUX_AUTO", err="FLUXERR_AUTO", mag="MAG_AUTO",
                          mag_err="MAGERR_AUTO", is_ab=True),
            ),
        ),
        replace(
            _TILE,
            name="skyloom",
            about="skyloom tile catalogue",
            signature=(),
            signature_all=("fit_flags", "stype_fit"),
        ),
        _TILE,
        Dialect(
            name="tractor",
            about="Legacy Surveys (Tractor)",
            signature=("flux_ivar_{band}", "decam_flux", "shape_r_ivar"),
            signature_all=("brickid", "objid"),
            ra=("ra",),
            dec=("dec",),
            x=("bx",),
            y=("by",),
            id=("objid",),
            fluxes=(
                FluxNames(flux="flux_{band}", ivar="flux_ivar_{band}", zeropoint=22.5, is_ab=True),
                FluxNames(flux="flux", ivar="flux_ivar", zeropoint=22.5, is_ab=True),
                FluxNames(flux="decam_flux", ivar="decam_flux_ivar", zeropoint=22.5, is_ab=True),
            ),
        ),
        _SEXTRACTOR,
        Dialect(
            name="generic",
            about="columns by their usual names",
            ra=("RA_fit", "ra", "ra_deg", "raj2000", "alpha_j2000", "ra_icrs", "_ra"),
            dec=("DEC_fit", "dec", "dec_deg", "dej2000", "decj2000", "delta_j2000", "de_icrs",
                 "_dec"),
            x=("x", "x_pix", "x_image"),
            y=("y", "y_pix", "y_image"),
            id=("id", "source_id", "objid", "number", "name"),
            type=("type", "stype_fit", "class"),
            fluxes=(
                FluxNames(flux="flux_{band}", err="flux_err_{band}", mag="mag_{band}",
                          mag_err="mag_err_{band}", is_ab=True),
                FluxNames(flux="flux_{band}", err="flux_{band}_err", mag="mag_{band}",
                          mag_err="mag_{band}_err", is_ab=True),
                FluxNames(flux="flux_{band}", err="fluxerr_{band}", mag="mag_{band}",
                          mag_err="magerr_{band}", is_ab=True),
            ),
        ),
    )
}  # fmt: skip
"""Dialects by name, in the order in which files are tried for them."""


def recognised(table: Table, kind: str | None = None) -> Dialect:
    """Tell which dialect a catalogue is written in.

    Parameters
    ----------
    table : Table
        A catalogue.
    kind : str, optional
        The dialect that the user names; None or ``"auto"`` looks at the columns.

    Raises
    ------
    WrongValue
        If there is no such dialect.
    BadTable
        If no dialect finds positions.
    """
    if kind not in (None, "auto"):
        if kind not in DIALECTS:
            raise WrongValue(f"kind {kind!r} is unknown; known: auto, {', '.join(DIALECTS)}")
        return DIALECTS[kind]
    for dialect in DIALECTS.values():
        alone = any(band_columns(table, name) for name in dialect.signature)
        together = bool(dialect.signature_all) and all(
            band_columns(table, name) for name in dialect.signature_all
        )
        if alone or together:
            return dialect
    generic = DIALECTS["generic"]
    names = find_columns(table, generic.ra), find_columns(table, generic.dec)
    if not all(names):
        where = table_name(table)
        raise BadTable(
            f"{where}: no columns of positions are known here (it has "
            f"{_few(table.colnames)}); call them RA and DEC [deg], or name the kind of the "
            f"catalogue: {', '.join(DIALECTS)}",
            file=where,
            columns=list(table.colnames),
        )
    shapes = ("ELL", "THETA", "Re", "SERSIC_n", "FLUX_{band}_ERR")
    is_tile_input = find_columns(table, ("ELL", "Re")) and names == (["RA"], ["DEC"])
    if is_tile_input and any(band_columns(table, name) for name in shapes):
        return DIALECTS["tract7dt"]
    return generic


def band_columns(table: Table, template: str) -> dict[str, str]:
    """Return the columns that fit a template, by band; a template without band has band ''."""
    if not template:
        return {}
    before, braced, after = template.partition("{band}")
    band = "(?P<band>.+)" if braced else "(?P<band>)"
    pattern = re.compile(re.escape(before) + band + re.escape(after), flags=re.IGNORECASE)
    found: dict[str, str] = {}
    for column in table.colnames:
        match = pattern.fullmatch(column.strip())
        if match is not None and (match["band"] not in found or column == template):
            found[match["band"]] = column
    return found


def find_columns(table: Table, templates: tuple[str, ...]) -> list[str]:
    """Return the columns that the file has of a list of names, best first."""
    return [column for name in templates for column in band_columns(table, name).values()]


def _few(names: list[str], most: int = 12) -> str:
    more = f", and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
