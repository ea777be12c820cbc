"""Old names of the mosaic correction: ``lsst.meas.mosaic``, ``hsc.meas.mosaic``."""

from __future__ import annotations

import sys
from typing import Any, final

from skyloom.compat.hsc._adapter import Adapter, new_of
from skyloom.images import FluxFitParams as NewFluxFitParams

__all__ = ["FluxFitParams", "mosaicLib"]


@final
class FluxFitParams(Adapter):
    """Correction of the zero point over the image, from the cards of ``fcr_md``."""

    def __init__(self, metadata: Any) -> None:
        self.new = NewFluxFitParams.from_metadata(new_of(metadata))

    def eval(self, x: Any, y: Any) -> Any:
        """Use ``params(x, y)`` [mag]; arrays too."""
        return self.new(x, y)


mosaicLib = sys.modules[__name__]  # noqa: N816 - a module of the same names
