"""Survey a source that is to be read in shards: which series there are, and how many rows each has."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.shard import IdRange
from lstm_model.contracts.stage_meta import SurveyMeta
from lstm_model.lifecycle.stage_outputs import locate_source
from lstm_model.storage.store import Store
from tasks.runtime.retries import IO_RETRIES


@task(name="survey", task_run_name="survey", cache_policy=NO_CACHE, **IO_RETRIES)
def survey(
    request: PipelineConfig,
    fingerprint: str | None,
    shards: int | None,
    shard_rows: int | None,
    store: Store,
    generated: Artifact | None = None,
) -> Artifact:
    """How the source divides, in the artifact's meta; `num_rows` counts the shards, 0 where it is read as a whole.

    Args:
        request: as of ingest.
        fingerprint: as of ingest.
        shards: how many are wanted.
        shard_rows: instead, rows of each.
        store: where the artifact goes.
        generated: as of ingest.
    """
    from lstm_model.series.sharding import plan_shards
    from lstm_model.sources import parquet

    found = None
    if request.missing != "zero":  # the last step of all series ends each of them: no shard knows it
        found = parquet.survey_parquet(locate_source(request.source, generated, store), request.covariates)
    with store.create("survey") as draft:
        if found is not None:
            source, rows = found if generated is None else (request.source, found[1])
            ranges = plan_shards(rows, shards=shards, shard_rows=shard_rows)
            draft.num_rows = len(ranges)
            settled = request.model_copy(update={"source": source})
            draft.meta = SurveyMeta(request=settled, ranges=ranges).to_json()
    return draft.artifact


def shards_of(found: Artifact, store: Store) -> tuple[PipelineConfig, list[IdRange]]:
    """What ingest is asked for, shard by shard."""
    meta = store.read_meta(found, SurveyMeta)
    return meta.request, meta.ranges
