"""Score M4-Hourly, M3, ETTh1 and GEFCom2012 by the protocols of the field: every seed, all settings inferred.

python -m benchmarks.accuracy                             # about two hours on two cores; --only m3, --seeds 0
python -m benchmarks.accuracy --only m3 --origin validation   # what settings are chosen by: the span before the test

Each data set is a file as its users have it, read, made regular, cut into windows and trained on as the flow does it,
with the settings in benchmarks/*.yaml and all else inferred. Chosen by the validation span alone.
- M4-Hourly: 414 series, the competition's test file. OWA, MSIS and coverage at 95%.
- M3: 3,003 series, one config for all four frequencies. sMAPE over all points of all series.
- ETTh1: rows 8,640 / 2,880 / 2,880, standardised by the training rows, every test window, no refit on the validation
  rows. MSE of the forecast mean, MAE of the median.
- GEFCom2012: load of 20 zones 24 hours ahead over the last eight weeks, the same network with and without the
  temperatures of these hours, known from 11 stations. MAPE.
"""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import torch

from benchmarks import m4
from benchmarks.machine import DATA, ROOT, Result, parser
from lstm_model.compute.device import select_device
from lstm_model.contracts.forecast_columns import COVERAGE, name_bounds, name_level
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.contracts.settings_file import load_config
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import score, tabulate_forecasts
from lstm_model.evaluation.scores import MODEL, Scores
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.quality.doctor import examine
from lstm_model.series.infer import infer_plan
from lstm_model.series.profiling import measure_profile
from lstm_model.sources.raw_series import read_source
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows, load_refit_validation, load_windows
from lstm_model.windows.segments import select_before_test, write_windows

HERE = ROOT / "benchmarks"
M3_HORIZONS = {"yearly": 6, "quarterly": 8, "monthly": 18, "other": 8}
ETT_HORIZONS = (96, 192, 336, 720)
ETT_ROWS, ETT_TRAIN = 14_400, 8_640
LEVEL = 0.95
BATCH = 4096
Row = dict[str, Any]


class Run(NamedTuple):
    """What is asked of a data set."""

    training: Row
    origin: str = "test"
    sample: int | None = None
    """So many series of each panel only, to see that it runs."""


class Trained(NamedTuple):
    """One training and what it is judged on."""

    forecaster: Forecaster
    test: Windows
    table: pd.DataFrame
    """The series table."""
    plan: Plan
    figures: Row
    """Of the training itself."""


def main() -> None:
    """Run the chosen data sets, a row a training, and print them."""
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", choices=DATA_SETS, default=[*DATA_SETS])
    made.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    made.add_argument("--threads", type=int, default=1, help="of each training; one gives the same figures everywhere")
    made.add_argument("--origin", choices=("test", "validation"), default="test")
    options = made.parse_args()
    torch.set_num_threads(options.threads)
    changes: Row = {"threads": options.threads, **({"max_steps": 2} if options.quick else {})}
    for name in options.only:
        result = Result(f"accuracy_{name}", "torch", "numpy", quick=options.quick or options.origin == "validation")
        seeds = options.seeds[:1] if options.quick else options.seeds
        rows = []
        for seed in seeds:
            run = Run({**changes, "seed": seed}, options.origin, 20 if options.quick else None)
            for row in DATA_SETS[name](run):
                rows.append({"data": name, "seed": seed, **row})
                print(json.dumps(rows[-1]), flush=True)
        result.keep(rows, seeds=seeds, setting={"threads": options.threads, "origin": options.origin})


def m4_hourly(run: Run) -> Iterator[Row]:
    """OWA and its parts, MSIS, then WQL and coverage by step."""
    parts = m4.read() if run.origin == "test" else m4.read()[:1]
    with tempfile.TemporaryDirectory() as folder:
        m4.joined(*(part.iloc[: run.sample] for part in parts)).to_csv(Path(folder) / "m4.csv")
        done = train_as_the_flow(HERE / "m4_hourly.yaml", Path(folder) / "m4.csv", run.training)
    forecasts = tabulate_forecasts(done.forecaster, done.test, season=m4.SEASON)
    scale = measure_scales(select_before_test(done.table, done.plan.window), season=m4.SEASON)
    scores = score(forecasts, scale=scale)
    for model in (MODEL, "seasonal_naive"):
        total = scores.total.set_index("model").loc[model]
        smape, mase = float(total["smape"]), float(total["mase"])
        row = {"model": model, "owa": m4.owa(smape, mase), "smape": smape, "mase": mase}
        yield {**row, "msis": msis(forecasts, scale), **done.figures} if model == MODEL else row
    yield from intervals(scores)


def msis(forecasts: pd.DataFrame, scale: pd.DataFrame) -> float:
    """M4's mean scaled interval score: width, and 2 / alpha times what lies outside, in units of the MASE's scale."""
    low, high = (forecasts[name] for name in name_bounds(LEVEL))
    y, penalty = forecasts["y"], 2 / (1 - LEVEL)
    width = (high - low) + penalty * (low - y).clip(lower=0) + penalty * (y - high).clip(lower=0)
    return float((width / forecasts["unique_id"].astype(str).map(scale.set_index("unique_id")["mase_scale"])).mean())


def intervals(scores: Scores, blocks: int = 4) -> Iterator[Row]:
    """WQL, and coverage of each level, over all steps of the horizon and by quarters of it."""
    steps = scores.per_step[scores.per_step["model"] == MODEL].sort_values("step")
    size_H = (2 * steps["pinball"] / steps["wql"]).to_numpy()  # mean |y| of each step
    names = [f"{COVERAGE}{name_level(level)}" for level in scores.levels]
    every = np.arange(len(steps))
    for part in (every, *np.array_split(every, blocks)):
        rows = steps.iloc[part]
        pinball, size = (np.average(column, weights=rows["count"]) for column in (rows["pinball"], size_H[part]))
        covered = {name.replace("-", "_"): float(np.average(rows[name], weights=rows["count"])) for name in names}
        about = {"model": MODEL, "horizon_steps": f"{part[0] + 1} to {part[-1] + 1}"}
        yield {**about, "wql": float(2 * pinball / size), **covered}


def m3(run: Run) -> Iterator[Row]:
    """sMAPE a frequency, and over all points."""
    every = pd.read_parquet(DATA / "m3.parquet")
    errors: dict[str, tuple[float, int]] = {}
    for frequency, horizon in M3_HORIZONS.items():
        own = every[every["frequency"] == frequency]
        own = own[own["unique_id"].isin(own["unique_id"].unique()[: run.sample])]
        rows = own if run.origin == "test" else own[own["split"] == "train"]
        with tempfile.TemporaryDirectory() as folder:
            rows[["unique_id", "ds", "y"]].to_csv(Path(folder) / "m3.csv", index=False)
            done = train_as_the_flow(HERE / "m3.yaml", Path(folder) / "m3.csv", run.training, horizon=horizon)
        forecasts = tabulate_forecasts(done.forecaster, done.test, season=done.plan.window.season)
        error, naive = symmetric_error(forecasts, MODEL), symmetric_error(forecasts, "seasonal_naive")
        errors[frequency] = float(error.sum()), len(error)
        row = {"frequency": frequency, "series": len(done.test), "smape": float(error.mean())}
        yield {**row, "smape_seasonal_naive": float(naive.mean()), **done.figures}
    total, count = (sum(part) for part in zip(*errors.values(), strict=True))
    yield {"frequency": "all", "smape": total / count}


def symmetric_error(forecasts: pd.DataFrame, model: str) -> pd.Series:
    """In percent, of each point."""
    y, forecast = forecasts["y"], forecasts[model]
    return 200 * (y - forecast).abs() / (y.abs() + forecast.abs())


def etth1(run: Run) -> Iterator[Row]:
    """MSE and MAE a horizon, and their mean over the horizons."""
    frame = pd.read_csv(DATA / "ETTh1.csv").iloc[:ETT_ROWS]
    columns = [name for name in frame if name != "date"]
    learned = frame.loc[: ETT_TRAIN - 1, columns]
    frame[columns] = (frame[columns] - learned.mean()) / learned.std(ddof=0)
    if run.origin == "validation":
        raise SystemExit("ETTh1: the loss on the validation rows is in every row, as validation_loss")
    found = []
    for horizon in ETT_HORIZONS:
        with tempfile.TemporaryDirectory() as folder:
            frame.to_csv(Path(folder) / "ett.csv", index=False)
            changes = {**run.training, "refit": False}
            done = train_as_the_flow(HERE / "etth1.yaml", Path(folder) / "ett.csv", changes, horizon=horizon)
        found.append(squared_and_absolute(done.forecaster, done.test))
        mse, mae = found[-1]
        yield {"horizon": horizon, "windows": len(done.test), "mse": mse, "mae": mae, **done.figures}
    yield {"horizon": "mean", **dict(zip(("mse", "mae"), np.mean(found, axis=0).tolist(), strict=True))}


def squared_and_absolute(forecaster: Forecaster, test: Windows) -> tuple[float, float]:
    """The squared error of the mean and the absolute error of the median, over all points."""
    totals, count = np.zeros(2), 0
    for index_B in torch.split(torch.arange(len(test)), BATCH):
        part = test.take(index_B)
        values_BHQ = forecaster.predict(part)
        y_BH = part.gather_values(torch.arange(len(part)))[:, part.context :].numpy().astype(np.float64)
        median_BH, mean_BH = values_BHQ[..., values_BHQ.shape[-1] // 2], forecaster.compute_mean(values_BHQ)
        totals += [np.square(y_BH - mean_BH).sum(), np.abs(y_BH - median_BH).sum()]
        count += y_BH.size
    return float(totals[0] / count), float(totals[1] / count)


def gefcom2012(run: Run) -> Iterator[Row]:
    """MAPE with and without the temperatures, and that of the same hour a week before."""
    load = pd.read_parquet(DATA / "gefcom2012_load.parquet")
    temperature = pd.read_parquet(DATA / "gefcom2012_temperature.parquet")
    stations = [name for name in temperature if name != "ds"]
    frame = load[load["unique_id"].isin(load["unique_id"].unique()[: run.sample])].merge(temperature, on="ds")
    if run.origin == "validation":
        frame = frame[frame["ds"] <= frame["ds"].max() - pd.Timedelta(weeks=8)]
    for covariates in ({}, {"future": stations}):
        with tempfile.TemporaryDirectory() as folder:
            frame.to_parquet(Path(folder) / "load.parquet", index=False)
            path = Path(folder) / "load.parquet"
            done = train_as_the_flow(HERE / "gefcom2012.yaml", path, run.training, covariates=covariates)
        forecasts = tabulate_forecasts(done.forecaster, done.test, season=168)
        if not covariates:
            yield {"model": "seasonal naive, a week", "mape": mape(forecasts, "seasonal_naive")}
        yield {
            "model": "with temperature" if covariates else "load alone",
            "mape": mape(forecasts, MODEL),
            **done.figures,
        }
        if covariates:
            scale = measure_scales(select_before_test(done.table, done.plan.window), season=168)
            yield from intervals(score(forecasts, scale=scale))


def mape(forecasts: pd.DataFrame, model: str) -> float:
    """In percent, over the observed points."""
    seen = forecasts[forecasts["y"].notna()]
    return float(100 * ((seen["y"] - seen[model]).abs() / seen["y"].abs()).mean())


def train_as_the_flow(pipeline: Path, data: Path, training: Row, **settings: Any) -> Trained:
    """Read, make regular, choose, cut and train, as the stages of the retrain flow do it."""
    config = load_config(pipeline)
    document = {**config.model_dump(mode="json", exclude_unset=True), **settings}
    document["source"] = {**document["source"], "path": str(data)}
    advanced = document.setdefault("advanced", {})
    advanced["training"] = {**advanced.get("training", {}), **training}
    config = PipelineConfig.model_validate(document)
    folder = data.parent
    examined = examine(read_source(config.source, covariates=config.covariates), config)
    pq.write_table(pa.Table.from_pandas(examined.table, preserve_index=False), folder / "series.parquet")
    config, plan, _ = infer_plan(
        config, measure_profile(folder / "series.parquet", examined.frequency), clock=examined.clock
    )
    windows = folder / "windows"
    windows.mkdir()
    write_windows(folder / "series.parquet", windows, spec=plan.window, covariates=config.covariates)
    scaler = json.loads((windows / "windows.json").read_text())["scaler"]
    train, validation, test = (load_windows(windows, split) for split in ("train", "validation", "test"))
    device = select_device("cpu", "fp32", lock_folder=folder)
    began, cpu = time.perf_counter(), time.process_time()
    newest = load_refit_validation(windows, plan.window) if plan.training.refit else None
    fitted = fit(train, validation, newest=newest, plan=plan, scaler=scaler, device=device)
    figures = {
        "steps": fitted.best_step,
        "validation_loss": fitted.best_loss if np.isfinite(fitted.best_loss) else None,
        "seconds": round(time.perf_counter() - began, 1),
        "cpu_seconds": round(time.process_time() - cpu, 1),
        "plan": {
            **plan.window.model_dump(mode="json", include={"context", "min_context", "validation_steps"}),
            **plan.model.model_dump(mode="json", exclude={"levels"}),
            **plan.training.model_dump(mode="json", include={"max_steps", "batch_size", "learning_rate", "refit"}),
        },
    }
    return Trained(fitted.forecaster, test, examined.table, plan, figures)


DATA_SETS: dict[str, Callable[[Run], Iterator[Row]]] = {
    "m3": m3,
    "m4_hourly": m4_hourly,
    "etth1": etth1,
    "gefcom2012": gefcom2012,
}

if __name__ == "__main__":
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    main()
