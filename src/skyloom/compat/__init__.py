"""Names and files of other systems, so that what was written for them runs here."""

from __future__ import annotations

__all__: list[str] = []
