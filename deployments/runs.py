"""Look at runs on the server and at their processes on this machine."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import PrefectClient
from prefect.client.schemas import FlowRun, StateType
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterState,
    FlowRunFilterStateType,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.events.filters import (
    EventFilter,
    EventNameFilter,
    EventOccurredFilter,
    EventRelatedFilter,
    EventResourceFilter,
)

PAGE = 200
HEARTBEAT = "prefect.flow-run.heartbeat"


async def find_runs(
    client: PrefectClient, deployments: Sequence[UUID], states: Sequence[StateType], **filters: Any
) -> list[FlowRun]:
    """Return all runs of these deployments in these states.

    Args:
        client: of the server.
        deployments: their ids.
        states: wanted.
        filters: more fields of FlowRunFilter.
    """
    found: list[FlowRun] = []
    if not deployments:
        return found
    wanted = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=list(deployments)),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(states))),
        **filters,
    )
    while True:
        page = await client.read_flow_runs(
            flow_run_filter=wanted, sort=FlowRunSort.ID_DESC, limit=PAGE, offset=len(found)
        )
        found.extend(page)
        if len(page) < PAGE:
            return found


async def find_last_heartbeat(
    client: PrefectClient, *, since: datetime, run: FlowRun | None = None, deployments: Sequence[UUID] = ()
) -> datetime | None:
    """Return the last sign of life of a run, or of any run of deployments; None if there is none since then."""
    wanted = EventFilter(
        event=EventNameFilter(name=[HEARTBEAT]),
        resource=EventResourceFilter(id=[f"prefect.flow-run.{run.id}"]) if run else None,
        related=EventRelatedFilter(id=[f"prefect.deployment.{one}" for one in deployments]) if deployments else None,
        # Workers tell the time by their own clocks, which may be ahead of this one.
        occurred=EventOccurredFilter(since=since, until=datetime.now(UTC) + timedelta(hours=1)),
    )
    page = await client.read_events(wanted, limit=1)
    return max((event.occurred for event in page.events), default=None)


def find_running_ids(proc: Path = Path("/proc")) -> set[str] | None:
    """Return the ids of the flow runs that have a process of this user here; None if it cannot be found out."""
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


def find_descendants(parent: int, proc: Path = Path("/proc")) -> list[int]:
    """Return the ids of the processes that a process started, and those that they did; none if it cannot be found."""
    parents = {}
    for stat in proc.glob("[0-9]*/stat"):
        with suppress(OSError):  # ended meanwhile
            parents[int(stat.parent.name)] = int(stat.read_text(errors="replace").rpartition(")")[2].split()[1])
    found = [parent]
    for ancestor in found:
        found += [pid for pid, of in parents.items() if of == ancestor]
    return found[1:]
