"""The PSF that varies over the field: evaluation, cropping, storage."""

import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from skyloom.errors import DataDamaged, WrongValue
from skyloom.protocols import Psf
from skyloom.psf import FieldPsf, MoffatPsf
from skyloom.psf.field import field_coordinates, hats, monomials, n_monomials


def make_psf(*, degree=2, cells=None, oversampling=1, k=3, side=15):
    rng = np.random.default_rng(1)
    return FieldPsf(
        basis=rng.normal(size=(k, side, side)).astype(np.float32),
        polynomial=rng.normal(size=(k, n_monomials(degree))),
        shape=(300, 200),
        fwhm=3.3,
        cells=None if cells is None else rng.normal(size=(k, *cells)),
        oversampling=oversampling,
    )


def test_it_satisfies_the_protocol():
    assert isinstance(make_psf(), Psf)


@pytest.mark.parametrize("cells", [None, (2, 3)])
def test_coefficients_follow_the_formula(cells):
    psf = make_psf(cells=cells)
    x, y = np.array([10.0, 150.0]), np.array([20.0, 280.0])
    u, v = (2 * x + 1) / 200 - 1, (2 * y + 1) / 300 - 1
    terms = np.stack([np.ones(2), u, v, u**2, u * v, v**2], axis=1)
    expected = terms @ psf.polynomial.T
    if cells:
        expected = expected + hats(u, v, grid=cells) @ psf.cells.reshape(3, -1).T
    np.testing.assert_allclose(psf.coefficients(x, y), expected, rtol=1e-12)


def test_outside_the_image_the_value_of_the_edge_holds():
    psf = make_psf()
    inside = psf.coefficients(np.array([199.5]), np.array([100.0]))
    np.testing.assert_array_equal(psf.coefficients(np.array([900.0]), np.array([100.0])), inside)


@given(u=st.floats(-1, 1), v=st.floats(-1, 1), gx=st.integers(1, 5), gy=st.integers(1, 5))
def test_hats_share_out_one(u, v, gx, gy):
    weights = hats(np.array([u]), np.array([v]), grid=(gy, gx))
    assert weights.shape == (1, gx * gy)
    assert weights.min() >= 0
    assert weights.sum() == pytest.approx(1.0)  # rounding


def test_hats_reproduce_cell_centres():
    t = (np.arange(4) + 0.5) * 2 / 4 - 1
    v, u = (a.ravel() for a in np.meshgrid(t, t, indexing="ij"))
    np.testing.assert_allclose(hats(u, v, grid=(4, 4)), np.eye(16), atol=1e-12)


@given(degree=st.integers(0, 6))
def test_number_of_monomials(degree):
    terms = monomials(np.array([0.3]), np.array([0.7]), degree=degree)
    assert terms.shape == (1, n_monomials(degree))
    psf = make_psf(degree=degree)
    assert psf.degree == degree


def test_field_coordinates_span_pixel_edges():
    u, v = field_coordinates(np.array([-0.5, 199.5]), np.array([149.5, 149.5]), shape=(300, 200))
    np.testing.assert_allclose(u, [-1, 1])
    np.testing.assert_allclose(v, 0, atol=1e-15)


@pytest.mark.parametrize("cells", [None, (2, 3)])
def test_round_trip_through_npz_is_exact(cells):
    psf = make_psf(cells=cells, oversampling=2)
    buffer = io.BytesIO()
    np.savez(buffer, **psf.to_arrays())
    buffer.seek(0)
    with np.load(buffer, allow_pickle=False) as arrays:
        again = FieldPsf.from_arrays(dict(arrays))
    for name, array in psf.to_arrays().items():
        np.testing.assert_array_equal(again.to_arrays()[name], array)
    assert again.shape == psf.shape
    assert again.oversampling == 2


@pytest.mark.parametrize("fault", ["missing", "format", "rubbish"])
def test_damaged_arrays_are_refused(fault):
    arrays = make_psf().to_arrays()
    if fault == "missing":
        del arrays["basis"]
    elif fault == "format":
        arrays["format"] = np.array(99)
    else:
        arrays["shape"] = np.array(["a", "b"])
    with pytest.raises(DataDamaged, match="redo the ePSF stage"):
        FieldPsf.from_arrays(arrays)


@given(side=st.sampled_from([5, 9, 15]))
@settings(deadline=None)
def test_cropping_keeps_the_centre(side):
    psf = make_psf()
    cut = (15 - side) // 2
    inner = psf.stamp_at(50, 60)[cut : cut + side, cut : cut + side]
    # sums of three products, in another order
    np.testing.assert_allclose(psf.cropped(side).stamp_at(50, 60), inner, rtol=1e-12, atol=1e-12)


def test_native_stamp_of_an_oversampled_psf():
    psf = make_psf(oversampling=2, side=29)
    stamp = psf.stamp_at(50, 60)
    assert stamp.shape == (15, 15)
    assert stamp[7, 7] == psf.samples_at(50, 60)[14, 14]
    assert psf.cropped(9).stamp_at(50, 60).shape == (9, 9)


@pytest.mark.parametrize("oversampling", [1, 2, 3, 5])
def test_a_psf_is_sampled_as_finely_as_is_asked(oversampling):
    moffat = MoffatPsf(fwhm_pix=6.0, radius=40.0)  # of samples, two per pixel
    psf = FieldPsf(
        basis=moffat.basis.copy(),
        polynomial=np.ones((1, 1)),
        shape=(50, 60),
        fwhm=3.0,
        oversampling=2,
    )
    fine = psf.resampled_at(20, 30, oversampling=oversampling)
    half = 20 * oversampling
    assert fine.shape == (2 * half + 1,) * 2
    r = 2.0 * np.hypot(*(np.indices(fine.shape) - half)) / oversampling
    truth = moffat.basis.max() * (1.0 + (r / moffat.alpha) ** 2) ** -moffat.beta
    # spline of fifth order through six samples per FWHM; stored in single precision
    np.testing.assert_allclose(fine, truth, rtol=0, atol=2e-4 * truth.max())
    at_pixels = fine[::oversampling, ::oversampling]
    np.testing.assert_allclose(at_pixels, psf.stamp_at(20, 30), atol=1e-6 * truth.max())


@pytest.mark.parametrize("side", [4, 17, 0])
def test_impossible_crops_are_refused(side):
    with pytest.raises(WrongValue, match="final_psf_size"):
        make_psf().cropped(side)


def test_arrays_that_do_not_belong_together_are_refused():
    basis = MoffatPsf(fwhm_pix=3.0).basis.copy()
    with pytest.raises(WrongValue, match="do not belong together"):
        FieldPsf(basis=basis, polynomial=np.ones((2, 1)), shape=(10, 10), fwhm=3.0)
    with pytest.raises(WrongValue, match="do not belong together"):
        FieldPsf(basis=basis, polynomial=np.ones((1, 2)), shape=(10, 10), fwhm=3.0)


def test_arrays_cannot_be_changed():
    psf = make_psf()
    with pytest.raises(ValueError, match="read-only"):
        psf.basis[0, 0, 0] = 1


def test_the_leading_images_are_most_of_the_psf() -> None:
    rng = np.random.default_rng(8)
    basis = rng.normal(size=(4, 9, 9)).astype(np.float32)
    polynomial = rng.normal(size=(4, 3)) * np.array([1.0, 1e-1, 1e-2, 1e-3])[:, None]
    psf = FieldPsf(basis=basis, polynomial=polynomial, shape=(50, 60), fwhm=3.0)
    simple = psf.leading(3)
    assert simple.basis.shape[0] == 3
    left_out = np.abs(polynomial[3]).sum() * np.abs(basis[3])
    change = np.abs(psf.samples_at(10.0, 20.0) - simple.samples_at(10.0, 20.0))
    assert np.all(change <= left_out + 1e-6)  # single precision
    assert psf.leading(9) is psf
