"""Divide a series table that was read as a whole."""

from __future__ import annotations

from prefect import task

from lstm_model.config import Scaling
from lstm_model.store import Artifact, Store
from tasks.caching import STAGE_POLICY
from tasks.kept import TABLE, profile_of


@task(name="divide", task_run_name="divide {shard}", cache_policy=STAGE_POLICY, timeout_seconds=3600)
def divide(series: Artifact, shard: int, of: int, store: Store) -> Artifact:
    """One of `of` shards, with about as many rows as each other one."""
    from lstm_model.series_table import row_counts, write_range
    from lstm_model.shards import divide as ranges

    table = store.path(series) / TABLE
    with store.create("series") as draft:
        only = ranges(row_counts(table), shards=of, shard_rows=None)[shard]
        draft.num_rows = write_range(table, draft.folder / TABLE, only)
    return draft.artifact


def count_shards(series: Artifact, scaling: Scaling, store: Store) -> int:
    """How many shards a table is divided into: never more than it has series."""
    from lstm_model import shards

    num_series, wanted = profile_of(series, store).num_series, scaling.model_dump(include={"shards", "shard_rows"})
    return shards.count_shards(series.num_rows, num_series, **wanted)
