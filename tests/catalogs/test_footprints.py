"""Footprints with and without pixels, in memory and in the archives of files."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from skyloom.catalogs import (
    Field,
    Footprint,
    HeavyFootprint,
    Schema,
    SourceCatalog,
    SpanSet,
    peak_catalog,
)
from skyloom.catalogs.footprint_store import FootprintStore
from skyloom.errors import BadTable, Mismatch, UnreadableFile
from skyloom.geometry import Box
from skyloom.images import Image, Mask, MaskedImage
from skyloom.images.afw import Archive, FieldSpec

SCHEMA = Schema([Field("id", "L", "unique ID"), Field("parent", "L", "parent")])
REAL = ("astrometry", "afw", "sourceCatalog-hsc-v2.fits")


def masked_image(seed=2):
    rng = np.random.default_rng(seed)
    xy0, shape = (100, 50), (20, 30)
    return MaskedImage(
        Image(rng.normal(size=shape).astype(np.float32), xy0=xy0),
        Mask(rng.integers(0, 64, shape, dtype=np.int32), xy0=xy0),
        Image(rng.uniform(1, 2, shape).astype(np.float32), xy0=xy0),
    )


def footprint(x=110, y=58, radius=4):
    return Footprint(
        SpanSet.circle(radius, x=x, y=y), peak_catalog([x, x + 1.3], [y, y - 1], [5.0, 9.0])
    )


def test_area_box_and_positions():
    fp = footprint()
    assert fp.area == sum((x - 110) ** 2 + (y - 58) ** 2 <= 16
                          for x in range(105, 116) for y in range(53, 64))  # fmt: skip
    assert fp.box == Box(106, 115, 54, 63)
    assert fp.contains([110, 110, 114.4, 114.6], [58, 63, 58, 58]).tolist() == [True, False, True,
                                                                               False]  # fmt: skip
    assert fp.peaks["peakValue"].tolist() == [9.0, 5.0]  # brightest first
    assert fp.peaks["i_x"].tolist() == [111, 110]
    assert not fp.is_heavy


def test_growing_stays_in_the_region_and_shrinking_drops_peaks():
    fp = footprint()
    inside = Footprint(fp.spans, fp.peaks, Box(105, 116, 55, 70))
    assert inside.dilated(3).box == Box(105, 116, 55, 66)
    small = fp.eroded(3.5)
    assert small.area < 9
    assert small.peaks["peakValue"].tolist() == [5.0]  # only the one in the centre


def test_mask_plane():
    fp, image = footprint(x=101), masked_image()  # a part is outside the image
    image.mask.array[:] = 0
    fp.set_mask_plane(image.mask, "DETECTED")
    assert np.array_equal(image.mask.is_set("DETECTED"), fp.mask(image.box))


def test_heavy_pixels_go_back_where_they_came_from():
    image = masked_image()
    heavy = HeavyFootprint.from_image(footprint(), image)
    assert heavy.is_heavy
    assert heavy.area == heavy.image_values.size
    empty = MaskedImage(
        Image(np.zeros((20, 30), np.float32), xy0=(100, 50)),
        Mask(np.zeros((20, 30), np.int32), xy0=(100, 50)),
    )
    heavy.insert(empty)
    inside = heavy.mask(image.box)
    for name in ("image", "mask", "variance"):
        found, true = getattr(empty, name).array, getattr(image, name).array
        assert np.array_equal(found[inside], true[inside])
        assert not found[~inside].any()
    assert heavy.flux == pytest.approx(image.image.array[inside].sum(), abs=1e-4)
    heavy.insert(empty)  # adds
    assert np.array_equal(empty.image.array[inside], 2 * image.image.array[inside])


def test_inserting_leaves_out_what_is_outside():
    heavy = HeavyFootprint(SpanSet([[5, -2, 2]]), image=[1, 2, 3, 4, 5])
    small = Image(np.zeros((10, 4), np.float32))
    heavy.insert(small)
    assert small.array[5].tolist() == [3, 4, 5, 0]
    assert small.array.sum() == 12
    stamp = heavy.image()
    assert stamp.xy0 == (-2, 5)
    assert stamp.array.tolist() == [[1, 2, 3, 4, 5]]


def test_heavy_pixels_must_fit():
    with pytest.raises(Mismatch, match=r"a footprint of 5 pixels has image values of shape \(4,\)"):
        HeavyFootprint(SpanSet([[5, -2, 2]]), image=[1, 2, 3, 4])
    with pytest.raises(BadTable, match="reaches beyond the image"):
        HeavyFootprint.from_image(footprint(x=101), masked_image())


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.uint16])
@pytest.mark.parametrize("mask_dtype", [np.int32, np.uint16])
def test_footprints_survive_a_file(tmp_path, dtype, mask_dtype):
    sources = SourceCatalog.empty(SCHEMA, 4)
    sources["id"] = [1, 2, 3, 4]
    heavy = HeavyFootprint.from_image(footprint(x=120), masked_image())
    heavy = HeavyFootprint(
        heavy.spans,
        heavy.peaks,
        image=np.abs(100 * heavy.image_values).astype(dtype),
        mask=heavy.mask_values.astype(mask_dtype),
        variance=heavy.variance_values,
    )
    sources[0].footprint = footprint()
    sources[2].footprint = heavy
    sources[3].footprint = footprint(x=115)
    sources[3].footprint = None
    sources.write(tmp_path / "cat.fits")
    again = SourceCatalog.read(tmp_path / "cat.fits")
    assert [src.footprint is None for src in again] == [False, True, False, True]
    assert again[0].footprint.spans == footprint().spans
    assert not again[0].footprint.is_heavy
    found = again[2].footprint
    assert found.image_values.dtype == dtype
    for name in ("image_values", "mask_values", "variance_values"):
        assert np.array_equal(getattr(found, name), getattr(heavy, name))
    assert np.array_equal(found.spans.spans, heavy.spans.spans)  # the order of the pixels
    assert np.array_equal(found.peaks["f_x"], heavy.peaks["f_x"])
    with fits.open(tmp_path / "cat.fits") as hdus:  # FITS that others can read
        hdus.verify("exception")
        assert hdus[1].data["footprint"].tolist() == again.footprint_ids.tolist()
        pixels = next(h for h in hdus if "image" in (h.columns.names if h.data is not None else []))
        assert np.array_equal(pixels.data["mask"][0], heavy.mask_values)


def test_footprints_that_are_set_in_a_slice_are_in_the_catalogue():
    sources = SourceCatalog.empty(SCHEMA, 4)
    sources[1:3][1].footprint = footprint()
    assert sources[2].footprint.area == footprint().area
    copied = sources[[2, 3]]
    copied[0].footprint = None
    assert sources[2].footprint is not None


def test_parts_of_a_catalogue_carry_their_footprints_only(tmp_path, shared_data):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    part = sources[[4, 1]]
    part.write(tmp_path / "part.fits")
    again = SourceCatalog.read(tmp_path / "part.fits")
    assert [s.footprint.area for s in again] == [sources[4].footprint.area,
                                                 sources[1].footprint.area]  # fmt: skip
    assert again["id"].tolist() == [sources[4].id, sources[1].id]
    with fits.open(tmp_path / "part.fits") as hdus:
        assert len(hdus[2].data) == 6  # two footprints of two parts each, two span sets


def test_real_footprints(shared_data):
    sources = SourceCatalog.read(shared_data.joinpath(*REAL))
    assert sources.has_footprints
    for src in sources:
        assert src.footprint.area == sum(x1 - x0 + 1 for _, x0, x1 in src.footprint.spans.spans)
        assert src.footprint.area == src["base_FootprintArea_value"]  # as the pipeline counted
        assert src.footprint.contains(src.x, src.y)
        peaks = src.footprint.peaks
        assert len(peaks) == 1
        assert src.footprint.contains(peaks["f_x"], peaks["f_y"]).all()


def test_objects_of_other_classes_stay_in_the_archive(tmp_path, shared_data):
    path = tmp_path / "cat.fits"
    path.write_bytes(shared_data.joinpath(*REAL).read_bytes())
    with fits.open(path, mode="update") as hdus:
        hdus[2].data["name"][0] = "Mystery"  # a span set turns into something unknown
        rest = hdus[4].data[:14].copy()
    sources = SourceCatalog.read(path)
    with pytest.raises(UnreadableFile, match=r"cat.fits\[2\]: footprint 1 is damaged"):
        _ = sources[0].footprint
    sources.set_footprint(0, footprint())
    sources.write(tmp_path / "new.fits")
    with fits.open(tmp_path / "new.fits") as hdus:
        rows = hdus[2].data[hdus[2].data["name"] == "Mystery"]
        assert len(rows) == 1
        table = hdus[2 + int(rows["cat.archive"][0])].data
        row0, n = int(rows["row0"][0]), int(rows["nrows"][0])
        assert np.array_equal(table[row0 : row0 + n], rest)
    again = SourceCatalog.read(tmp_path / "new.fits")
    assert again[0].footprint.spans == footprint().spans
    assert again[3].footprint.area == 116


@pytest.mark.parametrize(
    ("column", "value", "message"),
    [
        ("row0", 900, "rows 900 to 914 of a table of 71"),
        ("nrows", -3, "rows 0 to -3 of a table of 71"),
        ("cat.archive", 9, "no table 9"),
        ("id", 77, "no object 2"),
    ],
)
def test_an_index_that_points_nowhere(tmp_path, shared_data, column, value, message):
    path = tmp_path / "cat.fits"
    path.write_bytes(shared_data.joinpath(*REAL).read_bytes())
    with fits.open(path, mode="update") as hdus:
        hdus[2].data[column][0] = value
    sources = SourceCatalog.read(path)
    with pytest.raises(UnreadableFile, match=message):
        _ = sources[0].footprint
    assert sources[1].footprint.area == 120  # the others are as they were


def test_an_archive_in_memory():
    """As the images room makes it."""
    column = {"form": "1J", "kind": "Scalar"}
    spans = [FieldSpec(name=n, values=v, **column)
             for n, v in (("y", [5, 6]), ("x0", [1, 2]), ("x1", [3, 2]))]  # fmt: skip
    archive = Archive.empty().extended([
        (1, "Footprint", "lsst.afw.detection", [[FieldSpec(name="id", values=[2], **column)]]),
        (2, "SpanSet", "lsst.afw.geom", [spans]),
    ])  # fmt: skip
    assert FootprintStore(archive).get(1).area == 4
    with pytest.raises(UnreadableFile, match="object 2 is a SpanSet, not a footprint"):
        FootprintStore(archive).get(2)


def archive_by_astropy(path, *, has_span_sets):
    """Write two sources, the second with pixels, as cfitsio would."""
    spans = np.array([[5, 10, 12], [6, 9, 13], [20, 1, 1]])
    peaks = [("id", "1K", [1, 2]), ("f_x", "1E", [11.2, 1.0]), ("f_y", "1E", [5.4, 20.0]),
             ("i_x", "1J", [11, 1]), ("i_y", "1J", [5, 20]), ("peakValue", "1E", [9, 4]),
             ("merge_peak_i", "1J", [1, 0])]  # fmt: skip
    heavy = "HeavyFootprintF"
    if has_span_sets:
        index = [(1, 1, 0, 0, 1, "Footprint"), (1, 3, 1, 0, 1, "Footprint"),
                 (2, 2, 0, 0, 2, "SpanSet"), (3, 1, 0, 1, 1, heavy), (3, 3, 1, 1, 1, heavy),
                 (3, 4, 2, 0, 1, heavy), (4, 2, 0, 2, 1, "SpanSet")]  # fmt: skip
    else:
        index = [(1, 2, 0, 0, 2, "Footprint"), (1, 3, 1, 0, 1, "Footprint"),
                 (3, 2, 0, 2, 1, heavy), (3, 3, 1, 1, 1, heavy),
                 (3, 4, 2, 0, 1, heavy)]  # fmt: skip
    names = ["id", "cat.archive", "cat.persistable", "row0", "nrows", "name"]
    forms = ["1J"] * 5 + ["64A"]
    tables = [
        [fits.Column(n, f, array=[row[i] for row in index])
         for i, (n, f) in enumerate(zip(names, forms, strict=True))],
        [fits.Column("id", "1J", array=[2, 4])],
        [fits.Column(n, "1J", array=spans[:, i]) for i, n in enumerate(("y", "x0", "x1"))],
        [fits.Column(n, f, array=v) for n, f, v in peaks],
        [fits.Column("image", "1QE()", array=np.array([[2.5]], np.float32)),
         fits.Column("mask", "1QI()", array=np.array([[4 - 32768]], np.int16)),
         fits.Column("variance", "1QE()", array=np.array([[0.5]], np.float32))],
    ]  # fmt: skip
    sources = [fits.Column("id", "1K", array=[7, 8]), fits.Column("footprint", "1J", array=[1, 3])]
    hdus = [fits.BinTableHDU.from_columns(columns) for columns in (sources, *tables)]
    hdus[0].header["AR_HDU"], hdus[0].header["AFW_TYPE"] = 3, "SOURCE"
    hdus[1].header["AR_NCAT"] = 5
    hdus[5].header["TZERO2"], hdus[5].header["TSCAL2"] = 32768, 1
    fits.HDUList([fits.PrimaryHDU(), *hdus]).writeto(path)


@pytest.mark.parametrize("has_span_sets", [True, False])  # older archives hold spans directly
def test_an_archive_that_others_wrote(tmp_path, has_span_sets):
    archive_by_astropy(tmp_path / "cat.fits", has_span_sets=has_span_sets)
    first, second = SourceCatalog.read(tmp_path / "cat.fits")
    assert first.footprint.spans.spans.tolist() == [[5, 10, 12], [6, 9, 13]]
    assert first.footprint.area == 8
    assert first.footprint.peaks["merge_peak_i"].tolist() == [1]
    assert not first.footprint.is_heavy
    assert second.footprint.image_values.tolist() == [2.5]
    assert second.footprint.mask_values.tolist() == [4]  # stored with an offset
    assert second.footprint.variance_values.tolist() == [0.5]
    SourceCatalog.read(tmp_path / "cat.fits")[1:].write(tmp_path / "part.fits")
    (again,) = SourceCatalog.read(tmp_path / "part.fits")
    assert again.footprint.image_values.tolist() == [2.5]
    assert again.footprint.mask_values.dtype == np.uint16
    assert again.footprint.peaks["merge_peak_i"].tolist() == [0]


def test_peaks_with_flags_and_footprints_without_pixels(tmp_path):
    """Coadds mark in which band a peak was found; a footprint may be empty."""
    peaks = peak_catalog([1, 2, 3], [1, 1, 1], [3, 2, 1])
    for band in ("g", "r"):
        flags = np.array([True, False, band == "r"])
        peaks = peaks.with_field(Field(f"merge_peak_{band}", "Flag", f"peak in {band}"), flags)
    sources = SourceCatalog.empty(SCHEMA, 3)
    sources[0].footprint = Footprint(SpanSet([[1, 0, 4]]), peaks)
    sources[1].footprint = Footprint()
    sources[2].footprint = Footprint(SpanSet([[7, 0, 1]]), peaks[1:])
    sources.write(tmp_path / "cat.fits")
    first, empty, last = SourceCatalog.read(tmp_path / "cat.fits")
    assert first.footprint.peaks["merge_peak_r"].tolist() == [True, False, True]
    assert last.footprint.peaks["merge_peak_g"].tolist() == [False, False]
    assert last.footprint.peaks["id"].tolist() == [2, 3]
    assert empty.footprint.area == len(empty.footprint.peaks) == 0
