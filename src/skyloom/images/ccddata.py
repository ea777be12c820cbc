"""Exposures as astropy CCDData, and back.

The bits of the mask become ``flags``, their names cards ``MP_<NAME>`` of ``meta``, and the origin
cards ``LTV1, LTV2``; the boolean ``mask`` of CCDData marks pixels that should not be used.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from astropy import units
from astropy.io.fits import Header
from astropy.nddata import CCDData, VarianceUncertainty

from skyloom.images.exposure import Exposure
from skyloom.images.image import Image
from skyloom.images.masked_image import MaskedImage
from skyloom.images.planes import DEFAULT_PLANES, Mask

__all__ = ["BAD_PLANES", "from_ccddata", "to_ccddata"]

BAD_PLANES = ("BAD", "SAT", "CR", "NO_DATA", "UNMASKEDNAN")
"""Planes whose pixels are masked in a CCDData, where the mask has them."""

_OWN = ("LTV1", "LTV2")


def to_ccddata(exposure: Exposure, *, unit: Any = None, bad: tuple[str, ...] = ()) -> CCDData:
    """Return an exposure as CCDData; pixels are copied.

    Parameters
    ----------
    exposure : Exposure
        The exposure.
    unit : astropy unit or str, optional
        Unit of the pixels; default: BUNIT of the image or of the metadata, else ``adu``.
    bad : tuple of str
        Planes whose pixels are masked; default: those of `BAD_PLANES` that there are.
    """
    mask = exposure.mask
    if not bad:
        bad = tuple(name for name in BAD_PLANES if mask.has_plane(name))
    if unit is None:
        unit = exposure.image.metadata.get("BUNIT", exposure.metadata.get("BUNIT", "adu"))
    meta = exposure.metadata.copy()
    meta["LTV1"], meta["LTV2"] = -exposure.xy0[0], -exposure.xy0[1]
    for name, bit in mask.planes.items():
        key = f"MP_{name}"
        meta[key if len(key) <= 8 else f"HIERARCH {key}"] = bit
    wcs = exposure.wcs
    return CCDData(
        exposure.image.array.copy(),
        unit=units.Unit(unit),
        uncertainty=VarianceUncertainty(exposure.variance.array.copy()),
        mask=mask.is_set(bad) if bad else np.zeros(mask.shape, bool),
        flags=mask.array.copy(),
        wcs=None if wcs is None else wcs.to_astropy(xy0=exposure.xy0),
        meta=meta,
    )


def from_ccddata(ccd: CCDData) -> Exposure:
    """Make an exposure from CCDData; pixels are copied.

    Without integer ``flags`` the boolean mask becomes the plane BAD.  Another uncertainty than a
    variance is converted.
    """
    meta = Header(ccd.meta, copy=True) if isinstance(ccd.meta, Header) else Header(ccd.meta.items())
    xy0 = tuple(-int(meta.get(key, 0)) for key in _OWN)
    planes = {key[3:]: int(meta[key]) for key in meta if key.startswith("MP_")}
    for key in [*_OWN, *(f"MP_{name}" for name in planes)]:
        meta.remove(key, ignore_missing=True)
    data = np.array(ccd.data)
    image = Image(data, xy0=(xy0[0], xy0[1]))
    flags = ccd.flags
    if flags is not None and np.issubdtype(np.asarray(flags).dtype, np.integer):
        mask = Mask(np.array(flags), planes=planes or None, xy0=image.xy0)
    else:
        mask = Mask(np.zeros(data.shape, np.int32), planes=DEFAULT_PLANES, xy0=image.xy0)
        if ccd.mask is not None:
            mask.array[np.asarray(ccd.mask)] |= mask.get_plane_bit_mask("BAD")
    variance = None
    if ccd.uncertainty is not None:
        converted = ccd.uncertainty.represent_as(VarianceUncertainty).array
        variance = Image(np.array(converted, np.float32), xy0=image.xy0)
    meta["BUNIT"] = ccd.unit.to_string("fits")
    wcs = ccd.wcs if ccd.wcs is not None and ccd.wcs.has_celestial else None
    return Exposure(MaskedImage(image, mask, variance), wcs=wcs, metadata=meta)
