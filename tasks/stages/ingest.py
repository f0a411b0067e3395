"""Read the source, let the data doctor examine it, and keep the series table."""

from __future__ import annotations

import logging
from dataclasses import replace

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.findings import Finding, NothingLeftError
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.shard import IdRange
from lstm_model.contracts.stage_meta import ExaminedMeta
from lstm_model.lifecycle.stage_outputs import FACTS, TABLE, locate_source
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
    """Write the series table; its metadata holds the profile, the findings and how roles were inferred.

    Args:
        request: the data section of the config (`select_data_settings`), so that other settings do not count.
        fingerprint: sha256 of the source's bytes, for the cache key only; None where `generated` says it.
        store: where the artifact goes.
        only: the series of one shard; `request` is then what the survey settled. No row is left of a shard whose
            series are all left out.
        generated: what `generate` made of a synthetic source.
    """
    from lstm_model.series.ingestion import write_series
    from lstm_model.sources.raw_series import read_source

    source = locate_source(request.source, generated, store)
    raw = read_source(source, covariates=request.covariates, password=password_of(source), only=only)
    if generated is not None:  # the file is this store's own: what it was made from is the source
        raw = replace(raw, source=request.source, reasons={})
    with store.create("series") as draft:
        try:
            found = write_series(raw, request, draft.folder / TABLE)
        except NothingLeftError as nothing:
            if only is None:
                raise
            draft.meta = ExaminedMeta(findings=[nothing.finding]).to_json()
        else:
            _log_findings(found.meta.findings)
            draft.num_rows, draft.meta = found.num_rows, found.meta.to_json()
            if only is not None:
                found.facts.save(draft.folder / FACTS)
    return draft.artifact


def _log_findings(findings: list[Finding]) -> None:
    for finding in findings:
        get_run_logger().log(logging.WARNING if finding.severity == "warning" else logging.INFO, "%s", finding.message)
