"""Why a field was not recognised: what the stars, the limits and the indexes say about it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from skyloom.calib.plate_solving.extraction import Extraction
from skyloom.calib.plate_solving.io.index import IndexFile
from skyloom.calib.plate_solving.parameters import Hint
from skyloom.calib.plate_solving.stars import StarList

__all__ = ["explain_failure"]

_FEW: Final = 12  # stars below which a field is hardly recognised
_MANY: Final = 5000
_TRAILED: Final = 1.8  # median elongation beyond which stars are trails
_GOOD_QUAD: Final = 0.1, 1.0  # quads that an image of width 1 can hold
_COLUMN: Final = 0.2  # part of all stars in one column or row that is no chance


def explain_failure(
    stars: StarList,
    *,
    indexes: Sequence[IndexFile],
    hint: Hint,
    extraction: Extraction | None = None,
    is_out_of_time: bool = False,
    rejected: int = 0,
) -> list[str]:
    """Return findings, each with its remedy, the most telling first.

    Parameters
    ----------
    stars : StarList
        Of the first attempt.
    indexes : sequence of IndexFile
        Those that were used.
    hint : Hint
        The limits of the first attempt.
    extraction : Extraction, optional
        If the stars were found on an image.
    is_out_of_time : bool
        Whether the time limit ended the search.
    rejected : int
        How many matches of the back end did not stand the test on held-out stars.
    """
    found = _about_scale(stars, indexes, hint)
    found += _about_stars(stars, extraction)
    if hint.has_position:
        found.append(
            f"the search was limited to {hint.radius:g} deg around ra {hint.ra:.4f}, dec "
            f"{hint.dec:.4f}; enlarge --radius if the telescope may have pointed elsewhere"
        )
    if rejected:
        found.append(
            f"{rejected} matches of the solver were refused, because too few held-out stars stood "
            "where they were predicted; give a catalogue of fainter stars with --catalog"
        )
    if is_out_of_time:
        found.append("the time limit ended the search; raise it, or limit scale and position")
    if not found:
        found.append(
            "nothing is wrong with the stars or the limits; look at the overlay picture, and try "
            "other thresholds (--minarea, --detectthreshold) or finer and coarser indexes"
        )
    return found


def _about_scale(stars: StarList, indexes: Sequence[IndexFile], hint: Hint) -> list[str]:
    """Compare the size of the field with the quads of the indexes."""
    if not hint.has_scale:
        return []
    ny, nx = stars.shape
    low = (hint.scale_low or 0.0) * min(nx, ny) / 3600.0
    high = (hint.scale_high or np.inf) * float(np.hypot(nx, ny)) / 3600.0
    smallest, largest = low * _GOOD_QUAD[0], high * _GOOD_QUAD[1]
    if any(index.suits(smallest, largest) for index in indexes):
        return []
    have = (min(i.quad_low for i in indexes) * 60, max(i.quad_high for i in indexes) * 60)
    return [
        f"no index suits the scale limits: the field is {60 * low:.3g} to {60 * high:.3g} arcmin "
        f"wide and needs quads within it, the indexes have {have[0]:.3g} to {have[1]:.3g} arcmin; "
        "correct the scale limits or install other indexes"
    ]


def _about_stars(stars: StarList, extraction: Extraction | None) -> list[str]:
    found = []
    n = len(stars)
    if n < _FEW:
        found.append(f"only {n} stars were found; lower --detectthreshold or --minarea")
    elif n > _MANY:
        found.append(
            f"{n} objects were found, most of them probably noise or grain; raise "
            "--detectthreshold or --minarea"
        )
    if n >= _FEW and float(np.median(stars.elongation)) > _TRAILED:
        found.append(
            f"the stars are trails (median elongation {np.median(stars.elongation):.1f}); "
            "raise --minarea so that only their bright parts count, or take another exposure"
        )
    if n >= _FEW:
        for name, values in (("column", stars.x), ("row", stars.y)):
            most = int(np.bincount(np.maximum(np.round(values), 0).astype(int)).max())
            if most > max(5.0, _COLUMN * n):
                found.append(
                    f"{most} of {n} objects stand in one {name}: a defect of the detector or the "
                    "edge of a scan; mask it or cut it off"
                )
    if extraction is not None:
        ny, nx = stars.shape
        bad = extraction.n_unusable / float(nx * ny)
        if bad > 0.3:
            found.append(f"{100 * bad:.0f} % of the pixels are masked or not finite")
        if extraction.n_trails > 0.3 * max(n, 1):
            found.append(
                f"{extraction.n_trails} elongated objects were left out; raise max_elongation if "
                "they are stars"
            )
        if n and extraction.n_saturated > 0.5 * n:
            found.append(
                f"{extraction.n_saturated} of {n} objects reach SATUR_LEVEL; correct its value"
            )
    return found
