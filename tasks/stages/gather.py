"""Gather what a stage made of each shard: one artifact that names them, and the facts about all together."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates
from lstm_model.contracts.stage_meta import ExaminedMeta, GatheredMeta, PanelMeta, SeriesMeta
from lstm_model.lifecycle.stage_outputs import FACTS, FORECASTS, SCALES, TABLE
from lstm_model.storage.store import Store


@task(name="gather series", task_run_name="gather series", cache_policy=NO_CACHE, timeout_seconds=3600)
def gather_series(shards: list[Artifact], whole: Artifact | None, covariates: Covariates, store: Store) -> Artifact:
    """The panel; its meta is what that of one table would be, and the names of the shards.

    Args:
        shards: series tables.
        whole: the table that they were divided from, if it was read as a whole.
        covariates: as declared.
        store: where all of them lie.

    Raises:
        DataError: the shards were not read in one way, or none has a series left.
    """
    from lstm_model.series.series_table import MAX_CATEGORIES, encode_static
    from lstm_model.series.sharding import merge_categories

    filled = [shard for shard in shards if shard.num_rows]
    if not filled:
        raise DataError(store.read_meta(shards[0], ExaminedMeta).findings[0].message)
    tables = [store.path(shard) / TABLE for shard in filled]
    found = [encode_static(table, covariates.static).categories for table in tables]
    facts = store.read_meta(whole, SeriesMeta) if whole else _merged(shards, filled, store)
    meta = PanelMeta(**dict(facts), categories=merge_categories(found, most=MAX_CATEGORIES), shards=filled)
    with store.create("series") as draft:
        draft.num_rows, draft.meta = sum(shard.num_rows for shard in filled), meta.to_json()
    return draft.artifact


@task(name="gather windows", task_run_name="gather windows", cache_policy=NO_CACHE, timeout_seconds=3600)
def gather_windows(shards: list[Artifact], store: Store) -> Artifact:
    """The windows dataset of a panel: `windows.json` of all shards; the rows stay where they are."""
    from lstm_model.windows.segments import merge_windows

    with store.create("windows") as draft:
        draft.num_rows = merge_windows([store.path(shard) for shard in shards], draft.folder)
        draft.meta = GatheredMeta(shards=shards).to_json()
    return draft.artifact


@task(name="score", task_run_name="score", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def score_shards(shards: list[Artifact], store: Store) -> Artifact:
    """As `evaluate` gives for one table: all forecasts, all scales, and the scores."""
    import pandas as pd

    from lstm_model.evaluation.evaluate import score

    with store.create("scores") as draft:
        tested = [store.path(shard) for shard in shards if shard.num_rows]
        if tested:
            table = pd.concat([pd.read_parquet(folder / FORECASTS).astype({"unique_id": "str"}) for folder in tested])
            table = table.astype({"unique_id": "category"}).reset_index(drop=True)
            scale = pd.concat([pd.read_parquet(folder / SCALES) for folder in tested], ignore_index=True)
            table.to_parquet(draft.folder / FORECASTS, index=False, compression="zstd")
            scale.to_parquet(draft.folder / SCALES, index=False)
            score(table, scale=scale).to_folder(draft.folder)
            draft.num_rows = len(table)
    return draft.artifact


def _merged(shards: list[Artifact], filled: list[Artifact], store: Store) -> SeriesMeta:
    """The meta of one table with the rows of all shards; what was left out is told of the empty ones too."""
    from lstm_model.series.profiling import SeriesFacts, merge_profiles
    from lstm_model.series.sharding import check_alike, merge_findings

    metas = [store.read_meta(shard, SeriesMeta) for shard in filled]
    frequencies = [meta.profile.frequency for meta in metas]
    check_alike("frequency", frequencies, "set frequency, or mend the source")
    check_alike(
        "this reading of the source",
        [meta.source.model_dump(mode="json") for meta in metas],
        "set what differs in source",
    )
    folders = [store.path(shard) for shard in filled]
    facts = [SeriesFacts.load(folder / FACTS) for folder in folders]
    return SeriesMeta(
        profile=merge_profiles(facts, [folder / TABLE for folder in folders], frequencies[0]),
        findings=merge_findings([store.read_meta(shard, ExaminedMeta).findings for shard in shards]),
        reasons=metas[0].reasons,
        source=metas[0].source,
        repaired=sum(meta.repaired for meta in metas),
    )
