"""Choose what the config leaves open, once: later runs reuse the choice, so that nights do not drift."""

from __future__ import annotations

import hashlib
import logging

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.resolved import Resolved
from lstm_model.contracts.settings import PipelineConfig
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.lifecycle.stage_outputs import read_clock, read_inferred_source, read_profile
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.notes import read_note, write_note
from lstm_model.storage.store import Store
from lstm_model.timeline.aliases import drop_holidays

logger = logging.getLogger(__name__)

RECENT_HORIZONS = 8
"""Training targets after drift, in horizons: enough to learn from, few enough to be of the new kind before long."""


def choose_settings(
    config: PipelineConfig, series: Artifact, store: Store, *, refresh: bool, drifted: bool
) -> Resolved:
    """Return the choices made when this config was first run on this store; choose now if it is the first time.

    Args:
        config: what the user wrote.
        series: the data.
        store: where choices are kept.
        refresh: choose again, too.
        drifted: the data have changed of late: train, validate and test on the latest of them.

    Raises:
        ValueError: the data no longer have the frequency that the choices were made for.
    """
    facts = read_profile(series, store)
    resolved = _choose_or_read(config, series, store, facts, refresh=refresh)
    resolved = check_transform(resolved, facts, config.advanced.model.transform)
    return _adapt_to_drift(resolved) if drifted else resolved


def _choose_or_read(
    config: PipelineConfig, series: Artifact, store: Store, facts: Profile, *, refresh: bool
) -> Resolved:
    """Read what was chosen for this config before; choose, and keep it, if there is nothing or on refresh."""
    pinned = f"plans/{_digest(config)}.json"
    resolved = None if refresh else _read_kept(store, pinned)
    if resolved is not None:
        if drop_holidays(resolved.plan.window.frequency) != drop_holidays(facts.frequency):
            raise ValueError(
                f"the data now look like frequency {facts.frequency!r}; this pipeline was set up for "
                f"{resolved.plan.window.frequency!r}. Mend the source, or run once with refresh to choose again"
            )
        logger.info("settings as chosen at the first run of this config; --refresh chooses again")
        resolved = _update_holidays(resolved, facts.frequency)
        return _on_this_machine(resolved, config)
    from lstm_model.series import infer

    source = read_inferred_source(series, store)
    clock = read_clock(series, store)
    filled, plan, chosen = infer.infer_plan(config.model_copy(update={"source": source}), facts, clock=clock)
    reasons = [*infer.explain_source(source, store.read_meta(series, SeriesMeta).reasons), *chosen]
    resolved = Resolved(config=filled, plan=plan, reasons=reasons)
    write_note(store.backend, pinned, resolved)
    for name, value, reason in reasons:
        logger.info("%-18s %s (%s)", name, value, reason)
    return resolved


def _update_holidays(resolved: Resolved, frequency: str) -> Resolved:
    """Return the same choices with the closed dates that the data have now."""
    if resolved.plan.window.frequency == frequency:
        return resolved
    logger.info("the closed dates of the data changed: frequency is now %s", frequency)
    window = resolved.plan.window.model_copy(update={"frequency": frequency})
    config = resolved.config.model_copy(update={"frequency": frequency})
    return resolved.model_copy(update={"plan": resolved.plan.model_copy(update={"window": window}), "config": config})


def _on_this_machine(resolved: Resolved, config: PipelineConfig) -> Resolved:
    """Return the same choices, computed with the means that the config names now."""
    asked = config.advanced.training
    means = {"workers": asked.workers, "memory_mib": asked.memory_mib}
    training = resolved.plan.training.model_copy(update=means)
    return resolved.model_copy(update={"plan": resolved.plan.model_copy(update={"training": training})})


def _adapt_to_drift(resolved: Resolved) -> Resolved:
    """Return the same choices for data that have changed: the shortest test, the latest past, two starts."""
    window, training = resolved.plan.window, resolved.plan.training
    changes = {name: min(getattr(window, name), window.horizon) for name in ("test_steps", "validation_steps")}
    changes["train_steps"] = window.context + RECENT_HORIZONS * window.horizon
    plan = resolved.plan.model_copy(
        update={
            "window": window.model_copy(update=changes),
            "training": training.model_copy(update={"scratch_every": 1}),
        }
    )
    why = "after drift: what came before it teaches what is no longer so"
    reasons = [r for r in resolved.reasons if r[0] not in changes] + [(k, str(v), why) for k, v in changes.items()]
    return resolved.model_copy(update={"plan": plan, "reasons": reasons})


def check_transform(resolved: Resolved, facts: Profile, wanted: str | None) -> Resolved:
    """Warn, with every run, if logarithms no longer suit the data; `wanted` is what the user's config says."""
    if resolved.plan.model.transform != "log" or facts.lowest > 0:
        return resolved
    fix = "set advanced.model.transform to none" if wanted else "run once with refresh to choose again"
    why = f"there are values of 0 or less, which logarithms take as missing; {fix}"
    logger.warning("transform is log, but %s", why)
    reasons = [row for row in resolved.reasons if row[0] != "transform"] + [("transform", "log", why)]
    return resolved.model_copy(update={"reasons": reasons})


def _read_kept(store: Store, name: str) -> Resolved | None:
    """Read an earlier choice; None where there is none, or one that is damaged or of another version."""
    try:
        return read_note(store.backend, name, Resolved)
    except FileNotFoundError:
        return None
    except DamagedFileError as error:
        logger.warning("%s. Choosing the settings again", error)
        return None


def _digest(config: PipelineConfig) -> str:
    """Hash all that choices depend on: when it runs and what it is called do not matter."""
    return hashlib.sha256(config.select_modelling_settings().model_dump_json().encode()).hexdigest()[:32]
