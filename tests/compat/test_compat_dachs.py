"""Scripts for DaCHS run, with resource descriptors and old names."""

# ruff: noqa: ARG001, ARG002, N802, N815, T201 - old names of hooks

from __future__ import annotations

import sys

import pytest
from astropy.io import fits

from skyloom import process
from skyloom.cli import main
from skyloom.compat import dachs as api
from skyloom.compat.dachs import _classes
from skyloom.errors import ConfigError, MissingConfig, UnknownKey
from skyloom.process import templates

RD = r"""<resource schema="plates" resdir="plates">
  <meta name="title">Plates</meta>
  <table id="main"/>
  <property name="owner">me</property>
  <data id="other"><sources item="x"/></data>
  <data id="import">
    <property key="previewDir">previews</property>
    <sources recurse="True">
      <pattern>data/*.fits</pattern>
      <ignoredSources fromfile="ignore.txt"><pattern>bad*</pattern></ignoredSources>
    </sources>
    <make table="main"/>
  </data>
  <data id="atomic"><sources pattern="\resdir/data/*.txt"/></data>
  <data id="file">  <sources>data/one.fits</sources></data>
</resource>
"""


@pytest.fixture
def inputs(tmp_path, monkeypatch):
    folder = tmp_path / "inputs" / "plates"
    (folder / "data" / "below").mkdir(parents=True)
    (folder / "q.rd").write_text(RD)
    (folder / "ignore.txt").write_text(f"{folder}/data/seen.fits\n")
    for name in ("one.fits", "seen.fits", "bad1.fits", "below/two.fits"):
        hdu = fits.PrimaryHDU()
        hdu.header["DATE_OBS"] = "1931-02-03"
        hdu.writeto(folder / "data" / name)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "argv", ["script.py"])
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == "gavo"]:
        del sys.modules[name]


def sources(spec):
    return [name.removeprefix(f"{spec.resdir}/") for name in spec.sources.identifiers(spec.resdir)]


def test_the_descriptor(inputs, monkeypatch):
    spec = api.read_rd("plates/q", "import")
    assert (spec.resdir, spec.inputs_dir) == (inputs, inputs.parent)
    assert sources(spec) == ["data/one.fits", "data/below/two.fits"]
    assert dict(spec.properties) == {"owner": "me", "preview_dir": "previews"}
    assert sources(api.read_rd("plates/q", "file")) == ["data/one.fits"]
    assert sources(api.read_rd("q", "other")) == ["x"]
    assert api.read_rd("q", "atomic").sources.patterns == (f"{inputs}/data/*.txt",)
    monkeypatch.chdir("/")
    with pytest.raises(MissingConfig, match=r"plates/q.rd: there is no such .*set GAVO_INPUTSDIR"):
        api.read_rd("plates/q", "import")
    monkeypatch.setenv("GAVO_INPUTSDIR", str(inputs.parent))
    assert api.read_rd("plates/q", "import").inputs_dir == inputs.parent


@pytest.mark.parametrize(
    ("text", "error", "message"),
    [
        ("<resource><data id='a'/></resource>", UnknownKey, "no data element 'import'; it has a"),
        ("<resource><data", ConfigError, "mend the XML"),
        ("<table/>", ConfigError, "the root element is table, not resource"),
        ("<!DOCTYPE r [<!ENTITY a 'b'>]><resource/>", ConfigError, "entities are not read"),
        ("<resource><data id='import'><sources pattern='\\test/*'/></data></resource>",
         ConfigError, r"macro \\test is not known here"),
    ],
)  # fmt: skip
def test_mistakes_in_the_descriptor(inputs, text, error, message):
    (inputs / "q.rd").write_text(text)
    with pytest.raises(error, match=message):
        api.read_rd("plates/q", "import")


SCRIPT = """
from __future__ import print_function
import os
from gavo import api
from gavo.base import SkipThis
from gavo.helpers import fitstricks
from gavo.utils import fitstools, pyfits

class PlateHeaders(api.HeaderProcessor):
    headerExt = ".new"
    cardSequence = [("TELESCOP", False)]

    @staticmethod
    def addOptions(optParser):
        api.HeaderProcessor.addOptions(optParser)
        optParser.add_option("--telescope", help="name (%default)", action="store",
            type="string", dest="telescopeName", default="Astrograph")

    def _createAuxiliaries(self, dd):
        self.notes = {}
        with open(dd.rd.getAbsPath("notes.tsv")) as f:
            for line in f:
                name, note = line.strip().split("\\t")
                self.notes[name] = note
        self.keepKeys.add("EXPTIME")
        assert self.opts.reProcess is False and self.opts.requireFrag is None

    def _isProcessed(self, srcName):
        return "TELESCOP" in self.getPrimaryHeader(srcName)

    def commentFilter(self, value):
        return "drop" not in value

    def _mungeHeader(self, srcName, hdr):
        name = os.path.basename(srcName)
        if name not in self.notes:
            raise SkipThis("no notes")
        hdr["COMMENT"] = "drop me"
        hdr["TELESCOP"] = self.opts.telescopeName
        return fitstricks.makeHeaderFromTemplate(
            fitstricks.WFPDB_TEMPLATE, originalHeader=hdr,
            DATEORIG=hdr["DATE_OBS"], PRE_PROC=self.notes[name],
            PID=self.getProductKey(srcName))

if __name__ == "__main__":
    res = api.procmain(PlateHeaders, "plates/q", "import")
    print("ignored", res.counts.ignored)
"""


@pytest.mark.parametrize("jobs", ["1", "2"])
def test_a_script_runs_without_a_change(inputs, capsys, jobs):
    (inputs / "script.py").write_text(SCRIPT)
    (inputs / "notes.tsv").write_text("one.fits\tbrushed\n")
    assert main(["process", "script.py", "--telescope", "Bruce", "--apply", "-j", jobs]) == 0
    assert capsys.readouterr().out == "1 files processed, 0 files with errors\nignored 0\n"
    header = fits.getheader(inputs / "data" / "one.fits")
    assert (header["TELESCOP"], header["DATEORIG"], header["PRE-PROC"]) == (
        "Bruce", "1931-02-03", "brushed")  # fmt: skip
    assert header["PID"] == "plates/data/one.fits"
    assert "COMMENT" not in header
    assert str(header["HISTORY"][-1]) == "GAVO DaCHS template used: wfpdb"
    assert (inputs / "data" / "one.fits.new").exists()
    assert "TELESCOP" not in fits.getheader(inputs / "data" / "below" / "two.fits")


def test_other_hooks_under_old_names(inputs, capsys):
    class Sizes(api.FileProcessor):
        def iterIdentifiers(self):
            return [n for n in api.FileProcessor.iterIdentifiers(self) if "two" not in n]

        def process(self, srcName):
            self.size = len(self.getPrimaryHeader(srcName))

        def classify(self, srcName):
            return self.getProductKey(srcName)

    found = api.procmain(Sizes, "plates/q", "import", [])
    assert (found.counts.processed, found.size) == (1, 5)
    assert found.dd.getProperty("previewDir") == "previews"
    assert found.processAll() == (1, 0)
    api.procmain(Sizes, "plates/q", "import", ["--report"])
    assert "1  plates/data/one.fits" in capsys.readouterr().out


def test_immediate_headers_under_old_names(inputs):
    class Fix(api.ImmediateHeaderProcessor):
        def _isProcessed(self, srcName, hdr):
            return "FIXED" in hdr

        def _changeHeader(self, srcName, hdr):
            hdr["FIXED"] = self.opts.reProcess

    for argv, expected in ([], False), ([], False), (["--reprocess"], True):
        api.procmain(Fix, "plates/q", "import", argv)
        assert fits.getheader(inputs / "data" / "one.fits")["FIXED"] is expected


def test_kinds_and_names_that_are_not_there():
    assert issubclass(api.HeaderProcessor, api.FileProcessor)
    assert api.HeaderProcessor.keepKeys >= {"BZERO"}
    with pytest.raises(FileNotFoundError):
        api.HeaderProcessor.getPrimaryHeader("no.fits")
    with pytest.raises(AttributeError, match="has no attribute 'NoSuchThing'"):
        api.NoSuchThing  # noqa: B018


def test_processors_that_come_later_are_adapted(inputs, monkeypatch, capsys):
    class PreviewMaker(process.FileProcessor):
        def get_preview_data(self, accref):
            raise NotImplementedError

        def get_preview_path(self, accref):
            return f"{accref}.png"

        def process(self, identifier):
            print(self.get_preview_path(identifier), self.get_preview_data(identifier))

    class SpectralPreviewMaker(PreviewMaker):
        sdm_id = None

        def get_preview_data(self, accref):
            return f"{self.sdm_id} of {accref[-8:]}"

    monkeypatch.setattr(process, "PreviewMaker", PreviewMaker, raising=False)
    monkeypatch.setattr(process, "SpectralPreviewMaker", SpectralPreviewMaker, raising=False)
    _classes.late_class.cache_clear()

    class Images(api.PreviewMaker):
        def getPreviewData(self, accref):
            return "pixels"

    class Spectra(api.SpectralPreviewMaker):
        sdmId = "build_sdm"

        def getPreviewPath(self, accref):
            return "there"

    assert issubclass(Spectra, api.PreviewMaker)
    api.procmain(Images, "plates/q", "file", [])
    api.procmain(Spectra, "plates/q", "file", [])
    out = capsys.readouterr().out
    assert f"{inputs}/data/one.fits.png pixels\n" in out
    assert "there build_sdm of one.fits\n" in out
    _classes.late_class.cache_clear()


def test_old_header_tools(inputs, monkeypatch):
    # other tests of this process must not see the template of this one
    monkeypatch.setattr(templates, "_TEMPLATES", dict(templates._TEMPLATES))
    path = inputs / "data" / "one.fits"
    with path.open("rb") as file:
        header = api.fitstools.readPrimaryHeaderQuick(file)
    header["ZZ"] = 1
    api.fitstricks.addHistoryCard(header, "checked", "checked")
    api.fitstricks.copyFields(header, [fits.Card("NAXIS", 7), fits.Card("AA", 2)])
    api.fitstools.replacePrimaryHeaderInPlace(str(path), api.fitstools.sortHeaders(header))
    found = fits.getheader(path)
    assert (found["NAXIS"], found["AA"], found["ZZ"]) == (0, 2, 1)
    assert api.fitstools.serializeHeader(header).startswith(b"SIMPLE  =")
    api.fitstricks.registerTemplate("own", [("AA", "a comment")])
    made = api.fitstricks.makeHeaderFromTemplate("own", AA=1)
    assert api.fitstricks.getTemplateNameFromHistory(made) == "own"
    assert api.fitstricks.updateTemplatedHeader(made, AA=2)["AA"] == 2
