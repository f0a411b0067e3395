"""Compose what is promoted: the model with its config, its scores, the decision and the error envelope."""

from __future__ import annotations

import shutil

from prefect import task

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.bundle_card import BundleFacts, copy_bundle, read_bundle_card
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.envelope import Envelope
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.lifecycle.registry import BUNDLE
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import STAGE_POLICY
from tasks.stages.stage_outputs import DECISION, SCALES, forecasts_of, scales_of, scores_of


def unchanged(champion: Artifact | None, model: Artifact, store: Store) -> Artifact | None:
    """The champion, where its bundle holds this very model: nothing is left to decide. Else None."""
    if champion is None:
        return None
    try:
        return champion if read_bundle_card(store.path(champion)).model_sha256 == model.sha256 else None
    except ValueError:
        return None  # a card of another version: the gate says so


@task(name="bundle", task_run_name="bundle", cache_policy=STAGE_POLICY)
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
    """A bundle that forecasts on its own; its sha256 is its name. Equal inputs give equal bytes: no clock in it.

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
    from lstm_model.lifecycle.envelope import envelope

    decided = Decision.model_validate_json((store.path(decision) / DECISION).read_bytes())
    found = scores_of(scores, store)
    facts = BundleFacts(
        model_sha256=model.sha256,
        series_sha256=series.sha256,
        config=config.model_dump(mode="json"),
        plan=plan.model_dump(mode="json"),
        decision=decided,
        scores=found.records() if found else [],
        envelope=envelope(forecasts_of(scores, store), scales=scales_of(scores, store), spec=plan.window)
        if found
        else None,
        envelope_before_drift=_envelope_before(predecessor, store),
    )
    with store.create(BUNDLE) as draft:
        copy_bundle(store.path(model), draft.folder, facts)
        if found:
            shutil.copyfile(store.path(scores) / SCALES, draft.folder / SCALES)
        draft.num_rows = model.num_rows
    return draft.artifact


def _envelope_before(predecessor: Artifact | None, store: Store) -> Envelope | None:
    """Of the champion before drift, through any number of retrainings because of it."""
    if predecessor is None:
        return None
    card = read_bundle_card(store.path(predecessor))
    return card.envelope_before_drift or card.envelope
