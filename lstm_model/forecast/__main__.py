"""Forecast without Prefect and without a store: a bundle's folder and a file of series in, a table out."""

from __future__ import annotations

import argparse
import hashlib
import re
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pyarrow.types as pt
from fsspec.implementations.local import LocalFileSystem
from pydantic import JsonValue

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
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError, escape_unseen, listed
from lstm_model.contracts.settings import OF_FILES, Columns, Covariates, FileLayout, PipelineConfig, Source, SourceKind
from lstm_model.forecast.predict import check_columns, forecast
from lstm_model.quality.doctor import examine
from lstm_model.sources.dates import NOTHING_SET, read_dates
from lstm_model.sources.files import PARQUET_SUFFIXES
from lstm_model.sources.parquet import open_parquet
from lstm_model.sources.raw_series import RawSeries, read_source
from lstm_model.sources.readers import read_files
from lstm_model.timeline.time_zones import add_source_clock

MAX_MANIFEST_BYTES = 1024**2
USED_SECTIONS = ("source", "horizon", "season", "missing")
"""Sections of a bundle's config that reading needs: the others may be those of another version."""
FORMULA = re.compile(r"(?:^|[;\t\r\n])[\s\ufeff\u200b]*[=+\-@＝＋－＠\u2212]|^[\t\r]")
"""Names that a spreadsheet program runs, see "CSV Injection" of OWASP.

A semicolon or a tab begins a cell in some countries, and a line in a name begins one where quotes are not understood.
Signs that nobody sees may stand before the formula, and U+2212 is a minus.
"""
SERIES_TYPES: dict[str, tuple[str, Callable[[pa.DataType], bool]]] = {
    "unique_id": ("text", lambda kind: pt.is_string(kind) or pt.is_large_string(kind)),
    "ds": (
        "timestamps without a zone, or whole numbers",
        lambda kind: pt.is_integer(kind) or (pt.is_timestamp(kind) and kind.tz is None),
    ),
    "observed": ("true or false", pt.is_boolean),
    "y": ("numbers", lambda kind: pt.is_integer(kind) or pt.is_floating(kind)),
}
"""The columns of a series table, and what they hold; past and future covariates are as y, or texts."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Forecast a file; return the exit code: 0 done, 2 the bundle or the series cannot be used."""
    parser = argparse.ArgumentParser(prog="python -m lstm_model.forecast", description="Forecast without Prefect.")
    parser.add_argument("bundle", type=Path, help="folder of a bundle")
    parser.add_argument("series", type=Path, help="CSV or Parquet with the history of each series")
    parser.add_argument("--output", type=Path, help="file to write, .csv or .parquet; without it a table is printed")
    parser.add_argument("--integers", action="store_true", help="whole numbers; the mean stays as it is")
    options = parser.parse_args(arguments)
    try:
        if options.output is not None and options.output.suffix not in (".csv", ".parquet"):
            raise ValueError(f"--output must end in .csv or .parquet, received {options.output.name}")
        with tempfile.TemporaryDirectory() as folder:
            table, clock = _prepare_table(options.bundle, options.series, Path(folder))
            result = forecast(options.bundle, table, integers=options.integers)
        found = add_source_clock(result.table, clock)
        _write_table(found.assign(model_version=compute_version(options.bundle)), options.output)
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


def _prepare_table(bundle: Path, file: Path, folder: Path) -> tuple[Path, Clock | None]:
    """Return the file as a series table, read and examined like a source, and its own clock if that is another one."""
    is_series_table = _is_series_table(file)
    config = _adapt_config(bundle, file, is_series_table=is_series_table)
    if is_series_table:
        known = read_model_card(bundle).covariates.categories
        raw = RawSeries(_read_series_table(file, config.covariates, {*known}), config.source)
    else:
        raw = read_source(config.source, covariates=config.covariates)
    examined = examine(raw, config)
    if not is_series_table:
        _check_clock(bundle, examined.clock)
    for finding in examined.findings:
        _print_note(f"{finding.severity}: {finding.message}")
    table = examined.table
    if is_series_table:
        _mark_repaired(table, raw.table)
    table.to_parquet(folder / "series.parquet", index=False)
    return folder / "series.parquet", examined.clock


def _check_clock(bundle: Path, clock: Clock | None) -> None:
    """Check that the hours and days of a model's calendar are those of the file.

    Raises:
        DataError: the timestamps of only one of the two have a zone.
    """
    calendar = read_model_card(bundle).covariates.calendar
    if calendar and (clock is None) != (calendar.clock is None):
        known = f"clocks of {calendar.clock.zone}" if calendar.clock else "timestamps without a zone"
        given = f"timestamps of the zone {clock.zone}" if clock else "timestamps without a zone"
        raise DataError(f"the model reads a calendar of {known}; the file has {given}. Bring timestamps as in training")


def _mark_repaired(table: pd.DataFrame, given: pd.DataFrame) -> None:
    """Mark the values that were repaired before: they are no observations now."""
    repaired = given.loc[~given["observed"] & given["y"].notna(), ["unique_id", "ds"]].drop_duplicates()
    if len(repaired):
        found = table[["unique_id", "ds"]].merge(repaired, how="left", indicator="found")["found"]
        table["observed"] &= found.eq("left_only").to_numpy()


def _is_series_table(file: Path) -> bool:
    """Tell whether a file has the columns of a series table."""
    if not file.name.lower().endswith(PARQUET_SUFFIXES) or not file.is_file():  # a pipe would never end
        return False
    with open_parquet(LocalFileSystem(), str(file), file.name) as stream:
        return {"unique_id", "ds", "y", "observed"} <= set(pq.read_schema(stream).names)


def _read_series_table(file: Path, covariates: Covariates, texts: set[str]) -> pd.DataFrame:
    """Read a series table that anybody may have written, for the doctor to examine.

    Args:
        file: the table.
        covariates: those that the bundle reads.
        texts: which of them the bundle knows as texts.

    Raises:
        DataError: a column is of another type than in the tables that ingest writes, or a row contradicts itself.
    """
    check_columns(file, covariates)
    numbers = ["y", *covariates.past, *covariates.future]
    with open_parquet(LocalFileSystem(), str(file), file.name) as stream:
        table = pq.read_table(stream, columns=["unique_id", "ds", "observed", *numbers, *covariates.static])
        for name in ("unique_id", "ds", "observed", *numbers):
            expected, fits = SERIES_TYPES.get(name, SERIES_TYPES["y"])
            kind = table.schema.field(name).type
            if not fits(kind) and not (name in texts and SERIES_TYPES["unique_id"][1](kind)):
                raise _refuse(file, f"its column {name!r} is of type {kind}, expected {expected}")
        frame: pd.DataFrame = table.to_pandas(ignore_metadata=True)
    if frame.empty:
        raise DataError(f"{file} has no rows; expected the history of at least one series")
    for name in ("unique_id", "ds", "observed"):
        _refuse_rows(file, frame, frame[name].isna(), f"{name} is empty")
    frame = frame.astype({"unique_id": "str", "observed": bool})
    ids = frame["unique_id"].str
    _refuse_rows(file, frame, ids.strip().eq("") | ids.contains("\0", regex=False), "unique_id is blank or has a NUL")
    _refuse_rows(file, frame, frame["observed"] & frame["y"].isna(), "observed is true, but y is empty")
    seen = frame["unique_id"].isin(frame.loc[frame["observed"], "unique_id"].unique())
    _refuse_rows(file, frame, ~seen, "observed is false in all rows of this series")
    dates = read_dates(frame["ds"], NOTHING_SET, lambda row: _name_row(file, frame, row))
    if dates.times.dtype.kind == "M" != frame["ds"].dtype.kind:  # numbers that stand for dates
        raise _refuse(file, f"its column ds holds no steps: {' '.join(dates.reasons.values())}")
    frame["ds"] = dates.times
    for name in numbers:
        is_text = not pd.api.types.is_numeric_dtype(frame[name].dtype)
        frame[name] = frame[name].astype("category" if is_text else "float64")
    return frame


def _refuse_rows(file: Path, frame: pd.DataFrame, bad_N: pd.Series, what: str) -> None:
    if bad_N.any():
        raise _refuse(file, f"in {_name_row(file, frame, int(bad_N.to_numpy().argmax()))}, {what}")


def _name_row(file: Path, frame: pd.DataFrame, row: int) -> str:
    """Return the place of a row, counted from 1, for a message."""
    return f"row {row + 1:,} of {file.name} (series {frame['unique_id'].iloc[row]}, ds {frame['ds'].iloc[row]})"


def _refuse(file: Path, what: str) -> DataError:
    return DataError(
        f"{file} has the columns of a series table, but {what}. Bring it as the pipeline wrote it; or leave the column "
        "observed out, and it is examined like any other file"
    )


def _adapt_config(bundle: Path, file: Path, *, is_series_table: bool) -> PipelineConfig:
    """Return the bundle's config, and for a file how to read it: the bundle's column names count if it has them."""
    card = read_model_card(bundle)
    made_with = card.config or {}
    sections: dict[str, JsonValue] = {"source": {"path": str(file)}}
    sections |= {name: made_with[name] for name in USED_SECTIONS if name in made_with}
    config = validate_part(PipelineConfig, sections, bundle / RECORD, place="card.config")
    source = NOTHING_SET if is_series_table else Source(path=str(file))
    if not is_series_table and config.source.kind is not SourceKind.synthetic:
        of_files = ("layout", *OF_FILES) if config.source.kind is SourceKind.files else ()
        kept = ("columns", "timezone", "dayfirst", "date_format", "decimal", *of_files)
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
