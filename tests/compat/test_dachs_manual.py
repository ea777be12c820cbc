"""The listings of the DaCHS manual "File Processing", with Python 3 edits only.

Edits: print as a function, ``io.BytesIO``, ``from PIL import Image``, ``hdr["KEY"] = value`` and
``"KEY" in hdr`` for methods that pyfits had, ``BinTableHDU`` for ``new_table``; and what no Python
accepts (a ``def`` that is missing, a base class that is not the one the text names).
"""

from __future__ import annotations

import io
import shutil
import sys

import numpy as np
import pytest
from astropy.io import fits
from PIL import Image

from skyloom.calib.plate_solving import find_indexes
from skyloom.cli import main
from skyloom.errors import MissingFile

# The manual leaves it to Python to close its files.
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

RD = """<resource schema="potsdam" resdir="potsdam">
  <table id="main"/>
  <data id="import">
    <property key="previewDir">previews</property>
    <sources pattern="data/*.fits"/>
    <make table="main"/>
  </data>
  <data id="pictures">
    <property key="previewDir">previews</property>
    <sources pattern="data/*.png"/>
  </data>
</resource>
"""

SIZES = """
import os
from gavo import api
from gavo.helpers import processing

def _getExpectedSize(fName):
    return 2880

class SizeChecker(processing.FileProcessor):
    def process(self, srcName):
        found = os.path.getsize(srcName)
        expected = _getExpectedSize(srcName)
        if found != expected:
            print("%s: is %s, should be %s" % (os.path.basename(srcName), found, expected))

if __name__ == "__main__":
    processing.procmain(SizeChecker, "potsdam/q", "import")
"""

CATALOGUE = """
import os
from gavo.helpers import processing

class Processor(processing.FileProcessor):
    @staticmethod
    def addOptions(optParser):
        processing.FileProcessor.addOptions(optParser)
        optParser.add_option("--cat-name", help="Resdir-relative path to"
            " the plate catalogue", action="store", type="str",
            dest="catPath", default="res/plates.cat")

    def _createAuxillaries(self, dd):
        self.catEntriesUsed = 0
        catPath = os.path.join(dd.rd.resdir, self.opts.catPath)
        self.catalogue = {}
        for ln in open(catPath):
            id, val = ln.split()
            self.catalogue[id] = val

    def process(self, srcName):
        print(self.catalogue[os.path.basename(srcName)])

if __name__ == "__main__":
    processing.procmain(Processor, "potsdam/q", "import")
"""

GATHERED = """
import os
from gavo.helpers import processing

class SizeChecker(processing.FileProcessor):
    def _createAuxillaries(self, dd):
        self.mess = []

    def process(self, srcName):
        found = os.path.getsize(srcName)
        expected = 2880
        if found != expected:
            self.mess.append((srcName, expected, found))

if __name__ == "__main__":
    res = processing.procmain(SizeChecker, "potsdam/q", "import")
    res.mess.sort(key=lambda rec: abs(rec[1]-rec[2]))
    for name, expected, found in res.mess:
        print("%10d %10d %8d %s" % (expected, found, expected-found, os.path.basename(name)))
"""

CLASSES = """
from gavo import api

class Classifier(api.FileProcessor):
    def classify(self, srcName):
        hdr = self.getPrimaryHeader(srcName)
        try:
            ignored = "FILTER_A" in hdr
            return "ok"
        except ValueError: # botched cards on board
            return "botched"

if __name__ == "__main__":
    api.procmain(Classifier, "potsdam/q", "import")
"""

ACCREFS = """
from gavo import api

class FromTable(api.FileProcessor):
    def iterIdentifiers(self):
        tableId = self.dd.makes[0].table.getQName()
        with api.getTableConn() as conn:
            for r in conn.queryToDicts("select accref from %s" % tableId):
                yield r["accref"]

    def process(self, accref):
        print(accref)

if __name__ == "__main__":
    api.procmain(FromTable, "potsdam/q", "import")
"""

PICTURES = """
import os
from io import BytesIO
from PIL import Image
from gavo import api
from gavo.helpers import processing

class PreviewMaker(processing.PreviewMaker):
    def getPreviewData(self, accref):
        srcName = os.path.join(api.getConfig("inputsDir"), accref)
        im = Image.open(srcName)
        scale = max(im.size)/200.
        resized = im.resize((
            int(im.size[0]/scale),
            int(im.size[1]/scale)))
        rendered = BytesIO()
        resized.save(rendered, format="jpeg")
        return rendered.getvalue()

if __name__ == "__main__":
    processing.procmain(PreviewMaker, "potsdam/q", "pictures")
"""

COLOUR = """
import os
import numpy
from gavo import api
from gavo.helpers import processing
from gavo.utils import fitstools
from gavo.utils import imgtools
from gavo.utils import pyfits

def _getArrayFor(srcName, extInd):
    return numpy.array(list(
        fitstools.iterScaledRows(srcName, destSize=200, extInd=extInd)))

class PreviewMaker(processing.PreviewMaker):
    def getPreviewData(self, accref):
        srcName = os.path.join(api.getConfig("inputsDir"), accref)
        return imgtools.colorJpegFromNumpyArrays(
            _getArrayFor(srcName, 2),
            _getArrayFor(srcName, 3),
            _getArrayFor(srcName, 4))

if __name__ == "__main__":
    processing.procmain(PreviewMaker, "potsdam/q", "import")
"""

SPECTRA = """
from gavo.helpers import processing

class PreviewMaker(processing.SpectralPreviewMaker):
    sdmId = "build_sdm_data"
    linearFluxes = True

if __name__ == "__main__":
    processing.procmain(PreviewMaker, "potsdam/q", "import")
"""

SILLY = """
from gavo import api
from gavo import processing

class SillyProcessor(processing.HeaderProcessor):
    def _createAuxillaries(self, dd):
        self.keepKeys = self.keepKeys.copy()
        self.keepKeys.add("EXPTIME")

    def commentFilter(self, comment):
        return "IMPORTANT" in comment

    def _isProcessed(self, srcName):
        return "NUMPIXELS" in self.getPrimaryHeader(srcName)

    def _mungeHeader(self, srcName, hdr):
        hdr["NUMPIXELS"] = hdr["NAXIS1"]*hdr["NAXIS2"]
        hdr["EXPTIME"] = 99
        return hdr

if __name__ == "__main__":
    processing.procmain(SillyProcessor, "potsdam/q", "import")
"""

SOLVED = '''
import os
from gavo import api
from gavo.helpers import anet, processing
from gavo.helpers.anet import ShellCommandFailed
from gavo.utils import pyfits

class MyProcessor(processing.AnetHeaderProcessor):
    sp_indices = ["index-tycho2-09.littleendian"],
    sp_lower_pix = 4
    sp_upper_pix = 7
    sp_endob = 50

    sexControl_in = """
        DETECT_MINAREA   %d
        DETECT_THRESH    4
        SEEING_FWHM      1.2
        """

    def objectFilter(inName):
        """throws out funny-looking objects from inName and throws out objects
        near the border.
        """
        hdulist = pyfits.open(inName)
        data = hdulist[1].data
        width = max(data.field("X_IMAGE"))
        badBorder = 0.03
        data = data[data.field("ELONGATION")<1.5]
        data = data[data.field("X_IMAGE")>width*badBorder]
        data = data[data.field("X_IMAGE")<width-width*badBorder]
        hdu = pyfits.BinTableHDU(data, header=hdulist[1].header)
        hdu.writeto("foo.xyls")
        hdulist.close()
        os.rename("foo.xyls", inName)

    def historyFilter(self, value):
        if "changed" in value:
            return True
        if "left" in value:
            return False
        return processing.AnetHeaderProcessor.historyFilter(self, value)

    def _runAnet(self, srcName):
        for minArea in [300, 50, 6]:
            try:
                self.sexControl = self.sexControl_in%minArea
                res = processing.AnetHeaderProcessor._runAnet(self, srcName)
                if res is not None:
                    print("solved with", minArea)
                    return res
            except ShellCommandFailed:  # Ignore failures
                pass
        raise anet.ShellCommandFailed("No anet parameter worked", None)

    def _getHeader(self, srcName):
        hdr = processing.AnetHeaderProcessor._getHeader(self, srcName)
        if hdr is not None:
            hdr["LOCATION"] = "Unknown"
        return hdr

if __name__ == "__main__":
    processing.procmain(MyProcessor, "potsdam/q", "import")
'''

DEFAULT_RUN = """
from gavo.helpers import anet, processing

class Asks(processing.AnetHeaderProcessor):
    indexPath = "%s"
    sp_lower_pix = 120
    sp_upper_pix = 720
    sexControl = ""

    def _runAnet(self, srcName):
        return anet.getWCSFieldsFor(srcName, self.solverParameters,
            self.sexControl, self.objectFilter, self.opts.copyTo,
            self.opts.beVerbose)

if __name__ == "__main__":
    processing.procmain(Asks, "potsdam/q", "import")
"""

CALLBACK = """
import sys
from gavo import api

def run_tests(*args):
    print("tests run", args[1])
    sys.exit(0)

class WithTests(api.HeaderProcessor):
    @staticmethod
    def addOptions(optParser):
        api.HeaderProcessor.addOptions(optParser)
        optParser.add_option("--test", help="Run unit tests, then exit",
            action="callback", callback=run_tests)

if __name__ == "__main__":
    api.procmain(WithTests, "potsdam/q", "import")
"""


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    folder = tmp_path / "inputs" / "potsdam"
    (folder / "data").mkdir(parents=True)
    (folder / "q.rd").write_text(RD)
    fits.PrimaryHDU().writeto(folder / "data" / "a.fits")
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "gavo"]:
        del sys.modules[name]


def run(inputs, script, *argv):
    (inputs / "script.py").write_text(script)
    return main(["process", "script.py", *argv])


def add_image(inputs, name="b.fits", **cards):
    hdu = fits.PrimaryHDU(np.zeros((30, 40), np.int16))
    hdu.header.update(cards)
    hdu.writeto(inputs / "data" / name)
    return inputs / "data" / name


def test_sizes(inputs, capsys):
    add_image(inputs)
    assert run(inputs, SIZES) == 0
    assert capsys.readouterr().out == (
        "b.fits: is 5760, should be 2880\n2 files processed, 0 files with errors\n"
    )


def test_options_and_auxiliaries(inputs, capsys):
    (inputs / "res").mkdir()
    (inputs / "res" / "other.cat").write_text("a.fits blue\n")
    assert run(inputs, CATALOGUE, "--cat-name", "res/other.cat") == 0
    assert capsys.readouterr().out.startswith("blue\n1 files processed")


def test_gathering(inputs, capsys):
    add_image(inputs)
    assert run(inputs, GATHERED) == 0
    assert capsys.readouterr().out.endswith("      2880       5760    -2880 b.fits\n")


def test_classes(inputs, capsys):
    assert run(inputs, CLASSES, "--report") == 0
    assert "Processor Report\n================\n\n1  ok\n" in capsys.readouterr().out


def test_access_references_of_a_table(inputs, capsys, monkeypatch):
    assert run(inputs, ACCREFS) == 2
    assert "export the table to potsdam.main.csv" in capsys.readouterr().err
    (inputs / "potsdam.main.csv").write_text("accref,size\npotsdam/x.vot,3\npotsdam/y.vot,4\n")
    monkeypatch.setenv("SKYLOOM_DACHS_TABLES", str(inputs))
    assert run(inputs, ACCREFS) == 0
    assert capsys.readouterr().out == (
        "potsdam/x.vot\npotsdam/y.vot\n2 files processed, 0 files with errors\n"
    )


def test_pictures(inputs, capsys):
    Image.new("L", (400, 200), 128).save(inputs / "data" / "a.png")
    assert run(inputs, PICTURES) == 0
    (preview,) = (inputs / "previews").iterdir()
    assert preview.name == "cG90c2RhbS9kYXRhL2EucG5n"
    assert Image.open(preview).size == (200, 100)
    capsys.readouterr()
    assert run(inputs, PICTURES, "--report") == 0
    assert "1  with\n" in capsys.readouterr().out


def test_colour_previews(inputs):
    shade = np.arange(300.0 * 300).reshape(300, 300)
    images = [fits.ImageHDU(shade * n) for n in (1, 1, 2, 3)]
    path = inputs / "data" / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(path, overwrite=True)
    assert run(inputs, COLOUR) == 0
    (preview,) = (inputs / "previews").iterdir()
    picture = Image.open(io.BytesIO(preview.read_bytes()))
    assert (picture.size, picture.mode) == ((150, 150), "RGB")


def test_previews_of_spectra(inputs):
    columns = [fits.Column(name, "D", array=np.arange(1.0, 90)) for name in ("spectral", "flux")]
    path = inputs / "data" / "a.fits"
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(columns)]).writeto(
        path, overwrite=True
    )
    fits.PrimaryHDU(np.arange(1.0, 50)).writeto(inputs / "data" / "b.fits")
    assert run(inputs, SPECTRA) == 0
    assert [Image.open(p).size for p in (inputs / "previews").iterdir()] == [(200, 100)] * 2


def test_headers(inputs):
    (inputs / "data" / "a.fits").unlink()
    path = add_image(inputs, EXPTIME=30)
    with fits.open(path, mode="update") as hdus:
        hdus[0].header["COMMENT"] = "IMPORTANT: fragile"
        hdus[0].header["COMMENT"] = "nothing"
    with pytest.warns(fits.verify.VerifyWarning, match="NUMPIXELS"):
        assert run(inputs, SILLY, "--apply") == 0
    header = fits.getheader(path)
    assert header["NUMPIXELS"] == 1200
    assert header["EXPTIME"] == 30  # kept
    assert list(header["COMMENT"]) == ["IMPORTANT: fragile"]


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_plate_solving(inputs, shared_data, capsys, jobs):
    pytest.importorskip("astrometry", reason="pip install 'skyloom[solve]'")
    try:
        find_indexes(["index-tycho2-09*"])
    except MissingFile:
        pytest.skip("no index-tycho2-09; run ci/debian.sh")
    (inputs / "data" / "a.fits").unlink()
    path = inputs / "data" / "field.fits"
    with fits.open(shared_data / "astrometry" / "synthetic-1p5deg-b.fits.gz") as hdus:
        hdus[0].header["HISTORY"] = "changed by hand"
        hdus[0].header["HISTORY"] = "left alone"
        hdus.writeto(path)
    assert run(inputs, SOLVED, "--apply", "-j", jobs) == 0
    out, err = capsys.readouterr()
    assert (err, "1 files processed, 0 files with errors" in out) == ("", True)
    if jobs == "1":  # workers print elsewhere
        assert "solved with 50\n" in out  # few stars have 300 pixels
    header = fits.getheader(path)
    assert header["LOCATION"] == "Unknown"
    assert header["CTYPE1"].startswith("RA---TAN")
    assert "changed by hand" in header["HISTORY"]
    assert "left alone" not in header["HISTORY"]


def test_the_solver_by_itself(inputs, shared_data, capsys):
    pytest.importorskip("astrometry", reason="pip install 'skyloom[solve]'")
    (inputs / "data" / "a.fits").unlink()
    shutil.copy(shared_data / "astrometry" / "apod5.xyls", inputs / "data" / "a.xyls")
    (inputs / "q.rd").write_text(RD.replace("data/*.fits", "data/*.xyls"))
    script = DEFAULT_RUN % (shared_data / "astrometry")
    assert run(inputs, script.replace("sp_lower", "sp_indices = ['index-4119']\n    sp_lower")) == 0
    out, err = capsys.readouterr()
    assert (err, "1 files processed, 0 files with errors" in out) == ("", True)
    assert fits.getheader(inputs / "data" / "a.xyls.hdr")["CRVAL1"] == pytest.approx(90.3, abs=0.2)


def test_a_program_that_fails_is_an_error_as_it_was():
    from skyloom.compat.dachs import anet  # noqa: PLC0415 - like a script

    with pytest.raises(anet.ShellCommandFailed) as caught:
        raise anet.ShellCommandFailed("No anet parameter worked", None)
    assert caught.value.retcode is None


def test_options_with_callbacks(inputs, capsys):
    assert run(inputs, CALLBACK, "--test") == 0
    assert capsys.readouterr().out == "tests run --test\n"
