"""What the command line sets for its runs."""

import httpx
import pytest
from prefect.client.orchestration import get_client
from prefect.server.api.server import SubprocessASGIServer
from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, PREFECT_HOME, temporary_settings

from flows.cli import use_run_settings


def test_only_runs_of_deployments_send_heartbeats():
    """The watch looks at those alone; a process of the command line would wait for the thread that sends them."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        with use_run_settings():
            assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None
            assert PREFECT_API_URL.value() == "http://127.0.0.1:9/api"
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() == 30


@pytest.mark.slow
def test_the_temporary_server_is_closed_to_web_pages(tmp_path):
    with temporary_settings({PREFECT_HOME: tmp_path}, restore_defaults={PREFECT_API_URL}), use_run_settings():
        server = SubprocessASGIServer()  # the one that runs, as Prefect's own clients find it
        try:
            for page in ({"Origin": "http://evil.example"}, {"Origin": server.address}, {"Host": "evil.example"}):
                answer = httpx.post(f"{server.api_url}/flows/filter", json={}, headers=page)
                assert answer.status_code == httpx.codes.FORBIDDEN, page
            with get_client(sync_client=True) as client:
                assert client.read_flows() == []
        finally:
            server.stop()
