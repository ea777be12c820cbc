"""Show images, masks and sources in ds9, or as pictures where there is none.

>>> import numpy as np
>>> from skyloom import display
>>> shown = display.use("virtual")
>>> display.mtv(np.eye(8), title="unity")
>>> with display.buffering():
...     display.dot("+", 3, 4)
...     display.dot("@:4,0,1", 3, 4, ctype="red")
>>> display.close()
"""

from skyloom.display.backends import Backend
from skyloom.display.choice import BACKENDS, BackendName
from skyloom.display.colors import DEFAULT_PLANE_COLORS
from skyloom.display.default import (
    buffering,
    close,
    current_display,
    dot,
    erase,
    line,
    mtv,
    pan,
    save,
    scale,
    set_mask_plane_color,
    set_mask_transparency,
    use,
    zoom,
)
from skyloom.display.display import Display
from skyloom.display.ds9 import Transport
from skyloom.display.files import read_displayable
from skyloom.display.picture import (
    HasArray,
    HasImageAndMask,
    HasMaskedImage,
    HasPixelsOnDisk,
    HasPlanes,
)
from skyloom.display.sources import source_positions

__all__ = [
    "BACKENDS",
    "DEFAULT_PLANE_COLORS",
    "Backend",
    "BackendName",
    "Display",
    "HasArray",
    "HasImageAndMask",
    "HasMaskedImage",
    "HasPixelsOnDisk",
    "HasPlanes",
    "Transport",
    "buffering",
    "close",
    "current_display",
    "dot",
    "erase",
    "line",
    "mtv",
    "pan",
    "read_displayable",
    "save",
    "scale",
    "set_mask_plane_color",
    "set_mask_transparency",
    "source_positions",
    "use",
    "zoom",
]
