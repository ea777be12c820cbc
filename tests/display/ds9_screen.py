"""A real ds9 on a screen of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import ImageGrab

from skyloom.display.xpa import Xpa

PROGRAMS = ("ds9", "Xvfb", "xpaset", "xpaget", "xpaaccess")
NAME = "skyloom_test"
HUB = """
import sys, time
from astropy.samp import SAMPHubServer, conf
conf.use_internet = False
SAMPHubServer(lockfile=sys.argv[1], web_profile=False, addr="127.0.0.1").start()
time.sleep(600)
"""
WAIT = 60.0  # s, bound of every wait: shared machines stand still for 10 s now and then


@dataclass(frozen=True)
class Ds9Screen:
    """A ds9 that answers to `NAME`, and the X server that it draws on."""

    number: str  # of the X display
    xpa: Xpa

    def get(self, command: str) -> str:
        return self.xpa.ask(command)

    def regions(self) -> list[str]:
        """Regions in image coordinates, without the head of the list."""
        return self.get("regions -system image").splitlines()[3:]

    def values(self, x: int, y: int, width: int, height: int) -> np.ndarray:
        """Pixels of the image, from the 1-based pixel (x, y) on, shape (height, width)."""
        values = np.full((height, width), np.nan)
        for line in self.get(f"data image {x} {y} {width} {height} no").splitlines():
            place, value = line.split("=")  # in any order
            column, row = (int(v) for v in place.split(","))
            values[row - y, column - x] = float(value)
        return values

    def screen(self, color: tuple[int, int, int] | None = None) -> np.ndarray | int:
        """What is on the screen, or how many of its pixels have a colour."""
        picture = np.asarray(ImageGrab.grab(xdisplay=f":{self.number}").convert("RGB"))
        return picture if color is None else int(np.all(picture == color, axis=2).sum())

    def wait_for(self, color: tuple[int, int, int], count: int) -> int:
        """Wait a little until so many pixels have a colour; return how many have it."""
        until = time.monotonic() + WAIT
        while (found := self.screen(color)) != count and time.monotonic() < until:
            time.sleep(0.05)
        return found


@contextmanager
def ds9_screen() -> Iterator[Ds9Screen]:
    """Run a ds9 under Xvfb, on XPA and on a SAMP hub; skip where one of the programs is absent."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    if missing:
        pytest.skip(f"{', '.join(missing)} not installed; ci/debian.sh installs them")
    with ExitStack() as stack:
        # Not below pytest's folder: names of sockets have at most 107 characters.
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="sky")))
        patch = stack.enter_context(pytest.MonkeyPatch.context())
        patch.setenv("HOME", str(folder))
        patch.setenv("XPA_METHOD", "local")
        patch.setenv("XPA_TMPDIR", str(folder))
        patch.setenv("SAMP_HUB", f"std-lockurl:{(folder / '.samp').as_uri()}")
        number = stack.enter_context(x_server())
        patch.setenv("DISPLAY", f":{number}")
        stack.enter_context(samp_hub(folder / ".samp"))
        stack.enter_context(running(["ds9", "-title", NAME, "-xpa", "local"]))
        stack.callback(
            subprocess.run, ["xpaset", "-p", NAME, "quit"], capture_output=True, timeout=WAIT
        )
        _wait_for_answer()
        screen = Ds9Screen(number, Xpa(NAME, dict(os.environ)))
        for part in ("panner", "magnifier", "info", "buttons"):  # the image alone has its colours
            screen.xpa.send(f"view {part} no")
        yield screen


@contextmanager
def running(command: list[str], **options: object) -> Iterator[subprocess.Popen]:
    """Run a program meanwhile; it is gone afterwards, whatever happens."""
    process = subprocess.Popen(
        command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **options
    )
    try:
        yield process
    finally:
        try:
            process.wait(2.0)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(WAIT)


@contextmanager
def x_server() -> Iterator[str]:
    """Run Xvfb on a free display and yield its number."""
    read, write = os.pipe()
    command = ["Xvfb", "-displayfd", str(write), "-screen", "0", "1000x900x24", "-nolisten", "tcp"]
    with running(command, pass_fds=[write]) as process:
        os.close(write)
        os.set_blocking(read, False)
        number, until = b"", time.monotonic() + WAIT
        while not number.endswith(b"\n") and time.monotonic() < until:
            try:
                number += os.read(read, 16)
            except BlockingIOError:
                time.sleep(0.02)
        os.close(read)
        try:
            if not number.endswith(b"\n"):
                pytest.skip(f"Xvfb did not start within {WAIT:g} s")
            yield number.decode().strip()
        finally:
            process.kill()


@contextmanager
def samp_hub(lock: Path) -> Iterator[None]:
    """Run a SAMP hub meanwhile, in a process of its own: it leaves sockets open."""
    with running([sys.executable, "-W", "ignore", "-c", HUB, str(lock)]) as process:
        until = time.monotonic() + WAIT
        while not lock.exists() and time.monotonic() < until:
            time.sleep(0.02)
        try:
            yield
        finally:
            process.kill()


def _wait_for_answer() -> None:
    until = time.monotonic() + WAIT
    while time.monotonic() < until:
        done = subprocess.run(["xpaaccess", NAME], capture_output=True, timeout=WAIT, check=False)
        if done.stdout.strip() == b"yes":
            return
        time.sleep(0.1)
    pytest.skip(f"ds9 did not answer within {WAIT:g} s")
