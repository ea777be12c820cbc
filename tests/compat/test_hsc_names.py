"""Old names one by one: each gives what the new one gives, and the table of the page is true."""

from __future__ import annotations

import importlib
import re
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from astropy.io import fits

from skyloom import butler, catalogs, display, geometry, images
from skyloom.catalogs import Field, Schema, SourceCatalog
from skyloom.compat import hsc
from skyloom.compat.hsc import (
    afw_coord,
    afw_display,
    afw_geom,
    afw_image,
    afw_math,
    afw_table,
    ds9,
    ellipses,
    meas_mosaic,
)
from skyloom.compat.hsc._adapter import new_of, old_of
from skyloom.compat.hsc.metadata import Metadata
from skyloom.errors import BadHeader, InputError, NotCalibrated
from skyloom.geometry import Angle, Box, Quadrupole
from skyloom.images import FluxFitParams, KernelPsf, PhotoCalib

NEW = {
    "butler": butler.Butler,
    "data_ref": butler.DataRef,
    "exposure": images.Exposure,
    "Exposure": images.Exposure,
    "masked_image": images.MaskedImage,
    "image": images.Image,
    "Image": images.Image,
    "mask": images.Mask,
    "metadata": fits.Header,
    "wcs": images.SkyWcs,
    "photo_calib": images.PhotoCalib,
    "psf": KernelPsf,
    "filter": images.FilterLabel,
    "detector": images.Detector,
    "statistics": images.PixelStatistics,
    "background": images.Background,
    "backgrounds": images.BackgroundList,
    "BackgroundList": images.BackgroundList,
    "params": images.FluxFitParams,
    "sources": catalogs.SourceCatalog,
    "SourceCatalog": catalogs.SourceCatalog,
    "source": catalogs.SourceRecord,
    "schema": catalogs.Schema,
    "field": catalogs.Field,
    "footprint": catalogs.Footprint,
    "angle": geometry.Angle,
    "coord": geometry.IcrsCoord,
    "box": geometry.Box,
    "shape": geometry.Quadrupole,
    "display": display,
}
MADE_BY_INIT = {
    ("butler", "layout"),
    ("footprint", "peaks"),
    ("sources", "schema"),
    ("exposure", "metadata"),
    ("image", "array"),
}


def test_the_page_shows_the_table_as_it_is():
    page = (Path(__file__).parents[2] / "docs" / "hsc_migration.md").read_text()
    assert hsc.migration_table().strip() in page


@pytest.mark.parametrize("row", list(hsc.replacements()), ids=lambda row: row.old)
def test_what_the_table_names_exists(row):
    """``exposure.masked_image``: the class of `exposure` has `masked_image`."""
    code = " ; ".join(re.findall(r"``(.+?)``", row.new))
    for name, attribute in re.findall(r"\b([A-Za-z_]+)\.([a-z_0-9]+)", code):
        kind = NEW.get(name)
        if kind is None or (name, attribute) in MADE_BY_INIT:
            continue
        fields = getattr(kind, "__annotations__", {})
        slots = {s for c in getattr(kind, "__mro__", ()) for s in getattr(c, "__slots__", ())}
        assert hasattr(kind, attribute) or attribute in fields or attribute in slots, row


@pytest.mark.parametrize(("old", "new"), hsc.MODULES.items())
def test_modules_are_found_under_their_old_name(old, new):
    assert old not in sys.modules
    with hsc.installed():
        hsc.install()  # once more changes nothing
        found = importlib.import_module(old)
        assert found.__name__ == f"skyloom.compat.hsc.{new}"
        parent = importlib.import_module(old.rpartition(".")[0])
        assert getattr(parent, old.rpartition(".")[2]) is found
    assert old not in sys.modules
    with pytest.raises(ModuleNotFoundError):
        importlib.import_module(old)


def test_real_packages_are_not_hidden(tmp_path, monkeypatch):
    package = tmp_path / "hsc" / "pipe" / "base"
    package.mkdir(parents=True)
    for folder in (package, package.parent, package.parent.parent):
        (folder / "__init__.py").write_text("")
    (package / "butler.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(InputError, match=r"the real hsc\.pipe\.base\.butler is installed"):
        hsc.install()
    for name in [n for n in sys.modules if n == "hsc" or n.startswith("hsc.")]:
        del sys.modules[name]


def test_angles_and_positions():
    angle = 30 * afw_geom.degrees
    assert (angle.asDegrees(), angle.asArcminutes()) == pytest.approx((30, 1800))
    assert afw_geom.Angle(np.pi).asDegrees() == 180
    assert (angle + 2 * angle).asHours() == pytest.approx(6)
    assert (-angle).wrap().asDegrees() == pytest.approx(330)
    assert (330 * afw_geom.degrees).wrapCtr().asDegrees() == pytest.approx(-30)
    assert angle / 2 < angle
    assert angle / (15 * afw_geom.degrees) == pytest.approx(2)
    assert float(angle) == angle.asRadians() == afw_geom.Angle(angle).asRadians()
    coord = afw_coord.IcrsCoord(10 * afw_geom.degrees, -5 * afw_geom.degrees)
    assert coord.getRa().asDegrees() == pytest.approx(10)
    assert coord.getLatitude().asDegrees() == pytest.approx(-5)
    galactic = coord.toGalactic()
    assert galactic.getL().asDegrees() == pytest.approx(coord.new.to_galactic().l.as_degrees())
    assert galactic.getB().asDegrees() == coord.getB().asDegrees()
    assert coord.toFk5().toIcrs().getDec().asDegrees() == pytest.approx(-5)
    assert coord.toEcliptic().angularSeparation(coord).asArcseconds() < 1e-6


def test_points_and_boxes():
    point = afw_geom.Point2I(3, 4)
    assert (point.getX(), point[1], tuple(point), len(point)) == (3, 4, (3, 4), 2)
    assert afw_geom.Point2D(3, 4).distanceSquared(afw_geom.Point2D(0, 0)) == 25
    assert point - afw_geom.Point2I(1, 1) == afw_geom.Extent2D(2, 3)
    by_size = afw_geom.Box2I(point, afw_geom.Extent2I(10, 5))
    by_corner = afw_geom.Box2I(point, afw_geom.Point2I(12, 8))  # both corners inside
    assert by_size == by_corner
    assert by_size.new == Box(3, 13, 4, 9)
    assert (by_size.getMaxX(), by_size.getMaxY(), by_size.getWidth()) == (12, 8, 10)
    assert by_size.getMin() == point
    assert by_size.contains(afw_geom.Point2I(12, 8))
    assert not by_size.contains(afw_geom.Point2I(13, 8))
    by_size.grow(1)
    assert by_size.contains(by_corner)
    assert not by_corner.contains(by_size)
    by_size.clip(by_corner)
    assert by_size == by_corner
    assert afw_geom.Box2I().isEmpty()


def test_boxes_grow_by_what_they_include():
    box = afw_geom.Box2I()
    box.include(afw_geom.Point2I(afw_geom.Point2D(4.6, -0.6)))  # the pixel (5, -1)
    box.include(afw_geom.Point2I(2, 3))
    assert box.new == Box(2, 6, -1, 4)
    assert [tuple(corner) for corner in box.getCorners()] == [(2, -1), (5, -1), (5, 3), (2, 3)]
    box.include(afw_geom.Box2I(afw_geom.Point2I(0, 0), afw_geom.Extent2I(1, 1)))
    assert box.getMinX() == 0


def test_ellipses():
    shape = ellipses.Quadrupole(2.5, 2.5, 1.5)
    axes = ellipses.Axes(shape)
    assert (axes.getA(), axes.getB(), axes.getTheta()) == pytest.approx((2, 1, np.pi / 4))
    assert ellipses.Quadrupole(axes).getIxy() == pytest.approx(1.5)
    assert shape.getDeterminantRadius() == pytest.approx(np.sqrt(2))
    assert shape.getTraceRadius() == pytest.approx(np.sqrt(2.5))


def test_images_and_masks(tmp_path):
    image = afw_image.ImageF(6, 4)
    image.getArray()[:] = np.arange(24).reshape(4, 6)
    assert (image.getWidth(), image.getHeight()) == (6, 4)
    assert tuple(image.getDimensions()) == (6, 4)
    assert image.get(1, 2) == 13
    box = afw_geom.Box2I(afw_geom.Point2I(2, 1), afw_geom.Extent2I(3, 2))
    part = afw_image.ImageF(image, box)
    part.set(0, 0, -1)
    assert image.get(2, 1) == -1  # shared
    assert tuple(part.getXY0()) == (2, 1)
    deep = image.Factory(image, True)
    deep -= image
    assert not deep.getArray().any()
    assert image.getArray().any()
    deep += 3
    deep *= image
    deep /= 3
    np.testing.assert_array_equal(deep.getArray(), image.getArray())
    local = part.Factory(
        part, afw_geom.Box2I(afw_geom.Point2I(1, 0), afw_geom.Extent2I(1, 1)), "LOCAL"
    )
    assert tuple(local.getXY0()) == (3, 1)
    assert part.getBBox("LOCAL").getMin() == afw_geom.Point2I(0, 0)
    assert afw_image.ImageI(image).getArray().dtype == np.int32
    assert afw_image.ImageD(box).getBBox() == box
    image.writeFits(str(tmp_path / "i.fits"))
    np.testing.assert_array_equal(
        afw_image.ImageF(str(tmp_path / "i.fits")).getArray(), image.getArray()
    )
    mask = afw_image.MaskU(afw_geom.Extent2I(6, 4))
    assert mask.addMaskPlane("CROSSTALK") == 9
    mask |= mask.getPlaneBitMask(["CR", "CROSSTALK"])
    mask &= mask.getPlaneBitMask("CROSSTALK")
    assert set(np.unique(mask.getArray())) == {512}
    mask ^= mask.clone()
    assert not mask.getArray().any()
    mask.removeAndClearMaskPlane("CROSSTALK", True)
    assert "CROSSTALK" not in mask.getMaskPlaneDict()
    masked = afw_image.MaskedImageF(image, mask)
    assert masked.getImage().getArray() is image.getArray()
    assert [a.shape for a in masked.getArrays()] == [(4, 6)] * 3
    assert masked.Factory(masked, box).getVariance().getWidth() == 3
    exposure = afw_image.ExposureF(masked)
    exposure.writeFits(str(tmp_path / "e.fits"))
    back = afw_image.ExposureF.readFits(str(tmp_path / "e.fits"))
    assert back.getMaskedImage().getMask().getMaskPlane("CR") == 3
    assert not back.hasWcs()
    assert back.getWcs() is None
    assert not back.hasPsf()


def test_statistics_of_pixels():
    image = afw_image.MaskedImageF(3, 2)
    image.getImage().getArray()[:] = [[1, 2, 3], [4, 5, 600]]
    bits = image.getMask().getPlaneBitMask(["SAT"])
    image.getMask().getArray()[1, 2] |= bits
    image.getMask().getArray()[0, 0] |= image.getMask().getPlaneBitMask("CR")
    control = afw_math.StatisticsControl()
    control.setAndMask(bits)
    control.setNumSigmaClip(4.0)
    control.setNumIter(2)
    assert (control.getAndMask(), control.getNumSigmaClip(), control.getNumIter()) == (bits, 4.0, 2)
    flags = afw_math.MEAN | afw_math.MEDIAN | afw_math.NPOINT | afw_math.ERRORS | afw_math.ORMASK
    found = afw_math.makeStatistics(image, flags, control)
    assert found.getValue(afw_math.MEAN) == found.getValue(afw_math.MEDIAN) == 3.0
    assert found.getValue(afw_math.NPOINT) == 5
    assert found.getResult(afw_math.MEAN)[1] == pytest.approx(np.sqrt(2.5 / 5))
    assert found.getValue(afw_math.ORMASK) == image.getMask().getPlaneBitMask("CR")
    with pytest.raises(InputError, match="was not asked for"):
        found.getValue(afw_math.STDEV)
    with pytest.raises(InputError, match="error of statistic 32"):
        found.getError(afw_math.MEDIAN)
    for other in (image.getImage(), np.arange(4.0), afw_image.ExposureF(image)):
        assert afw_math.makeStatistics(other, afw_math.MIN).getValue() in (0.0, 1.0)
    clipped = afw_math.makeStatistics(np.r_[np.arange(50.0), 1e6], afw_math.MEANCLIP)
    assert clipped.getResult() == (24.5, pytest.approx(np.sqrt(212.5 / 50)))


def test_masked_images_in_place():
    """What has no error of its own changes image and, as a factor, variance."""
    made = afw_image.MaskedImageF(afw_image.MaskedImageF(3, 2), True)
    image, _, variance = made.getArrays()
    image[:], variance[:] = 6.0, 4.0
    made += 2.0
    made -= afw_image.ImageF(np.full((2, 3), 4.0, np.float32))
    made *= 3.0
    made /= np.float32(2.0)
    assert (image == 6.0).all()
    assert (variance == 9.0).all()
    with pytest.raises(InputError, match="plane by plane"):
        made += made


def test_slices_count_columns_first():
    image = afw_image.ImageF(afw_geom.Box2I(afw_geom.Point2I(10, 20), afw_geom.Extent2I(5, 4)))
    part = image[1:3, :2]
    assert (tuple(part.getXY0()), tuple(part.getDimensions())) == ((11, 20), (2, 2))
    part.set(0, 0, 7)
    assert image.get(1, 0) == 7
    assert afw_image.ImageI(2, 2).convertF().getArray().dtype == np.float32
    with pytest.raises(InputError, match="without steps"):
        image[::2, :]


def test_footprints_list_their_spans_and_peaks():
    spans = catalogs.SpanSet([[5, 10, 12], [6, 11, 11]])
    made = old_of(catalogs.Footprint(spans, catalogs.peak_catalog([10.7], [5.2], [9.0])))
    assert [(s.getY(), s.getX0(), s.getX1(), s.getWidth()) for s in made.getSpans()] == [
        (5, 10, 12, 3), (6, 11, 11, 1)
    ]  # fmt: skip
    (peak,) = made.getPeaks()
    assert (peak.getFx(), peak.getFy(), peak.getPeakValue()) == pytest.approx((10.7, 5.2, 9.0))
    assert (peak.getIx(), peak.getIy()) == (11, 5)


def test_masks_print_their_planes(capsys):
    afw_image.MaskU(2, 2).printMaskPlanes()
    assert capsys.readouterr().out.splitlines()[:2] == ["Plane 0 -> BAD", "Plane 1 -> SAT"]


def test_components_of_exposures():
    exposure = afw_image.ExposureF(afw_image.ImageF(4, 4))
    exposure.setCalib(PhotoCalib.from_zeropoint(27.0))
    calib = exposure.getCalib()
    assert calib.getFluxMag0()[0] == pytest.approx(6.3096e10, rel=1e-5)
    assert calib.getMagnitude(1.0) == pytest.approx(27)
    assert calib.getFlux(27.0) == pytest.approx(1)
    mag, err = calib.getMagnitude(100.0, 1.0)
    assert (mag, err) == pytest.approx((22, 0.0108574), rel=1e-5)
    exposure.new.psf = KernelPsf(np.ones((1, 5, 5)))
    kernel = exposure.getPsf().computeKernelImage(afw_geom.Point2D(1, 1))
    assert kernel.getArray().sum() == pytest.approx(1)
    assert tuple(kernel.getXY0()) == (-2, -2)
    y, x = np.mgrid[-12:13, -12:13]
    star = np.exp(-0.5 * (x**2 + y**2) / 2.5**2)
    exposure.new.psf = KernelPsf(star[None] / star.sum())
    radius = exposure.getPsf().computeShape().getDeterminantRadius()
    assert radius == pytest.approx(2.5, rel=1e-4)  # the stamp ends at 4.8 sigma
    moved = exposure.getPsf().computeImage(afw_geom.Point2D(100.3, 50.6))
    values, (x0, y0) = moved.getArray(), moved.getXY0()
    assert (x0, y0) == (88, 39)  # of 25 pixels about (100, 51)
    # order 5 moves by 0.01 pix too little or too much, as in afw
    assert (values * (x + 12 + x0)).sum() / values.sum() == pytest.approx(100.3, abs=0.015)
    assert (values * (y + 12 + y0)).sum() / values.sum() == pytest.approx(50.6, abs=0.015)
    copied = exposure.Factory(exposure, True)
    copied.getMaskedImage().getImage().set(0, 0, 9)
    assert exposure.getMaskedImage().getImage().get(0, 0) == 0
    exposure.new.filter = images.FilterLabel(band="i")
    assert exposure.getFilter().getName() == "i"


def test_components_from_metadata():
    cards = Metadata.of(fits.Header([("FLUXMAG0", 1e10), ("FILTER", "HSC-I")]))
    assert afw_image.Calib(cards).getMagnitude(1.0) == pytest.approx(25)
    assert afw_image.Filter(cards).getName() == "HSC-I"
    empty = Metadata.of(fits.Header())
    assert afw_image.Filter(empty).getName() == "_unknown_"
    with pytest.raises(NotCalibrated, match="no FLUXMAG0"):
        afw_image.Calib(empty)
    header = fits.Header(
        [
            ("CTYPE1", "RA---TAN"), ("CTYPE2", "DEC--TAN"), ("CRVAL1", 150.0), ("CRVAL2", 2.0),
            ("CRPIX1", 11.0), ("CRPIX2", 21.0), ("CDELT1", -1e-4), ("CDELT2", 1e-4),
            ("LTV1", -100.0), ("LTV2", -200.0),
        ]
    )  # fmt: skip
    wcs = afw_image.makeWcs(Metadata.of(header))
    coord = wcs.pixelToSky(110, 220)  # parent coordinates of the reference pixel
    assert (coord.getRa().asDegrees(), coord.getDec().asDegrees()) == pytest.approx((150, 2))
    assert wcs.pixelScale().asArcseconds() == pytest.approx(0.36, rel=1e-4)
    assert tuple(wcs.skyToPixel(coord.getRa(), coord.getDec())) == pytest.approx((110, 220))


def test_metadata_know_when_a_card_is_missing():
    metadata = Metadata.of(fits.Header([("FLUXMAG0", 3), ("NAME", "x"), ("NAME", "y")]))
    assert metadata.get("FLUXMAG0") == metadata.getInt("FLUXMAG0") == 3
    assert metadata.getAsDouble("FLUXMAG0") == 3.0
    assert metadata.names() == ["FLUXMAG0", "NAME"]
    assert metadata.exists("NAME")
    assert "NONE" not in metadata
    with pytest.raises(BadHeader, match="no 'NONE'"):
        metadata.get("NONE")
    metadata.set("NEW", 1)
    assert metadata.toDict()["NEW"] == 1


def test_catalogues():
    fields = [
        Field("id", "L"), Field("coord_ra", "Angle"), Field("coord_dec", "Angle"),
        Field("base_SdssCentroid_x", "D"), Field("base_SdssCentroid_y", "D"),
        Field("base_SdssShape_xx", "D"), Field("base_SdssShape_yy", "D"),
        Field("base_SdssShape_xy", "D"), Field("base_PsfFlux_instFlux", "D", "flux", "count"),
        Field("base_PixelFlags_flag_edge", "Flag"),
    ]  # fmt: skip
    new = SourceCatalog(Schema(fields), n=3)
    new["id"] = [5, 6, 7]
    new["base_SdssCentroid_x"] = [1.0, 2.0, 3.0]
    new["base_SdssShape"] = Quadrupole(np.full(3, 4.0), np.ones(3), np.zeros(3))
    sources = old_of(new)
    assert isinstance(sources, afw_table.SourceCatalog)
    assert sources.getX() is new.x or (sources.getX() == new.x).all()
    sources.getColumnView()["flux.psf"][:] = [9.0, 8.0, 7.0]
    assert new.psf_flux[1] == 8
    assert [s.getId() for s in sources] == [5, 6, 7]
    assert sources.find(6).getPsfFlux() == 8
    assert sources[-1].getCentroid().getX() == 3
    assert ellipses.Axes(sources[0].getShape()).getA() == 2
    assert len(sources[sources.getPsfFlux() > 7.5]) == 2
    sources[0].set("flags.pixel.edge", True)
    assert sources.get("flags.pixel.edge").tolist() == [True, False, False]
    assert sources[0].getFootprint() is None
    item = sources.getSchema().find("flux.psf")
    assert (item.key, item.field.getUnits()) == ("base_PsfFlux_instFlux", "count")
    assert item.getKey() == item.getField().getName()
    assert "flux.psf" in sources.getSchema()
    copied = sources.copy(deep=True)
    copied["flux.psf"] = [0.0, 0.0, 0.0]
    assert sources.getPsfFlux()[0] == 9
    assert sources.isContiguous()


def test_display_calls():
    shown = display.use("virtual")
    try:
        ds9.setMaskTransparency(40)
        ds9.setMaskPlaneColor("CR", ds9.RED)
        ds9.mtv(afw_image.ImageF(5, 5), frame=2)
        with ds9.Buffering():
            ds9.dot("o", 1, 1, frame=2, ctype=ds9.BLUE)
            ds9.line([(0, 0), (1, 1)], frame=2, ctype=ds9.RED)
            ds9.line([(0, 0), (1, 1)], frame=2, symbs=True)
        ds9.zoom(4, 2, 3, frame=2)
        ds9.erase(frame=2)
    finally:
        display.close()
    assert shown.recorder.regions == [
        "circle(2,2,2) # color=blue",
        "line(1,1,2,2) # color=red",
        "circle(1,1,2) # color=green",
        "circle(2,2,2) # color=green",
    ]
    assert "pan to 3 4 image" in shown.recorder.commands
    assert shown.mask_plane_color("CR") == "red"


def test_display_objects():
    shown = display.use("virtual")
    try:
        frame = afw_display.getDisplay(frame=2, backend="ds9")
        frame.setMaskPlaneColor("CR", afw_display.RED)
        frame.setMaskTransparency(75)
        frame.mtv(afw_image.ImageF(5, 5), title="x")
        frame.scale("asinh", "zscale")
        frame.scale("linear", 0, 10)
        with frame.Buffering():
            frame.dot("o", 1, 1, ctype=afw_display.CYAN, size=3)
            frame.line([(0, 0), (1, 1)])
        frame.pan(1, 2)
        frame.zoom(4)
        frame.erase()
    finally:
        display.close()
    assert [c for c in shown.recorder.commands if c != "frame 2"] == [
        "mask transparency 75", "mask clear", "fits", "scale asinh", "scale mode zscale",
        "scale linear", "scale limits 0 10", "regions", "pan to 2 3 image", "zoom to 4",
        "regions delete all",
    ]  # fmt: skip
    assert shown.recorder.regions == ["circle(2,2,3) # color=cyan", "line(1,1,2,2) # color=green"]


def test_mosaic_correction():
    params = FluxFitParams(
        order=0, is_chebyshev=False, centre=(0, 0), scale=(1, 1), rotation=0, coefficients=(0.25,)
    )
    metadata = Metadata.of(fits.Header(params.to_metadata()))
    assert meas_mosaic.FluxFitParams(metadata).eval(3.0, 4.0) == pytest.approx(0.25)


def test_unknown_old_names_point_to_the_page():
    with pytest.raises(AttributeError, match=r"Image\.getNothing .* docs/hsc_migration\.md"):
        _ = afw_image.ImageF(2, 2).getNothing
    assert afw_image.ImageF(2, 2).shape == (2, 2)  # new names are there too


def test_conversion_there_and_back():
    for new in (Angle(1.0), Box(0, 1, 0, 1), Quadrupole(1, 1, 0)):
        assert new_of(old_of(new)) is new
    assert old_of(3.0) == 3.0
    assert old_of(SimpleNamespace) is SimpleNamespace
