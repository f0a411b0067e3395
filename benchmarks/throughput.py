"""Count the windows trained in a second, at equal architecture, beside a bare loop, neuralforecast and Darts.

    make bench-peers                     # once: the peers' own environment
    python -m benchmarks.throughput      # --threads 1 2 (else torch's own number), --rounds 3, --steps 6

Equal in all: one LSTM layer of width 128 that reads 168 steps of one series, a linear head, 48 steps forecast, batches
of 256 windows out of the same series, mean absolute error, an Adam, float32, the same number of threads. neuralforecast
applies its head to the last 48 states, the others to the last one; the head's share of the work is below 1%. What each
does beside that is its own and counts: ours clips gradients, keeps an average of the weights and scales the loss. Data
preparation does not count.

Every contender runs in a process of its own, in turn, round after round. Beside the wall clock stands the processor
time of a step, which other programs on the machine disturb less. The limit is the rate of the step's own matrix product
(512 x 128 by 128 x 256), measured in the same run.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import nn

from benchmarks.machine import PEERS, ROOT, Clock, Result, Spread, in_words, parser, spread
from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import PipelineConfig, Plan
from lstm_model.series.infer import infer_plan
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

CONTEXT, HORIZON, HIDDEN, BATCH, WARM_UP = 168, 48, 128, 256, 2
SERIES, LENGTH = 100, 1000
FLOPS = 3 * 2 * CONTEXT * 4 * HIDDEN * (HIDDEN + 1)
"""Of the LSTM's matrix products in one step of training, a window: forward once, backward twice."""
CONTENDERS = ("ours", "bare", "neuralforecast", "darts")


def main() -> None:
    """Run all contenders in turn and print the table, or (--worker) be one of them."""
    options = parse()
    if options.worker == "ours":
        import flows  # noqa: F401  # as the pipeline starts: it asks torch for large memory pages
    if options.worker:
        torch.set_num_threads(options.threads[0])
        print(json.dumps(work(options.worker, read(options.series), options.steps)))
        return
    if options.quick:
        options.threads, options.rounds, options.steps = [1], 1, 1
    result = Result("throughput", "torch", "numpy", quick=options.quick)
    runs = compare(sorted(set(options.threads)), options.rounds, options.steps)
    rows = rows_of(runs)
    print(table(rows))
    missing = sorted(set(CONTENDERS) - {run["contender"] for run in runs})
    setting = {
        "context": CONTEXT,
        "horizon": HORIZON,
        "hidden_dim": HIDDEN,
        "batch_size": BATCH,
        "steps": options.steps,
        "rounds": options.rounds,
        "not_installed": missing,
    }
    result.keep(rows, seeds=[0], setting=setting)


def parse() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--worker", choices=["ours", "bare"], help=argparse.SUPPRESS)
    made.add_argument("--series", type=Path, help=argparse.SUPPRESS)
    made.add_argument("--threads", type=int, nargs="+", default=[torch.get_num_threads()])
    made.add_argument("--rounds", type=int, default=3)
    made.add_argument("--steps", type=int, default=6)
    return made.parse_args()


def compare(threads: list[int], rounds: int, steps: int) -> list[dict[str, Any]]:
    """All measurements, contenders interleaved; a peer that is not installed is left out."""
    runs: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as scratch:
        series = Path(scratch) / "series.parquet"
        make_series().to_parquet(series, index=False)
        for number in range(rounds):
            for count in threads:
                for name in CONTENDERS:
                    done = measure(name, series, threads=count, steps=steps)
                    if done is not None:
                        runs.append({"contender": name, "threads": count, "round": number, **done})
    return runs


def measure(name: str, series: Path, *, threads: int, steps: int) -> dict[str, Any] | None:
    """One contender in its own process; None where it is not installed."""
    if name in ("ours", "bare"):
        command = [sys.executable, "-m", "benchmarks.throughput", "--worker", name, "--series", str(series)]
    elif PEERS.exists():
        command = [str(PEERS), "-m", "benchmarks.peers.throughput", name, str(series)]
    else:
        return None
    command += ["--threads", str(threads), "--steps", str(steps)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended badly:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return result


def rows_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a number of threads and contender: medians and ranges over the rounds.

    Ratios are taken round by round, between neighbours in time. The limit is what the matrix products alone would take.
    """
    rows = []
    for threads in sorted({run["threads"] for run in runs}):
        by_name = {n: [r for r in runs if r["contender"] == n and r["threads"] == threads] for n in CONTENDERS}
        peer = by_name["neuralforecast"]
        bare = by_name["bare"]  # which measures the products, once a round
        limits = [run["gemm_gflops"] * 1e9 / FLOPS for run in bare]
        for name, found in ((name, found) for name, found in by_name.items() if found):
            rates = [BATCH / run["seconds"] for run in found]
            row = {
                "threads": threads,
                "contender": name,
                "windows_per_second": spread(rates, 0),
                "cpu_milliseconds_a_step": spread([1000 * run["cpu_seconds"] for run in found], 0),
                "share_of_limit": spread([rate / limit for rate, limit in zip(rates, limits, strict=True)]),
            }
            if peer:
                row["times_neuralforecast"] = ratios(peer, found, "seconds")
                row["times_neuralforecast_by_cpu"] = ratios(peer, found, "cpu_seconds")
            versions = {"version": found[0]["version"]} if "version" in found[0] else {}
            rows.append({**row, **versions})
        products = {"windows_per_second": spread(limits, 0), "gemm_gflops": spread([r["gemm_gflops"] for r in bare], 1)}
        rows.append({"threads": threads, "contender": "limit: its matrix products alone", **products})
    return rows


def ratios(peer: list[dict[str, Any]], found: list[dict[str, Any]], figure: str) -> Spread:
    return spread([theirs[figure] / ours[figure] for theirs, ours in zip(peer, found, strict=True)])


def make_series(count: int = SERIES, length: int = LENGTH) -> pd.DataFrame:
    """Days of hours with noise, long."""
    random, steps = np.random.default_rng(0), np.arange(length)
    y = [
        np.sin(2 * np.pi * (steps + 24 * random.random()) / 24) + 0.3 * random.standard_normal(length) + 5
        for _ in range(count)
    ]
    ids = np.repeat([f"s{k:03}" for k in range(count)], length)
    return pd.DataFrame({"unique_id": ids, "ds": np.tile(steps, count), "y": np.concatenate(y).astype(np.float32)})


def read(path: Path) -> Windows:
    series = [y.to_numpy() for _, y in pd.read_parquet(path).groupby("unique_id")["y"]]
    return Windows.from_arrays(series, context=CONTEXT, horizon=HORIZON)


def work(name: str, windows: Windows, steps: int) -> dict[str, Any]:
    """Seconds and processor seconds a step of ours or of the bare loop, and the matrix products' rate."""
    train = train_ours if name == "ours" else train_bare
    train(windows, WARM_UP)
    clock = Clock()
    loss = train(windows, steps)
    taken = clock.read()
    row = {"seconds": taken["seconds"] / steps, "cpu_seconds": taken["cpu_seconds"] / steps, "loss": loss}
    return {**row, "gemm_gflops": gemm_rate()}


def train_ours(windows: Windows, steps: int) -> float:
    """The pipeline's own training of the plain network."""
    choice = DeviceChoice("cpu", "fp32", torch.get_num_threads(), "a benchmark")
    return float(fit(windows, None, plan=plan(steps), scaler={}, device=choice).history[-1]["train_loss"])


def plan(steps: int) -> Plan:
    """What the flow resolves for the plain network."""
    config = PipelineConfig.model_validate(
        {
            "name": "plain",
            "source": {"kind": "synthetic"},
            "frequency": "1",
            "horizon": HORIZON,
            "season": 24,
            "context": CONTEXT,
            "advanced": {
                "window": {"test_steps": HORIZON, "validation_steps": 0, "align": "end", "pad_short": False},
                "model": {
                    "kind": "tutorial",
                    "hidden_dim": HIDDEN,
                    "layer_dim": 1,
                    "segment": 1,
                    "dropout": 0,
                    "normalisation": "mean_std",
                    "levels": [],
                },
                "training": {
                    "precision": "fp32",
                    "threads": torch.get_num_threads(),
                    "max_steps": steps,
                    "batch_size": BATCH,
                    "learning_rate": 1e-3,
                    "weight_decay": 0,
                    "refit": False,
                },
            },
        }
    )
    facts = Profile(
        frequency="1",
        num_series=SERIES,
        num_observed=SERIES * LENGTH,
        length_min=LENGTH,
        length_median=LENGTH,
        length_max=LENGTH,
        start="0",
        end=str(LENGTH - 1),
        median_lag=0,
        lowest=-1.0,
        found_season=24,
    )
    return infer_plan(config, facts)[1]


class Plain(nn.Module):
    """What every contender trains."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, HIDDEN, batch_first=True)
        self.fc = nn.Linear(HIDDEN, HORIZON)

    def forward(self, x_BL: torch.Tensor) -> torch.Tensor:
        forecast: torch.Tensor = self.fc(self.lstm(x_BL[..., None])[0][:, -1])
        return forecast


def train_bare(windows: Windows, steps: int) -> float:
    """As short as it can be written: gather, scale, forward, backward, step."""
    torch.manual_seed(0)
    network, random = Plain(), torch.Generator().manual_seed(0)
    optimiser = torch.optim.Adam(network.parameters())
    views = windows.values_N.unfold(0, CONTEXT + HORIZON, 1)
    for _ in range(steps):
        batch = views[windows.starts_W[torch.randint(len(windows), (BATCH,), generator=random)]]
        scaled = (batch - batch[:, :CONTEXT].mean(1, keepdim=True)) / batch[:, :CONTEXT].std(1, keepdim=True)
        optimiser.zero_grad()
        loss = nn.functional.l1_loss(network(scaled[:, :CONTEXT]), scaled[:, CONTEXT:])
        loss.backward()
        optimiser.step()
    return float(loss.detach())


def gemm_rate(seconds: float = 0.5) -> float:
    """Best GFLOP/s of the LSTM's own matrix product in float32."""
    a, b = torch.randn(4 * HIDDEN, HIDDEN), torch.randn(HIDDEN, BATCH)
    out, best, end = torch.empty(4 * HIDDEN, BATCH), 0.0, time.perf_counter() + seconds
    while time.perf_counter() < end:
        start = time.perf_counter()
        for _ in range(20):
            torch.mm(a, b, out=out)
        best = max(best, 20 * 2 * a.numel() * BATCH / (time.perf_counter() - start) / 1e9)
    return best


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown: medians and ranges."""
    lines = [
        "| threads | contender | windows/s | CPU ms a step | x neuralforecast | the same by CPU | share of the limit |",
        "| ---: | --- | ---: | ---: | ---: | ---: | ---: |",
    ]
    columns = {
        "windows_per_second": ".0f",
        "cpu_milliseconds_a_step": ".0f",
        "times_neuralforecast": ".2f",
        "times_neuralforecast_by_cpu": ".2f",
        "share_of_limit": ".2f",
    }
    for row in rows:
        cells = [in_words(row[name], form) if name in row else "" for name, form in columns.items()]
        lines.append(f"| {row['threads']} | {row['contender']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
