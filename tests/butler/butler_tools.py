"""A small survey for tests of the butler: three visits of two CCDs, in small files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from astropy.io import fits

from skyloom.butler import Butler, Layout

SURVEY: dict[str, Any] = {
    "registry": True,
    "dimensions": {
        "visit": {"kind": "int"},
        "ccd": {"kind": "int"},
        "filter": None,
        "pointing": {"kind": "int"},
        "taiObs": {"kind": "text", "pattern": r"\d{4}-\d{2}-\d{2}.*", "header": ["DATE-OBS"]},
        "calibDate": {"pattern": r"\d{4}-\d{2}-\d{2}"},
        "validStart": {"kind": "text"},
        "validEnd": {"kind": "text"},
        "tract": {"kind": "int"},
    },
    "tables": {
        "raw": {
            "keys": ["visit", "ccd", "filter", "pointing", "taiObs"],
            "identity": ["visit", "ccd"],
            "optional": ["taiObs"],
        },
        "raw_visit": {
            "keys": ["visit", "filter", "pointing", "taiObs"],
            "identity": ["visit"],
            "optional": ["taiObs"],
        },
        "bias": {
            "keys": ["ccd", "calibDate", "validStart", "validEnd"],
            "identity": ["ccd", "calibDate"],
        },
    },
    "levels": {"ccd": {"of": "visit", "table": "raw"}},
    "datasets": {
        "raw": {
            "format": "fits_image",
            "template": "raw/%(pointing)05d/%(filter)s/RAW-%(visit)07d-%(ccd)03d.fits",
            "level": "ccd",
            "tables": ["raw", "raw_visit"],
            "fills": ["raw", "raw_visit"],
        },
        "notes": {
            "format": "json",
            "template": "%(pointing)05d/%(filter)s/notes/%(visit)07d-%(ccd)03d.json",
            "level": "ccd",
            "tables": ["raw", "raw_visit"],
            "doc": "what was noted of a CCD",
        },
        "stars": {
            "format": "table",
            "template": "stars/%(visit)07d-%(ccd)03d.parquet",
            "tables": ["raw", "raw_visit"],
        },
        "fcr": {
            "format": "json",
            "template": "%(pointing)05d/%(filter)s/%(tract)04d/fcr-%(visit)07d-%(ccd)03d.json",
            "tables": ["raw", "raw_visit"],
        },
        "bias": {
            "format": "json",
            "template": "BIAS/%(calibDate)s/BIAS-%(calibDate)s-%(ccd)03d.json",
            "level": "ccd",
            "tables": ["raw", "raw_visit"],
            "validity": "bias",
            "fills": ["bias"],
        },
    },
}
LAYOUT = Layout.from_mapping(SURVEY, name="survey")
VISITS = {1: ("HSC-I", 705, "2014-03-31T01:00:00"), 2: ("HSC-I", 705, "2014-04-02T02:00:00")}
VISITS[3] = ("HSC-R", 706, "2014-06-01T03:00:00")
CCDS = (4, 56)


def write_raw(root: Path) -> list[Path]:
    """Write the raw files of all visits; nothing is ingested."""
    paths = []
    for visit, (filter_, pointing, time) in VISITS.items():
        for ccd in CCDS:
            path = root / f"raw/{pointing:05d}/{filter_}/RAW-{visit:07d}-{ccd:03d}.fits"
            path.parent.mkdir(parents=True, exist_ok=True)
            fits.PrimaryHDU(header=fits.Header({"DATE-OBS": time})).writeto(path)
            paths.append(path)
    return paths


def survey(root: Path) -> Butler:
    """Return a butler that may write, in a data root whose raw files are ingested."""
    butler = Butler(root, LAYOUT, writeable=True)
    butler.ingest(write_raw(root))
    return butler
