"""Real headers: what is not changed comes back byte for byte."""

from __future__ import annotations

import shutil

import pytest

from skyloom.process import (
    check_fits,
    get_primary_header,
    replace_primary_header_in_place,
    restore_header,
    serialize_header,
)
from skyloom.process.rewrite import back_up_header

LARGEST = 300_000  # bytes


def test_real_files_grow_and_come_back(shared_data, tmp_path):
    files = [p for p in sorted(shared_data.rglob("*.fits")) if p.stat().st_size < LARGEST]
    if not files:
        pytest.skip("no small FITS files among the test data")
    for source in files[::3]:
        path = tmp_path / source.name
        shutil.copyfile(source, path)
        before = path.read_bytes()
        header = get_primary_header(path)
        assert before.startswith(serialize_header(header)), source
        back_up_header(path)
        for n in range(80):
            header[f"ADDED{n}"] = n
        replace_primary_header_in_place(path, header)
        assert [f for f in check_fits(path) if f.severity == "error"] == [], source
        restore_header(path)
        assert path.read_bytes() == before, source
