"""How ``lsst-daf-butler`` reads our files; it imports this module by name.  See `bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .bridge_storage import BY_CLASS, component_of
from .formats import read_dataset

if TYPE_CHECKING:
    Base: Any = object
else:
    try:
        from lsst.daf.butler import FormatterV2 as Base
    except ImportError:  # the extra is not installed: nobody will ask for it
        Base = object

__all__ = ["SkyloomFormatter"]


class SkyloomFormatter(Base):  # type: ignore[misc]
    """Reads a file, or a component of it, in the format that its storage class names."""

    can_read_from_local_file: ClassVar[bool] = True
    unsupported_parameters: ClassVar[frozenset[str]] = frozenset()  # it knows all of its class

    def read_from_local_file(
        self,
        path: str,
        component: str | None = None,
        expected_size: int = -1,  # noqa: ARG002 - their signature
    ) -> Any:
        """Return the object of a file; ``bbox`` is a `Box` in parent coordinates."""
        description = self.file_descriptor
        format_ = BY_CLASS[description.storageClass.name]
        part = "" if component is None else component_of(component)
        options = dict(description.parameters or {})
        if options and not part:
            part = "sub"
        return read_dataset(Path(path), format_, part, **options)
