"""Coadds: the white image of a tile."""

from skyloom.coadd.white import WhiteImage, row_strips, white_stack, white_strip

__all__ = ["WhiteImage", "row_strips", "white_stack", "white_strip"]
