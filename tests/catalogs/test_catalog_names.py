"""One quantity, three names: any of them works on any file."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
from catalog_tools import FLAG_NAMES, write_version

from skyloom.catalogs import Field, Schema, SourceCatalog, modern_name
from skyloom.errors import BadTable, UnknownColumn

SAME = [
    # one row of the table of names: dotted, version 1, modern
    ("flux.psf", "base_PsfFlux_flux", "base_PsfFlux_instFlux"),
    ("flux.psf.err", "base_PsfFlux_fluxSigma", "base_PsfFlux_instFluxErr"),
    ("flux.psf.err", "base_PsfFlux_fluxErr", "base_PsfFlux_instFluxErr"),
    ("flux.psf.flags", "base_PsfFlux_flag", "base_PsfFlux_flag"),
    ("centroid.sdss.flags", "base_SdssCentroid_flag", "base_SdssCentroid_flag"),
    ("flux.gaussian", "base_GaussianFlux_flux", "base_GaussianFlux_instFlux"),
    ("flux.kron", "ext_photometryKron_KronFlux_flux", "ext_photometryKron_KronFlux_instFlux"),
    ("cmodel.flux", "modelfit_CModel_flux", "modelfit_CModel_instFlux"),
    ("cmodel.fracDev", "modelfit_CModel_fracDev", "modelfit_CModel_fracDev"),
    ("shape.hsm.regauss.e1", *["ext_shapeHSM_HsmShapeRegauss_e1"] * 2),
    ("classification.extendedness", *["base_ClassificationExtendedness_value"] * 2),
    ("flags.pixel.edge", *["base_PixelFlags_flag_edge"] * 2),
    ("flags.pixel.saturated.any", *["base_PixelFlags_flag_saturated"] * 2),
    ("flags.pixel.saturated.center", *["base_PixelFlags_flag_saturatedCenter"] * 2),
    ("flags.pixel.interpolated.any", *["base_PixelFlags_flag_interpolated"] * 2),
    ("flags.pixel.cr.any", *["base_PixelFlags_flag_cr"] * 2),
    ("flags.pixel.bad", *["base_PixelFlags_flag_bad"] * 2),
    ("flags.pixel.suspect.any", *["base_PixelFlags_flag_suspect"] * 2),
    ("deblend.nchild", *["deblend_nChild"] * 2),
    ("calib.psf.used", *["calib_psf_used"] * 2),
    ("flags.negative", *["flags_negative"] * 2),
    ("id", "id", "id"),
    ("parent", "parent", "parent"),
]


@pytest.mark.parametrize(("dotted", "old", "modern"), SAME)
@pytest.mark.parametrize("held", [0, 1, 2])
def test_any_name_finds_the_field_that_is_there(dotted, old, modern, held):
    names = (dotted, old, modern)
    schema = Schema([Field(names[held], "D"), Field("something_else", "D")])
    for name in (*names, dotted.replace(".", "_")):
        assert schema.find(name).name == names[held]
        assert name in schema
    assert modern_name(dotted) == modern_name(old) == modern


@pytest.fixture(params=[0, 1, 2, 3, "0 with underscores"])
def versions(request, tmp_path):
    version = 0 if isinstance(request.param, str) else request.param
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy on long keywords
        truth = write_version(
            tmp_path / "cat.fits", version, underscores=isinstance(request.param, str)
        )
    return SourceCatalog.read(tmp_path / "cat.fits"), truth


def test_all_versions_answer_to_all_names(versions):
    sources, truth = versions
    for name in ("flux.psf", "base_PsfFlux_flux", "base_PsfFlux_instFlux", "slot_PsfFlux_instFlux"):
        assert np.array_equal(sources.get(name), truth["psf"])
        assert sources[2].get(name) == truth["psf"][2]
    for name in ("flux.psf.err", "base_PsfFlux_fluxSigma", "base_PsfFlux_instFluxErr"):
        assert np.array_equal(sources[name], truth["psf_err"])
    errors = np.sqrt(truth["covariance"][:, [0, 2]])
    for name in ("base_SdssCentroid_xErr", "base_SdssCentroid_xSigma", "slot_Centroid_xErr"):
        assert sources[name] == pytest.approx(errors[:, 0], rel=1e-6)  # float32
    for name in ("centroid.sdss", "base_SdssCentroid", "slot_Centroid"):
        assert np.array_equal(sources[name].y, truth["centroid"][:, 1])
        assert sources[3][name] == tuple(truth["centroid"][3])
    assert sources["centroid.sdss.err"].y == pytest.approx(errors[:, 1], rel=1e-6)
    for name in ("shape.sdss", "base_SdssShape", "slot_Shape"):
        assert np.array_equal(sources[name].ixy, truth["moments"][:, 2])
    assert np.array_equal(sources["coord"].ra.radians, truth["coord"][:, 0])
    assert np.array_equal(sources["coord_dec"], truth["coord"][:, 1])
    assert sources[1]["coord_dec"].radians == truth["coord"][1, 1]
    assert sources[1].coord.dec.radians == truth["coord"][1, 1]
    for bit, names in enumerate(zip(*FLAG_NAMES.values(), strict=True)):
        for name in names:
            assert np.array_equal(sources[name], truth["flags"][:, bit])


def test_covariances_are_set_in_the_column_itself(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy on long keywords
        write_version(tmp_path / "cat.fits", 0)
    sources = SourceCatalog.read(tmp_path / "cat.fits")
    with pytest.raises(ValueError, match="holds covariances; write them into the column itself"):
        sources["base_SdssCentroid_xErr"] = 1.0
    sources.columns["centroid.sdss.err"][2] = [9.0, 0.0, -4.0]
    assert sources[2]["base_SdssCentroid_xErr"] == 3.0
    assert np.isnan(sources[2].y_err)  # a negative variance


def test_apertures_as_one_array_or_one_by_one(versions):
    sources, truth = versions
    assert np.array_equal(sources["flux.aperture"], truth["apertures"])
    for name in ("base_CircularApertureFlux_4_5_flux", "base_CircularApertureFlux_4_5_instFlux"):
        assert np.array_equal(sources[name], truth["apertures"][:, 1])
    assert np.array_equal(sources[0]["flux.aperture"], truth["apertures"][0])


def test_slots_are_attributes_of_catalogues_and_records(versions):
    sources, truth = versions
    assert np.array_equal(sources.x, truth["centroid"][:, 0])
    assert np.array_equal(sources.iyy, truth["moments"][:, 1])
    assert np.array_equal(sources.psf_flux, truth["psf"])
    assert np.array_equal(sources.psf_flux_flag, truth["flags"][:, 0])
    assert [s.psf_flux_err for s in sources] == truth["psf_err"].tolist()
    assert [s.ixx for s in sources] == truth["moments"][:, 0].tolist()
    assert sources.ra.radians.tolist() == truth["coord"][:, 0].tolist()


def test_radii_that_the_file_does_not_say_are_not_guessed():
    field = Field("flux.aperture", "ArrayF", size=3)
    assert "base_CircularApertureFlux_4_5_flux" not in Schema([field])
    assert "base_CircularApertureFlux_4_5_flux" in Schema([field], aperture_radii=(3, 4.5, 6))
    ten = Field("flux.aperture", "ArrayF", size=10)
    assert "base_CircularApertureFlux_70_0_instFlux" in Schema([ten])  # those of HSC


def test_two_fields_never_answer_to_one_name():
    schema = Schema([Field("base_PsfFlux_flux", "D"), Field("base_PsfFlux_instFlux", "D")])
    assert schema.find("base_PsfFlux_flux").name == "base_PsfFlux_flux"  # their own names
    with pytest.raises(
        BadTable, match=r"'flux.psf' could be any of 'base_PsfFlux_flux', 'base_Psf"
    ):
        schema.find("flux.psf")


def test_every_field_of_a_real_catalogue_has_a_modern_name_of_its_own(shared_data):
    sources = SourceCatalog.read(shared_data / "astrometry" / "afw" / "sourceCatalog-hsc-v2.fits")
    names = sources.schema.names
    assert len({modern_name(name) for name in names}) == len(names) == 227
    for name in names:
        assert sources.schema.find(modern_name(name)).name == name
        assert sources.schema.find(name).name == name


def test_a_name_that_is_not_there_is_answered_with_near_ones():
    schema = Schema([Field("base_PsfFlux_flux", "D"), Field("base_GaussianFlux_flux", "D")])
    with pytest.raises(UnknownColumn, match=r"no field 'flux.pfs'; did you mean 'flux.psf'"):
        schema.find("flux.pfs")
    with pytest.raises(KeyError, match="did you mean 'base_PsfFlux_flux'"):
        schema.find("base_PsfFlx_flux")
    with pytest.raises(UnknownColumn, match="print the schema"):
        schema.find("qqqqqq")
    with pytest.raises(UnknownColumn, match="does not say what 'slot_ApFlux_instFlux' is"):
        schema.find("slot_ApFlux_instFlux")


def test_slots_without_aliases():
    shapes = [Field(f"base_SdssShape_{m}", "D") for m in ("xx", "yy", "xy")]
    better = [Field(f"ext_shapeHSM_HsmSourceMoments_{m}", "D") for m in ("xx", "yy", "xy")]
    assert Schema(shapes).find("slot_Shape_xx").name == "base_SdssShape_xx"
    found = Schema(shapes + better).find("slot_Shape_xx")
    assert found.name == "ext_shapeHSM_HsmSourceMoments_xx"
    schema = Schema([Field("base_SdssCentroid_x", "D"), Field("base_PsfFlux_flux", "D")])
    assert schema.find("slot_Centroid_x").name == "base_SdssCentroid_x"
    assert schema.find("slot_PsfFlux_instFlux").name == "base_PsfFlux_flux"


@pytest.mark.parametrize("slot", ["slot_InstFlux", "slot_GaussianFlux"])
def test_the_slot_with_two_names(slot):
    schema = Schema([Field("base_GaussianFlux_flux", "D")], {slot: "base_GaussianFlux"})
    assert schema.find("slot_InstFlux_instFlux").name == "base_GaussianFlux_flux"
    assert schema.find("slot_GaussianFlux_instFlux").name == "base_GaussianFlux_flux"


def test_aliases_lead_on_and_circles_are_refused():
    fields = [Field("base_SdssCentroid_flag", "Flag"), Field("base_SdssCentroid_x", "D")]
    aliases = {
        "slot_Centroid": "chosen",
        "chosen": "base_SdssCentroid",
        "base_PsfFlux_flag_badCentroid": "slot_Centroid_flag",
    }
    schema = Schema(fields, aliases)
    assert schema.find("base_PsfFlux_flag_badCentroid").name == "base_SdssCentroid_flag"
    assert schema.find("slot_Centroid_x").name == "base_SdssCentroid_x"
    assert "slot_CentroidX_x" not in schema  # an alias ends at a word
    for circle in ({"a": "b", "b": "a"}, {"a": "a_a"}):
        with pytest.raises(BadTable, match="run in a circle: a -> "):
            Schema(fields, circle).find("a")
