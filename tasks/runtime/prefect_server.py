"""Serve Prefect's API and UI to the hosts and web origins that they are meant for, and to no others.

A page of any web site can send requests to a server on the reader's machine, and Prefect's server takes them: the page
could change a deployment and start it. So requests and websockets with a foreign Origin are refused, and those with a
foreign Host: a page sends one if the name of its own site was made to point to this machine (DNS rebinding).
"""

from __future__ import annotations

from functools import cache
from urllib.parse import urlsplit

import httpx
from prefect.settings import PREFECT_SERVER_CORS_ALLOWED_ORIGINS
from starlette.datastructures import Headers
from starlette.responses import PlainTextResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocketClose

LOCALHOST = "127.0.0.1"
APP = "tasks.runtime.prefect_server:create_guarded_app"
"""What uvicorn starts."""


@cache
def _make_client() -> httpx.Client:
    """Return a client that keeps no connections; to make one costs a hundred times what a request does."""
    return httpx.Client(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


def is_healthy(api_url: str, *, timeout_seconds: float = 5) -> bool:
    """Return whether a Prefect API answers there."""
    try:
        answer = _make_client().get(f"{api_url}/health", timeout=timeout_seconds)
        return answer.status_code == httpx.codes.OK and answer.json() is True
    except (httpx.HTTPError, ValueError):
        return False


def create_guarded_app() -> ASGIApp:
    """Return Prefect's app, open to the origins that PREFECT_SERVER_CORS_ALLOWED_ORIGINS lists and to local clients."""
    return _guard()


def create_temporary_app() -> ASGIApp:
    """Return Prefect's app for one run: without the UI and what looks after deployments; guarded as the other."""
    return _guard(ephemeral=True)


def _guard(*, ephemeral: bool = False) -> ASGIApp:
    from prefect.server.api.server import create_app  # takes seconds, and only the server's own process needs it

    app = create_app(ephemeral=ephemeral, final=True)
    origins = [origin for origin in PREFECT_SERVER_CORS_ALLOWED_ORIGINS.value().split(",") if origin]
    app.add_middleware(OriginGuard, origins=origins)
    return app


class OriginGuard:
    """A layer that refuses what a foreign page sends."""

    def __init__(self, app: ASGIApp, origins: list[str]) -> None:
        self.app = app
        self.origins = set(origins)
        self.hosts = {LOCALHOST, "localhost", *(urlsplit(origin).hostname for origin in origins)} - {None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer 403, or pass the request on."""
        answer = self.app
        if scope["type"] in ("http", "websocket") and (refusal := self._explain_refusal(Headers(scope=scope))):
            answer = PlainTextResponse(refusal, 403) if scope["type"] == "http" else WebSocketClose()
        await answer(scope, receive, send)

    def _explain_refusal(self, headers: Headers) -> str | None:
        host, origin = headers.get("host", ""), headers.get("origin")
        way_out = "If people shall open the UI there, set PREFECT_UI_URL to its address for the server\n"
        if _parse_hostname(host) not in self.hosts:
            return f"refused: this server is not known as {host!r}. {way_out}"
        if origin is not None and origin not in self.origins:
            return f"refused: pages of {origin!r} may not use this server. {way_out}"
        return None


def _parse_hostname(host: str) -> str | None:
    try:
        return urlsplit(f"//{host}").hostname
    except ValueError:  # such as [::1
        return None
