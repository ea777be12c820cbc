"""Components from tables laid out as the sources of afw say, against closed forms.

The tables are made with astropy, never with our writer; see `afw_layout`.
"""

from __future__ import annotations

import numpy as np
import pytest
from afw_layout import box, field, point, write_exposure
from afw_tools import gaussian
from numpy.polynomial import chebyshev

from skyloom.errors import NotCalibrated
from skyloom.images import ArchivedObject, Exposure, PsfexPsf

MAG_ZERO = 3630.7805477 * 1e9  # nJy of AB magnitude 0
WHOLE = ((0, 0), (1999, 3999))  # first and last pixel


def chebyshev_table(*rows):
    """Return the fields of fields of Chebyshev polynomials; a row: coefficients [y, x]."""
    tables = [np.asarray(row, float) for row in rows]
    corners = [("bbox_min", WHOLE[0]), ("bbox_max", WHOLE[1])]
    return [
        field("order_x", "1J", [t.shape[1] - 1 for t in tables]),
        *(f for name, at in corners for f in point(name, "1J", [at] * len(tables))),
        field("coefficients", f"{tables[0].size}D", [t.ravel() for t in tables], "Array"),
    ]


def text_field(name, *texts):
    """Return a column of texts as arrays of bytes of any length."""
    return field(name, "1QB()", [np.frombuffer(text.encode(), "u1") for text in texts], "Array")


def value_of(coefficients, x, y):
    """Evaluate a field over `WHOLE`, whose outer edges are -1 and 1."""
    u, v = (x + 0.5) / 1000.0 - 1.0, (y + 0.5) / 2000.0 - 1.0
    return chebyshev.chebval2d(u, v, np.asarray(coefficients, float).T)


def calibration(path, version, mean, err, *, is_constant, coefficients, names=None):
    names = names or ("calibrationMean", "calibrationErr")
    fields = [
        field(names[0], "1D", [mean], unit="count"),
        field(names[1], "1D", [err], unit="count"),
        field("field", "1J", [2]),
    ]
    if version is not None:
        fields.append(field("version", "1J", [version]))
    return write_exposure(
        path,
        {"PHOTOCALIB": 1},
        [(1, "PhotoCalib", "", [(1, 0, 1)]), (2, "ChebyshevBoundedField", "", [(2, 0, 1)])],
        [
            ("PhotoCalib", fields, [("isConstant", [is_constant])]),
            ("ChebyshevBoundedField", chebyshev_table(coefficients), ()),
        ],
    )


@pytest.mark.parametrize("is_constant", [True, False])
@pytest.mark.parametrize(
    ("version", "unit"), [(1, 1.0), (0, MAG_ZERO), (None, MAG_ZERO)], ids=["1", "0", "none"]
)
def test_calibrations_of_every_version(version, unit, is_constant, tmp_path):
    """Version 1 says nJy per count, version 0 (with or without its number) maggies."""
    mean = 57.5 / unit
    terms = np.array([[57.5, 3.0, -1.0], [2.0, 0.5, 0.25]]) / unit
    path = calibration(
        tmp_path / "e.fits", version, mean, 0.5 / unit, is_constant=is_constant, coefficients=terms
    )
    found = Exposure.read(path).photo_calib
    assert found.mean == pytest.approx(57.5, rel=1e-10)  # digits of MAG_ZERO
    assert found.err == pytest.approx(0.5, rel=1e-10)
    x, y = np.array([0.0, 700.0, 1999.0]), np.array([3999.0, 12.0, 2000.0])
    expected = 57.5 if is_constant else value_of(terms * unit, x, y)
    assert np.allclose(found.nanojansky(2.0, x, y), 2.0 * expected, rtol=1e-9)
    assert np.allclose(found.magnitude(2.0, x, y), 31.4 - 2.5 * np.log10(2.0 * expected), atol=1e-9)


@pytest.mark.parametrize("is_constant", [True, False])
def test_the_first_calibrations_say_counts_per_maggy(is_constant, tmp_path):
    counts = 10.0 ** (0.4 * 27.0)
    terms = counts * np.array([[1.0, 0.1], [0.05, 0.0]])
    path = calibration(
        tmp_path / "e.fits", None, counts, 0.01 * counts, is_constant=is_constant,
        coefficients=terms, names=("instFluxMag0", "instFluxMag0Err"),
    )  # fmt: skip
    found = Exposure.read(path).photo_calib
    assert found.zeropoint == pytest.approx(27.0, abs=1e-9)
    assert found.flux_mag0_err == pytest.approx(0.01 * counts)
    zeropoint = 2.5 * np.log10(counts if is_constant else value_of(terms, 100.0, 200.0))
    assert found.magnitude(10.0, 100.0, 200.0) == pytest.approx(zeropoint - 2.5, abs=1e-9)


def test_a_calibration_of_zero_is_none(tmp_path):
    path = calibration(
        tmp_path / "e.fits", 1, 0.0, 0.0, is_constant=True, coefficients=np.array([[0.0]])
    )
    with pytest.raises(NotCalibrated, match="no calibration"):
        _ = Exposure.read(path).photo_calib


TAN = """1 SkyWcs 0  Begin FrameSet
 IsA Frame
    Nframe = 3
    Currnt = 3
    Lnk2 = 1
    Lnk3 = 2
    Map2 =
       Begin MatrixMap
          Nin = 2
       IsA Mapping
          M0 = -4.6e-05
          M1 = 0
          M2 = 0
          M3 = 4.6e-05
       End MatrixMap
    Map3 =
       Begin CmpMap
          Nin = 2
       IsA Mapping
          InvA = 1
          MapA =
             Begin ZoomMap
                Nin = 2
             IsA Mapping
                Zoom = 57.295779513082323
             End ZoomMap
          MapB =
             Begin WcsMap
                Nin = 2
                Invert = 1
             IsA Mapping
                Type = "TAN"
             End WcsMap
          InvB = 1
       End CmpMap
 End FrameSet
"""

POLYNOMIAL = """Begin PolyMap
    Nin = 2
    Nout = 1
 IsA Mapping
    NCF1 = 3
    CF1 = 2
    CF2 = 0.001
    CF3 = -0.0005
    PF3 = 1
    PF6 = 1
    NCI1 = 1
    CI1 = 0
 End PolyMap
"""
PLANES = {  # a mapping by itself, as transforms are written now, and between frames
    "mapping": "1 TransformPoint2ToGeneric " + POLYNOMIAL,
    "frames": "1 TransformPoint2ToGeneric Begin FrameSet\n IsA Frame\n Nframe = 2\n Currnt = 2\n"
    " Lnk2 = 1\n Map2 =\n" + POLYNOMIAL + " End FrameSet\n",
}


@pytest.mark.parametrize("form", PLANES)
def test_products_of_fields_areas_and_mappings(form, tmp_path):
    """As calibrations of the photometric fits are: polynomial x area of pixels x plane."""
    terms = np.array([[3.0, 0.5]])
    path = write_exposure(
        tmp_path / "e.fits",
        {"PHOTOCALIB": 1},
        [
            (1, "PhotoCalib", "lsst.afw.image", [(1, 0, 1)]),
            (2, "ProductBoundedField", "lsst.afw.math", [(2, 0, 3)]),
            (3, "ChebyshevBoundedField", "lsst.afw.math", [(3, 0, 1)]),
            (4, "PixelAreaBoundedField", "lsst.afw.math", [(4, 0, 1)]),
            (5, "SkyWcs", "lsst.afw.geom", [(5, 0, 1)]),
            (6, "TransformBoundedField", "lsst.afw.math", [(6, 0, 1)]),
        ],
        [
            (
                "PhotoCalib",
                [
                    field("calibrationMean", "1D", [3.0]),
                    field("calibrationErr", "1D", [0.1]),
                    field("field", "1J", [2]),
                    field("version", "1J", [1]),
                ],
                [("isConstant", [False])],
            ),
            ("ProductBoundedField", [field("id", "1J", [3, 4, 6])], ()),
            ("ChebyshevBoundedField", chebyshev_table(terms), ()),
            (
                "PixelAreaBoundedField",
                [
                    *box("bbox", *WHOLE),
                    field("wcs", "1J", [5]),
                    field("scaling", "1D", [1.0 / np.radians(4.6e-5) ** 2]),
                ],
                (),
            ),
            ("SkyWcs", [text_field("wcs", TAN)], ()),
            (
                "TransformBoundedField",
                [
                    *box("bbox", *WHOLE),
                    field(
                        "frameSet", "1QB()", [np.frombuffer(PLANES[form].encode(), "u1")], "Array"
                    ),
                ],
                (),
            ),
        ],
    )
    exposure = Exposure.read(path)
    x, y = np.array([0.0, 700.0, 1999.0]), np.array([3999.0, 12.0, 2000.0])
    plane = 2.0 + 0.001 * x - 0.0005 * y
    radius = np.radians(4.6e-5 * np.hypot(x, y))  # from the tangent point
    area = np.cos(np.arctan(radius)) ** 3
    expected = value_of(terms, x, y) * area * plane
    # 2e-6: areas from differences over a pixel, of positions rounded to 1e-14 of a radian
    assert np.allclose(exposure.photo_calib.nanojansky(1.0, x, y), expected, rtol=2e-6)
    again = Exposure(exposure.masked_image, photo_calib=exposure.photo_calib)
    again.write(tmp_path / "again.fits")
    back = Exposure.read(tmp_path / "again.fits").photo_calib
    assert np.array_equal(back.nanojansky(1.0, x, y), exposure.photo_calib.nanojansky(1.0, x, y))


def test_aperture_corrections(tmp_path):
    """Names of up to 64 characters; fields of one shape share a table."""
    names = ["base_PsfFlux_instFlux", "base_PsfFlux_instFluxErr", "m" * 64]
    terms = [np.array([[1.0 + i, 0.1 * i], [-0.02, 0.003]]) for i in range(3)]
    path = write_exposure(
        tmp_path / "e.fits",
        {"AP_CORR_MAP": 4},
        [
            *((i + 1, "ChebyshevBoundedField", "lsst.afw.math", [(1, 2 - i, 1)]) for i in range(3)),
            (4, "ApCorrMap", "lsst.afw.image", [(2, 0, 3)]),
        ],
        [
            ("ChebyshevBoundedField", chebyshev_table(*terms[::-1]), ()),
            (
                "ApCorrMap",
                [field("name", "64A", names, "String"), field("field", "1J", [1, 2, 3])],
                (),
            ),
        ],
    )
    found = Exposure.read(path).ap_corr_map
    assert list(found) == names
    for name, table in zip(names, terms, strict=True):
        assert found.at(name, 321.0, 1234.0) == pytest.approx(value_of(table, 321.0, 1234.0))


def kernel_fields(image, centre, n=1):
    height, width = image[0].shape
    return [
        *point("dimensions", "1J", [(width, height)] * n),
        *point("center", "1J", [centre] * n),
        field("image", f"{width * height}D", [i.ravel() for i in image], "Array"),
    ]


@pytest.mark.parametrize("is_old", [True, False], ids=["compound points", "two columns"])
def test_a_kernel_that_varies(is_old, tmp_path):
    """PcaPsf of a LinearCombinationKernel: images, row-major, times polynomials of position."""
    y, x = np.indices((5, 7))
    images = [np.exp(-0.5 * ((x - 3) ** 2 / (1 + i) + (y - 2) ** 2)) for i in range(2)]
    kernels = kernel_fields(images, (3, 2), 2)
    combination = [
        *point("dimensions", "1J", [(7, 5)]),
        *point("center", "1J", [(3, 2)]),
        field("spatialfunctions", "2J", [[4, 5]], "Array"),
        field("components", "2J", [[2, 3]], "Array"),
    ]
    average = point("averagePosition", "1D", [(1000.0, 2000.0)])
    if is_old:
        kernels[:4] = [
            field("dimensions", "2J", [(7, 5)] * 2, "Point"),
            field("center", "2J", [(3, 2)] * 2, "Point"),
        ]
        combination[:4] = [
            field("dimensions", "2J", [(7, 5)], "Point"),
            field("center", "2J", [(3, 2)], "Point"),
        ]
        average = [field("averagePosition", "2D", [(1000.0, 2000.0)], "Point")]
    first = np.array([1.0, 2e-4, -1e-4, 3e-8, 1e-8, -2e-8])
    second = np.array([0.3, 0.1, -0.2])
    chebyshev_fields = [
        field("coefficients", "3D", [second], "Array"),
        *point("min", "1D", [(0.0, 0.0)]),
        *point("max", "1D", [(2000.0, 4000.0)]),
    ]
    path = write_exposure(
        tmp_path / "e.fits",
        {"PSF": 6},
        [
            (1, "LinearCombinationKernel", "lsst.afw.math", [(2, 0, 1)]),
            (2, "FixedKernel", "lsst.afw.math", [(1, 0, 1)]),
            (3, "FixedKernel", "lsst.afw.math", [(1, 1, 1)]),
            (4, "PolynomialFunction2D", "lsst.afw.math", [(3, 0, 1)]),
            (5, "Chebyshev1Function2D", "lsst.afw.math", [(4, 0, 1)]),
            (6, "PcaPsf", "lsst.meas.algorithms", [(5, 0, 1)]),
        ],
        [
            ("FixedKernel", kernels, ()),
            ("LinearCombinationKernel", combination, ()),
            ("PolynomialFunction2D", [field("coefficients", "6D", [first], "Array")], ()),
            ("Chebyshev1Function2D", chebyshev_fields, ()),
            ("PcaPsf", [field("kernel", "1J", [1]), *average], ()),
        ],
    )
    psf = Exposure.read(path).psf
    assert psf.average_position == (1000.0, 2000.0)
    px, py = 300.0, 1700.0
    one = first @ [1.0, px, py, px**2, px * py, py**2]
    two = second @ [1.0, px / 1000 - 1, py / 2000 - 1]
    expected = one * images[0] + two * images[1]
    stamp = psf.at(px, py)
    assert stamp.shape == (7, 7)  # a square about the centre
    assert np.allclose(stamp[1:-1], expected / expected.sum(), rtol=0, atol=1e-15)
    assert not stamp[0].any()
    assert not stamp[-1].any()


def psfex_tables(components, step, degree, *, is_old=False):
    n, height, width = components.shape
    average = point("averagePosition", "1D", [(900.0, 2100.0)])
    if is_old:
        average = [field("averagePosition", "2D", [(900.0, 2100.0)], "Point")]
    first = [
        field("ndim", "1J", [2]),
        field("ngroup", "1J", [1]),
        field("ncoeff", "1J", [n]),
        field("_size_size", "1J", [3]),
        field("_comp_size", "1J", [components.size]),
        field("_context_size", "1J", [2]),
        *average,
        field("_pixstep", "1E", [step], unit="pixel"),
    ]
    second = [
        field("group", "2J", [[0, 0]], "Array"),
        field("degree", "1J", [degree], "Array"),
        field("basis", f"{n}D", [np.zeros(n)], "Array"),
        field("coeff", f"{n}D", [np.zeros(n)], "Array"),
        field("_size", "3J", [[width, height, n]], "Array"),
        field("_comp", f"{components.size}E", [components.ravel()], "Array"),
        field("_context_first", "2D", [[1000.0, 2000.0]], "Array"),
        field("_context_second", "2D", [[800.0, 1600.0]], "Array"),
    ]
    return [("PsfexPsf", first, ()), ("PsfexPsf", second, ())]


@pytest.mark.parametrize("is_old", [True, False], ids=["compound points", "two columns"])
def test_a_psfex_model(is_old, tmp_path):
    """Terms 1, x, x2, y, xy, y2 of scaled positions; x runs fastest in the images."""
    step = 0.5
    y, x = np.indices((31, 41))
    base = np.exp(-0.5 * (((x - 20) * step / 2.5) ** 2 + ((y - 15) * step / 1.5) ** 2))
    moved = base * (x - 20) * step / 2.5**2  # minus its derivative in x
    shape = [0.0 * base, moved, 0.0 * base, 0.3 * base, 0.1 * base, 0.2 * base]
    components = np.stack([base, *shape[1:]]).astype(np.float32)
    tables = psfex_tables(components, step, 2, is_old=is_old)
    path = write_exposure(
        tmp_path / "e.fits",
        {"PSF": 1},
        [(1, "PsfexPsf", "lsst.meas.extensions.psfex", [(1, 0, 1), (2, 0, 1)])],
        tables,
    )
    psf = Exposure.read(path).psf
    assert isinstance(psf, PsfexPsf)
    assert psf.average_position == (900.0, 2100.0)
    u, v = (1200.0 - 1000.0) / 800.0, (1600.0 - 2000.0) / 1600.0
    weights = 1.0 + 0.3 * v + 0.1 * u * v + 0.2 * v**2
    stamp = psf.at(1200.0, 1600.0)
    row, column = np.indices(stamp.shape) - stamp.shape[0] // 2
    expected = np.exp(-0.5 * ((column / 2.5) ** 2 + (row / 1.5) ** 2))
    expected = expected * (weights + u * column / 2.5**2)
    expected[np.abs(row) > 7] = 0.0  # the model ends there
    expected /= expected.sum()
    # Lanczos ripple of a Gaussian of three samples, and its cut at five sigma
    assert np.allclose(stamp, expected, rtol=0, atol=1e-3 * expected.max())
    assert (stamp * column).sum() == pytest.approx(u / weights, rel=0.01)  # the sum of x moved


def test_coadds(tmp_path):
    """The rows of an exposure catalogue beside a head; ids of what is missing are 0."""
    wide, narrow = gaussian(21, 2.5), gaussian(21, 1.5)
    head = [
        field("coaddwcs", "1J", [1]),
        field("cachesize", "1J", [10000]),
        *point("avgpos", "1D", [(100.0, 100.0)]),
        field("warpingkernelname", "32A", ["lanczos3"], "String"),
    ]
    rows = [
        field("wcs", "1J", [1, 1]),
        field("psf", "1J", [4, 5]),
        field("photoCalib", "1J", [0, 0]),
        field("apCorrMap", "1J", [0, 0]),
        field("validPolygon", "1J", [6, 0]),
        field("visitInfo", "1J", [0, 0]),
        field("transmissionCurve", "1J", [0, 0]),
        field("detector", "1J", [0, 0]),
        field("id", "1K", [1234, 5678]),
        *point("bbox_min", "1J", [(0, 0), (0, 0)]),
        *point("bbox_max", "1J", [(199, 199), (199, 199)]),
        field("weight", "1D", [3.0, 1.0]),
    ]
    corners = [(-0.5, -0.5), (150.5, -0.5), (150.5, 199.5), (-0.5, 199.5)]
    path = write_exposure(
        tmp_path / "e.fits",
        {"PSF": 7},
        [
            (1, "SkyWcs", "lsst.afw.geom", [(1, 0, 1)]),
            (2, "FixedKernel", "lsst.afw.math", [(2, 0, 1)]),
            (3, "FixedKernel", "lsst.afw.math", [(2, 1, 1)]),
            (4, "KernelPsf", "lsst.meas.algorithms", [(3, 0, 1)]),
            (5, "KernelPsf", "lsst.meas.algorithms", [(3, 1, 1)]),
            (6, "Polygon", "lsst.afw.geom", [(4, 0, 4)]),
            (7, "CoaddPsf", "lsst.meas.algorithms", [(5, 0, 1), (6, 0, 2)]),
        ],
        [
            ("SkyWcs", [text_field("wcs", TAN)], ()),
            ("FixedKernel", kernel_fields([wide, narrow], (10, 10), 2), ()),
            (
                "KernelPsf",
                [
                    field("kernel", "1J", [2, 3]),
                    *point("averagePosition", "1D", [(0.0, 0.0), (0.0, 0.0)]),
                ],
                (),
            ),
            ("Polygon", point("vertices", "1D", corners), ()),
            ("CoaddPsf", head, ()),
            ("CoaddPsf", rows, ()),
        ],
    )
    psf = Exposure.read(path).psf
    assert [i.number for i in psf.inputs] == [1234, 5678]
    for x, expected in ((100.0, (3.0 * wide + narrow) / 4.0), (180.0, narrow)):
        stamp = psf.at(x, 100.0)
        edge = (stamp.shape[0] - 21) // 2
        inner = stamp[edge : stamp.shape[0] - edge, edge : stamp.shape[0] - edge]
        # pixel positions through the sky and back: 1e-7 pix; stamps are normalised
        assert np.allclose(inner, expected / expected.sum(), rtol=0, atol=1e-6)


def angle_map(kind, *values):
    lines = "".join(f"    {name} = {value}\n" for name, value in values)
    return (
        f"1 TransformPoint2ToPoint2 Begin {kind}\n    Nin = 2\n IsA Mapping\n{lines} End {kind}\n"
    )


def test_angles_from_the_optical_axis(tmp_path):
    """FieldAngle is in radians in the file; a mapping that is not known is left out."""
    texts = [
        angle_map("ZoomMap", ("Zoom", 2e-4)),  # mm to rad
        angle_map("WinMap", ("Sft1", -30.0), ("Scl1", 0.015), ("Sft2", 10.0), ("Scl2", 0.015)),
        angle_map("MathMap", ("Fwd1", '"x=y"')),
    ]
    detector = [
        field("name", "10A", ["1_53"], "String"),
        field("id", "1J", [50]),
        field("serial", "10A", ["s"], "String"),
        *box("bbox", (0, 0), (2047, 4175)),
        *point("pixelSize", "1D", [(0.015, 0.015)], unit="mm"),
        field("transformMap", "1J", [5]),
    ]
    names = ("FocalPlane", "Pixels", "Pixels"), ("FieldAngle", "FocalPlane", "TanPixels")
    rows = [
        field("fromSysName", "20A", names[0], "String"),
        field("fromSysDetectorName", "20A", ["", "1_53", "1_53"], "String"),
        field("toSysName", "20A", names[1], "String"),
        field("toSysDetectorName", "20A", ["", "", "1_53"], "String"),
        field("transform", "1J", [1, 2, 3]),
    ]
    maps = [text_field("bytes", *texts)]
    point2 = "TransformPoint2ToPoint2"
    path = write_exposure(
        tmp_path / "e.fits",
        {"DETECTOR": 6},
        [
            *((i + 1, point2, "lsst.afw.geom", [(1, i, 1)]) for i in range(3)),
            (5, "TransformMap", "lsst.afw.cameraGeom", [(2, 0, 3)]),
            (6, "Detector", "lsst.afw.cameraGeom", [(3, 0, 1)]),
        ],
        [(point2, maps, ()), ("TransformMap", rows, ()), ("Detector", detector, ())],
    )
    found = Exposure.read(path).detector
    assert found.number == 50
    assert found.frames.systems == ("FieldAngle", "FocalPlane", "Pixels")
    mm = (-30.0 + 0.015 * 1000.0, 10.0 + 0.015 * 2000.0)
    assert found.frames.transform(1000.0, 2000.0) == pytest.approx(mm)
    angles = found.frames.transform(1000.0, 2000.0, end="FieldAngle")
    assert angles == pytest.approx(np.degrees(2e-4 * np.array(mm)))
    back = found.frames.transform(*angles, "FieldAngle", "Pixels")
    assert back == pytest.approx((1000.0, 2000.0))


def test_piff_is_kept_and_never_opened(tmp_path):
    """It is a pickle, which can run code: it stays as it is, and says so."""
    blob = np.frombuffer(b"\x80\x04csubprocess\nPopen\n", "u1")
    path = write_exposure(
        tmp_path / "e.fits",
        {"PSF": 1},
        [(1, "PiffPsf", "lsst.meas.extensions.piff.piffPsf", [(1, 0, 1)])],
        [("PiffPsf", [field("bytes", "1QB()", [blob], "Array")], ())],
    )
    exposure = Exposure.read(path)
    assert isinstance(exposure.psf, ArchivedObject)
    assert exposure.psf.name == "PiffPsf"
    with pytest.raises(AttributeError, match="PiffPsf is a pickle, which could run code"):
        exposure.psf.at(1.0, 2.0)
    exposure.write(tmp_path / "again.fits")
    again = Exposure.read(tmp_path / "again.fits")
    assert again.stored.archive.to_bytes() == exposure.stored.archive.to_bytes()
    assert bytes(again.psf.parts[0].get("bytes")) == blob.tobytes()
