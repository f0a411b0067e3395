"""Keep which bundle makes the forecasts: three names for immutable bundles, in one small file.

One atomic replace of that file changes all names together, so that a process that dies at any moment leaves either
the old champion or the new one, and `previous` always leads back. In an object store it is replaced on the condition
that it is still what was read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import BaseModel, ConfigDict

from lstm_model.contracts.artifact import VERSION_DIGITS, Artifact, version_of
from lstm_model.storage.checksums import DamagedFileError
from lstm_model.storage.drafts import flush
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.notes import change_note, read_note
from lstm_model.storage.store import Store

Alias = Literal["champion", "challenger", "previous"]
ALIASES: tuple[Alias, ...] = ("champion", "challenger", "previous")
BUNDLE = "bundle"
FILE = "registry.json"
KEEP_CHANGES = 200
BY_HAND = "hand"


class Change(BaseModel):
    """One line of the history."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    at: str
    """UTC, ISO 8601."""
    champion: str | None
    """Version of the bundle that became champion; None: there is none since."""
    before: str | None
    by: str
    why: str


class RegistryState(BaseModel):
    """The whole file."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    champion: Artifact | None = None
    challenger: Artifact | None = None
    previous: Artifact | None = None
    history: tuple[Change, ...] = ()


class ChampionChangedError(ValueError):
    """Another promotion came between the gate and this one."""


class Registry:
    """The names of one problem's bundles."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def state(self) -> RegistryState:
        """All names as they are now.

        Raises:
            ValueError: the file is not what a registry writes.
        """
        with self._telling_the_way_out():
            try:
                return read_note(self._store.backend, FILE, RegistryState)
            except FileNotFoundError:
                return RegistryState()

    def get(self, alias: Alias) -> Artifact | None:
        """The bundle of that name, if there is one."""
        bundle: Artifact | None = getattr(self.state(), alias)
        return bundle

    def history(self) -> tuple[Change, ...]:
        """The latest changes of champion, oldest first."""
        return self.state().history

    def find(self, reference: str) -> Artifact:
        """A bundle by alias, by version or by any unique beginning of it.

        Raises:
            ValueError: there is none, or more than one; the message lists those that exist. Or its manifest is damaged.
        """
        if reference in ALIASES:
            bundle = self.get(reference)
            if bundle is None:
                raise ValueError(f"there is no {reference} yet; {self._known()}")
            return bundle
        wanted = reference.strip().lower()
        found = [sha256 for sha256 in self._list() if wanted and sha256.startswith(wanted)]
        if len(found) != 1:
            problem = "no bundle begins with" if not found else f"{len(found)} bundles begin with"
            raise ValueError(f"{problem} {reference!r}; {self._known()}")
        return self._named(found[0])

    def bundles(self) -> list[Artifact]:
        """Every bundle in the store whose manifest can be read, newest first."""
        found = []
        for sha256 in self._list():
            with suppress(DamagedArtifactError):
                found.append(self._named(sha256))
        return found

    def find_set_aside(self) -> str:
        """Return the version of a champion that was set aside, and that no other has followed; "" if there is none."""
        state = self.state()
        last = state.history[-1] if state.history else None
        return last.before or "" if last is not None and last.champion is None and state.champion is None else ""

    def displaced_by_hand(self, bundle: Artifact) -> bool:
        """Whether a person was the last to decide about a bundle, and replaced it: nobody else brings it back."""
        version = version_of(bundle)
        for line in reversed(self.state().history):
            if version in (line.champion, line.before):
                return line.before == version and line.by == BY_HAND
        return False

    def propose(self, bundle: Artifact) -> None:
        """Name the challenger: what was gated last and is not champion."""
        self._change(lambda state: state.model_copy(update={"challenger": bundle}))

    def promote(self, bundle: Artifact, *, by: str, why: str, instead_of: Artifact | Literal["any"] | None) -> bool:
        """Make a bundle champion, and the champion previous; False where it is champion already.

        Args:
            bundle: whole on disk; it is read and checked before the names change.
            by: who decided.
            why: in words, for the history.
            instead_of: the champion that the bundle was compared with, None for the first; "any" does not look.

        Raises:
            DamagedArtifactError: the bundle's files are not what was written.
            ChampionChangedError: the champion is no longer `instead_of`.
        """
        assert bundle.kind == BUNDLE, bundle

        def change(state: RegistryState) -> RegistryState:
            if state.champion == bundle:
                return state
            if instead_of != "any" and state.champion != instead_of:
                now = version_of(state.champion) if state.champion else "none"
                raise ChampionChangedError(
                    f"{version_of(bundle)} was compared with another champion than the present one ({now}), which was "
                    "promoted meanwhile; run retrain again to compare them, or promote it by hand"
                )
            before = state.champion or state.previous  # none forecasts since it was found damaged: the one before it
            line = Change(
                at=_now(),
                champion=version_of(bundle),
                before=version_of(state.champion) if state.champion else None,
                by=by,
                why=why,
            )
            return RegistryState(
                champion=bundle,
                challenger=None if state.challenger == bundle else state.challenger,
                previous=before if before != bundle else None,
                history=(*state.history, line)[-KEEP_CHANGES:],
            )

        self._store.touch(bundle)  # first, so that a clean-up that has not taken it yet leaves it alone
        try:
            self._store.verify(bundle)
        except DamagedArtifactError as error:
            raise DamagedArtifactError(f"{error}. Restore it, or promote another; {self._known()}") from error
        if not self._store.backend.is_shared:
            _flush(self._store.path(bundle))
        return self._change(change)

    def set_champion_aside(self, champion: Artifact, *, why: str) -> str:
        """Take its name from a champion that is damaged, and move its files away; `previous` stays.

        The files first: if this process dies between the two, the next one finds them missing, and goes on here.

        Returns:
            Where its files are kept.
        """
        place = self._store.backend.set_aside(champion)

        def change(state: RegistryState) -> RegistryState:
            if state.champion != champion:  # another run was faster
                return state
            line = Change(at=_now(), champion=None, before=version_of(champion), by="damage", why=why)
            return state.model_copy(update={"champion": None, "history": (*state.history, line)[-KEEP_CHANGES:]})

        self._change(change)
        return place

    def _change(self, change: Callable[[RegistryState], RegistryState]) -> bool:
        """Read, change and replace under a lock that dies with its holder; whether anything changed."""

        def rewrite(found: RegistryState | None) -> RegistryState | None:
            before = found or RegistryState()
            after = change(before)
            return after if after != before else None

        with self._store.lock("registry"), self._telling_the_way_out():
            return change_note(self._store.backend, FILE, RegistryState, rewrite)

    @contextmanager
    def _telling_the_way_out(self) -> Iterator[None]:
        backend = self._store.backend
        try:
            yield
        except DamagedFileError as error:
            raise ValueError(
                f"{error}. Nothing forecasts or is promoted until it can be believed: restore it, or move it away and "
                f"promote the champion that its history names last: python -m flows.promote ID --name {backend.name} "
                f"--store {backend.parent}"
            ) from None

    def _known(self) -> str:
        state = self.state()
        names = {b.sha256: alias for alias in ALIASES if (b := getattr(state, alias)) is not None}
        lines = [f"{sha[:VERSION_DIGITS]}{f' ({names[sha]})' if sha in names else ''}" for sha in self._list()[:10]]
        return f"the newest bundles are {', '.join(lines)}" if lines else "no bundle was made yet: run retrain first"

    def _list(self) -> list[str]:
        """The sha256 of every bundle that has a manifest, newest first."""
        whole = [(kept.made, kept.sha256) for kept in self._store.backend.artifacts(BUNDLE) if kept.made is not None]
        return [sha256 for _, sha256 in sorted(whole, reverse=True)]

    def _named(self, sha256: str) -> Artifact:
        unknown = Artifact(kind=BUNDLE, sha256=sha256, num_rows=0)
        return unknown.model_copy(update={"num_rows": self._store.num_rows(unknown)})


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")


def _flush(folder: Path) -> None:
    """Have the disk hold a bundle before any name leads to it: after a power cut there must be no empty champion."""
    for path in (*(f for f in folder.rglob("*") if f.is_file()), folder, folder.parent):
        flush(path)
