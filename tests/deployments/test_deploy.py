"""`prefect deploy` takes the generated file, keeps a pause, and a process worker runs it; a dead one's run goes on."""

import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest
from prefect.states import Cancelled, Pending, Running

from deployments.runs import HEARTBEAT

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prefect(server):
    """The command line, as an operator types it in the project's folder."""

    def run(*arguments):
        environment = {**os.environ, "PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api_url}
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=900
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


@pytest.fixture
def watch(server, tmp_path):
    """`python -m deployments.watch` beside the server; ended with the test."""
    environment = {**os.environ, "PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api_url}
    environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PYTHONUNBUFFERED": "1"}
    log = tmp_path / "watch.log"
    with log.open("w") as output:
        command = [sys.executable, "-m", "deployments.watch", "--patience", "5"]
        process = subprocess.Popen(command, cwd=ROOT, env=environment, stdout=output, stderr=output)
    yield log
    process.terminate()
    process.wait(30)


@pytest.fixture
def leave_running(client):
    """A run that a worker says it runs, and how long ago its last heartbeat was, if there was one."""

    def leave(deployment, heartbeat, **parameters):
        run = client.create_flow_run_from_deployment(deployment.id, **parameters)
        client.set_flow_run_state(run.id, Pending())
        client.set_flow_run_state(run.id, Running())
        if heartbeat is None:
            return run
        event = {"id": str(uuid4()), "event": HEARTBEAT, "occurred": (datetime.now(UTC) - heartbeat).isoformat()}
        event["resource"] = {"prefect.resource.id": f"prefect.flow-run.{run.id}"}
        of = {"prefect.resource.id": f"prefect.deployment.{deployment.id}", "prefect.resource.role": "deployment"}
        client.request("POST", "/events", json=[{**event, "related": [of]}])
        return run

    return leave


def test_deploy_pause_deploy_again_and_work(prefect, client, tmp_path, leave_running, watch, wait_for):
    prefect("work-pool", "create", "evergreen", "--type", "process")
    prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    panel = client.read_deployment_by_name("retrain/panel")
    (schedule,) = panel.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("15 3 * * *", "Europe/Berlin")
    assert schedule.active and schedule.slug == "pipeline"
    assert panel.work_pool_name == "evergreen"
    assert panel.global_concurrency_limit.limit == 1
    assert panel.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    assert set(panel.tags) == {"evergreen", "synthetic", "panel"}
    assert panel.description.startswith("Twelve hourly series")
    assert client.read_deployment_by_name("retrain/tutorial").schedules == []
    assert client.read_deployment_by_name("forecast/panel").schedules[0].schedule.cron == "20 */6 * * *"

    client.update_deployment_schedule(panel.id, schedule.id, active=False)
    prefect("deploy", "--name", "retrain/panel", "--prefect-file", "deployments/prefect.yaml")
    assert [s.active for s in client.read_deployment(panel.id).schedules] == [False]

    sales = client.read_deployment_by_name("retrain/shop_sales")  # its file's path is relative to the project
    quick = {
        "model": {"hidden_dim": 8, "layer_dim": 1},
        "training": {"max_steps": 3, "refit": False, "threads": 1},
    }
    parameters = {"config": {**sales.parameters["config"], "advanced": quick}, "store": str(tmp_path / "store")}
    run = leave_running(sales, timedelta(minutes=20), parameters=parameters)  # its worker was killed
    alive = leave_running(panel, timedelta(minutes=-50))  # the clock of its worker is ahead
    early = leave_running(client.read_deployment_by_name("retrain/tutorial"), None)  # killed before its first

    def found():
        return all(client.read_flow_run(dead.id).state.name == "AwaitingRetry" for dead in (run, early))

    wait_for("the search", found)
    assert client.read_flow_run(alive.id).state.is_running(), watch.read_text()
    for other in (alive, early):
        client.set_flow_run_state(other.id, Cancelled(), force=True)
    output = prefect("worker", "start", "--pool", "evergreen", "--run-once")
    done = client.read_flow_run(run.id)
    assert done.state.is_completed() and done.run_count == 2, output
    assert (tmp_path / "store" / "shop_sales" / "report.html").exists()
