"""Maps beside the images of a tile: what they change, and what is done again when they change."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from astropy.io import fits
from key_effects import Bench

from skyloom.catalogs import column_as_float, read_csv
from skyloom.errors import Unprocessable, UserMistake
from skyloom.images import UNUSABLE, MaskBit
from skyloom.pipelines.tile import TileConfig, load_config, run_tile
from skyloom.pipelines.tile.check import check_tile
from skyloom.pipelines.tile.check_report import Status
from skyloom.pipelines.tile.detection import detect_catalog
from skyloom.pipelines.tile.load import read_tile_frames
from skyloom.pipelines.tile.noise import measured_noise, stated_noise

Edit = Callable[..., Path]
BAND, OTHER = "m475", "m625"
IMAGE = f"images/sim_{BAND}.fits"
SHAPE = (240, 240)
MARGIN = 4  # pix, of the crop
PAYLOAD = "work/patch_payloads/r00_c00_pr00_pc00.npz"


@pytest.fixture
def bench(finished_tile: Path, tmp_path: Path) -> Bench:
    return Bench.copy_of(finished_tile, tmp_path / "tile")


def write(bench: Bench, name: str, values: np.ndarray) -> str:
    fits.PrimaryHDU(values).writeto(bench.folder / name, overwrite=True)
    return name


def sky_sigma(bench: Bench) -> float:
    return float(fits.getval(bench.folder / IMAGE, "SKYSIG"))


def fluxes(bench: Bench, band: str = BAND) -> tuple[np.ndarray, np.ndarray]:
    table = read_csv(bench.work / "output_catalog.csv")
    return tuple(column_as_float(table, f"{n}_{band}_fit") for n in ("FLUX", "FLUXERR"))  # type: ignore[return-value]


def done(bench: Bench, settings: dict[str, object]) -> set[tuple[str, str]]:
    """Run with settings of the band; return stage and band of what was done."""
    path = bench.folder / "changed.yaml"
    config = yaml.safe_load((bench.folder / "config.yaml").read_text(encoding="utf-8"))
    config["skyloom"]["images"] = {BAND: settings}
    path.write_text(yaml.safe_dump(config), encoding="utf-8")
    result = run_tile(path, executor="serial", progress="quiet")
    assert result.exit_status == 0, result.failures
    return {(u.stage, str(u.unit.get("band", ""))) for u in result.units if u.state == "done"}


# --- a map that says what the header says


@pytest.mark.parametrize(
    "settings",
    [
        {"rms_map": "map.fits"},
        {"weight_map": "map.fits"},
        {"weight_map": "map.fits[0]", "weight_type": "relative"},
    ],
    ids=["rms_map", "weight_map", "weight_type"],
)
def test_a_constant_map_gives_what_the_header_gives(
    bench: Bench, settings: dict[str, object]
) -> None:
    passes = {"skyloom.fit_passes": 3}  # with the two of short runs one blend has not settled
    bench.run("run", passes)
    flux, error = fluxes(bench)
    sigma = sky_sigma(bench)
    value = {"rms_map": sigma, "weight_map": sigma**-2}[next(iter(settings))]
    if "weight_type" in settings:
        value *= 17.0
    write(bench, "map.fits", np.full(SHAPE, value, np.float32))
    bench.run("run", {**passes, "skyloom.images": {BAND: settings}})
    again, error_again = fluxes(bench)
    assert np.isfinite(flux).sum() > 30
    # single precision of the map; the fits end within a small fraction of an error
    assert np.nanmax(np.abs(again - flux) / error) < 0.02
    assert np.nanmax(np.abs(error_again / error - 1)) < 0.01


@pytest.mark.parametrize("kind", ["rms_map", "weight_map"])
def test_a_map_of_the_noise_replaces_skysig(bench: Bench, kind: str) -> None:
    """Twice the noise, twice the error; a header without SKYSIG will do."""
    _, error = fluxes(bench)
    sigma = 2 * sky_sigma(bench)
    fits.delval(bench.folder / IMAGE, "SKYSIG")
    value = sigma if kind == "rms_map" else sigma**-2
    write(bench, "map.fits", np.full(SHAPE, value, np.float32))
    bench.run("run", {"skyloom.images": {BAND: {kind: "map.fits"}}})
    flux, again = fluxes(bench)
    types = np.array(read_csv(bench.work / "output_catalog.csv")["TYPE"])
    # galaxies at the higher noise have shapes that the other band, priors, or nothing decides
    faint = np.isfinite(again) & (flux < 20 * again) & (types == "STAR")
    assert faint.sum() > 3
    # source noise, and positions that the other band decides, make it a little less
    assert np.median(again[faint] / error[faint]) == pytest.approx(1.95, abs=0.1)


# --- pixels that a map marks


@pytest.mark.parametrize("kind", ["mask_map", "mask_bits", "weight_map", "rms_map"])
def test_marked_pixels_are_as_good_as_nan(bench: Bench, kind: str) -> None:
    y, x = 120, 100
    hole = (slice(y - 8, y + 9), slice(x - 8, x + 9))
    sigma = sky_sigma(bench)
    values = {"rms_map": np.float32(sigma), "weight_map": np.float32(sigma**-2)}.get(kind)
    mask = np.full(SHAPE, 0 if values is None else values, np.float32 if values else np.int16)
    mask[hole] = 4 if values is None else 0
    if kind == "mask_bits":
        mask[:5] = 3  # other reasons, which do not count
    write(bench, "map.fits", mask)
    settings: dict[str, object] = {kind.replace("bits", "map"): "map.fits"}
    if kind == "mask_bits":
        settings["mask_bits"] = 4
    bench.run("run", {"skyloom.images": {BAND: settings}})
    marked = fluxes(bench)
    with np.load(bench.folder / PAYLOAD) as payload:
        cut = tuple(slice(part.start - MARGIN, part.stop - MARGIN) for part in hole)
        bit = MaskBit.MASKED if values is None else MaskBit.NO_WEIGHT
        assert (payload["mask"][0][cut] & bit > 0).all()
        assert (payload["mask"][1][cut] & UNUSABLE == 0).all()
    with fits.open(bench.folder / IMAGE, mode="update") as hdus:
        hdus[0].data[hole] = np.nan
    plain = {} if values is None else {kind: write(bench, "plain.fits", np.full(SHAPE, values))}
    bench.run("run", {"skyloom.images": {BAND: plain}})
    as_nan = fluxes(bench)
    assert np.array_equal(marked, as_nan, equal_nan=True)


def test_a_mask_changes_the_white_image_and_the_psf(bench: Bench) -> None:
    mask = np.zeros(SHAPE, np.uint8)
    mask[60:180, 60:180] = 1
    before = bench.products()
    bench.run("run", {"skyloom.images": {BAND: {"mask_map": write(bench, "map.fits", mask)}}})
    after = bench.products()
    for name in ("white.fits", f"epsf/{BAND}.npz", "bright_detections.parquet"):
        assert before[f"skyloom/{name}"] != after[f"skyloom/{name}"], name
    assert before[f"skyloom/epsf/{OTHER}.npz"] == after[f"skyloom/epsf/{OTHER}.npz"]


def test_all_pictures_are_drawn_of_a_tile_with_maps(bench: Bench) -> None:
    sigma, mask = np.full(SHAPE, sky_sigma(bench), np.float32), np.zeros(SHAPE, np.uint8)
    sigma[30:40, 50:90], mask[120:140, 60:110] = 0, 1
    maps = {"rms_map": write(bench, "rms.fits", sigma), "mask_map": write(bench, "m.fits", mask)}
    settings = {"skyloom.images": {BAND: maps}, "skyloom.plots": "all"}
    bench.run("run", {**settings, "patch_run.no_cutouts": True})
    drawn = {path.name for path in bench.work.rglob("*.png")}
    assert {"white_before_crop.png", "epsf_residuals.png", "psfstars.png"} <= drawn


# --- what is done again


def test_a_changed_map_redoes_what_depends_on_it_and_nothing_else(bench: Bench) -> None:
    sigma = np.full(SHAPE, sky_sigma(bench), np.float32)
    mask = np.zeros(SHAPE, np.uint8)
    settings = {
        "rms_map": write(bench, "rms.fits", sigma),
        "mask_map": write(bench, "mask.fits", mask),
    }
    done(bench, settings)
    assert done(bench, settings) == set()
    own = {("noise", BAND), ("epsf", BAND), ("masks", BAND)}
    fits_ = {("fit-0", ""), ("fit-2", ""), ("payloads", ""), ("white", ""), ("merge", "")}

    sigma[:100] *= 1.5  # the median stays
    write(bench, "rms.fits", sigma)
    found = done(bench, settings)
    assert own | fits_ <= found
    assert not found & {("load", ""), ("masks", OTHER), ("noise", OTHER), ("epsf", OTHER)}

    mask[50:60, 50:60] = 1
    write(bench, "mask.fits", mask)
    found = done(bench, settings)
    assert {("masks", BAND), ("epsf", BAND), *fits_} <= found
    assert not found & {("load", ""), ("masks", OTHER), ("epsf", OTHER)}

    mask[:2] = 1  # outside of the working frame: nothing follows
    write(bench, "mask.fits", mask)
    assert done(bench, settings) == {("masks", BAND), ("noise", BAND), ("white", "")}
    assert done(bench, settings) == set()


# --- the noise as it is measured


def test_measured_noise_mends_a_wrong_or_missing_skysig(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    _, error = fluxes(bench)
    flux, _ = fluxes(bench)
    faint = np.isfinite(error) & (flux < 20 * error)
    sigma = sky_sigma(bench)
    path = bench.folder / IMAGE
    fits.setval(path, "SKYSIG", value=3 * sigma)
    with caplog.at_level("INFO"):
        bench.run("run", {"skyloom.noise": "measured"})
    told = [r for r in caplog.records if "sky noise measured" in r.getMessage()]
    assert [r.levelname for r in told] == ["WARNING", "INFO"]
    assert "0.33" in told[0].getMessage()
    _, measured = fluxes(bench)
    # one mesh of 230 pixels with a third in sources: 1 %; source noise of the faint is small
    assert np.median(measured[faint] / error[faint]) == pytest.approx(1.0, abs=0.03)
    fits.delval(path, "SKYSIG")
    bench.run("run", {"skyloom.noise": "measured"})
    _, without = fluxes(bench)
    assert np.nanmax(np.abs(without / measured - 1)) < 0.01  # rounding of the stated number


def test_half_the_exposure_is_found_and_has_half_the_gain(bench: Bench) -> None:
    """Noise of half the exposure right of the middle of one band, and one SKYSIG for all."""
    flux, error = fluxes(bench)
    x = column_as_float(read_csv(bench.work / "output_catalog.csv"), "x_pix_white_fit")
    faint, bright = flux < 10 * error, flux > 100 * error
    left, right = x < 80, x > 150  # meshes of 116 pixels, bilinear between their centres
    sigma = sky_sigma(bench)
    with fits.open(bench.folder / IMAGE, mode="update") as hdus:
        extra = np.random.default_rng(3).normal(0, sigma, SHAPE)
        hdus[0].data += np.where(np.arange(SHAPE[1]) > 120, extra, 0).astype(np.float32)

    def ratio(part: np.ndarray) -> float:
        return float(np.nanmedian((fluxes(bench)[1] / error)[part]))

    bench.run("run", {})
    assert not (bench.work / f"skyloom/noise/{OTHER}.json").exists()
    # a mesh: 1 %; shapes move by a part of their errors with the noise that was added
    assert ratio(left & faint) == pytest.approx(1.0, abs=0.06)
    assert ratio(right & faint) == pytest.approx(np.sqrt(2), abs=0.1)
    both = ratio(right & bright)  # the header's gain is that of the median, 1.19 times this sky
    bench.run("run", {"skyloom.gain_follows_noise": False})
    assert ratio(right & bright) < 0.95 * both  # the light keeps its noise
    bench.run("run", {"skyloom.noise": "stated"})
    assert ratio(right & faint) == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("unit", ["ivar", "relative"])
def test_measured_noise_scales_a_map_of_the_user(bench: Bench, unit: str) -> None:
    """An inverse variance in a wrong unit, a relative weight without SKYSIG."""
    flux, error = fluxes(bench)
    fits.delval(bench.folder / IMAGE, "SKYSIG")
    write(bench, "map.fits", np.full(SHAPE, 1e-4, np.float32))
    maps = {"weight_map": "map.fits", "weight_type": unit}
    bench.run("run", {"skyloom.images": {BAND: maps}, "skyloom.noise": "measured"})
    noise = json.loads((bench.work / f"skyloom/noise/{BAND}.json").read_text(encoding="utf-8"))
    scale = json.loads((bench.work / "skyloom/frames.json").read_text(encoding="utf-8"))
    level = noise["level"] / scale["frames"][BAND]["scale"]
    assert level == pytest.approx(5.0, rel=0.02)  # ADU, of the simulation; 1 % as above
    faint = np.isfinite(error) & (flux < 20 * error)
    assert np.median(fluxes(bench)[1][faint] / error[faint]) == pytest.approx(1.0, abs=0.03)


@pytest.mark.parametrize("joint", [True, False])
def test_a_payload_holds_a_map_for_one_band_and_a_mesh_for_the_other(
    bench: Bench, joint: bool
) -> None:
    """Errors of both bands scale as the noise does, in joint fits and in those of single bands."""
    mode = {"patch_run.enable_multi_band_simultaneous_fitting": joint}
    bench.run("run", mode)
    before = {band: fluxes(bench, band) for band in (BAND, OTHER)}
    y = np.linspace(0.8, 1.2, SHAPE[0])[:, None]
    write(bench, "map.fits", np.broadcast_to(y, SHAPE).astype(np.float32))
    fits.setval(bench.folder / f"images/sim_{OTHER}.fits", "SKYSIG", value=17.0)
    settings = {"skyloom.images": {BAND: {"rms_map": "map.fits"}}, "skyloom.noise": "measured"}
    bench.run("run", {**mode, **settings})
    with np.load(bench.folder / PAYLOAD) as payload:
        assert payload["sky_sigma_map"].shape == (1, *payload["image"].shape[1:])
        assert payload["sky_sigma_plane"].tolist() == [0, -1]
        assert np.isfinite(payload["sky_sigma_mesh"]).all(axis=(1, 2)).tolist() == [False, True]
    table = read_csv(bench.work / "output_catalog.csv")
    height = column_as_float(table, "y_pix_white") / SHAPE[0]
    for band, scale in ((BAND, 0.8 + 0.4 * height), (OTHER, 1.0)):
        flux, error = before[band]
        faint = np.isfinite(error) & (flux < 20 * error)
        ratio = (fluxes(bench, band)[1] / error / scale)[faint]
        assert np.median(ratio) == pytest.approx(1.0, abs=0.04)  # as above; the measured factor


def test_a_band_without_sky_keeps_what_is_stated_and_says_so(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    (frame,) = read_tile_frames([bench.folder / IMAGE], TileConfig(crop={"enabled": False}))
    bad = np.ones(frame.working_shape, bool)
    stated = stated_noise(frame)
    assert measured_noise(stated, bad) is stated
    assert "no blank sky to measure the noise; SKYSIG or the map stands" in caplog.text
    unknown = stated_noise(dataclasses.replace(frame, sky_sigma_adu=np.nan))
    with pytest.raises(Unprocessable, match=r"no blank sky .* no SKYSIG; give sky_sigma"):
        measured_noise(unknown, bad)


# --- check and detect


def configured(bench: Bench, **skyloom: object) -> TileConfig:
    """Return the configuration of the tile with other settings of the section skyloom."""
    path = bench.folder / "changed.yaml"
    data = yaml.safe_load((bench.folder / "config.yaml").read_text(encoding="utf-8"))
    data["skyloom"].update(skyloom)
    path.write_text(yaml.safe_dump(data), encoding="utf-8")
    return load_config(path)


def finding(bench: Bench, topic: str, **settings: object) -> tuple[Status, str]:
    (found,) = check_tile(configured(bench, images={BAND: settings})).of(topic, BAND)
    return found.status, f"{found.message} {found.remedy}"


def test_check_compares_the_pixels_with_the_map(bench: Bench) -> None:
    sigma = np.full(SHAPE, sky_sigma(bench), np.float32)
    write(bench, "map.fits", sigma)
    for topic in ("sky rms", "noise over the field"):
        assert finding(bench, topic, rms_map="map.fits")[0] == Status.OK
    half = sigma.copy()
    half[:, 120:] *= 1.5
    write(bench, "map.fits", half)
    status, text = finding(bench, "noise over the field", rms_map="map.fits")
    assert status == Status.WARNING
    assert "weight_map or rms_map" in text
    write(bench, "map.fits", 2.5 * sigma)
    status, text = finding(bench, "sky rms", rms_map="map.fits")
    assert status == Status.PROBLEM
    assert "map.fits" in text
    assert "weight_type" in text


def test_check_measures_where_nothing_is_stated(bench: Bench) -> None:
    fits.delval(bench.folder / IMAGE, "SKYSIG")
    report = check_tile(configured(bench, noise="measured"))
    (found,) = report.of("sky rms", BAND)
    assert "ADU measured, no SKYSIG, the measured noise is used" in found.message
    (spread,) = report.of("noise over the field", BAND)
    assert spread.numbers["spread"] == pytest.approx(1.0, abs=0.06)  # quarters: 1 % each


def test_check_takes_settings_instead_of_the_header(bench: Bench) -> None:
    sigma = sky_sigma(bench)
    assert finding(bench, "sky rms", sky_sigma=sigma)[0] == Status.OK
    assert finding(bench, "sky rms", sky_sigma=3 * sigma)[0] == Status.PROBLEM
    assert "9.00 pix" in finding(bench, "FWHM", fwhm_pix=9.0)[1]
    assert finding(bench, "gain", gain=0.01)[0] > Status.OK


def test_check_doubts_a_mask_that_is_upside_down(bench: Bench) -> None:
    mask = np.ones(SHAPE, np.uint8)
    mask[20:90, 20:220] = 0
    write(bench, "map.fits", mask)
    status, text = finding(bench, "usable pixels", mask_map="map.fits")
    assert status == Status.WARNING
    assert "1 where pixels are good" in text
    write(bench, "map.fits", 1 - mask)
    assert finding(bench, "usable pixels", mask_map="map.fits")[0] == Status.OK


def test_detect_weighs_and_masks(bench: Bench) -> None:
    def count(**skyloom: object) -> int:
        return len(detect_catalog(configured(bench, **skyloom)).table)

    before = count()
    mask = np.zeros(SHAPE, np.uint8)
    mask[:, :120] = 1
    write(bench, "mask.fits", mask)
    masked = count(images={band: {"mask_map": "mask.fits"} for band in (BAND, OTHER)})
    assert 0.3 * before < masked < 0.7 * before
    write(bench, "rms.fits", np.full(SHAPE, 3 * sky_sigma(bench), np.float32))
    noisy = {band: {"rms_map": "rms.fits"} for band in (BAND, OTHER)}
    assert count(images=noisy) < 0.95 * before
    # a stated noise that is three times too high does not matter if it is measured
    assert abs(count(images=noisy, noise="measured") - before) < 0.04 * before


# --- mistakes


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"rms_map": "no.fits"}, r"skyloom.images.{}.rms_map: .*no.fits: no such file"),
        ({"mask_map": "map.fits[SCI]"}, r"mask_map: .* there is no HDU 'SCI' with an image"),
        ({"weight_map": "map.fits"}, r"weight_map: .*map.fits\[0\] has 7 x 7 pixels"),
        ({"rms_map": "a", "weight_map": "b"}, "rms_map and weight_map both tell the noise"),
        ({"rms_map": "a", "sky_sigma": 3}, "sky_sigma and rms_map both tell the noise"),
        ({"weight_map": "a", "sky_sigma": 3}, "sky_sigma and weight_map both tell the noise"),
        ({"weight_type": "relative"}, "weight_type = 'relative' needs a weight_map"),
        ({"mask_bits": 3}, "mask_bits = 3 needs a mask_map"),
        ({"weight_map": "a", "weight_type": "var"}, "weight_type = 'var' must be 'ivar' or 'rel"),
    ],
)
def test_a_mistake_stops_before_any_work(
    small_tile: Path, edit: Edit, settings: dict[str, object], words: str
) -> None:
    fits.PrimaryHDU(np.ones((7, 7), np.float32)).writeto(small_tile / "map.fits")
    path = edit(small_tile, skyloom={"images": {BAND: settings}})
    with pytest.raises(UserMistake, match=words.format(BAND)):
        run_tile(path, progress="quiet")
    assert not (small_tile / "work").exists()
