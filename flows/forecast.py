"""Forecast the next horizon of every series with the champion: to the ledger, a Parquet file, the UI, a database.

python -m flows.forecast --config deployments/pipelines/load.yaml
"""

from __future__ import annotations

from prefect import flow

from flows.hooks import ENDINGS
from flows.shards import ingest_source, predict_next
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.lifecycle.issuing import check_horizon, require_champion
from lstm_model.lifecycle.stage_outputs import read_clock
from tasks.actions.issue import Issued, deliver, issue, show
from tasks.actions.publish import open_store
from tasks.actions.receive import receive
from tasks.runtime.executors import threads
from tasks.runtime.resume import keep, recall
from tasks.runtime.runner import StageRunner


@flow(name="forecast", task_runner=threads(), **ENDINGS)
def forecast(config: PipelineConfig, store: str = "store") -> Issued:
    """Forecast the next horizon; forecasts that were issued before are not issued again.

    Args:
        config: The forecasting problem, as it is retrained.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
    """
    run = StageRunner(open_store(store, config.name), config.scaling)
    champion = require_champion(run.store, config.name)
    pin = recall(run) or keep(run, receive(ingest_source(run, config), config, run.store, flow="forecast"))
    champion = pin.champion or champion
    check_horizon(config.horizon, champion, run.store)
    clock = read_clock(pin.series, run.store)
    issued = issue(predict_next(run, config, pin.series, champion), champion, clock, run.store)
    delivered = deliver(config.forecasting, run.store, clock) if config.forecasting.url else None
    return show(config.name, issued, delivered, pin.series, run.records, run.store)


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main("forecast"))
