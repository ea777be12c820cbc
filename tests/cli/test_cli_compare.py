"""``skyloom compare`` on files, its exit status, and what it says."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from skyloom.catalogs import read_fits_table, write_csv, write_fits_table
from skyloom.cli import main

N = 80


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[str, str]:
    """A Legacy Surveys catalogue and one of ours of the same sources, 0.1 mag brighter."""
    rng = np.random.default_rng(4)
    ra, dec = rng.uniform(30.0, 30.05, N), rng.uniform(1.0, 1.05, N)
    flux = 10 ** rng.uniform(1, 3, N)
    old = Table({"objid": np.arange(N), "ra": ra, "dec": dec, "type": ["PSF"] * N, "flux_z": flux,
                 "flux_ivar_z": np.ones(N)})  # fmt: skip
    new = Table({"ID": np.arange(N).astype(str), "RA_fit": ra, "DEC_fit": dec,
                 "stype_fit": ["star"] * N, "FLUX_Z_fit": flux * 10**1.04,
                 "FLUXERR_Z_fit": np.ones(N),
                 "MAG_Z_fit": 22.4 - 2.5 * np.log10(flux)})  # fmt: skip
    monkeypatch.chdir(tmp_path)
    write_fits_table(old, tmp_path / "tractor.fits")
    write_csv(new[5:], tmp_path / "ours.csv")
    return "tractor.fits", "ours.csv"


def test_it_says_what_it_took_the_files_for_and_what_differs(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files, "--map", "z=Z", "--no-plots"]) == 0  # though they differ
    text = capsys.readouterr().out
    assert "recognised as tractor (Legacy Surveys (Tractor))" in text
    assert "bands: Z (FLUX_Z_fit; AB)" in text
    assert "75 matched within 1 arcsec" in text
    assert "-100.0 ± 0.0" in text
    numbers = json.loads(Path("comparison/summary.json").read_text())
    assert numbers["bands"][0]["delta_mag"]["median"] == pytest.approx(-0.1)
    assert sum(numbers["lost"].values()) == 5
    assert not list(Path("comparison").glob("*.png"))


def test_pictures_and_another_folder(files: tuple[str, str]) -> None:
    assert main(["compare", *files, "--map", "z=Z", "--out", "a/b", "--plots"]) == 0
    names = {p.name for p in Path("a/b").iterdir()}
    tables = {"compare.csv", "unmatched.csv", "summary.json"}
    assert tables < names
    assert {n for n in names if n.endswith(".png")} == {
        "delta_mag.png", "pulls.png", "positions_shapes.png", "lost_gained.png",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "no common band: tractor.fits has z; ours.csv has Z"),
        (["--map", "zZ"], "--map zZ must read OLD=NEW"),
        (["--map", "z=Z", "--bands", "Z,y"], "band y is not in both catalogues"),
        (["--map", "z=Z", "--radius", "0"], "radius = 0 must be > 0"),
        (["--map", "z=Z", "--out", "ours.csv/x"], "name another folder with --out"),
    ],
)
def test_mistakes_end_with_status_2(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str], options: list[str], message: str
) -> None:
    if not options:  # two bands on one side: nothing tells which is which
        table = read_fits_table("tractor.fits")
        table["flux_g"], table["flux_ivar_g"] = table["flux_z"], table["flux_ivar_z"]
        write_fits_table(table, "tractor.fits")
        message = message.replace("has z;", "has z, g;")
    assert main(["compare", *files, "--no-plots", *options]) == 2
    assert message in capsys.readouterr().err


def test_a_kind_that_does_not_fit_is_seen(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", *files, "--no-plots", "--old-kind", "sextractor"]) == 0
    assert "no magnitudes: tractor.fits has no fluxes" in capsys.readouterr().out


def test_a_catalogue_is_never_replaced(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    before = Path(files[1]).rename("compare.csv").read_bytes()
    options = ["--map", "z=Z", "--no-plots", "--out", "."]
    assert main(["compare", files[0], "compare.csv", *options]) == 2
    assert "one of the two catalogues would be replaced" in capsys.readouterr().err
    assert Path("compare.csv").read_bytes() == before


def test_unreadable_files_end_with_status_2(
    files: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    Path("cut.fits").write_bytes(Path("tractor.fits").read_bytes()[:3000])
    assert main(["compare", "cut.fits", files[1]]) == 2
    assert main(["compare", "absent.fits", files[1]]) == 2
    assert "absent.fits: no such file" in capsys.readouterr().err
