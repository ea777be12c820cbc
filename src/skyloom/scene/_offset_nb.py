"""Compiled estimate of how far the image of a source in one band lies from its joint position."""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel
from skyloom._types import Floats

from ._gram_nb import evaluate, make_scratch
from ._records import Images, Members, Tables


@kernel
def position_slopes(
    members: Members,
    theta: Floats,
    flux: Floats,
    tables: Tables,
    images: Images,
    slope: Floats,
    curvature: Floats,
) -> None:
    """Fill gradient (n, F, 2) and Hessian (n, F, 3: xx, xy, yy) of -chi-square / 2 by key.

    With respect to a shift of one source in the images of one flux key, everything else held.
    """
    n_src, n_flux = flux.shape
    scratch = make_scratch(members)
    n_units = scratch.first[n_src]
    gram = np.zeros((n_flux, n_units, n_units))
    grad = np.zeros((n_flux, n_units))
    chi2 = np.zeros(n_flux)
    evaluate(members, theta, flux, tables, images, scratch, gram, grad, chi2)
    for s in range(n_src):
        x = scratch.first[s] + 1
        for b in range(n_flux):
            f = flux[s, b]
            slope[s, b, 0] = f * grad[b, x]
            slope[s, b, 1] = f * grad[b, x + 1]
            curvature[s, b, 0] = f * f * gram[b, x, x]
            curvature[s, b, 1] = f * f * gram[b, x, x + 1]
            curvature[s, b, 2] = f * f * gram[b, x + 1, x + 1]
