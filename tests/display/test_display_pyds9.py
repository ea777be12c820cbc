"""What is said to the package pyds9; `test_display_ds9.py` runs through the real one."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from skyloom.display import Display
from skyloom.errors import DisplayNotAvailable, DisplayRefused

REFUSED = "XPA$ERROR invalid command (DS9:ds9 7f000001:39123)"


class Connection:
    """Takes commands as ``pyds9.DS9`` does."""

    def __init__(self, target: str, *, start: bool, verify: bool) -> None:
        assert (start, verify) == (False, False)  # ds9 is never started unasked
        if target != "ds9":
            raise ValueError(f"no active ds9 running for target: {target}")
        self.calls: list[tuple[Any, ...]] = []
        self.answer: int | ValueError = 1

    def set(self, command: str, *data: Any) -> int:
        self.calls.append((command, *data))
        if isinstance(self.answer, ValueError):
            raise self.answer
        return self.answer

    def get(self, question: str) -> str | list[str]:
        if isinstance(self.answer, ValueError):
            raise self.answer
        return "7\n" if question == "fits width" else []


@pytest.fixture
def pyds9(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    module = ModuleType("pyds9")
    module.DS9 = Connection  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "pyds9", module)
    return module


@pytest.mark.usefixtures("pyds9")
def test_images_go_with_their_length() -> None:
    with Display("pyds9") as display:
        display.mtv(np.zeros((4, 5), np.float32))
        display.dot("o", 1, 2)
    assert display.backend.name == "pyds9 ds9"
    calls = display.backend.transport.connection.calls
    (image,) = (call for call in calls if call[0] == "fits")
    assert image[1].startswith(b"SIMPLE  =")
    assert image[2] == len(image[1])
    assert ("frame 1",) in calls
    assert calls[-1][0] == "regions"
    assert b"circle(2,3,2)" in calls[-1][1]


@pytest.mark.usefixtures("pyds9")
def test_answers_and_their_absence() -> None:
    transport = Display("pyds9").backend.transport
    assert transport.ask("fits width") == "7"
    assert transport.ask("fits header keyword X") == ""
    transport.connection.answer = ValueError(REFUSED)
    assert transport.ask("bogus") == ""
    with pytest.raises(DisplayRefused, match="ds9 'ds9' refuses 'bogus': invalid command; correct"):
        transport.send("bogus")
    transport.connection.answer = ValueError("ds9 is no longer running (7f000001:39123)")
    with pytest.raises(DisplayNotAvailable, match=r"is gone.*start it again"):
        transport.send("frame 1")
    with pytest.raises(DisplayNotAvailable, match="is gone"):
        transport.ask("frame")
    transport.connection.answer = 0
    with pytest.raises(DisplayNotAvailable, match=r"is gone \(no answer\)"):
        transport.send("frame 1")


@pytest.mark.usefixtures("pyds9")
def test_no_ds9_of_that_name() -> None:
    with pytest.raises(DisplayNotAvailable, match=r"no ds9 named 'other' answers pyds9.*start ds9"):
        Display("pyds9", target="other")


def test_without_the_package_the_remedy_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pyds9", None)
    with pytest.raises(DisplayNotAvailable, match="pip install pyds9 compiles it, or use"):
        Display("pyds9")
