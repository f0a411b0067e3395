"""The command line of `python -m flows.retrain`."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import yaml
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_LOGGING_LEVEL,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from pydantic import ValidationError

from lstm_model.config import PipelineConfig, anchor, load_config

FLAGS = {
    "horizon": ("horizon", "steps to forecast"),
    "frequency": ("frequency", "pandas offset alias such as h, D, MS"),
    "season": ("season", "steps in one season"),
    "context": ("context", "past steps that the model reads"),
    "missing": ("missing", "error, interpolate, seasonal or drop_series"),
    "id-column": ("source.columns.unique_id", "column that names the series"),
    "time-column": ("source.columns.ds", "column with the timestamp"),
    "target": ("source.columns.y", "column to forecast"),
    "layout": ("source.layout", "auto, long, wide_columns or wide_rows"),
    "timezone": ("source.timezone", "zone of local timestamps, such as Europe/Berlin"),
    "dayfirst": ("source.dayfirst", "true: 03/04/2024 is the third of April; false: March the fourth"),
    "decimal": ("source.decimal", "decimal mark of a CSV, . or ,"),
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the flow once; returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted."""
    options = parse(arguments)
    try:
        config = build_config(options)
    except (ValidationError, ValueError, OSError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    try:
        with run_settings(verbose=options.verbose):
            from flows.retrain import retrain

            outcome = retrain(config, store=str(Path(options.store).resolve()), refresh=options.refresh)
    except KeyboardInterrupt:
        print("interrupted; the finished stages are kept, and the next run goes on from them", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    print(outcome.summary())
    return 0


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line; see `--help`."""
    parser = argparse.ArgumentParser(prog="python -m flows.retrain", description="Retrain one forecasting problem.")
    parser.add_argument("--data", help="CSV or Parquet: a path, a glob or a URL")
    parser.add_argument("--config", type=Path, help="a pipeline's YAML")
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
    parser.add_argument("--store", default="store", help="folder that keeps artifacts (default: ./store)")
    parser.add_argument("--refresh", action="store_true", help="compute every stage again")
    parser.add_argument("--verbose", action="store_true", help="show all log lines")
    return parser.parse_args(arguments)


def build_config(options: argparse.Namespace) -> PipelineConfig:
    """The YAML if given, then --data, then the flags, then --set: later ones win."""
    config = load_config(options.config) if options.config else PipelineConfig()
    document = config.model_dump(mode="json", exclude_defaults=True)
    if options.data:
        _put(document, "source.kind", "files")
        _put(document, "source.path", options.data)
        document.setdefault("name", name_of(options.data))
    if options.name:
        document["name"] = options.name
    for flag, (key, _) in FLAGS.items():
        value = getattr(options, flag.replace("-", "_"))
        if value is not None:
            _put(
                document, key, yaml.safe_load(value) if flag in ("horizon", "season", "context", "dayfirst") else value
            )
    for setting in options.set:
        key, equals, value = setting.partition("=")
        if not equals:
            raise ValueError(f"--set takes KEY=VALUE, received {setting!r}")
        _put(document, key, yaml.safe_load(value))
    return anchor(PipelineConfig.model_validate(document), Path.cwd())


def name_of(path: str) -> str:
    """A pipeline name made of a file's name: Sales 2024.csv gives sales_2024."""
    stem = path.rstrip("/").rsplit("/", 1)[-1].split(".")[0].lower()
    return "".join(c if c.isalnum() and c.isascii() else "_" for c in stem).strip("_-")[:62] or "data"


def explain(error: BaseException) -> str:
    """One line a problem, in the user's own terms."""
    if not isinstance(error, ValidationError):
        return str(error) or type(error).__name__
    lines = [
        f"{'.'.join(str(part) for part in e['loc'])}: {e['msg']} (received {e['input']!r})" for e in error.errors()
    ]
    return "\n       ".join(lines)


def run_settings(*, verbose: bool) -> AbstractContextManager[Any]:
    """A running server is used as it is. Without one, a temporary server is started, as light as Prefect allows."""
    level = {} if verbose else {PREFECT_LOGGING_LEVEL: "WARNING"}
    if PREFECT_API_URL.value():
        return temporary_settings(level) if level else nullcontext()
    return temporary_settings(
        {
            **level,
            PREFECT_SERVER_ANALYTICS_ENABLED: False,
            # The first start creates the database, which takes a slow disk longer than the 20 s allowed by default.
            PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120,
            # Heartbeats are for finding dead runs later, when this server will be gone; they cost a second at the end.
            PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None,
        }
    )


def _put(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings."""
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise ValueError(f"--set {key}: {parent} is not a section")
    document[last] = value
