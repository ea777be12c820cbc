"""The inverse transform of packed stamps."""

from __future__ import annotations

import numpy as np
import pytest

from skyloom.scene._fft_nb import ifft2_transposed, twiddles


def transformed(spectrum: np.ndarray) -> np.ndarray:
    """Run the kernel on a spectrum indexed [kx, ky]."""
    n = len(spectrum)
    flat = [
        np.ascontiguousarray(p, dtype=np.float32).ravel() for p in (spectrum.real, spectrum.imag)
    ]
    out = [np.full(n * n, np.nan, np.float32) for _ in range(2)]
    ifft2_transposed(*flat, *out, np.empty(64 * n, np.float32), n, *twiddles(n))
    return (out[0] + 1j * out[1].astype(np.float64)).reshape(n, n)


@pytest.mark.parametrize("n", [16, 32, 64, 128, 256])
def test_the_transform_agrees_with_numpy(n: int) -> None:
    rng = np.random.default_rng(n)
    spectrum = rng.normal(size=(n, n)) + 1j * rng.normal(size=(n, n))
    expected = (np.fft.ifft2(spectrum) * n**2).T
    # Single precision: rounding grows with the number of passes.
    assert np.abs(transformed(spectrum) - expected).max() < 1e-6 * np.abs(expected).max()


@pytest.mark.parametrize("n", [32, 64])
def test_a_plane_wave_becomes_one_pixel(n: int) -> None:
    k = 2 * np.pi * np.fft.fftfreq(n)
    spectrum = np.exp(-1j * (3 * k[:, None] + 7 * k[None, :])) / n**2
    image = transformed(spectrum)
    expected = np.zeros((n, n))
    expected[7, 3] = 1.0  # [y, x] of a spectrum [kx, ky]
    assert np.abs(image - expected).max() < 3e-7  # rounding


def test_two_real_images_travel_together() -> None:
    rng = np.random.default_rng(5)
    a, b = rng.normal(size=(2, 64, 64))
    both = transformed((np.fft.fft2(a) + 1j * np.fft.fft2(b)).T) / 64**2
    assert np.abs(both.real - a).max() < 5e-6  # rounding of 4096 terms
    assert np.abs(both.imag - b).max() < 5e-6
