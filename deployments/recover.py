"""Start the runs that became due while nothing was serving."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun, StateType
from prefect.client.schemas.filters import FlowRunFilterNextScheduledStartTime
from prefect.client.schemas.responses import DeploymentResponse
from prefect.states import Cancelled

from deployments.runs import find_runs


async def keep_newest_late_run(client: PrefectClient, deployment: DeploymentResponse) -> int:
    """Keep one of the overdue scheduled runs, with today's parameters; cancel the others.

    None is kept if the schedule is paused. Runs that a person asked for are not touched; nor are those that were
    interrupted and would go on now, unless one is kept that makes up for them.

    Returns:
        How many were cancelled.
    """
    overdue = FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC))
    found = await find_runs(client, [deployment.id], [StateType.SCHEDULED], next_scheduled_start_time=overdue)
    late = _sort_by_time([run for run in found if run.auto_scheduled and not run.run_count])
    interrupted = [run for run in found if run.auto_scheduled and run.run_count]
    kept = late.pop() if late and is_active(deployment) else None
    reason = "a later one makes up for it" if kept else "its schedule is paused"
    dropped = late + (interrupted if kept else [])
    for run in dropped:
        message = f"Due while nothing was serving; not made up for, because {reason}."
        await client.set_flow_run_state(run.id, Cancelled(message=message))
    if kept and kept.parameters != deployment.parameters:
        await client.update_flow_run(kept.id, parameters=deployment.parameters)
    return len(dropped)


def is_active(deployment: DeploymentResponse) -> bool:
    """Return whether any schedule of the deployment runs."""
    return not deployment.paused and any(schedule.active for schedule in deployment.schedules)


def _sort_by_time(runs: Sequence[FlowRun]) -> list[FlowRun]:
    return sorted(runs, key=lambda run: run.next_scheduled_start_time or datetime.min.replace(tzinfo=UTC))
