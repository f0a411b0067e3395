import pytest

from lstm_model.contracts.forecast_columns import (
    find_bounds,
    find_coverage,
    find_levels,
    index_quantiles,
    name_bounds,
    name_level,
    parse_level,
    show_level,
)


def test_names_of_intervals():
    assert name_bounds(0.8) == ("lo_80", "hi_80")
    assert name_bounds(0.975) == ("lo_97_5", "hi_97_5")


@pytest.mark.parametrize("level", [0.5, 0.8, 0.975, 0.9999, 0.001])
def test_a_level_is_read_back_from_its_name(level):
    assert parse_level(name_level(level)) == level
    assert show_level(0.975) == "97.5%"


def test_every_quantile_has_a_column_the_narrowest_interval_first():
    columns = index_quantiles((0.0125, 0.1, 0.5, 0.9, 0.9875), median="median")
    assert columns == {"median": 2, "lo_80": 1, "hi_80": 3, "lo_97_5": 0, "hi_97_5": 4}
    assert list(columns) == ["median", "lo_80", "hi_80", "lo_97_5", "hi_97_5"]
    assert index_quantiles((0.5,), median="lstm") == {"lstm": 0}


def test_intervals_are_found_among_other_columns():
    columns = ["lo_97_5", "hi_97_5", "low_tide", "hi_there", "lo_80", "hi_80", "lo_", "lo_50", "champion_lo_90"]
    assert find_levels(columns) == (0.5, 0.8, 0.975)
    assert find_bounds(columns) == ["lo_50", "lo_80", "hi_80", "lo_97_5", "hi_97_5"]
    assert find_coverage(["mase", "coverage-80", "width-80", "coverage-97_5"]) == {
        "coverage-80": 0.8,
        "coverage-97_5": 0.975,
    }
