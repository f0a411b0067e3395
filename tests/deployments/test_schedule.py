"""Schedules fire by themselves: what SQLAlchemy 2.1 breaks without a word is noticed here."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterFlowRunId

pytestmark = pytest.mark.slow


@pytest.fixture
def stages(client):
    """Rows of the table of stages in a run's report artifact: (stage, outcome)."""

    def read(run):
        wanted = ArtifactFilter(flow_run_id=ArtifactFilterFlowRunId(any_=[run.id]))
        artifacts = client.read_artifacts(artifact_filter=wanted)
        (report,) = [a for a in artifacts if a.type == "markdown" and a.key and a.key.startswith("report-")]
        table = report.data.split("| stage | outcome |")[1].splitlines()[2:]
        return [tuple(cell.strip() for cell in row.split("|")[1:3]) for row in table if row.startswith("|")]

    return read


def test_a_cron_deployment_yields_scheduled_runs(runs, wait_for):
    # More than the one run that serve asks for itself: the rest are the scheduler's own work.
    scheduled = wait_for("scheduled runs", lambda: (found := runs("nightly")) and len(found) >= 3 and found)
    assert {run.state.type.value for run in scheduled} == {"SCHEDULED"}
    assert all(run.auto_scheduled for run in scheduled)
    starts = [run.next_scheduled_start_time for run in scheduled]
    assert min(starts) > datetime.now(UTC)
    assert {(f"{start.astimezone(ZoneInfo('Europe/Berlin')):%H:%M}") for start in starts} == {"03:15"}


def test_an_interval_fires_and_its_second_run_uses_the_cache(client, runs, stages, wait_for):
    def completed():
        found = runs("ticking")
        assert not [run.state for run in found if run.state.is_failed() or run.state.is_crashed()]
        done = [run for run in found if run.state.is_completed()]
        return len(done) >= 2 and sorted(done, key=lambda run: run.start_time)

    first, second, *_ = wait_for("two scheduled runs", completed)
    deployment = client.read_deployment_by_name("retrain/ticking")
    client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)  # enough of it
    assert first.auto_scheduled and second.auto_scheduled
    assert {outcome for _, outcome in stages(first)} == {"computed"}
    assert len(stages(second)) >= 6 and dict(stages(second)).keys() <= dict(stages(first)).keys()
    assert {outcome for _, outcome in stages(second)} == {"cached"}
