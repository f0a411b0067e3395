"""What a retraining decides, in processes against a real server: promotion, approval, rollback, experiments."""

import json
import urllib.request

import pytest
from prefect.exceptions import ParameterTypeError

from flows.promote import promote
from lstm_model.forecast.predict import forecast
from lstm_model.lifecycle.ledger import Ledger
from lstm_model.lifecycle.registry import Registry
from lstm_model.storage.store import Store

BETTER = ("--set", "advanced.training.max_steps=150", "--set", "advanced.training.learning_rate=0.01")
EASY = ("--set", "promotion.coverage_tolerance=0.5", "--set", "promotion.series_cap=5")


def registry(cli):
    return Registry(Store(cli.folder / "store" / "tiny")).state()


@pytest.mark.parametrize("name", ["../other", "..", "a/b", "/etc", "a\\b", "a\n", ""])
def test_a_name_that_leads_out_of_the_store_is_refused(name):
    with pytest.raises(ParameterTypeError, match="name: String should match pattern"):
        promote.validate_parameters({"bundle": "challenger", "name": name})
    assert promote.validate_parameters({"bundle": "challenger", "name": "shop-2_a"})["name"] == "shop-2_a"
    assert "pattern" in promote.parameters.properties["name"]  # the form says so, and the server


@pytest.mark.slow
def test_an_experiment_an_approval_and_a_rollback(cli, tiny, trained, api_url):
    first = trained
    assert (first["status"], first["champion"]) == ("promoted", first["bundle"])
    production = (cli.folder / "store" / "tiny" / "report.html").read_text()
    assert "Decision" in production and first["decision"]["summary"] in production

    assert cli("--config", tiny, flow="forecast")["status"] == "issued"

    experiment = cli("--config", tiny, "--set", "advanced.training.max_steps=1", "--promote", "never")
    assert (experiment["status"], experiment["champion"]) == ("kept back", first["bundle"])
    assert (cli.folder / "store" / "tiny" / "report.html").read_text() == production
    assert experiment["report"].endswith("experiment/report.html")
    assert registry(cli).challenger is None

    asked = cli("--config", tiny, *BETTER, *EASY, "--promote", "ask")
    assert (asked["status"], asked["champion"]) == ("waiting", first["bundle"])
    assert asked["decision"]["champion"] == first["bundle"] and asked["decision"]["verdict"] == "promote"
    assert asked["decision"]["challenger_loss"] < asked["decision"]["champion_loss"]
    words = asked["how_to_promote"].split()
    assert words[:3] == ["python", "-m", "flows.promote"]

    approved = cli(*words[3:6], flow="promote")
    assert (approved["champion"], approved["before"], approved["changed"]) == (asked["bundle"], first["bundle"], True)
    back = cli("previous", "--name", "tiny", "--reason", "the shop says so", flow="promote")
    assert (back["champion"], registry(cli).champion.sha256[:16]) == (first["bundle"], first["bundle"])
    assert [c.by for c in registry(cli).history] == ["gate", "hand", "hand"]
    assert registry(cli).history[-1].why == "the shop says so"
    assert "the shop says so" in latest_artifact(api_url, "registry-tiny")
    reproduces_what_was_issued(Store(cli.folder / "store" / "tiny"))

    again = cli("--config", tiny, *BETTER, *EASY)
    assert again["bundle"] == asked["bundle"], "what is gated again is the same bundle"
    assert (again["status"], again["champion"]) == ("waiting", first["bundle"]), "a person has replaced it"


@pytest.mark.slow
def test_a_worse_model_and_an_unknown_bundle_change_nothing(cli, tiny):
    first = cli("--config", tiny, *BETTER)
    worse = cli("--config", tiny, "--set", "advanced.training.max_steps=1")
    assert worse["status"] == "rejected" and worse["champion"] == first["bundle"]
    assert "margin" in worse["decision"]["summary"]
    assert registry(cli).challenger.sha256.startswith(worse["bundle"])
    other = cli("--config", tiny, "--set", "horizon=7")
    assert (other["status"], other["champion"]) == ("deferred", first["bundle"])
    assert "horizon changed from 6 to 7" in other["decision"]["summary"] and other["how_to_promote"]
    code, errors = cli.fail("ffffffffffff", "--name", "tiny", flow="promote")
    assert code == 1 and f"{first['bundle']} (champion)" in errors and f"{other['bundle']} (challenger)" in errors
    code, errors = cli.fail("previous", "--name", "tinny", flow="promote")
    assert code == 2 and "there is no problem 'tinny'" in errors


def reproduces_what_was_issued(store):
    """The champion that came back forecasts, in this process, what it did in another: to the last bit."""
    (series,) = store.root.glob("artifacts/series/*/series.parquet")
    again = forecast(store.path(Registry(store).get("champion")), series).table
    issued = Ledger(store).read()
    assert len(again) and again.equals(issued[again.columns].astype(again.dtypes.to_dict()))


def latest_artifact(api_url, key):
    with urllib.request.urlopen(f"{api_url}/artifacts/{key}/latest", timeout=30) as answer:
        return json.load(answer)["data"]
