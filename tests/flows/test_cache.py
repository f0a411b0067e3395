"""The cache rule, in separate processes against a real server."""

import shutil
import signal
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from tests.waiting import wait_for

ROOT = Path(__file__).parents[2]
ALL = ["generate", "ingest", "window", "train", "evaluate", "gate", "bundle", "plot", "report"]
RIVALS = ["train", "evaluate", "evaluate champion", "gate", "bundle", "plot", "report"]
"""What a model beside a champion costs; the champion reads the windows that are there."""


@pytest.fixture
def csv(tmp_path):
    """A user's own file, and the arguments that train on it in seconds."""
    path = tmp_path / "sales.csv"
    write_csv(path)
    settings = ("context=28", "advanced.model.hidden_dim=8", "advanced.training.max_steps=20")
    return path, ["--data", path, "--horizon", "7", *(word for s in settings for word in ("--set", s))]


def write_csv(path, *, days=200, bump=0.0):
    rng = np.random.default_rng(0)
    t = np.arange(days)
    y = 50 + 10 * np.sin(2 * np.pi * t / 7) + rng.normal(size=days)
    y[100] += bump
    frame = pd.DataFrame({"shop": "a", "date": pd.date_range("2024-01-01", periods=days), "sold": y.round(3)})
    frame.to_csv(path, index=False)


HEAVY = {"torch", "pandas", "numpy", "pyarrow", "matplotlib", "scipy", "sqlalchemy", "jinja2", "obstore"}


def test_a_second_run_computes_nothing_and_says_so(cli, tiny, helpers):
    first = cli("--config", tiny)
    assert first["status"] == "promoted"
    assert helpers.computed(first) == ALL
    second = cli("--config", tiny)
    assert second["status"] == "unchanged"
    assert helpers.computed(second) == []
    assert second["model"] == first["model"]
    cli.environment["PYTHONPROFILEIMPORTTIME"] = "1"
    text, imported = cli.start("--config", tiny).communicate(timeout=120)
    assert "unchanged: all came from the cache" in text
    names = {line.rpartition("|")[2].strip() for line in imported.splitlines() if line.startswith("import time:")}
    assert "prefect" in names
    assert not names & HEAVY, "what computes nothing must not wait for them"


@pytest.mark.slow
def test_a_changed_hyper_parameter_trains_again_on_the_same_windows(cli, tiny, trained, helpers):
    changed = cli("--config", tiny, "--set", "advanced.training.learning_rate=0.01")
    assert helpers.computed(changed) == RIVALS
    assert "train" not in helpers.computed(cli("--config", tiny)), "changed back: what it asks for is there"


@pytest.mark.slow
def test_changed_bytes_at_the_same_path_run_again_what_they_change(cli, csv, helpers):
    path, arguments = csv
    assert helpers.computed(cli(*arguments)) == ALL[1:], "a file is there already"
    write_csv(path, bump=30.0)
    arguments += ["--promote", "never"]
    assert helpers.computed(cli(*arguments)) == ["ingest", "window", *RIVALS]
    # Other bytes, the same table: only ingest looks again, since what it makes has not changed.
    frame = pd.read_csv(path)
    frame.iloc[::-1].to_csv(path, index=False)
    assert helpers.computed(cli(*arguments)) == ["ingest"]
    write_csv(path)
    assert helpers.computed(cli(*arguments)) == []


@pytest.mark.slow
def test_a_changed_helper_runs_again_the_stages_that_contain_it(cli, tiny, trained, helpers):
    code = cli.folder / "code"
    for package in ("flows", "tasks", "lstm_model"):
        shutil.copytree(ROOT / package, code / package, ignore=shutil.ignore_patterns("__pycache__"))
    cli.code = code
    gates = code / "lstm_model" / "networks" / "gates.py"
    original = gates.read_text()
    gates.write_text(original + "\nADDED = 1\n")
    # The picture comes out the same, so the report that holds it is not written again.
    assert helpers.computed(cli("--config", tiny)) == ["plot"]
    gates.write_text(original)
    assert helpers.computed(cli("--config", tiny)) == []


@pytest.mark.slow
@pytest.mark.parametrize("damage", ["delete", "truncate"])
def test_a_damaged_artifact_is_made_again(cli, tiny, trained, helpers, damage):
    model = cli.folder / "store" / "tiny" / "artifacts" / "model" / trained["model"]["sha256"]
    if damage == "delete":
        shutil.rmtree(model)
    else:
        weights = model / "model.safetensors"
        weights.write_bytes(weights.read_bytes()[:100])
    again = cli("--config", tiny)
    assert {s: o for s, o in helpers.stages(again).items() if o != "cached"} == {"train": "repaired"}
    assert again["model"] == trained["model"], "the same key must make the same bytes"


@pytest.mark.slow
def test_generated_data_are_read_like_any_file_and_checked_like_any_artifact(cli, tiny, trained, helpers):
    (generated,) = (cli.folder / "store" / "tiny" / "artifacts" / "generated").glob("*/generated.parquet")
    assert pq.read_schema(generated).names == ["unique_id", "ds", "y"]
    generated.write_bytes(generated.read_bytes()[:-9] + b"PAR1PAR1!")
    again = cli("--config", tiny)
    assert {s: o for s, o in helpers.stages(again).items() if o != "cached"} == {"generate": "repaired"}
    other = cli("--config", tiny, "--set", "source.seed=1", "--promote", "never")
    assert helpers.computed(other)[:2] == ["generate", "ingest"]
    shards = cli("--config", tiny, "--set", "scaling.shards=2", "--promote", "never")
    assert helpers.stages(shards)["generate"] == "cached" and "gather series" in helpers.stages(shards)
    pd.testing.assert_frame_equal(pd.DataFrame(shards["scores"]), pd.DataFrame(again["scores"]), rtol=1e-6)
    _, errors = cli.fail("--config", tiny, "--set", "covariates.future=[holiday]")
    assert "covariates names the column holiday, but the data has: unique_id, ds, y" in errors
    _, errors = cli.fail("--config", tiny, "--set", "covariates.past=[y]")
    assert "the column y stands both in source.columns and in covariates" in errors


@pytest.mark.slow
def test_refresh_computes_everything(cli, tiny, trained, helpers):
    second = cli("--config", tiny, "--refresh")
    assert helpers.computed(second) == [stage for stage in ALL if stage not in ("gate", "bundle")]
    assert second["model"] == trained["model"] and second["status"] == "unchanged"


@pytest.mark.slow
def test_two_runs_at_once_compute_each_stage_once(cli, tiny, helpers):
    both = [cli.start("--json", "--config", tiny) for _ in range(2)]
    outcomes = [helpers.stages(helpers.finished(process)) for process in both]
    for stage in ALL:
        assert sorted(outcome[stage] for outcome in outcomes) == ["cached", "computed"], stage


@pytest.mark.slow
def test_a_run_that_waits_for_a_killed_one_takes_over(cli, tiny, helpers):
    slow = [
        "--json",
        "--config",
        tiny,
        "--set",
        "advanced.training.max_steps=4000",
        "--set",
        "advanced.training.patience=1000",
    ]
    killed = cli.start(*slow)
    store, log = cli.folder / "store" / "tiny", cli.folder / "log"
    wait_for("windows", lambda: list(store.glob("artifacts/windows/*/manifest.json")), process=killed)
    with log.open("w") as errors:
        waiting = cli.start(*slow, stderr=errors)
    wait_for(
        "the other run to wait", lambda: "train: another run computes the same" in log.read_text(), process=waiting
    )
    assert killed.poll() is None, "it must still be training"
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    outcome = helpers.finished(waiting)
    assert helpers.stages(outcome)["train"] == "computed"
    assert not list((cli.folder / "store" / "tiny" / "tmp").iterdir())


@pytest.mark.slow
def test_two_pipelines_at_once_do_not_touch_each_other(cli, tiny, helpers):
    other = cli.folder / "other.yaml"
    other.write_text(tiny.read_text().replace("name: tiny", "name: other").replace("num_steps: 300", "num_steps: 320"))
    a, b = (helpers.finished(p) for p in [cli.start("--json", "--config", path) for path in (tiny, other)])
    assert helpers.computed(a) == helpers.computed(b) == ALL
    assert a["model"] != b["model"]
    assert sorted(p.name for p in (cli.folder / "store").iterdir()) == ["other", "tiny"]


@pytest.mark.slow
def test_the_store_can_be_moved(cli, tiny, trained, helpers):
    (cli.folder / "store").rename(cli.folder / "elsewhere")
    moved = cli("--config", tiny, "--store", cli.folder / "elsewhere")
    assert helpers.computed(moved) == []
