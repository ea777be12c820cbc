"""A display that nobody sees: it keeps the commands that ds9 would have got."""

from __future__ import annotations

from typing import final

__all__ = ["Recorder"]


@final
class Recorder:
    """A `Transport` for tests and for scripts that run where no display is.

    Attributes
    ----------
    commands : list of str
        The commands, in order.
    data : list of (bytes or None)
        What each command was to read: a FITS file, a list of regions, or nothing.
    """

    def __init__(self) -> None:
        self.commands: list[str] = []
        self.data: list[bytes | None] = []

    @property
    def name(self) -> str:
        """``virtual``."""
        return "virtual"

    @property
    def images(self) -> list[bytes]:
        """The FITS files, in order."""
        return [d for c, d in zip(self.commands, self.data, strict=True) if d and c[:4] == "fits"]

    @property
    def regions(self) -> list[str]:
        """The regions, one a line, without the lines that name their coordinates."""
        texts = [d for c, d in zip(self.commands, self.data, strict=True) if d and c == "regions"]
        lines = b"".join(texts).decode().splitlines()
        return [line for line in lines if line != "image"]

    def send(self, command: str, data: bytes | None = None) -> None:
        """Keep a command."""
        self.commands.append(command)
        self.data.append(data)

    def ask(self, question: str) -> str:  # noqa: ARG002
        """Answer nothing."""
        return ""

    def clear(self) -> None:
        """Forget what was kept."""
        self.commands.clear()
        self.data.clear()

    def close(self) -> None:
        """Do nothing: what was kept stays."""
