"""Use the Prefect server that runs already, or start one here, keep it running and end it with us.

python -m deployments.server    # that server without `serve`, for workers; PREFECT_SERVER_API_HOST and _PORT say where
"""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, get_current_settings

from tasks.runtime.prefect_server import APP as GUARDED_APP
from tasks.runtime.prefect_server import LOCALHOST, is_healthy

DEFAULT_PORT = 4200
STARTUP_SECONDS = 300
"""The first start creates the database, which a slow disk does not manage in Prefect's 20 s."""
STOP_SECONDS = 10
LOOK_SECONDS = 2
HANG_SECONDS = 300
"""A server that has not answered for so long is ended and started again."""
LOOK_TIMEOUT = 15
"""Somebody else's server is away if it leaves two looks in a row without an answer, each for up to so many seconds."""
AWAY_SECONDS = 3600
"""Somebody else's server is waited for so long."""
RESTARTS = 5
RESTART_WINDOW = 600
"""A server that ends again after RESTARTS restarts within so many seconds is given up."""

SERVER_SETTINGS = {
    # Together with the guard of hosts and origins: what has no token changes nothing.
    "PREFECT_SERVER_CSRF_PROTECTION_ENABLED": "true",
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
    process: ServerProcess | None = None
    """None: it was started by somebody else."""

    @property
    def ui_url(self) -> str:
        return find_public_url() or self.api_url.removesuffix("/api")

    @property
    def is_local(self) -> bool:
        """Return whether the server is on this machine, so that every run that it knows was started here."""
        return urlsplit(self.api_url).hostname in (LOCALHOST, "localhost", "::1")

    async def answers(self) -> bool:
        """Return whether it is there."""
        return await asyncio.to_thread(is_healthy, self.api_url, timeout_seconds=LOOK_TIMEOUT)

    async def wait_until_away(self) -> str:
        """Return once the server has ended or does not answer; the text is the end of a sentence that says so."""
        if self.process:
            return await self.process.wait_for_end()
        missed = 0
        while missed < 2:
            await asyncio.sleep(LOOK_SECONDS)
            missed = 0 if await self.answers() else missed + 1
        return f"at {self.api_url} does not answer"

    async def wait_until_back(self, reason: str) -> None:
        """Return once the server answers again; start it again if it is our own.

        Args:
            reason: why it is away, from `wait_until_away`.

        Raises:
            ServerError: it ended too often, or did not come back in time.
        """
        if await self.answers():
            return
        if self.process:
            await self.process.restart(reason)
            return
        deadline = time.monotonic() + AWAY_SECONDS
        while not await self.answers():
            if time.monotonic() > deadline:
                raise ServerError(
                    f"the Prefect server {reason}, and has not for {AWAY_SECONDS / 60:g} min. Start it, then `serve`"
                )
            await asyncio.sleep(LOOK_SECONDS)


class ServerProcess:
    """A Prefect server of our own, on a port of this machine."""

    def __init__(self, port: int) -> None:
        self.port = port
        self.api_url = f"http://{LOCALHOST}:{port}/api"
        self.log = Path(PREFECT_HOME.value()) / f"server-{port}.log"
        self.log.parent.mkdir(parents=True, exist_ok=True)
        if self.log.exists():
            self.log.replace(self.log.with_suffix(".previous.log"))
        self._process = self._start()
        self.restarts: list[float] = []
        """When it was started again, by `time.monotonic`."""

    def _start(self) -> subprocess.Popen[bytes]:
        with self.log.open("a") as output:
            return subprocess.Popen(
                make_server_command(LOCALHOST, self.port),
                env={**os.environ, **make_server_settings(LOCALHOST, self.port)},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                # Ctrl-C reaches a whole foreground group: the server must outlive the runs that report their end to it.
                start_new_session=True,
            )

    def wait_until_healthy(self) -> None:
        """Wait for the first answer.

        Raises:
            ServerError: it ended, or does not answer in time; the message has the end of its log.
        """
        deadline = time.monotonic() + STARTUP_SECONDS
        while not is_healthy(self.api_url):
            if self._process.poll() is not None or time.monotonic() > deadline:
                reason = (
                    f"did not answer within {STARTUP_SECONDS} s" if self._process.poll() is None else "ended at once"
                )
                raise ServerError(self._describe(reason))
            time.sleep(0.3)

    async def wait_for_end(self) -> str:
        """Return once the server has ended or hangs; the text is the end of a sentence that says so."""
        reason = None
        while reason is None:
            reason = await self._wait(HANG_SECONDS)
        return reason

    async def restart(self, reason: str) -> None:
        """Start the server again, more than once if it must be, and return once it answers.

        Raises:
            ServerError: it ended too often.
        """
        again: str | None = reason
        while again is not None:
            self._start_again(again)
            again = await self._wait(HANG_SECONDS)

    async def _wait(self, patience: float) -> str | None:
        """Return None once the server answers, or else why it does not: it has ended, or is silent for too long."""
        deadline = time.monotonic() + patience
        while True:
            await asyncio.sleep(LOOK_SECONDS)
            if (code := self._process.poll()) is not None:
                return f"ended with exit code {code}"
            if await asyncio.to_thread(is_healthy, self.api_url):
                return None
            if time.monotonic() > deadline:
                return f"did not answer for {patience} s"

    def _start_again(self, reason: str) -> None:
        self.kill()
        now = time.monotonic()
        if len(self.restarts) >= RESTARTS and now - self.restarts[-RESTARTS] < RESTART_WINDOW:
            often = f"after {RESTARTS} restarts within {RESTART_WINDOW} s; it is given up"
            raise ServerError(self._describe(f"{reason} {often}"))
        self._process = self._start()
        self.restarts.append(now)

    def stop(self) -> None:
        """Interrupt the server, then kill it if it does not end."""
        self._process.send_signal(signal.SIGINT)  # does nothing to one that has ended
        with suppress(subprocess.TimeoutExpired, KeyboardInterrupt):
            self._process.wait(STOP_SECONDS)
        self.kill()

    def kill(self) -> None:
        """Kill the server and what it started."""
        with suppress(ProcessLookupError):
            os.killpg(self._process.pid, signal.SIGKILL)
        self._process.wait()

    def _describe(self, reason: str) -> str:
        tail = "\n".join(self.log.read_text(errors="replace").splitlines()[-15:])
        return f"the Prefect server {reason}; the end of {self.log}:\n{tail}"


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
        yield Server(api_url)
        return
    address = urlsplit(api_url)
    if not Server(api_url).is_local:
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
    process = ServerProcess(number)
    try:
        process.wait_until_healthy()
        yield Server(process.api_url, process)
    finally:
        process.stop()


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


def make_server_command(host: str, port: int) -> list[str]:
    """Return the command that starts a server."""
    where = ["--host", host, "--port", str(port), "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", "--factory", GUARDED_APP, *where]


def make_server_settings(host: str, port: int) -> dict[str, str]:
    """Return the settings of a server, open to the addresses at which people see its UI.

    These are its own, PREFECT_UI_URL, and those that PREFECT_SERVER_CORS_ALLOWED_ORIGINS lists.

    Raises:
        ServerError: PREFECT_UI_URL is not an address.
    """
    origins = [f"http://{name}:{port}" for name in dict.fromkeys((LOCALHOST, "localhost", host))]
    # The UI calls the address that host and port name, unless it is told another.
    settings = {**SERVER_SETTINGS, "PREFECT_SERVER_API_HOST": host, "PREFECT_SERVER_API_PORT": str(port)}
    configured = get_current_settings().server.api
    if "cors_allowed_origins" in configured.model_fields_set:  # "*" would let every page in
        origins += [origin for origin in configured.cors_allowed_origins.split(",") if origin not in ("", "*")]
    if public := find_public_url():
        address = httpx.URL(public)  # as browsers write it: small letters, no port that goes without saying
        origins.append(f"{address.scheme}://{address.netloc.decode()}")
        settings["PREFECT_SERVER_UI_API_URL"] = f"{public}/api"
    return {**settings, "PREFECT_SERVER_CORS_ALLOWED_ORIGINS": ",".join(origins)}


def find_public_url() -> str | None:
    """Return PREFECT_UI_URL, where people open the UI behind a reverse proxy; None if it is not set.

    Raises:
        ServerError: it is not an address of the web.
    """
    settings = get_current_settings()
    if "ui_url" not in settings.model_fields_set or not settings.ui_url:
        return None
    with suppress(httpx.InvalidURL):
        address = httpx.URL(settings.ui_url)
        if address.scheme in ("http", "https") and address.host:
            return settings.ui_url.rstrip("/")
    raise ServerError(f"PREFECT_UI_URL is {settings.ui_url!r}; expected an address such as https://forecasts.example")


def main() -> None:
    """Run a server as `serve` starts it, in place of this process."""
    address = get_current_settings().server.api
    try:
        settings = make_server_settings(address.host, address.port)
    except ServerError as error:
        raise SystemExit(f"error: {error}") from error
    command = make_server_command(address.host, address.port)
    print(f"Prefect server: {find_public_url() or f'http://{address.host}:{address.port}'}", flush=True)
    os.execve(command[0], command, {**os.environ, **settings})


if __name__ == "__main__":
    main()
