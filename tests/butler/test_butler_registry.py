"""The registry: files first, rows second; always possible to make anew."""

from __future__ import annotations

import os
import pickle
import re
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from butler_tools import CCDS, LAYOUT, SURVEY, VISITS, survey, write_raw

from skyloom.butler import Butler, DataId, DatasetRow, Layout, registry, registry_file
from skyloom.errors import (
    BadDataId,
    Busy,
    ConflictError,
    DataDamaged,
    DataNotFound,
    InputError,
    MissingFile,
    ReadOnlyError,
    UnknownDatasetType,
    Unwritable,
)

FILE = "registry.sqlite3"


@pytest.fixture
def butler(tmp_path: Path) -> Iterator[Butler]:
    with survey(tmp_path / "data") as opened:
        yield opened


def test_second_puts_are_refused_unless_they_are_meant(butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    with pytest.raises(ConflictError, match="exists already; overwrite=True"):
        butler.put([2], "notes", visit=1, ccd=4)
    assert butler.get("notes", visit=1, ccd=4) == [1]
    butler.put([2], "notes", visit=1, ccd=4, overwrite=True)
    assert butler.get("notes", visit=1, ccd=4) == [2]
    assert len(butler.query("notes")) == 1
    assert not list(butler.root.rglob("*.part"))


def test_of_two_puts_at_once_one_is_refused(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process writes the file after it was found to be absent."""
    path = butler.path("notes", visit=1, ccd=4)
    write = Path.hardlink_to

    def late(self: Path, target: Path) -> None:
        if self == path and not path.exists():
            path.write_text("[9]")
        write(self, target)

    monkeypatch.setattr(Path, "hardlink_to", late)
    with pytest.raises(ConflictError, match="exists already"):
        butler.put([1], "notes", visit=1, ccd=4)
    assert butler.get("notes", visit=1, ccd=4) == [9]
    assert not list(butler.root.rglob("*.part"))


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork on this system")
def test_a_forked_process_opens_its_own_registry(butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    child = os.fork()
    if child == 0:
        try:
            butler.put([2], "notes", visit=2, ccd=4)
        finally:
            os._exit(int(butler.query("notes", "visit") != [1, 2]))
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    butler.put([3], "notes", visit=3, ccd=4)
    assert butler.query("notes", "visit") == [1, 2, 3]


def test_file_systems_of_the_network_have_no_write_ahead_log(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry, "network_file_system", lambda _: "nfs4")
    with survey(tmp_path / "far") as butler:
        assert butler.query("raw", "visit") == [1, 2, 3]
    with sqlite3.connect(tmp_path / "far" / FILE) as database:
        assert database.execute("PRAGMA journal_mode").fetchone() == ("delete",)
    database.close()


def test_puts_are_checked_before_anything_is_written(butler: Butler) -> None:
    with pytest.raises(ReadOnlyError, match="writeable=True"):
        Butler(butler.root, LAYOUT).put([1], "notes", visit=1, ccd=4)
    with pytest.raises(TypeError, match=r"notes\(.*visit=1.*set has no place in JSON"):
        butler.put({1, 2}, "notes", visit=1, ccd=4)
    with pytest.raises(TypeError, match=r"a Table is expected, not ndarray"):
        butler.put(np.eye(2), "stars", visit=1, ccd=4)
    with pytest.raises(ConflictError, match="visit=1, ccd=4 is known with filter=HSC-I, not HSC-R"):
        butler.put(None, "raw", visit=1, ccd=4, pointing=705, filter="HSC-R")
    assert not butler.exists("notes", visit=1, ccd=4)
    assert butler.verify() == []


def test_rows_and_files_agree_about_everything(butler: Butler) -> None:
    written = butler.put([1], "notes", visit=1, ccd=4)
    (row,) = butler.rows("notes")
    assert row == DatasetRow(
        type="notes",
        data_id=DataId(pointing=705, filter="HSC-I", visit=1, ccd=4),
        path=written.path,
        size=written.size,
        mtime_ns=written.mtime_ns,
        checksum=written.digest,
    )
    tables = sqlite3.connect(butler.root / FILE)
    assert tables.execute("PRAGMA journal_mode").fetchone() == ("wal",)
    assert tables.execute("SELECT COUNT(*) FROM raw_visit").fetchone() == (3,)
    assert tables.execute("SELECT visit, ccd, taiObs FROM raw").fetchone() == (
        1, 4, "2014-03-31T01:00:00",
    )  # fmt: skip
    tables.close()


def test_queries_give_ids_values_and_tuples(butler: Butler) -> None:
    for visit in VISITS:
        for ccd in CCDS:
            butler.put([visit], "notes", visit=visit, ccd=ccd)
            butler.put(Table({"x": [1.0] * visit}), "stars", visit=visit, ccd=ccd)
    assert butler.query("notes", "visit") == [1, 2, 3]
    assert butler.query("notes", ["filter", "visit"], ccd=4) == [
        ("HSC-I", 1), ("HSC-I", 2), ("HSC-R", 3),
    ]  # fmt: skip
    assert butler.query("stars", ["visit"], filter="HSC-R") == [(3,)]  # from the tables
    assert butler.query("stars", "taiObs", visit=2, ccd="4") == ["2014-04-02T02:00:00"]
    assert butler.query("stars", visit=2) == [DataId(visit=2, ccd=ccd) for ccd in CCDS]
    assert butler.query("notes", visit=99) == []
    with pytest.raises(BadDataId, match="no key 'colour'"):
        butler.query("notes", ["colour"])
    with pytest.raises(BadDataId, match="nothing to do with tract"):
        butler.query("notes", "tract")
    assert butler.get("stars_len", visit=2, ccd=4) == 2
    assert butler.get("stars_schema", visit=2, ccd=4).colnames == ["x"]
    with pytest.raises(UnknownDatasetType, match="no part 'wcs'; there are stars_filename"):
        butler.get("stars_wcs", visit=2, ccd=4)


def test_references_do_what_the_butler_does(butler: Butler) -> None:
    visit = butler.data_ref(visit="1")
    parts = visit.sub_items()
    assert [part.data_id for part in parts] == [DataId(visit=1, ccd=ccd) for ccd in CCDS]
    assert [p.data_id for p in visit.sub_items("ccd")] == [p.data_id for p in parts]
    parts[0].put([7], "notes")
    assert parts[0].exists("notes")
    assert not parts[1].exists("notes")
    assert parts[0].get("notes") == butler.get("notes", visit=1, ccd=4) == [7]
    assert parts[1].get("notes", ccd=4) == [7]
    assert [ref.get("notes") for ref in butler.subset("notes", filter="HSC-I")] == [[7]]
    with pytest.raises(BadDataId, match="levels are ccd"):
        visit.sub_items("patch")
    with pytest.raises(BadDataId, match="lacks visit"):
        butler.data_ref(ccd=4).sub_items("ccd")


# -- ingest, verify, rebuild


def test_ingest_takes_all_files_or_none(tmp_path: Path) -> None:
    root = tmp_path / "data"
    paths = write_raw(root)
    with Butler(root, LAYOUT, writeable=True) as butler:
        stray = root / "raw" / "other.fits"
        stray.write_bytes(b"")
        with pytest.raises(InputError, match=r"2 files do not fit:\n.*other.fits.*\n.*no such fil"):
            butler.ingest([*paths, stray, root / "none.fits"])
        with pytest.raises(MissingFile):
            butler.ingest(root / "none.fits")
        with pytest.raises(InputError, match=r"of notes .*\*/notes/\*-\*.json.*move or link"):
            butler.ingest(paths, "notes")
        assert butler.query("raw", "visit") == [1, 2, 3]  # no registry: from the names
        assert not (root / FILE).exists()
        assert len(butler.ingest(paths)) == len(paths)
        butler.ingest(paths[0], checksum=True)  # again: nothing doubles
        assert len(list(butler.rows())) == len(paths)
        assert butler.verify(checksum=True) == []


def test_ingest_needs_to_know_when_a_calibration_holds(butler: Butler) -> None:
    path = butler.root / "BIAS/2014-04-01/BIAS-2014-04-01-004.json"
    path.parent.mkdir(parents=True)
    path.write_text("[4]")
    with pytest.raises(BadDataId, match="give the days for which it holds"):
        butler.ingest(path)
    butler.ingest(path, validity=30)
    assert butler.get("bias", visit=2, ccd=4) == [4]
    assert butler.query("bias", ["validStart", "validEnd"]) == [("2014-03-02", "2014-05-01")]
    (butler.root / FILE).unlink()
    butler.close()
    done = butler.rebuild(validity=1)
    assert done.left_out == ()
    assert butler.query("bias", "validEnd") == ["2014-04-02"]
    assert butler.rebuild(validity=300).datasets == 7
    assert butler.query("bias", "validEnd") == ["2014-04-02"]  # what is known stays


def test_verify_tells_what_is_wrong(butler: Butler) -> None:
    for ccd in CCDS:
        butler.put([ccd], "notes", visit=1, ccd=ccd)
        butler.put([ccd], "notes", visit=2, ccd=ccd)
    assert butler.verify() == butler.verify(checksum=True) == []
    butler.path("notes", visit=1, ccd=4).unlink()
    butler.path("notes", visit=1, ccd=56).write_text("[555555]")
    same_size = butler.path("notes", visit=2, ccd=4)
    status = same_size.stat()
    same_size.write_bytes(b"x" * status.st_size)
    os.utime(same_size, ns=(status.st_atime_ns, status.st_mtime_ns))
    os.utime(butler.path("notes", visit=2, ccd=56))  # touched, not changed
    new = butler.root / "00705/HSC-I/notes/0000002-077.json"
    new.write_text("[77]")
    found = {(d.what, d.data_id["visit"], d.data_id["ccd"]) for d in butler.verify()}
    assert found == {("missing", 1, 4), ("changed", 1, 56), ("unlisted", 2, 77)}
    assert ("changed", 2, 4) in {
        (d.what, d.data_id["visit"], d.data_id["ccd"]) for d in butler.verify(checksum=True)
    }


def test_a_lost_registry_is_made_anew(butler: Butler) -> None:
    for ccd in CCDS:
        butler.put([ccd], "notes", visit=1, ccd=ccd)
    before = [(row.type, row.data_id, row.path) for row in butler.rows()]
    butler.close()
    (butler.root / FILE).unlink()
    done = butler.rebuild(checksum=True)
    assert (done.datasets, done.removed, done.left_out) == (8, 0, ())
    assert [(row.type, row.data_id, row.path) for row in butler.rows()] == before
    assert butler.verify(checksum=True) == []
    assert butler.data_id("notes", visit=3, ccd=4)["pointing"] == 706
    butler.path("notes", visit=1, ccd=4).unlink()
    assert butler.rebuild().removed == 1
    assert butler.query("notes", "ccd") == [56]


@pytest.mark.parametrize(
    "rubbish", [b"no database at all" * 100, b"SQLite format 3\0" + b"x" * 5000]
)
def test_a_damaged_registry_loses_nothing(rubbish: bytes, butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    butler.close()
    for path in butler.root.glob(f"{FILE}*"):
        path.unlink()
    (butler.root / FILE).write_bytes(rubbish)
    with pytest.raises(DataDamaged, match=r"files are untouched: run 'skyloom butler rebuild"):
        butler.query("notes")
    with pytest.raises(DataDamaged):
        butler.put([2], "notes", visit=2, ccd=4)
    full = {"pointing": 705, "filter": "HSC-I", "visit": 1, "ccd": 4}
    assert butler.get("notes", full) == [1]  # a complete data ID needs no registry
    assert butler.rebuild().datasets == 7
    (aside,) = butler.root.glob(f"{FILE}.damaged-*")
    assert aside.read_bytes() == rubbish
    assert butler.query("notes", "visit") == [1]


def test_a_registry_of_another_layout_is_said_so(butler: Butler) -> None:
    with pytest.raises(DataDamaged, match=r"lacks .*field.*made for another layout"):
        Butler(butler.root, "hsc").query("calexp")


def test_a_new_key_in_the_layout_costs_a_rebuild_and_nothing_else(butler: Butler) -> None:
    butler.put([4], "bias", ccd=4, calibDate="2014-04-01", validStart="2014-01-01",
               validEnd="2014-12-31")  # fmt: skip
    butler.put([1], "notes", visit=1, ccd=4)
    butler.close()
    new = {"epoch": {"format": "json", "template": "epochs/%(epoch)d-%(visit)d.json"}}
    table = {**SURVEY, "dimensions": {**SURVEY["dimensions"], "epoch": {"kind": "int"}}}
    layout = Layout.from_mapping({**table, "datasets": {**SURVEY["datasets"], **new}})
    with Butler(butler.root, layout, writeable=True) as other:
        with pytest.raises(DataDamaged, match="lacks epoch; it was made for another layout"):
            other.query("notes")
        assert other.rebuild().left_out == ()
        assert other.get("bias", visit=2, ccd=4) == [4]
        assert other.query("bias", "validEnd") == ["2014-12-31"]
        assert other.query("notes", "visit") == [1]
        assert other.verify() == []


def test_a_held_registry_is_waited_for_and_then_explained(
    butler: Butler, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(registry_file, "TIMEOUT", 0.1)
    butler.close()
    other = sqlite3.connect(butler.root / FILE, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    with pytest.raises(Busy, match=r"for 0.1 s; wait for it .* No file is lost"):
        butler.put([1], "notes", visit=1, ccd=4)
    other.execute("ROLLBACK")
    other.close()
    assert [d.what for d in butler.verify()] == ["unlisted"]
    assert butler.rebuild().datasets == 7
    assert butler.get("notes", visit=1, ccd=4) == [1]


def test_trees_that_cannot_be_written_are_read(butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    butler.close()
    butler.root.chmod(0o555)
    try:
        with Butler(butler.root, LAYOUT) as reader:
            assert reader.get("notes", visit=1, ccd=4) == [1]
        if os.geteuid() != 0:
            with pytest.raises(Unwritable):
                Butler(butler.root, LAYOUT, writeable=True).put([1], "stars", visit=1, ccd=4)
    finally:
        butler.root.chmod(0o755)


WRITER = """
import sys
sys.path.insert(0, {tests!r})
from butler_tools import LAYOUT
from skyloom.butler import Butler
first = int(sys.argv[1])
with Butler({root!r}, LAYOUT, writeable=True) as butler:
    for visit in range(first, first + 200):
        butler.put({{"visit": visit}}, "notes", visit=visit, ccd=4, pointing=1, filter="r")
"""


def test_two_writers_lose_nothing(tmp_path: Path) -> None:
    root = tmp_path / "data"
    code = WRITER.format(tests=str(Path(__file__).parent), root=str(root))
    writers = [subprocess.Popen([sys.executable, "-c", code, str(n)]) for n in (1000, 2000)]
    assert [writer.wait(timeout=120) for writer in writers] == [0, 0]
    with Butler(root, LAYOUT) as butler:
        wanted = [*range(1000, 1200), *range(2000, 2200)]
        assert butler.query("notes", "visit") == wanted
        assert all(
            butler.get("notes", visit=n, ccd=4, pointing=1, filter="r")["visit"] == n
            for n in wanted
        )
        assert butler.verify(checksum=True) == []


# -- reruns and roots


def test_reruns_read_their_parents_and_write_to_themselves(butler: Butler) -> None:
    data = butler.root
    first, second = data / "rerun" / "one", data / "rerun" / "two"
    with Butler(first, writeable=True, parent=data, layout=LAYOUT) as one:
        one.put(["one"], "notes", visit=1, ccd=4)
        one.put(["one"], "notes", visit=2, ccd=4)
    with Butler(second, writeable=True, parent=first, layout=LAYOUT) as two:
        assert two.roots == (second, first, data)
        assert two.get("notes", visit=1, ccd=4) == ["one"]
        two.put(["two"], "notes", visit=1, ccd=4)
        assert two.get("notes", visit=1, ccd=4) == ["two"]
        assert two.get("raw_md", visit=1, ccd=4)["DATE-OBS"].startswith("2014-03-31")
        assert two.query("notes", "visit") == [1, 2]
    with Butler(second, LAYOUT) as again:  # _parent tells
        assert again.roots == (second, first, data)
        with pytest.raises(DataNotFound, match=f"nor does it below {re.escape(str(first))}"):
            again.get("notes", visit=3, ccd=4)
    assert Butler(first, LAYOUT).get("notes", visit=1, ccd=4) == ["one"]
    with pytest.raises(InputError, match="the parent is"):
        Butler(second, LAYOUT, writeable=True, parent=data)


def test_parents_may_be_named_in_a_text_file(butler: Butler, tmp_path: Path) -> None:
    rerun = tmp_path / "rerun"
    rerun.mkdir()
    (rerun / "_parent").write_text("../data\n")
    assert Butler(rerun, LAYOUT).roots == (rerun, butler.root)
    (rerun / "_parent").write_text("../none")
    with pytest.raises(InputError, match=r"names .*none, which is no directory"):
        Butler(rerun, LAYOUT)
    (rerun / "_parent").write_text(".")
    with pytest.raises(InputError, match="comes back"):
        Butler(rerun, LAYOUT)


def test_a_rerun_below_its_data_finds_them_without_a_mark(butler: Butler) -> None:
    rerun = butler.root / "rerun" / "me" / "deep"
    rerun.mkdir(parents=True)
    assert Butler(rerun, LAYOUT).roots == (rerun, butler.root)


def test_without_a_registry_file_names_tell(tmp_path: Path) -> None:
    root = tmp_path / "data"
    path = root / "00705/HSC-I/notes/0000001-004.json"
    path.parent.mkdir(parents=True)
    path.write_text("[1]")
    butler = Butler(root, LAYOUT)
    assert butler.get("notes", visit=1, ccd=4) == [1]
    assert butler.query("notes", ["visit", "filter"]) == [(1, "HSC-I")]
    assert [ref.data_id["ccd"] for ref in butler.data_ref(visit=1).sub_items("ccd")] == [4]
    with pytest.raises(
        DataNotFound, match=r"no registry in .*data, and no file \*/\*/notes/0000002-004.json"
    ):
        butler.get("notes", visit=2, ccd=4)
    with pytest.raises(DataNotFound):  # the one file could be of another time
        butler.get("notes", visit=1, ccd=4, taiObs="2020-01-01")
    assert not (root / FILE).exists()


def test_registries_of_the_original_are_read_and_never_written(tmp_path: Path) -> None:
    """Tables raw and raw_visit as the HSC pipeline makes them, with columns of its own."""
    with sqlite3.connect(tmp_path / FILE) as database:
        database.execute(
            "CREATE TABLE raw (id INTEGER PRIMARY KEY, taiObs TEXT, expTime DOUBLE, pointing INT, "
            "dataType TEXT, visit INT, dateObs TEXT, frameId TEXT, filter TEXT, field TEXT, "
            "ccd INT, UNIQUE (visit, ccd))"
        )
        database.execute(
            "INSERT INTO raw VALUES (1, '2014-03-31', 30.0, 705, 'OBJECT', 1234, '2014-03-31', "
            "'HSCA00123456', 'HSC-I', 'COSMOS', 56)"
        )
    database.close()
    butler = Butler(tmp_path, "hsc", writeable=True)
    path = butler.get("calexp_filename", visit=1234, ccd=56)
    assert path == str(tmp_path / "00705/HSC-I/corr/CORR-0001234-056.fits")
    assert butler.query("calexp") == []
    calibrations = tmp_path / "CALIB"
    calibrations.mkdir()
    with sqlite3.connect(calibrations / "calibRegistry.sqlite3") as database:
        database.execute(
            "CREATE TABLE bias (id INTEGER PRIMARY KEY, validStart TEXT, validEnd TEXT, "
            "calibDate TEXT, filter TEXT, calibVersion TEXT, ccd INT)"
        )
        database.execute(
            "INSERT INTO bias VALUES (1, '2014-01-01', '2014-12-31', '2014-03-01', 'NONE', "
            "'NONE', 56)"
        )
    database.close()
    bias = "CALIB/BIAS/2014-03-01/NONE/BIAS-2014-03-01-056.fits"
    again = Butler(tmp_path)  # CALIB tells the layout
    assert again.get("bias_filename", visit=1234, ccd=56) == str(tmp_path / bias)
    with pytest.raises(Unwritable, match="made by another program"):
        butler.put(b"png", "calexpThumb", visit=1234, ccd=56)


def test_butlers_travel_to_other_processes(butler: Butler) -> None:
    butler.put([1], "notes", visit=1, ccd=4)
    other = pickle.loads(pickle.dumps(butler))
    assert other.get("notes", visit=1, ccd=4) == [1]
    assert other.writeable


def test_headers_are_read_without_pixels(butler: Butler) -> None:
    path = butler.path("raw", visit=1, ccd=4)
    header = fits.Header({"OBJECT": "x", "GAIN": 2.0})
    image = fits.ImageHDU(np.zeros((500, 500)), fits.Header({"GAIN": 3.0, "BUNIT": "adu"}))
    fits.HDUList([fits.PrimaryHDU(header=header), image]).writeto(path, overwrite=True)
    path.write_bytes(path.read_bytes()[: 3 * 2880])  # two headers, no pixels
    cards = butler.get("raw_md", visit=1, ccd=4)
    assert dict(cards) | {"OBJECT": "x", "GAIN": 3.0, "BUNIT": "adu"} == dict(cards)
