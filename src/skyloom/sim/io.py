"""Files of a simulated tile: exactly what ``skyloom tile run`` reads, and the truth."""

from __future__ import annotations

import csv
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import yaml
from astropy.io import fits
from astropy.table import Table

from skyloom.errors import MissingFile, Unwritable

from .tile import SimTile

__all__ = ["read_band_truth", "read_truth", "tile_settings", "write_tile"]

_TEXT = ("ID", "TYPE", "gaia_source_id", "band")


def write_tile(
    tile: SimTile, directory: str | Path, *, settings: Mapping[str, object] | None = None
) -> Path:
    """Write a simulated tile as a folder that the tile pipeline can run.

    The folder then holds ``images/sim_{band}.fits``, ``image_list.txt``, ``input_catalog.csv``,
    ``gaiaxp.csv``, ``config.yaml``, ``truth.csv`` and ``truth_bands.csv``.  The same tile gives
    the same bytes: paths inside are relative, so the folder can be copied and moved.

    Parameters
    ----------
    tile : SimTile
        The tile.
    directory : path
        Folder; created, files in it are overwritten.
    settings : mapping, optional
        Keys of ``config.yaml`` that replace or extend `tile_settings`, nested.

    Returns
    -------
    Path
        The configuration file.

    Raises
    ------
    Unwritable
        If the folder cannot be made.
    """
    directory = Path(directory).absolute()
    images = directory / "images"
    try:
        images.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(
            f"{directory}: cannot create the folder of the simulated tile ({error.strerror}); "
            "choose a writable place",
            path=str(directory),
        ) from error
    paths = []
    for band, image in tile.images.items():
        paths.append(images / f"sim_{band}.fits")
        fits.PrimaryHDU(image, tile.headers[band]).writeto(paths[-1], overwrite=True)
    lines = [
        "# simulated bands, one image per line; the first is the reference",
        *(f"images/{p.name}" for p in paths),
    ]
    (directory / "image_list.txt").write_text("\n".join(lines) + "\n", encoding="utf-8")
    _write_csv(tile.catalog, directory / "input_catalog.csv")
    _write_csv(tile.gaia, directory / "gaiaxp.csv")
    _write_csv(tile.truth, directory / "truth.csv")
    _write_csv(tile.band_truth, directory / "truth_bands.csv")
    merged = _merged(tile_settings(tile), settings or {})
    config = directory / "config.yaml"
    text = yaml.safe_dump(merged, sort_keys=False, default_flow_style=False)
    config.write_text("# a simulated tile; truth.csv and truth_bands.csv hold the truth\n" + text)
    return config


def tile_settings(tile: SimTile) -> dict[str, object]:
    """Return a configuration that suits a simulated tile of this size; paths are relative.

    Parameters
    ----------
    tile : SimTile
        The tile.
    """
    config = tile.config
    mags = np.concatenate([np.asarray(tile.gaia[f"mag_{b.name}"], float) for b in config.bands])
    lo, hi = (
        (float(np.floor(mags.min())), float(np.ceil(mags.max()))) if len(mags) else (10.0, 20.0)
    )
    middle = (config.nx // 2, config.ny // 2)
    return {
        "inputs": {
            "tile_name": "simulation",
            "input_catalog": "input_catalog.csv",
            "image_list_file": "image_list.txt",
            "gaiaxp_synphot_csv": "gaiaxp.csv",
        },
        "outputs": {"work_dir": "work"},
        "image_scaling": {"zp_ref": config.zp_ref},
        "crop": {
            "enabled": True,
            "margin": 0,
            "display_downsample": 1,
            "post_crop_display_downsample": 1,
        },
        "overlay": {
            "downsample_full": 1,
            "zoom_box": [middle[0] - 100, middle[0] + 100, middle[1] - 100, middle[1] + 100],
        },
        "epsf": {"epsf_ngrid": 2, "ngrid": 3},
        "plotting": {"dpi": 150},
        "zp": {"enabled": True, "plot_mag_lo": lo, "plot_mag_hi": hi, "plot_zp_offset": 0.1},
    }


def read_truth(path: str | Path) -> Table:
    """Read ``truth.csv``; IDs and Gaia names stay text.

    Parameters
    ----------
    path : path
        The file, or the folder of the tile.

    Raises
    ------
    MissingFile
        If there is no such file.
    """
    return _read_csv(path, "truth.csv")


def read_band_truth(path: str | Path) -> Table:
    """Read ``truth_bands.csv``, see `SimTile.band_truth`.

    Parameters
    ----------
    path : path
        The file, or the folder of the tile.

    Raises
    ------
    MissingFile
        If there is no such file.
    """
    return _read_csv(path, "truth_bands.csv")


def _read_csv(path: str | Path, name: str) -> Table:
    path = Path(path) / name if Path(path).is_dir() else Path(path)
    if not path.exists():
        raise MissingFile(
            f"{path}: no such file; is this the folder of a simulated tile?", path=str(path)
        )
    with path.open(newline="", encoding="utf-8") as stream:
        header, *rows = csv.reader(stream)
    columns = dict(zip(header, zip(*rows, strict=True), strict=True))
    return Table({name: _column(name, cells) for name, cells in columns.items()})


def _column(name: str, cells: tuple[str, ...]) -> np.ndarray:
    if name in _TEXT:
        return np.array(cells, dtype=np.str_)
    if set(cells) <= {"True", "False"}:
        return np.array([cell == "True" for cell in cells])
    return np.array([float(cell) if cell else np.nan for cell in cells])


def _write_csv(table: Table, path: Path) -> None:
    """Write a table; numbers as their shortest exact text, NaN as an empty cell."""
    columns = [table[name].tolist() for name in table.colnames]
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerow(table.colnames)
        for row in zip(*columns, strict=True):
            writer.writerow(["" if cell != cell else cell for cell in row])  # noqa: PLR0124


def _merged(base: dict[str, object], extra: Mapping[str, object]) -> dict[str, object]:
    merged = dict(base)
    for key, value in extra.items():
        old = merged.get(key)
        if isinstance(old, dict) and isinstance(value, Mapping):
            merged[key] = _merged(old, value)
        else:
            merged[key] = value
    return merged
