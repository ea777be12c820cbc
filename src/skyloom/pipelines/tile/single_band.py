"""Fits of single bands: each band by itself, its results in columns of its own.

With ``patch_run.enable_multi_band_simultaneous_fitting: false`` a patch is fitted once for each
band, from the same start values.  A fit of one band is the joint fit of a patch with one image, so
both modes share all code: here the patch is taken apart, and the results are put side by side.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom.catalogs import band_column, plain_table

__all__ = ["FitPart", "fit_parts", "join_band_fits", "join_states", "state_of_part"]

Arrays = Mapping[str, npt.NDArray[Any]]

_PER_BAND = (
    *("bands", "image", "mask", "source_variance", "scale"),
    *("sky_sigma", "sky_sigma_plane", "sky_sigma_mesh"),
)
_SKY_PER_BAND = ("level", "error", "shift", "shift_before", "rho", "correlated")
_SHARED = ("row", "stype_fit", "group_size")
# The documented order; columns that the original does not have follow.
_ORDER = (
    *("x_pix_patch_fit", "y_pix_patch_fit", "x_pix_white_fit", "y_pix_white_fit"),
    *("sersic_n_fit", "re_pix_fit", "ab_fit", "phi_deg_fit", "Re_fit", "ELL_fit", "THETA_fit"),
    *("FLUX_{}_fit", "FLUXERR_{}_fit", "opt_niters", "opt_converged", "opt_hit_max_iters"),
    *("opt_last_dlnp", "flag_bound_stalled", "flag_bound_stalled_which_parameter"),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class FitPart:
    """What one fit of a patch sees: all bands, or one of them."""

    band: str | None  # None: all bands together
    payload: dict[str, npt.NDArray[Any]]
    sky: dict[str, npt.NDArray[Any]]


def fit_parts(payload: Arrays, sky: Arrays, *, joint: bool) -> list[FitPart]:
    """Return the parts of a patch that are fitted by themselves: one, or one for each band."""
    if joint:
        return [FitPart(band=None, payload=dict(payload), sky=dict(sky))]
    parts = []
    for b, band in enumerate(payload["bands"]):
        mine = {name: payload[name][b : b + 1] for name in _PER_BAND if name in payload}
        own = {**payload, **mine}
        level = {**sky, **{n: sky[n][b : b + 1] for n in _SKY_PER_BAND if n in sky}}
        parts.append(FitPart(band=str(band), payload=own, sky=level))
    return parts


def join_states(tables: Mapping[str | None, Table]) -> Table:
    """Put the states of all parts side by side: columns ``{band}/{name}``, ``row`` once.

    The state of a joint fit stays as it is.
    """
    if None in tables:
        return tables[None]
    joined = Table()
    for band, table in tables.items():
        joined["row"] = table["row"]
        for name in table.colnames:
            if name != "row":
                joined[f"{band}/{name}"] = table[name]
    return joined


def state_of_part(table: Table | None, band: str | None) -> Table | None:
    """Return the state of one part, as it was before `join_states`."""
    if table is None or band is None:
        return table
    prefix = f"{band}/"
    own = {
        n.removeprefix(prefix): np.asarray(table[n]) for n in table.colnames if n.startswith(prefix)
    }
    return plain_table({"row": np.asarray(table["row"]), **own})


def join_band_fits(fits: Mapping[str, Table]) -> Table:
    """Put the results of single bands into one table; see `skyloom.catalogs.band_column`.

    Parameters
    ----------
    fits : mapping of str to Table
        Results of each band, with the columns of a joint fit, the same rows in each.

    Returns
    -------
    Table
        ``stype_fit`` and what else all bands share, then the bands in alphabetical order, and
        ``fit_flags`` with the bits of all bands.
    """
    first = next(iter(fits.values()))
    joined = Table({name: first[name] for name in _SHARED if name in first.colnames})
    for band in sorted(fits):
        fit = fits[band]
        listed = [name.format(band) for name in _ORDER]
        names = dict.fromkeys((*(n for n in listed if n in fit.colnames), *fit.colnames))
        for name in names:
            if name not in _SHARED:
                joined[band_column(name, band)] = fit[name]
    if "fit_flags" in first.colnames:
        flags = [np.asarray(fit["fit_flags"]) for fit in fits.values()]
        joined["fit_flags"] = np.bitwise_or.reduce(flags)
    return joined
