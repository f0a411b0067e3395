"""A calendar in the windows: computed for every step that they have, the same in shards, and not there when off."""

import json

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest
import torch

from lstm_model.contracts.calendar_features import CalendarFeatures, HolidayDates
from lstm_model.contracts.clock import Clock
from lstm_model.contracts.findings import DataError
from lstm_model.contracts.settings import Covariates, WindowSpec
from lstm_model.contracts.shard import Frame
from lstm_model.contracts.windows_meta import WINDOWS_META, read_common_meta, read_windows_meta
from lstm_model.windows.in_memory import load_windows
from lstm_model.windows.layout import read_segments
from lstm_model.windows.segments import merge_windows, write_windows

SPEC = WindowSpec(
    context=14, horizon=7, season=7, frequency="D", stride=1, evaluation_stride=1, test_steps=14, validation_steps=14,
    align="calendar", pad_short=True,
)  # fmt: skip
HOLIDAYS = {"XX": HolidayDates(first_year=2000, last_year=2049, dates=("2024-03-29", "2024-04-01", "2024-05-01"))}
CALENDAR = CalendarFeatures(
    groups=("weekday", "holiday"), country="XX", holidays=HOLIDAYS, days={"pay": ("2024-04-15",)}
)


def draw_days(ids="abcd", steps=130, **ends):
    """Days from 2024-01-01; a series may end some days before the others."""
    rng, parts = np.random.default_rng(0), []
    for one in ids:
        ds = pd.date_range("2024-01-01", periods=steps - ends.get(one, 0), unit="us")
        parts.append(pd.DataFrame({"unique_id": one, "ds": ds, "y": rng.normal(size=len(ds)), "observed": True}))
    return pd.concat(parts, ignore_index=True)


def cut(frame, folder, calendar=CALENDAR, covariates=Covariates(), panel=None, **changes):  # noqa: B008
    frame.to_parquet(folder / "series.parquet", index=False)
    spec = SPEC.model_copy(update={"calendar": calendar, **changes})
    write_windows(folder / "series.parquet", folder / "w", spec=spec, covariates=covariates, frame=panel)
    return folder / "w"


def test_every_step_of_a_window_has_the_calendar_beyond_the_end_of_a_short_series_too(tmp_path):
    folder = cut(draw_days(b=9), tmp_path)
    for split in ("train", "validation", "test"):
        windows = load_windows(folder, split)
        assert len(windows) and not windows.future_NF[windows.starts_W[:, None] + torch.arange(21)].isnan().any(), split
    ends = [one for one in read_segments(folder, "test") if one.unique_id in "ab"]
    long, short = (one.future[-14:] for one in ends)
    assert np.array_equal(long, short), "one axis of time, whatever ends earlier"


def test_windows_without_a_calendar_are_what_they_were(tmp_path):
    folder = cut(draw_days(), tmp_path, None)
    assert "calendar" not in json.loads((folder / WINDOWS_META).read_text())
    assert "calendar" not in read_windows_meta(folder).covariates.model_dump()
    assert "calendar" not in SPEC.model_dump(mode="json"), "the keys of the cache stay as they were"
    names = pq.read_schema(folder / "split=train" / "part-0.parquet").names
    assert names == ["unique_id", "start", "padding", "values", "exact", "observed"]
    assert load_windows(folder, "train").future_NF.shape[1] == 0


def test_shards_of_a_panel_have_the_calendar_of_the_whole(tmp_path):
    whole, frame = draw_days(c=20), Frame(end="2024-05-09", frequency="D")
    expected, parts = cut(whole, tmp_path), []
    for ids in ("ab", "cd"):
        (tmp_path / ids).mkdir()
        parts.append(cut(whole[whole["unique_id"].isin([*ids])], tmp_path / ids, panel=frame))
    merge_windows(parts, tmp_path)
    assert read_windows_meta(tmp_path).scaler == read_windows_meta(expected).scaler
    assert read_common_meta(parts).covariates == read_windows_meta(expected).covariates
    for split in ("train", "test"):
        a, b = load_windows(parts, split), load_windows(expected, split)
        assert np.array_equal(a.future_NF, b.future_NF, equal_nan=True) and len(a) == len(b)


def test_the_steps_of_business_days_have_the_days_that_they_fall_on(tmp_path):
    ds = pd.bdate_range("2023-12-01", periods=130, unit="us")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(130.0), "observed": True})
    folder = cut(frame, tmp_path, frequency="B")
    (segment,) = read_segments(folder, "train")
    names = [name.removeprefix("calendar:") for name in read_windows_meta(folder).future]
    found = pd.DataFrame(segment.future, columns=names)[-segment.values.size + segment.padding :]
    marked = {name: ds[: len(segment.values)][found[name] == 1].strftime("%m-%d").tolist() for name in names[-4:]}
    assert marked["holiday"] == ["03-29", "04-01"] and marked["day pay"] == ["04-15"]
    assert marked["day before holiday"] == ["03-28", "03-29"] and marked["day after holiday"] == ["04-01", "04-02"]


def test_hours_are_cut_by_the_clock_of_the_source(tmp_path):
    ds = pd.date_range("2024-03-25", periods=400, freq="h", unit="us")
    frame = pd.DataFrame({"unique_id": "a", "ds": ds, "y": np.arange(400.0), "observed": True})
    calendar = CALENDAR.model_copy(
        update={"groups": ("holiday",), "days": {}, "clock": Clock(zone="Asia/Tokyo", aware=True)}
    )
    (segment,) = read_segments(cut(frame, tmp_path, calendar, frequency="h", season=24), "train")
    first = ds[int(segment.future[:, 0].argmax()) - segment.padding]
    assert str(first) == "2024-03-28 15:00:00", "midnight of Good Friday in Tokyo"


def test_a_country_column_of_numbers_and_a_column_of_the_same_name_are_refused(tmp_path):
    calendar = CalendarFeatures(groups=("holiday",), country_column="land")
    with pytest.raises(DataError, match=r"calendar\.country_column 'land' holds numbers; expected ISO codes"):
        cut(draw_days().assign(land=49.0), tmp_path, calendar, Covariates(static=("land",)))
    clash = Covariates(future=("calendar:holiday",))
    with pytest.raises(ValueError, match="covariates declared twice: calendar:holiday"):
        cut(draw_days().assign(**{"calendar:holiday": 0.0}), tmp_path, CALENDAR, clash)
