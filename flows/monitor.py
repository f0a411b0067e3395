"""Compare past forecasts with the newest data, and start the retraining when the errors have drifted.

python -m flows.monitor --config deployments/pipelines/panel.yaml
"""

from __future__ import annotations

from prefect import flow

from flows.hooks import ENDINGS
from flows.shards import ingest_source
from lstm_model.contracts.monitored import Monitored
from lstm_model.contracts.settings import PipelineConfig
from tasks.actions.monitor import respond, watch_forecasts
from tasks.actions.publish import open_store
from tasks.actions.receive import receive
from tasks.runtime.executors import threads
from tasks.runtime.runner import StageRunner


@flow(name="monitor", task_runner=threads(), **ENDINGS)
def monitor(config: PipelineConfig, store: str = "store") -> Monitored:
    """Compare the forecasts of the champion with the newest data, and retrain when their errors are no longer normal.

    Args:
        config: The forecasting problem; its section monitoring decides on the retraining after drift.
        store: Folder that keeps the artifacts; each problem has its own folder in it.
    """
    run = StageRunner(open_store(store, config.name), config.scaling)
    # Executed again after a crash it looks at the newest data, and so it does not pin its inputs.
    series = receive(ingest_source(run, config), config, run.store, flow="monitor")
    seen = watch_forecasts(series, config, run.store)
    return respond(seen, config, run.store)


if __name__ == "__main__":
    from flows.cli import main

    raise SystemExit(main("monitor"))
