"""Texts in header cards: apostrophes, slashes, ampersands, and what is longer than a card."""

from __future__ import annotations

import pytest
from astropy.io import fits
from hypothesis import example, given
from hypothesis import strategies as st

from skyloom.catalogs.io.fits_text import card_text, text_card
from skyloom.errors import BadTable

words = st.text(st.sampled_from("a'/& b'"), max_size=300) | st.text(
    st.characters(min_codepoint=32, max_codepoint=126), max_size=300
)


@given(text=words)
@example(text="a" * 66 + "''" + "b" * 70)  # a doubled apostrophe at the end of a card
@example(text="stars' / galaxies'")
@example(text="ends with &")
def test_any_text_comes_back(text):
    header = fits.Header()
    header.append(text_card("TDOC12", text, "a comment"), end=True)
    data = header.tostring()
    assert len(data) % 2880 == 0
    (card,) = fits.Header.fromstring(data).cards
    assert card_text(card) == text.strip()
    for start in range(0, len(card.image), 80):  # each card is a text by itself
        line = card.image[start : start + 80]
        inside = line[11 : line.rstrip().rindex("'")] if "comment" not in line else ""
        assert inside.replace("''", "").count("'") == 0


@given(text=st.text(st.sampled_from("abc d-e"), max_size=200))
def test_plain_text_is_read_alike_by_astropy(text):
    card = fits.Card.fromstring(text_card("TDOC1", text).image)
    assert card.value == text.rstrip()
    assert card.keyword == "TDOC1"


def test_what_a_header_cannot_hold():
    for text in ("é", "a\tb", "a\nb"):
        with pytest.raises(BadTable, match="beyond printable ASCII"):
            text_card("TDOC1", text)
    assert card_text(None) == card_text(fits.Card("N", 3)) == ""
    assert text_card("TFORM1", "1D", "format of field").image.rstrip() == (
        "TFORM1  = '1D      '           / format of field"
    )
