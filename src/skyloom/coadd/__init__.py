"""Coadds: the white image of a tile."""

from skyloom.coadd.white import SkySigma, WhiteImage, row_strips, white_stack, white_strip

__all__ = ["SkySigma", "WhiteImage", "row_strips", "white_stack", "white_strip"]
