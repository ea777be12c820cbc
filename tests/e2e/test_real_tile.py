"""Real pixels: a cut of a nine-band KiDS and VIKING tile through the command line."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.catalogs import column_as_float, column_as_text, read_csv
from skyloom.cli import main
from skyloom.flags import FitFlag

BANDS = ("g", "r", "i", "Z", "J")
SIDE, X0, Y0 = 940, 560, 480  # a cut with two saturated stars, their halos, bright stars


def cut_tile(source: Path, folder: Path) -> None:
    """Write a cut of some bands, with everything that a run needs."""
    folder.mkdir()
    for band in BANDS:
        with fits.open(source / f"kids_viking_{band}.fits.fz") as hdus:
            header = hdus[1].header.copy()
            pixels = hdus[1].section[Y0 : Y0 + SIDE, X0 : X0 + SIDE]
        header["CRPIX1"] -= X0
        header["CRPIX2"] -= Y0
        fits.PrimaryHDU(pixels, header).writeto(folder / f"{band}.fits")
    names = "\n".join(f"{band}.fits" for band in BANDS)
    (folder / "image_list.txt").write_text(names + "\n")
    shutil.copy(source / "input_catalog.csv", folder)
    config = yaml.safe_load((source / "config.yaml").read_text())
    config["crop"] = {"enabled": True, "margin": 0}
    config["epsf"] |= {"epsf_ngrid": 1, "ngrid": 3}
    config["skyloom"] = {"plots": "none"}
    (folder / "config.yaml").write_text(yaml.safe_dump(config))


@pytest.fixture(scope="module")
def catalog(shared_data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kids") / "tile"
    cut_tile(shared_data / "kids_viking_tile", folder)
    assert main(["tile", "run", "--config", str(folder / "config.yaml"), "--quiet"]) == 0
    return read_csv(folder / "work" / "output_catalog.csv"), folder


def unsaturated(table):
    flags = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)
    return (flags & (FitFlag.SATURATED | FitFlag.NEAR_SATURATED)) == 0


def test_every_input_row_comes_back_once_in_order_with_its_id(catalog):
    table, folder = catalog
    given = read_csv(folder / "input_catalog.csv")
    assert column_as_text(table, "ID").tolist() == column_as_text(given, "ID").tolist()
    assert column_as_text(table, "RA").tolist() == column_as_text(given, "RA").tolist()


def test_active_sources_are_fitted(catalog):
    table, folder = catalog
    with fits.open(folder / "r.fits") as hdus:
        wcs = WCS(hdus[0].header)
    x, y = wcs.all_world2pix(column_as_float(table, "RA"), column_as_float(table, "DEC"), 0)
    inside = (x > 0) & (x < SIDE - 1) & (y > 0) & (y < SIDE - 1)
    fitted = np.isfinite(column_as_float(table, "x_pix_white_fit"))
    assert inside.sum() > 150
    assert fitted[inside].mean() > 0.95


@pytest.mark.parametrize("band", ["g", "r", "i"])
def test_median_chi_square_of_footprints_is_near_one(catalog, band):
    table, _ = catalog
    chi2 = column_as_float(table, f"chi2_{band}")
    use = unsaturated(table) & (np.nan_to_num(column_as_float(table, f"n_above_{band}")) >= 5)
    # One source on the frame's edge ends outside, flagged: it has no pixel to be judged by.
    use &= column_as_float(table, f"n_good_{band}") > 0
    assert np.isfinite(chi2[use]).all()
    # 0.8-1.3 is the target of the full tile; the cut holds a third of its sources.
    assert 0.8 < np.median(chi2[use]) < 1.3


def test_bright_unsaturated_stars_leave_small_residuals(catalog):
    table, _ = catalog
    snr = column_as_float(table, "FLUX_r_fit") / column_as_float(table, "FLUXERR_r_fit")
    star = np.array([t == "star" for t in column_as_text(table, "stype_fit")])
    use = unsaturated(table) & star & (np.nan_to_num(snr) > 300)
    assert use.sum() >= 3
    assert column_as_float(table, "chi2_r")[use].mean() < 10.0  # target; a constant PSF gives 21


def test_saturated_stars_are_recognised_without_a_keyword(catalog):
    table, _ = catalog
    flags = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)
    by_id = dict(zip(column_as_text(table, "ID").tolist(), flags.tolist(), strict=True))
    assert by_id["00373"] & FitFlag.SATURATED
    assert by_id["00373"] & FitFlag.FORCED_STAR  # the catalogue calls it SERSIC
    assert by_id["00359"] & FitFlag.NEAR_SATURATED


def test_few_sources_are_called_pieces_of_halos(catalog):
    """Those about bright stars are faint sources, as nine bands show; none of the field is."""
    table, _ = catalog
    flags = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)
    ids = column_as_text(table, "ID")
    named = set(ids[(flags & FitFlag.HALO_FRAGMENT) > 0].tolist())
    assert len(named) <= 4
    flux = np.nan_to_num(column_as_float(table, "FLUX_r_fit"))
    bright = np.argsort(-flux)[:4]
    x, y = (column_as_float(table, f"{axis}_pix_white_fit") for axis in "xy")
    for row in np.flatnonzero(np.isin(ids, list(named))):
        near = np.hypot(x[bright] - x[row], y[bright] - y[row]).min()
        assert near < 60.0, ids[row]  # pix; 22 to 51
    reliable = dict(zip(ids.tolist(), column_as_text(table, "fit_is_reliable"), strict=True))
    assert {reliable[name] for name in named} <= {"False"}


def test_models_stay_with_their_sources_where_the_detector_has_stripes(catalog):
    """Free, they end 5 to 7 pixels off, above 100 pixels large, with negative fluxes."""
    table, folder = catalog
    ids = column_as_text(table, "ID").tolist()
    given = {
        i: k for k, i in enumerate(column_as_text(read_csv(folder / "input_catalog.csv"), "ID"))
    }
    x, y = (column_as_float(table, f"{axis}_pix_white_fit") for axis in "xy")
    with fits.open(folder / "r.fits") as hdus:
        wcs = WCS(hdus[0].header)
    x0, y0 = wcs.all_world2pix(column_as_float(table, "RA"), column_as_float(table, "DEC"), 0)
    for name in ("00325", "00480"):  # 2.4 and 3.1 pix in the catalogue
        row = ids.index(name)
        assert given[name] == row
        assert np.hypot(x[row] - x0[row], y[row] - y0[row]) < 3.0
        assert column_as_float(table, "Re_fit")[row] < 25.0
    flags = np.nan_to_num(column_as_float(table, "fit_flags")).astype(int)
    lost = (flags & (FitFlag.SWOLLEN | FitFlag.STRAYED)) > 0
    assert lost.sum() <= 8  # of 300
    assert not lost[ids.index("00250")]  # the spiral is as large as it looks
    assert set(column_as_text(table, "fit_is_reliable")[lost].tolist()) <= {"False"}
