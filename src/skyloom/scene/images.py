"""Images of a scene, and their flat form for the kernels."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import numpy as np

from skyloom._types import Bools, Floats, Ints, Pixels
from skyloom.protocols import Psf

from ._members_nb import fill_members, place_stamps
from ._records import Images, Members
from .transforms import PsfBank, PsfTransforms

__all__ = ["RING_SIDES", "SceneGeometry", "SceneImage", "ring_brightness", "typical_noise"]

RINGS = (14.0, 30.0, 62.0)  # pix: radii at which stamps of 32, 64, 128 px end
RING_SIDES = np.array([64.0, 128.0, 256.0])  # the stamps that hold what is beyond
RING_MARGIN = 8  # pix: a PSF stamp that ends just beyond a ring does not need the larger stamp
NOISE_SAMPLE = 10_007  # pixels that tell the noise of an image: known to 1 per cent


@dataclass(frozen=True, slots=True, kw_only=True)
class SceneImage:
    """One image of a scene.

    Parameters
    ----------
    data : ndarray of float32, shape (ny, nx)
        Surface brightness [any linear unit], background subtracted or not (see ``sky_key``).
    ivar : ndarray of float32, shape (ny, nx)
        Inverse variance of everything but the sources; 0 marks pixels not to be used.
    psf : Psf
        Effective PSF in the pixel frame of this image, shifted by ``origin``.
    flux_key : hashable
        What a flux belongs to: the band, or the exposure of a light curve.  Images with the same
        key share one flux per source.
    sky_key : hashable or None
        Images with the same key share a constant sky level that is fitted; None: no level.
    source_variance : float or ndarray of float32, shape (ny, nx)
        Variance per unit of source light in a pixel (1 / gain), of all pixels or of each; 0 ignores
        source noise.
    origin : tuple of int
        Position of ``data[0, 0]`` in the frame of ``psf`` and of the sources' positions.
    x, y : ndarray, shape (n,), optional
        Positions of the sources at their reference position in this image; default: the
        reference frame is this image's.
    jacobian : ndarray, shape (n, 2, 2), optional
        d(pixel)/d(reference) at each source; default: identity.
    noise_correlation : ndarray, shape (2 L + 1, 2 L + 1), optional
        Correlation of the noise of two pixels by their distance, 1 at the centre; see
        `measure_noise_correlation`.  Default: measured by `fit_scene`.
    """

    data: Pixels
    ivar: Pixels
    psf: Psf
    flux_key: Hashable = 0
    sky_key: Hashable | None = None
    source_variance: float | Pixels = 0.0
    origin: tuple[int, int] = (0, 0)
    x: Floats | None = None
    y: Floats | None = None
    jacobian: Floats | None = None
    noise_correlation: Floats | None = None


def _flat_layout(shapes: Ints) -> tuple[Ints, int]:
    """Return the start of each box in a flat array, and its whole length."""
    areas = shapes[:, 0] * shapes[:, 1]
    return np.concatenate([[0], np.cumsum(areas)[:-1]]).astype(np.int64), int(areas.sum())


class SceneGeometry:
    """Where sources fall in images, and the PSF there: everything that fluxes do not change.

    Parameters
    ----------
    images : sequence of SceneImage
    x, y : ndarray, shape (n,)
        Reference positions; ``theta`` of the kernels counts from here.
    is_extended : ndarray of bool, shape (n,), optional
        Sources that are no points, for PSFs that tell both apart.
    bank : PsfBank, optional
        Transforms of the PSFs of these images, kept between calls.
    """

    def __init__(
        self,
        images: Sequence[SceneImage],
        x: Floats,
        y: Floats,
        *,
        is_extended: Bools | None = None,
        bank: PsfBank | None = None,
    ) -> None:
        n, n_images = len(x), len(images)
        self.shapes = np.array([im.data.shape for im in images], dtype=np.int64).reshape(-1, 2)
        self.offsets, self.length = _flat_layout(self.shapes)
        self.flux_keys = list(dict.fromkeys(im.flux_key for im in images))
        self.key = np.array([self.flux_keys.index(im.flux_key) for im in images], dtype=np.int64)
        self.bank = bank or PsfBank([PsfTransforms(im.psf) for im in images])
        self.transforms = self.bank.transforms
        self.sampling = np.array([t.oversampling for t in self.transforms], dtype=np.int64)
        skies = list(dict.fromkeys(im.sky_key for im in images if im.sky_key is not None))
        self.sky_keys: list[Hashable] = skies
        self.sky = np.array(
            [-1 if im.sky_key is None else skies.index(im.sky_key) for im in images], dtype=np.int64
        )
        self.position = np.empty((n, n_images, 2))
        self.jacobian = np.empty((n, n_images, 4))
        coefficients = []
        for b, im in enumerate(images):
            xb = x if im.x is None else im.x
            yb = y if im.y is None else im.y
            self.position[:, b, 0] = xb - im.origin[0]
            self.position[:, b, 1] = yb - im.origin[1]
            jac = np.eye(2) if im.jacobian is None else im.jacobian
            self.jacobian[:, b] = np.broadcast_to(jac, (n, 2, 2)).reshape(n, 4)
            coefficients.append(self.transforms[b].coefficients(xb, yb, is_extended))
        self.terms = np.array([c.shape[1] for c in coefficients], dtype=np.int64)
        self.coefficients = np.zeros((n, n_images, int(self.terms.max(initial=1))))
        for b, found in enumerate(coefficients):
            self.coefficients[:, b, : found.shape[1]] = found

    @property
    def n_images(self) -> int:
        """Number of images."""
        return len(self.offsets)

    def images(self, data: Pixels, weight: Pixels) -> Images:
        """Return flat planes as the record that kernels read."""
        return Images(data, weight, self.offsets, self.shapes, self.key, self.sky)

    def corners(self, rows: Ints, shift: Floats, side: Ints) -> Ints:
        """Return the lower-left corner (x, y) of the stamps of some sources, shape (m, B, 2).

        ``shift`` (m, 2): present position minus reference.
        """
        corner = np.empty((len(rows), self.n_images, 2), np.int64)
        place_stamps(rows, shift, side, self.position, self.jacobian, corner)
        return corner

    def farthest(self, rows: Ints) -> Floats:
        """Return the largest distance along an axis of sources from a pixel of any image."""
        position, last = self.position[rows], self.shapes[:, ::-1]
        away = np.maximum(np.abs(position), np.abs(last - position))
        return np.asarray(away.max(axis=(1, 2), initial=0.0))

    def reach(self, rows: Ints) -> Floats:
        """Return twice the largest distance of sources from an edge of an image, and 32 px."""
        far = 2.0 * self.farthest(rows) + 32.0
        return np.asarray(np.minimum(far, 2.0 * self.shapes.max()))

    def members(
        self,
        rows: Ints,
        kind: Ints,
        side: Ints,
        *,
        count: Ints,
        anchor: Ints,
        corner: Ints,
        frame: Ints,
        is_compact: Bools,
        in_threads: Callable[..., None] | None = None,
    ) -> Members:
        """Assemble the kernel record of some sources.

        ``corner`` (m, B, 2) are stamp corners in the images, ``frame`` (B, 2) or (1, 2) the
        corner of the box in which the kernel will work.  ``is_compact`` (m,): sources whose image
        has power beyond the Nyquist frequency if the PSF has; for them the aliases are folded.
        ``in_threads(work, tasks)``, if given, computes transforms that are still missing.
        """
        m, n, most = len(rows), self.n_images, self.coefficients.shape[2]
        origin, pos = np.empty((m, n, 2), np.int64), np.empty((m, n, 2))
        jac, mixture = np.empty((m, n, 4)), np.empty((m, n, most))
        fold, code = np.empty((m, n), np.int64), np.empty((m, n), np.int64)
        seen = np.zeros((int(side.max(initial=0)) + 1) * 4 * n, np.bool_)
        frame = np.ascontiguousarray(np.broadcast_to(frame, (n, 2)))
        fill_members(
            rows, side, corner, frame, self.position, self.jacobian, self.coefficients, is_compact,
            self.sampling, origin, pos, jac, mixture, fold, code, seen,
        )  # fmt: skip
        codes = np.flatnonzero(seen)  # few different ones
        wanted = [(c % n, c // n // 4, c // n % 4) for c in codes.tolist()]
        if in_threads is not None:
            self.bank.prepare(wanted, in_threads)
        start = np.zeros(len(seen), np.int64)
        start[codes] = [self.bank.offset(*which) for which in wanted]
        return Members(
            kind,
            count,
            anchor,
            side,
            origin,
            pos,
            jac,
            self.bank.flat,
            start[code],
            self.terms,
            mixture,
            fold,
        )


def typical_noise(ivar: Pixels) -> float:
    """Return the median sky noise of the usable pixels (1 where there is none)."""
    some = ivar.ravel()[:: max(1, ivar.size // NOISE_SAMPLE)]
    good = some[np.isfinite(some) & (some > 0)]
    if not good.size:
        good = ivar[np.isfinite(ivar) & (ivar > 0)]
    return float(1.0 / np.sqrt(np.median(good))) if good.size else 1.0


def ring_brightness(image: SceneImage, transforms: PsfTransforms) -> Floats:
    """Return the PSF per unit flux on the rings where stamps of 32, 64, 128 px end, shape (3,).

    0 where the PSF ends: there is nothing that a larger stamp would hold.  ``transforms`` are those
    of its PSF.
    """
    height, width = image.data.shape
    centre = transforms.coefficients(
        np.array([image.origin[0] + 0.5 * width]), np.array([image.origin[1] + 0.5 * height])
    )
    cut = [centre[0] @ samples for samples in transforms.rings(RINGS, RING_MARGIN)]
    return np.array([float(np.median(np.abs(v))) if v.size else 0.0 for v in cut])
