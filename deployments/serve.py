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
import warnings
from collections.abc import Callable, Sequence
from contextlib import ExitStack, suppress
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from prefect.client.orchestration import PrefectClient, get_client
from prefect.runner import Runner
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.announce import ScheduleRow, announce
from deployments.catalog import PIPELINES, CatalogError, Job, read_valid_pipelines
from deployments.output import Output
from deployments.recover import keep_newest_late_run
from deployments.register import find_next_run, find_orphans, register
from deployments.runs import find_descendants
from deployments.server import AWAY_SECONDS, LOOK_SECONDS, Server, ServerError, use_server
from deployments.watch import RunWatcher
from lstm_model.storage.backend import whole_root
from tasks.runtime.logs import hide_lost_connections

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
            asyncio.run(_Service(server, jobs, whole_root(options.store)).run())
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


class _Service:
    """Runs what becomes due, and begins again whenever the server was away."""

    def __init__(self, server: Server, jobs: Sequence[Job], store: str) -> None:
        self.server, self.jobs, self.store = server, jobs, store
        self.output = Output(Path(PREFECT_HOME.value()) / "outages.log")
        self.was_away = self.announced = False

    async def run(self) -> None:
        """Serve until a signal comes.

        Raises:
            ServerError: the server that was started here ended too often, or another one did not come back in time.
        """
        hide_lost_connections()
        # Prefect drops a coroutine of its own when it no longer hears of cancellations.
        warnings.filterwarnings("ignore", r"coroutine 'Runner\.", RuntimeWarning)
        stop = asyncio.Event()

        def ask_to_stop() -> None:
            if not stop.is_set():
                _end_for_certain(self.server, self.output)
            stop.set()

        for number in _list_heeded_signals():
            asyncio.get_running_loop().add_signal_handler(number, ask_to_stop)
        stopped = asyncio.create_task(stop.wait())
        while not stop.is_set():
            await self._serve_until(stopped, ask_to_stop)

    async def _serve_until(self, stopped: asyncio.Task[Any], ask_to_stop: Callable[[], None]) -> None:
        """Serve until a signal, or until the server was away; then stop the runs while it can be told how they ended.

        When the server is back, a runner might go on, but no longer hears that a run is to be cancelled.
        """
        runner = _Runner(ask_to_stop)
        async with get_client() as client:
            watch = RunWatcher(client, (), all_here=self.server.is_local)
            serving = asyncio.create_task(self._register_and_run(runner, watch))
            reason, lost = await self._wait_for_outage(serving, stopped), None
            with ExitStack() as hidden:
                if reason:
                    self.was_away = True
                    self._say_away(reason)
                    hidden.enter_context(self.output.divert())
                    lost = await self._wait_until_back(reason, stopped)
                if lost:
                    ask_to_stop()
                async with watch.expect_interruption():
                    await _end(runner, serving, is_expected=bool(reason) or stopped.done())
                    hidden.close()
            if lost:
                raise lost

    async def _wait_for_outage(self, serving: asyncio.Task[None], stopped: asyncio.Task[Any]) -> str | None:
        """Return why the server is away; None if a signal came, or if serving failed while the server was there."""
        away, reason = asyncio.create_task(self.server.wait_until_away()), None
        await asyncio.wait([serving, stopped, away], return_when=asyncio.FIRST_COMPLETED)
        while serving.done() and not (stopped.done() or away.done() or await self.server.answers()):
            reason = "did not answer for a moment"
            await asyncio.wait([stopped, away], timeout=LOOK_SECONDS, return_when=asyncio.FIRST_COMPLETED)
        away.cancel()
        if stopped.done():
            return None
        return away.result() if away.done() else reason

    def _say_away(self, reason: str) -> None:
        own = self.server.process
        follows = f"started again. Its log: {own.log}" if own else f"waited for, up to {AWAY_SECONDS / 60:g} min"
        self.output.say(
            f"the Prefect server {reason}; it is {follows}. Until then Prefect and runs write to {self.output.log}"
        )

    async def _wait_until_back(self, reason: str, stopped: asyncio.Task[Any]) -> ServerError | None:
        """Return when the server answers again or a signal came; the error says that it is given up."""
        back = asyncio.create_task(self.server.wait_until_back(reason))
        await asyncio.wait([back, stopped], return_when=asyncio.FIRST_COMPLETED)
        back.cancel()
        try:
            await back
        except asyncio.CancelledError:
            pass
        except ServerError as error:
            return error
        return None

    async def _register_and_run(self, runner: Runner, watch: RunWatcher) -> None:
        """Make the deployments, say what there is, and run what becomes due until the runner is stopped."""
        client = watch.client
        deployments = [await register(client, runner, job, store=self.store) for job in self.jobs]
        watch.deployments = [deployment.id for deployment in deployments]
        await watch.end_dead_runs(at_once=True)
        for job, deployment in zip(self.jobs, deployments, strict=True):
            if skipped := await keep_newest_late_run(client, deployment):
                print(f"{job.full_name}: {skipped} run(s) missed while nothing was serving are not made up for")
        found = zip(self.jobs, deployments, strict=True)
        rows = [ScheduleRow(job, deployment, await find_next_run(client, deployment)) for job, deployment in found]
        if self.was_away:
            self.output.say(f"the Prefect server answers again; schedules and runs go on. UI: {self.server.ui_url}")
        if not self.announced:
            await self._announce(client, rows)
        watching = asyncio.create_task(watch.run())
        try:
            await runner.start()
        finally:
            watching.cancel()

    async def _announce(self, client: PrefectClient, rows: Sequence[ScheduleRow]) -> None:
        for name in await find_orphans(client, self.jobs):
            way_out = f"`prefect deployment delete {name}` removes it for good"
            print(f"note: deployment {name!r} has no valid file here; {way_out}")
        announce(self.server, rows, self.store)
        self.announced = True


async def _end(runner: Runner, serving: asyncio.Task[None], *, is_expected: bool) -> None:
    """Stop a runner and its runs; an error of its own is raised unless it was to be expected."""
    try:
        if runner.started:
            await runner.astop()
        else:
            serving.cancel()
        await serving
    except asyncio.CancelledError:
        pass
    except Exception:
        if not is_expected:
            raise


def _end_for_certain(server: Server, output: Output) -> None:
    """Have this process end within END_SECONDS, even if the server hangs and everybody waits for its answers."""
    timer = threading.Timer(END_SECONDS, _kill_all, [server, output])
    timer.daemon = True  # an end that comes earlier does not wait for it
    timer.start()


def _kill_all(server: Server, output: Output) -> None:
    output.say(f"not ended within {END_SECONDS} s: runs are killed; they go on at the next start")
    for pid in find_descendants(os.getpid()):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if server.process:
        server.process.kill()
    os._exit(1)


if __name__ == "__main__":
    raise SystemExit(main())
