"""Call a stage through Prefect's cache, whose records machines share if the store is an object store."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from prefect.results import ResultStore

from lstm_model.contracts.artifact import Artifact
from lstm_model.storage.drafts import write_atomically
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import Inputs, Stage, stage_key


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

    def run(self, *, refresh: bool) -> tuple[Artifact, bool]:
        """Return the stage's artifact, and whether it is from the cache."""
        state: Any = self.configure_stage(refresh=refresh)(**self.inputs, store=self.store, return_state=True)
        artifact: Artifact = state.result()
        return artifact, state.name == "Cached"

    def configure_stage(self, *, refresh: bool) -> Stage:
        """Return the stage with its results kept in the store, where `refresh` has it computed in any case."""
        return self.stage.with_options(
            result_storage=self.store.root / "results",
            result_serializer="json",
            persist_result=True,
            refresh_cache=refresh,
        )

    def find_record(self) -> bool:
        """Bring the record to where Prefect looks for it, if the backend has one; tell whether there is any."""
        if self.store.backend.is_shared:
            with suppress(FileNotFoundError):  # what only this machine knows is verified like any hit
                write_atomically(self.store.root / self._record, self.store.backend.read(self._record))
        return (self.store.root / self._record).exists()

    def share_record(self, artifact: Artifact, *, replace: bool) -> bool:
        """Have other machines know the result; False if one of them was faster, whose result counts here too."""
        if not self.store.backend.is_shared:
            return True
        path = self.store.root / self._record
        if replace or not path.exists():  # another machine computed it, and kept the record to itself
            results: Any = ResultStore().update_for_task(self.configure_stage(refresh=False))
            results.write(artifact, key=path.name)
        if replace:
            self.store.backend.write(self._record, path.read_bytes())
            return True
        return self.store.backend.add(self._record, path.read_bytes()) is not None

    @property
    def _record(self) -> str:
        return f"results/{self.key}"
