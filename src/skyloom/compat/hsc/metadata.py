"""Old names for header cards: the ``PropertyList`` of ``getMetadata()`` and ``calexp_md``."""

from __future__ import annotations

from typing import Any, final

from skyloom.compat.hsc._adapter import Adapter
from skyloom.errors import BadHeader

__all__ = ["Metadata"]

_SHORT = 8  # letters of a keyword that needs no HIERARCH


@final
class Metadata(Adapter):
    """Cards of a header; an unknown name is an error, as it was."""

    def get(self, name: str) -> Any:
        """Use ``metadata[name]`` (``metadata.get(name)`` gives None where it is absent)."""
        if name not in self.new:
            raise BadHeader(
                f"the metadata have no {name!r}; ask exists({name!r}) first", keyword=name
            )
        return self.new[name]

    def getScalar(self, name: str) -> Any:
        """Use ``metadata[name]``."""
        return self.get(name)

    def getAsDouble(self, name: str) -> float:
        """Use ``float(metadata[name])``."""
        return float(self.get(name))

    def getDouble(self, name: str) -> float:
        """Use ``float(metadata[name])``."""
        return float(self.get(name))

    def getAsInt(self, name: str) -> int:
        """Use ``int(metadata[name])``."""
        return int(self.get(name))

    def getInt(self, name: str) -> int:
        """Use ``int(metadata[name])``."""
        return int(self.get(name))

    def getAsString(self, name: str) -> str:
        """Use ``str(metadata[name])``."""
        return str(self.get(name))

    def getString(self, name: str) -> str:
        """Use ``str(metadata[name])``."""
        return str(self.get(name))

    def exists(self, name: str) -> bool:
        """Use ``name in metadata``."""
        return name in self.new

    def names(self) -> list[str]:
        """Use ``list(metadata)``."""
        return list(dict.fromkeys(self.new))

    def paramNames(self) -> list[str]:
        """Use ``list(metadata)``."""
        return self.names()

    def set(self, name: str, value: Any, comment: str = "") -> None:
        """Use ``metadata[name] = value``."""
        key = name if len(name) <= _SHORT else f"HIERARCH {name}"
        self.new[key] = (value, comment) if comment else value

    def add(self, name: str, value: Any, comment: str = "") -> None:
        """Use ``metadata.append((name, value, comment))``."""
        key = name if len(name) <= _SHORT else f"HIERARCH {name}"
        self.new.append((key, value, comment), end=True)

    def remove(self, name: str) -> None:
        """Use ``del metadata[name]``."""
        del self.new[name]

    def toDict(self) -> dict[str, Any]:
        """Use ``dict(metadata)``."""
        return dict(self.new)

    def __contains__(self, name: object) -> bool:
        return name in self.new

    def __getitem__(self, name: str) -> Any:
        return self.get(name)

    def __len__(self) -> int:
        return len(self.new)

    def __iter__(self) -> Any:
        return iter(self.names())
