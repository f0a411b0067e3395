"""Run all benchmarks of speed, one after another, each in its own process: `make bench`.

python -m benchmarks                              # about 55 minutes on two quiet cores
python -m benchmarks --quick                      # smallest sizes, five minutes: do they all run?
python -m benchmarks --only windows growth
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

from benchmarks.machine import PEERS, ROOT

SCRIPTS = ("windows", "growth", "overhead", "tutorial", "throughput", "time_to_accuracy", "scale", "ray_cost")


def main() -> int:
    """Run them, and say how long each took; 1 where one of them ended badly."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--only", nargs="+", choices=SCRIPTS, default=SCRIPTS)
    options = parser.parse_args()
    if not PEERS.exists():
        print("neuralforecast and Darts are left out: make bench-peers installs them")
    lines, worst = [], 0
    for name in options.only:
        print(f"\n== {name}", flush=True)
        began = time.monotonic()
        command = [sys.executable, "-m", f"benchmarks.{name}", *(["--quick"] if options.quick else [])]
        code = subprocess.run(command, cwd=ROOT, check=False).returncode
        worst |= bool(code)
        lines.append(f"{name:<18}{time.monotonic() - began:6.0f} s{'' if code == 0 else f'  ended badly, code {code}'}")
    print("\n" + "\n".join(lines))
    return worst


if __name__ == "__main__":
    sys.exit(main())
