"""Backtests as users run them: folds in processes of their own, each stage cached, nothing in production changed."""

import json
from pathlib import Path

import pytest

from lstm_model.storage.checksums import dump_json
from tasks.runtime.resume import Pin


@pytest.mark.slow
def test_a_backtest_trains_folds_apart_and_shares_the_latest_with_a_retraining(cli, tiny, helpers):
    outcome = cli("--config", tiny, "--folds", 2, flow="backtest")
    assert len(outcome["folds"]) == 2 and outcome["folds"][0]["cutoff"] > outcome["folds"][1]["cutoff"]
    page = Path(outcome["report"]).read_text()
    assert "Scores by fold" in page and outcome["verdict"] in page
    usual = json.loads(Path(outcome["envelope"]).read_text())["envelope"]
    assert usual["num_periods"] == 2 and usual["horizon"] == 6
    assert helpers.computed(outcome), "everything was new"
    assert not (Path(outcome["report"]).parent / "registry.json").exists(), "a backtest promotes nothing"

    trained = cli("--config", tiny)
    assert helpers.stages(trained)["train"] == "cached", "the latest fold is what a retraining trains"

    pins = cli.folder / "store" / "tiny" / "pins"
    assert not list(pins.iterdir())
    # A run that was killed and is executed again finds other data.
    cli.environment["PREFECT__RUNTIME__FLOW_RUN__ID"] = "0c5b2f4e-0000-4000-8000-000000000001"
    series = next(record["artifact"] for record in outcome["stages"] if record["stage"] == "ingest")
    pin = pins / "0c5b2f4e-0000-4000-8000-000000000001.json"
    pin.write_bytes(dump_json(Pin(series=series, champion=None), f"pins/{pin.name}"))
    old = cli("--config", tiny, "--set", "source.num_steps=324", "--folds", 2, "--no-refit", flow="backtest")
    assert not pin.exists(), "noted until its end"
    assert helpers.stages(old)["train"] == helpers.stages(old)["window"] == "cached"
    assert sum(record["stage"] == "train" for record in old["stages"]) == 1, "one model, of the oldest fold"
    assert old["folds"][1] == outcome["folds"][1] and old["folds"][0]["lstm"] != outcome["folds"][0]["lstm"]
    assert old["envelope"] is None, "an ageing model says not what is normal"
