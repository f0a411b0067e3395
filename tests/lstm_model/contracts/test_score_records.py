"""Scores keep their columns, their order and their numbers through JSON; NaN becomes None."""

import json

import pytest
from pydantic import ValidationError

from lstm_model.contracts.monitored import PeriodRecord
from lstm_model.contracts.score_records import (
    SCORES,
    Headline,
    ScoreRecord,
    ScoreSummary,
    read_score_summary,
    write_score_summary,
)
from tests.factories import score_record

HEADLINE = Headline(
    verdict="It wins.",
    beats_seasonal_naive=True,
    beats_baseline=True,
    best_baseline="drift",
    metric="mase",
    judged="lstm",
    error={"lstm": 0.5},
    skill=None,
    series_won=1,
    num_series=1,
)


def test_a_summary_comes_back_from_its_file_as_it_was(tmp_path):
    total = [score_record(**{"coverage-97_5": 0.9}), score_record(model="naive", **{"coverage-97_5": float("nan")})]
    summary = ScoreSummary(headline=HEADLINE, total=total, levels=(0.975,), num_windows=2, notes=["– é"])
    write_score_summary(tmp_path, summary)
    assert read_score_summary(tmp_path) == summary
    rows = json.loads((tmp_path / SCORES).read_text(encoding="utf-8"))["total"]
    assert [row["coverage-97_5"] for row in rows] == [0.9, None], "JSON has no NaN"
    assert list(rows[0])[:3] == ["model", "count", "mae"] and list(rows[0])[-1] == "coverage-97_5"


def test_the_columns_of_the_levels_keep_their_order():
    record = score_record(**{"coverage-80": 0.8, "width-80": 2.0, "coverage-95": None})
    assert record.by_level == {"coverage-80": 0.8, "width-80": 2.0, "coverage-95": None}


def test_a_record_that_lacks_a_score_is_refused():
    with pytest.raises(ValidationError, match="mase"):
        ScoreRecord.model_validate({"model": "lstm", "count": 1, "mae": 0.5})


def test_a_column_that_is_no_number_is_refused():
    with pytest.raises(ValidationError, match="coverage-80"):
        score_record(**{"coverage-80": "most"})


def test_a_period_that_is_not_counted_has_no_sums():
    period = {"error": 1.1, "log_error": 0.1, "miss": 0.4, "count": 24, "end": "2024-01-02", "model_version": "a"}
    record = PeriodRecord(**period, counted=False, **{"sum error": float("nan")})
    assert json.loads(record.model_dump_json())["sum error"] is None
