"""Pipelines: lists of stages that turn a user's inputs into a catalogue."""

from __future__ import annotations

__all__: list[str] = []
