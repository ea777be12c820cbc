"""What is known of the stars while a PSF is built."""

from __future__ import annotations

from dataclasses import dataclass

from skyloom._types import Bools, Floats, Ints

__all__ = ["StarState", "StarStep"]


@dataclass(frozen=True, slots=True, kw_only=True)
class StarState:
    """Flux and position of the stars; arrays (n,)."""

    flux: Floats
    pedestal: Floats
    dx: Floats  # pix from the central pixel of the cutout
    dy: Floats
    flux_var: Floats

    def rows(self, index: Ints | Bools) -> StarState:
        """Return the chosen stars."""
        return StarState(
            flux=self.flux[index],
            pedestal=self.pedestal[index],
            dx=self.dx[index],
            dy=self.dy[index],
            flux_var=self.flux_var[index],
        )

    def replaced(self, rows: Ints, other: StarState) -> StarState:
        """Return the stars with some of them taken from ``other``, one for each row."""

        def merged(mine: Floats, new: Floats) -> Floats:
            out = mine.copy()
            out[rows] = new
            return out

        return StarState(
            flux=merged(self.flux, other.flux),
            pedestal=merged(self.pedestal, other.pedestal),
            dx=merged(self.dx, other.dx),
            dy=merged(self.dy, other.dy),
            flux_var=merged(self.flux_var, other.flux_var),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class StarStep:
    """The stars after a step, with what the step was made of; images (n, A, A)."""

    state: StarState
    light: Floats  # model without pedestal, after the step to first order
    residual: Floats  # data minus model, likewise
    weight: Floats  # inverse variance including the light of the model
    moffat: Floats  # profile before the step, without correction
    unit: Floats  # model of unit flux before the step, and its derivatives by the position
    by_x: Floats
    by_y: Floats

    def rows(self, index: Ints | Bools) -> StarStep:
        """Return the chosen stars."""
        return StarStep(
            state=self.state.rows(index),
            light=self.light[index],
            residual=self.residual[index],
            weight=self.weight[index],
            moffat=self.moffat[index],
            unit=self.unit[index],
            by_x=self.by_x[index],
            by_y=self.by_y[index],
        )
