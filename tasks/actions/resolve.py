"""Choose what the config leaves open, once: later runs reuse the choice, so that nights do not drift."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.lifecycle.chosen_settings import choose_settings
from lstm_model.lifecycle.outlook import tell_reading, warn_of_failure
from lstm_model.storage.store import Store
from tasks.runtime.logs import forwarded_logs


@task(name="resolve", task_run_name="resolve", cache_policy=NO_CACHE)
def resolve(config: PipelineConfig, series: Artifact, store: Store, refresh: bool, drifted: bool) -> Resolved:
    """Tell how the source was read, and return a config with nothing left open; see `choose_settings`."""
    with forwarded_logs("lstm_model"):
        tell_reading(series, store)
        resolved = choose_settings(config, series, store, refresh=refresh, drifted=drifted)
        warnings = warn_of_failure(series, config.covariates, resolved.plan.window, store)
    return resolved.model_copy(update={"warnings": warnings})
