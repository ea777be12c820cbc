"""Catalogues of every dialect are recognised, and mean the same afterwards."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from astropy.table import Table

from skyloom.compare import DIALECTS, measured_catalog
from skyloom.compare.shapes import to_sky
from skyloom.errors import BadTable, UnreadableFile, WrongValue

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
    """A `final_cat`: columns and fill values of its last module, the last row not measured."""
    ra, dec = sky()
    modulus = (1 - RATIO) / (1 + RATIO)
    angle = 2 * np.radians(PA)  # the first axis points west: both signs turn
    measured = np.arange(N) < N - 1
    mag = np.where(measured, 25.0 - 2.5 * np.log10(FLUX), 99.0)
    columns = {
        "NUMBER": np.arange(N, dtype=np.int32) + 1, "EXT_NUMBER": np.ones(N, np.int16),
        "FLUX_AUTO": FLUX, "FLUXERR_AUTO": FLUX / 50, "MAG_AUTO": mag,
        "MAGERR_AUTO": np.full(N, 0.02), "FLUX_WIN": FLUX * 0.9, "FLUXERR_WIN": FLUX / 60,
        "MAG_WIN": mag + 0.1, "MAGERR_WIN": np.full(N, 0.02), "FLUX_APER": FLUX * 0.5,
        "FLUXERR_APER": FLUX / 70, "FLUX_RADIUS": np.full(N, 5.0), "SNR_WIN": np.full(N, 54.0),
        "X_IMAGE": X + 1, "Y_IMAGE": Y + 1, "X_WORLD": ra, "Y_WORLD": dec, "XWIN_IMAGE": X + 1,
        "YWIN_IMAGE": Y + 1, "XWIN_WORLD": ra, "YWIN_WORLD": dec,
        "FLAGS": np.r_[np.full(N - 1, 2), 4].astype(np.int16), "FLAGS_WIN": np.zeros(N, np.int16),
        "IMAFLAGS_ISO": np.zeros(N, np.int32), "FWHM_IMAGE": np.full(N, 7.0),
        "FWHM_WORLD": np.full(N, 7.0 * SCALE / 3600), "ELONGATION": np.full(N, 1.2),
        "ELLIPTICITY": np.full(N, 1 - 1 / 1.2), "N_EPOCH": np.full(N, 3, np.int32),
        "TILE_ID": np.full(N, 424.248), "SPREAD_MODEL": np.full(N, 0.02),
        "SPREADERR_MODEL": np.full(N, 0.001), "SPREAD_CLASS": measured.astype(np.int16),
        "NGMIX_N_EPOCH": np.where(measured, 3, 0), "NGMIX_MCAL_FLAGS": np.zeros(N, np.int32),
    }  # fmt: skip
    ell = -modulus * np.array([np.cos(angle), np.sin(angle)])
    for k in ("1M", "1P", "2M", "2P", "NOSHEAR"):
        columns[f"NGMIX_ELL_{k}"] = np.where(measured[:, None], ell, -10.0)
        columns[f"NGMIX_ELL_ERR_{k}"] = np.where(measured[:, None], [0.1, 0.1], -10.0)
        # T is the half-light radius of the fitted Gaussian before its area-preserving shear
        columns[f"NGMIX_T_{k}"] = np.where(measured, SIZE * np.sqrt(RATIO), 0.0)
        columns[f"NGMIX_T_ERR_{k}"] = np.where(measured, 0.1, 1e30)
        columns[f"NGMIX_Tpsf_{k}"] = np.where(measured, 0.4, 0.0)
        columns[f"NGMIX_SNR_{k}"] = np.where(measured, 50.0, 0.0)
        columns[f"NGMIX_FLUX_{k}"] = np.where(measured, FLUX * 1.1, 0.0)
        columns[f"NGMIX_FLUX_ERR_{k}"] = np.where(measured, 1.0, -1.0)
        columns[f"NGMIX_FLAGS_{k}"] = np.where(measured, 0, 1)
    for i in (1, 2, 3, 4):
        columns[f"PSF_ELL_{i}"] = np.full((N, 2), [0.01, -0.02])
        columns[f"PSF_FWHM_{i}"] = np.full(N, 3.5)
        columns[f"PSF_FLAG_{i}"] = np.zeros(N, np.int16)
    return Table(columns)


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


def test_a_final_catalogue_of_shapepipe_is_read_from_its_file(tmp_path: Path) -> None:
    table = shapepipe_table()
    table.meta["EXTNAME"] = "RESULTS"
    table.write(tmp_path / "final_cat-424-248.fits")
    catalog = measured_catalog(tmp_path / "final_cat-424-248.fits")
    assert catalog.dialect.name == "shapepipe"
    assert catalog.shapes.size[: N - 1] == pytest.approx(SIZE)  # exact but for rounding
    assert np.isnan(catalog.shapes.size[-1])  # fill values are no shapes
    assert np.isnan(catalog.shapes.angle[-1])
    # newer releases leave the flag of unmeasured objects at 0
    table["NGMIX_FLAGS_NOSHEAR"] = 0
    assert np.isnan(measured_catalog(table).shapes.axis_ratio[-1])
    assert np.isnan(measured_catalog(table).shapes.size[-1])


MERGED = (
    "XWIN_WORLD", "YWIN_WORLD", "TILE_ID", "FLAGS", "IMAFLAGS_ISO", "NGMIX_MCAL_FLAGS",
    "SPREAD_CLASS", "SPREAD_MODEL", "SPREADERR_MODEL", "N_EPOCH", "NGMIX_N_EPOCH",
    "NGMIX_ELL_1M", "NGMIX_ELL_NOSHEAR", "NGMIX_ELL_ERR_NOSHEAR", "NGMIX_FLAGS_NOSHEAR",
    "NGMIX_T_NOSHEAR", "NGMIX_T_ERR_NOSHEAR", "NGMIX_Tpsf_NOSHEAR", "NGMIX_FLUX_NOSHEAR",
    "NGMIX_FLUX_ERR_NOSHEAR", "MAG_AUTO", "SNR_WIN",
)  # fmt: skip


@pytest.mark.parametrize("ending", [".fits", ".npy"])
def test_merged_tiles_of_shapepipe(tmp_path: Path, ending: str) -> None:
    table = shapepipe_table()[list(MERGED)]
    path = tmp_path / f"final_cat{ending}"
    if ending == ".npy":
        np.save(path, table.as_array())
    else:
        table.write(path)
    catalog = measured_catalog(path)
    assert catalog.dialect.name == "shapepipe"
    (band,) = catalog.bands.values()  # magnitudes are all there is
    mag = band.zeropoint - 2.5 * np.log10(band.flux)
    assert mag[: N - 1] == pytest.approx(25.0 - 2.5 * np.log10(FLUX[: N - 1]), abs=1e-9)
    assert np.isnan(band.flux[-1])
    assert np.isnan(band.flux_err).all()
    assert catalog.shapes.size[: N - 1] == pytest.approx(SIZE)
    assert catalog.id[0] == "1"


def test_arrays_that_are_no_table_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "plain.npy", np.zeros((3, 4)))
    with pytest.raises(BadTable, match=r"plain\.npy: an array without columns; .*structured"):
        measured_catalog(tmp_path / "plain.npy")
    np.save(tmp_path / "code.npy", np.array([{"RA": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UnreadableFile, match=r"code\.npy: cannot be read as a catalogue"):
        measured_catalog(tmp_path / "code.npy")


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
