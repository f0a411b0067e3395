"""Make the golden bundle: train a small network by the retrain flow, and write what it forecasts.

`python -m tests.golden.make FOLDER` writes `bundle/` and `forecasts.csv`. `tests/golden/v1` was made so, once; its
bundle is kept, and every later version must load it and forecast the same. `series.csv` is written by hand: `east` is a
series that the network has never seen, of a region that it does not know, with fewer values than a context.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pandas as pd

from lstm_model.contracts.bundle_card import BundleFacts, copy_bundle, read_bundle_card
from lstm_model.forecast.__main__ import main as forecast
from lstm_model.lifecycle.registry import BUNDLE, Registry
from lstm_model.storage.store import Store

ROOT = Path(__file__).parents[2]
SERIES = Path(__file__).parent / "v1" / "series.csv"
PIPELINE = """
name: golden
source: {kind: files, path: train.csv, layout: long, columns: {unique_id: shop, ds: day, y: sold}}
covariates: {static: [region, area], past: [temperature], future: [promo]}
frequency: D
horizon: 5
season: 7
context: 14
advanced:
  model: {hidden_dim: 4, layer_dim: 1, segment: 7}
  training: {device: cpu, precision: fp32, threads: 1, max_steps: 60, learning_rate: 0.003}
"""
SHOPS = {"north": ("coast", 120, 40.0), "south": ("hills", 150, 55.0), "west": ("coast", 180, 75.0)}
"""Region, area and usual sales of each shop."""


def draw_shop(name: str, rng: np.random.Generator, *, days: int = 90) -> pd.DataFrame:
    """Draw the sales of one shop, which rise at weekends, on warm days and on days with a promotion."""
    region, area, level = SHOPS[name]
    day = np.arange(days)
    promo = (rng.random(days) < 0.2).astype(int)
    temperature = (4 + 0.1 * day + rng.normal(size=days)).round(1)
    weekend = np.isin(day % 7, (5, 6))
    sold = level * (1 + 0.2 * weekend + 0.25 * promo) + 0.3 * temperature + rng.normal(size=days)
    dates = pd.date_range("2024-01-01", periods=days).strftime("%Y-%m-%d")
    return pd.DataFrame(
        {
            "shop": name,
            "day": dates,
            "sold": sold.round(1),
            "region": region,
            "area": area,
            "promo": promo,
            "temperature": temperature,
        }
    )


def train(folder: Path) -> Path:
    """Run the flow on data and a store in `folder`; return the bundle's folder."""
    rng = np.random.default_rng(0)
    pd.concat([draw_shop(name, rng) for name in SHOPS]).to_csv(folder / "train.csv", index=False)
    (folder / "golden.yaml").write_text(PIPELINE, encoding="utf-8")
    command = [sys.executable, "-m", "flows.retrain", "--config", folder / "golden.yaml", "--store", folder / "store"]
    subprocess.run(command, cwd=ROOT, env={**os.environ, "OMP_NUM_THREADS": "1"}, check=True)
    store = Store(folder / "store" / "golden")
    champion = Registry(store).state().champion
    assert champion is not None and champion.kind == BUNDLE
    return store.path(champion)


def write_golden(target: Path) -> None:
    """Write a new bundle and its forecasts; the path of the training data in its card has no folder."""
    folder = Path(tempfile.gettempdir()) / "evergreen-golden"  # always the same: the series know where they come from
    folder.mkdir()
    try:
        bundle = train(folder)
        facts = BundleFacts.model_validate(read_bundle_card(bundle).model_dump(include={*BundleFacts.model_fields}))
        config = {**facts.config, "source": {**facts.config["source"], "path": "train.csv"}}
        copy_bundle(bundle, target / "bundle", facts.model_copy(update={"config": config}))
    finally:
        shutil.rmtree(folder)
    assert forecast([str(target / "bundle"), str(SERIES), "--output", str(target / "forecasts.csv")]) == 0


if __name__ == "__main__":
    write_golden(Path(sys.argv[1]))
