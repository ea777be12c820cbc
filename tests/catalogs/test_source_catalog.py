"""Columns, rows and records of a source catalogue."""

from __future__ import annotations

import copy

import numpy as np
import pytest

from skyloom.catalogs import Field, Footprint, Point, Schema, SourceCatalog, SpanSet
from skyloom.errors import BadTable, Mismatch
from skyloom.geometry import Angle, IcrsCoord, Quadrupole

SCHEMA = Schema([
    Field("id", "L", "unique ID"),
    Field("coord_ra", "Angle", "right ascension", "rad"),
    Field("coord_dec", "Angle", "declination", "rad"),
    Field("base_SdssCentroid_x", "D", "column", "pixel"),
    Field("base_SdssCentroid_y", "D", "row", "pixel"),
    Field("base_SdssShape_xx", "D", "moment", "pixel^2"),
    Field("base_SdssShape_yy", "D", "moment", "pixel^2"),
    Field("base_SdssShape_xy", "D", "moment", "pixel^2"),
    Field("base_PsfFlux_instFlux", "D", "PSF flux", "count"),
    Field("base_PsfFlux_flag", "Flag", "failed"),
    Field("profile", "ArrayF", "profile", size=3),
    Field("name", "String", "a name", size=8),
])  # fmt: skip


@pytest.fixture
def sources():
    made = SourceCatalog.empty(SCHEMA, 5)
    made["id"] = np.arange(1, 6)
    made["base_SdssCentroid_x"] = [1.0, 2.0, 3.0, 4.0, 5.0]
    made["flux.psf"] = [10.0, 50.0, 20.0, 40.0, 30.0]
    made["base_PsfFlux_flag"] = [False, True, False, False, True]
    return made


def test_blank_rows():
    made = SourceCatalog.empty(SCHEMA, 2)
    assert np.isnan(made.x).all()
    assert made["id"].tolist() == [0, 0]
    assert made["name"].tolist() == ["", ""]
    assert not made["base_PsfFlux_flag"].any()
    assert len(SourceCatalog.empty(SCHEMA)) == 0
    assert list(SourceCatalog.empty(SCHEMA)) == []


def test_the_schema_prints_one_field_per_line():
    lines = str(SCHEMA).splitlines()
    assert len(lines) == len(SCHEMA) == 12
    assert lines[8] == "D            base_PsfFlux_instFlux: PSF flux [count]"
    assert lines[10] == "ArrayF[3]    profile: profile"
    assert lines[11] == "String[8]    name: a name"
    assert SCHEMA["flux.psf"].units == "count"
    assert SCHEMA.without("flux.psf").names == [n for n in SCHEMA.names if "instFlux" not in n]


def test_columns_are_views_and_flags_are_copies(sources):
    sources.get("flux.psf")[0] = 7.0
    assert sources[0].psf_flux == 7.0
    flags = sources["base_PsfFlux_flag"]
    flags[:] = True
    assert sources["base_PsfFlux_flag"].tolist() == [False, True, False, False, True]


def test_rows_by_number(sources):
    assert sources[0].id == 1
    assert sources[-1].id == 5
    assert sources[np.int32(2)].id == 3
    for row in (5, -6):
        with pytest.raises(IndexError, match=f"row {row} of a catalogue of 5 rows"):
            sources[row]


def test_slices_are_views_and_arrays_are_copies(sources):
    view = sources[1:4:2]
    assert view["id"].tolist() == [2, 4]
    view["x" if "x" in view.schema else "slot_Centroid_x"] = -1.0
    assert sources.x.tolist() == [1, -1, 3, -1, 5]
    bright = sources[sources.psf_flux > 25]
    assert bright["id"].tolist() == [2, 4, 5]
    bright["id"] = 0
    assert sources["id"].tolist() == [1, 2, 3, 4, 5]
    assert sources[[3, 0, 0]]["id"].tolist() == [4, 1, 1]
    assert len(sources[[]]) == len(sources[np.zeros(5, bool)]) == 0
    assert sources[::-1]["id"].tolist() == [5, 4, 3, 2, 1]
    with pytest.raises(IndexError, match=r"a mask of shape \(3,\) for a catalogue of 5 rows"):
        sources[np.ones(3, bool)]


def test_records_are_views(sources):
    for src in sources:
        src["flux.psf"] = 2 * src.get("flux.psf")
        src.set("name", f"s{src.id}")
    assert sources.psf_flux.tolist() == [20, 100, 40, 80, 60]
    assert sources["name"].tolist() == ["s1", "s2", "s3", "s4", "s5"]
    src = sources[1:][0]
    src["base_PsfFlux_flag"] = False
    assert sources[1]["flux.psf.flags"] is False
    assert type(sources[0].id) is int
    assert type(sources[0].psf_flux) is float
    assert sources[0].as_dict()["id"] == 1
    assert "id=1" in repr(sources[0])


def test_vectors_are_set_and_read(sources):
    src = sources[2]
    src["coord"] = IcrsCoord.from_degrees(10.0, -5.0)
    assert src["coord_ra"].as_degrees() == pytest.approx(10.0)
    assert isinstance(src["coord_ra"], Angle)
    assert sources["coord_ra"][2] == pytest.approx(np.radians(10.0))  # columns: radians
    assert src.dec.as_degrees() == pytest.approx(-5.0)
    src["shape.sdss"] = Quadrupole(4.0, 1.0, 0.0)
    assert src.shape.axes().a == 2.0
    assert sources["shape.sdss"].axes().b[2] == 1.0
    src["slot_Centroid"] = Point(7.0, 8.0)
    assert (src.x, src.y) == (7.0, 8.0)
    src["coord_dec"] = Angle(1.0, "deg")
    assert sources["coord_dec"][2] == pytest.approx(np.radians(1.0))
    src["profile"] = [1, 2, 3]
    assert sources["profile"][2].tolist() == [1, 2, 3]


def test_what_does_not_fit_is_refused(sources):
    with pytest.raises(ValueError, match="text of 9 characters does not fit into 'name', which"):
        sources[0]["name"] = "123456789"
    with pytest.raises(ValueError, match="could not broadcast"):
        sources["id"] = [1, 2]
    with pytest.raises(ValueError, match=r"column 'id': shape \(2,\) given, \(5,\) needed"):
        SourceCatalog(SCHEMA, {"id": [1, 2]}, 5)
    with pytest.raises(ValueError, match="columns more are not in the schema"):
        SourceCatalog(SCHEMA, {"more": [1, 2]})
    with pytest.raises(ValueError, match="needs its number of rows"):
        SourceCatalog(SCHEMA)
    with pytest.raises(ValueError, match="two fields are called 'id'"):
        SCHEMA.with_field(Field("id", "L"))
    with pytest.raises(ValueError, match="there is no type 'Z'; use one of L, I, U, B, F, D"):
        Field("z", "Z")


def test_more_and_fewer_columns_share_the_rest(sources):
    more = sources.with_field(Field("snr", "F", "signal to noise"), sources.psf_flux / 2)
    assert more["snr"].tolist() == [5, 25, 10, 20, 15]
    more["id"] = 9
    assert sources["id"].tolist() == [9] * 5
    assert "profile" not in sources.without("profile").schema
    with pytest.raises(KeyError, match="no field 'profil'"):
        sources.without("profil")


def test_copies(sources):
    deep, shallow = sources.copy(), sources.copy(deep=False)
    sources["flux.psf"] = 1.0
    assert deep.psf_flux[1] == 50.0
    assert shallow.psf_flux[1] == 1.0
    assert copy.deepcopy(sources).schema == sources.schema


def test_order_and_search(sources):
    assert sources.sorted_by("flux.psf")["id"].tolist() == [1, 3, 5, 4, 2]
    assert sources.find(4).psf_flux == 40.0
    with pytest.raises(BadTable, match="no source with id 77"):
        sources.find(77)


def test_a_slot_can_be_redefined(sources):
    made = sources.with_field(Field("my_Flux_instFlux", "D"), np.ones(5))
    assert made[1].psf_flux == 50.0
    made.define_slot("PsfFlux", "my_Flux")
    assert made.psf_flux.tolist() == [1.0] * 5
    assert made[1].psf_flux == 1.0  # records too, though they have read it before
    assert sources.psf_flux[1] == 50.0


def test_catalogues_are_joined_with_their_footprints(sources):
    a, b = sources[:2].copy(), sources[3:].copy()
    a.set_footprint(1, Footprint(SpanSet.circle(1)))
    b.set_footprint(0, Footprint(SpanSet.circle(2)))
    joined = SourceCatalog.concatenated([a, b])
    assert joined["id"].tolist() == [1, 2, 4, 5]
    assert [s.footprint.area if s.footprint else 0 for s in joined] == [0, 5, 13, 0]
    with pytest.raises(Mismatch, match="cannot be joined: profile differ"):
        SourceCatalog.concatenated([a, b.without("profile")])
