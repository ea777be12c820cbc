"""``skyloom tile synthesize-gaia``: reference magnitudes from Gaia XP spectra."""

from __future__ import annotations

from pathlib import Path

import click

from skyloom.errors import OutputExists

__all__ = ["synthesize_gaia"]

_PATH = click.Path(path_type=Path)


@click.command("synthesize-gaia")
@click.option(
    "--xp",
    "spectra",
    required=True,
    multiple=True,
    type=_PATH,
    help="XP_CONTINUOUS_RAW table of the Gaia archive, CSV or FITS; may be repeated.",
)
@click.option(
    "--filters",
    required=True,
    type=_PATH,
    help="Folder of filter curves {band}.dat: wavelength, transmission of photons.",
)
@click.option(
    "--sources",
    type=_PATH,
    help="gaia_source table with source_id, ra, dec, phot_g_mean_mag; not needed where the XP "
    "table has these columns.",
)
@click.option(
    "--out", required=True, type=_PATH, help="CSV to write, for inputs.gaiaxp_synphot_csv."
)
@click.option("--model", type=_PATH, help="Folder with another instrument model; default DR3.")
@click.option("--force", is_flag=True, help="Overwrite an existing file.")
def synthesize_gaia(
    spectra: tuple[Path, ...],
    filters: Path,
    sources: Path | None,
    out: Path,
    model: Path | None,
    *,
    force: bool,
) -> None:
    """Compute AB magnitudes of Gaia stars in any filter from their XP spectra."""
    from skyloom.pipelines.tile.synthesize import synthesize_csv  # noqa: PLC0415 - slow

    if out.exists() and not force:
        raise OutputExists(f"Refusing to overwrite existing file: {out}; add --force", path=out)
    table = synthesize_csv(spectra, filters=filters, out=out, sources=sources, model=model)
    bands = [name.removeprefix("mag_") for name in table.colnames if name.startswith("mag_")]
    click.echo(f"wrote {out}: {len(table)} stars, bands {', '.join(bands)}")
