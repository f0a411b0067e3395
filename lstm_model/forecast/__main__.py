"""Forecast without Prefect and without a store: a bundle's folder and a file of series in, a table out."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq

from lstm_model.contracts.artifact import MANIFEST, VERSION_DIGITS
from lstm_model.contracts.bundle_card import (
    MAX_RECORD_BYTES,
    RECORD,
    WAY_OUT,
    BundleError,
    name_covariates,
    read_file,
    read_model_card,
    validate_part,
)
from lstm_model.contracts.findings import DataError, escape_unseen, listed
from lstm_model.contracts.settings import Columns, FileLayout, PipelineConfig, Source, SourceKind
from lstm_model.forecast.predict import forecast
from lstm_model.quality.doctor import examine
from lstm_model.sources.raw_series import read_source
from lstm_model.sources.readers import read_files

MAX_MANIFEST_BYTES = 1024**2
USED_SECTIONS = ("source", "horizon", "season", "missing")
"""Sections of a bundle's config that reading needs: the others may be those of another version."""
FORMULA = re.compile(r"(?:^|;)\s*[=+\-@＝＋－＠]|^[\t\r]")
"""Names that a spreadsheet program runs, see "CSV Injection" of OWASP; a semicolon begins a cell in some countries."""


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
        _write_table(result.table.assign(model_version=compute_version(options.bundle)), options.output)
    except (ValueError, OSError) as error:
        _print_note(f"error: {error}")
        return 2
    for note in result.notes:
        _print_note(f"note: {note}")
    return 0


def compute_version(bundle: Path) -> str:
    """Return the registry's version of a bundle: from its manifest in a store, else from the bundle's record.

    Raises:
        BundleError: the manifest is that of another bundle.
    """
    named = record = read_file(bundle / RECORD, limit_bytes=MAX_RECORD_BYTES)
    if (bundle / MANIFEST).exists():
        named = read_file(bundle / MANIFEST, limit_bytes=MAX_MANIFEST_BYTES)
        if f'"{hashlib.sha256(record).hexdigest()}"'.encode() not in named:
            raise BundleError(f"{bundle / MANIFEST} is of another bundle than {RECORD} beside it. {WAY_OUT}")
    return hashlib.sha256(named).hexdigest()[:VERSION_DIGITS]


def _prepare_table(bundle: Path, file: Path, folder: Path) -> Path:
    """Return the file as a series table: itself if it is one, else read and examined like a source."""
    is_parquet = file.suffix == ".parquet" and file.is_file()  # a pipe would never end
    if is_parquet and {"unique_id", "ds", "y", "observed"} <= set(pq.read_schema(file).names):
        return file
    config = _adapt_config(bundle, file)
    raw = read_source(config.source, covariates=config.covariates)
    examined = examine(raw, config)
    for finding in examined.findings:
        _print_note(f"{finding.severity}: {finding.message}")
    table = folder / "series.parquet"
    examined.table.to_parquet(table, index=False)
    return table


def _adapt_config(bundle: Path, file: Path) -> PipelineConfig:
    """Return the bundle's config for this file; its column names count if the file has them."""
    card = read_model_card(bundle)
    made_with = card.config or {}
    sections = {name: made_with[name] for name in USED_SECTIONS if name in made_with}
    config = validate_part(PipelineConfig, sections, bundle / RECORD, place="card.config")
    source = Source(kind=SourceKind.files, path=str(file))
    if config.source.kind is not SourceKind.synthetic:
        layout = ["layout"] * (config.source.kind is SourceKind.files)
        kept = ("columns", "timezone", "dayfirst", "date_format", "decimal", *layout)
        source = source.model_copy(update={name: getattr(config.source, name) for name in kept})
        header = set(read_files(source)[0].frame.columns)
        if not {name for name in source.columns.model_dump().values() if name} <= header:
            source = source.model_copy(update={"columns": Columns(), "layout": FileLayout.auto})
    covariates, frequency = name_covariates(card.covariates), card.frequency
    return config.model_copy(update={"source": source, "covariates": covariates, "frequency": frequency})


def _write_table(table: pd.DataFrame, output: Path | None) -> None:
    """Write or print forecasts.

    Raises:
        DataError: a CSV would hold names that a spreadsheet program runs. Changed ones, with a quote before them as is
            usual, would no longer be those of the data that forecasts are joined with.
    """
    if output is None:
        names = table["unique_id"].map(escape_unseen)
        sys.stdout.write(table.assign(unique_id=names).to_string(index=False) + "\n")
    elif output.suffix == ".csv":
        formulas = [repr(name) for name in table["unique_id"].unique() if FORMULA.search(name) and not _is_number(name)]
        if formulas:
            raise DataError(
                f"{output} would hold names that a spreadsheet program runs as formulas: {listed(formulas)}. Write "
                ".parquet, or rename the series"
            )
        table.to_csv(output, index=False)
    else:
        table.to_parquet(output, index=False)


def _is_number(name: str) -> bool:
    """Tell whether a name is a plain number, such as -5, which a spreadsheet program shows as it is."""
    return re.fullmatch(r"[+-]?\d+([.,]\d+)?", name, re.ASCII) is not None


def _print_note(text: str) -> None:
    """Print a line to the error stream, so that a printed table stays whole."""
    sys.stderr.write(escape_unseen(text) + "\n")


if __name__ == "__main__":
    raise SystemExit(main())
