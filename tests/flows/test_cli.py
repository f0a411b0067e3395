"""What the command line sets for its runs."""

from prefect.settings import PREFECT_API_URL, PREFECT_FLOWS_HEARTBEAT_FREQUENCY, temporary_settings

from flows.cli import use_run_settings


def test_only_runs_of_deployments_send_heartbeats():
    """The watch looks at those alone; a process of the command line would wait for the thread that sends them."""
    with temporary_settings({PREFECT_API_URL: "http://127.0.0.1:9/api", PREFECT_FLOWS_HEARTBEAT_FREQUENCY: 30}):
        with use_run_settings():
            assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() is None
            assert PREFECT_API_URL.value() == "http://127.0.0.1:9/api"
        assert PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value() == 30
