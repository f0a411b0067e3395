"""What tests of several folders share: servers of Prefect, PostgreSQL and S3 of their own, arithmetic on one thread."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import urllib.request
import uuid
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

import pytest
from filelock import FileLock

from tests.waiting import wait_for

# Processes that test side by side would wait for each other's threads, each time they compute.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

PASSWORD = "p@ss/w:rd%41#ß"  # all that a URL would have to escape


def pytest_collection_modifyitems(items):
    """Begin with the longest test, beside which all others run."""
    items.sort(key=lambda item: "tests/simulation" not in item.nodeid)


@pytest.fixture
def one_thread():
    """Torch on one thread: the same figures on every machine."""
    import torch  # most tests need none

    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="session")
def postgres_password():
    return PASSWORD


@pytest.fixture(scope="session")
def postgres():
    """URL of a private PostgreSQL server without its password; its files and its process go afterwards."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))
    if not found:
        pytest.skip("no PostgreSQL server in /usr/lib/postgresql; install the package postgresql")
    as_user = []
    if os.geteuid() == 0:
        if not shutil.which("runuser"):
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        as_user = ["runuser", "-u", "postgres", "--"]
    folder = Path("/tmp") / f"evergreen-pg-{os.getpid()}"
    folder.mkdir(mode=0o700)
    if as_user:
        shutil.chown(folder, "postgres", "postgres")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]

    def run(program, *arguments, **settings):
        command = [*as_user, str(found[-1].parent / program), *arguments]
        subprocess.run(command, check=True, cwd="/", stdout=subprocess.DEVNULL, **settings)

    try:
        (folder / "password").write_text(PASSWORD + "\n", encoding="utf-8")
        (folder / "password").chmod(0o644)
        options = ["-U", "forecaster", "-A", "scram-sha-256", "--encoding", "UTF8", "--locale", "C", "--no-sync"]
        run("initdb", "-D", f"{folder}/data", "--pwfile", f"{folder}/password", *options)
        settings = f"-c listen_addresses=127.0.0.1 -c port={port} -c unix_socket_directories= -c fsync=off"
        run("pg_ctl", "-D", f"{folder}/data", "-l", f"{folder}/log", "-w", "-o", settings, "start")
        try:
            yield f"postgresql://forecaster@127.0.0.1:{port}/postgres"
        finally:
            run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def migrated_home(tmp_path_factory):
    """A Prefect home whose database is empty and up to date, made once for all processes that test: migrations take
    longer than all else that a server does to start.
    """
    base = tmp_path_factory.getbasetemp()
    home = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "migrated-home"
    with FileLock(f"{home}.lock"):
        if not home.exists():
            draft = tmp_path_factory.mktemp("migrating")
            command = [sys.executable, "-m", "prefect", "server", "database", "upgrade", "-y"]
            subprocess.run(command, env={**os.environ, "PREFECT_HOME": str(draft)}, capture_output=True, check=True)
            draft.rename(home)
    return home


@pytest.fixture
def prefect_home(migrated_home, tmp_path):
    """A Prefect home of this test's own."""
    return shutil.copytree(migrated_home, tmp_path / "prefect-home")


@pytest.fixture(scope="session")
def api_url(migrated_home, tmp_path_factory):
    """A real server with a database of its own."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    home = shutil.copytree(migrated_home, tmp_path_factory.mktemp("prefect") / "home")
    environment = {
        **os.environ,
        "PREFECT_HOME": str(home),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_API_HOST": "127.0.0.1",
    }
    environment.pop("PREFECT_API_URL", None)
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with (home / "server.log").open("w") as log:
        server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
    try:
        health = f"http://127.0.0.1:{port}/api/health"
        wait_for("the Prefect server", lambda: _answers(health), process=server, log=home / "server.log")
        yield f"http://127.0.0.1:{port}/api"
    finally:
        os.killpg(server.pid, signal.SIGTERM)
        server.wait(30)


def _answers(url):
    with suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return answer.status == 200


@pytest.fixture(scope="session")
def s3_server():
    """Port of a private S3 server, moto's, in a process of its own."""
    for module in ("obstore", "moto"):
        if find_spec(module) is None:
            pytest.skip(f"{module} is not installed: pip install 'evergreen-forecast[s3,test]'")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        wait_for("the S3 server", lambda: _answers(f"http://127.0.0.1:{port}/moto-api/"), process=server)
        yield port
    finally:
        server.kill()
        server.wait()


@pytest.fixture
def bucket(s3_server, monkeypatch):
    """URL of an empty bucket; the environment says where it is, as a user's would."""
    name, endpoint = f"b{uuid.uuid4().hex[:12]}", f"http://127.0.0.1:{s3_server}"
    settings = {"ENDPOINT_URL": endpoint, "ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "REGION": "us-east-1"}
    for key, value in settings.items():
        monkeypatch.setenv(f"AWS_{key}", value)
    urllib.request.urlopen(urllib.request.Request(f"{endpoint}/{name}", method="PUT")).close()
    return f"s3://{name}/evergreen"
