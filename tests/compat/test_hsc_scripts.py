"""Scripts in the manner of the HSC manual run, with nothing changed but Python 2's print."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from skyloom import display
from skyloom.butler import Butler
from skyloom.catalogs import SourceCatalog
from skyloom.compat.hsc import MODULES
from skyloom.compat.hsc.__main__ import main
from skyloom.images import Exposure

ZEROPOINT = 27.0

MASK_STATISTICS = """
import sys
import numpy
import lsst.daf.persistence as dafPersist
import lsst.afw.image as afwImage

def main(rootDir, visit, ccd):
    butler = dafPersist.Butler(rootDir)
    exposure = butler.get('calexp', {'visit': visit, 'ccd': ccd})
    mimg = exposure.getMaskedImage()
    mask = mimg.getMask()
    nx, ny = mimg.getWidth(), mimg.getHeight()
    array = mask.getArray()
    for name, bit in sorted(mask.getMaskPlaneDict().items()):
        n = ((array & (1 << bit)) != 0).sum()
        print("%-20s %2d %6d %.4f" % (name, bit, n, n / float(nx * ny)))

    # a copy with one plane: pixels are 0 or the value of the bit, not 1
    detected = afwImage.MaskU(mask, True)
    detected &= mask.getPlaneBitMask("DETECTED")
    values = numpy.unique(detected.getArray())
    print("values", list(map(int, values)), mask.getPlaneBitMask("DETECTED"))

    # the part above and to the right of a place, in the coordinates of the CCD
    x0, y0 = exposure.getX0(), exposure.getY0()
    import lsst.afw.geom as afwGeom
    box = afwGeom.Box2I(afwGeom.Point2I(x0 + 20, y0 + 30), afwGeom.Extent2I(50, 40))
    part = exposure.Factory(exposure, box)
    print("part", part.getDimensions(), part.getBBox().getMax(), part.getXY0())

main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""

MAGNITUDES = """
import sys
import numpy
import lsst.daf.persistence as dafPersist
import hsc.pipe.base.butler as hscButler
import lsst.meas.mosaic as measMosaic
import lsst.afw.table as afwTable

def main(rootDir, visit, ccd):
    butler = dafPersist.Butler(rootDir)
    dataRef = hscButler.getDataRef(butler, {'visit': visit, 'ccd': ccd})
    sources = dataRef.get('src', flags=afwTable.SOURCE_IO_NO_FOOTPRINTS, immediate=True)
    metadata = butler.get('calexp_md', dataRef.dataId)
    zeropoint = 2.5*numpy.log10(metadata.get("FLUXMAG0"))
    if butler.datasetExists('fcr_md', dataRef.dataId):
        measMosaic.FluxFitParams(butler.get('fcr_md', dataRef.dataId))
    for src in sources[0:2]:
        m = src.get("shape.sdss")
        assert m.getIxx() == src.get("base_SdssShape_xx")
        assert src.getShape().getIxx() == src.getIxx()  # the slot is another measurement
    psfmag = zeropoint - 2.5*numpy.log10(sources.get("flux.psf"))
    err = 2.5/numpy.log(10.0)*sources.get("flux.psf.err")/sources.get("flux.psf")
    for i, src in enumerate(sources):
        ra, dec = src.getRa().asDegrees(), src.getDec().asDegrees()
        print("%.6f %.6f %.4f %.4f %s" % (ra, dec, psfmag[i], err[i], src.get("flags.pixel.edge")))
    key = sources.getSchema().find("flux.psf").key
    assert (sources.get(key) == sources.get("flux.psf")).all()
    assert sources.getColumnView().getPsfFlux()[0] == sources[0].getPsfFlux()
    calib = dataRef.get('calexp').getCalib()
    print("%.3f %.3f" % (zeropoint, calib.getMagnitude(sources[0].getPsfFlux())))

main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
"""

SHOW_IN_DS9 = """
import argparse
import lsst.daf.persistence as dafPersist
import lsst.afw.display.ds9 as ds9
import lsst.afw.geom.ellipses as ellipses
import hsc.pipe.base.butler as hscButler

def main(rootDir, visit, ccd, frame=1, limit=0.5):
    butler = dafPersist.Butler(rootDir)
    dataId = {'visit': visit, 'ccd': ccd}
    if not butler.datasetExists('src', dataId):
        raise RuntimeError("no sources")
    dataRef = hscButler.getDataRef(butler, dataId)
    exposure = dataRef.get('calexp')
    settings = {'scale': 'zscale', 'zoom': 'to fit', 'mask': 'transparency 60'}
    ds9.setMaskPlaneVisibility("DETECTED", False)
    ds9.mtv(exposure, frame=frame, title="visit %d" % visit, settings=settings)
    with ds9.Buffering():
        for source in dataRef.get('src'):
            x, y = source.getX(), source.getY()
            extended = source.get("classification.extendedness")
            if source.get("flags.pixel.edge"):
                ds9.dot("x", x, y, ctype=ds9.RED, size=5, frame=frame, silent=True)
            elif extended > limit:
                axes = ellipses.Axes(source.getShape())
                assert axes.getA() >= axes.getB()
                symbol = "@:%g,%g,%g" % (source.getIxx(), source.getIxy(), source.getIyy())
                ds9.dot(symbol, x, y, ctype=ds9.GREEN, frame=frame, silent=True)
            else:
                ds9.dot("o", x, y, ctype=ds9.CYAN, size=4, frame=frame, silent=True)

if __name__ == '__main__':
    parser = argparse.ArgumentParser()
    parser.add_argument("root")
    parser.add_argument("visit", type=int)
    parser.add_argument("ccd", type=int)
    parser.add_argument("-f", "--frame", type=int, default=1)
    args = parser.parse_args()
    main(args.root, args.visit, args.ccd, frame=args.frame)
"""

QUERIES = """
import sys
import lsst.daf.persistence as dafPersist
import lsst.afw.coord as afwCoord
import lsst.afw.geom as afwGeom
import lsst.afw.table as afwTable
import lsst.afw.image as afwImage

butler = dafPersist.Butler(sys.argv[1])
print(butler.queryMetadata('calexp', 'ccd', ['visit', 'ccd'], {'filter': 'HSC-I'}))
print(butler.queryMetadata('calexp', 'ccd', dataId={'visit': 908120}))
print([ref.dataId['ccd'] for ref in butler.subset('calexp', dataId={'visit': 908120})])
path = butler.get('calexp_filename', visit=908120, ccd=56)[0]
wcs = afwImage.ExposureF(path).getWcs()
coord = wcs.pixelToSky(afwGeom.Point2D(150.0, 160.0))
point = wcs.skyToPixel(coord)
print("%.3f %.3f" % (point.getX(), point.getY()))
other = afwCoord.IcrsCoord(coord.getLongitude() + 10*afwGeom.arcseconds, coord.getLatitude())
print("%.3f" % coord.angularSeparation(other).asArcseconds())
print(coord.toGalactic().getLongitude().asDegrees() == coord.getL().asDegrees())
sources = afwTable.SourceCatalog.readFits(butler.get('src_filename', visit=908120, ccd=56)[0])
print(len(sources), len(sources[sources.getX() > 1000.0]), sources[0].getFootprint().getArea())
print(butler.queryMetadata('calexp', format=['visit', 'ccd'], dataId={'filter': 'HSC-I'}))
print(sorted(butler.getKeys('calexp').items(), key=str)[0], 'src' in butler.getDatasetTypes())
for origin, x, y in (('LOCAL', 10, 20), ('PARENT', 110, 120)):
    box = afwGeom.Box2I(afwGeom.Point2I(x, y), afwGeom.Extent2I(30, 5))
    part = butler.get('calexp_sub', bbox=box, imageOrigin=origin, visit=908120, ccd=56)
    print(part.getXY0(), part.getDimensions())
origin = wcs.pixelToSky(wcs.getPixelOrigin())
print("%.3f" % origin.angularSeparation(wcs.getSkyOrigin()).asArcseconds())
print(len(sources.subset(sources.getX() > 1000.0)))
sources.sort()
"""


@pytest.fixture(scope="module")
def rerun(shared_data, tmp_path_factory) -> Path:
    """The real exposure and catalogue as a rerun has them, with a zero point in the header."""
    root = tmp_path_factory.mktemp("rerun")
    data = shared_data / "astrometry" / "afw"
    corr, output = (root / "00705" / "HSC-I" / name for name in ("corr", "output"))
    corr.mkdir(parents=True)
    output.mkdir()
    calexp = corr / "CORR-0908120-056.fits"
    shutil.copyfile(data / "HSC-0908120-056-small.fits", calexp)
    calexp.chmod(0o644)
    with fits.open(calexp, mode="update") as hdus:
        hdus[0].header["FLUXMAG0"] = 10 ** (0.4 * ZEROPOINT)
    shutil.copyfile(data / "sourceCatalog-hsc-v2.fits", output / "SRC-0908120-056.fits")
    return root


@pytest.fixture
def run(rerun, tmp_path, capsys):
    """Run a script on the rerun and return its lines."""

    def run_script(text: str, *arguments: str) -> list[list[str]]:
        script = tmp_path / "script.py"
        script.write_text(text)
        words = arguments or ("908120", "56")
        assert main([str(script), str(rerun), *words]) == 0
        return [line.split() for line in capsys.readouterr().out.splitlines()]

    return run_script


def test_mask_statistics(run, rerun):
    lines = run(MASK_STATISTICS)
    mask = Butler(rerun, "hsc").get("calexp", visit=908120, ccd=56).mask
    counts = {name: (int(bit), int(n)) for name, bit, n, _ in lines[:-2]}
    assert counts == {
        name: (bit, int(mask.is_set(name).sum())) for name, bit in mask.planes.items()
    }
    assert counts["NO_DATA"][0] == 9  # in this file
    assert counts["DETECTED"] == (5, 5390)
    assert lines[-2] == ["values", "[0,", "32]", "32"]
    assert " ".join(lines[-1]) == "part Extent2I(50, 40) Point2I(169, 169) Point2I(120, 130)"


def test_magnitudes_from_fluxmag0(run, rerun):
    *lines, last = run(MAGNITUDES)
    sources: SourceCatalog = Butler(rerun, "hsc").get("src", visit=908120, ccd=56)
    expected = sources.magnitudes("base_PsfFlux", ZEROPOINT)
    found = np.array([[float(v) for v in line[:4]] for line in lines])
    np.testing.assert_allclose(found[:, 2], expected.mag, atol=6e-5)  # four decimals
    np.testing.assert_allclose(found[:, 3], expected.mag_err, atol=6e-5)
    np.testing.assert_allclose(found[:, 0], sources.ra.as_degrees(), atol=6e-7)
    assert [line[4] for line in lines] == [str(v) for v in sources.get("flags.pixel.edge")]
    assert last == ["27.000", f"{expected.mag[0]:.3f}"]


def test_show_in_ds9(run, rerun):
    shown = display.use("virtual")
    try:
        run(SHOW_IN_DS9, "908120", "56", "--frame", "3")
    finally:
        display.close()
    commands = shown.recorder.commands
    assert commands[:3] == ["frame 3", "mask clear", "fits"]
    assert [c for c in commands if c.startswith("mask color")] == ["mask color red"]  # CROSSTALK
    for setting in ("scale mode zscale", "zoom to fit", "mask transparency 60"):
        assert setting in commands
    assert commands.count("regions") == 1  # buffered
    exposure = Butler(rerun, "hsc").get("calexp", visit=908120, ccd=56)
    sources = Butler(rerun, "hsc").get("src", visit=908120, ccd=56)
    assert exposure.xy0 == (100, 100)
    edges = int(sources.get("base_PixelFlags_flag_edge").sum())
    strokes = [line for line in shown.recorder.regions if line.startswith("line")]
    circles = [line for line in shown.recorder.regions if line.startswith("circle")]
    assert len(strokes) == 2 * edges
    assert len(circles) == len(sources) - edges  # extendedness was not measured there
    rows = np.flatnonzero(~sources.get("base_PixelFlags_flag_edge"))
    first = f"circle({sources.x[rows[0]] - 99:.10g},{sources.y[rows[0]] - 99:.10g},4)"
    assert circles[0] == f"{first} # color=cyan"


def test_ellipses_by_type(rerun, tmp_path):
    """With a classification, galaxies are ellipses of their moments."""
    changed = tmp_path / "changed"
    shutil.copytree(rerun, changed)
    path = changed / "00705" / "HSC-I" / "output" / "SRC-0908120-056.fits"
    path.chmod(0o644)
    sources = SourceCatalog.read(path)
    sources.set("classification.extendedness", np.ones(len(sources)))
    sources.set("flags.pixel.edge", np.zeros(len(sources), bool))
    sources.write(path, overwrite=True)
    shown = display.use("virtual")
    try:
        assert main([_script(tmp_path, SHOW_IN_DS9), str(changed), "908120", "56"]) == 0
    finally:
        display.close()
    ellipses = [line for line in shown.recorder.regions if line.startswith("ellipse")]
    axes = sources.shape.axes()
    numbers = [[float(v) for v in line[8 : line.index(")")].split(",")] for line in ellipses]
    np.testing.assert_allclose(np.array(numbers)[:, 2], axes.a, rtol=1e-5)  # six digits
    np.testing.assert_allclose(np.array(numbers)[:, 3], axes.b, rtol=1e-5)


def test_queries_positions_and_files(run):
    lines = [" ".join(line) for line in run(QUERIES, "unused")]
    assert lines[:3] == ["[(908120, 56)]", "[56]", "[56]"]
    assert lines[3] == "150.000 160.000"
    separation = float(lines[4])
    assert separation == pytest.approx(10 * np.cos(np.radians(1.653)), abs=2e-3)
    assert lines[5] == "True"
    assert lines[6] == "5 3 175"
    assert lines[7] == "[(908120, 56)]"
    assert lines[8] == "('ccd', <class 'int'>) True"
    assert lines[9] == lines[10] == "Point2I(110, 120) Extent2I(30, 5)"
    assert float(lines[11]) == pytest.approx(0.0, abs=1e-3)
    assert lines[12] == "3"


def test_an_uncalibrated_exposure_is_said_so(shared_data, tmp_path, capsys):
    script = _script(
        tmp_path,
        "import sys\nimport lsst.afw.image as afwImage\n"
        "afwImage.ExposureF(sys.argv[1]).getCalib().getFluxMag0()\n",
    )
    path = shared_data / "astrometry" / "afw" / "HSC-0908120-056-small.fits"
    assert main([script, str(path)]) == 2
    assert "NotCalibrated: FLUXMAG0 = 0.0" in capsys.readouterr().err


def test_what_is_wrong_with_a_script(tmp_path, capsys):
    assert main([]) == 2
    assert main(["none.py"]) == 2
    assert "none.py: no such script" in capsys.readouterr().err
    before = sys.argv, list(sys.path)
    script = _script(
        tmp_path, "import lsst.daf.persistence as p\np.Butler('.').get('nosuch', {})\n"
    )
    assert main([script]) == 2
    assert "nosuch" in capsys.readouterr().err
    assert (sys.argv, sys.path) == before
    assert not set(MODULES) & set(sys.modules)


def test_puts_need_to_be_allowed(rerun, tmp_path, capsys):
    copy = tmp_path / "copy"
    shutil.copytree(rerun, copy)
    text = (
        "import sys\nimport lsst.daf.persistence as p\n"
        "butler = p.Butler(sys.argv[1]{})\n"
        "e = butler.get('calexp', visit=908120, ccd=56)\n"
        "where = dict(visit=908120, ccd=56, pointing=705, filter='HSC-I')\n"
        "butler.put(e, 'icExp', where)\n"
    )
    assert main([_script(tmp_path, text.format("")), str(copy)]) == 2
    assert "open it with writeable=True" in capsys.readouterr().err
    assert main([_script(tmp_path, text.format(", writeable=True")), str(copy)]) == 0
    written = Exposure.read(copy / "00705" / "HSC-I" / "corr" / "ICEXP-0908120-056.fits")
    assert written.shape == (200, 200)


def _script(folder: Path, text: str) -> str:
    path = folder / "script.py"
    path.write_text(text)
    return str(path)
