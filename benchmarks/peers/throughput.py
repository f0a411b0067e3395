"""Time a training step of one peer, at the architecture of benchmarks/throughput.py, which calls this.

.venv-peers/bin/python -m benchmarks.peers.throughput neuralforecast series.parquet --threads 1 --steps 8
"""

from __future__ import annotations

import argparse
import json
import logging
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import pandas as pd
import torch

from benchmarks.peers.clock import QUIET, Stopwatch

CONTEXT, HORIZON, HIDDEN, BATCH, WARM_UP = 168, 48, 128, 256, 3


def main() -> None:
    """Train a few steps and print a line of JSON."""
    parser = argparse.ArgumentParser(description="Seconds of a training step of one peer.")
    parser.add_argument("library", choices=["neuralforecast", "darts"])
    parser.add_argument("series", type=Path)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--steps", type=int, default=8)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    warnings.filterwarnings("ignore")
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    watch = Stopwatch(warm_up=WARM_UP)
    trainer = {"max_steps": WARM_UP + options.steps, "callbacks": [watch], "accelerator": "cpu", **QUIET}
    train = train_neuralforecast if options.library == "neuralforecast" else train_darts
    train(pd.read_parquet(options.series), trainer)
    means = {"seconds": sum(watch.seconds) / options.steps, "cpu_seconds": sum(watch.cpu) / options.steps}
    print(json.dumps({**means, "version": version(options.library), "torch": torch.__version__}))


def train_neuralforecast(table: pd.DataFrame, trainer: dict[str, Any]) -> None:
    """All series in every batch, 256 windows drawn from them; its cheapest scaler, by mean and deviation."""
    from neuralforecast import NeuralForecast
    from neuralforecast.models import LSTM

    model = LSTM(
        h=HORIZON,
        input_size=CONTEXT,
        encoder_n_layers=1,
        encoder_hidden_size=HIDDEN,
        decoder_layers=1,
        windows_batch_size=BATCH,
        scaler_type="standard",
        **trainer,
    )
    NeuralForecast(models=[model], freq=1).fit(table)


def train_darts(table: pd.DataFrame, trainer: dict[str, Any]) -> None:
    """Series are scaled beforehand, as Darts expects it."""
    from darts import TimeSeries
    from darts.dataprocessing.transformers import Scaler
    from darts.models import BlockRNNModel

    series = [TimeSeries.from_values(y["y"].to_numpy("float32")) for _, y in table.groupby("unique_id")]
    model = BlockRNNModel(
        model="LSTM",
        input_chunk_length=CONTEXT,
        output_chunk_length=HORIZON,
        hidden_dim=HIDDEN,
        n_rnn_layers=1,
        batch_size=BATCH,
        n_epochs=1000,
        loss_fn=torch.nn.L1Loss(),
        pl_trainer_kwargs=trainer,
    )
    model.fit(Scaler().fit_transform(series), verbose=False)


if __name__ == "__main__":
    main()
