"""`make serve`: its server, pauses that last, one catch-up after down-time, dead runs, and an end without leftovers."""

import os
import re
import signal
import socket
import sqlite3
import subprocess
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterDeploymentId,
    FlowRunFilterNextScheduledStartTime,
)
from prefect.client.schemas.sorting import FlowRunSort
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.states import Pending, Running, Scheduled

from deployments import serve
from deployments.runs import find_running_ids
from deployments.server import ServerError, is_taken, use_server

DAILY = "schedule: {interval_seconds: 86400}"


@pytest.fixture
def serve_here():
    """`serve` in this process, where it ends before it serves; its signal handlers are taken back."""
    handlers = {number: signal.getsignal(number) for number in serve.STOPPING}
    yield lambda *arguments: serve.main([str(argument) for argument in arguments])
    for number, handler in handlers.items():
        signal.signal(number, handler)


def test_a_port_taken_by_something_else_is_a_clear_message(serve_here, capsys):
    with ThreadingHTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        Thread(target=other.serve_forever, daemon=True).start()
        port = other.server_port
        assert serve_here("--port", port) == 1
        other.shutdown()
    message = capsys.readouterr().err
    assert f"port {port} is taken by something that is not a Prefect server" in message
    assert f"--port {port + 1}" in message


def test_a_wrong_pipeline_is_told_before_any_server_starts(serve_here, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("name: bad\nsource: {kind: synthetic}\nhorizn: 3")
    assert serve_here("--port", 1, "--pipelines", tmp_path) == 2
    assert "bad.yaml: horizn: Extra inputs are not permitted" in capsys.readouterr().err


def test_a_wrong_pipeline_is_named_and_the_others_go_on(serve_here, tmp_path, capsys):
    (tmp_path / "bad.yaml").write_text("name: bad\nsource: {kind: synthetic}\nhorizn: 3")
    (tmp_path / "good.yaml").write_text("name: good\nsource: {kind: synthetic}")
    with socket.create_server(("127.0.0.1", 0)) as other:  # which is as far as it goes here
        port = other.getsockname()[1]
        assert serve_here("--port", port, "--pipelines", tmp_path) == 1
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first.startswith(f"not served: {tmp_path / 'bad.yaml'}: horizn: Extra inputs are not permitted")
    assert f"port {port} is taken" in last


def test_a_server_elsewhere_that_does_not_answer_is_not_replaced():
    with (
        temporary_settings({PREFECT_API_URL: "http://prefect.invalid:4200/api"}),
        pytest.raises(ServerError, match=r"PREFECT_API_URL is http://prefect\.invalid:4200/api, but no Prefect server"),
        use_server(None),
    ):
        pass


def test_ports_that_only_linger_are_free():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        with socket.create_connection(("127.0.0.1", port)):
            connection, _ = listener.accept()
            assert is_taken(port)
            connection.close()  # the server's side closes first: its port lingers in TIME_WAIT
    assert not is_taken(port)


def test_processes_of_runs_are_found(wait_for):
    environment = {**os.environ, "PREFECT__FLOW_RUN_ID": "6f2b0a3c"}
    with subprocess.Popen(["sleep", "60"], env=environment) as process:
        wait_for("the process", lambda: "6f2b0a3c" in find_running_ids())
        process.kill()
    assert "6f2b0a3c" not in find_running_ids()


def test_no_process_table_means_no_verdict(tmp_path):
    assert find_running_ids(tmp_path) is None


def miss(client, deployment, *, count):
    """Scheduled runs that became due on each of the last days while nothing was serving."""
    start = datetime.now(UTC) - timedelta(days=count, hours=1)
    span = {"start_time": start.isoformat(), "end_time": datetime.now(UTC).isoformat()}
    path = {"id": deployment.id}
    client.request("POST", "/deployments/{id}/schedule", path_params=path, json={**span, "min_runs": count})
    found = FlowRunFilter(
        deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]),
        next_scheduled_start_time=FlowRunFilterNextScheduledStartTime(before_=datetime.now(UTC)),
    )
    missed = client.read_flow_runs(flow_run_filter=found, sort=FlowRunSort.NEXT_SCHEDULED_START_TIME_ASC)
    assert len(missed) == count
    return missed


def leave_for_dead(client, deployment):
    """A run that holds the deployment's only slot and has no process, as after a power cut."""
    run = client.create_flow_run_from_deployment(deployment.id)
    client.set_flow_run_state(run.id, Pending())
    assert client.set_flow_run_state(run.id, Running()).status.value == "ACCEPT"
    return run


@pytest.mark.slow
def test_after_down_time_one_run_catches_up(server, client, start_serve, wait_for):
    with start_serve(write={"daily": DAILY}, api_url=server.api_url).wait_until_ready() as serving:
        assert "was running; it is left running" in serving.output()
    assert httpx.get(f"{server.api_url}/health").json() is True
    deployment = client.read_deployment_by_name("retrain/daily")
    assert deployment.global_concurrency_limit.limit == 1
    assert deployment.concurrency_options.collision_strategy.value == "CANCEL_NEW"
    missed = miss(client, deployment, count=5)
    dead = leave_for_dead(client, deployment)
    later = Scheduled(scheduled_time=datetime.now(UTC) + timedelta(hours=1))
    asked_for = client.create_flow_run_from_deployment(deployment.id, state=later)

    changed = f"{DAILY}\nmissing: seasonal"
    broken = "horizn: 3"
    with start_serve(write={"daily": changed, "broken": broken}, api_url=server.api_url).wait_until_ready() as serving:
        assert f"run '{dead.name}': its process is gone" in serving.output()
        assert "retrain/daily: 4 run(s) missed" in serving.output()
        assert re.search(r"not served: \S+broken\.yaml: horizn: Extra inputs", serving.output())
        newest = missed[-1].id
        made_up = wait_for("catch-up", lambda: (run := client.read_flow_run(newest)).state.is_final() and run)
    assert "Crashed" in [state.name for state in client.read_flow_run_states(dead.id)]
    assert made_up.state.is_completed(), made_up.state  # so the dead run's slot was free again
    assert made_up.parameters["config"]["missing"] == "seasonal"  # today's file, not the one it was scheduled with
    for run in missed[:-1]:
        state = client.read_flow_run(run.id).state
        assert state.is_cancelled() and "a later one makes up for it" in state.message
    assert client.read_flow_run(asked_for.id).state.is_scheduled()


@pytest.mark.slow
def test_a_pause_lasts_and_a_schedule_goes_with_its_line(server, client, start_serve):
    with start_serve(write={"restful": DAILY, "gone": ""}, api_url=server.api_url).wait_until_ready():
        deployment = client.read_deployment_by_name("retrain/restful")
    missed = miss(client, deployment, count=2)
    client.update_deployment_schedule(deployment.id, deployment.schedules[0].id, active=False)  # the UI's switch
    with start_serve(write={"restful": DAILY}, api_url=server.api_url).wait_until_ready() as serving:
        assert "paused" in serving.output()
        assert "deployment 'retrain/gone' has no valid file here" in serving.output()
        deployment = client.read_deployment(deployment.id)
    assert [(schedule.active, schedule.slug) for schedule in deployment.schedules] == [(False, "pipeline")]
    for run in missed:
        state = client.read_flow_run(run.id).state
        assert state.is_cancelled() and "its schedule is paused" in state.message

    client.pause_deployment(deployment.id)  # the other way: `prefect deployment schedule pause --all`, or the API
    with start_serve(write={"restful": "# By hand now."}, api_url=server.api_url).wait_until_ready():
        deployment = client.read_deployment(deployment.id)
    assert deployment.paused
    assert deployment.schedules == []


@pytest.mark.slow
def test_ctrl_c_ends_the_run_the_server_and_serve_and_the_run_goes_on_at_the_next_start(
    start_serve, wait_for, free_port
):
    """The signal goes to the whole group, as a terminal sends it, while a run is under way."""
    port = free_port()
    serving = start_serve("--port", port, write={"busy": ""}).wait_until_ready()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), get_client(sync_client=True) as client:
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name("retrain/busy").id)
    wait_for("a run", lambda: re.search(r"Beginning flow run '(\S+)'", serving.output()))
    assert serving.end(signal.SIGINT, group=True) == 0
    assert serving.output().endswith("stopped\n")
    assert f"run {run.name!r} was interrupted; it goes on at the next start" in serving.output()
    assert subprocess.run(["pgrep", "-g", str(serving.process.pid)], capture_output=True).stdout == b""
    assert not is_taken(port)
    with sqlite3.connect(serving.home / "prefect.db") as database:
        states = dict(database.execute("select name, state_type from flow_run"))
        slots = [row[0] for row in database.execute("select active_slots from concurrency_limit_v2")]
    assert states == {run.name: "SCHEDULED"}
    assert set(slots) == {0}

    start_serve("--port", port, write={"busy": ""}).wait_until_ready()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), get_client(sync_client=True) as client:
        done = wait_for("its end", lambda: (now := client.read_flow_run(run.id)).state.is_final() and now)
    assert done.state.is_completed() and done.run_count == 2, done.state
