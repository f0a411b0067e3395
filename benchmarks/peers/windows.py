"""Build windows neuralforecast's own way from a series table; called by benchmarks/windows.py.

    .venv-peers/bin/python -m benchmarks.peers.windows dataset series.parquet --series 20 --context 168 --horizon 48

`dataset` makes its `TimeSeriesDataset` of so many series, from a pandas frame that is in memory already; `windows` then
cuts them as its training does, with its loader, one series at a time (each batch holds all windows of its series).
"""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
from neuralforecast.models import LSTM
from neuralforecast.tsdataset import TimeSeriesDataset, TimeSeriesLoader

from benchmarks.machine import Clock
from benchmarks.peers.clock import QUIET


def main() -> None:
    """Measure one case and print a line of JSON."""
    parser = argparse.ArgumentParser(description="neuralforecast's windows.")
    parser.add_argument("case", choices=["dataset", "windows"])
    parser.add_argument("table", type=Path)
    for name in ("series", "context", "horizon"):
        parser.add_argument(f"--{name}", type=int, required=True)
    options = parser.parse_args()
    logging.getLogger("pytorch_lightning").setLevel(logging.ERROR)
    frame, width = read(options.table, options.series), options.context + options.horizon
    windows = int((frame.groupby("unique_id").size() - width + 1).sum())
    clock = Clock()
    dataset = TimeSeriesDataset.from_df(frame)[0]
    made = 4.0 * len(frame)
    if options.case == "windows":
        clock = Clock()
        windows = cut(dataset, options.context, options.horizon)
        made = 4.0 * width * windows
    print(json.dumps({**clock.read(), "windows": windows, "bytes": made, "disk": 0}))


def read(table: Path, series: int) -> pd.DataFrame:
    """The first so many series of a table whose row groups hold whole series."""
    file, frames, found = pq.ParquetFile(table), [], 0
    for group in range(file.num_row_groups):
        frames.append(file.read_row_group(group, columns=["unique_id", "ds", "y"]).to_pandas())
        found += frames[-1]["unique_id"].nunique()
        if found >= series:
            break
    frame = pd.concat(frames, ignore_index=True)
    return frame[frame["unique_id"].isin(frame["unique_id"].unique()[:series])].reset_index(drop=True)


def cut(dataset: Any, context: int, horizon: int) -> int:
    """All windows of all series, each batch dropped before the next; returns how many."""
    model = LSTM(h=horizon, input_size=context, max_steps=1, **QUIET)
    return sum(len(model._create_windows(batch, step="train")[0]) for batch in TimeSeriesLoader(dataset, batch_size=1))


if __name__ == "__main__":
    main()
