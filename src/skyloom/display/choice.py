"""Which back end a name stands for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Final, Literal, TypeAlias

from skyloom.display.backends import Backend
from skyloom.display.ds9 import Ds9
from skyloom.display.mpl import Matplotlib
from skyloom.display.pyds9 import find_pyds9
from skyloom.display.samp import find_samp
from skyloom.display.several import WithPicture
from skyloom.display.virtual import Recorder
from skyloom.display.xpa import find_xpa, launch_ds9
from skyloom.errors import DisplayNotAvailable, WrongValue

__all__ = ["BACKENDS", "BackendName", "choose_backend"]

log = logging.getLogger(__name__)

BackendName: TypeAlias = Literal["auto", "xpa", "pyds9", "samp", "matplotlib", "virtual"]

BACKENDS: Final = ("auto", "xpa", "pyds9", "samp", "matplotlib", "virtual")
"""Names that `Display` takes."""


def choose_backend(name: str, *, has_out: bool, target: str, launch: bool) -> Backend:
    """Return a back end, with one that draws beside it if there is to be a file.

    See `skyloom.display.Display` for the parameters.

    Raises
    ------
    WrongValue
        If the name is not known.
    DisplayNotAvailable
        If a ds9 was asked for and none answers.
    """

    def ds9() -> Backend:
        return Ds9(launch_ds9(target) if launch else find_xpa(target))

    def best() -> Backend:
        try:
            return ds9()
        except DisplayNotAvailable as error:
            if launch:
                raise
            if has_out:
                return Matplotlib()
            log.warning("nothing is shown, commands are only kept: %s", error)
            return Ds9(Recorder())

    makers: Mapping[str, Callable[[], Backend]] = {
        "auto": best,
        "xpa": ds9,
        "pyds9": lambda: Ds9(find_pyds9(target)),
        "samp": lambda: Ds9(find_samp()),
        "matplotlib": Matplotlib,
        "virtual": lambda: Ds9(Recorder()),
    }
    if name not in makers:
        raise WrongValue(
            f"back end {name!r} is not known; choose one of {', '.join(BACKENDS)}", value=name
        )
    backend = makers[name]()
    if has_out and not isinstance(backend, Matplotlib):
        return WithPicture(backend, Matplotlib())
    return backend
