"""Sections behind names that the user chooses, such as those of images."""

from __future__ import annotations

from typing import Annotated

import pytest
from pydantic import Field

from skyloom.config import (
    Config,
    PositiveFloat,
    Unit,
    build_config,
    list_settings,
    parse_yaml,
    render_reference,
    render_sample,
)
from skyloom.errors import ConfigError, UnknownKey, WrongType, WrongValue


class CameraConfig(Config):
    """One camera."""

    gain: Annotated[PositiveFloat | None, Unit("e-/ADU")] = None
    """Its gain."""


class NightConfig(Config):
    """A night."""

    cameras: dict[str, CameraConfig] = Field(default_factory=dict)
    """Cameras by name."""


def load(text: str) -> NightConfig:
    return build_config(NightConfig, parse_yaml(text, name="night.yaml"))


def test_names_are_free_and_sections_are_not() -> None:
    config = load("cameras: {a.fits: {gain: 2}, b: {}}")
    assert config.cameras == {"a.fits": CameraConfig(gain=2.0), "b": CameraConfig()}


@pytest.mark.parametrize(
    ("text", "kind", "words"),
    [
        ("cameras:\n  a.fits:\n    gian: 2", UnknownKey, "night.yaml:3: .* did you mean 'gain'"),
        (
            "cameras:\n  a.fits:\n    gain: 0",
            WrongValue,
            r":3: cameras.a.fits.gain = 0 must be > 0",
        ),
        ("cameras: {a: {gain: x}}", WrongType, r"cameras.a.gain = 'x' must be a number or null \["),
        ("cameras: {a: 3}", WrongType, "cameras.a = 3 must be a mapping of settings"),
        ("cameras: [3]", WrongType, "cameras = .* must be a mapping of names to settings"),
        ("cameras: {475: {}}", WrongType, "cameras: the name 475 must be text; put it in quotes"),
    ],
)
def test_messages_name_the_place(text: str, kind: type[ConfigError], words: str) -> None:
    with pytest.raises(kind, match=words):
        load(text)


def test_settings_behind_names_are_listed_and_explained() -> None:
    assert [s.key for s in list_settings(NightConfig)] == ["cameras", "cameras.*.gain"]
    sample = render_sample(NightConfig)
    assert load(sample) == NightConfig()
    assert "gain: null - Its gain. [number or null > 0, e-/ADU]" in sample
    page = render_reference(NightConfig, title="Settings")
    assert "## `cameras.*`" in page
    assert "| `gain` | number or null > 0 | `null` | e-/ADU | Its gain. |" in page
