"""Stage ``report``: what each patch hands out: catalogue, metadata, white residual."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Floats, Ints
from skyloom.butler import DataId
from skyloom.catalogs import column_as_bool
from skyloom.flags import FitFlag
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.scene import (
    SceneState,
    SourceDiagnostics,
    SourceType,
    blend_quality,
    choose_models_of_state,
    diagnose,
    ellipse_from_parameters,
    fit_flags,
)

from .config import TileConfig
from .fit import FIT_KEYS, PatchScene, halos_for, patch_scenes
from .halo_flags import is_buried, major_radii, on_spikes, points_at_bright_star
from .single_band import join_band_fits, state_of_part
from .structured import add_structure

__all__ = ["ReportPatch"]

BOUND_NAMES = ("pos.x", "pos.y", "shape.logre", "shape.ee1", "shape.ee2", "sersicindex")
POOR_CHI2 = 10.0  # mean chi-square per pixel in any band
FRAGMENT_SIGMA = -3.0  # a source this negative in a band is not a source
FRAGMENT_CHI2 = 3.0  # an extended "source" in a halo that fits worse than this is a piece of it
HALO_SNR = 2000.0  # stars brighter than this have halos that detection breaks into pieces
HALO_REACH = 40.0  # pix


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """A patch and the final state of all sources."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Table, Dataset("sources")]
    groups: Annotated[Table, Dataset("groups")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    summary: Annotated[list[dict[str, Any]], Dataset("epsf_summary")]
    scene: Annotated[Table, Dataset("scene")]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]
    bright: Annotated[Table | None, Dataset("bright_sources", optional=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutputs:
    """Products of a patch."""

    fit: Annotated[Table, Dataset("patch_fit")]
    catalog: Annotated[Table, Dataset("patch_catalog")]
    meta: Annotated[dict[str, Any], Dataset("patch_meta")]
    white: Annotated[dict[str, Any], Dataset("patch_white")]


class ReportPatch(Stage[TileConfig, ReportInputs, ReportOutputs]):
    """Measure the final residual of a patch and write its catalogue."""

    name = "report"
    version = 4
    dimensions = ("pass", "patch")
    config_keys = (
        *FIT_KEYS,
        "skyloom.model_choice",
        "patch_run.min_epsf_nstars_for_use",
        "patch_run.psf_model",
        "patch_run.flag_maxiter_margin",
    )
    tolerant = True
    log = "patch_log"

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return halos_for(unit) if field == "halos" else unit

    @override
    def run(self, inputs: ReportInputs) -> ReportOutputs:
        tag = str(inputs.unit["patch"])
        bands = [str(b) for b in inputs.payload["bands"]]
        audit = self._psf_audit(inputs.summary, bands, tag)
        fits: dict[str | None, Table] = {}
        found = []
        for part, patch in patch_scenes(self.config, inputs, inputs.sky, inputs.halos):
            state = patch.state(state_of_part(inputs.scene, part.band))
            residual, weight = patch.scene.residual(state)
            fits[part.band] = self._measure(patch, state, (residual, weight), audit)
            found.append((patch, state, residual))
        patch, state, _ = found[0]
        fit = Table({"row": patch.base})
        if inputs.bright is not None:
            fit["affected_by_bright_mask"] = np.asarray(inputs.bright["affected_by_bright_mask"])[
                patch.base
            ]
        _add_start(fit, patch, tag)
        self._add_psf(fit, audit)
        joint = None in fits
        results = fits[None] if joint else join_band_fits({str(b): t for b, t in fits.items()})
        for name in results.colnames:
            fit[name] = results[name]
        local = patch.local(patch.base)
        return ReportOutputs(
            fit=fit,
            catalog=_catalog(fit, inputs.sources, patch.base),
            meta=self._meta(patch, tag, audit, state if joint else None, local),
            white=_white(found),
        )

    def _measure(
        self,
        patch: PatchScene,
        state: SceneState,
        prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        audit: dict[str, dict[str, Any]],
    ) -> Table:
        """Return what one fit found for the sources of the base box."""
        residual, weight = prepared
        local = patch.local(patch.base)
        model = patch.scene.model(residual)
        found = diagnose(patch.scene, state, local, residual, weight, model=model)
        own = {band: audit[band] for band in patch.bands}
        flags = _all_flags(fit_flags(patch.scene, state, found, local), patch, state, found, own)
        fit = Table()
        self._add_optimiser(fit, patch, state, local)
        _add_positions(fit, patch, state, local)
        _add_shapes(fit, state, local, patch)
        _add_fluxes(fit, patch, state, local)
        _add_quality(fit, patch, state, found=found, local=local, flags=flags)
        _add_blends(fit, patch, state, found, local)
        add_structure(fit, patch, state, found, local, prepared=prepared)
        if self.config.skyloom.model_choice:
            _add_choice(fit, patch, state, local, prepared=(residual, weight))
        _blank_unfitted(fit, ~state.started[local])
        return fit

    def _psf_audit(
        self, summary: list[dict[str, Any]], bands: list[str], tag: str
    ) -> dict[str, dict[str, Any]]:
        """Return, per band, which PSF the patch used and why."""
        cell = "_".join(tag.split("_")[:2])
        run = self.config.patch_run
        needed = run.min_epsf_nstars_for_use
        # the engine convolves galaxies with the exact PSF, so there is nothing to mix
        model = "pixelized" if run.psf_model == "hybrid" else run.psf_model
        audit = {}
        for band in bands:
            metas = [m for m in summary if m.get("band") == band]
            mine = next((m for m in metas if m.get("patch") == cell), None)
            here = int(mine["nstars_used"]) if mine else 0
            used = any(m.get("field_model") == "epsf" for m in metas)
            errors = [str(m.get("error") or "") for m in metas]
            low = next((e for e in errors if e.startswith("low-star")), "missing ePSF")
            audit[band] = {
                "used_epsf": used,
                "fallback_reason": None if used else low,
                "epsf_nstars_used": here,
                "min_epsf_nstars_for_use": needed,
                "low_stars": used and here < needed,
                "psf_model": model if used else run.psf_fallback_model,
                "psf_model_requested": run.psf_model,
                "epsf_path": f"{band}/{cell}/epsf.npy",  # below outputs.epsf_dir
                "epsf_exists": mine is not None and mine.get("status") == "ok",
            }
        return audit

    def _add_psf(self, fit: Table, audit: dict[str, dict[str, Any]]) -> None:
        rows = len(fit)
        fallback = sorted(b for b, a in audit.items() if not a["used_epsf"])
        low = sorted(b for b, a in audit.items() if a["low_stars"])
        reasons = {b: audit[b]["fallback_reason"] for b in fallback}
        constants: dict[str, Any] = {
            "psf_min_epsf_nstars_for_use": self.config.patch_run.min_epsf_nstars_for_use,
            "psf_used_epsf_band_count": len(audit) - len(fallback),
            "psf_fallback_band_count": len(fallback),
            "psf_low_star_band_count": len(low),
            "psf_fallback_bands": ",".join(fallback),
            "psf_low_star_bands": ",".join(low),
            "psf_frozen_bands_for_optimizer": ",".join(_mixtures(audit)),
            "psf_fallback_reasons_json": json.dumps(reasons, sort_keys=True),
        }
        for name, value in constants.items():
            fit[name] = np.array([value] * rows) if rows else np.zeros(0, np.array([value]).dtype)

    def _add_optimiser(self, fit: Table, patch: PatchScene, state: SceneState, local: Ints) -> None:
        fit["opt_niters"] = state.iterations[local]
        fit["opt_converged"] = state.converged[local]
        fit["opt_hit_max_iters"] = self._hit_limit(state, local)
        fit["opt_last_dlnp"] = 0.5 * state.last_decrease[local]
        names = _bounds_hit(patch, state, local)
        fit["flag_bound_stalled"] = np.array([bool(n) for n in names], dtype=np.bool_)
        fit["flag_bound_stalled_which_parameter"] = np.array(names, dtype=np.str_)

    def _meta(
        self,
        patch: PatchScene,
        tag: str,
        audit: dict[str, dict[str, Any]],
        state: SceneState | None,
        local: Ints,
    ) -> dict[str, Any]:
        """Return ``meta.json``; ``state`` is that of a joint fit."""

        def corners(box: Any) -> list[int]:
            return [box.x0, box.x1, box.y0, box.y1]

        er, ec, pr, pc = (int("".join(c for c in part if c.isdigit())) for part in tag.split("_"))
        fallback = sorted(b for b, a in audit.items() if not a["used_epsf"])
        low = sorted(b for b, a in audit.items() if a["low_stars"])
        halo = np.setdiff1d(patch.rows, patch.base)
        x, y = patch.start.x[halo], patch.start.y[halo]
        return {
            "patch_tag": tag,
            "epsf_tag": "_".join(tag.split("_")[:2]),
            "epsf_r": er,
            "epsf_c": ec,
            "patch_r": pr,
            "patch_c": pc,
            "base_bbox": corners(patch.base_box),
            "roi_bbox": corners(patch.roi_box),
            "n_sources": len(patch.base),
            "n_halo_sources": int(patch.roi_box.contains(x, y).sum()),
            "psf_min_epsf_nstars_for_use": self.config.patch_run.min_epsf_nstars_for_use,
            "psf_used_epsf_band_count": len(audit) - len(fallback),
            "psf_fallback_band_count": len(fallback),
            "psf_low_star_band_count": len(low),
            "psf_fallback_bands": fallback,
            "psf_low_star_bands": low,
            "psf_audit": audit,
            "psf_frozen_bands_for_optimizer": _mixtures(audit),
            "enable_multi_band_simultaneous_fitting": state is not None,
            "profile": self.config.skyloom.profile,
            **(self._optimiser_meta(state, local) if state is not None else {}),
        }

    def _optimiser_meta(self, state: SceneState, local: Ints) -> dict[str, Any]:
        """Return how the joint fit of a patch ended: the worst of its sources."""
        iterations, converged = state.iterations[local], state.converged[local]
        steps = state.last_decrease[local]
        return {
            "opt_niters": int(iterations.max(initial=0)),
            "opt_converged": bool(converged.all()),
            "opt_hit_max_iters": bool(self._hit_limit(state, local).any()),
            "opt_last_dlnp": float(0.5 * steps.max(initial=0.0)),
        }

    def _hit_limit(self, state: SceneState, local: Ints) -> Bools:
        run = self.config.patch_run
        limit = max(1, run.n_opt_iters - max(0, run.flag_maxiter_margin))
        return np.asarray(~state.converged[local] & (state.iterations[local] >= limit))


def _mixtures(audit: dict[str, dict[str, Any]]) -> list[str]:
    """Return the bands whose PSF is a mixture of Gaussians; its parameters are never fitted."""
    return sorted(b for b, a in audit.items() if str(a["psf_model"]).startswith("gaussian_mixture"))


def _add_start(fit: Table, patch: PatchScene, tag: str) -> None:
    fit["x_pix_patch"] = patch.start.x[patch.base] - patch.roi_box.x0
    fit["y_pix_patch"] = patch.start.y[patch.base] - patch.roi_box.y0
    fit["patch_tag"] = np.array([tag] * len(fit), dtype=f"U{len(tag)}")
    cell = "_".join(tag.split("_")[:2])
    fit["epsf_tag"] = np.array([cell] * len(fit), dtype=f"U{len(cell)}")


def _bounds_hit(patch: PatchScene, state: SceneState, local: Ints) -> list[str]:
    """Name the bounded free parameters that ended at a limit, per source."""
    sources = patch.sources
    names = []
    for i in local:
        found = []
        if not state.frozen[i]:
            for c, name in enumerate(BOUND_NAMES):
                if not sources.free[i, c]:
                    continue
                margin = 1e-6 * max(1.0, abs(state.theta[i, c]))
                if state.theta[i, c] <= sources.lower[i, c] + margin:
                    found.append(f"{name}@lower")
                elif state.theta[i, c] >= sources.upper[i, c] - margin:
                    found.append(f"{name}@upper")
        names.append(",".join(found))
    return names


def _add_positions(fit: Table, patch: PatchScene, state: SceneState, local: Ints) -> None:
    x, y = state.theta[local, 0], state.theta[local, 1]
    fit["x_pix_patch_fit"] = x - patch.roi_box.x0
    fit["y_pix_patch_fit"] = y - patch.roi_box.y0
    fit["x_pix_white_fit"] = x
    fit["y_pix_white_fit"] = y
    fit["x_pix_err"] = _positive_root(state.theta_cov[local, 0, 0])
    fit["y_pix_err"] = _positive_root(state.theta_cov[local, 1, 1])


def _positive_root(variance: Floats) -> Floats:
    """Return standard errors; NaN where a parameter was not free."""
    return np.where(variance > 0.0, np.sqrt(np.maximum(variance, 0.0)), np.nan)


def _add_shapes(fit: Table, state: SceneState, local: Ints, patch: PatchScene) -> None:
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
    fit["re_pix_err"] = galaxy(np.where(free, shape.a_err, np.nan))
    fit["ab_err"] = galaxy(np.where(free, shape.ab_err, np.nan))
    fit["THETA_err"] = galaxy(np.where(free, shape.theta_err, np.nan))


def _add_fluxes(fit: Table, patch: PatchScene, state: SceneState, local: Ints) -> None:
    x, y = state.theta[local, 0], state.theta[local, 1]
    sky_error = patch.sky.at(patch.sky.error, x, y)
    for b, band in enumerate(patch.bands):
        variance = state.flux_cov[local, b, b]
        extra = (np.nan_to_num(state.sky_response[local, b, b]) * sky_error[:, b]) ** 2
        fit[f"FLUX_{band}_fit"] = state.flux[local, b]
        fit[f"FLUXERR_{band}_fit"] = np.sqrt(variance + extra)


def _add_quality(
    fit: Table,
    patch: PatchScene,
    state: SceneState,
    *,
    found: SourceDiagnostics,
    local: Ints,
    flags: Ints,
) -> None:
    group = np.asarray(patch.groups["group"])
    sizes = np.bincount(group[group >= 0], minlength=len(group)) if len(group) else group
    fit["fit_flags"] = flags
    fit["fit_snr"] = state.snr[local]
    fit["fit_evaluations"] = state.evaluations[local]
    fit["group_size"] = sizes[group[patch.base]]
    x, y = state.theta[local, 0], state.theta[local, 1]
    level, error = (patch.sky.at(values, x, y) for values in (patch.sky.level, patch.sky.error))
    for b, band in enumerate(patch.bands):
        fit[f"chi2_{band}"] = found.reduced_chi2[:, b]
        fit[f"n_good_{band}"] = found.n_good[:, b]
        fit[f"n_above_{band}"] = found.n_above[:, b]
        fit[f"masked_fraction_{band}"] = found.masked_fraction[:, b]
        fit[f"sky_{band}"] = level[:, b]
        fit[f"sky_err_{band}"] = error[:, b]
        fit[f"dx_{band}"] = state.offset[local, b, 0]
        fit[f"dy_{band}"] = state.offset[local, b, 1]


def _add_blends(
    fit: Table, patch: PatchScene, state: SceneState, found: SourceDiagnostics, local: Ints
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


def _add_choice(
    fit: Table,
    patch: PatchScene,
    state: SceneState,
    local: Ints,
    *,
    prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
) -> None:
    """Add which model would do, and how much each would improve chi-square; nothing is refitted."""
    state.side = patch.scene.stamp_sides(state)
    choice = choose_models_of_state(patch.scene, state, local, prepared)
    names = {int(kind): kind.name.lower() for kind in SourceType}
    fit["type_suggested"] = np.array([names.get(int(k), "") for k in choice.kind], dtype="U6")
    for name in choice.table().colnames:
        if name.startswith("dchisq_"):
            fit[name] = np.asarray(choice.table()[name])


def _all_flags(
    flags: Ints,
    patch: PatchScene,
    state: SceneState,
    found: SourceDiagnostics,
    audit: dict[str, dict[str, Any]],
) -> Ints:
    """Add what the fit itself cannot know: saturation, halos, frame edge, fallback PSFs."""
    groups = patch.groups
    base, local = patch.base, patch.local(patch.base)
    near = np.asarray(groups["near_saturated"])[base]
    footprint = found.n_above >= 5
    poor = ((found.reduced_chi2 > POOR_CHI2) & footprint).any(axis=1)
    with np.errstate(invalid="ignore", divide="ignore"):
        significance = state.flux[local] / state.flux_err[local]
    negative = (significance < FRAGMENT_SIGMA).any(axis=1)
    loose = ((found.reduced_chi2 > FRAGMENT_CHI2) & footprint).any(axis=1)
    theta = state.theta[local]
    lit = near | _near_bright_star(patch, state, theta[:, 0], theta[:, 1])
    buried = is_buried(found)
    spikes = on_spikes(patch, state, local)
    extended = major_radii(patch, state, local) > patch.scene.psf_fwhm
    piece = spikes & lit & points_at_bright_star(patch, state, local)
    x, y = theta[:, 0], theta[:, 1]
    ny, nx = patch.shape
    margin = patch.scene.psf_fwhm
    edge = (x < margin) | (y < margin) | (x > nx - 1 - margin) | (y > ny - 1 - margin)
    bits: list[tuple[FitFlag, Bools]] = [
        (FitFlag.SATURATED, np.asarray(groups["saturated"])[base]),
        (FitFlag.NEAR_SATURATED, near),
        (FitFlag.FORCED_STAR, np.asarray(groups["forced_star"])[base]),
        (FitFlag.HALO_FRAGMENT, piece | (lit & (negative | (extended & (loose | buried))))),
        (FitFlag.POOR_FIT, np.asarray(poor)),
        (FitFlag.EDGE, np.asarray(edge)),
        (FitFlag.SPIKE, spikes),
        (FitFlag.NO_EPSF, np.full(len(base), any(not a["used_epsf"] for a in audit.values()))),
    ]
    for bit, where in bits:
        flags = flags | np.where(where, int(bit), 0)
    return np.asarray(flags)


def _near_bright_star(patch: PatchScene, state: SceneState, x: Floats, y: Floats) -> Bools:
    """Tell which positions lie in the halo of a very bright star; the star itself does not."""
    stars = np.flatnonzero(
        (patch.sources.kind == SourceType.STAR) & (state.snr > HALO_SNR) & state.started
    )
    sx, sy = state.theta[stars, 0], state.theta[stars, 1]
    distance = np.hypot(x[:, None] - sx[None, :], y[:, None] - sy[None, :])
    return np.asarray(((distance > 1.0) & (distance < HALO_REACH)).any(axis=1))


def _blank_unfitted(fit: Table, lost: Bools) -> None:
    """Empty the results of sources whose patch failed."""
    if not lost.any():
        return
    for name in fit.colnames:
        if fit[name].dtype.kind == "f":
            fit[name][lost] = np.nan
    fit["fit_flags"] = np.where(lost, int(FitFlag.FAILED), fit["fit_flags"])
    fit["opt_converged"] = np.where(lost, False, fit["opt_converged"])
    fit["stype_fit"] = np.where(lost, "", fit["stype_fit"])


def _catalog(fit: Table, sources: Table, base: Ints) -> Table:
    """Return the catalogue of the patch: input columns, then what was fitted."""
    table = sources[base].copy()
    for name in ("row", "key"):
        if name in table.colnames:
            table.remove_column(name)
    for name in fit.colnames:
        if name != "row":
            table[name] = fit[name]
    if "_is_halo_source" not in table.colnames:
        table["_is_halo_source"] = np.zeros(len(table), np.bool_)
    if "excluded_any" in table.colnames and len(table):
        table["excluded_any"] = column_as_bool(table, "excluded_any")
    return table


def _white(
    scenes: Sequence[tuple[PatchScene, SceneState, npt.NDArray[Any]]],
) -> dict[str, npt.NDArray[Any]]:
    """Stack the bands of the region of interest: data, model, residual, noise, mask.

    Fits of single bands give one fitted position for each source and band.
    """
    patch = scenes[0][0]
    cut = patch.roi_box.shifted(-patch.box.x0, -patch.box.y0).slices
    shape = patch.mask[0][cut].shape
    total, numerator, rest = np.zeros(shape), np.zeros(shape), np.zeros(shape)
    for scene, _, residual in scenes:
        data, left = scene.planes(scene.scene.data), scene.planes(residual)
        for b in range(len(scene.bands)):
            weight = np.where(scene.mask[b][cut] == 0, scene.sky_sigma[b] ** -2.0, 0.0)
            total += weight
            numerator += weight * data[b][cut]
            rest += weight * left[b][cut]
    seen = total > 0
    safe = np.where(seen, total, 1.0)
    white, remainder = numerator / safe, rest / safe
    rows = np.tile(patch.rows, len(scenes))
    theta = np.concatenate([state.theta[s.local(s.rows)] for s, state, _ in scenes])
    return {
        "data": white.astype(np.float32),
        "model": (white - remainder).astype(np.float32),
        "residual": remainder.astype(np.float32),
        "sigma": np.where(seen, safe**-0.5, np.nan).astype(np.float32),
        "mask": ~seen,
        "x0": np.array(patch.roi_box.x0),
        "y0": np.array(patch.roi_box.y0),
        "rows": rows,
        "x_start": patch.start.x[rows],
        "y_start": patch.start.y[rows],
        "x_fit": theta[:, 0],
        "y_fit": theta[:, 1],
        "is_base": np.isin(rows, patch.base),
    }
