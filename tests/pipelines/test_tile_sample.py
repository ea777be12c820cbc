"""The sample data: what a server delivers, and every way in which it can be wrong."""

from __future__ import annotations

import hashlib
import io
import tarfile
import threading
import zipfile
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from skyloom.cli import main
from skyloom.errors import DownloadFailed, FolderExists
from skyloom.pipelines.tile import sample
from skyloom.pipelines.tile.sample import SampleSource, download_sample

FILES = {
    "top/LICENSE_SAMPLE_DATA.txt": b"licence",
    "top/images/field_M625_b.fits": b"625",
    "top/images/deep/field_m400_a.fits.fz": b"400",
    "top/images/notes.txt": b"not an image",
}


class Server:
    """Serves bytes by path; ``cut`` sends fewer than announced."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.cut = 0
        self.asked: list[str] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                outer.asked.append(self.path)
                data = outer.files.get(self.path)
                if data is None:
                    self.send_error(404)
                    return
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data[: len(data) - outer.cut])

            def log_message(self, *args: object) -> None:
                """Say nothing."""

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.host = f"http://127.0.0.1:{self.http.server_address[1]}"

    def source(self, data: bytes, *, asset: str = "s.tar.gz", **changes: str) -> SampleSource:
        """Serve an archive and return where it is."""
        self.files[f"/who/what/releases/download/v1/{asset}"] = data
        facts = {"sha256": hashlib.sha256(data).hexdigest()} | changes
        return SampleSource(repo="who/what", tag="v1", asset=asset, host=self.host, **facts)


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    one = Server()
    thread = threading.Thread(target=one.http.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    yield one
    one.http.shutdown()
    thread.join()
    one.http.server_close()


def tar(files: dict[str, bytes], *members: tarfile.TarInfo, mode: str = "w:gz") -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode=mode) as archive:
        for name, data in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        for member in members:
            archive.addfile(member)
    return buffer.getvalue()


def link(name: str, target: str, kind: bytes = tarfile.SYMTYPE) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname = kind, target
    return member


def zipped(files: dict[str, bytes]) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return buffer.getvalue()


def left(folder: Path) -> list[str]:
    return sorted(p.relative_to(folder).as_posix() for p in folder.rglob("*"))


@pytest.mark.parametrize(
    ("asset", "data"),
    [
        ("s.tar.gz", tar(FILES)),
        ("s.tgz", tar(FILES)),
        ("s.tar", tar(FILES, mode="w")),
        ("s.zip", zipped(FILES)),
    ],
    ids=["tar.gz", "tgz", "tar", "zip"],
)
def test_images_are_named_by_band_and_listed(server, tmp_path, asset, data):
    told: list[tuple[int, int | None]] = []
    target = tmp_path / "new" / "data"
    source = server.source(data, asset=asset)
    found = download_sample(target, source=source, tell=lambda *now: told.append(now))
    names = [target / "images" / f"7DT_UDS_m{band}.fits" for band in ("400", "625")]
    assert found.folder == target
    assert list(found.images) == names
    assert [path.read_bytes() for path in names] == [b"400", b"625"]
    assert found.image_list.read_text() == "".join(f"{path}\n" for path in names)
    assert (target / "LICENSE_SAMPLE_DATA.txt").read_bytes() == b"licence"
    assert [p.name for p in target.parent.iterdir()] == ["data"]  # archive and .part are gone
    assert told[0] == (0, len(data))
    assert told[-1] == (len(data), len(data))


def test_without_a_directory_the_archive_names_it(server, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert download_sample(source=server.source(tar(FILES))).folder == tmp_path / "top"
    with pytest.raises(FolderExists, match="top: exists already"):
        download_sample(source=server.source(tar(FILES), asset="top.tar.gz"))
    with pytest.raises(FolderExists, match="top: exists already"):
        download_sample(source=server.source(tar(FILES)))  # known only after unpacking
    assert [p.name for p in tmp_path.iterdir()] == ["top"]


def test_images_beside_each_other_go_to_a_folder_of_their_own(server, tmp_path):
    files = {"a_m500.fit": b"500", "b_m450.fits": b"450", "flat.fits": b"no band"}
    found = download_sample(tmp_path / "d", source=server.source(tar(files)))
    assert left(tmp_path / "d") == [
        *("flat.fits", "image_list.txt", "images"),
        *("images/7DT_UDS_m450.fits", "images/7DT_UDS_m500.fits"),
    ]
    assert len(found.images) == 2


OUTSIDE = [
    tar({"../out_m400.fits": b""}),
    tar({"/tmp/out_m400.fits": b""}),
    tar({"top/../../out_m400.fits": b""}),
    zipped({"../out_m400.fits": b""}),
    zipped({"/out_m400.fits": b""}),
    zipped({"c:/out_m400.fits": b""}),
    tar(FILES, link("top/way", "../../..")),
    tar(FILES, link("top/way", "/etc")),
    tar(FILES, link("top/way", "../secret", tarfile.LNKTYPE)),
]


@pytest.mark.parametrize("data", OUTSIDE, ids=range(len(OUTSIDE)))
def test_members_that_escape_are_refused(server, tmp_path, data):
    asset = "s.zip" if data[:2] == b"PK" else "s.tar.gz"
    with pytest.raises(DownloadFailed, match="would leave the folder"):
        download_sample(tmp_path / "in" / "d", source=server.source(data, asset=asset))
    assert left(tmp_path) == ["in"]


def test_links_inside_are_not_made_and_not_followed(server, tmp_path):
    data = tar({"top/way/x.txt": b"x"} | FILES, link("top/way", "images"), link("top/l", "way"))
    found = download_sample(tmp_path / "d", source=server.source(data))
    assert not any(p.is_symlink() for p in found.folder.rglob("*"))
    assert (found.folder / "way" / "x.txt").read_bytes() == b"x"


@pytest.mark.parametrize(
    ("data", "changes", "message"),
    [
        (tar(FILES), {"sha256": "0" * 64}, "not 0000"),
        (tar(FILES | {"top/images/other_m400.fits": b""}), {}, "both of band m400"),
        (tar({"top/images/readme": b""}), {}, "no FITS image"),
        (b"no archive at all", {}, "cannot be unpacked"),
        (tar(FILES)[:-40], {}, "cannot be unpacked"),
        (tar(FILES), {"asset": "s.rar"}, "no archive"),
    ],
    ids=range(6),  # archives hold the time: their bytes name no test
)
def test_what_is_not_sample_data_leaves_nothing(server, tmp_path, data, changes, message):
    with pytest.raises(DownloadFailed, match=message) as caught:
        download_sample(tmp_path / "d", source=server.source(data, **changes))
    assert isinstance(caught.value, RuntimeError)  # what callers of the original catch
    assert left(tmp_path) == []


def test_an_empty_checksum_is_not_checked(server, tmp_path):
    found = download_sample(tmp_path / "d", source=server.source(tar(FILES), sha256=""))
    assert (found.folder / "image_list.txt").is_file()


def test_a_truncated_download_is_noticed(server, tmp_path):
    source = server.source(tar(FILES), sha256="")
    server.cut = 30
    with pytest.raises(DownloadFailed, match=r"bytes came|connection broke"):
        download_sample(tmp_path / "d", source=source)
    assert left(tmp_path) == []


def test_an_absent_asset_and_an_absent_server(server, tmp_path):
    source = server.source(tar(FILES))
    server.files.clear()
    with pytest.raises(DownloadFailed, match="404"):
        download_sample(tmp_path / "d", source=source)
    nobody = SampleSource(host="http://127.0.0.1:1")  # no program listens there
    with pytest.raises(DownloadFailed, match="cannot be fetched"):
        download_sample(tmp_path / "d", source=nobody)


def test_an_existing_folder_is_replaced_only_with_force_and_at_the_end(server, tmp_path):
    source = server.source(tar(FILES))
    target = download_sample(tmp_path / "d", source=source).folder
    (target / "old").write_text("old")
    with pytest.raises(FolderExists, match="--force") as caught:
        download_sample(target, source=source)
    assert isinstance(caught.value, RuntimeError)
    assert len(server.asked) == 1  # refused before anything was fetched
    wrong = server.source(b"damaged", asset="other.tar.gz")
    with pytest.raises(DownloadFailed):
        download_sample(target, source=wrong, force=True)
    assert (target / "old").exists()
    download_sample(target, source=source, force=True)
    assert not (target / "old").exists()


def test_force_does_not_delete_what_is_no_sample(server, tmp_path):
    (tmp_path / "thesis").mkdir()
    (tmp_path / "thesis" / "chapter.tex").write_text("x")
    with pytest.raises(FolderExists, match="something else"):
        download_sample(tmp_path / "thesis", source=server.source(tar(FILES)), force=True)
    assert server.asked == []


def test_the_environment_names_the_source():
    default = SampleSource.from_environment({})
    assert default.url == (
        "https://github.com/seoldh99/tract7dt_sample_data/releases/download/v1.0.0/"
        "tract7dt_sample_data.tar.gz"
    )
    assert default.sha256.startswith("91c90611")
    assert default.folder == "tract7dt_sample_data"
    names = {"REPO": "a/b", "TAG": "v 2", "ASSET": "x.zip", "SHA256": ""}
    other = SampleSource.from_environment({f"TRACT7DT_SAMPLE_{k}": v for k, v in names.items()})
    assert other.url == "https://github.com/a/b/releases/download/v%202/x.zip"
    assert other.sha256 == ""


def test_the_command(server, tmp_path, monkeypatch, capsys):
    data = tar(FILES)
    monkeypatch.setattr(sample, "HOST", server.host)
    source = server.source(data)
    for name in ("repo", "tag", "asset", "sha256"):
        monkeypatch.setenv(f"TRACT7DT_SAMPLE_{name.upper()}", getattr(source, name))
    command = ["tile", "download-sample", "--dir", str(tmp_path / "d")]
    assert main(command) == 0
    assert "2 images" in capsys.readouterr().out
    assert main(command) == 2
    assert main([*command, "--force"]) == 0
    server.files.clear()
    assert main([*command, "--force"]) == 1
    assert "404" in capsys.readouterr().err
