"""Choosing PSF stars."""

import numpy as np
import pytest
from astropy.table import Table

from skyloom.detect.stars import StarOptions, forced_radius, select_psf_stars
from skyloom.errors import WrongValue

SKY, FWHM = 2.0, 4.0


def field(seed=1, *, shape=(400, 500), stars=12, galaxies=12, snr=200):
    """Gaussian stars on a grid with jitter, and galaxies twice to four times as large between."""
    rng = np.random.default_rng(seed)
    ny, nx = shape
    columns, rows = np.meshgrid(np.arange(60, nx - 50, 62), np.arange(60, ny - 50, 62))
    spots = rng.permutation(np.stack([columns.ravel(), rows.ravel()], axis=1))[: stars + galaxies]
    x, y = (spots + rng.uniform(-3, 3, spots.shape)).T
    sigma = np.full(x.size, FWHM / 2.355)
    sigma[stars:] *= rng.uniform(1.5, 3, galaxies)
    flux = snr * SKY * np.sqrt(4 * np.pi) * sigma * rng.uniform(1, 3, x.size)
    image = rng.normal(0, SKY, shape)
    yy, xx = np.mgrid[:ny, :nx]
    for a, b, s, f in zip(x, y, sigma, flux, strict=True):
        image += f / (2 * np.pi * s**2) * np.exp(-((xx - a) ** 2 + (yy - b) ** 2) / (2 * s**2))
    return image.astype(np.float32), x, y, np.arange(x.size) < stars


def choose(image, *, bad=None, saturated=None, **more):
    none = np.zeros(image.shape, bool)
    settings = {"mode": "sep", "edge_pad": 5, **more.pop("rules", {})}
    return select_psf_stars(
        image,
        SKY,
        bad=none if bad is None else bad,
        saturated=none if saturated is None else saturated,
        fwhm=FWHM,
        options=StarOptions(**settings),
        **more,
    )


def found(selection, x, y, within=1.0):
    """Tell which of the true positions were chosen."""
    if len(selection) == 0:
        return np.zeros(x.size, bool)
    return np.hypot(x[:, None] - selection.x, y[:, None] - selection.y).min(axis=1) < within


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_stars_are_chosen_and_galaxies_are_not(seed):
    image, x, y, is_star = field(seed)
    selection = choose(image)
    chosen = found(selection, x, y)
    assert chosen[is_star].all()
    assert not chosen[~is_star].any()
    assert set(selection.origin) == {"sep"}
    assert selection.rejected["off the locus of stars"] >= 10
    # 2 r50 of a Gaussian is its FWHM; pixels and the aperture: 5 %
    assert 2 * selection.locus_r50 == pytest.approx(FWHM, rel=0.06)
    assert (selection.snr > 100).all()


def test_hints_move_the_locus():
    image, x, y, is_star = field(4, stars=4, galaxies=25)
    hinted = choose(image, hints_x=x[is_star], hints_y=y[is_star])
    chosen = found(hinted, x, y)
    assert chosen[is_star].all()
    assert not chosen[~is_star].any()


def test_margin_is_measured_from_the_image():
    image, _x, _y, _is_star = field(1)
    whole = choose(image, cells=1)
    cells = choose(image, cells=7)  # cells narrower than a cutout
    assert len(cells) == len(whole)
    need = 61 // 2 + 5
    assert whole.x.min() > need
    assert whole.y.max() < image.shape[0] - need - 1
    far = choose(image, rules={"edge_pad": 60})
    assert 0 < len(far) < len(whole)
    assert far.x.min() > 90


def test_cells_count_their_own_stars():
    image, _x, _y, _is_star = field(1)
    selection = choose(image, cells=2, rules={"max_stars": 2})
    ny, nx = image.shape
    cell = (selection.y // (ny // 2)) * 2 + selection.x // (nx // 2)
    np.testing.assert_array_equal(selection.cell, cell)
    assert np.bincount(selection.cell, minlength=4).max() == 2
    assert (np.diff(selection.cell) >= 0).all()


def test_brightest_come_first():
    image, *_ = field(1)
    selection = choose(image)
    best = choose(image, rules={"max_stars": 3})
    order = np.argsort(-selection.flux)
    assert set(np.round(best.x)) == set(np.round(selection.x[order[:3]]))


def test_saturated_and_bad_ground_is_avoided():
    image, x, y, is_star = field(1)
    rows = np.flatnonzero(is_star)
    saturated, bad = np.zeros((2, *image.shape), bool)
    saturated[int(y[rows[0]]) + 20, int(x[rows[0]]) + 20] = True
    bad[round(y[rows[1]]), round(x[rows[1]])] = True
    chosen = found(choose(image, saturated=saturated, bad=bad), x, y)
    assert not chosen[rows[0]]
    assert not chosen[rows[1]]
    assert chosen[rows[2:]].all()
    allowed = choose(image, saturated=saturated, rules={"star_sat_check_r": 0})
    assert found(allowed, x, y)[rows[0]]


def test_blends_are_left_out_and_company_is_flagged():
    image, x, y, is_star = field(1)
    first, second = np.flatnonzero(is_star)[:2]
    table = Table({"x": x, "y": y, "a": x * 0 + 2.0, "b": x * 0 + 2.0, "flux": x * 0 + 1000.0})
    table.add_row([x[first] + 1.2 * FWHM, y[first], 2.0, 2.0, 800.0])
    table.add_row([x[second] + 18, y[second], 2.0, 2.0, 100.0])
    selection = choose(image, candidates=table)
    chosen = found(selection, x, y)
    assert not chosen[first]
    assert chosen[second]
    near = np.hypot(selection.x - x[second], selection.y - y[second]) < 1
    assert selection.has_neighbour[near].all()
    assert not selection.has_neighbour[~near].any()


def test_elongated_candidates_are_left_out():
    image, x, y, is_star = field(1)
    table = Table({"x": x, "y": y, "a": x * 0 + 2.0, "b": x * 0 + 2.0, "flux": x * 0 + 1000.0})
    row = int(np.flatnonzero(is_star)[0])
    table["a"][row] = 2.8
    assert not found(choose(image, candidates=table), x, y)[row]


def seeded(image, x, y, **more):
    rules = {"mode": "sep+gaia", **more.pop("rules", {})}
    return choose(image, seeds_x=x, seeds_y=y, rules=rules, **more)


def test_seeds_snap_to_detections():
    image, x, y, is_star = field(1)
    off = x[is_star] + 1.5, y[is_star] - 1.0
    selection = seeded(image, *off)
    assert set(selection.origin) == {"both"}
    assert found(selection, x, y, within=0.3)[is_star].all()
    kept = seeded(image, *off, rules={"gaia_snap_to_sep": False})
    assert set(kept.origin) <= {"both", "sep"}
    assert np.isin(kept.x[np.array(kept.origin) == "both"], off[0]).all()
    np.testing.assert_array_equal(np.sort(selection.seed), np.arange(is_star.sum()))


def test_seeds_on_empty_sky_are_refused():
    image, x, y, _ = field(1)
    rng = np.random.default_rng(3)
    empty_x, empty_y = rng.uniform(50, 350, (2, 40))
    far = np.hypot(empty_x[:, None] - x, empty_y[:, None] - y).min(axis=1) > 25
    selection = seeded(image, empty_x[far], empty_y[far], rules={"mode": "gaia"})
    assert len(selection) == 0
    assert selection.seeds_in_cell.sum() == far.sum()


def test_bright_seeds_go_first_where_magnitudes_are_known():
    image, x, y, is_star = field(1)
    mag = np.arange(is_star.sum())[::-1].astype(float)
    rules = {"mode": "gaia", "max_stars": 3}
    plain = seeded(image, x[is_star], y[is_star], rules=rules)
    np.testing.assert_array_equal(plain.seed, [0, 1, 2])
    sorted_ = seeded(image, x[is_star], y[is_star], seeds_mag=mag, rules=rules)
    n = int(is_star.sum())
    np.testing.assert_array_equal(sorted_.seed, [n - 1, n - 2, n - 3])


def test_seeds_with_nan_positions_are_ignored():
    image, x, y, is_star = field(1)
    sx = x[is_star].copy()
    sx[0] = np.nan
    assert 0 not in seeded(image, sx, y[is_star], rules={"mode": "gaia"}).seed


def test_chosen_stars_keep_their_distance():
    image, *_ = field(1)
    selection = choose(image, rules={"min_sep": 100.0})
    distance = np.hypot(selection.x[:, None] - selection.x, selection.y[:, None] - selection.y)
    assert distance[distance > 0].min() >= 100


def test_mode_gaia_without_seeds_gives_none():
    image, *_ = field(1)
    assert len(choose(image, rules={"mode": "gaia"})) == 0


def test_an_empty_image_gives_none():
    rng = np.random.default_rng(1)
    selection = choose(rng.normal(0, SKY, (200, 200)).astype(np.float32))
    assert len(selection) == 0
    assert np.isnan(selection.locus_r50)


def test_forced_radius_of_the_specification():
    options = StarOptions()
    assert forced_radius(4.0, options) == 6.0
    assert forced_radius(1.0, options) == 3.0
    assert forced_radius(100.0, options) == 15.0
    assert forced_radius(None, options) == 3.0
    assert forced_radius(float("nan"), options) == 3.0
    assert forced_radius(100.0, StarOptions(cutout_size=21)) == 8.0


def test_unknown_mode_is_refused():
    with pytest.raises(WrongValue, match="psfstar_mode"):
        StarOptions(mode="both")
