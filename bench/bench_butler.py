"""How fast the butler is with many small datasets, and with two writers.

Run it on an idle machine::

    python bench/bench_butler.py [--datasets 1000] [--out FILE.json]

Each dataset is a JSON file of 30 bytes in a layout of the HSC kind: pointing and filter are looked
up, or given.  Times include opening and closing files; the page cache is warm; nothing waits for
the disk (no fsync per file).  Queries list 1000 datasets from the registry.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from skyloom.butler import Butler, Layout

LAYOUT = Layout.from_mapping(
    {
        "registry": True,
        "tables": {
            "raw": {"keys": ["visit", "ccd", "filter", "pointing"], "identity": ["visit", "ccd"]}
        },
        "datasets": {
            "raw": {
                "format": "json",
                "template": "raw/%(pointing)05d/%(filter)s/%(visit)07d-%(ccd)03d.json",
                "fills": ["raw"],
            },
            "notes": {
                "format": "json",
                "template": "%(pointing)05d/%(filter)s/notes/%(visit)07d-%(ccd)03d.json",
                "tables": ["raw"],
            },
        },
    },
    name="bench",
)
REQUIRED = {"gets/s": 3000, "puts/s": 500, "query [ms]": 5, "open [ms]": 50}


def data_id(n: int) -> dict[str, int | str]:
    """Return the data ID of dataset ``n``: 100 CCDs a visit."""
    return {"visit": n // 100, "ccd": n % 100, "filter": "HSC-I", "pointing": 705}


def best(action: Callable[[], object], repeat: int = 5) -> float:
    """Return the shortest of some wall times [s]."""
    times = []
    for _ in range(repeat):
        start = time.perf_counter()
        action()
        times.append(time.perf_counter() - start)
    return min(times)


def measure(root: Path, n: int) -> dict[str, float]:
    """Return the rates of one process."""
    butler = Butler(root, LAYOUT, writeable=True)
    ids = [data_id(i) for i in range(n)]
    start = time.perf_counter()
    for one in ids:
        butler.put({"seeing": 0.65, "n": 1}, "notes", one)
    puts = time.perf_counter() - start
    for one in ids:
        butler.put({}, "raw", one)
    short = [{"visit": one["visit"], "ccd": one["ccd"]} for one in ids]
    gets = best(lambda: [butler.get("notes", one) for one in ids], 3)
    short_gets = best(lambda: [butler.get("notes", one) for one in short], 3)
    query = best(lambda: butler.query("notes"))
    values = best(lambda: butler.query("notes", ["visit", "ccd"]))
    one_visit = best(lambda: butler.query("notes", visit=3))
    exists = best(lambda: butler.exists("notes", ids[0]), 100)
    butler.close()

    def opened() -> None:
        with Butler(root, LAYOUT) as other:
            other.query("notes", visit=0, ccd=0)

    def detected() -> None:
        with Butler(root.parent / "hsc") as other:
            other.query("calexp", visit=0)

    Butler(root.parent / "hsc", "hsc", writeable=True).put("log", "log", pointing=1, filter="y")
    reopened = best(opened)
    shipped = best(detected)
    with Butler(root, LAYOUT, writeable=True) as again:
        ingest = best(lambda: again.ingest([again.path("notes", one) for one in ids]), 2)
        rebuild = best(again.rebuild, 2)
    return {
        "puts/s": n / puts,
        "gets/s": n / gets,
        "gets/s, keys looked up": n / short_gets,
        "query [ms]": 1e3 * query,
        "query two keys [ms]": 1e3 * values,
        "query one visit [ms]": 1e3 * one_visit,
        "exists [ms]": 1e3 * exists,
        "open [ms]": 1e3 * reopened,
        "open, layout from the registry [ms]": 1e3 * shipped,
        "ingest [ms each]": 1e3 * ingest / n,
        "rebuild [ms each]": 1e3 * rebuild / (2 * n),
    }


WRITER = """
import sys, time
sys.path.insert(0, {folder!r})
from bench_butler import LAYOUT, data_id
from skyloom.butler import Butler
first = int(sys.argv[1])
with Butler({root!r}, LAYOUT, writeable=True) as butler:
    start = time.perf_counter()
    for n in range(first, first + 200):
        butler.put({{"n": n}}, "notes", data_id(n))
    print(time.perf_counter() - start)
"""


def two_writers(root: Path) -> dict[str, float]:
    """Let two processes write 200 datasets each."""
    code = WRITER.format(folder=str(Path(__file__).parent), root=str(root))
    writers = [
        subprocess.Popen([sys.executable, "-c", code, str(n)], stdout=subprocess.PIPE, text=True)
        for n in (0, 10_000)
    ]
    times = [float(writer.communicate()[0]) for writer in writers]
    with Butler(root, LAYOUT) as butler:
        lost = 400 - len(butler.query("notes")) + len(butler.verify(checksum=True))
    return {"two writers, 200 each [s]": max(times), "two writers, lost": lost}


def main() -> None:
    """Print the numbers and what is required."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--datasets", type=int, default=1000)
    parser.add_argument("--out", type=Path, default=None)
    args = parser.parse_args()
    start = time.perf_counter()
    Layout.load("hsc")
    layout = time.perf_counter() - start
    with tempfile.TemporaryDirectory() as folder:
        numbers = measure(Path(folder) / "one", args.datasets)
        numbers |= two_writers(Path(folder) / "two")
    numbers["read the hsc layout [ms]"] = 1e3 * layout
    for name, value in numbers.items():
        limit = f"   (required: {REQUIRED[name]})" if name in REQUIRED else ""
        print(f"{name:36} {value:10.3f}{limit}")
    if args.out is not None:
        args.out.write_text(json.dumps(numbers, indent=2) + "\n")


if __name__ == "__main__":
    main()
