"""Re-heading 200 files while somebody pulls the plug."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from astropy.io import fits
from fits_files import uint16_image

from skyloom.process import check_fits, get_primary_header

N_FILES = 200
SCRIPT = '''
import sys
from skyloom.process import DataSpec, HeaderProcessor, ImmediateHeaderProcessor, procmain

class Rehead(ImmediateHeaderProcessor):
    """Half of the files get longer headers each time, which then get shorter again."""

    def _change_header(self, identifier, header):
        run = int(sys.argv[1])
        header["RUN"] = run
        for n in range(60):
            if run % 2 and int(identifier[-6]) % 2:
                header[f"LONG{n}"] = run
            elif f"LONG{n}" in header:
                del header[f"LONG{n}"]

class Cached(HeaderProcessor):
    """The same, by way of a cache."""

    def _munge_header(self, identifier, header):
        Rehead._change_header(self, identifier, header)
        return header

cls = Cached if "--apply" in sys.argv else Rehead
procmain(cls, DataSpec.from_glob("*.fits", resdir=sys.argv[2]), sys.argv[3:])
'''


@pytest.mark.parametrize("options", [[], ["--apply", "--reprocess"]], ids=["immediate", "cached"])
def test_no_file_is_lost_or_half_written(tmp_path, options):
    script = tmp_path / "rehead.py"
    script.write_text(SCRIPT)
    folder = tmp_path / "files"
    folder.mkdir()
    uint16_image(folder / "000.fits", second=True, checksum=True)
    content = (folder / "000.fits").read_bytes()
    paths = [folder / f"{n:03d}.fits" for n in range(N_FILES)]
    for path in paths:
        path.write_bytes(content)
    data = content[2880:]
    rng = random.Random(11)
    n_killed = 0
    for run in range(1, 6):
        command = [sys.executable, str(script), str(run), str(folder), "-j", "2", *options]
        process = subprocess.Popen(command, stdout=subprocess.DEVNULL, process_group=0)
        _wait_for_the_first(paths, run, process)
        time.sleep(rng.uniform(0, 0.25))
        n_killed += process.poll() is None
        os.killpg(process.pid, signal.SIGKILL)  # parent and workers, wherever they are
        process.wait()
        for path in paths:
            _check(path, data, run)
    assert n_killed >= 2  # or the moments were no moments
    for run in (6, 7):  # and the next runs clear everything up
        command = [sys.executable, str(script), str(run), str(folder), "-j", "2", *options]
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
        assert done.stdout == f"{N_FILES} files processed, 0 files with errors\n"
        for path in paths:
            _check(path, data, run)
            assert get_primary_header(path)["RUN"] == run
    with fits.open(paths[-1], checksum=True) as hdus:
        assert [hdu.verify_checksum() for hdu in hdus] == [1, 1]
    names = {p.name for p in folder.iterdir() if ".hdr." not in p.name}
    caches = {f"{p.name}.hdr" for p in paths} if options else set()
    assert names == {p.name for p in paths} | caches


def _wait_for_the_first(paths: list[Path], run: int, process: subprocess.Popen[bytes]) -> None:
    """Wait until a run has begun to change files."""
    deadline = time.monotonic() + 60
    while process.poll() is None and time.monotonic() < deadline:
        if any(get_primary_header(path).get("RUN") == run for path in paths[:2]):
            return
        time.sleep(0.002)


def _check(path: Path, data: bytes, run: int) -> None:
    """The file is whole: old header or new one, data untouched, checksums right."""
    assert check_fits(path) == []
    header = get_primary_header(path)
    assert header.get("RUN", 0) in range(run + 1)
    assert path.read_bytes()[-len(data) :] == data
    assert header["OBJECT"] == "M 31"
