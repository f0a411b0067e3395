"""End runs whose process is gone, and let crashed runs go on: the same run, with its parameters.

`serve` does this itself. Where workers run the deployments, one process beside the server does it for all of them:

python -m deployments.watch
"""

from __future__ import annotations

import argparse
import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from uuid import NAMESPACE_OID, UUID, uuid5

import httpx
from prefect.client.orchestration import PrefectClient, get_client
from prefect.client.schemas import FlowRun, State, StateType
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilterEndTime,
    FlowRunFilterExpectedStartTime,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectHTTPStatusError
from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_RUNNER_POLL_FREQUENCY
from prefect.states import AwaitingRetry, Cancelled, Crashed, Failed, to_state_create

from deployments.catalog import TAG
from deployments.runs import PAGE, find_last_heartbeat, find_running_ids, find_runs
from flows.hooks import STOPPED, notify_failure

ATTEMPTS = 3
"""A run that crashed so often is given up: its cause is more likely in the run than in the machine."""
CRASH_MEMORY = timedelta(days=1)
"""A run that crashed longer ago is not resumed."""
STARTING = timedelta(seconds=60)
"""A pending run younger than this may have a process that is only just being started."""
MISSED_HEARTBEATS = 3
LIVING_STATES = [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]
UNREACHABLE = (httpx.HTTPError, PrefectHTTPStatusError)
ENDED_STATES = [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]


def find_default_patience() -> timedelta:
    """Return how long a run may be silent before it counts as dead."""
    return timedelta(seconds=MISSED_HEARTBEATS * (PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() or 180))


@dataclass
class RunWatcher:
    """A watcher of the runs of some deployments.

    A run is dead when its process is missing, where all processes are on this machine, or else when its heartbeats
    are. Their silence counts only while the server was there to hear them.
    """

    client: PrefectClient
    deployments: Sequence[UUID] | None = None
    """None: all of ours that workers run."""
    all_here: bool = False
    """Whether every run that is not a worker's was started on this machine by this user."""
    patience: timedelta = field(default_factory=find_default_patience)
    """How long a run may be silent."""
    listening_since: datetime = field(default_factory=lambda: datetime.now(UTC))
    """Since when the server has answered without a break."""
    missing: set[UUID] = field(default_factory=set)
    """Runs that were dead at the last look; the process that started them may be about to report it."""

    async def run(self) -> None:
        """Look repeatedly, until cancelled; wait for a server that does not answer."""
        while True:
            try:
                await self.look()
            except Exception as error:  # after any error, later runs must still be watched
                if self.deployments is None or not isinstance(error, httpx.TransportError):  # `serve` says so itself
                    print(f"watch: looks again after {type(error).__name__}: {error}", flush=True)
                self.listening_since = datetime.now(UTC)
            await asyncio.sleep(PREFECT_RUNNER_POLL_FREQUENCY.value())

    async def look(self) -> None:
        """Look once: end runs that were dead the last time too, then start crashed runs again."""
        await self.end_dead_runs(at_once=False)
        await self.resume_crashed_runs()

    async def end_dead_runs(self, *, at_once: bool) -> None:
        """End dead runs: after a power cut they would stay Running, and hold the place of the next run."""
        alive = find_running_ids()
        living = await find_runs(self.client, await self._find_deployments(), LIVING_STATES)
        dead = [run for run in living if await self._is_dead(run, alive)]
        for run in dead:
            if at_once or run.id in self.missing:
                await self._end(run)
        self.missing = {run.id for run in dead}

    async def resume_crashed_runs(self) -> None:
        """Resume crashed runs, unless a later scheduled one replaces them or they crashed too often."""
        alive = find_running_ids() or set()
        recently = FlowRunFilterEndTime(after_=datetime.now(UTC) - CRASH_MEMORY)
        for run in await find_runs(self.client, await self._find_deployments(), [StateType.CRASHED], end_time=recently):
            if str(run.id) not in alive:
                await self._resume(run)

    @asynccontextmanager
    async def expect_interruption(self) -> AsyncIterator[None]:
        """Let runs that are stopped in this block go on at the next `serve`: they have not crashed."""
        under_way = await self._find_under_way()
        yield
        for run in under_way:
            with suppress(*UNREACHABLE):
                await self._put_back(run)

    async def _find_under_way(self) -> list[FlowRun]:
        """Return the running runs, except those of workers and those that a person is cancelling."""
        with suppress(*UNREACHABLE):
            found = await find_runs(self.client, await self._find_deployments(), [StateType.RUNNING, StateType.PENDING])
            return [run for run in found if not run.work_pool_name]
        return []

    async def _put_back(self, run: FlowRun) -> None:
        now = await self.client.read_flow_run(run.id)
        states = sorted(await self.client.read_flow_run_states(run.id), key=lambda state: state.timestamp)
        if now.state and now.state.is_cancelled() and (ended := find_own_end(states)):
            await set_state(self.client, now, ended)
        elif now.state and (now.state.is_cancelled() or now.state.is_crashed()):
            message = "`serve` was stopped; goes on when it is started again."
            await set_state(self.client, now, AwaitingRetry(message=message))
            print(f"run {run.name!r} was interrupted; it goes on at the next start", flush=True)

    async def _find_deployments(self) -> Sequence[UUID]:
        return await find_worker_deployments(self.client) if self.deployments is None else self.deployments

    async def _is_dead(self, run: FlowRun, alive: set[str] | None) -> bool:
        assert run.state is not None
        now = datetime.now(UTC)
        if str(run.id) in (alive or ()):
            return False
        if self.all_here and alive is not None and not run.work_pool_name:
            return not (run.state.is_pending() and now - run.state.timestamp < STARTING)
        silent_since = max(self.listening_since, run.state.timestamp)
        if now - silent_since <= self.patience:
            return False
        if run.state.is_pending():  # before its start a run has no heartbeat
            return True
        heard = await find_last_heartbeat(self.client, run=run, since=now - CRASH_MEMORY)
        if heard is None:  # it died before its first, unless no run has any because they are turned off
            deployments = await self._find_deployments()
            return await find_last_heartbeat(self.client, deployments=deployments, since=now - CRASH_MEMORY) is not None
        return now - heard > self.patience

    async def _end(self, run: FlowRun) -> None:
        """Mark a run as crashed or cancelled; that frees its place."""
        assert run.state is not None
        print(f"run {run.name!r}: its process is gone", flush=True)
        if run.state.is_cancelling():
            await set_state(self.client, run, Cancelled(message="Its process was gone before it could be cancelled."))
            return
        message = "Its process is gone: the machine, the worker or `serve` ended before it did"
        await set_state(self.client, run, Crashed(message=message))
        await self._notify(run, f"was stopped before its end. {message}", STOPPED)

    async def _resume(self, run: FlowRun) -> None:
        """Resume a run, unless another run has its place: then later, or never if that one replaces it."""
        assert run.state is not None
        crashes = count_crashes(await self.client.read_flow_run_states(run.id))
        if crashes >= ATTEMPTS:
            await self._give_up(run, crashes)
        elif not await self._is_displaced(run):
            message = f"Goes on, attempt {crashes + 1} of {ATTEMPTS}; it had crashed: {run.state.message}"
            await set_state(self.client, run, AwaitingRetry(message=message))
            print(f"run {run.name!r} crashed; attempt {crashes + 1} of {ATTEMPTS} follows", flush=True)

    async def _give_up(self, run: FlowRun, crashes: int) -> None:
        assert run.state is not None
        event = f"given up: it crashed {crashes} times, last with: {run.state.message}"
        await set_state(self.client, run, Failed(message=f"G{event[1:]}"))
        print(f"run {run.name!r} {event}", flush=True)
        advice = "It is not started again by itself; look into its log, and start the deployment when the cause is gone"
        await self._notify(run, event, advice)

    async def _notify(self, run: FlowRun, event: str, advice: str) -> None:
        flow = await self.client.read_flow(run.flow_id)
        await asyncio.to_thread(notify_failure, flow.name, run, event, advice)

    async def _is_displaced(self, run: FlowRun) -> bool:
        """Return whether another run of the deployment is under way or due, or a later scheduled one was."""
        assert run.deployment_id is not None
        soon, ids = datetime.now(UTC) + STARTING, [run.deployment_id]
        due = FlowRunFilterExpectedStartTime(before_=soon)
        others = await find_runs(self.client, ids, [StateType.SCHEDULED, *LIVING_STATES], expected_start_time=due)
        if run.auto_scheduled:
            later = FlowRunFilterExpectedStartTime(after_=run.expected_start_time, before_=soon)
            others += await find_runs(self.client, ids, ENDED_STATES, expected_start_time=later)
        return any(other.id != run.id for other in others)


async def set_state(client: PrefectClient, run: FlowRun, state: State) -> None:
    """Change the state of a run from the one that was seen; of two changes from one state the second is refused."""
    assert run.state is not None
    create = to_state_create(state)
    create.state_details.flow_run_id = run.id
    create.state_details.transition_id = uuid5(NAMESPACE_OID, str(run.state.id))  # the client's own would be random
    body = {"state": create.model_dump(mode="json", serialize_as_any=True), "force": not state.is_scheduled()}
    await client.request("POST", "/flow_runs/{id}/set_state", path_params={"id": run.id}, json=body)


def find_own_end(states: Sequence[State]) -> State | None:
    """Return the end that a run had come to by itself before its last state, as Prefect's runner cancels even such.

    It asks a process to end, waits, and then says Cancelled, whatever the process has said meanwhile.
    """
    before = states[-2] if len(states) > 1 else None
    if before is None or not (before.is_completed() or before.is_failed()):
        return None
    return before.model_copy(update={"timestamp": datetime.now(UTC)})


async def find_worker_deployments(client: PrefectClient) -> list[UUID]:
    """Return the ids of all deployments of ours that a work pool runs."""
    tagged = DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG]))
    found: list[DeploymentResponse] = []
    while page := await client.read_deployments(deployment_filter=tagged, limit=PAGE, offset=len(found)):
        found.extend(page)
    return [deployment.id for deployment in found if deployment.work_pool_name]


def count_crashes(states: Sequence[State]) -> int:
    """Return how often a run crashed; a crash that was reported twice counts once."""
    types = [state.type for state in sorted(states, key=lambda state: state.timestamp)]
    return sum(new is StateType.CRASHED and old is not new for old, new in pairwise([None, *types]))


async def _watch_workers(patience: timedelta) -> None:
    async with get_client() as client:
        print(f"watching the runs of workers at {client.api_url}", flush=True)
        await RunWatcher(client, patience=patience).run()


def main(arguments: Sequence[str] | None = None) -> int:
    """Watch until Ctrl-C or SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m deployments.watch", description="Watch the runs of workers.")
    parser.add_argument(
        "--patience",
        type=float,
        default=find_default_patience().total_seconds(),
        help="seconds without a heartbeat after which a run counts as dead (default: %(default)g, three heartbeats)",
    )
    options = parser.parse_args(arguments)
    with suppress(KeyboardInterrupt):
        asyncio.run(_watch_workers(timedelta(seconds=options.patience)))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
