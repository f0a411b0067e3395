"""Train a peer on M4-Hourly: forecasts after several step counts, and the seconds up to each.

    .venv-peers/bin/python -m benchmarks.peers.m4_hourly neuralforecast series.parquet out/ --steps 100 200 400

Called by benchmarks/time_to_accuracy.py. `series.parquet` is long (unique_id, ds as integer, y); out/ receives
STEPS.parquet (unique_id, step, forecast) and result.json. Both learn on all 414 training series alone.
"""

from __future__ import annotations

import argparse
import time

START = time.perf_counter()

import logging  # noqa: E402
import warnings  # noqa: E402
from collections.abc import Callable  # noqa: E402
from pathlib import Path  # noqa: E402
from typing import Any  # noqa: E402

import pandas as pd  # noqa: E402
import torch  # noqa: E402

HORIZON = 48
Predict = Callable[[dict[str, Any]], pd.DataFrame]


def main() -> None:
    """Train once, then forecast with the weights of each mark."""
    parser = argparse.ArgumentParser(description="A peer on M4-Hourly.")
    parser.add_argument("library", choices=["neuralforecast", "darts"])
    parser.add_argument("series", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--steps", type=int, nargs="+", required=True)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--budget-seconds", type=float, default=3600)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)

    from benchmarks.peers.clock import Marks, write_result

    marks = Marks(options.steps, budget_seconds=options.budget_seconds)
    table = pd.read_parquet(options.series)
    train = train_neuralforecast if options.library == "neuralforecast" else train_darts
    predict, settings = train(table, marks, max(options.steps), options.seed)
    before = time.perf_counter() - START - marks.trained
    rows = []
    for mark in marks.kept:
        start = time.perf_counter()
        predict(mark.pop("weights")).to_parquet(options.out / f"{mark['steps']}.parquet")
        rows.append({**mark, "predict_seconds": time.perf_counter() - start})
    about = {"settings": settings, "threads": options.threads, "around_seconds": before}
    write_result(options.out / "result.json", options.library, {**about, "marks": rows})


def train_neuralforecast(table: pd.DataFrame, marks: Any, steps: int, seed: int) -> tuple[Predict, str]:
    """Its LSTM as it comes: nothing but the horizon and the number of steps is set."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    from benchmarks.peers.clock import QUIET

    model = LSTM(h=HORIZON, max_steps=steps, random_seed=seed, callbacks=[marks], accelerator="cpu", **QUIET)
    forecaster = NeuralForecast(models=[model], freq=1)
    forecaster.fit(table)

    def predict(weights: dict[str, Any]) -> pd.DataFrame:
        forecaster.models[0].load_state_dict(weights)
        forecast = forecaster.predict().sort_values(["unique_id", "ds"])
        step = forecast.groupby("unique_id").cumcount()
        return pd.DataFrame({"unique_id": forecast["unique_id"], "step": step, "forecast": forecast["LSTM"]})

    return predict, "LSTM(h=48), everything else its default"


def train_darts(table: pd.DataFrame, marks: Any, steps: int, seed: int) -> tuple[Predict, str]:
    """BlockRNN as an LSTM of neuralforecast's size and batch, a week of context, each series scaled to 0..1."""
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from darts.models import BlockRNNModel

    from benchmarks.peers.clock import QUIET

    series = [TimeSeries.from_values(y["y"].to_numpy("float32")) for _, y in table.groupby("unique_id")]
    names = sorted(table["unique_id"].unique())
    scaler = Scaler()
    scaled = scaler.fit_transform(series)
    model = BlockRNNModel(
        model="LSTM",
        input_chunk_length=168,
        output_chunk_length=HORIZON,
        hidden_dim=128,
        n_rnn_layers=2,
        batch_size=128,
        n_epochs=1000,
        random_state=seed,
        pl_trainer_kwargs={"max_steps": steps, "callbacks": [marks], "accelerator": "cpu", **QUIET},
    )
    model.fit(scaled, verbose=False)

    def predict(weights: dict[str, Any]) -> pd.DataFrame:
        model.model.load_state_dict(weights)
        forecasts = scaler.inverse_transform(model.predict(HORIZON, series=scaled, verbose=False))
        parts = [
            pd.DataFrame({"unique_id": name, "step": range(HORIZON), "forecast": forecast.values()[:, 0]})
            for name, forecast in zip(names, forecasts, strict=True)
        ]
        return pd.concat(parts, ignore_index=True)

    return (
        predict,
        "BlockRNNModel(model='LSTM', input_chunk_length=168, hidden_dim=128, n_rnn_layers=2, batch_size=128)",
    )


if __name__ == "__main__":
    main()
