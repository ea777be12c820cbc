"""Tables of version 0, laid out with astropy as the reader of afw takes them."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from skyloom.catalogs import SourceCatalog

N = 4
SLOTS = {  # card -> slot
    "PSF_FLUX_SLOT": "PsfFlux",
    "AP_FLUX_SLOT": "ApFlux",
    "INST_FLUX_SLOT": "InstFlux",
    "MODEL_FLUX_SLOT": "ModelFlux",
    "CALIB_FLUX_SLOT": "CalibFlux",
    "CENTROID_SLOT": "Centroid",
    "SHAPE_SLOT": "Shape",
}
FLUXES = {"PsfFlux": "flux.psf", "ApFlux": "flux.sinc", "InstFlux": "flux.gaussian",
          "ModelFlux": "multishapelet.combo.flux", "CalibFlux": "flux.naive"}  # fmt: skip


def packed(matrix):
    """Return the upper triangle of symmetric matrices as afw packs it: column after column."""
    n = matrix.shape[-1]
    return np.stack([matrix[:, i, j] for j in range(n) for i in range(j + 1)], axis=1)


@pytest.fixture
def old(tmp_path):
    """Return a catalogue without AFW_TABLE_VERSION, and the numbers in it."""
    rng = np.random.default_rng(1)
    root = rng.normal(size=(N, 3, 3))
    moments_cov = (root @ root.transpose(0, 2, 1)).astype(np.float32)
    root = rng.normal(size=(N, 2, 2))
    point_cov = (root @ root.transpose(0, 2, 1)).astype(np.float32)
    truth = {
        "moments": rng.uniform(1, 4, (N, 3)), "moments_cov": moments_cov,
        "centroid": rng.uniform(0, 100, (N, 2)), "point_cov": point_cov,
        **{name: rng.uniform(1, 9, N) for name in FLUXES.values()},
    }  # fmt: skip
    columns = [
        ("id", "1K", np.arange(N), "Scalar"),
        ("coord", "2D", rng.uniform(0, 1, (N, 2)), "Coord"),
        ("centroid.sdss", "2D", truth["centroid"], "Point"),
        ("centroid.sdss.err", "3E", packed(point_cov), "Covariance(Point)"),
        ("shape.sdss", "3D", truth["moments"], "Moments"),
        ("shape.sdss.err", "6E", packed(moments_cov), "Covariance(Moments)"),
        ("peak", "2J", np.arange(2 * N).reshape(N, 2), "Point"),
        ("theta", "1D", rng.uniform(0, 1, N), "Angle"),
        *((name, "1D", truth[name], "Scalar") for name in FLUXES.values()),
    ]
    flags = [f"{name}.flags" for name in FLUXES.values()]
    truth["flags"] = rng.random((N, len(flags))) < 0.5
    hdu = fits.BinTableHDU.from_columns(
        [fits.Column("flags", f"{len(flags)}X", array=truth["flags"]),
         *(fits.Column(name, form, array=values) for name, form, values, _ in columns)]
    )  # fmt: skip
    hdu.header["FLAGCOL"] = 1
    for number, (_, _, _, kind) in enumerate(columns, start=2):
        hdu.header[f"TCCLS{number}"] = kind
    for bit, name in enumerate(flags, start=1):
        hdu.header[f"TFLAG{bit}"] = name
    for card, slot in SLOTS.items():
        target = FLUXES.get(slot, {"Centroid": "centroid.sdss", "Shape": "shape.sdss"}.get(slot))
        hdu.header.append((f"HIERARCH {card}" if len(card) > 8 else card, target), end=True)
    hdu.header["AFW_TYPE"] = "SOURCE"
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(tmp_path / "v0.fits")
    return SourceCatalog.read(tmp_path / "v0.fits"), truth


def test_every_slot_of_the_cards(old):
    sources, truth = old
    assert not sources.version
    for attribute, name in (
        ("psf_flux", "flux.psf"), ("ap_flux", "flux.sinc"), ("inst_flux", "flux.gaussian"),
        ("model_flux", "multishapelet.combo.flux"), ("calib_flux", "flux.naive"),
    ):  # fmt: skip
        assert np.array_equal(getattr(sources, attribute), truth[name])
        bit = list(FLUXES.values()).index(name)
        assert np.array_equal(getattr(sources, f"{attribute}_flag"), truth["flags"][:, bit])
    for name in ("slot_ApFlux_flux", "flux.sinc_flux", "flux.sinc"):
        assert np.array_equal(sources.get(name), truth["flux.sinc"])
    assert np.array_equal(sources.x, truth["centroid"][:, 0])
    assert np.array_equal(sources.ixy, truth["moments"][:, 2])


def test_errors_are_the_roots_of_the_diagonal(old):
    """Covariances are packed (0,0) (0,1) (1,1) (0,2) (1,2) (2,2), with xx, yy, xy."""
    sources, truth = old
    point, moments = truth["point_cov"], truth["moments_cov"]
    assert np.allclose(sources.x_err, np.sqrt(point[:, 0, 0]))
    assert np.allclose(sources.y_err, np.sqrt(point[:, 1, 1]))
    found = sources.shape_err
    for i, values in enumerate((found.ixx, found.iyy, found.ixy)):
        assert np.allclose(values, np.sqrt(moments[:, i, i]))
    for name, (i, j) in (("xx_yy_Cov", (0, 1)), ("xx_xy_Cov", (0, 2)), ("yy_xy_Cov", (1, 2))):
        assert np.allclose(sources.get(f"slot_Shape_{name}"), moments[:, i, j])
    assert np.allclose(sources.get("slot_Centroid_x_y_Cov"), point[:, 0, 1])


def test_points_of_integers_and_angles(old):
    sources, _ = old
    assert sources.schema["peak"].type == "PointI"
    assert np.array_equal(sources.get("peak_y"), np.arange(1, 2 * N, 2))
    assert sources.schema["theta"].type == "Angle"
