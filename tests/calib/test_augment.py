from __future__ import annotations

import logging

import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table
from astropy.wcs import WCS
from hypothesis import given
from hypothesis.strategies import floats, integers

from skyloom.calib import GaiaReference, augment_catalog, gaia_box, match_one_to_one
from skyloom.catalogs import as_input_catalog, column_as_bool, column_as_float, with_exclusions
from skyloom.errors import BadTable
from skyloom.geometry import Box, pixel_to_sky

SHAPE = (400, 500)


def wcs():
    out = WCS(naxis=2)
    out.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    out.wcs.crval, out.wcs.crpix = [150.0, 2.0], [250.0, 200.0]
    out.wcs.cdelt = [-0.5 / 3600, 0.5 / 3600]
    out.wcs.set()
    return out


def catalog(x, y, bands=("g",), **columns):
    ra, dec = pixel_to_sky(wcs(), np.asarray(x, float), np.asarray(y, float))
    text = {"RA": ["" if np.isnan(r) else f"{r:.9f}" for r in ra], "DEC": [f"{d:.9f}" for d in dec]}
    flags = np.zeros(len(ra), bool)
    table = Table({"ID": [f"{i:04d}" for i in range(len(ra))], **text, **columns})
    return as_input_catalog(with_exclusions(table, crop=flags, saturation=flags), bands=bands)


def gaia(x, y, mag=15.0, **mags):
    ra, dec = pixel_to_sky(wcs(), np.asarray(x, float), np.asarray(y, float))
    n = len(ra)
    return GaiaReference(
        name="xp.csv",
        ra=ra,
        dec=dec,
        source_id=np.array([f"400000000000000{i:04d}" for i in range(n)]),
        g_mag=np.broadcast_to(np.asarray(mag, float), n).copy(),
        mags={b: np.asarray(m, float) for b, m in mags.items()},
    )


def augment(sources, stars, **options):
    given_ = {"active": np.ones(len(sources), bool), "bands": ["g"], "zp_ref": 25.0, **options}
    return augment_catalog(sources, stars, wcs=wcs(), shape=SHAPE, **given_)


def test_matched_rows_get_the_identity_and_lost_stars_become_rows():
    out = augment(catalog([100, 200], [100, 200]), gaia([101, 300], [100, 300], g=[15.0, 16.0]))
    assert out.changed
    assert out.table["gaia_source_id"].tolist() == [
        "4000000000000000000",
        "",
        "4000000000000000001",
    ]
    assert out.is_injected.tolist() == [False, False, True]
    assert out.star.tolist() == [0, -1, 1]
    new = out.table[2]
    assert (new["ID"], new["TYPE"]) == ("gaia_4000000000000000001", "STAR")
    assert float(new["FLUX_g"]) == pytest.approx(10 ** ((25 - 16) / 2.5), rel=1e-12)
    assert float(new["POS_ERR"]) == 0.1
    ra = column_as_float(out.table, "RA")
    assert ra[2] == gaia([300], [300]).ra[0]  # to the last bit
    assert np.isnan(column_as_float(out.table, "FLUX_g")[:2]).all()
    for name in ("excluded_crop", "excluded_saturation", "excluded_any"):
        assert out.table[name].tolist() == [False] * 3
        assert column_as_bool(out.table, name).tolist() == [False] * 3


def test_original_cells_stay_verbatim():
    sources = catalog([100, 200], [100, 200], Note=["NA", "a,b"], Re=["1.50", ""])
    out = augment(sources, gaia([300], [300], g=[16.0])).table
    for name in sources.table.colnames:
        assert out[name].tolist()[:2] == sources.table[name].tolist()
    assert (out["Note"][2], out["Re"][2]) == ("", "")
    assert out.colnames[: len(sources.table.colnames)] == sources.table.colnames
    assert sources.table.colnames[-1] == "excluded_any"  # the input is unchanged


def test_backfill_fills_missing_and_zero_fluxes_only():
    fluxes = ["", "0", "7.50", "nan", "-3"]
    x = 50.0 * np.arange(1, 6)
    stars = gaia(x, x, g=[15.0, 15.0, 15.0, np.nan, 15.0])
    out = augment(catalog(x, x, FLUX_g=fluxes), stars)
    assert not out.is_injected.any()
    assert out.table["FLUX_g"].tolist()[2:] == ["7.50", "nan", "-3"]
    assert column_as_float(out.table, "FLUX_g")[:2] == pytest.approx([10**4, 10**4], rel=1e-12)
    assert "POS_ERR" not in out.table.colnames


def test_injected_stars_without_magnitude_get_flux_zero():
    stars = gaia([300], [300], g=[np.nan])
    out = augment(catalog([100], [100]), stars, bands=["g", "r"]).table
    assert column_as_float(out, "FLUX_g")[1] == 0.0
    assert column_as_float(out, "FLUX_r")[1] == 0.0


def test_the_window_the_switches_and_saturation():
    sources = catalog([100], [100])
    stars = gaia([200, 250, 300, 350], [200] * 4, mag=[8.0, 18.0, 7.99, 18.01], g=[15.0] * 4)
    assert augment(sources, stars).is_injected.sum() == 2
    assert augment(sources, stars, inject=False).table.colnames[-1] == "gaia_source_id"
    assert "POS_ERR" not in augment(sources, stars, pos_err_pix=None).table.colnames
    near = augment(sources, stars, is_saturated=lambda x, _: x < 220)
    assert near.table["gaia_source_id"].tolist()[1:] == ["4000000000000000001"]


def test_excluded_and_positionless_rows():
    sources = catalog([100, np.nan, 300], [100, 150, 300])
    active = np.array([True, True, False])
    out = augment(sources, gaia([100, 300], [100, 300], g=[15.0] * 2), active=active)
    assert out.star.tolist() == [0, -1, 1]  # an excluded row is matched all the same


@pytest.mark.parametrize("stars", [gaia([900], [900], g=[15.0]), gaia([], [], g=[])])
def test_no_star_in_the_box_changes_nothing(stars, caplog):
    sources = catalog([100, 200], [100, 200])
    with caplog.at_level(logging.WARNING):
        out = augment(sources, stars)
    assert not out.changed
    assert out.table["gaia_source_id"].tolist() == ["", ""]
    assert out.table.colnames == [*sources.table.colnames, "gaia_source_id"]
    assert "no Gaia star" in caplog.text


def test_a_star_listed_twice_counts_once():
    stars = gaia([300, 300], [300, 300], g=[15.0, 15.0])
    stars.source_id[1] = stars.source_id[0]
    assert augment(catalog([100], [100]), stars).is_injected.sum() == 1


def test_augmenting_again_changes_nothing_but_reports_the_same():
    stars = gaia([101, 300], [100, 300], g=[15.0, 16.0])
    once = augment(catalog([100, 200], [100, 200]), stars)
    again = as_input_catalog(once.table, bands=["g"])
    twice = augment(again, stars)
    assert len(twice.table) == len(once.table)
    assert twice.table["gaia_source_id"].tolist() == once.table["gaia_source_id"].tolist()
    assert twice.table.colnames == once.table.colnames


def test_the_reference_needs_its_columns():
    stars = gaia([300], [300], g=[15.0])
    for name, text in (("g_mag", "phot_g_mean_mag"), ("source_id", "source_id")):
        fields = {f: getattr(stars, f) for f in ("name", "ra", "dec", "source_id", "g_mag")}
        with pytest.raises(BadTable, match=f"missing required column: {text}"):
            augment(catalog([100], [100]), GaiaReference(**{**fields, name: None}))


@pytest.mark.parametrize(
    ("x", "y", "min_size", "box"),
    [
        ([100, 200], [100, 150], 50, Box(100, 200, 75, 175)),
        ([100, 200], [100, 150], 120, Box(90, 210, 65, 185)),
        ([10, 20], [100, 150], 100, Box(0, 100, 75, 175)),
        ([480, 490], [380, 390], 100, Box(400, 500, 300, 400)),
        ([100, 200], [100, 150], 3000, Box(0, 500, 0, 400)),
        ([], [], 100, Box(200, 300, 150, 250)),
        ([np.nan], [5.0], 100, Box(200, 300, 150, 250)),
        ([100.5, 200.2], [100, 150], 10, Box(100, 201, 75, 175)),
    ],
)
def test_the_selection_box(x, y, min_size, box):
    found = gaia_box(np.array(x, float), np.array(y, float), shape=SHAPE, min_size=min_size)
    assert found == box


@given(x=floats(0, 499), y=floats(0, 399), size=integers(1, 4000))
def test_the_selection_box_holds_the_source_and_stays_inside(x, y, size):
    box = gaia_box(np.array([x]), np.array([y]), shape=SHAPE, min_size=size)
    assert box.clipped(Box.of_shape(SHAPE)) == box
    assert box.x0 <= x <= box.x1
    assert box.width >= min(size, SHAPE[1])


def test_of_two_rows_the_nearest_gets_the_star():
    ra, dec = np.array([150.0, 150.0]), np.array([2.0 + 1.0 / 3600, 2.0 + 0.4 / 3600])
    star = match_one_to_one(ra, dec, np.array([150.0]), np.array([2.0]), radius_arcsec=3.0)
    assert star.tolist() == [-1, 0]


@given(seed=integers(0, 500))
def test_matching_is_one_to_one_within_the_radius(seed):
    rng = np.random.default_rng(seed)
    ra, dec = 359.999 + rng.uniform(0, 0.002, 12), 60 + rng.uniform(0, 0.002, 12)
    sra, sdec = (359.999 + rng.uniform(0, 0.002, 9)) % 360, 60 + rng.uniform(0, 0.002, 9)
    ra[0] = np.nan
    star = match_one_to_one(ra, dec, sra, sdec, radius_arcsec=2.0)
    used = star[star >= 0]
    assert len(set(used.tolist())) == len(used)
    assert star[0] == -1
    rows = np.flatnonzero(np.isfinite(ra))
    here, there = SkyCoord(ra[rows], dec[rows], unit="deg"), SkyCoord(sra, sdec, unit="deg")
    separation = here[:, None].separation(there[None, :]).arcsec
    for i, row in enumerate(rows):
        for j in range(len(sra)):
            if separation[i, j] < 2.0 - 1e-6:
                # a close pair that was not matched lost one of its members to a closer pair
                rival = separation[rows == np.flatnonzero(star == j)[0], j] if j in used else np.inf
                mine = separation[i, star[row]] if star[row] >= 0 else np.inf
                assert min(np.min(rival), mine) <= separation[i, j] + 1e-6
    assert all(
        separation[i, star[row]] <= 2.0 + 1e-6 for i, row in enumerate(rows) if star[row] >= 0
    )


def test_the_radius_is_inclusive():
    ra, dec = np.array([10.0]), np.array([0.0])
    for offset, expected in ((2.999, 0), (3.001, -1)):
        found = match_one_to_one(ra, dec, ra, np.array([offset / 3600]), radius_arcsec=3.0)
        assert found.tolist() == [expected]
