"""Look at the source: never cached, because only looking tells whether data changed."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.settings import Source
from lstm_model.sources.fingerprint import hash_source
from tasks.runtime.passwords import password_of
from tasks.runtime.retries import IO_RETRIES


@task(name="look at source", task_run_name="look at {source.kind.value}", cache_policy=NO_CACHE, **IO_RETRIES)
def look(source: Source) -> str:
    """The sha256 of the source's bytes, whatever was seen before: files are read, a query is run."""
    return hash_source(source, password=password_of(source))
