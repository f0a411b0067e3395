"""The same forecasts, whatever the number of shards and whatever works on them."""

import json
import os
import shutil
import socket
import subprocess
import sys
from contextlib import suppress
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from tests.deployments.conftest import free_port, wait_for

PIPELINE = """
name: load
source: {kind: files, path: load.parquet, columns: {y: kwh}}
horizon: 6
context: 24
covariates: {static: [region], past: [wind]}
advanced:
  window: {align: end}
  model: {hidden_dim: 8, layer_dim: 1, segment: 6, levels: [0.8]}
  training: {max_steps: 20, threads: 1}
"""


@pytest.fixture
def load(tmp_path):
    """A pipeline, and its panel as Parquet and CSV: several lengths, ends, gaps and regions."""
    rng = np.random.default_rng(0)
    parts = []
    for i in range(9):
        n = (400, 380, 300, 260)[i % 4]
        y = 10 + i + 3 * np.sin(np.arange(n) * np.pi / 12 + i) + rng.normal(size=n)
        y[rng.integers(0, n - 40, 5)] = np.nan
        ds = pd.date_range(end="2024-03-01" if i % 3 else "2024-02-29 18:00", periods=n, freq="h")
        more = {"region": ("north", "south", "west")[i % 3], "wind": rng.normal(size=n)}
        parts.append(pd.DataFrame({"meter": f"m{i}", "when": ds, "kwh": y, **more}))
    frame = pd.concat(parts, ignore_index=True)
    frame.to_parquet(tmp_path / "load.parquet", index=False, row_group_size=500)
    frame.to_csv(tmp_path / "load.csv", index=False)
    (tmp_path / "load.yaml").write_text(PIPELINE)
    return tmp_path / "load.yaml"


def run_all(cli, *settings):
    """What retrain, forecast and backtest give: scores, forecasts and folds; the store is removed."""
    arguments = [part for setting in settings for part in ("--set", setting)]
    trained = cli("--config", "load.yaml", *arguments)
    issued = cli("--config", "load.yaml", *arguments, flow="forecast")
    forecasts = pd.read_parquet(cli.folder / "store" / "load" / "forecasts.parquet")
    shutil.rmtree(cli.folder / "store")
    return trained, issued, forecasts.drop(columns="model_version")


def check_same(one, other):
    (trained, issued, forecasts), (trained_too, issued_too, forecasts_too) = one, other
    scores, scores_too = pd.DataFrame(trained["scores"]), pd.DataFrame(trained_too["scores"])
    pd.testing.assert_frame_equal(scores, scores_too, check_exact=False, rtol=1e-6)
    decision, decision_too = (dict(t["decision"]) for t in (trained, trained_too))
    assert decision.pop("challenger_loss") == pytest.approx(decision_too.pop("challenger_loss"), rel=1e-6)
    assert decision == decision_too and trained["notes"] == trained_too["notes"]
    assert issued["issue"]["new_rows"] == issued_too["issue"]["new_rows"] == 54
    numbers = forecasts.select_dtypes("number").columns
    pd.testing.assert_frame_equal(forecasts.drop(columns=numbers), forecasts_too.drop(columns=numbers))
    np.testing.assert_allclose(forecasts[numbers], forecasts_too[numbers], rtol=1e-6, atol=1e-6)


def listens(port):
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
        return True


def names(outcome):
    return [record["stage"] for record in outcome["stages"]]


def test_shards_change_nothing(cli, load):
    whole = run_all(cli)
    assert names(whole[0])[:3] == ["ingest", "window", "train"]
    parquet = run_all(cli, "scaling.shards=3")
    check_same(whole, parquet)
    assert names(parquet[0])[:5] == ["survey", "ingest", "ingest", "ingest", "gather series"]
    assert names(parquet[0]).count("window") == names(parquet[0]).count("evaluate shard") == 3


@pytest.mark.slow
def test_calendar_cutoffs_future_covariates_and_several_files(cli, load):
    """A series may lie in two of the files; one shard only has a category of its own."""
    frame = pd.read_parquet(load.parent / "load.parquet")
    last = frame.drop_duplicates("meter", keep="last")
    ahead = [last.assign(when=last["when"] + pd.Timedelta(hours=h), kwh=np.nan, wind=np.nan) for h in range(1, 7)]
    frame = pd.concat([frame, *ahead]).assign(mild=lambda rows: np.cos(rows["when"].dt.hour / 4))
    frame["tariff"] = np.where(frame["when"].dt.hour < 7, "night", "day " + frame["meter"].isin(["m0"]).map(str))
    (load.parent / "many").mkdir()
    for number, part in enumerate(np.array_split(np.arange(len(frame)), 3)):
        frame.iloc[part].to_parquet(load.parent / "many" / f"{number}.parquet", index=False, row_group_size=300)
    settings = ["source.path=many/*.parquet", "covariates.future=[mild,tariff]", "advanced.window.align=calendar"]
    check_same(run_all(cli, *settings), run_all(cli, *settings, "scaling.shards=3"))


@pytest.mark.slow
def test_a_table_that_was_read_as_a_whole_is_divided(cli, load):
    whole = run_all(cli)
    text = run_all(cli, "scaling.shard_rows=900", "source.path=load.csv")
    check_same(whole, text)
    assert names(text[0])[:3] == ["survey", "ingest", "divide"]


@pytest.mark.slow
def test_a_shard_that_was_lost_is_made_again(cli, load):
    settings = ["--config", "load.yaml", "--set", "scaling.shards=2"]
    first = cli(*settings)
    lost = next(record["artifact"] for record in first["stages"] if record["stage"] == "ingest")
    shutil.rmtree(cli.folder / "store" / "load" / "artifacts" / "series" / lost["sha256"])
    again = cli(*settings)
    outcomes = [record["outcome"] for record in again["stages"] if record["stage"] == "ingest"]
    assert sorted(outcomes) == ["cached", "repaired"] and again["status"] == "unchanged"
    issued, same = (cli(*settings, flow="forecast") for _ in range(2))
    assert (issued["status"], same["status"]) == ("issued", "unchanged")
    assert all(record["outcome"] == "cached" for record in same["stages"])


@pytest.mark.slow
def test_the_monitor_looks_at_shards_as_at_one_table(cli, load):
    """Also at a series that is gone since."""
    frame, settings = pd.read_parquet(load.parent / "load.parquet"), ["--config", "load.yaml"]
    day_ago = frame["when"] < frame["when"].max() - pd.Timedelta(hours=30)
    frame[day_ago].to_parquet(load.parent / "load.parquet", index=False)
    cli(*settings)
    assert cli(*settings, flow="forecast")["issue"]["num_series"] == 9
    frame[day_ago | (frame["meter"] != "m3")].to_parquet(load.parent / "load.parquet", index=False)
    looks = [cli(*settings, "--set", f"scaling.shards={n}", flow="monitor") for n in (1, 3)]
    whole, shards = (pd.DataFrame(look["periods"]) for look in looks)
    assert len(whole) == 1
    pd.testing.assert_frame_equal(whole, shards, rtol=1e-12)


@pytest.mark.slow
def test_a_shard_whose_series_begin_in_the_test_is_left_out_of_the_scores_like_them(cli, load):
    frame = pd.read_parquet(load.parent / "load.parquet")
    young = frame[frame["meter"] == "m1"].tail(12).assign(meter="m9")
    pd.concat([frame, young]).to_parquet(load.parent / "load.parquet", index=False, row_group_size=100)
    settings = ["--config", "load.yaml", "--set", "advanced.window.align=calendar"]
    whole, shards = (cli(*settings, "--set", f"scaling.shards={n}") for n in (1, 10))
    assert names(shards).count("ingest") == 10
    assert any("1 series begin after the training data" in note for note in whole["notes"])
    assert shards["notes"] == whole["notes"]
    pd.testing.assert_frame_equal(pd.DataFrame(shards["scores"]), pd.DataFrame(whole["scores"]), rtol=1e-6)


@pytest.mark.slow
def test_a_shard_of_short_series_is_left_out_like_them(cli, load):
    frame = pd.read_parquet(load.parent / "load.parquet")
    short = frame[frame["meter"] == "m0"].tail(3).assign(kwh=1.0)
    many = [short.assign(meter=f"a{i:03}") for i in range(300)]
    pd.concat([*many, frame], ignore_index=True).to_parquet(load.parent / "load.parquet", index=False)
    output, log = cli.start("--json", "--config", "load.yaml", "--set", "scaling.shards=6").communicate(timeout=300)
    outcome = json.loads(output)
    assert "series excluded" in log and "Timeout of" not in log  # Prefect would say that of each task in a thread
    ingested = [record["artifact"]["num_rows"] for record in outcome["stages"] if record["stage"] == "ingest"]
    assert len(ingested) == 6 and 0 in ingested
    report = (cli.folder / "store" / "load" / "report.html").read_text()
    assert "fewer than horizon + 2 = 8 observations" in report


@pytest.mark.slow
def test_folds_and_shards(cli, load):
    whole = cli("--config", "load.yaml", "--folds", 2, flow="backtest")
    shards = cli("--config", "load.yaml", "--folds", 2, "--set", "scaling.shards=3", flow="backtest")
    assert shards["folds"] == whole["folds"] and names(shards).count("evaluate shard") == 6


def test_ray_that_is_not_there(cli, load):
    arguments = ["--config", "load.yaml", "--set", "scaling.shards=2", "--set", "scaling.runner=ray"]
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'evergreen-forecast[ray]'")
    code, errors = cli.fail(*arguments, "--set", "scaling.ray_address=127.0.0.1:1")
    assert code == 1 and "no Ray cluster at scaling.ray_address '127.0.0.1:1'" in errors, errors


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0 or not shutil.which("unshare"), reason="only root may hide a folder from a node")
def test_machines_that_share_nothing_but_a_bucket(cli, load, monkeypatch, bucket):
    """All tasks run on a node that has another folder where this process has its copies of the bucket."""
    pytest.importorskip("ray", reason="Ray is not installed: pip install 'evergreen-forecast[ray]'")
    caches = cli.folder / "caches"
    caches.mkdir()
    port = free_port()
    environment = {**os.environ, "PYTHONPATH": str(cli.code), "XDG_CACHE_HOME": str(caches)}
    environment |= {"RAY_AUTH_MODE": "token", "RAY_AUTH_TOKEN": "5" * 64}
    cli.environment |= {k: v for k, v in environment.items() if k.startswith(("AWS_", "XDG_", "RAY_"))}
    ray = [str(Path(sys.executable).parent / "ray"), "start", "--block", "--node-ip-address=127.0.0.1"]
    start = partial(subprocess.Popen, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    head = [*ray, "--head", f"--port={port}", "--num-cpus=0", "--include-dashboard=false"]
    hidden = f"mount -t tmpfs tmpfs {caches} && exec {' '.join(ray)} --address=127.0.0.1:{port} --num-cpus=2"
    nodes = [start(head)]
    try:
        wait_for("the head", partial(listens, port))
        nodes.append(start(["unshare", "--mount", "sh", "-c", hidden]))
        address = [f"scaling.ray_address=127.0.0.1:{port}", "scaling.runner=ray", "scaling.shards=3"]
        settings = [part for setting in address for part in ("--set", setting)]
        first = cli("--config", "load.yaml", "--store", bucket, *settings)
        assert first["status"] == "promoted" and names(first).count("evaluate shard") == 3
        again = cli("--config", "load.yaml", "--store", bucket, *settings)
        assert {record["outcome"] for record in again["stages"]} == {"cached"}
    finally:
        for node in reversed(nodes):
            node.terminate()
            node.wait(60)


@pytest.mark.slow
def test_a_ray_cluster_of_several_nodes(cli, load, monkeypatch):
    ray = pytest.importorskip("ray", reason="Ray is not installed: pip install 'evergreen-forecast[ray]'")
    from ray.cluster_utils import Cluster
    from ray.util.state import list_tasks

    monkeypatch.setenv("PYTHONPATH", str(cli.code))
    cli.environment["PYTHONPATH"] = str(cli.code)  # so that flows run in processes of their own: Ray stays connected
    whole = run_all(cli)
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": True})
    try:
        for _ in range(2):
            cluster.add_node(num_cpus=1)
        cluster.wait_for_nodes()
        address = [f"scaling.ray_address={cluster.address}", "scaling.runner=ray"]
        check_same(whole, run_all(cli, "scaling.shards=6", *address))
        ray.init(address=cluster.address)
        done = list_tasks(limit=1000)
        assert len({task.node_id for task in done}) > 1 and {"ingest", "window", "forecast"} <= {t.name for t in done}
    finally:
        ray.shutdown()
        cluster.shutdown()
