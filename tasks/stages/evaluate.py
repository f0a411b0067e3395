"""Score the model on windows that it has not seen, beside the baselines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.lifecycle.stage_outputs import TABLE, read_targets, write_forecasts
from lstm_model.storage.store import Store

if TYPE_CHECKING:
    from lstm_model.evaluation.held_out import HeldOut


@task(name="evaluate", task_run_name="evaluate", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def evaluate(series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, store: Store) -> Artifact:
    """Write every test forecast (Parquet) and the scores; `num_rows` is the number of forecast points.

    A history too short for a test gives an artifact without scores, and the report says so.
    """
    from lstm_model.evaluation.evaluate import score

    with store.create("scores") as draft:
        found = _forecast(series, windows, model, spec, store=store, frame=None)
        if found is not None:
            draft.num_rows = write_forecasts(draft.folder, found.table, found.scales)
            score(found.table, scale=found.scales).to_folder(draft.folder)
    return draft.artifact


@task(name="evaluate shard", task_run_name="evaluate shard", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def evaluate_shard(
    series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, frame: Frame, store: Store
) -> Artifact:
    """Write every test forecast of one shard of a panel; the scores are those of all shards together."""
    with store.create("forecasts") as draft:
        found = _forecast(series, windows, model, spec, store=store, frame=frame)
        if found is not None:
            draft.num_rows = write_forecasts(draft.folder, found.table, found.scales)
    return draft.artifact


def _forecast(
    series: Artifact, windows: Artifact, model: Artifact, spec: WindowSpec, *, store: Store, frame: Frame | None
) -> HeldOut | None:
    from lstm_model.evaluation.held_out import forecast_test

    table, targets = store.path(series) / TABLE, read_targets(series, store)
    return forecast_test(store.path(model), store.path(windows), table, targets=targets, spec=spec, frame=frame)
