"""Which back end answers, and what is said where none does; with programs that stand in for XPA."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

import numpy as np
import pytest

from skyloom.display import Display, xpa
from skyloom.errors import DisplayNotAvailable, DisplayRefused, WrongValue

PROGRAM = """#!{python}
import json, os, sys, time
folder = {folder!r}
name = os.path.basename(sys.argv[0])
words = sys.argv[1:]
data = sys.stdin.buffer.read() if name == "xpaset" and "-p" not in words else b""
with open(os.path.join(folder, "calls.jsonl"), "a") as file:
    record = [name, words, len(data), os.environ.get("XPA_METHOD")]
    file.write(json.dumps(record) + chr(10))
with open(os.path.join(folder, "answer.json")) as file:
    answer = json.load(file)
if name == "ds9":
    with open(os.path.join(folder, "answer.json"), "w") as file:
        json.dump({{**answer, **answer["after_launch"]}}, file)
    time.sleep(answer["ds9_lives"])
    sys.exit(answer["ds9_status"])
time.sleep(answer["delay"])
if name == "xpaaccess":
    method = answer["method"]
    is_there = answer["there"] and method in (None, os.environ.get("XPA_METHOD"))
    print("yes" if is_there else "no")
    sys.exit(int(is_there))
sys.stderr.write(answer["error"])
sys.exit(1 if answer["error"] else 0)
"""


class FakeXpa:
    """Programs that note how they were called and answer as they are told."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.answer(there=True)
        for name in ("xpaset", "xpaget", "xpaaccess", "ds9"):
            path = folder / name
            path.write_text(PROGRAM.format(python=sys.executable, folder=str(folder)))
            path.chmod(0o755)

    def answer(self, **values: object) -> None:
        told = {
            "there": False, "error": "", "delay": 0, "method": None,
            "ds9_lives": 0, "ds9_status": 0, "after_launch": {},
        } | values  # fmt: skip
        (self.folder / "answer.json").write_text(json.dumps(told))

    @property
    def calls(self) -> list[list]:
        lines = (self.folder / "calls.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@pytest.fixture
def fake(tmp_path, monkeypatch) -> FakeXpa:
    folder = tmp_path / "programs"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    monkeypatch.setenv("DISPLAY", ":99")
    monkeypatch.delenv("XPA_METHOD", raising=False)
    return FakeXpa(folder)


@pytest.fixture
def no_programs(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))


def test_commands_are_arguments_and_images_go_to_stdin(fake):
    display = Display("auto", target="my ds9")
    assert display.backend.name == "xpa my ds9"
    display.mtv(np.zeros((4, 4), np.float32))
    display.dot("o; exit", 1, 1)
    sets = [call[1:3] for call in fake.calls if call[0] == "xpaset"]
    assert sets[:3] == [
        [["-p", "my ds9", "frame 1"], 0],
        [["-p", "my ds9", "mask clear"], 0],
        [["my ds9", "fits"], 5760],  # header and one block of pixels
    ]
    assert sets[-1][0] == ["my ds9", "regions"]


def test_nobody_answers(fake):
    fake.answer(there=False)
    with pytest.raises(DisplayNotAvailable, match=r"no ds9 named 'ds9' .* launch=True") as caught:
        Display("xpa")
    assert caught.value.target == "ds9"
    assert [call[3] for call in fake.calls] == [None, "local"]


def test_hosts_without_names_are_tried_by_files(fake):
    fake.answer(there=True, method="local")
    Display("xpa").zoom(2)
    assert fake.calls[-1][0] == "xpaset"
    assert fake.calls[-1][3] == "local"


def test_the_users_method_stays(fake, monkeypatch):
    monkeypatch.setenv("XPA_METHOD", "unix")
    fake.answer(there=True, method="local")
    with pytest.raises(DisplayNotAvailable):
        Display("xpa")


def test_auto_takes_matplotlib_for_a_file_and_else_says_that_nothing_is_seen(
    fake, tmp_path, caplog
):
    fake.answer(there=False)
    assert Display(out=tmp_path / "x.png").backend.name == "matplotlib"
    assert not caplog.records
    assert Display().backend.name == "virtual"
    assert "nothing is shown" in caplog.text


@pytest.mark.usefixtures("no_programs")
def test_programs_that_are_not_installed():
    for backend, launch in (("xpa", False), ("auto", True)):
        with pytest.raises(DisplayNotAvailable, match="saods9, xpa-tools"):
            Display(backend, launch=launch)


def test_ds9_says_no(fake):
    display = Display("xpa")
    fake.answer(error="XPA$ERROR undefined command for this xpa (DS9:ds9 127.0.0.1:1)\n")
    with pytest.raises(DisplayRefused, match="refuses 'frame 1': undefined command for this xpa;"):
        display.mtv(np.zeros((2, 2)))


def test_ds9_is_gone(fake):
    display = Display("xpa")
    fake.answer(error="XPA$ERROR no 'xpaset' access points match template: ds9\n")
    with pytest.raises(DisplayNotAvailable, match=r"is gone .* start it again"):
        display.zoom(2)


def test_ds9_hangs(fake, monkeypatch):
    display = Display("xpa")
    fake.answer(there=True, delay=30)
    monkeypatch.setattr(xpa, "_COMMAND", 0.3)
    monkeypatch.setattr(xpa, "_ANSWER", 0.3)
    with pytest.raises(DisplayNotAvailable, match="did not answer 'frame 1' within"):
        display.zoom(2)
    with pytest.raises(DisplayNotAvailable, match="no ds9"):
        Display("xpa")


def test_launch_uses_the_one_that_runs(fake):
    Display("xpa", launch=True)
    assert "ds9" not in [call[0] for call in fake.calls]


def test_launch_starts_one_and_waits(fake, monkeypatch):
    monkeypatch.setattr(xpa, "_LAUNCH", 60.0)  # s; shared machines stand still now and then
    fake.answer(there=False, ds9_lives=2, after_launch={"there": True})
    Display(launch=True, target="mine").zoom(2)
    ds9 = next(call for call in fake.calls if call[0] == "ds9")
    assert ds9[1] == ["-title", "mine"]
    assert ds9[3] == fake.calls[-1][3] == "local"  # both sides alike
    _end_launched()


def test_launched_but_ended_at_once(fake):
    fake.answer(there=False, ds9_status=3)
    with pytest.raises(DisplayNotAvailable, match="ended with status 3"):
        Display("xpa", launch=True)


def test_launched_but_never_there(fake, monkeypatch):
    monkeypatch.setattr(xpa, "_LAUNCH", 0.6)
    fake.answer(there=False, ds9_lives=60)
    with pytest.raises(DisplayNotAvailable, match="did not answer within"):
        Display("xpa", launch=True)
    assert xpa._LAUNCHED[-1].returncode is not None  # no orphan


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="X11 is asked for on Linux only")
def test_no_screen(fake, monkeypatch):
    fake.answer(there=False)
    monkeypatch.delenv("DISPLAY")
    with pytest.raises(DisplayNotAvailable, match="DISPLAY is not set"):
        Display("xpa", launch=True)


def test_unknown_back_ends():
    with pytest.raises(WrongValue, match="'ds8' is not known; choose one of auto, xpa"):
        Display("ds8")


def test_any_object_with_the_methods_is_a_back_end():
    plain = Display("virtual").backend
    assert Display(plain).backend is plain


def test_only_virtual_displays_keep_commands():
    with pytest.raises(WrongValue, match="virtual"):
        _ = Display("matplotlib").recorder


def _end_launched() -> None:
    """Wait for the stand-in, which ends by itself."""
    assert xpa._LAUNCHED[-1].wait(timeout=60) == 0
    assert os.environ["DISPLAY"] == ":99"
