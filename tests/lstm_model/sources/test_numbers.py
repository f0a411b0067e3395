"""Numbers as people write them, and marks for missing values."""

import numpy as np
import pandas as pd
import pytest

from lstm_model.contracts.findings import DataError
from lstm_model.sources.numbers import find_sentinels, read_numbers


def read(texts, **settings):
    return read_numbers(pd.Series(texts, name="y"), lambda row: f"row {row}", **settings)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["1.045.000", "1.048.300"], [1_045_000, 1_048_300]),
        (["950", "998", "1.001", "1.004", "1.010"], [950, 998, 1001, 1004, 1010]),
        (["1.405", "0.198", "2.250"], [1.405, 0.198, 2.25]),
        (["1 234,5", "1\u202f234,567"], [1234.5, 1234.567]),
        (["1'234.50", "1’234"], [1234.5, 1234]),
        (["$1,234.50", "$-3.00", "($7.25)"], [1234.5, -3, -7.25]),
        (["1.234,50 €", "-0,5 €"], [1234.5, -0.5]),
        (["(12)", "12-", "\u221212", "+12"], [-12, -12, -12, 12]),
        (["10.5%", "11 %"], [10.5, 11]),
        (["12,34,567.5", "1,000.25"], [1_234_567.5, 1000.25]),
        (["1", "?", "-", "n/a", "<1", "#DIV/0!", "k.A.", "2"], [1, *[np.nan] * 6, 2]),
        (["1e5", "2.5E-3"], [1e5, 2.5e-3]),
    ],
)
def test_numbers_are_read_as_their_column_writes_them(texts, expected):
    np.testing.assert_array_equal(read(texts).values, expected)


@pytest.mark.parametrize("texts", [["1.234", "5.678"], ["1,234", "5,678"], ["12", "1.234"]])
def test_one_mark_before_three_digits_is_asked_about(texts):
    with pytest.raises(DataError, match=r"ambiguous: row \d, column 'y': it may be .* or .*source\.decimal"):
        read(texts)
    assert read(texts, hint=",").values[-1] != read(texts, hint=".").values[-1]


@pytest.mark.parametrize(
    "texts", [["1 €", "2 $"], ["10.5%", "0.11"], ["1.5", "2,5", "3.5"], ["5k", "6k"], ["1 2", "3"]]
)
def test_what_is_not_one_kind_of_number_names_its_row(texts):
    with pytest.raises(DataError, match=r"row \d, column 'y': received"):
        read(texts)


def test_marks_taken_as_missing_are_told_with_their_count():
    assert read(["1", "-", "-", "2"]).notes == ("2 values such as '-' taken as missing",)


@pytest.mark.parametrize("mark", [-999.0, -9999.0, 99999.0])
def test_a_value_that_marks_what_is_missing_is_told(mark):
    ids = pd.Series(["a"] * 50)
    y = np.where(np.arange(50) % 10 == 3, mark, np.arange(50) % 7 + 10.0)
    finding = find_sentinels(y, ids)
    assert finding is not None and f"{mark:g} occurs 5 times" in finding.message
    assert find_sentinels(np.linspace(-999, 999, 50), ids) is None


def test_the_only_negative_value_may_mark_what_is_missing():
    ids, counts = pd.Series(["a"] * 50), np.arange(50) % 17.0
    finding = find_sentinels(np.where(counts == 3, -1.0, counts), ids)
    assert finding is not None and "the value -1 occurs 3 times, the only negative one" in finding.message
    assert find_sentinels(np.where(counts == 3, -1.0, counts - 1), ids).message.startswith("the value -1 occurs 6")
    assert find_sentinels(np.arange(50) % 3 - 1.0, ids) is None, "-1, 0 and 1 are values"
    assert find_sentinels(np.where(counts == 3, -1.0, np.where(counts == 5, -2.0, counts)), ids) is None
