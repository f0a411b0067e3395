import time

import numpy as np
import pandas as pd
import pytest

from lstm_model.sources.synthetic import generate_panel, generate_sine


def test_sine_is_the_tutorials_wave():
    table = generate_sine(1000)
    assert np.array_equal(table["y"], np.sin(np.linspace(0, 100, 1000)))
    assert table["ds"].tolist() == list(range(1000))
    assert table["ds"].dtype == np.int64


@pytest.mark.parametrize("num_steps", [20, 999, 1001, 1200, 5000])
def test_sine_goes_on_along_the_same_grid(num_steps):
    y = generate_sine(num_steps)["y"].to_numpy()
    shared = min(num_steps, 1000)
    assert np.array_equal(y[:shared], np.sin(np.linspace(0, 100, 1000))[:shared])
    np.testing.assert_allclose(y, np.sin(np.arange(num_steps) * 100 / 999), atol=1e-11)


def test_panel_is_reproducible_and_a_series_is_the_same_in_any_panel():
    few, many = generate_panel(3, 500, seed=7), generate_panel(40, 500, seed=7)
    pd.testing.assert_frame_equal(few, many[many["unique_id"].isin(few["unique_id"])])
    assert not few.equals(generate_panel(3, 500, seed=8))


def test_panel_has_what_real_data_has():
    table = generate_panel(60, 24 * 7 * 8)
    sizes = table.groupby("unique_id").size()
    assert (sizes < 24 * 7 * 8).any(), "some series have gaps"
    assert (sizes > 0.9 * 24 * 7 * 8).all()
    assert table["y"].min() > 0
    scales = table.groupby("unique_id")["y"].median()
    assert scales.max() / scales.min() > 30, "each series has its own scale"
    assert table.groupby("unique_id")["ds"].agg(["min", "max"]).nunique().tolist() == [1, 1]
    scaled = table["y"] / table.groupby("unique_id")["y"].transform("mean")
    by_hour = scaled.groupby([table["unique_id"], table["ds"].dt.hour]).mean()
    assert (by_hour.groupby(level=0).std() > 0.03).mean() > 0.8, "days have a shape"
    weekend = table["ds"].dt.day_of_week >= 5
    assert scaled[weekend].mean() < 0.95 * scaled[~weekend].mean(), "weeks have a shape"


def test_ten_thousand_series_take_seconds():
    start = time.perf_counter()
    assert generate_panel(10_000, 100)["unique_id"].nunique() == 10_000
    assert time.perf_counter() - start < 30


def test_sizes_are_checked():
    with pytest.raises(ValueError, match="at least 1"):
        generate_sine(0)
    with pytest.raises(ValueError, match="1 series and 2 steps"):
        generate_panel(0)
