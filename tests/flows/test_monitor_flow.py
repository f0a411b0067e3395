"""The monitor as a flow: what it leaves for people, and that drift starts one retraining for each evidence."""

import json
import urllib.request

import numpy as np
import pandas as pd
import pytest
from prefect.settings import PREFECT_API_URL, temporary_settings

from lstm_model.contracts.artifact import version_of
from lstm_model.contracts.bundle_card import InputShape
from lstm_model.contracts.envelope import BacktestEnvelope
from lstm_model.contracts.settings import ModelSpec, Monitoring, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.settings_file import load_config
from lstm_model.forecast.bundle import save_bundle
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.lifecycle.drift import is_recovering
from lstm_model.lifecycle.envelope import envelope
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.networks.models import build_network
from lstm_model.storage.notes import write_note
from lstm_model.storage.store import Store
from tests.factories import bundle_card, envelope_of

DAY = 24
START = np.datetime64("2024-01-01T00:00:00", "us")
TEST_DAYS = 8
CONFIG = """
name: {name}
source: {{kind: files, path: data.csv, columns: {{unique_id: id, ds: time, y: y}}}}
horizon: 24
"""
PLAN = Plan(
    window=WindowSpec(
        context=48, horizon=24, season=24, frequency="h", stride=1, evaluation_stride=1, test_steps=TEST_DAYS * DAY,
        validation_steps=0, align="calendar", pad_short=True,
    ),
    model=ModelSpec(
        kind="mixture", hidden_dim=4, layer_dim=1, segment=24, dropout=0, normalisation="mean_std", levels=(0.8,)
    ),
    training=TrainingSpec(
        seed=0, device="cpu", precision="fp32", threads=1, max_steps=1, batch_size=1, learning_rate=0.1,
        weight_decay=0, gradient_clip=1, patience=1, refit=False,
    ),
)  # fmt: skip


class Problem:
    """A store with a champion, a file with data, and forecasts that were issued day by day.

    Forecasts are the value a week before: from day `changed_on` on the shape is another, and they are wrong.
    """

    def __init__(self, folder, name, *, changed_on=30, days=50):
        rng = np.random.default_rng(0)
        self.folder, self.name, self.store = folder, name, Store(folder / "store" / name)
        steps = np.arange(days * DAY)
        phase = 2 * np.pi * steps / DAY + 2.5 * (steps >= changed_on * DAY)
        self.y_KT = 10 + np.stack([np.sin(phase + k) for k in range(3)]) + rng.normal(0, 0.2, (3, len(steps)))
        (folder / "pipeline.yaml").write_text(CONFIG.format(name=name))
        self.arrive(days)
        self.config = load_config(folder / "pipeline.yaml")

    def arrive(self, days):
        """The file as it is after so many days."""
        last = days * DAY
        frame = pd.DataFrame({"time": np.tile(self.time(np.arange(last)), 3), "y": self.y_KT[:, :last].ravel()})
        frame.insert(0, "id", np.repeat(["a", "b", "c"], last))
        frame.to_csv(self.folder / "data.csv", index=False)

    def time(self, steps):
        return START + np.asarray(steps) * np.timedelta64(1, "h")

    def forecasts(self, days):
        """The forecasts that are issued at the end of these days."""
        cutoff = np.asarray(list(days)) * DAY - 1
        ds_CH = cutoff[:, None] + np.arange(1, DAY + 1)
        median = self.y_KT[:, ds_CH - 7 * DAY].ravel().astype(np.float32)
        return pd.DataFrame(
            {
                "unique_id": np.repeat(["a", "b", "c"], ds_CH.size),
                "cutoff": np.tile(np.repeat(self.time(cutoff), DAY), 3),
                "ds": np.tile(self.time(ds_CH.ravel()), 3),
                "step": np.tile(np.arange(1, DAY + 1, dtype=np.int32), 3 * len(cutoff)),
                "mean": median,
                "median": median,
                "lo_80": median - np.float32(0.36),
                "hi_80": median + np.float32(0.36),
            }
        )

    def crown(self, first_day):
        """A champion whose test are the days before this one."""
        tested = self.forecasts(range(first_day - TEST_DAYS, first_day))
        steps = (tested["ds"].to_numpy() - START) // np.timedelta64(1, "h")
        tested = tested.assign(y=self.y_KT[tested["unique_id"].map({"a": 0, "b": 1, "c": 2}), steps])
        tested = tested.rename(columns={"median": "lstm"})
        scales = pd.DataFrame({"unique_id": ["a", "b", "c"], "mase_scale": 0.25, "rmsse_scale": 0.3})
        shape = InputShape(context=48, horizon=DAY, season=DAY, past=0, future=0, static=0)
        usual = envelope(tested, scales=scales, spec=PLAN.window)
        card = bundle_card(plan=PLAN.model_dump(mode="json"), envelope=usual)
        with self.store.create("bundle") as draft:
            save_bundle(draft.folder, Forecaster(build_network(PLAN.model, shape, {}), PLAN.model, shape), card)
            scales.to_parquet(draft.folder / "scales.parquet")
        Registry(self.store).promote(draft.artifact, by="test", why="test", instead_of="any")
        return version_of(draft.artifact)

    def monitor(self):
        from flows.monitor import monitor

        return monitor(self.config, store=str(self.folder / "store"))


def ask(api_url, path, body):
    request = urllib.request.Request(
        f"{api_url}/{path}", data=json.dumps(body).encode(), headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def deploy(api_url, name):
    """A deployment retrain/NAME that nobody serves: its runs stay scheduled."""
    flow = ask(api_url, "flows/", {"name": "retrain"})
    return ask(api_url, "deployments/", {"name": name, "flow_id": flow["id"]})["id"]


def runs_of(api_url, deployment):
    found = ask(
        api_url, "flow_runs/filter", {"deployments": {"id": {"any_": [deployment]}}, "sort": "EXPECTED_START_TIME_ASC"}
    )
    return [(run["id"], run["parameters"]["reason"]) for run in found]


@pytest.fixture
def here(api_url):
    """Flows that are called here use the session's server."""
    with temporary_settings({PREFECT_API_URL: api_url}):
        yield api_url


def test_a_champion_is_new_until_its_forecasts_for_most_series_are_old(tmp_path):
    problem = Problem(tmp_path, "panel", days=24)
    ledger, usual, end = Ledger(problem.store), envelope_of(period_steps=DAY, frequency="h"), problem.time(24 * DAY - 1)

    def is_new(version):
        issued = ledger.cutoffs()
        return is_recovering(issued[issued["model_version"] == version], usual, end)

    assert is_new("m")
    ended = problem.forecasts([7]).query("unique_id == 'a'")
    ledger.append(pd.concat([ended, problem.forecasts([22]).query("unique_id != 'a'")]), model_version="m")
    assert is_new("m"), "one series ended long ago"
    ledger.append(problem.forecasts([7]), model_version="n")
    assert not is_new("n")


@pytest.mark.slow
def test_drift_starts_one_retraining_for_each_evidence(here, tmp_path, monkeypatch):
    told = []  # that a message arrives is tested with `tell` itself
    monkeypatch.setattr("tasks.actions.monitor.tell", lambda *message: told.append(message))
    problem = Problem(tmp_path, "drifting")
    assert problem.monitor().status == "no champion"
    champion = problem.crown(20)
    assert problem.monitor().status == "no forecasts", "and it ends well"
    Ledger(problem.store).append(problem.forecasts(range(20, 49)), model_version=champion)
    problem.arrive(29)
    normal = problem.monitor()
    assert (normal.status, normal.num_periods, normal.retraining) == ("normal", 9, "")

    problem.arrive(33)
    alone = problem.monitor()
    assert alone.status == "drift" and alone.champion == champion
    assert alone.retraining.startswith("python -m flows.retrain --config"), "no deployment here: the command"

    deployment = deploy(here, "drifting")
    first = problem.monitor()
    assert problem.monitor().retraining == first.retraining, "the same evidence"
    ((_, reason),) = runs_of(here, deployment)
    assert reason.startswith("drift: ") and "times what the model's test showed" in reason
    problem.arrive(36)
    again = problem.monitor()
    assert again.evidence != first.evidence
    assert len(runs_of(here, deployment)) == 2, "the error is still there"

    for state, num_runs, told_state in (
        *[("CANCELLED", 3 + k, "is Scheduled") for k in range(4)],  # as often as it may be: another one was under way
        ("CRASHED", 6, "is Crashed; `serve`"),
        ("RUNNING", 6, "is Running"),
        ("CANCELLED", 7, "is Scheduled"),  # by a person: an attempt
        ("FAILED", 8, "is Scheduled"),
        ("FAILED", 8, "no other one is started"),
    ):
        latest = runs_of(here, deployment)[-1][0]
        ask(here, f"flow_runs/{latest}/set_state", {"state": {"type": state}, "force": True})
        assert told_state in problem.monitor().retraining, state
        assert len(runs_of(here, deployment)) == num_runs, state

    assert [subject for _, subject, _ in told] == ["drifting: drift"] * 2, "once for each evidence"
    assert again.retraining in told[1][2]

    record = json.loads((problem.store.root / "monitor.json").read_text())
    assert record["evidence"] == again.evidence and len(record["periods"]) == 16
    assert (problem.store.root / "monitor.png").read_bytes().startswith(b"\x89PNG")
    (shown,) = ask(here, "artifacts/latest/filter", {"artifacts": {"key": {"any_": ["monitor-drifting"]}}})
    assert "data:image/png;base64" in shown["data"] and "**Drift.**" in shown["data"]
    problem.config = problem.config.model_copy(update={"monitoring": Monitoring(retrain=False)})
    assert problem.monitor().retraining.startswith("not started")
    assert len(runs_of(here, deployment)) == 8


@pytest.mark.slow
def test_a_backtest_of_the_same_plan_says_better_what_is_normal(here, tmp_path):
    problem = Problem(tmp_path, "compared", changed_on=99)
    champion = problem.crown(20)
    Ledger(problem.store).append(problem.forecasts(range(20, 29)), model_version=champion)
    assert problem.monitor().compared_with == "the champion's own test, 8 periods of 24 steps"
    own = json.loads((problem.store.path(Registry(problem.store).get("champion")) / "bundle.json").read_text())["card"][
        "envelope"
    ]
    longer = own | {"num_periods": 32, "log_error": own["log_error"] * 4, "miss": own["miss"] * 4}
    kept = {"plan": PLAN.model_dump(mode="json"), "envelope": longer, "series_sha256": "0" * 64}
    write_note(problem.store.backend, "envelope.json", BacktestEnvelope.model_validate(kept))
    assert problem.monitor().compared_with == "the backtest, 32 periods of 24 steps"
    kept["plan"]["model"]["hidden_dim"] = 8
    write_note(problem.store.backend, "envelope.json", BacktestEnvelope.model_validate(kept))
    assert problem.monitor().compared_with.startswith("the champion's own test")
