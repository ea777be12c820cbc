"""Slots: the measurement that a catalogue has chosen as *the* centroid, shape or flux.

A catalogue and its records have the same attributes; in a catalogue they are columns.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, overload

__all__ = ["SLOTS", "MomentErrors", "Point", "Slots"]

SLOTS = ("Centroid", "Shape", "PsfShape", "PsfFlux", "ApFlux", "ModelFlux", "InstFlux", "CalibFlux")
"""Names of slots; ``slot_`` before them is their alias in a file."""


class Point(NamedTuple):
    """Positions [pix] in parent coordinates, or their errors."""

    x: Any
    y: Any


class MomentErrors(NamedTuple):
    """Errors of second moments [pix**2]."""

    ixx: Any
    iyy: Any
    ixy: Any


class _Named(Protocol):
    def get(self, name: str) -> Any: ...


@dataclass(frozen=True, slots=True)
class _Value:
    """An attribute that is a quantity of the catalogue."""

    name: str
    doc: str

    @property
    def __doc__(self) -> str:  # type: ignore[override]
        return self.doc

    @overload
    def __get__(self, owner: None, kind: type) -> _Value: ...
    @overload
    def __get__(self, owner: _Named, kind: type) -> Any: ...
    def __get__(self, owner: _Named | None, kind: type) -> Any:
        return self if owner is None else owner.get(self.name)


def _flux(slot: str, words: str) -> Iterator[_Value]:
    yield _Value(f"slot_{slot}_instFlux", f"{words} flux, in counts of the image.")
    yield _Value(f"slot_{slot}_instFluxErr", f"Error of the {words} flux.")
    yield _Value(f"slot_{slot}_flag", f"True where the {words} flux failed.")


class Slots:
    """Attributes that `SourceCatalog` and `SourceRecord` share."""

    __slots__ = ()

    id = _Value("id", "Identifier of the source.")
    parent = _Value("parent", "Identifier of the parent in a blend; 0 for none.")
    coord = _Value("coord", "Position on the sky.")
    centroid = _Value("slot_Centroid", "Position in the image.")
    centroid_err = _Value("slot_Centroid_err", "Error of the position in the image.")
    centroid_flag = _Value("slot_Centroid_flag", "True where the centroid failed.")
    x = _Value("slot_Centroid_x", "Column [pix], parent coordinates, 0-based.")
    y = _Value("slot_Centroid_y", "Row [pix], parent coordinates, 0-based.")
    x_err = _Value("slot_Centroid_xErr", "Error of x [pix].")
    y_err = _Value("slot_Centroid_yErr", "Error of y [pix].")
    shape = _Value("slot_Shape", "Second moments.")
    shape_err = _Value("slot_Shape_err", "Errors of the second moments.")
    shape_flag = _Value("slot_Shape_flag", "True where the shape failed.")
    ixx = _Value("slot_Shape_xx", "Second moment along x [pix**2].")
    iyy = _Value("slot_Shape_yy", "Second moment along y [pix**2].")
    ixy = _Value("slot_Shape_xy", "Mixed second moment [pix**2].")
    psf_shape = _Value("slot_PsfShape", "Second moments of the PSF there.")
    psf_flux, psf_flux_err, psf_flux_flag = _flux("PsfFlux", "PSF")
    ap_flux, ap_flux_err, ap_flux_flag = _flux("ApFlux", "aperture")
    model_flux, model_flux_err, model_flux_flag = _flux("ModelFlux", "model")
    inst_flux, inst_flux_err, inst_flux_flag = _flux("InstFlux", "Gaussian")
    calib_flux, calib_flux_err, calib_flux_flag = _flux("CalibFlux", "calibration")

    @property
    def ra(self: _Named) -> Any:
        """Right ascension: an `Angle`."""
        return self.get("coord").ra

    @property
    def dec(self: _Named) -> Any:
        """Declination: an `Angle`."""
        return self.get("coord").dec
