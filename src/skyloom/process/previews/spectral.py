"""The processor that makes previews of spectra."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Final, TypeAlias

import numpy as np
from typing_extensions import override

from skyloom.errors import BadTable, WrongValue
from skyloom.process.data import DataSpec

from .maker import PreviewMaker
from .spectra import draw_spectrum

__all__ = ["SPECTRUM_READERS", "SpectralPreviewMaker", "SpectrumReader"]

Columns: TypeAlias = Mapping[str, Any]
SpectrumReader: TypeAlias = Callable[[Path], Columns]
"""Reads a spectrum: columns by name, each a value per point."""


def _read_table_columns(path: Path) -> Columns:
    from skyloom.catalogs.io import read_table  # noqa: PLC0415 - slow

    table = read_table(path)
    return {name: table[name] for name in table.colnames}


def _read_image_columns(path: Path) -> Columns:
    """Take the first image: its last axes are one point long, its header has the scale."""
    from skyloom.images import opened_fits  # noqa: PLC0415 - slow

    with opened_fits(path) as hdus:
        hdu = next((h for h in hdus if getattr(h, "is_image", False) and h.shape), None)
        if hdu is None:
            raise BadTable(f"{path}: holds no image; read it as a table", file=str(path))
        flux = np.asarray(hdu.data, np.float64)
        header: Mapping[str, Any] = hdu.header
    flux = flux.reshape(-1, flux.shape[-1])[0]
    step = header.get("CDELT1", header.get("CD1_1", 1.0))
    pixels = np.arange(1, len(flux) + 1)
    spectral = header.get("CRVAL1", 1.0) + (pixels - header.get("CRPIX1", 1.0)) * step
    return {"spectral": spectral, "flux": flux}


SPECTRUM_READERS: Final[Mapping[str, SpectrumReader]] = {
    "table": _read_table_columns,
    "image": _read_image_columns,
}
"""Readers of spectra by name: a table with a row per point (or a row of arrays), or a FITS image
with one axis, whose columns are ``spectral`` [as CUNIT1 says] and ``flux``."""


class SpectralPreviewMaker(PreviewMaker):
    """Makes small line drawings of spectra, 200 x 100 pixels.

    Attributes
    ----------
    sdm_id : str
        Which of `readers` makes a spectrum of the file; required.
    readers : mapping
        Readers by name; add your own.
    spectral_column, flux_column : str
        Columns that are drawn.
    linear_fluxes : bool
        Draw fluxes on a linear axis; default: logarithmic.
    connect_points : bool
        Draw a line; otherwise dots.
    """

    sdm_id: ClassVar[str] = ""
    readers: ClassVar[Mapping[str, SpectrumReader]] = SPECTRUM_READERS
    spectral_column: ClassVar[str] = "spectral"
    flux_column: ClassVar[str] = "flux"
    linear_fluxes: ClassVar[bool] = False
    connect_points: ClassVar[bool] = True

    @override
    def _create_auxiliaries(self, data: DataSpec) -> None:
        if self.sdm_id not in self.readers:
            raise WrongValue(
                f"{type(self).__name__}.sdm_id = {self.sdm_id!r} names no reader of spectra; it "
                f"is one of {', '.join(self.readers)}",
                sdm_id=self.sdm_id,
            )
        # By name, not super(): classes with old names of hooks stand in between.
        PreviewMaker._create_auxiliaries(self, data)

    @override
    def get_preview_data(self, accref: str) -> bytes:
        columns = self.readers[self.sdm_id](self.get_source(accref))
        for name in (self.spectral_column, self.flux_column):
            if name not in columns:
                raise BadTable(
                    f"{accref}: the spectrum has no column {name!r}; it has {', '.join(columns)}",
                    accref=accref,
                    column=name,
                )
        return draw_spectrum(
            columns[self.spectral_column],
            columns[self.flux_column],
            is_linear=self.linear_fluxes,
            is_connected=self.connect_points,
        )
