"""Checks of images and sources before a fit: kernels trust what they get."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom.errors import BadTable, InputError, Mismatch

from .images import SceneImage
from .noise import NoiseCorrelation
from .sources import PARAMETERS, Sources

__all__ = ["check_scene", "check_sources"]

PSF_SUM = (0.5, 1.05)  # a stamp holds most of the light, and no more than all


def check_scene(images: Sequence[SceneImage], sources: Sources) -> None:
    """Refuse what cannot be fitted, with where, what and the remedy.

    Raises
    ------
    ValueError
        If there is no image.
    Mismatch
        If arrays that belong together differ in shape.
    BadTable
        If a source has a parameter that is not finite.
    InputError
        If a PSF or a noise correlation cannot be one.
    """
    if not images:
        msg = "a scene needs at least one image"
        raise ValueError(msg)
    n_flux = len({image.flux_key for image in images})
    check_sources(sources, n_flux)
    for number, image in enumerate(images):
        where = f"image {number} (flux key {image.flux_key!r})"
        _check_pixels(image, where)
        _check_psf(image, where)
        _check_places(image, len(sources), where)


def check_sources(sources: Sources, n_flux: int) -> None:
    """Refuse parameters that are not finite, and flux priors for other fluxes.

    Raises
    ------
    BadTable, Mismatch
    """
    n = len(sources)
    bad = np.argwhere(~np.isfinite(sources.theta))
    if len(bad):
        row, column = int(bad[0, 0]), PARAMETERS[int(bad[0, 1])]
        value = sources.theta[row, int(bad[0, 1])]
        raise BadTable(
            f"sources, row {row}: {column} = {value}; drop the row or give a finite value",
            row=row,
            column=column,
        )
    for name in ("flux_prior_mean", "flux_prior_ivar"):
        prior = getattr(sources, name)
        if prior is not None and prior.shape != (n, n_flux):
            raise Mismatch(
                f"sources: {name} of shape {prior.shape}, {(n, n_flux)} is needed; "
                "give one value per source and flux key",
                found=prior.shape,
            )


def _check_pixels(image: SceneImage, where: str) -> None:
    """Check the planes; pixels without a number are not used, which is no mistake."""
    shape = np.shape(image.data)
    if len(shape) != 2 or 0 in shape:
        raise Mismatch(
            f"{where}: data of shape {shape}; give a plane (ny, nx), one SceneImage per band",
            found=shape,
        )
    if np.shape(image.source_variance) not in {(), shape}:
        found = np.shape(image.source_variance)
        raise Mismatch(
            f"{where}: source_variance of shape {found} for data of shape {shape}; "
            "give one number, or one for each pixel",
            found=found,
        )
    if np.shape(image.ivar) != shape:
        raise Mismatch(
            f"{where}: ivar of shape {np.shape(image.ivar)} for data of shape {shape}; "
            "give one inverse variance per pixel, such as np.full_like(data, 1 / sigma**2)",
            found=np.shape(image.ivar),
        )


def _check_psf(image: SceneImage, where: str) -> None:
    """Check that the PSF is that of a star of flux one, in the middle of the image."""
    basis = np.asarray(image.psf.basis)
    if not np.isfinite(basis).all():
        raise InputError(f"{where}: the PSF holds values that are not finite; build it anew")
    height, width = image.data.shape
    x, y = image.origin[0] + 0.5 * width, image.origin[1] + 0.5 * height
    shares = np.asarray(image.psf.coefficients(np.array([x]), np.array([y])))[0]
    total = float(shares @ basis.sum(axis=(1, 2))) / image.psf.oversampling**2
    if not PSF_SUM[0] <= total <= PSF_SUM[1]:
        raise InputError(
            f"{where}: the PSF sums to {total:.4g}; divide it so that a whole star is 1, less the "
            "share of light outside the stamp",
            total=total,
        )


def _check_places(image: SceneImage, n: int, where: str) -> None:
    """Check what an image says of each source, and of its noise."""
    for name, tail in (("x", ()), ("y", ()), ("jacobian", (2, 2))):
        values = getattr(image, name)
        allowed = {(n, *tail), (1, *tail), tail} if name == "jacobian" else {(n,)}
        if values is None:
            continue
        if np.shape(values) not in allowed:
            raise Mismatch(
                f"{where}: {name} of shape {np.shape(values)}, {(n, *tail)} is needed; give one "
                "entry per source",
                found=np.shape(values),
            )
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            raise BadTable(
                f"{where}: {name} of source {int(bad[0, 0])} is not finite; drop that source",
                row=int(bad[0, 0]),
                column=name,
            )
    if image.noise_correlation is not None:
        try:
            NoiseCorrelation(rho=np.asarray(image.noise_correlation))
        except ValueError as error:
            raise InputError(
                f"{where}: {error}; take the rho of measure_noise_correlation"
            ) from error
