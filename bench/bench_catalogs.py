"""Speed of source catalogues beside astropy's tables, on one made file.

Run it on an idle machine::

    python bench/bench_catalogs.py [--rows 100000] [--columns 100] [--repeat 5] [--out FILE.json]

Counted: wall time, shortest of some, file in the page cache.  The file has float columns and 100
flags in bits.  ``astropy`` is `Table.read` of the same file with its columns touched once, so that
both have all values in memory in native byte order.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from astropy.table import Table

from skyloom.catalogs import Field, Schema, SourceCatalog, read_length, read_schema

FLAGS = 100


def best_time(action: Callable[[], object], repeat: int) -> float:
    """Return the shortest of some wall times [s]."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def made_catalog(rows: int, columns: int) -> SourceCatalog:
    rng = np.random.default_rng(1)
    fields = [Field("id", "L", "unique ID"), Field("base_PsfFlux_instFlux", "D", "flux", "count")]
    fields += [Field(f"value_{i}", "DF"[i % 2], "a number", "pixel") for i in range(columns - 2)]
    fields += [Field(f"flag_{i}", "Flag", "a bit") for i in range(FLAGS)]
    values = {"id": np.arange(rows)}
    for field in fields[1:]:
        if field.type == "Flag":
            values[field.name] = rng.random(rows) < 0.1
        else:
            values[field.name] = rng.normal(size=rows)
    return SourceCatalog(Schema(fields), values)


def astropy_read(path: Path) -> list[np.ndarray]:
    table = Table.read(path, hdu=1)
    return [np.ascontiguousarray(c, dtype=c.dtype.newbyteorder("=")) for c in table.itercols()]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=100_000)
    parser.add_argument("--columns", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=5)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    catalog = made_catalog(options.rows, options.columns)
    with tempfile.TemporaryDirectory() as folder:
        path, parquet = Path(folder) / "cat.fits", Path(folder) / "cat.parquet"
        repeat = options.repeat
        found = {
            "write_s": best_time(lambda: catalog.write(path, overwrite=True), repeat),
            "parquet_write_s": best_time(lambda: catalog.write(parquet, overwrite=True), 1),
            "file_MB": path.stat().st_size / 1e6,
            "read_s": best_time(lambda: SourceCatalog.read(path), repeat),
            "astropy_read_s": best_time(lambda: astropy_read(path), repeat),
            "astropy_open_s": best_time(lambda: Table.read(path, hdu=1), repeat),
            "parquet_read_s": best_time(lambda: SourceCatalog.read(parquet), repeat),
            "read_schema_s": best_time(lambda: read_schema(path), repeat),
            "read_length_s": best_time(lambda: read_length(path), repeat),
        }
    n = options.rows
    loop = best_time(lambda: sum(src.get("flux.psf") for src in catalog), 1)
    found["record_get_us"] = loop / n * 1e6
    found["get_us"] = best_time(lambda: [catalog.get("flux.psf") for _ in range(1000)], 3) * 1e3
    table = catalog[:10_000].to_table()
    rows = best_time(lambda: sum(row["base_PsfFlux_instFlux"] for row in table), 1)
    found["astropy_row_get_us"] = rows / len(table) * 1e6
    for name, value in found.items():
        print(f"{name:<20} {value:10.4f}")
    print(f"read / astropy: {found['read_s'] / found['astropy_read_s']:.2f}")
    if options.out is not None:
        options.out.write_text(json.dumps(found, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
