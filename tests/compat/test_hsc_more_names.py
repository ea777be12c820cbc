"""Old names that other scripts of the HSC tools use: transforms, ellipticities, backgrounds, ..."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.wcs import WCS

from skyloom import display
from skyloom.catalogs import SourceCatalog, SpanSet
from skyloom.compat.hsc import (
    afw_display,
    afw_geom,
    afw_image,
    afw_math,
    afw_table,
    daf_base,
    display_utils,
    ellipses,
    lsst_geom,
)
from skyloom.compat.hsc._adapter import old_of
from skyloom.errors import InputError, Mismatch
from skyloom.geometry import Axes, Quadrupole
from skyloom.images import (
    Background,
    BackgroundList,
    Exposure,
    Image,
    KernelPsf,
    MaskedImage,
    PhotoCalib,
    measure_background,
)

SHAPES = {
    "Distortion": lambda q: (1 - q**2) / (1 + q**2),
    "ReducedShear": lambda q: (1 - q) / (1 + q),
    "ConformalShear": lambda q: -np.log(q),
}


# --- geometry


def test_linear_transforms() -> None:
    turn = afw_geom.LinearTransform.makeRotation(90 * afw_geom.degrees)
    np.testing.assert_allclose(tuple(turn(afw_geom.Point2D(1, 0))), (0, 1), atol=1e-15)
    grow = afw_geom.LinearTransform.makeScaling(2.0, 3.0)
    both = turn * grow
    np.testing.assert_allclose(tuple(both(afw_geom.Extent2D(1, 1))), (-3, 2), atol=1e-15)
    assert both.computeDeterminant() == pytest.approx(6)
    np.testing.assert_allclose((both.invert() * both).getMatrix(), np.eye(2), atol=1e-15)
    np.testing.assert_allclose(both.getParameterVector(), [0, 2, -3, 0], atol=1e-15)
    assert both[1, 0] == pytest.approx(2)
    affine = afw_geom.AffineTransform(grow, afw_geom.Extent2D(5, 7))
    assert tuple(affine(afw_geom.Point2D(1, 1))) == (7, 10)
    assert tuple(affine(afw_geom.Extent2D(1, 1))) == (2, 3)  # extents are not shifted
    np.testing.assert_allclose(tuple(affine.inverted()(afw_geom.Point2D(7, 10))), (1, 1))
    assert tuple(affine.getTranslation()) == (5, 7)


@pytest.mark.parametrize("angle", [0.3, 2.5])
def test_moments_turn_with_the_plane(angle: float) -> None:
    rotation = afw_geom.LinearTransform.makeRotation(angle * afw_geom.radians)
    turned = ellipses.Axes(ellipses.Axes(3.0, 2.0, 0.4).transform(rotation))
    assert (turned.getA(), turned.getB()) == pytest.approx((3, 2))
    assert np.cos(2 * (turned.getTheta() - 0.4 - angle)) == pytest.approx(1)
    moments = ellipses.Quadrupole(9.0, 4.0, 1.0)
    assert moments.transform(rotation).getDeterminantRadius() == pytest.approx(35**0.25)
    assert moments.transform(rotation).getTraceRadius() == pytest.approx(np.sqrt(6.5))
    assert moments.getArea() == pytest.approx(np.pi * np.sqrt(35))


@pytest.mark.parametrize(("name", "modulus"), SHAPES.items())
@pytest.mark.parametrize("radius", ["Determinant", "Trace", "LogDeterminant", "LogTrace"])
def test_an_ellipse_is_an_ellipticity_and_a_size(name: str, modulus, radius: str) -> None:
    new = Axes(3.0, 1.5, 0.7).quadrupole()
    separable = getattr(ellipses, f"Separable{name}{radius}Radius")
    found = separable(ellipses.Quadrupole(new.ixx, new.iyy, new.ixy))
    e = modulus(0.5)
    assert found.getEllipticity().getE() == pytest.approx(e)
    assert (found.getE1(), found.getE2()) == pytest.approx((e * np.cos(1.4), e * np.sin(1.4)))
    assert found.getEllipticity().getAxisRatio() == pytest.approx(0.5)
    size = new.trace_radius if "Trace" in radius else new.determinant_radius
    assert found.getRadius() == pytest.approx(np.log(size) if "Log" in radius else size)
    for other, its_modulus in SHAPES.items():
        there = getattr(ellipses, other)(found.getEllipticity())
        assert there.getE() == pytest.approx(its_modulus(0.5))
        assert there.getTheta() == pytest.approx(0.7)
        assert getattr(ellipses, name)(there).getE() == pytest.approx(e)
    pair = separable(found.getEllipticity(), found.getRadius())
    numbers = separable(found.getE1(), found.getE2(), found.getRadius())
    for made in (found, pair, numbers):  # and back
        back = ellipses.Quadrupole(made).new
        assert (back.ixx, back.iyy, back.ixy) == pytest.approx((new.ixx, new.iyy, new.ixy))


def test_boxes_begin_and_end() -> None:
    box = afw_geom.Box2I(afw_geom.Point2I(10, 20), afw_geom.Extent2I(30, 5))
    assert (box.getBeginX(), box.getBeginY(), box.getEndX(), box.getEndY()) == (10, 20, 40, 25)
    assert (box.getBegin(), box.getEnd()) == (afw_geom.Point2I(10, 20), afw_geom.Point2I(40, 25))
    assert box.getArea() == 150
    box.shift(afw_geom.Extent2I(-10, 1))
    assert box.getMin() == afw_geom.Point2I(0, 21)
    assert box.overlaps(afw_geom.Box2I(afw_geom.Point2I(29, 25), afw_geom.Extent2I(1, 1)))
    assert not box.overlaps(afw_geom.Box2I(afw_geom.Point2I(30, 25), afw_geom.Extent2I(1, 1)))


def test_points_of_the_sphere() -> None:
    place = lsst_geom.SpherePoint(150.0, 2.0, lsst_geom.degrees)
    assert place.getRa().asDegrees() == pytest.approx(150)
    other = lsst_geom.SpherePoint(150 * lsst_geom.degrees, 2.5 * lsst_geom.degrees)
    assert place.separation(other).asArcminutes() == pytest.approx(30)
    assert tuple(lsst_geom.SpherePoint(other).getPosition(lsst_geom.degrees)) == (
        pytest.approx(150),
        pytest.approx(2.5),
    )


# --- images


@pytest.fixture
def wcs():
    made = WCS(naxis=2)
    made.wcs.ctype, made.wcs.crval = ["RA---TAN", "DEC--TAN"], [150.0, 60.0]
    made.wcs.crpix, made.wcs.cdelt = [50.0, 40.0], [-5e-5, 5e-5]
    exposure = Exposure(np.zeros((80, 100), np.float32), wcs=made)
    return afw_image.Exposure(exposure).getWcs()


def test_a_wcs_is_a_plane_near_a_point(wcs) -> None:
    place = afw_geom.Point2D(70.0, 30.0)
    affine = wcs.linearizePixelToSky(place, afw_geom.degrees)
    np.testing.assert_allclose(affine.getLinear().getMatrix(), np.diag([-5e-5, 5e-5]), atol=2e-8)
    sky = wcs.pixelToSky(place)
    np.testing.assert_allclose(tuple(affine(place)), tuple(sky.getPosition()), rtol=1e-12)
    back = wcs.linearizeSkyToPixel(sky, afw_geom.degrees)
    np.testing.assert_allclose(tuple(back(sky.getPosition())), (70, 30), atol=1e-6)
    assert wcs.getPixelScale(place).asArcseconds() == pytest.approx(0.18, rel=1e-6)
    np.testing.assert_allclose(wcs.getCdMatrix(), np.diag([-5e-5, 5e-5]), atol=1e-20)
    ra, dec = wcs.pixelToSkyArray(np.array([70.0]), np.array([30.0]))
    np.testing.assert_allclose(np.ravel(wcs.skyToPixelArray(ra, dec)), [70, 30], atol=1e-6)
    np.testing.assert_allclose(
        wcs.skyToPixelArray(np.degrees(ra), np.degrees(dec), degrees=True),
        wcs.skyToPixelArray(ra, dec),
        atol=1e-6,  # pix, rounding of degrees
    )


def test_exposures_have_short_ways_to_their_planes(tmp_path) -> None:
    box = afw_geom.Box2I(afw_geom.Point2I(5, 6), afw_geom.Extent2I(30, 20))
    exposure = afw_image.ExposureF(box)
    assert exposure.getXY0() == afw_geom.Point2I(5, 6)
    assert afw_image.ExposureF(30, 20).getDimensions() == afw_geom.Extent2I(30, 20)
    exposure.image.set(3.0)
    exposure.image.set(1, 2, 7.0)
    assert exposure.getImage().getArray().sum() == 30 * 20 * 3 + 4
    assert exposure.maskedImage.image.array.max() == 7
    exposure.mask.addMaskPlane("MINE")
    assert "MINE" in exposure.getMask().getMaskPlaneDict()
    exposure.variance[:] = 2.0
    assert exposure.getVariance().get(0, 0) == 2.0
    copy = afw_image.ImageF(30, 20)
    copy[:] = exposure.image
    copy[0:2, 0:3] = 9.0
    assert copy.array[:3, :2].min() == 9.0
    copy.assign(exposure.image)
    assert copy.array.max() == 7
    exposure.setPsf(KernelPsf(np.eye(3)[None]))
    assert exposure.getInfo().getPsf().computeKernelImage().getDimensions().getX() == 3
    cards = daf_base.PropertyList()
    cards.set("MYCARD", 5, "of mine")
    cards.add("LONGKEYWORD", "text")
    exposure.setMetadata(cards)
    exposure.writeFits(str(tmp_path / "e.fits"))
    back = afw_image.readMetadata(str(tmp_path / "e.fits"))
    assert (back.getInt("MYCARD"), back.get("LONGKEYWORD")) == (5, "text")
    assert afw_image.readMetadata(str(tmp_path / "e.fits"), 2).get("EXTTYPE") == "MASK"
    assert exposure.getVisitInfo() is None
    assert exposure.getApCorrMap() is None


def test_newer_names_of_the_calibration() -> None:
    exposure = afw_image.Exposure(Exposure(np.zeros((4, 4), np.float32)))
    exposure.setCalib(PhotoCalib.from_zeropoint(27.0))
    calib = exposure.getPhotoCalib()
    calib.setThrowOnNegativeFlux(False)
    assert np.isnan(calib.getMagnitude(-1.0))
    assert calib.getInstFluxAtZeroMagnitude() == pytest.approx(10**10.8, rel=1e-6)
    # 27 mag is 3.63078e12 nJy / 10**10.8, a count
    assert calib.getCalibrationMean() == pytest.approx(57.54, rel=1e-3)
    assert calib.instFluxToNanojansky(2.0) == pytest.approx(2 * calib.getCalibrationMean())
    assert calib.instFluxToMagnitude(100.0) == pytest.approx(22.0, abs=1e-3)


def test_backgrounds_are_made_and_taken_off() -> None:
    rng = np.random.default_rng(5)
    x = np.tile(np.arange(160), (128, 1))
    image = MaskedImage(Image((50 + 0.1 * x + rng.normal(0, 2, x.shape)).astype(np.float32)))
    image.image.array[40:60, 40:60] += 900
    bit = image.mask.get_plane_bit_mask("DETECTED")
    image.mask.array[40:60, 40:60] |= bit
    old = afw_image.MaskedImage(image)
    control = afw_math.BackgroundControl(5, 4)
    control.getStatisticsControl().setAndMask(bit)
    control.getStatisticsControl().setNumSigmaClip(4.0)
    control.getStatisticsControl().setNanSafe(True)
    background = afw_math.makeBackground(old, control)
    assert afw_math.cast_BackgroundMI(background).getStatsImage().getWidth() == 5
    assert background.getImageBBox().getDimensions() == old.getDimensions()
    for style in (None, afw_math.Interpolate.NATURAL_SPLINE, "LINEAR"):
        found = background.getImageF(style).array
        # 2 counts / sqrt(1024) = 0.06 a cell; more beyond the outer cells
        np.testing.assert_allclose(found, 50 + 0.1 * x, atol=0.6)
    old -= background.getImageF()
    assert abs(np.median(old.image.array)) < 0.1
    named = afw_math.BackgroundControl("LINEAR", 5, 4, control.getStatisticsControl(), 64 // 2)
    assert afw_math.makeBackground(image, named).new.curve == "linear"
    with pytest.raises(InputError, match="needs the number of cells along x and along y"):
        afw_math.BackgroundControl("LINEAR")
    with pytest.raises(InputError, match="no style 'WAVY'; use one of CONSTANT"):
        background.getImageF("WAVY")
    with pytest.raises(InputError, match="of statistic 16384 is not known"):
        afw_math.makeBackground(old, afw_math.BackgroundControl(5, 4, afw_math.ORMASK))


def test_lists_of_backgrounds_are_tuples_of_seven(tmp_path) -> None:
    one = measure_background(Image(np.full((30, 40), 5.0)), (3, 3))
    fitted = Background(cells=one.cells, box=one.box, order=2)
    old = old_of(BackgroundList([one, fitted]))
    np.testing.assert_allclose(old.getImage().array, 10.0, rtol=1e-6)
    background, style, *rest = old[0]
    assert (style, rest) == (afw_math.Interpolate.AKIMA_SPLINE, [1, -1, 0, 0, True])
    assert background.getImageF().array.max() == 5.0
    assert [item[3:6] for item in old] == [(-1, 0, 0), (0, 2, 2)]
    old.writeFits(str(tmp_path / "b.fits"))
    assert len(afw_math.BackgroundList.readFits(str(tmp_path / "b.fits"))) == 2


# --- catalogues


def minimal() -> afw_table.SourceCatalog:
    schema = afw_table.SourceTable.makeMinimalSchema()
    key = schema.addField("my_flux", type=float, doc="a flux", units="count")
    schema.addField(afw_table.Field.of(schema.find("my_flux").field.new.__class__("n", "I")))
    schema.addField("my_flag", type="Flag", doc="a flag")
    assert (key, schema.getOrderedNames()[-3:]) == ("my_flux", ["my_flux", "n", "my_flag"])
    return afw_table.SourceCatalog(afw_table.SourceTable.make(schema))


def test_rows_that_were_added_stay_what_they_are() -> None:
    """Though the catalogue grows, and is copied as it does."""
    sources = minimal()
    records = [sources.addNew() for _ in range(50)]
    for i, record in enumerate(records):
        record.setId(i)
        record.setParent(i // 2)
        record.set("my_flux", 0.5 * i)
        record.setCoord(lsst_geom.SpherePoint(10.0 + i, 5.0, lsst_geom.degrees))
    assert sources.getId().tolist() == list(range(50))
    np.testing.assert_allclose(sources.get("my_flux"), 0.5 * np.arange(50))
    np.testing.assert_allclose(sources.getRa().asDegrees(), 10.0 + np.arange(50))
    assert sources[7].getParent() == 3
    assert sources.asAstropy().colnames == sources.getTable().getSchema().getOrderedNames()


def test_rows_are_taken_over_from_other_catalogues() -> None:
    one, other = minimal(), minimal()
    record = other.addNew()
    record.setId(9)
    record.new.footprint = None
    one.append(record)
    one.extend(other)
    one.extend([other[0]])
    assert one.getId().tolist() == [9, 9, 9]
    assert len(other) == 1
    plain = afw_table.SourceCatalog(
        afw_table.SourceTable.make(afw_table.SourceTable.makeMinimalSchema())
    )
    with pytest.raises(Mismatch, match="my_flux"):
        one.extend(plain)


def test_footprints_come_along(shared_data) -> None:
    path = shared_data / "astrometry" / "afw" / "sourceCatalog-hsc-v2.fits"
    sources = afw_table.SourceCatalog(SourceCatalog.read(path))
    made = afw_table.SourceCatalog(sources.schema)
    made.append(sources[1])
    assert made[0].getFootprint().getArea() == sources[1].getFootprint().getArea()
    assert isinstance(made[0].getFootprint().new.spans, SpanSet)


def test_matches_by_pixels_and_all_of_them(shared_data) -> None:
    path = shared_data / "astrometry" / "afw" / "sourceCatalog-hsc-v2.fits"
    sources = afw_table.SourceCatalog(SourceCatalog.read(path))
    matches = afw_table.matchXy(sources, sources, 5.0)
    assert [m.first.getId() for m in matches] == [m.second.getId() for m in matches]
    assert {m.distance for m in matches} == {0.0}
    everything = afw_table.matchXy(sources, sources, 1e5, closest=False)
    assert len(everything) == 25
    on_sky = afw_table.matchRaDec(sources, sources, 3 * afw_geom.degrees, closest=False)
    assert len(on_sky) == 25
    first, second, distance = on_sky[1]
    exact = first.getCoord().angularSeparation(second.getCoord()).asRadians()
    assert distance == pytest.approx(exact, rel=1e-6)  # the chord of some arc minutes
    nobody = afw_table.SourceCatalog(sources.new[:0])
    assert afw_table.matchXy(nobody, sources, 5.0) == []


# --- display


@pytest.mark.parametrize(("mode", "shape"), [("x", (5, 31)), ("y", (23, 7)), (2, (11, 15))])
def test_mosaics_in_rows_and_columns(mode, shape) -> None:
    images = [Image(np.full((5, 7), i, np.float32)) for i in (1, 2, 3, 4)]
    mosaic = display_utils.Mosaic(gutter=1, background=-1, mode=mode)
    for image in images:
        mosaic.append(image, label=f"no {image.array[0, 0]:.0f}")
    made = mosaic.makeMosaic()
    assert made.array.shape == shape
    for number in range(4):
        box = mosaic.getBBox(number).new
        assert (made.array[box.slices] == number + 1).all()
    assert set(np.unique(made.array)) == {-1, 1, 2, 3, 4}
    assert mosaic.getBBox(0, 0) == mosaic.getBBox(0)


def test_mosaics_of_masked_images_keep_their_planes_and_are_shown() -> None:
    image = MaskedImage(Image(np.ones((5, 7), np.float32)))
    image.mask.add_mask_plane("MINE")
    shown = display.use("virtual")
    try:
        mosaic = display_utils.Mosaic()
        mosaic.append(Exposure(image), "one", "red")
        made = mosaic.makeMosaic(frame=2)
        assert made.getMask().getMaskPlaneDict()["MINE"] == 9
        assert display_utils.Mosaic().makeMosaic([image.mask]).getPlaneBitMask("MINE") == 512
        assert "frame 2" in shown.recorder.commands
        assert any("one" in region and "red" in region for region in shown.recorder.regions)
    finally:
        display.close()


def test_newer_names_of_the_display(shared_data) -> None:
    path = shared_data / "astrometry" / "afw" / "sourceCatalog-hsc-v2.fits"
    sources = afw_table.SourceCatalog(SourceCatalog.read(path))
    shown = display.use("virtual")
    try:
        old = afw_display.getDisplay(frame=1)
        old.image(afw_image.ImageF(30, 20))
        old.centroids(sources, symbol="o", size=10, ctype="red")
        assert (old.getMaskPlaneColor("DETECTED"), old.getMaskPlaneColor("SAT")) == (
            "blue",
            "green",
        )
        assert len(shown.recorder.regions) == len(sources)
        assert afw_display.utils is display_utils
    finally:
        display.close()


def test_a_moment_that_is_of_no_ellipse_is_not_a_number() -> None:
    assert np.isnan(ellipses.Axes(ellipses.Quadrupole(1.0, 1.0, 2.0)).getA())
    assert Quadrupole(1.0, 1.0, 2.0).determinant < 0
