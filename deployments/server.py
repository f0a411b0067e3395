"""Use the Prefect server that runs already, or start one here and end it with us."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_HOME

LOCALHOST = "127.0.0.1"
DEFAULT_PORT = 4200
STARTUP_SECONDS = 120
"""The first start creates the database, which a slow disk does not manage in Prefect's 20 s."""
STOP_SECONDS = 20

SERVER_SETTINGS = {
    # The UI calls the address that these name; with `prefect server start --port` it would still call port 4200.
    "PREFECT_SERVER_API_HOST": LOCALHOST,
    "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
    "PREFECT_SERVER_UI_SHOW_PROMOTIONAL_CONTENT": "false",
    # In memory, the default, a lease is lost with the server while the slot that it holds stays taken in the database:
    # after a power cut a limit of 1 would cancel every later run. On disk it expires, and the slot is free again.
    "PREFECT_SERVER_CONCURRENCY_LEASE_STORAGE": "prefect.server.concurrency.lease_storage.filesystem",
    # This service marks overdue runs Late, a mere name; but if a run that died holds the limit, it cancels them all
    # before a start can tell that the run is dead.
    "PREFECT_SERVER_SERVICES_LATE_RUNS_ENABLED": "false",
    # Runs, their logs and artifacts are removed from the database after 90 days.
    "PREFECT_SERVER_SERVICES_DB_VACUUM_ENABLED": "events,flow_runs",
}


class ServerError(RuntimeError):
    """A Prefect server that cannot be used; the message says what to do."""


@dataclass(frozen=True)
class Server:
    """A Prefect server that answers."""

    api_url: str
    started_here: bool
    log: Path | None = None
    """Where a server that was started here writes."""

    @property
    def ui_url(self) -> str:
        return self.api_url.removesuffix("/api")

    @property
    def is_local(self) -> bool:
        """Return whether the server is on this machine, so that every run that it knows was started here."""
        return urlsplit(self.api_url).hostname in (LOCALHOST, "localhost", "::1")


@contextmanager
def use_server(port: int | None) -> Iterator[Server]:
    """Use the server of PREFECT_API_URL, or the one on `port`, or start one there that ends with the block.

    Args:
        port: None: PREFECT_API_URL if set, else 4200. A number: that port, even if PREFECT_API_URL is set.

    Raises:
        ServerError: the address is taken by something else, is not ours to start, or the server does not come up.
    """
    api_url = _choose_api_url(port)
    if is_healthy(api_url):
        yield Server(api_url, started_here=False)
        return
    address = urlsplit(api_url)
    if not Server(api_url, started_here=False).is_local:
        raise ServerError(
            f"PREFECT_API_URL is {api_url}, but no Prefect server answers there. Start it, or run "
            "`prefect config unset PREFECT_API_URL` (or unset the variable) to have one started here"
        )
    number = address.port or DEFAULT_PORT
    if is_taken(number):
        raise ServerError(
            f"port {number} is taken by something that is not a Prefect server. End it, or choose another port: "
            f"make serve PORT={number + 1} (python -m deployments.serve --port {number + 1})"
        )
    with _start_server(number) as log:
        yield Server(f"http://{LOCALHOST}:{number}/api", started_here=True, log=log)


def is_healthy(api_url: str) -> bool:
    """Return whether a Prefect API answers there."""
    try:
        answer = httpx.get(f"{api_url}/health", timeout=5, trust_env=False)
        return answer.status_code == httpx.codes.OK and answer.json() is True
    except (httpx.HTTPError, ValueError):
        return False


def is_taken(port: int) -> bool:
    with socket.socket() as probe:
        # As the server binds: without it, connections of the last one that linger would count as a taken port.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((LOCALHOST, port))
        except OSError:
            return True
    return False


def _choose_api_url(port: int | None) -> str:
    configured = PREFECT_API_URL.value()
    if port is None and configured:
        return str(configured).rstrip("/")
    return f"http://{LOCALHOST}:{port or DEFAULT_PORT}/api"


@contextmanager
def _start_server(port: int) -> Iterator[Path]:
    log = Path(PREFECT_HOME.value()) / f"server-{port}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    if log.exists():
        log.replace(log.with_suffix(".previous.log"))
    with log.open("w") as output:
        server = subprocess.Popen(
            [sys.executable, "-m", "prefect", "server", "start"],
            env={**os.environ, **SERVER_SETTINGS, "PREFECT_SERVER_API_PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches a whole foreground group: the server must outlive the runs that report their end to it.
            start_new_session=True,
        )
    try:
        _wait_until_healthy(server, f"http://{LOCALHOST}:{port}/api", log)
        yield log
    finally:
        _stop_server(server)


def _wait_until_healthy(server: subprocess.Popen[bytes], api_url: str, log: Path) -> None:
    deadline = time.monotonic() + STARTUP_SECONDS
    while not is_healthy(api_url):
        if server.poll() is not None or time.monotonic() > deadline:
            reason = f"did not answer within {STARTUP_SECONDS} s" if server.returncode is None else "ended at once"
            tail = "\n".join(log.read_text(errors="replace").splitlines()[-15:])
            raise ServerError(f"the Prefect server {reason}; the end of {log}:\n{tail}")
        time.sleep(0.3)


def _stop_server(server: subprocess.Popen[bytes]) -> None:
    """Interrupt the server, then kill its process group if it does not end."""
    if server.poll() is None:
        server.send_signal(signal.SIGINT)
        try:
            server.wait(STOP_SECONDS)
        except (subprocess.TimeoutExpired, KeyboardInterrupt):
            os.killpg(server.pid, signal.SIGKILL)
            server.wait()
