"""What a page of another web site tries with the server that `serve` started, as a browser would send it."""

import json

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

pytestmark = pytest.mark.slow

EVIL = "http://evil.example"
SHELL = [{"prefect.deployments.steps.run_shell_script": {"script": "id"}}]


@pytest.fixture
def deployment(client):
    return client.read_deployment_by_name("retrain/unwanted")


@pytest.fixture(
    params=[
        {"Origin": EVIL},
        {"Origin": "null"},  # a sandboxed frame, a file
        {"Origin": "http://127.0.0.1:1"},  # another program with pages on this machine
        {"Host": "evil.example"},  # a site whose name was made to point here
        {"Host": "127.0.0.1.evil.example:4200", "Origin": EVIL},
    ],
    ids=str,
)
def page(request, server):
    """Send requests as a page; each answers with its status."""
    with httpx.Client(base_url=server.api_url, headers=request.param) as http:
        yield http


def test_a_foreign_page_reads_changes_and_starts_nothing(page, client, deployment, runs):
    before = {run.id for run in runs("unwanted")}
    path, plain = f"/deployments/{deployment.id}", {"Content-Type": "text/plain"}
    answers = [
        page.get(path),
        page.get("/csrf-token?client=page"),
        page.post("/deployments/filter", json={}),
        page.post("/deployments/filter", content="{}", headers=plain),  # the kind that is sent without a preflight
        page.patch(path, json={"pull_steps": SHELL}),
        page.post(f"{path}/create_flow_run", json={}),
        page.post(f"{path}/create_flow_run", content="{}", headers=plain),
        page.options(path, headers={"Access-Control-Request-Method": "PATCH"}),
    ]
    assert {answer.status_code for answer in answers} == {httpx.codes.FORBIDDEN}
    assert not any("access-control-allow-origin" in answer.headers for answer in answers)
    assert all("PREFECT_UI_URL" in answer.text for answer in answers)  # what to do if the page is one's own
    after = client.read_deployment(deployment.id)
    assert (after.updated, after.pull_steps) == (deployment.updated, deployment.pull_steps)
    assert {run.id for run in runs("unwanted")} == before


@pytest.mark.parametrize("path", ["events/out", "events/in", "logs/out"])
def test_a_foreign_page_opens_no_websocket(server, path):
    url = f"{server.api_url.replace('http', 'ws', 1)}/{path}"
    with pytest.raises(InvalidStatus) as refused, connect(url, origin=EVIL, subprotocols=["prefect"]):
        pass
    assert refused.value.response.status_code == httpx.codes.FORBIDDEN
    own = server.api_url.removesuffix("/api")
    with connect(url, origin=own, subprotocols=["prefect"]) as allowed:
        allowed.send(json.dumps({"type": "auth", "token": None}))
        assert json.loads(allowed.recv(timeout=30)) == {"type": "auth_success"}


def test_what_has_no_token_changes_nothing(server, deployment):
    """A program that is no browser, and sends neither Origin nor a token."""
    answer = httpx.post(f"{server.api_url}/deployments/{deployment.id}/create_flow_run", content="{}")
    assert (answer.status_code, answer.json()) == (httpx.codes.FORBIDDEN, {"detail": "Missing CSRF token."})


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_the_own_page_is_served_and_may_ask(server, host):
    port = httpx.URL(server.api_url).port
    own = f"http://{host}:{port}"
    assert httpx.get(own, headers={"Accept": "text/html"}, follow_redirects=True).status_code == httpx.codes.OK
    wanted = {"Origin": own, "Access-Control-Request-Method": "POST"}
    wanted["Access-Control-Request-Headers"] = "content-type,prefect-csrf-token,prefect-csrf-client"
    answer = httpx.options(f"{server.api_url}/deployments/filter", headers=wanted)
    assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (httpx.codes.OK, own)
