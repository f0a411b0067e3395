"""Call a stage through Prefect, and keep its artifact in a record that the next call of the same key finds.

Prefect could keep such records itself, but reads each with the serializer that the record names, pickle among them:
whoever may write to a store could run code on every machine that reads it. So Prefect neither writes nor reads them; it
shows the stages that were found as cached.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from copy import copy
from dataclasses import dataclass
from functools import cached_property, wraps
from typing import Any

from prefect.client.schemas import State
from prefect.states import Completed

from lstm_model.contracts.artifact import Artifact
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.notes import add_note, read_note, write_note
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import Inputs, Stage, stage_key
from tasks.runtime.logs import find_logger


@dataclass(frozen=True)
class StageCall:
    """One stage with its inputs, on one store."""

    stage: Stage
    inputs: Inputs
    store: Store

    @cached_property
    def key(self) -> str:
        """The cache key, which also names the lock and the record."""
        return stage_key(self.stage, self.inputs)

    def find_record(self) -> Artifact | None:
        """Return the artifact that the record names for this key; one that names none is removed, as if missing."""
        try:
            return read_note(self.store.backend, self._name, Artifact)
        except FileNotFoundError:
            return None
        except ValueError as error:
            find_logger().warning("a record that names no artifact for its stage is removed: %s", error)
            self.store.backend.remove(self._name)
            return None

    def compute(self, *, replace: bool) -> Artifact:
        """Run the stage here; see `make_recording`."""
        stage: Any = self.make_recording(replace=replace)
        artifact: Artifact = stage(**self.inputs, store=self.store)
        return artifact

    def make_recording(self, *, replace: bool) -> Stage:
        """Return the stage as a task that also writes the record, at once and on the machine that runs it.

        It returns what another machine recorded meanwhile, unless that is damaged or to be replaced.
        """
        return self._with_body(lambda *args, **kwargs: self._record(self.stage.fn(*args, **kwargs), replace=replace))

    def show_cached(self, artifact: Artifact) -> None:
        """Have Prefect show the stage as cached."""
        state: State[Artifact] = Completed(name="Cached", data=artifact)
        stage: Any = self._with_body(lambda *args, **kwargs: state)
        stage(**self.inputs, store=self.store)

    def _with_body(self, body: Callable[..., Any]) -> Stage:
        task = copy(self.stage)
        task.fn = wraps(self.stage.fn)(body)
        return task

    def _record(self, artifact: Artifact, *, replace: bool) -> Artifact:
        backend = self.store.backend
        if backend.is_shared and not replace:
            if add_note(backend, self._name, artifact):
                return artifact
            faster = self.find_record()
            with suppress(DamagedArtifactError):
                if faster is not None:
                    self.store.touch(faster)
                    self.store.verify(faster)
                    return faster
        write_note(backend, self._name, artifact)
        return artifact

    @property
    def _name(self) -> str:
        return f"results/{self.key}"
