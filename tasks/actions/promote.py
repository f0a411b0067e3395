"""Change which bundle makes the forecasts. Never cached; doing it twice changes nothing more."""

from __future__ import annotations

from typing import Literal

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.logging import get_run_logger
from pydantic import BaseModel

from lstm_model.contracts.artifact import Artifact, version_of
from lstm_model.contracts.decision import Decision
from lstm_model.lifecycle.registry import ALIASES, BY_HAND, ChampionChangedError, Registry
from lstm_model.lifecycle.stage_outputs import read_decision
from lstm_model.reporting.markdown import escape_markdown
from lstm_model.storage.store import Store
from tasks.runtime.notify import tell
from tasks.runtime.prefect_ui import show_markdown
from tasks.runtime.promote_link import promote_link
from tasks.runtime.resume import choose_once, drop

Mode = Literal["auto", "never", "ask"]
Status = Literal["promoted", "rejected", "deferred", "unchanged", "waiting", "kept back"]


class Settled(BaseModel):
    """What became of a challenger."""

    status: Status
    bundle: str
    """Version of the bundle that was made."""
    champion: str | None
    """Version that forecasts from now on."""
    decision: Decision
    how_to_promote: str = ""
    """The command that makes the bundle champion; empty where it is."""
    link: str | None = None
    """The form in the UI that does the same; None where there is no such deployment."""


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def settle(
    bundle: Artifact, champion: Artifact | None, mode: Mode, name: str, notify: str | None, store: Store
) -> Settled:
    """Do what was decided: the last step of a retraining, one atomic change of a name.

    Args:
        bundle: gated; what is promoted is this, whatever is trained later.
        champion: what it was compared with.
        mode: auto does what the gate decided, ask leaves it to a person, never changes no name.
        name: of the problem.
        notify: block that is told of a rejection, or that a person is asked.
        store: of the problem.
    """
    registry, decision = Registry(store), read_decision(bundle, store)
    told_before = registry.get("challenger") == bundle
    status = _settle(registry, bundle, champion, mode=mode, decision=decision)
    command = f"python -m flows.promote {version_of(bundle)} --name {name} --store {store.backend.parent}"
    standing = status in ("promoted", "unchanged")
    settled = Settled(
        status=status,
        bundle=version_of(bundle),
        champion=_version(registry.get("champion")),
        decision=decision,
        how_to_promote="" if standing else command,
        link=None if standing else promote_link(name, version_of(bundle)),
    )
    log = get_run_logger()
    log.log(30 if decision.warnings or status != "promoted" else 20, "%s", decision.summary)
    if status in ("rejected", "waiting", "deferred") and not told_before:
        body = f"{decision.summary}\n\nTo promote it: {settled.how_to_promote}\n{settled.link or ''}".rstrip()
        tell(notify, f"{name}: challenger {version_of(bundle)} {status}", body)
    _show(name, registry)
    return settled


def _settle(
    registry: Registry, bundle: Artifact, champion: Artifact | None, *, mode: Mode, decision: Decision
) -> Status:
    if registry.get("champion") == bundle:
        return "unchanged" if champion == bundle else "promoted"
    if mode == "never":
        return "kept back"
    registry.propose(bundle)
    if mode == "ask" and decision.verdict != "defer":
        return "waiting"
    if decision.verdict != "promote":
        return "rejected" if decision.verdict == "reject" else "deferred"
    if registry.displaced_by_hand(bundle):
        get_run_logger().warning("%s was replaced by hand before: it waits for a person now", version_of(bundle))
        return "waiting"
    try:
        registry.promote(bundle, by="gate", why=decision.summary, instead_of=champion)
    except ChampionChangedError as error:
        get_run_logger().warning("%s", error)
        return "deferred"
    return "promoted"


class Promoted(BaseModel):
    """What a promotion by hand, or a rollback, changed."""

    name: str
    champion: str
    before: str | None
    changed: bool
    decision: Decision

    def summary(self) -> str:
        if not self.changed:
            return f"{self.champion} is the champion of {self.name} already; nothing changed"
        back = f"\nback     python -m flows.promote previous --name {self.name}" if self.before else ""
        return (
            f"{self.name}: champion {self.before or 'none'} → {self.champion}\ngate     {self.decision.summary}{back}"
        )


@task(name="promote by hand", task_run_name="promote {bundle}", cache_policy=NO_CACHE)
def promote_by_hand(bundle: str, name: str, reason: str, notify: str | None, store: Store) -> Promoted:
    """Make a bundle champion because a person says so; `previous` rolls back.

    Raises:
        ValueError: there is no such bundle, its files are damaged, or its forecasts are no numbers; the champion stays.
    """
    registry = Registry(store)
    before, chosen = registry.get("champion"), choose_once(store, lambda: registry.find(bundle))
    decision = read_decision(chosen, store)
    if any(check.name == "finite" and not check.passed for check in decision.checks):
        raise ValueError(f"{version_of(chosen)} is not promoted by anybody: its forecasts are not numbers")
    changed = registry.promote(chosen, by=BY_HAND, why=reason or f"promote {bundle}", instead_of="any")
    promoted = Promoted(
        name=name,
        champion=version_of(chosen),
        before=_version(before),
        changed=changed,
        decision=decision,
    )
    get_run_logger().info("%s", promoted.summary())
    if changed:
        tell(notify, f"{name}: {'rolled back' if bundle == 'previous' else 'promoted by hand'}", promoted.summary())
    _show(name, registry)
    drop(store)
    return promoted


def _show(name: str, registry: Registry) -> None:
    """The names and their history, in the UI."""
    state = registry.state()
    names = [f"| {alias} | `{_version(getattr(state, alias)) or '–'}` |" for alias in ALIASES]
    lines = [
        f"| {line.at} | `{line.champion or '–'}` | `{line.before or '–'}` | {line.by} | {escape_markdown(line.why)} |"
        for line in state.history[::-1][:20]
    ]
    heads = ("| name | bundle |", "| when (UTC) | champion | before | by | why |")
    rules = [f"|{' --- |' * (head.count('|') - 1)}" for head in heads]
    tables = ["## Bundles", "", heads[0], rules[0], *names, "", "## History", "", heads[1], rules[1], *lines]
    show_markdown("registry", name, "\n".join(tables), description=f"champion {_version(state.champion) or '–'}")


def _version(bundle: Artifact | None) -> str | None:
    return version_of(bundle) if bundle else None
