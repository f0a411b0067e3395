"""Sixty days of production in accelerated time, through the real deployments of a real server.

Every four days data arrive, the champion forecasts, the monitor looks; now and then the model is retrained. In
between: a bad delivery, a training and a promotion that are killed, a server that is killed, and a drift.
"""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from contextlib import suppress
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterDeploymentId
from prefect.settings import PREFECT_API_URL, PREFECT_HOME, temporary_settings

from deployments.server import SERVER_SETTINGS
from lstm_model.contracts.artifact import version_of
from lstm_model.contracts.bundle_card import read_bundle_card
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.forecast.bundle import load_bundle
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Store
from tests.deployments.conftest import Serving, free_port, wait_for

HISTORY_DAYS, DAYS, EVERY_DAYS = 80, 60, 4
RETRAIN_AT = (8, 20, 48)
BAD_DELIVERY, KILLED_TRAINING, DRIFT, KILLED_PROMOTION, SERVER_KILLED = 12, 20, 28, 48, 52
IDS = ("north", "south", "east", "west")
START = pd.Timestamp("2024-01-01")
SECONDS = 300

PIPELINE = """
name: load
source: {kind: files, path: ../data/*.csv, columns: {unique_id: meter, ds: time, y: kwh}}
frequency: h
horizon: 48
context: 168
monitoring: {periods_per_false_alarm: 100}
advanced:
  window: {test_steps: 240, validation_steps: 96}
  model: {hidden_dim: 16, layer_dim: 1, segment: 24, levels: [0.8]}
  training: {max_steps: 200, threads: 1}
"""


def truth():
    """Hourly loads with a day and a weak week; after the drift only every other day has its peak."""
    hours = np.arange((HISTORY_DAYS + DAYS) * 24)
    day, parity = hours % 24, (hours // 24) % 2
    drifted = hours >= (HISTORY_DAYS + DRIFT) * 24
    frames = []
    for number, unique_id in enumerate(IDS):
        rng = np.random.default_rng(number)
        peak = np.exp(-0.5 * ((day - 8 - 3 * number) / 3.0) ** 2)
        shape = np.where(drifted, 2 * parity * peak, peak) + 0.2 * np.sin(2 * np.pi * hours / 168)
        y = 10.0 ** (number % 2 + 1) * (3 + shape + 0.1 * rng.normal(size=len(hours)))
        frames.append(
            pd.DataFrame({"meter": unique_id, "time": START + pd.to_timedelta(hours, "h"), "kwh": y.round(3)})
        )
    return pd.concat(frames)


class World:
    """The data that have arrived, and the server, the deployments and the store that deal with them."""

    def __init__(self, folder):
        self.folder, self.truth = folder, truth()
        self.store = Store(folder / "store" / "load")
        (folder / "data").mkdir()
        (folder / "pipelines").mkdir()
        (folder / "pipelines" / "load.yaml").write_text(PIPELINE)
        self.port = free_port()
        self.api_url = f"http://127.0.0.1:{self.port}/api"
        self.server = None

    def start_server(self):
        environment = {**os.environ, **SERVER_SETTINGS, "PREFECT_SERVER_API_PORT": str(self.port)}
        environment |= {"PREFECT_HOME": str(self.folder / "home")}
        environment.pop("PREFECT_API_URL", None)
        with (self.folder / "server.log").open("a") as log:
            command = [sys.executable, "-m", "prefect", "server", "start"]
            self.server = subprocess.Popen(command, env=environment, stdout=log, stderr=log, start_new_session=True)
        wait_for("the server", self.answers, seconds=120)

    def kill_server(self):
        os.killpg(self.server.pid, signal.SIGKILL)
        self.server.wait()

    def answers(self):
        try:
            with urllib.request.urlopen(f"{self.api_url}/health", timeout=2) as answer:
                return answer.status == 200
        except OSError:
            return False

    def deliver(self, first_day, last_day, *, spoil=False):
        """A file with the days [first, last), counted from the end of the history."""
        since, until = (START + pd.Timedelta(days=HISTORY_DAYS + day) for day in (first_day, last_day))
        part = self.truth[(self.truth["time"] >= since) & (self.truth["time"] < until)]
        file = self.folder / "data" / f"day-{first_day + HISTORY_DAYS:03}.csv"
        text = part.to_csv(index=False)
        file.write_text(text.replace(text.splitlines()[5].split(",")[2], "sensor offline", 1) if spoil else text)
        return file

    def start(self, flow, client, **parameters):
        deployment = client.read_deployment_by_name(f"{flow}/load")
        return client.create_flow_run_from_deployment(deployment.id, parameters=parameters)

    def finished(self, run, client):
        """The run once it has ended; a server that is away is waited for."""

        def look():
            try:
                now = client.read_flow_run(run.id)
            except OSError:
                return None
            except Exception as error:
                if "connect" not in str(error).lower():
                    raise
                return None
            state = now.state
            # What `serve` interrupts is Cancelled for a moment, until it is put back and goes on.
            goes_on = state.is_crashed() or (state.is_cancelled() and "shutting down" in (state.message or ""))
            return now if state.is_final() and not goes_on else None

        return wait_for(f"run {run.name}", look, seconds=SECONDS)

    def wait_until_running(self, client, runs):
        wait_for("all to run", lambda: all(client.read_flow_run(run.id).state.is_running() for run in runs))

    def done(self, client, *flows, **parameters):
        """Run these deployments at once; all must end well."""
        runs = [self.finished(run, client) for run in [self.start(flow, client, **parameters) for flow in flows]]
        for run in runs:
            assert run.state.is_completed(), (run.name, run.state.message)
        self.check_champion()
        return runs

    def kill_when(self, run, happened):
        """Kill the process of a run as soon as something has happened."""

        def process():
            found = [p for p in processes() if f"PREFECT__FLOW_RUN_ID={run.id}" in p[1]]
            return found and found[0][0]

        pid = wait_for("the process of the run", process, seconds=SECONDS)
        deadline = time.monotonic() + SECONDS
        while not happened():
            assert time.monotonic() < deadline, "it never happened"
            time.sleep(0.005)
        os.kill(pid, signal.SIGKILL)

    def check_champion(self):
        """Whatever happened: there is a champion, its files are whole, it loads, and it was gated."""
        champion = Registry(self.store).get("champion")
        if champion is not None:
            self.store.verify(champion)
            load_bundle(self.store.path(champion))
            assert read_bundle_card(self.store.path(champion)).decision.verdict == "promote"

    def drift_runs(self, client):
        deployment = client.read_deployment_by_name("retrain/load")
        wanted = FlowRunFilter(deployment_id=FlowRunFilterDeploymentId(any_=[deployment.id]))
        runs = client.read_flow_runs(flow_run_filter=wanted, limit=200)
        return [run for run in runs if str(run.parameters.get("reason", "")).startswith("drift")]

    def errors(self):
        """The ledger's mean scaled error by the day of the cutoff."""
        history = self.truth[self.truth["time"] < START + pd.Timedelta(days=HISTORY_DAYS)]
        scale = measure_scales({i: g["kwh"].to_numpy() for i, g in history.groupby("meter")}, season=24)
        forecasts = Ledger(self.store).read().merge(
            self.truth, left_on=["unique_id", "ds"], right_on=["meter", "time"]
        ).merge(scale, on="unique_id")  # fmt: skip
        error = (forecasts["kwh"] - forecasts["median"]).abs() / forecasts["mase_scale"]
        day = (forecasts["cutoff"] - START).dt.days + 1 - HISTORY_DAYS
        return error.groupby(day).mean()


def processes():
    """Process ids with their environments."""
    for file in Path("/proc").glob("[0-9]*/environ"):
        with suppress(OSError):
            yield int(file.parent.name), file.read_text(errors="replace")


@pytest.fixture
def world(tmp_path, migrated_home):
    shutil.copytree(migrated_home, tmp_path / "home")
    world = World(tmp_path)
    world.start_server()
    arguments = ["--pipelines", tmp_path / "pipelines", "--store", tmp_path / "store"]
    settings = {"home": tmp_path / "home", "api_url": world.api_url, "PREFECT_RUNNER_POLL_FREQUENCY": "1"}
    try:
        with (
            Serving(tmp_path / "serve.log", *arguments, **settings) as serving,
            temporary_settings({PREFECT_API_URL: world.api_url, PREFECT_HOME: tmp_path / "home"}),
        ):
            world.serving = serving.wait_until_ready()
            yield world
    finally:
        world.kill_server()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_sixty_days_of_production(world):
    client = get_client(sync_client=True)
    world.deliver(-HISTORY_DAYS, 0)
    world.done(client, "retrain")
    expected_cutoffs, told = [], set()
    for day in range(0, DAYS, EVERY_DAYS):
        if day:
            deliver_and_survive(world, client, day)
        expected_cutoffs.append(START + pd.Timedelta(days=HISTORY_DAYS + day) - pd.Timedelta(hours=1))
        if day == SERVER_KILLED:
            runs = [world.start(flow, client) for flow in ("forecast", "monitor")]
            world.wait_until_running(client, runs)
            world.kill_server()
            world.start_server()
            for run in (world.finished(run, client) for run in runs):
                assert run.state.is_completed(), (run.name, run.state.message)
        else:
            world.done(client, "forecast", "monitor")
        for run in world.drift_runs(client):
            if run.id not in told:
                assert world.finished(run, client).state.is_completed(), run.state.message
                told.add(run.id)
        world.check_champion()
        if day in RETRAIN_AT:
            retrain_and_survive(world, client, day)

    ledger = Ledger(world.store).read()
    assert not ledger.duplicated(["unique_id", "cutoff", "model_version", "step"]).any()
    issued = ledger.groupby(["cutoff", "model_version"]).size()
    assert list(issued.index.get_level_values("cutoff")) == expected_cutoffs, "one forecast each, none lost"
    assert (issued == len(IDS) * 48).all()

    errors = world.errors()
    print(errors.to_string(), "\n", [(run.name, run.parameters["reason"]) for run in world.drift_runs(client)])
    print("\n".join(f"{c.at} {c.champion} {c.by} {c.why}" for c in Registry(world.store).history()))
    before, after = errors[errors.index < DRIFT - 2].mean(), errors[errors.index >= DAYS - 6].mean()
    peak = errors[(errors.index >= DRIFT - 2) & (errors.index < DRIFT + 6)].max()
    assert peak > 2 * before, "the drift hurts"
    assert world.drift_runs(client), "the monitor asks for a retraining"
    assert after < (before + peak) / 2 and after < 0.5 * peak, "which repairs the error"
    healed = version_of(Registry(world.store).get("champion"))
    assert healed != ledger[ledger["cutoff"] < expected_cutoffs[DRIFT // EVERY_DAYS]]["model_version"].iloc[-1]


def deliver_and_survive(world, client, day):
    """New data; one delivery is bad, and is mended when the message has told what is wrong with it."""
    if day != BAD_DELIVERY:
        world.deliver(day - EVERY_DAYS, day)
        return
    rows = len(Ledger(world.store).read())
    file = world.deliver(day - EVERY_DAYS, day, spoil=True)
    refused = world.finished(world.start("forecast", client), client)
    assert refused.state.is_failed() and "sensor offline" in refused.state.message, refused.state.message
    assert len(Ledger(world.store).read()) == rows
    assert world.deliver(day - EVERY_DAYS, day) == file


def retrain_and_survive(world, client, day):
    """A retraining; one is killed in the middle of the training, one where the bundle has only to be promoted."""
    if day not in (KILLED_TRAINING, KILLED_PROMOTION):
        world.done(client, "retrain")
        return
    run = world.start("retrain", client)
    if day == KILLED_TRAINING:
        world.kill_when(run, lambda: list((world.store.root / "checkpoints").glob("*")))
    else:
        reports = set((world.store.root / "artifacts" / "report").glob("*"))
        world.kill_when(run, lambda: set((world.store.root / "artifacts" / "report").glob("*")) - reports)
    world.check_champion()
    again = world.finished(run, client)
    assert again.state.is_completed() and again.run_count == 2, (again.state, again.run_count)
    world.check_champion()
