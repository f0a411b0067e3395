"""Generate a synthetic dataset and keep it as a Parquet file, which ingest reads like any other."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Dataset
from lstm_model.lifecycle.stage_outputs import GENERATED
from lstm_model.storage.store import Store


@task(name="generate", task_run_name="generate", cache_policy=NO_CACHE)
def generate(dataset: Dataset, num_series: int, num_steps: int, seed: int, store: Store) -> Artifact:
    """Make the dataset an Artifact; equal settings give equal bytes with one version of pandas and pyarrow.

    Args:
        dataset: panel or sine.
        num_series: how many series; a sine is always one.
        num_steps: how long each is.
        seed: of the panel's random parts.
        store: where the artifact goes.
    """
    from lstm_model.sources import synthetic

    with store.create("generated") as draft:
        table = synthetic.generate_dataset(dataset, num_series=num_series, num_steps=num_steps, seed=seed)
        table.to_parquet(draft.folder / GENERATED, index=False)
        draft.num_rows = len(table)
    return draft.artifact
