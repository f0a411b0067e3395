"""Measure what the flows cost beside their work: whole processes whose stages all come from the cache.

    python -m benchmarks.overhead      # --rounds 3

The cases take turns; the table gives median and range, of the wall clock and of the processor: on a busy machine the
second says more. `import prefect` and `a flow that does nothing` are what any Prefect flow pays, so that the difference
to them is ours. `no stage took` is a run that computes everything, less what its stages took.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.machine import ROOT, Result, in_words, parser, spread
from deployments.server import use_server

PORT = 4599
TINY = """
name: tiny
source: {kind: synthetic, num_series: 2, num_steps: 300}
horizon: 6
context: 24
advanced:
  model: {hidden_dim: 8, layer_dim: 1, segment: 6}
  training: {max_steps: 20, threads: 1}
"""
NOTHING = "from prefect import flow\n@flow\ndef nothing(): return 1\nnothing()"
RUN = ("--config", "tiny.yaml", "--json")


@dataclass(frozen=True)
class Case:
    """One process."""

    name: str
    arguments: tuple[str, ...]
    server: bool = True
    """Beside a running one; else with one of its own, where it needs one."""
    less_stages: bool = False


CASES = (
    Case("import prefect", ("-c", "import prefect.flows"), server=False),
    Case("a flow that does nothing", ("-c", NOTHING)),
    Case("import flows.retrain", ("-c", "import flows.retrain"), server=False),
    Case("retrain, all cached", ("-m", "flows.retrain", *RUN)),
    Case("forecast, nothing new", ("-m", "flows.forecast", *RUN)),
    Case("monitor, nothing new", ("-m", "flows.monitor", *RUN)),
    Case("retrain --help", ("-m", "flows.retrain", "--help"), server=False),
    Case("retrain --refresh, no stage took", ("-m", "flows.retrain", *RUN, "--refresh"), less_stages=True),
    Case("the same, no server", ("-m", "flows.retrain", *RUN, "--refresh"), server=False, less_stages=True),
)


def main() -> None:
    """Run all cases, print the table and keep the result."""
    made = parser(__doc__)
    made.add_argument("--rounds", type=int, default=3)
    options = made.parse_args()
    if options.quick:
        options.rounds = 1
    result = Result("overhead", "prefect", "torch", "pandas", "pyarrow", quick=options.quick)
    wall: dict[str, list[float]] = {case.name: [] for case in CASES}
    cpu: dict[str, list[float]] = {case.name: [] for case in CASES}
    scratch = tempfile.TemporaryDirectory(ignore_cleanup_errors=True)
    os.environ["PREFECT_HOME"] = scratch.name  # the server's: a database of its own
    with scratch, use_server(PORT) as server:
        folder = Path(scratch.name)
        (folder / "tiny.yaml").write_text(TINY)
        for case in CASES[3:6]:
            measure(case, folder, server.api_url)  # the first run computes, and makes databases
        measure(CASES[-1], folder, server.api_url)
        for _ in range(options.rounds):
            for case in CASES:
                seconds, burnt = measure(case, folder, server.api_url)
                wall[case.name].append(seconds)
                cpu[case.name].append(burnt)
    rows = [{"case": name, "seconds": spread(wall[name]), "cpu_seconds": spread(cpu[name])} for name in wall]
    print(table(rows))
    result.keep(rows, seeds=[0], setting={"rounds": options.rounds})


def table(rows: list[dict[str, Any]]) -> str:
    """As Markdown."""
    lines = ["| process | seconds | CPU seconds |", "| --- | ---: | ---: |"]
    lines += [f"| {row['case']} | {in_words(row['seconds'])} | {in_words(row['cpu_seconds'])} |" for row in rows]
    return "\n".join(lines)


def measure(case: Case, folder: Path, api_url: str) -> tuple[float, float]:
    """Seconds of one process, by the wall clock (less its stages, where so asked) and of the processor."""
    environment = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(folder / "home")}
    if case.server:
        environment["PREFECT_API_URL"] = api_url
    before, began = _cpu(), time.monotonic()
    done = subprocess.run(
        [sys.executable, *case.arguments], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    seconds, burnt = time.monotonic() - began, _cpu() - before
    if case.less_stages:
        seconds -= sum(stage["seconds"] for stage in json.loads(done.stdout)["stages"])
    return seconds, burnt


def _cpu() -> float:
    """Of all processes that were started here and have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


if __name__ == "__main__":
    main()
