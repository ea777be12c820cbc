"""Compiled cutting of pixel boxes."""

from __future__ import annotations

import numpy as np

from skyloom._jit import kernel
from skyloom._types import Ints, Pixels


@kernel
def extract_boxes(
    source: Pixels,
    source_offset: Ints,
    source_shape: Ints,
    corner: Ints,
    out: Pixels,
    offset: Ints,
    shape: Ints,
) -> None:
    """Copy boxes with their corner (x, y) out of flat images; zero outside the frame."""
    for b in range(source_offset.shape[0]):
        height, width = source_shape[b, 0], source_shape[b, 1]
        img = source[source_offset[b] : source_offset[b] + height * width].reshape((height, width))
        h, w = shape[b, 0], shape[b, 1]
        dst = out[offset[b] : offset[b] + h * w].reshape((h, w))
        x0, y0 = corner[b, 0], corner[b, 1]
        dst[:] = np.float32(0.0)
        i0, i1 = max(0, -y0), min(h, height - y0)
        k0, k1 = max(0, -x0), min(w, width - x0)
        for i in range(i0, i1):
            for k in range(k0, k1):
                dst[i, k] = img[i + y0, k + x0]
