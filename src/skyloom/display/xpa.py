"""ds9 through XPA: the programs xpaset and xpaaccess carry the commands.

Where the host has no name resolution XPA cannot find ds9 over its sockets; ``XPA_METHOD=local``
uses files instead. It is tried where the environment does not say otherwise.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from collections.abc import Mapping
from typing import Final, final

from skyloom.errors import DisplayNotAvailable, DisplayRefused

__all__ = ["Xpa", "find_xpa", "launch_ds9"]

_TOOLS: Final = ("xpaset", "xpaaccess")
_INSTALL: Final = "install ds9 and the XPA tools (Debian: saods9, xpa-tools)"
_ANSWER: Final = 10.0  # s for xpaaccess
_COMMAND: Final = 60.0  # s for a command; a large image takes a second or two
_LAUNCH: Final = 10.0  # s until a new ds9 has to answer
_STEP: Final = 0.5  # s between two looks

_LAUNCHED: list[subprocess.Popen[bytes]] = []  # ds9 outlives its display; Python waits for none


@final
class Xpa:
    """A `Transport` to a ds9 that answers; made by `find_xpa` and `launch_ds9`.

    Parameters
    ----------
    target : str
        XPA name of the ds9 (its ``-title``), ``ds9`` unless it was started otherwise.
    env : mapping
        Environment of the XPA programs.
    """

    def __init__(self, target: str, env: Mapping[str, str]) -> None:
        self.target = target
        self.env = dict(env)

    @property
    def name(self) -> str:
        """``xpa`` and the name of the ds9."""
        return f"xpa {self.target}"

    def send(self, command: str, data: bytes | None = None) -> None:
        """Send a command; see `Transport`."""
        call = ["xpaset", self.target, command]
        if data is None:
            call.insert(1, "-p")
        self._run(call, data)

    def ask(self, question: str) -> str:
        """Return the answer of ds9 to a question; empty where it refuses."""
        try:
            answer = self._run(["xpaget", self.target, question], None)
        except DisplayRefused:
            return ""
        return answer.decode(errors="replace").strip()

    def close(self) -> None:
        """Do nothing: each command has a connection of its own."""

    def _run(self, call: list[str], data: bytes | None) -> bytes:
        try:
            done = subprocess.run(
                call,
                input=b"" if data is None else data,
                capture_output=True,
                env=self.env,
                timeout=_COMMAND,
                check=False,
            )
        except FileNotFoundError as error:
            raise DisplayNotAvailable(f"{call[0]} is not there; {_INSTALL}") from error
        except subprocess.TimeoutExpired as error:
            raise DisplayNotAvailable(
                f"ds9 {self.target!r} did not answer {call[-1]!r} within {_COMMAND:g} s; close its "
                "dialogues or start it again",
                target=self.target,
            ) from error
        if done.returncode == 0:
            return done.stdout
        answer = " ".join(done.stderr.decode(errors="replace").split())
        if "XPA$ERROR" in answer and "no 'xpa" not in answer:
            reason = answer.partition("XPA$ERROR")[2].partition(" (")[0].strip()
            raise DisplayRefused(
                f"ds9 {self.target!r} refuses {call[-1]!r}: {reason}; correct the command, see "
                "the XPA page of ds9's help",
                target=self.target,
                command=call[-1],
            )
        raise DisplayNotAvailable(
            f"ds9 {self.target!r} is gone ({answer or 'no answer'}); start it again, or give "
            "launch=True",
            target=self.target,
        )


def find_xpa(target: str = "ds9") -> Xpa:
    """Return the connection to a ds9 that runs.

    Raises
    ------
    DisplayNotAvailable
        If the XPA programs are not there, or no ds9 of this name answers.
    """
    missing = [tool for tool in _TOOLS if shutil.which(tool) is None]
    if missing:
        raise DisplayNotAvailable(f"{' and '.join(missing)} not found; {_INSTALL}")
    environments = [dict(os.environ)]
    if "XPA_METHOD" not in os.environ:
        environments.append(_local())
    for env in environments:
        if _answers(target, env):
            return Xpa(target, env)
    raise DisplayNotAvailable(
        f"no ds9 named {target!r} answers; start ds9, give launch=True, or choose "
        "backend='matplotlib'",
        target=target,
    )


def launch_ds9(target: str = "ds9") -> Xpa:
    """Return the connection to a ds9 that runs, or start one and wait for it.

    Raises
    ------
    DisplayNotAvailable
        If ds9 is not installed, ends at once, or does not answer within 10 s.
    """
    try:
        return find_xpa(target)
    except DisplayNotAvailable:
        if any(shutil.which(tool) is None for tool in (*_TOOLS, "ds9")):
            raise DisplayNotAvailable(f"ds9 cannot be started; {_INSTALL}") from None
    if sys.platform.startswith("linux") and not os.environ.get("DISPLAY"):
        raise DisplayNotAvailable(
            "ds9 cannot be started: DISPLAY is not set; log in with a screen (ssh -X), or choose "
            "backend='matplotlib'"
        )
    env = _local() if "XPA_METHOD" not in os.environ else dict(os.environ)
    process = subprocess.Popen(
        ["ds9", "-title", target],
        env=env,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    _LAUNCHED.append(process)
    until = time.monotonic() + _LAUNCH
    while time.monotonic() < until:
        time.sleep(_STEP)
        if _answers(target, env):
            return Xpa(target, env)
        if process.poll() is not None:
            raise DisplayNotAvailable(
                f"ds9 ended with status {process.returncode} instead of starting; start it by hand "
                "to see why",
                status=process.returncode,
            )
    process.kill()
    process.wait()
    raise DisplayNotAvailable(
        f"ds9 was started but did not answer within {_LAUNCH:g} s; start it by hand to see why"
    )


def _local() -> dict[str, str]:
    return {**os.environ, "XPA_METHOD": "local"}


def _answers(target: str, env: Mapping[str, str]) -> bool:
    try:
        done = subprocess.run(
            ["xpaaccess", target],
            capture_output=True,
            env=dict(env),
            timeout=_ANSWER,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return False
    return done.stdout.strip() == b"yes"
