"""Growth curves and the numbers for meta.json."""

import numpy as np
import pytest

from skyloom.psf import MoffatPsf, enclosed_light, stamp_qa


def test_enclosed_light_of_a_flat_stamp_counts_pixels():
    radius = np.array([0.0, 1.0, 2.0, 100.0])
    np.testing.assert_allclose(enclosed_light(np.ones((5, 5)), radius), [1, 5, 13, 25])


def test_numbers_of_a_moffat():
    stamp = MoffatPsf(fwhm_pix=4.0, beta=3.0, radius=27).basis[0]
    qa = stamp_qa(stamp)
    # enclosed light of a Moffat: 1 - (1 + (r / alpha)**2)**(1 - beta), radii in whole pixels
    alpha = MoffatPsf(fwhm_pix=4.0, beta=3.0).alpha
    for percent in (50, 80, 90):
        exact = alpha * np.sqrt((1 - percent / 100) ** (-1 / 2) - 1)
        assert exact - 0.6 <= qa[f"ee_r{percent}_pix"] <= exact + 1.1
    assert qa["epsf_max"] == stamp.max()
    assert qa["epsf_min"] == stamp.min()
    assert qa["epsf_edge_median"] == pytest.approx(np.median(stamp[0]), rel=0.5)
    assert 0.999 < qa["ee_edge"] <= 1


def test_an_empty_stamp_has_no_radii():
    assert np.isnan(stamp_qa(np.zeros((7, 7)))["ee_r50_pix"])
