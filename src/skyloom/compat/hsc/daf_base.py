"""Old names of header cards that a script makes: ``lsst.daf.base``."""

from __future__ import annotations

from astropy.io import fits

from skyloom.compat.hsc.metadata import Metadata

__all__ = ["PropertyList", "PropertySet"]


def PropertyList() -> Metadata:
    """Use ``astropy.io.fits.Header()``."""
    made: Metadata = Metadata.of(fits.Header())
    return made


PropertySet = PropertyList
