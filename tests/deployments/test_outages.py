"""The server that `serve` started dies or hangs: schedules go on, or serve ends and says so; SIGTERM always ends it."""

import asyncio
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments import server as server_module
from deployments.runs import find_descendants, find_running_ids
from deployments.server import ServerError, ServerProcess, is_taken


def find_server(serving):
    """The process id of the server that a `serve` started."""
    for pid in find_descendants(serving.process.pid):
        if b"prefect_server" in (Path("/proc") / str(pid) / "cmdline").read_bytes():
            return pid
    raise AssertionError(serving.output())


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_after_the_server_was_killed_it_is_started_again_and_schedules_go_on(start_serve, free_port, wait_for):
    port = free_port()
    schedule = "schedule: {interval_seconds: 30}"
    serving = start_serve("--port", port, write={"ticking": schedule}).wait_until_ready()

    def completed():
        with get_client(sync_client=True) as client:
            return {run.id for run in client.read_flow_runs() if run.auto_scheduled and run.state.is_completed()}

    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        before = wait_for("a scheduled run", completed, seconds=240)
        os.kill(find_server(serving), signal.SIGKILL)
        again = "the Prefect server ended with exit code -9; it is started again"
        wait_for("the message", lambda: again in serving.output())
        wait_for("the new server", lambda: serving.output().count("Ctrl-C ends it all") == 2, seconds=240)
        wait_for("the next scheduled run", lambda: completed() - before, seconds=240)
    assert serving.end() == 0
    assert not is_taken(port)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_sigterm_ends_serve_and_its_runs_while_the_server_hangs(start_serve, free_port, wait_for):
    port = free_port()
    serving = start_serve("--port", port, write={"busy": ""}).wait_until_ready()
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), get_client(sync_client=True) as client:
        deployment = client.read_deployment_by_name("retrain/busy")
        endless = {"model": {"hidden_dim": 8, "layer_dim": 1}, "training": {"max_steps": 10**6, "patience": 10**6}}
        config = {**deployment.parameters["config"], "advanced": endless}
        run = client.create_flow_run_from_deployment(
            deployment.id, parameters={**deployment.parameters, "config": config}
        )
    wait_for("the run", lambda: str(run.id) in find_running_ids())
    os.kill(find_server(serving), signal.SIGSTOP)
    asked = time.monotonic()
    serving.end()
    assert time.monotonic() - asked < 30
    assert str(run.id) not in find_running_ids()
    assert not is_taken(port)


class Dying(ServerProcess):
    """A server that begins, writes a line and ends with exit code 3, or hangs."""

    code = "print('no space left'); raise SystemExit(3)"

    def _start(self):
        with self.log.open("a") as output:
            return subprocess.Popen([sys.executable, "-c", self.code], stdout=output, start_new_session=True)


class Hanging(Dying):
    code = "print('deadlock', flush=True); import time; time.sleep(600)"


@pytest.mark.parametrize(
    ("kind", "patience", "reason"),
    [(Dying, 60, "ended with exit code 3"), (Hanging, 0.5, "did not answer for 0.5 s")],
)
def test_a_server_that_does_not_recover_is_given_up(kind, patience, reason, free_port, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(server_module, "HANG_SECONDS", patience)
    with temporary_settings({PREFECT_HOME: tmp_path}):
        process = kind(free_port())
    with pytest.raises(ServerError) as caught:
        asyncio.run(process.wait_for_restart())
    assert str(caught.value).startswith(f"the Prefect server {reason} after 5 restarts within 600 s; it is given up")
    assert str(process.log) in str(caught.value)
    assert capsys.readouterr().out.count(f"the Prefect server {reason}; it is started again") == 5
    if kind is Dying:
        assert "no space left" in str(caught.value)
    assert process._process.poll() is not None
