"""Running again tomorrow: journal, quarantine, report."""

from __future__ import annotations

import json
import os
from pathlib import Path
from unittest.mock import Mock

import pytest
from process_toys import Touch

from skyloom.errors import UnreadableFile, Unwritable
from skyloom.process import DataSpec, Outcome, procmain
from skyloom.process.journal import Journal
from skyloom.process.outcome import describe
from skyloom.process.quarantine import Quarantine


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    names = ["a", "b", "bad", "c"]
    for name in names:
        (tmp_path / name).write_text("x")
    return [str(tmp_path / name) for name in names]


def calls(files):
    """How often each file was processed."""
    found = []
    for name in files:
        try:
            found.append(len(Path(f"{name}.log").read_text().splitlines()))
        except FileNotFoundError:
            found.append(0)
    return found


def run(files, *argv, cls=Touch):
    return procmain(cls, DataSpec.from_list(files, id="night"), argv).counts


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_journal_leaves_out_what_has_not_changed(files, jobs):
    options = ("--journal", "journal.sqlite", "-j", jobs)
    counts = run(files, *options)
    assert (counts.processed, counts.ignored, counts.unchanged) == (4, 1, 0)
    counts = run(files, *options)
    assert (counts.processed, counts.ignored, counts.unchanged) == (1, 1, 3)  # bad is tried again
    os.utime(files[0], ns=(5, 5))
    os.truncate(files[1], 0)
    assert run(files, *options).unchanged == 1
    assert run(files, *options, "--redo").processed == 4
    assert calls(files) == [3, 3, 4, 2]


@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_other_work_has_a_journal_of_its_own(files):
    class Other(Touch):
        @staticmethod
        def add_options(parser):
            Touch.add_options(parser)
            parser.add_argument("--level", default=1)

    class Newer(Other):
        version = "2"

    Newer.__qualname__ = Other.__qualname__
    run(files, "--journal", "j", cls=Other)
    assert run(files, "--journal", "j", cls=Other).unchanged == 3
    assert run(files, "--journal", "j", "--verbose", cls=Other).unchanged == 3
    assert run(files, "--journal", "j", "--level", "2", cls=Other).unchanged == 0
    assert run(files, "--journal", "j", cls=Newer).unchanged == 0
    assert run(files, "--journal", "j", cls=Touch).unchanged == 0


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_quarantine(files, tmp_path, jobs):
    options = ("--quarantine", "list.txt", "-j", jobs)
    assert run(files, *options).ignored == 1
    assert (tmp_path / "list.txt").read_text() == f"{files[2]}\tValueError: bad\n"
    counts = run(files, *options)
    assert (counts.processed, counts.ignored, counts.quarantined) == (3, 0, 1)
    (tmp_path / "list.txt").write_text("# none\n")
    assert run(files, *options).ignored == 1


@pytest.mark.filterwarnings("ignore::ResourceWarning")
@pytest.mark.parametrize("jobs", ["1", "2"])
def test_report_file(files, tmp_path, jobs):
    run(files, "--report-file", "report.json", "-j", jobs, "--retries", "1", "--filter", "a")
    report = json.loads((tmp_path / "report.json").read_text())
    assert (report["processor"], report["data"]) == ("Touch", "night")
    assert report["counts"]["processed"] == 2
    assert report["counts"]["filtered"] == 2
    assert report["counts"]["reasons"] == {"ValueError": 1}
    first, second = report["files"]
    assert (first["identifier"], first["state"], first["attempts"]) == (files[0], "done", 1)
    assert (second["state"], second["attempts"]) == ("failed", 2)
    assert second["error"]["message"] == "ValueError: bad"
    assert "Traceback" in second["error"]["traceback"]


def test_a_report_is_written_after_bail_too(files, tmp_path):
    with pytest.raises(SystemExit):
        run(files, "--report-file", "report.json", "--bail")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["counts"]["ignored"] == 1


def test_mistakes_stop_before_any_work(files, tmp_path):
    (tmp_path / "text").write_text("no database, and long enough to be read as one" * 40)
    (tmp_path / "binary").write_bytes(b"\xff\xfe\xff")
    with pytest.raises(UnreadableFile, match="cannot be used as a journal"):
        run(files, "--journal", "text")
    with pytest.raises(UnreadableFile, match="cannot be used as a quarantine list"):
        run(files, "--quarantine", "binary")
    with pytest.raises(Unwritable, match="no directory for the report"):
        run(files, "--report-file", "no/such/report.json")
    assert calls(files) == [0, 0, 0, 0]


def test_classifying_leaves_journal_and_quarantine_alone(files, tmp_path, capsys):
    run(files, "--journal", "j", "--quarantine", "q", "--report")
    assert not (tmp_path / "j").exists()
    assert not (tmp_path / "q").exists()
    assert "4  unknown" in capsys.readouterr().out


def test_a_full_disk_is_said_of_each_list(files, tmp_path, monkeypatch):
    """Nothing else is lost: the files are processed, the message names the list and the remedy."""
    full = OSError(28, "No space left on device")

    def fail(*_):
        raise full

    with monkeypatch.context() as patch:
        patch.setattr("skyloom.process.report._put", fail)
        with pytest.raises(Unwritable, match=r"r\.json: the report cannot be written \(No space"):
            run(files, "--report-file", str(tmp_path / "r.json"))
        assert calls(files) == [1, 1, 1, 1]

    quarantine = Quarantine(tmp_path / "q")
    with quarantine:
        quarantine._file.close()
        monkeypatch.setattr(quarantine, "_file", Mock(write=fail, close=fail))
        with pytest.raises(Unwritable, match=r"q: a\.fits cannot be added to the list \(No space"):
            quarantine.add("a.fits", describe(ValueError("bad")))

    with Journal(tmp_path / "j", key="k") as journal:
        journal._db.execute("COMMIT")
        journal._db.execute("PRAGMA max_page_count = 3")
        journal._db.execute("BEGIN")
        names = [f"{n}.fits" for n in range(2000)]
        with pytest.raises(Unwritable, match=r"j: the journal cannot be written .*is full"):
            all(journal.add(name, Outcome(state="done")) is None for name in names)
