"""Galaxies that are not quite what their laws say: what this does to their fluxes.

Exponential and de Vaucouleurs laws are two of many, and one size for all bands is an idealisation.
A galaxy with a bulge and a disc, fitted with one law, has biased fluxes, and nothing in the fit
tells.  Once the fit is done, the Sersic index, with a Gaussian prior about 1 or 4, or about what
galaxies of that type have on average, and ln r of each band, with one about the common ln r, count
as nuisance parameters and are marginalised to first order, together with all other parameters of
the block: fluxes move by what the pixels say about them, and errors contain what the pixels do not
say.

Source: Hogg, Bovy & Lang 2010 (nuisance parameters); Golub & Pereyra 1973 (elimination); Haussler
et al. 2013 (sizes that change with wavelength).
"""

from __future__ import annotations

from collections.abc import Sequence
from copy import copy
from dataclasses import replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from .passes import ScenePass
from .sources import SourceType
from .state import SceneState

__all__ = [
    "BAND_SHARE",
    "LAWS",
    "estimate_band_spread",
    "estimate_law_spread",
    "law_departures",
    "loose_sources",
    "refine_loosely",
]

LAWS = (SourceType.EXP, SourceType.DEV)
INDEX = (1.0, 4.0)
BAND_SHARE = 0.25  # scatter of ln r and ln n of single bands over that of ln n: bulges and discs
PROBE = 0.3  # scatter of ln n with which departures are looked for, and width of the prior of means
PROBE_SNR = 30.0  # fainter galaxies say nothing about their indices
WILD = 1.0  # scatter of galaxies that are something else, or blended
OUTLIERS = np.array([0.0, 0.05, 0.1, 0.2, 0.3])  # what their share may be
SCATTERS = np.arange(0.0, 0.601, 0.01)
MEANS = np.arange(-0.8, 0.801, 0.02)
HELD = 1e-20  # variance
TINY = 1e-300
SIGNIFICANT = 2.0  # of ln evidence, over galaxies that keep to their laws


def loose_sources(scene: ScenePass, state: SceneState) -> Bools:
    """Tell who is not bound to its law, or not to one size, shape (n,)."""
    return np.asarray(_loose_index(scene, state) | _loose_size(scene, state))


def _loose_index(scene: ScenePass, state: SceneState) -> Bools:
    if scene.options.profile != "exact":
        return np.zeros(len(scene.sources), np.bool_)
    return np.asarray((_index_scatter(scene) > 0.0) & _has_size(scene, state))


def _index_scatter(scene: ScenePass) -> Floats:
    """Return the scatter of ln n of every source; 0 for those without a law."""
    return _by_law(scene, scene.options.index_scatter)


def _by_law(scene: ScenePass, known: float | Sequence[float]) -> Floats:
    """Return what is known of the laws, or of all, for every source; 0 for those without a law."""
    result = np.zeros(len(scene.sources))
    for law, value in zip(LAWS, np.broadcast_to(known, len(LAWS)), strict=True):
        result[scene.sources.kind == law] = value
    return result


def _loose_size(scene: ScenePass, state: SceneState) -> Bools:
    if scene.options.size_scatter == 0.0 or scene.n_flux == 1:
        return np.zeros(len(scene.sources), np.bool_)
    return _has_size(scene, state)


def _has_size(scene: ScenePass, state: SceneState) -> Bools:
    """Tell who has a free size and is bright enough to show it.

    Components of composites have not: they are free in shape together.
    """
    sources = scene.sources
    is_part = sources.anchor != np.arange(len(sources))
    is_part[sources.anchor[is_part]] = True
    is_galaxy = sources.kind != SourceType.STAR
    is_bright = ~state.frozen & ~state.faint & state.started
    return np.asarray(is_galaxy & sources.free[:, 2] & is_bright & ~is_part)


def refine_loosely(
    scene: ScenePass,
    state: SceneState,
    blocks: Sequence[tuple[Ints, Ints]],
    prepared: tuple[Pixels, Pixels],
) -> SceneState:
    """Return the state with covariances anew, and ``shift``, for loose indices and sizes.

    Parameters as of `ScenePass.refine_errors`; positions, shapes and fluxes stay as they are.
    """
    sources, options = scene.sources, scene.options
    loose = _loose_index(scene, state)
    index = np.ones(len(sources))
    for law, n in zip(LAWS, INDEX, strict=True):
        index[sources.kind == law] = n
    columns = {
        name: getattr(sources, name).copy() for name in ("kind", "free", "prior_mean", "prior_ivar")
    }
    seen = state.copy()
    freed = copy(scene)
    if loose.any():
        columns["kind"][loose] = SourceType.SERSIC
        columns["free"][loose, 5] = True
        typical = index * (1.0 + _by_law(scene, options.index_mean))
        columns["prior_mean"][loose, 5] = typical[loose]
        columns["prior_ivar"][loose, 5] = (_index_scatter(scene) * index)[loose] ** -2.0
        seen.theta[loose, 5] = index[loose]
    freed.sources = replace(sources, **columns)
    freed.loose = loose
    if (by_band := _loose_size(scene, state)).any():
        ivar = np.zeros((len(sources), 6))
        ivar[by_band, 2] = options.size_scatter**-2.0
        has_index = by_band & columns["free"][:, 5] & (columns["kind"] == SourceType.SERSIC)
        scatter = options.size_scatter * seen.theta[has_index, 5]
        ivar[has_index, 5] = scatter**-2.0
        freed.band_ivar = ivar
        if options.band_mean:
            freed.band_mean = np.zeros((scene.n_flux, 6))
            freed.band_mean[:, [2, 5]] = options.band_mean
    after = freed.refine_errors(seen, blocks, prepared)
    after.theta = state.theta.copy()
    after.theta_cov[loose, 5, :] = 0.0
    after.theta_cov[loose, :, 5] = 0.0
    return after


def law_departures(
    scene: ScenePass,
    state: SceneState,
    blocks: Sequence[Ints],
    prepared: tuple[Pixels, Pixels] | None = None,
    *,
    laws: Ints | None = None,
) -> Floats:
    """Return what the pixels say about the Sersic indices of bright galaxies.

    Parameters
    ----------
    scene : ScenePass
    state : SceneState
        A finished fit.
    blocks : sequence of ndarray of int
        Rows that are solved together; blocks without a bright galaxy are left out.
    prepared : tuple of ndarray, optional
        What `ScenePass.residual` returned for this state, if it is known already.
    laws : ndarray of int, optional
        `SourceType` that each source had before its type was chosen: galaxies that were freed from
        a law because they do not keep to it tell as well, by the index that they got.

    Returns
    -------
    ndarray, shape (n, 3 + 6 F)
        Departure of ln n from the law (shrunk towards 0); how its mean square answers to the
        square of the scatter; its variance by white noise.  Then the same for ln r of each flux
        key about the common one, and for ln n about the common one: three for ln r and three for
        ln n of the first key, and so on.  Zero where nothing is known.
    """
    probe = copy(scene)
    of_band = BAND_SHARE * PROBE
    probe.options = replace(
        scene.options, index_scatter=PROBE, index_mean=0.0, size_scatter=of_band, band_mean=()
    )
    bright = loose_sources(probe, state) & (state.snr > PROBE_SNR)
    nobody = np.zeros(0, np.int64)
    chosen = [(rows, nobody) for rows in blocks if bright[rows].any()]
    found = np.zeros((len(scene.sources), 3 + 6 * scene.n_flux))
    if chosen:
        after = refine_loosely(probe, state, chosen, prepared or scene.residual(state))
        unit = [PROBE, 1.0, PROBE**2, *(2 * scene.n_flux * [of_band, 1.0, of_band**2])]
        found[bright] = after.departure[bright] * unit
        if laws is not None:
            rows = np.concatenate([rows for rows, _ in chosen])
            rows = rows[bright[rows] & (scene.sources.kind[rows] == SourceType.SERSIC)]
            for law, n in zip(LAWS, INDEX, strict=True):
                own = rows[laws[rows] == law]
                variance = after.theta_cov[own, 5, 5] / n**2
                found[own, :3] = _seen_with_probe(state.theta[own, 5] / n - 1.0, variance)
    return found


def _seen_with_probe(departure: Floats, variance: Floats) -> Floats:
    """Return the three columns of `law_departures` for measured departures."""
    shrink = PROBE**2 / (PROBE**2 + variance)
    return np.column_stack([shrink * departure, shrink**2, shrink**2 * variance])


def estimate_law_spread(departures: Floats, *, variance_factor: float = 1.0) -> tuple[float, float]:
    """Return mean and scatter of ln n about a law that explain departures; 0, 0 if none is needed.

    Parameters
    ----------
    departures : ndarray, shape (n, 3)
        Rows of `law_departures`; those without information are ignored.
    variance_factor : float
        By what correlated noise widens the variance.

    Returns
    -------
    float, float
        Mean and scatter; the error of the mean is part of the scatter.

    Notes
    -----
    The scatter has the largest evidence, marginal over the mean, whose prior has a width of 0.3;
    the mean is what is then expected of it, so that few galaxies move it little.  The share of
    galaxies that are something else is fitted as well.  What gains less than 2 in ln evidence over
    galaxies that keep to the law counts as none.
    """
    mean, scatter, gain = _spread(departures[:, :3], variance_factor)
    return (mean, scatter) if gain > SIGNIFICANT else (0.0, 0.0)


def estimate_band_spread(
    departures: Floats, *, variance_factor: float = 1.0
) -> tuple[Floats, float]:
    """Return what ln r and ln n of single bands are about the common ones: mean and scatter.

    Parameters
    ----------
    departures : ndarray, shape (n, 3 + 6 F)
        Rows of `law_departures`.
    variance_factor : float
        By what correlated noise widens the variance.

    Returns
    -------
    ndarray, shape (F, 2)
        Means of ln r and ln n by flux key, each as `estimate_law_spread` finds it.
    float
        Scatter of both, rms of the flux keys.

    Notes
    -----
    All are 0 unless they gain 2 in ln evidence together.
    """
    n_flux = (departures.shape[1] - 3) // 6
    if n_flux == 1:
        return np.zeros((1, 2)), 0.0
    unit = [BAND_SHARE, 1.0, BAND_SHARE**2]
    # What all bands have in common is not theirs, and no answer to it is missing.
    share = n_flux / (n_flux - 1)
    parts = np.split(departures[:, 3:], 2 * n_flux, axis=1)
    found = np.array([_spread(part / unit, variance_factor, share) for part in parts])
    mean, scatter, gain = found.T
    if gain.sum() <= SIGNIFICANT:
        return np.zeros((n_flux, 2)), 0.0
    return BAND_SHARE * mean.reshape(n_flux, 2), float(BAND_SHARE * np.sqrt(np.mean(scatter**2)))


def _spread(
    departures: Floats, variance_factor: float, share: float = 1.0
) -> tuple[float, float, float]:
    """Return mean, scatter, and gain of ln evidence over none, see `estimate_law_spread`.

    Widths are those for a probe of 0.3; ``share`` multiplies the answers to means.
    """
    # Parameters at their bounds have no noise and tell nothing.
    value, answer, noise = departures[(departures[:, 1] > 0.0) & (departures[:, 2] > HELD)].T
    # Squares of all answers and the variance by noise leave the answer to the index itself.
    own = np.minimum(share * (answer + noise / PROBE**2), 1.0)
    noise = np.maximum(noise, 0.0) * variance_factor + 1e-12

    def density(scatter: float, mean: Floats) -> Floats:
        variance = answer * scatter**2 + noise
        off = value - own * mean[:, None]
        return np.asarray(np.exp(-0.5 * off**2 / variance) / np.sqrt(variance))

    wild = density(WILD, np.zeros(1))

    def likelihood(scatter: float, means: Floats) -> Floats:
        lawful = density(scatter, means)
        shares = [np.log((1.0 - w) * lawful + w * wild + TINY).sum(axis=1) for w in OUTLIERS]
        return np.asarray(np.max(shares, axis=0))

    prior = -0.5 * (MEANS / PROBE) ** 2
    prior -= np.log(np.exp(prior).sum())
    joint = np.stack([likelihood(scatter, MEANS) + prior for scatter in SCATTERS.tolist()])
    evidence = np.logaddexp.reduce(joint, axis=1)
    best = int(np.argmax(evidence))
    weight = np.exp(joint[best] - evidence[best])
    mean = float(weight @ MEANS)
    variance = float(weight @ (MEANS - mean) ** 2)
    gain = float(evidence[best] - likelihood(0.0, np.zeros(1))[0])
    return mean, float(np.sqrt(SCATTERS[best] ** 2 + variance)), gain
