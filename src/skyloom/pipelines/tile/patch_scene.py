"""The scene of one patch: its pixels, the sources that reach it, and the groups that it fits."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
from astropy.table import Table

from skyloom._types import Floats, Ints, Pixels
from skyloom.flow import Handle
from skyloom.geometry import Box
from skyloom.images import Frame, MaskBit
from skyloom.psf import FieldPsf, HybridPsf
from skyloom.scene import (
    BAND_SHARE,
    BlendGroups,
    FitOptions,
    PsfTransforms,
    SceneImage,
    ScenePass,
    SceneState,
    Sources,
)

from .config import TileConfig
from .fallback import FALLBACK_KEYS, fallback_psf
from .field import FieldSources, FieldState, field_sources
from .field_light import field_light
from .first_light import first_fluxes
from .halo_field import HaloField
from .noise_sums import noise_sums
from .payloads import sky_sigma_of
from .psf_cache import bank_of, psf_and_transforms, with_transforms
from .registration import OFFSET_SNR
from .single_band import FitPart, fit_parts
from .sky import SkyField, absorbed_sums, sky_sums
from .work import THREADS_KEY, fit_threads

__all__ = ["FIT_KEYS", "PatchScene", "patch_scenes"]

FIT_KEYS = (
    "patch_run.enable_multi_band_simultaneous_fitting",
    "patch_run.gal_model",
    "patch_run.n_opt_iters",
    "patch_run.dlnp_stop",
    "patch_run.sersic_n_init",
    "patch_run.re_fallback_pix",
    "patch_run.pos_max_shift_pix",
    "patch_run.psf_model",
    "patch_run.gaussian_mixture_n",
    "patch_run.hybrid_psf_n",
    "patch_run.r_ap",
    "patch_run.eps_flux",
    "skyloom.profile",
    "skyloom.correlated_noise",
    "skyloom.psf_error",
    "skyloom.gain_follows_noise",
    "skyloom.galaxy_index_scatter",
    "skyloom.galaxy_size_scatter",
    "skyloom.fit_passes",
    "skyloom.bright_stars",
    f"-{THREADS_KEY}",
    *FALLBACK_KEYS,
)

MIN_TOLERANCE = 0.01  # of chi-square: a tenth of a standard error


class PatchScene:
    """The scene of one patch: its pixels, the sources that reach it, and its own groups."""

    def __init__(
        self,
        config: TileConfig,
        payload: dict[str, npt.NDArray[Any]],
        *,
        field: FieldSources,
        state: FieldState,
        models: dict[str, Handle[Any]],
        frames: dict[str, Any],
        sky: dict[str, npt.NDArray[Any]],
        halos: HaloField,
    ) -> None:
        self.bands = [str(b) for b in payload["bands"]]
        self.shape = (int(frames["shape"][0]), int(frames["shape"][1]))
        self.rows: Ints = np.asarray(payload["rows"], dtype=np.int64)
        self.owned: Ints = np.asarray(payload["owned"], dtype=np.int64)
        self.base: Ints = np.asarray(payload["base"], dtype=np.int64)
        x0, y0 = int(payload["x0"]), int(payload["y0"])
        ny, nx = payload["image"].shape[1:]
        self.box = Box(x0, x0 + nx, y0, y0 + ny)
        self.base_box = Box(*(int(v) for v in payload["base_box"]))
        self.roi_box = Box(*(int(v) for v in payload["roi_box"]))
        number = {str(band): b for b, band in enumerate(frames["bands"])}
        self.mask: npt.NDArray[np.uint8] = payload["mask"].copy()
        for b, band in enumerate(self.bands):
            spikes = halos.mask(number[band], self.box)
            self.mask[b][spikes] |= np.uint8(MaskBit.SPIKE)
        self._field, self._state = field, state
        self.groups = field.groups
        self.sky = SkyField.from_arrays(sky)
        self.sky_sigma = [
            sky_sigma_of(payload, b, box=self.box, shape=self.shape) for b in range(len(self.bands))
        ]
        self.start = field.start
        run = config.patch_run
        self._first_fluxes = partial(first_fluxes, radius=run.r_ap, floor=run.eps_flux)
        self.sources: Sources = field.of(self.rows)
        pairs = [_band_psf(config, band, models, frames) for band in self.bands]
        self.fwhm = np.array([psf.fwhm for psf, _ in pairs])
        images = []
        for b, band in enumerate(self.bands):
            good = self.mask[b] == 0
            data = np.where(good, payload["image"][b], 0) - self.sky.surface(b, self.box)
            variance: Floats = np.asarray(self.sky_sigma[b], np.float64) ** 2
            own_noise = _source_variance(config, payload, b, variance, good)
            halo = halos.light(number[band], self.box)
            if halo.any():
                data -= halo.astype(np.float32)
                variance = variance + own_noise * np.maximum(halo, 0.0)
            images.append(
                SceneImage(
                    data=data,
                    ivar=np.where(good, 1.0 / variance, 0.0).astype(np.float32),
                    psf=pairs[b][0],
                    flux_key=band,
                    sky_key=band,
                    source_variance=own_noise,
                    origin=(x0, y0),
                )
            )
        spread = law_spread(config, sky)
        options = FitOptions(
            offset_snr=OFFSET_SNR,
            profile=config.skyloom.profile,
            psf_error=config.skyloom.psf_error,
            **spread,
            max_iterations=config.patch_run.n_opt_iters,
            tolerance=max(MIN_TOLERANCE, 2.0 * config.patch_run.dlnp_stop),
            threads=fit_threads(config),
        )
        bank = bank_of(*(transforms for _, transforms in pairs))
        self.scene = ScenePass(images, self.sources, options, bank=bank)
        self._light = partial(
            field_light,
            field,
            state,
            psfs=[psf for psf, _ in pairs],
            bank=bank,
            noise=np.asarray(payload["sky_sigma"], np.float64),
            profile=config.skyloom.profile,
        )

    def local(self, rows: Ints) -> Ints:
        """Return where catalogue rows stand in this scene."""
        return np.searchsorted(self.rows, rows).astype(np.int64)

    def own_groups(self) -> dict[int, list[Ints]]:
        """Return the blocks of the groups that this patch fits, in rows of this scene."""
        local = self.local(self.owned)
        group = np.asarray(self.groups["group"])[self.owned]
        block = np.asarray(self.groups["block"])[self.owned]
        parts = BlendGroups(group=group, block=block).members()
        return {g: [local[rows] for rows in blocks] for g, blocks in parts.items()}

    def prior_counts(self) -> dict[str, int]:
        """Return how many of the sources that this patch fits have priors by the catalogue."""
        shapes = (self.start.prior_ivar[self.owned] > 0.0).T
        fluxes = (self.start.flux_prior_ivar[self.owned] > 0.0).any(axis=1)
        known = {"position": shapes[0], "radius": shapes[2], "ellipticity": shapes[3]}
        return {name: int(rows.sum()) for name, rows in {**known, "flux": fluxes}.items()}

    def state(self) -> SceneState:
        """Return the state of this scene's sources, as the pass before left them."""
        return self._state.of(self.rows, self.sources)

    @property
    def state_table(self) -> Table | None:
        """The state of all sources as the pass before left them."""
        return self._state.table

    def residual(self, state: SceneState) -> tuple[Pixels, Pixels]:
        """Return what `ScenePass.residual` does for what `state` returned, stamps apart."""
        if self._state.scene is None:
            return self.scene.residual(state)
        light = self._light()
        own = self.local(np.union1d(self.owned, self.base))
        model = light.model(self.box).ravel()
        return self.scene.residual_of(model, state, rows=own, drawn=light.side[self.rows])

    def with_first_light(self, state: SceneState) -> SceneState:
        """Return the state with start fluxes of the sources that other patches fit.

        They have no light before the first pass is over.
        """
        others = np.flatnonzero(~np.isin(self.rows, self.owned))
        rows, theta = self.rows[others], state.theta[others]
        lit = state.copy()
        lit.flux[others] = self._first_fluxes(
            self.start.flux[rows],
            theta[:, 0] - self.box.x0,
            theta[:, 1] - self.box.y0,
            self.planes(self.scene.data),
        )
        return lit

    def planes(self, flat: npt.NDArray[Any]) -> list[npt.NDArray[Any]]:
        """Return flat planes as images of the box, one per band."""
        spans = self.scene.spans()
        return [flat[s : s + area].reshape(self.box.shape) for s, area in spans]

    def noise_statistics(
        self, residual: npt.NDArray[Any], weight: npt.NDArray[Any]
    ) -> npt.NDArray[Any]:
        """Return the noise sums of the base box of every band, see `noise_sums`."""
        inner = self.base_box.shifted(-self.box.x0, -self.box.y0)
        planes = zip(
            self.planes(residual),
            self.planes(weight),
            self.planes(self.scene.model(residual)),
            strict=True,
        )
        return np.stack([noise_sums(r, w, m, inner) for r, w, m in planes])

    def sky_statistics(
        self, residual: npt.NDArray[Any], weight: npt.NDArray[Any], after: SceneState
    ) -> Floats:
        """Return the sky sums (B, 14, gy, gx) of the base box, and what own groups absorb."""
        inner = self.base_box.shifted(-self.box.x0, -self.box.y0).slices
        pairs = zip(self.planes(residual), self.planes(weight), strict=True)
        seen = [sky_sums(r[inner], w[inner], self.base_box, self.shape) for r, w in pairs]
        own = self.local(self.owned)
        x, y = after.theta[own, 0], after.theta[own, 1]
        taken = absorbed_sums(after.sky_absorbed[own], x, y, self.shape)
        return np.concatenate([np.stack(seen), taken], axis=1)


class _PatchInputs(Protocol):
    """What the stages that look at patches have in common."""

    @property
    def payload(self) -> dict[str, Any]: ...
    @property
    def sources(self) -> Handle[Table]: ...
    @property
    def groups(self) -> Handle[Table]: ...
    @property
    def models(self) -> dict[str, Handle[Any]]: ...
    @property
    def frames(self) -> dict[str, Any]: ...
    @property
    def types(self) -> Handle[Table] | None: ...  # chosen instead of the catalogue's
    @property
    def halos(self) -> dict[str, Any] | None: ...


def patch_scenes(
    config: TileConfig,
    inputs: _PatchInputs,
    sky: dict[str, Any],
    *,
    scene: Handle[Table] | None,
    newly: int | None = None,
    still: bool = False,
    again: bool = False,
) -> Iterator[tuple[FitPart, PatchScene]]:
    """Yield the scenes of a patch: one with all bands, or one for each band.

    ``scene`` is the state of all sources, None before the first pass; types that were chosen after
    the pass ``newly`` are put into it.  With ``still`` it is what the pass knew before positions
    and shapes were free, with ``again`` that holds for sources in halos only.
    """
    known = HaloField.from_arrays(inputs.halos)
    joint = config.patch_run.enable_multi_band_simultaneous_fitting
    shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
    for part in fit_parts(inputs.payload, sky, joint=joint):
        bands = tuple(str(band) for band in part.payload["bands"])
        field = field_sources(
            config,
            sources=inputs.sources,
            groups=inputs.groups,
            types=inputs.types,
            bands=bands,
            shape=shape,
        )
        state = FieldState(
            scene=scene,
            types=inputs.types,
            newly=newly,
            band=part.band,
            bands=bands,
            shift=part.sky["shift"],
            shift_before=part.sky["shift_before"],
            shape=shape,
            still=still,
            halos=known.circles() if again else (),
        )
        patch = PatchScene(
            config,
            part.payload,
            field=field,
            state=state,
            models=inputs.models,
            frames=inputs.frames,
            sky=part.sky,
            halos=known,
        )
        yield part, patch


def law_spread(config: TileConfig, sky: dict[str, npt.NDArray[Any]]) -> dict[str, Any]:
    """Return how far galaxies may be off their laws, as keywords of `FitOptions`.

    ``sky`` has what was measured.
    """
    index, size = config.skyloom.galaxy_index_scatter, config.skyloom.galaxy_size_scatter
    known = "law_scatter" in sky
    result: dict[str, Any] = {"index_scatter": 0.0, "size_scatter": 0.0}
    if index != "auto":
        result["index_scatter"] = index
    elif known:
        result["index_scatter"] = tuple(sky["law_scatter"].tolist())
        result["index_mean"] = tuple(sky["law_mean"].tolist())
    if size != "auto":
        result["size_scatter"] = size
    elif known:
        off = BAND_SHARE * np.hypot(sky["law_mean"], sky["law_scatter"]).mean()
        result["size_scatter"] = max(float(sky["band_scatter"]), float(off))
        result["band_mean"] = tuple(map(tuple, sky["band_mean"].tolist()))
    else:
        result["size_scatter"] = BAND_SHARE * np.mean(result["index_scatter"])
    return result


def _source_variance(
    config: TileConfig,
    payload: dict[str, npt.NDArray[Any]],
    b: int,
    variance: Floats,
    good: npt.NDArray[np.bool_],
) -> float | Pixels:
    """Return the variance per unit of light: exposures that add up lower it as that of the sky."""
    typical = float(payload["source_variance"][b])
    if variance.ndim == 0 or not config.skyloom.gain_follows_noise:
        return typical
    share = np.where(good, variance, 0.0) / float(payload["sky_sigma"][b]) ** 2
    return np.asarray(typical * share, np.float32)


def _band_psf(
    config: TileConfig, band: str, models: dict[str, Handle[Any]], frames: dict[str, Any]
) -> tuple[FieldPsf | HybridPsf, PsfTransforms]:
    """Return the PSF of a band; a band whose ePSF stage failed gets the fallback."""
    if band in models:
        run = config.patch_run
        gaussians = {
            "pixelized": None,
            "hybrid": run.hybrid_psf_n,
            "gaussian_mixture_from_stamp": max(1, run.gaussian_mixture_n),
        }[run.psf_model]
        is_hybrid = run.psf_model == "hybrid"
        return psf_and_transforms(models[band], gaussians=gaussians, only_extended=is_hybrid)
    frame = Frame.from_dict(frames["frames"][band])
    fwhm = frame.fwhm_pix or config.patch_run.fallback_default_fwhm_pix
    return with_transforms(fallback_psf(config, fwhm, frame.working_shape))
