"""Runs that are really killed go on by themselves, not too often; one that was cancelled does not."""

import asyncio
import json
import os
import signal
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from prefect.blocks.notifications import CustomWebhookNotificationBlock
from prefect.client.orchestration import get_client
from prefect.states import AwaitingRetry, Cancelled, Cancelling, Completed, Crashed, Failed, Pending, Running, Scheduled

from deployments.runs import find_last_heartbeat
from deployments.watch import ATTEMPTS, RunWatcher, count_crashes, find_own_end, set_state

ENDLESS = {
    "model": {"hidden_dim": 8, "layer_dim": 1},
    "training": {"max_steps": 10**6, "patience": 10**6, "threads": 1},
}


def states(*made):
    for second, state in enumerate(made):
        state.timestamp = datetime(2024, 1, 1, tzinfo=UTC) + timedelta(seconds=second)
    return list(made)


def test_a_crash_told_twice_counts_once_and_a_restart_not_at_all():
    once = [Scheduled(), Pending(), Running(), Crashed(), Crashed()]
    assert count_crashes(states(*once)) == 1
    twice = [*once, Scheduled(), Pending(), Running(), Crashed()]
    assert count_crashes(states(*twice)[::-1]) == 2
    assert count_crashes(states(Scheduled(), Running(), Scheduled(), Running(), Completed())) == 0


def test_a_run_that_had_ended_by_itself_is_not_run_again():
    assert find_own_end(states(Running(), Completed(), Cancelled())).is_completed()
    assert find_own_end(states(Running(), Failed(), Cancelled())).is_failed()
    assert find_own_end(states(Running(), Cancelled())) is None
    assert find_own_end(states(Running(), Crashed(), Cancelled())) is None
    assert find_own_end(states(Cancelled())) is None


def process_of(run):
    """The process id of a flow run; None before and after."""
    for environment in Path("/proc").glob("[0-9]*/environ"):
        try:
            if f"PREFECT__FLOW_RUN_ID={run.id}".encode() in environment.read_bytes():
                return int(environment.parent.name)
        except OSError:
            continue
    return None


@pytest.mark.slow
def test_a_run_that_completed_while_it_was_interrupted_stays_completed(server, client):
    later = datetime.now(UTC) + timedelta(hours=1)
    deployment = client.read_deployment_by_name("retrain/killed")
    run = client.create_flow_run_from_deployment(deployment.id, state=Scheduled(scheduled_time=later))

    async def interrupt():
        async with get_client() as asynchronous:
            watch = RunWatcher(asynchronous, [deployment.id])
            await asynchronous.set_flow_run_state(run.id, Running(), force=True)
            async with watch.expect_interruption():
                await asynchronous.set_flow_run_state(run.id, Completed(), force=True)
                await asynchronous.set_flow_run_state(run.id, Cancelled(), force=True)

    asyncio.run(interrupt())
    assert client.read_flow_run(run.id).state.is_completed()


@pytest.mark.slow
def test_two_who_see_one_crash_start_one_run(server, client):
    later = datetime.now(UTC) + timedelta(hours=1)
    flow_id = client.read_deployment_by_name("retrain/killed").flow_id
    unwatched = client.create_deployment(flow_id=flow_id, name="unwatched")
    run = client.create_flow_run_from_deployment(unwatched, state=Scheduled(scheduled_time=later))
    client.set_flow_run_state(run.id, Crashed(), force=True)
    seen = client.read_flow_run(run.id)

    async def twice():
        async with get_client() as both:
            for _ in range(2):
                await set_state(both, seen, AwaitingRetry(scheduled_time=later))

    asyncio.run(twice())
    names = [state.name for state in client.read_flow_run_states(run.id)]
    assert names.count("AwaitingRetry") == 1


def heard(run):
    async def ask():
        async with get_client() as client:
            return await find_last_heartbeat(client, run=run, since=datetime.now(UTC) - timedelta(hours=1))

    return asyncio.run(ask())


@pytest.fixture
def start(client):
    """Start a run of a deployment with some parameters of its config changed."""

    def start(full_name, **changes):
        deployment = client.read_deployment_by_name(full_name)
        parameters = {**deployment.parameters, "config": {**deployment.parameters["config"], **changes}}
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    return start


@pytest.fixture
def kill(client, wait_for):
    """Kill the process of a run with the signal that cannot be caught, once the run is under way."""

    def kill(run):
        wait_for(f"{run.name} to run", lambda: client.read_flow_run(run.id).state.is_running())
        os.kill(wait_for("its process", lambda: process_of(run)), signal.SIGKILL)
        wait_for("the crash", lambda: not client.read_flow_run(run.id).state.is_running())

    return kill


@pytest.fixture
def told(client):
    """Subjects that reach a webhook saved as custom-webhook/watch."""
    subjects = []

    class Receiver(BaseHTTPRequestHandler):
        def do_POST(self):
            subjects.append(json.loads(self.rfile.read(int(self.headers["Content-Length"])))["subject"])
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_):
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Receiver) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        block = CustomWebhookNotificationBlock(
            name="watch", url=f"http://127.0.0.1:{server.server_port}", json_data={"subject": "{{subject}}"}
        )
        block.save("watch", overwrite=True)
        yield subjects
        server.shutdown()


@pytest.mark.slow
def test_killed_runs_go_on_hopeless_ones_end_and_cancelled_ones_stay(client, start, kill, wait_for, told):
    killed = start("retrain/killed", horizon=7)
    kill(killed)
    hopeless = start("retrain/hopeless", notify="custom-webhook/watch", advanced=ENDLESS)
    cancelled = start("retrain/unwanted", advanced=ENDLESS)
    wait_for("a run to cancel", lambda: client.read_flow_run(cancelled.id).state.is_running())
    client.set_flow_run_state(cancelled.id, Cancelling())
    for _ in range(ATTEMPTS):
        kill(hopeless)

    done = wait_for("the end", lambda: (now := client.read_flow_run(killed.id)).state.is_final() and now)
    assert done.state.is_completed(), done.state
    assert done.run_count == 2 and done.parameters == killed.parameters and done.parameters["config"]["horizon"] == 7
    names = [state.name for state in client.read_flow_run_states(killed.id)]
    assert heard(killed)  # heartbeats are on: where workers run, dead runs are found by them
    assert names[-7:] == ["Running", "Crashed", "AwaitingRetry", "Pending", "Submitting", "Running", "Completed"]

    lost = wait_for("giving up", lambda: (now := client.read_flow_run(hopeless.id)).state.is_failed() and now)
    assert lost.run_count == ATTEMPTS
    assert lost.state.message.startswith(f"Given up: it crashed {ATTEMPTS} times, last with: Process exited")
    given_up = f"retrain/hopeless given up: it crashed {ATTEMPTS} times"
    wait_for("the notification", lambda: any(subject.startswith(given_up) for subject in told))
    assert sum("stopped before its end" in subject for subject in told) == ATTEMPTS
    assert len(told) == ATTEMPTS + 1

    unwanted = client.read_flow_run(cancelled.id)
    assert unwanted.state.is_cancelled() and unwanted.run_count == 1
    for name in ("killed", "hopeless", "unwanted"):
        deployment = client.read_deployment_by_name(f"retrain/{name}")
        assert deployment.global_concurrency_limit.active_slots == 0
