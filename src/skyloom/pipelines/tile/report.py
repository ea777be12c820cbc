"""Stage ``report``: what each patch hands out: catalogue, metadata, white residual."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import numpy.typing as npt
from astropy.table import Table
from typing_extensions import override

from skyloom._types import Bools, Ints
from skyloom.butler import DataId
from skyloom.catalogs import column_as_bool, plain_table
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.scene import (
    SceneState,
    diagnose,
    fit_flags,
)

from .config import TileConfig
from .passes import locate_state
from .patch_log import fit_stages_meta, log_text
from .patch_scene import FIT_KEYS, PatchScene, patch_scenes
from .recent import shared_table
from .report_apertures import add_apertures
from .report_columns import (
    Columns,
    add_blends,
    add_choice,
    add_fluxes,
    add_optimiser,
    add_positions,
    add_quality,
    add_shapes,
    add_start,
    add_types,
    blank_unfitted,
)
from .report_flags import report_flags
from .report_meta import add_psf, hit_limit, patch_meta, psf_audit
from .single_band import FitPart, join_band_fits
from .strays import strayed_of_table
from .structured import add_structure
from .unmodelled import add_unmodelled

__all__ = ["ReportPatch"]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportInputs:
    """A patch and the final state of all sources."""

    unit: Annotated[DataId, Dim()]
    payload: Annotated[dict[str, Any], Dataset("payload")]
    sources: Annotated[Handle[Table], Dataset("sources", lazy=True)]
    groups: Annotated[Handle[Table], Dataset("groups", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    models: Annotated[dict[str, Handle[Any]], Dataset("epsf_model", gather="band", lazy=True)]
    summary: Annotated[list[dict[str, Any]], Dataset("epsf_summary")]
    scene: Annotated[Handle[Table], Dataset("scene", lazy=True)]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]
    types: Annotated[Handle[Table] | None, Dataset("types", optional=True, lazy=True)]
    passes: Annotated[dict[int, dict[str, Any]], Dataset("pass_log", gather="pass")]
    bright: Annotated[Table | None, Dataset("bright_sources", optional=True)]
    halos: Annotated[dict[str, Any] | None, Dataset("halos", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportOutputs:
    """Products of a patch."""

    fit: Annotated[Table, Dataset("patch_fit")]
    catalog: Annotated[Table, Dataset("patch_catalog")]
    meta: Annotated[dict[str, Any], Dataset("patch_meta")]
    white: Annotated[dict[str, Any], Dataset("patch_white")]
    log: Annotated[str, Dataset("patch_fit_log")]


class ReportPatch(Stage[TileConfig, ReportInputs, ReportOutputs]):
    """Measure the final residual of a patch and write its catalogue."""

    name = "report"
    version = 9
    dimensions = ("pass", "patch")
    config_keys = (
        *FIT_KEYS,
        "skyloom.aperture_radius",
        "skyloom.model_choice",
        "patch_run.min_epsf_nstars_for_use",
        "patch_run.psf_model",
        "patch_run.flag_maxiter_margin",
        "patch_run.enable_staged_fit",
        "epsf.final_psf_size",
        "patches.halo_pix_min",
    )
    tolerant = True
    log = "patch_log"

    @override
    def locate(self, field: str, unit: DataId) -> DataId:
        return locate_state(field, unit)

    @override
    def run(self, inputs: ReportInputs) -> ReportOutputs:
        tag = str(inputs.unit["patch"])
        bands = [str(b) for b in inputs.payload["bands"]]
        audit = psf_audit(self.config, inputs.summary, bands, tag)
        fits: dict[str | None, Columns] = {}
        found = []
        for part, patch in patch_scenes(self.config, inputs, inputs.sky, scene=inputs.scene):
            state = patch.state()
            residual, weight = patch.residual(state)
            lost = strayed_of_table(patch.state_table, patch.base)
            fits[part.band] = self._measure(
                part, patch, state, (residual, weight), audit, lost=lost
            )
            found.append((patch, state, residual))
        patch, state, _ = found[0]
        fit: Columns = {"row": patch.base}
        if inputs.bright is not None:
            fit["affected_by_bright_mask"] = np.asarray(inputs.bright["affected_by_bright_mask"])[
                patch.base
            ]
        add_start(fit, patch, tag)
        add_psf(fit, self.config, audit)
        joint = None in fits
        if joint:
            fit |= fits[None]
        else:
            results = join_band_fits({str(b): plain_table(f) for b, f in fits.items()})
            fit |= {name: np.asarray(results[name]) for name in results.colnames}
        if inputs.types is not None:
            add_types(fit, shared_table(inputs.types))
        local = patch.local(patch.base)
        sources = shared_table(inputs.sources)
        table = plain_table(fit)
        return ReportOutputs(
            fit=table,
            catalog=_catalog(fit, sources, patch.base),
            meta={
                **patch_meta(
                    self.config,
                    patch,
                    audit,
                    tag=tag,
                    state=state if joint else None,
                    local=local,
                ),
                **fit_stages_meta(inputs.passes, staged=self.config.patch_run.enable_staged_fit),
            },
            white=_white(found),
            log=log_text(
                tag,
                names=_names(sources),
                audit=audit,
                priors=_most(p.prior_counts() for p, _, _ in found),
                passes=inputs.passes,
                fit=table,
            ),
        )

    def _measure(
        self,
        part: FitPart,
        patch: PatchScene,
        state: SceneState,
        prepared: tuple[npt.NDArray[Any], npt.NDArray[Any]],
        audit: dict[str, dict[str, Any]],
        *,
        lost: Bools,
    ) -> Columns:
        """Return what one fit found for the sources of the base box."""
        residual, weight = prepared
        local = patch.local(patch.base)
        model = patch.scene.model(residual)
        found = diagnose(patch.scene, state, local, residual, weight, model=model)
        own = {band: audit[band] for band in patch.bands}
        flags = fit_flags(patch.scene, state, found, local)
        flags = report_flags(flags, patch, state, found, own, lost=lost)
        fit: Columns = {}
        add_optimiser(fit, patch, state, local, hit_limit(self.config, state, local))
        add_positions(fit, patch, state, local)
        add_shapes(fit, state, local, patch)
        add_fluxes(fit, patch, state, local)
        add_quality(fit, patch, state, found=found, local=local, flags=flags)
        add_blends(fit, patch, state, found, local)
        add_structure(fit, patch, state, found, local, prepared=prepared)
        add_unmodelled(fit, patch, state, local, prepared=prepared, noise=part.sky)
        if (radius := self.config.skyloom.aperture_radius) is not None:
            add_apertures(
                fit, patch, state, local, prepared=prepared, radius=radius, noise=part.sky
            )
        if self.config.skyloom.model_choice == "check":
            add_choice(fit, patch, state, local, prepared=(residual, weight))
        blank_unfitted(fit, ~state.started[local])
        return fit


def _most(counts: Iterable[dict[str, int]]) -> dict[str, int]:
    """Return the largest numbers of all fits: only flux priors differ between bands."""
    most: dict[str, int] = {}
    for count in counts:
        most = {name: max(n, most.get(name, 0)) for name, n in count.items()}
    return most


def _names(sources: Table) -> list[str]:
    """Return what the log calls the rows: their IDs, or else their numbers."""
    if "ID" in sources.colnames:
        return [str(name) for name in sources["ID"]]
    return [f"row {number}" for number in range(len(sources))]


def _catalog(fit: Columns, sources: Table, base: Ints) -> Table:
    """Return the catalogue of the patch: input columns, then what was fitted."""
    given = sources[base]
    columns: dict[str, Any] = {n: given[n] for n in given.colnames if n not in {"row", "key"}}
    columns |= {name: values for name, values in fit.items() if name != "row"}
    columns.setdefault("_is_halo_source", np.zeros(len(base), np.bool_))
    if "excluded_any" in columns and len(base):
        columns["excluded_any"] = column_as_bool(given, "excluded_any")
    return plain_table(columns, given.meta)


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
            sigma = scene.sky_sigma[b]
            sigma = sigma if isinstance(sigma, float) else sigma[cut]
            weight = np.where(scene.mask[b][cut] == 0, sigma**-2.0, 0.0)
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
