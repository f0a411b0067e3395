"""The guard around Prefect's app: a real server with a tiny app behind it."""

import time
from contextlib import contextmanager
from threading import Thread

import httpx
import pytest
import uvicorn
from starlette.applications import Starlette
from starlette.responses import PlainTextResponse
from starlette.routing import Route, WebSocketRoute
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tasks.runtime.prefect_server import OriginGuard

PROXY = "https://forecasts.example"


async def greet(websocket):
    await websocket.accept()
    await websocket.send_text("hello")
    await websocket.close()


@contextmanager
def serve(*origins):
    """Address of a server that is open to these origins."""
    app = Starlette(routes=[Route("/", lambda request: PlainTextResponse("hello")), WebSocketRoute("/ws", greet)])
    app.add_middleware(OriginGuard, origins=list(origins))
    server = uvicorn.Server(uvicorn.Config(app, port=0, log_level="error"))
    thread = Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    yield f"127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    server.should_exit = True
    thread.join(30)


def ask(address, **headers):
    return httpx.get(f"http://{address}", headers=headers).status_code


@pytest.fixture(scope="module")
def address():
    with serve(PROXY) as address:
        yield address


@pytest.mark.parametrize(
    "headers",
    [{}, {"Host": "LocalHost:4200"}, {"Host": "forecasts.example"}, {"Host": "forecasts.example", "Origin": PROXY}],
    ids=str,
)
def test_own_addresses_and_clients_without_an_origin_pass(address, headers):
    assert ask(address, **headers) == httpx.codes.OK


@pytest.mark.parametrize(
    "headers",
    [
        *({"Host": host} for host in ("evil.example", "evil.example:4200", "127.0.0.1.evil.example", "", "[::1", "*")),
        *({"Origin": page} for page in ("http://evil.example", "null", "", "*", "http://forecasts.example")),
        {"Origin": f"{PROXY}.evil.example"},
        {"Host": "evil.example", "Origin": PROXY},
    ],
    ids=str,
)
def test_foreign_hosts_and_origins_are_refused(address, headers):
    assert ask(address, **headers) == httpx.codes.FORBIDDEN


def test_websockets_have_the_same_guard(address):
    assert connect(f"ws://{address}/ws").recv() == "hello"
    assert connect(f"ws://{address}/ws", origin=PROXY).recv() == "hello"
    with pytest.raises(InvalidStatus, match="403"):
        connect(f"ws://{address}/ws", origin="http://evil.example")


@pytest.mark.parametrize("origins", [[], ["*"]], ids=str)
def test_without_a_list_of_origins_only_clients_pass(origins):
    with serve(*origins) as address:
        assert ask(address) == httpx.codes.OK
        assert {ask(address, Origin=f"http://{address}"), ask(address, Host="")} == {httpx.codes.FORBIDDEN}
