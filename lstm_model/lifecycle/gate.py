"""Judge a challenger from its forecasts and the champion's, as the retraining does."""

from __future__ import annotations

import pandas as pd

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import read_model_card
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.settings import Promotion, WindowSpec
from lstm_model.lifecycle.promotion import Gate, common_targets, decide
from lstm_model.lifecycle.rivalry import Rivalry
from lstm_model.lifecycle.stage_outputs import forecasts_of, scales_of
from lstm_model.storage.store import Store
from lstm_model.training.leakage import Seen


def judge(
    model: Artifact,
    scores: Artifact,
    rivalry: Rivalry,
    standing: Artifact | None,
    *,
    spec: WindowSpec,
    rules: Promotion,
    store: Store,
) -> Decision:
    """Decide whether a challenger takes over.

    Args:
        model: the challenger.
        scores: its forecasts of the test.
        rivalry: the champion, if there is one to compare with.
        standing: the champion's forecasts of the same targets.
        spec: the challenger's windows.
        rules: margin, cap and the like.
        store: where all of them lie.
    """
    if scores.num_rows:
        models = [model, *([rivalry.champion] if rivalry.champion else [])]
        cards = [read_model_card(store.path(one)) for one in models]
        seen = [Seen.on_card(card, by_series=card.seen_through_by_series is not None) for card in cards]
        gate = Gate(scales_of(scores, store), spec.horizon, spec.evaluation_stride, spec.align == "end", rules)
        other = forecasts_of(standing, store) if standing and standing.num_rows else None
        table = common_targets(forecasts_of(scores, store), other, seen=seen, gate=gate)
    else:
        seen, table = [], pd.DataFrame({"unique_id": [], "ds": []})
        gate = Gate(table, spec.horizon, stride=1, own_ends=False, settings=rules)
    decision = decide(table, champion=version_of(rivalry.champion) if rivalry.champion else None, gate=gate)
    if rivalry.note:
        return _ask_a_person(decision, rivalry.note)
    if decision.verdict == "defer" and len(seen) > 1:
        through = f"the champion has seen targets up to {seen[-1].of_all}"
        return decision.model_copy(update={"warnings": (*decision.warnings, through)})
    return decision


def _ask_a_person(decision: Decision, note: str) -> Decision:
    """Defer to whoever changed the question: nothing says that a model which answers another one is better."""
    found = "it passes every check" if all(check.passed for check in decision.checks) else "it fails checks"
    summary = f"Waits for a person, the champion stays: {note}. Beside seasonal naive {found}."
    return decision.model_copy(update={"verdict": "defer", "summary": summary, "warnings": ()})
