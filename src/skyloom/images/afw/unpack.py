"""Unpacking of tiles in a process of its own, whose end by damaged data harms nobody else.

The library that unpacks HCOMPRESS_1 trusts its data: damaged ones make it write outside its
memory.  ``python -m skyloom.images.afw.unpack x0 x1 y0 y1`` reads an HDU from its standard input
and writes the pixels of that box as an array of numpy.
"""

from __future__ import annotations

import io
import subprocess
import sys
from typing import Any

import numpy as np
import numpy.typing as npt

from skyloom.geometry import Box
from skyloom.images.afw.hdus import Hdu

__all__ = ["unpacked_apart"]

_PATIENCE = 120.0  # s; 4096 x 4096 pixels take 2 s


def unpacked_apart(hdu: Hdu, data: bytes, box: Box) -> npt.NDArray[Any]:
    """Unpack a box of the tiles of an HDU in another process.

    Raises
    ------
    UnreadableFile
        If that process fails, or does not end.
    """
    edges = [str(edge) for edge in (box.x0, box.x1, box.y0, box.y1)]
    advice = "copy the file again, or unpack it first (funpack)"
    if not sys.executable:
        raise hdu.error("HCOMPRESS_1 is unpacked by another Python, and none is known", advice)
    try:
        done = subprocess.run(
            [sys.executable, "-m", "skyloom.images.afw.unpack", *edges],
            input=hdu.raw_header + data,
            capture_output=True,
            timeout=_PATIENCE,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise hdu.error(f"its tiles were not unpacked ({error})", advice) from error
    if done.returncode:
        reason = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        raise hdu.error(
            f"its tiles cannot be unpacked ({reason or 'the data are damaged'})", advice
        )
    try:
        return np.asarray(np.load(io.BytesIO(done.stdout), allow_pickle=False))
    except ValueError as error:
        raise hdu.error("unpacking its tiles gave no pixels", advice) from error


def _main(edges: list[str]) -> None:
    from astropy.io import fits  # noqa: PLC0415 - the parent process has no use for it

    x0, x1, y0, y1 = (int(edge) for edge in edges)
    table = fits.BinTableHDU.readfrom(io.BytesIO(sys.stdin.buffer.read()))
    pixels = np.asarray(fits.CompImageHDU(bintable=table).section[y0:y1, x0:x1])
    whole = io.BytesIO()
    np.save(whole, np.ascontiguousarray(pixels, pixels.dtype.newbyteorder("=")))
    sys.stdout.buffer.write(whole.getbuffer())


if __name__ == "__main__":
    _main(sys.argv[1:])
