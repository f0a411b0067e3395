"""Steps of 0.5 at a level of 1e9, of which float32 knows every 64th number: from the series table to the ledger.

The same panel at a level of 8192, where float32 has all digits, is forecast and scored alike.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.settings import Covariates, ModelSpec, Plan, TrainingSpec, WindowSpec
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.evaluation.baselines import find_baselines
from lstm_model.evaluation.error_scales import measure_scales
from lstm_model.evaluation.evaluate import join_shards, score, tabulate_forecasts
from lstm_model.forecast.bundle import save_bundle
from lstm_model.forecast.forecaster import Forecaster
from lstm_model.forecast.predict import forecast
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.storage.store import Store
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import Windows, concat_windows, load_windows
from lstm_model.windows.layout import read_segments
from lstm_model.windows.segments import select_before_test, write_windows
from lstm_model.windows.stream import estimate_bytes, open_stream
from tests.factories import model_card

LEVEL, LOW, STEPS, HORIZON = 1e9, 8192.0, 240, 7
SPEC = WindowSpec(
    context=28, horizon=HORIZON, season=7, frequency="D", stride=1, evaluation_stride=1, test_steps=14,
    validation_steps=28, align="calendar", pad_short=True,
)  # fmt: skip
NAMES = ["a", "b", "c", "d"]


def panel(level: float, names=NAMES) -> pd.DataFrame:
    """Weeks of two steps up and down, on a slow wave, and noise: all multiples of 0.5."""
    rng, t = np.random.default_rng(0), np.arange(STEPS)
    ds = pd.date_range("2024-01-01", periods=STEPS).astype("datetime64[us]")
    parts = []
    for name in names:
        wave = np.sin(2 * np.pi * t / 42 + rng.uniform(0, 6))
        steps = np.round(2 * (4 + wave + np.sin(2 * np.pi * t / 7)) + rng.normal(0, 0.5, STEPS)) / 2
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": level + steps, "observed": True}))
    return pd.concat(parts, ignore_index=True)


@dataclass
class Made:
    """A panel, its windows, and a model that was trained on them."""

    frame: pd.DataFrame
    path: Path
    windows: Path
    forecaster: Forecaster

    def tabulate(self, windows: Path | None = None) -> pd.DataFrame:
        before = select_before_test(self.frame, SPEC)
        test = load_windows(windows or self.windows, "test")
        return tabulate_forecasts(self.forecaster, test, season=7, history=before)


def write(frame: pd.DataFrame, folder: Path) -> tuple[Path, Path]:
    folder.mkdir()
    frame.to_parquet(folder / "series.parquet", index=False)
    write_windows(folder / "series.parquet", folder / "windows", spec=SPEC, covariates=Covariates())
    return folder / "series.parquet", folder / "windows"


def train(frame: pd.DataFrame, folder: Path, transform: str) -> Made:
    path, windows = write(frame, folder)
    model = ModelSpec(
        kind="mixture", hidden_dim=16, layer_dim=1, segment=7, dropout=0.0, normalisation="mean_std",
        transform=transform, levels=(0.8,),
    )  # fmt: skip
    training = TrainingSpec(
        seed=0, device="cpu", precision="fp32", threads=1, max_steps=80, batch_size=64, learning_rate=5e-3, patience=9,
        refit=True,
    )  # fmt: skip
    plan = Plan(window=SPEC, model=model, training=training)
    parts = [load_windows(windows, split) for split in ("train", "validation")]
    fitted = fit(*parts, plan=plan, scaler={}, device=DeviceChoice("cpu", "fp32", 1, "a test"))
    return Made(frame, path, windows, fitted.forecaster)


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> dict[str, Made]:
    folder = tmp_path_factory.mktemp("levels")
    return {
        "low": train(panel(LOW), folder / "low", "none"),
        "none": train(panel(LEVEL), folder / "none", "none"),
        "log": train(panel(LEVEL), folder / "log", "log"),
    }


@pytest.mark.parametrize("transform", ["none", "log"])
def test_the_truth_is_exact_and_all_scores_are_those_of_a_low_level(made, transform):
    high, low = made[transform], made["low"]
    table, usual = high.tabulate(), low.tabulate()
    truth = table.merge(high.frame, on=["unique_id", "ds"], suffixes=("", "_source"))
    assert truth["y"].equals(truth["y_source"]) and len(truth) == len(table)
    np.testing.assert_array_equal(table["y"] - LEVEL, usual["y"] - LOW)
    assert (usual["y"].dtype, table["y"].dtype) == (np.float32, np.float64)
    for name in find_baselines(table):
        np.testing.assert_allclose(table[name] - LEVEL, usual[name] - LOW, atol=1e-3, err_msg=name)
    scales, low_scales = (measure_scales(select_before_test(one.frame, SPEC), season=7) for one in (high, low))
    pd.testing.assert_frame_equal(scales, low_scales)
    found, expected = (score(t, scale=s).total.set_index("model") for t, s in ((table, scales), (usual, low_scales)))
    assert found.loc["seasonal_naive", "mase"] == expected.loc["seasonal_naive", "mase"]
    assert expected.loc["lstm", "mase"] < 0.95 * expected.loc["seasonal_naive", "mase"], "something is learnt"
    for name, tolerance in (("mase", 0.02), ("rmsse", 0.02), ("pinball", 0.02), ("coverage-80", 0.02)):
        assert found.loc["lstm", name] == pytest.approx(expected.loc["lstm", name], rel=tolerance), name
    assert found.loc["lstm_mean", "rmsse"] == pytest.approx(expected.loc["lstm_mean", "rmsse"], rel=0.02)


def test_forecasts_keep_their_digits_in_parquet_csv_and_the_ledger(made, tmp_path):
    save_bundle(tmp_path / "bundle", made["log"].forecaster, model_card(read_windows_meta(made["log"].windows)))
    table = forecast(tmp_path / "bundle", made["log"].path).table
    numbers = ["mean", "median", "lo_80", "hi_80"]
    assert (table[numbers].dtypes == np.float64).all()
    above = table[numbers] - LEVEL
    assert above.to_numpy().min() > -2 and above.to_numpy().max() < 8
    assert above["median"].groupby(table["unique_id"]).nunique().min() == HORIZON, "no two days are rounded to one"
    assert ((above["lo_80"] < above["median"]) & (above["median"] < above["hi_80"])).all()
    table.to_csv(tmp_path / "f.csv", index=False)
    pd.testing.assert_frame_equal(pd.read_csv(tmp_path / "f.csv")[numbers], table[numbers], rtol=0, atol=1e-6)

    ledger = Ledger(Store(tmp_path / "store"))
    usual = table.assign(unique_id="u" + table["unique_id"], **{n: np.float32(0.1) for n in numbers})
    ledger.append([usual.astype(dict.fromkeys(numbers, np.float32))], model_version="old")
    ledger.append([table, usual.astype(dict.fromkeys(numbers, np.float32))], model_version="m")
    read = ledger.read(model_version="m")
    assert read[: len(table)][numbers].equals(table[numbers])
    assert set(ledger.read(model_version="old")["mean"]) == {float(np.float32(0.1))}, "files of both types are one"


def test_a_series_is_forecast_alike_whichever_are_beside_it(made, tmp_path):
    """Shards are scored like the whole panel, and a panel does not double in size for one series."""
    usual = panel(0.0, ["u", "v"])
    both = pd.concat([made["none"].frame, usual], ignore_index=True)
    (_, whole), (_, shard) = write(both, tmp_path / "whole"), write(usual, tmp_path / "shard")
    assert {s.unique_id: s.values.dtype.name for s in read_segments(whole, "train")} == {
        **dict.fromkeys(NAMES, "float64"), "u": "float32", "v": "float32"
    }  # fmt: skip
    model = made["none"]
    scales = measure_scales(select_before_test(both, SPEC), season=7)
    at_once = Made(both, whole, whole, model.forecaster).tabulate()
    parts = [model.tabulate(), Made(usual, shard, shard, model.forecaster).tabulate()]
    assert parts[1]["lstm"].dtype == np.float32
    joined, _ = join_shards(parts, [scales])
    pd.testing.assert_frame_equal(joined, join_shards([at_once], [scales])[0], check_exact=True)


def test_windows_of_both_kinds_are_joined_and_streamed(made, tmp_path):
    _, folder = write(pd.concat([made["none"].frame, panel(0.0, ["u"])], ignore_index=True), tmp_path / "both")
    whole = load_windows(folder, "train")
    _, alone = write(panel(0.0, ["u"]), tmp_path / "alone")
    joined = concat_windows(load_windows(alone, "train"), whole)
    assert dict(zip(joined.unique_ids, joined.exact_K.tolist(), strict=True)) == {
        **dict.fromkeys(NAMES, True), "u": False
    }  # fmt: skip
    batch = joined.gather_batch(torch.arange(len(joined)))
    assert batch.target_BW.dtype == torch.float32
    fine = joined.exact_K[joined.series_W]
    assert (batch.level_B1[fine] >= LEVEL).all() and not batch.level_B1[~fine].any()
    values = joined.gather_values(torch.arange(len(joined)))
    assert torch.equal((batch.target_BW.double() + batch.level_B1).nan_to_num(), values.nan_to_num()), "nothing is lost"
    assert estimate_bytes([folder], "train", stride=1) >= whole.nbytes
    stream = open_stream([folder], "train", limit=2**30)
    taken = stream.take(torch.arange(len(whole)))
    assert torch.equal(
        taken.gather_values(torch.arange(len(whole))).nan_to_num(),
        whole.gather_values(torch.arange(len(whole))).nan_to_num(),
    )


def test_a_meter_that_counts_up_keeps_its_steps():
    """Its contexts have one level each, the series has none."""
    y = np.cumsum(np.random.default_rng(0).integers(1, 9, 4000)) * 0.01 + 1e7
    windows = Windows.from_arrays([y], context=28, horizon=7)
    batch = windows.gather_batch(torch.arange(len(windows)))
    steps = np.lib.stride_tricks.sliding_window_view(np.diff(y), 34)
    np.testing.assert_allclose(batch.target_BW.diff(dim=1), steps, atol=1e-6)


@pytest.mark.parametrize("values", [[5.0] * 60, [5e7] * 30 + [5e7 + 1] * 30, [np.nan] * 30 + [1e9, 1e9 + 0.5] * 15])
def test_flat_and_padded_contexts_have_finite_forecasts(made, values):
    windows = Windows.from_arrays([np.array(values)], context=28, horizon=7)
    for one in made.values():
        assert np.isfinite(one.forecaster.predict(windows)).all()
