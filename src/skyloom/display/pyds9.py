"""ds9 through the package pyds9, for those who have it and not the XPA programs."""

from __future__ import annotations

import importlib
from typing import Any, final

from skyloom.errors import DisplayNotAvailable, DisplayRefused

__all__ = ["PyDs9", "find_pyds9"]


@final
class PyDs9:
    """A `Transport` to a ds9 that answers; made by `find_pyds9`.

    Parameters
    ----------
    connection : pyds9.DS9
        The connection.
    target : str
        XPA name of the ds9.
    """

    def __init__(self, connection: Any, target: str) -> None:
        self.connection = connection
        self.target = target

    @property
    def name(self) -> str:
        """``pyds9`` and the name of the ds9."""
        return f"pyds9 {self.target}"

    def send(self, command: str, data: bytes | None = None) -> None:
        """Send a command; see `Transport`."""
        more = () if data is None else (data, len(data))
        try:
            done = self.connection.set(command, *more)
        except ValueError as error:  # of all kinds
            raise self._error(command, error) from error
        if not done:
            raise self._error(command, ValueError("no answer"))

    def ask(self, question: str) -> str:
        """Return the answer of ds9 to a question; empty where it refuses."""
        try:
            answer = self.connection.get(question)
        except ValueError as error:
            found = self._error(question, error)
            if isinstance(found, DisplayRefused):
                return ""
            raise found from error
        return str(answer).strip() if answer else ""

    def close(self) -> None:
        """Do nothing: each command has a connection of its own."""

    def _error(self, command: str, error: ValueError) -> DisplayNotAvailable | DisplayRefused:
        answer = " ".join(str(error).split())
        if "XPA$ERROR" in answer and "no 'xpa" not in answer:
            reason = answer.partition("XPA$ERROR")[2].partition(" (")[0].strip()
            return DisplayRefused(
                f"ds9 {self.target!r} refuses {command!r}: {reason}; correct the command, see the "
                "XPA page of ds9's help",
                target=self.target,
                command=command,
            )
        return DisplayNotAvailable(
            f"ds9 {self.target!r} is gone ({answer}); start it again", target=self.target
        )


def find_pyds9(target: str = "ds9") -> PyDs9:
    """Return the connection to a ds9 that runs.

    Raises
    ------
    DisplayNotAvailable
        If pyds9 is not installed, or no ds9 of this name answers.
    """
    try:
        package = importlib.import_module("pyds9")
    except ImportError as error:
        raise DisplayNotAvailable(
            f"pyds9 cannot be imported ({error}); pip install pyds9 compiles it, or use "
            "backend='xpa', which needs the XPA programs alone"
        ) from error
    try:
        return PyDs9(package.DS9(target, start=False, verify=False), target)
    except ValueError as error:
        raise DisplayNotAvailable(
            f"no ds9 named {target!r} answers pyds9 ({error}); start ds9 (XPA_METHOD=local where "
            "names cannot be resolved), or choose backend='matplotlib'",
            target=target,
        ) from error
