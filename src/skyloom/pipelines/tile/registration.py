"""How far the bands lie apart: a smooth field of offsets, measured on bright sources.

A bright source tells in each band how far its image lies from the joint position.  What neighbours
agree on is registration, and moves the images of all sources, faint ones too; what one star has
for itself is its proper motion and stays its own.  The field is bilinear between the nodes of the
sky field.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from astropy.table import Table
from scipy.linalg import cho_solve_banded, cholesky_banded
from typing_extensions import override

from skyloom._types import Bools, Floats
from skyloom.flow import Dataset, Stage
from skyloom.geometry import epsf_cells

from .config import TileConfig
from .mesh import bilinear, cells, ties

__all__ = ["OFFSET_SNR", "Registration", "band_offsets", "no_offsets", "offsets_at"]

log = logging.getLogger(__name__)

OFFSET_SNR = 50.0  # in a band: fainter sources do not tell the band's offset
SCATTER = 0.05  # pix: what proper motion and the PSF add to the error of one source
ROUGHNESS = 0.03  # pix: typical difference between neighbouring nodes
PRIOR = 1.0  # pix: of the whole field about zero
CLIP = 4.0  # of the scatter: moving stars and blends do not count
ROUNDS = 5
FEWEST = 3  # sources in a band
FAR = 0.1  # pix: bands that lie farther apart should be registered anew


def band_offsets(
    scene: Table, bands: Sequence[str], shape: tuple[int, int], before: Floats
) -> Floats:
    """Return the offsets of all bands after a pass.

    Parameters
    ----------
    scene : Table
        State of all sources: ``x, y`` [pix], per band ``flux_, variance_``, and ``dx_, dy_``, the
        offset of the source beyond ``before``.
    bands : sequence of str
    shape : tuple of int
        Working frame (ny, nx).
    before : ndarray, shape (B, 2, gy + 1, gx + 1)
        Offsets [pix] that the pass started from.

    Returns
    -------
    ndarray, shape (B, 2, gy + 1, gx + 1)
        Mean over the bands that were measured, each alike, zero: a weight by numbers of sources
        would move all positions when one of them comes to count.
    """
    after = before.copy()
    measured = np.zeros(len(bands))
    if "x" not in scene.colnames or len(scene) == 0:  # bands by themselves have own positions
        return after
    x, y = (np.asarray(scene[name], dtype=np.float64) for name in ("x", "y"))
    weights = bilinear(x, y, shape)
    for b, band in enumerate(bands):
        moved = np.stack([np.asarray(scene[f"{axis}_{band}"]) for axis in ("dx", "dy")], axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            snr = np.asarray(scene[f"flux_{band}"]) / np.sqrt(np.asarray(scene[f"variance_{band}"]))
        use = (snr > OFFSET_SNR) & (moved != 0.0).any(axis=1) & np.asarray(scene["converged"])
        if use.sum() < FEWEST:
            continue
        measured[b] = 1.0
        after[b] += _smooth(weights[use], moved[use], before.shape[2:])
    if measured.any():
        after -= np.tensordot(measured / measured.sum(), after, axes=1)
    return after


def _smooth(weights: Floats, moved: Floats, nodes: tuple[int, int]) -> Floats:
    """Return the field (2, ny, nx) of offsets (m, 2) at bilinear weights (m, ny nx)."""
    keep: Bools = np.ones(len(moved), np.bool_)
    tied = ties(nodes) * ROUGHNESS**-2.0
    tied[0] += PRIOR**-2.0 / tied.shape[1]
    field = np.zeros((tied.shape[1], 2))
    for _ in range(ROUNDS):
        seen = weights[keep]
        normal = seen.T @ seen * SCATTER**-2.0
        banded = np.stack([np.r_[np.diagonal(normal, -k), np.zeros(k)] for k in range(len(tied))])
        factor = cholesky_banded(banded + tied, lower=True), True
        field = cho_solve_banded(factor, seen.T @ moved[keep] * SCATTER**-2.0)
        left = np.abs(moved - weights @ field).max(axis=1)
        scatter = max(SCATTER, 1.4826 * float(np.median(left[keep])))
        again = left < CLIP * scatter
        if (again == keep).all():
            break
        keep = again
    return np.asarray(field.T.reshape(2, *nodes))


def no_offsets(n_bands: int, shape: tuple[int, int]) -> Floats:
    """Return the field of bands that lie on each other."""
    gy, gx = cells(shape)
    return np.zeros((n_bands, 2, gy + 1, gx + 1))


def offsets_at(field: Floats, x: Floats, y: Floats, shape: tuple[int, int]) -> Floats:
    """Return the offsets [pix] of all bands at positions, shape (n, B, 2)."""
    weights = bilinear(x, y, shape)
    flat = field.reshape(*field.shape[:2], -1)
    return np.asarray(np.einsum("nk,bck->nbc", weights, flat))


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationInputs:
    """All sources after the last pass, and the offsets that it used."""

    scene: Annotated[Table, Dataset("scene")]
    sky: Annotated[dict[str, Any], Dataset("sky_field")]
    frames: Annotated[dict[str, Any], Dataset("frames")]


@dataclass(frozen=True, slots=True, kw_only=True)
class RegistrationOutputs:
    """Offsets of each band in each cell."""

    table: Annotated[Table, Dataset("registration")]


class Registration(Stage[TileConfig, RegistrationInputs, RegistrationOutputs]):
    """Tabulate how far the bands lie apart."""

    name = "registration"
    dimensions = ("pass",)
    config_keys = ("epsf.epsf_ngrid",)
    light = True

    @override
    def run(self, inputs: RegistrationInputs) -> RegistrationOutputs:
        """Return the table; bands that lie far apart are warned about."""
        bands = [str(band) for band in inputs.frames["bands"]]
        shape = (int(inputs.frames["shape"][0]), int(inputs.frames["shape"][1]))
        table = offset_table(
            inputs.scene, bands, inputs.sky["shift"], shape, n_cells=self.config.epsf.epsf_ngrid
        )
        for band in bands:
            rows = table[table["band"] == band] if len(table) else table
            far = np.hypot(rows["dx"], rows["dy"]) if len(rows) else np.zeros(0)
            if len(far) and far.max() > FAR:
                log.warning(
                    "%s: the image lies up to %.2f pix off the mean of all bands; fits follow it, "
                    "but white stack and PSF stars do not: register it anew if you can (see %s)",
                    band, far.max(), "registration.csv",
                )  # fmt: skip
        return RegistrationOutputs(table=table)


def offset_table(
    scene: Table,
    bands: Sequence[str],
    field: Floats,
    shape: tuple[int, int],
    *,
    n_cells: int,
) -> Table:
    """Return the offsets of each band at the middle of each PSF cell.

    Parameters
    ----------
    scene, bands, shape
        As of `band_offsets`.
    field : ndarray, shape (B, 2, gy + 1, gx + 1)
    n_cells : int
        PSF cells per axis.

    Returns
    -------
    Table
        ``band, cell, x, y`` [pix], ``dx, dy`` [pix], ``n`` bright sources of the cell, ``scatter``
        of their own offsets about these [pix], NaN below two.
    """
    cells_ = epsf_cells(shape, n_cells)
    x = np.array([0.5 * (c.box.x0 + c.box.x1 - 1) for c in cells_])
    y = np.array([0.5 * (c.box.y0 + c.box.y1 - 1) for c in cells_])
    offsets = offsets_at(field, x, y, shape)
    has_own = "x" in scene.colnames and len(scene) > 0
    rows = []
    for b, band in enumerate(bands if has_own else ()):
        own = np.stack([np.asarray(scene[f"{axis}_{band}"]) for axis in ("dx", "dy")], axis=1)
        bright = (own != 0.0).any(axis=1)
        for c, cell in enumerate(cells_):
            inside = bright & cell.box.contains(np.asarray(scene["x"]), np.asarray(scene["y"]))
            count = int(inside.sum())
            spread = float(np.sqrt(np.mean(own[inside] ** 2))) if count > 1 else np.nan
            rows.append((band, cell.tag, x[c], y[c], *offsets[c, b], count, spread))
    names = ("band", "cell", "x", "y", "dx", "dy", "n", "scatter")
    return Table(rows=rows, names=names) if rows else Table({name: [] for name in names})
