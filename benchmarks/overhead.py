"""What the flow costs beside its work: seconds of a whole run that no stage took.

    python benchmarks/overhead.py

Each case runs three times, interleaved; the table gives the median and the range. `import alone` is a process that
imports the flow and ends: plain Python would pay most of that too, for torch, pandas and matplotlib.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from deployments.server import running_server

ROOT = Path(__file__).parents[1]
ROUNDS = 3
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


def main() -> None:
    """Run all cases and print the table."""
    seconds: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as scratch, running_server(PORT) as server:
        folder = Path(scratch)
        (folder / "tiny.yaml").write_text(TINY)
        for number in range(ROUNDS):
            home = folder / f"home{number}"
            for case, api_url, home_of_case, refresh in (
                ("import alone", None, None, False),
                ("no server, first run ever", None, home, True),
                ("no server, later run", None, home, True),
                ("running server", server.api_url, home, True),
                ("running server, all cached (whole run)", server.api_url, home, False),
            ):
                seconds.setdefault(case, []).append(measure(folder, api_url, home_of_case, refresh=refresh))
    for case, taken in seconds.items():
        print(f"{case:<42}{statistics.median(taken):6.1f} s   ({min(taken):.1f} to {max(taken):.1f})")


def measure(folder: Path, api_url: str | None, home: Path | None, *, refresh: bool) -> float:
    """Seconds of one process that no stage took; of the whole process where nothing is computed."""
    environment = {k: v for k, v in os.environ.items() if k != "PREFECT_API_URL"}
    environment |= {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT), "PREFECT_HOME": str(home or folder / "unused")}
    if api_url:
        environment["PREFECT_API_URL"] = api_url
    command = [sys.executable, "-m", "flows.retrain", "--config", "tiny.yaml", "--json", *(["--refresh"] * refresh)]
    if home is None:
        command = [sys.executable, "-c", "import flows.retrain"]
    start = time.monotonic()
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=True)
    whole = time.monotonic() - start
    if home is None or not refresh:
        return whole
    return whole - sum(stage["seconds"] for stage in json.loads(done.stdout)["stages"])


if __name__ == "__main__":
    main()
