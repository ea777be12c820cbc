"""The names that one quantity has had: dotted, those of table version 1, and modern.

`modern_name` turns any of them into the modern one.  Dots and underscores are alike there, because
files of table version 0 were written with either.

================================ ===================================== ======================
dotted                           table version 1                       modern
================================ ===================================== ======================
``flux.psf``                     ``base_PsfFlux_flux``                 ``.._instFlux``
``flux.psf.err``                 ``base_PsfFlux_fluxSigma`` (``Err``)  ``.._instFluxErr``
``flux.psf.flags``               ``base_PsfFlux_flag``                 same
``centroid.sdss``                ``base_SdssCentroid_x``, ``_y``       same
``centroid.sdss.err``            ``base_SdssCentroid_xSigma``          ``.._xErr``
``shape.sdss``                   ``base_SdssShape_xx``, ``_yy``, ..    same
``flags.pixel.saturated.center`` ``base_PixelFlags_flag_saturatedCenter`` same
================================ ===================================== ======================
"""

from __future__ import annotations

import re
from typing import Final

__all__ = [
    "APERTURES",
    "APERTURE_RADII",
    "DEFAULT_SLOTS",
    "DOTTED",
    "SLOT_TWINS",
    "aperture_label",
    "modern_name",
    "modern_version",
]

APERTURES: Final = "base_CircularApertureFlux"
APERTURE_RADII: Final = (3.0, 4.5, 6.0, 9.0, 12.0, 17.0, 25.0, 35.0, 50.0, 70.0)
"""Radii [pix] of an array ``flux.aperture`` of ten elements, where the file does not list them."""

DOTTED: Final = {
    # dotted prefix: (modern prefix, what it is)
    "flux.psf": ("base_PsfFlux", "flux"),
    "flux.gaussian": ("base_GaussianFlux", "flux"),
    "flux.kron": ("ext_photometryKron_KronFlux", "flux"),
    "flux.aperture": (APERTURES, "flux"),
    "cmodel.flux": ("modelfit_CModel", "flux"),
    "cmodel.exp.flux": ("modelfit_CModel_exp", "flux"),
    "cmodel.dev.flux": ("modelfit_CModel_dev", "flux"),
    "cmodel": ("modelfit_CModel", "group"),
    "centroid.sdss": ("base_SdssCentroid", "vector"),
    "centroid.naive": ("base_NaiveCentroid", "vector"),
    "shape.sdss": ("base_SdssShape", "vector"),
    "shape.sdss.psf": ("base_SdssShape_psf", "vector"),
    "shape.hsm.moments": ("ext_shapeHSM_HsmSourceMoments", "vector"),
    "shape.hsm.psfMoments": ("ext_shapeHSM_HsmPsfMoments", "vector"),
    "shape.hsm.regauss": ("ext_shapeHSM_HsmShapeRegauss", "group"),
    "classification.extendedness": ("base_ClassificationExtendedness", "value"),
    "flags.pixel": ("base_PixelFlags_flag", "pixel"),
}

DEFAULT_SLOTS: Final = {
    "slot_Centroid": ("base_SdssCentroid",),
    "slot_Shape": ("ext_shapeHSM_HsmSourceMoments", "base_SdssShape"),
    "slot_PsfFlux": ("base_PsfFlux",),
}
"""What a slot means in a file that does not say; the first that is there."""

SLOT_TWINS: Final = {"slot_InstFlux": "slot_GaussianFlux", "slot_GaussianFlux": "slot_InstFlux"}
"""Old and new name of one slot."""

_SAME: Final = {
    "deblend_nchild": "deblend_nChild",
    "calib_psfUsed": "calib_psf_used",
    "calib_psfCandidate": "calib_psf_candidate",
    "calib_psfReserved": "calib_psf_reserved",
}
_PREFIXES: Final = sorted(
    ((dotted.replace(".", "_"), *target) for dotted, target in DOTTED.items()),
    key=lambda entry: -len(entry[0]),
)
# flux, then err, flags, apcorr as they follow it in dotted names
_AFTER: Final = (
    (re.compile(r"_flags(?=_|$)"), "_flag"),
    (re.compile(r"_apcorr_err$"), "_apCorrErr"),
    (re.compile(r"_apcorr$"), "_apCorr"),
)
_PIXEL_FLAG: Final = re.compile(r"_(\w+?)_(any|center)$")


def modern_name(name: str) -> str:
    """Return the modern name of a quantity; a name that is not known stays as it is."""
    plain = name.replace(".", "_")
    if plain in _SAME:
        return _SAME[plain]
    for prefix, target, kind in _PREFIXES:
        if plain == prefix or plain.startswith(prefix + "_"):
            return modern_version(target + _suffix(plain[len(prefix) :], kind))
    return modern_version(plain)


def modern_version(name: str) -> str:
    """Return the name with the words of table version 3: ``flux`` is ``instFlux``, Sigma is Err."""
    words = name.split("_")
    for i, word in enumerate(words):
        if i and word == "flux":
            words[i] = "instFlux"
        elif i and word in {"fluxErr", "fluxSigma"}:
            words[i] = "instFluxErr"
        elif i and len(word) > 5 and word.endswith("Sigma"):
            words[i] = word[:-5] + "Err"
    return "_".join(words)


def aperture_label(radius: float) -> str:
    """Return a radius [pix] as it stands in names: ``4_5``."""
    return f"{radius:.1f}".replace(".", "_")


def _suffix(rest: str, kind: str) -> str:
    """Return what follows the prefix, in modern words."""
    if kind == "pixel":
        place = _PIXEL_FLAG.fullmatch(rest)
        if place is None:
            return rest
        return f"_{place[1]}" + ("Center" if place[2] == "center" else "")
    if kind == "value" and not rest:
        return "_value"
    if kind == "flux" and rest in {"", "_err"}:
        return "_instFlux" if not rest else "_instFluxErr"
    for pattern, modern in _AFTER:
        rest = pattern.sub(modern, rest)
    return rest
