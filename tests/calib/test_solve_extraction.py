"""Control texts mean here what they mean to SExtractor, where that is installed."""

from __future__ import annotations

import shutil
import subprocess

import numpy as np
import pytest
from astropy.io import fits
from scipy.spatial import KDTree

from skyloom.calib.plate_solving import extract_stars, settings_from_control

PROGRAM = next(filter(None, map(shutil.which, ("source-extractor", "sextractor", "sex"))), None)
HEAD = """
CATALOG_TYPE     FITS_1.0
CATALOG_NAME     img.xyls
PARAMETERS_NAME  anet.param
FILTER_NAME      anet.filter
VERBOSE_TYPE     QUIET
WEIGHT_TYPE      NONE
"""


def gaussian_filter():
    r2 = np.add.outer(np.arange(-2, 3) ** 2, np.arange(-2, 3) ** 2)
    rows = np.exp(-0.5 * r2 * (2.3548 / 2.0) ** 2)
    return "CONV NORM\n" + "\n".join(" ".join(f"{v:.6f}" for v in row) for row in rows) + "\n"


@pytest.fixture(scope="module")
def field():
    """Stars of two sizes, faint to bright, on a slope."""
    rng = np.random.default_rng(12)
    yy, xx = np.mgrid[:500, :600]
    image = rng.normal(200.0, 5.0, (500, 600)) + 0.05 * xx
    for n in range(150):
        x, y, sigma = rng.uniform(8, 592), rng.uniform(8, 492), (1.4, 3.5)[n % 2]
        flux = 10 ** rng.uniform(2.0, 3.5)
        image += flux * np.exp(-0.5 * ((xx - x) ** 2 + (yy - y) ** 2) / sigma**2)
    return image.astype(np.float32)


@pytest.mark.skipif(PROGRAM is None, reason="no source-extractor; apt install source-extractor")
@pytest.mark.parametrize(
    "control",
    [
        "",
        "DETECT_MINAREA 100\nDETECT_THRESH 8",
        "DETECT_MINAREA 10\nDETECT_THRESH 6",
        "DETECT_MINAREA 5\nDETECT_MAXAREA 100\nDETECT_THRESH 5",
        "DETECT_THRESH 60\nTHRESH_TYPE ABSOLUTE\nFILTER N\nDETECT_MINAREA 5",
        "BACK_SIZE 32\nBACK_FILTERSIZE 5\nDETECT_THRESH 10\nDETECT_MINAREA 5",
        "BACK_TYPE MANUAL\nBACK_VALUE 215\nDETECT_THRESH 12\nDETECT_MINAREA 5\nCLEAN N",
    ],
)
def test_the_same_stars_as_sextractor(field, control, tmp_path):
    assert PROGRAM is not None
    defaults = "" if control else "DETECT_MINAREA 5\nDETECT_THRESH 5"
    fits.writeto(tmp_path / "img.fits", field)
    (tmp_path / "anet.control").write_text(f"{HEAD}{control}{defaults}\n")
    (tmp_path / "anet.param").write_text("X_IMAGE\nY_IMAGE\nFLUX_AUTO\nELONGATION\n")
    (tmp_path / "anet.filter").write_text(gaussian_filter())
    subprocess.run([PROGRAM, "img.fits", "-c", "anet.control"], cwd=tmp_path, check=True)
    with fits.open(tmp_path / "img.xyls") as hdus:
        theirs = np.column_stack([hdus[1].data["X_IMAGE"], hdus[1].data["Y_IMAGE"]]) - 1.0
    ours = extract_stars(field, settings_from_control(control)).stars.points
    # Both are cut at the same level of noise: a star at the threshold may fall to either side.
    assert len(ours) == pytest.approx(len(theirs), rel=0.04, abs=1)
    assert len(ours) >= 15
    distance = KDTree(ours).query(theirs)[0]
    assert np.mean(distance < 0.5) > 0.95
    assert np.median(distance) < 0.05  # pix: backgrounds are not the same to the last digit
