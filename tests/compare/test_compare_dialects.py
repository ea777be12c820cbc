"""Catalogues of every dialect are recognised, and mean the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from skyloom.compare import DIALECTS, measured_catalog
from skyloom.compare.shapes import to_sky
from skyloom.errors import BadTable, WrongValue

N = 12
RNG = np.random.default_rng(5)
X, Y = RNG.uniform(100, 900, (2, N))
SCALE = 0.5  # arcsec / pix
FLUX = RNG.uniform(100, 1000, N)
RATIO = 0.6  # b/a
PA = 30.0  # deg, from north through east
SIZE = 2.0  # arcsec


def sky(*, east_is_left: bool = True) -> tuple[np.ndarray, np.ndarray]:
    """Positions of a frame with north up."""
    step = SCALE / 3600.0
    sign = -1.0 if east_is_left else 1.0
    dec = 10.0 + (Y - 500) * step
    return 40.0 + sign * (X - 500) * step / np.cos(np.radians(dec)), dec


def theta() -> float:
    """The position angle as an angle from +x towards +y, north up and east left."""
    return 90.0 + PA


def tile_table() -> Table:
    ra, dec = sky()
    return Table({
        "ID": [f"{i:03d}" for i in range(N)], "RA": ra, "DEC": dec, "TYPE": ["EXP"] * N,
        "RA_fit": ra, "DEC_fit": dec, "x_pix_white_fit": X, "y_pix_white_fit": Y,
        "stype_fit": ["exp"] * (N - 1) + [""], "Re_fit": np.full(N, SIZE / SCALE),
        "ELL_fit": np.full(N, 1 - RATIO), "THETA_fit": np.full(N, theta() - 180),
        "FLUX_r_fit": FLUX, "FLUXERR_r_fit": FLUX / 50, "MAG_r_fit": 25.0 - 2.5 * np.log10(FLUX),
        "fit_is_reliable": [True] * (N - 1) + [False], "fit_quality_issues": [""] * (N - 1) + ["x"],
    })  # fmt: skip


def tractor_table() -> Table:
    ra, dec = sky()
    modulus = (1 - RATIO) / (1 + RATIO)
    flux = FLUX * 10 ** (-0.4 * 2.5)  # 25 -> 22.5
    return Table({
        "objid": np.arange(N), "brickid": np.ones(N, int), "type": ["EXP"] * (N - 1) + ["PSF"],
        "ra": ra, "dec": dec, "bx": X, "by": Y, "flux_r": flux,
        "flux_ivar_r": np.r_[np.full(N - 1, 1.0), 0.0] / (flux / 50) ** 2,
        "apflux_r": np.ones((N, 8)), "shape_r": np.r_[np.full(N - 1, SIZE), 0.0],
        "shape_e1": np.full(N, modulus * np.cos(2 * np.radians(PA))),
        "shape_e2": np.full(N, modulus * np.sin(2 * np.radians(PA))),
        "brick_primary": [True] * (N - 1) + [False],
    })  # fmt: skip


def sextractor_table() -> Table:
    ra, dec = sky()
    return Table({
        "NUMBER": np.arange(N) + 1, "ALPHA_J2000": ra, "DELTA_J2000": dec, "X_IMAGE": X + 1,
        "Y_IMAGE": Y + 1, "FLUX_AUTO": FLUX, "FLUXERR_AUTO": FLUX / 50,
        "MAG_AUTO": np.r_[25.0 - 2.5 * np.log10(FLUX[:-1]), 99.0],
        "FLUX_PSF": FLUX * 2, "FLUX_RADIUS": np.full(N, SIZE / SCALE), "A_IMAGE": np.full(N, 3.0),
        "B_IMAGE": np.full(N, 3.0 * RATIO), "THETA_IMAGE": np.full(N, theta() - 180),
        "CLASS_STAR": np.r_[np.full(N - 1, 0.02), 0.98], "FLAGS": np.r_[np.full(N - 1, 2), 4],
    })  # fmt: skip


def shapepipe_table() -> Table:
    table = sextractor_table()
    modulus = (1 - RATIO) / (1 + RATIO)
    angle = 2 * np.radians(PA)  # the first axis points west: both signs turn
    table["NGMIX_ELL_NOSHEAR"] = np.full((N, 2), -modulus) * [np.cos(angle), np.sin(angle)]
    major = SIZE / 1.17741
    table["NGMIX_T_NOSHEAR"] = np.full(N, major**2 * (1 + RATIO**2))
    table["NGMIX_FLAGS_NOSHEAR"] = np.r_[np.zeros(N - 1), 1]
    table["SPREAD_CLASS"] = np.r_[np.ones(N - 1, int), 0]
    return table


MAKERS = {
    "tract7dt": tile_table,
    "tractor": tractor_table,
    "sextractor": sextractor_table,
    "shapepipe": shapepipe_table,
}


@pytest.mark.parametrize("kind", MAKERS)
def test_every_dialect_says_the_same(kind: str) -> None:
    catalog = measured_catalog(MAKERS[kind]())
    assert catalog.dialect.name == kind
    (band,) = catalog.bands.values()
    good = slice(0, N - 1)
    mag = band.zeropoint - 2.5 * np.log10(band.flux[good])
    assert mag == pytest.approx(25.0 - 2.5 * np.log10(FLUX[good]), abs=1e-9)
    assert (band.flux / band.flux_err)[good] == pytest.approx(50.0)
    assert band.is_ab is (kind != "sextractor")
    assert catalog.frame is not None
    # the map is linear, the sky is not: the field is 400 arcsec wide, at declination 10
    assert catalog.frame.scale == pytest.approx(SCALE, rel=1e-4)
    assert catalog.pixels is not None
    assert catalog.pixels.x == pytest.approx(X)
    assert not catalog.is_trusted[-1]
    assert catalog.is_trusted[good].all()


@pytest.mark.parametrize("kind", MAKERS)
def test_shapes_come_to_one_convention(kind: str) -> None:
    catalog = measured_catalog(MAKERS[kind]())
    shapes = catalog.shapes
    if shapes.unit == "pix":
        shapes = to_sky(shapes, catalog.frame)
    good = slice(0, N - 1)
    # the angle turns by 2e-4 rad with the meridians over the field
    assert shapes.angle[good] == pytest.approx(PA, abs=0.02)
    assert shapes.axis_ratio[good] == pytest.approx(RATIO, abs=1e-4)
    assert shapes.size[good] == pytest.approx(SIZE, rel=1e-4)


def test_a_mirrored_frame_turns_angles_the_other_way() -> None:
    table = tile_table()
    ra, dec = sky(east_is_left=False)
    table["RA_fit"], table["DEC_fit"] = ra, dec
    catalog = measured_catalog(table)
    assert catalog.frame is not None
    assert to_sky(catalog.shapes, catalog.frame).angle == pytest.approx(180.0 - PA, abs=0.02)


def test_types_and_sources_without_data() -> None:
    tractor = measured_catalog(tractor_table())
    assert tractor.type.tolist() == ["exp"] * (N - 1) + ["star"]
    assert not tractor.is_measured[-1]  # inverse variance 0
    assert tractor.reason[-1] == "not primary"
    assert measured_catalog(sextractor_table()).type[[0, -1]].tolist() == ["galaxy", "star"]
    assert measured_catalog(shapepipe_table()).type[[0, -1]].tolist() == ["galaxy", "star"]
    assert np.isnan(measured_catalog(shapepipe_table()).shapes.axis_ratio[-1])  # its flag
    tile = measured_catalog(tile_table())
    assert tile.type[-1] == "exp"  # asked for, where nothing was fitted
    assert tile.reason[-1] == "x"


def test_single_band_mode_fills_gaps_with_the_next_band() -> None:
    ra, dec = sky()
    table = Table({
        "RA": ra + 1, "DEC": dec, "RA_g_fit": np.where(np.arange(N) < 3, np.nan, ra),
        "DEC_g_fit": np.where(np.arange(N) < 3, np.nan, dec), "RA_r_fit": ra, "DEC_r_fit": dec,
        "FLUX_g_fit": FLUX, "FLUX_r_fit": FLUX, "stype_fit": ["star"] * N,
    })  # fmt: skip
    catalog = measured_catalog(table)
    assert catalog.sky is not None
    assert catalog.sky.x == pytest.approx(ra)
    assert list(catalog.bands) == ["g", "r"]
    assert not catalog.bands["g"].is_ab  # no zero point yet


def test_usual_names_of_any_table() -> None:
    ra, dec = sky()
    table = Table({
        "RAJ2000": ra, "DEJ2000": dec, "flux_g": FLUX, "flux_err_g": FLUX / 50,
        "flux_radius": np.full(N, 3.0), "mag_z": np.full(N, 20.0), "mag_err_z": np.full(N, 0.1),
    })  # fmt: skip
    catalog = measured_catalog(table)
    assert catalog.dialect.name == "generic"
    assert set(catalog.bands) == {"g", "z"}
    z = catalog.bands["z"]
    assert (z.flux / z.flux_err)[0] == pytest.approx(1.0857362 / 0.1)


def test_vector_fluxes_of_old_legacy_surveys() -> None:
    ra, dec = sky()
    flux = np.arange(6.0) + np.zeros((N, 6)) + 1
    table = Table({"ra": ra, "dec": dec, "decam_flux": flux, "decam_flux_ivar": flux**-2,
                   "type": ["PSF"] * N})  # fmt: skip
    catalog = measured_catalog(table)
    assert list(catalog.bands) == list("ugrizY")
    assert catalog.bands["z"].flux[0] == 5.0


def test_kind_can_be_named_and_must_be_known() -> None:
    assert measured_catalog(tile_table(), kind="generic").dialect is DIALECTS["generic"]
    with pytest.raises(WrongValue, match="kind 'hsc' is unknown; known: auto, shapepipe"):
        measured_catalog(tile_table(), kind="hsc")


@pytest.mark.parametrize(
    ("table", "message"),
    [
        (Table({"a": [1.0], "b": [2.0]}), r"no columns of positions .*\(it has a, b\)"),
        (Table({"RA": np.zeros(0), "DEC": np.zeros(0)}), "no rows"),
        (Table({"RA": [10.0, 11.0], "DEC": [0.0, 91.0]}), "row 2: DEC = 91 is no declination"),
        (Table({"RA": ["10:11:12"], "DEC": ["1"]}), "row 1, column RA: '10:11:12' is not a number"),
    ],
)
def test_faults_say_where(table: Table, message: str) -> None:
    with pytest.raises(BadTable, match=message):
        measured_catalog(table)


def test_real_files_are_recognised(shared_data: Path) -> None:
    kinds = {
        "tract7dt_reference/output_catalog_head.csv": "tract7dt",
        "tract7dt_reference/input_catalog_with_Gaia_head.csv": "tract7dt",
        "kids_viking_tile/input_catalog.csv": "tract7dt",
        "legacysurvey/peer_products/testcase8/tractor/120/tractor-1209p050.fits": "tractor",
        "legacysurvey/peer_products/testcase8/tractor-i/120/tractor-i-1209p050.fits": "tractor",
        "decam_psf/tractor-1816p325-sub.fits": "tractor",
        "decam_psf/DECam_00241238_01_cat.fits": "sextractor",
        "sep_reference/image.cat": "sextractor",
    }
    found = {name: measured_catalog(shared_data / name) for name in kinds}
    assert {name: catalog.dialect.name for name, catalog in found.items()} == kinds
    decam = found["decam_psf/DECam_00241238_01_cat.fits"]
    assert list(decam.bands) == ["r"]  # FILTER of the image header inside
    assert decam.frame is not None
    # PIXSCAL1 = 0.27 in the header is rounded; the WCS of DECam has 0.263
    assert decam.frame.scale == pytest.approx(0.263, abs=0.001)
    legacy = found["legacysurvey/peer_products/testcase8/tractor/120/tractor-1209p050.fits"]
    assert legacy.frame is not None
    assert legacy.frame.scale == pytest.approx(0.262, abs=1e-5)  # bricks
    assert sorted({*legacy.type}) == ["dev", "exp", "rex", "sersic", "star"]
