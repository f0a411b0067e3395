"""Prefect's server on a PostgreSQL with a password, behind a login, and `serve` beside it."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import httpx
import pytest
import sqlalchemy as sa
from prefect.client.orchestration import get_client
from prefect.settings import PREFECT_API_AUTH_STRING, PREFECT_API_URL, temporary_settings

from deployments.server import SERVER_SETTINGS, is_healthy

pytestmark = pytest.mark.slow

LOGIN = "forecaster:l0gin"


@pytest.fixture
def server(postgres, postgres_password, tmp_path, free_port, wait_for):
    """API URL and log of a server whose passwords are in its environment and in a file, not in its arguments."""
    address = sa.make_url(postgres)
    passwords = tmp_path / "pgpass"
    passwords.write_text(f"{address.host}:{address.port}:*:{address.username}:{postgres_password}\n", encoding="utf-8")
    passwords.chmod(0o600)
    port, log = free_port(), tmp_path / "server.log"
    environment = {
        **os.environ,
        **SERVER_SETTINGS,
        "PREFECT_HOME": str(tmp_path / "server-home"),
        "PREFECT_SERVER_API_PORT": str(port),
        "PREFECT_SERVER_DATABASE_CONNECTION_URL": str(address.set(drivername="postgresql+asyncpg")),
        "PGPASSFILE": str(passwords),
        "PREFECT_SERVER_API_AUTH_STRING": LOGIN,
    }
    command = [sys.executable, "-m", "prefect", "server", "start"]
    with log.open("w") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output, start_new_session=True)
    api_url = f"http://127.0.0.1:{port}/api"
    try:
        wait_for("the server", lambda: is_healthy(api_url), seconds=180)
        yield api_url, log
    finally:
        process.send_signal(signal.SIGINT)
        process.wait(30)


def command_lines():
    """Of all processes, as `ps` shows them."""
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            yield file.read_bytes().decode(errors="replace")
        except OSError:
            continue


def test_serve_and_a_run_on_postgresql(server, start_serve, wait_for, postgres, postgres_password):
    api_url, log = server
    assert httpx.post(f"{api_url}/deployments/filter", json={}).status_code == httpx.codes.UNAUTHORIZED
    serving = start_serve(write={"tiny": ""}, api_url=api_url, PREFECT_API_AUTH_STRING=LOGIN).wait_until_ready()
    with (
        temporary_settings({PREFECT_API_URL: api_url, PREFECT_API_AUTH_STRING: LOGIN}),
        get_client(sync_client=True) as client,
    ):
        run = client.create_flow_run_from_deployment(client.read_deployment_by_name("retrain/tiny").id)
        done = wait_for("a run", lambda: (now := client.read_flow_run(run.id)).state.is_final() and now)
    assert done.state.is_completed(), done.state
    shown = [*command_lines(), log.read_text(), serving.output()]
    assert not [text for text in shown if postgres_password in text or LOGIN.split(":")[1] in text]
    engine = sa.create_engine(sa.make_url(postgres).set(drivername="postgresql+psycopg", password=postgres_password))
    with engine.connect() as connection:
        states = connection.execute(sa.text("select state_type from flow_run")).scalars().all()
    engine.dispose()
    assert [str(state) for state in states] == ["COMPLETED"]
