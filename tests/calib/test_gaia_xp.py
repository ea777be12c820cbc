from __future__ import annotations

import json
import logging
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from skyloom.calib import (
    FilterCurve,
    absolute_spectrum,
    read_filter,
    read_filters,
    read_instrument,
    read_xp_spectra,
    synthesize,
)
from skyloom.errors import BadTable, MissingFile, UnreadableFile

REFERENCE = json.loads((Path(__file__).parent / "gaiaxpy_reference.json").read_text())
FULL, HALF = "XP_CONTINUOUS_RAW.csv", "XP_CONTINUOUS_RAW_missing_BP_dr3int6.csv"


@pytest.fixture(scope="module")
def instrument():
    return read_instrument()


@pytest.fixture
def mini(shared_data):
    return shared_data / "gaia_xp_mini"


def box(name, low, high):
    return FilterCurve(
        name=name,
        wavelength=np.array([low - 0.01, low, high, high + 0.01]),
        transmission=np.array([0.0, 1.0, 1.0, 0.0]),
    )


def reference(source_id, name):
    values = REFERENCE["sources"][source_id][name]
    return np.array([np.nan if v is None else v for v in values])


@pytest.mark.parametrize("file", [FULL, "XP_CONTINUOUS_RAW.fits", HALF])
def test_spectra_and_errors_equal_those_of_gaiaxpy(mini, instrument, file):
    spectra = read_xp_spectra(mini / file)
    flux, error = absolute_spectrum(spectra, instrument, np.array(REFERENCE["wavelength_nm"]))
    for row, source_id in enumerate(spectra.source_id.tolist()):
        use = np.isfinite(flux[row])
        assert use.sum() == (7 if file == HALF else 17)  # RP alone counts from 643 nm
        # 1e-9: ten digits are stored; 1e-7: errors and correlations in FITS are float32
        assert flux[row][use] == pytest.approx(reference(source_id, "flux")[use], rel=1e-9, abs=0)
        assert error[row][use] == pytest.approx(
            reference(source_id, "flux_error")[use], rel=1e-7, abs=0
        )


def test_magnitudes_agree_with_those_of_gaiaxpy(mini, instrument):
    galsim = pytest.importorskip("galsim")
    folder = Path(galsim.meta_data.share_dir) / "bandpasses"
    curves = [read_filter(folder / f"LSST_{band}.dat") for band in "griz"]
    found = synthesize(read_xp_spectra(mini / FULL), curves, instrument)
    blue = found.source_id.tolist().index("5762406957886626816")
    for band in "griz":
        theirs = REFERENCE["sources"]["5762406957886626816"][f"Lsst_mag_{band}"]
        # 6 mmag: GaiaXPy has another release of the throughputs (z agrees to 0.04 mmag)
        assert found.mag[f"LSST_{band}"][blue] == pytest.approx(theirs, abs=0.006)


def test_magnitudes_are_integrals_of_the_spectrum(mini, instrument):
    spectra = read_xp_spectra(mini / FULL)
    grid = np.arange(480.0, 560.001, 0.05)
    flux, _ = absolute_spectrum(spectra, instrument, grid)
    light = 2.99792458e17
    density = np.trapezoid(flux * grid, grid) / (light * np.trapezoid(1 / grid, grid))
    found = synthesize(spectra, [box("m520", 480.0, 560.0)], instrument)
    # 5e-5: the edges, 0.01 nm wide, have 1e-4 of the weight
    assert found.flux["m520"] == pytest.approx(density, rel=5e-5, abs=0)
    assert found.mag["m520"] == pytest.approx(-2.5 * np.log10(density) - 56.10, abs=1e-4)


def test_errors_are_those_of_drawn_coefficients(mini, instrument):
    spectra = read_xp_spectra(mini / FULL)
    curves = [box("m520", 480.0, 560.0), box("m640", 610.0, 670.0)]
    found = synthesize(spectra, curves, instrument)
    rng = np.random.default_rng(1)
    drawn = {
        arm: rng.multivariate_normal(spectra.coefficients[arm][1], spectra.covariance(arm, 1), 2000)
        for arm in ("bp", "rp")
    }
    many = replace(
        spectra,
        source_id=np.array(["x"] * 2000),
        coefficients=drawn,
        errors={arm: np.zeros((2000, 55)) for arm in drawn},
        correlations={arm: np.zeros((2000, 1485)) for arm in drawn},
    )
    scatter = synthesize(many, curves, instrument)
    for band in ("m520", "m640"):
        # 2000 draws know a width to 1.6 %, three of these
        assert np.std(scatter.mag[band]) == pytest.approx(found.mag_err[band][1], rel=0.05)


def test_a_star_without_bp_has_red_magnitudes_only(mini, instrument):
    spectra = read_xp_spectra(mini / HALF)
    assert (spectra.has("bp").tolist(), spectra.has("rp").tolist()) == ([False], [True])
    curves = [box("m500", 480.0, 520.0), box("m640", 620.0, 660.0), box("m800", 780.0, 820.0)]
    found = synthesize(spectra, curves, instrument)
    assert np.isnan(found.mag["m500"][0])
    assert np.isnan(found.mag["m640"][0])
    assert 17 < found.mag["m800"][0] < 20
    assert 0 < found.mag_err["m800"][0] < 0.1


def test_filters_beyond_the_spectra_are_left_out(mini, instrument, caplog):
    spectra = read_xp_spectra(mini / FULL)
    curves = [box("y", 950.0, 1150.0), box("z", 980.0, 1053.0), box("i", 700.0, 800.0)]
    with caplog.at_level(logging.WARNING):
        found = synthesize(spectra, curves, instrument)
    assert list(found.mag) == ["z", "i"]
    assert "filter y: 52." in caplog.text
    assert "no magnitudes" in caplog.text
    assert "that part counts" in caplog.text


def test_basis_functions_are_orthonormal():
    from skyloom.calib.xp import _hermite_functions  # noqa: PLC0415 - private, closed form

    x = np.linspace(-16, 16, 4001)
    functions = _hermite_functions(55, x)
    overlap = functions @ functions.T * (x[1] - x[0])
    assert overlap == pytest.approx(np.eye(55), abs=1e-9)  # the tail beyond 16


@pytest.mark.parametrize(("scale", "unit"), [(1.0, "nm"), (10.0, "Angstrom"), (1e-3, "micrometre")])
def test_wavelengths_in_three_units(tmp_path, scale, unit):
    rows = "\n".join(f"{w * scale:.6f}, {t}" for w, t in ((500, 0), (510, 0.5), (520, 0.4)))
    (tmp_path / "m510.dat").write_text(f"# wavelength [{unit}]\nlambda, T\n{rows}\n")
    curve = read_filters(tmp_path)[0]
    assert curve.name == "m510"
    assert curve.wavelength == pytest.approx([500, 510, 520], rel=1e-9)


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("500 0.1\n510 x\n", r"m\.dat:2: '510 x' is not a wavelength"),
        ("500 0.1\n510 0.2\n", "2 rows; a filter curve has 3 or more"),
        ("500 0\n510 0\n520 0\n", "not all 0"),
        ("500 0\n510 nan\n520 1\n", "finite"),
        ("", "0 rows"),
    ],
)
def test_a_file_that_is_no_filter_curve_is_named(tmp_path, text, what):
    (tmp_path / "m.dat").write_text(text)
    with pytest.raises(BadTable, match=what):
        read_filters(tmp_path)


def test_no_filters_and_no_spectra_are_named(tmp_path):
    with pytest.raises(MissingFile, match="no filter curve there"):
        read_filters(tmp_path / "nowhere")
    with pytest.raises(MissingFile, match="no such file"):
        read_xp_spectra(tmp_path / "none.csv")
    (tmp_path / "a.csv").write_text("source_id,ra\n1,2\n")
    with pytest.raises(BadTable, match="bp_coefficients is missing; fetch XP_CONTINUOUS_RAW"):
        read_xp_spectra(tmp_path / "a.csv")
    (tmp_path / "b.csv").write_text("ra,dec\n1,2\n")
    with pytest.raises(BadTable, match="column source_id is missing"):
        read_xp_spectra(tmp_path / "b.csv")
    (tmp_path / "c.fits").write_text("SIMPLE")
    with pytest.raises(UnreadableFile, match="not a readable FITS table"):
        read_xp_spectra(tmp_path / "c.fits")


@pytest.mark.parametrize(
    ("cell", "what"), [("(1.0, 2.0)", "has 2 values, 55 expected"), ("(1.0, x)", "not a list of")]
)
def test_damaged_coefficients_are_named_with_their_row(tmp_path, mini, cell, what):
    lines = (mini / HALF).read_text().splitlines()
    names = lines[0].split(",")
    damaged = ["1"] + [f'"{cell}"' if name == "bp_coefficients" else "" for name in names[1:]]
    path = tmp_path / "xp.csv"
    path.write_text("\n".join([*lines, ",".join(damaged)]) + "\n")
    with pytest.raises(BadTable, match=f"row 1: bp_coefficients {what}|row 1: .*{what}"):
        read_xp_spectra(path)
