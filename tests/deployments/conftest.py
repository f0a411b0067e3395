"""One Prefect server with served deployments, shared by the slow tests here: a server takes 10 to 40 s to start."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.server import is_taken

ROOT = Path(__file__).parents[2]
READY = "Ctrl-C ends it all"

TINY = """
source: {kind: synthetic, num_series: 2, num_steps: 300}
horizon: 6
season: 24
context: 24
advanced:
  model: {hidden_dim: 8, layer_dim: 1, levels: [0.8]}
  training: {max_steps: 20, refit: false, threads: 1}
"""
"""A whole run of this takes seconds."""


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def write_pipelines(folder, **pipelines):
    """One file a keyword: its extra lines, such as a schedule, go on top of TINY."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, lines in pipelines.items():
        (folder / f"{name}.yaml").write_text(f"name: {name}\n{textwrap.dedent(lines)}{TINY}")
    return folder


LIVING = []
"""Each `serve` of the tests that has not been asked to end."""


def pytest_collection_modifyitems(items):
    """Give slow tests time: on a busy machine a server takes minutes to start."""
    for item in items:
        here = item.nodeid.startswith("tests/deployments/")
        if here and item.get_closest_marker("slow") and not item.get_closest_marker("timeout"):
            item.add_marker(pytest.mark.timeout(1800))


def wait_for(what, check, *, process=None, log=None, seconds=600):
    """The first truthy value of `check`; an error at once if a process that it waits for has ended.

    These are every `serve` of the tests, and `process`, whose output is in `log`.
    """
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        waiting = [(process, log)] if process else []
        waiting += [(serving.process, serving.log) for serving in LIVING]
        ended = [(file, code) for one, file in waiting if (code := one.poll()) is not None]
        if found := check():
            return found
        for file, code in ended:
            raise AssertionError(f"waited for {what}, but exit code {code}:\n{Path(file).read_text()}")
        time.sleep(0.2)
    outputs = "\n".join(Path(file).read_text() for _, file in waiting)
    raise AssertionError(f"waited {seconds} s for {what}:\n{outputs}")


def hear_ctrl_c():
    """A test run in the background of a shell inherits that SIGINT is ignored, and hands it on."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


class Serving:
    """A `python -m deployments.serve` process, its output in a file."""

    def __init__(self, log, *arguments, home, api_url=None, **variables):
        self.log = log
        self.home = home
        environment = {**os.environ, "PREFECT_HOME": str(home), "OMP_NUM_THREADS": "1"}
        environment |= {"PREFECT_RUNNER_POLL_FREQUENCY": "1", "PYTHONUNBUFFERED": "1", **variables}
        environment.pop("PREFECT_API_URL", None)
        if api_url:
            environment["PREFECT_API_URL"] = api_url
        with log.open("w") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "deployments.serve", *map(str, arguments)],
                cwd=log.parent,  # any folder but the project's
                env=environment,
                stdout=output,
                stderr=subprocess.STDOUT,
                preexec_fn=hear_ctrl_c,
                start_new_session=True,  # a group of its own, so that a test can send Ctrl-C to it as a terminal does
            )
        LIVING.append(self)

    def wait_until_ready(self):
        wait_for("serve", lambda: READY in self.output())
        return self

    def output(self):
        return self.log.read_text()

    def end(self, number=signal.SIGTERM, *, group=False):
        """Its exit code; a process that does not end is killed, and the test fails."""
        if self in LIVING:
            LIVING.remove(self)
        if self.process.poll() is None:
            send = os.killpg if group else os.kill
            send(self.process.pid, number)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.end()


@pytest.fixture(name="write_pipelines", scope="session")
def _write_pipelines():
    return write_pipelines


@pytest.fixture(name="free_port", scope="session")
def _free_port():
    return free_port


@pytest.fixture(name="wait_for", scope="session")
def _wait_for():
    return wait_for


@pytest.fixture(scope="package")
def home(tmp_path_factory):
    return tmp_path_factory.mktemp("prefect-home")


@pytest.fixture(scope="package")
def server(home, tmp_path_factory):
    """A server of its own, started by `serve`; small pipelines by hand, by interval, by cron, and to be killed."""
    folder = tmp_path_factory.mktemp("serve")
    pipelines = write_pipelines(
        folder / "pipelines",
        tiny="# A small panel.",
        ticking="schedule: {interval_seconds: 45}",
        nightly='schedule: {cron: "15 3 * * *", timezone: Europe/Berlin}',
        **dict.fromkeys(("killed", "hopeless", "unwanted"), ""),
    )
    port = free_port()
    arguments = ["--port", port, "--pipelines", pipelines, "--store", folder / "store"]
    with Serving(folder / "serve.log", *arguments, home=home) as serving:
        serving.wait_until_ready()
        serving.api_url = f"http://127.0.0.1:{port}/api"
        serving.store = folder / "store"
        yield serving
    assert not is_taken(port)
    assert subprocess.run(["pgrep", "-g", str(serving.process.pid)], capture_output=True).stdout == b""


@pytest.fixture(scope="session")
def database(tmp_path_factory):
    """A new database of Prefect's, to be copied: to make one takes as long as all else of a server's start."""
    home = tmp_path_factory.mktemp("database")
    environment = {**os.environ, "PREFECT_HOME": str(home)}
    command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
    subprocess.run(command, env=environment, check=True, capture_output=True)
    return home / "prefect.db"


@pytest.fixture
def start_serve(tmp_path, database):
    """Start a `serve` of this test's own; it is ended with the test."""
    started = []
    (tmp_path / "home").mkdir()
    shutil.copy(database, tmp_path / "home")

    def start(*arguments, write, **settings):
        folder = tmp_path / f"serve-{len(started)}"
        pipelines = write_pipelines(folder / "pipelines", **write)
        arguments = [*arguments, "--pipelines", pipelines, "--store", tmp_path / "store"]
        started.append(Serving(folder / "serve.log", *arguments, home=tmp_path / "home", **settings))
        return started[-1]

    yield start
    for serving in started:
        serving.end()


@pytest.fixture
def client(server):
    with temporary_settings({PREFECT_API_URL: server.api_url, PREFECT_HOME: server.home}):
        yield get_client(sync_client=True)


@pytest.fixture
def runs(client):
    """All runs of a deployment, by its name."""

    def find(name):
        deployment = client.read_deployment_by_name(f"retrain/{name}")
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        return client.read_flow_runs(flow_run_filter=wanted)

    return find
