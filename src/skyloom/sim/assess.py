"""What a catalogue is worth: offsets, pulls and completeness against truth.

S/N always means *true flux / reported error*, so that the bins do not select on the noise.  Widths
are robust, ``1.4826 MAD``.  Standard errors are those of a Gaussian sample of the same size; the
bands of one source share their position and shape errors, so those of ``band = "all"`` are
somewhat too small.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from astropy.table import Table, vstack

from skyloom._types import Bools, Floats, Ints
from skyloom.errors import BadTable

__all__ = [
    "Assessment",
    "SnrBin",
    "assess_tile",
    "match_truth",
    "pool_assessments",
]

_MAD = 1.4826
_MEDIAN_ERROR = 1.2533  # standard error of a median, sigma / sqrt(n)
_WIDTH_ERROR = 1.166  # standard error of 1.4826 MAD, sigma / sqrt(n)
_MMAG = 2500 / np.log(10)
_GROUPS = ("star", "galaxy", "exp", "dev", "sersic")


@dataclass(frozen=True, slots=True)
class SnrBin:
    """A half-open range of signal to noise."""

    lo: float
    hi: float

    def __str__(self) -> str:
        return f"> {self.lo:g}" if np.isinf(self.hi) else f"{self.lo:g}-{self.hi:g}"


DEFAULT_BINS = (
    SnrBin(3, 10),
    SnrBin(10, 30),
    SnrBin(30, 100),
    SnrBin(100, np.inf),
    SnrBin(30, np.inf),
    SnrBin(10, 100),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Assessment:
    """A catalogue measured against truth.

    ``fluxes`` has one row per source and band: ``ID, band, kind, snr, ratio`` (fitted / true
    flux), ``pull``.  ``positions`` has one row per source: ``ID, kind, snr`` (of the best band),
    ``dx, dy`` [pix], ``pull_x, pull_y`` (NaN without error columns).  Both can be pooled.
    """

    fluxes: Table
    positions: Table
    n_active: int  # rows that should have been fitted
    n_fitted: int  # of them, with a position and all fluxes
    n_silent: int  # active rows with an infinite or missing flux and no fit flag
    bins: tuple[SnrBin, ...] = DEFAULT_BINS

    @property
    def fraction_fitted(self) -> float:
        """Fitted over active rows; NaN without active rows."""
        return self.n_fitted / self.n_active if self.n_active else float("nan")

    @property
    def bands(self) -> list[str]:
        """Bands in their order of appearance."""
        return list(dict.fromkeys(str(b) for b in self.fluxes["band"]))

    def value(self, name: str, *, group: str, snr: SnrBin, band: str = "all") -> float:
        """Return one number of `statistics`, for instance ``value("offset", group="star", ...)``.

        Parameters
        ----------
        name : str
            Column of `statistics`.
        group, band : str
            Kind of source and band.
        snr : SnrBin
            Range of signal to noise; it need not be one of ``bins``.
        """
        return float(self._row(group, band, snr)[name])

    def statistics(self) -> Table:
        """Tabulate every group, band and bin.

        Returns
        -------
        Table
            ``group, band, snr_lo, snr_hi, n, offset, offset_err`` [mmag, fitted minus true],
            ``pull, pull_err`` (median), ``width, width_err``.  Median and width are NaN below
            three sources.
        """
        rows = [
            {
                "group": group,
                "band": band,
                "snr_lo": b.lo,
                "snr_hi": b.hi,
                **self._row(group, band, b),
            }
            for group in _GROUPS
            for band in [*self.bands, "all"]
            for b in self.bins
        ]
        return Table(rows=rows)

    def summary(self) -> str:
        """Return a text of about 30 lines: all bands together, then offsets by band."""
        lines = [
            f"fitted {self.n_fitted} of {self.n_active} active sources "
            f"({100 * self.fraction_fitted:.1f} %), {self.n_silent} bad fluxes without a flag",
            f"{'group':8}{'S/N':>8}{'n':>7}{'offset [mmag]':>20}{'median pull':>18}{'width':>16}",
        ]
        for group in _GROUPS:
            for b in self.bins:
                r = self._row(group, "all", b)
                lines.append(
                    f"{group:8}{b!s:>8}{r['n']:7.0f}"
                    f"{r['offset']:12.1f} +- {r['offset_err']:4.1f}"
                    f"{r['pull']:10.2f} +- {r['pull_err']:4.2f}"
                    f"{r['width']:8.2f} +- {r['width_err']:4.2f}"
                )
        lines.append("offsets by band [mmag]".ljust(24) + "".join(f"{b:>10}" for b in self.bands))
        for group, b in (("star", SnrBin(30, np.inf)), ("star", SnrBin(10, 30)),
                         ("galaxy", SnrBin(30, 100)), ("galaxy", SnrBin(10, 30))):  # fmt: skip
            cells = (f"{self._row(group, band, b)['offset']:10.1f}" for band in self.bands)
            lines.append(f"  {group} S/N {b}".ljust(24) + "".join(cells))
        lines.extend(self._position_lines())
        return "\n".join(lines)

    def _row(self, group: str, band: str, snr: SnrBin) -> dict[str, float]:
        table = self.fluxes
        chosen = _in_group(np.asarray(table["kind"]), group)
        chosen &= (np.asarray(table["snr"]) >= snr.lo) & (np.asarray(table["snr"]) < snr.hi)
        if band != "all":
            chosen &= np.asarray(table["band"]) == band
        ratio = np.asarray(table["ratio"])[chosen]
        pull = np.asarray(table["pull"])[chosen]
        n, middle, width = len(pull), *_robust(ratio)
        pull_middle, pull_width = _robust(pull)
        root = np.sqrt(max(n, 1))
        # The median of magnitudes is the magnitude of the median flux, negative fluxes included.
        with np.errstate(invalid="ignore", divide="ignore"):
            offset = -2500 * np.log10(middle) if middle > 0 else np.nan
            offset_err = _MMAG * _MEDIAN_ERROR * width / abs(middle) / root
        return {
            "n": float(n),
            "offset": float(offset),
            "offset_err": float(offset_err),
            "pull": pull_middle,
            "pull_err": _MEDIAN_ERROR * pull_width / root,
            "width": pull_width,
            "width_err": _WIDTH_ERROR * pull_width / root,
        }

    def _position_lines(self) -> list[str]:
        lines = []
        for group in ("star", "galaxy"):
            chosen = _in_group(np.asarray(self.positions["kind"]), group)
            chosen &= np.asarray(self.positions["snr"]) >= 10
            table = self.positions[chosen]
            width = {
                name: _robust(np.asarray(table[name])) for name in ("dx", "dy", "pull_x", "pull_y")
            }
            lines.append(
                f"position, {group} S/N > 10, n = {len(table)}: "
                f"dx {width['dx'][0]:+.4f} +- {width['dx'][1]:.4f} pix, "
                f"dy {width['dy'][0]:+.4f} +- {width['dy'][1]:.4f} pix, "
                f"pull widths {width['pull_x'][1]:.2f} {width['pull_y'][1]:.2f}"
            )
        return lines


def match_truth(catalog: Table, truth: Table) -> tuple[Ints, Ints]:
    """Match rows by ID, as text.

    Parameters
    ----------
    catalog, truth : Table
        Both with a column ``ID``.

    Returns
    -------
    tuple of ndarray of int
        Rows of the catalogue and, in the same order, of the truth.

    Raises
    ------
    BadTable
        If an ID of the truth is not unique, or nothing matches.
    """
    index = {str(name): row for row, name in enumerate(truth["ID"])}
    if len(index) != len(truth):
        raise BadTable(
            f"truth: {len(truth) - len(index)} IDs occur more than once; make them unique"
        )
    pairs = [(row, index[str(n)]) for row, n in enumerate(catalog["ID"]) if str(n) in index]
    if not pairs:
        raise BadTable(
            f"catalogue: none of its {len(catalog)} IDs occurs in the truth; were IDs read as "
            "numbers and lost leading zeros?"
        )
    rows = np.array(pairs, dtype=np.int64)
    return rows[:, 0], rows[:, 1]


def assess_tile(
    catalog: Table,
    truth: Table,
    *,
    bands: Sequence[str],
    zero_points: Mapping[str, float] | None = None,
    origin: tuple[float, float] = (0.0, 0.0),
    position_columns: tuple[str, str] = ("x_pix_white_fit", "y_pix_white_fit"),
    position_error_columns: tuple[str, str] = ("x_pix_white_fit_err", "y_pix_white_fit_err"),
    exclude_flags: int = 0,
    bins: tuple[SnrBin, ...] = DEFAULT_BINS,
) -> Assessment:
    """Compare a final catalogue with the truth of its simulated tile.

    Parameters
    ----------
    catalog : Table
        Final catalogue: ``ID, TYPE, FLUX_{band}_fit, FLUXERR_{band}_fit`` [scaled counts], fitted
        positions [pix]; where present, ``excluded_any``, ``fit_flags`` and ``MAG_{band}_fit``.
    truth : Table
        See `SimField`.
    bands : sequence of str
        Band names.
    zero_points : mapping, optional
        Zero point of scaled counts by band [AB mag]; by default the one that the catalogue's
        magnitudes were made with.
    origin : tuple of float
        Pixel of the simulated frame at the origin of the catalogue's frame: the crop margin.
    position_columns, position_error_columns : tuple of str
        Names of the fitted positions and of their errors [pix]; missing errors give NaN pulls.
    exclude_flags : int
        Sources with any of these bits in ``fit_flags`` stay out of offsets and pulls.
    bins : tuple of SnrBin
        Bins of `Assessment.statistics` and `Assessment.summary`.

    Returns
    -------
    Assessment
        Truly saturated stars and galaxies whose catalogue TYPE is wrong stay out of offsets and
        pulls; completeness counts every active row.

    Raises
    ------
    BadTable
        If a column is missing or no ID matches.
    """
    _require(catalog, ("ID", *(f"FLUX{e}_{b}_fit" for b in bands for e in ("", "ERR"))))
    rows, truth_rows = match_truth(catalog, truth)
    cat, tru = catalog[rows], truth[truth_rows]
    flags = np.asarray(_column(cat, "fit_flags", 0.0)).astype(np.int64)
    fluxes = np.array([_column(cat, f"FLUX_{b}_fit") for b in bands])
    errors = np.array([_column(cat, f"FLUXERR_{b}_fit") for b in bands])
    is_active = ~_booleans(cat, "excluded_any")
    is_good = np.isfinite(fluxes) & np.isfinite(errors)
    x, y = (_column(cat, name) for name in position_columns)
    is_fitted = is_active & is_good.all(axis=0) & np.isfinite(x) & np.isfinite(y)
    kind = np.char.lower(np.asarray(tru["TYPE"]).astype(str))
    use = is_active & (flags & exclude_flags == 0) & ~np.asarray(tru["is_saturated"], bool)
    if "TYPE" in cat.colnames:
        use &= np.char.lower(np.asarray(cat["TYPE"]).astype(str)) == kind
    sample = _Sample(tru=tru, kind=kind, use=use)
    parts = []
    for i, band in enumerate(bands):
        zp = zero_points[band] if zero_points is not None else _applied_zero_point(cat, band)
        good = is_good[i] & (errors[i] > 0)
        parts.append(sample.fluxes(band, fluxes[i], errors[i], good=good, zp=zp))
    pixels = x + origin[0], y + origin[1]
    pixel_errors = [_column(cat, name, np.nan) for name in position_error_columns]
    flux_table = vstack(parts)
    return Assessment(
        fluxes=flux_table,
        positions=sample.positions(*pixels, *pixel_errors, fluxes=flux_table),
        n_active=int(is_active.sum()),
        n_fitted=int(is_fitted.sum()),
        n_silent=int((is_active & ~is_good.all(axis=0) & (flags == 0)).sum()),
        bins=bins,
    )


def pool_assessments(assessments: Sequence[Assessment]) -> Assessment:
    """Put the samples of several tiles together.

    Parameters
    ----------
    assessments : sequence of Assessment
        At least one.
    """
    return Assessment(
        fluxes=vstack([a.fluxes for a in assessments]),
        positions=vstack([a.positions for a in assessments]),
        n_active=sum(a.n_active for a in assessments),
        n_fitted=sum(a.n_fitted for a in assessments),
        n_silent=sum(a.n_silent for a in assessments),
        bins=assessments[0].bins,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Sample:
    """Matched rows of one tile, and which of them enter offsets and pulls."""

    tru: Table
    kind: npt.NDArray[np.str_]
    use: Bools

    def fluxes(self, band: str, flux: Floats, error: Floats, *, good: Bools, zp: float) -> Table:
        chosen = self.use & good
        true = 10 ** (0.4 * (zp - np.asarray(self.tru[f"mag_{band}"])))[chosen]
        return Table(
            {
                "ID": np.asarray(self.tru["ID"]).astype(str)[chosen],
                "band": np.full(int(chosen.sum()), band),
                "kind": self.kind[chosen],
                "snr": true / error[chosen],
                "ratio": flux[chosen] / true,
                "pull": (flux[chosen] - true) / error[chosen],
            }
        )

    def positions(
        self, x: Floats, y: Floats, x_err: Floats, y_err: Floats, *, fluxes: Table
    ) -> Table:
        best: dict[str, float] = {}
        for name, snr in zip(fluxes["ID"], fluxes["snr"], strict=True):
            best[str(name)] = max(best.get(str(name), 0.0), float(snr))
        ids = np.asarray(self.tru["ID"]).astype(str)
        dx, dy = x - np.asarray(self.tru["x"]), y - np.asarray(self.tru["y"])
        with np.errstate(divide="ignore", invalid="ignore"):
            pulls = {"pull_x": dx / x_err, "pull_y": dy / y_err}
        snr = np.array([best.get(name, 0.0) for name in ids])
        table = Table({"ID": ids, "kind": self.kind, "snr": snr, "dx": dx, "dy": dy, **pulls})
        return table[self.use & np.isfinite(dx) & np.isfinite(dy)]


def _robust(values: Floats) -> tuple[float, float]:
    """Median and 1.4826 MAD of the finite values; NaN below three of them."""
    values = values[np.isfinite(values)]
    if len(values) < 3:
        return float("nan"), float("nan")
    middle = float(np.median(values))
    return middle, float(_MAD * np.median(np.abs(values - middle)))


def _in_group(kind: npt.NDArray[np.str_], group: str) -> Bools:
    return np.asarray(kind != "star" if group == "galaxy" else kind == group)


def _applied_zero_point(catalog: Table, band: str) -> float:
    """Zero point that turned the fluxes into the magnitudes of the same rows."""
    name = f"MAG_{band}_fit"
    _require(catalog, (name,))
    flux, mag = _column(catalog, f"FLUX_{band}_fit"), _column(catalog, name)
    ok = np.isfinite(mag) & (flux > 0)
    if not ok.any():
        raise BadTable(
            f"catalogue: {name} has no magnitude; run the zero point or give zero_points"
        )
    return float(np.median(mag[ok] + 2.5 * np.log10(flux[ok])))


def _require(table: Table, names: Iterable[str]) -> None:
    for name in names:
        if name not in table.colnames:
            raise BadTable(f"catalogue: column {name} is missing; is this a final catalogue?")


def _column(table: Table, name: str, default: float | None = None) -> Floats:
    """Numbers of a column; masked and empty cells are NaN, a missing column is the default."""
    if name not in table.colnames and default is not None:
        return np.full(len(table), default)
    _require(table, (name,))
    column = table[name]
    if column.dtype.kind in "US":
        return np.array([float(c) if c not in ("", "--") else np.nan for c in column.astype(str)])
    return np.asarray(np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan))


def _booleans(table: Table, name: str) -> Bools:
    """Claims of a column, also when a CSV reader left them as text; False without the column."""
    if name not in table.colnames:
        return np.zeros(len(table), dtype=np.bool_)
    text = np.asarray(np.ma.filled(np.ma.asarray(table[name].astype(str)), "False"))
    return np.asarray(text == "True")
