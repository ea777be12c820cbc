"""Array aliases used across the package."""

from __future__ import annotations

from typing import TypeAlias

import numpy as np
import numpy.typing as npt

Floats: TypeAlias = npt.NDArray[np.float64]
"""Double-precision array: parameters, Gram matrices, catalogue columns."""

Pixels: TypeAlias = npt.NDArray[np.float32]
"""Single-precision image, shape (ny, nx), indexed ``[y, x]``."""

Bools: TypeAlias = npt.NDArray[np.bool_]
"""Boolean mask; True marks what the name says."""

Ints: TypeAlias = npt.NDArray[np.int64]
"""Row numbers, pixel indices, counts."""
