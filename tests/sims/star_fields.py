"""Fields of catalogue stars with a known WCS, for tests of plate solving.

The stars are those of a Tycho-2 index file (its kd-tree holds their unit vectors, see
``plate_solving.io.index``).  Some are left out, all are moved by a jitter, many faint objects that
no catalogue has are added, and all are drawn as Gaussians with photon and read noise.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from skyloom.calib.plate_solving import SipTerms, StarList, TanSip, stars_in_cone

SHAPE = (960, 1024)
MISSING, FAINT, JITTER = 0.1, 600, 0.15  # part, number, pix
SKY, READ_NOISE = 400.0, 6.0  # electrons

# ra, dec [deg], width [deg], rotation [deg], mirrored, cubic distortion at the corner [pix]
FIELDS = [
    (150.1, 2.2, 1.6, 0.0, False, 0.0),
    (0.05, -31.0, 2.0, 33.0, False, 1.5),
    (266.4, -28.9, 1.5, 120.0, True, 0.0),
    (83.8, -5.4, 2.1, -77.0, False, 2.0),
    (12.0, 87.6, 2.2, 15.0, True, 2.5),
    (201.7, -47.5, 1.5, 200.0, False, 0.5),
    (310.0, 42.0, 1.4, 301.0, True, 1.0),
    (359.9, 12.0, 2.1, 90.0, False, 3.0),
    (75.0, -69.0, 1.7, 180.0, False, 1.0),
    (185.0, 58.0, 2.4, 250.0, True, 2.0),
]


# Widths for which an index with quads of 42 to 60 arcmin is best: these are 0.7 to 0.3 of them.
WIDTHS = 60 / 0.7 / 60, 42 / 0.3 / 60  # deg


def random_fields(n: int, seed: int = 2026):
    """Return fields anywhere on the sky, of any width in `WIDTHS`; nobody looked at them before."""
    rng = np.random.default_rng(seed)
    return [
        (
            rng.uniform(0, 360),
            float(np.degrees(np.arcsin(rng.uniform(-1, 1)))),
            rng.uniform(*WIDTHS),
            rng.uniform(0, 360),
            bool(rng.random() < 0.5),
            float(i % 2) * rng.uniform(0, 3),
        )
        for i in range(n)
    ]


@dataclass(frozen=True)
class Field:
    """A picture and its truth."""

    image: np.ndarray
    wcs: TanSip
    stars: StarList  # as an ideal extraction would give them

    @property
    def centre(self):
        ny, nx = SHAPE
        ra, dec = self.wcs.pixel_to_sky(np.array([0.5 * (nx - 1)]), np.array([0.5 * (ny - 1)]))
        return float(ra[0]), float(dec[0])

    def errors(self, wcs: TanSip, n: int = 9):
        """Distances [pix] between the truth and a WCS on a grid, and at the centre."""
        ny, nx = SHAPE
        x, y = (
            g.ravel() for g in np.meshgrid(np.linspace(0, nx - 1, n), np.linspace(0, ny - 1, n))
        )
        there = wcs.sky_to_pixel(*self.wcs.pixel_to_sky(x, y))
        grid = np.hypot(there[0] - x, there[1] - y)
        middle = np.array([0.5 * (nx - 1)]), np.array([0.5 * (ny - 1)])
        there = wcs.sky_to_pixel(*self.wcs.pixel_to_sky(*middle))
        return grid, float(np.hypot(there[0] - middle[0], there[1] - middle[1])[0])


def true_wcs(*field) -> TanSip:
    ra, dec, width, rotation, mirrored, distortion = field
    ny, nx = SHAPE
    scale, angle = width / nx, np.radians(rotation)
    parity = 1.0 if mirrored else -1.0
    turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    cd = scale * turn @ np.diag([parity, 1.0])
    sip = None
    if distortion:
        k = distortion / np.hypot(0.5 * nx, 0.5 * ny) ** 3  # radial cubic, and a tilt
        tilt = 0.3 * distortion / (0.5 * nx) ** 2
        sip = SipTerms(
            order=3,
            a={(3, 0): k, (1, 2): k, (2, 0): tilt, (1, 1): -0.5 * tilt},
            b={(0, 3): k, (2, 1): k, (0, 2): -tilt, (1, 1): 0.7 * tilt},
        )
    # Off the centre, so that it is not by chance where a fit puts it.
    return TanSip(crval=(ra, dec), crpix=(0.5 * nx + 13.2, 0.5 * ny - 21.7), cd=cd, sip=sip)


def make_field(index, seed: int, *field) -> Field:
    rng = np.random.default_rng(seed)
    ra, dec, width = field[:3]
    wcs = true_wcs(*field)
    ny, nx = SHAPE
    catalog = stars_in_cone(index, ra=ra, dec=dec, radius=width)
    x, y = wcs.sky_to_pixel(catalog.ra, catalog.dec)
    inside = (x > -0.5) & (x < nx - 0.5) & (y > -0.5) & (y < ny - 0.5)
    inside &= rng.random(len(x)) > MISSING
    n = int(inside.sum())
    flux = 10 ** (-0.4 * (catalog.mag[inside] - 12.5)) * 3000.0
    x = np.concatenate([x[inside] + rng.normal(0, JITTER, n), rng.uniform(0, nx - 1, FAINT)])
    y = np.concatenate([y[inside] + rng.normal(0, JITTER, n), rng.uniform(0, ny - 1, FAINT)])
    flux = np.concatenate([np.minimum(flux, 2e6), 300.0 * (1.0 + rng.pareto(1.0, FAINT))])
    flux[n:] = np.minimum(flux[n:], 6000.0)
    image = np.full(SHAPE, SKY)
    _draw(image, x, y, flux)
    image = rng.poisson(image) + rng.normal(0, READ_NOISE, SHAPE)
    return Field(
        image=image.astype(np.float32), wcs=wcs, stars=StarList.of(x, y, flux, shape=SHAPE)
    )


def _draw(image, x, y, flux, *, sigma=1.3, half=8):
    ny, nx = image.shape
    for star_x, star_y, star_flux in zip(x, y, flux, strict=True):
        ix, iy = round(star_x), round(star_y)
        xs = np.arange(max(0, ix - half), min(nx, ix + half + 1))
        ys = np.arange(max(0, iy - half), min(ny, iy + half + 1))
        profile = np.exp(-0.5 * ((ys - star_y) / sigma) ** 2)[:, None] * np.exp(
            -0.5 * ((xs - star_x) / sigma) ** 2
        )
        image[ys[0] : ys[-1] + 1, xs[0] : xs[-1] + 1] += (
            star_flux / (2 * np.pi * sigma**2) * profile
        )
