"""The display: frames of a back end, with images, mask planes and symbols in them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final, Self, final

import numpy as np
import numpy.typing as npt

from skyloom.display.backends import Backend
from skyloom.display.choice import BackendName, choose_backend
from skyloom.display.colors import IGNORE, PlaneColors, checked_color
from skyloom.display.ds9 import Ds9
from skyloom.display.marks import Mark, polyline, symbol_marks
from skyloom.display.mpl import Matplotlib
from skyloom.display.picture import as_picture
from skyloom.display.several import WithPicture
from skyloom.display.virtual import Recorder
from skyloom.errors import WrongValue

__all__ = ["Display"]

_TRANSPARENCY: Final = 60.0  # percent: planes are seen, and so is the image beneath


@final
class Display:
    """Shows images with their masks, and symbols on them.

    Parameters
    ----------
    backend : str or Backend
        ``xpa`` (a ds9 that runs), ``pyds9`` (the same), ``samp`` (a ds9 on the SAMP hub),
        ``matplotlib`` (PNG files), ``virtual`` (only keeps the commands), or ``auto``: XPA where a
        ds9 answers, else matplotlib where `out` is given, else virtual, with a warning.
    frame : int
        Frame of calls that name none.
    out : path, optional
        PNG file that matplotlib draws when the display is closed, whatever shows it meanwhile; with
        several frames, one file each (``name-1.png``).
    target : str
        XPA name of the ds9 (its ``-title``).
    launch : bool
        Start ds9 if none answers, and wait up to 10 s for it.

    Raises
    ------
    DisplayNotAvailable
        If the back end that was asked for is not there.
    WrongValue
        If it is not known.

    Examples
    --------
    >>> import numpy as np
    >>> display = Display("virtual")
    >>> display.mtv(np.eye(4))
    >>> display.dot("o", 1, 2, size=1.5, ctype="red")
    >>> display.recorder.regions
    ['circle(2,3,1.5) # color=red']
    """

    def __init__(
        self,
        backend: BackendName | Backend = "auto",
        *,
        frame: int = 1,
        out: Path | str | None = None,
        target: str = "ds9",
        launch: bool = False,
    ) -> None:
        self.out = None if out is None else Path(out)
        if isinstance(backend, str):
            backend = choose_backend(backend, has_out=out is not None, target=target, launch=launch)
        self.backend: Backend = backend
        self.frame = _checked_frame(frame)
        self.mask_transparency = _TRANSPARENCY  # percent
        self._colors = PlaneColors()
        self._pending: dict[int, list[Mark]] = {}
        self._depth = 0
        self._shown: set[int] = set()

    @property
    def recorder(self) -> Recorder:
        """The commands of a virtual display."""
        screen = self.backend.screen if isinstance(self.backend, WithPicture) else self.backend
        if isinstance(screen, Ds9) and isinstance(screen.transport, Recorder):
            return screen.transport
        raise WrongValue(f"{self!r} keeps no commands; make one with backend='virtual'")

    def mtv(
        self,
        data: Any,
        frame: int | None = None,
        title: str = "",
        wcs: Any = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        """Show an image in place of what the frame holds.

        Parameters
        ----------
        data : Image, Mask, MaskedImage, Exposure, FitsImage, Frame, or array of shape (ny, nx)
            Mask planes that have a pixel set are laid over the image, each in its colour.  A
            `skyloom.images.Frame` is shown in the pixels of its working region.
        frame : int, optional
            Frame; default that of the display.
        title : str
            Name of the picture.
        wcs : SkyWcs or astropy.wcs.WCS, optional
            Sky positions, for data that bring none; an astropy WCS counts from the first pixel of
            the array.
        settings : mapping, optional
            Applied in this order after the image: ``scale`` (``"zscale"``, ``"asinh minmax"``,
            ``"limits 0 100"``), ``zoom`` (a number, or ``"to fit"``), ``mask``
            (``"transparency 60"``); other keys go to ds9 as they are.

        Raises
        ------
        WrongType, WrongValue
            If the data cannot be shown, or an exposure and a WCS are given.
        """
        frame = self._frame(frame)
        picture = as_picture(data, wcs=wcs, title=title)
        colors = {name: self._colors[name] for name in picture.planes}
        self.flush()
        self.backend.show(
            frame,
            picture,
            colors={name: color for name, color in colors.items() if color != IGNORE},
            transparency=self.mask_transparency,
        )
        self._shown.add(frame)
        for key, value in (settings or {}).items():
            self.backend.setting(frame, key, value)

    def dot(  # noqa: PLR0917 - positional in the scripts that people have
        self,
        symbol: str,
        x: npt.ArrayLike,
        y: npt.ArrayLike,
        size: npt.ArrayLike = 2,
        ctype: str = "green",
        frame: int | None = None,
        silent: bool = True,
    ) -> None:
        """Draw a symbol at a position, or at each of several.

        Parameters
        ----------
        symbol : str
            ``+``, ``x``, ``*``, ``o``; ``@:Ixx,Ixy,Iyy`` is the ellipse of second moments [pix**2],
            in this order; anything else is text.
        x, y : float or array
            Parent coordinates [pix], 0-based.
        size : float or array
            Half the length of the strokes, or the radius of ``o`` [pix]; ellipses and text have
            none.
        ctype : str
            Colour.
        frame : int, optional
            Frame; default that of the display.
        silent : bool
            What has no place (NaN) is left out, and moments of no ellipse become an ``x``, both
            with a warning in the log; False: both raise.

        Raises
        ------
        WrongValue
            If the colour or the ellipse cannot be read; see `silent`.
        """
        color = checked_color(ctype)
        places = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (x, y, size)))
        marks: list[Mark] = []
        for at_x, at_y, radius in zip(*(p.ravel().tolist() for p in places), strict=True):
            marks += symbol_marks(str(symbol), at_x, at_y, size=radius, color=color, silent=silent)
        self._add(self._frame(frame), marks)

    def line(
        self,
        points: Iterable[tuple[float, float]],
        ctype: str = "green",
        frame: int | None = None,
    ) -> None:
        """Join points (x, y) in parent coordinates [pix] by lines."""
        color = checked_color(ctype)
        self._add(self._frame(frame), polyline(points, color=color))

    def erase(self, frame: int | None = None) -> None:
        """Remove all symbols of a frame, those of a buffer included; the image stays."""
        frame = self._frame(frame)
        self._pending.pop(frame, None)
        self.backend.erase(frame)

    def pan(self, x: float, y: float, frame: int | None = None) -> None:
        """Centre a frame on a position in parent coordinates [pix]."""
        self.backend.pan(self._frame(frame), float(x), float(y))

    def zoom(self, factor: float | str, frame: int | None = None) -> None:
        """Show a pixel as so many screen pixels, or the whole image (``"to fit"``)."""
        self.backend.setting(self._frame(frame), "zoom", factor)

    def scale(self, words: str, frame: int | None = None) -> None:
        """Change the grey levels: ``"zscale"``, ``"asinh minmax"``, ``"limits 0 100"``."""
        self.backend.setting(self._frame(frame), "scale", words)

    def set_mask_transparency(self, transparency: float, frame: int | None = None) -> None:
        """Set the transparency of all mask planes, of this frame and of images to come.

        Parameters
        ----------
        transparency : float
            0 (opaque) to 100 (invisible) [percent].
        frame : int, optional
            Frame; default that of the display.
        """
        percent = float(transparency)
        if not 0.0 <= percent <= 100.0:
            raise WrongValue(
                f"mask transparency {transparency!r} must lie within 0 (opaque) and 100 (invisible)"
            )
        self.mask_transparency = percent
        self.backend.setting(self._frame(frame), "mask", f"transparency {percent:g}")

    def set_mask_plane_color(self, plane: str, color: str) -> None:
        """Set the colour of a mask plane in images to come; ``ignore``: it is not drawn."""
        self._colors[plane] = color

    def mask_plane_color(self, plane: str) -> str:
        """Return the colour of a mask plane; one without gets the next free colour."""
        return self._colors[plane]

    @contextmanager
    def buffering(self) -> Iterator[Self]:
        """Collect symbols and send them in few messages at the end, an exception's too.

        Buffers may be nested; the outermost sends.
        """
        self._depth += 1
        try:
            yield self
        finally:
            self._depth -= 1
            if not self._depth:
                self.flush()

    def flush(self) -> None:
        """Send what was collected."""
        pending, self._pending = self._pending, {}
        for frame, marks in pending.items():
            self.backend.draw(frame, marks)

    def save(self, path: Path | str, frame: int | None = None) -> None:
        """Write the picture of a frame as a PNG file; ds9 writes one of its whole window.

        Raises
        ------
        WrongValue
            If the frame shows no image.
        DisplayRefused
            If ds9 cannot (not all of them can); `out` needs no ds9.
        Unwritable
            If the file cannot be written.
        """
        self.flush()
        self.backend.save(Path(path), self._frame(frame))

    def close(self) -> None:
        """Write `out`, if it was given, and let go of the back end; ds9 stays open."""
        self.flush()
        if self.out is not None:
            frames = sorted(self._shown)
            for frame in frames:
                name = self.out.name
                if len(frames) > 1:
                    name = f"{self.out.stem}-{frame}{self.out.suffix}"
                self.save(self.out.with_name(name), frame)
        self.backend.close()
        self._shown.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"<Display {self.backend.name}, frame {self.frame}>"

    def _repr_png_(self) -> bytes | None:
        """Show the frame in a notebook."""
        if isinstance(self.backend, Matplotlib) and self.frame in self._shown:
            self.flush()
            return self.backend.png(self.frame)
        return None

    def _add(self, frame: int, marks: list[Mark]) -> None:
        self._pending.setdefault(frame, []).extend(marks)
        if not self._depth:
            self.flush()

    def _frame(self, frame: int | None) -> int:
        return self.frame if frame is None else _checked_frame(frame)


def _checked_frame(frame: int) -> int:
    if isinstance(frame, bool) or int(frame) != frame or frame < 0:
        raise WrongValue(f"frame {frame!r} must be an integer, 0 or more", value=frame)
    return int(frame)
