"""The reference of the output: generated, complete, readable."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from skyloom.flags import FitFlag
from skyloom.pipelines.tile.column_units import COLUMN_MEANINGS
from skyloom.pipelines.tile.output_page import column_names, output_reference

REPO = Path(__file__).parents[2]


def test_the_page_is_up_to_date() -> None:
    page = (REPO / "docs" / "output.md").read_text(encoding="utf-8")
    assert page == output_reference(), "docs/output.md is old: run 'make docs'"


def test_every_flag_and_every_product_of_the_original_is_on_the_page() -> None:
    page = output_reference()
    for _, name, meaning in FitFlag.table():
        assert f"| `{name}` | {meaning} |" in page
    for product in ("EPSFs/{band}/{cell}/epsf.npy", "ZP/zp_summary.csv", "wcs.fits"):
        assert f"`{product}`" in page


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        (r"stype_fit", ["stype_fit"]),
        (r"[xy]_pix(_.+)?_err", ["x_pix_err", "y_pix_err"]),
        (r"(dx|dy)_(?P<band>.+)", ["dx_{band}", "dy_{band}"]),
        (r"pair_flux(_err)?_(?P<band>.+)", ["pair_flux_{band}", "pair_flux_err_{band}"]),
        (r"patch_tag|epsf_tag", ["patch_tag", "epsf_tag"]),
        (r"dchisq_.*", ["dchisq_*"]),
    ],
)
def test_patterns_become_names(pattern: str, names: list[str]) -> None:
    assert column_names(pattern) == names


@pytest.mark.parametrize("pattern", [pattern for pattern, _, _ in COLUMN_MEANINGS])
def test_names_fit_their_pattern(pattern: str) -> None:
    for name in column_names(pattern):
        text = name.replace("{band}", "m400").replace("*", "some")
        assert re.fullmatch(pattern, text), name
        assert not re.search(r"[\[\]()|?+\\]", name)
