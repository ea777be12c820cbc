"""A scene made ready: its pixels in one piece, stamps, records for the kernels, residuals."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels

from ._records import Images, Members, part_of, unit_counts, white_noise
from ._values_nb import subtract_models
from .images import SceneGeometry, SceneImage, ring_brightness, typical_noise
from .options import FitOptions
from .sources import Sources, SourceType, has_parameter
from .stamps import StampRule, sersic_index
from .state import SceneState
from .threads import Threads
from .transforms import PsfBank, kernel_tables

__all__ = ["COMPACT_RADIUS", "FOLD_SNR", "PreparedScene", "needs_exact_psf"]

FOLD_SNR = 30.0
COMPACT_RADIUS = 2.0  # pix: larger ones without a cusp have no power where a PSF aliases


class PreparedScene:
    """Images and sources made ready for the kernels.

    Parameters
    ----------
    images : sequence of SceneImage
    sources : Sources
        Everything whose light reaches the images.
    options : FitOptions
    bank : PsfBank, optional
        Transforms of the PSFs of these images, shared by scenes.
    """

    def __init__(
        self,
        images: Sequence[SceneImage],
        sources: Sources,
        options: FitOptions,
        *,
        bank: PsfBank | None = None,
    ) -> None:
        self.sources = sources
        self.options = options
        self.tables = kernel_tables(options.profile)
        self.reference = sources.theta[:, :2].copy()
        self.geometry = SceneGeometry(
            images,
            self.reference[:, 0],
            self.reference[:, 1],
            is_extended=sources.kind != SourceType.STAR,
            bank=bank,
        )
        self.data = np.zeros(self.geometry.length, np.float32)
        self.ivar = np.zeros(self.geometry.length, np.float32)
        self.noise = np.ones(len(images))
        halves = [
            (b, start + half * (area // 2), start + (area // 2, area)[half])
            for b, (start, area) in enumerate(self.spans())
            for half in range(2)
        ]
        unusable = [np.zeros(0, np.int64)] * len(halves)

        def prepare(task: int) -> None:
            b, begin, end = halves[task]
            start = self.spans()[b][0]
            data, ivar = (
                np.asarray(p).ravel()[begin - start : end - start].astype(np.float32, copy=False)
                for p in (images[b].data, images[b].ivar)
            )
            usable = np.isfinite(data) & np.isfinite(ivar) & (ivar > 0)
            np.copyto(self.data[begin:end], data, where=usable)
            np.copyto(self.ivar[begin:end], ivar, where=usable)
            unusable[task] = begin + np.flatnonzero(~usable)
            if begin == start:
                self.noise[b] = typical_noise(images[b].ivar)

        self.in_threads = Threads(options.threads)
        self.in_threads(prepare, range(len(halves)))
        self._unusable = np.concatenate(unusable)
        self.source_variance = [np.float32(im.source_variance).ravel() for im in images]
        self.psf_fwhm = max(im.psf.fwhm for im in images)
        self.correlation = white_noise(len(images))
        self.loose = np.zeros(len(sources), np.bool_)
        self.band_ivar = np.zeros((len(sources), 6))
        self.band_mean = np.zeros((self.n_flux, 6))
        self._stamps = StampRule(
            geometry=self.geometry,
            rings=np.stack(
                [
                    ring_brightness(im, transforms)
                    for im, transforms in zip(images, self.geometry.transforms, strict=True)
                ]
            ),
            noise=self.noise,
            psf_fwhm=self.psf_fwhm,
            fixed=options.stamp_side,
        )

    @property
    def n_flux(self) -> int:
        """Number of fluxes per source."""
        return len(self.geometry.flux_keys)

    def spans(self) -> list[tuple[int, int]]:
        """Return start and length of each image in the flat planes."""
        return [
            (int(o), int(h * w))
            for o, (h, w) in zip(self.geometry.offsets, self.geometry.shapes, strict=True)
        ]

    def stamp_sides(self, state: SceneState) -> Ints:
        """Return the stamp side of every source [pix], see `StampRule`."""
        return self._stamps.sides(self.sources, state, np.arange(len(self.sources)))

    def stamp_sides_of(self, rows: Ints, sources: Sources, state: SceneState) -> Ints:
        """Return the stamp sides of some rows, were ``sources`` and ``state`` those rows [pix]."""
        return self._stamps.sides(sources, state, rows)

    def _sides(self, state: SceneState) -> Ints:
        """Return the sides that the state was fitted with, or else has to have."""
        if (state.side > 0).all():
            return state.side
        return np.where(state.side > 0, state.side, self.stamp_sides(state))

    def resized(
        self, state: SceneState, *, hold: bool = False, sides: Ints | None = None
    ) -> SceneState:
        """Return the state with the stamps that its next pass has to have.

        They are chosen before the residual is made: light that only the larger of two stamps holds
        would be missing in one of model and residual, and sources would move to make up for it.

        Parameters
        ----------
        state : SceneState
        hold : bool
            Let stamps only grow.
        sides : ndarray, shape (n,), optional
            What `stamp_sides` returns for this state, if it is known already.
        """
        sides = self.stamp_sides(state) if sides is None else sides
        return replace(state, side=np.maximum(state.side, sides) if hold else sides)

    def members(
        self,
        rows: Ints,
        theta: Floats,
        sides: Ints,
        frame: Ints,
        *,
        offset: Floats | None = None,
        bright: Bools | None = None,
        count: Ints | None = None,
        in_threads: Callable[..., None] | None = None,
    ) -> tuple[Members, Floats]:
        """Return the kernel record of some sources and their parameters relative to it.

        ``offset`` as in `SceneState`; ``bright`` (n,) those whose PSF has to be exact (default:
        all), where aliases are folded if the PSF is oversampled; ``count`` of unit images (n,),
        by default those of everything that the models have; ``in_threads``: that of this scene,
        unless the caller runs in one of its threads.
        """
        relative = theta[rows].copy()
        relative[:, :2] -= self.reference[rows]
        corner = self.geometry.corners(rows, relative[:, :2], sides[rows])
        kind = self.sources.kind[rows]
        compact = (kind == SourceType.STAR) | (relative[:, 2] < np.log(COMPACT_RADIUS))
        compact |= sersic_index(self.sources.kind[rows], relative) > 2.0
        if bright is not None:
            compact &= bright[rows]
        if count is None:
            count = unit_counts(has_parameter(self.sources.kind), self.sources.anchor)
        members = self.geometry.members(
            rows,
            kind,
            sides[rows],
            count=count[rows],
            anchor=self.sources.anchor[rows],
            corner=corner,
            frame=frame,
            is_compact=compact,
            in_threads=in_threads,
        )
        if offset is not None:
            shift = offset[rows][:, self.geometry.key]
            members = members._replace(pos=members.pos + shift)
        return members, relative

    def residual(
        self,
        state: SceneState,
        sky: Floats | None = None,
        *,
        reuse: tuple[Pixels, Pixels] | None = None,
    ) -> tuple[Pixels, Pixels]:
        """Return flat data minus models minus sky, and the weights with the models' own noise.

        ``sky`` (B,) levels of the images; ``reuse`` what an earlier call returned and nobody
        needs any more: its memory is used again, as fresh memory is slow to touch.
        """
        residual = reuse[0] if reuse is not None else np.empty(self.data.shape, np.float32)
        self._subtract(residual, state, sky)
        residual[self._unusable] = 0.0
        return residual, self._weight(residual, sky, reuse)

    def lower(self, residual: Pixels, step: Floats) -> None:
        """Subtract changes ``step`` (B,) of the sky levels from a residual, in place."""

        def subtract(b: int) -> None:
            start, area = self.spans()[b]
            residual[start : start + area] -= np.float32(step[b])

        self.in_threads(subtract, np.flatnonzero(step).tolist())
        residual[self._unusable] = 0.0

    def residual_after(
        self, residual: Pixels, before: SceneState, after: SceneState, rows: Ints
    ) -> tuple[Pixels, Pixels]:
        """Return what `residual` returns, where only some rows have changed since ``before``.

        ``residual`` is that of ``before``; it is not changed.
        """
        changed = residual.copy()
        self._subtract(changed, before, None, rows=rows, sign=-1.0)
        self._subtract(changed, after, None, rows=rows)
        changed[self._unusable] = 0.0
        return changed, self._weight(changed, None, None)

    def residual_of(
        self, model: Pixels, state: SceneState, *, rows: Ints, drawn: Ints
    ) -> tuple[Pixels, Pixels]:
        """Return what `residual` returns, where the sum of all models is known already.

        Parameters
        ----------
        model : ndarray
            Flat planes.
        state : SceneState
        rows : ndarray of int
            Sources whose stamps may not be smaller in ``model`` than in the state.
        drawn : ndarray of int, shape (n,)
            Stamp sides of all sources in ``model`` [pix].
        """
        residual = np.subtract(self.data, model)
        short = rows[self._sides(state)[rows] > drawn[rows]]
        if len(short):
            before = state.copy()
            before.side = drawn
            self._subtract(residual, before, None, rows=short, sign=-1.0)
            self._subtract(residual, state, None, rows=short)
        residual[self._unusable] = 0.0
        return residual, self._weight(residual, None, None)

    def model(self, residual: Pixels, sky: Floats | None = None) -> Pixels:
        """Return the sum of all models that `residual` has subtracted; 0 in unusable pixels."""
        total = np.empty_like(residual)

        def add(b: int) -> None:
            start, area = self.spans()[b]
            part = slice(start, start + area)
            np.subtract(self.data[part], residual[part], out=total[part])
            if sky is not None:
                total[part] -= np.float32(sky[b])

        self.in_threads(add, range(self.geometry.n_images))
        total[self._unusable] = 0.0
        return total

    def model_of(
        self,
        state: SceneState,
        source: int,
        image: int,
        corner: tuple[int, int],
        shape: tuple[int, int],
    ) -> Pixels:
        """Return the model of one source in a box of one image, see `models_of`."""
        rows, corners = np.array([source], dtype=np.int64), np.array([corner], dtype=np.int64)
        model: Pixels = self.models_of(state, rows, image, corners, shape)[0]
        return model

    def models_of(
        self, state: SceneState, rows: Ints, image: int, corners: Ints, shape: tuple[int, int]
    ) -> Pixels:
        """Return the models of some sources, each in a box of its own of one image, (m, ny, nx).

        ``corners`` (m, 2) x, y of where the boxes start in the image, ``shape`` their (ny, nx).
        """
        geometry = self.geometry
        members, theta = self.members(
            rows,
            state.theta,
            self._sides(state),
            np.zeros((geometry.n_images, 2), np.int64),
            offset=state.offset,
            bright=needs_exact_psf(state),
        )
        members = members._replace(origin=members.origin - corners[:, None])
        which = np.array([image])
        flux = np.nan_to_num(state.flux[rows])
        out = np.zeros((len(rows), *shape), np.float32)
        for i, plane in enumerate(out):
            images = Images(
                plane.reshape(-1),
                plane.reshape(-1),
                np.zeros(1, np.int64),
                np.array([shape], dtype=np.int64),
                geometry.key[which],
                geometry.sky[which],
            )
            own = slice(i, i + 1)
            subtract_models(
                images, part_of(members, own, which), theta[own], flux[own], self.tables, -1.0
            )
        return out

    def _weight(
        self, residual: Pixels, sky: Floats | None, reuse: tuple[Pixels, Pixels] | None
    ) -> Pixels:
        """Return the weights with the noise of the models that a residual has subtracted."""
        error = self.options.psf_error
        has_own_noise = error > 0.0 or any(v.any() for v in self.source_variance)
        weight = self.ivar
        if has_own_noise:
            weight = reuse[1] if reuse is not None else np.empty_like(self.ivar)

        def add_noise(b: int) -> None:
            start, area = self.spans()[b]
            part = slice(start, start + area)
            level = np.float32(0.0 if sky is None else sky[b])
            model = np.maximum(self.data[part] - level - residual[part], 0.0)
            extra = self.source_variance[b] * model + np.float32(error**2) * model**2
            np.divide(self.ivar[part], 1.0 + self.ivar[part] * extra, out=weight[part])

        if has_own_noise:
            self.in_threads(add_noise, range(self.geometry.n_images))
        return weight

    def _subtract(
        self,
        residual: Pixels,
        state: SceneState,
        sky: Floats | None,
        *,
        rows: Ints | None = None,
        sign: float = 1.0,
    ) -> None:
        """Fill with the data less sky and all models, two images at a time.

        With ``rows`` only subtract their models, times a sign, from what is there.
        """
        fill = rows is None
        shining = (np.nan_to_num(state.flux) != 0.0).any(axis=1)
        rows = np.flatnonzero(shining) if rows is None else rows[shining[rows]]
        spans = self.spans()
        geometry = self.geometry
        everywhere = np.zeros((geometry.n_images, 2), np.int64)
        members, theta = self.members(
            rows,
            state.theta,
            self._sides(state),
            everywhere,
            offset=state.offset,
            bright=needs_exact_psf(state),
            in_threads=self.in_threads,
        )
        flux = np.nan_to_num(state.flux[rows])
        # Two images share a transform: always the same two, whatever the number of threads.
        everything = np.arange(geometry.n_images)
        pairs = [everything[i : i + 2] for i in everything[::2]]
        middle = len(rows) // 2 if self.options.threads > 1 else len(rows)
        halves = (slice(middle), slice(middle, None))[: 1 if middle == len(rows) else 2]
        is_half_done = [threading.Event() for _ in pairs]

        def share(task: tuple[int, int]) -> None:
            half, number = task
            which = pairs[number]
            images = Images(
                residual,
                residual,
                geometry.offsets[which],
                geometry.shapes[which],
                geometry.key[which],
                geometry.sky[which],
            )
            own = halves[half]
            if half == 1:
                is_half_done[number].wait()  # one after the other: rounding stays the same
            try:
                if half == 0 and fill:
                    for b in which:
                        part = slice(spans[b][0], sum(spans[b]))
                        np.subtract(
                            self.data[part],
                            np.float32(0.0 if sky is None else sky[b]),
                            out=residual[part],
                        )
                if len(rows):
                    seen = part_of(members, own, which)
                    subtract_models(images, seen, theta[own], flux[own], self.tables, sign)
            finally:
                is_half_done[number].set()

        self.in_threads(
            share, [(h, number) for h in range(len(halves)) for number in range(len(pairs))]
        )


def needs_exact_psf(state: SceneState) -> Bools:
    """Tell which sources need the exact PSF: below, 1e-3 of the peak is far below the noise."""
    return np.asarray((state.snr > FOLD_SNR) & state.started)
