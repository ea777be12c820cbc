"""The sample data of the original pipeline: fetched, checked, unpacked, named.

A release asset is described by four environment variables; see `SampleSource.from_environment`.
What comes through the network is checked before it is unpacked, unpacked beside its place, and
moved there in one step: an interrupted download leaves nothing that looks finished.
"""

from __future__ import annotations

import hashlib
import http.client
import logging
import os
import re
import shutil
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

from skyloom.errors import DownloadFailed, FolderExists, Unwritable

from .archives import ARCHIVE_SUFFIXES, unpack_archive

__all__ = ["SampleData", "SampleSource", "download_sample"]

log = logging.getLogger(__name__)

Tell: TypeAlias = Callable[[int, int | None], None]
"""Called with the bytes so far and the bytes announced, None where nothing was."""

HOST: Final = "https://github.com"
_REPO: Final = "seoldh99/tract7dt_sample_data"
_TAG: Final = "v1.0.0"
_ASSET: Final = "tract7dt_sample_data.tar.gz"
_SHA256: Final = "91c906114458cc3372241cedcca61d9786aaf1391a40c136a717a02e5349ac94"
_CHUNK: Final = 1 << 18  # bytes
_TIMEOUT: Final = 60.0  # s without an answer
_FITS: Final = (".fits", ".fit", ".fits.fz")
_BAND: Final = re.compile(r"m(\d{3})", re.IGNORECASE)
_NAME: Final = "7DT_UDS_m{}.fits"
_LIST: Final = "image_list.txt"


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleSource:
    """Where the sample data are: an asset of a release."""

    repo: str = _REPO
    tag: str = _TAG
    asset: str = _ASSET
    sha256: str = _SHA256  # empty: not checked
    host: str = HOST

    @property
    def url(self) -> str:
        """Address of the asset."""
        parts = (urllib.parse.quote(part) for part in (self.repo, self.tag, self.asset))
        return "{}/{}/releases/download/{}/{}".format(self.host, *parts)

    @property
    def folder(self) -> str:
        """Name of the asset without what tells its format."""
        return _without_suffix(self.asset, ARCHIVE_SUFFIXES)

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] | None = None) -> SampleSource:
        """Read ``TRACT7DT_SAMPLE_REPO``, ``_TAG``, ``_ASSET`` and ``_SHA256``.

        An empty checksum switches the check off; the built-in one belongs to the default asset.
        """
        values = os.environ if environment is None else environment
        return cls(
            repo=values.get("TRACT7DT_SAMPLE_REPO", _REPO).strip("/"),
            tag=values.get("TRACT7DT_SAMPLE_TAG", _TAG),
            asset=values.get("TRACT7DT_SAMPLE_ASSET", _ASSET),
            sha256=values.get("TRACT7DT_SAMPLE_SHA256", _SHA256).strip().lower(),
            host=HOST,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleData:
    """The sample data, ready for a run."""

    folder: Path
    images: tuple[Path, ...]  # one per band, by wavelength
    image_list: Path


def download_sample(
    directory: Path | None = None,
    *,
    force: bool = False,
    source: SampleSource | None = None,
    tell: Tell | None = None,
) -> SampleData:
    """Fetch the sample data and write the list of their images.

    Parameters
    ----------
    directory : Path, optional
        Folder to make; default: the top folder of the archive, in the current directory.
    force : bool
        Replace an existing folder; only one that holds sample data, and only once its
        replacement is complete.
    source : SampleSource, optional
        Default: what the environment says.
    tell : callable, optional
        Progress, ``tell(bytes, bytes announced or None)``.

    Raises
    ------
    FolderExists
        If the folder exists, and without ``force`` or holding something else than sample data;
        before anything is fetched.
    DownloadFailed
        If the file cannot be fetched, is truncated, has another checksum, is no archive, has
        members outside its folder, or has no images or two of one band.
    Unwritable
        If there is no place for it.
    """
    source = source or SampleSource.from_environment()
    target = (directory or Path.cwd() / source.folder).expanduser().absolute()
    _refuse_existing(target, force=force)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}.", dir=target.parent) as name:
            return _fetched(source, target, Path(name), directory is None, force=force, tell=tell)
    except OSError as error:
        if isinstance(error, FolderExists):
            raise
        raise Unwritable(
            f"{target}: cannot be written ({error.strerror or error}); choose another --dir",
            path=target,
        ) from error


def _fetched(
    source: SampleSource,
    target: Path,
    space: Path,
    is_named_by_archive: bool,
    *,
    force: bool,
    tell: Tell | None,
) -> SampleData:
    """Do all work in ``space`` and move the result to the target."""
    archive = space / source.asset
    _fetch(source, archive, tell or (lambda _done, _all: None))
    unpacked = space / "unpacked"
    unpack_archive(archive, unpacked)
    archive.unlink()
    tops = [p for p in unpacked.iterdir() if not p.name.startswith((".", "__MACOSX"))]
    root = unpacked
    if len(tops) == 1 and tops[0].is_dir():
        root = tops[0]
        if is_named_by_archive and root.name != target.name:
            target = target.with_name(root.name)
            _refuse_existing(target, force=force)
    names = _named_images(root, archive=source.asset)
    final = [target / "images" / name for name in names]
    (root / _LIST).write_text("".join(f"{path}\n" for path in final), encoding="utf-8")
    if target.exists():
        shutil.rmtree(target)
    root.replace(target)
    log.info("sample data with %d images in %s", len(final), target)
    return SampleData(folder=target, images=tuple(final), image_list=target / _LIST)


def _refuse_existing(target: Path, *, force: bool) -> None:
    if not target.exists() and not target.is_symlink():
        return
    if not force:
        raise FolderExists(
            f"{target}: exists already; add --force to replace it, or choose another --dir",
            path=target,
        )
    is_empty = target.is_dir() and not any(target.iterdir())
    is_sample = any((target / "images").glob(_NAME.format("*")))
    if target.is_symlink() or not (is_empty or is_sample):
        raise FolderExists(
            f"{target}: holds something else than sample data and is not replaced; choose another "
            "--dir",
            path=target,
        )


def _fetch(source: SampleSource, path: Path, tell: Tell) -> None:
    """Write the asset to a path, through a ``.part`` file, and compare its checksum."""
    part = path.with_name(path.name + ".part")
    digest = hashlib.sha256()
    done = 0
    with _opened(source.url) as answer, part.open("wb") as stream:
        length = answer.headers.get("Content-Length")
        announced = int(length) if length and length.isdigit() else None
        tell(0, announced)
        while chunk := _read(answer, source.url):
            stream.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            tell(done, announced)
    if announced is not None and done != announced:
        raise DownloadFailed(
            f"{source.url}: {done} of {announced} bytes came; try again",
            url=source.url,
            found=done,
            needed=announced,
        )
    found = digest.hexdigest()
    if source.sha256 and found != source.sha256:
        raise DownloadFailed(
            f"{source.url}: its SHA-256 is {found}, not {source.sha256}; try again, or correct "
            "TRACT7DT_SAMPLE_SHA256 (empty: no check) if the asset is another one",
            url=source.url,
            found=found,
            needed=source.sha256,
        )
    part.replace(path)


def _opened(url: str) -> http.client.HTTPResponse:
    request = urllib.request.Request(url, headers={"User-Agent": "skyloom"})
    try:
        answer = urllib.request.urlopen(request, timeout=_TIMEOUT)
    except (OSError, http.client.HTTPException) as error:  # HTTP errors among them
        code, reason = getattr(error, "code", ""), getattr(error, "reason", error)
        raise DownloadFailed(
            f"{url}: cannot be fetched ({code} {reason}".replace("( ", "(") + "); check the "
            "network and TRACT7DT_SAMPLE_REPO, _TAG, _ASSET",
            url=url,
        ) from error
    assert isinstance(answer, http.client.HTTPResponse)
    return answer


def _read(answer: http.client.HTTPResponse, url: str) -> bytes:
    try:
        return answer.read(_CHUNK)
    except (OSError, http.client.HTTPException) as error:
        raise DownloadFailed(
            f"{url}: the connection broke ({error}); try again", url=url
        ) from error


def _named_images(root: Path, *, archive: str) -> list[str]:
    """Rename the images of an unpacked archive after their bands; return their names."""
    images = root / "images"
    bands: dict[str, Path] = {}
    for path in sorted((images if images.is_dir() else root).rglob("*")):
        is_image = path.is_file() and path.name.lower().endswith(_FITS)
        match = _BAND.search(path.name)
        if not is_image or path.name.startswith("._"):
            continue
        if match is None:
            log.warning("%s: %s names no band m### and is left out", archive, path.name)
            continue
        band = match.group(1)
        if band in bands:
            raise DownloadFailed(
                f"{archive}: {bands[band].name} and {path.name} are both of band m{band}; one "
                "image per band is expected: use another TRACT7DT_SAMPLE_ASSET",
                band=f"m{band}",
            )
        bands[band] = path
    if not bands:
        raise DownloadFailed(
            f"{archive}: no FITS image with a band m### in its name; use another "
            "TRACT7DT_SAMPLE_ASSET"
        )
    images.mkdir(exist_ok=True)
    names = []
    for band, path in sorted(bands.items()):
        path.replace(images / _NAME.format(band))
        names.append(_NAME.format(band))
    return names


def _without_suffix(name: str, suffixes: tuple[str, ...]) -> str:
    for suffix in suffixes:
        if name.lower().endswith(suffix):
            return name[: -len(suffix)]
    return name
