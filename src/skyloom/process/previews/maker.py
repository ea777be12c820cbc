"""Processors that make the previews of a collection: of images, in colour, of spectra."""

from __future__ import annotations

import argparse
import os
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy.typing as npt
from typing_extensions import override

from skyloom.errors import BadTable, MissingFile, SkyloomError
from skyloom.process.data import DataSpec
from skyloom.process.errors import SkipThis
from skyloom.process.processor import FileProcessor

from .color import lupton_shades
from .encode import picture_bytes
from .hdus import NoImage
from .images import PictureStyle, draw_image
from .io import read_keywords, read_scaled
from .paths import PathScheme, standard_preview_path

__all__ = ["ColorPreviewMaker", "PreviewMaker"]

_FOLDER_MODE = 0o775
_FILE_MODE = 0o664


class PreviewMaker(FileProcessor):
    """Makes a preview of each data set that has none.

    Identifiers are access references: paths relative to ``inputs_dir``.  Pictures are those of
    FITS images, unless `get_preview_data` is overridden.

    Attributes
    ----------
    style : PictureStyle
        How pictures look.
    extension : int or str
        Number or EXTNAME of the HDU that is drawn; 0: the first with an image.
    preview_path : callable
        Where previews lie, see `standard_preview_path` and `split_preview_path`.
    skips_tables : bool
        Whether FITS files without an image are left out, and counted nowhere; otherwise they fail.
    products : mapping of str to str, optional
        The product table: where the preview of each access reference lies, relative to
        ``inputs_dir``.  Without one, the sources are the products, and `preview_path` holds.
    """

    style: PictureStyle = PictureStyle()
    extension: int | str = 0
    preview_path: PathScheme = staticmethod(standard_preview_path)
    skips_tables: bool = False
    products: Mapping[str, str] | None = None

    @staticmethod
    @override
    def add_options(parser: argparse.ArgumentParser) -> None:
        """Add ``--force``."""
        FileProcessor.add_options(parser)
        parser.add_argument(
            "--force", action="store_true", help="make previews that exist again, too"
        )

    @override
    def _create_auxiliaries(self, data: DataSpec) -> None:
        """Create the directory of the previews."""
        _make_folders(data.resdir / data.get_property("preview_dir"))

    @override
    def iter_identifiers(self) -> Iterable[Any]:
        """Yield the access references of the product table, or else of the sources."""
        if self.products is not None:
            return iter(self.products)
        # By name, not super(): classes with old names of hooks stand in between.
        return map(self.get_product_key, FileProcessor.iter_identifiers(self))

    @override
    def process(self, identifier: str) -> None:
        """Make the preview of a data set, unless it exists."""
        path = Path(self.get_preview_path(identifier))
        if path.exists() and not self.opts.force:
            return
        try:
            data = self.get_preview_data(identifier)
        except NoImage:
            if self.skips_tables:
                raise SkipThis from None
            raise
        _make_folders(path.parent)
        _write(path, data)

    @override
    def classify(self, identifier: str) -> str:
        """Return ``with`` or ``without`` a preview; with ``--force`` none counts."""
        if Path(self.get_preview_path(identifier)).exists() and not self.opts.force:
            return "with"
        if self.skips_tables and self._is_table(identifier):
            raise SkipThis
        return "without"

    def _is_table(self, accref: str) -> bool:
        try:
            read_keywords(self.get_source(accref), (), self.extension)
        except NoImage:
            return True
        except SkyloomError:
            pass
        return False

    def get_preview_path(self, accref: str) -> str:
        """Return the absolute path of a preview.

        Raises
        ------
        MissingFile
            If there is a product table and the reference is not in it.
        BadTable
            If the table says ``AUTO`` instead of a path.
        """
        if self.products is None:
            path = self.preview_path(accref, self.data)
        elif accref not in self.products:
            raise MissingFile(
                f"{accref}: is not in the product table; import the data first", accref=accref
            )
        else:
            path = self.products[accref]
        if path == "AUTO":
            raise BadTable(
                f"{accref}: the product table says AUTO instead of the path of a preview; give "
                "paths when importing",
                accref=accref,
            )
        return str(self.get_source(path))

    def get_preview_data(self, accref: str) -> bytes:
        """Return the bytes of a picture; by default that of the FITS image."""
        image = read_scaled(self.get_source(accref), dest_size=self.style.size, ext=self.extension)
        return draw_image(image, self.style)

    def get_source(self, accref: str) -> Path:
        """Return the absolute path of what an access reference names."""
        assert self.data.inputs_dir is not None  # set when the description is made
        return self.data.inputs_dir / accref


class ColorPreviewMaker(PreviewMaker):
    """Makes colour previews of images in three filters.

    Attributes
    ----------
    extensions : three int or str
        HDUs of red, green and blue.
    """

    extensions: Sequence[int | str] = (1, 2, 3)

    @override
    def get_preview_data(self, accref: str) -> bytes:
        shades = lupton_shades(*self.get_channels(accref))
        return picture_bytes(shades, self.style.picture_format)

    def get_channels(self, accref: str) -> Sequence[npt.NDArray[Any]]:
        """Return red, green and blue, scaled to the size of the picture.

        An override takes them from other files.
        """
        file = self.get_source(accref)
        return [read_scaled(file, dest_size=self.style.size, ext=e) for e in self.extensions]


def _make_folders(folder: Path) -> None:
    """Make a folder and those above it, which the group may write to."""
    if folder.is_dir():
        return
    _make_folders(folder.parent)
    try:
        folder.mkdir()
    except FileExistsError:  # another worker was faster
        return
    folder.chmod(_FOLDER_MODE)


def _write(path: Path, data: bytes) -> None:
    """Write a file under a temporary name, then rename it: no half of a picture is ever seen."""
    # Names in base64 may be as long as names can be: the temporary one does not contain it.
    handle, name = tempfile.mkstemp(prefix=".preview-", suffix=".tmp", dir=path.parent)
    temporary = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
        temporary.chmod(_FILE_MODE)
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
