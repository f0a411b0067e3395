"""Databases and their passwords, through the flow."""

import sqlite3

import pandas as pd
import pytest
from prefect.blocks.system import Secret
from prefect.settings import PREFECT_API_URL, temporary_settings

from lstm_model.contracts.settings import Source
from tasks.runtime.passwords import password_of


def database(**changes):
    return Source.model_validate({"kind": "sql", "url": "postgresql://me@db/shop", "query": "select 1", **changes})


def test_a_password_comes_from_the_environment(monkeypatch):
    monkeypatch.setenv("SHOP_PASSWORD", "s3cret")
    assert password_of(database(password_from="env:SHOP_PASSWORD")) == "s3cret"
    assert password_of(database()) is None


def test_a_variable_that_is_not_set_is_named(monkeypatch):
    monkeypatch.delenv("SHOP_PASSWORD", raising=False)
    with pytest.raises(ValueError, match="environment variable SHOP_PASSWORD is not set where the flow runs"):
        password_of(database(password_from="env:SHOP_PASSWORD"))


def test_a_password_comes_from_a_secret_block(api_url):
    with temporary_settings({PREFECT_API_URL: api_url}):
        Secret(value="s3cret").save("shop-db")
        assert password_of(database(password_from="secret:shop-db")) == "s3cret"


@pytest.mark.slow
def test_a_query_is_run_every_time_and_only_new_rows_train_again(cli, helpers):
    file = cli.folder / "shop.db"
    days = pd.date_range("2024-01-01", periods=150).strftime("%Y-%m-%d")
    with sqlite3.connect(file) as connection:
        connection.execute("create table sales (day text, sold real)")
        rows = [(day, float(50 + 10 * (i % 7))) for i, day in enumerate(days)]
        connection.executemany("insert into sales values (?, ?)", rows)
    config = cli.folder / "shop.yaml"
    config.write_text(
        f"source: {{kind: sql, url: 'sqlite:///{file}', query: select * from sales}}\nhorizon: 7\ncontext: 28\n"
        "advanced: {model: {hidden_dim: 8}, training: {max_steps: 20, threads: 1}}\n"
    )
    assert cli("--config", config)["name"] == "shop"
    assert helpers.computed(cli("--config", config)) == []
    with sqlite3.connect(file) as connection:
        connection.execute("insert into sales values ('2024-05-30', 50.0)")
    assert helpers.computed(cli("--config", config))[:3] == ["ingest", "window", "train"]
