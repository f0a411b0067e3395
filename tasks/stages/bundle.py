"""Compose what is promoted: the model with its config, its scores, the decision and the error envelope."""

from __future__ import annotations

import shutil

from prefect import task
from prefect.cache_policies import NO_CACHE

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.bundle_card import BundleFacts, copy_bundle
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.lifecycle.registry import BUNDLE
from lstm_model.lifecycle.stage_outputs import DECISION, SCALES, read_forecasts, read_scales, read_scores
from lstm_model.storage.store import Store


@task(name="bundle", task_run_name="bundle", cache_policy=NO_CACHE)
def bundle(
    series: Artifact,
    model: Artifact,
    scores: Artifact,
    decision: Artifact,
    config: PipelineConfig,
    plan: Plan,
    predecessor: Artifact | None,
    store: Store,
) -> Artifact:
    """Compose a bundle that forecasts on its own; its sha256 is its name. Equal inputs give equal bytes.

    Args:
        series: what it was trained on.
        model: the challenger.
        scores: of its test.
        decision: of the gate.
        config: with nothing left open.
        plan: what was trained.
        predecessor: after drift, the champion: what its errors were before is what the new ones must come back to.
        store: where all of them lie.
    """
    from lstm_model.lifecycle.envelope import envelope, find_envelope_before_drift

    decided = Decision.model_validate_json((store.path(decision) / DECISION).read_bytes())
    found = read_scores(scores, store)
    facts = BundleFacts(
        model_sha256=model.sha256,
        series_sha256=series.sha256,
        config=config.model_dump(mode="json"),
        plan=plan.model_dump(mode="json"),
        decision=decided,
        scores=found.to_records() if found else [],
        envelope=envelope(read_forecasts(scores, store), scales=read_scales(scores, store), spec=plan.window)
        if found
        else None,
        envelope_before_drift=find_envelope_before_drift(store.path(predecessor)) if predecessor else None,
    )
    with store.create(BUNDLE) as draft:
        copy_bundle(store.path(model), draft.folder, facts)
        if found:
            shutil.copyfile(store.path(scores) / SCALES, draft.folder / SCALES)
        draft.num_rows = model.num_rows
    return draft.artifact
