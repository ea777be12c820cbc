"""The verbs of the tile pipeline; nothing heavy is imported, so that help is quick."""

from __future__ import annotations

from typing import Final, Literal, TypeAlias

__all__ = ["VERBS", "Verb"]

Verb: TypeAlias = Literal[
    "run",
    "run-epsf",
    "build-patches",
    "build-patch-inputs",
    "run-patches",
    "merge",
    "compute-zp",
]

VERBS: Final[dict[Verb, str]] = {
    "run": "Images and a catalogue in, a calibrated catalogue out: all steps.",
    "run-epsf": "Load the images and build the PSF of every band and cell.",
    "build-patches": "Load the images and divide the tile into patches.",
    "build-patch-inputs": "Cut out the pixels and sources of every patch.",
    "run-patches": "Fit the patches.",
    "merge": "Join the patches into the catalogue, without magnitudes.",
    "compute-zp": "Measure zero points and write magnitudes into the catalogue.",
}
"""What each verb does, in one sentence."""
