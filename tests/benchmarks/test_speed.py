"""A small slice of each speed benchmark: that it runs and tells the truth, not how fast it is."""

import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks import m4, throughput, time_to_accuracy, tutorial
from lstm_model.forecast.forecaster import find_input_shape
from lstm_model.networks.models import build_network

PLAIN = Path("/sys/kernel/mm/transparent_hugepage/enabled")


def test_ours_and_the_bare_loop_train_one_architecture(monkeypatch, tmp_path, one_thread):
    monkeypatch.setattr(throughput, "BATCH", 8)
    throughput.make_series(count=2, length=250).to_parquet(tmp_path / "series.parquet")
    windows = throughput.read(tmp_path / "series.parquet")
    assert len(windows) == 2 * (250 - throughput.CONTEXT - throughput.HORIZON + 1)
    runs = []
    for name in ("ours", "bare"):
        row = throughput.work(name, windows, steps=1)
        assert row["seconds"] > 0 and row["gemm_gflops"] > 0 and np.isfinite(row["loss"])
        runs.append({"contender": name, "threads": 1, "round": 0, **row})
    ours = throughput.plan(1)
    network = throughput.Plain()
    built = build_network(ours.model, find_input_shape(windows, season=24))
    assert [p.shape for p in built.parameters()] == [p.shape for p in network.parameters()]
    assert "| 1 | ours |" in throughput.table(throughput.rows_of(runs))


def test_mini_batches_learn_the_wave_too(one_thread):
    """Three seeds gave 0.000005 to 0.00005 after 100 steps of 64 windows; naive errs 0.005."""
    assert tutorial.run("fast", seed=0)["mse"] < 0.0002


def test_the_preset_is_the_script(one_thread):
    preset, script = (tutorial.run(case, seed=3, epochs=2) for case in ("preset", "script"))
    assert preset["mse"] == script["mse"]


def test_the_protocol_gives_the_published_seasonal_naive():
    if not (m4.DATA / "M4-Hourly-train.csv").exists():
        pytest.skip("M4-Hourly is not there; set FORECAST_DATA")
    train, test = m4.read()
    naive = np.stack([np.tile(train.loc[name].dropna().to_numpy()[-24:], 2) for name in train.index])
    scores = m4.scores(naive, train, test)
    assert (round(scores["smape"], 3), round(scores["mase"], 3)) == (13.912, 1.193)
    longer = m4.joined(train.iloc[:3], test.iloc[:3])
    assert list(longer.iloc[0].dropna())[-48:] == list(test.iloc[0])


def test_the_time_to_a_goal_is_that_of_the_fastest_row():
    runs = [{"steps": n, "owa": o, "seconds": s} for n, o, s in ((3, 0.5, 9.0), (2, 0.6, 2.0), (1, 0.9, 1.0))]
    rest = {"contender": "ours", "whole_seconds": 9.0, "smape": 1.0, "mase": 1.0}
    rows = time_to_accuracy.rows_of([{**rest, **run, "seconds": run["seconds"] + k} for run in runs for k in range(3)])
    assert [row["runs"] for row in rows] == [3, 3, 3]
    assert rows[1]["seconds"] == {"median": 3.0, "low": 2.0, "high": 4.0}
    assert time_to_accuracy.reached(rows, 0.81) == rows[1]
    assert time_to_accuracy.reached(rows, 0.47) is None


@pytest.mark.slow
@pytest.mark.parametrize("library", ["neuralforecast", "darts"])
def test_a_peer_takes_a_step(library, tmp_path):
    if not time_to_accuracy.PEERS.exists():
        pytest.skip("the peers are not installed; make bench-peers")
    random = np.random.default_rng(0)
    train = pd.DataFrame(random.random((3, 400)) + 1, index=["a", "b", "c"])
    test = pd.DataFrame(random.random((3, 48)) + 1, index=train.index)
    (run,) = time_to_accuracy.peer(library, train, test, tmp_path, ["1"], ["--threads", "1"])
    assert run["steps"] == 1 and run["owa"] > 0 and run["versions"][library]


@pytest.mark.skipif(not PLAIN.exists() or "[never]" in PLAIN.read_text(), reason="no large memory pages here")
def test_flows_ask_for_large_pages():
    """A tensor of 64 MB is there after some hundred page faults instead of 16,384."""
    code = """
import json, resource, sys
import torch
exec(sys.argv[1])
faults = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_minflt
before = faults()
torch.zeros(16 * 2**20).add_(1)
print(json.dumps(faults() - before))
"""
    environment = {k: v for k, v in os.environ.items() if k != "THP_MEM_ALLOC_ENABLE"}
    environment["PYTHONPATH"] = str(Path(__file__).parents[2])
    counts = [
        json.loads(subprocess.run([sys.executable, "-c", code, line], env=environment, capture_output=True).stdout)
        for line in ("", "import flows")
    ]
    assert counts[1] < counts[0] / 2
