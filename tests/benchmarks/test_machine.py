"""The form of a result file, and the command that runs all scripts."""

import importlib
import json

from benchmarks import __main__ as bench
from benchmarks import machine


def test_a_result_says_where_when_and_on_what_it_was_measured(tmp_path, monkeypatch):
    monkeypatch.setattr(machine, "RESULTS", tmp_path)
    monkeypatch.setattr(machine, "ROOT", tmp_path)
    rows = [{"case": "a", "seconds": machine.spread([3.0, 1.0, 2.0])}]
    path = machine.Result("some", "torch").keep(rows, seeds=[0, 1], setting={"rounds": 3})
    kept = json.loads(path.read_text())
    assert path == tmp_path / "some.json"
    assert list(kept) == ["date", "hardware", "versions", "load_before", "seeds", "setting", "took_seconds", "rows"]
    assert kept["hardware"]["cores"] >= 1 and kept["versions"]["torch"]
    assert kept["rows"] == [{"case": "a", "seconds": {"median": 2.0, "low": 1.0, "high": 3.0}}]
    assert machine.in_words(rows[0]["seconds"]) == "2.00 (1.00 to 3.00)"


def test_the_one_command_knows_its_scripts():
    assert all(callable(importlib.import_module(f"benchmarks.{name}").main) for name in bench.SCRIPTS)
