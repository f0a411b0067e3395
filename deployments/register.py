"""Make the server's deployments equal to the pipelines' files, and keep schedules paused that people paused."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from prefect import Flow
from prefect.client.orchestration import PrefectClient
from prefect.client.schemas.actions import DeploymentScheduleCreate
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterTags,
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.objects import ConcurrencyLimitConfig, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.client.schemas.sorting import FlowRunSort
from prefect.deployments.runner import RunnerDeployment
from prefect.exceptions import ObjectNotFound
from prefect.runner import Runner
from prefect.types.entrypoint import EntrypointType

from deployments.catalog import CONCURRENCY, SCHEDULE_SLUG, TAG, Job
from deployments.recover import is_active
from lstm_model.storage.backend import is_url


async def register(client: PrefectClient, runner: Runner, job: Job, *, store: str) -> DeploymentResponse:
    """Create or update a deployment and have `runner` run it.

    Args:
        client: of the server.
        runner: polls for the deployment's runs once it is started.
        job: the deployment.
        store: absolute folder, or URL, that keeps artifacts.
    """
    assert is_url(store) or Path(store).is_absolute(), store
    before = await _read_existing(client, job.full_name)
    deployment = _make_deployment(job, store, before)
    deployment_id = await runner.aadd_deployment(deployment)
    if before and job.schedule is None:  # an update adds and changes schedules, but never removes the last one
        for schedule in before.schedules:
            await client.delete_deployment_schedule(deployment_id, schedule.id)
    return await client.read_deployment(deployment_id)


async def find_next_run(client: PrefectClient, deployment: DeploymentResponse) -> datetime | None:
    """Return the next start by schedule; None if it is paused, or started only by hand."""
    if not is_active(deployment):
        return None
    # The server's scheduler would do the same within a minute.
    await client.request(
        "POST", "/deployments/{id}/schedule", path_params={"id": deployment.id}, json={"min_runs": 1, "max_runs": 1}
    )
    coming = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.SCHEDULED])),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(after_=datetime.now(UTC)),
    )
    runs = await client.read_flow_runs(flow_run_filter=coming, sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC, limit=1)
    return runs[0].next_scheduled_start_time if runs else None


async def find_orphans(client: PrefectClient, jobs: Sequence[Job]) -> list[str]:
    """Return the deployments with our tag that belong to no file among these, as flow/name."""
    ours = await client.read_deployments(deployment_filter=DeploymentFilter(tags=DeploymentFilterTags(all_=[TAG])))
    flows = {flow.id: flow.name for flow in await client.read_flows()}
    found = {f"{flows.get(deployment.flow_id, '?')}/{deployment.name}" for deployment in ours}
    return sorted(found - {job.full_name for job in jobs})


def import_flow(job: Job) -> Flow[..., Any]:
    """Return the flow of a deployment."""
    flow: Flow[..., Any] = getattr(import_module(f"flows.{job.flow}"), job.flow)
    return flow


def _make_deployment(job: Job, store: str, before: DeploymentResponse | None) -> RunnerDeployment:
    deployment = RunnerDeployment.from_flow(
        import_flow(job),
        name=job.name,
        description=job.description,
        tags=job.tags,
        parameters={**job.parameters, "store": store},
        schedules=_make_schedules(job, before),
        concurrency_limit=ConcurrencyLimitConfig.model_validate(CONCURRENCY),
        # Prefect's own update would set it to false.
        paused=before.paused if before else None,
        # A file path would be looked for under the folder that serve is started from.
        entrypoint_type=EntrypointType.MODULE_PATH,
    )
    # Named, so that a deployment that was in a work pool leaves it: its runs are ours now.
    deployment.work_pool_name = None
    deployment.work_queue_name = None
    return deployment


def _make_schedules(job: Job, before: DeploymentResponse | None) -> list[Any]:
    if job.schedule is None:
        return []
    paused = before is not None and any(s.slug == SCHEDULE_SLUG and not s.active for s in before.schedules)
    return [DeploymentScheduleCreate(schedule=job.schedule, slug=SCHEDULE_SLUG, active=not paused)]


async def _read_existing(client: PrefectClient, full_name: str) -> DeploymentResponse | None:
    try:
        return await client.read_deployment_by_name(full_name)
    except ObjectNotFound:
        return None
