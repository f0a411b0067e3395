"""Forecast without Prefect and without a store: a bundle's folder and a file of series in, a table out."""

from __future__ import annotations

import argparse
import hashlib
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from lstm_model.contracts.artifact import MANIFEST, VERSION_DIGITS
from lstm_model.contracts.bundle_card import RECORD, ModelCard, name_covariates, read_model_card
from lstm_model.contracts.settings import Columns, FileLayout, PipelineConfig, Source, SourceKind
from lstm_model.forecast.predict import forecast
from lstm_model.quality.doctor import examine
from lstm_model.sources.raw_series import read_source
from lstm_model.sources.readers import read_files

USED_SECTIONS = ("source", "horizon", "season", "missing")
"""Sections of a bundle's config that reading needs: the others may be those of another version."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Forecast a file; return the exit code: 0 done, 2 the bundle or the series cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m lstm_model.forecast", description="Forecast without Prefect.")
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("series", type=Path, help="CSV or Parquet with the history of each series")
    parser.add_argument("--output", type=Path, help="file to write, .csv or .parquet; without it a table is printed")
    options = parser.parse_args(arguments)
    try:
        if options.output is not None and options.output.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--output must end in .csv or .parquet, received {options.output.name}")
        with tempfile.TemporaryDirectory() as folder:
            result = forecast(options.bundle, _prepare_table(options.bundle, options.series, Path(folder)))
    except (ValueError, OSError) as error:
        _print_note(f"error: {error}")
        return 2
    for note in result.notes:
        _print_note(f"note: {note}")
    _write_table(result.table.assign(model_version=compute_version(options.bundle)), options.output)
    return 0


def compute_version(bundle: Path) -> str:
    """Return the registry's version of a bundle: from its manifest in a store, else from the bundle's record."""
    manifest = bundle / MANIFEST
    return hashlib.sha256((manifest if manifest.is_file() else bundle / RECORD).read_bytes()).hexdigest()[
        :VERSION_DIGITS
    ]


def _prepare_table(bundle: Path, file: Path, folder: Path) -> Path:
    """Return the file as a series table: itself if it is one, else read and examined like a source."""
    if file.suffix == ".parquet" and {"unique_id", "ds", "y", "observed"} <= set(pq.read_schema(file).names):
        return file
    config = _adapt_config(read_model_card(bundle), file)
    raw = read_source(config.source, covariates=config.covariates)
    examined = examine(raw, config)
    for finding in examined.findings:
        _print_note(f"{finding.severity}: {finding.message}")
    table = folder / "series.parquet"
    examined.table.to_parquet(table, index=False)
    return table


def _adapt_config(card: ModelCard, file: Path) -> PipelineConfig:
    """Return the bundle's config for this file; its column names count if the file has them."""
    made_with = card.config or {}
    config = PipelineConfig.model_validate({name: made_with[name] for name in USED_SECTIONS if name in made_with})
    source = Source(kind=SourceKind.files, path=str(file))
    if config.source.kind is not SourceKind.synthetic:
        kept = ("columns", "timezone", "dayfirst", "decimal", *(["layout"] * (config.source.kind is SourceKind.files)))
        source = source.model_copy(update={name: getattr(config.source, name) for name in kept})
        header = set(read_files(source)[0].frame.columns)
        if not {name for name in source.columns.model_dump().values() if name} <= header:
            source = source.model_copy(update={"columns": Columns(), "layout": FileLayout.auto})
    covariates, frequency = name_covariates(card.covariates), card.frequency
    return config.model_copy(update={"source": source, "covariates": covariates, "frequency": frequency})


def _write_table(table: pd.DataFrame, output: Path | None) -> None:
    if output is None:
        sys.stdout.write(table.to_string(index=False) + "\n")
    elif output.suffix == ".csv":
        table.to_csv(output, index=False)
    else:
        table.to_parquet(output, index=False)


def _print_note(text: str) -> None:
    """Print to the error stream, so that a printed table stays whole."""
    sys.stderr.write(text + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
