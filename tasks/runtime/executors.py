"""Run tasks side by side: on the flow's own task runner, or on a Ray cluster."""

from __future__ import annotations

import logging
import os
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from prefect import Task
from prefect.futures import PrefectFuture
from prefect.task_runners import TaskRunner, ThreadPoolTaskRunner

from lstm_model.contracts.settings import Scaling, TrainingSpec
from tasks.runtime.logs import quiet_timeouts

Submit = Callable[[Task[..., Any], dict[str, Any]], PrefectFuture[Any]]

ON_GPU = frozenset({"train", "evaluate", "evaluate_shard"})
"""Stages that compute with torch on whatever device is there: where the cluster has GPUs, each asks for one."""

KNOCK_SECONDS = 10.0


def threads() -> TaskRunner[Any]:
    """The flow's own task runner: as many shards at once as there are cores, which bounds the memory too."""
    return ThreadPoolTaskRunner(max_workers=os.cpu_count() or 1)


@contextmanager
def submitting(scaling: Scaling) -> Iterator[Submit]:
    """How to submit a task with its parameters; for the time of the `with` block.

    Raises:
        ValueError: Ray is asked for and not installed.
        ConnectionError: there is no cluster at the address.
    """
    if scaling.runner == "threads":
        with quiet_timeouts():
            yield lambda task, parameters: task.submit(**parameters)
        return
    connect(scaling.ray_address)
    import ray
    from prefect_ray import RayTaskRunner
    from prefect_ray.context import remote_options

    resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
    with RayTaskRunner() as runner:

        def submit(task: Task[..., Any], parameters: dict[str, Any]) -> PrefectFuture[Any]:
            with remote_options(**find_ray_options(task, parameters, resources)):
                future: PrefectFuture[Any] = runner.submit(task, parameters)
                return future

        yield submit


def find_ray_options(task: Task[..., Any], parameters: dict[str, Any], resources: dict[str, float]) -> dict[str, int]:
    """What a task asks of the cluster; one that only waits for the processes that share its training, nothing.

    It would hold what they wait for.
    """
    training = parameters.get("training")
    if isinstance(training, TrainingSpec) and training.workers > 1:
        return {"num_cpus": 0}
    return {"num_gpus": 1} if "GPU" in resources and task.fn.__name__ in ON_GPU else {}


def connect(address: str, *, cpus: int | None = None) -> None:
    """Join a Ray cluster, or start one on this machine (`local`), once in a process: that takes seconds.

    Args:
        address: local, auto, host:port or ray://host:port.
        cpus: that a local one says it has; as many as there are when empty.

    Raises:
        ValueError: Ray is not installed.
        ConnectionError: there is no cluster at the address.
    """
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import prefect_ray  # noqa: F401 - what submits to it
        import ray
        import ray.train
    except ImportError as error:
        raise ValueError(
            f"scaling.runner or advanced.training.workers asks for Ray, which is not installed ({error}): "
            "pip install 'evergreen-forecast[ray]', or go without: scaling.runner threads, training.workers 1"
        ) from error
    if ray.is_initialized():
        return
    # A local cluster needs no page of its own: Prefect's shows the tasks.
    here: dict[str, Any] = {"include_dashboard": False, "num_cpus": cpus} if address == "local" else {}
    try:
        require_cluster(address)
        ray.init(address=address, namespace="prefect", log_to_driver=False, logging_level=logging.WARNING, **here)
    except (OSError, ValueError) as error:
        raise ConnectionError(
            f"no Ray cluster at scaling.ray_address {address!r}: {error}. Start one with ray start --head, or set it "
            "to local"
        ) from error


def is_connected() -> bool:
    """Whether this process is with a cluster; says so without importing Ray."""
    ray = sys.modules.get("ray")
    return ray is not None and bool(ray.is_initialized())


def require_cluster(address: str) -> None:
    """Raise at once where nobody listens at the address: Ray itself waits for minutes."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if colon:
        if not port.isdigit():
            raise ValueError("expected local, auto, host:port or ray://host:port")
        socket.create_connection((host, int(port)), timeout=KNOCK_SECONDS).close()
