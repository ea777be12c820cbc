"""Compiled cutting of pixel boxes."""

from __future__ import annotations

import numpy as np

from skyloom._jit import lean_kernel
from skyloom._types import Ints, Pixels

from ._records import Images


@lean_kernel
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
        h, w = shape[b, 0], shape[b, 1]
        x0, y0 = corner[b, 0], corner[b, 1]
        left = min(max(0, -x0), w)
        right = max(left, min(w, width - x0))
        for i in range(h):
            to = out[offset[b] + i * w : offset[b] + (i + 1) * w]
            if y0 + i < 0 or y0 + i >= height or right == left:
                to[:] = np.float32(0.0)
                continue
            to[:left] = np.float32(0.0)
            to[right:] = np.float32(0.0)
            start = source_offset[b] + (y0 + i) * width + x0
            line, inner = source[start + left : start + right], to[left:right]
            for k in range(right - left):
                inner[k] = line[k]


@lean_kernel
def paste_boxes(
    source: Pixels, source_offset: Ints, source_shape: Ints, corner: Ints, images: Images
) -> None:
    """Copy boxes with their corner (x, y) into ``images.data``, where they lie inside."""
    for b in range(source_offset.shape[0]):
        h, w = source_shape[b, 0], source_shape[b, 1]
        x0, y0 = corner[b, 0], corner[b, 1]
        for i in range(h):
            at = images.offset[b] + (y0 + i) * images.shape[b, 1] + x0
            line = source[source_offset[b] + i * w : source_offset[b] + (i + 1) * w]
            to = images.data[at : at + w]
            for k in range(w):
                to[k] = line[k]
