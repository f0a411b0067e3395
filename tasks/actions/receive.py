"""Compare the data that were read with those before, so that nothing is issued from the data of another problem."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.lifecycle.delivery import Flow, receive_delivery
from lstm_model.storage.store import Store
from tasks.runtime.logs import forwarded_logs


@task(name="receive", task_run_name="receive", cache_policy=NO_CACHE)
def receive(series: Artifact, config: PipelineConfig, store: Store, flow: Flow, accept: bool = False) -> Artifact:
    """Return the series once they were compared with the last delivery; see `receive_delivery`."""
    with forwarded_logs("lstm_model"):
        receive_delivery(series, config, store, flow=flow, accept=accept)
    return series
