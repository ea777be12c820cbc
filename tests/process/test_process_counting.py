"""Counting, options and errors of processors (serial and parallel give the same numbers)."""

# ruff: noqa: ARG001, ARG002 - hooks and fixtures

from __future__ import annotations

import argparse

import pytest
from process_toys import Toy

from skyloom.errors import WrongValue
from skyloom.process import DataSpec, FileProcessor, procmain

NAMES = ["a1", "none", "bad1", "skip1", "bb22", "exit", "filtered"]


def run(names, *argv, cls=Toy):
    return procmain(cls, DataSpec.from_list(names), argv)


@pytest.mark.parametrize("jobs", ["1", "3"])
@pytest.mark.parametrize(
    ("names", "processed", "ignored"),
    [
        (["ok"], 1, 0),
        (["none"], 1, 0),
        (["skip"], 0, 0),
        (["bad"], 1, 1),
        (["exit"], 1, 1),
        ([], 0, 0),
        (NAMES, 6, 2),
    ],
    ids=["returned", "returned None", "SkipThis", "raised", "sys.exit", "nothing", "all"],
)
def test_counting(capsys, jobs, names, processed, ignored):
    toy = run(names, "-j", jobs)
    assert (toy.counts.processed, toy.counts.ignored) == (processed, ignored)
    out, err = capsys.readouterr()
    assert out == f"{processed} files processed, {ignored} files with errors\n"
    assert err.count("Skipping source") == ignored
    assert toy.created == 1


@pytest.mark.parametrize("jobs", ["1", "3"])
def test_filter_is_a_plain_substring_and_counts_nothing(capsys, jobs):
    toy = run(["a.fits", "b.fits", "A.fits", 12], "--filter", "a.f", "-j", jobs)
    assert [name for name, _ in toy.results] == ["a.fits"]
    assert (toy.counts.processed, toy.counts.filtered) == (1, 3)
    assert run(["a*", "ab"], "--filter", "a*").counts.processed == 1


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failure_is_one_line_and_the_others_go_on(capsys, jobs):
    toy = run(["bad1", "ok"], "-j", jobs)
    err = capsys.readouterr().err
    assert err == "Skipping source bad1: (ValueError, ValueError('bad1 is bad'))\n"
    assert toy.results == [("ok", 4)]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_bail_stops_with_a_traceback(capsys, jobs):
    with pytest.raises(SystemExit) as caught:
        run(["bad1", *["ok"] * 3], "--bail", "-j", jobs)
    assert caught.value.code == 1
    out, err = capsys.readouterr()
    assert err.startswith("*** bad1\nTraceback")
    assert "ValueError: bad1 is bad" in err
    assert "processed" not in out


def test_strict_turns_failures_into_a_status(capsys):
    with pytest.raises(SystemExit) as caught:
        run(["bad", "ok"], "--strict")
    assert caught.value.code == 1
    assert run(["ok"], "--strict").counts.ignored == 0
    assert "2 files processed, 1 files with errors" in capsys.readouterr().out


@pytest.mark.parametrize("argv", [["extra"], ["-j", "0"], ["-j", "-2"], ["--unknown"], ["--fil=x"]])
def test_a_wrong_command_line_shows_the_help(capsys, argv):
    with pytest.raises(SystemExit) as caught:
        run(["ok"], *argv)
    assert caught.value.code == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert "--filter" in err


def test_an_interrupt_has_no_traceback(capsys):
    class Interrupted(Toy):
        def process(self, identifier):
            raise KeyboardInterrupt

    with pytest.raises(SystemExit) as caught:
        run(["ok"], cls=Interrupted)
    assert caught.value.code == 130
    assert "Traceback" not in capsys.readouterr().err


def test_errors_before_the_first_file_are_not_caught():
    class Auxiliaries(FileProcessor):
        def _create_auxiliaries(self, data):
            raise RuntimeError("no catalogue")

    class Identifiers(FileProcessor):
        def iter_identifiers(self):
            raise RuntimeError("no table")

    with pytest.raises(RuntimeError, match="no catalogue"):
        run(["ok"], cls=Auxiliaries)
    with pytest.raises(RuntimeError, match="no table"):
        run(["ok"], cls=Identifiers)


def test_progress_is_for_terminals(capsys, monkeypatch):
    run(["ok", "bad", "skip"])
    assert "\r" not in capsys.readouterr().out
    monkeypatch.setattr("sys.stdout.isatty", lambda: True, raising=False)
    run(["ok", "bad", "skip"])
    out = capsys.readouterr().out
    assert out.startswith("     1 (-    0)\r     2 (-    1)\r2 files processed")


def test_own_options_are_there_when_auxiliaries_are_made():
    class Own(FileProcessor):
        @staticmethod
        def add_options(parser):
            FileProcessor.add_options(parser)
            parser.add_argument("--min-area", type=int, default=300)

        def _create_auxiliaries(self, data):
            self.area = self.opts.min_area

        def process(self, identifier):
            return self.area

    assert run(["x"], "--min-area", "50", cls=Own).area == 50
    assert Own(data=DataSpec.from_list(["x"])).area == 300
    assert Own(data=DataSpec.from_list(["x"])).process_all() == (1, 0)


def test_an_option_that_exists_is_refused():
    class Twice(FileProcessor):
        @staticmethod
        def add_options(parser):
            FileProcessor.add_options(parser)
            parser.add_argument("--filter")

    with pytest.raises(WrongValue, match=r"Twice.add_options: .*--filter.*choose another name"):
        run(["ok"], cls=Twice)


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_failing_handle_result_fails_its_file(capsys, jobs):
    class Full(Toy):
        def handle_result(self, identifier, result):
            raise OSError("no space")

    counts = run(["ok"], "-j", jobs, cls=Full).counts
    assert (counts.processed, counts.ignored, counts.reasons) == (1, 1, {"OSError": 1})


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_report_classifies_and_never_processes(capsys, jobs):
    class Never(Toy):
        def process(self, identifier):
            raise AssertionError("processed")

    toy = run(["a", "bb", "ccc", "dddd", "bad"], "--report", "-j", jobs, cls=Never)
    out = capsys.readouterr().out
    assert out == (
        "\n\nProcessor Report\n================\n\n"
        "Warning: There were 1 errors during classification\n\n"
        "1   long\n3  short\n\n"
        "5 files processed, 1 files with errors\n"
    )
    assert toy.results == []


def test_verbose_report_names_the_members_of_small_classes(capsys):
    names = ["/d/a", *(f"/x/long{n:02d}" for n in range(20)), "/b"]
    run(names, "--report", "--verbose")
    out = capsys.readouterr().out
    wanted = "\nlong\n----\n\n21 items\n\nshort\n-----\n\n1 items\n\nb\n"
    assert wanted in out
    run([], "--report", "--verbose")
    run([], "--report")


def test_product_keys_compare_whole_components(tmp_path):
    data = DataSpec(resdir=tmp_path / "inputs" / "lmu", inputs_dir=tmp_path / "inputs")
    toy = Toy(data=data)
    assert toy.get_product_key(f"{tmp_path}/inputs/lmu/data/a.fits") == "lmu/data/a.fits"
    with pytest.raises(ValueError, match="not below the inputs directory"):
        toy.get_product_key(f"{tmp_path}/inputs2/a.fits")
    with pytest.raises(ValueError, match="not below"):
        toy.get_product_key(f"{tmp_path}/inputs/../x.fits")


def test_options_that_are_not_given_have_their_defaults():
    opts = argparse.Namespace(filter="a")
    toy = Toy(opts, DataSpec(sources={"items": ["a", "b"]}))
    assert toy.opts is opts
    assert (opts.n_procs, opts.bail) == (1, False)
    assert toy.process_all() == (1, 0)
