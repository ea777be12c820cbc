"""Keys: what a product depends on, in one digest."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from skyloom.butler import DataId

from .settings import key_values
from .sources import code_digest
from .stage import Stage

__all__ = ["FLOW_VERSION", "StageKey", "canonical", "digest_text"]

FLOW_VERSION = 1
"""Raised when the flow itself changes what stages receive or how outputs are written."""


def canonical(value: Any) -> str:
    """Return plain data as text: equal data, equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def digest_text(text: str) -> str:
    """Return the SHA-256 of a text as hexadecimal."""
    return hashlib.sha256(text.encode()).hexdigest()


@dataclass(frozen=True, slots=True, kw_only=True)
class StageKey:
    """The part of a key that all units of a stage share."""

    stage: str
    code: str
    config: Mapping[str, Any]
    shape: str

    @classmethod
    def of(cls, stage: Stage[Any, Any, Any]) -> StageKey:
        """Collect it: code, declared configuration, what is read and written."""
        code = [FLOW_VERSION, stage.version, code_digest(type(stage).__module__)]
        fields = {**stage.input_types, **stage.output_types}
        return cls(
            stage=stage.name,
            code=digest_text(canonical(code)),
            config=key_values(stage.full_config, stage.config_keys, owner=stage.name),
            shape=digest_text(canonical({name: repr(d) for name, d in fields.items()})),
        )

    def unit(self, unit: DataId, inputs: Mapping[str, str]) -> str:
        """Return the key of one unit, given a digest for each input field."""
        # Inputs stand in the order of the fields; the unit in that of its dimensions.
        parts = [self.stage, self.code, self.shape, list(unit.items()), list(inputs.items())]
        return digest_text(canonical([*parts, self.config]))

    def reasons(self, old: Mapping[str, Any], inputs: Mapping[str, str]) -> list[str]:
        """Say what differs from the parts that an earlier unit was made of."""
        if not old:
            return ["not made before"]
        found = []
        if old.get("code") != self.code or old.get("shape") != self.shape:
            found.append("the code changed")
        before = old.get("config", {})
        keys = dict.fromkeys([*before, *self.config])
        found += [f"{key} changed" for key in keys if before.get(key) != self.config.get(key)]
        given = old.get("inputs", {})
        names = dict.fromkeys([*given, *inputs])
        found += [f"input {key} changed" for key in names if given.get(key) != inputs.get(key)]
        return found
