"""The builder of PSFs on stars drawn by GalSim."""

from dataclasses import replace

import galsim
import numpy as np
import pytest
from psf_tools import SKY, fit_star, flux_errors, stamp_of, star_field, true_psf

from skyloom.errors import WrongValue
from skyloom.psf import (
    BuilderOptions,
    StarCutouts,
    StarFlag,
    build_field_psf,
    cut_stars,
    residual_qa,
)

OPTIONS = BuilderOptions(source_variance=0.5)


def cutouts_of(field, seed=0):
    rng = np.random.default_rng(seed)
    off = rng.normal(0, 0.3, (2, field.x.size))
    return cut_stars(field.image, field.ivar, field.x + off[0], field.y + off[1])


@pytest.fixture(scope="module")
def varying():
    return star_field(1, galaxies=6, neighbours=300, bad=True)


@pytest.fixture(scope="module")
def built(varying):
    return build_field_psf(cutouts_of(varying), shape=varying.shape, options=OPTIONS)


@pytest.fixture(scope="module")
def constant():
    return star_field(2, n=12, side=420, variation=0.0, snr=(100, 1000))


def test_star_magnitudes_over_the_field(varying, built):
    assert built.order == 2
    sky_limited = flux_errors(varying, built.psf, sky_limited=True)
    bright = flux_errors(varying, built.psf, sky_limited=False)
    # 40 stars of S/N 30 to 1000 and 6 coefficients: about 2 mmag (measured 0.9-2.8 in 6 fields)
    assert sky_limited.std() < 3.5
    assert bright.std() < 0.5
    # the offset is common to all stars and goes into the zero point: wings of hidden neighbours
    assert abs(sky_limited.mean()) < 3
    assert abs(bright.mean()) < 2


def test_stars_are_fitted_and_galaxies_dropped(varying, built):
    stars = built.stars
    real = ~varying.is_galaxy
    assert stars.used[real].sum() >= 38
    assert stars.used[~real].sum() <= 1
    dropped = ~real & ~stars.used
    assert ((stars.flags[dropped] & int(StarFlag.SHAPE | StarFlag.POOR_FIT)) > 0).all()
    good = real & stars.used
    assert (
        np.hypot(stars.x - varying.x, stars.y - varying.y)[good].max() < 0.25
    )  # pix: 3.5 sigma at S/N 30
    pull = (stars.flux - varying.flux) / stars.flux_err
    # the error of the PSF adds to that of the noise; neighbours pull single stars
    assert 0.6 < 1.4826 * np.median(np.abs(pull[good])) < 2.0
    bright = good & (varying.snr > 300)
    assert 0.8 < np.median(stars.chi2[bright]) < 1.2


def test_reserved_stars_are_predicted(varying, built):
    reserved = star_field(9, n=12, snr=(300, 1000), variation=varying.variation)
    chi2 = []
    near = np.hypot(*np.mgrid[-30:31, -30:31]) < 7
    for k in range(12):
        cut = cut_stars(reserved.image, reserved.ivar, reserved.x[k : k + 1], reserved.y[k : k + 1])
        data = cut.data[0].astype(float)
        weight = 1 / (SKY**2 + np.maximum(data, 0) / 2)
        stamp = built.psf.samples_at(reserved.x[k], reserved.y[k])
        _, residual = fit_star(
            data,
            weight,
            stamp,
            oversampling=built.psf.oversampling,
            flux=reserved.flux[k],
            dx=reserved.x[k] - cut.x0[0] - 30,
            dy=reserved.y[k] - cut.y0[0] - 30,
        )
        chi2.append((weight * residual**2)[near].mean())
    # error of the PSF at S/N 300 to 1000: up to about the noise at the edge of the field
    assert np.median(chi2) < 1.5
    assert max(chi2) < 4


def test_light_outside_the_stamp(built):
    truth = stamp_of(true_psf(0, 0), side=55).sum()
    assert built.growth.outside == pytest.approx(1 - truth, abs=1.5e-3)  # 1.5 mmag
    assert np.all(np.diff(built.growth.enclosed) > -1e-6)
    assert built.psf.stamp_at(511.5, 511.5).sum() == pytest.approx(
        1 - built.growth.outside, abs=1e-4
    )
    assert built.beta == pytest.approx(3.0, abs=0.1)


def test_it_is_deterministic(varying, built):
    again = build_field_psf(cutouts_of(varying), shape=varying.shape, options=OPTIONS)
    for name, array in built.psf.to_arrays().items():
        assert again.psf.to_arrays()[name].tobytes() == array.tobytes()
    assert again.stars.flux.tobytes() == built.stars.flux.tobytes()


def test_flux_scaling(constant):
    cut = cutouts_of(constant)
    plain = build_field_psf(cut, shape=constant.shape, options=OPTIONS)
    scaled = replace(cut, data=cut.data * 16, weight=cut.weight / 256)
    options = replace(OPTIONS, source_variance=16 * 0.5)
    other = build_field_psf(scaled, shape=constant.shape, options=options)
    np.testing.assert_allclose(other.stars.flux, 16 * plain.stars.flux, rtol=1e-6)
    np.testing.assert_allclose(
        other.psf.stamp_at(200, 200), plain.psf.stamp_at(200, 200), atol=1e-7
    )


def test_a_constant_psf_stays_constant(constant):
    result = build_field_psf(cutouts_of(constant), shape=constant.shape, options=OPTIONS)
    truth = stamp_of(true_psf(0, 0, variation=0.0), side=55)
    for x, y in ((30, 30), (210, 380)):
        # 12 stars of S/N 100 to 1000
        np.testing.assert_allclose(result.psf.stamp_at(x, y), truth, atol=4e-3 * truth.max())
    assert result.fwhm == pytest.approx(4.1, abs=0.1)  # 4.0 and the pixel


def test_one_star_is_enough(constant):
    cut = cutouts_of(constant).rows(np.array([int(np.argmax(constant.flux))]))
    result = build_field_psf(cut, shape=constant.shape, options=OPTIONS)
    assert result.n_used == 1
    assert result.order == 0
    truth = stamp_of(true_psf(0, 0, variation=0.0), side=55)
    np.testing.assert_allclose(result.psf.stamp_at(5, 5), truth, atol=0.02 * truth.max())


def test_without_data_there_is_no_psf(constant):
    cut = cutouts_of(constant)
    result = build_field_psf(
        replace(cut, weight=np.zeros_like(cut.weight)), shape=constant.shape, options=OPTIONS
    )
    assert result.psf is None
    assert not result.stars.used.any()
    assert (result.stars.flags & int(StarFlag.NO_DATA)).all()
    assert residual_qa(result)["resid_rms"] is None
    empty = build_field_psf(cut.rows(np.zeros(12, bool)), shape=constant.shape, options=OPTIONS)
    assert empty.psf is None
    assert empty.stars.flux.size == 0


def test_noise_is_not_a_star(constant):
    rng = np.random.default_rng(1)
    cut = cutouts_of(constant)
    noise = rng.normal(0, SKY, cut.data.shape).astype(np.float32)
    result = build_field_psf(replace(cut, data=noise), shape=constant.shape, options=OPTIONS)
    assert result.psf is None


def test_a_masked_core_and_a_saturated_star_are_dropped(constant):
    cut = cutouts_of(constant)
    data, weight = cut.data.copy(), cut.weight.copy()
    weight[0, 27:34, 27:34] = 0
    brightest = int(np.argmax(constant.flux * (np.arange(12) > 0)))
    data[brightest] = np.minimum(data[brightest], 0.3 * data[brightest].max())
    result = build_field_psf(
        replace(cut, data=data, weight=weight), shape=constant.shape, options=OPTIONS
    )
    assert result.stars.flags[0] == StarFlag.NO_DATA
    assert np.isnan(result.stars.flux[0])
    assert not result.stars.used[brightest]
    assert result.n_used >= 8
    truth = stamp_of(true_psf(0, 0, variation=0.0), side=55)
    np.testing.assert_allclose(result.psf.stamp_at(200, 200), truth, atol=8e-3 * truth.max())


def test_narrow_psfs_are_oversampled_and_do_not_ring():
    obj = galsim.Moffat(beta=2.5, fwhm=2.4)
    rng = np.random.default_rng(8)
    offsets = rng.uniform(-0.5, 0.5, (2, 20))
    data = np.array([2e5 * stamp_of(obj, a, b) for a, b in offsets.T])
    data += rng.normal(0, SKY, data.shape)
    middle = np.full(20, 100.0)
    cut = StarCutouts(
        data=data.astype(np.float32),
        weight=np.full(data.shape, SKY**-2.0, np.float32),
        x=middle + offsets[0],
        y=middle + offsets[1],
        x0=np.full(20, 70),
        y0=np.full(20, 70),
    )
    result = build_field_psf(cut, shape=(200, 200), options=BuilderOptions())
    assert result.psf.oversampling == 2
    assert result.psf.basis.shape[-1] == 109
    assert result.psf.stamp_at(100, 100).shape == (55, 55)
    native = build_field_psf(cut, shape=(200, 200), options=BuilderOptions(oversampling=1))
    cross = {}
    for name, psf in (("fine", result.psf), ("native", native.psf)):
        truth = stamp_of(obj, 0.4, -0.3)
        _, residual = fit_star(
            1e5 * truth,
            np.ones_like(truth),
            psf.samples_at(100, 100),
            oversampling=psf.oversampling,
            flux=1e5,
            dx=0.4,
            dy=-0.3,
        )
        cross[name] = np.abs(residual[30, 36:50]).mean() / (1e5 * truth.max())
    # along the row of the star, where an aliased stamp rings
    assert cross["fine"] < 2e-4
    assert cross["native"] > 3 * cross["fine"]


def test_many_stars_are_thinned_over_the_field(varying):
    options = replace(OPTIONS, max_stars=20)
    result = build_field_psf(cutouts_of(varying), shape=varying.shape, options=options)
    left = result.stars.flags == StarFlag.NOT_NEEDED
    assert left.sum() == varying.x.size - 20
    assert np.isnan(result.stars.flux[left]).all()
    assert result.masked[left].all()


def test_residual_numbers(built):
    qa = residual_qa(built)
    assert qa["resid_nstars"] == built.n_used
    assert qa["resid_norm_rms"] == pytest.approx(1.0, abs=0.05)
    assert abs(qa["resid_norm_bias"]) < 0.05
    assert residual_qa(built, np.array([], dtype=int))["resid_rms"] is None


def test_stars_far_from_their_seeds_are_left_out(constant):
    """Seeds that are off by 1 pixel stay within a box of 3 pixels, those that are off by 2 not."""
    x = constant.x.copy()
    x[:3] += 1.0
    x[3:5] -= 2.0
    cutouts = cut_stars(constant.image, constant.ivar, x, constant.y)
    options = replace(OPTIONS, max_shift=1.5)
    stars = build_field_psf(cutouts, shape=constant.shape, options=options).stars
    moved = (stars.flags & int(StarFlag.MOVED)) > 0
    assert np.flatnonzero(moved).tolist() == [3, 4]
    assert not stars.used[moved].any()
    assert stars.used[:3].all()
    # they are measured all the same, 10 % of a pixel is more than the noise
    np.testing.assert_allclose(stars.x[moved], constant.x[moved], atol=0.1)


def test_a_box_of_nine_pixels_leaves_no_star_out(varying):
    """The search ends 3 pixels from the centre of the stamp, that is 3.5 from the seed."""
    x = varying.x + np.linspace(-6.0, 6.0, varying.x.size)
    cutouts = cut_stars(varying.image, varying.ivar, x, varying.y)
    free = build_field_psf(cutouts, shape=varying.shape, options=OPTIONS)
    boxed = build_field_psf(cutouts, shape=varying.shape, options=replace(OPTIONS, max_shift=4.5))
    np.testing.assert_array_equal(free.stars.flags, boxed.stars.flags)
    np.testing.assert_array_equal(free.psf.basis, boxed.psf.basis)


@pytest.mark.parametrize(
    "change",
    [
        {"side": 54},
        {"max_shift": 0.0},
        {"oversampling": 3},
        {"max_order": 4},
        {"iterations": 0},
        {"model_error": 0.0},
        {"max_stars": 0},
        {"total_radius": 0.0},
        {"source_variance": -1.0},
    ],
)
def test_impossible_options_are_refused(constant, change):
    with pytest.raises(WrongValue, match="must be"):
        build_field_psf(
            cutouts_of(constant), shape=constant.shape, options=replace(OPTIONS, **change)
        )


def test_stamps_wider_than_the_cutouts_go_on_as_a_moffat(constant):
    narrow = build_field_psf(cutouts_of(constant), shape=constant.shape, options=OPTIONS).psf
    options = replace(OPTIONS, side=127)
    wide = build_field_psf(cutouts_of(constant), shape=constant.shape, options=options).psf
    centre = 0.5 * constant.shape[1], 0.5 * constant.shape[0]
    inner, outer = narrow.stamp_at(*centre), wide.stamp_at(*centre)
    middle = outer.shape[0] // 2
    cut = slice(middle - 10, middle + 11)
    half = inner.shape[0] // 2
    same = slice(half - 10, half + 11)
    # 1e-4 of the peak: compression of the basis and the taper of the narrow stamp
    assert np.abs(outer[cut, cut] - inner[same, same]).max() < 1e-4 * inner.max()
    wing = outer[middle, middle + 30 : middle + 60 : 10]
    assert (np.diff(wing) < 0).all()
    assert (wing > 0).all()
