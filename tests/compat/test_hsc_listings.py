"""Every call of the listings of the HSC manual, in scripts of our own; see `listing_tests.py`.

Each script makes the calls of one listing and prints what they gave; the numbers are those that
were put into the rerun.
"""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from manual_rerun import FCR, ID, MOMENTS, SCALE, SHAPE, SKY, STARS, TURN, ZEROPOINT, fill, sky_wcs
from PIL import Image as PilImage

from skyloom import display
from skyloom.compat.hsc.__main__ import main
from skyloom.geometry import IcrsCoord, Quadrupole

BEGIN = """
import sys, math
import numpy
import lsst.daf.persistence as dafPersist
butler = dafPersist.Butler(sys.argv[1])
dataId = {'visit': int(sys.argv[2]), 'ccd': int(sys.argv[3])}
"""


@pytest.fixture(scope="module")
def rerun(tmp_path_factory) -> Path:
    return fill(tmp_path_factory.mktemp("HSC"))


@pytest.fixture
def run(rerun, tmp_path, capsys, monkeypatch):
    """Run a script in an empty directory and return its lines."""
    monkeypatch.chdir(tmp_path)

    def run_script(text: str) -> list[str]:
        script = tmp_path / "script.py"
        script.write_text(BEGIN + text)
        assert main([str(script), str(rerun), str(ID["visit"]), str(ID["ccd"])]) == 0
        return capsys.readouterr().out.splitlines()

    return run_script


@pytest.fixture
def fails(rerun, tmp_path, capsys, monkeypatch):
    """Run a script that fails and return what is said."""
    monkeypatch.chdir(tmp_path)

    def run_script(text: str) -> str:
        script = tmp_path / "script.py"
        script.write_text(BEGIN + text)
        assert main([str(script), str(rerun), str(ID["visit"]), str(ID["ccd"])]) == 2
        return capsys.readouterr().err

    return run_script


@pytest.fixture
def recorder():
    """The commands that a display gets."""
    shown = display.use("virtual")
    yield shown.recorder
    display.close()


def numbers(line: str) -> np.ndarray:
    return np.array([float(word) for word in line.split()])


# --- the listings of the pages


def test_the_butler_gets_everything_of_the_manual_by_visit_and_ccd(run, rerun):
    lines = run("""
import hsc.pipe.base.butler as hscButler
for name in "bias dark flat fringe postISRCCD calexp psf src wcs fcr".split():
    print(name, type(butler.get(name, dataId)).__name__)
print(butler.get('bias_filename', dataId)[0])
print(butler.get("calexp_md", dataId).get("EXPTIME"))
dataRef = hscButler.getDataRef(butler, dataId)
print(dataRef.get('bias').getDimensions(), dataRef.dataId['ccd'])
coadd = {'tract': 9813, 'patch': '4,4', 'filter': 'HSC-I'}
for name in ("deepCoadd_calexp", "deepCoadd_psf", "deepCoadd_src"):
    print(name, type(butler.get(name, coadd)).__name__)
""")
    kinds = dict(line.split() for line in lines[:10])
    assert {kinds.pop("psf"), kinds.pop("src")} == {"Psf", "SourceCatalog"}
    assert set(kinds.values()) == {"Exposure"}
    assert lines[10] == f"{rerun.parents[1]}/BIAS/2014-03-30/NONE/BIAS-2014-03-30-056.fits"
    assert lines[11:13] == ["30.0", "Extent2I(60, 40) 56"]
    assert [line.split()[1] for line in lines[13:]] == ["Exposure", "Psf", "SourceCatalog"]


def test_a_mask_plane_alone_is_zero_or_its_bit(run):
    (line,) = run("""
maskedImage = butler.get('calexp', dataId).getMaskedImage()
mask = maskedImage.getMask()
crBitMask = mask.getPlaneBitMask("CR")
crImage = mask.clone()
crImage &= crBitMask
print(crBitMask, *numpy.unique(crImage.getArray()), (crImage.getArray() != 0).sum())
print
""")
    assert line == "8 0 8 19"  # 19 pixels of a cosmic ray


def test_columns_and_records_of_a_catalogue(run):
    lines = run("""
sources = butler.get("src", dataId)
psfFlux = sources.get("flux.psf")
for i, src in enumerate(sources):
    print(i, psfFlux[i], src.get("flux.psf"), src.get("classification.extendedness"))
print(len(sources), sources.get('flux.aperture').shape, sources.get('flux.aperture.err').shape)
print(sources.schema)
""")
    rows = np.array([numbers(line) for line in lines[:8]])
    np.testing.assert_array_equal(rows[:, 1], STARS.flux)
    np.testing.assert_array_equal(rows[:, 2], STARS.flux)
    assert np.isnan(rows[:, 3]).all()
    assert lines[8] == "8 (8, 2) (8, 2)"
    # the form of afw, which scripts take apart
    fields = [re.match(r'.*name="(.+?)", doc="(.*?)"', line) for line in lines[10:-1]]
    assert [field.group(1) for field in fields][:3] == ["id", "coord_ra", "coord_dec"]
    assert fields[0].group(2) == "unique ID"


def test_zero_points_of_the_exposure_and_of_the_mosaic(run):
    lines = run("""
import lsst.meas.mosaic as measMosaic
sources = butler.get("src", dataId)
metadata = butler.get("calexp_md", dataId)
print(2.5*numpy.log10(metadata.get("FLUXMAG0")))
fcr_md = butler.get("fcr_md", dataId)
ffp = measMosaic.FluxFitParams(fcr_md)
x, y = sources.getX(), sources.getY()
correction = numpy.array([ffp.eval(x[i], y[i]) for i in range(len(sources))])
print(*(2.5*numpy.log10(fcr_md.get("FLUXMAG0")) + correction))
""")
    assert float(lines[0]) == pytest.approx(ZEROPOINT)
    np.testing.assert_allclose(numbers(lines[1]), 27.0 + FCR[0] + FCR[1] * STARS.x, rtol=1e-12)


def test_an_exposure_is_shown_with_settings_and_dots(run, recorder):
    run("""
import lsst.afw.display.ds9 as ds9
exposure = butler.get("calexp", dataId)
settings = {'scale': 'zscale', 'zoom': 'to fit', 'mask': 'transparency 60'}
ds9.mtv(exposure, frame=1, title="My Data", settings=settings)
cat = butler.get('src', dataId)
for x, y in zip(cat['base_SdssCentroid_x'], cat['base_SdssCentroid_y']):
    ds9.dot('o', x, y, size=20)
""")
    commands = recorder.commands
    order = ["scale mode zscale", "zoom to fit", "mask transparency 60"]
    assert [c for c in commands if c in order][-3:] == order  # after those of the display
    planes = [c for c in commands if c.startswith("mask color")]
    assert planes == [
        "mask color green",
        "mask color magenta",
        "mask color blue",
    ]  # SAT CR DETECTED
    circles = [numbers(re.sub(r"[^-\d.e ]", " ", r.split("#")[0].replace("circle", " ")))
               for r in recorder.regions]  # fmt: skip
    np.testing.assert_allclose(np.array(circles)[:, :2], np.c_[STARS.x, STARS.y] + 1, atol=1e-6)


def test_a_tilde_in_the_root_is_the_home(rerun, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("HOME", str(rerun.parents[1]))
    script = tmp_path / "script.py"
    script.write_text(
        "import lsst.daf.persistence as dafPersist\n"
        "print(len(dafPersist.Butler('~/rerun/myrerun').get('src', visit=1234, ccd=56)))\n"
        "print(dafPersist.Butler(inputs='~/rerun/myrerun').datasetExists('src', visit=1, ccd=5))\n"
    )
    assert main([str(script)]) == 0
    assert capsys.readouterr().out.split() == ["8", "False"]


# --- the scripts


def test_calls_of_ccdplot(run, tmp_path):
    run("""
import matplotlib
matplotlib.use("Agg")
import matplotlib.pyplot as pyplot
exposure = butler.get('calexp', dataId)
image = exposure.getMaskedImage().getImage().getArray()
pyplot.imshow(numpy.arcsinh(image), cmap='gray')
pyplot.gcf().savefig("test.png")
pyplot.close("all")
""")
    with PilImage.open(tmp_path / "test.png") as picture:
        assert picture.size[0] > 100


def test_calls_of_print_coord(run):
    lines = run("""
for src in butler.get('src', dataId)[0:2]:
    icrs = src.get('coord')
    galactic, fk5, ecliptic = icrs.toGalactic(), icrs.toFk5(), icrs.toEcliptic()
    print(src.getId(), icrs.getRa().asDegrees(), icrs.getDec().asDegrees())
    print(fk5.getRa().asRadians(), fk5.getDec().asRadians())
    print(galactic.getL().asArcminutes(), galactic.getB().asArcminutes())
    print(ecliptic.getLambda().asArcseconds(), ecliptic.getBeta().asArcseconds())
    print(icrs.getLongitude(), icrs.getLatitude())
""")
    ra, dec = (values[:2] for values in sky_wcs().all_pix2world(STARS.x, STARS.y, 0))
    for i in range(2):
        place = IcrsCoord.from_degrees(ra[i], dec[i])
        l, b = place.to_galactic().l, place.to_galactic().b  # noqa: E741 - galactic longitude
        lamb, beta = place.to_ecliptic().lon, place.to_ecliptic().lat
        part = lines[5 * i : 5 * i + 5]
        np.testing.assert_allclose(numbers(part[0]), [1001 + i, ra[i], dec[i]], rtol=1e-12)
        np.testing.assert_allclose(numbers(part[1]), np.radians([ra[i], dec[i]]), rtol=1e-12)
        np.testing.assert_allclose(numbers(part[2]), [l.as_arcminutes(), b.as_arcminutes()])
        np.testing.assert_allclose(numbers(part[3]), [lamb.as_arcseconds(), beta.as_arcseconds()])
        assert re.fullmatch(r"[\d.]+ rad [\d.]+ rad", part[4])


def test_calls_of_print_mags_from_butler(run):
    lines = run("""
metadata = butler.get('calexp_md', dataId)
sources = butler.get('src', dataId)
flux, ferr = sources.getPsfFlux(), sources.getPsfFluxErr()
mag, merr = 2.5*numpy.log10(flux), 2.5/numpy.log(10)*(ferr/flux)
zeropoint = 2.5*numpy.log10(metadata.get("FLUXMAG0"))
for i in range(len(sources)):
    s = sources[i]
    print(s.getRa().asDegrees(), s.getDec().asDegrees(), zeropoint-mag[i], merr[i])
print(*sources.getApFlux())
""")
    rows = np.array([numbers(line) for line in lines[:-1]])
    np.testing.assert_allclose(rows[:, :2].T, sky_wcs().all_pix2world(STARS.x, STARS.y, 0))
    np.testing.assert_allclose(rows[:, 2], STARS.mag, rtol=1e-12)
    np.testing.assert_array_equal(numbers(lines[-1]), STARS.flux)


def test_calls_of_print_moment(run):
    lines = run("""
import lsst.afw.geom.ellipses as geomEllip
for src in butler.get('src', dataId)[0:1]:
    m = src.get('shape.sdss')
    e = geomEllip.Axes(m)
    print(m.getIxx(), m.getIyy(), m.getIxy(), e.getA(), e.getB(), e.getTheta())
""")
    axes = Quadrupole(*MOMENTS).axes()
    np.testing.assert_allclose(numbers(lines[0]), [*MOMENTS, axes.a, axes.b, axes.theta])


def test_calls_of_psf_mosaic(run, recorder):
    lines = run("""
import lsst.afw.geom as afwGeom
import lsst.afw.image as afwImage
import lsst.afw.display.utils as dispUtils
import lsst.afw.display.ds9 as ds9
sources = butler.get('src', dataId)
exposure = butler.get("calexp", dataId)
psfSources = [s for s in sources if s.get("calib.psf.used")]
wx, wy = 25, 25
subImages, labels = [], []
for psfSrc in psfSources[0:4]:
    x, y = int(psfSrc.getX()), int(psfSrc.getY())
    bbox = afwGeom.Box2I(afwGeom.Point2I(x-wx/2, y-wy/2), afwGeom.Extent2I(wx, wy))
    subImages.append(afwImage.ImageF(exposure.getMaskedImage().getImage(), bbox))
    labels.append("ID="+str(psfSrc.getId()))
m = dispUtils.Mosaic()
m.setGutter(2)
m.setBackground(0)
m.setMode("square")
mosaic = m.makeMosaic(subImages)
ds9.mtv(mosaic)
m.drawLabels(labels)
print(*mosaic.getArray().shape)
for y in (9, 36):
    print(*(mosaic.getArray()[y:y+7, x:x+7].max() for x in (9, 36)), end=" ")
print()
print(*(image.getArray().max() for image in subImages))
print(numpy.abs(mosaic.getArray()[25:27]).max(), numpy.abs(mosaic.getArray()[:, 25:27]).max())
""")
    assert lines[0] == "52 52"  # two stamps of 25 and a gap of 2
    assert lines[1].split() == lines[2].split()
    assert lines[3] == "0.0 0.0"
    texts = [region for region in recorder.regions if "ID=" in region]
    assert [re.search(r"ID=(\d+)", text).group(1) for text in texts] == [
        "1002",
        "1003",
        "1004",
        "1005",
    ]


def test_calls_of_rotate_moment_to_wcs(run):
    lines = run("""
import lsst.afw.geom as afwGeom
import lsst.afw.geom.ellipses as ellipses
sources = butler.get('src', dataId)
wcs = butler.get('calexp', dataId, immediate=True).getWcs()
pixScale = wcs.pixelScale().asArcseconds()
print(pixScale)
for s in sources[:3]:
    trans = wcs.linearizePixelToSky(s.getCentroid(), afwGeom.arcseconds).getLinear()
    m_new = s.getShape().transform(trans)
    ax = ellipses.Axes(m_new)
    print(ax.getA()/pixScale, ax.getB()/pixScale, ax.getTheta())
""")
    assert float(lines[0]) == pytest.approx(SCALE, rel=1e-6)
    axes = Quadrupole(*MOMENTS).axes()
    for line in lines[1:]:
        a, b, theta = numbers(line)
        assert (a, b) == pytest.approx((axes.a, axes.b), rel=1e-6)
        # the sky is turned by TURN and RA grows to the left: angles count the other way
        assert np.cos(2 * (theta + axes.theta + np.radians(TURN))) == pytest.approx(1.0, abs=1e-8)


def test_calls_of_show_background(run):
    lines = run("""
nimg = butler.get('calexp', dataId).getMaskedImage().getImage().getArray()
bg = butler.get("calexpBackground", dataId)
bgImg = bg.getImage().getArray()
print(*(nimg + bgImg).shape)
print(bgImg[0, 0], bgImg[0, -1], bgImg[-1, 0], bgImg[-1, -1])
print(len(bg), bg[0][0].getStatsImage().getDimensions(), numpy.median(nimg + bgImg - bgImg))
""")
    ny, nx = SHAPE
    assert lines[0] == f"{ny} {nx}"
    right, top = SKY[1] * (nx - 1), SKY[2] * (ny - 1)
    expected = SKY[0] + np.array([0.0, right, top, right + top])
    np.testing.assert_allclose(numbers(lines[1]), expected, atol=2e-3)  # of 1000, float32
    assert lines[2].startswith("2 Extent2I(6, 5)")


@pytest.mark.parametrize("use_ellipse", [True, False])
def test_calls_of_show_in_ds9(run, recorder, use_ellipse):
    run(f"""
import lsst.afw.image as afwImage
import lsst.afw.display.ds9 as ds9
exposure = butler.get('calexp', dataId)
settings = {{'scale': "zscale", 'zoom': "to fit", 'mask': 'transparency %d' % 60}}
ds9.mtv(exposure, frame=1, title="", settings=settings)
with ds9.Buffering():
    for i, source in enumerate(butler.get('src', dataId)):
        symbol = "@:{{ixx}},{{ixy}},{{iyy}}".format(ixx=source.getIxx(), ixy=source.getIxy(),
            iyy=source.getIyy()) if {use_ellipse} else "o"
        ds9.dot(symbol, source.getX(), source.getY(), ctype=ds9.RED, size=5.0, frame=1, silent=True)
""")
    assert recorder.commands.count("regions") == 1
    first = recorder.regions[0]
    found = numbers(re.sub(r"[^-\d.e ]", " ", re.sub(r"^[a-z]+|#.*", " ", first)))
    axes = Quadrupole(*MOMENTS).axes()
    shape = [axes.a, axes.b, np.degrees(axes.theta)] if use_ellipse else [5.0]
    np.testing.assert_allclose(found, [STARS.x[0] + 1, STARS.y[0] + 1, *shape], rtol=1e-6)
    assert len(recorder.regions) == len(STARS.x)


def test_calls_of_toy_shear(run):
    lines = run("""
import lsst.afw.geom as afwGeom
import lsst.afw.geom.ellipses as ellipses
for s in butler.get('src', dataId)[:3]:
    moment = s.getShape()
    angle = -math.atan2(s.getY() - 1000.0, s.getX() - 1000.0)*afwGeom.radians
    rotation = afwGeom.LinearTransform.makeRotation(angle)
    separable = ellipses.SeparableDistortionDeterminantRadius(moment.transform(rotation))
    e_dis = separable.getEllipticity()
    e_red, e_con = ellipses.ReducedShear(e_dis), ellipses.ConformalShear(e_dis)
    print(*(value for e in (e_dis, e_red, e_con) for value in (e.getE1(), e.getE2())))
""")
    axes = Quadrupole(*MOMENTS).axes()
    q = axes.b / axes.a
    sizes = np.array([(1 - q**2) / (1 + q**2), (1 - q) / (1 + q), -np.log(q)])
    for line, x, y in zip(lines, STARS.x, STARS.y, strict=False):
        angle = 2 * (axes.theta - np.arctan2(y - 1000, x - 1000))
        expected = np.outer(sizes, [np.cos(angle), np.sin(angle)]).ravel()
        np.testing.assert_allclose(numbers(line), expected, atol=1e-12)


def test_calls_of_match_ra_dec(run):
    lines = run("""
import lsst.afw.geom as afwGeom
import lsst.afw.table as afwTable
def catalog(places):
    schema = afwTable.SourceTable.makeMinimalSchema()
    scat = afwTable.SourceCatalog(afwTable.SourceTable.make(schema))
    for id, ra, dec in places:
        s = scat.addNew()
        s.setId(int(id))
        s.setRa(float(ra)*afwGeom.degrees)
        s.setDec(float(dec)*afwGeom.degrees)
    return scat
one = catalog([(1000 + i, 10 + 0.01*i, 20) for i in range(40)])
other = catalog([(2000 + i, 10 + 0.01*i, 20 + 0.1*i/3600) for i in reversed(range(40))])
for s1, s2, dist in afwTable.matchRaDec(one, other, 1.05*afwGeom.arcseconds):
    print(s1.getId(), s2.getId(), (dist*afwGeom.radians).asArcseconds())
print(len(one), one[39].getId(), one[0].getRa().asDegrees())
""")
    rows = np.array([numbers(line) for line in lines[:-1]])
    assert rows[:, 0].tolist() == [1000.0 + i for i in range(11)]  # up to 1.0 arcsec
    assert (rows[:, 1] - rows[:, 0] == 1000).all()
    # 1e-8 arcsec: positions in degrees have 1e-14 of 20
    np.testing.assert_allclose(rows[:, 2], 0.1 * np.arange(11), atol=1e-7)
    assert numbers(lines[-1]).tolist() == [40, 1039, 10]


def test_calls_of_show_visit_sky_map(run):
    lines = run("""
import lsst.afw.cameraGeom as camGeom
import lsst.afw.coord as afwCoord
import lsst.afw.geom as afwGeom
import lsst.afw.image as afwImage
ccdList = [camGeom.cast_Ccd(ccd) for ccd in camGeom.cast_Raft(butler.get("camera")[0])]
print(len([ccd for ccd in ccdList if ccd.getId().getSerial() < 104]))
for ccd in ccdList:
    if ccd.getId().getSerial() == 56:
        wcs = afwImage.makeWcs(butler.get("calexp_md", {'tract': 0, 'visit': 1234, 'ccd': 56}))
        for corner in ccd.getAllPixels().getCorners():
            coord = wcs.pixelToSky(afwGeom.Point2D(corner.getX(), corner.getY())).toIcrs()
            print(coord.getRa().asDegrees(), coord.getDec().asDegrees())
print(len(butler.mapper.camera), butler.get("camera")[56].getBBox().getDimensions())
""")
    assert lines[0] == "104"
    corners = np.array([numbers(line) for line in lines[1:5]])
    x, y = [0, 2047, 2047, 0], [0, 0, 4175, 4175]
    np.testing.assert_allclose(corners.T, sky_wcs().all_pix2world(x, y, 0), atol=1e-9)
    assert lines[5] == "112 Extent2I(2048, 4176)"


# --- calls of scripts that users of the HSC pipeline published


def test_cut_outs_of_coadds(run):
    lines = run("""
import copy
import lsst.afw.coord as afwCoord
import lsst.afw.image as afwImage
import lsst.afw.geom as afwGeom
import lsst.afw.table as afwTable
keys = dict(tract=9813, patch="4,4", filter="HSC-I")
coord = afwCoord.IcrsCoord(150.0*afwGeom.degrees, 2.0*afwGeom.degrees)
coadd = butler.get("deepCoadd_calexp", immediate=True, **keys)
wcs = coadd.getWcs()
psfImg = coadd.getPsf().computeImage(wcs.skyToPixel(coord))
pixel = afwGeom.Point2I(wcs.skyToPixel(coord))
bbox = afwGeom.Box2I(pixel, pixel)
bbox.grow(20)
bbox.clip(coadd.getBBox(afwImage.PARENT))
subImage = afwImage.ExposureF(coadd, bbox, afwImage.PARENT)
newX, newY = subImage.getWcs().skyToPixel(coord)
newOriX, newOriY = subImage.getImage().getXY0()
subImage.getMetadata().set('NEW_X', newX - newOriX)
subImage.writeFits("cut.fits")
psfImg.writeFits("psf.fits")
mask = copy.deepcopy(subImage.getMaskedImage().getMask())
mask.clearMaskPlane(mask.getMaskPlane("DETECTED"))
mask.writeFits("bad.fits")
cat = butler.get("deepCoadd_meas", flags=afwTable.SOURCE_IO_NO_FOOTPRINTS, **keys)
ra = numpy.array(list(map(lambda x: x.get('coord').getRa().asDegrees(), cat)))
cat.subset(ra > 150.0).writeFits("src.fits")
back = afwImage.ExposureF("cut.fits")
print(bbox.getArea(), back.getMetadata().get('NEW_X'), len(cat), (ra > 150.0).sum())
print(afwImage.MaskU("bad.fits").getArray().max(), len(afwTable.SourceCatalog.readFits("src.fits")))
print(psfImg.getArray().sum())
""")
    area, new_x, n, n_right = numbers(lines[0])
    assert (area, n) == (41 * 41, 8)
    # the reference pixel, 299 from 0, is the 20th of the cut-out
    assert new_x == pytest.approx(20.0, abs=1e-6)
    assert numbers(lines[1]).tolist() == [0, n_right]
    assert float(lines[2]) == pytest.approx(1.0, rel=1e-3)  # Lanczos of a stamp


def test_magnitudes_and_ellipses_in_batches(run):
    lines = run("""
import lsst.afw.geom as afwGeom
import lsst.afw.math as afwMath
cat = butler.get('deepCoadd_src', tract=9813, patch='4,4', filter='HSC-I')
calib = butler.get('deepCoadd_calexp', tract=9813, patch='4,4', filter='HSC-I').getCalib()
calib.setThrowOnNegativeFlux(False)
mag, err = calib.getMagnitude(cat.get('flux.psf'), cat.get('flux.psf.err'))
print(*mag)
e = afwGeom.ellipses.Axes(cat[0].getShape())
print(e.getA(), e.getB()/e.getA(), e.getTheta()*180.0/numpy.pi)
calexp = butler.get('calexp', dataId)
stats = afwMath.makeStatistics(calexp.getMaskedImage(), afwMath.STDEVCLIP | afwMath.MEDIAN)
print(stats.getValue(afwMath.STDEVCLIP), calexp.getPsf().computeShape().getDeterminantRadius())
bg = butler.get('calexpBackground', dataId)
print(afwMath.makeStatistics(bg.getImage(), afwMath.MEDIAN).getValue())
""")
    # 2e-5: a zero point from FLUXMAG0 in AB by 3630.78 Jy, as its inverse is
    np.testing.assert_allclose(numbers(lines[0]), STARS.mag, atol=2e-5)
    axes = Quadrupole(*MOMENTS).axes()
    expected = [axes.a, axes.b / axes.a, np.degrees(axes.theta)]
    np.testing.assert_allclose(numbers(lines[1]), expected, rtol=1e-9)
    sigma, radius = numbers(lines[2])
    assert sigma == pytest.approx(10.0, rel=0.03)  # the noise that was put in
    assert radius == pytest.approx(2.0, rel=0.01)  # sigma of the Gaussian, in pixels
    assert float(lines[3]) == pytest.approx(SKY[0] + SKY[1] * 299.5 + SKY[2] * 199.5, abs=0.05)


# --- what is out of scope: one clear error, with the line of the script


@pytest.mark.parametrize(
    ("text", "line", "message"),
    [
        ("import lsst.pipe.base as pipeBase", 7, "lsst.pipe of the HSC tools has no counterpart"),
        ("import lsst.afw.detection", 7, "lsst.afw.detection of the HSC tools has no counterpart"),
        ("from lsst.afw.table import SchemaMapper", 7, "cannot import name 'SchemaMapper'"),
        ("import lsst.afw.math as m\nm.warpExposure", 8, "lsst.afw.math.warpExposure of the HSC"),
        ("from lsst.afw.table import SchemaMapper", 7, "names what to use instead"),
        ("import lsst.afw.image as i\ni.MaskU.getPlaneBitMask('BAD')", 8, "bits differ from file"),
        ("import lsst.afw.image as i\ni.MaskU.getMaskPlaneDict()", 8, "planes belong to a mask"),
        ("import lsst.afw.image as i\ni.MaskU.addMaskPlane('X')", 8, "ask one, as in exposure.get"),
        ("butler.get('deepCoadd_skyMap', {'tract': 0})", 7, "it is a pickle, which can run code"),
        ("butler.get('src', dataId).getNothing()", 7, "SourceCatalog.getNothing of the HSC tools"),
        ("dafPersist.Butler(sys.argv[1], outputs='out')", 7, "a butler has one root"),
        ("dafPersist.Butler()", 7, "a butler has one root"),
        ("import lsst.afw.display.utils as u\nu.Mosaic().makeMosaic()", 8, "a mosaic needs images"),
        ("import lsst.afw.display.utils as u\nu.Mosaic(mode='z').makeMosaic([butler.get('calexp', "
         "dataId)])", 8, "no mode 'z'; use 'square'"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_said_with_the_line(fails, tmp_path, text, line, message):
    said = fails(text)
    assert said.startswith(f"{tmp_path / 'script.py'}:{line}: ")
    assert message in said
    assert len(said.splitlines()) == 1


def test_names_that_are_not_there_can_be_asked_for(run):
    lines = run("""
import lsst.afw.math as afwMath
print(hasattr(afwMath, "warpExposure"), hasattr(butler.get('src', dataId), "getNothing"))
try:
    import lsst.meas.astrom
except ImportError as error:
    print(type(error).__name__)
import lsst.pex.exceptions
try:
    butler.get('src', visit=1, ccd=1)
except lsst.pex.exceptions.LsstCppException as error:
    print(type(error).__name__)
try:
    import nosuchpackage
except ModuleNotFoundError as error:
    print(error)
""")
    assert lines == [
        "False False",
        "ModuleNotFoundError",
        "DataNotFound",
        "No module named 'nosuchpackage'",
    ]
