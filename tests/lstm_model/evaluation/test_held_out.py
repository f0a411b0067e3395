"""The test of a panel in shards is that of the panel: the same forecasts, the same scales."""

import numpy as np
import pandas as pd

from lstm_model.evaluation.error_scales import make_empty_scales, measure_scales
from lstm_model.evaluation.evaluate import join_shards


def table_of(*ids):
    ids = pd.Categorical(np.repeat(ids, 2), categories=ids)
    return pd.DataFrame({"unique_id": ids, "y": np.arange(2.0 * len(ids.categories))})


def test_shards_are_joined_in_their_order():
    scales = [measure_scales({"b": np.arange(9.0)}, season=1), make_empty_scales()]
    table, joined = join_shards([table_of("b", "c"), table_of("a")], scales)
    assert table["unique_id"].tolist() == ["b", "b", "c", "c", "a", "a"]
    assert list(table.index) == list(range(6)) and isinstance(table["unique_id"].dtype, pd.CategoricalDtype)
    assert joined["unique_id"].tolist() == ["b"] and joined["mase_scale"].tolist() == [1.0]
