"""A store belongs to one problem, and what changed in its data is said before they are used."""

import shutil

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, PipelineConfig, Source
from lstm_model.lifecycle.delivery import read_changes, receive_delivery
from lstm_model.lifecycle.delivery_changes import find_ended
from lstm_model.lifecycle.registry import Registry
from lstm_model.lifecycle.retention import forget
from lstm_model.lifecycle.stage_outputs import TABLE
from lstm_model.series.ingestion import write_series
from lstm_model.sources.raw_series import read_source
from lstm_model.storage.store import Store


def load(hours=200, *, names=("north", "south"), seed=0, start="2024-01-01"):
    """Hourly values, wide: one column a series."""
    time = pd.date_range(start, periods=hours, freq="h")
    values = np.random.default_rng(seed).normal(50, 10, (10_000, len(names))).round(3)[:hours]
    return pd.DataFrame({"time": time.strftime("%Y-%m-%d %H:%M"), **dict(zip(names, values.T, strict=True))})


class Problem:
    """A store whose champion was trained on the first delivery; the later ones are read from files."""

    def __init__(self, folder):
        self.folder, self.store = folder, Store(folder / "store" / "load")
        self.first = self.deliver(load(), flow="retrain")
        with self.store.create("bundle") as draft:
            (draft.folder / "bundle.json").write_text("{}")
        Registry(self.store).promote(draft.artifact, by="test", why="first", instead_of=None)

    def deliver(self, frame, path="a/load.csv", *, flow="forecast", accept=False, **settings):
        """What changed."""
        file = self.folder / path
        file.parent.mkdir(exist_ok=True)
        frame.to_csv(file, index=False)
        return self.receive(str(file), flow=flow, accept=accept, **settings)

    def receive(self, path, *, flow="forecast", accept=False, **settings):
        source = Source(**{"path": path, "layout": "wide_columns", **settings})
        config = PipelineConfig(name="load", source=source)
        with self.store.create("series") as draft:
            found = write_series(read_source(source, covariates=Covariates()), config, draft.folder / TABLE)
            draft.num_rows, draft.meta = found.num_rows, found.meta.to_json()
        self.series = draft.artifact
        receive_delivery(draft.artifact, config, self.store, flow=flow, accept=accept)
        return read_changes(self.store, flow=flow)


@pytest.fixture
def problem(tmp_path):
    return Problem(tmp_path)


def test_another_file_of_the_same_name_is_refused_with_both_paths_and_the_way_out(problem):
    for flow in ("forecast", "retrain", "monitor", "backtest"):
        with pytest.raises(DataError) as refused:
            problem.deliver(load(seed=1), "b/load.csv", flow=flow)
    for words in ("a/load.csv", "b/load.csv", "--name", "--refresh", "of 400 values at moments that both have, 0 are"):
        assert words in str(refused.value)
    with pytest.raises(DataError, match="no series has a value at a moment that both have"):
        problem.deliver(load(names=("x", "y")), "b/load.csv")
    assert problem.deliver(load(210)) == [], "what was refused was not noted"


def test_what_a_retraining_accepts_is_accepted_by_the_other_flows(problem):
    for flow in ("forecast", "monitor"):
        problem.deliver(load(205), flow=flow)
    assert problem.deliver(load(seed=1), "b/load.csv", flow="retrain", accept=True) == []
    for flow in ("forecast", "monitor"):
        assert problem.deliver(load(210, seed=1), "b/load.csv", flow=flow) == []


def test_zeros_in_common_are_no_proof(problem):
    for flow, seed in (("retrain", 0), ("forecast", 1)):
        frame = load(seed=seed)
        frame[["north", "south"]] = frame[["north", "south"]].where(frame[["north", "south"]] > 60, 0.0)
        if flow == "retrain":
            problem.deliver(frame, flow=flow)
    with pytest.raises(DataError, match="two problems"):
        problem.deliver(frame, "b/load.csv")


def test_a_file_that_was_moved_and_a_glob_that_grew_are_the_same_problem(problem):
    assert problem.deliver(load(210), "moved/renamed.csv") == []
    shutil.rmtree(problem.folder / "a")
    load(100).to_csv(problem.folder / "moved" / "2024-1.csv", index=False)
    load(220)[100:].to_csv(problem.folder / "moved" / "2024-2.csv", index=False)
    assert problem.receive(str(problem.folder / "moved" / "2024-*.csv")) == []


def test_a_single_series_is_known_though_its_file_was_renamed(tmp_path):
    problem = Problem(tmp_path)
    one = load(names=("kwh",))
    problem.deliver(one, "a/one.csv", flow="retrain", accept=True, layout="long")
    assert problem.deliver(one, "b/other.csv", layout="long") == []


def test_without_a_champion_any_source_may_follow(tmp_path):
    problem = Problem(tmp_path)
    problem.store.backend.remove("registry.json")
    assert problem.deliver(load(seed=1), "b/load.csv", flow="retrain") == []


def test_series_that_went_and_came_are_named(problem):
    changes = problem.deliver(load(names=("north", "east")))
    assert changes[:2] == [
        "gone since the last delivery: 1 series (south)",
        "new since the last delivery: 1 series (east)",
    ]
    assert problem.deliver(load(205, names=("north", "east"))) == [], "said once"


def test_revised_values_and_a_history_that_rolled_on_are_counted(problem):
    frame = load(224)[24:]
    frame.loc[frame["time"] >= "2024-01-09", "south"] += 1
    revised, rolled = problem.deliver(frame)
    assert revised.startswith("8 values were revised since the last delivery, from 2024-01-09 to 2024-01-09 07:00")
    assert revised.endswith("(south)")
    assert rolled.startswith("48 values of the last delivery are no longer there, before 2024-01-02")


def test_revised_values_are_told_in_the_clock_of_the_source(problem):
    problem.deliver(load(), timezone="Europe/Berlin", accept=True)
    frame = load()
    frame.loc[frame["time"] == "2024-01-05 14:00", "south"] += 1
    (revised,) = problem.deliver(frame, timezone="Europe/Berlin")
    assert "from 2024-01-05 14:00 to 2024-01-05 14:00" in revised


def test_another_clock_and_another_frequency_are_refused(problem):
    with pytest.raises(DataError, match=r"lie 2 hours earlier .* another clock. Set source.timezone"):
        problem.deliver(load(210, start="2023-12-31 22:00"))
    with pytest.raises(DataError, match=r"now have frequency '2h'; the last delivery had 'h'"):
        problem.deliver(load(210)[::2])


def test_series_that_ended_are_found(problem):
    frame = load(names=("north", "south", "east"))
    frame.loc[180:, "south"] = np.nan
    problem.deliver(frame, flow="retrain", accept=True)
    known = ["north", "south", "west"]
    assert find_ended(problem.series, known, problem.store, steps=20) == (["west"], ["south"])
    assert find_ended(problem.series, known, problem.store, steps=21) == (["west"], [])


def test_a_clean_up_keeps_what_later_deliveries_are_compared_with(problem):
    before = problem.series
    forget(problem.store, grace_seconds=-60)
    problem.store.verify(before)
