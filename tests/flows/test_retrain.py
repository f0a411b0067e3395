"""What a run leaves for people: files, and what the Prefect UI shows."""

import json
import urllib.request
from pathlib import Path

import pytest
import yaml

from lstm_model.reporting.report import MARKDOWN_LIMIT_BYTES


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
def test_the_tutorial_runs_as_a_pipeline(cli):
    root = Path(__file__).parents[2]
    outcome = cli("--config", root / "deployments" / "pipelines" / "tutorial.yaml")
    assert (Path(outcome["plots"]) / "tutorial.png").exists()
    assert outcome["scores"][0]["count"] == 200
    assert "loses to seasonal naive" in outcome["verdict"], "what the tutorial does not show"
