"""The table of `serve`: a row a pipeline, a column a flow that somebody schedules."""

import io
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from rich.console import Console

from deployments.announce import ScheduleRow, list_scheduled_flows, make_schedule_table
from deployments.catalog import read_catalog


@pytest.fixture
def rows(tmp_path):
    (tmp_path / "a.yaml").write_text(
        'source: {kind: synthetic}\nschedule: {cron: "15 3 * * *", timezone: Europe/Berlin}'
    )
    (tmp_path / "b.yaml").write_text("source: {kind: synthetic}\nmonitoring: {schedule: {interval_seconds: 3600}}")
    start = datetime(2024, 1, 8, 2, 15, tzinfo=UTC)
    paused = SimpleNamespace(paused=True, schedules=[])  # all of a deployment that the table looks at
    jobs = [job for pipeline in read_catalog(tmp_path) for job in pipeline.jobs]
    return [ScheduleRow(job, paused, start if job.name == "a" and job.schedule_settings else None) for job in jobs]


def test_only_flows_with_a_schedule_have_a_column(rows):
    assert list_scheduled_flows(rows) == ["retrain", "monitor"]
    by_hand = [row for row in rows if not row.job.schedule_settings]
    assert list_scheduled_flows(by_hand) == [by_hand[0].job.flow]  # a table of names alone would be empty


def test_a_cell_says_when_and_what_comes_next(rows):
    output = io.StringIO()
    Console(file=output, width=130).print(make_schedule_table(rows))
    lines = [[cell.strip() for cell in line.split("│")[1:-1]] for line in output.getvalue().splitlines() if "│" in line]
    assert lines == [
        ["a", "15 3 * * * Europe/Berlin", "by hand"],
        ["", "next Mon 2024-01-08 03:15 CET", ""],
        ["b", "by hand", "every 3600 s"],
        ["", "", "paused"],
    ]
