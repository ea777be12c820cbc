"""What happened to a patch, pass by pass and group by group, as numbers and as text.

No times, no host names: the log of the same fit is the same file.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from astropy.table import Table

from skyloom._types import Ints
from skyloom.flags import FitFlag
from skyloom.scene import SceneState, Sources

__all__ = ["bounds_hit", "fit_stages_meta", "group_records", "log_text"]

BOUND_NAMES = ("pos.x", "pos.y", "shape.logre", "shape.ee1", "shape.ee2", "sersicindex")
LISTED = 8  # members of a group that a line names
FROZEN_FIRST = ("pos", "shape", "sersicindex")  # in pass 0, which solves for fluxes only

Record = dict[str, Any]


def bounds_hit(sources: Sources, state: SceneState, local: Ints) -> list[str]:
    """Name the bounded free parameters that ended at a limit, per source."""
    names = []
    for i in local:
        found = []
        if not state.frozen[i]:
            for c, name in enumerate(BOUND_NAMES):
                if not sources.free[i, c]:
                    continue
                margin = 1e-6 * max(1.0, abs(state.theta[i, c]))
                if state.theta[i, c] <= sources.lower[i, c] + margin:
                    found.append(f"{name}@lower")
                elif state.theta[i, c] >= sources.upper[i, c] - margin:
                    found.append(f"{name}@upper")
        names.append(",".join(found))
    return names


def group_records(
    sources: Sources,
    rows: Ints,
    groups: Mapping[int, Sequence[Ints]],
    before: SceneState,
    after: SceneState,
) -> list[Record]:
    """Return what a pass did to each blend group, in the order of the groups.

    Parameters
    ----------
    sources : Sources
        Of the scene.
    rows : ndarray of int
        Catalogue rows of the sources.
    groups : mapping
        Blocks of sources by group, as the pass got them.
    before, after : SceneState

    Returns
    -------
    list of dict
        ``rows``; ``niters``, most iterations of a source; ``converged``, all of them; ``dlnp``, the
        gain in log-probability, and ``last_dlnp``, the last gain of a source; ``snr`` of the
        brightest; numbers of sources ``frozen`` and ``faint`` (held by priors), ``bounds`` by row.
    """
    records = []
    for number in sorted(groups):
        blocks = groups[number]
        local = np.concatenate(blocks)
        names = bounds_hit(sources, after, local)
        # one number for each block stands with its first source
        gained = [float(after.gained[block[0]]) for block in blocks]
        records.append(
            {
                "rows": rows[local].tolist(),
                "niters": int((after.iterations[local] - before.iterations[local]).max()),
                "converged": bool(after.converged[local].all()),
                "dlnp": _short(0.5 * sum(gained)),
                "last_dlnp": _short(0.5 * float(after.last_decrease[local].max())),
                "snr": _short(float(after.snr[local].max())),
                "frozen": int(after.frozen[local].sum()),
                "faint": int(after.faint[local].sum()),
                "bounds": {
                    str(row): name for row, name in zip(rows[local], names, strict=True) if name
                },
            }
        )
    return records


def _short(value: float) -> float | None:
    return float(f"{value:.4g}") if np.isfinite(value) else None


def fit_stages_meta(passes: Mapping[int, Record], *, staged: bool) -> dict[str, Any]:
    """Return ``staged_fit_enabled`` and the stages of ``meta.json``: the passes of the fit.

    ``passes`` by number: groups by band, ``""`` for a joint fit.  ``staged``: the first of them
    solved the fluxes only; otherwise there are no stages.
    """
    if not staged:
        return {"staged_fit_enabled": False}
    by_band: dict[str, list[Record]] = {}
    for number in sorted(passes):
        for band, groups in passes[number]["groups"].items():
            by_band.setdefault(band, []).append(
                {
                    "stage": f"pass {number}",
                    "frozen": list(FROZEN_FIRST) if number == 0 else [],
                    "niters": max((g["niters"] for g in groups), default=0),
                    "converged": all(g["converged"] for g in groups),
                    "last_dlnp": max((g["last_dlnp"] or 0.0 for g in groups), default=0.0),
                }
            )
    joint = by_band.pop("", None)
    if joint is not None:
        return {"staged_fit_enabled": True, "staged_fit_stages": joint}
    return {"staged_fit_enabled": True, "staged_fit_stages_by_band": by_band}


def log_text(
    tag: str,
    *,
    names: Sequence[str],
    audit: Mapping[str, Record],
    priors: Mapping[str, int],
    passes: Mapping[int, Record],
    fit: Table,
) -> str:
    """Return the log of a patch.

    Parameters
    ----------
    tag : str
    names : sequence of str
        What to call each catalogue row.
    audit : mapping
        Which PSF each band had, and why.
    priors : mapping
        Numbers of sources with priors by the catalogue, by parameter.
    passes : mapping
        See `fit_stages_meta`.
    fit : Table
        Results of the sources that the patch reports.
    """
    lines = [f"patch {tag}: {len(fit)} sources reported"]
    lines += [_psf_line(band, audit[band]) for band in audit]
    counts = ", ".join(f"{name} {count}" for name, count in priors.items())
    lines.append(f"priors of the catalogue: {counts}")
    for number in sorted(passes):
        for band, groups in passes[number]["groups"].items():
            lines += _pass_lines(number, band, groups, names)
    lines += _source_lines(fit, names)
    return "\n".join(lines) + "\n"


def _psf_line(band: str, psf: Record) -> str:
    if psf["used_epsf"]:
        stars = f"{psf['epsf_nstars_used']} stars in this cell"
        low = f", fewer than {psf['min_epsf_nstars_for_use']}" if psf["low_stars"] else ""
        return f"PSF {band}: ePSF of the field, {psf['psf_model']}, {stars}{low}"
    return f"PSF {band}: fallback {psf['psf_model']}, {psf['fallback_reason']}"


def _pass_lines(
    number: int, band: str, groups: Sequence[Record], names: Sequence[str]
) -> Iterable[str]:
    """Yield a line for the pass and one for each group."""
    sources = sum(len(g["rows"]) for g in groups)
    frozen, faint = (sum(g[name] for g in groups) for name in ("frozen", "faint"))
    what = "fluxes only" if number == 0 else "everything free"
    where = f" {band}" if band else ""
    yield (
        f"pass {number}{where}, {what}: {len(groups)} groups, {sources} sources, "
        f"{frozen} frozen (too faint to move), {faint} held by priors (faint)"
    )
    for group in groups:
        members = group["rows"]
        some = " ".join(names[row] for row in members[:LISTED])
        rest = f" and {len(members) - LISTED} more" if len(members) > LISTED else ""
        state = "converged" if group["converged"] else "NOT CONVERGED"
        yield (
            f"  group {some}{rest}: S/N {group['snr']}, {group['niters']} iterations, {state}, "
            f"dlnp {group['dlnp']}, last {group['last_dlnp']}"
        )
        for row, bounds in group["bounds"].items():
            yield f"    {names[int(row)]} at its bound: {bounds}"


def _source_lines(fit: Table, names: Sequence[str]) -> Iterable[str]:
    """Yield what is to be said of single sources at the end."""
    for row, flags in zip(fit["row"], fit["fit_flags"], strict=True):
        if flags:
            known = "|".join(f.name or "" for f in FitFlag if f & int(flags))
            yield f"flags of {names[int(row)]}: {known}"
    if "type_changed" in fit.colnames:
        for entry in fit[np.asarray(fit["type_changed"])]:
            yield (
                f"type of {names[int(entry['row'])]}: {entry['stype_fit']} instead of "
                f"{entry['type_catalog']}"
            )
