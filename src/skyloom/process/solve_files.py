"""Solving single files, whatever their kind: what ``skyloom solve`` does."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.io import fits
from typing_extensions import override

from skyloom.errors import MissingFile, WrongValue

from .data import DataSpec
from .options import default_options
from .solving import AnetHeaderProcessor, draw_overlay

if TYPE_CHECKING:
    from skyloom.calib.plate_solving import ExtractionSettings, Hint, PlateSolution, SolveInput

__all__ = ["FileSolver", "get_wcs_fields_for"]

_FITS = (".fits", ".fit", ".fts")


class FileSolver(AnetHeaderProcessor):
    """Solves files one by one and keeps what was found."""

    what: argparse.Namespace
    """Limits, thresholds and targets."""
    solution: PlateSolution | None = None
    """Of the last file."""

    @classmethod
    def with_options(cls, files: Sequence[Path], **what: Any) -> FileSolver:
        """Make a solver.

        Parameters
        ----------
        files : sequence of Path
            What will be solved.
        **what
            backend, scale_low, scale_high, ra, dec, radius, index_dir, catalog, minarea,
            detectthreshold, invert, time_limit, overlay, copy_to, applies.

        Raises
        ------
        UserMistake
            If one of them cannot be used.
        """
        opts = default_options(cls.add_options)
        opts.reprocess = True
        opts.apply = bool(what.get("applies"))
        opts.reheader = opts.apply
        opts.copy_to = None if what.get("copy_to") is None else str(what["copy_to"])
        cls_with = type("FileSolver", (cls,), {
            "what": argparse.Namespace(**what),
            "backend": what.get("backend", "auto"),
            "index_dir": what.get("index_dir"),
            "catalog": what.get("catalog"),
            "sp_total_timelimit": what.get("time_limit", 60.0),
        })  # fmt: skip
        for path in files:
            if not path.is_file():
                raise MissingFile(f"{path}: no such file; correct the path", file=str(path))
        if opts.apply:
            for path in files:
                if path.suffix.lower() not in _FITS:
                    raise WrongValue(
                        f"{path}: --apply writes into uncompressed FITS images only; leave it out, "
                        f"the header is in {path}.hdr",
                        file=str(path),
                    )
        found = cls_with(opts, DataSpec.from_list(files))
        assert isinstance(found, FileSolver)
        found.hint()
        return found

    def run(self, path: Path) -> PlateSolution:
        """Solve a file, and write its header."""
        self.solution = None
        self.process(str(path))
        assert self.solution is not None
        return self.solution

    @override
    def solve_file(self, identifier: str) -> PlateSolution:
        self.solution = super().solve_file(identifier)
        return self.solution

    @override
    def _run_anet(self, identifier: str) -> fits.Header | None:
        return self.solve_file(identifier).cards()

    @override
    def source_header(self, identifier: str) -> fits.Header:
        if Path(identifier).suffix.lower() in {*_FITS, ".gz"}:
            return super().source_header(identifier)
        return fits.Header([("SIMPLE", True), ("BITPIX", 8), ("NAXIS", 0)])

    @override
    def hint(self) -> Hint:
        from skyloom.calib.plate_solving import Hint  # noqa: PLC0415 - slow

        what = self.what
        return Hint(ra=what.ra, dec=what.dec, radius=what.radius, scale_low=what.scale_low,
                    scale_high=what.scale_high)  # fmt: skip

    @override
    def _settings(self) -> ExtractionSettings:
        from skyloom.calib.plate_solving import settings_from_control  # noqa: PLC0415 - slow

        what, lines = self.what, []
        if what.minarea is not None:
            lines.append(f"DETECT_MINAREA {what.minarea}")
        if what.detectthreshold is not None:
            lines.append(f"DETECT_THRESH {what.detectthreshold}")
        found = settings_from_control("\n".join(lines), super()._settings())
        return found if not what.invert else found.inverted()

    @override
    def _keep_picture(
        self, folder: Path, found: SolveInput, stars: Any, solution: PlateSolution | None
    ) -> None:
        super()._keep_picture(folder, found, stars, solution)
        if self.what.overlay is not None and stars is not None:
            draw_overlay(self.what.overlay, found, stars, solution)

    @override
    def process(self, identifier: str) -> None:
        """Solve one file; only FITS files may be changed."""
        if Path(identifier).suffix.lower() in _FITS:
            super().process(identifier)
        else:
            self._compute(identifier)


def get_wcs_fields_for(
    path: str | Path,
    parameters: Mapping[str, Any] | None = None,
    control: str | None = None,
    object_filter: Callable[[str], object] | None = None,
    copy_to: str | Path | None = None,
) -> fits.Header | None:
    """Return the cards of the WCS of a file; None if it is not recognised.

    Parameters
    ----------
    path : path
        FITS image, picture or table of stars; stays as it is.
    parameters : mapping, optional
        Parameters of the solver: ``indices``, ``lower_pix`` and the others of `SolverParameters`.
    control : str, optional
        Settings of the extraction, as lines of a SExtractor control file.
    object_filter : callable, optional
        Takes the name of the FITS table of stars and rewrites it in place.
    copy_to : path, optional
        Where the working folder is copied to; a folder that exists is replaced.

    Raises
    ------
    ShellCommandFailed
        If the solver breaks off.
    UserMistake
        If there is no solver, no index, or something given cannot be used.
    """
    attributes: dict[str, Any] = {
        f"sp_{name.removeprefix('sp_')}": value for name, value in (parameters or {}).items()
    }
    attributes["source_extractor_control"] = control
    if object_filter is not None:
        attributes["object_filter"] = staticmethod(object_filter)
    opts = default_options(AnetHeaderProcessor.add_options)
    opts.copy_to = None if copy_to is None else str(copy_to)
    solver: AnetHeaderProcessor = type("OneFile", (AnetHeaderProcessor,), attributes)(
        opts, DataSpec.from_list([path])
    )
    return solver._run_anet(str(path))
