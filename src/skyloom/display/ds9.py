"""The language of ds9: its commands and regions, whatever carries them there."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, Protocol, final

import numpy as np

from skyloom.display.backends import scale_words, zoom_value
from skyloom.display.marks import Circle, Ellipse, Line, Mark
from skyloom.display.picture import Picture, fits_bytes
from skyloom.errors import DisplayRefused

__all__ = ["Ds9", "Transport", "region"]

_MESSAGE: Final = 4000  # byte of a message with regions; XPA has room for 4096


class Transport(Protocol):
    """Carries commands to ds9."""

    @property
    def name(self) -> str:
        """What it is and to whom it speaks."""
        ...

    def send(self, command: str, data: bytes | None = None) -> None:
        """Send a command, and what it is to read: a FITS file or a list of regions.

        Raises
        ------
        DisplayNotAvailable
            If nobody answers.
        DisplayRefused
            If ds9 answers with an error.
        """
        ...

    def ask(self, question: str) -> str:
        """Return the answer to a question; empty where there is none.

        Raises
        ------
        DisplayNotAvailable
            If nobody answers.
        """
        ...

    def close(self) -> None:
        """Let go of the connection."""
        ...


@final
class Ds9:
    """A back end that speaks to ds9; see `Backend` for its methods.

    Parameters
    ----------
    transport : Transport
        How commands get there.
    """

    def __init__(self, transport: Transport) -> None:
        self.transport = transport
        self._xy0: dict[int, tuple[int, int]] = {}  # by frame: of the image last shown there

    @property
    def name(self) -> str:
        """What carries the commands, and to whom."""
        return self.transport.name

    def show(
        self, frame: int, picture: Picture, *, colors: Mapping[str, str], transparency: float
    ) -> None:
        """Send the image, then one overlay per plane: a FITS image of 0 and 1."""
        send = self.transport.send
        self._xy0[frame] = picture.xy0
        send(f"frame {frame}")
        send("mask clear")
        send("fits", fits_bytes(picture.pixels, picture=picture))
        shown = [name for name in picture.planes if name in colors]
        for name in shown:
            send(f"mask color {colors[name]}")
            send("fits mask", fits_bytes(picture.planes[name].astype(np.uint8)))
        if shown:
            send(f"mask transparency {transparency:g}")
            send("mask close")  # the window with its settings, which ds9 has opened

    def draw(self, frame: int, marks: Sequence[Mark]) -> None:
        """Send marks as regions, several in a message."""
        if not marks:
            return
        self.transport.send(f"frame {frame}")
        xy0 = self._origin(frame)
        for message in _messages([region(mark, xy0) for mark in marks]):
            self.transport.send("regions", message)

    def erase(self, frame: int) -> None:
        """Delete the regions of a frame."""
        self._in_frame(frame, "regions delete all")

    def pan(self, frame: int, x: float, y: float) -> None:
        """Centre a frame on a position."""
        self.transport.send(f"frame {frame}")
        x0, y0 = self._origin(frame)
        self.transport.send(f"pan to {_numbers(x - x0 + 1, y - y0 + 1, sep=' ')} image")

    def setting(self, frame: int, key: str, value: Any) -> None:
        """Send ``<key> <value>``."""
        if key == "scale":
            commands = [f"scale {words}" for words in scale_words(value)]
        elif key == "zoom":
            commands = [f"zoom to {zoom_value(value)}"]
        else:
            commands = [f"{key} {value}".strip()]
        self._in_frame(frame, *commands)

    def save(self, path: Path, frame: int) -> None:
        """Have ds9 write a PNG file of its window."""
        try:
            self._in_frame(frame, f"saveimage png {path.resolve()}")
        except DisplayRefused as error:
            raise DisplayRefused(
                f"{path}: ds9 cannot write what it shows; give Display(out=...), which matplotlib "
                "draws",
                file=str(path),
            ) from error

    def close(self) -> None:
        """Let go of the connection; ds9 stays open."""
        self.transport.close()

    def _origin(self, frame: int) -> tuple[int, int]:
        """Return the origin of the image in a frame, which somebody else may have shown."""
        if frame not in self._xy0:
            answers = [self.transport.ask(f"fits header keyword LTV{axis}") for axis in (1, 2)]
            self._xy0[frame] = _whole(answers[0]), _whole(answers[1])
        return self._xy0[frame]

    def _in_frame(self, frame: int, *commands: str) -> None:
        for command in (f"frame {frame}", *commands):
            self.transport.send(command)


def region(mark: Mark, xy0: tuple[int, int]) -> str:
    """Return a mark in the language of ds9's regions, in its image coordinates (1-based).

    Parameters
    ----------
    mark : Mark
        In parent coordinates [pix], 0-based.
    xy0 : (int, int)
        Parent coordinates of the first pixel of the image in the frame.
    """
    dx, dy = 1 - xy0[0], 1 - xy0[1]
    color = f"# color={mark.color}"
    if isinstance(mark, Line):
        ends = _numbers(mark.x0 + dx, mark.y0 + dy, mark.x1 + dx, mark.y1 + dy)
        return f"line({ends}) {color}"
    if isinstance(mark, Circle):
        return f"circle({_numbers(mark.x + dx, mark.y + dy, mark.radius)}) {color}"
    if isinstance(mark, Ellipse):
        angle = math.degrees(mark.theta)
        shape = _numbers(mark.x + dx, mark.y + dy, mark.a, mark.b, angle)
        return f"ellipse({shape}) {color}"
    return f"text({_numbers(mark.x + dx, mark.y + dy)}) {color} text={_quoted(mark.text)}"


def _whole(answer: str) -> int:
    """Return minus the number of an answer, 0 where it is none."""
    try:
        return -round(float(answer))
    except (ValueError, OverflowError):
        return 0


def _numbers(*values: float, sep: str = ",") -> str:
    return sep.join(f"{v:.10g}" for v in values)


def _quoted(text: str) -> str:
    """Return text between delimiters that it does not hold itself."""
    line = " ".join(text.split())
    if "}" not in line:
        return f"{{{line}}}"
    for quote in "\"'":
        if quote not in line:
            return f"{quote}{line}{quote}"
    return "{" + line.replace("}", ")") + "}"


def _messages(regions: Sequence[str]) -> Iterator[bytes]:
    """Yield regions in messages that XPA has room for."""
    head = b"image\n"
    message = head
    for text in regions:
        line = text.encode() + b"\n"
        if len(message) > len(head) and len(message) + len(line) > _MESSAGE:
            yield message
            message = head
        message += line
    yield message
