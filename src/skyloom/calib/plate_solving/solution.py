"""A solved image: its WCS, how well it is known, and the header cards that say so."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.calib.plate_solving.backends import FieldMatch
from skyloom.calib.plate_solving.projection import TanSip
from skyloom.calib.plate_solving.refinement import Refinement
from skyloom.calib.plate_solving.stars import ReferenceStars, StarList

__all__ = ["PlateSolution"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class PlateSolution:
    """Where an image is on the sky, and the evidence."""

    match: FieldMatch
    refinement: Refinement
    stars: StarList
    reference: ReferenceStars
    seconds: float  # extraction, back end and refinement of the attempt that succeeded
    attempts: tuple[str, ...] = ()  # what was tried before, and what came of it

    @property
    def wcs(self) -> TanSip:
        """The WCS."""
        return self.refinement.wcs

    @property
    def shape(self) -> tuple[int, int]:
        """Shape of the image (ny, nx)."""
        return self.stars.shape

    @property
    def centre(self) -> tuple[float, float]:
        """Sky position of the centre of the image (ra, dec) [deg]."""
        ny, nx = self.shape
        ra, dec = self.wcs.pixel_to_sky(np.array([0.5 * (nx - 1)]), np.array([0.5 * (ny - 1)]))
        return float(ra[0]), float(dec[0])

    @property
    def size(self) -> tuple[float, float]:
        """Width and height [deg]: great circles between the middles of opposite edges."""
        ny, nx = self.shape
        x = np.array([-0.5, nx - 0.5, 0.5 * (nx - 1), 0.5 * (nx - 1)])
        y = np.array([0.5 * (ny - 1), 0.5 * (ny - 1), -0.5, ny - 0.5])
        ra, dec = (np.radians(v) for v in self.wcs.pixel_to_sky(x, y))
        unit = np.array([np.cos(dec) * np.cos(ra), np.cos(dec) * np.sin(ra), np.sin(dec)])
        chords = (unit[:, 0] - unit[:, 1], unit[:, 2] - unit[:, 3])
        width, height = (2.0 * np.degrees(np.arcsin(0.5 * np.linalg.norm(c))) for c in chords)
        return float(width), float(height)

    def astropy_wcs(self) -> WCS:
        """Return the WCS for astropy."""
        return WCS(self.wcs.cards(self.shape))

    def cards(self) -> fits.Header:
        """Return the cards of the header: the WCS, its errors, and where they are from.

        The words of the comments are those that the default filters of header processors keep.
        """
        header = self.wcs.cards(self.shape)
        found, proof = self.refinement, self.refinement.held_out
        on_sky = self.wcs.cd @ np.array([found.dx, found.dy])  # east, north [deg]
        for axis, value in enumerate(np.sqrt(np.mean(on_sky**2, axis=1)), start=1):
            header[f"CRDER{axis}"] = (float(value), "[deg] rms residual of a star on this axis")
        header["IMAGEW"] = (self.shape[1], "[pix] width of the solved image")
        header["IMAGEH"] = (self.shape[0], "[pix] height of the solved image")
        header["ASTNSTAR"] = (len(found.pairs), "reference stars in the fit of the WCS")
        header["ASTRMS"] = (round(found.rms, 5), "[arcsec] rms distance of these stars")
        header["ASTMED"] = (
            round(float(np.median(found.residual)), 5),
            "[arcsec] median distance of these stars",
        )
        header["ASTHOMED"] = (round(proof.median, 5), "[arcsec] median distance, held-out stars")
        header["ASTHORMS"] = (round(proof.rms, 5), "[arcsec] rms distance, held-out stars")
        header["ASTPRED"] = (proof.predicted, "held-out stars predicted in the image")
        header["ASTFOUND"] = (proof.found, "held-out stars found where predicted")
        header["ASTEXPER"] = (
            round(self.expected_error, 5),
            "[arcsec] expected error over the image",
        )
        header["ASTREF"] = (self.reference.source[:60], "reference stars")
        if self.reference.epoch is not None:
            header["ASTEPOCH"] = (round(self.reference.epoch, 4), "[yr] their positions' epoch")
        header["ASTSOLVE"] = (self.match.backend, "program that recognised the field")
        header.add_history("Solved with an engine of the astrometry.net suite, refined by skyloom")
        header.add_comment(f"Index name: {self.match.index.path.name}")
        header.add_comment(f"log odds: {self.match.log_odds:.3f}")
        header.add_comment(f"Tweak AB order: {found.order}")
        return header

    @property
    def expected_error(self) -> float:
        """Expected error of the WCS over the image [arcsec], both axes together."""
        score = next(s for s in self.refinement.scores if s.order == self.refinement.order)
        return float(np.sqrt(2.0)) * score.wcs_error * self.wcs.scale

    def summary(self) -> dict[str, float | int | str | bool | list[float] | None]:
        """Return the numbers of the solution under plain names, as ``--json`` writes them."""
        found, proof = self.refinement, self.refinement.held_out
        return {
            "ra": self.centre[0],
            "dec": self.centre[1],
            "width_deg": self.size[0],
            "height_deg": self.size[1],
            "scale_arcsec_per_pix": self.wcs.scale,
            "rotation_deg": self.wcs.rotation,
            "mirrored": self.wcs.is_mirrored,
            "sip_order": found.order,
            "stars_extracted": len(self.stars),
            "stars_fitted": len(found.pairs),
            "rms_arcsec": found.rms,
            "median_arcsec": float(np.median(found.residual)),
            "held_out_predicted": proof.predicted,
            "held_out_found": proof.found,
            "held_out_median_arcsec": proof.median,
            "held_out_rms_arcsec": proof.rms,
            "expected_error_arcsec": self.expected_error,
            "log_odds": self.match.log_odds,
            "index": self.match.index.path.name,
            "reference": self.reference.source,
            "epoch": self.reference.epoch,
            "backend": self.match.backend,
            "seconds": self.seconds,
        }
