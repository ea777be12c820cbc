"""How large the stamp of each source has to be."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from skyloom._types import Floats, Ints

from ._records import SINGLE_SIDE
from ._stamps_nb import needed_sides
from .images import RING_SIDES, SceneGeometry, SceneImage, ring_brightness
from .sources import Sources, SourceType
from .state import SceneState
from .transforms import STAMP_SIDES, PsfBank
from .wide import ENDLESS, stamp_side

__all__ = ["StampRule", "field_stamp_sides", "sersic_index"]

_CHOICES = np.array(STAMP_SIDES)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StampRule:
    """Sides of stamps [pix].

    A star has 32 px where its light at the edge of that stamp is below a tenth of the noise, else
    64, 128 or 256 by the same rule, as far as the PSF is known; a galaxy needs what
    `light_extent` says.  Where that is more than 256 px, its stamp ends where all its light is
    below a tenth of the noise of a pixel, or with the image.

    ``rings`` (B, 3) brightness of the PSFs where stamps end, ``noise`` (B,) of a pixel,
    ``fixed`` the side of all stamps if that is wanted.
    """

    geometry: SceneGeometry
    rings: Floats
    noise: Floats
    psf_fwhm: float  # pix
    fixed: int | None

    def sides(self, sources: Sources, state: SceneState, rows: Ints) -> Ints:
        """Return the stamp side of sources [pix], which are these rows of the scene."""
        galaxy = sources.kind != SourceType.STAR
        if self.fixed is not None:
            side = np.full(len(sources), self.fixed)
            return np.where(galaxy, side, np.minimum(side, SINGLE_SIDE))
        side, extent = np.empty(len(rows), np.int64), np.empty(len(rows))
        geometry = self.geometry
        needed_sides(
            rows, sources.kind, sources.is_composite, state.started, state.theta, state.flux,
            state.snr, geometry.position, geometry.shapes, geometry.key, self.rings, RING_SIDES,
            self.noise, self.psf_fwhm, _CHOICES, side, extent,
        )  # fmt: skip
        large = np.flatnonzero(extent > SINGLE_SIDE)
        if len(large):
            flux = np.abs(np.nan_to_num(state.flux[large][:, self.geometry.key])) / self.noise
            known, theta = state.started[large], state.theta[large]
            size = np.hypot(theta[:, 3], theta[:, 4])
            ratio = (1.0 - size) / (1.0 + size)
            radius = np.exp(theta[:, 2]) / np.sqrt(ratio)
            side[large] = stamp_side(
                radius,
                axis_ratio=ratio,
                n=sersic_index(sources.kind[large], theta),
                flux=np.where(known, flux.max(axis=1), np.inf),
                noise=1.0,
                limit=self.geometry.reach(rows[large]),
                radii=np.where(known, ENDLESS, extent[large] / radius),
            )
        return side


def sersic_index(kind: Ints, theta: Floats) -> Floats:
    """Return the Sersic index of sources of some kinds and parameters (n, 6); 1 for stars."""
    law = np.where(kind == SourceType.SERSIC, theta[:, 5], 1.0)
    return np.where(kind == SourceType.DEV, 4.0, law)


def field_stamp_sides(
    images: Sequence[SceneImage],
    sources: Sources,
    state: SceneState,
    *,
    noise: Floats,
    bank: PsfBank,
) -> Ints:
    """Return the stamp side of all sources [pix], without a scene of all those pixels.

    Parameters
    ----------
    images : sequence of SceneImage
        Of which shape and PSF count: arrays may repeat one number without memory for each pixel.
    sources, state : Sources, SceneState
    noise : ndarray, shape (B,)
        Of a pixel, in units of the data.
    bank : PsfBank
        Transforms of the PSFs of these images.
    """
    x, y = sources.theta[:, :2].T
    geometry = SceneGeometry(images, x, y, bank=bank)
    pairs = zip(images, geometry.transforms, strict=True)
    rule = StampRule(
        geometry=geometry,
        rings=np.stack([ring_brightness(im, transforms) for im, transforms in pairs]),
        noise=noise,
        psf_fwhm=max(im.psf.fwhm for im in images),
        fixed=None,
    )
    return rule.sides(sources, state, np.arange(len(sources)))
