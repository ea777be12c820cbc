"""Get the kernels ready before the clock, or a pool of workers, starts."""

from __future__ import annotations

import numpy as np

from skyloom.psf import GaussianMixturePsf

from .apertures import measure_apertures
from .fit import fit_scene
from .images import SceneImage
from .options import FitOptions
from .passes import ScenePass
from .sources import Sources, SourceType
from .state import SceneState

__all__ = ["warm_up"]


def warm_up() -> None:
    """Compile, or load from the cache, every kernel of a fit, by fitting a tiny scene.

    Call it before a pool of workers is started, so that they do not all compile the same code, and
    in each worker before it takes its first task.
    """
    psf = GaussianMixturePsf(sigmas=(1.5,), weights=(1.0,), radius=8.0)
    rng = np.random.default_rng(1)
    image = SceneImage(
        data=rng.normal(0.0, 1.0, (40, 40)).astype(np.float32),
        ivar=np.ones((40, 40), np.float32),
        psf=psf,
        sky_key=0,
        source_variance=0.1,
    )
    at = np.array([19.0, 23.0])
    sources = Sources.create(np.array([SourceType.STAR, SourceType.SERSIC]), at, at)
    options = FitOptions(passes=1, frozen_snr=0.0, max_iterations=2)
    fit_scene([image], sources, options)
    scene = ScenePass([image], sources, options)
    state = SceneState.start(sources, 1, 1)
    measure_apertures(scene, state, np.arange(2), scene.residual(state), radius=np.array([3.0]))
