"""Catalogues on disk: what goes in comes out, and others can read it."""

from __future__ import annotations

import gzip
import logging
import warnings

import numpy as np
import pyarrow.parquet as pq
import pytest
from astropy.io import fits
from astropy.table import Table
from catalog_tools import write_version
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from skyloom.catalogs import (
    FIELD_TYPES,
    Field,
    Schema,
    SourceCatalog,
    read_catalog,
    read_length,
    read_schema,
)
from skyloom.errors import BadTable, MissingFile, OutputExists, UnreadableFile, Unwritable

REAL = ("astrometry", "afw", "sourceCatalog-hsc-v2.fits")


def same(a: SourceCatalog, b: SourceCatalog) -> None:
    """Compare schema, aliases and values, NaN included."""
    assert a.schema == b.schema
    assert len(a) == len(b)
    for field in a.schema:
        x, y = a.columns[field.name], b.columns[field.name]
        if field.is_variable:
            assert [v.tolist() for v in x] == [v.tolist() for v in y]
            continue
        if x.dtype.kind != "U":
            assert x.dtype == y.dtype
        assert np.array_equal(x, y, equal_nan=x.dtype.kind in "fc"), field.name


def cards(header: fits.Header) -> list[tuple[str, object]]:
    return [(card.keyword, card.value) for card in header.cards]


# ---- the real file


def test_the_real_catalogue(shared_data):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    assert len(sources) == 5
    assert sum(field.type == "Flag" for field in sources.schema) == 114
    assert all(src.footprint.area > 0 for src in sources)
    assert np.array_equal(sources["flux.psf"], sources["base_PsfFlux_flux"])
    assert sources.kind == "SOURCE"
    assert sources.version == 1
    assert sources.schema.aliases["slot_Shape"] == "ext_shapeHSM_HsmSourceMoments"
    assert sources.schema.aliases[
        "ext_photometryKron_KronFlux_flag_badInitialCentroid"
    ] == "base_SdssCentroid_flag"  # continued on a second card  # fmt: skip
    assert sources.schema["calib_psf_candidate"].doc.endswith("determined by the star selector.")
    assert sources.schema["base_PsfFlux_area"].units == "pixel"
    assert sources.metadata["NOISE_EXPOSURE_ID"] == 245649


def test_the_real_catalogue_beside_astropy(shared_data):
    """Each column and each bit is what astropy reads."""
    path = shared_data.joinpath(*REAL)
    sources = SourceCatalog.read(path)
    with fits.open(path) as hdus:
        table, header = hdus[1].data, hdus[1].header
        for field in sources.schema:
            if field.type != "Flag":
                assert np.array_equal(
                    sources.columns[field.name], table[field.name], equal_nan=True
                )
        for bit in range(114):
            name = header[f"TFLAG{bit + 1}"]
            assert np.array_equal(sources.columns[name], table["flags"][:, bit])


def test_the_real_catalogue_comes_back_unchanged(shared_data, tmp_path):
    path, copy = shared_data.joinpath(*REAL), tmp_path / "copy.fits"
    sources = SourceCatalog.read(path)
    sources.write(copy)
    same(sources, SourceCatalog.read(copy))
    with fits.open(path) as old, fits.open(copy) as new:
        assert len(old) == len(new) == 6
        for before, after in zip(old, new, strict=True):
            assert cards(before.header) == cards(after.header)
            if before.data is not None:
                assert before.data.tobytes() == after.data.tobytes()
        start = old[2].fileinfo()["hdrLoc"]
        assert start == new[2].fileinfo()["hdrLoc"]
    assert path.read_bytes()[start:] == copy.read_bytes()[start:]  # the archive, byte for byte


def test_unknown_cards_survive(shared_data, tmp_path):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    sources.metadata.append(("HIERARCH my own key", 3.5, "mine"), end=True)
    sources.metadata.add_history("made here")
    sources.metadata.append(("TEMP1", 7.0), end=True)  # no keyword of a column
    sources.primary["OBSERVER"] = "Hubble"
    sources.write(tmp_path / "a.fits")
    again = SourceCatalog.read(tmp_path / "a.fits")
    assert cards(again.metadata) == cards(sources.metadata)
    assert again.primary["OBSERVER"] == "Hubble"
    assert again.metadata.comments["my own key"] == "mine"


# ---- versions, types, other programs


@pytest.mark.parametrize("version", [0, 1, 2, 3])
def test_each_version_comes_back_in_its_own_layout(tmp_path, version):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # astropy on long keywords
        write_version(tmp_path / "a.fits", version)
    sources = SourceCatalog.read(tmp_path / "a.fits")
    sources.write(tmp_path / "b.fits")
    again = SourceCatalog.read(tmp_path / "b.fits")
    same(sources, again)
    assert again.version == (version or None)
    with fits.open(tmp_path / "a.fits") as a, fits.open(tmp_path / "b.fits") as b:
        assert a[1].columns.names == b[1].columns.names
        assert a[1].columns.formats == b[1].columns.formats
        assert a[1].data.tobytes() == b[1].data.tobytes()
        for keyword in ("TCCLS3", "TUNIT3", "TFLAG2", "PSF_FLUX_SLOT", "AFW_TYPE"):
            assert a[1].header.get(keyword) == b[1].header.get(keyword)


def made(n: int = 4) -> SourceCatalog:
    """Return a catalogue with a field of every type."""
    rng = np.random.default_rng(8)
    fields, columns = [], {}
    for i, (name, info) in enumerate(FIELD_TYPES.items()):
        sized = info.kind == "Array"
        size = 3 if sized else 12 if name == "String" else None
        field = Field(f"field_{i}", name, f"doc of {name}", "pixel" if i % 2 else "", size)
        fields.append(field)
        shape = (n, *field.shape)
        if name == "String":
            columns[field.name] = np.array(["", "ab", "é ü", " x"])[np.arange(n) % 4]
        elif info.dtype == "?":
            columns[field.name] = rng.random(shape) < 0.5
        elif np.dtype(info.dtype).kind in "iu":
            limits = np.iinfo(info.dtype)
            columns[field.name] = rng.integers(limits.min, limits.max, shape, info.dtype, True)
        else:
            columns[field.name] = rng.normal(size=shape).astype(info.dtype)
    fields.append(Field("variable", "ArrayU", "of any length"))
    columns["variable"] = [np.arange(k, dtype=np.uint16) + 65_000 * (k > 2) for k in range(n)]
    fields.append(Field("numbers", "ArrayI", "of any length"))
    columns["numbers"] = [np.arange(k) - 2 for k in range(n)]
    fields.append(Field("text", "String", "of any length"))
    columns["text"] = np.array(["", "a long text", "b", "xy"])[np.arange(n) % 4]
    return SourceCatalog(Schema(fields, {"slot_Centroid": "field"}), columns, n)


@pytest.mark.parametrize("n", [4, 1, 0])
def test_every_type_survives_fits_and_astropy_agrees(tmp_path, n):
    sources = made(n)
    sources.write(tmp_path / "a.fits")
    same(sources, SourceCatalog.read(tmp_path / "a.fits"))
    with fits.open(tmp_path / "a.fits") as hdus:
        hdus.verify("exception")
        assert len(hdus[1].data) == n
        flags = [f.name for f in sources.schema if f.type == "Flag"]
        for field in sources.schema:
            if field.name in flags or not n:
                continue
            mine, theirs = sources.columns[field.name], hdus[1].data[field.name]
            if field.is_variable:
                if not field.info.zero:  # astropy 7 forgets the offset of some rows
                    assert [v.tolist() for v in mine] == [v.tolist() for v in theirs]
            elif field.name == "text":
                assert [t.replace(" ", "") for t in mine] == ["".join(cell) for cell in theirs]
            elif field.type == "String":
                assert theirs[:2].astype(str).tolist() == mine[:2].tolist()  # more: beyond ASCII
            elif field.type != "String":
                assert np.array_equal(mine, theirs), field.type


def test_every_type_but_complex_survives_parquet(tmp_path):
    sources = made()
    sources = sources.without(*[f.name for f in sources.schema if f.info.dtype.startswith("c")])
    sources.metadata["MYKEY"] = 3
    sources.write(tmp_path / "a.parquet")
    again = SourceCatalog.read(tmp_path / "a.parquet")
    same(sources, again)
    assert again.metadata["MYKEY"] == 3
    assert again.kind == "SOURCE"
    arrow = pq.read_schema(tmp_path / "a.parquet")
    assert arrow.field("field_1").metadata[b"unit"] == b"pixel"
    assert arrow.field("field_1").metadata[b"description"] == b"doc of I"
    with pytest.raises(BadTable, match="Parquet has no complex numbers"):
        made().write(tmp_path / "b.parquet")


def test_flags_are_packed_from_the_most_significant_bit(tmp_path):
    fields = [Field("a", "Flag"), Field("id", "L"), *(Field(f"b{i}", "Flag") for i in range(8))]
    sources = SourceCatalog.empty(Schema(fields), 1)
    sources["a"] = sources["b7"] = True
    sources.write(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        row = hdus[1].data.tobytes()
        assert row[:2] == b"\x80\x80"  # bits 1 and 9
        assert hdus[1].header["FLAGCOL"] == 1
        assert hdus[1].header["TFORM1"] == "9X"
        assert hdus[1].header["TFLAG2"] == "b0"
    assert SourceCatalog.read(tmp_path / "a.fits").schema.names[:3] == ["a", "id", "b0"]


def test_no_flags_no_column(tmp_path):
    SourceCatalog.empty(Schema([Field("id", "L")]), 2).write(tmp_path / "a.fits")
    with fits.open(tmp_path / "a.fits") as hdus:
        assert hdus[1].columns.names == ["id"]
        assert "FLAGCOL" not in hdus[1].header


def test_a_field_may_be_called_flags(tmp_path):
    sources = SourceCatalog.empty(Schema([Field("flags", "L"), Field("a", "Flag")]), 2)
    sources["flags"], sources["a"] = [3, 4], [True, False]
    sources.write(tmp_path / "a.fits")
    again = SourceCatalog.read(tmp_path / "a.fits")
    assert again["flags"].tolist() == [3, 4]
    assert again["a"].tolist() == [True, False]


def test_plain_tables_are_read_with_the_same_class(tmp_path):
    rng = np.random.default_rng(4)
    columns = [
        fits.Column("first", "1K", array=np.arange(5)),
        fits.Column("distance", "1D", array=rng.random(5), unit="rad", disp="F8.3"),
        fits.Column("scaled", "1I", array=np.arange(5)),
        fits.Column("count", "1J", array=np.arange(5), null=-1),
        fits.Column("inside", "1L", array=rng.random(5) < 0.5),
        fits.Column("name", "6A", array=["a", "b ", "", "ddd", "e"]),
        fits.Column("image", "6E", array=rng.random((5, 2, 3)), dim="(3, 2)"),
    ]
    table = fits.BinTableHDU.from_columns(columns, name="MATCHES")
    table.header["TSCAL3"], table.header["TZERO3"] = 0.5, 10
    fits.HDUList([fits.PrimaryHDU(), table]).writeto(tmp_path / "match.fits")
    matches = SourceCatalog.read(tmp_path / "match.fits")
    assert matches.kind == ""
    assert matches["scaled"].tolist() == [10, 10.5, 11, 11.5, 12]
    assert matches["name"].tolist() == ["a", "b", "", "ddd", "e"]
    assert matches[1]["inside"] in (True, False)
    matches.write(tmp_path / "again.fits")
    with fits.open(tmp_path / "match.fits") as old, fits.open(tmp_path / "again.fits") as new:
        for name in old[1].columns.names:
            assert np.array_equal(old[1].data[name], new[1].data[name])
        for keyword in ("TDISP2", "TNULL4", "TDIM7", "TUNIT2", "EXTNAME"):
            assert new[1].header[keyword] == old[1].header[keyword]
        assert "AFW_TYPE" not in new[1].header


def ldac(path, n=7):
    """Write what SExtractor writes, with astropy."""
    rng = np.random.default_rng(6)
    image = fits.Header([("NAXIS1", 2048), ("GAIN", 4.5, "gain"), ("FILTER", "r")])
    text = [f"{card.image:<80}" for card in image.cards] + [f"{'END':<80}"]
    form, dim = f"{80 * len(text)}A", f"(80, {len(text)})"
    card = fits.Column("Field Header Card", form, array=np.array([text]), dim=dim)
    columns = [
        fits.Column("NUMBER", "1J", array=np.arange(1, n + 1)),
        fits.Column("FLAGS", "1I", array=np.arange(n)),
        fits.Column("FLUX_AUTO", "1E", array=rng.random(n), unit="count"),
        fits.Column("VIGNET", "25E", array=rng.random((n, 5, 5)), dim="(5, 5)"),
    ]
    hdus = [
        fits.PrimaryHDU(),
        fits.BinTableHDU.from_columns([card], name="LDAC_IMHEAD"),
        fits.BinTableHDU.from_columns(columns, name="LDAC_OBJECTS"),
    ]
    fits.HDUList(hdus).writeto(path)


def test_ldac_there_and_back(tmp_path):
    ldac(tmp_path / "sex.ldac")
    sources = SourceCatalog.read(tmp_path / "sex.ldac")
    assert sources["FLAGS"].dtype == np.int16
    assert sources["VIGNET"].shape == (7, 25)
    assert sources.primary["GAIN"] == 4.5  # the header of the image
    sources.write(tmp_path / "copy.fits")  # stays what it was
    again = SourceCatalog.read(tmp_path / "copy.fits")
    same(sources, again)
    assert cards(sources.primary) == cards(again.primary)
    with fits.open(tmp_path / "sex.ldac") as old, fits.open(tmp_path / "copy.fits") as new:
        assert [h.name for h in new] == ["PRIMARY", "LDAC_IMHEAD", "LDAC_OBJECTS"]
        texts = [[c.rstrip() for c in hdus[1].data[0][0].tolist()] for hdus in (old, new)]
        assert texts[0] == texts[1]
        for name in old[2].columns.names:
            assert np.array_equal(old[2].data[name], new[2].data[name])


def test_a_new_catalogue_as_ldac(tmp_path):
    sources = SourceCatalog.empty(Schema([Field("NUMBER", "I"), Field("X_IMAGE", "D")]), 3)
    sources.primary["GAIN"] = 2.0
    sources.write(tmp_path / "new.ldac")
    again = SourceCatalog.read(tmp_path / "new.ldac")
    assert again.primary["GAIN"] == 2.0
    assert len(again) == 3


def test_csv(tmp_path):
    fields = [Field("id", "L"), Field("x", "D"), Field("ok", "Flag")]
    fields += [Field("name", "String", size=4), Field("v", "ArrayD", size=2)]
    sources = SourceCatalog.empty(Schema(fields), 3)
    sources["id"], sources["x"] = [1, 2, 3], [0.1, np.nan, 1e-300]
    sources["ok"], sources["name"] = [True, False, True], ["a", "007", ""]
    sources["v"] = [[1, 2], [3, 4], [5, 6]]
    sources.write(tmp_path / "a.csv")
    again = SourceCatalog.read(tmp_path / "a.csv")
    assert [f.type for f in again.schema] == ["L", "D", "Flag", "String", "D", "D"]
    assert np.array_equal(again["x"], sources["x"], equal_nan=True)
    assert again["name"].tolist() == ["a", "007", ""]
    assert again["v_1"].tolist() == [2, 4, 6]


def test_gzip(tmp_path):
    sources = made()
    sources.write(tmp_path / "a.fits.gz")
    assert gzip.decompress((tmp_path / "a.fits.gz").read_bytes()).startswith(b"SIMPLE")
    same(sources, SourceCatalog.read(tmp_path / "a.fits.gz"))


# ---- without rows


def test_schema_and_length_need_no_rows(shared_data, tmp_path):
    data = shared_data.joinpath(*REAL).read_bytes()
    (tmp_path / "cut.fits").write_bytes(data[:72000])  # the header of the table, and no more
    assert read_length(tmp_path / "cut.fits") == 5
    schema = read_schema(tmp_path / "cut.fits")
    assert len(schema) == 227
    assert schema["flux.psf"].units == "count"
    with pytest.raises(UnreadableFile, match=r"cut.fits\[1\]: the file is truncated: 0 of 4315"):
        SourceCatalog.read(tmp_path / "cut.fits")


def test_schema_and_length_of_other_formats(tmp_path):
    ldac(tmp_path / "a.ldac")
    assert read_length(tmp_path / "a.ldac") == 7
    assert read_schema(tmp_path / "a.ldac").names[0] == "NUMBER"
    sources = SourceCatalog.empty(Schema([Field("id", "L", "unique", "pixel")]), 3)
    for name in ("a.parquet", "a.csv"):
        sources.write(tmp_path / name)
        assert read_length(tmp_path / name) == 3
        assert read_schema(tmp_path / name).names == ["id"]
    assert read_schema(tmp_path / "a.parquet")["id"].units == "pixel"


# ---- astropy


def test_astropy_table_there_and_back(shared_data):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    table = sources.to_table()
    assert str(table["base_SdssCentroid_x"].unit) == "pix"
    assert table["id"].description == "unique ID"
    table["base_PsfFlux_flux"][0] = 7
    assert sources[0]["flux.psf"] != 7  # a copy
    again = SourceCatalog.from_table(sources.to_table())
    same(sources, again)
    assert again.version == 1
    assert cards(again.metadata) == cards(sources.metadata)


def test_any_astropy_table_is_a_catalogue():
    table = Table({"ra": [1.0, 2.0], "n": [1, 2], "who": ["a", "bcd"], "v": [[1, 2], [3, 4]]})
    table["ra"].unit = "deg"
    table["ra"].description = "right ascension"
    masked = Table(table, masked=True)
    masked["ra"].mask = [False, True]
    sources = SourceCatalog.from_table(masked)
    assert [f.type_name for f in sources.schema] == ["D", "L", "String[3]", "ArrayL[2]"]
    assert sources.schema["ra"].units == "deg"
    assert sources["ra"].tolist()[0] == 1.0
    assert np.isnan(sources["ra"][1])
    with pytest.raises(ValueError, match="column 'o': type object with 1 axes has no place"):
        SourceCatalog.from_table(Table({"o": np.array([{}, 1], dtype=object)}))


# ---- mistakes


def test_mistakes_of_the_user(tmp_path):
    sources = SourceCatalog.empty(Schema([Field("id", "L"), Field("s", "String", size=4)]), 3)
    sources.write(tmp_path / "a.fits")
    with pytest.raises(OutputExists, match="overwrite=True"):
        sources.write(tmp_path / "a.fits")
    sources.write(tmp_path / "a.fits", overwrite=True)
    with pytest.raises(ValueError, match=r"no format has that ending; use one of \.ldac"):
        sources.write(tmp_path / "a.xyz")
    with pytest.raises(Unwritable):
        sources.write(tmp_path / "none" / "a.fits")
    with pytest.raises(MissingFile, match="no such file"):
        read_catalog(tmp_path / "b.fits")
    with pytest.raises(UnreadableFile, match="cannot be read"):
        read_catalog(tmp_path)
    sources[1]["s"] = "éééé"  # four characters, eight bytes
    with pytest.raises(BadTable, match="row 2, column s: a text of 8 bytes does not fit into"):
        sources.write(tmp_path / "b.fits")
    with pytest.raises(BadTable, match="a card of the header cannot be written"):
        SourceCatalog.empty(Schema([Field("é", "L")]), 3).write(tmp_path / "b.fits")
    with pytest.raises(UnreadableFile, match=r"a.fits\[0\]: this HDU is no table; those that"):
        read_catalog(tmp_path / "a.fits", hdu=0)
    fits.PrimaryHDU(np.zeros((3, 3))).writeto(tmp_path / "image.fits")
    with pytest.raises(UnreadableFile, match="no HDU is a table; give a catalogue"):
        read_catalog(tmp_path / "image.fits")


def test_what_is_left_out_is_said(shared_data, tmp_path, caplog):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    with caplog.at_level(logging.WARNING):
        sources.write(tmp_path / "a.parquet")
    assert "footprints are left out; only FITS keeps them" in caplog.text
    hdus = [fits.PrimaryHDU(), fits.BinTableHDU.from_columns([fits.Column("a", "1J", array=[1])]),
            fits.ImageHDU(np.zeros((2, 2)))]  # fmt: skip
    fits.HDUList(hdus).writeto(tmp_path / "b.fits")
    with caplog.at_level(logging.WARNING):
        SourceCatalog.read(tmp_path / "b.fits")
    assert "HDUs 2 are not part of the catalogue" in caplog.text


words = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=90)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(doc_units=st.tuples(words, words), text=st.text(max_size=12), alias=st.tuples(words, words))
def test_words_survive_a_file(tmp_path, doc_units, text, alias):
    # trailing blanks and NUL cannot be told from filling in FITS
    doc, units = (word.rstrip() for word in doc_units)
    alias, target = (word.strip().replace(":", "") or "x" for word in alias)
    text = text.replace("\0", "").rstrip(" ").encode("utf-8", "replace").decode()
    field = Field("s", "String", doc, units, 60)
    sources = SourceCatalog(Schema([field], {alias: target}), {"s": [text]})
    sources.write(tmp_path / "a.fits", overwrite=True)
    again = SourceCatalog.read(tmp_path / "a.fits")
    assert again["s"].tolist() == [text]
    assert again.schema["s"].doc.strip() == doc.strip()
    assert again.schema["s"].units.strip() == units.strip()
    assert dict(again.schema.aliases) == {alias: target}
