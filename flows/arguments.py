"""Parse the command line that all flows share, and build the config from it: no Prefect here, so that it is quick."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from lstm_model.contracts.settings import USED_SETTINGS, PipelineConfig, SourceKind
from lstm_model.contracts.settings_file import (
    MOST_BYTES,
    SettingsError,
    anchor_path,
    derive_name,
    load_config,
    make_config,
    parse_config,
    parse_yaml,
)
from lstm_model.storage.backend import is_url

FLAGS = {
    "horizon": ("horizon", "steps to forecast"),
    "frequency": ("frequency", "pandas offset alias such as h, D, MS, or 'h open mon-fri 09:00-17:00 closed 12-25'"),
    "season": ("season", "steps in one season"),
    "context": ("context", "past steps that the model reads"),
    "missing": ("missing", "error, interpolate, seasonal, drop_series, or zero: nothing was sold or counted"),
    "aggregate": ("aggregate", "several rows of one step become their sum, mean, last, first, max, min or count"),
    "id-column": ("source.columns.unique_id", "column that names the series, or several: store,item"),
    "time-column": ("source.columns.ds", "column with the timestamp"),
    "target": ("source.columns.y", "column to forecast"),
    "layout": ("source.layout", "auto, long, wide_columns or wide_rows"),
    "timezone": ("source.timezone", "zone of local timestamps, such as Europe/Berlin"),
    "dayfirst": ("source.dayfirst", "true: 03/04/2024 is the third of April; false: March the fourth"),
    "date-format": ("source.date_format", "how timestamps are written, such as day-month-year, year-week or step"),
    "decimal": ("source.decimal", "decimal mark of a CSV, . or ,"),
    "sheet": ("source.sheet", "sheet or cells of a spreadsheet, such as Load or Load!B4:D900"),
}
FLOW_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "retrain": {
        "refresh": {
            "action": "store_true",
            "help": "compute every stage again, from scratch, and accept another source",
        },
        "promote": {
            "choices": ["auto", "ask", "never"],
            "default": "auto",
            "help": "auto: the new model takes over if it is better; ask: you decide; never: an experiment",
        },
        "reason": {"default": "", "help": "why; if it begins with drift, the test is only the latest horizon"},
    },
    "check": {"table": {"metavar": "OUT.parquet", "help": "write the table as it is read to this file"}},
    "forecast": {},
    "monitor": {},
    "backtest": {
        "folds": {"type": int, "default": 4, "help": "how many cutoffs (default: 4)"},
        "refit": {
            "action": argparse.BooleanOptionalAction,
            "default": True,
            "help": "train again for each fold, or judge one model on all of them",
        },
        "training": {
            "choices": ["expanding", "rolling"],
            "default": "expanding",
            "help": "all of the past, or a span of fixed length",
        },
    },
}
"""Parameters of each flow beside its config."""


def parse_arguments(flow: str, arguments: Sequence[str] | None) -> argparse.Namespace:
    """Parse the command line of a flow; see `--help`."""
    parser = argparse.ArgumentParser(prog=f"python -m flows.{flow}", description=f"{flow} one forecasting problem")
    parser.add_argument("--data", help="CSV or Parquet: a path, a glob or a URL")
    parser.add_argument("--config", help="a pipeline's YAML")
    parser.add_argument("--name", help="name of the problem and of its folder in the store")
    for flag, (_, text) in FLAGS.items():
        parser.add_argument(f"--{flag}", help=text)
    parser.add_argument(
        "--set",
        action="append",
        default=[],
        metavar="KEY=VALUE",
        help="any setting, such as advanced.model.dropout=0.2",
    )
    for name, options in FLOW_OPTIONS[flow].items():
        parser.add_argument(f"--{name.replace('_', '-')}", **options)
    add_common(parser, json_file=flow == "check")
    return parser.parse_args(arguments)


def add_common(parser: argparse.ArgumentParser, *, json_file: bool = False) -> None:
    """Add the options that every command has."""
    parser.add_argument("--store", default="store", help="folder or s3:// URL that keeps artifacts (default: ./store)")
    if json_file:
        parser.add_argument("--json", metavar="OUT.json", help="write the findings to this file")
    else:
        parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log lines and tracebacks too")


def build_config(options: argparse.Namespace) -> PipelineConfig:
    """Build the config from the YAML, then --data, then the flags, then --set: later ones win."""
    document: dict[str, Any] = {}
    if options.config:
        defaults = {"source": {"path": options.data}} if options.data else {}
        document = _read_config(options.config, defaults).model_dump(mode="json", exclude_unset=True)
    if options.data:
        of_files = USED_SETTINGS[SourceKind.files]
        document["source"] = {k: value for k, value in document.get("source", {}).items() if k in of_files}
        _set_key(document, "source.kind", "files")
        _set_key(document, "source.path", options.data)
        document.setdefault("name", derive_name(options.data))
    if options.name:
        document["name"] = options.name
    for flag, (key, _) in FLAGS.items():
        value = getattr(options, flag.replace("-", "_"))
        if value is not None:
            parsed = flag in ("horizon", "season", "context", "dayfirst")
            _set_key(document, key, _parse_value(f"--{flag}", value) if parsed else value)
    for setting in options.set:
        key, equals, value = setting.partition("=")
        if not equals or not all(key.split(".")):
            name = re.split(r"[^\w.]", setting, maxsplit=1)[0][:100]  # what follows may be a password
            raise SettingsError(f"--set takes KEY=VALUE, received {name!r}")
        _set_key(document, key, _parse_value(f"--set {key[:100]}", value))
    return anchor_path(make_config(document), Path.cwd())


def _parse_value(option: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None


def _read_config(path: str, defaults: dict[str, Any]) -> PipelineConfig:
    """Read a config from a file, or from an object store, where each run leaves its pipeline.yaml."""
    if not is_url(path):
        return load_config(Path(path), **defaults)
    from lstm_model.storage.bucket import Bucket

    url, _, name = path.rpartition("/")
    return parse_config(Bucket(url).read(name, most_bytes=MOST_BYTES), path, Path.cwd(), **defaults)


def _set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings."""
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise SettingsError(f"{key[:100]}: {parent} is not a section")
    document[last] = value
