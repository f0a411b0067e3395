"""The server that `serve` started dies or hangs: schedules go on, or serve ends and says so; SIGTERM always ends it."""

import asyncio
import os
import re
import shutil
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
from deployments.server import Server, ServerError, ServerProcess, is_taken
from tasks.runtime.prefect_server import is_healthy

ROOT = Path(__file__).parents[2]


def find_server(serving):
    """The process id of the server that a `serve` started."""
    for pid in find_descendants(serving.process.pid):
        if b"prefect_server" in (Path("/proc") / str(pid) / "cmdline").read_bytes():
            return pid
    raise AssertionError(serving.output())


@pytest.fixture
def start_server(tmp_path, migrated_home, wait_for):
    """Start a server that `serve` does not own, on a port; the last one is ended with the test."""
    started = []
    shutil.copytree(migrated_home, tmp_path / "server")

    def start(port):
        environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "server"), "PREFECT_SERVER_API_PORT": str(port)}
        environment.pop("PREFECT_API_URL", None)
        with (tmp_path / "server.log").open("a") as log:
            command = [sys.executable, "-m", "deployments.server"]
            started.append(subprocess.Popen(command, cwd=ROOT, env=environment, stdout=log, stderr=log))
        wait_for("the server", lambda: is_healthy(f"http://127.0.0.1:{port}/api"), process=started[-1], log=log.name)
        return started[-1]

    yield start
    for server in started:
        server.terminate()
        server.wait(60)


@pytest.mark.slow
@pytest.mark.parametrize("owner", ["serve", "somebody"])
def test_an_outage_is_two_lines_and_schedules_go_on(owner, start_serve, start_server, free_port, wait_for):
    """The server is killed while a run is under way, of which the next one takes the place."""
    port, url = free_port(), None
    if owner == "somebody":
        server, url = start_server(port), f"http://127.0.0.1:{port}/api"
    schedule = "schedule: {interval_seconds: 30}"
    serving = start_serve("--port", port, write={"ticking": schedule}, api_url=url).wait_until_ready()
    wait_for("a run", lambda: "Beginning flow run" in serving.output())
    before = len(serving.output().splitlines())
    if owner == "serve":
        os.kill(find_server(serving), signal.SIGKILL)
        away = "the Prefect server ended with exit code -9; it is started again. Its log: "
    else:
        server.kill()
        server.wait(30)
        away = f"the Prefect server at {url} does not answer; it is waited for, up to 60 min. "
    wait_for("the message", lambda: away in serving.output())
    if owner == "somebody":
        start_server(port)
    back = "the Prefect server answers again; schedules and runs go on"
    wait_for("the new server", lambda: back in serving.output())
    lines = serving.output().splitlines()[before:]
    began = next(number for number, line in enumerate(lines) if line.startswith(away))
    ended = next(number for number, line in enumerate(lines) if line.startswith(back))
    assert all(line.startswith(("run ", "retrain/ticking: ")) for line in lines[began + 1 : ended]), lines
    assert not re.search("Traceback|Error|Failed", "\n".join(lines[: ended + 1]))
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}), get_client(sync_client=True) as client:

        def completed():
            return [run for run in client.read_flow_runs() if run.auto_scheduled and run.state.is_completed()]

        wait_for("a scheduled run", completed)
    assert "Traceback" in (serving.home / "outages.log").read_text()  # what was kept out of it is not lost
    serving.end()
    assert is_taken(port) == (owner == "somebody")


@pytest.mark.slow
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


async def wait_for_recovery(server):
    await server.wait_until_back(await server.wait_until_away())


@pytest.mark.parametrize(
    ("kind", "patience", "reason"),
    [(Dying, 60, "ended with exit code 3"), (Hanging, 0.5, "did not answer for 0.5 s")],
)
def test_a_server_that_does_not_recover_is_given_up(kind, patience, reason, free_port, tmp_path, monkeypatch):
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(server_module, "HANG_SECONDS", patience)
    with temporary_settings({PREFECT_HOME: tmp_path}):
        process = kind(free_port())
    with pytest.raises(ServerError) as caught:
        asyncio.run(wait_for_recovery(Server(process.api_url, process)))
    assert str(caught.value).startswith(f"the Prefect server {reason} after 5 restarts within 600 s; it is given up")
    assert str(process.log) in str(caught.value)
    assert len(process.restarts) == 5
    if kind is Dying:
        assert "no space left" in str(caught.value)
    assert process._process.poll() is not None


def test_a_server_of_somebody_else_that_stays_away_is_given_up(free_port, monkeypatch):
    monkeypatch.setattr(server_module, "LOOK_SECONDS", 0.05)
    monkeypatch.setattr(server_module, "AWAY_SECONDS", 0.5)
    url = f"http://127.0.0.1:{free_port()}/api"
    with pytest.raises(ServerError, match=f"the Prefect server at {url} does not answer, and has not for"):
        asyncio.run(wait_for_recovery(Server(url)))
