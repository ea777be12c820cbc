"""What the columns of the catalogue are: units and sentences for the file beside it."""

from __future__ import annotations

import re
from typing import Any, Final

from astropy.table import Table

__all__ = ["COLUMN_MEANINGS", "column_units"]

_BAND: Final = r"(?P<band>.+)"
COLUMN_MEANINGS: Final[tuple[tuple[str, str, str], ...]] = (
    # name, unit, meaning; the first pattern that fits a whole name counts
    (r"excluded_(crop|saturation|any)", "", "the row was not fitted for this reason"),
    (r"excluded_reason", "", "why the row was not fitted"),
    (r"gaia_source_id", "", "Gaia DR3 identifier of the matched star"),
    (r"gaia_epoch", "yr", "Julian year at which the Gaia star stood where it was matched or added"),
    (r"_is_injected_gaia", "", "a Gaia star that the input catalogue lacked"),
    (r"_is_halo_source", "", "fitted for its neighbours only"),
    (r"affected_by_bright_mask", "", "in the mask of bright sources that no row lists"),
    (r"[xy]_pix_white", "pix", "start position, working frame, first pixel 0"),
    (r"[xy]_pix_patch", "pix", "start position, frame of the patch"),
    (r"patch_tag|epsf_tag", "", "patch and ePSF cell"),
    (r"psf_.*", "", "which PSFs were used"),
    (r"opt_niters.*", "", "iterations of the optimiser"),
    (r"opt_converged.*", "", "the fit converged"),
    (r"opt_hit_max_iters.*", "", "the fit stopped at its iteration limit"),
    (r"opt_last_dlnp.*", "", "last gain in log-probability"),
    (r"flag_bound_stalled.*", "", "a parameter stopped at its bound"),
    (r"[xy]_pix_patch(_.+)?_fit", "pix", "fitted position, frame of the patch"),
    (r"[xy]_pix_white(_.+)?_fit", "pix", "fitted position, working frame, first pixel 0"),
    (r"[xy]_pix(_.+)?_err", "pix", "standard error of the position; none at the edge of its box"),
    (r"(RA|DEC)(_.+)?_fit", "deg", "fitted position, frame of wcs.fits"),
    (r"(RA|DEC)(_.+)?_err", "arcsec", "standard error on the sky, RA including cos Dec"),
    (r"stype_fit", "", "fitted model"),
    (r"sersic_n(_.+)?_(fit|err)", "", "Sersic index"),
    (r"(re_pix|Re)(_.+)?_(fit|err)", "pix", "half-light radius along the major axis"),
    (r"ab(_.+)?_(fit|err)", "", "axis ratio b / a"),
    (r"ELL(_.+)?_fit", "", "1 - b / a"),
    (r"phi_deg(_.+)?_fit", "deg", "major axis, counter-clockwise from +y"),
    (r"THETA(_.+)?_(fit|err)", "deg", "major axis, counter-clockwise from +x"),
    (rf"NJY_{_BAND}", "nJy", "flux"),
    (rf"NJYERR_{_BAND}", "nJy", "flux error, without that of the zero point"),
    (rf"FLUX_{_BAND}_fit", "scaled counts", "total flux, zero point image_scaling.zp_ref"),
    (rf"FLUXERR_{_BAND}_fit", "scaled counts", "its marginal standard error"),
    (rf"MAGERR_STAT_{_BAND}_fit", "mag", "magnitude error, the part of the flux error alone"),
    (rf"MAGERR_{_BAND}_fit", "mag", "magnitude error: flux error and zero-point error"),
    (rf"MAG_{_BAND}_fit", "mag", "AB magnitude"),
    (rf"APFLUX_{_BAND}", "scaled counts", "flux in the aperture, other models and sky taken off"),
    (rf"APFLUXERR_{_BAND}", "scaled counts", "its standard error; times apcorr, that of a total"),
    (rf"apcorr_{_BAND}", "", "flux of the model over its part in the aperture"),
    (rf"apmasked_{_BAND}", "", "masked share of the aperture, filled with the model"),
    (rf"appull_{_BAND}", "", "total by the aperture minus that of the fit, over its error"),
    (rf"(dx|dy)_{_BAND}", "pix", "position in this band minus the joint one"),
    (rf"sky_err_{_BAND}", "scaled counts", "its standard error"),
    (rf"sky_{_BAND}", "scaled counts", "sky level taken off, per pixel"),
    (rf"pair_flux(_err)?_{_BAND}", "scaled counts", "flux together with the neighbour"),
    (rf"residual_peak_{_BAND}", "", "most significant residual nearby [sigma], with its sign"),
    (rf"structure_{_BAND}", "", "part of the surface brightness that is structure, large galaxies"),
    (rf"fracflux_{_BAND}", "", "share of other sources in the light under this one"),
    (rf"chi2_{_BAND}", "", "mean of squared residuals over their variances, footprint pixels"),
    (rf"n_(good|above)_{_BAND}", "pix", "pixels of the fit, usable and above the noise"),
    (rf"masked_fraction_{_BAND}", "", "fraction of the profile on masked pixels"),
    (r"fit_flags", "", "bits of skyloom.flags.FitFlag"),
    (r"fit_snr", "", "signal-to-noise of all bands"),
    (r"unmodelled_snr.*", "", "S/N of light nearby that no model has, all bands; 0: none above 5"),
    (r"fit_evaluations", "", "times that the model of the source was computed"),
    (r"group_size", "", "sources of its blend group"),
    (r"neighbour_row", "", "row of the neighbour that it is hardest to tell from"),
    (r"flux_correlation", "", "correlation of the two fluxes"),
    (r"type_catalog", "", "model that the catalogue gives"),
    (r"type_changed", "", "fitted as another model, since the catalogue's is clearly wrong"),
    (r"type_suggested.*", "", "the simplest model that would do"),
    (r"dchisq_.*", "", "chi-square that this model saves against no source"),
    (r"fit_is_reliable|fit_quality_issues", "", "reliability, and what is wrong"),
)


def column_units(catalog: Table) -> dict[str, Any]:
    """Return the unit and the meaning of every column, in order.

    Parameters
    ----------
    catalog : Table
        The final catalogue; units and descriptions that its columns carry count first.

    Returns
    -------
    dict
        ``columns``: a list of ``name``, ``unit`` (empty: none, or that of the input), and
        ``description``.
    """
    return {
        "columns": [
            dict(
                zip(("name", "unit", "description"), (name, *_meaning(catalog, name)), strict=True)
            )
            for name in catalog.colnames
        ]
    }


def _meaning(catalog: Table, name: str) -> tuple[str, str]:
    unit, description = "", ""
    for pattern, its_unit, its_description in COLUMN_MEANINGS:
        found = re.fullmatch(pattern, name)
        if found:
            band = found.groupdict().get("band")
            unit, description = its_unit, its_description + (f", {band}" if band else "")
            break
    column = catalog[name]
    return str(column.unit or unit), str(column.description or description)
