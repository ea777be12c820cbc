"""The components of an exposure as its file has them, decoded when they are asked for."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from skyloom.geometry import Box
from skyloom.images.about import ArchivedObject, FilterLabel, VisitInfo
from skyloom.images.afw import decode_fields, decode_psf  # noqa: F401 - register their classes
from skyloom.images.afw.archive import Archive
from skyloom.images.afw.decode import Decoder, header_wcs
from skyloom.images.afw.hdus import damaged, quiet
from skyloom.images.afw.layout import Layout, wcs_cards
from skyloom.images.photo_calib import PhotoCalib
from skyloom.images.sky_wcs import SkyWcs

__all__ = ["FileComponents"]

log = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True, eq=False)
class FileComponents:
    """Components of a file; satisfies `skyloom.images.exposure.Stored`."""

    layout: Layout
    archive: Archive | None

    def component(self, name: str) -> Any:
        """Return a component, or None where the file has none.

        Raises
        ------
        UnreadableFile
            If it is damaged.
        NotCalibrated
            If the photometric calibration says that there is none.
        """
        with damaged(self.layout.path), quiet():
            if name == "wcs":
                return self._wcs()
            if name == "visit_info":
                return VisitInfo.from_metadata(self.layout.primary.header)
            found = self.archived(name)
            if found is None and name == "photo_calib":
                return self._calibration_of_header()
            if found is None and name == "filter" and self.layout.version < 2:
                label = self._keyword("FILTER")
                return FilterLabel.from_name(label) if isinstance(label, str) else None
            return found

    def archived(self, name: str) -> Any:
        """Return a component from the archive, or None."""
        id_ = self.layout.component_id(name)
        return None if id_ == 0 or self.archive is None else self.decoder.get(id_)

    @cached_property
    def decoder(self) -> Decoder:
        """What makes objects of the archive."""
        return Decoder(Archive.empty() if self.archive is None else self.archive)

    def _wcs(self) -> SkyWcs | None:
        archived = self.archived("wcs")
        of_header = header_wcs(wcs_cards(self.layout.image), self.layout.xy0)
        if isinstance(archived, ArchivedObject):
            log.warning(
                "%s: the archived %s is not known (%s); the WCS of the header is used, which may "
                "be an approximation",
                self.layout.path,
                archived.name,
                archived.reason or "no such class",
            )
            archived = None
        if archived is None:
            return of_header
        if of_header is None:
            return archived  # type: ignore[no-any-return]
        ny, nx = self.layout.shape
        x0, y0 = self.layout.xy0
        box = Box(x0, x0 + nx, y0, y0 + ny)
        return archived.with_fits(of_header, box)  # type: ignore[no-any-return]

    def _keyword(self, name: str) -> Any:
        image = self.layout.image.value(name)
        return self.layout.primary.value(name, image)

    def _calibration_of_header(self) -> PhotoCalib | None:
        keys = ("FLUXMAG0", "FLUXMAG0ERR")
        found = {key: self._keyword(key) for key in keys}
        return PhotoCalib.from_metadata({k: v for k, v in found.items() if v is not None})
