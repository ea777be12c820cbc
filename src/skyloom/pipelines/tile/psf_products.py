"""What the PSF stage tells of a cell and of the stars: ``meta.json``, and their table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats
from skyloom.detect import CellBackground
from skyloom.detect.stars import StarSelection
from skyloom.geometry import Cell
from skyloom.psf import FieldPsf, FieldPsfResult, LocalBackground, residual_qa, stamp_qa

from .config import TileConfig, config_subset
from .fit_sections import EpsfConfig

__all__ = ["NOT_IN_KEY", "cell_meta", "psf_settings", "star_table"]

# Settings of section epsf that decide pictures, patches, workers or nothing, not the PSF.
NOT_IN_KEY = (
    "-epsf.ngrid",
    "-epsf.skip_empty_epsf_patches",
    "-epsf.save_star_montage_max",
    "-epsf.save_patch_background_diagnostics",
    "-epsf.save_star_local_background_diagnostics",
    "-epsf.diagnostics_show_colorbar",
    "-epsf.save_growth_curve",
    "-epsf.save_residual_diagnostics",
    "-epsf.residual_diag_max_stars",
    "-epsf.parallel_bands",
    "-epsf.max_workers",
)


def cell_meta(
    band: str,
    cell: Cell,
    number: int,
    *,
    settings: EpsfConfig,
    cfg: dict[str, Any],
    kind: str,
    error: str | None,
    stamp: Floats,
    backgrounds: Mapping[str, CellBackground],
    selection: StarSelection,
    result: FieldPsfResult | None,
    model: FieldPsf,
    local: LocalBackground | None,
) -> dict[str, Any]:
    """Return ``meta.json`` of a cell."""
    here = np.asarray(selection.cell) == number
    used = result.stars.used & here if result is not None else np.zeros(len(here), np.bool_)
    box = cell.box
    background = backgrounds.get(cell.tag)
    ok = kind == "epsf"
    return {
        "band": band,
        "patch": cell.tag,
        **{"x0": box.x0, "x1": box.x1, "y0": box.y0, "y1": box.y1},
        "epsf_ngrid": settings.epsf_ngrid,
        "psfstar_mode": settings.psfstar_mode,
        "gaia_snap_to_sep": settings.gaia_snap_to_sep,
        "gaia_mag_min": settings.gaia_mag_min,
        "gaia_mag_max": settings.gaia_mag_max,
        "nstars_seed": int((np.asarray(selection.seed)[here] >= 0).sum()),
        "nstars_sel": int(here.sum()),
        "nstars_extract": int(here.sum()),
        "nstars_used": int(used.sum()),
        "nstars_fitfail": int(here.sum() - used.sum()),
        "epsf_shape": [settings.oversamp * (n - 1) + 1 for n in stamp.shape] if ok else None,
        "epsf_oversampling": settings.oversamp,
        "patch_background": background.as_dict() if background is not None else None,
        "local_star_background": local.as_dict(here) if local is not None else None,
        "local_bkg_diagnostics": _diagnosed(local, here),
        "epsf_qa": stamp_qa(stamp) if ok else None,
        "residual_qa": residual_qa(result, np.flatnonzero(used)) if result and ok else None,
        "field_model": kind,
        "field_nstars_used": int(result.stars.used.sum()) if result is not None else 0,
        "field_order": int(result.order) if result is not None else None,
        "field_fwhm_pix": float(model.fwhm),
        "stamp_sum": float(stamp.sum()),
        "cfg": cfg,
        "status": "ok" if ok else "fail",
        "error": error,
    }


def _diagnosed(local: LocalBackground | None, here: Bools) -> dict[str, Any] | None:
    """Return how many stars of a cell the picture of local backgrounds can show."""
    if local is None:
        return None
    stars = int(here.sum())
    return {
        "local_bkg_diag_nstars": stars,
        "local_bkg_diag_status": "ok" if stars else "skipped_no_stars",
    }


def psf_settings(config: TileConfig) -> dict[str, Any]:
    """Return the settings of section epsf that decide the PSF."""
    left_out = {name.removeprefix("-epsf.") for name in NOT_IN_KEY}
    settings = config_subset(config, ["epsf"])["epsf"]
    return {name: value for name, value in settings.items() if name not in left_out}


def star_table(selection: StarSelection, result: FieldPsfResult | None) -> Table:
    """Return the stars that were offered, and how they fitted."""
    table = Table(
        {
            "x": np.asarray(selection.x, dtype=np.float64),
            "y": np.asarray(selection.y, dtype=np.float64),
            "cell": np.asarray(selection.cell, dtype=np.int64),
            "origin": np.array(selection.origin, dtype=np.str_),
            "seed": np.asarray(selection.seed, dtype=np.int64),
        }
    )
    fits = result.stars if result is not None else None
    for name in ("flux", "flux_err", "pedestal", "chi2"):
        table[f"fit_{name}"] = (
            getattr(fits, name) if fits is not None else np.full(len(table), np.nan)
        )
    table["x_fit"] = fits.x if fits is not None else np.full(len(table), np.nan)
    table["y_fit"] = fits.y if fits is not None else np.full(len(table), np.nan)
    table["used"] = fits.used if fits is not None else np.zeros(len(table), np.bool_)
    table["flags"] = fits.flags if fits is not None else np.zeros(len(table), np.int64)
    return table
