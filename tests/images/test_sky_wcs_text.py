"""World coordinates as the text that afw stores: written, compared with real text, read back."""

from __future__ import annotations

import numpy as np
import pytest
from afw_tools import real, sample, sky
from astropy.io import fits
from astropy.wcs import WCS

from skyloom.geometry import Box
from skyloom.images import Exposure, ExposureF, SkyWcs
from skyloom.images.afw.ast_maps import AstProjection
from skyloom.images.afw.ast_text import parse_ast
from skyloom.images.afw.encode_wcs import sky_wcs_text

X, Y = np.meshgrid(np.linspace(-900, 2900, 8), np.linspace(-700, 4500, 9))


def plain(wcs_name="TAN", *, lon=150.0, lat=2.0, pixels=0.2, turn=0.3, flip=True):
    """Return a WCS about pixel (1013.3, 2017.7), turned by an angle [rad]."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = [f"RA---{wcs_name}", f"DEC--{wcs_name}"]
    wcs.wcs.crval, wcs.wcs.crpix = [lon, lat], [1014.3, 2018.7]
    sign = -1.0 if flip else 1.0
    wcs.wcs.cd = (pixels / 3600.0) * np.array(
        [[sign * np.cos(turn), np.sin(turn)], [-sign * np.sin(turn), np.cos(turn)]]
    )
    wcs.wcs.set()
    return wcs


def tree(part):
    """Return an object as nested tuples, numbers as numbers."""

    def number(text):
        try:
            return float(text)
        except ValueError:
            return text

    values = sorted((k, number(v)) for k, v in part.values.items())
    return part.kind, values, sorted((k, tree(v)) for k, v in part.parts.items())


def assert_same_tree(ours, theirs, path=""):
    assert ours[0] == theirs[0], path
    assert [k for k, _ in ours[1]] == [k for k, _ in theirs[1]], path + ours[0]
    for (key, a), (_, b) in zip(ours[1], theirs[1], strict=True):
        # rounding of sines, and of CD values with 15 digits in the header
        close = a == b or (isinstance(b, float) and abs(a - b) <= 1e-14 * max(1.0, abs(b)))
        assert close, f"{path}{ours[0]}.{key}: {a} is not {b}"
    assert [k for k, _ in ours[2]] == [k for k, _ in theirs[2]], path + ours[0]
    for (key, a), (_, b) in zip(ours[2], theirs[2], strict=True):
        assert_same_tree(a, b, f"{path}{ours[0]}.{key}/")


def test_the_text_is_that_of_a_real_file(shared_data):
    """Objects, keys, their nesting and their values are those that afw wrote for the same WCS."""
    path = real(shared_data, "exposure-version-2.fits")
    with fits.open(path) as hdus:
        theirs = bytes(hdus[5].data["wcs"][0]).decode()
        wcs = WCS(hdus[1].header)
    ours = sky_wcs_text(SkyWcs.from_astropy(wcs))
    assert ours.startswith(theirs[:25])
    assert ours.endswith("    End CmpMap\n End FrameSet\n")
    assert_same_tree(tree(parse_ast(ours)), tree(parse_ast(theirs)))
    lines = [line for line in theirs.splitlines() if not line.startswith("#")]  # defaults
    assert len(ours.splitlines()) == len(lines)
    names = [line.partition("=")[0] for line in lines]
    assert [line.partition("=")[0] for line in ours.splitlines()] == names


@pytest.mark.parametrize(
    "wcs",
    [plain(), plain(lon=0.001, lat=-89.9), plain(lon=359.99, lat=60.0, flip=False), sky()],
    ids=["TAN", "near the pole", "not flipped", "SIP"],
)
def test_text_and_astropy_agree(wcs):
    projection = AstProjection.parse(sky_wcs_text(SkyWcs.from_astropy(wcs)))
    ra, dec = wcs.all_pix2world(X, Y, 0)
    found = projection.to_sky(X.ravel(), Y.ravel())
    apart = np.hypot((found[0].reshape(X.shape) - ra + 180) % 360 - 180, 0.0) * np.cos(
        np.radians(dec)
    )
    assert np.abs(apart).max() < 2e-12  # deg, rounding of two ways to compute
    assert np.abs(found[1].reshape(X.shape) - dec).max() < 2e-12
    x, y = projection.to_pixel(ra.ravel(), dec.ravel())
    assert np.allclose(x, X.ravel(), rtol=0, atol=1e-7)  # 1e-13 rad of the sky
    assert np.allclose(y, Y.ravel(), rtol=0, atol=1e-7)


def test_a_wcs_that_was_set_stands_in_archive_and_header(tmp_path):
    """An exposure with an origin, and a part of it: the archive counts in the parent."""
    exposure = sample(50, 40, xy0=(1000, 2000))
    exposure.wcs = SkyWcs.from_astropy(plain())
    exposure.write(tmp_path / "whole.fits")
    exposure[Box(1010, 1030, 2005, 2020)].write(tmp_path / "part.fits")
    ra, dec = (float(v) for v in plain().all_pix2world(1015.0, 2010.0, 0))
    for name in ("whole.fits", "part.fits"):
        back = Exposure.read(tmp_path / name)
        assert back.stored.archive.class_of(back.stored.layout.component_id("wcs")) == "SkyWcs"
        assert isinstance(back.wcs.projection, AstProjection)
        assert back.wcs.is_fits_exact
        assert back.wcs.pixel_to_sky(1015.0, 2010.0) == pytest.approx((ra, dec), abs=1e-12)
        with fits.open(tmp_path / name) as hdus:
            index = hdus[hdus[0].header["AR_HDU"] - 1].data
            (row,) = index[index["name"] == "SkyWcs"]
            assert row["module"] == "lsst.afw.geom"
            data = hdus[hdus[0].header["AR_HDU"] - 1 + row["cat.archive"]].data
            assert bytes(data["wcs"][0]).decode() == sky_wcs_text(exposure.wcs)
            header = WCS(hdus[1].header)
        here = header.all_pix2world(1015.0 - back.xy0[0], 2010.0 - back.xy0[1], 0)
        assert np.allclose(here, (ra, dec), rtol=0, atol=1e-12)


def test_a_wcs_of_a_file_is_written_with_its_text(shared_data, tmp_path):
    """Also on another exposure, and where it has no FITS form."""
    source = Exposure.read(real(shared_data, "exposure-version-2.fits"))
    exposure = ExposureF(30, 20)
    exposure.wcs = SkyWcs(source.wcs.projection)
    exposure.write(tmp_path / "e.fits")
    back = Exposure.read(tmp_path / "e.fits").wcs
    assert back.projection.text == source.wcs.projection.text
    assert back.pixel_to_sky(3.0, 4.0) == source.wcs.pixel_to_sky(3.0, 4.0)


def with_cards(**cards):
    header = plain().to_header()
    header.update(cards)
    return WCS(header)


@pytest.mark.parametrize(
    "wcs",
    [
        plain("ZEA"),
        with_cards(RADESYS="FK5", EQUINOX=2000.0),
        with_cards(LONPOLE=170.0),
        with_cards(CTYPE1="RA---TPV", CTYPE2="DEC--TPV", PV1_1=1.0001, PV1_4=1e-4),
    ],
    ids=["ZEA", "FK5", "LONPOLE", "TPV"],
)
def test_others_stand_in_the_header_alone(wcs, tmp_path):
    exposure = ExposureF(30, 20)
    exposure.wcs = wcs
    assert sky_wcs_text(exposure.wcs) is None
    exposure.write(tmp_path / "e.fits")
    back = Exposure.read(tmp_path / "e.fits")
    assert back.stored.layout.component_id("wcs") == 0
    expected = exposure.wcs.pixel_to_sky(12.0, 13.0)
    assert back.wcs.pixel_to_sky(12.0, 13.0) == pytest.approx(expected, abs=1e-10)


def test_a_header_that_only_approximates_is_told(tmp_path):
    """Polynomials as those of a camera, and a header with the gnomonic part alone."""
    exposure = ExposureF(2000, 4000)
    exposure.wcs = sky()
    exposure.write(tmp_path / "e.fits")
    data = (tmp_path / "e.fits").read_bytes()
    assert Exposure.read(tmp_path / "e.fits").wcs.is_fits_exact
    for name in (b"A_2_0   ", b"B_0_2   "):
        at = data.index(name)
        data = data[:at] + b"COMMENT " + data[at + 8 :]
    (tmp_path / "f.fits").write_bytes(data)
    found = Exposure.read(tmp_path / "f.fits").wcs
    assert not found.is_fits_exact
    assert found.pixel_to_sky(1500.0, 3000.0) == pytest.approx(
        exposure.wcs.pixel_to_sky(1500.0, 3000.0), abs=1e-11
    )
