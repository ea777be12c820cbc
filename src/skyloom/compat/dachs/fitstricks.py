"""Old names for header templates."""

# ruff: noqa: N802 - old names

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from astropy.io import fits

from skyloom import process
from skyloom.process import MINIMAL_IMAGE_TEMPLATE, WFPDB_TEMPLATE, Template

__all__ = [
    "MINIMAL_IMAGE_TEMPLATE",
    "WFPDB_TEMPLATE",
    "addHistoryCard",
    "copyFields",
    "getTemplateNameFromHistory",
    "makeHeaderFromTemplate",
    "registerTemplate",
    "updateTemplatedHeader",
]


def makeHeaderFromTemplate(
    template: str | Template, originalHeader: fits.Header | None = None, **values: Any
) -> fits.Header:
    """See `skyloom.process.make_header_from_template`."""
    return process.make_header_from_template(template, originalHeader, **values)


def registerTemplate(templateName: str, template: Template) -> None:
    """See `skyloom.process.register_template`."""
    process.register_template(templateName, template)


def updateTemplatedHeader(
    hdr: fits.Header, templateName: str | None = None, **kwargs: Any
) -> fits.Header:
    """See `skyloom.process.update_templated_header`."""
    return process.update_templated_header(hdr, templateName, **kwargs)


def getTemplateNameFromHistory(hdr: fits.Header) -> str:
    """See `skyloom.process.get_template_name_from_history`."""
    return process.get_template_name_from_history(hdr)


def addHistoryCard(hdr: fits.Header, historyEntry: str, recognizer: str | None = None) -> None:
    """See `skyloom.process.add_history_card`."""
    process.add_history_card(hdr, historyEntry, recognizer)


def copyFields(
    hdr: fits.Header, cardList: Iterable[fits.Card], ignoredHeaders: Iterable[str] | None = None
) -> None:
    """See `skyloom.process.copy_fields`."""
    if ignoredHeaders is None:
        process.copy_fields(hdr, cardList)
    else:
        process.copy_fields(hdr, cardList, ignoredHeaders)
