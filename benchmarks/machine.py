"""Describe what a measurement depends on, and keep all results in one form.

A result file is one JSON object: `date`, `hardware`, `versions`, `load_before` (how busy the machine was when it
began), `seeds`, `setting`, `took_seconds` (the whole script) and `rows`. A figure that was measured several times is
`{"median": ..., "low": ..., "high": ...}`.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results"
TRIED = ROOT / "test-output" / "benchmarks"
"""Where `--quick` leaves its results: they are no measurements."""
PEERS = ROOT / ".venv-peers" / "bin" / "python"
DATA = Path(os.environ.get("FORECAST_DATA") or ROOT.parent / "shared" / "data")
CPUINFO, STATUS = Path("/proc/cpuinfo"), Path("/proc/self/status")
VECTORS = ("avx2", "avx512f", "avx512_bf16", "amx_bf16")
Spread = dict[str, float]


def parser(doc: str | None) -> argparse.ArgumentParser:
    """The options that every script has."""
    made = argparse.ArgumentParser(description=(doc or "").partition("\n")[0])
    made.add_argument("--quick", action="store_true", help="smallest sizes, to see that it runs; kept in test-output")
    return made


class Result:
    """A result file: made before the measurement, so that the load is that of the others."""

    def __init__(self, name: str, *packages: str, quick: bool = False) -> None:
        self._name, self._folder, self._began = name, TRIED if quick else RESULTS, time.monotonic()
        self._about = {
            "date": datetime.now(UTC).date().isoformat(),
            "hardware": hardware(),
            "versions": {"python": platform.python_version(), **{name: version(name) for name in packages}},
            "load_before": round(os.getloadavg()[0], 1),
        }

    @property
    def picture(self) -> Path:
        """Where a plot of it belongs."""
        self._folder.mkdir(parents=True, exist_ok=True)
        return self._folder / f"{self._name}.png"

    def keep(self, rows: list[dict[str, Any]], *, seeds: Sequence[int], setting: dict[str, Any]) -> Path:
        """Write it, and say where."""
        self._folder.mkdir(parents=True, exist_ok=True)
        path = self._folder / f"{self._name}.json"
        taken = round(time.monotonic() - self._began, 1)
        record = {**self._about, "seeds": list(seeds), "setting": setting, "took_seconds": taken, "rows": rows}
        path.write_text(json.dumps(record, indent=1) + "\n")
        print(f"{path.relative_to(ROOT)}, in {taken:.0f} s")
        return path


def hardware() -> dict[str, Any]:
    """Processor, its cores and widest vectors, memory, system."""
    lines = CPUINFO.read_text().splitlines() if CPUINFO.exists() else []
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    flags = set(facts.get("flags", "").split())
    return {
        "processor": facts.get("model name") or platform.processor() or platform.machine(),
        "cores": os.cpu_count(),
        "vectors": [name for name in VECTORS if name in flags],
        "memory_gibibytes": round(os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 2**30),
        "system": f"{platform.system()} {platform.machine()}",
    }


def spread(values: Sequence[float], digits: int = 2) -> Spread:
    """Median and range."""
    found = {"median": statistics.median(values), "low": min(values), "high": max(values)}
    return {name: round(value, digits) for name, value in found.items()}


def in_words(found: Spread, form: str = ".2f") -> str:
    """Median and range, for a table."""
    return f"{found['median']:{form}} ({found['low']:{form}} to {found['high']:{form}})"


def in_a_process(module: str, stage: str, folder: Path) -> dict[str, Any]:
    """What one stage of a script says of itself, in a process whose peak memory is its own."""
    command = [sys.executable, "-m", module, "--stage", stage, "--folder", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode:
        raise RuntimeError(f"{stage} ended badly:\n{done.stderr[-3000:]}")
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


class Clock:
    """Seconds since it was made, of the wall and of this process on all cores, and the peak of its memory."""

    def __init__(self) -> None:
        self._wall, self._cpu = time.perf_counter(), time.process_time()

    def read(self) -> dict[str, float]:
        """The processor's seconds say more where other programs share the cores."""
        return {
            "seconds": time.perf_counter() - self._wall,
            "cpu_seconds": time.process_time() - self._cpu,
            "peak_mebibytes": peak_mebibytes(),
        }


def peak_mebibytes() -> float:
    """Of this process alone: on Linux, what `getrusage` says may be the peak of the process that started it."""
    if STATUS.exists():
        line = next(line for line in STATUS.read_text().splitlines() if line.startswith("VmHWM"))
        return int(line.split()[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
