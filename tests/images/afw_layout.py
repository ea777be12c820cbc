"""Archives laid out with astropy as the sources of afw say, independently of our own writer.

Objects whose rows have the same columns share a table there, and each has a range of its rows.
"""

from __future__ import annotations

import numpy as np
from astropy.io import fits

CARDS = {"name": "TTYPE", "form": "TFORM", "unit": "TUNIT", "kind": "TCCLS"}


def field(name, form, values, kind="Scalar", unit=""):
    """Return a column of afw: name, FITS format, values of its rows, class of the field."""
    return {"name": name, "form": form, "values": list(values), "kind": kind, "unit": unit}


def point(name, form, pairs, unit="pixel"):
    """Return a point as two columns, as tables have it since 2014."""
    x, y = zip(*pairs, strict=True)
    return [
        field(f"{name}_x", form, x, unit=unit),
        field(f"{name}_y", form, y, unit=unit),
    ]


def box(name, first, last):
    return [*point(f"{name}_min", "1J", [first]), *point(f"{name}_max", "1J", [last])]


def table(fields, flags=(), **cards):
    """Return a binary table of afw; flags are (name, values) and come first, as bits."""
    columns = []
    if flags:
        bits = np.array([values for _, values in flags], bool).T
        columns.append(fits.Column(name="flags", format=f"{len(flags)}X", array=bits))
    for spec in fields:
        values = spec["values"]
        if spec["form"].startswith("1Q") or spec["form"].startswith("1P"):
            values = np.array([np.asarray(v, np.uint8) for v in values] + [None], object)[:-1]
        columns.append(fits.Column(name=spec["name"], format=spec["form"], array=values))
    hdu = fits.BinTableHDU.from_columns(columns)
    first = 1 + bool(flags)
    for number, spec in enumerate(fields, start=first):
        hdu.header[f"TDOC{number}"] = f"what {spec['name']} is"
        hdu.header[f"TCCLS{number}"] = spec["kind"]
        if spec["unit"]:
            hdu.header[f"TUNIT{number}"] = spec["unit"]
    if flags:
        hdu.header["FLAGCOL"] = 1
        for bit, (name, _) in enumerate(flags, start=1):
            hdu.header[f"TFLAG{bit}"] = name
            hdu.header[f"TFDOC{bit}"] = f"whether {name}"
    for key, value in cards.items():
        hdu.header[key if len(key) <= 8 else f"HIERARCH {key}"] = value
    return hdu


def archive(objects, tables):
    """Return the HDUs of an archive.

    Parameters
    ----------
    objects : list of (id, class, module, runs)
        Runs are (number of the table from 1, first row, number of rows), in their order.
    tables : list of (class, fields, flags)
    """
    rows = [
        (id_, number, part, row0, n, name, module)
        for id_, name, module, runs in objects
        for part, (number, row0, n) in enumerate(runs)
    ]
    names = ("id", "cat.archive", "cat.persistable", "row0", "nrows", "name", "module")
    forms = ("1J",) * 5 + ("64A", "64A")
    columns = [
        field(name, form, values, "String" if form == "64A" else "Scalar")
        for name, form, values in zip(names, forms, zip(*rows, strict=True), strict=True)
    ]
    index = table(
        columns, EXTTYPE="ARCHIVE_INDEX", AR_CATN=0, AR_NCAT=1 + len(tables), AFW_TABLE_VERSION=3
    )
    data = [
        table(fields, flags, EXTTYPE="ARCHIVE_DATA", AR_CATN=n, AR_NAME=name, AFW_TABLE_VERSION=3)
        for n, (name, fields, flags) in enumerate(tables, start=1)
    ]
    return [index, *data]


def write_exposure(path, ids, objects, tables, shape=(40, 50)):
    """Write an exposure of zeros with an archive; ids: keyword -> id of the object."""
    primary = fits.PrimaryHDU()
    primary.header["HIERARCH EXPINFO_V"] = 2
    primary.header["AR_HDU"] = 5
    for name, id_ in ids.items():
        primary.header[f"HIERARCH {name}_ID"] = id_
        primary.header[f"HIERARCH ARCHIVE_ID_{name}"] = id_
    planes = [
        fits.ImageHDU(np.zeros(shape, np.float32)),
        fits.ImageHDU(np.zeros(shape, np.int32)),
        fits.ImageHDU(np.ones(shape, np.float32)),
    ]
    for plane, kind in zip(planes, ("IMAGE", "MASK", "VARIANCE"), strict=True):
        plane.header["EXTTYPE"] = kind
    planes[1].header["MP_BAD"] = 0
    fits.HDUList([primary, *planes, *archive(objects, tables)]).writeto(path)
    return path
