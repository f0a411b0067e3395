"""Judge a newly trained model against the champion, on targets that neither has seen."""

from __future__ import annotations

from prefect import task
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import name_covariates, read_bundle_card, read_model_card
from lstm_model.contracts.decision import Decision
from lstm_model.contracts.settings import Covariates, PipelineConfig, Plan, Promotion, WindowSpec
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import STAGE_POLICY
from tasks.stages.stage_outputs import DECISION, forecasts_of, scales_of


class Rivalry(BaseModel):
    """How the champion forecasts the challenger's targets: its own windows at the challenger's cutoffs."""

    champion: Artifact | None = None
    spec: WindowSpec | None = None
    covariates: Covariates = Covariates()
    note: str = ""
    """Why there is no champion to compare with, although there is one."""


def rivalry(champion: Artifact | None, config: PipelineConfig, plan: Plan, store: Store) -> Rivalry:
    """The champion as it is compared; without one, or with one that answers another question, there is none."""
    if champion is None:
        return Rivalry()
    try:
        card = read_bundle_card(store.path(champion))
        spec, covariates = card.read_plan().window, name_covariates(card.covariates)
    except ValueError as error:
        why = f"this version cannot read its card: {str(error).splitlines()[0]}"
        return Rivalry(note=f"champion {version_of(champion)} cannot be compared: {why}")
    ours = config.covariates
    missing = {*covariates.past, *covariates.future, *covariates.static} - {*ours.past, *ours.future, *ours.static}
    changes = [
        f"{name} changed from {before} to {now}"
        for name, before, now in (
            ("horizon", spec.horizon, plan.window.horizon),
            ("frequency", spec.frequency, plan.window.frequency),
        )
        if before != now
    ] + [f"it reads the covariate {name}, which is no longer declared" for name in sorted(missing)]
    if changes:
        return Rivalry(note=f"champion {version_of(champion)} cannot be compared: {'; '.join(changes)}")
    same = ("test_steps", "validation_steps", "train_steps", "evaluation_stride", "stride", "align", "pad_short")
    spec = spec.model_copy(update={name: getattr(plan.window, name) for name in same})
    return Rivalry(champion=champion, spec=spec, covariates=covariates)


@task(name="gate", task_run_name="gate", cache_policy=STAGE_POLICY, timeout_seconds=6 * 3600)
def gate(
    model: Artifact,
    scores: Artifact,
    rivalry: Rivalry,
    standing: Artifact | None,
    spec: WindowSpec,
    rules: Promotion,
    store: Store,
) -> Artifact:
    """The decision as an Artifact; `num_rows` is the number of series that it rests on.

    Args:
        model: the challenger.
        scores: its forecasts of the test.
        rivalry: the champion, if there is one to compare with.
        standing: the champion's forecasts of the same targets.
        spec: the challenger's windows.
        rules: margin, cap and the like.
        store: where all of them lie.
    """
    import pandas as pd

    from lstm_model.lifecycle.promotion import Gate, common_targets, decide
    from lstm_model.training.leakage import Seen

    if scores.num_rows:
        judged_by = Gate(
            scale=scales_of(scores, store),
            horizon=spec.horizon,
            stride=spec.evaluation_stride,
            own_ends=spec.align == "end",
            settings=rules,
        )
        models = [model, *([rivalry.champion] if rivalry.champion else [])]
        cards = [read_model_card(store.path(one)) for one in models]
        seen = [Seen.on_card(card, by_series=card.seen_through_by_series is not None) for card in cards]
        other = forecasts_of(standing, store) if standing and standing.num_rows else None
        table = common_targets(forecasts_of(scores, store), other, seen=seen, gate=judged_by)
    else:
        seen, table = [], pd.DataFrame({"unique_id": [], "ds": []})
        judged_by = Gate(scale=table, horizon=spec.horizon, stride=1, own_ends=False, settings=rules)
    version = version_of(rivalry.champion) if rivalry.champion else None
    decision = decide(table, champion=version, gate=judged_by)
    if rivalry.note:
        decision = _for_a_person(decision, rivalry.note)
    elif decision.verdict == "defer" and len(seen) > 1:
        through = f"the champion has seen targets up to {seen[-1].of_all}"
        decision = decision.model_copy(update={"warnings": (*decision.warnings, through)})
    with store.create("decision") as draft:
        (draft.folder / DECISION).write_text(decision.model_dump_json(indent=1), encoding="utf-8")
        draft.num_rows = decision.num_series
    return draft.artifact


def _for_a_person(decision: Decision, note: str) -> Decision:
    """Nothing says that a model which answers another question is better: whoever changed the question decides."""
    found = "it passes every check" if all(check.passed for check in decision.checks) else "it fails checks"
    summary = f"Waits for a person, the champion stays: {note}. Beside seasonal naive {found}."
    return decision.model_copy(update={"verdict": "defer", "summary": summary, "warnings": ()})
