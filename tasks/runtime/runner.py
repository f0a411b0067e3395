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

    def __call__(self, stage: Stage, **inputs: Any) -> Artifact:
        """Return the stage's artifact, whole on disk: from the cache if the key is known, else computed."""
        began, call = time.monotonic(), StageCall(stage, inputs, self.store)
        with self._lock(call):
            done = self._run(call)
        return self._note(stage, [done], began)[0]

    def each(self, stage: Stage, inputs: Sequence[Inputs]) -> list[Artifact]:
        """Run one stage for several inputs at once, where `scaling` puts them; in the order of the inputs.

        An error is raised when all have ended, so that what was finished is kept. If less than two are unknown to
        the cache, they are run here, one after another: a process of its own takes seconds to start.
        """
        calls = [StageCall(stage, one, self.store) for one in inputs]
        known = [not self.refresh and call.find_record() for call in calls]
        if known.count(False) < 2:
            return [self(stage, **one) for one in inputs]
        began = time.monotonic()
        with ExitStack() as locks:
            by_key = {call.key: call for call in calls}
            for key in sorted(by_key):  # one order, or two runs wait for each other
                locks.enter_context(self._lock(by_key[key]))
            locks.enter_context(one_server())
            submit = locks.enter_context(submitting(self.scaling))
            here = calls[0].configure_stage(refresh=self.refresh)
            # What is known is not submitted: another machine would not find the record of it.
            futures = [
                None if found else submit(here, {**call.inputs, "store": self.store})
                for call, found in zip(calls, known, strict=True)
            ]
            try:
                done = self._collect(calls, futures)
            except Exception:
                raise
            except BaseException:  # Ctrl-C, or a cancellation
                end_workers()
                raise
        return self._note(stage, done, began)

    def _lock(self, call: StageCall) -> AbstractContextManager[None]:
        text = "%s: another run computes the same; waiting for it"
        return self.store.lock(call.key, on_wait=lambda: get_run_logger().info(text, call.stage.name))

    def _note(self, stage: Stage, done: Sequence[tuple[Artifact, CacheOutcome]], began: float) -> list[Artifact]:
        seconds = round(time.monotonic() - began, 2)
        self.records += [
            StageRecord(stage=stage.name, outcome=outcome, seconds=seconds, artifact=artifact)
            for artifact, outcome in done
        ]
        return [artifact for artifact, _ in done]

    def _collect(
        self, calls: Sequence[StageCall], futures: Sequence[PrefectFuture[Any] | None]
    ) -> list[tuple[Artifact, CacheOutcome]]:
        """Wait for all; each result is kept as soon as it is there, also if another one failed."""
        done: list[tuple[Artifact, CacheOutcome]] = []
        failed: list[Exception] = []
        for call, future in zip(calls, futures, strict=True):
            try:
                if future is None:
                    done.append(self._run(call))
                else:
                    artifact: Artifact = future.result()
                    done.append(self._settle(call, artifact, cached=future.state.name == "Cached"))
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return done

    def _run(self, call: StageCall) -> tuple[Artifact, CacheOutcome]:
        call.find_record()
        artifact, cached = call.run(refresh=self.refresh)
        return self._settle(call, artifact, cached=cached)

    def _settle(self, call: StageCall, artifact: Artifact, *, cached: bool) -> tuple[Artifact, CacheOutcome]:
        """Share what was computed, and believe nothing from the cache that is not whole."""
        was_cached = cached
        while not cached:
            if call.share_record(artifact, replace=self.refresh):
                return artifact, "computed"
            call.find_record()
            artifact, cached = call.run(refresh=False)
        try:
            self.store.touch(artifact)  # first: a clean-up beside this run then leaves it alone
            self.store.verify(artifact)
            return artifact, "cached" if was_cached else "computed"
        except DamagedArtifactError as damage:
            name = call.stage.name
            get_run_logger().warning("%s: the cached artifact is damaged (%s); computing it again", name, damage)
            mended, _ = call.run(refresh=True)
            call.share_record(mended, replace=True)
            return mended, "repaired" if was_cached else "computed"
