"""Templates: two spellings, one meaning; every path leads back to its data ID."""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from skyloom.butler import DataId, Dimension, Layout
from skyloom.butler.layout_file import known_layouts
from skyloom.butler.templates import pieces
from skyloom.errors import InputError

ROOT = Path("/data/root")
LAYOUTS = {name: Layout.load(name) for name in known_layouts()}
TYPES = [
    (layout, name)
    for layout, table in LAYOUTS.items()
    for name, kind in table.types.items()
    if kind.template is not None and kind.dimensions
]

words = st.text(string.ascii_letters + string.digits + "-_+", min_size=1, max_size=12)


def values_of(dimension: Dimension) -> st.SearchStrategy[Any]:
    if dimension.kind == "int":
        return st.integers(0, 10**8)
    if dimension.kind == "path":
        return st.lists(words, min_size=1, max_size=4).map("/".join)
    if dimension.pattern is not None:
        pattern = dimension.pattern.replace(r"\d", "[0-9]").replace(r"\w", "A-Za-z0-9_")
        found = st.from_regex(pattern, fullmatch=True).filter(lambda t: len(t) < 40)
    else:
        found = words
    return found.filter(lambda t: not t.startswith(".") and ".." not in t and "_o" not in t)


@given(data=st.data(), which=st.sampled_from(TYPES))
def test_paths_lead_back_to_their_data_ids(data: st.DataObject, which: tuple[str, str]) -> None:
    layout, name = LAYOUTS[which[0]], which[1]
    values = {
        key: data.draw(values_of(layout.dimensions[key]).filter(_is_name(layout.dimensions[key])))
        for key in layout[name].dimensions
    }
    path = layout.path(name, values, root=ROOT)
    assert layout.parse(name, path, root=ROOT) == DataId(values)
    assert path.is_relative_to(ROOT)


def _is_name(dimension: Dimension) -> Any:
    def fits(value: Any) -> bool:
        try:
            dimension.check(value)
        except ValueError:
            return False
        return True

    return fits


@pytest.mark.parametrize(
    ("percent", "brace"),
    [
        ("%(visit)07d-%(ccd)03d.fits", "{visit:07d}-{ccd:03d}.fits"),
        ("%(filter)s/%(seeing).2f.txt", "{filter}/{seeing:.2f}.txt"),
        ("%(brick).3s/%(brick)s", "{brick:[:3]}/{brick}"),
        ("%(brick).3s/%(brick)s", "{brick:.3}/{brick}"),
        ("100%%/{%(visit)d}", "100%/{{{visit:d}}}"),
        ("plain.txt", "plain.txt"),
    ],
)
def test_both_spellings_mean_the_same(percent: str, brace: str) -> None:
    values = {"visit": 12, "ccd": 3, "filter": "HSC-I", "seeing": 0.654, "brick": "1102p240"}

    def filled(template: str) -> str:
        return "".join(
            p.literal + (p.text(values[p.key]) if p.key else "") for p in pieces(template)
        )

    assert filled(percent) == filled(brace)
    assert filled(percent) == (percent % values)


@pytest.mark.parametrize(
    "template", ["%(a)x", "%(a)", "{a", "{a!r}", "{a.b}", "{0}", "%(a)s%", "{}x{"]
)
def test_what_is_no_template_is_refused(template: str) -> None:
    with pytest.raises(InputError, match="template"):
        pieces(template)


def test_formats_tell_the_types_of_keys() -> None:
    kinds = {p.key: p.kind for p in pieces("%(a)05d/%(b)s/%(c).1f/{d}")}
    assert kinds == {"a": "int", "b": "str", "c": "float", "": "str"}
