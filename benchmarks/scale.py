"""Measure how a panel in shards grows with its number of series: time, memory, disk, rows in Prefect's database.

    python -m benchmarks.scale                      # 10 to 1,000,000 series of 60 months, about 20 minutes
    python -m benchmarks.scale --counts 1000 100000 --runner ray

Monthly series from one Parquet file, a year ahead, through the stages as the flows run them, against a Prefect server
with a SQLite database of its own: `ingest` (survey, shards, gathered), `windows`, `train` (twenty steps, with all that
is read and judged around them), `step` (one step of 256 windows, batches' reading in it), `forecast` (to artifacts),
`issue` (of those into the ledger). Each runs in a process of its own, whose peak memory is its own, and in a flow of
its own, which takes a second to end. The network that forecasts is trained on 1,000 series once.
"""

from __future__ import annotations

import argparse
import json
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import Clock, Result, in_a_process, parser
from deployments.server import use_server

PORT = 4598
COUNTS = (10, 100, 1000, 10_000, 100_000, 1_000_000)
MONTHS, HORIZON, CONTEXT = 60, 12, 24
SHARD_ROWS, MEMORY_MIB = 1_000_000, 1024
TAUGHT, STEPS = 1000, 20
MORE_STEPS = 1020
BLOCK = 10_000
"""Series that are made at once."""
TABLES = ("flow_run", "flow_run_state", "task_run", "task_run_state", "log", "events", "event_resources", "artifact")
SETTLED_SECONDS = 4.0
"""Twice this is longer than the server keeps events back before it writes them."""
Figures = dict[str, Any]


def main() -> None:
    """Measure, print the table, draw the plot; or (--stage) be one of the processes."""
    made = parser(__doc__)
    made.add_argument("--counts", type=int, nargs="+", help="of series")
    made.add_argument("--runner", choices=("threads", "ray"), default="threads")
    made.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](options.folder)))
        return
    counts = options.counts or ((4, 8) if options.quick else COUNTS)
    name = "scale" if options.runner == "threads" else f"scale_{options.runner}"
    result = Result(name, "torch", "pandas", "pyarrow", "prefect", quick=options.quick)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as scratch:
        os.environ["PREFECT_HOME"] = scratch
        with use_server(PORT) as server:
            os.environ["PREFECT_API_URL"] = server.api_url
            rows = [row for count in counts for row in measure(count, Path(scratch), options.runner)]
    print(table(rows))
    plot(rows, result.picture)
    setting = {
        "months": MONTHS,
        "context": CONTEXT,
        "horizon": HORIZON,
        "shard_rows": SHARD_ROWS,
        "memory_mib": MEMORY_MIB,
        "runner": options.runner,
    }
    result.keep(rows, seeds=[0], setting=setting)


def measure(series: int, home: Path, runner: str) -> list[Figures]:
    """A row a stage."""
    rows = []
    with tempfile.TemporaryDirectory(dir=home) as scratch:
        folder = Path(scratch)
        make_source(folder / "source.parquet", series)
        make_source(folder / "taught.parquet", min(TAUGHT, series))
        (folder / "runner").write_text(runner)
        after = settled_rows(home)
        for stage in STAGES:
            before, disk = after, disk_bytes(folder / "store")
            figures = in_a_process("benchmarks.scale", stage, folder)
            after = settled_rows(home)
            added = {name: after[name] - before[name] for name in TABLES}
            figures["disk_bytes"] = disk_bytes(folder / "store") - disk
            rows.append({"series": series, "stage": stage, **figures, "task_runs": added["task_run"], "rows": added})
    return [row for row in rows if row["stage"] != "teach"]


def make_source(path: Path, series: int) -> None:
    """Years of months with noise, long, as a user's Parquet file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, t = np.random.default_rng(0), np.arange(MONTHS)
    schema = pa.schema([("unique_id", pa.string()), ("ds", pa.timestamp("us")), ("y", pa.float64())])
    ds = (np.datetime64("2020-01", "M") + t).astype("datetime64[us]")
    with pq.ParquetWriter(path, schema, compression="zstd", compression_level=1) as writer:
        for first in range(0, series, BLOCK):
            count = min(BLOCK, series - first)
            level, phase = rng.lognormal(3, 1, (count, 1)), rng.uniform(0, 2 * np.pi, (count, 1))
            y = level * (1.5 + 0.3 * np.sin(2 * np.pi * t / 12 + phase) + 0.1 * rng.normal(size=(count, MONTHS)))
            ids = np.repeat([f"series {k:07}" for k in range(first, first + count)], MONTHS)
            columns = {"unique_id": ids, "ds": np.tile(ds, count), "y": np.abs(y).ravel() + 0.1}
            writer.write_table(pa.table(columns, schema=schema))


def disk_bytes(folder: Path) -> int:
    """Of all files of the store."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file())


def database_rows(home: Path) -> dict[str, int]:
    """How many there are in each table of Prefect's database."""
    with sqlite3.connect(f"file:{home / 'prefect.db'}?mode=ro", uri=True) as database:
        return {name: database.execute(f"select count(*) from {name}").fetchone()[0] for name in TABLES}


def settled_rows(home: Path) -> dict[str, int]:
    """How many there are once the server has written all that it was told."""
    before: dict[str, int] = {}
    while before != (now := database_rows(home)):
        before = now
        time.sleep(SETTLED_SECONDS)
    return now


def config_of(folder: Path, source: str = "source.parquet") -> Any:
    """One network for all sizes, so that what differs is the data."""
    from lstm_model.contracts.settings import PipelineConfig

    return PipelineConfig.model_validate(
        {
            "name": "scale",
            "source": {"kind": "files", "path": str(folder / source)},
            "frequency": "MS",
            "horizon": HORIZON,
            "season": 12,
            "context": CONTEXT,
            "scaling": {"shard_rows": SHARD_ROWS, "runner": (folder / "runner").read_text()},
            "advanced": {
                "model": {"hidden_dim": 64, "layer_dim": 2, "segment": 12},
                "training": {
                    "max_steps": STEPS,
                    "batch_size": 256,
                    "threads": 1,
                    "device": "cpu",
                    "memory_mib": MEMORY_MIB,
                },
            },
        }
    )


def run_of(folder: Path) -> Any:
    """The stage runner of a flow."""
    from lstm_model.storage.store import Store
    from tasks.runtime.runner import StageRunner

    return StageRunner(Store(folder / "store"), config_of(folder).scaling)


def in_a_flow(work: Callable[[], Any]) -> tuple[Any, Figures]:
    """Do the work as a flow does, and what it took: the processor's seconds are of this process."""
    from prefect import flow

    from tasks.runtime.executors import threads

    clock = Clock()
    made = flow(name="scale", task_runner=threads())(work)()
    return made, clock.read()


def keep(folder: Path, name: str, *artifacts: Any) -> None:
    """For the stages after it."""
    (folder / f"{name}.json").write_text(json.dumps([one.model_dump() for one in artifacts]))


def kept(folder: Path, name: str) -> list[Any]:
    """What an earlier stage left."""
    from lstm_model.contracts.artifact import Artifact

    return [Artifact.model_validate(one) for one in json.loads((folder / f"{name}.json").read_text())]


def teach(folder: Path) -> Figures:
    """A bundle, trained on few series: what forecasts all of them."""
    from flows.retrain import retrain

    outcome = retrain(config_of(folder, "taught.parquet"), store=str(folder / "taught"))
    (folder / "bundle.txt").write_text(outcome.bundle)
    return {}


def ingest(folder: Path) -> Figures:
    """The series, shard by shard."""
    import lstm_model.quality.doctor
    import lstm_model.sources.raw_series  # noqa: F401  what a process imports once does not count
    from flows.shards import ingest_source

    series, taken = in_a_flow(lambda: ingest_source(run_of(folder), config_of(folder)))
    keep(folder, "series", series)
    return taken


def windows(folder: Path) -> Figures:
    """Cut, shard by shard."""
    import lstm_model.windows.segments  # noqa: F401
    from flows.shards import cut_windows
    from lstm_model.contracts.settings import Covariates

    (series,), run, spec = kept(folder, "series"), run_of(folder), plan_of(folder).window
    made, taken = in_a_flow(lambda: cut_windows(run, series, spec, Covariates()))
    keep(folder, "windows", made)
    return taken


def train(folder: Path) -> Figures:
    """As the task does, data loaded, judged, refitted and kept."""
    from tasks.stages.train import train as task

    ((cut,), run, plan) = kept(folder, "windows"), run_of(folder), plan_of(folder)
    settings = {"spec": plan.window, "model": plan.model, "training": plan.training}
    _, taken = in_a_flow(lambda: run(task, windows=cut, **settings))
    return taken


def step(folder: Path) -> Figures:
    """One step: what some more of them take, through that many."""
    from lstm_model.compute.device import select_device
    from lstm_model.lifecycle.stage_outputs import list_folders
    from lstm_model.training.dataset import load_training
    from lstm_model.training.train import fit

    ((cut,), run, plan) = kept(folder, "windows"), run_of(folder), plan_of(folder)
    data = load_training(list_folders(cut, run.store), plan.window, plan.training)
    device, read = select_device("cpu"), []
    for steps in (1, STEPS, MORE_STEPS):  # the first one's time is that of a process that has just begun
        training = plan.training.model_copy(update={"max_steps": steps})
        clock = Clock()
        fit(data.train, None, plan=plan.model_copy(update={"training": training}), scaler={}, device=device)
        read.append(clock.read())
    _, few, many = read
    each = {name: (many[name] - few[name]) / (MORE_STEPS - STEPS) for name in ("seconds", "cpu_seconds")}
    return {**each, "peak_mebibytes": many["peak_mebibytes"]}


def plan_of(folder: Path) -> Any:
    """What the pipeline chooses for these series."""
    from lstm_model.lifecycle.stage_outputs import read_profile
    from lstm_model.series.infer import infer_plan

    (series,) = kept(folder, "series")
    return infer_plan(config_of(folder), read_profile(series, run_of(folder).store))[1]


def forecast(folder: Path) -> Figures:
    """Every series once, shard by shard."""
    import shutil

    import lstm_model.forecast.predict  # noqa: F401
    from flows.shards import predict_next
    from lstm_model.lifecycle.registry import Registry
    from lstm_model.storage.store import Store

    taught = Store(folder / "taught" / "scale")
    champion = Registry(taught).get("champion")
    assert champion is not None
    (series,), run = kept(folder, "series"), run_of(folder)
    shutil.copytree(taught.path(champion), run.store.path(champion), dirs_exist_ok=True)
    made, taken = in_a_flow(lambda: predict_next(run, config_of(folder), series, champion))
    keep(folder, "champion", champion)
    keep(folder, "forecasts", *made)
    return taken


def issue(folder: Path) -> Figures:
    """All forecasts into the ledger."""
    from tasks.actions.issue import issue as task

    (champion,), made, run = kept(folder, "champion"), kept(folder, "forecasts"), run_of(folder)
    _, taken = in_a_flow(lambda: task(made, champion, None, run.store))
    return taken


STAGES: dict[str, Callable[[Path], Figures]] = {
    "teach": teach,
    "ingest": ingest,
    "windows": windows,
    "train": train,
    "step": step,
    "forecast": forecast,
    "issue": issue,
}


def table(rows: list[Figures]) -> str:
    """As Markdown."""
    lines = [
        "| series | stage | seconds | CPU seconds | peak MiB | MB on disk | task runs | rows in Prefect |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        cells = [f"{row['seconds']:.3g}", f"{row['cpu_seconds']:.3g}", f"{row['peak_mebibytes']:.0f}"]
        cells += [f"{row['disk_bytes'] / 1e6:.1f}", str(row["task_runs"]), str(sum(row["rows"].values()))]
        lines.append(f"| {row['series']:,} | {row['stage']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: list[Figures], path: Path) -> None:
    """Seconds, memory, disk and rows in Prefect's database over the number of series."""
    from matplotlib.ticker import EngFormatter, FuncFormatter, NullFormatter

    from lstm_model.reporting.figures import COLOURS, DASHES, INK, draw_legend, label_axes, make_axes, save_figure

    figure, axes = make_axes(2, 2, height=6.4, sharex=True)
    panels: list[tuple[str, str, Callable[[Figures], float]]] = [
        ("seconds", "log", lambda row: row["seconds"]),
        ("peak memory, MiB", "linear", lambda row: row["peak_mebibytes"]),
        ("MB on disk", "log", lambda row: row["disk_bytes"] / 1e6),
        ("rows in Prefect's database", "linear", lambda row: sum(row["rows"].values())),
    ]
    for axis, (label, scale, value) in zip(axes.flat, panels, strict=True):
        stages = dict.fromkeys(row["stage"] for row in rows)
        for stage, colour, dashes in zip(stages, [*COLOURS.values(), INK], [*DASHES.values(), "-"], strict=False):
            found = sorted((row for row in rows if row["stage"] == stage), key=lambda row: row["series"])
            if not any(map(value, found)):
                continue
            sizes = [row["series"] for row in found]
            axis.plot(sizes, list(map(value, found)), label=stage, color=colour, ls=dashes, marker="o", ms=3)
        axis.set(xscale="log", yscale=scale)
        axis.xaxis.set_major_formatter(EngFormatter(sep=""))
        axis.yaxis.set_major_formatter(FuncFormatter(lambda number, _: f"{number:,.10g}"))
        for ticks in (axis.xaxis, axis.yaxis):
            ticks.set_minor_formatter(NullFormatter())
        if scale == "linear":
            axis.set_ylim(0)
        label_axes(axis, x="series" if axis in axes[1] else "", y=label)
    draw_legend(figure, axes[0, 0])
    save_figure(figure, path)


if __name__ == "__main__":
    main()
