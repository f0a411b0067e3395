"""Measure how time and memory grow with the number of series and their length, stage by stage.

    python -m benchmarks.growth      # 10 to 10,000 series of 500 steps; 10 series of 500 to 500,000 steps

Hourly series from one Parquet file, a context of a week, a day ahead. Each stage runs in a process of its own, so that
its peak memory is its own (imports included, which do not count as time): `ingest` reads, examines and writes the
series table, `window` cuts it, `load windows` brings the training split into memory, `training step` is the mean of
twenty steps of 64 windows, `forecast` loads the bundle and forecasts every series once.
"""

from __future__ import annotations

import argparse
import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.machine import Clock, Result, in_a_process, in_words, parser, spread

CONTEXT, HORIZON, SEASON = 168, 24, 24
SHORT = 500
COUNTS, LENGTHS = (10, 100, 1000, 10_000), (500, 5000, 50_000, 500_000)
WARM_UP, STEPS = 3, 20
LOOKS = ("drift", "window_average", "naive", "lstm", "seasonal_naive")
"""Colours and dashes of the project's plots, stage by stage."""
Figures = dict[str, dict[str, float]]


def main() -> None:
    """Measure, print the table, draw the plot; or (--stage) be one of the processes."""
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=2)
    made.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    made.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = made.parse_args()
    if options.stage:
        print(json.dumps(STAGES[options.stage](options.folder)))
        return
    counts, lengths = ((2, 4), (SHORT,)) if options.quick else (COUNTS, LENGTHS)
    rounds = 1 if options.quick else options.rounds
    result = Result("growth", "torch", "pandas", "numpy", "pyarrow", quick=options.quick)
    sizes = sorted({(n, SHORT) for n in counts} | {(counts[0], steps) for steps in lengths})
    rows = [row for series, steps in sizes for row in measure(series, steps, rounds)]
    print(table(rows))
    plot(rows, result.picture)
    setting = {"context": CONTEXT, "horizon": HORIZON, "rounds": rounds, "batch_size": 64, "threads": 1}
    result.keep(rows, seeds=[0], setting=setting)


def measure(series: int, steps: int, rounds: int) -> list[dict[str, Any]]:
    """A row a stage for so many series of that length."""
    found: dict[str, list[dict[str, float]]] = {}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        make_source(folder, series, steps)
        for _ in range(rounds):
            for stage in STAGES:
                for name, figures in in_a_process("benchmarks.growth", stage, folder).items():
                    found.setdefault(name, []).append(figures)
    return [
        {
            "series": series,
            "steps": steps,
            "stage": name,
            "seconds": spread([one["seconds"] for one in taken], 4),
            "cpu_seconds": spread([one["cpu_seconds"] for one in taken], 4),
            "peak_mebibytes": spread([one["peak_mebibytes"] for one in taken], 0),
        }
        for name, taken in found.items()
    ]


def make_source(folder: Path, series: int, steps: int) -> None:
    """Days of hours with noise, long, as a user's Parquet file."""
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng, t, ids = np.random.default_rng(0), np.arange(steps), range(series)
    ds = np.datetime64("1960-01-01", "us") + t * np.timedelta64(1, "h")
    columns = {
        "unique_id": np.repeat([f"series {k:06}" for k in ids], steps),
        "ds": np.tile(ds, series),
        "y": np.concatenate(
            [100 + 20 * np.sin(t * 2 * np.pi / SEASON + k) + rng.normal(size=steps) for k in range(series)]
        ),
    }
    pq.write_table(pa.table(columns), folder / "source.parquet")


def config_of(folder: Path, max_steps: int) -> Any:
    """One network for all sizes, so that what differs is the data."""
    from lstm_model.contracts.settings import PipelineConfig

    return PipelineConfig.model_validate(
        {
            "name": "growth",
            "source": {"kind": "files", "path": str(folder / "source.parquet")},
            "frequency": "h",
            "horizon": HORIZON,
            "season": SEASON,
            "context": CONTEXT,
            "advanced": {
                "model": {"hidden_dim": 64, "layer_dim": 1, "segment": 24},
                "training": {"max_steps": max_steps, "batch_size": 64, "threads": 1, "device": "cpu", "refit": False},
            },
        }
    )


def plan_of(folder: Path, max_steps: int) -> Any:
    """What the flow resolves from the config and the facts that ingest found."""
    from lstm_model.lifecycle.stage_outputs import read_profile
    from lstm_model.series.infer import infer_plan
    from lstm_model.storage.store import Store

    return infer_plan(config_of(folder, max_steps), read_profile(kept(folder, "series"), Store(folder)))[1]


def kept(folder: Path, name: str) -> Any:
    """The artifact that an earlier stage left."""
    from lstm_model.contracts.artifact import Artifact

    return Artifact.model_validate_json((folder / f"{name}.json").read_text())


def ingest(folder: Path) -> Figures:
    """The task itself, without a run around it."""
    from prefect.logging import disable_run_logger

    import lstm_model.quality.doctor
    import lstm_model.series.profiling
    import lstm_model.sources.raw_series  # noqa: F401  what a process imports once does not count
    from lstm_model.storage.store import Store
    from tasks.stages.ingest import ingest as task

    clock = Clock()
    with disable_run_logger():
        series = task.fn(request=config_of(folder, STEPS).select_data_settings(), fingerprint="", store=Store(folder))
    taken = clock.read()
    (folder / "series.json").write_text(series.model_dump_json())
    return {"ingest": taken}


def window(folder: Path) -> Figures:
    """The task itself."""
    import lstm_model.windows.segments  # noqa: F401
    from lstm_model.contracts.settings import Covariates
    from lstm_model.storage.store import Store
    from tasks.stages.window import window as task

    spec, series, store = plan_of(folder, STEPS).window, kept(folder, "series"), Store(folder)
    clock = Clock()
    windows = task.fn(series=series, spec=spec, covariates=Covariates(), fold=0, store=store)
    taken = clock.read()
    (folder / "windows.json").write_text(windows.model_dump_json())
    return {"window": taken}


def train(folder: Path) -> Figures:
    """Loading, then steps after some to warm up; leaves a bundle."""
    import flows  # noqa: F401  # as the pipeline starts: it asks torch for large memory pages
    from lstm_model.compute.device import DeviceChoice
    from lstm_model.contracts.bundle_card import Start
    from lstm_model.contracts.windows_meta import read_windows_meta
    from lstm_model.forecast.bundle import save_bundle
    from lstm_model.storage.store import Store
    from lstm_model.training.leakage import Seen
    from lstm_model.training.train import fit
    from lstm_model.training.trained_model import describe_model
    from lstm_model.windows.in_memory import load_windows

    windows = kept(folder, "windows")
    path = Store(folder).path(windows)
    clock = Clock()
    split = load_windows(path, "train")
    loaded = clock.read()
    meta, choice = read_windows_meta(path), DeviceChoice("cpu", "fp32", 1, "a benchmark")
    fit(split, None, plan=plan_of(folder, WARM_UP), scaler=meta.scaler, device=choice)
    plan, clock = plan_of(folder, STEPS), Clock()
    fitted = fit(split, None, plan=plan, scaler=meta.scaler, device=choice)
    taken = clock.read()
    seen = Seen.in_windows(split, split, by_series=False)
    (folder / "bundle").mkdir(exist_ok=True)
    save_bundle(
        folder / "bundle",
        fitted.forecaster,
        describe_model(windows.sha256, meta, fitted, choice, seen=seen, start=Start()),
    )
    step = {name: taken[name] / STEPS for name in ("seconds", "cpu_seconds")}
    return {"load windows": loaded, "training step": {**taken, **step}}


def forecast(folder: Path) -> Figures:
    """Every series once, from the bundle and the series table."""
    import flows  # noqa: F401
    from lstm_model.forecast.predict import forecast as forecast_series
    from lstm_model.lifecycle.stage_outputs import TABLE
    from lstm_model.storage.store import Store

    path = Store(folder).path(kept(folder, "series")) / TABLE
    clock = Clock()
    forecast_series(folder / "bundle", path)
    return {"forecast": clock.read()}


STAGES: dict[str, Callable[[Path], Figures]] = {
    "ingest": ingest,
    "window": window,
    "train": train,
    "forecast": forecast,
}


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| series | steps | stage | seconds | CPU seconds | peak MiB |",
        "| ---: | ---: | --- | ---: | ---: | ---: |",
    ]
    columns = {"seconds": ".3f", "cpu_seconds": ".3f", "peak_mebibytes": ".0f"}
    for row in rows:
        cells = [in_words(row[name], form) for name, form in columns.items()]
        lines.append(f"| {row['series']:,} | {row['steps']:,} | {row['stage']} | {' | '.join(cells)} |")
    return "\n".join(lines)


def plot(rows: list[dict[str, Any]], path: Path) -> None:
    """Seconds and memory over the number of series and over their length; bars are ranges."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    from lstm_model.reporting.figures import COLOURS, DASHES, draw_legend, label_axes, make_axes, save_figure

    figure, axes = make_axes(2, 2, height=6.4, sharex="col", sharey="row")
    short, few = min(row["steps"] for row in rows), min(row["series"] for row in rows)
    sides = [
        ("series", f"series of {short:,} steps", [row for row in rows if row["steps"] == short]),
        ("steps", f"steps of each of {few:,} series", [row for row in rows if row["series"] == few]),
    ]
    for column, (size, label, side) in enumerate(sides):
        for line, (figures, unit) in enumerate((("seconds", "seconds"), ("peak_mebibytes", "peak memory, MiB"))):
            axis = axes[line, column]
            for stage, look in zip(dict.fromkeys(row["stage"] for row in side), LOOKS, strict=True):
                found = sorted((row for row in side if row["stage"] == stage), key=lambda row: row[size])
                middle = [row[figures]["median"] for row in found]
                low = [row[figures]["median"] - row[figures]["low"] for row in found]
                high = [row[figures]["high"] - row[figures]["median"] for row in found]
                colour, dash = COLOURS[look], DASHES[look]
                sizes = [row[size] for row in found]
                axis.errorbar(sizes, middle, [low, high], label=stage, color=colour, linestyle=dash, marker="o", ms=3)
            axis.set(xscale="log", yscale="linear" if line else "log")
            for ticks in (axis.xaxis, axis.yaxis):
                ticks.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.10g}"))
                ticks.set_minor_formatter(NullFormatter())
            label_axes(axis, x=label if line else "", y="" if column else unit)
    axes[1, 0].set_ylim(0)  # of both columns, once both are drawn
    draw_legend(figure, axes[0, 0])
    save_figure(figure, path)


if __name__ == "__main__":
    main()
