"""Headers from templates."""

from __future__ import annotations

import datetime

import pytest
from astropy.io import fits

from skyloom.process import (
    MINIMAL_IMAGE_TEMPLATE,
    WFPDB_TEMPLATE,
    FITSError,
    NotFoundError,
    add_history_card,
    copy_fields,
    get_template_name_from_history,
    make_header_from_template,
    register_template,
    ruler,
    update_templated_header,
)

PLATE = [
    fits.Card("SIMPLE", True),
    ruler("Plate"),
    ("TMS-ORIG", "start as recorded"),
    ("PLATENUM", "number of the plate"),
    ruler("Other header cards"),
]
register_template("plate", PLATE)
SIGNATURE = "GAVO DaCHS template used: plate"


def test_without_an_original():
    header = make_header_from_template("plate", PLATENUM=12, TMS_ORIG=None)
    assert [card.image.rstrip() for card in header.cards] == [
        "SIMPLE  =                    T",
        "        -------------------- Plate",
        "PLATENUM=                   12 / number of the plate",
        "        -------------------- Other header cards",
        f"HISTORY {SIGNATURE}",
    ]


def test_left_over_values_stand_at_the_end():
    with pytest.warns(UserWarning, match="stand at the end: SCAN-ID$"):
        header = make_header_from_template("plate", SCAN_ID="x", TMS_ORIG="22:01", NOTHING=None)
    assert list(header) == ["SIMPLE", "", "TMS-ORIG", "", "SCAN-ID", "HISTORY"]


def test_with_an_original():
    old = fits.Header(
        [("SIMPLE", True), ("PLATENUM", 5), ("EXPOSURE", 3), ("OBJECT", "M 31", "old")]
    )
    old.add_history("scanned")
    old.add_history(SIGNATURE)
    old.add_comment("a comment")
    header = make_header_from_template("plate", old, TMS_ORIG="22:01", PLATENUM=6, UNKNOWN=7)
    assert list(header) == ["SIMPLE", "", "TMS-ORIG", "PLATENUM", "", "EXPOSURE", "OBJECT",
                            "HISTORY", "", "COMMENT", "HISTORY"]  # fmt: skip
    assert header["PLATENUM"] == 6
    assert header.comments["OBJECT"] == "old"
    assert list(header["HISTORY"]) == ["scanned", SIGNATURE]


def test_two_calls_do_not_influence_each_other():
    first = make_header_from_template("plate", PLATENUM=1)
    first[""] = "changed"
    first["SIMPLE"] = False
    second = make_header_from_template("plate", PLATENUM=2)
    assert second["SIMPLE"] is True
    assert second[""][0] == "-------------------- Plate"
    assert (first["PLATENUM"], second["PLATENUM"]) == (1, 2)


def test_names():
    assert make_header_from_template(PLATE, A=None)["HISTORY"][0] == SIGNATURE
    with pytest.warns(UserWarning, match="not registered"):
        header = make_header_from_template([("A", "a")], A=1)
    assert get_template_name_from_history(header) == "anonymous"
    with pytest.raises(NotFoundError, match="no template 'plait'; there are minimal, plate, wfpdb"):
        make_header_from_template("plait")
    with pytest.raises(NotFoundError, match="names no template"):
        get_template_name_from_history(fits.Header())
    with pytest.raises(ValueError, match="template plate exists"):
        register_template("plate", [])
    with pytest.raises(ValueError, match="must have 1 to 46 characters"):
        register_template("x" * 47, [])


@pytest.mark.parametrize("value", ["Müller", float("nan"), [1, 2]])
def test_a_failing_card_names_its_keyword(value):
    with pytest.raises(FITSError, match="card TMS-ORIG cannot be made of"):
        make_header_from_template("plate", TMS_ORIG=value)


def test_update():
    header = make_header_from_template("plate", PLATENUM=1, TMS_ORIG="a")
    header["EXTRA"] = 5
    header.add_comment("kept")
    new = update_templated_header(header, PLATENUM=2)
    assert (new["PLATENUM"], new["TMS-ORIG"], new["EXTRA"]) == (2, "a", 5)
    assert list(new["HISTORY"]) == [SIGNATURE]
    assert header["PLATENUM"] == 1
    assert update_templated_header(new) == new
    assert "TMS-ORIG" not in update_templated_header(new, TMS_ORIG=None)
    minimal = update_templated_header(new, "minimal", BITPIX=16)
    assert get_template_name_from_history(minimal) == "minimal"


def test_history_cards():
    header = fits.Header()
    today = datetime.datetime.now(tz=datetime.UTC).date().isoformat()
    add_history_card(header, "calibrated with A", "calibrated")
    add_history_card(header, "flat-fielded")
    add_history_card(header, "calibrated with B", "calibrated")
    assert list(header["HISTORY"]) == [f"{today} calibrated with B", f"{today} flat-fielded"]
    add_history_card(header, "x" * 61)
    with pytest.raises(ValueError, match="62 characters, 61 fit"):
        add_history_card(header, "x" * 62)


def test_copying_fields():
    header = fits.Header([("NAXIS", 2), ("CRVAL1", 0.0, "old"), ("COMMENT", "mine")])
    solved = fits.Header([("NAXIS", 0), ("CRVAL1", 5.5, "new"), ("DATE", "x"), ("CD1_1", 1e-4)])
    solved.add_comment("solver")
    solved.add_history("solved")
    copy_fields(header, solved)
    assert (header["NAXIS"], header["CRVAL1"], header["CD1_1"]) == (2, 5.5, 1e-4)
    assert header.comments["CRVAL1"] == "new"
    assert "DATE" not in header
    assert list(header["COMMENT"]) == ["mine", "solver"]
    assert list(header["HISTORY"]) == ["solved"]
    copy_fields(header, solved.cards, ignored={"crval1"})
    assert header["DATE"] == "x"


def test_wfpdb():
    keywords = [item[0] for item in WFPDB_TEMPLATE if isinstance(item, tuple)]
    assert len(set(keywords)) == len(keywords)
    assert keywords.count("JD-AVG") == 1
    assert {"EQUINOX", "DATEOR3", "YR-AVG2", "DEC_DE1", "A_3_0", "AP_0_2", "LICENCE"} <= {*keywords}
    assert not {"EQUINIOX", "A_3_1", "BP_2_1"} & {*keywords}
    assert keywords.index("TME-OR3") < keywords.index("OBJECT1") < keywords.index("OBSERVAT")
    rulers = [
        str(i.value)[21:] for i in WFPDB_TEMPLATE if isinstance(i, fits.Card) and not i.keyword
    ]
    assert rulers == [
        "Original data of observation", "Photographic plate", "Derived observation data",
        "Scan details", "Data files", "Spatial WCS", "History/Legal", "Other header cards",
    ]  # fmt: skip
    first = [i.keyword if isinstance(i, fits.Card) else i[0] for i in MINIMAL_IMAGE_TEMPLATE]
    assert first == ["SIMPLE", "EXTEND", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "BZERO", "BSCALE"]
    full = make_header_from_template("wfpdb", **{k.replace("-", "_"): 1 for k in keywords})
    assert all(len(card.image) == 80 for card in full.cards)
    for keyword, comment in [i for i in WFPDB_TEMPLATE if isinstance(i, tuple)]:
        assert full.comments[keyword] == comment
