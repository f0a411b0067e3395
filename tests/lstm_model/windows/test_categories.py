"""Windows of a covariate that is text: one column a category, those that the training steps have, shards or not."""

import numpy as np
import pandas as pd
import pytest
import torch

from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.windows_meta import read_windows_meta
from lstm_model.series.series_table import count_rows, write_range
from lstm_model.series.sharding import find_all_categories, plan_shards
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.segments import merge_windows, write_windows
from lstm_model.windows.stream import open_stream

COVARIATES = Covariates(past=("wind", "weather"), future=("promo",))
SPEC = WindowSpec(
    context=6, horizon=2, season=1, frequency="D", stride=1, evaluation_stride=1, test_steps=4, validation_steps=4,
    align="calendar", pad_short=True,
)  # fmt: skip


def write_panel(path, num_series=4, steps=40):
    """Each series has categories that others lack; `radio` begins in the test, and `wind` is a number."""
    parts = []
    for k in range(num_series):
        promo = np.array(["none", f"promo {k // 2}"], object)[np.arange(steps) % 2]
        promo[-2:] = "radio"
        weather = np.array(["sun", None if k else "rain", "sun"], object)[np.arange(steps) % 3]
        days = pd.date_range("2024-01-01", periods=steps).as_unit("us")
        numbers = {"ds": days, "y": np.arange(steps) + 100.0 * k, "observed": True, "wind": np.arange(steps) / 7}
        parts.append(pd.DataFrame({"unique_id": f"s{k}", **numbers, "weather": weather, "promo": promo}))
    frame = pd.concat(parts, ignore_index=True).astype({"weather": "str", "promo": "str"})
    frame.to_parquet(path, index=False, row_group_size=50)
    return frame


def write_shards(folder, shards):
    """Cut the panel in shards; return their folders, and that of the dataset that is gathered from them."""
    table = folder / "series.parquet"
    tables = []
    for k, one in enumerate(plan_shards(count_rows(table), shards=shards, shard_rows=None)):
        tables.append(folder / f"{k}.parquet")
        write_range(table, tables[-1], one)
    return cut_shards(folder, tables)


def cut_shards(folder, tables):
    frame = Frame(end="2024-02-09", frequency="D", categories=find_all_categories(tables, COVARIATES))
    parts = [folder / f"windows-{k}" for k in range(len(tables))]
    for one, part in zip(tables, parts, strict=True):
        write_windows(one, part, spec=SPEC, covariates=COVARIATES, frame=frame)
    (folder / "gathered").mkdir()
    merge_windows(parts, folder / "gathered")
    return parts, folder / "gathered"


def test_columns_are_the_categories_of_the_training_steps(tmp_path):
    frame = write_panel(tmp_path / "series.parquet")
    write_windows(tmp_path / "series.parquet", tmp_path / "w", spec=SPEC, covariates=COVARIATES)
    meta = read_windows_meta(tmp_path / "w")
    assert meta.past == ["wind", "weather=rain", "weather=sun"]
    assert meta.future == ["promo=none", "promo=promo 0", "promo=promo 1"]
    assert meta.categories == {"weather": ["rain", "sun"], "promo": ["none", "promo 0", "promo 1"]}
    train = load_windows(tmp_path / "w", "train")
    rows = frame[frame["ds"] <= "2024-02-01"]
    promo = rows["promo"].to_numpy()[:, None] == np.array(["none", "promo 0", "promo 1"])
    assert train.future_NF.shape[0] == len(rows) and np.array_equal(train.future_NF.numpy(), promo)
    weather = rows["weather"].to_numpy()[:, None] == np.array(["rain", "sun"])
    assert np.array_equal(train.past_NP.numpy()[:, 1:], weather) and 0 in weather.sum(axis=1)
    share = promo.mean(axis=0)
    assert np.allclose(meta.scaler["future"], np.stack([share, np.sqrt(share - share**2)], axis=1), atol=1e-6)
    test = load_windows(tmp_path / "w", "test").future_NF.numpy()
    assert (test.sum(axis=1) == 0).sum() == 2 * 4, "radio is none of them"


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_shards_have_the_categories_of_all(tmp_path, shards):
    write_panel(tmp_path / "series.parquet")
    write_windows(tmp_path / "series.parquet", tmp_path / "whole", spec=SPEC, covariates=COVARIATES)
    parts, gathered = write_shards(tmp_path, shards)
    one, other = read_windows_meta(tmp_path / "whole"), read_windows_meta(gathered)
    assert one.covariates == other.covariates and one.windows == other.windows
    for kind in ("past", "future"):
        assert np.allclose(one.scaler[kind], other.scaler[kind])
    for split in ("train", "validation", "test"):
        whole, joined = load_windows(tmp_path / "whole", split), load_windows(parts, split)
        assert torch.equal(whole.future_NF, joined.future_NF) and torch.equal(whole.past_NP, joined.past_NP)
    streamed = open_stream(parts, "train", limit=1 << 30)
    assert torch.equal(streamed.read_groups(streamed.groups).future_NF, load_windows(parts, "train").future_NF)
    alone = load_windows(parts[0], "test", covariates=other.covariates)
    assert torch.equal(alone.future_NF, whole.future_NF[: len(alone.future_NF)])


def test_a_shard_of_yes_and_no_among_shards_of_other_texts(tmp_path):
    frame = write_panel(tmp_path / "series.parquet", num_series=2)
    first, second = (frame[frame["unique_id"] == name] for name in ("s0", "s1"))
    words = {"none": "no", "promo 0": "yes", "radio": "yes"}
    first.assign(promo=first["promo"].map(words).eq("yes").astype(float)).to_parquet(tmp_path / "0.parquet")
    texts = second["promo"].map(words).where(second.index % 5 > 0, "perhaps")
    second.assign(promo=texts).to_parquet(tmp_path / "1.parquet")
    parts, gathered = cut_shards(tmp_path, [tmp_path / "0.parquet", tmp_path / "1.parquet"])
    assert read_windows_meta(gathered).future == ["promo=no", "promo=perhaps", "promo=yes"]
    found = load_windows(parts, "train").future_NF[:4].tolist()
    assert found == [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]] * 2
    first.assign(promo=0.5).to_parquet(tmp_path / "0.parquet")
    with pytest.raises(DataError, match=r"'promo' holds numbers, or yes and no, but texts \(no, perhaps, yes\) where"):
        known = {"promo": ["no", "perhaps", "yes"], "weather": ["sun"]}
        panel = Frame(end="2024-02-09", frequency="D", categories=known)
        write_windows(tmp_path / "0.parquet", tmp_path / "w", spec=SPEC, covariates=COVARIATES, frame=panel)


def test_shards_with_too_many_categories_together_are_refused(tmp_path):
    frame = write_panel(tmp_path / "series.parquet", num_series=2)
    tables = []
    for k, (_, part) in enumerate(frame.groupby("unique_id")):
        tables.append(tmp_path / f"{k}.parquet")
        part.assign(promo=[f"p{40 * k + i}" for i in range(40)]).to_parquet(tables[-1])
    with pytest.raises(DataError, match="covariate 'promo' has 80 categories; at most 64 are supported"):
        find_all_categories(tables, COVARIATES)


def test_two_columns_of_one_name_are_refused(tmp_path):
    frame = write_panel(tmp_path / "series.parquet").rename(columns={"wind": "promo=none"})
    frame.to_parquet(tmp_path / "series.parquet", index=False)
    clash = Covariates(past=("promo=none",), future=("promo",))
    with pytest.raises(ValueError, match="covariates declared twice: promo=none"):
        write_windows(tmp_path / "series.parquet", tmp_path / "w", spec=SPEC, covariates=clash)
