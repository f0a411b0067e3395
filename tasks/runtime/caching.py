"""Run a stage or take its result from the cache: the cache rule, in one place.

The key of a stage = its name + its inputs (its own section of the config, Artifacts by their sha256) + the code that
it runs (`code_hash.py`). A hit is believed only after the artifact's files were checked; a damaged one is made again.
Two runs of one key: the second waits on a lock that the operating system frees when its holder dies, then reads.
"""

from __future__ import annotations

import hashlib
import inspect
import json
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from prefect import Task
from prefect.cache_policies import CacheKeyFnPolicy
from prefect.context import TaskRunContext
from prefect.futures import PrefectFuture
from prefect.logging import get_run_logger
from prefect.results import ResultStore
from pydantic import BaseModel
from pydantic_core import to_jsonable_python

from lstm_model.contracts.artifact import Artifact
from lstm_model.contracts.settings import Scaling
from lstm_model.storage.drafts import write_atomically
from lstm_model.storage.manifest import DamagedArtifactError
from lstm_model.storage.store import Store
from tasks.runtime.code_hash import closure_hash
from tasks.runtime.executors import submitting
from tasks.runtime.worker_processes import end_workers, one_server

CacheOutcome = Literal["cached", "computed", "repaired"]

UNKEYED = frozenset({"parent", "ray_address"})
"""Inputs that do not count: where a training starts changes how long it takes, not what is asked for. Were the champion
in the key, each promotion would make the next run train again on the same data."""


class StageRecord(BaseModel):
    """What became of one stage in one run."""

    stage: str
    outcome: CacheOutcome
    seconds: float
    artifact: Artifact


class Together(BaseModel):
    """The records of one stage over all shards, or of one call, for a person."""

    name: str
    """Such as ingest, or ingest ×8."""
    outcome: str
    seconds: float
    """Of the longest: they ran side by side."""
    artifact: str
    """Digits of its name; of several, of the first."""


def together(records: Sequence[StageRecord]) -> list[Together]:
    """One line a stage and outcome, in the order of the first."""
    groups: dict[tuple[str, str], list[StageRecord]] = {}
    for record in records:
        groups.setdefault((record.stage, record.outcome), []).append(record)
    return [
        Together(
            name=stage if len(group) == 1 else f"{stage} ×{len(group)}",
            outcome=outcome,
            seconds=max(record.seconds for record in group),
            artifact=group[0].artifact.sha256[:12] + (" …" if len(group) > 1 else ""),
        )
        for (stage, outcome), group in groups.items()
    ]


def stage_key(stage: Task[..., Any], inputs: dict[str, Any]) -> str:
    """The cache key of a stage for these inputs; where the store lies does not count, nor do `UNKEYED` inputs.

    What is not given counts as its default: Prefect asks with all of them, a flow with those that it names.
    """
    given = inspect.signature(stage.fn).bind_partial(**inputs)
    given.apply_defaults()
    counted = {k: value for k, value in given.arguments.items() if k not in UNKEYED and not isinstance(value, Store)}
    text = json.dumps(to_jsonable_python(counted), sort_keys=True)
    module = stage.fn.__module__
    digest = hashlib.sha256("\0".join([module, stage.fn.__qualname__, text, closure_hash(module)]).encode())
    return f"{stage.fn.__name__}-{digest.hexdigest()}"


def _key_of_call(context: TaskRunContext, inputs: dict[str, Any]) -> str:
    return stage_key(context.task, inputs)


STAGE_POLICY = CacheKeyFnPolicy(cache_key_fn=_key_of_call)
"""For `@task(cache_policy=...)` of every stage whose result is an Artifact."""


def _tell_wait(stage: Task[..., Any]) -> None:
    get_run_logger().info("%s: another run computes the same; waiting for it", stage.name)


@dataclass
class StageRunner:
    """Runs cached stages against one store, and remembers what became of them."""

    store: Store
    scaling: Scaling = field(default_factory=Scaling)
    refresh: bool = False
    records: list[StageRecord] = field(default_factory=list)

    def __call__(self, stage: Task[..., Any], **inputs: Any) -> Artifact:
        """The stage's artifact, whole on disk: from the cache where the key is known, else computed."""
        began = time.monotonic()
        with self.store.lock(stage_key(stage, inputs), on_wait=lambda: _tell_wait(stage)):
            artifact, outcome = self._run(stage, inputs)
        seconds = round(time.monotonic() - began, 2)
        self.records.append(StageRecord(stage=stage.name, outcome=outcome, seconds=seconds, artifact=artifact))
        return artifact

    def each(self, stage: Task[..., Any], inputs: Sequence[dict[str, Any]]) -> list[Artifact]:
        """One stage for several inputs at once, where `scaling` puts them; in the order of the inputs.

        An error is raised when all have ended, so that what was finished is kept. Where less than two are unknown to
        the cache, they are run here, one after another: a process of its own takes seconds to start.
        """
        known = [self._is_known(stage, one) for one in inputs]
        if known.count(False) < 2:
            return [self(stage, **one) for one in inputs]
        began = time.monotonic()
        with ExitStack() as locks:
            for key in sorted({stage_key(stage, one) for one in inputs}):  # one order, or two runs wait for each other
                locks.enter_context(self.store.lock(key, on_wait=lambda: _tell_wait(stage)))
            locks.enter_context(one_server())
            submit = locks.enter_context(submitting(self.scaling))
            here = self._here(stage, refresh=self.refresh)
            # What is known is not submitted: another machine would not find the record of it.
            futures = [
                None if found else submit(here, {**one, "store": self.store})
                for one, found in zip(inputs, known, strict=True)
            ]
            try:
                done = self._collect(stage, inputs, futures)
            except Exception:
                raise
            except BaseException:  # Ctrl-C, or a cancellation
                end_workers()
                raise
        seconds = round(time.monotonic() - began, 2)
        for artifact, outcome in done:
            self.records.append(StageRecord(stage=stage.name, outcome=outcome, seconds=seconds, artifact=artifact))
        return [artifact for artifact, _ in done]

    def _collect(
        self, stage: Task[..., Any], inputs: Sequence[dict[str, Any]], futures: Sequence[PrefectFuture[Any] | None]
    ) -> list[tuple[Artifact, CacheOutcome]]:
        """Wait for all; each result is kept as soon as it is there, also where another one failed."""
        done: list[tuple[Artifact, CacheOutcome]] = []
        failed: list[Exception] = []
        for one, future in zip(inputs, futures, strict=True):
            try:
                if future is None:
                    done.append(self._run(stage, one))
                else:
                    artifact: Artifact = future.result()
                    done.append(self._checked(stage, one, artifact, future.state.name == "Cached"))
            except Exception as error:
                failed.append(error)
        if failed:
            raise failed[0]
        return done

    def _is_known(self, stage: Task[..., Any], inputs: dict[str, Any]) -> bool:
        return not self.refresh and self._record(stage, inputs).exists()

    def _run(self, stage: Task[..., Any], inputs: dict[str, Any]) -> tuple[Artifact, CacheOutcome]:
        self._record(stage, inputs)
        return self._checked(stage, inputs, *self._call(stage, inputs, refresh=self.refresh))

    def _checked(
        self, stage: Task[..., Any], inputs: dict[str, Any], artifact: Artifact, cached: bool
    ) -> tuple[Artifact, CacheOutcome]:
        if not cached:
            return self._share(stage, inputs, artifact, replace=self.refresh), "computed"
        try:
            self.store.touch(artifact)  # first: a clean-up beside this run then leaves it alone
            self.store.verify(artifact)
            return artifact, "cached"
        except DamagedArtifactError as damage:
            get_run_logger().warning("%s: the cached artifact is damaged (%s); computing it again", stage.name, damage)
            mended = self._call(stage, inputs, refresh=True)[0]
            return self._share(stage, inputs, mended, replace=True), "repaired"

    def _record(self, stage: Task[..., Any], inputs: dict[str, Any]) -> Path:
        """Where Prefect looks for the stage's result; from a shared home it is brought there."""
        name = f"results/{stage_key(stage, inputs)}"
        path = self.store.root / name
        if self.store.home.is_shared:
            with suppress(FileNotFoundError):  # what this machine knows alone is verified like any hit
                write_atomically(path, self.store.home.read(name))
        return path

    def _share(self, stage: Task[..., Any], inputs: dict[str, Any], artifact: Artifact, *, replace: bool) -> Artifact:
        """Have other machines know a result; where one of them was faster, its result counts here too."""
        if not self.store.home.is_shared:
            return artifact
        name = f"results/{stage_key(stage, inputs)}"
        path = self.store.root / name
        if replace or not path.exists():  # another machine computed it, and kept the record to itself
            results: Any = ResultStore().update_for_task(self._here(stage, refresh=False))
            results.write(artifact, key=path.name)
        record = path.read_bytes()
        if replace:
            self.store.home.write(name, record)
        elif self.store.home.add(name, record) is None:
            self._record(stage, inputs)
            return self._checked(stage, inputs, *self._call(stage, inputs, refresh=False))[0]
        return artifact

    def _call(self, stage: Task[..., Any], inputs: dict[str, Any], *, refresh: bool) -> tuple[Artifact, bool]:
        state = self._here(stage, refresh=refresh)(**inputs, store=self.store, return_state=True)
        artifact: Artifact = state.result()
        return artifact, state.name == "Cached"

    def _here(self, stage: Task[..., Any], *, refresh: bool) -> Task[..., Any]:
        return stage.with_options(
            result_storage=self.store.root / "results",
            result_serializer="json",
            persist_result=True,
            refresh_cache=refresh,
        )
