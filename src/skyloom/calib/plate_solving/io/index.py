"""Index files of astrometry.net: what they cover, and the stars in them.

An index is a FITS file of binary tables.  Its primary header gives the sizes of its quads; its
stars are unit vectors in a kd-tree, whose ``kdtree_data_stars`` holds them as unsigned integers
scaled to the range in ``kdtree_range_stars``, or as doubles; magnitudes stand in a further table.
"""

from __future__ import annotations

import functools
import glob
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from astropy.io import fits

from skyloom._types import Floats
from skyloom.calib.plate_solving.stars import ReferenceStars
from skyloom.errors import MissingFile, UnreadableFile
from skyloom.images import opened_fits

__all__ = ["IndexFile", "find_indexes", "index_directories", "read_index", "stars_in_cone"]

_CONFIG: Final = Path("/etc/astrometry.cfg")
_PLACES: Final = (Path("/usr/share/astrometry"), Path("/usr/local/astrometry/data"))
_MAGNITUDES: Final = ("MAG_VT", "MAG", "mag", "phot_g_mean_mag", "j_mag", "r_mag")
_KEPT: Final = 4  # indexes whose stars stay in memory; the largest of Tycho-2 takes 60 MB


@dataclass(frozen=True, slots=True, kw_only=True)
class IndexFile:
    """One index file."""

    path: Path
    index_id: int
    quad_low: float  # deg, smallest quad
    quad_high: float  # deg, largest quad
    n_stars: int
    is_all_sky: bool

    def suits(self, low: float, high: float) -> bool:
        """Whether any quad is between two sizes [deg]."""
        return self.quad_low <= high and self.quad_high >= low


def index_directories(directory: Path | str | None = None) -> list[Path]:
    """Return where index files are looked for.

    Parameters
    ----------
    directory : path, optional
        Only there.

    Returns
    -------
    list of Path
        Else the folders in ``SKYLOOM_INDEX_PATH`` if that is set, else those that
        ``/etc/astrometry.cfg`` names and the usual places of the distributions.
    """
    if directory is not None:
        folders = [Path(directory).expanduser()]
        if not folders[0].is_dir():
            raise MissingFile(
                f"{folders[0]}: no such folder of index files; correct --index-dir",
                file=str(folders[0]),
            )
        return folders
    named = os.environ.get("SKYLOOM_INDEX_PATH")
    if named:
        return [Path(p).expanduser() for p in named.split(os.pathsep) if p]
    folders = []
    if _CONFIG.is_file():
        for line in _CONFIG.read_text(encoding="utf-8", errors="replace").splitlines():
            words = line.split("#")[0].split(None, 1)
            if len(words) == 2 and words[0] == "add_path":
                folders.append(Path(words[1].strip()))
    folders += [place for place in _PLACES if place not in folders]
    return [folder for folder in folders if folder.is_dir()]


def find_indexes(
    patterns: Iterable[object] = (), directory: Path | str | None = None
) -> tuple[IndexFile, ...]:
    """Find index files.

    Parameters
    ----------
    patterns : iterable
        Globs relative to the index path, or absolute, each tried also with ``.fits`` appended;
        nested lists are flattened. Empty: all index files in the path.
    directory : path, optional
        See `index_directories`.

    Raises
    ------
    MissingFile
        If there is none.
    """
    folders = index_directories(directory)
    wanted = list(_flat(patterns))
    found: dict[Path, None] = {}
    for pattern in wanted or ["*.fits"]:
        for candidate in (pattern, pattern + ".fits"):
            bases = [Path()] if Path(candidate).is_absolute() else folders
            for base in bases:
                for name in sorted(glob.glob(str(base / candidate))):  # noqa: PTH207 - absolute ones
                    found[Path(name).resolve()] = None
    indexes = [read_index(path) for path in found] if wanted else list(_those_that_are(found))
    if not indexes:
        places = ", ".join(str(folder) for folder in folders) or "no folder"
        what = f"no index file matches {', '.join(wanted)}" if wanted else "no index file"
        raise MissingFile(
            f"{what} in {places}; install some (Debian: astrometry-data-tycho2) or name their "
            "folder with --index-dir or SKYLOOM_INDEX_PATH",
            file=places,
        )
    return tuple(sorted(indexes, key=lambda i: (i.quad_low, str(i.path))))


def _flat(patterns: Iterable[object]) -> Iterable[str]:
    for pattern in patterns:
        if isinstance(pattern, (str, os.PathLike)):
            yield os.fspath(pattern)
        elif isinstance(pattern, Iterable):
            yield from _flat(pattern)


def _those_that_are(paths: Iterable[Path]) -> Iterable[IndexFile]:
    for path in paths:
        try:
            yield read_index(path)
        except UnreadableFile:
            continue  # another FITS file in the folder


def read_index(path: Path | str) -> IndexFile:
    """Read what an index file covers.

    Raises
    ------
    MissingFile, UnreadableFile
        If it is absent or not an index of astrometry.net.
    """
    path = Path(path)
    if not path.is_file():
        raise MissingFile(f"{path}: no such index file; correct the path", file=str(path))
    try:
        header = fits.getheader(path, 0)
        return IndexFile(
            path=path,
            index_id=int(header["INDEXID"]),
            quad_low=float(np.degrees(header["SCALE_L"])),
            quad_high=float(np.degrees(header["SCALE_U"])),
            n_stars=int(header["NSTARS"]),
            is_all_sky=bool(header.get("ALLSKY", header.get("HEALPIX", -1) == -1)),
        )
    except (OSError, KeyError, ValueError, TypeError) as error:
        raise UnreadableFile(
            f"{path}: not an index file of astrometry.net ({' '.join(str(error).split())}); "
            "correct the pattern or fetch the file again",
            file=str(path),
        ) from error


def stars_in_cone(index: IndexFile, *, ra: float, dec: float, radius: float) -> ReferenceStars:
    """Return the stars of an index within a radius [deg] of a place [deg], brightest first."""
    changed = index.path.stat().st_mtime_ns
    vectors, mag = _all_stars(index.path, changed)
    lon, lat = np.radians(ra), np.radians(dec)
    centre = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    rows = np.flatnonzero(vectors @ centre >= np.cos(np.radians(min(radius, 180.0))))
    x, y, z = vectors[rows].T
    found = ReferenceStars(
        ra=np.mod(np.degrees(np.arctan2(y, x)), 360.0),
        dec=np.degrees(np.arctan2(z, np.hypot(x, y))),
        mag=mag[rows],
        source=index.path.name,
        epoch=2000.0,
    )
    return found[np.argsort(found.mag, kind="stable")]


@functools.lru_cache(maxsize=_KEPT)
def _all_stars(path: Path, _changed: int) -> tuple[Floats, Floats]:
    """Return unit vectors (n, 3) and magnitudes (NaN where unknown) of an index."""
    with opened_fits(path) as hdus:
        order = ">" if str(hdus[0].header.get("ENDIAN", "")).startswith("01") else "<"
        tables = {hdu.header.get("TTYPE1"): hdu for hdu in hdus if hdu.header.get("TTYPE1")}
        try:
            raw = _bytes(tables["kdtree_data_stars"])
            limits = np.frombuffer(_bytes(tables["kdtree_range_stars"]), f"{order}f8")
            n = int(hdus[0].header["NSTARS"])
            kind = {12: "u4", 6: "u2", 24: "f8"}[len(raw) // n]
        except (KeyError, ZeroDivisionError) as error:
            raise UnreadableFile(
                f"{path}: the stars of this index cannot be read ({error}); fetch it again",
                file=str(path),
            ) from error
        vectors = np.frombuffer(raw, order + kind).reshape(n, 3).astype(np.float64)
        if kind != "f8":
            vectors = limits[:3] + vectors / limits[6]
        return vectors, _magnitudes(hdus, n)


def _bytes(hdu: Any) -> bytes:
    return bytes(np.ascontiguousarray(hdu.data).tobytes())


def _magnitudes(hdus: Sequence[Any], n: int) -> npt.NDArray[np.float64]:
    for hdu in hdus:
        if str(hdu.header.get("AN_FILE", "")).strip() != "TAGALONG" or hdu.data is None:
            continue
        for name in _MAGNITUDES:
            if name in hdu.columns.names and len(hdu.data) == n:
                return np.asarray(hdu.data[name], dtype=np.float64)
    return np.full(n, np.nan)
