"""Run the flows from a command line: `python -m flows.retrain`, and likewise forecast, monitor, backtest, promote."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import prefect
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    PREFECT_SERVER_ANALYTICS_ENABLED,
    PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS,
    temporary_settings,
)
from pydantic import ValidationError

from lstm_model.contracts.redaction import find_secret_in_text, redact
from lstm_model.contracts.settings import USED_SETTINGS, PipelineConfig, SourceKind
from lstm_model.contracts.settings_file import (
    SettingsError,
    anchor_path,
    derive_name,
    list_problems,
    load_config,
    make_config,
    parse_yaml,
)
from lstm_model.storage.backend import is_url, whole_root

ENGINE = Path(prefect.__file__).parent
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
    "date-format": ("source.date_format", "how timestamps are written, such as day-month-year, year-week or step"),
    "decimal": ("source.decimal", "decimal mark of a CSV, . or ,"),
}
FLOW_OPTIONS: dict[str, dict[str, dict[str, Any]]] = {
    "retrain": {
        "refresh": {"action": "store_true", "help": "compute every stage again, from scratch"},
        "promote": {
            "choices": ["auto", "ask", "never"],
            "default": "auto",
            "help": "auto: the new model takes over if it is better; ask: you decide; never: an experiment",
        },
        "reason": {"default": "", "help": "why; if it begins with drift, the test is only the latest horizon"},
    },
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


def main(flow: str = "retrain", arguments: Sequence[str] | None = None) -> int:
    """Run a flow of one problem once; return the exit code: 0 done, 1 failed, 2 wrong usage, 130 interrupted.

    Args:
        flow: its name, which is that of its module.
        arguments: of the command line; those of this process when empty.
    """
    options = parse_arguments(flow, arguments)
    try:
        config = build_config(options)
    except (ValueError, OSError) as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 2
    parameters = {name: getattr(options, name) for name in FLOW_OPTIONS[flow]}
    return _run(flow, options, {"config": config, **parameters})


def main_promote(arguments: Sequence[str] | None = None) -> int:
    """Run the promote flow, which needs no config."""
    parser = argparse.ArgumentParser(prog="python -m flows.promote", description="Approve a challenger, or roll back.")
    parser.add_argument("bundle", help="challenger, previous (rolls back), or the beginning of a bundle's version")
    parser.add_argument("--name", required=True, help="name of the problem, which is that of its folder in the store")
    parser.add_argument("--reason", default="", help="for the history")
    parser.add_argument("--notify", help="a Prefect notification block, as type/name")
    _add_common(parser)
    options = parser.parse_args(arguments)
    try:
        make_config({"name": options.name, "notify": options.notify})
    except SettingsError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    if not is_url(options.store) and not (Path(options.store) / options.name).is_dir():
        print(f"error: there is no problem {options.name!r} in {Path(options.store).resolve()}", file=sys.stderr)
        return 2
    return _run("promote", options, {name: getattr(options, name) for name in ("bundle", "name", "reason", "notify")})


def _run(flow: str, options: argparse.Namespace, parameters: dict[str, Any]) -> int:
    for name, value in parameters.items():  # Prefect stores them
        if isinstance(value, str) and (found := find_secret_in_text(value)):
            print(f"error: --{name} contains {found}; it would be stored and logged. Remove it", file=sys.stderr)
            return 2
    if not options.verbose:
        show_stage_logs_only()
    try:
        with use_run_settings():
            # Imported late: a mistake on the command line is reported in one second rather than four.
            run = getattr(import_module(f"flows.{flow}"), flow)
            outcome = run(**parameters, store=whole_root(options.store))
    except KeyboardInterrupt:
        print("interrupted; the finished stages are kept, and the next run goes on from them", file=sys.stderr)
        return 130
    except Exception as error:
        print(f"error: {explain(error)}", file=sys.stderr)
        return 1
    print(outcome.model_dump_json(indent=1) if options.json else outcome.summary())
    return 0


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
    _add_common(parser)
    return parser.parse_args(arguments)


def _add_common(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--store", default="store", help="folder or s3:// URL that keeps artifacts (default: ./store)")
    parser.add_argument("--json", action="store_true", help="print the outcome as JSON")
    parser.add_argument("--verbose", action="store_true", help="show Prefect's own log lines and tracebacks too")


def build_config(options: argparse.Namespace) -> PipelineConfig:
    """Build the config from the YAML, then --data, then the flags, then --set: later ones win."""
    config = _read_config(options.config) if options.config else PipelineConfig()
    document = config.model_dump(mode="json", exclude_defaults=True)
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
            raise SettingsError(f"--set takes KEY=VALUE, received {redact(setting)[:100]!r}")
        _set_key(document, key, _parse_value(f"--set {key[:100]}", value))
    return anchor_path(make_config(document), Path.cwd())


def _parse_value(option: str, value: str) -> Any:
    try:
        return parse_yaml(value)
    except SettingsError as error:
        raise SettingsError(f"{option}: {error}") from None


def _read_config(path: str) -> PipelineConfig:
    """Read a config from a file, or from an object store, where each run leaves its pipeline.yaml."""
    if not is_url(path):
        return load_config(Path(path))
    from lstm_model.storage.bucket import Bucket

    url, _, name = path.rpartition("/")
    with TemporaryDirectory() as folder:
        (Path(folder) / name).write_bytes(Bucket(url).read(name))
        return load_config(Path(folder) / name)


def explain(error: BaseException) -> str:
    """Return an error as one line a problem, in the user's own terms."""
    if isinstance(error, ValidationError):
        return "\n       ".join(list_problems(error))
    text = redact(str(error)) or type(error).__name__
    if "Failed to reach API" in text:
        url = redact(str(PREFECT_API_URL.value()))
        text += f"; PREFECT_API_URL is {url}: start that server, or unset it to run without one"
    return text


@contextmanager
def use_run_settings() -> Iterator[None]:
    """Use the server that runs, or start a temporary one, as light as Prefect allows.

    Heartbeats are for finding dead runs of deployments and starting them again, which does not happen to a run from the
    command line; the thread that sends them sleeps for up to a second at the end.
    """
    no_heartbeats = {PREFECT_FLOWS_HEARTBEAT_FREQUENCY: None}
    if PREFECT_API_URL.value():
        with temporary_settings(no_heartbeats):
            yield
        return
    settings = {
        PREFECT_SERVER_ANALYTICS_ENABLED: False,
        # The first start creates the database, which takes a slow disk longer than the 20 s allowed by default.
        PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS: 120,
    }
    with temporary_settings(settings | no_heartbeats):
        start_temporary_server()
        yield


def start_temporary_server() -> None:
    """Start a server that ignores Ctrl-C, which a terminal sends to every process: the run still needs it.

    A signal that is blocked when a process begins stays blocked in it. Prefect finds the server that runs.
    """
    from tasks.runtime.temporary_server import TemporaryServer

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        TemporaryServer().start(PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS.value())
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def show_stage_logs_only() -> None:
    """Show only messages of stages on the terminal; Prefect's own messages stay in its database."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_ours)
        handler.setFormatter(logging.Formatter("%(message)s"))


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a stage logged the record, not Prefect's engine, which uses the same loggers."""
    return record.name in ("prefect.flow_runs", "prefect.task_runs") and ENGINE not in Path(record.pathname).parents


def _set_key(document: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested mappings."""
    *parents, last = key.split(".")
    for parent in parents:
        document = document.setdefault(parent, {})
        if not isinstance(document, dict):
            raise SettingsError(f"{key[:100]}: {parent} is not a section")
    document[last] = value
