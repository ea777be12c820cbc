"""Sources of a scene: models, parameters, what is free, bounded or known beforehand."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields, replace
from enum import IntEnum
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Bools, Floats, Ints
from skyloom.errors import Mismatch

from ._records import DEV, EXP, REX, SERSIC, STAR
from .profiles import N_SERSIC_MIN
from .tables import read_columns

__all__ = ["PARAMETERS", "SourceType", "Sources"]

PARAMETERS = ("x", "y", "log_r", "g1", "g2", "n")
"""Columns of ``theta``: position [pix], ln of the circularised half-light radius [pix], ellipticity
components of modulus (a-b)/(a+b), Sersic index."""


_N_PARAMETERS = {STAR: 2, EXP: 5, DEV: 5, SERSIC: 6, REX: 3}


class SourceType(IntEnum):
    """Which profile a source has."""

    STAR = STAR
    EXP = EXP
    DEV = DEV
    SERSIC = SERSIC
    REX = REX
    """Round exponential galaxy."""

    @property
    def n_parameters(self) -> int:
        """Number of non-linear parameters: position, then ln r, ellipticity, n."""
        return _N_PARAMETERS[self.value]


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """What a scene holds before, or after, a fit.

    Parameters
    ----------
    kind : ndarray of int, shape (n,)
        `SourceType` of each source.
    theta : ndarray, shape (n, 6)
        The columns `PARAMETERS`; entries that a model does not have are ignored.
    free : ndarray of bool, shape (n, 6)
        Which of them the fit may change.
    lower, upper : ndarray, shape (n, 6)
        Bounds.
    prior_mean, prior_ivar : ndarray, shape (n, 6)
        Gaussian priors; inverse variance 0 means none.
    anchor : ndarray of int, shape (n,)
        Row whose position a source shares: its own, but for the second component of a composite.
    flux_prior_mean, flux_prior_ivar : ndarray, shape (n, F), or None
        Gaussian priors on fluxes, by flux key.
    """

    kind: Ints
    theta: Floats
    free: Bools
    lower: Floats
    upper: Floats
    prior_mean: Floats
    prior_ivar: Floats
    anchor: Ints
    flux_prior_mean: Floats | None = None
    flux_prior_ivar: Floats | None = None

    def __len__(self) -> int:
        return len(self.kind)

    @property
    def is_composite(self) -> Bools:
        """Whether a source is a component of a composite, shape (n,)."""
        tied = self.anchor != np.arange(len(self))
        tied[self.anchor[tied]] = True
        return np.asarray(tied)

    @classmethod
    def create(
        cls,
        kind: Ints,
        x: Floats,
        y: Floats,
        *,
        r: Floats | float = 1.0,
        g1: Floats | float = 0.0,
        g2: Floats | float = 0.0,
        n: Floats | float = 2.0,
        max_shift: float | None = 5.0,
        r_limits: tuple[float, float] = (0.05, 1000.0),
        n_limits: tuple[float, float] = (N_SERSIC_MIN, 6.3),
        ellipticity_prior: float | None = 0.5,
    ) -> Sources:
        """Describe sources with everything free.

        Parameters
        ----------
        kind : array of `SourceType`, shape (m,)
        x, y : array, shape (m,)
            Positions [pix], 0-based.
        r : array or float
            Circularised half-light radii [pix].
        g1, g2 : array or float
            Ellipticity, modulus (a-b)/(a+b), along x and along the diagonal.
        n : array or float
            Sersic indices, used by ``SERSIC``.
        max_shift : float or None
            Half side of the box that a position may not leave [pix]; None for no bound.
        r_limits, n_limits : tuple of float
            Bounds of the radius [pix] and of the Sersic index.
        ellipticity_prior : float or None
            Width of the Gaussian prior on g1 and g2 about 0, without which the shape of
            unresolved galaxies runs away; None for no prior.
        """
        kind = np.asarray(kind, dtype=np.int64)
        m = len(kind)
        n_clipped = np.clip(n, *n_limits)
        radius = np.clip(r, *r_limits)
        columns = np.broadcast_arrays(x, y, np.log(radius), g1, g2, n_clipped)
        theta = np.stack([np.broadcast_to(c, m) for c in columns], axis=1).astype(np.float64)
        theta[kind == SourceType.REX, 3:5] = 0.0
        shift = np.inf if max_shift is None else max_shift
        lower = np.tile([0, 0, np.log(r_limits[0]), -1.0, -1.0, n_limits[0]], (m, 1))
        upper = np.tile([0, 0, np.log(r_limits[1]), 1.0, 1.0, n_limits[1]], (m, 1))
        lower[:, :2] = theta[:, :2] - shift
        upper[:, :2] = theta[:, :2] + shift
        ivar = np.zeros((m, 6))
        if ellipticity_prior is not None:
            ivar[:, 3:5] = ellipticity_prior**-2
        mean = np.zeros((m, 6))
        return cls(
            kind=kind,
            theta=theta,
            free=has_parameter(kind),
            lower=lower,
            upper=upper,
            prior_mean=mean,
            prior_ivar=np.where(has_parameter(kind), ivar, 0.0),
            anchor=np.arange(m),
        )

    @classmethod
    def from_table(
        cls,
        table: Table | Mapping[str, Any],
        *,
        max_shift: float | None = 5.0,
        r_limits: tuple[float, float] = (0.05, 1000.0),
        n_limits: tuple[float, float] = (N_SERSIC_MIN, 6.3),
        ellipticity_prior: float | None = 0.5,
    ) -> Sources:
        """Describe the sources of a table, with everything free.

        Parameters
        ----------
        table : astropy.table.Table, or mapping of columns
            ``x, y`` position [pix], 0-based.  Optional: ``type``, one of STAR or PSF, REX, EXP,
            DEV, SERSIC or SER in any case, or a `SourceType` (default: all are stars); ``r``
            circularised half-light radius [pix], or ``a`` the one along the major axis; ``ab``
            axis ratio b/a, ``theta`` angle of the major axis from +x to +y [deg]; ``n`` Sersic
            index (default 2).  Other columns are ignored, so are sizes of stars.
        max_shift, r_limits, n_limits, ellipticity_prior
            As in `create`.

        Raises
        ------
        BadTable
            If a column is missing, or a row has a position, type or shape that cannot be used.
        """
        c = read_columns(table)
        return cls.create(
            c.kind, c.x, c.y, r=c.r, g1=c.g1, g2=c.g2, n=c.n,
            max_shift=max_shift, r_limits=r_limits, n_limits=n_limits,
            ellipticity_prior=ellipticity_prior,
        )  # fmt: skip

    @classmethod
    def composite(
        cls,
        x: Floats,
        y: Floats,
        *,
        r_exp: Floats | float = 3.0,
        r_dev: Floats | float = 1.0,
        g_exp: tuple[Floats | float, Floats | float] = (0.0, 0.0),
        g_dev: tuple[Floats | float, Floats | float] = (0.0, 0.0),
        max_shift: float | None = 5.0,
        r_limits: tuple[float, float] = (0.05, 1000.0),
        ellipticity_prior: float | None = 0.5,
    ) -> Sources:
        """Describe galaxies of a disc and a bulge about one centre: two rows each, EXP, then DEV.

        Parameters
        ----------
        x, y : array, shape (m,)
            Positions [pix], 0-based; the two components of a galaxy move together.
        r_exp, r_dev : array or float
            Circularised half-light radii [pix].
        g_exp, g_dev : tuple of array or float
            Ellipticities g1, g2.
        max_shift, r_limits, ellipticity_prior
            As in `create`.

        Returns
        -------
        Sources
            2 m rows; disc and bulge of galaxy i are rows 2 i and 2 i + 1.  `SceneFit.totals` adds
            them up.
        """
        m = len(np.asarray(x))
        parts = [
            cls.create(
                np.full(m, int(kind)), x, y, r=r, g1=g[0], g2=g[1], max_shift=max_shift,
                r_limits=r_limits, ellipticity_prior=ellipticity_prior,
            )
            for kind, r, g in ((SourceType.EXP, r_exp, g_exp), (SourceType.DEV, r_dev, g_dev))
        ]  # fmt: skip
        rows = np.arange(2 * m)
        both = cls.concatenate(parts).take(rows.reshape(2, m).T.ravel())
        return replace(both, anchor=rows - rows % 2)

    @classmethod
    def concatenate(cls, parts: Sequence[Sources]) -> Sources:
        """Join sources in the order given; composites stay together.

        Flux priors that a part does not have do not constrain its fluxes.

        Raises
        ------
        Mismatch
            If parts have flux priors for different numbers of flux keys.
        """
        start = np.cumsum([0, *(len(p) for p in parts)])
        names = [f.name for f in fields(cls) if f.default is not None]
        values = {
            name: np.concatenate([getattr(p, name) for p in parts])
            for name in names
            if name != "anchor"
        }
        shifted = [p.anchor + first for p, first in zip(parts, start, strict=False)]
        priors = {}
        for name in ("flux_prior_mean", "flux_prior_ivar"):
            given = [getattr(p, name) for p in parts]
            widths = sorted({v.shape[1] for v in given if v is not None})
            if len(widths) > 1:
                raise Mismatch(
                    f"sources: {name} has {' and '.join(map(str, widths))} flux keys; "
                    "give all parts the same",
                    found=tuple(widths),
                )
            if widths:
                priors[name] = np.concatenate([
                    np.zeros((len(p), widths[0])) if v is None else v
                    for p, v in zip(parts, given, strict=True)
                ])  # fmt: skip
        return cls(**values, anchor=np.concatenate(shifted), **priors)

    def take(self, rows: Ints) -> Sources:
        """Return the sources of some rows."""
        values = {name: getattr(self, name) for name in self.__dataclass_fields__}
        taken = {k: v[rows] for k, v in values.items() if v is not None}
        place = np.full(len(self), -1)
        place[rows] = np.arange(len(taken["kind"]))
        anchor = place[taken["anchor"]]
        taken["anchor"] = np.where(anchor >= 0, anchor, np.arange(len(anchor)))
        return replace(self, **taken)

    def at(self, theta: Floats) -> Sources:
        """Return the same sources with other parameters."""
        return replace(self, theta=theta)


def has_parameter(kind: Ints) -> Bools:
    """Tell which columns of ``theta`` each model has, shape (n, 6)."""
    count = np.array([_N_PARAMETERS[k] for k in range(len(_N_PARAMETERS))])[kind]
    return np.asarray(np.arange(6) < count[:, None])
