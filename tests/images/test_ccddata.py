"""Exposures as CCDData."""

from __future__ import annotations

import numpy as np
import pytest
from afw_tools import same_planes, sample
from astropy import units
from astropy.nddata import CCDData, StdDevUncertainty

from skyloom.images import Exposure


def test_an_exposure_comes_back():
    exposure = sample()
    ccd = exposure.to_ccddata()
    assert ccd.unit == units.adu
    assert (ccd.mask == exposure.mask.is_set(["BAD", "SAT", "CR"])).all()
    assert ccd.uncertainty.array.sum() == pytest.approx(exposure.variance.array.sum())
    sky = ccd.wcs.pixel_to_world_values(3.0, 4.0)
    assert exposure.wcs.pixel_to_sky(1003, -16) == pytest.approx(tuple(map(float, sky)), abs=1e-11)
    back = Exposure.from_ccddata(ccd)
    assert same_planes(exposure, back)
    assert back.mask.planes == exposure.mask.planes
    assert back.metadata["OBJECT"] == "M 31"
    assert "LTV1" not in back.metadata
    assert back.wcs.pixel_to_sky(1003, -16) == pytest.approx(tuple(map(float, sky)), abs=1e-11)
    ccd.data[:] = 0
    assert exposure.image.array.any()


def test_planes_that_are_bad_can_be_chosen():
    exposure = sample()
    ccd = exposure.to_ccddata(unit="electron", bad=("DETECTED",))
    assert ccd.unit == units.electron
    assert (ccd.mask == exposure.mask.is_set("DETECTED")).all()


def test_a_ccddata_of_somebody_else():
    ccd = CCDData(
        np.ones((2, 3), np.float32),
        unit="adu",
        mask=np.array([[True, False, False]] * 2),
        uncertainty=StdDevUncertainty(np.full((2, 3), 3.0)),
        meta={"OBJECT": "x"},
    )
    exposure = Exposure.from_ccddata(ccd)
    assert exposure.variance.array.tolist() == [[9.0] * 3] * 2
    assert exposure.mask.is_set("BAD").tolist() == ccd.mask.tolist()
    assert exposure.metadata["OBJECT"] == "x"
    assert exposure.metadata["BUNIT"] == "adu"
    assert exposure.wcs is None
