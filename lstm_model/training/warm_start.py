"""Start a training from scratch, or from the weights of the model before it.

A model keeps two sets of weights: those of its search, which have seen nothing after the training cutoff, and those of
its refit, which have seen the validation too. A warm start goes on from each in its own stage, so that early stopping,
the calibration and the test never look at data that an ancestor was trained on.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.bundle_card import ModelCard, Start, read_bundle_card, read_model_card
from lstm_model.contracts.settings import Plan, TrainingSpec
from lstm_model.contracts.windows_meta import EncodedCovariates, Scaler, WindowsMeta
from lstm_model.forecast.bundle import load_bundle, read_weights
from lstm_model.forecast.forecaster import Forecaster, find_input_shape
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store
from lstm_model.timeline.aliases import drop_holidays
from lstm_model.timeline.frequency import Frequency
from lstm_model.training.leakage import Seen, SeenError, find_last_targets, find_latest, refuse_leaks, to_moment
from lstm_model.training.progress import Stage
from lstm_model.windows.in_memory import Windows

logger = logging.getLogger(__name__)

SEARCHED = "search.safetensors"
"""In a model's folder: the weights of the search, where a refit came after it."""
SHARE = 0.3
"""Most steps of a warm training, as a share of those from scratch."""
RATE = 0.3
"""Its highest learning rate, as a share of that from scratch."""


class ColdStartError(ValueError):
    """Weights that a training cannot or must not go on from; the message says why."""


@dataclass(frozen=True)
class Parent:
    """Weights to go on from."""

    sha256: str
    generation: int
    """Of what goes on from it."""
    scaler: Scaler
    searched: Mapping[str, Tensor]
    final: Mapping[str, Tensor]
    seen: Seen
    reason: str
    try_scratch: bool = False
    """Train from scratch as well, and keep the better one."""

    def weights(self, stage: Stage) -> Mapping[str, Tensor]:
        return self.searched if stage == "search" else self.final

    def start(self, losses: tuple[float, float] | None = None) -> Start:
        """What came of it; `losses` on validation are of the warm start and of the one from scratch, where both ran."""
        if losses is None:
            return Start(parent=self.sha256, generation=self.generation, reason=self.reason)
        warm, scratch = losses
        both = f"validation loss {warm:.4g} {self.reason}, {scratch:.4g} from scratch"
        if scratch < warm:
            return Start(reason=both)
        return Start(parent=self.sha256, generation=self.generation, reason=both)


def shorten_training(training: TrainingSpec) -> TrainingSpec:
    """Return the settings of a warm training: fewer steps, at a lower rate, without early stopping.

    The loss rises while the rate does, and falls with it: early stopping would end the training too soon.
    """
    steps = max(1, round(SHARE * training.max_steps))
    changes = {"max_steps": steps, "learning_rate": RATE * training.learning_rate, "patience": steps}
    return training.model_copy(update=changes)


def find_ancestor(bundle: Artifact | None, windows: Artifact, plan: Plan, store: Store) -> Artifact | None:
    """Return the bundle to go on from; if this training has made it, what that went on from: the same bytes again."""
    try:
        card = read_bundle_card(store.path(bundle)) if bundle else None
    except ValueError:
        return bundle  # what is wrong with it is told where it is read
    if (
        bundle is None
        or card is None
        or (card.windows_sha256, card.plan) != (windows.sha256, plan.model_dump(mode="json"))
    ):
        return bundle
    sha256 = card.warm and card.warm.parent
    if not sha256:
        return None
    ancestor = Artifact(kind=bundle.kind, sha256=sha256, num_rows=0)
    with suppress(DamagedArtifactError):  # which is told where it is read
        return ancestor.model_copy(update={"num_rows": store.num_rows(ancestor)})
    return ancestor


def choose_start(
    bundle: Artifact | None, store: Store, *, plan: Plan, meta: WindowsMeta, splits: tuple[Windows, Windows]
) -> tuple[Parent | None, Start]:
    """Return the weights to go on from, or why there are none."""
    if bundle is None:
        return None, Start()
    parent: Parent | None
    try:
        parent = find_parent(bundle, store, plan=plan, meta=meta, splits=splits)
    except ColdStartError as error:
        parent, start = None, Start(reason=str(error))
    else:
        start = parent.start()
    logger.info("%s", start.in_words())
    return parent, start


def find_parent(
    bundle: Artifact, store: Store, *, plan: Plan, meta: WindowsMeta, splits: tuple[Windows, Windows]
) -> Parent:
    """Return the weights of a bundle, if this training may go on from them.

    Args:
        bundle: the model.
        store: where it lies.
        plan: of the training.
        meta: of its windows.
        splits: the training and the validation windows.

    Raises:
        ColdStartError: it is switched off, the network or its inputs are others, the model has seen what this training
            is judged on, there is nothing new to see, or its files are damaged.
    """
    if not plan.training.warm_start:
        raise ColdStartError("training.warm_start is off")
    if plan.model.kind == "tutorial":
        raise ColdStartError("the tutorial's network always starts from scratch")
    try:
        store.verify(bundle)
        return _read_parent(bundle, store.path(bundle), plan=plan, meta=meta, splits=splits)
    except SeenError as error:
        raise ColdStartError(f"not {_name_bundle(bundle)}: {error}") from error
    except ValueError as error:
        if isinstance(error, ColdStartError):
            raise
        raise ColdStartError(f"{_name_bundle(bundle)} cannot be read: {error}") from error


def _read_parent(
    bundle: Artifact, folder: Path, *, plan: Plan, meta: WindowsMeta, splits: tuple[Windows, Windows]
) -> Parent:
    forecaster, card = load_bundle(folder), read_model_card(folder)
    changes = ", ".join(_find_changes(forecaster, card, plan=plan, meta=meta, train=splits[0]))
    if changes:
        raise ColdStartError(f"not {_name_bundle(bundle)}, which is another network: {changes}")
    by_series = plan.window.align == "end"
    if card.warm is None:
        raise ColdStartError(f"{_name_bundle(bundle)} cannot be read: 'warm' is not on its card")
    seen, generation = Seen.on_card(card, by_series=by_series), card.warm.generation + 1
    refuse_leaks(seen, *splits, by_series=by_series)
    end = find_latest(find_last_targets(splits[0], by_series=by_series))
    due = generation % plan.training.scratch_every == 0 or _is_far_behind(find_latest(seen.search), end, plan)
    if due and not len(splits[1]):
        raise ColdStartError("a training from scratch is due, and without validation nothing tells the better one")
    final, searched = forecaster.network.state_dict(), folder / SEARCHED
    return Parent(
        sha256=bundle.sha256,
        generation=generation,
        scaler=forecaster.scaler,
        searched=read_weights(searched, {name: t.shape for name, t in final.items()}) if searched.exists() else final,
        final=final,
        seen=seen,
        reason=f"from {_name_bundle(bundle)}, which was trained through {to_moment(find_latest(seen.search))}",
        try_scratch=due,
    )


def _find_changes(
    forecaster: Forecaster, card: ModelCard, *, plan: Plan, meta: WindowsMeta, train: Windows
) -> Iterator[str]:
    """Yield each difference that keeps the weights from fitting, as "hidden_dim 64 → 32"."""
    was, now = forecaster.spec.model_dump(exclude={"dropout"}), plan.model.model_dump(exclude={"dropout"})
    was |= asdict(forecaster.shape)
    now |= asdict(find_input_shape(train, season=plan.window.season))
    was |= {"frequency": drop_holidays(card.frequency), **_describe_inputs(card.covariates)}
    now |= {"frequency": drop_holidays(meta.frequency), **_describe_inputs(meta.covariates)}
    for name in was:
        if was[name] != now[name]:
            yield f"{name} {was[name]} → {now[name]}"


def _describe_inputs(covariates: EncodedCovariates) -> dict[str, Any]:
    """Return what the weights read; the dates of holidays are not part of it, since each year brings more."""
    calendar = covariates.calendar and covariates.calendar.model_copy(update={"holidays": {}})
    return {**covariates.model_dump(exclude={"calendar"}), "calendar": calendar and calendar.model_dump()}


def _is_far_behind(end: Any, new_end: Any, plan: Plan) -> bool:
    """Return whether `scratch_every` horizons are newer than the model: no model trained from it was good enough."""
    most = plan.training.scratch_every * plan.window.horizon
    return bool(Frequency(plan.window.frequency).advance_one(end, most) <= new_end)


def _name_bundle(bundle: Artifact) -> str:
    return f"model {version_of(bundle)}"
