"""A panel in shards is the same panel."""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from lstm_model.contracts.findings import DataError, Finding
from lstm_model.contracts.settings import Covariates, Scaling, Source
from lstm_model.contracts.shard import Frame, IdRange
from lstm_model.contracts.stage_meta import SeriesMeta
from lstm_model.series.profiling import SeriesFacts, measure_facts, measure_profile, merge_profiles
from lstm_model.series.series_table import count_rows, find_last_observed, write_range
from lstm_model.series.sharding import check_alike, merge_categories, merge_findings, merge_series_meta, plan_shards
from lstm_model.sources import parquet
from lstm_model.sources.raw_series import read_source
from lstm_model.timeline.frequency import Frequency

IDS = [f"m{i:02}" for i in range(12)]


def write_panel(path, *, integer=False, row_group_size=40, **columns):
    """Series of different lengths that end at different times, some values missing, one row group in several series."""
    rng = np.random.default_rng(1)
    parts = []
    for i, name in enumerate(IDS):
        n = 30 + 7 * i
        ds = np.arange(5, 5 + n) if integer else pd.date_range("2024-01-01", periods=n, freq="D").as_unit("us")
        y = 5 + np.sin(np.arange(n) * 2 * np.pi / 6) + 0.1 * rng.normal(size=n)
        observed = np.arange(n) < n - i % 3
        parts.append(pd.DataFrame({"unique_id": name, "ds": ds, "y": y, "observed": observed}))
    frame = pd.concat(parts, ignore_index=True).assign(**columns)
    pq.write_table(pa.Table.from_pandas(frame, preserve_index=False), path, row_group_size=row_group_size)
    return frame


@pytest.mark.parametrize("shards", [1, 2, 5, 12, 40])
def test_ranges_cover_every_series_once(shards):
    rows = {name: 10**i % 997 + 1 for i, name in enumerate(IDS)}
    ranges = plan_shards(rows, shards=shards, shard_rows=None)
    assert len(ranges) == min(shards, len(IDS))
    assert [sum(one.holds(name) for one in ranges) for name in IDS] == [1] * len(IDS)
    assert all(any(one.holds(name) for name in IDS) for one in ranges)
    assert ranges[0].first is None and ranges[-1].before is None


def test_ranges_have_about_as_many_rows_each():
    rows = {f"{i:04}": 1 + i % 7 for i in range(1000)}
    sizes = [sum(rows[n] for n in rows if one.holds(n)) for one in plan_shards(rows, shards=None, shard_rows=500)]
    assert len(sizes) == 8 and max(sizes) - min(sizes) <= 8


def test_one_huge_series_leaves_no_range_empty():
    rows = {"a": 1, "b": 10_000, "c": 1, "d": 1}
    ranges = plan_shards(rows, shards=3, shard_rows=None)
    assert all(any(one.holds(name) for name in rows) for one in ranges)


@pytest.mark.parametrize("integer", [False, True])
def test_the_profile_of_shards_is_that_of_the_table(tmp_path, integer):
    write_panel(tmp_path / "whole.parquet", integer=integer)
    frequency = "1" if integer else "D"
    expected = measure_profile(tmp_path / "whole.parquet", frequency)
    tables, facts = [], []
    for k, one in enumerate(plan_shards(count_rows(tmp_path / "whole.parquet"), shards=4, shard_rows=None)):
        tables.append(tmp_path / f"{k}.parquet")
        write_range(tmp_path / "whole.parquet", tables[-1], one)
        measure_facts(tables[-1]).save(tmp_path / f"facts-{k}")
        facts.append(SeriesFacts.load(tmp_path / f"facts-{k}"))
    assert merge_profiles(facts, tables, frequency) == expected
    assert expected.found_season == (6 if integer else None)
    frame = Frame(end=expected.end, frequency=frequency)
    assert Frequency(frame.frequency).parse_ds(frame.end) == find_last_observed(tmp_path / "whole.parquet")


def metas_of(tmp_path, *, shards, frequency="D"):
    """The metadata, the facts and the table of each shard of a panel; the first filled in two values."""
    write_panel(tmp_path / "whole.parquet")
    for k, one in enumerate(plan_shards(count_rows(tmp_path / "whole.parquet"), shards=shards, shard_rows=None)):
        table = tmp_path / f"{k}.parquet"
        write_range(tmp_path / "whole.parquet", table, one)
        profile = measure_profile(table, "D" if k == 0 else frequency)
        meta = SeriesMeta(
            profile=profile, findings=[], reasons={"y": "why"}, source=Source(kind="synthetic"), repaired=2 - k
        )
        yield meta, measure_facts(table), table


def test_the_metadata_of_shards_is_that_of_the_table(tmp_path):
    metas, facts, tables = zip(*metas_of(tmp_path, shards=2), strict=True)
    left_out = Finding(code="short", severity="warning", message="b is too short", count=1)
    merged = merge_series_meta(metas, facts=facts, tables=tables, findings=[[], [], [left_out]])
    assert merged.profile == measure_profile(tmp_path / "whole.parquet", "D")
    assert (merged.repaired, merged.findings, merged.reasons) == (3, [left_out], {"y": "why"})


def test_shards_of_two_frequencies_are_refused(tmp_path):
    metas, facts, tables = zip(*metas_of(tmp_path, shards=2, frequency="h"), strict=True)
    with pytest.raises(DataError, match="has frequency 'D', another 'h'; set frequency"):
        merge_series_meta(metas, facts=facts, tables=tables, findings=[])


def test_shards_of_a_parquet_source_are_its_rows(tmp_path):
    """Whether the column of names has statistics, is sorted, or is of numbers."""
    frame = write_panel(tmp_path / "sorted.parquet").drop(columns="observed")
    shuffled = frame.sample(frac=1, random_state=0, ignore_index=True)
    numbered = shuffled.assign(unique_id=shuffled["unique_id"].str[1:].astype(int))
    for name, table in {"sorted": frame, "shuffled": shuffled, "numbered": numbered}.items():
        path = tmp_path / f"{name}.parquet"
        pq.write_table(pa.Table.from_pandas(table, preserve_index=False), path, row_group_size=50)
        source = Source(kind="files", path=str(path))
        whole = read_source(source, covariates=Covariates()).table
        settled, rows = parquet.survey_parquet(source, Covariates())
        assert rows == whole["unique_id"].value_counts().to_dict(), name
        ranges = plan_shards(rows, shards=3, shard_rows=None)
        parts = [read_source(settled, covariates=Covariates(), only=one).table for one in ranges]
        assert [len(part) for part in parts] == [sum(rows[n] for n in rows if one.holds(n)) for one in ranges]
        together = pd.concat(parts, ignore_index=True).sort_values(["unique_id", "ds"], ignore_index=True)
        pd.testing.assert_frame_equal(together, whole.sort_values(["unique_id", "ds"], ignore_index=True))


def test_a_sorted_file_is_read_in_part(tmp_path, monkeypatch):
    write_panel(tmp_path / "sorted.parquet")
    read, kept = [], pq.ParquetFile.read_row_group
    monkeypatch.setattr(pq.ParquetFile, "read_row_group", lambda self, i, **k: (read.append(i), kept(self, i, **k))[1])
    source = Source(kind="files", path=str(tmp_path / "sorted.parquet"), columns={"unique_id": "unique_id", "y": "y"})
    table = read_source(
        source.model_copy(update={"layout": "long"}), covariates=Covariates(), only=IdRange(before="m01")
    )
    assert set(table.table["unique_id"]) == {"m00"} and set(read) == {0}


def test_other_sources_are_read_as_a_whole(tmp_path):
    wide = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=9), "a": 1.0, "b": 2.0, "c": 3.0})
    wide.to_parquet(tmp_path / "wide.parquet")
    write_panel(tmp_path / "long.parquet").to_csv(tmp_path / "long.csv", index=False)
    one = pd.DataFrame({"ds": pd.date_range("2024-01-01", periods=9), "y": 1.0})
    one.to_parquet(tmp_path / "one.parquet")
    for name in ("wide.parquet", "long.csv", "one.parquet"):
        assert parquet.survey_parquet(Source(kind="files", path=str(tmp_path / name)), Covariates()) is None, name
    assert parquet.survey_parquet(Source(kind="synthetic"), Covariates()) is None


def test_rows_without_a_name_are_an_error(tmp_path):
    frame = write_panel(tmp_path / "a.parquet").drop(columns="observed")
    frame.loc[7, "unique_id"] = None
    frame.to_parquet(tmp_path / "a.parquet")
    with pytest.raises(DataError, match=r"unique_id.*is empty in 1 rows"):
        parquet.survey_parquet(Source(kind="files", path=str(tmp_path / "a.parquet")), Covariates())


def test_findings_of_shards_are_told_once():
    few = Finding(code="missing", severity="repair", message="3 steps", unique_id="a", count=3)
    many = Finding(code="missing", severity="repair", message="9 steps", unique_id="q", count=9)
    other = Finding(code="constant", severity="info", message="b is constant")
    merged = merge_findings([[few], [many, other], []])
    assert [(one.code, one.count, one.unique_id) for one in merged] == [("missing", 12, "q"), ("constant", 1, None)]
    assert merged[0].message == "9 steps; 3 more in 1 other shard of the series"


def test_categories_of_all_shards():
    assert merge_categories([{"r": ["a", "c"]}, {"r": ["b"]}], most=3) == {"r": ["a", "b", "c"]}
    with pytest.raises(DataError, match="text in one shard of the series and numbers in another"):
        merge_categories([{"r": ["a"]}, {}], most=3)
    with pytest.raises(DataError, match="has 4 categories; at most 3"):
        merge_categories([{"r": ["a", "c"]}, {"r": ["b", "d"]}], most=3)


def test_shards_that_were_read_otherwise():
    check_alike("frequency", ["h", "h"], "")
    with pytest.raises(DataError, match="one shard of the series has frequency 'h', another 'D'; set frequency"):
        check_alike("frequency", ["h", "D"], "set frequency")


def test_shards_or_their_size():
    with pytest.raises(ValueError, match="both shards and shard_rows"):
        Scaling(shards=2, shard_rows=5)
    assert not Scaling(shards=1).divides and not Scaling().divides
    assert Scaling(shard_rows=5).divides and json.loads(Scaling(shards=2).model_dump_json())["shards"] == 2
