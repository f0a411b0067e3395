"""Keep the pipelines running with one command: a Prefect server, the deployments, their schedules, their runs.

python -m deployments.serve              # or: make serve
python -m deployments.serve --port 4300 --store /data/store
"""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from prefect.client.orchestration import get_client
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, temporary_settings

from deployments.announce import ScheduleRow, announce
from deployments.catalog import PIPELINES, CatalogError, Job, read_valid_pipelines
from deployments.recover import keep_newest_late_run
from deployments.register import find_next_run, find_orphans, register
from deployments.runs import find_descendants
from deployments.server import LOOK_SECONDS, Server, ServerError, is_healthy, use_server
from deployments.watch import RunWatcher
from lstm_model.storage.backend import whole_root

END_SECONDS = 23
"""A process that has not ended so long after its signal is killed: supervisors wait for 30 s and more."""
STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Runner(Runner):
    """Prefect's runner, except that SIGTERM only asks for the end: Prefect's handler exits before it ends the runs."""

    def __init__(self, ask_to_stop: Callable[[], None]) -> None:
        # pause_on_shutdown would pause every schedule whenever this ends.
        super().__init__(name="evergreen", pause_on_shutdown=False, limit=None)
        self._ask_to_stop = partial(asyncio.get_running_loop().call_soon_threadsafe, ask_to_stop)

    def handle_sigterm(self, *args: Any, **kwargs: Any) -> None:
        self._ask_to_stop()


def main(arguments: Sequence[str] | None = None) -> int:
    """Serve until Ctrl-C or SIGTERM; return the exit code: 0 stopped, 1 no server, 2 wrong pipelines."""
    options = _parse(arguments)
    _interrupt_on_signals()
    try:
        pipelines, broken = read_valid_pipelines(options.pipelines.resolve())
        for error in broken:
            print(f"not served: {error}", file=sys.stderr, flush=True)
        if broken:
            print("The other pipelines are served; mend these and start serve again", file=sys.stderr, flush=True)
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
    """Serve until a signal comes; begin again whenever the server had to be started again.

    Raises:
        ServerError: the server that was started here ended too often.
    """
    stop = asyncio.Event()

    def ask_to_stop() -> None:
        if not stop.is_set():
            _end_for_certain(server)
        stop.set()

    for number in _list_heeded_signals():
        asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
    stopped = asyncio.create_task(stop.wait())
    while not stop.is_set():
        await _serve_until(stopped, ask_to_stop, server, jobs, store=store)


async def _serve_until(
    stopped: asyncio.Task[Any], ask_to_stop: Callable[[], None], server: Server, jobs: Sequence[Job], *, store: str
) -> None:
    """Serve until a signal, or until the server was away; then stop the runs while it can be told how they ended.

    After a restart of the server a runner would go on, but no longer hear that a run is to be cancelled.
    """
    runner, restarts = _Runner(ask_to_stop), len(server.process.restarts) if server.process else 0
    async with get_client() as client:
        watch = RunWatcher(client, (), all_here=server.is_local)
        serving = asyncio.create_task(_register_and_run(server, jobs, runner, watch, store=store))
        restarted = asyncio.create_task(_wait_for_restart(server, ask_to_stop))
        await asyncio.wait([serving, stopped, restarted], return_when=asyncio.FIRST_COMPLETED)
        began_again = restarted.done()
        if serving.done() and server.process:  # did it fail for want of the server?
            began_again = len(server.process.restarts) != restarts
            while not (restarted.done() or stopped.done() or await asyncio.to_thread(is_healthy, server.api_url)):
                began_again = True
                await asyncio.sleep(LOOK_SECONDS)
        restarted.cancel()
        async with watch.expect_interruption():
            try:
                if runner.started:
                    await runner.astop()
                else:
                    serving.cancel()
                await serving
            except asyncio.CancelledError:
                pass
            except Exception:
                if not began_again and not stopped.done():
                    raise
        with suppress(asyncio.CancelledError):
            await restarted


async def _wait_for_restart(server: Server, ask_to_stop: Callable[[], None]) -> None:
    """Return when the server was started again; never, if it is not ours to start."""
    if server.process is None:
        await asyncio.Event().wait()
        return
    try:
        await server.process.wait_for_restart()
    except ServerError:
        ask_to_stop()
        raise


async def _register_and_run(
    server: Server, jobs: Sequence[Job], runner: Runner, watch: RunWatcher, *, store: str
) -> None:
    """Make the deployments, say what there is, and run what becomes due until the runner is stopped."""
    client = watch.client
    deployments = [await register(client, runner, job, store=store) for job in jobs]
    watch.deployments = [deployment.id for deployment in deployments]
    await watch.end_dead_runs(at_once=True)
    for job, deployment in zip(jobs, deployments, strict=True):
        if skipped := await keep_newest_late_run(client, deployment):
            print(f"{job.full_name}: {skipped} run(s) missed while nothing was serving are not made up for")
    for name in await find_orphans(client, jobs):
        print(
            f"note: deployment {name!r} has no valid file here; `prefect deployment delete {name}` removes it for good"
        )
    rows = [ScheduleRow(job, d, await find_next_run(client, d)) for job, d in zip(jobs, deployments, strict=True)]
    announce(server, rows, store)
    watching = asyncio.create_task(watch.run())
    try:
        await runner.start()
    finally:
        watching.cancel()


def _end_for_certain(server: Server) -> None:
    """Have this process end within END_SECONDS, even if the server hangs and everybody waits for its answers."""
    timer = threading.Timer(END_SECONDS, _kill_all, [server])
    timer.daemon = True  # an end that comes earlier does not wait for it
    timer.start()


def _kill_all(server: Server) -> None:
    print(f"not ended within {END_SECONDS} s: runs are killed; they go on at the next start", flush=True)
    for pid in find_descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if server.process:
        server.process.kill()
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main())
