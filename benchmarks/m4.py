"""Read M4-Hourly (414 series, a row each), and compute the competition's scores.

Makridakis, Spiliotis & Assimakopoulos, "The M4 Competition: 100,000 time series and 61 forecasting methods",
International Journal of Forecasting 2020. Shapes: K series, H horizon, N the longest training series.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from benchmarks.machine import DATA

SEASON = 24
NAIVE2 = (18.383, 2.395)
"""sMAPE and MASE of Naive2 on this part of the competition."""


def read() -> tuple[pd.DataFrame, pd.DataFrame]:
    """The training and the test file, with the same rows.

    Raises:
        FileNotFoundError: they are not in `DATA`.
    """
    train, test = (pd.read_csv(DATA / f"M4-Hourly-{part}.csv", index_col=0) for part in ("train", "test"))
    return train, test.loc[train.index]


def joined(*parts: pd.DataFrame) -> pd.DataFrame:
    """The rows of the parts one after another, without the gaps that shorter series leave."""
    rows = {name: np.concatenate([part.loc[name].dropna() for part in parts]) for name in parts[0].index}
    return pd.DataFrame.from_dict(rows, orient="index").rename_axis("V1")


def owa(smape: float, mase: float) -> float:
    """Overall weighted average: the mean of both, each as a share of Naive2's."""
    return (smape / NAIVE2[0] + mase / NAIVE2[1]) / 2


def scores(forecast_KH: np.ndarray, train: pd.DataFrame, test: pd.DataFrame) -> dict[str, float]:
    """OWA, sMAPE and MASE of forecasts of the rows of `test`."""
    y_KH = test.to_numpy()[:, : forecast_KH.shape[1]]
    smape = float((200 * np.abs(y_KH - forecast_KH) / (np.abs(y_KH) + np.abs(forecast_KH))).mean())
    past_KN = train.to_numpy()
    scale_K = np.nanmean(np.abs(past_KN[:, SEASON:] - past_KN[:, :-SEASON]), axis=1)
    mase = float((np.abs(y_KH - forecast_KH).mean(1) / scale_K).mean())
    return {"owa": owa(smape, mase), "smape": smape, "mase": mase}
