"""Measure what Ray costs on one machine, and what two training processes gain there.

    python -m benchmarks.ray_cost      # --rounds 3

Tasks that do nothing, of a flow against a Prefect server, on threads and on a local Ray cluster: the first, with
whatever starts for it, and each of many more. Then one training alone and in two processes of Ray Train: what comes
before its first step, and a step of 1,024 windows, by the difference between a short training and a longer one. Rounds
take turns; every figure is of a process of its own.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
import time
from collections.abc import Callable
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from prefect import flow, task

from benchmarks import scale
from benchmarks.machine import Result, in_a_process, in_words, parser, spread
from deployments.server import use_server

PORT = 4597
TASKS, QUICK_TASKS = 100, 4
SERIES, QUICK_SERIES = 2000, 20
STEPS, QUICK_STEPS = (10, 60), (2, 4)
NETWORK = {"hidden_dim": 128, "layer_dim": 2, "segment": 1}
"""Large enough that two processes have something to share: the pipeline's own for such series takes 10 ms a step."""
BATCH = 1024
Figures = dict[str, float]


def main() -> None:
    """Measure in turns, print the table; or (--stage) be one of the processes."""
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](options.folder)))
        return
    if find_spec("prefect_ray") is None:
        print("left out: Ray is not installed (pip install 'evergreen-forecast[ray]')")
        return
    result = Result("ray_cost", "ray", "prefect-ray", "prefect", "torch", quick=options.quick)
    found: dict[str, list[Figures]] = {stage: [] for stage in STAGES}
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        folder = Path(scratch)
        os.environ["PREFECT_HOME"] = scratch
        scale.make_source(folder / "source.parquet", QUICK_SERIES if options.quick else SERIES)
        (folder / "runner").write_text("threads")
        (folder / "quick").write_text(json.dumps(options.quick))
        with use_server(PORT) as server:
            os.environ["PREFECT_API_URL"] = server.api_url
            for stage in ("ingest", "windows"):
                in_a_process("benchmarks.scale", stage, folder)
            for _ in range(1 if options.quick else options.rounds):
                for stage, figures in found.items():
                    figures.append(in_a_process("benchmarks.ray_cost", stage, folder))
    rows = [
        {"stage": stage, **{name: spread([one[name] for one in figures], digits=4) for name in figures[0]}}
        for stage, figures in found.items()
    ]
    print(table(rows))
    setting = {"tasks": TASKS, "series": SERIES, "steps": STEPS, "batch_size": BATCH, **NETWORK}
    result.keep(rows, seeds=[0], setting={**setting, "rounds": options.rounds})


def is_quick(folder: Path) -> bool:
    """Whether only to see that all runs."""
    quick: bool = json.loads((folder / "quick").read_text())
    return quick


@task
def nothing(number: int) -> int:
    """What a stage costs beside its work."""
    return number


def tasks(folder: Path, *, runner: str) -> Figures:
    """Seconds to the first task's end, and of each more, all submitted at once."""
    from lstm_model.contracts.settings import Scaling
    from tasks.runtime.executors import submitting, threads

    count = QUICK_TASKS if is_quick(folder) else TASKS

    def work() -> Figures:
        began = time.perf_counter()
        with submitting(Scaling.model_validate({"shards": 2, "runner": runner})) as submit:
            submit(nothing, {"number": 0}).result()
            first = time.perf_counter()
            for future in [submit(nothing, {"number": number}) for number in range(count)]:
                future.result()
            return {"before_seconds": first - began, "each_seconds": (time.perf_counter() - first) / count}

    return flow(name="tasks", task_runner=threads())(work)()


def training(folder: Path, *, workers: int) -> Figures:
    """Seconds before the first step, and of each."""
    few, many = QUICK_STEPS if is_quick(folder) else STEPS
    seconds = {steps: train(folder, workers, steps) for steps in (few, many)}
    each = (seconds[many] - seconds[few]) / (many - few)
    return {"before_seconds": seconds[few] - few * each, "each_seconds": each}


def train(folder: Path, workers: int, steps: int) -> float:
    """Seconds of a training with neither validation nor refit, from windows on disk."""
    from threading import Event

    from lstm_model.compute.device import select_device
    from lstm_model.lifecycle.stage_outputs import list_folders
    from lstm_model.training.dataset import load_training
    from lstm_model.training.train import fit
    from tasks.runtime.distributed_training import SharedTraining, fit_on_workers

    ((cut,), run, plan) = scale.kept(folder, "windows"), scale.run_of(folder), scale.plan_of(folder)
    loop = {"max_steps": steps, "batch_size": BATCH, "threads": None, "workers": workers, "refit": False}
    plan = plan.model_copy(
        update={"model": plan.model.model_copy(update=NETWORK), "training": plan.training.model_copy(update=loop)}
    )
    folders, device = list_folders(cut, run.store), select_device("cpu")
    began = time.perf_counter()
    if workers > 1:
        with run.store.scratch("ray") as scratch:
            job = SharedTraining(tuple(folders), plan, {}, device, scratch / "a.safetensors", "a")
            fit_on_workers(job, scratch, stop=Event())
    else:
        data = load_training(folders, plan.window, plan.training)
        fit(data.train, data.validation, plan=plan, scaler={}, device=device)
    return time.perf_counter() - began


STAGES: dict[str, Callable[[Path], Figures]] = {
    "tasks on threads": partial(tasks, runner="threads"),
    "tasks on ray": partial(tasks, runner="ray"),
    "training alone": partial(training, workers=1),
    "training in 2 processes": partial(training, workers=2),
}


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| | seconds before | milliseconds each |", "| --- | ---: | ---: |"]
    for row in rows:
        each = {name: 1000 * value for name, value in row["each_seconds"].items()}
        lines.append(f"| {row['stage']} | {in_words(row['before_seconds'], '.1f')} | {in_words(each, '.1f')} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
