"""What a start finds left over: runs whose process is gone, and runs that became due while nothing was serving."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun, StateType
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.states import Cancelled, Crashed

PAGE = 200
STARTING = timedelta(seconds=60)
"""A pending run younger than this may have a process that is only just being started."""


async def mark_dead_runs(client: PrefectClient, deployment: DeploymentResponse) -> int:
    """Mark runs CRASHED whose process is gone: after a power cut they would say Running for ever, and hold the limit.

    Processes are found by the run's id in their environment (Linux), so only call this where every run of the server
    was started on this machine by this user. Runs of a work pool are left to its worker.

    Returns:
        How many were marked.
    """
    alive = running_ids()
    if alive is None:
        return 0
    dead = 0
    async for run in _runs(client, deployment, [StateType.RUNNING, StateType.PENDING, StateType.CANCELLING]):
        if str(run.id) in alive or run.work_pool_name or _is_starting(run):
            continue
        message = "Its process is gone: the machine or `serve` ended before it did. The finished stages are cached."
        await client.set_flow_run_state(run.id, Crashed(message=message), force=True)
        dead += 1
    return dead


async def keep_newest_late_run(client: PrefectClient, deployment: DeploymentResponse) -> int:
    """Of the scheduled runs that are overdue, keep one, with today's parameters; cancel the others.

    None is kept where the schedule is paused. Runs that a person asked for are left alone.

    Returns:
        How many were cancelled.
    """
    overdue = FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC))
    late = [run async for run in _runs(client, deployment, [StateType.SCHEDULED], overdue) if run.auto_scheduled]
    late.sort(key=lambda run: run.next_scheduled_start_time or datetime.min.replace(tzinfo=UTC))
    kept = late.pop() if late and is_active(deployment) else None
    reason = "a later one makes up for it" if kept else "its schedule is paused"
    for run in late:
        message = f"Due while nothing was serving; not made up for, because {reason}."
        await client.set_flow_run_state(run.id, Cancelled(message=message))
    if kept and kept.parameters != deployment.parameters:
        await client.update_flow_run(kept.id, parameters=deployment.parameters)
    return len(late)


def is_active(deployment: DeploymentResponse) -> bool:
    """Whether any schedule of it runs."""
    return not deployment.paused and any(schedule.active for schedule in deployment.schedules)


def running_ids(proc: Path = Path("/proc")) -> set[str] | None:
    """Ids of the flow runs that have a process of this user here; None where that cannot be told."""
    if not (proc / "self" / "environ").exists():
        return None
    ids: set[str] = set()
    for environment in proc.glob("[0-9]*/environ"):
        try:
            variables = environment.read_bytes().split(b"\0")
        except OSError:  # another user's, or ended meanwhile
            continue
        ids.update(v.split(b"=", 1)[1].decode() for v in variables if v.startswith(b"PREFECT__FLOW_RUN_ID="))
    return ids


def _is_starting(run: FlowRun) -> bool:
    assert run.state is not None
    return run.state.is_pending() and datetime.now(UTC) - run.state.timestamp < STARTING


async def _runs(
    client: PrefectClient,
    deployment: DeploymentResponse,
    states: Sequence[StateType],
    due: FlowRunFilterNextScheduledStartTime | None = None,
) -> AsyncIterator[FlowRun]:
    """All runs in these states; collected before the first is handed out, since handling one changes its state."""
    found: list[FlowRun] = []
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        next_scheduled_start_time=due,
    )
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=len(found)
        )
        found.extend(page)
        if len(page) < PAGE:
            break
    for run in found:
        yield run
