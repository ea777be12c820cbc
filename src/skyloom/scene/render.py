r"""Render models, and the readable twin of the compiled kernels.

With k the wave vector [rad/pix], S the matrix of the half-light ellipse, P the transform of the
PSF stamp and f the transform of the profile (see `skyloom.scene.profiles`)::

    q    = k^T S k
    V(k) = f(q) P(k) exp(-i k.x0)        unit-flux model
    m(x) = flux * IDFT[V]

    d/dx0     -i kx V
    d/dtheta  f'(q) (k^T dS/dtheta k) P exp(-i k.x0)    theta in ln r_c, g1, g2

    S = A [[1 + g^2 + 2 g1, 2 g2], [2 g2, 1 + g^2 - 2 g1]],   A = r_c^2 / (1 - g^2)
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom._types import Floats, Pixels

from .checks import check_sources
from .images import SceneImage
from .options import FitOptions
from .passes import ScenePass
from .profiles import sersic_transform
from .sources import Sources, SourceType
from .state import SceneState

__all__ = ["render_reference", "render_scene"]


def render_scene(
    images: Sequence[SceneImage],
    sources: Sources,
    flux: Floats,
    options: FitOptions | None = None,
) -> list[Pixels]:
    """Render all sources into model images of the shapes of ``images``.

    Parameters
    ----------
    images : sequence of SceneImage
        Their data set the shape only.
    sources : Sources
    flux : ndarray, shape (n, F)
        By flux key, in order of first appearance in ``images``.

    Returns
    -------
    list of ndarray of float32

    Raises
    ------
    BadTable
        If a source has a parameter that is not finite.
    """
    check_sources(sources, len({im.flux_key for im in images}))
    scene = ScenePass(images, sources, options or FitOptions())
    scene.data[:] = 0.0
    scene.ivar[:] = 1.0
    state = SceneState.start(sources, scene.n_flux)
    state.flux[:] = flux
    state.flux_cov[:] = np.eye(scene.n_flux) * 1e-12  # known fluxes: stamps as for bright sources
    state.started[:] = True
    scene.noise[:] = 1e-30
    residual, _ = scene.residual(state)
    return [
        -residual[start : start + area].reshape(im.data.shape)
        for (start, area), im in zip(scene.spans(), images, strict=True)
    ]


def render_reference(
    kind: int, theta: Floats, psf_stamp: Floats, *, side: int, x: float, y: float
) -> Floats:
    """Render one unit-flux source in double precision; the twin that tests hold kernels to.

    Parameters
    ----------
    kind : SourceType
    theta : sequence
        Its ``log_r, g1, g2, n``.
    psf_stamp : ndarray, shape (S, S)
        Odd S not larger than ``side - 1``.
    side : int
        Side of the result [pix].
    x, y : float
        Position in the result [pix].
    """
    log_r, g1, g2, n = theta
    k = 2.0 * np.pi * np.fft.fftfreq(side)
    kx, ky = k[None, :], k[:, None]
    half = psf_stamp.shape[0] // 2
    padded = np.zeros((side, side))
    padded[: 2 * half + 1, : 2 * half + 1] = psf_stamp
    spectrum = np.fft.fft2(np.roll(padded, (-half, -half), axis=(0, 1)))
    spectrum[side // 2, :] = 0.0
    spectrum[:, side // 2] = 0.0
    if kind != SourceType.STAR:
        g = g1 * g1 + g2 * g2
        scale = np.exp(2.0 * log_r) / (1.0 - g)
        sxx, sxy, syy = scale * (1 + g + 2 * g1), scale * 2 * g2, scale * (1 + g - 2 * g1)
        q = sxx * kx**2 + 2 * sxy * kx * ky + syy * ky**2
        index = {SourceType.EXP: 1.0, SourceType.DEV: 4.0}.get(SourceType(kind), n)
        spectrum = spectrum * sersic_transform(float(index))(q)
    return np.asarray(np.fft.ifft2(spectrum * np.exp(-1j * (kx * x + ky * y))).real)
