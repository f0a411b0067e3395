"""Keep the pipelines running with one command: a Prefect server, the deployments, their schedules, their runs.

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
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from prefect.client.orchestration import get_client
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.announce import ScheduleRow, announce
from deployments.catalog import PIPELINES, CatalogError, Job, read_catalog
from deployments.recover import keep_newest_late_run
from deployments.register import find_next_run, find_orphans, register
from deployments.server import Server, ServerError, use_server
from deployments.watch import RunWatcher
from lstm_model.storage.backend import whole_root

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Runner(Runner):
    """Prefect's runner, except that SIGTERM only asks for the end: Prefect's handler exits before it ends the runs."""

    def __init__(self, stop: asyncio.Event) -> None:
        # pause_on_shutdown would pause every schedule whenever this ends.
        super().__init__(name="evergreen", pause_on_shutdown=False, limit=None)
        self._ask_to_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, stop.set)

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        self._ask_to_stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code: 0 stopped, 1 no server, 2 wrong pipelines."""
    options = _parse(arguments)
    _interrupt_on_signals()
    try:
        pipelines = read_catalog(options.pipelines.resolve())
        with use_server(options.port) as server, temporary_settings({PREFECT_API_URL: server.api_url}):
            jobs = [job for pipeline in pipelines for job in pipeline.jobs]
            asyncio.run(_serve(server, jobs, store=whole_root(options.store)))
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
    parser.add_argument("--store", default="store", help="folder or s3:// URL of artifacts (default: ./store)")
    parser.add_argument("--pipelines", type=Path, default=PIPELINES, help="folder of the pipelines' YAML files")
    return parser.parse_args(arguments)


def _interrupt_on_signals() -> None:
    """Turn signals into KeyboardInterrupt: Python's own SIGTERM would leave the server behind."""
    for number in _list_heeded_signals():
        signal.signal(number, _interrupt)


def _list_heeded_signals() -> list[signal.Signals]:
    """Return the signals that stop `serve`; under nohup, the end of the terminal is not one of them."""
    return [number for number in STOPPING if signal.getsignal(number) is not signal.SIG_IGN]


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


async def _serve(server: Server, jobs: Sequence[Job], *, store: str) -> None:
    stop = asyncio.Event()
    for number in _list_heeded_signals():
        asyncio.get_running_loop().add_signal_handler(number, stop.set)
    runner = _Runner(stop)
    async with get_client() as client:
        deployments = [await register(client, runner, job, store=store) for job in jobs]
        watch = RunWatcher(client, [deployment.id for deployment in deployments], all_here=server.is_local)
        await watch.end_dead_runs(at_once=True)
        for job, deployment in zip(jobs, deployments, strict=True):
            if skipped := await keep_newest_late_run(client, deployment):
                print(f"{job.full_name}: {skipped} run(s) missed while nothing was serving are not made up for")
        for name in await find_orphans(client, jobs):
            print(f"note: deployment {name!r} has no file here; `prefect deployment delete {name}` removes it")
        rows = [ScheduleRow(job, d, await find_next_run(client, d)) for job, d in zip(jobs, deployments, strict=True)]
        if not stop.is_set():
            announce(server, rows, store)
            await _run_until(stop, runner, watch)


async def _run_until(stop: asyncio.Event, runner: Runner, watch: RunWatcher) -> None:
    """Poll, run and watch; at the end stop the runs first, so that each can still tell the server how it ended."""
    serving, watching = asyncio.create_task(runner.start()), asyncio.create_task(watch.run())
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait([serving, stopped], return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    watching.cancel()
    async with watch.expect_interruption():
        if runner.started:
            await runner.astop()
        elif not serving.done():
            serving.cancel()
        with suppress(asyncio.CancelledError):
            await serving


if __name__ == "__main__":
    raise SystemExit(main())
