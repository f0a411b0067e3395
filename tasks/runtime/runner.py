"""Run stages or take their results from the cache: the cache rule, in one place.

A hit is believed only after the artifact's files were checked; a damaged one is made again. Two runs of one key: the
second waits on a lock that the operating system frees when its holder dies, then reads.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, field
from typing import Any

from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Scaling
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store
from tasks.runtime.cache_key import Inputs, Stage
from tasks.runtime.executors import submitting
from tasks.runtime.logs import hide_lost_connections
from tasks.runtime.records import CacheOutcome, StageRecord
from tasks.runtime.stage_call import StageCall
from tasks.runtime.worker_processes import end_workers, one_server


@dataclass
class StageRunner:
    """Runs cached stages against one store, and remembers what became of them."""

    store: Store
    scaling: Scaling = field(default_factory=Scaling)
    refresh: bool = False
    records: list[StageRecord] = field(default_factory=list)

    def __post_init__(self) -> None:
        hide_lost_connections()

    def __call__(self, stage: Stage, **inputs: Any) -> Artifact:
        """Return the stage's artifact, whole on disk: from the cache if the key is known, else computed."""
        began, call = time.monotonic(), StageCall(stage, inputs, self.store)
        with self._lock(call):
            done = self._serve(call, self._find(call))
        return self._note(stage, [done], began)[0]

    def each(self, stage: Stage, inputs: Sequence[Inputs]) -> list[Artifact]:
        """Run one stage for several inputs at once, where `scaling` puts them; in the order of the inputs.

        An error is raised when all have ended, so that what was finished is kept. If less than two are unknown to
        the cache, they are run here, one after another: a process of its own takes seconds to start.
        """
        calls = [StageCall(stage, one, self.store) for one in inputs]
        if sum(self._find(call) is None for call in calls) < 2:
            return [self(stage, **one) for one in inputs]
        began = time.monotonic()
        with ExitStack() as locks:
            by_key = {call.key: call for call in calls}
            for key in sorted(by_key):  # one order, or two runs wait for each other
                locks.enter_context(self._lock(by_key[key]))
            locks.enter_context(one_server())
            submit = locks.enter_context(submitting(self.scaling))
            known = [self._find(call) for call in calls]  # again: another run may have held the locks
            here = {"store": self.store}
            futures = [
                None if found else submit(call.make_recording(replace=self.refresh), call.inputs | here)
                for call, found in zip(calls, known, strict=True)
            ]
            try:
                done = self._collect(calls, known, futures)
            except Exception:
                raise
            except BaseException:  # Ctrl-C, or a cancellation
                end_workers()
                raise
        return self._note(stage, done, began)

    def _find(self, call: StageCall) -> Artifact | None:
        return None if self.refresh else call.find_record()

    def _lock(self, call: StageCall) -> AbstractContextManager[None]:
        text = "%s: another run computes the same; %s"
        return self.store.lock(call.key, on_wait=lambda told: get_run_logger().info(text, call.stage.name, told))

    def _note(self, stage: Stage, done: Sequence[tuple[Artifact, CacheOutcome]], began: float) -> list[Artifact]:
        seconds = round(time.monotonic() - began, 2)
        self.records += [
            StageRecord(stage=stage.name, outcome=outcome, seconds=seconds, artifact=artifact)
            for artifact, outcome in done
        ]
        return [artifact for artifact, _ in done]

    def _collect(
        self,
        calls: Sequence[StageCall],
        known: Sequence[Artifact | None],
        futures: Sequence[PrefectFuture[Any] | None],
    ) -> list[tuple[Artifact, CacheOutcome]]:
        """Wait for all, also if one failed: the others leave their records."""
        done: list[tuple[Artifact, CacheOutcome]] = []
        failed: list[Exception] = []
        for call, found, future in zip(calls, known, futures, strict=True):
            try:
                done.append(self._serve(call, found) if future is None else (future.result(), "computed"))
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return done

    def _serve(self, call: StageCall, found: Artifact | None) -> tuple[Artifact, CacheOutcome]:
        """Return the artifact that was found if it is whole; otherwise compute it."""
        if found is None:
            return call.compute(replace=self.refresh), "computed"
        try:
            self.store.touch(found)  # first: a clean-up beside this run then leaves it alone
            self.store.verify(found)
        except DamagedArtifactError as damage:
            name = call.stage.name
            get_run_logger().warning("%s: the cached artifact is damaged (%s); computing it again", name, damage)
            return call.compute(replace=True), "repaired"
        call.show_cached(found)
        return found, "cached"
