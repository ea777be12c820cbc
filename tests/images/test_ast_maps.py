"""Coordinate mappings from their text, against closed forms and astropy."""

from __future__ import annotations

import numpy as np
import pytest
from afw_tools import sky
from astropy.wcs import WCS

from skyloom.images.afw.ast_maps import AstProjection, make_map
from skyloom.images.afw.ast_text import parse_ast
from skyloom.images.afw.coordinate_map import UnsupportedMapping


def block(kind, values=(), parts=()):
    """Return the text of an object; values as pairs or a mapping."""
    lines = [f"Begin {kind}", "#   Title = ignored", " IsA Mapping"]
    lines += [f"   {k} = {v}" for k, v in dict(values).items()]
    for name, text in dict(parts).items():
        lines += [f"   {name} =", text]
    return "\n".join([*lines, f"End {kind}"])


def compound(first, second, **values):
    """Return a CmpMap of two mappings."""
    return block("CmpMap", {"Nin": 2, **values}, {"MapA": first, "MapB": second})


def chain(*texts):
    """Return a chain of mappings, as CmpMaps within CmpMaps."""
    first, *rest = texts
    return first if not rest else compound(first, chain(*rest))


def poly(columns, iter_inverse=True):
    """Return a PolyMap; columns: per output a list of (coefficient, power of x, power of y)."""
    values, number = [("Nin", 2)], 0
    for out, terms in enumerate(columns, start=1):
        values.append((f"NCF{out}", len(terms)))
        for c, i, j in terms:
            number += 1
            values += [(f"CF{number}", repr(c)), (f"PF{2 * number - 1}", i), (f"PF{2 * number}", j)]
    return block("PolyMap", [*values, ("IterInv", int(iter_inverse))])


def frame_set(steps):
    """Return a FrameSet whose frames are joined by mappings in order."""
    parts = {f"Map{i}": text for i, text in enumerate(steps, start=2)}
    links = {f"Lnk{i}": i - 1 for i in range(2, len(steps) + 2)}
    frames = {"Nframe": len(steps) + 1, "Currnt": len(steps) + 1, **links}
    return "1 SkyWcs 0 " + block("FrameSet", frames, parts)


def to_sky(crval):
    """Return the mapping from the gnomonic plane [deg] to the sky, as AST writes it."""
    ra, dec = np.radians(crval)
    # rows: native axes of the pole at (ra, dec), native longitude of the celestial pole 180 degrees
    matrix = np.array(
        [
            [np.sin(dec) * np.cos(ra), -np.sin(ra), np.cos(dec) * np.cos(ra)],
            [np.sin(dec) * np.sin(ra), np.cos(ra), np.cos(dec) * np.sin(ra)],
            [-np.cos(dec), 0.0, np.sin(dec)],
        ]
    )
    full = {"Nin": 3, **{f"M{i}": repr(float(m)) for i, m in enumerate(matrix.ravel())}}
    sphere = {"Nin": 3, "Nout": 2}
    project = compound(
        block("WcsMap", {"Nin": 2, "Type": '"TAN"'}),
        block("ZoomMap", {"Nin": 2, "Zoom": repr(180 / np.pi)}),
    )
    native = compound(block("SphMap", {**sphere, "Invert": 1}), project, Nin=3)
    turned = compound(block("MatrixMap", full), native, Nin=3, InvA=1)
    whole = compound(block("SphMap", sphere), turned, InvA=1)
    return compound(whole, block("UnitMap", {"Nin": 2}), InvA=1)


def test_a_tan_sip_wcs_agrees_with_astropy():
    wcs = sky()
    shift = block("WinMap", [("Nin", 2), ("Sft1", -40), ("Sft2", -30)])
    sip = poly([[(1.0, 1, 0), (1e-6, 2, 0)], [(1.0, 0, 1), (-2e-6, 0, 2)]])
    values = {f"M{i}": repr(float(v)) for i, v in enumerate(wcs.wcs.cd.ravel())}
    cd = block("MatrixMap", {"Nin": 2, **values})
    projection = AstProjection.parse(frame_set([chain(shift, sip, cd), to_sky(wcs.wcs.crval)]))
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(0, 2000, 9), np.linspace(0, 4000, 9)))
    expected = wcs.all_pix2world(x, y, 0)
    found = projection.to_sky(x, y)
    assert np.allclose(found, expected, rtol=0, atol=1e-11)  # deg: rounding of two ways to compute
    back = projection.to_pixel(*found)
    assert np.allclose(back, (x, y), rtol=0, atol=1e-7)  # pix: 1e-14 rad of the sky


def test_pixels_focal_plane_gnomonic_plane_and_sky():
    """Four frames in a chain, as joint astrometric fits have them; inverses are given as well."""
    focal = [("Nin", 2), ("MPF1", 1), ("MPF2", 1), ("NCF1", 2), ("NCF2", 2)]
    focal += [("CF1", 206.0), ("CF2", -0.015), ("CF3", -135.0), ("CF4", -0.015), ("PF3", 1)]
    focal += [("PF8", 1), ("MPI1", 1), ("MPI2", 1), ("NCI1", 2), ("NCI2", 2)]
    focal += [("CI1", 206.0 / 0.015), ("CI2", -1 / 0.015), ("CI3", -135.0 / 0.015)]
    focal += [("CI4", -1 / 0.015), ("PI3", 1), ("PI8", 1), ("IterInv", 0)]
    plane = poly([[(-0.003, 1, 0), (2e-9, 2, 1)], [(0.003, 0, 1), (1e-9, 0, 3)]])
    steps = [block("PolyMap", focal), plane, to_sky((339.3, 0.7))]
    projection = AstProjection.parse(frame_set(steps))
    x, y = np.array([0.0, 1000.0, 2047.0]), np.array([4175.0, 17.0, 2000.0])
    u, v = 206.0 - 0.015 * x, -135.0 - 0.015 * y
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], [339.3, 0.7]
    wcs.wcs.crpix, wcs.wcs.cdelt = [1.0, 1.0], [1.0, 1.0]
    expected = wcs.all_pix2world(-0.003 * u + 2e-9 * u**2 * v, 0.003 * v + 1e-9 * v**3, 0)
    found = projection.to_sky(x, y)
    assert np.allclose(found, expected, rtol=0, atol=1e-12)  # deg, rounding
    assert np.allclose(projection.to_pixel(*found), (x, y), rtol=0, atol=1e-7)  # of 1e-13 rad


@pytest.mark.parametrize("name", ["ARC", "SIN", "STG", "TAN", "ZEA"])
def test_projections_agree_with_astropy(name):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = [f"RA---{name}", f"DEC--{name}"], [150.0, 2.0]
    wcs.wcs.crpix, wcs.wcs.cdelt = [1.0, 1.0], [1.0, 1.0]
    text = to_sky(wcs.wcs.crval).replace('"TAN"', f'"{name}"')
    projection = AstProjection.parse(frame_set([text]))
    x, y = (a.ravel() for a in np.meshgrid(np.linspace(-25, 25, 6), np.linspace(-30, 30, 7)))
    ra, dec = wcs.all_pix2world(x, y, 0)
    found = projection.to_sky(x, y)
    assert np.allclose(found, (ra, dec), rtol=0, atol=1e-12)  # deg, rounding
    assert np.allclose(projection.to_pixel(ra, dec), (x, y), rtol=0, atol=1e-11)


def test_polynomials_of_chebyshev():
    """Boxes are mapped to -1 to 1 by a scale and an offset; beyond them there is no value."""
    values = [("Nin", 2), ("NCF1", 3), ("NCF2", 2)]
    values += [("CF1", 5.0), ("CF2", 2.0), ("CF3", 0.25), ("PF3", 1), ("PF5", 2), ("PF6", 1)]
    values += [("CF4", 3.0), ("CF5", -0.5), ("PF8", 1), ("PF9", 3)]
    values += [("FSCL1", 0.01), ("FSCL2", 0.02), ("FOFF1", -2.0), ("FOFF2", 0.5)]
    mapping = make_map(parse_ast(block("ChebyMap", [*values, ("IterInv", 1)])))
    points = np.array([[120.0, 200.0, 299.0], [-70.0, -25.0, 24.0]])
    u, v = 0.01 * points[0] - 2.0, 0.02 * points[1] + 0.5
    one = 5.0 + 2.0 * u + 0.25 * (2 * u**2 - 1) * v
    two = 3.0 * v - 0.5 * (4 * u**3 - 3 * u)
    assert np.allclose(mapping.forward(points), [one, two], rtol=1e-14)
    # the Jacobian is that of 3 v - 0.5 T3(u), never singular here
    assert np.allclose(mapping.inverse(np.array([one, two])), points, rtol=0, atol=1e-9)
    outside = mapping.forward(np.array([[301.0, 200.0], [0.0, 26.0]]))
    assert np.isnan(outside).all()
    same = [item for item in values if not item[0].startswith(("FSCL", "FOFF"))]
    powers = make_map(parse_ast(block("ChebyMap", same)))
    assert np.allclose(powers.forward(points)[1], 3.0 * points[1] - 0.5 * points[0] ** 3)


def test_axes_that_change_places():
    swap = {"Nin": 2, "In1": 2, "In2": 1, "Out1": 2, "Out2": 1}
    mapping = make_map(parse_ast(block("PermMap", swap)))
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert mapping.forward(points).tolist() == [[3, 4], [1, 2]]
    assert mapping.inverse(points).tolist() == [[3, 4], [1, 2]]
    with pytest.raises(UnsupportedMapping, match="with constants"):
        make_map(parse_ast(block("PermMap", {**swap, "Out1": -1})))


def radial(terms):
    """Return a mapping of radii about the origin: direction and length, length by polynomial."""
    values = [("Nin", 1), ("NCF1", len(terms)), ("IterInv", 1)]
    for n, (c, k) in enumerate(terms, start=1):
        values += [(f"CF{n}", repr(c)), (f"PF{n}", k)]
    lengths = block("PolyMap", values)
    split = block("UnitNormMap", {"Nin": 2, "Ctr1": 3.0})
    both = compound(block("UnitMap", {"Nin": 2}), lengths, Series=0)
    return compound(compound(split, both), split, InvB=1)


def test_a_radial_distortion_as_cameras_have_it():
    """r becomes r + k r**3 about (3, 0); jointed with a TranMap whose inverse is another."""
    mapping = make_map(parse_ast(radial([(1.0, 1), (1e-4, 3)])))
    points = np.array([[3.0, 5.0, -8.0], [2.0, -7.0, 6.0]])
    dx, dy = points[0] - 3.0, points[1]
    factor = 1.0 + 1e-4 * (dx**2 + dy**2)
    expected = np.stack([3.0 + dx * factor, dy * factor])
    assert np.allclose(mapping.forward(points), expected, rtol=1e-14)
    assert np.allclose(mapping.inverse(expected), points, rtol=0, atol=1e-11)


@pytest.mark.parametrize(
    ("text", "match"),
    [
        (block("WcsMap", {"Nin": 2, "Type": '"TPN"'}), "TPN"),
        (block("WcsMap", {"Nin": 2, "Type": '"SIN"', "PV2_1": 0.1}), "with parameters"),
        (block("WcsMap", {"Nin": 2, "Type": '"TAN"', "WcsAx1": 2, "WcsAx2": 1}), "other axes"),
    ],
)
def test_projections_that_are_not_known(text, match):
    with pytest.raises(UnsupportedMapping, match=match):
        make_map(parse_ast(text))


def test_a_sky_that_is_not_icrs_is_not_taken_for_it():
    text = frame_set([to_sky((10.0, 20.0))])
    frame = "   Frm2 =\n" + block("SkyFrame", {"System": '"FK5"'}) + "\n   Lnk2"
    with pytest.raises(UnsupportedMapping, match="the sky is in FK5"):
        AstProjection.parse(text.replace("   Lnk2", frame))


def test_positions_behind_the_plane_have_no_pixel():
    wcs = WCS(naxis=2)
    wcs.wcs.crval = [10.0, 20.0]
    projection = AstProjection.parse(frame_set([to_sky(wcs.wcs.crval)]))
    x, y = projection.to_pixel(np.array([10.0, 190.0, np.nan]), np.array([20.0, -20.0, 0.0]))
    assert np.isfinite(x).tolist() == [True, False, False]
    assert np.isfinite(y).tolist() == [True, False, False]


def test_each_kind_and_its_inverse():
    points = np.array([[1.0, -2.0, 0.3], [0.5, 4.0, -1.0]])
    window = {"Nin": 2, "Sft1": 1, "Scl1": 2, "Scl2": 3}
    matrix = {"Nin": 2, "M0": 1, "M1": 2, "M2": 0.5, "M3": -1}
    diagonal = {"Nin": 2, "M0": 2, "M1": 3, "Form": '"Diagonal"'}
    lengths = np.hypot(*points)
    texts = {
        "WinMap": (block("WinMap", window), np.add(points * [[2], [3]], [[1], [0]])),
        "ShiftMap": (block("ShiftMap", {"Nin": 2, "Sft2": 1}), np.add(points, [[0], [1]])),
        "ZoomMap": (block("ZoomMap", {"Nin": 2, "Zoom": 2}), 2 * points),
        "MatrixMap": (block("MatrixMap", matrix), np.array([[1, 2], [0.5, -1]]) @ points),
        "Diagonal": (block("MatrixMap", diagonal), points * [[2], [3]]),
        "UnitMap": (block("UnitMap", {"Nin": 2}), points),
        "inverted": (block("ZoomMap", {"Nin": 2, "Zoom": 2, "Invert": 1}), points / 2),
        "UnitNormMap": (block("UnitNormMap", {"Nin": 2}), np.vstack([points / lengths, lengths])),
    }
    for name, (text, expected) in texts.items():
        mapping = make_map(parse_ast(text))
        assert np.allclose(mapping.forward(points), expected), name
        assert np.allclose(mapping.inverse(mapping.forward(points)), points), name


def test_side_by_side_and_two_ways():
    one = block("ZoomMap", [("Nin", 1), ("Zoom", 2)])
    two = block("ZoomMap", [("Nin", 1), ("Zoom", 3)])
    both = make_map(parse_ast(compound(one, two, Series=0)))
    points = np.array([[1.0, 2.0], [3.0, 4.0]])
    assert both.forward(points).tolist() == [[2, 4], [9, 12]]
    assert np.allclose(both.inverse(both.forward(points)), points)
    there = make_map(parse_ast(block("TranMap", [("Nin", 1)], [("MapA", one), ("MapB", two)])))
    assert there.forward(points[:1]).tolist() == [[2, 4]]
    assert there.inverse(points[:1]) == pytest.approx(points[:1] / 3)


def test_the_flag_of_the_holder_wins():
    inner = block("ZoomMap", {"Nin": 2, "Zoom": 2, "Invert": 1})
    text = compound(inner, block("UnitMap", {"Nin": 2}))
    assert make_map(parse_ast(text)).forward(np.ones((2, 1))).tolist() == [[2], [2]]


@pytest.mark.parametrize(
    "text",
    [
        "no mapping at all",
        "Begin",
        "Begin FrameSet\n Nframe = 2",
        "Begin FrameSet\n Nframe\nEnd FrameSet",
        "\n".join(["Begin CmpMap", "MapA ="] * 500),
    ],
)
def test_damaged_text(text):
    with pytest.raises(ValueError, match="mapping"):
        parse_ast(text)


@pytest.mark.parametrize(
    "text",
    [
        frame_set([block("SlaMap", {"Nin": 2})]),
        frame_set([block("UnitMap", {"Nin": 2})]).replace("Lnk2 = 1", "Lnk2 = 2"),
        block("FrameSet", {"Nframe": 1, "Currnt": 1}),
        block("UnitMap", [("Nin", 2)]),
        frame_set([block("WcsMap", [("Nin", 2), ("Type", '"ZPN"')])]),
    ],
)
def test_what_is_not_known_is_said(text):
    with pytest.raises(UnsupportedMapping):
        AstProjection.parse(text)


def test_a_polynomial_without_an_answer_gives_nan():
    mapping = make_map(parse_ast(poly([[(1.0, 2, 0)], [(1.0, 0, 1)]])))
    found = mapping.inverse(np.array([[-1.0], [0.0]]))  # no real root
    assert np.isnan(found).any()


def test_many_points_are_mapped_as_one_is(monkeypatch):
    projection = AstProjection.parse(frame_set([to_sky((150.0, 2.0))]))
    x, y = np.linspace(-1, 1, 11), np.linspace(2, -2, 11)
    whole = projection.to_sky(x, y)
    monkeypatch.setattr("skyloom.images.afw.ast_maps._BLOCK", 4)
    assert np.array_equal(projection.to_sky(x, y), whole)
    assert np.allclose(projection.to_pixel(*whole), (x, y), rtol=0, atol=1e-12)
