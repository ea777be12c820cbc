"""Single stages, called with made-up data."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import MaskedColumn, Table
from astropy.wcs import WCS
from hypothesis import given
from hypothesis import strategies as st

from skyloom.butler import FitsImages, Handle
from skyloom.butler.data_id import DataId
from skyloom.pipelines.tile import TileConfig
from skyloom.pipelines.tile.bright import BrightMaskInputs, BrightMaskStage, bright_pixels
from skyloom.pipelines.tile.load import (
    Load,
    LoadInputs,
    LoadOutputs,
    Masks,
    MasksInputs,
    White,
    WhiteInputs,
    working_wcs,
)
from skyloom.pipelines.tile.merge import Merge, MergeInputs, merge_fits, with_sky_positions
from skyloom.pipelines.tile.patches import tile_patches
from skyloom.pipelines.tile.sources import BASE_COLUMNS, Sources, SourcesInputs, base_table
from skyloom.pipelines.tile.zeropoint import (
    Catalog,
    CatalogInputs,
    ZeroPoint,
    ZeroPointInputs,
)

NX, NY = 60, 50
SCALE = 0.5 / 3600  # deg/pix


def config(**sections: dict[str, Any]) -> TileConfig:
    return TileConfig.model_validate({"crop": {"enabled": False}, **sections})


def sky_header() -> fits.Header:
    header = fits.Header()
    header["CTYPE1"], header["CTYPE2"] = "RA---TAN", "DEC--TAN"
    header["CRVAL1"], header["CRVAL2"] = 150.0, 2.0
    header["CRPIX1"], header["CRPIX2"] = 1.0, 1.0  # the pixel (0, 0)
    header["CD1_1"], header["CD1_2"], header["CD2_1"], header["CD2_2"] = -SCALE, 0.0, 0.0, SCALE
    return header


def write_image(folder: Path, band: str, data: np.ndarray, **keys: object) -> Handle[Any]:
    header = sky_header()
    header.update({"FILTER": band, "ZP_AUTO": 25.0, "SKYSIG": 1.0, "EGAIN": 2.0, **keys})
    path = folder / f"{band}.fits"
    fits.PrimaryHDU(data.astype(np.float32), header).writeto(path, overwrite=True)
    return handle(path, "raw_image", DataId(band=band))


def handle(path: Path, type_: str, data_id: DataId | None = None, kind: str = "fits_image") -> Any:
    return Handle(
        type=type_, data_id=data_id or DataId(), path=path, digest="", format=kind, external=True
    )


class Band:
    """A mask in memory that looks like a handle."""

    def __init__(self, mask: np.ndarray) -> None:
        self.mask = mask

    def read(self) -> dict[str, np.ndarray]:
        return {"mask": self.mask.astype(np.uint8)}


def loaded(images: dict[str, Handle[Any]], **sections: dict[str, Any]) -> LoadOutputs:
    return Load(config(**sections)).run(LoadInputs(images=images))


# --- load, masks, white


def test_scaled_counts_follow_the_zero_point(tmp_path: Path) -> None:
    image = write_image(tmp_path, "r", np.ones((NY, NX)), ZP_AUTO=24.5, SATURATE=4000.0)
    frame = loaded({"r": image}).frames["frames"]["r"]
    assert frame["scale"] == pytest.approx(1.5848931924611136, rel=1e-12)  # 10**0.2
    assert frame["saturation_adu"] == pytest.approx(3076.923, abs=1e-3)  # 4000 / 1.3, 3 decimals


def test_crop_moves_the_wcs(tmp_path: Path) -> None:
    image = write_image(tmp_path, "r", np.ones((NY, NX)))
    out = loaded({"r": image}, crop={"enabled": True, "margin": 10})
    assert (out.frames["shape"], out.frames["crop"]) == ([30, 40], [10, 50, 10, 40])
    ra, dec = working_wcs(out.wcs).all_pix2world([0.0], [0.0], 0)
    whole = WCS(sky_header()).all_pix2world([10.0], [10.0], 0)
    np.testing.assert_allclose([ra[0], dec[0]], np.ravel(whole), rtol=0, atol=1e-10)  # rounding


def test_masks_tell_missing_from_saturated_pixels(tmp_path: Path) -> None:
    data = np.zeros((NY, NX))
    data[3, 4], data[5, 6], data[7, 8], data[9, 9] = np.nan, np.inf, 77.0, 76.9
    image = write_image(tmp_path, "r", data, SATURATE=77.0 * 1.3)
    frames = loaded({"r": image}).frames
    out = Masks(config()).run(MasksInputs(band="r", image=image, maps={}, frames=frames))
    mask = out.mask["mask"]
    assert (mask[3, 4], mask[5, 6], mask[7, 8], mask[9, 9]) == (1, 1, 2, 0)
    assert np.count_nonzero(mask) == 3


def test_white_is_the_weighted_mean_and_skips_missing_pixels(tmp_path: Path) -> None:
    first, second = np.full((NY, NX), 10.0), np.full((NY, NX), 20.0)
    first[2, 2] = first[3, 3] = second[3, 3] = np.nan
    images = {
        "a": write_image(tmp_path, "a", first),
        "b": write_image(tmp_path, "b", second, SKYSIG=2.0),
    }
    out = loaded(images)
    inputs = WhiteInputs(images=images, maps={}, noise={}, frames=out.frames, wcs=out.wcs)
    white = White(config()).run(inputs).white
    # weights 1 and 1/4
    assert white["IMAGE"][0, 0] == pytest.approx(12.0, rel=1e-6)  # float32
    assert white["SIGMA"][0, 0] == pytest.approx(0.894427, rel=1e-6)
    assert (white["IMAGE"][2, 2], white["SIGMA"][2, 2]) == (20.0, 2.0)
    assert np.isnan(white["IMAGE"][3, 3])
    assert np.isinf(white["SIGMA"][3, 3])


# --- sources


def run_sources(
    tmp_path: Path,
    rows: list[str],
    *,
    header: str = "ID,RA,DEC",
    saturated: tuple[int, int] | None = None,
    **sections: dict[str, Any],
) -> Table:
    path = tmp_path / "cat.csv"
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    out = loaded({"r": write_image(tmp_path, "r", np.ones((NY, NX)))}, **sections)
    mask = np.zeros(out.frames["shape"], dtype=np.uint8)
    if saturated is not None:
        mask[saturated] = 2
    inputs = SourcesInputs(
        catalog=handle(path, "input_catalog", kind="csv"),
        gaia=None,
        frames=out.frames,
        wcs=out.wcs,
        masks={"r": Band(mask)},  # type: ignore[dict-item]
    )
    return Sources(config(**sections)).run(inputs).sources


def at(x: float, y: float) -> str:
    """RA,DEC of a pixel."""
    ra, dec = WCS(sky_header()).all_pix2world([x], [y], 0)
    return f"{ra[0]:.10f},{dec[0]:.10f}"


def test_positions_are_those_of_the_working_frame(tmp_path: Path) -> None:
    rows = [f"a,{at(20, 30)}", "b,nan,2", f"c,{at(3, 3)}"]
    sources = run_sources(tmp_path, rows, crop={"enabled": True, "margin": 10})
    # 1e-5: ten digits of RA are 1e-6 pix
    np.testing.assert_allclose(sources["x_pix_white"], [10.0, np.nan, -7.0], atol=1e-5)
    np.testing.assert_allclose(sources["y_pix_white"], [20.0, np.nan, -7.0], atol=1e-5)
    assert list(sources["excluded_crop"]) == [False, True, True]
    assert list(sources["row"]) == [0, 1, 2]
    assert list(sources["key"]) == ["a", "b", "c"]


def test_the_border_of_the_crop_is_half_open(tmp_path: Path) -> None:
    edges = [0.001, -0.001, NX - 20 - 0.001, NX - 20 + 0.001]
    rows = [f"s{i},{at(10 + x, 25)}" for i, x in enumerate(edges)]
    sources = run_sources(tmp_path, rows, crop={"enabled": True, "margin": 10})
    assert list(sources["excluded_crop"]) == [False, True, False, True]


@pytest.mark.parametrize(
    ("offset", "hit"), [((20, 0), True), ((12, 16), True), ((15, 14), False), ((0, 21), False)]
)
def test_saturation_reaches_as_far_as_the_disk(
    tmp_path: Path, offset: tuple[int, int], hit: bool
) -> None:
    dx, dy = offset
    sources = run_sources(tmp_path, [f"a,{at(25.3, 10.4)}"], saturated=(10 + dy, 25 + dx))
    assert list(sources["excluded_saturation"]) == [hit]
    assert list(sources["excluded_any"]) == [hit]
    off = run_sources(
        tmp_path,
        [f"a,{at(25.3, 10.4)}"],
        saturated=(10 + dy, 25 + dx),
        source_saturation_cut={"enabled": False},
    )
    assert not off["excluded_any"].any()


def test_columns_of_the_user_that_we_need_step_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    header = "ID,RA,DEC,row,key,x_pix_white,note"
    rows = [f"007,{at(5, 6)},r1,k1,99,  padded ", f",{at(7, 8)},r2,k2,99,"]
    with caplog.at_level(logging.WARNING):
        sources = run_sources(tmp_path, rows, header=header)
    assert "x_pix_white" in caplog.text
    base = base_table(sources)
    assert list(base["row"]) == ["r1", "r2"]
    assert list(base["key"]) == ["k1", "k2"]
    assert list(base["ID"]) == ["007", ""]
    assert list(base["note"]) == ["  padded ", ""]
    assert list(sources["row"]) == [0, 1]
    assert list(sources["key"]) == ["007", "row_2"]
    assert not {n for n in BASE_COLUMNS if n not in ("row", "key")} & set(base.colnames)


# --- bright mask


def test_an_unlisted_bright_thing_is_masked_and_a_listed_one_is_not() -> None:
    y, x = np.mgrid[:80, :80]
    rng = np.random.default_rng(3)
    image = rng.normal(0, 1, (80, 80))
    for x0, y0 in ((20, 20), (60, 55)):
        image += 200 * np.exp(-0.5 * ((x - x0) ** 2 + (y - y0) ** 2) / 2.0**2)
    saturated = np.zeros((80, 80))
    saturated[5, 5] = 2
    sources = Table(
        {
            "row": [0, 1],
            "x_pix_white": [20.5, 62.0],
            "y_pix_white": [19.5, 55.0],
            "excluded_any": [False, True],  # explains nothing
        }
    )
    white = FitsImages(
        images={"IMAGE": image.astype(np.float32), "SIGMA": np.ones((80, 80), np.float32)}
    )
    inputs = BrightMaskInputs(white=white, sources=sources, masks={"r": Band(saturated)})  # type: ignore[dict-item]
    out = BrightMaskStage(config()).run(inputs)
    bright = bright_pixels(out.mask)
    assert bright[55, 60]
    assert not bright[20, 20]
    assert not bright[5, 5]
    assert np.array_equal(out.mask["PRIMARY"].astype(bool), bright | (saturated > 0))
    assert list(out.affected["affected_by_bright_mask"]) == [False, True]


# --- patches


def grid_sources(x: list[float], y: list[float], *, excluded: list[bool] | None = None) -> Table:
    flags = excluded or [False] * len(x)
    return Table({"x_pix_white": x, "y_pix_white": y, "excluded_any": flags})


def test_patches_of_the_documented_example() -> None:
    settings = config(
        epsf={"epsf_ngrid": 2, "ngrid": 2, "final_psf_size": 21, "skip_empty_epsf_patches": False}
    )
    table = tile_patches(grid_sources([], []), (520, 520), settings)
    assert len(table) == 16
    first = table[0]
    assert (first["x0_base"], first["x1_base"]) == (0, 130)
    assert (first["x0_roi"], first["x1_roi"], first["halo_pix"]) == (0, 150, 20)
    assert first["patch_tag"] == "r00_c00_pr00_pc00"


def test_only_cells_with_an_active_source_have_patches(caplog: pytest.LogCaptureFixture) -> None:
    settings = config(epsf={"epsf_ngrid": 2, "ngrid": 1})
    sources = grid_sources([10, 90, np.nan], [10, 90, 5], excluded=[False, True, False])
    assert list(tile_patches(sources, (100, 100), settings)["epsf_tag"]) == ["r00_c00"]
    nobody = grid_sources([10], [10], excluded=[True])
    with caplog.at_level(logging.WARNING):
        assert len(tile_patches(nobody, (100, 100), settings)) == 0
    assert "nothing to fit" in caplog.text


# --- merge


def fit_table(rows: list[int]) -> Table:
    return Table(
        {
            "row": np.array(rows, dtype=np.int64),
            "x_pix_white_fit": np.array(rows, dtype=float) + 0.5,
            "opt_niters": np.array(rows, dtype=np.int64) * 2,
            "opt_converged": np.array([r % 2 == 0 for r in rows], dtype=bool),
            "stype_fit": np.array([f"s{r}" for r in rows], dtype=np.str_),
        }
    )


@given(data=st.data(), n=st.integers(1, 12))
def test_each_row_gets_its_own_fit_whatever_the_patches(data: st.DataObject, n: int) -> None:
    owner = data.draw(st.lists(st.sampled_from(["a", "b", "c", ""]), min_size=n, max_size=n))
    order = data.draw(st.permutations(["a", "b", "c"]))
    fits_ = {t: fit_table([r for r in range(n) if owner[r] == t]) for t in order}
    base = Table({"ID": [str(r) for r in range(n)]})
    merged = merge_fits(base, np.arange(n), fits_)
    assert list(merged["ID"]) == list(base["ID"])
    for r in range(n):
        if owner[r]:
            assert merged["x_pix_white_fit"][r] == r + 0.5
            assert merged["opt_niters"][r] == 2 * r
            assert merged["opt_converged"][r] == (r % 2 == 0)
            assert merged["stype_fit"][r] == f"s{r}"
        else:
            assert np.isnan(merged["x_pix_white_fit"][r])
            assert np.ma.is_masked(merged["opt_niters"][r])
            assert np.ma.is_masked(merged["opt_converged"][r])
            assert merged["stype_fit"][r] == ""


def test_of_two_fits_of_a_row_the_first_counts(caplog: pytest.LogCaptureFixture) -> None:
    second = fit_table([1, 2])
    second["x_pix_white_fit"] = 99.0
    base = Table({"ID": ["a", "b", "c"]})
    merged = merge_fits(base, np.arange(3), {"p": fit_table([0, 1]), "q": second})
    assert list(merged["x_pix_white_fit"]) == [0.5, 1.5, 99.0]
    assert "rows 1" in caplog.text


def test_a_patch_with_more_columns_leaves_the_others_empty() -> None:
    extra = fit_table([1])
    extra["chi2_r"] = [2.5]
    extra["FLAG"] = MaskedColumn([7], mask=[False])
    merged = merge_fits(Table({"ID": ["a", "b"]}), np.arange(2), {"p": fit_table([0]), "q": extra})
    assert merged["chi2_r"][1] == 2.5
    assert np.isnan(merged["chi2_r"][0])
    assert np.ma.is_masked(merged["FLAG"][0])


def test_no_patch_at_all_is_a_catalogue_without_fits() -> None:
    sources = Table(
        {
            "ID": ["a", "b"],
            "excluded_crop": [False, True],
            "excluded_saturation": [False, True],
            "excluded_any": [False, True],
            "_is_injected_gaia": [False, False],
            "x_pix_white": [1.0, 2.0],
            "y_pix_white": [1.0, 2.0],
            "row": [0, 1],
            "key": ["a", "b"],
        }
    )
    wcs = FitsImages(header=sky_header())
    out = Merge(config()).run(MergeInputs(sources=sources, bright=None, wcs=wcs, fits={}))
    assert list(out.merged["excluded_reason"]) == ["", "crop+saturation"]
    assert list(out.merged["fit_quality_issues"]) == ["no_fit_result", "excluded"]
    assert not out.merged["fit_is_reliable"].any()


def test_sky_positions_and_errors_follow_the_pixels() -> None:
    table = Table({"x_pix_white_fit": [10.0, np.nan], "y_pix_white_fit": [20.0, 1.0]})
    table["x_pix_err"], table["y_pix_err"] = [0.2, 0.1], [0.1, 0.1]
    table["stype_fit"] = ["star", ""]
    out = with_sky_positions(table, WCS(sky_header()))
    assert out.colnames == [
        *("x_pix_white_fit", "y_pix_white_fit", "RA_fit", "DEC_fit"),
        *("x_pix_err", "y_pix_err", "RA_err", "DEC_err", "stype_fit"),
    ]
    # TAN over 15 arcsec: flat to 1e-9 deg
    assert out["DEC_fit"][0] == pytest.approx(2.0 + 20 * SCALE, abs=1e-8)
    cos_dec = np.cos(np.radians(2.0))
    assert out["RA_fit"][0] == pytest.approx(150.0 - 10 * SCALE / cos_dec, abs=1e-7)
    assert out["RA_err"][0] == pytest.approx(0.2 * 0.5, rel=1e-6)  # 0.5 arcsec/pix
    assert out["DEC_err"][0] == pytest.approx(0.1 * 0.5, rel=1e-6)
    assert np.isnan(out["RA_fit"][1])
    assert np.isnan(out["RA_err"][1])
    again = with_sky_positions(out, WCS(sky_header()))
    assert again.colnames == out.colnames


# --- zero points and the catalogue


def merged_stars(n: int = 12) -> Table:
    flux = 10 ** np.linspace(2, 4, n)
    return Table(
        {
            "ID": [f"{i:03d}" for i in range(n)],
            "gaia_source_id": [f"40000000000000{i:05d}" for i in range(n)],
            "fit_is_reliable": np.arange(n) != 3,
            "FLUX_r_fit": flux,
            "FLUXERR_r_fit": np.full(n, 1.0),
        }
    )


def run_zero_point(tmp_path: Path, merged: Table, mags: np.ndarray) -> Any:
    path = tmp_path / "gaia.csv"
    lines = ["source_id,ra,dec,phot_g_mean_mag,mag_r"]
    for star, mag in zip(merged["gaia_source_id"], mags, strict=True):
        lines.append(f"{star},150.0,2.0,15.0,{mag:.6f}")
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    gaia = handle(path, "gaia_catalog", kind="csv")
    return ZeroPoint(config()).run(ZeroPointInputs(merged=merged, gaia=gaia))


def catalog_inputs(merged: Table, zero_points: dict[str, Any] | None) -> CatalogInputs:
    return CatalogInputs(
        merged=merged,
        zero_points=zero_points,
        frames={"bands": [], "frames": {}},
        wcs=FitsImages(header=sky_header()),
    )


def test_the_zero_point_calibrates_the_catalogue(tmp_path: Path) -> None:
    merged = merged_stars()
    mags = 25.25 - 2.5 * np.log10(merged["FLUX_r_fit"])
    out = run_zero_point(tmp_path, merged, mags)
    zp = out.zero_points["zero_points"]["r"]
    assert zp["zp"] == pytest.approx(25.25, abs=1e-6)  # six decimals in the file
    assert len(out.stars) == 12
    assert len(out.per_object) == 11  # without the unreliable one
    catalog = Catalog(config()).run(catalog_inputs(merged, out.zero_points)).catalog
    np.testing.assert_allclose(catalog["MAG_r_fit"], mags, atol=1e-6)
    assert catalog.colnames[5:7] == ["MAG_r_fit", "MAGERR_r_fit"]
    assert list(catalog["ID"]) == list(merged["ID"])


def test_without_gaia_the_catalogue_stays_as_it_is(caplog: pytest.LogCaptureFixture) -> None:
    merged = merged_stars()
    out = ZeroPoint(config()).run(ZeroPointInputs(merged=merged, gaia=None))
    assert out.summary is None
    assert "no GaiaXP" in out.zero_points["reason"]
    for zero_points in (out.zero_points, None):
        inputs = catalog_inputs(merged, zero_points)
        assert Catalog(config()).run(inputs).catalog.colnames == merged.colnames
    assert "skipped" in caplog.text
