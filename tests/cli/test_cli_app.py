"""The command line: help at once, clean messages, honest exit statuses."""

from __future__ import annotations

import importlib.util
import logging
import subprocess
import sys
from pathlib import Path

import click
import pytest

import skyloom
from skyloom.cli import main
from skyloom.cli.app import root
from skyloom.cli.logs import log_path, run_log
from skyloom.cli.options import force_value, run_options
from skyloom.errors import Unwritable
from skyloom.pipelines.tile import VERBS, load_config
from skyloom.pipelines.tile.compat import LOGGER_NAMES
from skyloom.pipelines.tile.frame_sections import LoggingConfig

Capture = pytest.CaptureFixture[str]


@pytest.mark.parametrize(
    "args",
    [["--help"], ["tile", "--help"], ["tile", "run", "--help"], ["butler", "find", "--help"]],
)
def test_help_needs_no_heavy_package(args: list[str]) -> None:
    heavy = "{'numpy', 'numba', 'scipy', 'astropy', 'matplotlib', 'pydantic', 'yaml', 'rich'}"
    code = (
        f"import sys; from skyloom.cli import main; assert main({args!r}) == 0; "
        f"print('LOADED', *{heavy} & {{*sys.modules}})"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    assert "Usage: skyloom" in done.stdout
    assert done.stdout.splitlines()[-1].split() == ["LOADED"]


def test_every_listed_command_exists(capsys: Capture) -> None:
    assert main(["--help"]) == 0
    context = click.Context(root)
    for name in root.list_commands(context):
        assert name in capsys.readouterr().out or root.get_command(context, name) is not None


def test_the_steps_are_listed_in_their_order(capsys: Capture) -> None:
    assert main(["tile", "--help"]) == 0
    text = capsys.readouterr().out
    places = [text.index(f"  {verb} ") for verb in VERBS]
    assert places == sorted(places)


def test_version(capsys: Capture) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"skyloom {skyloom.__version__}\n"


@pytest.mark.parametrize(
    ("args", "word"),
    [
        (["tiel"], "tiel"),
        (["tile", "walk"], "walk"),
        (["tile", "run"], "--config"),
        (["tile", "run", "--config", "c.yaml", "--workers", "0"], "--workers"),
        (["tile", "run", "--config", "c.yaml", "--executor", "moon"], "moon"),
    ],
)
def test_a_wrong_option_is_a_usage_error(args: list[str], word: str, capsys: Capture) -> None:
    assert main(args) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert word in captured.err


def test_a_missing_configuration_is_one_line(capsys: Capture) -> None:
    assert main(["tile", "run", "--config", "absent.yaml"]) == 2
    error = capsys.readouterr().err
    assert error.startswith("skyloom: MissingConfig: Config not found: absent.yaml")
    assert len(error.splitlines()) == 1


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("crop:\n  overlay_catalog: true\n", "UnknownKey", "crop.overlay_catalog"),
        ("crop:\n  margin: wide\n", "WrongType", "crop.margin"),
        ("crop:\n  margin: -1\n", "WrongValue", "crop.margin"),
        ("- a list\n", "WrongType", "mapping"),
        ("crop: {margin: 1\n", "ConfigError", "YAML"),
    ],
)
def test_a_mistake_in_the_configuration_names_key_and_kind(
    tmp_path: Path, text: str, kind: str, words: str, capsys: Capture
) -> None:
    path = tmp_path / "tile.yaml"
    path.write_text(text, encoding="utf-8")
    assert main(["tile", "run", "--config", str(path)]) == 2
    error = capsys.readouterr().err
    assert error.startswith(f"skyloom: {kind}: ")
    assert words in error
    assert "Traceback" not in error


def test_debug_shows_the_traceback(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    level = logging.getLogger().level
    path = tmp_path / "tile.yaml"
    path.write_text("crop:\n  margin: -1\n", encoding="utf-8")
    try:
        assert main(["tile", "run", "--config", str(path), "--debug"]) == 2
    finally:
        logging.getLogger().setLevel(level)
    assert any(record.exc_info for record in caplog.records)


def test_dump_config_writes_a_file_that_loads(tmp_path: Path, capsys: Capture) -> None:
    path = tmp_path / "new" / "sample.yaml"
    assert main(["tile", "dump-config", "--out", str(path)]) == 0
    assert str(path) in capsys.readouterr().out
    text = path.read_text(encoding="utf-8")
    assert load_config(path).zp.gaia_mag_max == 18.0
    assert main(["tile", "dump-config", "--out", str(path)]) == 2
    assert "Refusing to overwrite existing file" in capsys.readouterr().err
    path.write_text("changed", encoding="utf-8")
    assert main(["tile", "dump-config", "--out", str(path), "--force"]) == 0
    assert path.read_text(encoding="utf-8") == text


def test_dump_config_into_a_file_as_directory(tmp_path: Path, capsys: Capture) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    assert main(["tile", "dump-config", "--out", str(tmp_path / "file" / "x.yaml")]) == 2
    assert "Unwritable" in capsys.readouterr().err


def test_force_with_and_without_a_stage() -> None:
    @click.command()
    @run_options
    def command(force: tuple[str, ...], **_: object) -> object:
        return force_value(force)

    def call(*args: str) -> object:
        return command.main(list(args), standalone_mode=False)

    assert call() == ()
    assert call("--force") is True
    assert call("--force", "--quiet") is True
    assert call("--force", "epsf", "--force", "merge") == ("epsf", "merge")


@pytest.mark.parametrize("error", [KeyboardInterrupt, click.Abort])
def test_an_interrupted_run_says_how_to_go_on(
    error: type[BaseException], monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(root, "main", interrupted)
    assert main([]) == 130
    assert "goes on where it stopped" in capsys.readouterr().err


# --- logs


def test_what_is_logged_before_the_file_opens_gets_into_it(tmp_path: Path, capsys: Capture) -> None:
    log = logging.getLogger("skyloom.test")
    path = tmp_path / "logs" / "run.log"
    for _ in range(2):  # appended
        with run_log(LoggingConfig(format="%(levelname)s %(message)s")) as logs:
            log.info("early")
            assert not path.exists() or path.read_text().count("early") == 1
            logs.open_file(path)
            log.warning("late")
            log.debug("hidden")
    assert path.read_text(encoding="utf-8").split("\n") == ["INFO early", "WARNING late"] * 2 + [""]
    assert capsys.readouterr().err.splitlines() == ["INFO early", "WARNING late"] * 2


def test_a_quiet_console_keeps_the_file_complete(tmp_path: Path, capsys: Capture) -> None:
    log = logging.getLogger("skyloom.test")
    with run_log(LoggingConfig(), console_level=logging.WARNING) as logs:
        logs.open_file(tmp_path / "run.log")
        log.info("detail")
    assert capsys.readouterr().err == ""
    assert "detail" in (tmp_path / "run.log").read_text(encoding="utf-8")


def test_the_end_of_a_run_is_in_its_log(tmp_path: Path) -> None:
    def fail() -> None:
        with run_log(LoggingConfig(), console_level=logging.CRITICAL) as logs:
            logs.open_file(tmp_path / "run.log")
            raise Unwritable("work: cannot be written")

    with pytest.raises(Unwritable):
        fail()
    assert "the run ends: Unwritable: work: cannot be written" in (tmp_path / "run.log").read_text()


def test_logging_is_put_back(tmp_path: Path) -> None:
    before = logging.getLogger().handlers[:], logging.getLogger().level
    with run_log(LoggingConfig(level="DEBUG")) as logs:
        logs.open_file(tmp_path / "run.log")
    assert (logging.getLogger().handlers[:], logging.getLogger().level) == before


def test_an_unknown_level_means_info(capsys: Capture) -> None:
    with run_log(LoggingConfig(level="LOUD")):
        logging.getLogger("skyloom.test").info("heard")
        logging.getLogger("skyloom.test").debug("not heard")
    assert "not heard" not in capsys.readouterr().err


def test_log_lines_call_loggers_as_the_original_does(tmp_path: Path, capsys: Capture) -> None:
    settings = LoggingConfig(format="%(name)s: %(message)s")
    with run_log(settings, names=LOGGER_NAMES) as logs:
        logs.open_file(tmp_path / "run.log")
        for name in ("pipelines.tile.zeropoint", "pipelines.tile.load", "flow.runner", "psf.wings"):
            logging.getLogger(f"skyloom.{name}").info(name)
        logging.getLogger("other").warning("untouched")
    expected = [
        "skyloom.zp: pipelines.tile.zeropoint",
        "skyloom.pipeline: pipelines.tile.load",
        "skyloom.pipeline: flow.runner",
        "skyloom.psf.wings: psf.wings",  # not in the table
        "other: untouched",
    ]
    assert capsys.readouterr().err.splitlines() == expected
    assert (tmp_path / "run.log").read_text(encoding="utf-8").splitlines() == expected


def test_only_loggers_that_exist_have_names_of_the_original() -> None:
    known = {"cli", "pipeline", "epsf", "patches", "patch_inputs", "run_patches", "merge", "zp"}
    known |= {"bright_mask"}
    assert {name.removeprefix("skyloom.") for name in LOGGER_NAMES.values()} == known
    for ours in LOGGER_NAMES:
        assert importlib.util.find_spec(ours) is not None


@pytest.mark.parametrize(
    ("file", "expected"), [("auto", "work/merge.log"), (" AUTO ", "work/merge.log"), (None, None)]
)
def test_the_log_file_is_named_after_the_verb(file: str | None, expected: str | None) -> None:
    path = log_path(LoggingConfig(file=file), verb="merge", work_dir=Path("work"))
    assert path == (None if expected is None else Path(expected))


def test_a_log_that_cannot_be_opened_is_a_mistake(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with run_log(LoggingConfig()) as logs, pytest.raises(Unwritable, match=r"logging\.file"):
        logs.open_file(tmp_path / "file" / "run.log")
