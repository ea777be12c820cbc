"""The examples of the page on source catalogues run as they stand."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from skyloom.catalogs import HeavyFootprint, SourceCatalog, modern_name

PAGE = (Path(__file__).parents[2] / "docs" / "source_catalogs.md").read_text(encoding="utf-8")


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", PAGE, flags=re.MULTILINE | re.DOTALL)


def test_examples(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    scope: dict[str, object] = {}
    for block in blocks("python"):
        exec(block, scope)  # our own page
    printed = capsys.readouterr().out
    assert "D            base_PsfFlux_instFlux: PSF flux [count]" in printed
    assert "did you mean 'flux.psf'?" in printed
    assert "\n90.5\n" in printed
    assert "Axes(a=2.0, b=1.0, theta=0.0)" in printed
    bright, mag = scope["bright"], scope["mag"]
    assert np.allclose(mag, 27 - 2.5 * np.log10(bright.psf_flux), rtol=0, atol=1e-12)
    heavy, blank, image = scope["heavy"], scope["blank"], scope["image"]
    assert isinstance(heavy, HeavyFootprint)
    inside = heavy.mask(image.box)
    assert np.array_equal(blank.array[inside], image.array[inside])
    assert SourceCatalog.read("with_footprints.fits")[0].footprint.area == scope["disc"].area


def test_each_dotted_name_of_the_page_is_known():
    table = PAGE.split("## One quantity, three names")[1].split("\n\n")[2]
    first = [row.split("|")[1] for row in table.splitlines()[2:]]
    names = [n for cell in first for n in re.findall(r"`([a-zA-Z]\S*?)`", cell)]
    assert len(names) > 10
    for name in names:
        assert modern_name(name) != name or name == "coord"
