"""Errors of a finished fit: noise that pixels share, and neighbours in other blocks."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from skyloom._types import Floats, Ints, Pixels

from ._records import Correlation, white_noise
from ._stats_nb import blank_products
from .freedom import loose_sources, refine_loosely
from .groups import BlendGroups
from .images import SceneImage
from .noise import WHITE_NOISE_LIMIT, measure_noise_correlation
from .passes import ScenePass
from .state import SceneState

__all__ = ["final_errors", "noise_of_images", "noise_record"]

BLANK = 0.1  # sigma of the sky: pixels with less light tell of the noise
MAX_LAG = 5  # pix
NO_NOISE = 0.01  # mean square in units of the variance: images without noise leave rounding errors
SIGNIFICANT = 5.0  # standard errors: in small images chance must not widen all errors


def noise_of_images(
    scene: ScenePass, images: Sequence[SceneImage], residual: Pixels, weight: Pixels, model: Pixels
) -> list[Floats | None]:
    """Return the noise correlation of every image, None where the noise is white.

    What an image states is believed; otherwise the correlation is measured on pixels without
    light.

    Parameters
    ----------
    residual, weight, model : ndarray of float32
        Flat planes of the finished fit.
    """
    spans = scene.spans()
    result: list[Floats | None] = [None] * len(images)

    def measure(b: int) -> None:
        stated = images[b].noise_correlation
        if stated is not None:
            result[b] = np.asarray(stated, np.float64)
            return
        shape = images[b].data.shape
        part = slice(spans[b][0], spans[b][0] + spans[b][1])
        w, r = weight[part].reshape(shape), residual[part].reshape(shape)
        light = model[part].reshape(shape)
        if not _looks_white(blank_products(r, w, light, BLANK)):
            blank = (w > 0) & (np.abs(light) * np.sqrt(w) < BLANK)
            found = measure_noise_correlation(r, w, blank, max_lag=MAX_LAG)
            result[b] = None if found.is_white else found.rho

    scene.in_threads(measure, range(len(images)))
    return result


def _looks_white(products: Floats) -> bool:
    """Tell at little cost that neighbours are uncorrelated, or that there is no noise to judge.

    ``products`` (3, 2) from `blank_products`.
    """
    count, total = products[:, 0], products[:, 1]
    square = total[0] / count[0] if count[0] else 0.0
    if square < NO_NOISE:
        return True
    return not any(
        n and abs(both / n) / square > max(WHITE_NOISE_LIMIT, SIGNIFICANT * n**-0.5)
        for n, both in zip(count[1:], total[1:], strict=True)
    )


def noise_record(correlations: Sequence[Floats | None]) -> Correlation:
    """Return noise correlations as the record that kernels read."""
    used = [rho is not None for rho in correlations]
    if not any(used):
        return white_noise(len(correlations))
    widest = max(rho.shape[0] // 2 for rho in correlations if rho is not None)
    planes = np.zeros((len(correlations), 2 * widest + 1, 2 * widest + 1), np.float32)
    planes[:, widest, widest] = 1.0
    for plane, rho in zip(planes, correlations, strict=True):
        if rho is not None:
            lag = rho.shape[0] // 2
            inner = slice(widest - lag, widest + lag + 1)
            plane[inner, inner] = rho
    return Correlation(np.array(used), planes)


def final_errors(
    scene: ScenePass, state: SceneState, partition: BlendGroups, prepared: tuple[Pixels, Pixels]
) -> SceneState:
    """Return the state with covariances that know of correlated noise and of all neighbours.

    Where profiles of galaxies are loose, ``shift`` is filled.  Nothing is done where the last
    pass has it all: white noise, groups solved as one block, galaxies that keep to their laws.
    """
    loose = loose_sources(scene, state)
    if not (partition.is_divided or scene.correlation.used.any() or loose.any()):
        return state
    halos = partition.halos()
    blocks: list[tuple[Ints, Ints]] = []
    for parts in partition.members().values():
        for rows in parts:
            halo = halos.get(int(rows.min()))
            if halo is not None or scene.correlation.used.any() or loose[rows].any():
                blocks.append((rows, halo if halo is not None else np.zeros(0, np.int64)))
    if not blocks:  # there is no source
        return state
    refine = refine_loosely if loose.any() else ScenePass.refine_errors
    return refine(scene, state, blocks, prepared)
