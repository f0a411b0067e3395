"""Prefect's server on a PostgreSQL with a password, behind a login, with CSRF on: `serve` beside it, and workers."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from tasks.runtime.prefect_server import is_healthy

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LOGIN = "forecaster:l0gin"
AT_ONCE = 3


@pytest.fixture(scope="module")
def postgres_database(postgres, postgres_password):
    """URL of the server's own database without its password; its owner is no administrator."""
    psycopg = pytest.importorskip("psycopg", reason="psycopg is not installed")
    with psycopg.connect(postgres, password=postgres_password, autocommit=True) as connection:
        literal = psycopg.sql.Literal(postgres_password)
        connection.execute(psycopg.sql.SQL("create role prefect login password {}").format(literal))
        connection.execute("create database prefect owner prefect")
    return sa.make_url(postgres).set(username="prefect", database="prefect")


@pytest.fixture(scope="module")
def server(postgres_database, postgres_password, tmp_path_factory, free_port, wait_for):
    """API URL and log of a server whose passwords are in its environment and in a file, not in its arguments."""
    address, tmp_path = postgres_database, tmp_path_factory.mktemp("server")
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"{address.host}:{address.port}:*:{address.username}:{postgres_password}\n", encoding="utf-8")
    passwords.chmod(0o600)
    port, log = free_port(), tmp_path / "server.log"
    environment = {
        **os.environ,
        "PREFECT_HOME": str(tmp_path / "server-home"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": str(address.set(drivername="postgresql+asyncpg")),
        "PGPASSFILE": str(passwords),
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
    }
    command = [sys.executable, "-m", "deployments.server"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    api_url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for("the server", lambda: is_healthy(api_url), process=process, log=log)
        yield api_url, log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


@pytest.fixture(scope="module")
def rows(postgres_database, postgres_password):
    """Rows of a query to the server's database."""
    url = postgres_database.set(drivername="postgresql+psycopg", password=postgres_password)
    engine = sa.create_engine(url, poolclass=sa.NullPool)

    def ask(query, **values):
        with engine.connect() as connection:
            return connection.execute(sa.text(query), values).all()

    return ask


@pytest.fixture
def start(server, tmp_path):
    """Start a command of docs/operations.md; what still runs is killed with the test."""
    api_url, _ = server
    environment = {**os.environ, "PREFECT_HOME": str(tmp_path / "home"), "OMP_NUM_THREADS": "1"}
    environment |= {"PREFECT_API_URL": api_url, "PREFECT_API_AUTH_STRING": LOGIN, "PYTHONUNBUFFERED": "1"}
    environment |= {"PREFECT_WORKER_QUERY_SECONDS": "1", "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    started = []

    def begin(*command):
        with (tmp_path / f"{len(started)}.log").open("w+") as output:
            process = subprocess.Popen(
                [sys.executable, "-m", *map(str, command)],
                cwd=ROOT,
                env=environment,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        process.log = Path(output.name)
        started.append(process)
        return process

    yield begin
    for process in started:
        if process.poll() is None:
            kill(process)


def kill(process, *runs):
    """It and the processes of its runs, at once, as a power cut does."""
    os.killpg(process.pid, signal.SIGKILL)
    for pid in runs:
        with suppress(ProcessLookupError):
            os.kill(int(pid), signal.SIGKILL)
    process.wait(30)


def done(process):
    """What it printed."""
    assert process.wait(600) == 0, process.log.read_text()
    return process.log.read_text()


def command_lines():
    """Of all processes, as `ps` shows them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().decode(errors="replace")
        except OSError:
            continue


def test_serve_and_a_run_on_postgresql(server, start_serve, wait_for, rows, postgres_password):
    api_url, log = server
    assert httpx.get(f"{api_url}/csrf-token?client=me").status_code == httpx.codes.UNAUTHORIZED
    refused = httpx.post(f"{api_url}/deployments/filter", json={}, auth=tuple(LOGIN.split(":")))
    assert (refused.status_code, refused.json()) == (httpx.codes.FORBIDDEN, {"detail": "Missing CSRF token."})
    serving = start_serve(write={"tiny": ""}, api_url=api_url, PREFECT_API_AUTH_STRING=LOGIN).wait_until_ready()
    with (
        temporary_settings({PREFECT_API_URL: api_url, PREFECT_API_AUTH_STRING: LOGIN}),
        get_client(sync_client=True) as client,
    ):
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name("retrain/tiny").id)
        finished = wait_for("a run", lambda: (now := client.read_flow_run(run.id)).state.is_final() and now)
    assert finished.state.is_completed(), finished.state
    shown = [*command_lines(), log.read_text(), serving.output()]
    assert not [text for text in shown if postgres_password in text or LOGIN.split(":")[1] in text]
    assert rows("select state_type from flow_run where id = :id", id=run.id) == [("COMPLETED",)]


RUNS = """
select f.id, d.name, state_type, s.message, f.labels ->> 'prefect.worker.name' worker, start_time, end_time,
  infrastructure_pid, run_count
from flow_run f join deployment d on f.deployment_id = d.id join flow_run_state s on f.state_id = s.id
where d.name in ('a', 'b', 'c') order by f.created
"""


def most_at_once(runs):
    """How many were between start and end at the moment with the most of them."""
    return max(sum(run.start_time <= begun < run.end_time for run in runs) for begun in [r.start_time for r in runs])


def test_two_workers_share_a_pool_and_one_is_killed(server, start, write_pipelines, wait_for, rows, tmp_path):
    pipelines, target = write_pipelines(tmp_path / "pipelines", a="", b="", c=""), tmp_path / "prefect.yaml"
    files = ["--pipelines", pipelines, "--store", tmp_path / "store", "--output", target]
    done(start("deployments.generate", *files))
    done(start("prefect", "work-pool", "create", "evergreen", "--type", "process"))
    done(start("prefect", "work-pool", "set-concurrency-limit", "evergreen", AT_ONCE))
    done(start("prefect", "--no-prompt", "deploy", "--all", "--prefect-file", target))
    names = ["one", "two"]
    workers = {
        name: start("prefect", "worker", "start", "--pool", "evergreen", "--name", name, "--limit", 2) for name in names
    }
    wait_for("two workers", lambda: rows("select count(*) from worker where status = 'ONLINE'") == [(2,)])

    api_url, _ = server
    with (
        temporary_settings({PREFECT_API_URL: api_url, PREFECT_API_AUTH_STRING: LOGIN}),
        get_client(sync_client=True) as client,
    ):

        def begin(*names, **parameters):
            ids = [client.read_deployment_by_name(name).id for name in names]
            return [client.create_flow_run_from_deployment(each, parameters=parameters).id for each in ids]

        def ended(ids):
            found = [run for run in rows(RUNS) if run.id in ids]
            return all(run.state_type in {"COMPLETED", "FAILED", "CRASHED", "CANCELLED"} for run in found) and found

        first = begin("retrain/a", "retrain/b", "retrain/c", "monitor/a")
        runs = wait_for("the runs", lambda: ended(first))
        unfinished = [(run.name, run.state_type, run.message) for run in runs if run.state_type != "COMPLETED"]
        assert not unfinished
        assert {run.worker for run in runs} == set(names)
        # Two workers that ask at the same moment may both be given the last place: the limit is Prefect's, and soft.
        assert 1 < most_at_once(runs) <= AT_ONCE + 1

        (victim,) = begin("retrain/a", refresh=True)
        ours = lambda: next(run for run in rows(RUNS) if run.id == victim)  # noqa: E731
        dying = wait_for("the victim", lambda: (run := ours()).state_type == "RUNNING" and run)
        kill(workers.pop(dying.worker), dying.infrastructure_pid)
        (survivor,) = workers
        others = begin("retrain/b", "retrain/c", "retrain/a")
        runs = wait_for("the others", lambda: ended(others))
        # Nobody has told the server: the dead run keeps the place of its deployment, and one of the pool's.
        assert [run.state_type for run in runs] == ["COMPLETED", "COMPLETED", "CANCELLED"], runs
        assert {run.worker for run in runs[:2]} == {survivor}
        assert ours().state_type == "RUNNING"
