"""`prefect deploy` takes the generated file, keeps a pause, and a process worker runs what it made."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture
def prefect(server):
    """The command line, as an operator types it in the project's folder."""

    def run(*arguments):
        environment = {**os.environ, "PREFECT_HOME": str(server.home), "PREFECT_API_URL": server.api_url}
        command = [sys.executable, "-m", "prefect", "--no-prompt", *arguments]
        done = subprocess.run(
            command, cwd=ROOT, env={**environment, "OMP_NUM_THREADS": "1"}, capture_output=True, text=True, timeout=240
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    return run


def test_deploy_pause_deploy_again_and_work(prefect, client, tmp_path):
    prefect("work-pool", "create", "evergreen", "--type", "process")
    prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    panel = client.read_deployment_by_name("retrain/panel")
    (schedule,) = panel.schedules
    assert (schedule.schedule.cron, schedule.schedule.timezone) == ("15 3 * * *", "Europe/Berlin")
    assert schedule.active and schedule.slug == "pipeline"
    assert panel.work_pool_name == "evergreen"
    assert panel.global_concurrency_limit.limit == 1
    assert panel.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    assert set(panel.tags) == {"evergreen", "synthetic"}
    assert panel.description.startswith("Twelve hourly series")
    assert client.read_deployment_by_name("retrain/tutorial").schedules == []

    client.update_deployment_schedule(panel.id, schedule.id, active=False)
    prefect("deploy", "--all", "--prefect-file", "deployments/prefect.yaml")
    assert [s.active for s in client.read_deployment(panel.id).schedules] == [False]

    sales = client.read_deployment_by_name("retrain/shop_sales")  # its file's path is relative to the project
    quick = {
        "model": {"hidden_dim": 8, "layer_dim": 1},
        "training": {"max_steps": 3, "refit": False, "threads": 1},
    }
    parameters = {"config": {**sales.parameters["config"], "advanced": quick}, "store": str(tmp_path / "store")}
    run = client.create_flow_run_from_deployment(sales.id, parameters=parameters)
    output = prefect("worker", "start", "--pool", "evergreen", "--run-once")
    assert client.read_flow_run(run.id).state.is_completed(), output
    assert (tmp_path / "store" / "shop_sales" / "report.html").exists()
