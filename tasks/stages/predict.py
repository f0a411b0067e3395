"""Forecast what comes next: computed here, issued in `actions/issue.py`."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.stage_meta import ForecastsMeta
from lstm_model.lifecycle.stage_outputs import FORECASTS, TABLE, read_profile
from lstm_model.storage.store import Store


@task(name="forecast", task_run_name="forecast", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def predict(
    series: Artifact, champion: Artifact, store: Store, frame: Frame | None = None, integers: bool = False
) -> Artifact:
    """The next horizon of every series. `frame`: of the panel that `series` is a shard of."""
    from lstm_model.forecast.predict import forecast

    path, frequency = store.path(series) / TABLE, frame.frequency if frame else read_profile(series, store).frequency
    found = forecast(store.path(champion), path, frame=frame, frequency=frequency, integers=integers)
    with store.create("forecasts") as draft:
        table = found.table.assign(data=found.table["unique_id"].map(found.data)) if len(found.table) else found.table
        table.to_parquet(draft.folder / FORECASTS, index=False, compression="zstd")
        draft.num_rows = len(table)
        draft.meta = ForecastsMeta(left_out=found.left_out, remarks=found.remarks).to_json()
    return draft.artifact
