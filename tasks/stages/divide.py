"""Divide a series table that was read as a whole into shards."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Scaling
from lstm_model.lifecycle.stage_outputs import TABLE, read_profile
from lstm_model.storage.store import Store


@task(name="divide", task_run_name="divide {shard}", cache_policy=NO_CACHE, timeout_seconds=3600)
def divide(series: Artifact, shard: int, of: int, store: Store) -> Artifact:
    """One of `of` shards, with about as many rows as each other one."""
    from lstm_model.series.series_table import count_rows, write_range
    from lstm_model.series.sharding import plan_shards as ranges

    table = store.path(series) / TABLE
    with store.create("series") as draft:
        only = ranges(count_rows(table), shards=of, shard_rows=None)[shard]
        draft.num_rows = write_range(table, draft.folder / TABLE, only)
    return draft.artifact


def count_shards(series: Artifact, scaling: Scaling, store: Store) -> int:
    """How many shards a table is divided into: never more than it has series."""
    from lstm_model.series import sharding

    num_series, wanted = read_profile(series, store).num_series, scaling.model_dump(include={"shards", "shard_rows"})
    return sharding.count_shards(series.num_rows, num_series, **wanted)
