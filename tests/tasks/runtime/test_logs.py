"""What Prefect's own threads say of a server that is away is not shown; all else is."""

import io
import logging
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import httpx
import pytest
from prefect.logging.handlers import PrefectConsoleHandler
from prefect.settings import PREFECT_API_URL, temporary_settings

from tasks.runtime.logs import hide_lost_connections

OBSERVER = "prefect.FlowRunCancellingObserver"


class Healthy(BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200)
        self.end_headers()
        self.wfile.write(b"true")

    def log_message(self, *_):
        pass


@pytest.fixture
def shown(monkeypatch):
    """Log an error, raised from its cause, to a logger; return what the console shows."""
    handler = PrefectConsoleHandler(stream=io.StringIO())
    monkeypatch.setattr(logging.getLogger(), "handlers", [handler])
    hide_lost_connections()

    def show(name, cause):
        try:
            raise RuntimeError("the watch failed") from cause
        except RuntimeError:
            logging.getLogger(name).warning("switching to polling", exc_info=True)
        return handler.stream.getvalue()

    return show


@pytest.fixture
def away(free_port):
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{free_port}/api"}):
        yield


@pytest.fixture
def free_port():
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        return server.server_port


LOST = [
    httpx.ConnectError("All connection attempts failed"),
    ConnectionRefusedError(111, "Connect call failed"),
    OSError("Multiple exceptions: [Errno 111] Connect call failed"),
]


@pytest.mark.parametrize("cause", LOST, ids=repr)
def test_a_lost_connection_is_hidden_while_the_server_is_away(shown, away, cause):
    assert shown(OBSERVER, cause) == ""


@pytest.mark.parametrize("cause", [None, OSError(28, "No space left on device"), ValueError("x")], ids=repr)
def test_other_errors_are_shown_even_then(shown, away, cause):
    assert "the watch failed" in shown(OBSERVER, cause)


@pytest.mark.parametrize("name", ["prefect.flow_runs", "prefect.task_runs"])
def test_what_a_run_logs_is_shown_always(shown, away, name):
    assert "All connection attempts failed" in shown(name, LOST[0])


def test_a_connection_that_was_lost_though_the_server_answers_is_shown(shown):
    with ThreadingHTTPServer(("127.0.0.1", 0), Healthy) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{server.server_port}/api"}):
            assert "All connection attempts failed" in shown(OBSERVER, LOST[0])
        server.shutdown()
