"""Forecasts of what comes next, and the command that makes them without Prefect."""

import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.contracts.bundle_card import InputShape, name_covariates
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Columns, Covariates, ModelSpec, PipelineConfig, Source, WindowSpec
from lstm_model.contracts.windows_meta import EncodedCovariates, read_windows_meta
from lstm_model.forecast.__main__ import main
from lstm_model.forecast.bundle import RECORD, WEIGHTS, load_bundle, save_bundle
from lstm_model.forecast.calibrate import Calibration
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.forecast.predict import forecast
from lstm_model.networks.models import build_network
from lstm_model.reporting.fan_chart import plot_upcoming
from lstm_model.reporting.figures import to_png
from lstm_model.storage.manifest import hash_file
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.segments import write_windows
from tests.factories import model_card, windows_meta

ROOT = Path(__file__).parents[3]
CONTEXT, HORIZON, STEPS = 12, 4, 60
COVARIATES = Covariates(static=("region", "size"), past=("wind",), future=("promo",))
SPEC = WindowSpec(
    context=CONTEXT, horizon=HORIZON, season=7, frequency="D", stride=1, evaluation_stride=1, test_steps=HORIZON,
    validation_steps=HORIZON, align="calendar", pad_short=True,
)  # fmt: skip


def panel(ids="abc", steps=STEPS, **static):
    """A series table: the last HORIZON rows are in the future."""
    rng = np.random.default_rng(0)
    parts = []
    for k, unique_id in enumerate(ids):
        y = 50 + 10 * k + 8 * np.sin(np.arange(steps) * 2 * np.pi / 7) + rng.normal(size=steps)
        observed = np.arange(steps) < steps - HORIZON
        part = pd.DataFrame({"unique_id": unique_id, "ds": pd.date_range("2024-01-01", periods=steps), "y": y})
        part["y"] = part["y"].where(observed)
        part["observed"] = observed
        part["wind"] = np.where(observed, rng.normal(size=steps), np.nan)
        part["promo"] = (np.arange(steps) % 5 == 0).astype(float)
        part["region"] = static.get("region", ["north", "south"])[k % 2]
        part["size"] = 100.0 + k
        parts.append(part)
    table = pd.concat(parts, ignore_index=True)
    table["ds"] = table["ds"].astype("datetime64[us]")
    return table


@pytest.fixture
def table(tmp_path):
    def write(frame, name="series.parquet"):
        frame.to_parquet(tmp_path / name, index=False)
        return tmp_path / name

    return write


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A bundle with every kind of covariate, and the windows of the data behind it."""
    folder = tmp_path_factory.mktemp("made")
    panel(steps=STEPS).assign(y=lambda t: t["y"].fillna(55.0), observed=True).to_parquet(folder / "series.parquet")
    write_windows(folder / "series.parquet", folder / "windows", spec=SPEC, covariates=COVARIATES)

    meta = read_windows_meta(folder / "windows")
    spec = ModelSpec(
        kind="mixture", hidden_dim=8, layer_dim=1, segment=4, dropout=0.1, normalisation="mean_std", levels=(0.8, 0.95)
    )
    torch.manual_seed(0)
    shape = InputShape(CONTEXT, HORIZON, 7, past=1, future=1, static=3)
    network = build_network(spec, shape, meta.scaler)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    forecaster = Forecaster(network, spec, shape, meta.scaler, Calibration(np.full((2, HORIZON), 0.1, np.float32)))
    save_bundle(folder / "bundle", forecaster, model_card(meta))
    return folder


def test_a_forecast_is_what_the_model_says_of_the_window_after_the_cutoff(made, table):
    """The same window, once as the last one of a test with truth behind it, once as the next horizon without."""
    test = load_windows(made / "windows", "test")
    expected = load_bundle(made / "bundle").predict(test)
    full = pd.read_parquet(made / "series.parquet")
    last = full.groupby("unique_id").cumcount() >= STEPS - HORIZON
    cut = full.assign(y=full["y"].where(~last), observed=~last, wind=full["wind"].where(~last))
    result = forecast(made / "bundle", table(cut)).table
    assert list(result.columns) == [
        "unique_id", "cutoff", "ds", "step", "mean", "median", "lo_80", "hi_80", "lo_95", "hi_95"
    ]  # fmt: skip
    values = result[["lo_95", "lo_80", "median", "hi_80", "hi_95"]].to_numpy().reshape(3, HORIZON, 5)
    np.testing.assert_allclose(values, expected, rtol=1e-5)
    assert result["unique_id"].tolist() == [i for i in "abc" for _ in range(HORIZON)]
    assert result["ds"].tolist()[:HORIZON] == pd.date_range("2024-02-26", periods=HORIZON).tolist()
    assert set(result["cutoff"]) == {pd.Timestamp("2024-02-25")} and result["step"].tolist() == [1, 2, 3, 4] * 3
    assert (result.dtypes.iloc[4:] == np.float32).all() and result["step"].dtype == np.int32


def test_the_bytes_depend_on_the_series_alone(made, table):
    """Not on the others in the table, nor on the threads that torch has: a rollback must give the same again."""
    ids = [f"s{k:03}" for k in range(70)]
    whole = panel(ids)
    everything = forecast(made / "bundle", table(whole)).table.set_index("unique_id")
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for chosen in (["s069"], ids[3:9], ids[:65]):
            part = whole[whole["unique_id"].isin(chosen)]
            alone = forecast(made / "bundle", table(part, "part.parquet")).table.set_index("unique_id")
            assert alone.equals(everything.loc[chosen]), chosen
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)


def test_every_series_from_its_own_end_also_new_and_short_ones(made, table):
    """`new` has a category that the model has never met, and fewer values than a context."""
    frame = panel("abc")
    short = frame[(frame["unique_id"] == "a") & (frame["ds"] >= "2024-02-20")].assign(unique_id="new", region="east")
    early = frame[(frame["unique_id"] == "b") & (frame["ds"] < "2024-02-01")].copy()
    early["unique_id"] = "old"
    early.loc[early["ds"] > "2024-01-20", ["y", "observed"]] = [np.nan, False]
    result = forecast(made / "bundle", table(pd.concat([frame, short, early], ignore_index=True)))
    cutoffs = result.table.groupby("unique_id")["cutoff"].first().astype(str).to_dict()
    assert cutoffs == {**dict.fromkeys([*"abc", "new"], "2024-02-25"), "old": "2024-01-20"}
    assert np.isfinite(result.table["mean"]).all()
    assert len(result.remarks) == 1 and result.remarks[0] == (
        "1 series have 'east' as static covariate 'region', which the model has never seen: it is taken as none of "
        "its categories: new"
    )
    result = result.table
    zero = short.assign(region="north")
    other = forecast(made / "bundle", table(pd.concat([frame, zero], ignore_index=True))).table
    assert not other[other["unique_id"] == "new"]["mean"].equals(result[result["unique_id"] == "new"]["mean"])


def test_an_unknown_category_is_zero_in_all_columns(made, table):
    from lstm_model.series.series_table import encode_static

    known = {"region": ["north", "south"]}
    encoded = encode_static(table(panel("ab", region=["north", "west"])), ("region", "size"), known=known)
    assert encoded.columns == ["region=north", "region=south", "size"]
    assert encoded.rows == {"a": [1.0, 0.0, 100.0], "b": [0.0, 0.0, 101.0]}
    with pytest.raises(ValueError, match=r"'size' has text in it .*'a': 'big'.*trained on numbers"):
        encode_static(table(panel("ab").assign(size="big")), ("region", "size"), known=known)


def test_covariates_keep_their_order_and_names():
    kept = {"static_columns": ["size", "kind=a=1", "kind=b", "age"], "static_categories": {"kind": ["a=1", "b"]}}
    assert name_covariates(EncodedCovariates(**kept, past=["w"], future=[])) == Covariates(
        static=("size", "kind", "age"), past=("w",)
    )
    kept = {"static_columns": [], "static_categories": {}, "categories": {"a": ["x", "b=c"], "f": ["1"]}}
    assert name_covariates(EncodedCovariates(**kept, past=["a=x", "a=b=c", "w"], future=["v=2", "f=1"])) == Covariates(
        past=("a", "w"), future=("v=2", "f")
    )


def test_future_covariates_must_reach_through_the_horizon(made, table):
    frame = panel()
    frame.loc[(frame["unique_id"] == "b") & (frame["ds"] == "2024-02-28"), "promo"] = np.nan
    with pytest.raises(DataError, match=r"'promo' of series 'b' is not known at 2024-02-28 .*after 2024-02-25"):
        forecast(made / "bundle", table(frame))
    without = panel()
    with pytest.raises(DataError, match="'promo' of series 'c' is not known at 2024-02-26"):
        forecast(made / "bundle", table(without[(without["unique_id"] != "c") | without["observed"]]))


def test_a_series_that_has_ended_needs_no_covariates(made, table):
    frame = panel()
    ended = frame[(frame["unique_id"] != "c") | (frame["ds"] <= "2024-02-21")]
    result = forecast(made / "bundle", table(ended))
    assert set(result.table["unique_id"]) == {"a", "b"}
    assert result.notes == ["1 series not forecast, having ended a horizon or more before the others: c"]
    with pytest.raises(DataError, match="'promo' of series 'c'"):
        forecast(made / "bundle", table(frame[(frame["unique_id"] != "c") | (frame["ds"] <= "2024-02-22")]))


def test_a_series_with_nothing_to_read_is_left_out(made, table):
    frame = panel()
    rows = (frame["unique_id"] == "b") & frame["observed"]
    frame.loc[rows & (frame["ds"] != "2024-02-25"), "observed"] = False
    result = forecast(made / "bundle", table(frame))
    assert set(result.table["unique_id"]) == {"a", "c"}
    assert result.notes == ["1 series not forecast, with fewer than 2 observed values in their context: b"]
    with pytest.raises(DataError, match="no series can be forecast; 1 series not forecast, with fewer than 2"):
        forecast(made / "bundle", table(frame[frame["unique_id"] == "b"]))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (
            lambda t: t.assign(ds=t["ds"] + (t["ds"] - t["ds"].min())),
            "frequency 'D'; series 'a' has 11 other steps from 2024-",
        ),
        (lambda t: t.assign(ds=t.groupby("unique_id").cumcount()), "frequency 'D'; the series end at 55"),
        (lambda t: t.drop(columns="promo"), "the future covariate 'promo', which the series table does not have"),
    ],
    ids=["two days", "integers", "no promo"],
)
def test_data_that_do_not_fit_the_bundle(made, table, change, message):
    with pytest.raises(DataError, match=message):
        forecast(made / "bundle", table(change(panel())))


def test_a_forecast_that_is_no_number_is_an_error(made, table):
    frame = panel()
    frame.loc[frame.index[STEPS - HORIZON - 1], "y"] = 3e38
    with pytest.raises(ValueError, match=r"NaN or infinity for 1 of 3 series, first for 'a'"):
        forecast(made / "bundle", table(frame))


@pytest.fixture(scope="module")
def of_logarithms(tmp_path_factory):
    """A bundle whose network reads logarithms, without covariates and not calibrated."""
    folder = tmp_path_factory.mktemp("logarithms")
    spec = ModelSpec(hidden_dim=4, layer_dim=1, segment=1, normalisation="mean_std", transform="log", levels=(0.8,))
    shape = InputShape(CONTEXT, HORIZON, 7)
    torch.manual_seed(0)
    save_bundle(folder, Forecaster(build_network(spec, shape), spec, shape), model_card(windows_meta(frequency="D")))
    return folder


@pytest.mark.parametrize(
    ("last", "forecast_it", "said"),
    [
        ([5.0] * 12, True, "the intervals are not calibrated"),
        ([0.0] * 12, False, "series not forecast, since their latest values are 0 or less"),
        ([5.0] * 11 + [-1.0], False, "series not forecast, since their latest values are 0 or less"),
        ([0.0] + [5.0] * 11, False, "more than 5% of their context is"),
    ],
)
def test_a_network_of_logarithms_refuses_series_that_have_none(of_logarithms, table, last, forecast_it, said):
    y = np.concatenate([np.full(30, 5.0) + np.arange(30) % 3, last])
    frame = pd.DataFrame({"unique_id": "b", "ds": pd.date_range("2024-01-01", periods=42, unit="us"), "y": y})
    good = frame.assign(unique_id="a", y=np.abs(y) + 4)
    result = forecast(of_logarithms, table(pd.concat([good, frame]).assign(observed=True)))
    assert set(result.table["unique_id"]) == ({"a", "b"} if forecast_it else {"a"})
    assert any(said in note for note in result.notes) and result.notes[-1].startswith(
        "the intervals are not calibrated"
    )


def test_forecasts_are_not_below_zero_where_the_history_never_is_and_whole_where_asked(made, table):
    frame = panel()
    low = frame.assign(y=frame["y"] - frame.groupby("unique_id")["y"].transform("min"))
    low.loc[low["unique_id"] == "b", "y"] -= 30
    columns = ["lo_95", "lo_80", "median", "hi_80", "hi_95"]
    free = forecast(made / "bundle", table(low)).table.set_index("unique_id")
    assert (free.loc[["a", "c"], [*columns, "mean"]] >= 0).all(axis=None) and (free.loc["b", "lo_95"] < 0).any()
    assert (free.loc[["a", "c"], "lo_95"] == 0).any(), "the bound would be below zero"
    whole = forecast(made / "bundle", table(low), integers=True).table.set_index("unique_id")
    assert (whole[columns] % 1 == 0).all(axis=None) and whole["mean"].equals(free["mean"])
    assert (whole["lo_80"] <= free["lo_80"]).all() and (whole["hi_80"] >= free["hi_80"]).all()
    assert (whole["median"] - free["median"]).abs().max() <= 0.5


def test_the_tutorials_network_knows_the_median_alone(table, tmp_path):
    frame = pd.DataFrame({"unique_id": "sine", "ds": np.arange(30), "y": np.sin(np.arange(30) / 3), "observed": True})
    torch.manual_seed(0)
    spec = ModelSpec(
        kind="tutorial", hidden_dim=4, layer_dim=1, segment=1, dropout=0, normalisation="none", levels=(0.8,)
    )
    shape = InputShape(8, 1, 1)
    forecaster = Forecaster(build_network(spec, shape), spec, shape)
    save_bundle(tmp_path / "bundle", forecaster, model_card(windows_meta(frequency="1")))
    result = forecast(tmp_path / "bundle", table(frame)).table
    assert result.drop(columns=["mean", "median"]).to_dict("records") == [
        {"unique_id": "sine", "cutoff": 29, "ds": 30, "step": 1}
    ]
    assert np.isfinite(result["mean"]).all() and result["mean"].equals(result["median"].rename("mean"))
    assert [one.get_title(loc="left") for one in plot_upcoming(result, frame).axes] == ["sine"]


def test_closed_times_are_not_forecast_even_where_the_bundle_does_not_know_them_yet(table, tmp_path):
    closed = pd.offsets.CustomBusinessDay(holidays=["2024-11-28", "2024-12-25", "2025-01-01"])
    days = pd.date_range(end="2024-12-23", periods=30, freq=closed, unit="us")
    frame = table(pd.DataFrame({"unique_id": "shop", "ds": days, "y": np.arange(30.0), "observed": True}))
    spec = ModelSpec(kind="mixture", hidden_dim=4, layer_dim=1, segment=1, normalisation="last", levels=(0.8,))
    shape = InputShape(8, 8, 5)
    forecaster = Forecaster(build_network(spec, shape), spec, shape)
    save_bundle(tmp_path / "bundle", forecaster, model_card(windows_meta(frequency="B", horizon=8)))
    known = "B closed 01-01 12-25 4thu11"
    ahead = forecast(tmp_path / "bundle", frame, frequency=known).table
    assert ahead["ds"].tolist() == pd.date_range("2024-12-24", periods=8, freq=closed).tolist()
    days = days.append(pd.DatetimeIndex(["2024-12-24", "2024-12-26"]))[2:]
    frame = table(pd.DataFrame({"unique_id": "shop", "ds": days, "y": np.arange(30.0), "observed": True}))
    with pytest.raises(DataError, match="the bundle forecasts steps of frequency 'B'; series 'shop' has 7 other steps"):
        forecast(tmp_path / "bundle", frame, frequency="D")
    assert len(forecast(tmp_path / "bundle", frame, frequency=known).table) == 8


BLOCKED = """
import sys

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] == "prefect":
            raise ImportError("prefect is not here")

sys.meta_path.insert(0, Blocker())
from lstm_model.forecast.__main__ import main
sys.exit(main(sys.argv[1:]))
"""


def test_a_csv_is_forecast_where_there_is_no_prefect(made, tmp_path, table):
    """With the columns that the bundle was trained with; its own names are not looked for twice."""
    config = PipelineConfig(
        source=Source(kind="files", path="gone.csv", columns=Columns(unique_id="shop", ds="day", y="sold")),
        covariates=COVARIATES, frequency="D", horizon=HORIZON,
    )  # fmt: skip
    forecaster = load_bundle(made / "bundle")

    card = model_card(read_windows_meta(made / "windows"), config=config.model_dump(mode="json"))
    save_bundle(tmp_path / "bundle", forecaster, card)
    frame = panel()
    expected = forecast(tmp_path / "bundle", table(frame)).table
    names = {"unique_id": "shop", "ds": "day", "y": "sold"}
    frame.drop(columns="observed").rename(columns=names).to_csv(tmp_path / "shops.csv", index=False)
    command = [sys.executable, "-c", BLOCKED, tmp_path / "bundle", tmp_path / "shops.csv"]
    command += ["--output", tmp_path / "next.csv"]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert run.returncode == 0, run.stderr
    written = pd.read_csv(tmp_path / "next.csv", parse_dates=["ds", "cutoff"])
    assert written["model_version"].str.fullmatch("[0-9a-f]{16}").all()
    values = list(expected.columns[4:])
    assert written[values].astype(np.float32).equals(expected[values]), "the same bits in another process"
    assert (
        main([str(tmp_path / name) for name in ("bundle", "series.parquet")] + ["--output", f"{tmp_path}/next.parquet"])
        == 0
    )
    assert pd.read_parquet(tmp_path / "next.parquet").drop(columns="model_version").equals(expected)


class Bomb:
    def __reduce__(self):
        return (Path.write_text, (Path("exploded"), "boom"))


def test_a_bundle_that_is_not_what_was_written_is_refused_and_runs_nothing(made, tmp_path, table, monkeypatch):
    monkeypatch.chdir(tmp_path)
    series = table(panel())

    def refused(damage):
        folder = tmp_path / "bundle"

        shutil.rmtree(folder, ignore_errors=True)
        shutil.copytree(made / "bundle", folder)
        damage(folder)
        with pytest.raises(ValueError) as caught:
            forecast(folder, series)
        assert not (tmp_path / "exploded").exists()
        return str(caught.value)

    assert "model.safetensors is missing, truncated or changed" in refused(
        lambda f: (f / WEIGHTS).write_bytes((f / WEIGHTS).read_bytes()[:-9])
    )
    assert "bundle.json was changed after it was written" in refused(
        lambda f: (f / RECORD).write_text((f / RECORD).read_text().replace('"D"', '"h"'))
    )

    def pickled(folder):
        """Sealed anew, as someone would who wants the code in it to run."""
        from lstm_model.contracts.bundle_card import read_record, write_record

        (folder / WEIGHTS).write_bytes(pickle.dumps(Bomb()))
        changes = {"weights_sha256": hash_file(folder / WEIGHTS)}
        write_record(folder, read_record(folder).model_copy(update=changes))

    assert "is not of a bundle that this version can read: its header has" in refused(pickled)


def test_what_the_command_prints(made, tmp_path, table, capsys):
    assert main([str(made / "bundle"), str(table(panel("ab")))]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == [
        "unique_id", "cutoff", "ds", "step", "mean", "median", "lo_80", "hi_80", "lo_95", "hi_95", "model_version"
    ]  # fmt: skip
    assert len(lines) == 1 + 2 * HORIZON
    assert main([str(made / "bundle"), str(tmp_path / "series.parquet"), "--output", "next.xlsx"]) == 2
    assert "error: --output must end in .csv or .parquet, received next.xlsx" in capsys.readouterr().err
    assert main([str(tmp_path / "nowhere"), str(tmp_path / "series.parquet")]) == 2
    assert "bundle.json cannot be read" in capsys.readouterr().err


def test_the_golden_bundle_forecasts_as_it_always_did(tmp_path):
    """tests/golden/v1 is kept: every later version must load it, and forecast the same.

    It was trained by the flow, with covariates of every kind (see `tests/golden/make.py`). `east` is a series that it
    has never seen, of a region that it does not know, with fewer values than a context. The mean alone changed: that
    of an early bundle, which was never checked against a validation, is now its median.
    """
    golden = ROOT / "tests" / "golden" / "v1"
    assert main([str(golden / "bundle"), str(golden / "series.csv"), "--output", str(tmp_path / "now.csv")]) == 0
    expected, now = pd.read_csv(golden / "forecasts.csv"), pd.read_csv(tmp_path / "now.csv")
    text = ["unique_id", "cutoff", "ds", "step", "model_version"]
    assert now[text].equals(expected[text]) and list(now.columns) == list(expected.columns)
    numbers = [name for name in now if name not in (*text, "mean")]
    np.testing.assert_allclose(now[numbers], expected[numbers], rtol=1e-5)
    assert now["mean"].equals(now["median"].rename("mean"))


@pytest.mark.parametrize("horizon", [1, 4])
def test_the_plot_of_what_comes_next(made, table, horizon):
    frame = panel("abcd")
    result = forecast(made / "bundle", table(frame)).table
    figure = plot_upcoming(result[result["step"] <= horizon], frame, target="$sold")
    assert [one.get_title(loc="left") for one in figure.axes] == ["d", "c", "b"], "the largest"
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["95% interval", "80% interval", "actual", "median"]
    assert to_png(figure).startswith(b"\x89PNG")
