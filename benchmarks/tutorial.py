"""Compare the tutorial's script with the `tutorial` preset and mini-batches: seconds, error on further points.

    python -m benchmarks.tutorial      # --rounds 5

The script is `tutorial_script.py`: a sine of 1,000 points, windows of 10, an LSTM of width 100, Adam, MSE, 100 epochs
of one batch. The preset is `deployments/pipelines/tutorial.yaml`; fast is the same with
`--set advanced.training.batch_size=64`: 100 steps of 64 windows each, in the loop that trains all other networks. The
error is the mean squared one over the 200 points that follow, one step ahead. Each runs in a process of its own with
torch's own number of threads, in turn, and imports do not count.
"""

from __future__ import annotations

import argparse
import io
import json
import subprocess
import sys
from contextlib import redirect_stdout
from typing import Any

import numpy as np
import torch

from benchmarks import tutorial_script
from benchmarks.machine import ROOT, Clock, Result, in_words, parser, spread
from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.profile import Profile
from lstm_model.contracts.settings import Plan
from lstm_model.contracts.settings_file import load_config
from lstm_model.series.infer import infer_plan
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows

YAML = ROOT / "deployments" / "pipelines" / "tutorial.yaml"
TRAINED, UNSEEN, CONTEXT = 1000, 200, 10
CASES = ("script", "preset", "fast")


def main() -> None:
    """Print the table, or (--worker) run one case."""
    made = parser(__doc__)
    made.add_argument("--worker", choices=CASES, help=argparse.SUPPRESS)
    made.add_argument("--seed", type=int, default=0, help=argparse.SUPPRESS)
    made.add_argument("--epochs", type=int, default=100)
    made.add_argument("--rounds", type=int, default=5, help="each with its own seed")
    options = made.parse_args()
    if options.worker:
        print(json.dumps(run(options.worker, seed=options.seed, epochs=options.epochs)))
        return
    if options.quick:
        options.epochs, options.rounds = 2, 1
    result = Result("tutorial", "torch", "numpy", quick=options.quick)
    rows = rows_of(compare(options.rounds, options.epochs))
    print(table(rows))
    setting = {"epochs": options.epochs, "rounds": options.rounds, "unseen_points": UNSEEN}
    result.keep(rows, seeds=range(options.rounds), setting=setting)


def compare(rounds: int, epochs: int) -> list[dict[str, Any]]:
    """Every case once a round, seed by seed."""
    runs = []
    for seed in range(rounds):
        for case in CASES:
            command = [sys.executable, "-m", "benchmarks.tutorial", "--worker", case]
            command += ["--seed", str(seed), "--epochs", str(epochs)]
            done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
            runs.append({"case": case, **json.loads(done.stdout.splitlines()[-1])})
    return runs


def rows_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a case: medians and ranges over the seeds; the share of the script's time seed by seed."""
    by_case = {case: [run for run in runs if run["case"] == case] for case in CASES}
    return [
        {
            "case": case,
            "seconds": spread([run["seconds"] for run in found]),
            "cpu_seconds": spread([run["cpu_seconds"] for run in found]),
            "share_of_script": spread(
                [run["seconds"] / whole["seconds"] for run, whole in zip(found, by_case["script"], strict=True)], 3
            ),
            "mse": spread([run["mse"] for run in found], 9),
        }
        for case, found in by_case.items()
    ]


def run(case: str, *, seed: int, epochs: int = 100) -> dict[str, Any]:
    """Train one case: seconds, processor seconds and the error on unseen points."""
    if case != "script":
        import flows  # noqa: F401  # as the pipeline starts: it asks torch for large memory pages
    torch.optim.Adam([torch.zeros(1, requires_grad=True)])  # the first optimiser imports torch's compiler: 1.5 s
    clock = Clock()
    forecast = script(seed, epochs) if case == "script" else preset(seed, epochs, fast=case == "fast")
    error = float(np.mean((forecast - sine()[TRAINED:]) ** 2))
    return {**clock.read(), "mse": error}


def sine() -> np.ndarray:
    return np.sin(np.arange(TRAINED + UNSEEN) * (100 / (TRAINED - 1)))


def script(seed: int, epochs: int) -> np.ndarray:
    """The plain script, and its forecasts of the unseen points."""
    with redirect_stdout(io.StringIO()):
        model = tutorial_script.train(seed=seed, epochs=epochs).model
    with torch.no_grad():
        forecast: np.ndarray = model(tutorial_script.as_tensors(sine()[TRAINED - CONTEXT :])[0])[:, 0].numpy()
    return forecast


def preset(seed: int, epochs: int, *, fast: bool) -> np.ndarray:
    """The pipeline's training of its own config, and its forecasts of the unseen points."""
    choice = DeviceChoice("cpu", "fp32", None, "a benchmark")
    train = Windows.from_arrays([sine()[:TRAINED]], context=CONTEXT, horizon=1)
    unseen = Windows.from_arrays([sine()[TRAINED - CONTEXT :]], context=CONTEXT, horizon=1)
    fitted = fit(train, None, plan=plan(seed, epochs, fast=fast), scaler={}, device=choice)
    return fitted.forecaster.predict(unseen)[:, 0, 0]


def plan(seed: int, epochs: int, *, fast: bool) -> Plan:
    """What the flow resolves from the YAML."""
    config = load_config(YAML)
    facts = Profile(
        frequency="1",
        num_series=1,
        num_observed=TRAINED + UNSEEN,
        length_min=TRAINED + UNSEEN,
        length_median=TRAINED + UNSEEN,
        length_max=TRAINED + UNSEEN,
        start="0",
        end=str(TRAINED + UNSEEN - 1),
        median_lag=0,
        lowest=-1.0,
        found_season=None,
    )
    resolved = infer_plan(config, facts)[1]
    changes = {"seed": seed, "max_steps": epochs, **({"batch_size": 64} if fast else {})}
    return resolved.model_copy(update={"training": resolved.training.model_copy(update=changes)})


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = [
        "| case | seconds | CPU seconds | share of the script's time | error (MSE) |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    columns = {"seconds": ".2f", "cpu_seconds": ".2f", "share_of_script": ".2f", "mse": ".1e"}
    for row in rows:
        cells = [in_words(row[name], form) for name, form in columns.items()]
        lines.append(f"| {row['case']} | {' | '.join(cells)} |")
    return "\n".join(lines)


if __name__ == "__main__":
    main()
