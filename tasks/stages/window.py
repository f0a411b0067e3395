"""Cut the series table into windows."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Covariates, WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.lifecycle.stage_outputs import TABLE
from lstm_model.storage.store import Store


@task(name="window", task_run_name="window", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def window(
    series: Artifact, spec: WindowSpec, covariates: Covariates, fold: int, store: Store, frame: Frame | None = None
) -> Artifact:
    """A windows dataset of one fold; fold 0 has the latest cutoffs. `frame`: of the panel, for a shard of it."""
    from lstm_model.windows.segments import write_windows

    with store.create("windows") as draft:
        draft.num_rows = write_windows(
            store.path(series) / TABLE, draft.folder, spec=spec, covariates=covariates, fold=fold, frame=frame
        )
    return draft.artifact
