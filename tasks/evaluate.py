"""Score the model on windows that it has not seen, beside the baselines."""

from __future__ import annotations

from prefect import task

from lstm_model.bundle import load_bundle
from lstm_model.config import WindowSpec
from lstm_model.evaluate import forecast_table, scales, score
from lstm_model.segments import rows_before_test
from lstm_model.store import Artifact, Store
from lstm_model.windows import load_windows
from tasks.caching import STAGE_POLICY
from tasks.kept import FORECASTS, SCALES, series_of


@task(name="evaluate", task_run_name="evaluate", cache_policy=STAGE_POLICY, timeout_seconds=6 * 3600)
def evaluate(series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, store: Store) -> Artifact:
    """Every test forecast (Parquet) and the scores; `num_rows` is the number of forecast points.

    A history too short for a test gives an artifact without scores, and the report says so.
    """
    with store.create("scores") as draft:
        test = load_windows(store.path(windows), "test")
        if len(test):
            table = forecast_table(load_bundle(store.path(model)), test, season=spec.season)
            table.to_parquet(draft.folder / FORECASTS, index=False, compression="zstd")
            scale = scales(rows_before_test(series_of(series, store), spec), season=spec.season)
            scale.to_parquet(draft.folder / SCALES, index=False)
            score(table, scale=scale).to_folder(draft.folder)
            draft.num_rows = len(table)
    return draft.artifact
