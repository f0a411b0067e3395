"""Run the flows from a command line: `python -m flows.retrain`, and likewise forecast, monitor, backtest, promote."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from typing import Any

import prefect
from prefect.settings import (
    PREFECT_API_URL,
    PREFECT_FLOWS_HEARTBEAT_FREQUENCY,
    temporary_settings,
)
from pydantic import ValidationError

from flows.arguments import FLOW_OPTIONS, add_common, build_config, parse_arguments
from lstm_model.contracts.redaction import find_secret_in_text, redact
from lstm_model.contracts.settings_file import SettingsError, list_problems, make_config
from lstm_model.storage.backend import is_url, whole_root

ENGINE = Path(prefect.__file__).parent


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
    add_common(parser)
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


def explain(error: BaseException) -> str:
    """Return an error as one line a problem, in the user's own terms."""
    if isinstance(error, ValidationError):
        return "\n       ".join(list_problems(error))
    text = redact(str(error)) or type(error).__name__
    if "Failed to reach API" in text:
        url = PREFECT_API_URL.value()
        text += (
            f"; PREFECT_API_URL is {redact(url)}: start that server, or unset it to run without one"
            if url
            else "; the temporary server of this run has ended: run again, the finished stages are kept"
        )
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
    from tasks.runtime.temporary_server import use_temporary_server

    with temporary_settings(no_heartbeats), use_temporary_server():
        yield


def show_stage_logs_only() -> None:
    """Show only messages of stages on the terminal; Prefect's own messages stay in its database."""
    for handler in logging.getLogger().handlers:
        handler.addFilter(_is_ours)
        handler.setFormatter(logging.Formatter("%(message)s"))


def _is_ours(record: logging.LogRecord) -> bool:
    """Return whether a stage logged the record, not Prefect's engine, which uses the same loggers."""
    return record.name in ("prefect.flow_runs", "prefect.task_runs") and ENGINE not in Path(record.pathname).parents
