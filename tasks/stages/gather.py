"""Gather what a stage made of each shard: one artifact that names them, and the facts about all together."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates
from lstm_model.contracts.stage_meta import ExaminedMeta, GatheredMeta, PanelMeta, SeriesMeta
from lstm_model.lifecycle.stage_outputs import FACTS, TABLE, read_forecasts, read_scales, write_forecasts
from lstm_model.storage.store import Store


@task(name="gather series", task_run_name="gather series", cache_policy=NO_CACHE, timeout_seconds=3600)
def gather_series(shards: list[Artifact], whole: Artifact | None, covariates: Covariates, store: Store) -> Artifact:
    """Make the panel of its shards; its metadata is what one table would have, and the names of the shards.

    Args:
        shards: series tables.
        whole: the table that they were divided from, if it was read as a whole.
        covariates: as declared.
        store: where all of them lie.

    Raises:
        DataError: the shards were not read in one way, or none has a series left.
    """
    from lstm_model.series.profiling import SeriesFacts
    from lstm_model.series.sharding import find_all_categories, merge_series_meta

    filled = [shard for shard in shards if shard.num_rows]
    if not filled:
        raise DataError(store.read_meta(shards[0], ExaminedMeta).findings[0].message)
    tables = [store.path(shard) / TABLE for shard in filled]
    meta = (
        store.read_meta(whole, SeriesMeta)
        if whole
        else merge_series_meta(
            [store.read_meta(shard, SeriesMeta) for shard in filled],
            facts=[SeriesFacts.load(store.path(shard) / FACTS) for shard in filled],
            tables=tables,
            findings=[store.read_meta(shard, ExaminedMeta).findings for shard in shards],
        )
    )
    panel = PanelMeta(**dict(meta), categories=find_all_categories(tables, covariates), shards=filled)
    with store.create("series") as draft:
        draft.num_rows, draft.meta = sum(shard.num_rows for shard in filled), panel.to_json()
    return draft.artifact


@task(name="gather windows", task_run_name="gather windows", cache_policy=NO_CACHE, timeout_seconds=3600)
def gather_windows(shards: list[Artifact], store: Store) -> Artifact:
    """Make the windows dataset of a panel: `windows.json` of all shards; the rows stay in the shards."""
    from lstm_model.windows.segments import merge_windows

    with store.create("windows") as draft:
        draft.num_rows = merge_windows([store.path(shard) for shard in shards], draft.folder)
        draft.meta = GatheredMeta(shards=shards).to_json()
    return draft.artifact


@task(name="score", task_run_name="score", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def score_shards(shards: list[Artifact], store: Store) -> Artifact:
    """Join the forecasts and scales of all shards, and score them: what `evaluate` makes of one table."""
    from lstm_model.evaluation.evaluate import join_shards, score

    tested = [shard for shard in shards if shard.num_rows]
    with store.create("scores") as draft:
        if tested:
            table, scales = join_shards(
                [read_forecasts(shard, store) for shard in tested], [read_scales(shard, store) for shard in tested]
            )
            draft.num_rows = write_forecasts(draft.folder, table, scales)
            score(table, scale=scales).to_folder(draft.folder)
    return draft.artifact
