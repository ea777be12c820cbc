"""Two displays in one: what ds9 shows is drawn into a file as well."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, final

from skyloom.display.backends import Backend
from skyloom.display.marks import Mark
from skyloom.display.picture import Picture

__all__ = ["WithPicture"]


@final
class WithPicture:
    """A back end, and a second one that gets the same and writes the files.

    Parameters
    ----------
    screen : Backend
        Where people look.
    paper : Backend
        What is saved.
    """

    def __init__(self, screen: Backend, paper: Backend) -> None:
        self.screen = screen
        self.paper = paper

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.screen.name} and {self.paper.name}"

    def show(
        self, frame: int, picture: Picture, *, colors: Mapping[str, str], transparency: float
    ) -> None:
        """Show a picture in both."""
        for backend in (self.screen, self.paper):
            backend.show(frame, picture, colors=colors, transparency=transparency)

    def draw(self, frame: int, marks: Sequence[Mark]) -> None:
        """Draw marks in both."""
        for backend in (self.screen, self.paper):
            backend.draw(frame, marks)

    def erase(self, frame: int) -> None:
        """Remove the marks from both."""
        for backend in (self.screen, self.paper):
            backend.erase(frame)

    def pan(self, frame: int, x: float, y: float) -> None:
        """Centre both."""
        for backend in (self.screen, self.paper):
            backend.pan(frame, x, y)

    def setting(self, frame: int, key: str, value: Any) -> None:
        """Change a setting of both."""
        for backend in (self.screen, self.paper):
            backend.setting(frame, key, value)

    def save(self, path: Path, frame: int) -> None:
        """Write the picture of the second."""
        self.paper.save(path, frame)

    def close(self) -> None:
        """Close both."""
        for backend in (self.screen, self.paper):
            backend.close()
