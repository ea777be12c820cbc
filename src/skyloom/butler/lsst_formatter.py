"""How ``lsst-daf-butler`` reads our files; it imports this module by name.  See `bridge`."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from .bridge import storage_class
from .formats import FORMATS, read_dataset

if TYPE_CHECKING:
    Base: Any = object
else:
    try:
        from lsst.daf.butler import FormatterV2 as Base
    except ImportError:  # the extra is not installed: nobody will ask for it
        Base = object

__all__ = ["SkyloomFormatter"]

_BY_CLASS = {storage_class(name): name for name in FORMATS}


class SkyloomFormatter(Base):  # type: ignore[misc]
    """Reads a file in the format that its storage class names."""

    can_read_from_local_file: ClassVar[bool] = True

    def read_from_local_file(
        self,
        path: str,
        component: str | None = None,  # noqa: ARG002 - their signature
        expected_size: int = -1,  # noqa: ARG002
    ) -> Any:
        """Return the object of a file."""
        format_ = _BY_CLASS[self.file_descriptor.storageClass.name]
        return read_dataset(Path(path), format_)
