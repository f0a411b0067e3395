"""A small slice: every stage runs as in a flow and is measured, the plot is drawn; what Ray costs is told of both."""

import pytest
from PIL import Image
from prefect.settings import PREFECT_API_URL, temporary_settings

from benchmarks import ray_cost, scale


@pytest.fixture
def panel(tmp_path, monkeypatch, api_url):
    monkeypatch.setattr(scale, "STEPS", 2)
    monkeypatch.setattr(scale, "MORE_STEPS", 4)
    (tmp_path / "runner").write_text("threads")
    (tmp_path / "quick").write_text("true")
    for name in ("source", "taught"):
        scale.make_source(tmp_path / f"{name}.parquet", 3)
    with temporary_settings({PREFECT_API_URL: api_url}):
        yield tmp_path


def test_every_stage_is_measured_and_drawn(panel, monkeypatch):
    monkeypatch.setattr(scale, "SHARD_ROWS", scale.MONTHS)
    rows = []
    for name, stage in scale.STAGES.items():
        before = scale.disk_bytes(panel / "store")
        figures = {"series": 3, "stage": name, **stage(panel), "task_runs": 1, "rows": {"task_run": 1}}
        rows.append({**figures, "disk_bytes": scale.disk_bytes(panel / "store") - before})
    assert len(scale.kept(panel, "forecasts")) == 3, "a shard a series"
    del rows[0]
    assert all(row["peak_mebibytes"] > 50 for row in rows)
    assert {row["stage"] for row in rows if row["disk_bytes"]} == {"ingest", "windows", "train", "forecast", "issue"}
    scale.plot([*rows, *({**row, "series": 30} for row in rows)], panel / "scale.png")
    assert Image.open(panel / "scale.png").width == 900
    assert "| 3 | forecast |" in scale.table(rows)


def test_tasks_and_training_are_measured(panel):
    scale.ingest(panel)
    scale.windows(panel)
    rows = [
        {"stage": stage, **{name: ray_cost.spread([value]) for name, value in ray_cost.STAGES[stage](panel).items()}}
        for stage in ("tasks on threads", "training alone")
    ]
    few = ray_cost.QUICK_STEPS[0]  # of so few, noise may make one of the two parts negative, but not the whole
    assert all(row["before_seconds"]["median"] + few * row["each_seconds"]["median"] > 0 for row in rows)
    assert "| tasks on threads |" in ray_cost.table(rows)
