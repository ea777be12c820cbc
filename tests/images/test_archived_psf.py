"""PSFs: kernels, PSFEx models and coadds, against closed forms; and through the archive."""

from __future__ import annotations

import numpy as np
import pytest
from afw_tools import coadd_objects, gaussian, kernel_psf, sample, sky

from skyloom.errors import MissingComponent, OutsideImage
from skyloom.geometry import Box
from skyloom.images import (
    ArchivedObject,
    CoaddInput,
    CoaddPsf,
    Exposure,
    KernelPsf,
    PsfexPsf,
    SkyWcs,
)
from skyloom.images.afw.archive import Archive
from skyloom.images.afw.decode import Decoder
from skyloom.images.afw.tables import FieldSpec
from skyloom.images.coadd_psf import warped_image
from skyloom.protocols import Psf
from skyloom.psf import MoffatPsf


def psfex_psf(step=0.5, side=41, sigma=2.0):
    """Return a PSFEx model whose width varies: g(sigma) + x' g' as first order in x'."""
    base = gaussian(side, sigma, step)
    wider = gaussian(side, 1.05 * sigma, step) - base
    terms = [base, wider, 0.5 * wider, 0 * base, 0 * base, 0 * base]  # 1 x x2 y xy y2
    return PsfexPsf(
        terms, step=step, group=[0, 0], degree=[2], offset=[1000.0, 2000.0], scale=[1000.0, 2000.0],
        average_position=(1000.0, 2000.0),
    )  # fmt: skip


@pytest.mark.parametrize("make", [kernel_psf, psfex_psf])
def test_a_psf_is_what_the_engine_wants(make):
    psf = make()
    assert isinstance(psf, Psf)
    assert psf.basis.dtype == np.float32
    assert psf.basis.shape[1] % 2 == 1
    x, y = np.array([10.0, 500.0, 1900.0]), np.array([3900.0, 20.0, 1000.0])
    factors = psf.coefficients(x, y)
    assert factors.shape == (3, len(psf.basis))
    for i in range(3):
        stamp = np.tensordot(factors[i], psf.basis, 1)
        assert np.allclose(stamp, psf.at(x[i], y[i]), rtol=0, atol=1e-7)  # float32
        assert psf.at(x[i], y[i]).sum() == pytest.approx(1.0, abs=1e-12)  # rounding


def test_factors_are_the_functions():
    psf = kernel_psf()
    x, y = 300.0, 2500.0
    u, v = x / 1000 - 1, y / 2000 - 1
    one = 1 + 0.1 * u - 0.2 * v + 0.05 * (2 * u**2 - 1) + 0.02 * u * v + 0.01 * (2 * v**2 - 1)
    two = 0.5 + 1e-4 * x - 5e-5 * y
    expected = one * psf.images[0] + two * psf.images[1]
    assert np.allclose(psf.at(x, y), expected / expected.sum(), rtol=0, atol=1e-15)  # rounding


def test_a_psfex_model_is_sampled_at_native_pixels():
    # Lanczos-5 of a Gaussian with sigma of four samples: the kernel's own ripple, 1e-4 of the peak
    psf = psfex_psf()
    expected = gaussian(21, 2.0)
    assert psf.images.shape == (6, 21, 21)
    assert np.allclose(psf.at(1000.0, 2000.0), expected, rtol=0, atol=2e-4 * expected.max())
    assert psf.fwhm == pytest.approx(2.3548 * 2.0, rel=0.01)  # eighth of a pixel of the contour
    wide = psf.at(2000.0, 2000.0)  # x' = 1: both first and second order
    y, x = np.indices(wide.shape) - 10
    moment = (wide * x**2).sum()
    assert moment == pytest.approx(4.0 + 1.5 * 4.0 * (1.05**2 - 1), rel=2e-3)
    assert (wide * y**2).sum() == pytest.approx(moment, rel=1e-9)


@pytest.mark.parametrize(("step", "n", "side"), [(0.7, 50, 35), (0.5, 41, 21), (1.0, 63, 63)])
def test_the_stamp_of_a_psfex_model_has_the_size_that_afw_gives_it(step, n, side):
    """The whole part of samples times step in float32, made odd."""
    step = float(np.float32(step))
    psf = PsfexPsf(
        [gaussian(n, 2.0, step)], step=step, group=[0, 0], degree=[0], offset=[0, 0], scale=[1, 1]
    )
    assert psf.at(0.0, 0.0).shape == (side, side)


def test_a_psfex_model_is_resampled_by_ten_taps_of_lanczos_5():
    """Sample by sample, as PSFEx does it: cut at the edge, with sum one."""
    rng = np.random.default_rng(8)
    image, step = rng.uniform(0.5, 1.0, (31, 31)), 0.8
    psf = PsfexPsf([image], step=step, group=[0, 0], degree=[0], offset=[0, 0], scale=[1, 1])
    image = image.astype(np.float32).astype(float)
    side = 25

    def taps(j):
        place = 31 // 2 + (j - side // 2) / step
        samples = [k for k in range(int(place) - 4, int(place) + 6) if 0 <= k < 31]
        t = np.array(samples) - place
        weights = np.sinc(t) * np.sinc(t / 5) * (np.abs(t) <= 5)
        return samples, weights / weights.sum()

    expected = np.zeros((side, side))
    for row in range(side):
        for column in range(side):
            (ys, wy), (xs, wx) = taps(row), taps(column)
            expected[row, column] = wy @ image[np.ix_(ys, xs)] @ wx
    stamp = psf.at(0.0, 0.0)
    assert np.allclose(stamp, expected / expected.sum(), rtol=0, atol=1e-15)


def test_a_psfex_model_keeps_its_orientation():
    # a component that is long in x: rows of the array are y
    y, x = np.indices((25, 25)) - 12
    image = np.exp(-0.5 * (x**2 / 9.0 + y**2))
    psf = PsfexPsf([image], step=1.0, group=[0, 0], degree=[0], offset=[0, 0], scale=[1, 1])
    stamp = psf.at(0.0, 0.0)
    y, x = np.indices(stamp.shape) - 12
    assert (stamp * x**2).sum() > 5 * (stamp * y**2).sum()
    assert np.allclose(
        stamp, image / image.sum(), rtol=0, atol=1e-8
    )  # float32; step 1: nothing moves


@pytest.mark.parametrize("make", [kernel_psf, psfex_psf])
def test_a_psf_comes_back_from_a_file(make, tmp_path):
    exposure, psf = sample(), make()
    exposure.psf = psf
    exposure.write(tmp_path / "e.fits")
    back = Exposure.read(tmp_path / "e.fits").psf
    assert type(back) is type(psf)
    assert back.average_position == psf.average_position
    for x, y in ((0.0, 0.0), (1234.5, 987.6)):
        assert np.array_equal(back.at(x, y), psf.at(x, y))


def test_constant_psfs_of_any_class_are_written(tmp_path):
    exposure = sample()
    exposure.psf = MoffatPsf(fwhm_pix=3.0)
    exposure.write(tmp_path / "e.fits")
    back = Exposure.read(tmp_path / "e.fits").psf
    basis = MoffatPsf(fwhm_pix=3.0).basis[0].astype(float)
    assert np.allclose(back.at(0, 0), basis / basis.sum(), rtol=0, atol=1e-12)
    amplitudes = KernelPsf(np.stack([gaussian(9, 1.0), gaussian(9, 1.5)]), [1.0, 0.5])
    exposure.psf = amplitudes
    exposure.write(tmp_path / "f.fits")
    assert np.array_equal(Exposure.read(tmp_path / "f.fits").psf.at(0, 0), amplitudes.at(0, 0))


def test_a_varying_psf_of_another_class_is_refused(tmp_path):
    class Other:
        oversampling, fwhm = 1, 2.0
        basis = np.zeros((2, 5, 5), np.float32)

        def coefficients(self, x, _y):
            return np.zeros((len(x), 2))

    exposure = sample()
    exposure.psf = Other()
    with pytest.raises(MissingComponent, match="psf cannot be written: a Other has no place"):
        exposure.write(tmp_path / "e.fits")


def archive_of(*objects):
    """Return the decoder of an archive of (id, class, parts)."""
    return Decoder(Archive.empty().extended([(i, name, "", parts) for i, name, parts in objects]))


def test_gaussian_psfs_of_the_archive():
    fields = [
        FieldSpec(name="dimensions_x", form="1J", values=[15]),
        FieldSpec(name="dimensions_y", form="1J", values=[15]),
        FieldSpec(name="sigma", form="1D", values=[2.0]),
    ]
    psf = archive_of((7, "SingleGaussianPsf", [fields])).get(7)
    assert np.allclose(psf.at(3, 4), gaussian(15, 2.0) / gaussian(15, 2.0).sum(), rtol=1e-12)
    numbers = {"sigma1": 1.0, "sigma2": 2.0, "b": 0.1}
    double = [
        *fields[:2],
        *(FieldSpec(name=n, form="1D", values=[v]) for n, v in numbers.items()),
    ]
    stamp = archive_of((7, "DoubleGaussianPsf", [double])).get(7).at(0, 0)
    assert stamp[7, 8] / stamp[7, 7] == pytest.approx(
        (np.exp(-0.5) + 0.1 * np.exp(-0.125)) / 1.1, rel=1e-12
    )


def test_a_kernel_with_its_centre_elsewhere_is_centred():
    image = np.zeros((4, 6))
    image[1, 2] = 1.0
    numbers = {"dimensions_x": 6, "dimensions_y": 4, "center_x": 2, "center_y": 1}
    fields = [FieldSpec(name=n, form="1J", values=[v]) for n, v in numbers.items()]
    fields.append(FieldSpec(name="image", form="24D", values=[image.ravel()]))
    psf = [FieldSpec(name="kernel", form="1J", values=[1])]
    stamp = archive_of((1, "FixedKernel", [fields]), (2, "PcaPsf", [psf])).get(2).at(0, 0)
    assert stamp.shape == (7, 7)
    assert stamp[3, 3] == 1.0


def test_unknown_classes_stay_as_they_are():
    fields = [FieldSpec(name="kernel", form="1J", values=[1])]
    decoder = archive_of((1, "DeltaFunctionKernel", [fields]), (2, "KernelPsf", [fields]))
    found = decoder.get(2)
    assert isinstance(found, ArchivedObject)
    assert found.name == "KernelPsf"
    assert found.parts[0].get("kernel") == 1
    with pytest.raises(AttributeError, match=r"not known \(the class DeltaFunctionKernel is not"):
        found.at(1.0, 2.0)


# ---- coadds


ON_ITS_PIXELS = SkyWcs.from_astropy(sky())


def identity_input(psf, weight, box=None, polygon=None):
    box = box or Box(0, 200, 0, 100)
    return CoaddInput(psf=psf, wcs=ON_ITS_PIXELS, box=box, weight=weight, polygon=polygon)


def test_a_coadd_of_one_input_on_its_own_pixels_is_that_psf():
    psf = kernel_psf()
    coadd = CoaddPsf([identity_input(psf, 3.0)], ON_ITS_PIXELS, average_position=(50, 50))
    stamp, expected = coadd.at(50.0, 60.0), psf.at(50.0, 60.0)
    edge = (stamp.shape[0] - expected.shape[0]) // 2
    inner = stamp[edge : stamp.shape[0] - edge, edge : stamp.shape[0] - edge]
    assert np.allclose(inner, expected, rtol=0, atol=1e-6 * expected.max())  # WCS inverse, 1e-7 pix
    assert isinstance(coadd, Psf)


def test_a_coadd_is_the_weighted_mean_of_what_covers_the_place():
    narrow, wide = KernelPsf([gaussian(31, 1.5)]), KernelPsf([gaussian(31, 3.0)])
    triangle = np.array([[0.0, 0.0], [200.0, 0.0], [0.0, 100.0]])
    inputs = [
        identity_input(narrow, 1.0),
        identity_input(wide, 3.0, box=Box(0, 100, 0, 100)),
        identity_input(wide, 99.0, polygon=triangle),
    ]
    coadd = CoaddPsf(inputs, ON_ITS_PIXELS, average_position=(50.0, 90.0))
    both = coadd.at(50.0, 90.0)  # outside the triangle
    expected = (narrow.at(0, 0) + 3 * wide.at(0, 0)) / 4
    assert np.allclose(both, expected, rtol=0, atol=1e-6 * expected.max())
    alone = coadd.at(150.0, 90.0)
    assert np.allclose(alone, narrow.at(0, 0), rtol=0, atol=1e-6 * alone.max())
    with pytest.raises(OutsideImage, match="no input of the coadd covers"):
        coadd.at(500.0, 500.0)


@pytest.mark.parametrize("kernel", ["lanczos3", "lanczos5"])
def test_warping_turns_and_scales(kernel):
    # an elliptical Gaussian, turned by 30 degrees and shrunk by 1.2: moments follow the map
    angle, scale = np.radians(30), 1.2
    linear = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    y, x = np.indices((61, 61)) - 30.0
    covariance = np.array([[16.0, 3.0], [3.0, 9.0]])
    inverse = np.linalg.inv(covariance)
    image = np.exp(-0.5 * (inverse[0, 0] * x**2 + 2 * inverse[0, 1] * x * y + inverse[1, 1] * y**2))
    result = warped_image(image, linear, kernel)
    half = result.shape[0] // 2
    y, x = np.indices(result.shape) - float(half)
    xx, xy, yy = ((result * product).sum() for product in (x * x, x * y, y * y))
    moments = np.array([[xx, xy], [xy, yy]])
    expected = np.linalg.inv(linear) @ covariance @ np.linalg.inv(linear).T
    assert np.allclose(moments, expected, rtol=0, atol=0.01 * np.trace(expected))  # Lanczos ripple


def test_a_coadd_psf_of_an_archive():
    psf = kernel_psf()
    decoder = archive_of(*coadd_objects(psf))
    coadd = decoder.get(100)
    assert isinstance(coadd, CoaddPsf)
    assert [i.weight for i in coadd.inputs] == [2.0, 1.0]
    assert coadd.warping_kernel == "lanczos3"
    assert coadd.inputs[0].polygon.shape == (4, 2)
    expected = psf.at(30.0, 30.0)
    stamp = coadd.at(30.0, 30.0)
    assert stamp.sum() == pytest.approx(1.0, abs=1e-12)
    middle = stamp.shape[0] // 2
    assert stamp[middle, middle] == pytest.approx(expected.max(), rel=1e-3)


def test_the_grid_of_a_coadd_interpolates():
    psf = kernel_psf()
    coadd = CoaddPsf(
        [identity_input(psf, 1.0, box=Box(0, 2000, 0, 4000))],
        ON_ITS_PIXELS,
        average_position=(1000.0, 2000.0),
    )
    grid = coadd.on_grid(Box(200, 400, 300, 500), nodes=3)
    assert np.allclose(grid.at(300.0, 400.0), coadd.at(300.0, 400.0), atol=1e-7)  # a node; float32
    off = np.abs(grid.at(250.0, 350.0) - coadd.at(250.0, 350.0)).max()
    assert off < 1e-4 * coadd.at(250.0, 350.0).max()  # curvature of the model over 100 pix
    assert grid.coefficients(250.0, 350.0).sum() == pytest.approx(1.0)
    assert coadd.coefficients(np.array([100.0]), np.array([100.0])).shape == (1, len(coadd.basis))
