"""What a simulated tile looks like: bands, population, catalogue errors."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

from skyloom.errors import WrongValue

__all__ = ["SimBand", "TileSimConfig", "demo_config", "truth_config"]


@dataclass(frozen=True, slots=True, kw_only=True)
class SimBand:
    """One band of a simulated tile: its camera, its sky, its seeing."""

    name: str  # the FITS keyword FILTER
    wavelength: float  # micron, sets the colours
    zp: float = 27.0  # AB mag of 1 ADU, the truth
    zp_error: float = 0.0  # mag, header ZP_AUTO minus truth
    sky_sigma: float = 5.0  # ADU per pixel
    sky_level: float = 0.0  # ADU, left over after sky subtraction
    gain: float = 20.0  # electron / ADU
    saturate: float = 30000.0  # ADU, where pixels stop filling
    fwhm: float = 4.0  # pix, circularised, field mean
    beta: float = 3.0  # Moffat slope
    g1: float = 0.01  # mean PSF ellipticity, (a-b)/(a+b)
    g2: float = -0.01

    @property
    def zp_auto(self) -> float:
        """Zero point that the header claims [AB mag]."""
        return self.zp + self.zp_error


@dataclass(frozen=True, slots=True, kw_only=True)
class TileSimConfig:
    """A simulated tile: frame, population, and how wrong its input catalogue is.

    Raises
    ------
    WrongValue
        If a fraction is outside [0, 1], the frame cannot hold its sources, or no band is given.
    """

    bands: tuple[SimBand, ...]
    nx: int = 640  # pix
    ny: int = 640  # pix
    pixel_scale: float = 0.4  # arcsec / pix
    ra: float = 150.1  # deg, centre of the frame
    dec: float = 2.2  # deg
    rotation: float = 0.0  # deg, of the celestial axes, counter-clockwise
    border: float = 12.0  # pix without sources along the edges

    n_sources: int = 240
    star_fraction: float = 0.4
    exp_fraction: float = 0.4  # of the galaxies; what exp and dev leave is Sersic
    dev_fraction: float = 0.25
    star_mag: tuple[float, float] = (14.7, 21.6)  # AB, reference magnitude
    galaxy_mag: tuple[float, float] = (16.0, 21.2)
    star_slope: float = 0.10  # dex / mag of the number counts
    galaxy_slope: float = 0.20
    blend_fraction: float = 0.15  # of the sources stand in pairs
    blend_fwhm: tuple[float, float] = (1.0, 2.0)  # separation of the pairs, in mean FWHM
    min_separation: float = 4.5  # pix, between any other two sources
    n_saturated: int = 0  # stars beyond SATURATE, on top of n_sources
    n_uncatalogued: int = 0  # bright stars that only the Gaia table knows, out of n_sources
    n_bad_columns: int = 0  # columns of NaN in the first band
    star_grid: int = 0  # stars per axis of a jittered grid over the frame, out of n_sources
    grid_mag: tuple[float, float] = (15.0, 16.5)  # AB, reference magnitude of the stars on it

    psf_variation: float = 0.10  # range of FWHM over the field, relative
    psf_shear: float = 0.05  # range of g1 and of g2 over the field: 10 % in axis ratio

    position_error: float = 0.3  # pix rms per axis, catalogue minus truth
    size_error: float = 0.2  # rms of ln Re
    ell_error: float = 0.07  # rms of ELL
    theta_error: float = 10.0  # deg rms
    sersic_error: float = 0.2  # rms of ln n
    type_error: float = 0.0  # fraction of galaxies whose TYPE is another galaxy type

    gaia_mag: tuple[float, float] = (10.0, 18.0)  # G of the stars in the Gaia table
    zp_ref: float = 25.0  # AB mag, image_scaling.zp_ref of the configuration written

    def __post_init__(self) -> None:
        for name in ("star_fraction", "exp_fraction", "dev_fraction", "blend_fraction"):
            value = getattr(self, name)
            if not 0 <= value <= 1:
                raise WrongValue(f"TileSimConfig.{name} = {value} must lie in [0, 1]", value=value)
        if self.star_grid**2 > self.n_sources:
            raise WrongValue(
                f"TileSimConfig: a grid of {self.star_grid} x {self.star_grid} stars is more than "
                f"n_sources = {self.n_sources}; raise n_sources or lower star_grid"
            )
        if self.exp_fraction + self.dev_fraction > 1:
            raise WrongValue("TileSimConfig: exp_fraction + dev_fraction must not exceed 1")
        if not self.bands:
            raise WrongValue("TileSimConfig.bands is empty; give at least one SimBand")
        if min(self.nx, self.ny) <= 2 * self.border + 16:
            raise WrongValue(
                f"TileSimConfig: a frame of {self.nx} x {self.ny} pix leaves no room inside a "
                f"border of {self.border} pix; enlarge nx and ny"
            )

    @property
    def shape(self) -> tuple[int, int]:
        """Array shape ``(ny, nx)``."""
        return self.ny, self.nx

    @property
    def mean_fwhm(self) -> float:
        """FWHM averaged over the bands [pix]."""
        return sum(band.fwhm for band in self.bands) / len(self.bands)


def demo_config(*, size: int = 640, n_sources: int = 240) -> TileSimConfig:
    """Return the three-band field of ``skyloom demo``.

    It has what real tiles have: blends, saturated stars, stars missing from the catalogue, a dead
    column, header zero points wrong by some hundredths of a magnitude and sky left over.

    Parameters
    ----------
    size : int
        Side of the square frame [pix].
    n_sources : int
        Sources, without the three saturated stars.
    """
    bands = (
        SimBand(name="m475", wavelength=0.475, zp=26.8, zp_error=0.030, sky_level=0.5, fwhm=4.3),
        SimBand(
            name="m625", wavelength=0.625, zp=27.1, zp_error=-0.020, sky_sigma=4.5, fwhm=3.6, g1=0.0
        ),
        SimBand(name="m825", wavelength=0.825, zp=26.9, zp_error=0.010, sky_sigma=6.0, fwhm=3.9),
    )
    return TileSimConfig(
        bands=bands,
        nx=size,
        ny=size,
        n_sources=n_sources,
        star_fraction=0.45,
        n_saturated=3,
        n_uncatalogued=4,
        n_bad_columns=1,
    )


def truth_config(**changes: Any) -> TileSimConfig:
    """Return the five-band field that accuracy is measured on.

    1024 x 1024 pixels, 600 sources, two in five of them stars, FWHM 3.2-4.8 pixels; no saturated
    star, nothing missing from the catalogue.

    Parameters
    ----------
    **changes
        Fields of `TileSimConfig` to replace.
    """
    bands = (
        SimBand(name="m400", wavelength=0.40, zp=26.9, zp_error=0.03, fwhm=4.8, beta=2.8, g1=0.02),
        SimBand(name="m500", wavelength=0.50, zp=27.1, zp_error=-0.02, fwhm=4.2, g2=0.02),
        SimBand(name="m625", wavelength=0.625, zp=27.2, zp_error=0.01, sky_sigma=4.5, fwhm=3.2),
        SimBand(name="m750", wavelength=0.75, zp=27.0, zp_error=-0.04, sky_sigma=5.5, fwhm=3.6),
        SimBand(name="m850", wavelength=0.85, zp=26.8, sky_sigma=6.0, fwhm=3.9, beta=3.3),
    )
    config = TileSimConfig(bands=bands, nx=1024, ny=1024, n_sources=600, rotation=4.0)
    return replace(config, **changes)
