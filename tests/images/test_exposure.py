"""Images, masked images and exposures in memory."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.errors import Mismatch, OutsideImage, WrongType
from skyloom.geometry import Box
from skyloom.images import (
    Exposure,
    ExposureF,
    ExposureI,
    Image,
    ImageD,
    ImageF,
    ImageI,
    ImageL,
    ImageU,
    Mask,
    MaskedImage,
    MaskedImageF,
    SkyWcs,
)


def tan(crpix=(10.0, 20.0)):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [150.0, 2.0]
    wcs.wcs.crpix = crpix
    wcs.wcs.cd = [[-5e-5, 1e-6], [1e-6, 5e-5]]
    return wcs


@pytest.mark.parametrize(
    ("factory", "dtype"),
    [
        (ImageF, np.float32),
        (ImageD, np.float64),
        (ImageI, np.int32),
        (ImageU, np.uint16),
        (ImageL, np.uint64),
    ],
)
def test_factories_take_width_and_height(factory, dtype):
    image = factory(4, 3)
    assert image.array.dtype == dtype
    assert image.array.shape == (3, 4)
    assert factory.matches(image)
    assert factory(Box(5, 7, 10, 13)).box == Box(5, 7, 10, 13)


def test_a_box_shares_memory_and_a_copy_does_not():
    image = ImageF(np.arange(20, dtype=np.float32).reshape(4, 5), xy0=(100, 200))
    part = image[Box(102, 104, 201, 203)]
    assert part.array.tolist() == [[7, 8], [12, 13]]
    part.array[:] = -1
    assert image.array[1, 2] == -1
    assert ImageF(image, Box(102, 104, 201, 203)).array.base is not None
    copy = image.copy()
    copy.array[:] = 5
    assert image.array[0, 0] == 0


@pytest.mark.parametrize(
    "box",
    [Box(99, 101, 200, 201), Box(100, 106, 200, 201), Box(100, 100, 200, 201), Box(0, 1, 0, 1)],
)
def test_a_box_outside_is_refused(box):
    image = ImageF(np.zeros((4, 5), np.float32), xy0=(100, 200))
    with pytest.raises(OutsideImage, match="x = 100 to 104 and y = 200 to 203"):
        image[box]


def test_types_are_converted_explicitly_only():
    image = ImageI(np.array([[1, 2]], np.int32))
    with pytest.raises(WrongType, match="float32, pixels of int32"):
        ImageF(image)
    with pytest.raises(WrongType, match="convert them explicitly"):
        ImageF(np.zeros((2, 2)))
    assert image.convert_f().array.dtype == np.float32
    assert image.convert_d().array.dtype == np.float64


def test_planes_of_a_masked_image_cover_the_same_pixels():
    image = MaskedImage(np.zeros((3, 4), np.float32))
    assert image.variance.array.dtype == np.float32
    assert image.mask.array.dtype == np.int32
    with pytest.raises(Mismatch, match="the mask covers"):
        MaskedImage(Image(np.zeros((3, 4)), xy0=(1, 0)), Mask.zeros(4, 3))
    with pytest.raises(Mismatch, match="the variance covers"):
        MaskedImage(np.zeros((3, 4)), variance=np.zeros((4, 3)))


def test_moving_a_masked_image_moves_its_planes():
    image = MaskedImageF(4, 3)
    image.xy0 = (7, 8)
    assert image.mask.box == image.variance.box == image.box == Box(7, 11, 8, 11)


def test_a_part_of_an_exposure():
    exposure = ExposureF(8, 6, xy0=(100, 200))
    exposure.wcs = tan()
    part = exposure[Box(103, 106, 202, 205)]
    part.image.array[:] = 3
    part.mask |= 1
    assert exposure.image.array.sum() == 27
    assert exposure.mask.array.sum() == 9
    assert part.xy0 == (103, 202)
    assert part.wcs is exposure.wcs
    copy = exposure.copy()
    copy.metadata["NEW"] = 1
    copy.variance.array[:] = 2
    assert "NEW" not in exposure.metadata
    assert not exposure.variance.array.any()


def test_an_astropy_wcs_counts_from_the_array_and_ours_from_the_parent():
    wcs = tan(crpix=(10.0, 20.0))
    exposure = Exposure(ImageF(50, 40, xy0=(100, 200)), wcs=wcs)
    assert isinstance(exposure.wcs, SkyWcs)
    # FITS pixel (10, 20) is array pixel (9, 19) and parent pixel (109, 219)
    assert exposure.wcs.pixel_to_sky(109, 219) == pytest.approx((150.0, 2.0), abs=1e-12)
    assert exposure.wcs.sky_to_pixel(150.0, 2.0) == pytest.approx((109, 219), abs=1e-9)
    part = exposure[Box(105, 120, 210, 230)]
    back = part.wcs.to_astropy(xy0=part.xy0)
    assert back.wcs.crpix == pytest.approx([5.0, 10.0])


SIP = {"A_ORDER": 3, "B_ORDER": 3, "A_2_0": 2.1e-6, "A_0_2": -1.3e-6, "A_1_1": 3.3e-7,
       "A_3_0": 1e-10, "B_2_0": 4e-7, "B_0_3": -1.234567890123e-10}  # fmt: skip
TPV = {"PV1_0": 1e-6, "PV1_1": 1.0001, "PV1_4": 1e-4, "PV2_1": 0.9999, "PV2_5": 1e-4}


@pytest.mark.parametrize(
    ("projection", "more"),
    [("TAN", {}), ("TAN-SIP", SIP), ("TAN-SIP", SIP | {"AP_ORDER": 1, "AP_1_0": 1e-7}),
     ("TPV", TPV), ("ZEA", {}), ("STG", {})],
    ids=["TAN", "SIP", "SIP with inverse", "TPV", "ZEA", "STG"],
)  # fmt: skip
def test_a_wcs_that_was_set_comes_back_exactly(projection, more, tmp_path):
    """Of an exposure with an origin, of its parts, and of parts that are written again."""
    header = tan(crpix=(1013.3, 2017.7)).to_header()
    header["CTYPE1"], header["CTYPE2"] = f"RA---{projection}", f"DEC--{projection}"
    header.update(more)
    exposure = ExposureF(400, 300, xy0=(1000, 2000))
    exposure.metadata.update(SIP)  # of an older WCS: they mean nothing
    exposure.wcs = WCS(header)
    x, y = np.meshgrid(np.linspace(1000, 1399, 5), np.linspace(2000, 2299, 5))
    ra, dec = exposure.wcs.pixel_to_sky(x, y)
    exposure.write(tmp_path / "whole.fits")
    Exposure.read(tmp_path / "whole.fits", bbox=Box(1100, 1150, 2050, 2090)).write(
        tmp_path / "part.fits"
    )
    for name in ("whole.fits", "part.fits"):
        back = Exposure.read(tmp_path / name)
        found = back.wcs.pixel_to_sky(x, y)
        # 1e-6 pix of 0.18 arcsec; in sky positions, which need no iteration
        assert np.allclose(found, (ra, dec), rtol=0, atol=5e-11)
        assert np.allclose(back.wcs.sky_to_pixel(ra, dec), (x, y), rtol=0, atol=1e-6)
        plain = WCS(fits.getheader(tmp_path / name, 1)).all_pix2world(
            x - back.xy0[0], y - back.xy0[1], 0
        )
        assert np.allclose(plain, (ra, dec), rtol=0, atol=5e-11)


def test_sky_positions_of_arrays_and_jacobian():
    wcs = SkyWcs.from_astropy(tan())
    x, y = np.meshgrid([0.0, 5.0, np.nan], [1.0, 2.0])
    ra, dec = wcs.pixel_to_sky(x, y)
    assert ra.shape == (2, 3)
    assert np.isnan(ra[:, 2]).all()
    assert np.allclose(wcs.sky_to_pixel(ra, dec)[0][:, :2], x[:, :2], atol=1e-8)  # wcslib, double
    assert wcs.jacobian(9.0, 19.0) == pytest.approx(
        3600 * np.array([[-5e-5, 1e-6], [1e-6, 5e-5]]), rel=1e-6
    )
    assert wcs.pixel_scale(9.0, 19.0) == pytest.approx(0.18, rel=1e-3)


def test_what_is_no_box_is_said_so(tmp_path):
    exposure = ExposureF(9, 9)
    exposure.write(tmp_path / "e.fits")
    for cut in (
        lambda: exposure[1:2, 3:4],
        lambda: exposure.image[1, 2],
        lambda: Exposure.read(tmp_path / "e.fits", bbox=(1, 2, 3, 4)),
    ):
        with pytest.raises(WrongType, match=r"is no Box; give Box\(x0, x1, y0, y1\)"):
            cut()


def test_galactic_coordinates_are_not_taken_for_equatorial_ones(tmp_path):
    header = tan().to_header()
    header["CTYPE1"], header["CTYPE2"] = "GLON-TAN", "GLAT-TAN"
    fits.PrimaryHDU(np.ones((5, 5), np.float32), header).writeto(tmp_path / "g.fits")
    exposure = Exposure.read(tmp_path / "g.fits")
    for ask in (exposure.wcs.pixel_to_sky, exposure.wcs.sky_to_pixel):
        with pytest.raises(Mismatch, match="GLON-TAN and GLAT-TAN, right ascension"):
            ask(150.0, 2.0)
    exposure.write(tmp_path / "again.fits")  # it is kept all the same
    assert fits.getheader(tmp_path / "again.fits", 1)["CTYPE1"] == "GLON-TAN"


def test_exposures_of_one_type():
    exposure = ExposureF(4, 3)
    assert ExposureF.matches(exposure)
    assert not ExposureI.matches(exposure)
    assert ExposureF(exposure, Box(1, 2, 1, 2)).shape == (1, 1)
    with pytest.raises(WrongType, match="ExposureI"):
        ExposureI(exposure)


def test_what_is_not_there_is_none():
    exposure = ExposureF(4, 3)
    assert [getattr(exposure, n) for n in ("wcs", "psf", "photo_calib", "filter")] == [None] * 4
    exposure.filter = "g"
    assert exposure.replaced == {"filter": "g"}
