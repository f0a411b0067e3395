"""Print the deployments that `serve` serves: a row a pipeline, a column a flow."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from zoneinfo import ZoneInfo

from prefect.client.schemas.responses import DeploymentResponse
from rich.console import Console
from rich.table import Table

from deployments.catalog import Job
from deployments.recover import is_active
from deployments.server import Server


@dataclass(frozen=True)
class ScheduleRow:
    """A deployment, and its next scheduled start."""

    job: Job
    deployment: DeploymentResponse
    start: datetime | None


def announce(server: Server, rows: Sequence[ScheduleRow], store: str) -> None:
    """Print the table of schedules, the addresses to look at and the commands to type."""
    console = Console(width=None if sys.stdout.isatty() else 130)
    console.print(make_schedule_table(rows))
    scheduled = list_scheduled_flows(rows)
    by_hand = [f"{flow}/NAME" for flow in dict.fromkeys(row.job.flow for row in rows) if flow not in scheduled]
    lines = [
        f"Prefect UI:  {server.ui_url}  ({_describe_origin(server)})",
        f"store:       {store}",
        *([f"by hand:     {', '.join(by_hand)}"] if by_hand else []),
        "Run one now: open it in the UI, or `prefect deployment run retrain/NAME`. Ctrl-C ends it all.",
    ]
    for line in lines:
        console.print(line, highlight=False, soft_wrap=True)


def make_schedule_table(rows: Sequence[ScheduleRow]) -> Table:
    """Return a table with a row a pipeline and a column a flow that some pipeline schedules."""
    table = Table(title="Deployments", title_justify="left")
    flows = list_scheduled_flows(rows)
    for heading in ("pipeline", *flows):
        table.add_column(heading, overflow="fold")
    cells = {(row.job.name, row.job.flow): _describe_schedule(row) for row in rows}
    for name in dict.fromkeys(row.job.name for row in rows):
        table.add_row(name, *(cells[name, flow] for flow in flows))
    return table


def list_scheduled_flows(rows: Sequence[ScheduleRow]) -> list[str]:
    """Return the flows that some pipeline schedules; at least the first flow."""
    flows = list(dict.fromkeys(row.job.flow for row in rows))
    return [flow for flow in flows if any(row.job.flow == flow and row.job.schedule_settings for row in rows)] or flows[
        :1
    ]


def _describe_schedule(row: ScheduleRow) -> str:
    wanted = row.job.schedule_settings
    if wanted is None:
        return row.job.schedule_text
    if row.start is not None:
        return f"{row.job.schedule_text}\nnext {row.start.astimezone(ZoneInfo(wanted.timezone)):%a %Y-%m-%d %H:%M %Z}"
    return f"{row.job.schedule_text}\n{'-' if is_active(row.deployment) else 'paused'}"


def _describe_origin(server: Server) -> str:
    return (
        f"started here, log: {server.process.log}" if server.process else "was running; it is left running at the end"
    )
