"""Previews: small pictures of images, plates and spectra, and a page that shows them all."""

from .blocks import block_mean_rows, scale_factor
from .collection import SHEET_KEYWORDS, iter_sheet_entries, write_contact_sheet
from .color import lupton_shades
from .encode import FORMATS, color_jpeg_from_arrays, jpeg_from_array, picture_bytes
from .images import PictureStyle, draw_image
from .io import iter_scaled_rows, read_keywords, read_scaled
from .maker import ColorPreviewMaker, PreviewMaker
from .paths import flat_name, split_preview_path, standard_preview_path
from .plates import plate_area
from .selection import select_data
from .sheet import SheetEntry, Thumbnail, contact_sheet
from .spectra import draw_spectrum
from .spectral import SPECTRUM_READERS, SpectralPreviewMaker
from .stretch import STRETCHES, gamma_shades, stretched

__all__ = [
    "FORMATS",
    "SHEET_KEYWORDS",
    "SPECTRUM_READERS",
    "STRETCHES",
    "ColorPreviewMaker",
    "PictureStyle",
    "PreviewMaker",
    "SheetEntry",
    "SpectralPreviewMaker",
    "Thumbnail",
    "block_mean_rows",
    "color_jpeg_from_arrays",
    "contact_sheet",
    "draw_image",
    "draw_spectrum",
    "flat_name",
    "gamma_shades",
    "iter_scaled_rows",
    "iter_sheet_entries",
    "jpeg_from_array",
    "lupton_shades",
    "picture_bytes",
    "plate_area",
    "read_keywords",
    "read_scaled",
    "scale_factor",
    "select_data",
    "split_preview_path",
    "standard_preview_path",
    "stretched",
    "write_contact_sheet",
]
