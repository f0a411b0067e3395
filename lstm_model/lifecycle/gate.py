"""Judge a challenger from its forecasts and the champion's, as the retraining does."""

from __future__ import annotations

import pandas as pd

from lstm_model.contracts.artifact import version_of
from lstm_model.contracts.bundle_card import read_model_card
from lstm_model.contracts.decision import Decision
from lstm_model.evaluation.scores import FEW_POINTS
from lstm_model.forecast.calibrate import NOT_CALIBRATED
from lstm_model.lifecycle.promotion import Gate, common_targets, decide
from lstm_model.lifecycle.rivalry import Comparison
from lstm_model.lifecycle.stage_outputs import read_forecasts, read_scales
from lstm_model.storage.store import Store
from lstm_model.training.leakage import Seen


def judge(match: Comparison, store: Store) -> Decision:
    """Decide whether a challenger takes over."""
    champion, spec, scores = match.rivalry.champion, match.spec, match.scores
    if scores.num_rows:
        cards = [read_model_card(store.path(one)) for one in (match.model, champion) if one]
        seen = [Seen.on_card(card, by_series=card.seen_through_by_series is not None) for card in cards]
        gate = Gate(read_scales(scores, store), spec.horizon, spec.evaluation_stride, spec.align == "end", match.rules)
        other = match.champion_scores
        theirs = read_forecasts(other, store) if other and other.num_rows else None
        table = common_targets(read_forecasts(scores, store), theirs, seen=seen, gate=gate)
    else:
        cards, seen, table = [read_model_card(store.path(match.model))], [], pd.DataFrame({"unique_id": [], "ds": []})
        gate = Gate(table, spec.horizon, stride=1, own_ends=False, settings=match.rules)
    decision = decide(table, champion=version_of(champion) if champion else None, gate=gate)
    decision = _add_warnings(decision, len(table), cards[0].notes)
    if match.damaged:
        return _mention_damage(decision, match.damaged)
    if match.rivalry.note:
        return _ask_a_person(decision, match.rivalry.note)
    if decision.verdict == "defer" and len(seen) > 1:
        through = f"the champion has seen targets up to {seen[-1].of_all}"
        return decision.model_copy(update={"warnings": (*decision.warnings, through)})
    return decision


def _mention_damage(decision: Decision, damaged: str) -> Decision:
    """Say first that there was a champion, which could not be compared with."""
    note = f"WARNING: the champion {damaged} is damaged; this model is judged as if it were the first."
    summary, others = f"{note} {decision.summary}", (one for one in decision.warnings if one != decision.summary)
    return decision.model_copy(update={"summary": summary, "warnings": (summary, *others)})


def _add_warnings(decision: Decision, num_targets: int, notes: list[str]) -> Decision:
    """Add what makes the decision, or the intervals of the challenger, less than sure."""
    warnings = [note for note in notes if NOT_CALIBRATED in note]
    if 0 < num_targets < FEW_POINTS:
        warnings.append(f"this decision rests on {num_targets} points only, which chance may decide")
    return decision.model_copy(update={"warnings": (*decision.warnings, *warnings)})


def _ask_a_person(decision: Decision, note: str) -> Decision:
    """Leave the decision to a person: the losses of models that forecast different things do not compare."""
    found = "it passes every check" if all(check.passed for check in decision.checks) else "it fails checks"
    summary = f"Waits for a person, the champion stays: {note}. Beside {decision.floor} {found}."
    kept = tuple(warning for warning in decision.warnings if not warning.startswith("WARNING"))
    return decision.model_copy(update={"verdict": "defer", "summary": summary, "warnings": kept})
