"""Solving a collection from the command line: ``skyloom calibrate``."""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import TYPE_CHECKING, Any, ClassVar

from astropy.io import fits
from typing_extensions import override

from skyloom.errors import NotSolved

from .data import DataSpec
from .options import positive_number
from .solving import AnetHeaderProcessor

if TYPE_CHECKING:
    from skyloom.calib.plate_solving import ExtractionSettings, SolverParameters

__all__ = ["CalibrateProcessor"]


class CalibrateProcessor(AnetHeaderProcessor):
    """Solves scans of plates, with the thresholds on the command line.

    The area is that of large, bright star images on fine scans; where it gives no solution, others
    are tried.
    """

    min_areas: ClassVar[tuple[int, ...]] = (300, 50, 150, 800, 2000, 8000)
    """Values of DETECT_MINAREA that are tried, unless ``--minarea`` gives one [pix]."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        AnetHeaderProcessor.add_options(parser)
        group = parser.add_argument_group("plate solving")
        add = group.add_argument
        add("--minarea", type=int, metavar="PIXELS",
            help="least area of a star (DETECT_MINAREA); default: several")  # fmt: skip
        add("--detectthreshold", type=float, default=4.0, metavar="SIGMA",
            help="threshold of detection (DETECT_THRESH), default 4")  # fmt: skip
        add("--invert", action="store_true", help="stars are dark, as on a negative")
        add("--scale-low", type=positive_number, metavar="ARCSEC",
            help="smallest scale, arcsec per pixel")  # fmt: skip
        add("--scale-high", type=positive_number, metavar="ARCSEC", help="largest scale")
        add("--indices", action="append", metavar="GLOB",
            help="index files, as globs; may be repeated; default: all")  # fmt: skip
        add("--index-dir", metavar="DIR", help="folder of index files; default: the usual places")
        add("--catalog", metavar="TABLE",
            help="reference stars: ra, dec, pmra, pmdec; default: the indexes")  # fmt: skip
        add("--backend", choices=("auto", "astrometry", "solve-field"),
            help="what recognises the stars")  # fmt: skip
        add("--solver-limit", type=positive_number, metavar="SECONDS",
            help="time in which a file is solved, default 600")  # fmt: skip

    @override
    def _create_auxiliaries(self, data: DataSpec) -> None:
        for name in ("backend", "index_dir", "catalog"):
            given = getattr(self.opts, name)
            if given is not None:
                setattr(self, name, given)
        if self.opts.run_anet and not self.opts.report:
            self.indexes()  # a wrong folder or pattern is a mistake, not a failure of each file

    @override
    def solver_parameters(self) -> SolverParameters:
        """Return the parameters of the class, with those of the command line."""
        opts = self.opts
        given = {
            "indices": tuple(opts.indices) if opts.indices else None,
            "lower_pix": opts.scale_low,
            "upper_pix": opts.scale_high,
            "total_timelimit": opts.solver_limit,
        }
        return replace(
            super().solver_parameters(), **{k: v for k, v in given.items() if v is not None}
        )

    @override
    def _settings(self) -> ExtractionSettings:
        from skyloom.calib.plate_solving import settings_from_control  # noqa: PLC0415 - slow

        area = self._area or self.opts.minarea or self.min_areas[0]
        text = f"DETECT_MINAREA {area}\nDETECT_THRESH {self.opts.detectthreshold}"
        found = settings_from_control(text, super()._settings())
        return found.inverted() if self.opts.invert else found

    _area: int | None = None

    @override
    def _run_anet(self, identifier: str) -> fits.Header | None:
        failures: list[NotSolved] = []
        for area in [self.opts.minarea] if self.opts.minarea else self.min_areas:
            self._area = area
            try:
                cards = super()._run_anet(identifier)
            finally:
                self._area = None
            if cards is not None:
                return cards
            if self._failure is not None:
                failures.append(self._failure)
        # Areas that leave no star say nothing about the plate.
        self._failure = max(failures, key=_n_stars, default=None)
        return None


def _n_stars(failure: NotSolved) -> int:
    stars: Any = failure.facts.get("stars")
    return 0 if stars is None else len(stars)
