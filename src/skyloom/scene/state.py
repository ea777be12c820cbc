"""What is known of a scene between passes."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints

from ._members_nb import total_snr
from .sources import Sources

__all__ = ["SceneState"]


@dataclass(slots=True, kw_only=True)
class SceneState:
    """What is known of all sources of a scene after a pass; arrays that a pass updates.

    ``theta`` (n, 6), ``flux`` (n, F), ``theta_cov`` (n, 6, 6), ``flux_cov`` (n, F, F; diagonal NaN
    without data, inf where degenerate), ``evaluations``, ``iterations`` (n,) summed over passes,
    ``converged``, ``singular``, ``frozen``, ``started`` (n,), ``last_decrease`` (n,) of the
    objective, ``offset`` (n, F, 2) of the image in each band from the joint position [pix],
    ``offset_mean`` (n, F, 2) what it is expected to be,
    ``partner`` (n,) row whose fluxes are most correlated with a source's, or -1, ``pair_cov``
    (n, F) covariance with its fluxes, ``sky_response`` (n, F, S) change of the fluxes by a unit of
    each sky level, ``sky_absorbed`` (n, S) information on the levels that the block of a source
    takes away (in one of its rows), ``gained`` (n,) decrease of the objective at the last
    pass, of a source's block, ``side`` (n,) stamp sides of the last pass [pix] (0: none yet),
    ``faint`` (n,) those that priors hold, ``shift`` (n, F) what has to be added to the fluxes of
    the models because profiles may differ from their laws, ``departure`` (n, 3 + 6 F) what tells
    whether they do (see `skyloom.scene.freedom`).
    """

    theta: Floats
    flux: Floats
    theta_cov: Floats
    flux_cov: Floats
    evaluations: Ints
    iterations: Ints
    converged: Bools
    singular: Bools
    frozen: Bools
    last_decrease: Floats
    started: Bools
    offset: Floats
    offset_mean: Floats
    partner: Ints
    pair_cov: Floats
    sky_response: Floats
    sky_absorbed: Floats
    gained: Floats
    side: Ints
    faint: Bools
    shift: Floats
    departure: Floats

    @classmethod
    def start(cls, sources: Sources, n_flux: int, n_sky: int = 0) -> SceneState:
        """Return the state before any pass: zero fluxes, infinite errors."""
        n = len(sources)
        cov = np.zeros((n, n_flux, n_flux))
        cov[:, np.arange(n_flux), np.arange(n_flux)] = np.inf
        return cls(
            theta=sources.theta.copy(),
            flux=np.zeros((n, n_flux)),
            theta_cov=np.zeros((n, 6, 6)),
            flux_cov=cov,
            evaluations=np.zeros(n, np.int64),
            iterations=np.zeros(n, np.int64),
            converged=np.zeros(n, np.bool_),
            singular=np.zeros(n, np.bool_),
            frozen=np.zeros(n, np.bool_),
            last_decrease=np.zeros(n),
            started=np.zeros(n, np.bool_),
            offset=np.zeros((n, n_flux, 2)),
            offset_mean=np.zeros((n, n_flux, 2)),
            partner=np.full(n, -1),
            pair_cov=np.zeros((n, n_flux)),
            sky_response=np.zeros((n, n_flux, n_sky)),
            sky_absorbed=np.zeros((n, n_sky)),
            gained=np.zeros(n),
            side=np.zeros(n, np.int64),
            faint=np.zeros(n, np.bool_),
            shift=np.zeros((n, n_flux)),
            departure=np.zeros((n, 3 + 6 * n_flux)),
        )

    def copy(self) -> SceneState:
        """Return an independent copy."""
        return SceneState(**{k: getattr(self, k).copy() for k in self.__dataclass_fields__})

    @property
    def total_flux(self) -> Floats:
        """Fluxes with what their profiles' freedom adds, shape (n, F)."""
        return self.flux + self.shift

    @property
    def flux_err(self) -> Floats:
        """Marginal standard errors of the fluxes, shape (n, F)."""
        return np.asarray(np.sqrt(np.einsum("nbb->nb", self.flux_cov)))

    @property
    def snr(self) -> Floats:
        """Signal-to-noise ratio of all fluxes together, shape (n,)."""
        snr = np.empty(len(self.flux))
        total_snr(self.flux, self.flux_cov, snr)
        return snr

    def object_snr(self, anchor: Ints) -> Floats:
        """Return `snr`, but for components of composites that of both together, shape (n,)."""
        snr = self.snr
        second = np.flatnonzero((anchor != np.arange(len(anchor))) & (self.partner == anchor))
        if len(second) == 0:
            return snr
        first = anchor[second]
        variance = np.einsum("nbb->nb", self.flux_cov)
        total = variance[first] + variance[second] + 2.0 * self.pair_cov[second]
        with np.errstate(invalid="ignore", divide="ignore"):
            ratio = (self.flux[first] + self.flux[second]) / np.sqrt(total)
        ratio = np.nan_to_num(ratio, nan=0.0, posinf=0.0, neginf=0.0)
        together = np.sqrt((np.maximum(ratio, 0.0) ** 2).sum(axis=1))
        snr[first], snr[second] = together, together
        return snr
