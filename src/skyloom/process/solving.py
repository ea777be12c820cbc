"""A header processor that solves plates: `AnetHeaderProcessor`."""

from __future__ import annotations

import argparse
import gzip
import re
import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Final

from astropy.io import fits
from typing_extensions import override

from skyloom.errors import MissingFile, NotSolved, UserMistake, WrongValue

from .data import DataSpec
from .errors import CannotComputeHeader
from .headers import HeaderProcessor
from .templates import copy_fields

if TYPE_CHECKING:
    from skyloom.calib.plate_solving import (
        ExtractionSettings,
        Hint,
        IndexFile,
        PlateSolution,
        SolveInput,
        SolverParameters,
        StarList,
    )

__all__ = ["AnetHeaderProcessor", "draw_overlay"]

_COMMENTS: Final = (
    "Index name", "Index(", "index id", "log odds", "Cxdx margin", "Field scale lower",
    "Field scale upper", "Start obj", "End obj", "Tweak", "code error",
)  # fmt: skip
_HISTORY: Final = ("suite", "blind")
_OLD_WCS: Final = re.compile(
    r"WCSAXES|C(TYPE|RVAL|RPIX|UNIT|DELT|ROTA|RDER|SYER)[12]|(CD|PC)0*[12]_0*[12]|PV[12]_\d+"
    r"|(A|B|AP|BP)_(ORDER|DMAX|\d_\d)|LONPOLE|LATPOLE|EQUINOX|EPOCH|RADE(SYS|CSYS)|D2IM.*|DP[12]"
    r"|CPDIS[12]|CPERR[12]|AST(NSTAR|RMS|MED|HOMED|HORMS|PRED|FOUND|EXPER|REF|EPOCH|SOLVE)"
)
"""Cards of an earlier solution; beside a new one they would contradict it."""


class AnetHeaderProcessor(HeaderProcessor):
    """Gives images a WCS by recognising their stars, with the engine of astrometry.net.

    Class attributes ``sp_<name>`` are parameters of the solver, see
    `skyloom.calib.plate_solving.SolverParameters`. Override `_munge_header` to add other cards,
    `object_filter` to clean the table of stars, `_run_anet` to try several settings.
    """

    backend: str = "auto"
    """``astrometry``, ``solve-field``, or ``auto``: the first that is installed."""
    index_dir: str | None = None
    """Folder of index files; None: the usual places."""
    catalog: str | None = None
    """Table of reference stars with proper motions; None: the stars of the indexes."""
    hint_radius: ClassVar[float] = 5.0
    """How far a field may be from where its header says that it is [deg]."""
    source_extractor_control: str | None = None
    """Settings of the extraction of stars, as lines of a SExtractor control file."""
    sex_control: str | None = None
    """Another name of `source_extractor_control`."""
    object_filter: Any = None
    """A method that takes the name of the FITS table of stars and rewrites it in place."""
    no_copy_headers: ClassVar[frozenset[str]] = frozenset(
        {"simple", "bitpix", "naxis", "naxis1", "naxis2", "imageh", "imagew", "datamin", "datamax"}
        | {"date"}
    )
    """Cards of the solution that never reach the image, in lower case."""

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        HeaderProcessor.add_options(parser)
        add = parser.add_argument
        add("--no-anet", dest="run_anet", action="store_false",
            help="solve nothing, reuse the calibration in the caches")  # fmt: skip
        add("--copy-to", metavar="PATH",
            help="copy the working folder of the last file there, for debugging")  # fmt: skip

    @staticmethod
    @override
    def comment_filter(value: str) -> bool:
        return any(word in str(value) for word in _COMMENTS)

    @staticmethod
    @override
    def history_filter(value: str) -> bool:
        return any(word in str(value) for word in _HISTORY)

    _indexes: tuple[IndexFile, ...] | None = None
    _failure: NotSolved | None = None
    _is_target_checked = False

    def __init__(
        self, opts: argparse.Namespace | None = None, data: DataSpec | None = None
    ) -> None:
        """Check parameters before anything is processed.

        Raises
        ------
        UserMistake
            If a parameter, the control text or the target of ``--copy-to`` cannot be used.
        """
        super().__init__(opts, data)
        self.solver_parameters()
        self._settings()
        if self.opts.copy_to:
            if self.opts.n_procs > 1:
                raise WrongValue(
                    "--copy-to keeps the working folder of the last file, and with -j several "
                    "would be last at once; leave out -j",
                    key="copy_to",
                )
            self._check_target(self.data.resdir)

    @override
    def _is_processed(self, identifier: str) -> bool:
        return "CD1_1" in self.get_primary_header(identifier)

    def _should_run_anet(self, identifier: str, header: fits.Header) -> bool:  # noqa: ARG002
        """Tell whether a file shall be solved."""
        return True

    @override
    def _get_header(self, identifier: str) -> fits.Header | None:
        """Compute the new header: the old one with the WCS.

        Raises
        ------
        CannotComputeHeader
            If the file is not solved; the message says what speaks for which reason.
        """
        header = self.source_header(identifier)
        if self._should_run_anet(identifier, header):
            self._failure = None
            cards = self._solve_anet(identifier)
            if not cards:
                reason = "no solution" if self._failure is None else str(self._failure)
                raise CannotComputeHeader(f"{identifier}: {reason}", file=identifier)
            for key in {k for k in header if _OLD_WCS.fullmatch(k)}:
                header.remove(key, remove_all=True)
            copy_fields(header, cards, self.no_copy_headers)
        return self._munge_header(identifier, header)

    def source_header(self, identifier: str) -> fits.Header:
        """Return the header that the new cards are put into."""
        return self.get_primary_header(identifier)

    def _solve_anet(self, identifier: str) -> fits.Header | None:
        """Return the cards of a solution; None if there is none."""
        if not self.opts.run_anet:
            cached = self.read_cache(identifier)
            if cached is None:
                raise CannotComputeHeader(
                    f"{identifier}: there is no cache whose calibration --no-anet could reuse; "
                    "run once without it",
                    file=identifier,
                )
            return cached
        return self._run_anet(identifier)

    def _run_anet(self, identifier: str) -> fits.Header | None:
        """Solve a file with the settings of this object; None if it is not recognised."""
        try:
            return self.solve_file(identifier).cards()
        except NotSolved as error:
            self._failure = error
            return None

    def solver_parameters(self) -> SolverParameters:
        """Return the parameters that the attributes ``sp_<name>`` give."""
        from skyloom.calib.plate_solving import SolverParameters  # noqa: PLC0415 - slow

        names = {name for name in dir(self) if name.startswith("sp_")}
        return SolverParameters.from_names({name: getattr(self, name) for name in sorted(names)})

    def hint(self) -> Hint:
        """Return what is known of all fields; what a header says is added for each file."""
        from skyloom.calib.plate_solving import Hint  # noqa: PLC0415 - slow

        parameters = self.solver_parameters()
        return Hint(scale_low=parameters.lower_pix, scale_high=parameters.upper_pix)

    def _settings(self) -> ExtractionSettings:
        from skyloom.calib.plate_solving import settings_from_control  # noqa: PLC0415 - slow

        text = self.source_extractor_control
        return settings_from_control(self.sex_control if text is None else text)

    def indexes(self) -> tuple[IndexFile, ...]:
        """Return the index files; looked for once."""
        if self._indexes is None:
            from skyloom.calib.plate_solving import find_indexes  # noqa: PLC0415 - slow

            self._indexes = find_indexes(self.solver_parameters().indices, self.index_dir)
        return self._indexes

    def solve_file(self, identifier: str) -> PlateSolution:
        """Solve a file in a folder of its own, which is removed afterwards in every case.

        Raises
        ------
        NotSolved
            If the field is not recognised.
        ShellCommandFailed
            If the solver breaks off.
        UserMistake
            If there is no solver, no index, or the file cannot be read.
        """
        from skyloom.calib import plate_solving as ps  # noqa: PLC0415 - slow

        parameters = self.solver_parameters()
        with self._sandbox(identifier) as folder:
            found = ps.read_solve_input(identifier, extension=parameters.fields)
            task = ps.SolveTask(
                backend=ps.choose_backend(self.backend, sandbox=folder),
                indexes=self.indexes(),
                image=found.image,
                stars=found.stars,
                hint=self.hint(),
                header_hint=replace(ps.hint_from_header(found.header), radius=self.hint_radius),
                parameters=parameters,
                settings=self._settings(),
                star_filter=self._star_filter(folder),
                catalog=self._reference(found),
                observer=lambda attempt, stars, outcome: _note(folder, attempt, stars, outcome),
            )
            try:
                solution = ps.solve(task)
            except NotSolved as error:
                self._keep_picture(folder, found, error.facts.get("stars"), None)
                raise
            solution.cards().tofile(folder / "solution.hdr", overwrite=True)
            self._keep_picture(folder, found, solution.stars, solution)
            return solution

    def _star_filter(self, folder: Path) -> Callable[[StarList], StarList] | None:
        """Return a filter that lets `object_filter` rewrite a table."""
        from skyloom.calib.plate_solving import read_star_table, write_star_table  # noqa: PLC0415

        rewrite = self.object_filter

        def through_the_table(stars: StarList) -> StarList:
            path = folder / "img.xyls"
            write_star_table(stars, path)
            if rewrite is not None:
                rewrite(str(path))
            return read_star_table(path)[0] if rewrite is not None else stars

        return through_the_table if rewrite is not None or self.opts.copy_to else None

    def _reference(self, found: SolveInput) -> Any:
        if self.catalog is None:
            return None
        from skyloom.calib import julian_year  # noqa: PLC0415 - slow
        from skyloom.calib.plate_solving import read_reference_catalog  # noqa: PLC0415
        from skyloom.images import header_mjd  # noqa: PLC0415

        mjd = header_mjd(found.header.get)
        epoch = None if mjd is None else julian_year(mjd)
        return read_reference_catalog(self.catalog, epoch=epoch)

    def _keep_picture(
        self, folder: Path, found: SolveInput, stars: Any, solution: PlateSolution | None
    ) -> None:
        """Draw the extracted stars, if someone will look at the folder."""
        if self.opts.copy_to and stars is not None:
            draw_overlay(folder / "overlay.png", found, stars, solution)

    def _check_target(self, of: Path) -> None:
        """Refuse to overwrite what ``--copy-to`` must never overwrite."""
        target = Path(self.opts.copy_to).expanduser().resolve()
        of = of.expanduser().resolve()
        if target in {Path("/"), Path.home().resolve()} or target == of or target in of.parents:
            raise WrongValue(
                f"--copy-to {self.opts.copy_to}: an existing folder is replaced, and this one is "
                "the root, your home, or holds the sources; name a folder of its own",
                key="copy_to",
            )
        if target.exists() and not target.is_dir():
            raise WrongValue(
                f"--copy-to {self.opts.copy_to} is a file; name a folder", key="copy_to"
            )

    @contextmanager
    def _sandbox(self, identifier: str) -> Iterator[Path]:
        if self.opts.copy_to and not self._is_target_checked:
            for source in self.iter_identifiers():
                self._check_target(Path(str(source)))
            self._is_target_checked = True
        folder = Path(tempfile.mkdtemp(prefix="skyloom-solve-"))
        try:
            _bring(Path(identifier), folder)
            yield folder
        finally:
            try:
                if self.opts.copy_to:
                    _copy_tree(folder, Path(self.opts.copy_to).expanduser())
            finally:
                shutil.rmtree(folder, ignore_errors=True)


def draw_overlay(path: Path, found: SolveInput, stars: StarList, solution: Any = None) -> Path:
    """Draw the extracted stars, and the reference stars where the solution puts them."""
    from skyloom.plots import plot_extracted_stars, save_figure  # noqa: PLC0415 - slow

    there = (None, None)
    title = f"{found.path.name}: {len(stars)} stars, not solved"
    if solution is not None:
        there = solution.wcs.sky_to_pixel(solution.reference.ra, solution.reference.dec)
        title = (
            f"{found.path.name}: {len(solution.refinement.pairs)} stars fitted, "
            f"rms {solution.refinement.rms:.3g} arcsec"
        )
    axes = plot_extracted_stars(
        stars.shape, x=stars.x, y=stars.y, image=found.image,
        reference_x=there[0], reference_y=there[1], title=title,
    )  # fmt: skip
    figure = axes.get_figure(root=True)
    assert figure is not None
    return save_figure(figure, path)


def _note(folder: Path, attempt: Any, stars: StarList, outcome: str) -> None:
    with (folder / "attempts.log").open("a", encoding="utf-8") as log:
        log.write(f"{attempt.name}: {len(stars)} stars, {outcome}\n")


def _bring(source: Path, folder: Path) -> None:
    """Put the image into the sandbox: a link, or unpacked."""
    if not source.is_file():
        raise MissingFile(f"{source}: no such file; correct the path", file=str(source))
    if source.suffix == ".gz":
        with gzip.open(source, "rb") as packed, (folder / "img.fits").open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    else:
        ending = ".fits" if source.suffix.lower() in {".fits", ".fit", ".fts"} else source.suffix
        (folder / f"img{'.stars' if ending == '.xyls' else ending}").symlink_to(source.resolve())


def _copy_tree(folder: Path, target: Path) -> None:
    try:
        if target.is_dir() and not target.is_symlink():
            shutil.rmtree(target)
        shutil.copytree(folder, target, symlinks=False)
    except OSError as error:
        raise _Uncopied(f"--copy-to {target}: cannot be written ({error})") from error


class _Uncopied(UserMistake):
    """The sandbox could not be copied."""
