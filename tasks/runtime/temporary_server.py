"""Run a Prefect server that lasts as long as one run of the command line, closed to every web page.

Prefect would start such a server itself, but open to every page, and it would be imported by the run's process too,
which takes seconds.
"""

from __future__ import annotations

import atexit
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from prefect.context import refresh_global_settings_context
from prefect.settings import PREFECT_API_URL, PREFECT_UI_URL, get_current_settings, temporary_settings

from tasks.runtime.prefect_server import LOCALHOST, is_healthy

APP = "tasks.runtime.prefect_server:create_temporary_app"
STARTUP_SECONDS = 300
"""The first start creates the database, which takes a slow disk long."""
STOP_SECONDS = 5
ATTEMPTS = 3
"""Another program may take the port before the server does."""
SERVER_SETTINGS = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ""}


@contextmanager
def use_temporary_server() -> Iterator[None]:
    """Start a server for the runs inside; it ends with this process, after what Prefect's threads still send.

    Its pages have no address, because it has none: links to them are left out. The environment names it too, because
    the thread that takes the messages of worker processes knows no settings but those: it would start another server on
    the same database, and each would wait for the other's locks.

    Raises:
        RuntimeError: it does not come up.
    """
    api_url = _start()
    os.environ["PREFECT_API_URL"] = api_url
    refresh_global_settings_context()
    try:
        with temporary_settings({PREFECT_API_URL: api_url, PREFECT_UI_URL: ""}):
            yield
    finally:
        del os.environ["PREFECT_API_URL"]
        refresh_global_settings_context()


def _start() -> str:
    for _ in range(ATTEMPTS):
        with socket.create_server((LOCALHOST, 0)) as probe:
            port = probe.getsockname()[1]
        process, api_url = _start_process(port), f"http://{LOCALHOST}:{port}/api"
        atexit.register(_stop, process)
        deadline = time.monotonic() + STARTUP_SECONDS
        while process.poll() is None and time.monotonic() < deadline:
            if is_healthy(api_url):
                return api_url
            time.sleep(0.1)
        exit_code = process.poll()
        _stop(process)
    ended = f"ended with exit code {exit_code}" if exit_code else f"did not answer within {STARTUP_SECONDS} s"
    raise RuntimeError(
        f"Prefect's temporary server {ended}. Look at its messages above; its database is in PREFECT_HOME, or "
        "start a server (`make serve`) and set PREFECT_API_URL to its address"
    )


def _start_process(port: int) -> subprocess.Popen[bytes]:
    """Start it so that it ignores Ctrl-C, which a terminal sends to every process: the run still needs it.

    A signal that is blocked when a process begins stays blocked in it.
    """
    command = [sys.executable, "-m", "uvicorn", "--factory", APP, "--host", LOCALHOST, "--port", str(port)]
    settings = get_current_settings().to_environment_variables(exclude_unset=True)
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
    try:
        return subprocess.Popen([*command, "--log-level", "error"], env={**os.environ, **settings, **SERVER_SETTINGS})
    finally:
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGINT})


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
