"""A rerun as an astronomer uses it: found, selected, measured, shown, changed, read again."""

from __future__ import annotations

import io
import shutil
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from PIL import Image as PilImage

from skyloom.butler import Butler
from skyloom.catalogs import SourceCatalog, SpanSet
from skyloom.display import Display
from skyloom.errors import ConflictError, NotCalibrated, ReadOnlyError
from skyloom.geometry import Quadrupole
from skyloom.images import Exposure, PhotoCalib, pixel_statistics

ID = {"visit": 908120, "ccd": 56}
FILES = {
    "HSC-0908120-056-small.fits": "00705/HSC-I/corr/CORR-0908120-056.fits",
    "exposure-version-2.fits": "00705/HSC-I/corr/CORR-0908122-056.fits",
    "sourceCatalog-hsc-v2.fits": "00705/HSC-I/output/SRC-0908120-056.fits",
}


@pytest.fixture(scope="module")
def rerun(shared_data: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A rerun below a data root, of real files, without raw data; its registry is rebuilt."""
    afw = shared_data / "astrometry" / "afw"
    if not afw.is_dir():
        pytest.skip(f"no files of afw at {afw}")
    root = tmp_path_factory.mktemp("archive") / "rerun" / "first"
    for name, place in FILES.items():
        (root / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(afw / name, root / place)
    with Butler(root, writeable=True) as butler:
        assert butler.layout.name == "hsc"
        assert butler.rebuild(checksum=True).datasets == 3
        assert butler.verify(checksum=True) == []
    return root


@dataclass
class Blobs:
    """Connected detected pixels of an exposure, with their moments."""

    spans: list[SpanSet]
    x: np.ndarray  # pix
    y: np.ndarray  # pix
    shapes: list[Quadrupole]  # pix**2


def detected(exposure: Exposure) -> Blobs:
    """Return what the mask of an exposure calls detected."""
    spans = SpanSet.from_mask(exposure.mask.is_set("DETECTED"), xy0=exposure.xy0).split()
    places = [one.pixels() for one in spans]
    shapes = [Quadrupole(x.var(), y.var(), np.cov(x, y, ddof=0)[0, 1]) for x, y in places]
    x, y = (np.array([values.mean() for values in axis]) for axis in zip(*places, strict=True))
    return Blobs(spans, x, y, shapes)


def show(display: Display, exposure: Exposure, blobs: Blobs) -> None:
    """Show an exposure with its mask and what was detected."""
    display.set_mask_plane_color("CROSSTALK", "cyan")
    display.mtv(
        exposure,
        title="visit 908120",
        settings={"scale": "asinh zscale", "mask": "transparency 70"},
    )
    with display.buffering():
        for x, y, shape in zip(blobs.x, blobs.y, blobs.shapes, strict=True):
            display.dot(f"@:{shape.ixx:.3f},{shape.ixy:.3f},{shape.iyy:.3f}", x, y, ctype="yellow")
        display.dot("+", blobs.x, blobs.y, size=3, ctype="red")


def test_sources_are_selected_by_flags_and_get_magnitudes(rerun: Path) -> None:
    butler = Butler(rerun)
    (ref,) = butler.subset("src")
    sources = ref.get("src")
    assert isinstance(sources, SourceCatalog)
    primary = (sources["parent"] == 0) & (sources["deblend.nchild"] == 0)
    good = primary & ~sources["flags.pixel.edge"] & ~sources["flags.pixel.saturated.any"]
    stars = sources[good & ~sources["flags.pixel.interpolated.any"]]
    assert stars.id.tolist() == sources.id[~sources["base_PixelFlags_flag_edge"]].tolist()
    assert len(stars) == 1
    # the cut is not calibrated, and says so; nobody gets an infinite magnitude
    with pytest.raises(NotCalibrated, match="FLUXMAG0 = 0"):
        sources.magnitudes("flux.psf", butler.get("calexp_md", ID))
    mag, mag_err = stars.magnitudes("flux.psf", 27.0)
    assert mag == pytest.approx(27.0 - 2.5 * np.log10(2936.49394394), abs=1e-8)
    assert mag_err == pytest.approx(1.0857362 * stars["flux.psf.err"] / stars["flux.psf"], rel=1e-7)


def test_masks_are_counted_by_name(rerun: Path) -> None:
    butler = Butler(rerun)
    one, other = (butler.get("calexp_mask", visit=v, ccd=56) for v in (908120, 908122))
    assert (one.get_mask_plane("NO_DATA"), other.get_mask_plane("NO_DATA")) == (9, 8)
    assert {name: int(one.is_set(name).sum()) for name in one.planes if one.is_set(name).any()} == {
        "DETECTED": 5390,
        "CROSSTALK": 14,
    }
    exposure = butler.get("calexp", ID)
    sky = pixel_statistics(exposure, bad=("DETECTED", "CROSSTALK"))
    assert sky.n == 40_000 - int(one.is_set(["DETECTED", "CROSSTALK"]).sum())
    everything = pixel_statistics(exposure)
    assert sky.maximum < everything.maximum
    # the sky was taken off: what is left of it is small beside its noise
    assert abs(sky.mean_clipped) < 0.3 * sky.stdev_clipped
    noise = np.sqrt(np.median(exposure.variance.array))
    assert sky.stdev_clipped == pytest.approx(noise, rel=0.2)  # of one CCD, before resampling


def test_both_displays_show_the_same(rerun: Path, tmp_path: Path) -> None:
    exposure = Butler(rerun).get("calexp", ID)
    blobs = detected(exposure)
    assert len(blobs.spans) > 10
    virtual = Display("virtual")
    show(virtual, exposure, blobs)
    commands = virtual.recorder.commands
    assert [c for c in commands if c.startswith("mask color")] == [
        "mask color blue",
        "mask color cyan",
    ]
    regions = virtual.recorder.regions
    ellipses = [region for region in regions if region.startswith("ellipse")]
    assert len(ellipses) == len(blobs.spans)
    # parent coordinates from 0 -> those of the array, which start at (100, 100), from 1
    places = [[float(n) for n in e[e.index("(") + 1 :].split(",")[:2]] for e in ellipses]
    np.testing.assert_allclose(places, np.c_[blobs.x, blobs.y] - 99.0, atol=1e-3)
    picture = tmp_path / "calexp.png"
    with Display("matplotlib", out=picture) as paper:
        show(paper, exposure, blobs)
    pixels = np.asarray(PilImage.open(io.BytesIO(picture.read_bytes())).convert("RGB")).astype(int)
    red, green, blue = np.moveaxis(pixels, -1, 0)
    assert ((blue > red + 40) & (blue > green + 40)).sum() > 500  # DETECTED
    assert ((red > 200) & (green > 200) & (blue < 80)).sum() > 100  # ellipses
    assert ((red > 200) & (green < 60) & (blue < 60)).sum() > 100  # centres


def test_a_changed_exposure_goes_to_a_child_and_is_read_through_the_chain(rerun: Path) -> None:
    first = Butler(rerun)
    exposure = first.get("calexp", ID)
    with pytest.raises(ReadOnlyError, match="writeable=True"):
        first.put(exposure, "calexp", ID)
    before = (rerun / FILES["HSC-0908120-056-small.fits"]).read_bytes()
    exposure.image.array[:] *= 2.0
    exposure.photo_calib = PhotoCalib.from_zeropoint(27.0)
    satellite = exposure.mask.widened()  # the file has 16 bits
    satellite.array[50, :] |= 1 << satellite.add_mask_plane("SATELLITE")
    exposure.mask = satellite
    second = Butler(rerun.parent / "second", writeable=True, parent=rerun)
    assert second.layout.name == "hsc"  # that of its parent
    second.put(exposure, "calexp", ID)
    with pytest.raises(ConflictError, match="overwrite=True"):
        second.put(exposure, "calexp", ID)
    third = Butler(rerun.parent / "third", writeable=True, parent=second.root)
    back, original = third.get("calexp", ID), first.get("calexp", ID)
    assert third.get("calexp_filename", ID).startswith(str(second.root))
    np.testing.assert_array_equal(back.image.array, 2.0 * original.image.array)
    np.testing.assert_array_equal(back.variance.array, original.variance.array)
    assert back.mask.is_set("SATELLITE").sum() == back.width
    for name in original.mask.planes:
        np.testing.assert_array_equal(back.mask.is_set(name), original.mask.is_set(name))
    assert back.xy0 == (100, 100)
    x, y = np.array([100.0, 250.0]), np.array([299.0, 120.0])
    np.testing.assert_array_equal(back.wcs.pixel_to_sky(x, y), original.wcs.pixel_to_sky(x, y))
    # sources come from the first rerun, the zero point from the second
    mag, _ = third.get("src", ID).magnitudes("flux.psf", third.get("calexp_photo_calib", ID))
    assert mag == pytest.approx(27.0 - 2.5 * np.log10(third.get("src", ID)["flux.psf"]), abs=1e-9)
    assert third.query("calexp", "visit") == [908120, 908122]
    assert second.verify(checksum=True) == []
    assert (rerun / FILES["HSC-0908120-056-small.fits"]).read_bytes() == before
