"""What a run leaves for people: files, and what the Prefect UI shows."""

import json
import urllib.request
from pathlib import Path

import pytest
import torch
import yaml
from safetensors.torch import load_file

from benchmarks import tutorial_script
from lstm_model.reporting.report import MARKDOWN_LIMIT_BYTES

ROOT = Path(__file__).parents[2]


def artifacts(api_url, name):
    """The latest artifacts of the server whose key or description holds a name."""
    request = urllib.request.Request(
        f"{api_url}/artifacts/filter",
        data=json.dumps({"sort": "CREATED_DESC", "limit": 200}).encode(),
        headers={"Content-Type": "application/json"},
    )
    with urllib.request.urlopen(request, timeout=30) as answer:
        found = json.load(answer)
    return [a for a in found if name in (a["key"] or a["description"] or "")]


@pytest.mark.slow
def test_a_run_leaves_a_report_a_pipeline_and_artifacts(cli, tiny, api_url):
    config = cli.folder / "look.yaml"
    config.write_text(tiny.read_text().replace("name: tiny", "name: look"))
    outcome = cli("--config", config)
    page = Path(outcome["report"]).read_text()
    assert page.startswith("<!doctype html>") and "data:image/png;base64," in page
    assert outcome["verdict"] in page
    assert {s["model"] for s in outcome["scores"]} >= {"lstm", "naive", "seasonal_naive", "drift", "window_average"}
    (report,) = artifacts(api_url, "report-look")
    assert report["type"] == "markdown"
    assert "](data:image/png;base64," in report["data"]
    assert len(report["data"]) <= MARKDOWN_LIMIT_BYTES + 2000
    assert "| train | computed |" in report["data"]
    mine = [a for a in artifacts(api_url, "training") if a["flow_run_id"] == report["flow_run_id"]]
    assert [a["data"] for a in mine if a["type"] == "progress"] == [100.0], "killed runs of other tests stop short"
    written = yaml.safe_load(Path(outcome["pipeline"]).read_text())
    assert (written["name"], written["frequency"], written["season"]) == ("look", "h", 24)
    again = cli("--config", outcome["pipeline"])
    assert again["model"] == outcome["model"], "what was written out must train the same model"


@pytest.mark.slow
def test_the_tutorial_runs_as_a_pipeline_and_is_its_script_bit_by_bit(cli, helpers, one_thread, capsys):
    process = cli.start("--json", "--config", ROOT / "deployments" / "pipelines" / "tutorial.yaml")
    script = tutorial_script.train(seed=0)
    output, log = process.communicate(timeout=300)
    assert process.returncode == 0, log
    outcome = json.loads(output)
    model = cli.folder / "store" / "tutorial" / "artifacts" / "model" / outcome["model"]["sha256"]
    assert [row["train_loss"] for row in json.loads((model / "history.json").read_text())] == script.losses
    ours, theirs = load_file(model / "model.safetensors"), script.model.state_dict()
    assert {*ours} == {*theirs}
    for name, weight in theirs.items():
        assert torch.equal(weight, ours[name]), name
    printed = capsys.readouterr().out.splitlines()
    assert len(printed) == 10 and all(line in log for line in printed)
    order = ["generate", "ingest", "window", "train", "evaluate", "gate", "bundle", "plot", "report"]
    assert helpers.computed(outcome) == order
    pictures = {path.stem for path in Path(outcome["plots"]).iterdir()}
    assert {"tutorial", "further_points", "loss", "gates_over_a_wave"} <= pictures
    assert outcome["verdict"].startswith("The LSTM beats every baseline")
    errors = {score["model"]: score["rmse"] for score in outcome["scores"]}
    assert outcome["scores"][0]["count"] == 200 and errors["lstm"] < 0.0025 < errors["seasonal_naive"]
    again = cli("--config", ROOT / "deployments" / "pipelines" / "tutorial.yaml")
    assert helpers.computed(again) == [] and again["status"] == "unchanged"
