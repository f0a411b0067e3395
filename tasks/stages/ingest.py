"""Read the source, let the data doctor examine it, and keep the series table."""

from __future__ import annotations

from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import Finding, NothingLeftError
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.shard import IdRange
from lstm_model.contracts.stage_meta import ExaminedMeta, SeriesMeta
from lstm_model.lifecycle.stage_outputs import FACTS, TABLE, as_files
from lstm_model.storage.store import Store
from tasks.runtime.passwords import password_of
from tasks.runtime.retries import IO_RETRIES


@task(name="ingest", task_run_name="ingest", cache_policy=NO_CACHE, **IO_RETRIES)
def ingest(
    request: PipelineConfig,
    fingerprint: str | None,
    store: Store,
    only: IdRange | None = None,
    generated: Artifact | None = None,
) -> Artifact:
    """The series table as an Artifact; its meta holds the profile, the findings and how roles were inferred.

    Args:
        request: the data section of the config (`select_data_settings`), so that other settings do not count.
        fingerprint: sha256 of the source's bytes, for the cache key only; None where `generated` says it.
        store: where the artifact goes.
        only: the series of one shard; `request` is then what the survey settled. No row is left of a shard whose
            series are all left out.
        generated: what `generate` made of a synthetic source.
    """
    import pyarrow as pa

    from lstm_model.quality.doctor import examine
    from lstm_model.series.profiling import measure_facts, merge_profiles
    from lstm_model.series.series_table import write_table
    from lstm_model.sources.raw_series import read_source

    source = as_files(request.source, generated, store)
    raw = read_source(source, covariates=request.covariates, password=password_of(source), only=only)
    if generated is not None:  # the file is this store's own: what it was made from is the source
        raw = replace(raw, source=request.source, reasons={})
    try:
        examined = examine(raw, request)
    except NothingLeftError as nothing:
        if only is None:
            raise
        return _empty(nothing.finding, store)
    for finding in examined.findings:
        get_run_logger().log(10 * (2 + (finding.severity == "warning")), "%s", finding.message)
    with store.create("series") as draft:
        table = pa.Table.from_pandas(examined.table, preserve_index=False)
        write_table(table, draft.folder / TABLE)
        draft.num_rows = table.num_rows
        facts = measure_facts(draft.folder / TABLE)
        if only is not None:
            facts.save(draft.folder / FACTS)
        meta = SeriesMeta(
            profile=merge_profiles([facts], [draft.folder / TABLE], examined.frequency),
            findings=examined.findings,
            reasons=raw.reasons | examined.reasons,
            source=raw.source,
            repaired=int((~examined.table["observed"] & examined.table["y"].notna()).sum()),
        )
        draft.meta = meta.to_json()
    return draft.artifact


def _empty(finding: Finding, store: Store) -> Artifact:
    with store.create("series") as draft:
        draft.meta = ExaminedMeta(findings=[finding]).to_json()
    return draft.artifact
