"""Settings whose effect needs no run: what they decide is asked for directly."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from key_effects import nested

from skyloom.cli.logs import run_log
from skyloom.errors import Mismatch, WrongValue
from skyloom.flow import available_cpus
from skyloom.images import Frame
from skyloom.pipelines.tile import TileConfig, bright, psfs
from skyloom.pipelines.tile.bright import BrightMaskInputs, BrightMaskStage
from skyloom.pipelines.tile.config import load_config
from skyloom.pipelines.tile.fallback import fallback_psf
from skyloom.pipelines.tile.load import read_tile_frames
from skyloom.pipelines.tile.merge import is_merged
from skyloom.pipelines.tile.patch_scene import _band_psf
from skyloom.pipelines.tile.pipeline import build_pipeline, tile_layout
from skyloom.pipelines.tile.preflight import check_inputs
from skyloom.pipelines.tile.psf_cache import psf_and_transforms
from skyloom.pipelines.tile.report_meta import hit_limit
from skyloom.pipelines.tile.run import _ignoring_warnings
from skyloom.pipelines.tile.sky import SkyField
from skyloom.pipelines.tile.start import scene_sources, start_values
from skyloom.pipelines.tile.work import worker_count
from skyloom.psf import FieldPsf


def config(**settings: object) -> TileConfig:
    """Return a configuration; ``__`` stands for the dot in a key."""
    return TileConfig.model_validate(nested({k.replace("__", "."): v for k, v in settings.items()}))


def with_key(key: str, value: object, **given: object) -> TileConfig:
    return config(**given, **{key.replace(".", "__"): value})


# --- files and directories


@pytest.mark.parametrize(
    ("key", "dataset", "file"),
    [
        ("outputs.epsf_dir", "epsf_summary", "elsewhere/epsf_summary.json"),
        ("outputs.patches_dir", "patches_csv", "elsewhere/patches.csv"),
        ("outputs.patch_inputs_dir", "payload", "elsewhere/p.npz"),
        ("outputs.tractor_out_dir", "patch_catalog", "elsewhere/p/p_cat_fit.csv"),
        ("outputs.final_catalog", "final_catalog", "elsewhere"),
        ("outputs.cropped_images_dir", "white_after_crop", "elsewhere/white_after_crop.png"),
        ("outputs.overlay_dir", "white_overlay", "elsewhere/white_overlay.png"),
    ],
)
def test_products_lie_where_the_outputs_say(key: str, dataset: str, file: str) -> None:
    layout = tile_layout(with_key(key, Path("elsewhere")))
    unit = {"patch": "p"} if "patch" in layout[dataset].dimensions else {}
    template = layout[dataset].template
    assert template is not None
    path = template.format(**layout.variables, **unit)
    assert path == file


# --- checks of the images


def images(folder: Path, **changes: object) -> list[Path]:
    """Write two images; the second differs by some keywords or in its number of rows."""
    paths = []
    for band, own in (("g", {}), ("r", changes)):
        header = fits.Header()
        header.update({"CTYPE1": "RA---TAN", "CTYPE2": "DEC--TAN", "CRVAL1": 150.0, "CRVAL2": 2.0})
        header.update({"CRPIX1": 20.0, "CRPIX2": 20.0, "CDELT1": -1e-4, "CDELT2": 1e-4})
        header.update({"FILTER": band, "ZP_AUTO": 25.0, "SKYSIG": 1.0, "EGAIN": 2.0})
        if "CD1_1" in changes:
            del header["CDELT*"]
            header.update({"CD1_1": -1e-4, "CD1_2": 0.0, "CD2_1": 0.0, "CD2_2": 1e-4})
        header.update({k: v for k, v in own.items() if k != "rows"})
        paths.append(folder / f"{band}.fits")
        rows = int(str(own.get("rows", 40)))
        fits.PrimaryHDU(np.zeros((rows, 40), np.float32), header).writeto(paths[-1])
    return paths


@pytest.mark.parametrize(
    ("key", "value", "changes"),
    [
        ("checks.wcs_tolerance.crval", 0.1, {"CRVAL1": 150.01}),
        ("checks.wcs_tolerance.crpix", 1.0, {"CRPIX1": 20.5}),
        ("checks.wcs_tolerance.cd", 1e-5, {"CD1_1": -1.01e-4}),
        ("checks.wcs_tolerance.cdelt", 1e-5, {"CDELT1": -1.01e-4}),
        ("checks.require_wcs_alignment", False, {"CRVAL1": 150.01}),
    ],
)
def test_a_check_is_as_strict_as_it_is_set(
    tmp_path: Path, key: str, value: object, changes: Mapping[str, object]
) -> None:
    paths = images(tmp_path, **changes)
    with pytest.raises(Mismatch, match="WCS mismatch with reference"):
        read_tile_frames(paths, config(crop__enabled=False))
    loose = with_key(key, value, crop__enabled=False)
    assert [frame.band for frame in read_tile_frames(paths, loose)] == ["g", "r"]


def test_images_of_different_shapes_are_refused_or_padded_as_require_same_shape_says(
    tmp_path: Path,
) -> None:
    paths = images(tmp_path, rows=41)
    with pytest.raises(Mismatch, match=r"Image shape mismatch.*require_same_shape: false"):
        read_tile_frames(paths, config(crop__enabled=False))
    loose = config(crop__margin=3, checks__require_same_shape=False)
    small, large = read_tile_frames(paths, loose)
    assert small.shape == large.shape == (41, 40)
    assert small.box == large.box
    assert (small.data_shape, large.data_shape) == ((40, 40), None)


def test_images_of_different_shapes_must_share_their_wcs(tmp_path: Path) -> None:
    paths = images(tmp_path, rows=41, CRPIX2=21.0)
    with pytest.raises(Mismatch, match="WCS mismatch with reference"):
        read_tile_frames(paths, config(crop__enabled=False, checks__require_same_shape=False))


# --- arguments that are passed on; the functions have tests of their own


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("bright_mask.deblend_nthresh", 5),
        ("bright_mask.deblend_cont", 0.3),
        ("bright_mask.clean", False),
        ("bright_mask.clean_param", 2.5),
    ],
)
def test_detection_of_the_bright_mask_is_told(
    monkeypatch: pytest.MonkeyPatch, key: str, value: object
) -> None:
    seen: dict[str, Any] = {}

    def spy(*_: object, **arguments: object) -> None:
        seen.update(arguments)
        raise StopIteration

    monkeypatch.setattr(bright, "bright_mask", spy)
    sources = {n: np.zeros(0) for n in ("x_pix_white", "y_pix_white")}
    inputs: Any = SimpleNamespace(
        white={"IMAGE": None, "SIGMA": None},
        sources={**sources, "excluded_any": np.zeros(0, bool)},
    )
    assert set(vars(inputs)) <= set(BrightMaskInputs.__dataclass_fields__)
    with pytest.raises(StopIteration):
        BrightMaskStage(with_key(key, value)).run(inputs)
    assert seen[key.rpartition(".")[2]] == value


@pytest.mark.parametrize("clip", [True, False])
def test_do_clip_decides_whether_odd_stars_are_left_out(
    monkeypatch: pytest.MonkeyPatch, clip: bool
) -> None:
    seen = []

    def spy(*_: object, options: Any, **__: object) -> Any:
        seen.append(options.clip_sigma)
        return SimpleNamespace(psf=None)

    monkeypatch.setattr(psfs, "build_field_psf", spy)
    stage = psfs.Epsf(config(epsf__do_clip=clip))
    pixels = np.ones((80, 80), np.float32)
    band = psfs.BandImage(data=pixels, ivar=pixels, source_variance=0.0)
    view: Any = SimpleNamespace(band=lambda: band, source_variance=0.0)
    stars: Any = SimpleNamespace(x=np.array([40.0, 41.0]), y=np.array([40.0, 39.0]))
    frame: Any = SimpleNamespace(working_shape=(80, 80))
    stage._build(view, stars, None, frame, sky=SkyField.zero(1, (80, 80)))  # type: ignore[arg-type]
    assert np.isfinite(seen[0]) == clip


# --- the PSF that takes over


@pytest.mark.parametrize(
    ("key", "value", "given"),
    [
        ("moffat_psf.beta", 2.5, "moffat"),
        ("moffat_psf.radius_pix", 12.0, "moffat"),
        ("patch_run.psf_fallback_model", "moffat", "ncircular_gaussian"),
        ("patch_run.ncircular_gaussian_n", 2, "ncircular_gaussian"),
        ("patch_run.fallback_stamp_radius_pix", 12.0, "gaussian_mixture"),
    ],
)
def test_the_fallback_psf_is_as_configured(key: str, value: object, given: str) -> None:
    model = {"patch_run__psf_fallback_model": given}
    before = fallback_psf(config(**model), 4.0, (50, 50)).basis
    changed = config(**{**model, key.replace(".", "__"): value})
    assert not np.array_equal(before, fallback_psf(changed, 4.0, (50, 50)).basis)


def test_a_gaussian_mixture_fallback_is_one_gaussian_whatever_its_number() -> None:
    """The sum of Gaussians that fits a Gaussian stamp best is that Gaussian."""
    stamp = fallback_psf(
        config(patch_run__psf_fallback_model="gaussian_mixture"), 4.0, (50, 50)
    ).stamp_at(25.0, 25.0)
    # half of the peak at half of the FWHM, along the axis
    assert stamp[25, 27] / stamp[25, 25] == pytest.approx(0.5, rel=1e-6)  # float32 stamp


@pytest.mark.parametrize(("fwhm", "header"), [(4.0, None), (6.5, None), (6.5, 3.0)])
def test_without_a_header_the_fallback_has_the_default_width(
    finished_tile: Path, fwhm: float, header: float | None
) -> None:
    settings = config(patch_run__fallback_default_fwhm_pix=fwhm)
    frame = replace(read_tile_frames([finished_tile / "images/sim_m475.fits"], config(
        crop__margin=4))[0], fwhm_pix=header)  # fmt: skip

    psf, _ = _band_psf(settings, "m475", {}, {"frames": {"m475": frame.as_dict()}})
    assert psf.fwhm == pytest.approx(header or fwhm)
    assert isinstance(frame, Frame)


def test_hybrid_is_exact_for_stars_and_so_many_gaussians_for_galaxies(finished_tile: Path) -> None:
    with np.load(finished_tile / "work/skyloom/epsf/m475.npz") as arrays:
        stored = dict(arrays)
    handle: Any = SimpleNamespace(digest="hybrid", read=lambda: stored)

    def found(model: str, **number: int) -> Any:
        settings = {f"patch_run__{name}": n for name, n in number.items()}
        return _band_psf(
            config(patch_run__psf_model=model, **settings), "m475", {"m475": handle}, {}
        )

    exact, _ = found("pixelized")
    mixture, _ = found("gaussian_mixture_from_stamp", gaussian_mixture_n=3)
    hybrid, transforms = found("hybrid", hybrid_psf_n=3)
    assert np.array_equal(hybrid.point.basis, exact.basis)
    assert np.array_equal(hybrid.extended.basis, mixture.basis)
    x, y = np.array([30.0, 30.0]), np.array([40.0, 40.0])
    shares = transforms.coefficients(x, y, np.array([False, True]))
    star, galaxy = np.tensordot(shares, hybrid.basis, 1)
    # single precision of the basis
    np.testing.assert_allclose(star, exact.samples_at(30.0, 40.0), atol=1e-7)
    np.testing.assert_allclose(galaxy, mixture.samples_at(30.0, 40.0), atol=1e-7)
    assert np.abs(star - galaxy).max() > 1e-4 * star.max()


def test_a_fallback_psf_stays_as_it_is_whatever_psf_model_says(finished_tile: Path) -> None:
    with np.load(finished_tile / "work/skyloom/epsf/m475.npz") as arrays:
        stored = {**arrays, "is_fallback": np.array(True)}
    handle: Any = SimpleNamespace(digest="fallback", read=lambda: stored)
    psf, _ = psf_and_transforms(handle, gaussians=2)
    assert isinstance(psf, FieldPsf)
    assert np.array_equal(psf.basis, stored["basis"])


# --- the fit's own


@pytest.mark.parametrize(("margin", "hit"), [(0, [False, True]), (1, [True, True])])
def test_the_margin_of_the_iteration_limit(margin: int, hit: list[bool]) -> None:
    settings = config(patch_run__n_opt_iters=5, patch_run__flag_maxiter_margin=margin)
    state: Any = SimpleNamespace(
        converged=np.array([False, False, True]), iterations=np.array([4, 5, 5])
    )
    assert hit_limit(settings, state, np.arange(2)).tolist() == hit
    assert not hit_limit(settings, state, np.array([2])).any()


def test_null_means_that_positions_are_free() -> None:
    """The original turns null into 5 pixels."""
    settings = config(patch_run__pos_max_shift_pix=None).patch_run
    table = Table({"RA": [0.0], "DEC": [0.0], "x_pix_white": [9.0], "y_pix_white": [9.0]})
    table["excluded_any"] = [False]
    start = start_values(table, ["r"], (20, 20), settings)
    limit = settings.pos_max_shift_pix
    sources = scene_sources(start, np.array([0]), kind=start.kind, max_shift=limit)
    assert np.isinf(sources.upper[0, :2]).all()
    assert np.isinf(sources.lower[0, :2]).all()


@pytest.mark.parametrize(
    ("settings", "given", "wanted"),
    [
        ({"patch_run__max_workers": 1}, None, 1),
        ({"skyloom__workers": 1}, None, 1),
        ({"skyloom__workers": 1}, 2, 2),
        ({"patch_run__max_workers": 10**6}, None, 10**6),
    ],
)
def test_workers_are_ours_then_the_originals(
    settings: dict[str, object], given: int | None, wanted: int
) -> None:
    assert worker_count(config(**settings), given) == min(wanted, available_cpus())


# --- pictures that are switched


@pytest.mark.parametrize(
    ("key", "value", "stage"),
    [
        ("crop.plot_pre_crop", False, "plot-before-crop"),
        ("crop.plot_post_crop", False, "plot-after-crop"),
        ("overlay.enabled", False, "plot-sources"),
        ("overlay.zoom_enabled", False, "plot-zoom"),
        ("patch_run.no_patch_overview", True, "plot-patch"),
        ("skyloom.plots", "none", "plot-sources"),
    ],
)
def test_a_picture_that_is_switched_off_has_no_stage(key: str, value: object, stage: str) -> None:
    assert stage in {s.name for s in build_pipeline(config(skyloom__plots="all")).stages}
    off = config(**{"skyloom__plots": "all", key.replace(".", "__"): value})
    assert stage not in {s.name for s in build_pipeline(off).stages}


# --- merge


def test_a_pattern_chooses_patches_and_must_choose_one(finished_tile: Path) -> None:
    assert is_merged("r00_c01_pr00_pc00", "*_cat_fit.csv")
    assert is_merged("r00_c01_pr00_pc00", "r00_c01_*/*.csv")
    assert not is_merged("r00_c01_pr00_pc00", "r00_c00_*")
    settings = load_config(finished_tile / "config.yaml")
    odd = settings.model_copy(update={"merge": settings.merge.model_copy(update={"pattern": "x"})})
    with pytest.raises(WrongValue, match=r"merge.pattern = 'x' matches no catalogue of a patch"):
        check_inputs(odd, needs_gaia=False)


# --- logging


def test_log_lines_have_the_format_that_is_set(tmp_path: Path) -> None:
    settings = config(logging__format="<%(levelname)s> %(message)s", logging__level="DEBUG")
    with run_log(settings.logging) as logs:
        logging.getLogger("skyloom.test").debug("heard")
        logs.open_file(tmp_path / "a.log")
    assert (tmp_path / "a.log").read_text(encoding="utf-8") == "<DEBUG> heard\n"


@pytest.mark.parametrize("ignore", [True, False])
def test_warnings_are_silenced_on_request(ignore: bool) -> None:
    settings = config(logging__ignore_warnings=ignore)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        with _ignoring_warnings(settings.logging.ignore_warnings):
            warnings.warn("something old", DeprecationWarning, stacklevel=1)
    assert bool(caught) != ignore
