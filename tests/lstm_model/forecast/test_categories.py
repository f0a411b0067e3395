"""A covariate that is text, from the file to the forecast: read, cut, trained on, and known ahead."""

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.compute.device import DeviceChoice
from lstm_model.contracts.bundle_card import read_model_card
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import (
    Columns,
    Covariates,
    ModelSpec,
    PipelineConfig,
    Plan,
    Source,
    TrainingSpec,
    WindowSpec,
)
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.evaluation.held_out import forecast_test
from lstm_model.forecast.__main__ import main
from lstm_model.forecast.bundle import save_bundle
from lstm_model.forecast.predict import forecast
from lstm_model.series.ingestion import write_series
from lstm_model.sources.raw_series import read_source
from lstm_model.training.train import fit
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.segments import write_windows
from tests.factories import model_card

STEPS, HORIZON = 200, 7
SPEC = WindowSpec(
    context=14, horizon=HORIZON, season=7, frequency="D", stride=1, evaluation_stride=1, test_steps=14,
    validation_steps=14, align="calendar", pad_short=True,
)  # fmt: skip
MODEL = ModelSpec(
    kind="mixture", hidden_dim=16, layer_dim=1, segment=1, normalisation="mean_std", linear_skip=True, levels=(0.8,)
)  # fmt: skip
TRAINING = TrainingSpec(
    seed=0, device="cpu", precision="fp32", threads=1, max_steps=150, batch_size=32, learning_rate=2e-2,
    weight_decay=0.01, gradient_clip=1.0, patience=20, refit=True,
)  # fmt: skip
LEVELS = {"none": 0.0, "flyer": 10.0, "tv": 25.0}
PROMO = Covariates(future=("promo",))


def draw_shops(**changes):
    """Shops whose level follows the promotion of the day, which is known a horizon ahead."""
    rng, parts = np.random.default_rng(0), []
    for shop in "abcd":
        promo = rng.choice([*LEVELS], STEPS + HORIZON)
        truth = 50 + np.array([LEVELS[one] for one in promo]) + rng.normal(size=len(promo))
        days = pd.date_range("2024-01-01", periods=len(promo))
        sold = np.where(np.arange(len(promo)) < STEPS, truth, np.nan)
        parts.append(pd.DataFrame({"shop": shop, "day": days, "sold": sold, "promo": promo, "truth": truth}))
    return pd.concat(parts, ignore_index=True).assign(**changes)


def ingest(frame, folder, covariates=PROMO):
    """Write the frame as CSV, and the series table that is read from it."""
    folder.mkdir(exist_ok=True, parents=True)
    frame.drop(columns="truth").to_csv(folder / "shops.csv", index=False)
    columns = Columns(unique_id="shop", ds="day", y="sold")
    source = Source(kind="files", path=str(folder / "shops.csv"), columns=columns)
    config = PipelineConfig(source=source, covariates=covariates, horizon=HORIZON)
    made = write_series(read_source(source, covariates=covariates), config, folder / "series.parquet")
    return config, made.meta


def train(table, folder, covariates=PROMO, config=None, max_steps=150):
    """Cut windows and train on them; return the folder of the bundle."""
    write_windows(table, folder / "windows", spec=SPEC, covariates=covariates)
    meta = read_windows_meta(folder / "windows")
    plan = Plan(window=SPEC, model=MODEL, training=TRAINING.model_copy(update={"max_steps": max_steps}))
    splits = [load_windows(folder / "windows", split) for split in ("train", "validation")]
    fitted = fit(*splits, plan=plan, scaler=meta.scaler, device=DeviceChoice("cpu", "fp32", 1, "a test"))
    saved = config.model_dump(mode="json") if config else None
    save_bundle(folder / "bundle", fitted.forecaster, model_card(meta, config=saved))
    return folder / "bundle"


def measure_error(found, frame):
    joined = found.table.merge(frame, left_on=["unique_id", "ds"], right_on=["shop", "day"])
    assert len(joined) == 4 * HORIZON
    return float((joined["median"] - joined["truth"]).abs().mean())


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A series table of promotions, and the bundle of a model that was trained on it."""
    folder = tmp_path_factory.mktemp("made")
    config, _ = ingest(draw_shops(), folder)
    train(folder / "series.parquet", folder, config=config)
    return folder


def test_a_model_that_knows_the_category_beats_the_same_model_without_it(made, tmp_path):
    table = made / "series.parquet"
    card = read_model_card(made / "bundle")
    assert card.covariates.future == ["promo=flyer", "promo=none", "promo=tv"]
    assert card.covariates.categories == {"promo": ["flyer", "none", "tv"]}
    with_promo = measure_error(forecast(made / "bundle", table), draw_shops())
    without = measure_error(forecast(train(table, tmp_path, Covariates()), table), draw_shops())
    assert with_promo < 3 < 6 < without


def test_the_order_of_categories_in_newer_data_does_not_matter(made, tmp_path):
    """The newest file holds fewer categories, others that come first in the alphabet, and rows in another order."""
    frame = draw_shops()
    expected = forecast(made / "bundle", made / "series.parquet").table
    old = frame["day"] < "2024-02-01"
    frame.loc[old, "promo"] = "a new one"
    ingest(frame.sample(frac=1, random_state=0), tmp_path)
    found = forecast(made / "bundle", tmp_path / "series.parquet")
    pd.testing.assert_frame_equal(found.table, expected, check_exact=True)
    assert found.remarks == forecast(made / "bundle", made / "series.parquet").remarks, "it is long ago"


def test_a_category_that_the_model_has_not_seen_is_told_and_is_none_of_its_categories(made, tmp_path):
    frame = draw_shops()
    frame.loc[(frame["shop"] == "b") & (frame["day"] >= "2024-07-20"), "promo"] = "radio"
    ingest(frame, tmp_path)
    found = forecast(made / "bundle", tmp_path / "series.parquet")
    assert (
        "1 series have 'radio' as future covariate 'promo' (first at 2024-07-20 00:00:00), which the model has never "
        "seen: it is taken as none of its categories: b" in found.remarks
    ), found.remarks
    before = forecast(made / "bundle", made / "series.parquet").table.set_index("unique_id")
    after = found.table.set_index("unique_id")
    assert after.loc[["a", "c", "d"]].equals(before.loc[["a", "c", "d"]]) and not after.loc["b"].equals(before.loc["b"])
    assert np.isfinite(after.loc["b", "median"]).all()


def test_future_categories_that_are_not_known_are_an_error(made, tmp_path):
    frame = draw_shops()
    ingest(frame[frame["day"] < "2024-07-21"], tmp_path)
    with pytest.raises(DataError, match=r"'promo' of series 'a' is not known at 2024-07-21"):
        forecast(made / "bundle", tmp_path / "series.parquet")
    frame.loc[(frame["shop"] == "c") & (frame["day"] == "2024-07-20"), "promo"] = np.nan
    with pytest.raises(DataError, match=r"'promo' is missing in the steps after .*'c', 2024-07-20.*such as none\)"):
        ingest(frame, tmp_path)
    frame = draw_shops()
    frame.loc[5, "promo"] = " "
    with pytest.raises(DataError, match=r"future covariate 'promo' is missing in the history: series 'a', 2024-01-06"):
        ingest(frame, tmp_path)


def test_missing_past_categories_are_none_of_them_and_told(tmp_path):
    frame = draw_shops()
    gaps = frame.index % 10 == 3
    frame.loc[gaps, "promo"] = np.nan
    _, meta = ingest(frame, tmp_path, Covariates(past=("promo",)))
    told = next(one.message for one in meta.findings if one.code == "past_covariate")
    assert told.startswith("80 missing values of the past covariate 'promo' taken as none of its categories, in 4")
    table = pd.read_parquet(tmp_path / "series.parquet")
    assert table["promo"].isna().sum() == 80 and table["promo"].iloc[4] == frame["promo"].iloc[4]
    write_windows(tmp_path / "series.parquet", tmp_path / "w", spec=SPEC, covariates=Covariates(past=("promo",)))
    past = load_windows(tmp_path / "w", "train").past_NP
    assert set(past.sum(dim=1).tolist()) == {0.0, 1.0} and past.shape[1] == 3


def test_the_command_without_prefect_reads_categories(made, tmp_path, capsys):
    """From a CSV, and from the series table of the pipeline."""
    expected = forecast(made / "bundle", made / "series.parquet").table
    for name in ("shops.csv", "series.parquet"):
        output = tmp_path / "next.parquet"
        assert main([str(made / "bundle"), str(made / name), "--output", str(output)]) == 0, capsys.readouterr().err
        found = pd.read_parquet(output).drop(columns="model_version")
        pd.testing.assert_frame_equal(found, expected, check_exact=True)
    numbers = draw_shops(promo=1.5)
    numbers.drop(columns="truth").to_csv(tmp_path / "numbers.csv", index=False)
    assert main([str(made / "bundle"), str(tmp_path / "numbers.csv")]) == 2
    told = capsys.readouterr().err
    assert "covariate 'promo' holds numbers, or yes and no, but texts (flyer, none, tv) where the model" in told


def test_texts_for_a_model_of_numbers_are_an_error(made, tmp_path):
    ingest(draw_shops(promo=lambda rows: rows["promo"].eq("tv").map({True: "yes", False: "no"})), tmp_path)
    bundle = train(tmp_path / "series.parquet", tmp_path, max_steps=5)
    assert read_model_card(bundle).covariates.future == ["promo"]
    with pytest.raises(DataError, match=r"'promo' holds texts \(flyer, none, tv\), but numbers, or yes and no, where"):
        forecast(bundle, made / "series.parquet")


def test_a_model_of_yes_no_and_perhaps_reads_a_file_of_yes_and_no(tmp_path):
    """Texts that are all yes and no become numbers; the model's own categories say what these were."""
    words = {"none": "No", "flyer": "perhaps", "tv": "Yes"}
    frame = draw_shops(promo=lambda rows: rows["promo"].map(words))
    recent = frame["day"] >= "2024-06-01"
    frame.loc[recent & frame["promo"].eq("perhaps"), "promo"] = "No"
    ingest(frame, tmp_path)
    bundle = train(tmp_path / "series.parquet", tmp_path, max_steps=5)
    ingest(frame[recent], tmp_path / "recent")
    assert pd.read_parquet(tmp_path / "recent" / "series.parquet")["promo"].dtype == float
    expected = forecast(bundle, tmp_path / "series.parquet").table
    pd.testing.assert_frame_equal(forecast(bundle, tmp_path / "recent" / "series.parquet").table, expected)


def test_a_category_that_begins_in_the_test_is_none_of_the_model_and_of_its_test(tmp_path):
    """No weight has learnt it: the column would be read by chance."""
    frame = draw_shops()
    frame.loc[frame["day"] >= "2024-07-08", "promo"] = "radio"
    ingest(frame, tmp_path)
    bundle = train(tmp_path / "series.parquet", tmp_path, max_steps=5)
    assert read_model_card(bundle).covariates.future == ["promo=flyer", "promo=none", "promo=tv"]
    targets = pd.read_parquet(tmp_path / "series.parquet", columns=["unique_id", "ds", "y", "observed"])
    held = forecast_test(bundle, tmp_path / "windows", tmp_path / "series.parquet", targets=targets, spec=SPEC)
    assert held is not None and len(held.table)
    assert any("4 series have 'radio'" in text for text in forecast(bundle, tmp_path / "series.parquet").remarks)


def test_a_champion_is_tested_on_windows_with_newer_categories(made, tmp_path):
    """It reads its own columns, whatever the windows hold."""
    frame = draw_shops()
    frame.loc[frame["day"] < "2024-02-01", "promo"] = "a new one"
    ingest(frame, tmp_path)
    write_windows(tmp_path / "series.parquet", tmp_path / "windows", spec=SPEC, covariates=PROMO)
    assert read_windows_meta(tmp_path / "windows").future[0] == "promo=a new one"
    known = read_model_card(made / "bundle").covariates
    found, expected = (
        load_windows(windows, "test", covariates=known) for windows in (tmp_path / "windows", made / "windows")
    )
    assert torch.equal(found.future_NF, expected.future_NF)
