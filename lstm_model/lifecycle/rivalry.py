"""Find out whether a champion can be compared with its challenger, and on which windows."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import name_covariates, read_bundle_card
from lstm_model.contracts.settings import Covariates, Plan, Promotion, WindowSpec
from lstm_model.storage.store import Store
from lstm_model.timeline.aliases import drop_holidays

SHARED = (
    *("test_steps", "validation_steps", "train_steps", "evaluation_stride", "stride", "align", "pad_short"),
    "frequency",  # whose holidays more data may have added to
)
"""What the champion's windows take over from the challenger's, so that both forecast the same targets."""


class Rivalry(BaseModel):
    """How the champion forecasts the challenger's targets: its own windows at the challenger's cutoffs."""

    champion: Artifact | None = None
    spec: WindowSpec | None = None
    covariates: Covariates = Covariates()
    note: str = ""
    """Why there is no champion to compare with, although there is one."""


class Comparison(BaseModel):
    """A challenger and the champion that it is compared with, on the same targets."""

    model_config = ConfigDict(frozen=True)

    model: Artifact
    """The challenger."""
    scores: Artifact
    """Of the challenger's test."""
    rivalry: Rivalry
    """The champion, if there is one to compare with."""
    damaged: str = ""
    """Version of a champion that is not compared with, because its files are damaged."""
    champion_scores: Artifact | None
    """Of the champion, on the same targets."""
    spec: WindowSpec
    """The challenger's windows."""
    rules: Promotion


def find_rivalry(champion: Artifact | None, declared: Covariates, plan: Plan, store: Store) -> Rivalry:
    """Return the champion as it is compared; without one, or with one that answers another question, there is none.

    Args:
        champion: the bundle that forecasts now.
        declared: the covariates that the config declares now.
        plan: of the challenger.
        store: where the champion lies.
    """
    if champion is None:
        return Rivalry()
    try:
        card = read_bundle_card(store.path(champion))
        spec, covariates = card.read_plan().window, name_covariates(card.covariates)
    except ValueError as error:
        return _cannot_compare(champion, f"this version cannot read its card: {str(error).splitlines()[0]}")
    changes = _find_changes(spec, covariates, declared=declared, plan=plan)
    if changes:
        return _cannot_compare(champion, "; ".join(changes))
    shared = {name: getattr(plan.window, name) for name in SHARED}
    # With the holidays that it was trained on, as it forecasts.
    spec = spec.model_copy(update={**shared, "calendar": card.covariates.calendar})
    return Rivalry(champion=champion, spec=spec, covariates=covariates)


def find_unchanged(champion: Artifact | None, model: Artifact, store: Store) -> Artifact | None:
    """Return the champion if its bundle holds this very model: nothing is left to decide. Else return None."""
    if champion is None:
        return None
    try:
        return champion if read_bundle_card(store.path(champion)).model_sha256 == model.sha256 else None
    except ValueError:
        return None  # a card of another version: the gate says so


def _cannot_compare(champion: Artifact, why: str) -> Rivalry:
    return Rivalry(note=f"champion {version_of(champion)} cannot be compared: {why}")


def _find_changes(spec: WindowSpec, covariates: Covariates, *, declared: Covariates, plan: Plan) -> list[str]:
    """Say what makes the champion's question another one than the challenger's."""
    names = {*covariates.past, *covariates.future, *covariates.static}
    missing = names - {*declared.past, *declared.future, *declared.static}
    pairs = {
        "horizon": (str(spec.horizon), str(plan.window.horizon)),
        "frequency": (drop_holidays(spec.frequency), drop_holidays(plan.window.frequency)),
    }
    return [
        *(f"{name} changed from {before} to {now}" for name, (before, now) in pairs.items() if before != now),
        *(f"it reads the covariate {name}, which is no longer declared" for name in sorted(missing)),
    ]
