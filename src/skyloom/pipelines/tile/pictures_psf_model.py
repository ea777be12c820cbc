"""Pictures of what ``patch_run.psf_model`` makes of the PSF of each cell."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from typing_extensions import override

from skyloom.butler import Array
from skyloom.flow import Dataset, Dim, Stage
from skyloom.geometry import epsf_cells
from skyloom.plots import draw_psf_model
from skyloom.psf import FieldPsf, mixture_field

from .config import TileConfig

__all__ = ["DrawPsfModels"]


@dataclass(frozen=True, slots=True, kw_only=True)
class PsfModelPictureInputs:
    """The PSF of a band, and that of each of its cells."""

    band: Annotated[str, Dim("band")]
    model: Annotated[dict[str, Array], Dataset("epsf_model")]
    stamps: Annotated[dict[str, Array], Dataset("epsf", gather="cell")]


@dataclass(frozen=True, slots=True, kw_only=True)
class PsfModelPictureOutputs:
    """A picture per cell, of the model that is in use."""

    hybrid: Annotated[dict[str, bytes], Dataset("hybrid_psf_plot", scatter="cell")]
    mixture: Annotated[dict[str, bytes], Dataset("mixture_psf_plot", scatter="cell")]


class DrawPsfModels(Stage[TileConfig, PsfModelPictureInputs, PsfModelPictureOutputs]):
    """Draw the PSF of each cell beside what the fit takes for it.

    A band with a fallback PSF has no stamp to compare with, and no picture.
    """

    name = "plot-psf-models"
    late = True
    dimensions = ("band",)
    config_keys = (
        "epsf.epsf_ngrid",
        "epsf.oversamp",
        "patch_run.psf_model",
        "patch_run.gaussian_mixture_n",
        "patch_run.hybrid_psf_n",
        "plotting.dpi",
    )

    @override
    def run(self, inputs: PsfModelPictureInputs) -> PsfModelPictureOutputs:
        """Return the pictures."""
        run, dpi = self.config.patch_run, self.config.plotting.dpi
        exact = FieldPsf.from_arrays(inputs.model)
        is_mixture = run.psf_model == "gaussian_mixture_from_stamp"
        number = max(1, run.gaussian_mixture_n) if is_mixture else run.hybrid_psf_n
        used = mixture_field(exact, number) if inputs.stamps else exact
        name = f"{number} Gaussians" if is_mixture else f"hybrid, {number} Gaussians for galaxies:"
        found: dict[str, bytes] = {}
        for cell in epsf_cells(exact.shape, self.config.epsf.epsf_ngrid):
            if cell.tag not in inputs.stamps:
                continue
            stamp: Any = inputs.stamps[cell.tag]
            x, y = 0.5 * (cell.box.x0 + cell.box.x1 - 1), 0.5 * (cell.box.y0 + cell.box.y1 - 1)
            step = self.config.epsf.oversamp
            side = (stamp.shape[0] - 1) // step + 1
            # The stored stamp has unit sum; the model is put on the same scale.
            light = exact.cropped(side).resampled_at(x, y, oversampling=step).sum()
            drawn = draw_psf_model(
                stamp,
                used.cropped(side).resampled_at(x, y, oversampling=step) / light,
                title=f"{name} {inputs.band} {cell.tag}",
                dpi=dpi,
            )
            found[cell.tag] = drawn.png(dpi=dpi)
        if is_mixture:
            return PsfModelPictureOutputs(hybrid={}, mixture=found)
        return PsfModelPictureOutputs(hybrid=found, mixture={})
