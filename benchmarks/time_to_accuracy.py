"""Measure the time to an accuracy on M4-Hourly: ours, neuralforecast's LSTM and Darts' BlockRNN.

    make bench-peers                                  # once: the peers' own environment
    python -m benchmarks.time_to_accuracy             # --only ours neuralforecast darts, --rounds 2, --threads 1
    python -m benchmarks.time_to_accuracy --peer-steps 200 400 800 2000 --budget-seconds 1800   # how far they come

Each contender forecasts the 48 hours of the competition's test file from the training file, after several numbers of
training steps. Training seconds are those of the training
alone (ours: the whole train stage, with search, calibration and refit); whole seconds begin with the start of the
process and end with the forecasts (ours: the whole flow, with evaluation, plots and report).

Ours is `python -m flows.retrain` with benchmarks/m4_hourly.yaml, all else inferred. Its test span is the test file,
appended to the training file: the flow trains, chooses and calibrates on what lies before. Each number of steps is a
training of its own, as its learning rate follows a cycle. The peers' rate is constant, so one training gives all of
their rows. Contenders take turns, each round has its own seed; Darts, the furthest from any goal,
runs in the first round alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import pandas as pd

from benchmarks import m4
from benchmarks.machine import DATA, PEERS, ROOT, Result, in_words, parser, spread

HERE = ROOT / "benchmarks"
GOALS = (0.81, 0.47, 0.44)
PEER_STEPS = (25, 50, 100, 150, 200)
OUR_STEPS = (20, 50, 0)
"""0: what the pipeline infers."""
CONTENDERS = ("ours", "neuralforecast", "darts")


def main() -> None:
    """Run the contenders in turn and print the tables."""
    options = parse()
    if not (DATA / "M4-Hourly-test.csv").exists():
        print(f"left out: M4-Hourly-train.csv and -test.csv are not in {DATA}; FORECAST_DATA names their folder")
        return
    train, test = m4.read()
    if options.quick:
        train, test = train.iloc[:20], test.iloc[:20]
        options.rounds, options.steps, options.peer_steps = 1, [2], [1, 2]
    result = Result("time_to_accuracy", "torch", "numpy", quick=options.quick)
    contenders = [name for name in options.only if name == "ours" or PEERS.exists()]
    turns = [(name, seed) for seed in range(options.rounds) for name in contenders if name != "darts" or not seed]
    rows = rows_of([run for name, seed in turns for run in runs_of(name, train, test, seed, options)])
    print(table(rows))
    setting = {
        "series": len(train),
        "rounds": options.rounds,
        "threads": options.threads or "each contender's own choice",
        "peers_budget_seconds": options.budget_seconds,
        "not_installed": sorted(set(options.only) - set(contenders)),
    }
    result.keep(rows, seeds=range(options.rounds), setting=setting)


def parse() -> argparse.Namespace:
    """The command line."""
    made = parser(__doc__)
    made.add_argument("--only", nargs="+", choices=CONTENDERS, default=list(CONTENDERS))
    made.add_argument("--rounds", type=int, default=2)
    made.add_argument("--threads", type=int, help="of each contender; empty: its own choice")
    made.add_argument("--budget-seconds", type=float, default=600, help="of a peer's training")
    made.add_argument("--steps", type=int, nargs="+", default=OUR_STEPS, help="of ours; 0: what it infers")
    made.add_argument("--peer-steps", type=int, nargs="+", default=PEER_STEPS)
    return made.parse_args()


def runs_of(
    name: str, train: pd.DataFrame, test: pd.DataFrame, seed: int, options: argparse.Namespace
) -> list[dict[str, Any]]:
    """One contender's measurements of one round."""
    with tempfile.TemporaryDirectory() as scratch:
        if name != "ours":
            arguments = ["--seed", str(seed + 1), "--budget-seconds", str(options.budget_seconds)]
            arguments += ["--threads", str(options.threads)] if options.threads else []
            return peer(name, train, test, Path(scratch), [*map(str, options.peer_steps)], arguments)
        changes = {"seed": seed, **({"threads": options.threads} if options.threads else {})}
        return [
            ours(train, test, Path(scratch), {**changes, **({"max_steps": steps} if steps else {})})
            for steps in options.steps
        ]


def rows_of(runs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """A row a contender and number of steps, medians and ranges over the rounds."""
    found: dict[tuple[str, int | None], list[dict[str, Any]]] = {}
    for run in runs:
        found.setdefault((run["contender"], run["steps"]), []).append(run)
    figures = {"seconds": 1, "whole_seconds": 1, "owa": 4, "smape": 3, "mase": 4}
    return [
        {
            "contender": contender,
            "steps": steps,
            "runs": len(group),
            **{name: spread([run[name] for run in group], digits) for name, digits in figures.items()},
            **{name: group[0][name] for name in ("settings", "versions", "threads") if name in group[0]},
        }
        for (contender, steps), group in found.items()
    ]


def ours(train: pd.DataFrame, test: pd.DataFrame, folder: Path, changes: dict[str, int]) -> dict[str, Any]:
    """One run of the flow with these settings of the training, as a user starts it, in an empty store."""
    data = folder / "M4-Hourly.csv"
    m4.joined(train, test).to_csv(data)
    steps = changes.get("max_steps")
    command = [sys.executable, "-m", "flows.retrain", "--config", str(HERE / "m4_hourly.yaml"), "--data", str(data)]
    command += ["--store", str(folder / f"store-{steps}"), "--json"]
    command += [part for name, value in changes.items() for part in ("--set", f"advanced.training.{name}={value}")]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    start = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    whole = time.perf_counter() - start
    if done.returncode:
        raise RuntimeError(f"the flow ended badly:\n{done.stderr[-2000:]}")
    outcome = json.loads(done.stdout)
    scores = next(row for row in outcome["scores"] if row["model"] == "lstm")
    seconds = next(stage["seconds"] for stage in outcome["stages"] if stage["stage"] == "train")
    smape, mase = scores["smape"], scores["mase"]
    row = {"contender": "ours", "steps": steps, "seconds": seconds, "whole_seconds": whole}
    return {**row, "owa": m4.owa(smape, mase), "smape": smape, "mase": mase}


def peer(
    name: str, train: pd.DataFrame, test: pd.DataFrame, folder: Path, steps: list[str], arguments: list[str]
) -> list[dict[str, Any]]:
    """A peer's training and all of its forecasts, scored."""
    long(train).to_parquet(folder / "series.parquet", index=False)
    command = [str(PEERS), "-m", "benchmarks.peers.m4_hourly", name, str(folder / "series.parquet"), str(folder)]
    command += ["--steps", *steps, *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{name} ended badly:\n{done.stderr[-2000:]}")
    result: dict[str, Any] = json.loads((folder / "result.json").read_text())
    return [{"contender": name, **scored(mark, result, folder, train, test)} for mark in result["marks"]]


def scored(
    mark: dict[str, Any], result: dict[str, Any], folder: Path, train: pd.DataFrame, test: pd.DataFrame
) -> dict[str, Any]:
    """What a peer left of one number of steps, with its scores."""
    forecast = pd.read_parquet(folder / f"{mark['steps']}.parquet")
    wide = forecast.pivot(index="unique_id", columns="step", values="forecast").loc[test.index]
    whole = result["around_seconds"] + mark["seconds"] + mark["predict_seconds"]
    about = {name: result[name] for name in ("settings", "versions", "threads")}
    return {**mark, "whole_seconds": whole, **m4.scores(wide.to_numpy(), train, test), **about}


def long(train: pd.DataFrame) -> pd.DataFrame:
    """unique_id, ds (0, 1, ...), y."""
    stacked = train.set_axis(range(train.shape[1]), axis=1).stack().dropna().rename("y")
    table = stacked.rename_axis(["unique_id", "ds"]).reset_index()
    return table.astype({"y": "float32"}).sort_values(["unique_id", "ds"])


def reached(rows: list[dict[str, Any]], goal: float) -> dict[str, Any] | None:
    """The fastest row that is at least as accurate, both in the median."""
    good = [row for row in rows if row["owa"]["median"] <= goal]
    return min(good, key=lambda row: row["seconds"]["median"], default=None)


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown: seconds of training (of the whole) to each goal, and all rows."""
    by_name = {name: [row for row in rows if row["contender"] == name] for name in CONTENDERS}
    goals = list(GOALS)
    if by_name["neuralforecast"]:  # what its LSTM reaches in its first steps
        goals.append(min(row["owa"]["median"] for row in by_name["neuralforecast"]))
    lines = [
        "| contender | " + " | ".join(f"to OWA {goal:.3g}" for goal in goals) + " | best OWA |",
        "| --- |" + " ---: |" * (len(goals) + 1),
    ]
    for name, found in ((name, found) for name, found in by_name.items() if found):
        cells = [goal_in_words(reached(found, goal)) for goal in goals]
        best = min(found, key=lambda row: row["owa"]["median"])
        lines.append(f"| {name} | {' | '.join(cells)} | {best['owa']['median']:.3f} |")
    lines += ["", "| contender | steps | seconds | whole seconds | OWA |", "| --- | ---: | ---: | ---: | ---: |"]
    for row in rows:
        steps = row["steps"] or "inferred"
        cells = [in_words(row["seconds"], ".0f"), in_words(row["whole_seconds"], ".0f"), in_words(row["owa"], ".3f")]
        lines.append(f"| {row['contender']} | {steps} | {' | '.join(cells)} |")
    return "\n".join(lines)


def goal_in_words(row: dict[str, Any] | None) -> str:
    if row is None:
        return "not reached"
    return f"{row['seconds']['median']:.0f} s ({row['whole_seconds']['median']:.0f} s)"


if __name__ == "__main__":
    main()
