"""A small slice of the benchmark: it runs, and windows on disk stay views."""

import importlib.util
from pathlib import Path

import pytest

FILE = Path(__file__).parents[2] / "benchmarks" / "windows.py"


@pytest.fixture
def benchmark():
    spec = importlib.util.spec_from_file_location("windows_benchmark", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_windows_are_written_and_read_back_in_little_room(benchmark, tmp_path):
    series, steps = 4, 3000
    benchmark.make_table(tmp_path, series, steps)
    written, read = benchmark.stage(tmp_path, 0), benchmark.stream(tmp_path, 0)
    split = 8 * benchmark.HORIZON
    training = steps - 2 * split - benchmark.WIDTH + 1
    assert written["windows"] == read["windows"] == series * (training + 2 * (split - benchmark.HORIZON + 1))
    assert written["disk"] / written["windows"] < 8, "864 bytes where each window is a copy"
    saved = benchmark.numpy_save(tmp_path, series)
    assert saved["windows"] == series * (steps - benchmark.WIDTH + 1)
    assert saved["disk"] / saved["windows"] > 4 * benchmark.WIDTH
