"""The example of the migration page runs."""

from __future__ import annotations

import re
from pathlib import Path

from skyloom.compat import hsc

PAGE = Path(__file__).parents[2] / "docs" / "hsc_migration.md"


def test_the_migration_page(capsys):
    (block,) = re.findall(r"^```python\n(.*?)^```", PAGE.read_text(), flags=re.M | re.S)
    try:
        exec(block, {})  # our own page
    finally:
        hsc.uninstall()
    assert capsys.readouterr().out == "Point2I(10, 20) 3.0\n"


def test_the_page_names_every_module():
    text = PAGE.read_text()
    for module in hsc.MODULES:
        short = f"`.{module.removeprefix('lsst.afw.')}`"
        is_named = module.removesuffix(".mosaicLib") in text or short in text
        assert is_named, module
