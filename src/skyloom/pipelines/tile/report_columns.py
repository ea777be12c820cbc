"""What a patch's catalogue says about every source: the columns of a fit."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.flags import FitFlag
from skyloom.scene import (
    ChoiceRules,
    SceneState,
    SourceDiagnostics,
    SourceType,
    blend_quality,
    choose_models_of_state,
    ellipse_from_parameters,
)

from .patch_log import bounds_hit
from .patch_scene import PatchScene

__all__ = [
    "TRY_SHARE",
    "Columns",
    "add_blends",
    "add_choice",
    "add_fluxes",
    "add_optimiser",
    "add_positions",
    "add_quality",
    "add_shapes",
    "add_start",
    "add_types",
    "blank_unfitted",
]


Columns: TypeAlias = dict[str, npt.NDArray[Any]]
"""Columns by name; putting one into a table takes ten times longer."""

HELD = 1e-20  # variance of a parameter: at its bound it has 1e-60, free ones never below 1e-10
TRY_SHARE = 0.1  # see ChoiceRules: of 1800 suggestions none changed, the cost was halved


def add_start(fit: Columns, patch: PatchScene, tag: str) -> None:
    """Add the start positions, and patch and cell."""
    fit["x_pix_patch"] = patch.start.x[patch.base] - patch.roi_box.x0
    fit["y_pix_patch"] = patch.start.y[patch.base] - patch.roi_box.y0
    fit["patch_tag"] = np.array([tag] * len(patch.base), dtype=f"U{len(tag)}")
    cell = "_".join(tag.split("_")[:2])
    fit["epsf_tag"] = np.array([cell] * len(patch.base), dtype=f"U{len(cell)}")


def add_optimiser(
    fit: Columns, patch: PatchScene, state: SceneState, local: Ints, hit_limit: Bools
) -> None:
    """Add how the fit of each source ended."""
    fit["opt_niters"] = state.iterations[local]
    fit["opt_converged"] = state.converged[local]
    fit["opt_hit_max_iters"] = hit_limit
    fit["opt_last_dlnp"] = 0.5 * state.last_decrease[local]
    names = bounds_hit(patch.sources, state, local)
    fit["flag_bound_stalled"] = np.array([bool(n) for n in names], dtype=np.bool_)
    fit["flag_bound_stalled_which_parameter"] = np.array(names, dtype=np.str_)


def add_positions(fit: Columns, patch: PatchScene, state: SceneState, local: Ints) -> None:
    """Add the fitted positions [pix] and their errors, NaN at the edge of their box."""
    x, y = state.theta[local, 0], state.theta[local, 1]
    fit["x_pix_patch_fit"] = x - patch.roi_box.x0
    fit["y_pix_patch_fit"] = y - patch.roi_box.y0
    fit["x_pix_white_fit"] = x
    fit["y_pix_white_fit"] = y
    fit["x_pix_err"] = _positive_root(state.theta_cov[local, 0, 0])
    fit["y_pix_err"] = _positive_root(state.theta_cov[local, 1, 1])


def _is_free(variance: Floats) -> Bools:
    """Tell which parameters were free at the end: not held by the fit, nor by a bound."""
    return np.asarray(variance > HELD)


def _positive_root(variance: Floats) -> Floats:
    """Return standard errors; NaN where a parameter was not free."""
    return np.where(_is_free(variance), np.sqrt(np.maximum(variance, 0.0)), np.nan)


def add_shapes(fit: Columns, state: SceneState, local: Ints, patch: PatchScene) -> None:
    """Add the fitted models and their ellipses; NaN for stars, errors also at a bound."""
    kind = patch.sources.kind[local]
    star = kind == SourceType.STAR
    theta, cov = state.theta[local], state.theta_cov[local]
    shape = ellipse_from_parameters(theta[:, 2], theta[:, 3], theta[:, 4], cov[:, 2:5, 2:5])
    names = np.array([t.name.lower() for t in SourceType])
    fit["stype_fit"] = names[kind] if len(kind) else np.zeros(0, "U6")

    def galaxy(values: Floats) -> Floats:
        return np.where(star, np.nan, values)

    is_sersic = kind == SourceType.SERSIC
    free = ~state.frozen[local]
    grows = free & _is_free(cov[:, 2, 2])
    turns = free & _is_free(cov[:, 3, 3]) & _is_free(cov[:, 4, 4])
    # phi is the same axis counted from +y, in [0, 180)
    phi = np.mod(shape.theta - 90.0, 180.0)
    fit["sersic_n_fit"] = np.where(is_sersic, theta[:, 5], np.nan)
    fit["re_pix_fit"] = galaxy(shape.a)
    fit["ab_fit"] = galaxy(shape.ab)
    fit["phi_deg_fit"] = galaxy(phi)
    fit["ELL_fit"] = galaxy(1.0 - shape.ab)
    fit["Re_fit"] = galaxy(shape.a)
    fit["THETA_fit"] = galaxy(phi - 90.0)
    fit["sersic_n_err"] = np.where(is_sersic & free, _positive_root(cov[:, 5, 5]), np.nan)
    fit["re_pix_err"] = galaxy(np.where(grows, shape.a_err, np.nan))
    fit["ab_err"] = galaxy(np.where(turns, shape.ab_err, np.nan))
    fit["THETA_err"] = galaxy(np.where(turns, shape.theta_err, np.nan))


def add_fluxes(fit: Columns, patch: PatchScene, state: SceneState, local: Ints) -> None:
    """Add the fluxes and their errors, that of the sky level included [scaled counts]."""
    x, y = state.theta[local, 0], state.theta[local, 1]
    sky_error = patch.sky.error_at(x, y)
    for b, band in enumerate(patch.bands):
        variance = state.flux_cov[local, b, b]
        extra = (np.nan_to_num(state.sky_response[local, b, b]) * sky_error[:, b]) ** 2
        fit[f"FLUX_{band}_fit"] = state.total_flux[local, b]
        fit[f"FLUXERR_{band}_fit"] = np.sqrt(variance + extra)


def add_quality(
    fit: Columns,
    patch: PatchScene,
    state: SceneState,
    *,
    found: SourceDiagnostics,
    local: Ints,
    flags: Ints,
) -> None:
    """Add flags, goodness of fit, sky levels and what is masked."""
    group = np.asarray(patch.groups["group"])
    sizes = np.bincount(group[group >= 0], minlength=len(group)) if len(group) else group
    fit["fit_flags"] = flags
    fit["fit_snr"] = state.snr[local]
    fit["fit_evaluations"] = state.evaluations[local]
    fit["group_size"] = sizes[group[patch.base]]
    x, y = state.theta[local, 0], state.theta[local, 1]
    level, error = patch.sky.level_at(x, y), patch.sky.error_at(x, y)
    for b, band in enumerate(patch.bands):
        fit[f"chi2_{band}"] = found.reduced_chi2[:, b]
        fit[f"n_good_{band}"] = found.n_good[:, b]
        fit[f"n_above_{band}"] = found.n_above[:, b]
        fit[f"masked_fraction_{band}"] = found.masked_fraction[:, b]
        fit[f"sky_{band}"] = level[:, b]
        fit[f"sky_err_{band}"] = error[:, b]
        fit[f"dx_{band}"] = state.offset[local, b, 0]
        fit[f"dy_{band}"] = state.offset[local, b, 1]


def add_blends(
    fit: Columns, patch: PatchScene, state: SceneState, found: SourceDiagnostics, local: Ints
) -> None:
    """Add what neighbours do to the fluxes."""
    group = np.asarray(patch.groups["group"])[patch.rows]
    blends = blend_quality(state, group, fwhm=patch.scene.psf_fwhm)
    neighbour = blends.neighbour[local]
    fit["neighbour_row"] = np.where(neighbour >= 0, patch.rows[neighbour], -1)
    fit["flux_correlation"] = blends.flux_correlation[local]
    close = np.where(blends.is_close[local], int(FitFlag.CLOSE_PAIR), 0)
    fit["fit_flags"] = np.asarray(fit["fit_flags"]) | close
    for b, band in enumerate(patch.bands):
        fit[f"fracflux_{band}"] = found.flux_fraction_others[:, b]
        fit[f"residual_peak_{band}"] = found.residual_peak[:, b]
        pair = np.where(blends.is_close, blends.pair_flux[:, b], np.nan)
        fit[f"pair_flux_{band}"] = pair[local]
        pair = np.where(blends.is_close, blends.pair_flux_err[:, b], np.nan)
        fit[f"pair_flux_err_{band}"] = pair[local]


def add_choice(
    fit: Columns,
    patch: PatchScene,
    state: SceneState,
    local: Ints,
    *,
    prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    """Add which model would do, and how much each would improve chi-square; nothing is refitted."""
    state.side = patch.scene.stamp_sides(state)
    rules = ChoiceRules(try_share=TRY_SHARE)
    choice = choose_models_of_state(patch.scene, state, local, prepared, rules=rules)
    fit["type_suggested"] = _type_names(choice.kind)
    found = choice.table()
    for name in found.colnames:
        if name.startswith("dchisq_"):
            fit[name] = np.asarray(found[name])


def add_types(fit: Columns, types: Table) -> None:
    """Add what was chosen before the last passes, and whether that changed what was fitted."""
    place = {int(row): i for i, row in enumerate(types["row"])}
    at = np.array([place.get(int(row), -1) for row in fit["row"]], dtype=np.int64)
    known = at >= 0

    def column(name: str, missing: float) -> npt.NDArray[Any]:
        values = np.full(len(at), missing, dtype=types[name].dtype)
        values[known] = np.asarray(types[name])[at[known]]
        return values

    before = column("kind_before", -1)
    fit["type_catalog"] = _type_names(before)
    fit["type_changed"] = column("kind", -1) != before
    fit["type_suggested"] = _type_names(column("kind_suggested", -1))
    for name in types.colnames:
        if name.startswith("dchisq_"):
            fit[name] = column(name, np.nan)
    unchecked = np.where(column("is_oversized", 0), int(FitFlag.TYPE_UNCHECKED), 0)
    fit["fit_flags"] = np.asarray(fit["fit_flags"]) | unchecked


def _type_names(kind: Ints) -> npt.NDArray[np.str_]:
    """Return the names of types; empty where there is none."""
    names = {int(kind): kind.name.lower() for kind in SourceType}
    return np.array([names.get(int(k), "") for k in kind], dtype="U6")


def blank_unfitted(fit: Columns, lost: Bools) -> None:
    """Empty the results of sources whose patch failed."""
    if not lost.any():
        return
    for name, values in fit.items():
        if values.dtype.kind == "f":
            fit[name] = np.where(lost, np.nan, values)
    fit["fit_flags"] = np.where(lost, int(FitFlag.FAILED), fit["fit_flags"])
    fit["opt_converged"] = np.where(lost, False, fit["opt_converged"])
    fit["stype_fit"] = np.where(lost, "", fit["stype_fit"])
