"""Solving an image: extraction, back end, refinement, and what is tried next."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from skyloom._types import Bools
from skyloom.calib.plate_solving.backends import FieldMatch, PlateSolver, SolveRequest
from skyloom.calib.plate_solving.control import ExtractionSettings
from skyloom.calib.plate_solving.extraction import Extraction, extract_stars
from skyloom.calib.plate_solving.failure import explain_failure
from skyloom.calib.plate_solving.fitting import MAX_ORDER
from skyloom.calib.plate_solving.io.index import IndexFile, stars_in_cone
from skyloom.calib.plate_solving.parameters import Hint, SolverParameters
from skyloom.calib.plate_solving.refinement import Refinement, refine
from skyloom.calib.plate_solving.solution import PlateSolution
from skyloom.calib.plate_solving.stars import ReferenceStars, StarList
from skyloom.errors import NotSolved, ShellCommandFailed, Unprocessable

__all__ = ["Attempt", "SolveTask", "attempts", "solve"]

log = logging.getLogger(__name__)

_DEPTH: Final = 30  # brightest stars that quads are made of, at first
_DEEP: Final = 100
_BOXES: Final = 100
_ALL_BUT: Final = 0.05  # of the time limit: what is left when attempts were cut short
_MOST_REFERENCES: Final = 2, 60  # per detection, and at least


@dataclass(frozen=True, slots=True, kw_only=True)
class Attempt:
    """One way to solve an image."""

    name: str
    hint: Hint
    settings: ExtractionSettings
    pixel_error: float = 1.0  # pix
    depth: int = _DEPTH
    boxes: int = 0  # parts of the image that stars are taken from in turn; 0: by brightness alone
    share: float = 0.15  # of the time that is left


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SolveTask:
    """An image or a list of stars to solve, and everything that the solver may use."""

    backend: PlateSolver
    indexes: tuple[IndexFile, ...]
    image: npt.NDArray[Any] | None = None
    mask: Bools | None = None
    stars: StarList | None = None  # instead of an image
    hint: Hint = field(default_factory=Hint)  # what the user says: holds in all attempts
    header_hint: Hint = field(default_factory=Hint)  # what the header says: may be wrong
    parameters: SolverParameters = field(default_factory=SolverParameters)
    settings: ExtractionSettings = field(default_factory=ExtractionSettings)
    star_filter: Callable[[StarList], StarList] | None = None
    catalog: ReferenceStars | None = None  # instead of the stars of the indexes
    observer: Callable[[Attempt, StarList, str], None] | None = None


def attempts(task: SolveTask) -> list[Attempt]:
    """Return what is tried, one after the other, until something works.

    First what user and header say; then the highest peaks of all parts of the image, for nebulae
    and crowded corners have much flux; then stars that are less well placed (distorted optics,
    scans); then without the header's position and scale, which are wrong more often than thought;
    then other thresholds; then dark stars; then many stars.
    """
    given = task.hint.limited(task.header_hint)
    depth = task.parameters.endob or _DEPTH
    plain = Attempt(name="as given", hint=given, settings=task.settings, depth=depth)
    peaks = replace(task.settings, order="peak", back_size=max(16, task.settings.back_size // 2))
    spread = replace(
        plain, name="spread over the image", boxes=_BOXES, settings=peaks, pixel_error=2.0,
        depth=task.parameters.endob or 50, share=0.4,
    )  # fmt: skip
    found = [plain, spread, replace(plain, name="stars off by 3 pix", pixel_error=3.0)]
    if given != task.hint:
        found += [
            replace(a, name=f"{a.name}, without what the header says", hint=task.hint)
            for a in found
        ]
    last = found[-1].hint
    if task.image is not None:
        base = task.settings
        strict = replace(base, detect_minarea=2 * base.detect_minarea,
                         detect_thresh=1.5 * base.detect_thresh)  # fmt: skip
        loose = replace(base, detect_minarea=max(3, base.detect_minarea // 2),
                        detect_thresh=max(3.0, 0.5 * base.detect_thresh))  # fmt: skip
        for name, settings in (
            ("brighter objects only", strict),
            ("fainter objects too", loose),
            ("dark stars", replace(base, invert=not base.invert)),
        ):
            found.append(
                Attempt(name=name, hint=last, settings=settings, pixel_error=2.0, depth=depth)
            )
    if task.parameters.endob is None:
        found.append(
            Attempt(name="quads of fainter stars", hint=last, settings=task.settings,
                    pixel_error=2.0, depth=_DEEP, share=1.0)
        )  # fmt: skip
    return found


@dataclass(slots=True)
class _Search:
    """What has been found out so far."""

    task: SolveTask
    ends: float
    extractions: dict[ExtractionSettings, Extraction] = field(default_factory=dict)
    journal: list[str] = field(default_factory=list)
    first_stars: StarList | None = None
    rejected: int = 0

    def stars(self, settings: ExtractionSettings) -> StarList:
        """Return the stars of an extraction, made once for each setting."""
        task = self.task
        if task.image is None:
            assert task.stars is not None
            found = task.stars
        else:
            if settings not in self.extractions:
                self.extractions[settings] = extract_stars(
                    _binned(task.image, task.parameters.downsample), settings, task.mask
                )
            found = self.extractions[settings].stars
            if (task.parameters.downsample or 1) > 1:
                found = _enlarged(found, task.parameters.downsample or 1, task.image.shape)
        if task.star_filter is not None and len(found):
            found = task.star_filter(found)
        if self.first_stars is None:
            self.first_stars = found
        return found

    def note(self, attempt: Attempt, stars: StarList, outcome: str) -> None:
        self.journal.append(f"{attempt.name}: {len(stars)} stars, {outcome}")
        log.info("%s", self.journal[-1])
        if self.task.observer is not None:
            self.task.observer(attempt, stars, outcome)


def solve(task: SolveTask) -> PlateSolution:
    """Solve an image or a list of stars.

    Parameters
    ----------
    task : SolveTask
        What to solve and with what.

    Returns
    -------
    PlateSolution
        Refined, and proven on stars that had no part in the fit.

    Raises
    ------
    NotSolved
        If nothing worked; the message says what speaks for which reason. Attributes: ``attempts``
        and ``reasons``, tuples of sentences, and ``stars``.
    ShellCommandFailed
        If a program broke off in every attempt.
    """
    if (task.image is None) == (task.stars is None):
        raise ValueError("give an image or stars, and not both")
    search = _Search(task=task, ends=time.monotonic() + task.parameters.total_timelimit)
    broken: ShellCommandFailed | None = None
    plan = attempts(task)
    tried = 0
    for attempt in plan:
        left = search.ends - time.monotonic()
        if left <= 0:
            break
        started = time.monotonic()
        tried += 1
        try:
            stars = search.stars(attempt.settings)
        except Unprocessable as error:
            search.journal.append(f"{attempt.name}: {error}")
            continue
        try:
            match = task.backend.solve(
                SolveRequest(
                    stars=stars.spread(attempt.boxes) if attempt.boxes else stars,
                    indexes=task.indexes,
                    parameters=task.parameters,
                    hint=attempt.hint,
                    seconds=max(1.0, left * attempt.share),
                    pixel_error=attempt.pixel_error,
                    depth=attempt.depth,
                )
            )
        except ShellCommandFailed as error:
            broken = error
            search.note(attempt, stars, str(error).splitlines()[0])
            continue
        if match is None:
            search.note(attempt, stars, "not recognised")
            continue
        reference = _reference(match, stars, task)
        refined = _refined(match, stars, reference, attempt, task)
        if refined is None or not refined.held_out.is_convincing:
            search.rejected += 1
            search.note(attempt, stars, _refusal(match, refined))
            continue
        search.note(attempt, stars, "solved")
        return PlateSolution(
            match=match,
            refinement=refined,
            stars=stars,
            reference=reference,
            seconds=time.monotonic() - started,
            attempts=tuple(search.journal),
        )
    if broken is not None and all(
        "broke off" in line or "ended" in line for line in search.journal
    ):
        status = broken.facts.get("retcode")
        raise ShellCommandFailed(
            f"No anet parameter worked: {broken}", status if isinstance(status, int) else None
        ) from broken
    left = search.ends - time.monotonic()
    is_out_of_time = tried < len(plan) or left < _ALL_BUT * task.parameters.total_timelimit
    raise _not_solved(search, broken, is_out_of_time=is_out_of_time)


def _refined(
    match: FieldMatch,
    stars: StarList,
    reference: ReferenceStars,
    attempt: Attempt,
    task: SolveTask,
) -> Refinement | None:
    return refine(
        match.wcs,
        stars,
        reference,
        pixel_error=attempt.pixel_error,
        max_order=MAX_ORDER if task.parameters.tweak else 1,
    )


def _refusal(match: FieldMatch, refined: Refinement | None) -> str:
    ra, dec = match.wcs.crval
    where = f"a match near ra {ra:.3f}, dec {dec:.3f} was refused"
    if refined is None:
        return f"{where}: too few stars come together"
    proof = refined.held_out
    return f"{where}: {proof.found} of {proof.predicted} held-out stars found"


def _reference(match: FieldMatch, stars: StarList, task: SolveTask) -> ReferenceStars:
    """Return catalogue stars of the field: the catalogue's, else those of the densest index."""
    ny, nx = stars.shape
    corners = np.array([(x, y) for x in (0.0, 0.5 * nx, nx) for y in (0.0, 0.5 * ny, ny)])
    ra, dec = match.wcs.pixel_to_sky(corners[:, 0], corners[:, 1])
    ra0, dec0 = float(ra[4]), float(dec[4])
    a, b = np.radians(dec), np.radians(dec0)
    cosine = np.sin(a) * np.sin(b) + np.cos(a) * np.cos(b) * np.cos(np.radians(ra - ra0))
    radius = 1.1 * float(np.degrees(np.arccos(np.clip(np.nanmin(cosine), -1.0, 1.0))))
    if task.catalog is not None:
        found = task.catalog
    else:
        found = stars_in_cone(
            _densest(match.index, task.indexes), ra=ra0, dec=dec0, radius=min(radius, 85.0)
        )
    x, y = match.wcs.sky_to_pixel(found.ra, found.dec)
    with np.errstate(invalid="ignore"):
        inside = (x > -50) & (x < nx + 50) & (y > -50) & (y < ny + 50)
    most = max(_MOST_REFERENCES[1], _MOST_REFERENCES[0] * len(stars))
    return found[np.flatnonzero(inside)[:most]]


def _densest(matched: IndexFile, indexes: Sequence[IndexFile]) -> IndexFile:
    """Return the index of the same series with most stars, if both cover the whole sky."""
    if not matched.is_all_sky:
        return matched
    series = matched.index_id // 100
    family = [i for i in indexes if i.is_all_sky and i.index_id // 100 == series]
    return max([matched, *family], key=lambda i: i.n_stars)


def _not_solved(
    search: _Search, broken: ShellCommandFailed | None, *, is_out_of_time: bool
) -> NotSolved:
    task = search.task
    stars = search.first_stars
    if stars is None:
        reasons = [line.partition(": ")[2] for line in search.journal[:1]]
    else:
        reasons = explain_failure(
            stars,
            indexes=task.indexes,
            hint=task.hint.limited(task.header_hint),
            extraction=search.extractions.get(task.settings),
            is_out_of_time=is_out_of_time,
            rejected=search.rejected,
        )
    if broken is not None:
        reasons.insert(0, " ".join(str(broken).split())[-500:])
    return NotSolved(
        f"no solution: {'; '.join(reasons)}",
        attempts=tuple(search.journal),
        reasons=tuple(reasons),
        stars=stars,
    )


def _binned(image: npt.NDArray[Any], factor: int | None) -> npt.NDArray[Any]:
    if factor is None or factor == 1:
        return image
    ny, nx = (n // factor for n in image.shape)
    cut = np.asarray(image[: ny * factor, : nx * factor], dtype=np.float32)
    return np.asarray(cut.reshape(ny, factor, nx, factor).mean(axis=(1, 3)))


def _enlarged(stars: StarList, factor: int, shape: tuple[int, ...]) -> StarList:
    """Return stars of a binned image in pixels of the original."""
    shift = 0.5 * (factor - 1)
    return replace(
        stars,
        x=stars.x * factor + shift,
        y=stars.y * factor + shift,
        shape=(int(shape[0]), int(shape[1])),
    )
