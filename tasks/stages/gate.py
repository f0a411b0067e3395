"""Judge a newly trained model against the champion, on targets that neither has seen."""

from __future__ import annotations

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.lifecycle.rivalry import Comparison
from lstm_model.lifecycle.stage_outputs import DECISION
from lstm_model.storage.store import Store


@task(name="gate", task_run_name="gate", cache_policy=NO_CACHE, timeout_seconds=6 * 3600)
def gate(match: Comparison, store: Store) -> Artifact:
    """Write the decision as an artifact; `num_rows` is the number of series that it rests on."""
    from lstm_model.lifecycle.gate import judge

    decision = judge(match, store)
    with store.create("decision") as draft:
        (draft.folder / DECISION).write_text(decision.model_dump_json(indent=1), encoding="utf-8")
        draft.num_rows = decision.num_series
    return draft.artifact
