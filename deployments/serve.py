"""One command that keeps the pipelines running: a Prefect server, the deployments, their schedules, their runs.

python -m deployments.serve              # or: make serve
python -m deployments.serve --port 4300 --store /data/store
"""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any
from zoneinfo import ZoneInfo

from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas.responses import DeploymentResponse
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings
from rich.console import Console
from rich.table import Table

from deployments.catalog import PIPELINES, CatalogError, Pipeline, read_catalog
from deployments.recover import is_active, keep_newest_late_run, mark_dead_runs
from deployments.register import next_run, orphans, register
from deployments.server import Server, ServerError, running_server

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Runner(Runner):
    """Prefect's, except that SIGTERM only asks for the end: its own handler exits before the runs are told."""

    def __init__(self, stop: asyncio.Event) -> None:
        # pause_on_shutdown would pause every schedule whenever this ends.
        super().__init__(name="evergreen", pause_on_shutdown=False, limit=None)
        self._ask_to_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        self._ask_to_stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; returns the exit code: 0 stopped, 1 no server, 2 wrong pipelines."""
    options = _parse(arguments)
    _interrupt_on_signals()
    try:
        pipelines = read_catalog(options.pipelines.resolve())
        with running_server(options.port) as server, temporary_settings({PREFECT_API_URL: server.api_url}):
            asyncio.run(_serve(server, pipelines, store=options.store.resolve()))
            _interrupt_on_signals()  # the loop had its own handlers, and took them away
            print("stopping ...", flush=True)
    except CatalogError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except ServerError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    print("stopped", flush=True)
    return 0


def _parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m deployments.serve", description="Serve the pipelines.")
    parser.add_argument("--port", type=int, help="of the Prefect server (default: PREFECT_API_URL, else 4200)")
    parser.add_argument("--store", type=Path, default=Path("store"), help="folder of artifacts (default: ./store)")
    parser.add_argument("--pipelines", type=Path, default=PIPELINES, help="folder of the pipelines' YAML files")
    return parser.parse_args(arguments)


def _interrupt_on_signals() -> None:
    """Python's own SIGTERM would end this process at once, and leave its server behind."""
    for number in _heeded():
        signal.signal(number, _interrupt)


def _heeded() -> list[signal.Signals]:
    """Under nohup, the end of the terminal is not to be heeded."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def _serve(server: Server, pipelines: Sequence[Pipeline], *, store: Path) -> None:
    stop = asyncio.Event()
    for number in _heeded():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = _Runner(stop)
    async with get_client() as client:
        deployments = [await register(client, runner, pipeline, store=store) for pipeline in pipelines]
        for deployment in deployments:
            await _tidy(client, deployment, local=server.is_local)
        for name in await orphans(client, pipelines):
            print(f"note: deployment {name!r} has no file here; `prefect deployment delete retrain/{name}` removes it")
        rows = [(p, d, await next_run(client, d)) for p, d in zip(pipelines, deployments, strict=True)]
    if not stop.is_set():
        _announce(server, rows, store)
        await _run_until(stop, runner)


async def _tidy(client: PrefectClient, deployment: DeploymentResponse, *, local: bool) -> None:
    dead = await mark_dead_runs(client, deployment) if local else 0
    if dead:
        print(f"{deployment.name}: {dead} run(s) whose process was gone are marked Crashed")
    skipped = await keep_newest_late_run(client, deployment)
    if skipped:
        print(f"{deployment.name}: {skipped} run(s) missed while nothing was serving are not made up for")


async def _run_until(stop: asyncio.Event, runner: Runner) -> None:
    """Poll and run; in the end stop the runs first, so that each can still tell the server how it ended."""
    serving = asyncio.create_task(runner.start())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    if runner.started:
        await runner.astop()
    elif not serving.done():
        serving.cancel()
    with suppress(asyncio.CancelledError):
        await serving


def _announce(
    server: Server, rows: Sequence[tuple[Pipeline, DeploymentResponse, datetime | None]], store: Path
) -> None:
    table = Table(title="Deployments", title_justify="left")
    for heading in ("deployment", "schedule", "next run", "file"):
        table.add_column(heading, overflow="fold")
    for pipeline, deployment, start in rows:
        table.add_row(f"retrain/{pipeline.name}", pipeline.when, _next(pipeline, deployment, start), pipeline.file.name)
    console = Console(width=None if sys.stdout.isatty() else 110)
    console.print(table)
    console.print(f"Prefect UI:  {server.ui_url}  ({_origin(server)})", highlight=False, soft_wrap=True)
    console.print(f"store:       {store}", highlight=False, soft_wrap=True)
    console.print(
        "Run one now: open it in the UI, or `prefect deployment run retrain/NAME`. Ctrl-C ends it all.", soft_wrap=True
    )


def _next(pipeline: Pipeline, deployment: DeploymentResponse, start: datetime | None) -> str:
    if start is not None:
        assert pipeline.config.schedule is not None
        return f"{start.astimezone(ZoneInfo(pipeline.config.schedule.timezone)):%a %Y-%m-%d %H:%M %Z}"
    return "paused" if pipeline.schedule and not is_active(deployment) else "-"


def _origin(server: Server) -> str:
    return f"started here, log: {server.log}" if server.started_here else "was running; it is left running at the end"


if __name__ == "__main__":
    raise SystemExit(main())
