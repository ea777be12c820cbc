"""What is said of a patch as a whole: its PSFs, its boxes, how its fit ended."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from skyloom._types import Bools, Ints
from skyloom.geometry import halo_pixels
from skyloom.scene import SceneState

from .config import TileConfig
from .patch_scene import PatchScene
from .report_columns import Columns

__all__ = ["add_psf", "hit_limit", "patch_meta", "psf_audit"]

Audit = dict[str, dict[str, Any]]  # by band


def psf_audit(
    config: TileConfig, summary: list[dict[str, Any]], bands: list[str], tag: str
) -> Audit:
    """Return, per band, which PSF the patch used and why."""
    cell = "_".join(tag.split("_")[:2])
    run = config.patch_run
    needed = run.min_epsf_nstars_for_use
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
            "psf_model": run.psf_model if used else run.psf_fallback_model,
            "psf_model_requested": run.psf_model,
            "epsf_path": f"{band}/{cell}/epsf.npy",  # below outputs.epsf_dir
            "epsf_exists": mine is not None and mine.get("status") == "ok",
        }
    return audit


def add_psf(fit: Columns, config: TileConfig, audit: Audit) -> None:
    """Add which PSFs the patch used, the same in all rows."""
    rows = len(fit["row"])
    fallback = sorted(b for b, a in audit.items() if not a["used_epsf"])
    low = sorted(b for b, a in audit.items() if a["low_stars"])
    reasons = {b: audit[b]["fallback_reason"] for b in fallback}
    constants: dict[str, Any] = {
        "psf_min_epsf_nstars_for_use": config.patch_run.min_epsf_nstars_for_use,
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


def patch_meta(
    config: TileConfig,
    patch: PatchScene,
    audit: Audit,
    *,
    tag: str,
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
        "halo_pix": halo_pixels(
            config.epsf.final_psf_size,
            config.patches.halo_pix_min,
        ),
        "base_bbox": corners(patch.base_box),
        "roi_bbox": corners(patch.roi_box),
        "n_sources": len(patch.base),
        "n_halo_sources": int(patch.roi_box.contains(x, y).sum()),
        "psf_min_epsf_nstars_for_use": config.patch_run.min_epsf_nstars_for_use,
        "psf_used_epsf_band_count": len(audit) - len(fallback),
        "psf_fallback_band_count": len(fallback),
        "psf_low_star_band_count": len(low),
        "psf_fallback_bands": fallback,
        "psf_low_star_bands": low,
        "psf_audit": audit,
        "psf_frozen_bands_for_optimizer": _mixtures(audit),
        "enable_multi_band_simultaneous_fitting": state is not None,
        "profile": config.skyloom.profile,
        **(_optimiser_meta(config, state, local) if state is not None else {}),
    }


def _optimiser_meta(config: TileConfig, state: SceneState, local: Ints) -> dict[str, Any]:
    """Return how the joint fit of a patch ended: the worst of its sources."""
    iterations, converged = state.iterations[local], state.converged[local]
    steps = state.last_decrease[local]
    return {
        "opt_niters": int(iterations.max(initial=0)),
        "opt_converged": bool(converged.all()),
        "opt_hit_max_iters": bool(hit_limit(config, state, local).any()),
        "opt_last_dlnp": float(0.5 * steps.max(initial=0.0)),
    }


def hit_limit(config: TileConfig, state: SceneState, local: Ints) -> Bools:
    """Tell which sources stopped at the iteration limit."""
    run = config.patch_run
    limit = max(1, run.n_opt_iters - max(0, run.flag_maxiter_margin))
    return np.asarray(~state.converged[local] & (state.iterations[local] >= limit))


def _mixtures(audit: Audit) -> list[str]:
    """Return the bands whose PSF is a mixture of Gaussians; its parameters are never fitted."""
    return sorted(b for b, a in audit.items() if str(a["psf_model"]).startswith("gaussian_mixture"))
