"""Which Python the workers are."""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import flow_toys
import pytest
from flow_toys import run_toys, tree, write_inputs

import skyloom
from skyloom.errors import WrongValue
from skyloom.flow import Work, find_python, interpreter

KEY = "patch_run.python_exe"


def wrapper(path: Path, line: str = 'exec "$PYTHON" "$@"') -> Path:
    """Write a program that starts our interpreter, and notes that it did."""
    text = f"#!/bin/sh\nPYTHON='{sys.executable}'\necho started >> '{path}.log'\n{line}\n"
    path.write_text(text)
    path.chmod(0o755)
    return path


def starts(path: Path) -> int:
    return len(Path(f"{path}.log").read_text().splitlines())


def test_python_means_the_one_that_is_running(tmp_path: Path) -> None:
    assert find_python("python", base=tmp_path, key=KEY) is None
    assert find_python(sys.executable, base=tmp_path, key=KEY) is None


def test_a_path_starts_at_the_configuration_and_a_name_is_a_command(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = wrapper(tmp_path / "mypython")
    assert find_python("./mypython", base=tmp_path, key=KEY) == file
    assert find_python(str(file), base=Path("/"), key=KEY) == file
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_python("mypython", base=Path("/"), key=KEY) == file


@pytest.mark.parametrize("name", ["./nowhere", "./plain", "no-such-python", "."])
def test_what_cannot_be_executed_is_refused(tmp_path: Path, name: str) -> None:
    (tmp_path / "plain").write_text("text")
    with pytest.raises(WrongValue, match="does not exist or is not executable") as caught:
        find_python(name, base=tmp_path, key=KEY)
    assert str(caught.value).startswith(f"{KEY} = {name!r}")


def test_an_interpreter_without_skyloom_is_refused(tmp_path: Path) -> None:
    file = wrapper(tmp_path / "bare", 'exec "$PYTHON" -I -S "$@"')
    with pytest.raises(WrongValue, match="cannot import skyloom") as caught:
        find_python(str(file), base=tmp_path, key=KEY)
    assert "No module named" in str(caught.value)
    assert f"install skyloom {skyloom.__version__} there" in str(caught.value)


def test_an_interpreter_with_an_old_skyloom_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lib" / "skyloom").mkdir(parents=True)
    (tmp_path / "lib" / "skyloom" / "__init__.py").write_text("__version__ = '0.0.7'\n")
    file = wrapper(tmp_path / "old", f'PYTHONPATH={tmp_path}/lib exec "$PYTHON" "$@"')
    with pytest.raises(WrongValue, match=r"has skyloom 0\.0\.7, and .* is running; install"):
        find_python(str(file), base=tmp_path, key=KEY)


def test_an_interpreter_with_an_edited_skyloom_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "package_digest", lambda: "of edited files")
    with pytest.raises(
        WrongValue, match="with other files than the one that is running; install skyloom"
    ):
        find_python(str(wrapper(tmp_path / "other")), base=tmp_path, key=KEY)


def test_what_is_no_python_is_refused(tmp_path: Path) -> None:
    with pytest.raises(WrongValue, match=r"cannot import skyloom \(exit status 3\)"):
        find_python(str(wrapper(tmp_path / "x", "exit 3")), base=tmp_path, key=KEY)
    (tmp_path / "y").write_bytes(b"\0")
    (tmp_path / "y").chmod(0o755)
    with pytest.raises(WrongValue, match=r"cannot import skyloom \(Exec format error\)"):
        find_python("./y", base=tmp_path, key=KEY)


def test_an_interpreter_that_does_not_answer_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(interpreter, "_PATIENCE", 0.2)
    with pytest.raises(WrongValue, match=r"\(no answer within 0 s\)"):
        find_python(str(wrapper(tmp_path / "x", "exec sleep 5")), base=tmp_path, key=KEY)


def test_an_interpreter_in_which_skyloom_does_not_work_is_refused(tmp_path: Path) -> None:
    package = tmp_path / "lib" / "skyloom"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text(f"__version__ = '{skyloom.__version__}'\n")
    file = wrapper(tmp_path / "half", f'PYTHONPATH={tmp_path}/lib exec "$PYTHON" "$@"')
    with pytest.raises(WrongValue, match=r"which does not work there \(ModuleNotFoundError: "):
        find_python(str(file), base=tmp_path, key=KEY)


def test_an_interpreter_without_a_library_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = {**interpreter.libraries(), "numbers": "1.0"}
    monkeypatch.setattr(interpreter, "libraries", lambda: here)
    with pytest.raises(WrongValue, match="lacks numbers; install"):
        find_python(str(wrapper(tmp_path / "p")), base=tmp_path, key=KEY)


def test_other_libraries_are_warned_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    here = {**interpreter.libraries(), "numpy": "1.0"}
    monkeypatch.setattr(interpreter, "libraries", lambda: here)
    with caplog.at_level(logging.WARNING):
        assert find_python(str(wrapper(tmp_path / "p")), base=tmp_path, key=KEY)
    assert "here 1.0: last digits of results may differ" in caplog.text


def test_workers_are_that_interpreter_and_give_the_same_bytes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_inputs(tmp_path / "inputs")
    run_toys(tmp_path / "ours")
    file = wrapper(tmp_path / "theirs")
    # another interpreter finds modules by itself
    folders = [Path(skyloom.__file__).parents[1], Path(flow_toys.__file__).parent]
    monkeypatch.setenv("PYTHONPATH", ":".join(map(str, folders)))
    result = run_toys(tmp_path / "work", executor="processes", workers=1, work=Work(python=file))
    assert result.exit_status == 0
    assert starts(file) == 1
    assert tree(tmp_path / "work") == tree(tmp_path / "ours")
