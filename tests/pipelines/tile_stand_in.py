"""A pipeline whose PSFs and fits are toys, so that all around them is tested in seconds."""

from __future__ import annotations

import os
import sys
import time
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
import pytest
from astropy.table import Table
from typing_extensions import override

from skyloom.butler import Array, DataId
from skyloom.cli import main
from skyloom.errors import Unprocessable
from skyloom.flow import Dataset, Dim, Handle, Stage
from skyloom.geometry import Box, patches_from_rows
from skyloom.images import read_pixels, scaled_pixels
from skyloom.pipelines.tile import TileConfig, pipeline, run
from skyloom.pipelines.tile.load import band_frame

RADIUS = 8  # pix, of the toy's aperture
NEED_REAL_FITS = {"plot-epsf", "plot-psf-cells", "plot-cutouts"}  # pictures
FAILING: set[str] = set()  # patches that the toy refuses; serial runs only


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfInputs:
    band: Annotated[str, Dim("band")]
    frames: Annotated[dict[str, Any], Dataset("frames")]


@dataclass(frozen=True, slots=True, kw_only=True)
class EpsfOutputs:
    stamps: Annotated[dict[str, Array], Dataset("epsf", scatter="cell")]
    metas: Annotated[dict[str, dict[str, Any]], Dataset("epsf_meta", scatter="cell")]


class ToyEpsf(Stage[TileConfig, EpsfInputs, EpsfOutputs]):
    name = "epsf"
    dimensions = ("band",)
    config_keys = ("epsf.epsf_ngrid",)

    @override
    def run(self, inputs: EpsfInputs) -> EpsfOutputs:
        axis = np.arange(-7, 8)
        stamp = np.exp(-0.5 * (axis[:, None] ** 2 + axis**2) / 2.0**2)
        tags = [f"r{r:02d}_c{c:02d}" for r in range(2) for c in range(2)]
        return EpsfOutputs(
            stamps={tag: (stamp / stamp.sum()).astype(np.float32) for tag in tags},
            metas={tag: {"band": inputs.band, "patch": tag, "nstars_used": 3} for tag in tags},
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryInputs:
    metas: Annotated[dict[DataId, dict[str, Any]], Dataset("epsf_meta", gather=("band", "cell"))]


@dataclass(frozen=True, slots=True, kw_only=True)
class SummaryOutputs:
    summary: Annotated[list[dict[str, Any]], Dataset("epsf_summary")]


class ToySummary(Stage[TileConfig, SummaryInputs, SummaryOutputs]):
    name = "epsf-summary"

    @override
    def run(self, inputs: SummaryInputs) -> SummaryOutputs:
        return SummaryOutputs(summary=list(inputs.metas.values()))


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadInputs:
    images: Annotated[dict[str, Handle[Any]], Dataset("raw_image", gather="band", lazy=True)]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    patches: Annotated[list[dict[str, Any]], Dataset("patches_json")]
    bright: Annotated[Any, Dataset("bright_mask", optional=True)]


@dataclass(frozen=True, slots=True, kw_only=True)
class PayloadOutputs:
    payloads: Annotated[dict[str, dict[str, Array]], Dataset("payload", scatter="patch")]


class ToyPayloads(Stage[TileConfig, PayloadInputs, PayloadOutputs]):
    name = "payloads"

    @override
    def run(self, inputs: PayloadInputs) -> PayloadOutputs:
        planes = []
        for band, image in inputs.images.items():
            frame = band_frame(inputs.frames, band, image)
            planes.append(scaled_pixels(read_pixels(frame), frame))
        cube = np.stack(planes)
        payloads = {}
        for patch in patches_from_rows(inputs.patches):
            box = patch.base
            payloads[patch.tag] = {
                "image": cube[:, *patch.roi.slices],
                "origin": np.array([patch.roi.x0, patch.roi.y0]),
                "base": np.array([box.x0, box.x1, box.y0, box.y1]),
            }
        return PayloadOutputs(payloads=payloads)


@dataclass(frozen=True, slots=True, kw_only=True)
class FitInputs:
    patch: Annotated[str, Dim("patch")]
    payload: Annotated[dict[str, Array], Dataset("payload")]
    sources: Annotated[Table, Dataset("sources")]
    frames: Annotated[dict[str, Any], Dataset("frames")]
    summary: Annotated[list[dict[str, Any]], Dataset("epsf_summary")]


@dataclass(frozen=True, slots=True, kw_only=True)
class FitOutputs:
    fit: Annotated[Table, Dataset("patch_fit")]
    catalog: Annotated[Table, Dataset("patch_catalog")]
    white: Annotated[dict[str, Array], Dataset("patch_white")]


class ToyFit(Stage[TileConfig, FitInputs, FitOutputs]):
    """Sum the light inside an aperture at the catalogue's position."""

    name = "fit"
    dimensions = ("patch",)
    config_keys = ("patch_run.n_opt_iters",)
    log = "patch_log"

    @override
    def run(self, inputs: FitInputs) -> FitOutputs:
        time.sleep(float(os.environ.get("TOY_SLEEP", "0")))
        if inputs.patch in FAILING:
            raise Unprocessable(f"fit(patch={inputs.patch}): the toy refuses it")
        base = Box(*(int(v) for v in inputs.payload["base"]))
        x, y = (np.asarray(inputs.sources[n]) for n in ("x_pix_white", "y_pix_white"))
        active = ~np.asarray(inputs.sources["excluded_any"])
        rows = np.flatnonzero(base.contains(x, y) & active)
        fit = Table({"row": rows})
        fit["opt_niters"] = np.full(len(rows), self.config.patch_run.n_opt_iters)
        fit["opt_converged"] = np.ones(len(rows), dtype=bool)
        fit["x_pix_white_fit"], fit["y_pix_white_fit"] = x[rows], y[rows]
        fit["x_pix_err"] = fit["y_pix_err"] = np.full(len(rows), 0.1)
        fit["stype_fit"] = np.full(len(rows), "star")
        image, origin = inputs.payload["image"], inputs.payload["origin"]
        yy, xx = np.mgrid[: image.shape[1], : image.shape[2]]
        for b, band in enumerate(inputs.frames["bands"]):
            sums = [
                np.nansum(image[b][np.hypot(xx - x[r] + origin[0], yy - y[r] + origin[1]) < RADIUS])
                for r in rows
            ]
            noise = inputs.frames["frames"][band]
            sigma = noise["sky_sigma_adu"] * noise["scale"] * np.sqrt(np.pi) * RADIUS
            fit[f"FLUX_{band}_fit"] = np.array(sums, dtype=float)
            fit[f"FLUXERR_{band}_fit"] = np.full(len(rows), sigma)
        white = np.nanmean(image, axis=0)
        picture = {
            "data": white,
            "model": np.zeros_like(white),
            "residual": white,
            "sigma": np.ones_like(white),
            "mask": ~np.isfinite(white),
            "x0": origin[0],
            "y0": origin[1],
            "rows": rows,
            "x_start": x[rows],
            "y_start": y[rows],
            "x_fit": x[rows],
            "y_fit": y[rows],
            "is_base": np.ones(len(rows), dtype=bool),
        }
        return FitOutputs(fit=fit, catalog=fit, white=picture)


def install(monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the toys in the places of the real stages."""
    monkeypatch.setattr(pipeline, "epsf_stages", lambda c: [ToyEpsf(c), ToySummary(c)])
    monkeypatch.setattr(pipeline, "fit_stages", lambda c: [ToyPayloads(c), ToyFit(c)])
    monkeypatch.setattr(run, "warm_up", None)
    real = pipeline.picture_stages

    def pictures_of_toys(config: TileConfig, *, has_zero_points: bool) -> list[Any]:
        """Leave out the pictures of what toys do not make."""
        stages = real(config, has_zero_points=has_zero_points)
        return [s for s in stages if s.name not in NEED_REAL_FITS]

    monkeypatch.setattr(pipeline, "picture_stages", pictures_of_toys)


if __name__ == "__main__":  # the command line around the toys
    install(pytest.MonkeyPatch())
    sys.exit(main(sys.argv[1:]))
