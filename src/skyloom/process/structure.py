"""What the mandatory keywords say about the size of an HDU."""

from __future__ import annotations

from astropy.io import fits

from .cards import CARD, parse_header
from .errors import FITSError

__all__ = ["SCALING_KEYS", "data_size", "describing_cards", "naxis_keys", "structure"]

SCALING_KEYS = frozenset({"BZERO", "BSCALE", "BLANK", "PCOUNT", "GCOUNT", "GROUPS"})
"""Keywords that decide what the data bytes mean, besides BITPIX and the axes."""

_DESCRIBING = (b"SIMPLE  ", b"BITPIX  ", b"NAXIS", b"PCOUNT  ", b"GCOUNT  ", b"GROUPS  ")
_BITPIX = (8, 16, 32, 64, -32, -64)


def naxis_keys(header: fits.Header) -> list[str]:
    """Return the names NAXIS1, NAXIS2, ... that a header has, in order."""
    found = [
        (int(key[5:]), key)
        for key in header
        if key.startswith("NAXIS") and key[5:].isdigit() and not key[5:].startswith("0")
    ]
    return list(dict.fromkeys(key for _, key in sorted(found)))


def structure(header: fits.Header, *, where: str = "header") -> dict[str, int]:
    """Return BITPIX, NAXIS and its axes, checked.

    Raises
    ------
    FITSError
        If a mandatory keyword is missing or has an impossible value.
    """
    found = {"BITPIX": _integer(header, "BITPIX", where), "NAXIS": _integer(header, "NAXIS", where)}
    if found["BITPIX"] not in _BITPIX:
        raise FITSError(f"{where}: BITPIX = {found['BITPIX']} must be one of {_BITPIX}")
    if not 0 <= found["NAXIS"] <= 999:
        raise FITSError(f"{where}: NAXIS = {found['NAXIS']} must be between 0 and 999")
    for n in range(1, found["NAXIS"] + 1):
        found[f"NAXIS{n}"] = _integer(header, f"NAXIS{n}", where)
        if found[f"NAXIS{n}"] < 0:
            raise FITSError(f"{where}: NAXIS{n} = {found[f'NAXIS{n}']} must be >= 0")
    return found


def _integer(header: fits.Header, key: str, where: str) -> int:
    try:
        value = header[key]
    except KeyError:
        raise FITSError(
            f"{where}: mandatory keyword {key} is missing; this is not standard FITS", keyword=key
        ) from None
    except fits.VerifyError as error:
        raise FITSError(f"{where}: {key} cannot be read ({error})", keyword=key) from None
    if isinstance(value, bool) or not isinstance(value, int):
        raise FITSError(f"{where}: {key} = {value!r} must be an integer", keyword=key)
    return value


def describing_cards(raw: bytes) -> fits.Header:
    """Return only those cards of a header that `data_size` looks at; parsing all takes longer."""
    cards = (raw[i : i + CARD] for i in range(0, len(raw), CARD))
    return parse_header(b"".join(card for card in cards if card.startswith(_DESCRIBING)))


def data_size(header: fits.Header, *, where: str = "header") -> int:
    """Return the size of the data that follow a header, without padding [byte].

    Raises
    ------
    FITSError
        If a mandatory keyword is missing or has an impossible value.
    """
    found = structure(header, where=where)
    if found["NAXIS"] == 0:
        return 0
    groups = header.get("GROUPS") is True and found.get("NAXIS1") == 0
    product = 1
    for n in range(2 if groups else 1, found["NAXIS"] + 1):
        product *= found[f"NAXIS{n}"]
    pcount = _integer(header, "PCOUNT", where) if "PCOUNT" in header else 0
    gcount = _integer(header, "GCOUNT", where) if "GCOUNT" in header else 1
    if pcount < 0 or gcount < 0:
        raise FITSError(f"{where}: PCOUNT = {pcount} and GCOUNT = {gcount} must be >= 0")
    return abs(found["BITPIX"]) // 8 * gcount * (pcount + product)
