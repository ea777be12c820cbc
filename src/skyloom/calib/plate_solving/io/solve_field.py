"""The program ``solve-field`` of astrometry.net, in a folder of its own."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final, final

from astropy.io import fits

from skyloom.calib.plate_solving.backends import FieldMatch, SolveRequest
from skyloom.calib.plate_solving.io.index import IndexFile, read_index
from skyloom.calib.plate_solving.io.tables import write_star_table
from skyloom.calib.plate_solving.projection import TanSip
from skyloom.errors import ShellCommandFailed, UnreadableFile

__all__ = ["LOG_NAME", "SolveField", "run_logged", "solve_field_arguments"]

LOG_NAME: Final = "lastCommand.log"
_RULER: Final = "=" * 72
_INTERRUPTED: Final = -2  # status of a process that Ctrl-C ended
_GRACE: Final = 30.0  # s, beyond twice the time limit, until the process group is killed
_LARGEST_PIXEL: Final = 3600.0  # arcsec, where nothing is known
_LOG_SHOWN: Final = 2000  # characters of the log in a message


def run_logged(command: Sequence[str], folder: Path, *, seconds: float) -> int:
    """Run a program in a folder, its output appended to the log there.

    Parameters
    ----------
    command : sequence of str
        Program and arguments; no shell is involved.
    folder : Path
        Working directory; the log is ``lastCommand.log`` in it.
    seconds : float
        Wall-clock limit, after which the program and its children are killed.

    Returns
    -------
    int
        The exit status. A status of 0 does not mean that anything was found.

    Raises
    ------
    ShellCommandFailed
        If the program breaks off or runs too long; ``retcode`` is its status, None after a kill.
    KeyboardInterrupt
        If it was interrupted.
    """
    log = folder / LOG_NAME
    with log.open("ab") as output:
        output.write(f"{_RULER}\n{shlex.join(command)}\n{_RULER}\n".encode())
        output.flush()
        process = subprocess.Popen(
            list(command),
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        try:
            status = process.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            _kill_group(process)
            raise ShellCommandFailed(
                f"{command[0]} was still running after {seconds:.0f} s and was ended; "
                f"lower sp_total_timelimit or limit the scale\n{_tail(log)}",
                retcode=None,
            ) from None
        except BaseException:
            _kill_group(process)
            raise
    if status == _INTERRUPTED:
        raise KeyboardInterrupt
    if status != 0:
        raise ShellCommandFailed(
            f"{command[0]} broke off with status {status}\n{_tail(log)}", retcode=status
        )
    return status


def _kill_group(process: subprocess.Popen[bytes]) -> None:
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _tail(log: Path) -> str:
    return log.read_text(encoding="utf-8", errors="replace")[-_LOG_SHOWN:]


def solve_field_arguments(request: SolveRequest) -> list[str]:
    """Return the options of solve-field for a request; files are those of `SolveField`."""
    parameters, hint = request.parameters, request.hint
    ny, nx = request.stars.shape
    words = ["solve-field", "--config", "backend.cfg", "--overwrite", "--no-verify"]
    words += ["--x-column", "X_IMAGE", "--y-column", "Y_IMAGE"]
    # Uniformizing would put the stars into another order, in which nebulae come first again.
    words += ["--sort-column", "RANK", "--sort-ascending", "--uniformize", "0"]
    words += ["--width", str(nx), "--height", str(ny), "--fields", "1"]
    words += ["--cpulimit", str(max(1, round(request.seconds)))]
    words += ["--pixel-error", f"{request.pixel_error:g}"]
    words += ["--depth", f"1-{request.depth}"]
    if hint.has_scale:
        low = hint.scale_low or 1e-2
        high = hint.scale_high or _LARGEST_PIXEL
        words += [
            "--scale-units",
            "app",
            "--scale-low",
            f"{low:.8g}",
            "--scale-high",
            f"{high:.8g}",
        ]
    if hint.ra is not None and hint.dec is not None:
        words += [f"--ra={hint.ra % 360.0:.7f}", f"--dec={hint.dec:.7f}"]
        words += ["--radius", f"{hint.radius:g}"]
    if hint.mirrored is not None:
        words += ["--parity", "pos" if not hint.mirrored else "neg"]
    if not parameters.tweak:
        words.append("--no-tweak")
    if not parameters.plots:
        words.append("--no-plots")
    return [*words, "img.xyls"]


@final
@dataclass(frozen=True, slots=True)
class SolveField:
    """Solve with the program ``solve-field``.

    Its exit status is 0 also if it found nothing: a field is solved if ``img.solved`` is there.
    """

    sandbox: Path | None = None  # folder for the files; None: a temporary one

    @property
    def name(self) -> str:
        """Its name in options and headers."""
        return "solve-field"

    def solve(self, request: SolveRequest) -> FieldMatch | None:
        """Recognise a field; None: not recognised, in the time given.

        Raises
        ------
        ShellCommandFailed
            If the program breaks off.
        """
        started = time.monotonic()
        if len(request.stars) < 4:
            return None
        with _folder(self.sandbox) as folder:
            for old in ("img.solved", "img.wcs"):
                (folder / old).unlink(missing_ok=True)
            write_star_table(request.stars, folder / "img.xyls")
            (folder / "backend.cfg").write_text(_config(request.indexes), encoding="utf-8")
            run_logged(
                solve_field_arguments(request), folder, seconds=2.0 * request.seconds + _GRACE
            )
            if not (folder / "img.solved").exists():
                return None
            return _read_match(folder, request, time.monotonic() - started)


@contextmanager
def _folder(sandbox: Path | None) -> Iterator[Path]:
    if sandbox is not None:
        sandbox.mkdir(parents=True, exist_ok=True)
        yield sandbox
        return
    folder = Path(tempfile.mkdtemp(prefix="skyloom-solve-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _config(indexes: Sequence[IndexFile]) -> str:
    lines = [f"add_path {folder}" for folder in sorted({i.path.parent for i in indexes})]
    lines += [f"index {i.path}" for i in indexes]
    return "\n".join([*lines, "inparallel", ""])


def _read_match(folder: Path, request: SolveRequest, seconds: float) -> FieldMatch:
    try:
        header = fits.getheader(folder / "img.wcs")
        wcs = TanSip.from_cards(header)
    except (OSError, KeyError, ValueError) as error:
        raise UnreadableFile(
            f"{folder / 'img.wcs'}: solve-field wrote no usable WCS ({error}); see {LOG_NAME}",
            file=str(folder / "img.wcs"),
        ) from error
    comments = tuple(str(text) for text in header.get("COMMENT", []))
    values = {
        key.strip(): value.strip()
        for key, colon, value in (text.partition(":") for text in comments)
        if colon
    }
    return FieldMatch(
        wcs=wcs,
        log_odds=float(values.get("log odds", "nan")),
        index=_index(values.get("index id"), request.indexes),
        backend="solve-field",
        seconds=seconds,
        comments=comments,
    )


def _index(index_id: str | None, indexes: Sequence[IndexFile]) -> IndexFile:
    for index in indexes:
        if index_id is not None and str(index.index_id) == index_id:
            return read_index(index.path)
    return indexes[0]
